/* Addresses across the file: two listeners on one address, and a server that is limpet's own
 * listener. All binds are written in one notation and sorted, so that thousands of servers can be
 * looked up among them. */
#include "config/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/order.h"

struct bound {
    char text[LP_ADDR_TEXT_MAX]; /* as lp_addr_format() writes it */
    bool is_implied;             /* the IPv4 half of "*:port" */
    const struct lp_cfg_listener *listener;
    struct node *listener_node;
    struct lp_cfg_pos pos;
};

struct bounds {
    struct bound *all;
    uint32_t count;
};

static int compare_bounds(const void *left, const void *right)
{
    const struct bound *a = left, *b = right;
    int order = strcmp(a->text, b->text);

    return order != 0 ? order : order_positions(a->pos, b->pos);
}

static uint32_t count_binds(const struct lp_config *config)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < config->listeners_count; i++)
        count += config->listeners[i].binds_count;
    return count;
}

static void collect(struct bounds *bounds, const struct lp_config *config, struct node *listeners)
{
    struct node *node = listeners->first;

    bounds->all = lp_alloc(sizeof(struct bound) * (2 * (size_t)count_binds(config) + 1));
    for (uint32_t i = 0; i < config->listeners_count; i++, node = node->next) {
        const struct lp_cfg_listener *listener = &config->listeners[i];
        for (uint32_t j = 0; j < listener->binds_count; j++) {
            const struct lp_cfg_bind *bind = &listener->binds[j];
            struct bound *bound = &bounds->all[bounds->count++];
            *bound = (struct bound){.listener = listener, .listener_node = node, .pos = bind->pos};
            lp_addr_format(&bind->address, bound->text);
            if (!bind->takes_ipv4)
                continue;
            struct bound *implied = &bounds->all[bounds->count++];
            *implied = *bound;
            implied->is_implied = true;
            snprintf(implied->text, sizeof(implied->text), "0.0.0.0:%u",
                     lp_addr_port(&bind->address));
        }
    }
    qsort(bounds->all, bounds->count, sizeof(struct bound), compare_bounds);
}

static const struct bound *find(const struct bounds *bounds, const char *text)
{
    uint32_t from = 0, to = bounds->count;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        int order = strcmp(bounds->all[middle].text, text);
        if (order == 0)
            return &bounds->all[middle];
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

/* ---- two listeners on one address ---- */

static void refuse_second(struct reader *r, const struct place *listeners,
                          const struct bound *first, const struct bound *second)
{
    struct place listener = {
        .up = listeners, .node = second->listener_node, .key = second->listener->name};
    struct place bind = place_of_key(&listener, "bind");
    uint32_t count;
    struct node *node = read_items(r, &bind, &count);

    for (uint32_t i = 0; i < count; i++, node = node->next) {
        if (node->pos.line != second->pos.line || node->pos.column != second->pos.column)
            continue;
        struct place at = place_of_item(&bind, node, i);
        read_error(r, &at, "listener \"%.*s\" is bound to this address already, in line %u",
                   LP_SLICE_ARG(first->listener->name), first->pos.line);
    }
}

static void refuse_doubles(struct reader *r, const struct place *listeners,
                           const struct bounds *bounds)
{
    for (uint32_t i = 1; i < bounds->count; i++) {
        const struct bound *first = &bounds->all[i - 1], *second = &bounds->all[i];
        /* "*:80" twice is found as [::]:80 already. */
        if (strcmp(first->text, second->text) == 0 && !(first->is_implied && second->is_implied))
            refuse_second(r, listeners, first, second);
    }
}

/* ---- a server that is our own listener ---- */

static const struct bound *find_own(const struct bounds *bounds, const struct lp_addr *address)
{
    char text[LP_ADDR_TEXT_MAX];
    const struct bound *own;

    lp_addr_format(address, text);
    own = find(bounds, text);
    if (own != NULL)
        return own;
    struct lp_ip ip = lp_addr_ip(address);
    bool is_loopback = (ip.family == 4 && ip.bytes[0] == 127) ||
                       (ip.family == 6 && IN6_IS_ADDR_LOOPBACK(&address->as.in6.sin6_addr));
    if (!is_loopback)
        return NULL;
    snprintf(text, sizeof(text), ip.family == 4 ? "0.0.0.0:%u" : "[::]:%u", lp_addr_port(address));
    return find(bounds, text);
}

static void warn_of_own_servers(struct reader *r, const struct place *pools,
                                const struct bounds *bounds)
{
    struct node *pool_node = pools->node->first;

    for (uint32_t i = 0; i < r->config->pools_count; i++, pool_node = pool_node->next) {
        const struct lp_cfg_pool *config = &r->config->pools[i];
        struct place pool = {.up = pools, .node = pool_node, .key = pool_node->key->text};
        struct place servers = place_of_key(&pool, "servers");
        struct node *node = servers.node != NULL ? servers.node->first : NULL;
        for (uint32_t j = 0; node != NULL; j++, node = node->next) {
            const struct bound *own = find_own(bounds, &config->servers[j].address);
            struct place server = {.up = &servers, .node = node, .key = node->key->text};
            if (own != NULL)
                read_warning(r, &server,
                             "is limpet's own listener \"%.*s\": requests would go in circles",
                             LP_SLICE_ARG(own->listener->name));
        }
    }
}

void check_binds(struct reader *r, const struct place *root)
{
    struct place listeners = place_of_key(root, "listeners");
    struct place pools = place_of_key(root, "pools");
    struct bounds bounds = {0};

    if (r->config->listeners_count == 0)
        return;
    collect(&bounds, r->config, listeners.node);
    refuse_doubles(r, &listeners, &bounds);
    if (r->report->errors_count == 0 && r->config->pools_count > 0)
        warn_of_own_servers(r, &pools, &bounds);
    lp_free(bounds.all);
}
