/* Peers that take nothing: what is known of one, and how little the kernel should hold for it. Who
 * ends when is decided in lb/proxy/stalled.c. */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>

#include "lb/net/secure.h"

/* One send may be large and its peer slow: progress is what the peer acknowledged (for a Unix
 * socket: what left its queue). */
static uint32_t acked_by_peer(const struct conn *conn)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    int queued = 0;

    if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
        return (uint32_t)info.tcpi_bytes_acked;
    return ioctl(conn->fd, SIOCOUTQ, &queued) == 0 ? (uint32_t)queued : 0;
}

static bool has_progressed(struct conn *conn)
{
    uint32_t acked = acked_by_peer(conn);
    bool is_more = acked != conn->io->acked;

    conn->io->acked = acked;
    return is_more;
}

bool conn_takes_bytes(struct loop *loop, struct conn *conn, uint32_t stalled_ms)
{
    if (has_progressed(conn)) {
        conn->send_started_ms = (uint32_t)loop->now_ms;
        return true;
    }
    return (uint32_t)loop->now_ms - conn->send_started_ms < stalled_ms;
}

void conn_stall(struct loop *loop, struct conn *conn)
{
    LP_ASSERT((conn->flags & CONN_STALLED) == 0);
    conn->flags |= CONN_STALLED;
    conn->send_started_ms = (uint32_t)loop->now_ms;
    lp_list_push_back(&loop->stalled, &conn->io->stalled);
    if (conn->io->sending.size == 0)
        return;
    (void)has_progressed(conn); /* from now on */
    if (conn->state != CONN_OPEN || conn_is_eof(conn))
        return;
    if (conn_is_flowing(conn))
        conn_bound_unsent(conn->fd);
    conn->taken_bytes = 0;
}

bool conn_still_stalls(struct loop *loop, struct conn *conn)
{
    if (conn->io->sending.size == 0 || !has_progressed(conn))
        return true;
    conn->send_started_ms = (uint32_t)loop->now_ms;
    lp_list_remove(&conn->io->stalled);
    lp_list_push_back(&loop->stalled, &conn->io->stalled);
    return false;
}

void conn_leave_stalled(struct conn *conn)
{
    conn->flags &= (uint16_t)~CONN_STALLED;
    lp_list_remove(&conn->io->stalled);
}

static void set_unsent_max(int fd, int bytes_max)
{
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes_max, sizeof(bytes_max));
}

void conn_bound_unsent(int fd)
{
    set_unsent_max(fd, LP_UNSENT_BYTES_MAX);
}

void conn_let_flow(struct conn *conn)
{
    set_unsent_max(conn->fd, 0); /* the system's bound: none */
}

/* Never SO_RCVBUF, which ends the kernel's own tuning for good. What was received already stays. */
static void set_window(const struct conn *conn, int bytes_max)
{
    setsockopt(conn->fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &bytes_max, sizeof(bytes_max));
}

/* Two whole segments at least (of a loopback they have 64 KiB): while less than one fits, a sender
 * waits; and it hears of more room only when the window has doubled. */
static int narrow_window(const struct conn *conn)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);

    if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        2 * info.tcpi_advmss < LP_NARROW_WINDOW_BYTES)
        return LP_NARROW_WINDOW_BYTES;
    return (int)(2 * info.tcpi_advmss | 4095) + 1;
}

void conn_narrow(struct conn *conn)
{
    if ((conn->flags & CONN_NARROW) != 0)
        return;
    conn->flags |= CONN_NARROW;
    set_window(conn, narrow_window(conn));
}

void conn_widen(struct conn *conn)
{
    enum { NO_CLAMP = 1 << 30 };

    conn->flags &= (uint16_t)~CONN_NARROW;
    set_window(conn, NO_CLAMP);
}

size_t conn_held(const struct conn *conn)
{
    const struct piece *pieces[] = {&conn->io->in, &conn->io->sending, &conn->io->next};
    size_t bytes = 0;

    for (unsigned i = 0; i < LP_COUNT_OF(pieces); i++)
        if (pieces[i]->size > 0 && pieces[i]->buffer != URING_NO_BUFFER)
            bytes += LP_HEADROOM_BYTES + uring_buffer_size(pieces[i]->buffer);
    return bytes;
}
