/* Binding and letting go of addresses. */
#include "lb/net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG  65535 /* the kernel takes net.core.somaxconn of it */
#define RETRY_MS 50

static bool explain(struct lp_err *err, const char *text, int error)
{
    switch (error) {
    case EADDRINUSE:
        return lp_err_set(err, LP_ERR_SYSTEM,
                          "%s is in use: another program, or another limpet, listens there", text);
    case EACCES:
    case EPERM:
        return lp_err_set(err, LP_ERR_SYSTEM,
                          "not permitted to listen on %s: ports below 1024 need root or "
                          "CAP_NET_BIND_SERVICE",
                          text);
    case EADDRNOTAVAIL:
        return lp_err_set(err, LP_ERR_SYSTEM, "%s is not an address of this machine", text);
    case EMFILE:
    case ENFILE:
        return lp_err_set(err, LP_ERR_LIMIT,
                          "no file descriptor is left to listen on %s: raise RLIMIT_NOFILE", text);
    default:
        return lp_err_set(err, LP_ERR_SYSTEM, "cannot listen on %s: %s", text, strerror(error));
    }
}

/* Options that accepted sockets inherit are set here, once. */
static int open_tcp(const struct endpoint *endpoint, bool reuse_port)
{
    const int on = 1, off = 0;
    int fd = socket(endpoint->address.as.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (endpoint->address.as.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, endpoint->takes_ipv4 ? &off : &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    /* Without SO_REUSEPORT it only asks whether anybody listens there, and takes no client. */
    if (bind(fd, &endpoint->address.as.any, endpoint->address.size) == 0 &&
        (!reuse_port || listen(fd, BACKLOG) == 0))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A socket file that nobody answers on is left over from a crash and may be replaced. */
static bool is_stale_socket(const struct lp_addr *address)
{
    struct stat status;
    if (stat(address->as.un.sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused =
        fd >= 0 && connect(fd, &address->as.any, address->size) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

static int open_unix(const struct endpoint *endpoint)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (is_stale_socket(&endpoint->address))
        unlink(endpoint->address.as.un.sun_path);
    if (bind(fd, &endpoint->address.as.any, endpoint->address.size) == 0 &&
        listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void close_sockets(struct endpoint *endpoint)
{
    for (uint32_t i = 0; i < endpoint->fds_count; i++) {
        if (endpoint->fds[i] >= 0)
            close(endpoint->fds[i]);
        endpoint->fds[i] = -1;
    }
}

static bool open_sockets(struct endpoint *endpoint)
{
    if (endpoint->address.as.any.sa_family == AF_UNIX) {
        endpoint->fds[0] = open_unix(endpoint);
        for (uint32_t i = 1; i < endpoint->fds_count && endpoint->fds[0] >= 0; i++)
            endpoint->fds[i] = fcntl(endpoint->fds[0], F_DUPFD_CLOEXEC, 0);
        return endpoint->fds[endpoint->fds_count - 1] >= 0;
    }
    /* Alone first: with SO_REUSEPORT a second limpet would silently take half the clients. */
    int alone = open_tcp(endpoint, false);
    if (alone < 0)
        return false;
    close(alone);
    for (uint32_t i = 0; i < endpoint->fds_count; i++) {
        endpoint->fds[i] = open_tcp(endpoint, true);
        if (endpoint->fds[i] < 0)
            return false;
    }
    return true;
}

/* A process that was killed a moment ago may still hold the address: the kernel takes its io_uring
 * down in the background. */
static bool open_sockets_soon(struct endpoint *endpoint, uint32_t patience_ms)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000l};

    while (!open_sockets(endpoint)) {
        if (errno != EADDRINUSE || patience_ms < RETRY_MS)
            return false;
        patience_ms -= RETRY_MS;
        close_sockets(endpoint);
        nanosleep(&pause, NULL);
    }
    return true;
}

bool endpoint_open(struct endpoint **out, const struct lp_cfg_bind *bind, uint32_t workers_count,
                   uint32_t patience_ms, struct lp_err *err)
{
    struct endpoint *endpoint = lp_alloc(sizeof(*endpoint) + workers_count * sizeof(int));

    endpoint->address = bind->address;
    endpoint->takes_ipv4 = bind->takes_ipv4;
    endpoint->fds_count = workers_count;
    lp_addr_format(&bind->address, endpoint->text);
    lp_list_init(&endpoint->link);
    for (uint32_t i = 0; i < workers_count; i++)
        endpoint->fds[i] = -1;
    if (open_sockets_soon(endpoint, patience_ms)) {
        *out = endpoint;
        return true;
    }
    int error = errno;
    if (endpoint->fds[0] < 0)
        endpoint->address.size = 0; /* not our file: leave it alone */
    endpoint_destroy(endpoint);
    char text[LP_ADDR_TEXT_MAX];
    lp_addr_format(&bind->address, text);
    return explain(err, text, error);
}

/* Once: another process may have put its own there afterwards. */
static void remove_file(struct endpoint *endpoint)
{
    if (endpoint->address.as.any.sa_family == AF_UNIX &&
        !atomic_exchange(&endpoint->is_refusing, true))
        unlink(endpoint->address.as.un.sun_path);
}

void endpoint_destroy(struct endpoint *endpoint)
{
    close_sockets(endpoint);
    if (endpoint->address.size > 0)
        remove_file(endpoint);
    lp_list_remove(&endpoint->link);
    lp_free(endpoint);
}

bool endpoint_is_closed(const struct endpoint *endpoint)
{
    return atomic_load_explicit(&endpoint->workers_accepting, memory_order_acquire) == 0 &&
           endpoint->fds[0] < 0;
}

bool endpoint_is_for(const struct endpoint *endpoint, const struct lp_cfg_bind *bind)
{
    return endpoint->takes_ipv4 == bind->takes_ipv4 &&
           lp_addr_equal(&endpoint->address, &bind->address);
}

/* Drops packets that open a connection (SYN without ACK) and nothing else: the last ACK of a
 * handshake, and data that waits to be accepted, pass the same filter. Offsets are of the TCP
 * header, where a socket's filter sees a packet begin. */
static void drop_syns(int fd)
{
    enum { FLAGS_AT = 13, SYN = 0x02, ACK = 0x10 };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = LP_COUNT_OF(code), .filter = code};

    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

void endpoint_refuse_new(struct endpoint *endpoint, int fd)
{
    if (endpoint->address.as.any.sa_family == AF_UNIX)
        remove_file(endpoint);
    else
        drop_syns(fd);
}
