/* See server.h. */
#include "lb/pool/server.h"

#include <stdlib.h>
#include <string.h>

#include "lb/pool/pool.h"

struct server *server_create(struct pool *pool, struct lp_slice name, const struct lp_addr *address,
                             uint32_t workers_count)
{
    size_t size = sizeof(struct server) + workers_count * sizeof(struct server_cell);
    struct server *server = lp_alloc_lines(size);

    server->pool = pool;
    atomic_fetch_add_explicit(&pool->not_down_count, 1, memory_order_relaxed);
    server->name = lp_alloc(name.size + 1);
    memcpy(server->name, name.data, name.size);
    server->address = *address;
    lp_addr_format(address, server->address_text);
    server->workers_count = workers_count;
    lp_list_init(&server->link);
    for (uint32_t i = 0; i < workers_count; i++) {
        lp_list_init(&server->cells[i].idle);
        lp_list_init(&server->cells[i].tunnels);
    }
    return server;
}

void server_destroy(struct server *server)
{
    server_set_health(server, SERVER_DOWN);
    for (uint32_t i = 0; i < server->workers_count; i++)
        lp_tls_ticket_free(server->cells[i].ticket);
    lp_list_remove(&server->link);
    lp_free(server->name);
    lp_free(server);
}

void server_set_health(struct server *server, enum server_health health)
{
    bool was_down = server_health(server) == SERVER_DOWN, is_down = health == SERVER_DOWN;

    atomic_store_explicit(&server->health, (uint8_t)health, memory_order_relaxed);
    if (was_down != is_down)
        atomic_fetch_add_explicit(&server->pool->not_down_count, is_down ? UINT32_MAX : 1,
                                  memory_order_relaxed);
}

bool server_is_used(const struct server *server)
{
    if (atomic_load_explicit(&server->active_count, memory_order_acquire) > 0)
        return true;
    for (uint32_t i = 0; i < server->workers_count; i++)
        if (atomic_load_explicit(&server->cells[i].connections_count, memory_order_acquire) > 0)
            return true;
    return false;
}
