/* relay: what both engines are given. */
#ifndef BENCH_FLOOR_RELAY_H
#define BENCH_FLOOR_RELAY_H

#include "base/base.h"

struct relay {
    int listen_fd; /* non-blocking; accepted sockets inherit TCP_NODELAY */
    int signal_fd; /* readable when it is time to end */
    struct lp_addr to;
    uint32_t buffer_size; /* of one copy, at most */
};

/* Relay until a signal. Give the exit status; 1 after a sentence on standard error. */
int relay_with_epoll(const struct relay *relay);
int relay_with_uring(const struct relay *relay);

/* A socket to connect to relay->to, its options set; -1 with errno when there is none. flags:
 * SOCK_NONBLOCK or 0. */
int relay_socket(const struct relay *relay, int flags);

/* Turns away one client for whom there is no descriptor, with one kept for that. */
void relay_turn_away(const struct relay *relay);

/* The connection ends with a reset, as the one on its other side did. */
void relay_reset(int fd);

#endif
