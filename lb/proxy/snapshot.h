/* snapshot: one loaded configuration, compiled for the data path and never modified.
 *
 * Built by the helper thread (snapshot_build), bound to run-time objects and published by the
 * control thread. Each worker counts its own users without atomics and holds one reference for
 * all of them; when the last worker lets go, the control thread frees it. */
#ifndef LP_LB_PROXY_SNAPSHOT_H
#define LP_LB_PROXY_SNAPSHOT_H

#include "lb/net/listener.h"
#include "lb/pool/pool.h"
#include "tls/tls.h"

struct snap_route {
    const struct lp_cfg_route *config;
    struct pool_view *pool;
    struct policy *policy;
};

struct snap_listener {
    const struct lp_cfg_listener *config;
    struct snap_route *routes;
    struct route_index *index;   /* NULL: so few that none is needed */
    struct endpoint **endpoints; /* as in config->binds */
    struct lp_tls_front *tls;    /* NULL: plain */
    struct lp_slice hsts;        /* the value of Strict-Transport-Security; "": none */
    bool reads_hello;            /* TLS, or a route or hash key of it asks for the SNI */
    bool keeps_name;             /* what was asked for is needed after the handshake */
};

struct snapshot {
    uint32_t generation;            /* 1, 2, 3, ... */
    _Atomic uint32_t workers_count; /* that still use it */
    struct lp_config *config;
    struct lp_arena arena;
    struct snap_listener *listeners; /* as in config */
    struct lp_tls_front **fronts;    /* likewise, NULL where plain */
    struct pool_view *pools;         /* as in config */
    struct server **drained;         /* removed servers that still have connections */
    uint32_t drained_count;
    struct lp_list link; /* control thread: all live ones */
};

/* Takes config (also on failure); reads the certificates that it names. What is wrong with them
 * goes into the report, and err says how many. Any thread. */
bool snapshot_build(struct snapshot **out, struct lp_config *config,
                    struct lp_config_report *report, struct lp_err *err) LP_MUST_USE;
/* Control thread: connects to run-time objects. endpoints must be open already. */
void snapshot_bind(struct snapshot *snapshot, struct registry *registry,
                   const struct lp_list *endpoints);
void snapshot_destroy(struct snapshot *snapshot);

/* Makes ready what finds a route among many; in snapshot_bind(). */
void routes_index(struct snap_listener *listener, struct lp_arena *arena);

/* The first route that matches, or NULL. path is normalised; host raw, with or without a port. */
const struct snap_route *snapshot_route(const struct snap_listener *listener, struct lp_slice host,
                                        struct lp_slice path, bool is_websocket);
/* The same for a tcp listener. name is the SNI in lower case, "" without. */
const struct snap_route *snapshot_route_tcp(const struct snap_listener *listener,
                                            struct lp_slice name);

#endif
