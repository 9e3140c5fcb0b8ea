/* listen: the addresses that the origin answers on. */
#ifndef BENCH_ORIGIN_LISTEN_H
#define BENCH_ORIGIN_LISTEN_H

#include "base/base.h"

struct listener {
    int fd;
    bool is_tcp;
    struct lp_addr addr;
};

struct listeners {
    struct listener *list;
    uint32_t count, room;
};

/* Adds the sockets of HOST:PORT, HOST:FIRST-LAST or unix:/path, listening and non-blocking. A
 * socket file that is left over is replaced. */
bool listeners_add(struct listeners *listeners, const char *text, struct lp_err *err) LP_MUST_USE;

/* Closes them and removes the socket files. */
void listeners_deinit(struct listeners *listeners);

#endif
