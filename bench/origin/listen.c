/* Listening sockets. Options that accepted sockets inherit are set here, once. */
#include "bench/origin/listen.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/origin/head.h"

#define BACKLOG   4096
#define PORT_MAX  65535u
#define HOST_MAX  64u
#define PORTS_MAX 4096u /* of one range: enough for every server of a large pool */

static void remove_socket_file(const char *path)
{
    struct stat found;
    if (stat(path, &found) == 0 && S_ISSOCK(found.st_mode))
        unlink(path);
}

static int open_socket(const struct lp_addr *addr)
{
    int on = 1, family = addr->as.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (family == AF_UNIX) {
        remove_socket_file(addr->as.un.sun_path);
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (bind(fd, &addr->as.any, addr->size) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static bool add_one(struct listeners *listeners, const char *text, struct lp_err *err)
{
    struct listener listener;
    if (!lp_addr_parse(&listener.addr, lp_slice_of(text), false))
        return lp_err_set(err, LP_ERR_CONFIG,
                          "--listen '%s': expected HOST:PORT, HOST:FIRST-LAST or unix:/path", text);
    listener.is_tcp = listener.addr.as.any.sa_family != AF_UNIX;
    listener.fd = open_socket(&listener.addr);
    if (listener.fd < 0)
        return lp_err_set(err, LP_ERR_SYSTEM, "cannot listen on %s: %s", text, strerror(errno));
    if (listeners->count == listeners->room) {
        listeners->room = listeners->room > 0 ? 2 * listeners->room : 16;
        listeners->list = lp_realloc(listeners->list, listeners->room * sizeof *listeners->list);
    }
    listeners->list[listeners->count++] = listener;
    return true;
}

/* "HOST:FIRST-LAST"? Gives the length of HOST and both ports. */
static bool parse_range(const char *text, int *host_size, uint64_t *first, uint64_t *last)
{
    const char *colon = strrchr(text, ':');
    const char *dash = colon != NULL ? strchr(colon, '-') : NULL;
    if (dash == NULL || strncmp(text, "unix:", 5) == 0 || colon - text > (int)HOST_MAX)
        return false;
    *host_size = (int)(colon - text);
    return number_parse(first, (struct lp_slice){colon + 1, (size_t)(dash - colon) - 1},
                        PORT_MAX) &&
           number_parse(last, lp_slice_of(dash + 1), PORT_MAX);
}

bool listeners_add(struct listeners *listeners, const char *text, struct lp_err *err)
{
    int host_size;
    uint64_t first, last;
    if (!parse_range(text, &host_size, &first, &last))
        return add_one(listeners, text, err);
    if (first > last || last - first >= PORTS_MAX)
        return lp_err_set(err, LP_ERR_CONFIG, "--listen '%s': a range has 1 to %u ports", text,
                          PORTS_MAX);
    for (uint64_t port = first; port <= last; port++) {
        char one[HOST_MAX + 16];
        snprintf(one, sizeof one, "%.*s:%u", host_size, text, (unsigned)port);
        if (!add_one(listeners, one, err))
            return false;
    }
    return true;
}

void listeners_deinit(struct listeners *listeners)
{
    for (uint32_t i = 0; i < listeners->count; i++) {
        close(listeners->list[i].fd);
        if (!listeners->list[i].is_tcp)
            unlink(listeners->list[i].addr.as.un.sun_path);
    }
    lp_free(listeners->list);
    *listeners = (struct listeners){0};
}
