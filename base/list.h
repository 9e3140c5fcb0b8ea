/* list: doubly linked, intrusive, circular. */
#ifndef LP_BASE_LIST_H
#define LP_BASE_LIST_H

#include "base/macros.h"

struct lp_list {
    struct lp_list *next, *prev;
};

static inline void lp_list_init(struct lp_list *head)
{
    head->next = head->prev = head;
}

static inline bool lp_list_is_empty(const struct lp_list *head)
{
    return head->next == head;
}

/* Is this node in some list? Only for nodes that were initialised or removed. */
static inline bool lp_list_is_linked(const struct lp_list *node)
{
    return node->next != node;
}

static inline void lp_list_insert_after(struct lp_list *at, struct lp_list *node)
{
    node->next = at->next;
    node->prev = at;
    at->next->prev = node;
    at->next = node;
}

static inline void lp_list_push_front(struct lp_list *head, struct lp_list *node)
{
    lp_list_insert_after(head, node);
}

static inline void lp_list_push_back(struct lp_list *head, struct lp_list *node)
{
    lp_list_insert_after(head->prev, node);
}

/* Harmless for a node that is in no list. */
static inline void lp_list_remove(struct lp_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    lp_list_init(node);
}

/* Visits every node; the body may remove the visited one. */
#define LP_LIST_EACH(node, head)                                                                   \
    for (struct lp_list *node = (head)->next, *node##_next = node->next; node != (head);           \
         node = node##_next, node##_next = node->next)

#endif
