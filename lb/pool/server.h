/* server: one address of a pool at run time. Outlives configurations.
 *
 * Its identity is pool name + server name + address + what is spoken there (TLS, PROXY protocol, as
 * the file has them): the same four in a new file are the same object, so connections, counters and
 * health go on. Created and freed by the control thread; workers reach it through a snapshot, or
 * through a connection that they count in their cell. */
#ifndef LP_LB_POOL_SERVER_H
#define LP_LB_POOL_SERVER_H

#include <stdatomic.h>

#include "tls/tls.h"

struct pool;

/* Unknown is not down: its first check has not ended, or it has no checks. */
enum server_health { SERVER_UNKNOWN, SERVER_UP, SERVER_DOWN };

/* What one worker has with the server; written by that worker only. */
struct server_cell {
    struct lp_list idle;    /* struct back, the most recently used first */
    struct lp_list tunnels; /* struct stream: tunnels and event streams  */
    uint32_t idle_count;
    struct lp_tls_ticket *ticket; /* to resume a TLS session, or NULL */
    uint64_t plan_ends_ms; /* of the window that turns were planned in when it drained last */
    _Atomic uint32_t connections_count; /* open ones, idle included; read by the control thread */
} __attribute__((aligned(LP_CACHE_LINE)));

struct server {
    struct lp_list link; /* pool->servers */
    struct pool *pool;
    char *name;
    struct lp_addr address;
    uint64_t speech; /* a digest of the TLS and PROXY settings */
    bool uses_tls;
    enum lp_proxy_protocol proxy_protocol;
    char address_text[LP_ADDR_TEXT_MAX];
    uint32_t snapshots_count; /* that list it; control thread only */
    bool is_listed;           /* by the newest snapshot; else it drains; control thread only */
    struct check *check;      /* control thread only; NULL without checks */
    _Atomic uint64_t drain_began_ms; /* 0: does not drain; control thread writes, then publishes */
    _Atomic uint8_t health;          /* enum server_health; server_set_health() writes it */
    _Atomic bool was_refused;        /* a worker could not connect since the last check */
    _Atomic uint32_t active_count;   /* requests and tunnels now, for least_connections */
    uint32_t workers_count;
    struct server_cell cells[];
};

struct server *server_create(struct pool *pool, struct lp_slice name, const struct lp_addr *address,
                             uint32_t workers_count);
void server_destroy(struct server *server);

/* Does any worker still have a connection to it, or a stream that names it? */
bool server_is_used(const struct server *server);

/* Control thread. */
void server_set_health(struct server *server, enum server_health health);

static inline enum server_health server_health(const struct server *server)
{
    return (enum server_health)atomic_load_explicit(&server->health, memory_order_relaxed);
}

#endif
