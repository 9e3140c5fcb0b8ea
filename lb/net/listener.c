/* Binding and letting go of addresses. Start at endpoint_bind(). */
#include "lb/net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb/net/conn.h"
#include "lb/net/ports.h"

#define BACKLOG 65535 /* the kernel takes net.core.somaxconn of it */

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
    case EAFNOSUPPORT:
        return lp_err_set(err, LP_ERR_SYSTEM,
                          "%s cannot be listened on: this kernel has no IPv6; bind \"*:PORT\" for "
                          "every address that there is",
                          text);
    default:
        return lp_err_set(err, LP_ERR_SYSTEM, "cannot listen on %s: %s", text, strerror(error));
    }
}

static bool explain_passing(struct lp_err *err, const char *text)
{
    return lp_err_set(err, LP_ERR_SYSTEM,
                      "%s is in use, though nobody listens there: a connection from this machine "
                      "has the port; choose one outside net.ipv4.ip_local_port_range, or name it "
                      "in net.ipv4.ip_local_reserved_ports",
                      text);
}

static bool is_unix(const struct endpoint *endpoint)
{
    return endpoint->address.as.any.sa_family == AF_UNIX;
}

static struct lp_addr ipv4_any(uint16_t port)
{
    struct lp_addr any = {.size = sizeof(any.as.in)};

    any.as.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    return any;
}

/* Where its sockets are bound. */
static struct lp_addr place_of(const struct endpoint *endpoint)
{
    return endpoint->has_no_ipv6 ? ipv4_any(lp_addr_port(&endpoint->address)) : endpoint->address;
}

/* Options that accepted sockets inherit are set here, once. */
static int bind_tcp(const struct endpoint *endpoint, bool reuse_port)
{
    const struct lp_addr place = place_of(endpoint);
    const int on = 1, off = 0;
    int fd = socket(place.as.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (place.as.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, endpoint->takes_ipv4 ? &off : &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    conn_bound_unsent(fd);
    if (bind(fd, &place.as.any, place.size) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Without SO_REUSEPORT: with it a second limpet would silently take half the clients. */
static bool is_free(const struct endpoint *endpoint)
{
    int alone = bind_tcp(endpoint, false);

    if (alone < 0)
        return false;
    close(alone);
    return true;
}

static bool has_inode(const void *context, uint32_t inode)
{
    const struct lp_list *ours = context;

    LP_LIST_EACH (link, ours) {
        const struct endpoint *endpoint = lp_container_of(link, struct endpoint, link);
        for (uint32_t i = 0; i < endpoint->fds_count; i++)
            if (endpoint->inodes[i] == inode)
                return true;
    }
    return false;
}

static bool overlaps_with_ours(const struct endpoint *endpoint, const struct lp_list *ours)
{
    LP_LIST_EACH (link, ours) {
        const struct endpoint *other = lp_container_of(link, struct endpoint, link);
        if (!endpoint_is_closed(other) &&
            (endpoint_is_within(endpoint, other) || endpoint_is_within(other, endpoint)))
            return true;
    }
    return false;
}

/* A bind failed, with errno. Where only sockets of ours are in the way, SO_REUSEPORT will do. */
static enum endpoint_outcome why_not(const struct endpoint *endpoint, const struct lp_list *ours,
                                     bool has_reuse_port)
{
    if (errno != EADDRINUSE)
        return ENDPOINT_REFUSED;
    const struct lp_addr place = place_of(endpoint);
    enum ports_answer answer = ports_who_listens(&place, endpoint->takes_ipv4, has_inode, ours);
    errno = EADDRINUSE;
    switch (answer) {
    case PORTS_NOBODY:
        return ENDPOINT_PASSING;
    case PORTS_OURS:
        return has_reuse_port ? ENDPOINT_PASSING : ENDPOINT_BOUND;
    case PORTS_UNKNOWN:
        if (!has_reuse_port && overlaps_with_ours(endpoint, ours))
            return ENDPOINT_BOUND;
        break;
    case PORTS_STRANGER:
        break;
    }
    return ENDPOINT_STRANGER;
}

/* "*" on a kernel without IPv6: every address of the machine is an IPv4 one. */
static void do_without_ipv6(struct endpoint *endpoint)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        close(fd);
        return;
    }
    if (errno != EAFNOSUPPORT)
        return;
    endpoint->has_no_ipv6 = true;
    struct lp_addr place = place_of(endpoint);
    lp_addr_format(&place, endpoint->text);
}

static enum endpoint_outcome bind_all_tcp(struct endpoint *endpoint, const struct lp_list *ours)
{
    if (endpoint->takes_ipv4)
        do_without_ipv6(endpoint);
    enum endpoint_outcome outcome =
        is_free(endpoint) ? ENDPOINT_BOUND : why_not(endpoint, ours, false);
    if (outcome != ENDPOINT_BOUND)
        return outcome;
    for (uint32_t i = 0; i < endpoint->fds_count; i++) {
        struct stat status;
        endpoint->fds[i] = bind_tcp(endpoint, true);
        if (endpoint->fds[i] < 0)
            return why_not(endpoint, ours, true);
        if (fstat(endpoint->fds[i], &status) == 0)
            endpoint->inodes[i] = (uint32_t)status.st_ino;
    }
    return ENDPOINT_BOUND;
}

/* --- Unix sockets: binding one creates its file, so that is left to endpoint_listen() --- */

/* A socket file that nobody answers on is left over from a crash and may be replaced. */
static bool is_stale_socket(const struct lp_addr *address)
{
    struct stat status;
    if (lstat(address->as.un.sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused =
        fd >= 0 && connect(fd, &address->as.any, address->size) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

static bool can_write_folder_of(const char *path)
{
    char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);

    memcpy(folder, path, size);
    folder[size] = '\0';
    return faccessat(AT_FDCWD, size == 0 ? "." : folder, W_OK | X_OK, AT_EACCESS) == 0;
}

static enum endpoint_outcome look_at_file(const struct endpoint *endpoint)
{
    const char *path = endpoint->address.as.un.sun_path;
    struct stat status;

    if (!can_write_folder_of(path))
        return ENDPOINT_REFUSED;
    if (lstat(path, &status) != 0)
        return errno == ENOENT ? ENDPOINT_BOUND : ENDPOINT_REFUSED;
    if (is_stale_socket(&endpoint->address))
        return ENDPOINT_BOUND;
    errno = EADDRINUSE;
    return ENDPOINT_STRANGER;
}

static bool listen_unix(struct endpoint *endpoint)
{
    const struct lp_addr *address = &endpoint->address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    endpoint->fds[0] = fd;
    if (fd < 0)
        return false;
    if (is_stale_socket(address))
        unlink(address->as.un.sun_path);
    if (bind(fd, &address->as.any, address->size) != 0)
        return false;
    atomic_store(&endpoint->has_file, true);
    for (uint32_t i = 1; i < endpoint->fds_count; i++) {
        endpoint->fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (endpoint->fds[i] < 0)
            return false;
    }
    return listen(fd, BACKLOG) == 0;
}

/* --- a whole endpoint --- */

enum endpoint_outcome endpoint_bind(struct endpoint **out, const struct lp_cfg_bind *bind,
                                    uint32_t workers_count, const struct lp_list *ours,
                                    struct lp_err *err)
{
    struct endpoint *endpoint = lp_alloc(sizeof(*endpoint) + workers_count * sizeof(int));

    endpoint->address = bind->address;
    endpoint->takes_ipv4 = bind->takes_ipv4;
    endpoint->is_fresh = true;
    endpoint->fds_count = workers_count;
    endpoint->inodes = lp_alloc(workers_count * sizeof(*endpoint->inodes));
    lp_addr_format(&bind->address, endpoint->text);
    lp_list_init(&endpoint->link);
    for (uint32_t i = 0; i < workers_count; i++)
        endpoint->fds[i] = -1;
    enum endpoint_outcome outcome =
        is_unix(endpoint) ? look_at_file(endpoint) : bind_all_tcp(endpoint, ours);
    if (outcome == ENDPOINT_BOUND)
        *out = endpoint;
    else if (outcome == ENDPOINT_PASSING)
        explain_passing(err, endpoint->text);
    else
        explain(err, endpoint->text, errno);
    if (outcome != ENDPOINT_BOUND)
        endpoint_destroy(endpoint);
    return outcome;
}

bool endpoint_listen(struct endpoint *endpoint, struct lp_err *err)
{
    bool ok = true;

    if (is_unix(endpoint))
        ok = listen_unix(endpoint);
    else
        for (uint32_t i = 0; i < endpoint->fds_count && ok; i++)
            ok = listen(endpoint->fds[i], BACKLOG) == 0;
    if (ok && endpoint->has_no_ipv6)
        lp_log(LP_LOG_INFO, "\"*:%u\" is %s: this kernel has no IPv6",
               lp_addr_port(&endpoint->address), endpoint->text);
    return ok || explain(err, endpoint->text, errno);
}

/* Once: another process may have put its own there afterwards. */
static void remove_file(struct endpoint *endpoint)
{
    if (atomic_exchange(&endpoint->has_file, false))
        unlink(endpoint->address.as.un.sun_path);
}

static void close_sockets(struct endpoint *endpoint)
{
    for (uint32_t i = 0; i < endpoint->fds_count; i++) {
        if (endpoint->fds[i] >= 0)
            close(endpoint->fds[i]);
        endpoint->fds[i] = -1;
    }
}

void endpoint_destroy(struct endpoint *endpoint)
{
    remove_file(endpoint);
    close_sockets(endpoint);
    lp_list_remove(&endpoint->link);
    lp_free(endpoint->inodes);
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

bool endpoint_is_within(const struct endpoint *endpoint, const struct endpoint *other)
{
    const struct lp_addr narrow = place_of(endpoint), wide = place_of(other);
    return ports_covers(&wide, other->takes_ipv4, &narrow);
}

/* Nobody finds a socket that is bound to a device which does not exist: who would have finds the
 * next best, at once. Handshakes under way and the queue stay. */
static void hide(int fd)
{
    const int nowhere = INT_MAX;
    setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere));
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
    if (!is_unix(endpoint)) {
        if (atomic_load(&endpoint->is_covered))
            hide(fd);
        drop_syns(fd);
        return;
    }
    remove_file(endpoint);
    /* Whoever has found the file already is refused, not lost: accept() goes on until the queue is
     * empty and says EINVAL then. */
    shutdown(fd, SHUT_RD);
}
