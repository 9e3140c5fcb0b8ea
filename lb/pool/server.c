/* See server.h. */
#include "lb/pool/server.h"

#include <stdlib.h>
#include <string.h>

struct server *server_create(struct pool *pool, struct lp_slice name, const struct lp_addr *address,
                             uint32_t workers_count)
{
    size_t size = sizeof(struct server) + workers_count * sizeof(struct server_cell);
    struct server *server = lp_alloc_lines(size);

    server->pool = pool;
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
    for (uint32_t i = 0; i < server->workers_count; i++)
        lp_tls_ticket_free(server->cells[i].ticket);
    lp_list_remove(&server->link);
    lp_free(server->name);
    lp_free(server);
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
