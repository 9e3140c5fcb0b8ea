/* listener: bound addresses. An endpoint keeps its sockets across reloads, one per worker
 * (SO_REUSEPORT), for as long as a configuration lists its address. */
#ifndef LP_LB_NET_LISTENER_H
#define LP_LB_NET_LISTENER_H

#include "config/config.h"
#include "lb/net/loop.h"

struct endpoint {
    struct lp_list link; /* process: all endpoints; control thread only */
    struct lp_addr address;
    bool takes_ipv4;  /* an IPv6 wildcard that accepts IPv4 as well */
    bool has_no_ipv6; /* of the kernel: then 0.0.0.0 stands for it */
    bool is_fresh;    /* no snapshot has come to use it; control thread only */
    char text[LP_ADDR_TEXT_MAX];
    uint32_t snapshots_count; /* that list it; control thread only */
    _Atomic uint32_t workers_accepting;
    _Atomic bool has_file;   /* a Unix socket's */
    _Atomic bool is_covered; /* removed, but its clients find another endpoint */
    uint32_t *inodes;        /* of its sockets */
    uint32_t fds_count;
    int fds[]; /* one a worker; of a Unix socket all the same file */
};

enum endpoint_outcome {
    ENDPOINT_BOUND,
    ENDPOINT_STRANGER, /* another program, or another limpet, listens there */
    ENDPOINT_PASSING,  /* somebody's outgoing connection has the port, for as long as it lasts */
    ENDPOINT_REFUSED,  /* not permitted, not an address of this machine, ... */
};

/* Binds without listening: until endpoint_listen() no client finds it. Sockets of the endpoints in
 * ours may overlap with it. Gives *out, or a sentence. */
enum endpoint_outcome endpoint_bind(struct endpoint **out, const struct lp_cfg_bind *bind,
                                    uint32_t workers_count, const struct lp_list *ours,
                                    struct lp_err *err) LP_MUST_USE;
/* False with a sentence when somebody was faster. */
bool endpoint_listen(struct endpoint *endpoint, struct lp_err *err) LP_MUST_USE;
/* Closes what workers have not closed (fds set to -1) and frees. Removes a Unix socket's file. */
void endpoint_destroy(struct endpoint *endpoint);
/* Have all workers let go of its sockets? Then it is kept only for what still names it. */
bool endpoint_is_closed(const struct endpoint *endpoint);
bool endpoint_is_for(const struct endpoint *endpoint, const struct lp_cfg_bind *bind);
/* Is its address one of the other's? (Of an IPv6 wildcard only IPv6 counts.) */
bool endpoint_is_within(const struct endpoint *endpoint, const struct endpoint *other);

/* From now on nobody new finds this socket of the endpoint; queued connections are still
 * accepted. */
void endpoint_refuse_new(struct endpoint *endpoint, int fd);

#endif
