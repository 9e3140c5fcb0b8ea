/* node: what stands in the file, before anybody asks what it means: scalars, maps and lists, each
 * with its place. */
#ifndef LP_CONFIG_NODE_H
#define LP_CONFIG_NODE_H

#include "config/report.h"

enum node_kind {
    NODE_SCALAR,
    NODE_MAP,
    NODE_LIST,
    NODE_BROKEN, /* an error was reported for it: readers pass over it in silence */
};

struct node {
    enum node_kind kind;
    bool is_quoted;
    bool is_expanded;     /* ${NAME} in text was replaced already */
    const char *refusal;  /* YAML that we do not take (an alias, a tag): the sentence, else NULL */
    struct lp_slice text; /* of a scalar */
    struct lp_cfg_pos pos;

    struct node *key;          /* in a map: the scalar that this is the value of */
    struct node *next;         /* in the same map or list */
    struct node *first, *last; /* of a map or list */
    uint32_t count;
};

/* Borrows text, gives *root inside arena. False when YAML itself is wrong: then the one error is
 * in the report, with a hint where the mistake is a common one. */
bool node_parse(struct node **root, struct lp_slice text, struct lp_arena *arena,
                struct report *report) LP_MUST_USE;

/* The value of a key, or NULL. */
struct node *node_find(const struct node *map, const char *key);

/* `key:` with nothing behind it. */
bool node_is_nothing(const struct node *node);

#endif
