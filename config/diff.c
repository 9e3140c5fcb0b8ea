/* What changes from one configuration to the next: servers by pool and name, sockets by address,
 * and keys that need a restart. Both sides are sorted and merged, so ten thousand servers take
 * milliseconds. Start at lp_config_diff(). */
#include <stdlib.h>
#include <string.h>

#include "config/order.h"
#include "config/schema.h"

/* ---- servers ---- */

struct placed_server {
    const struct lp_cfg_pool *pool;
    const struct lp_cfg_server *server;
};

static int compare_servers(const void *left, const void *right)
{
    const struct placed_server *a = left, *b = right;
    int order = order_slices(a->pool->name, b->pool->name);

    return order != 0 ? order : order_slices(a->server->name, b->server->name);
}

static struct placed_server *sort_servers(const struct lp_config *config, uint32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < config->pools_count; i++)
        *count += config->pools[i].servers_count;

    struct placed_server *all = lp_alloc(sizeof(*all) * ((size_t)*count + 1));
    uint32_t used = 0;
    for (uint32_t i = 0; i < config->pools_count; i++)
        for (uint32_t j = 0; j < config->pools[i].servers_count; j++)
            all[used++] = (struct placed_server){&config->pools[i], &config->pools[i].servers[j]};
    qsort(all, used, sizeof(*all), compare_servers);
    return all;
}

/* old or new is NULL, but not both. */
static void add_server(struct lp_config_diff *out, enum lp_cfg_change change,
                       const struct lp_config *configs[2], const struct placed_server *old,
                       const struct placed_server *new)
{
    const struct placed_server *one = old != NULL ? old : new;
    LP_ASSERT(one != NULL);
    struct lp_slice pool = one->pool->name;

    out->servers[out->servers_count++] = (struct lp_cfg_server_change){
        .change = change,
        .old_pool = lp_config_pool(configs[0], pool),
        .new_pool = lp_config_pool(configs[1], pool),
        .old_server = old != NULL ? old->server : NULL,
        .new_server = new != NULL ? new->server : NULL,
    };
    out->servers_added += change == LP_CFG_ADDED;
    out->servers_removed += change == LP_CFG_REMOVED;
    out->servers_changed += change == LP_CFG_CHANGED;
}

static bool is_same_file(const struct lp_cfg_file *a, const struct lp_cfg_file *b)
{
    return lp_slice_equal(a->path, b->path);
}

/* Only what is written: a file that has other bytes now changes new connections, not the server. */
static bool is_same_tls(const struct lp_cfg_back_tls *a, const struct lp_cfg_back_tls *b)
{
    if (!a->is_on || !b->is_on)
        return a->is_on == b->is_on;
    return a->verify == b->verify && lp_slice_equal(a->name, b->name) &&
           is_same_file(&a->ca, &b->ca) && is_same_file(&a->cert, &b->cert) &&
           is_same_file(&a->key, &b->key);
}

static bool is_same_server(const struct placed_server *a, const struct placed_server *b)
{
    return lp_addr_equal(&a->server->address, &b->server->address) &&
           a->pool->proxy_protocol == b->pool->proxy_protocol &&
           is_same_tls(&a->pool->tls, &b->pool->tls);
}

static void diff_servers(const struct lp_config *configs[2], struct lp_config_diff *out)
{
    uint32_t old_count, new_count, i = 0, j = 0;
    struct placed_server *old = sort_servers(configs[0], &old_count);
    struct placed_server *new = sort_servers(configs[1], &new_count);

    out->servers = lp_alloc(sizeof(*out->servers) * ((size_t)old_count + new_count + 1));
    while (i < old_count || j < new_count) {
        int order = i == old_count ? 1 : j == new_count ? -1 : compare_servers(&old[i], &new[j]);
        if (order < 0) {
            add_server(out, LP_CFG_REMOVED, configs, &old[i++], NULL);
        } else if (order > 0) {
            add_server(out, LP_CFG_ADDED, configs, NULL, &new[j++]);
        } else {
            if (!is_same_server(&old[i], &new[j]))
                add_server(out, LP_CFG_CHANGED, configs, &old[i], &new[j]);
            i++;
            j++;
        }
    }
    lp_free(old);
    lp_free(new);
}

/* ---- binds ---- */

struct placed_bind {
    char text[LP_ADDR_TEXT_MAX];
    const struct lp_cfg_listener *listener;
    const struct lp_cfg_bind *bind;
};

/* "*:80" and "[::]:80" are different sockets. */
static int compare_binds(const void *left, const void *right)
{
    const struct placed_bind *a = left, *b = right;
    int order = strcmp(a->text, b->text);

    return order != 0 ? order : (int)a->bind->takes_ipv4 - (int)b->bind->takes_ipv4;
}

static struct placed_bind *sort_binds(const struct lp_config *config, uint32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < config->listeners_count; i++)
        *count += config->listeners[i].binds_count;

    struct placed_bind *all = lp_alloc(sizeof(*all) * ((size_t)*count + 1));
    uint32_t used = 0;
    for (uint32_t i = 0; i < config->listeners_count; i++) {
        for (uint32_t j = 0; j < config->listeners[i].binds_count; j++) {
            all[used] = (struct placed_bind){.listener = &config->listeners[i],
                                             .bind = &config->listeners[i].binds[j]};
            lp_addr_format(&all[used].bind->address, all[used].text);
            used++;
        }
    }
    qsort(all, used, sizeof(*all), compare_binds);
    return all;
}

static void add_bind(struct lp_config_diff *out, enum lp_cfg_change change,
                     const struct placed_bind *old, const struct placed_bind *new)
{
    out->binds[out->binds_count++] = (struct lp_cfg_bind_change){
        .change = change,
        .old_listener = old != NULL ? old->listener : NULL,
        .new_listener = new != NULL ? new->listener : NULL,
        .old_bind = old != NULL ? old->bind : NULL,
        .new_bind = new != NULL ? new->bind : NULL,
    };
    out->binds_added += change == LP_CFG_ADDED;
    out->binds_removed += change == LP_CFG_REMOVED;
}

static void diff_binds(const struct lp_config *configs[2], struct lp_config_diff *out)
{
    uint32_t old_count, new_count, i = 0, j = 0;
    struct placed_bind *old = sort_binds(configs[0], &old_count);
    struct placed_bind *new = sort_binds(configs[1], &new_count);

    out->binds = lp_alloc(sizeof(*out->binds) * ((size_t)old_count + new_count + 1));
    while (i < old_count || j < new_count) {
        int order = i == old_count ? 1 : j == new_count ? -1 : compare_binds(&old[i], &new[j]);
        if (order < 0) {
            add_bind(out, LP_CFG_REMOVED, &old[i++], NULL);
        } else if (order > 0) {
            add_bind(out, LP_CFG_ADDED, NULL, &new[j++]);
        } else {
            if (!lp_slice_equal(old[i].listener->name, new[j].listener->name))
                add_bind(out, LP_CFG_CHANGED, &old[i], &new[j]);
            i++;
            j++;
        }
    }
    lp_free(old);
    lp_free(new);
}

/* ---- the main line ---- */

/* Keys that need a restart are numbers at the top of the file. */
static const char *changed_restart_key(const struct lp_config *old_config,
                                       const struct lp_config *new_config)
{
    for (uint32_t i = 0; i < schema_rows_count; i++) {
        const struct schema_row *row = &schema_rows[i];
        if (row->reload != RELOAD_RESTART)
            continue;
        LP_ASSERT(row->in == SECTION_ROOT && row->size > 0);
        if (memcmp((const char *)old_config + row->offset, (const char *)new_config + row->offset,
                   row->size) != 0)
            return row->key;
    }
    return NULL;
}

void lp_config_diff(const struct lp_config *old_config, const struct lp_config *new_config,
                    struct lp_config_diff *out)
{
    const struct lp_config *configs[2] = {old_config, new_config};

    *out = (struct lp_config_diff){.restart_key = changed_restart_key(old_config, new_config)};
    diff_servers(configs, out);
    diff_binds(configs, out);
}

void lp_config_diff_deinit(struct lp_config_diff *diff)
{
    lp_free(diff->servers);
    lp_free(diff->binds);
    *diff = (struct lp_config_diff){0};
}

/* ---- timeouts ---- */

static bool are_alike(const struct lp_cfg_timeouts *a, const struct lp_cfg_timeouts *b)
{
    return memcmp(a, b, sizeof(*a)) == 0; /* plain numbers, without padding */
}

static bool listeners_wait_alike(const struct lp_cfg_listener *a, const struct lp_cfg_listener *b)
{
    if (!lp_slice_equal(a->name, b->name) || !are_alike(&a->timeouts, &b->timeouts) ||
        a->routes_count != b->routes_count)
        return false;
    for (uint32_t i = 0; i < a->routes_count; i++)
        if (!are_alike(&a->routes[i].timeouts, &b->routes[i].timeouts))
            return false;
    return true;
}

bool lp_config_waits_alike(const struct lp_config *old_config, const struct lp_config *new_config)
{
    if (!are_alike(&old_config->timeouts, &new_config->timeouts) ||
        old_config->listeners_count != new_config->listeners_count ||
        old_config->pools_count != new_config->pools_count)
        return false;
    for (uint32_t i = 0; i < new_config->listeners_count; i++)
        if (!listeners_wait_alike(&old_config->listeners[i], &new_config->listeners[i]))
            return false;
    for (uint32_t i = 0; i < new_config->pools_count; i++) {
        const struct lp_cfg_pool *a = &old_config->pools[i], *b = &new_config->pools[i];
        if (!lp_slice_equal(a->name, b->name) || !are_alike(&a->timeouts, &b->timeouts) ||
            a->keep_alive_idle != b->keep_alive_idle ||
            a->keep_alive_timeout_ms != b->keep_alive_timeout_ms)
            return false;
    }
    return true;
}
