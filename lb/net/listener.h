/* listener: bound addresses. An endpoint keeps its sockets across reloads, one per worker
 * (SO_REUSEPORT), for as long as a configuration lists its address. */
#ifndef LP_LB_NET_LISTENER_H
#define LP_LB_NET_LISTENER_H

#include "config/config.h"
#include "lb/net/loop.h"

struct endpoint {
    struct lp_list link; /* process: all endpoints; control thread only */
    struct lp_addr address;
    bool takes_ipv4; /* an IPv6 wildcard that accepts IPv4 as well */
    char text[LP_ADDR_TEXT_MAX];
    uint32_t snapshots_count; /* that list it; control thread only */
    _Atomic uint32_t workers_accepting;
    _Atomic bool is_refusing; /* a Unix socket's file is gone */
    uint32_t fds_count;
    int fds[]; /* one a worker; of a Unix socket all the same file */
};

/* Binds and listens. False with a sentence: in use (also by another limpet) and still so after
 * patience_ms, not permitted, not an address of this machine. Gives *out. */
bool endpoint_open(struct endpoint **out, const struct lp_cfg_bind *bind, uint32_t workers_count,
                   uint32_t patience_ms, struct lp_err *err) LP_MUST_USE;
/* Closes what workers have not closed (fds set to -1) and frees. Removes a Unix socket's file. */
void endpoint_destroy(struct endpoint *endpoint);
/* Have all workers let go of its sockets? Then it is kept only for what still names it. */
bool endpoint_is_closed(const struct endpoint *endpoint);
bool endpoint_is_for(const struct endpoint *endpoint, const struct lp_cfg_bind *bind);

/* From now on nobody new finds this socket of the endpoint; queued connections are still
 * accepted. */
void endpoint_refuse_new(struct endpoint *endpoint, int fd);

#endif
