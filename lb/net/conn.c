/* A connected socket's life. Decided here: when a receive may be armed, what one send follows the
 * other, how a connection ends. What the bytes mean is the owner's business. Start at
 * conn_on_event(). */
#include "lb/net/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

static struct uring_name name_of(const struct conn *conn)
{
    return (struct uring_name){.space = conn->space, .at = conn->name};
}

void piece_drop(struct loop *loop, struct piece *piece)
{
    if (piece->buffer != URING_NO_BUFFER)
        uring_buffer_put(loop->uring, piece->buffer);
    *piece = (struct piece){.buffer = URING_NO_BUFFER};
}

static void init(struct conn *conn, uint8_t space, struct lp_pool_name name, int fd,
                 const struct conn_ops *ops, enum conn_state state)
{
    const struct piece none = {.buffer = URING_NO_BUFFER};

    lp_timer_init(&conn->timer);
    conn->timer.kind = LOOP_TIMER_CONN;
    lp_list_init(&conn->link);
    conn->ops = ops;
    conn->in = conn->sending = conn->next = none;
    conn->fd = fd;
    conn->name = name;
    conn->space = space;
    conn->state = (uint8_t)state;
    conn->ops_inflight = 0;
    conn->flags = 0;
}

void conn_open(struct loop *loop, struct conn *conn, uint8_t space, struct lp_pool_name name,
               int fd, const struct conn_ops *ops)
{
    (void)loop;
    init(conn, space, name, fd, ops, CONN_OPEN);
}

void conn_connect(struct loop *loop, struct conn *conn, uint8_t space, struct lp_pool_name name,
                  int fd, const struct conn_ops *ops, const struct lp_addr *addr)
{
    init(conn, space, name, fd, ops, CONN_CONNECTING);
    conn->ops_inflight++;
    uring_connect(loop->uring, name_of(conn), fd, addr);
}

/* --- receiving --- */

static void arm_recv(struct loop *loop, struct conn *conn, uint32_t size_max)
{
    enum uring_group group =
        (conn->flags & CONN_STREAMING) != 0 && size_max == 0 ? URING_LARGE : URING_SMALL;

    conn->flags |= CONN_RECV_ARMED;
    conn->recv_limit = size_max;
    conn->ops_inflight++;
    uring_recv(loop->uring, name_of(conn), conn->fd, group, size_max,
               (conn->flags & CONN_LIKELY_EMPTY) != 0);
}

void conn_want(struct loop *loop, struct conn *conn, uint32_t size_max)
{
    if (conn->in.size > 0 || conn->state != CONN_OPEN ||
        (conn->flags & (CONN_RECV_ARMED | CONN_EOF | CONN_STARVED)) != 0)
        return;
    arm_recv(loop, conn, size_max);
}

void conn_rearm_starved(struct loop *loop, struct conn *conn)
{
    lp_list_remove(&conn->link);
    conn->flags &= (uint8_t) ~(CONN_STARVED | CONN_STREAMING);
    arm_recv(loop, conn, conn->recv_limit);
}

void conn_consume(struct loop *loop, struct conn *conn, uint32_t size)
{
    LP_ASSERT(size <= conn->in.size);
    conn->in.data += size;
    conn->in.size -= size;
    if (conn->in.size == 0)
        piece_drop(loop, &conn->in);
}

struct piece conn_take(struct loop *loop, struct conn *conn, uint32_t size)
{
    struct piece taken = conn->in;

    LP_ASSERT(size <= conn->in.size);
    taken.size = size;
    if (size == conn->in.size) {
        conn->in = (struct piece){.buffer = URING_NO_BUFFER};
    } else {
        uring_buffer_ref(loop->uring, taken.buffer);
        conn->in.data += size;
        conn->in.size -= size;
    }
    return taken;
}

/* --- sending --- */

static void submit_send(struct loop *loop, struct conn *conn)
{
    conn->ops_inflight++;
    conn->send_started_ms = (uint32_t)loop->now_ms;
    uring_send(loop->uring, name_of(conn), conn->fd, conn->sending.data, conn->sending.size);
}

void conn_send(struct loop *loop, struct conn *conn, struct piece piece)
{
    LP_ASSERT(conn_can_send(conn) && (conn->flags & (CONN_SHUT | CONN_SHUT_WANTED)) == 0);
    if (piece.size == 0) {
        piece_drop(loop, &piece);
    } else if (conn->sending.size > 0) {
        conn->next = piece;
    } else {
        conn->sending = piece;
        submit_send(loop, conn);
    }
}

/* One send may be large and its peer slow: progress is what the peer acknowledged (for a Unix
 * socket: what left its queue). */
bool conn_takes_bytes(struct loop *loop, struct conn *conn, uint32_t stalled_ms)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    int queued = 0;
    uint32_t acked;

    if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
        acked = (uint32_t)info.tcpi_bytes_acked;
    else
        acked = ioctl(conn->fd, SIOCOUTQ, &queued) == 0 ? (uint32_t)queued : 0;
    if (acked != conn->acked) {
        conn->acked = acked;
        conn->send_started_ms = (uint32_t)loop->now_ms;
        return true;
    }
    return (uint32_t)loop->now_ms - conn->send_started_ms < stalled_ms;
}

static void shut_now(struct conn *conn)
{
    conn->flags |= CONN_SHUT;
    shutdown(conn->fd, SHUT_WR);
}

void conn_shut(struct loop *loop, struct conn *conn)
{
    (void)loop;
    if ((conn->flags & (CONN_SHUT | CONN_SHUT_WANTED)) != 0 || conn->state != CONN_OPEN)
        return;
    if (conn->sending.size > 0)
        conn->flags |= CONN_SHUT_WANTED;
    else
        shut_now(conn);
}

/* --- ending --- */

static void release_when_idle(struct loop *loop, struct conn *conn)
{
    if (conn->state == CONN_CLOSING && conn->ops_inflight == 0 && !lp_list_is_linked(&conn->link))
        lp_list_push_back(&loop->ended, &conn->link);
}

static void begin_closing(struct loop *loop, struct conn *conn)
{
    if ((conn->flags & CONN_STARVED) != 0) {
        lp_list_remove(&conn->link);
        conn->flags &= (uint8_t)~CONN_STARVED;
    }
    lp_timer_stop(&loop->wheel, &conn->timer);
    piece_drop(loop, &conn->in);
    piece_drop(loop, &conn->next);
    conn->state = CONN_CLOSING;
}

void conn_abort(struct loop *loop, struct conn *conn)
{
    if (conn->state == CONN_CLOSING)
        return;
    bool was_connecting = conn->state == CONN_CONNECTING;
    begin_closing(loop, conn);
    if (was_connecting) {
        conn->ops_inflight++;
        uring_cancel(loop->uring, name_of(conn), URING_CONNECT);
    } else if (conn->ops_inflight > 0) {
        shutdown(conn->fd, SHUT_RDWR);
    }
    release_when_idle(loop, conn);
}

void conn_reset(struct loop *loop, struct conn *conn)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (conn->state == CONN_CLOSING || conn->state == CONN_CONNECTING) {
        conn_abort(loop, conn);
        return;
    }
    bool is_sending = conn->sending.size > 0;
    begin_closing(loop, conn);
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if ((conn->flags & CONN_RECV_ARMED) != 0) {
        conn->ops_inflight++;
        uring_cancel(loop->uring, name_of(conn), URING_RECV);
    }
    if (is_sending) {
        conn->ops_inflight++;
        uring_cancel(loop->uring, name_of(conn), URING_SEND);
    }
    release_when_idle(loop, conn);
}

/* All is said: our FIN is out, what the peer still sends is read and thrown away, so that it does
 * not lose our last words to a reset. */
static void begin_discarding(struct loop *loop, struct conn *conn)
{
    if ((conn->flags & CONN_SHUT) == 0)
        shut_now(conn);
    if (conn_is_eof(conn)) {
        conn_abort(loop, conn);
        return;
    }
    lp_timer_set(&loop->wheel, &conn->timer, loop->now_ms + conn->linger);
    conn->linger = LP_LINGER_BYTES_MAX;
    if ((conn->flags & (CONN_RECV_ARMED | CONN_STARVED)) == 0)
        arm_recv(loop, conn, 0);
}

void conn_end_politely(struct loop *loop, struct conn *conn, uint32_t linger_ms,
                       uint32_t stalled_ms)
{
    if (conn->state == CONN_CONNECTING) {
        conn_abort(loop, conn);
        return;
    }
    if (conn->state != CONN_OPEN)
        return;
    conn->state = CONN_LINGERING;
    conn->linger = linger_ms;
    piece_drop(loop, &conn->in);
    if (conn->sending.size == 0)
        begin_discarding(loop, conn);
    else
        lp_timer_set(&loop->wheel, &conn->timer, loop->now_ms + stalled_ms);
}

void conn_on_timer(struct loop *loop, struct conn *conn)
{
    if (conn->state == CONN_LINGERING)
        conn_abort(loop, conn);
    else if (conn->state != CONN_CLOSING)
        conn->ops->on_timer(loop, conn);
}

/* --- completions: account, too late?, name the outcome, step --- */

static void on_connect(struct loop *loop, struct conn *conn, int result)
{
    if (conn->state == CONN_CLOSING)
        return;
    if (result == 0)
        conn->state = CONN_OPEN;
    conn->ops->on_connect(loop, conn, -result);
}

/* Full buffers in a row are a stream of bulk data: those go through large buffers. */
static void judge_size(struct conn *conn, const struct uring_event *event)
{
    uint32_t size = (uint32_t)event->result;

    if (size >= LP_BUF_SMALL_BYTES && event->socket_has_more)
        conn->flags |= CONN_STREAMING;
    else if (size < LP_BUF_SMALL_BYTES)
        conn->flags &= (uint8_t)~CONN_STREAMING;
    if (event->socket_has_more)
        conn->flags &= (uint8_t)~CONN_LIKELY_EMPTY;
    else
        conn->flags |= CONN_LIKELY_EMPTY;
}

/* Closing while the peer still sends is a reset, which destroys what it has not taken yet. */
static bool has_acked_all(const struct conn *conn)
{
    int queued = 0;
    /* Our FIN, when it is not acknowledged, counts as one. */
    return ioctl(conn->fd, SIOCOUTQ, &queued) != 0 || queued <= 1;
}

static void discard(struct loop *loop, struct conn *conn, const struct uring_event *event)
{
    uint32_t size = event->result > 0 ? (uint32_t)event->result : 0;

    if (event->buffer != URING_NO_BUFFER)
        uring_buffer_put(loop->uring, event->buffer);
    if (event->result == 0)
        conn->flags |= CONN_EOF;
    if ((conn->flags & CONN_SHUT) == 0) {
        /* Our last bytes are still leaving; only then does the byte count of linger begin. */
        if (event->result > 0)
            arm_recv(loop, conn, 0);
        return;
    }
    conn->linger -= size < conn->linger ? size : conn->linger;
    if (event->result <= 0 || (conn->linger == 0 && has_acked_all(conn))) {
        conn_abort(loop, conn);
        return;
    }
    arm_recv(loop, conn, 0);
}

static void starve(struct loop *loop, struct conn *conn)
{
    conn->flags |= CONN_STARVED;
    lp_list_push_back(&loop->starved, &conn->link);
}

static void on_recv(struct loop *loop, struct conn *conn, const struct uring_event *event)
{
    conn->flags &= (uint8_t)~CONN_RECV_ARMED;
    if (conn->state == CONN_CLOSING) {
        if (event->buffer != URING_NO_BUFFER)
            uring_buffer_put(loop->uring, event->buffer);
        return;
    }
    if (event->result == -ENOBUFS) {
        starve(loop, conn);
        return;
    }
    if (conn->state == CONN_LINGERING) {
        discard(loop, conn, event);
        return;
    }
    if (event->result > 0) {
        judge_size(conn, event);
        conn->in = (struct piece){.data = uring_buffer_base(loop->uring, event->buffer) +
                                          LP_HEADROOM_BYTES,
                                  .size = (uint32_t)event->result,
                                  .buffer = event->buffer};
        conn->ops->on_recv(loop, conn, 0);
        return;
    }
    if (event->buffer != URING_NO_BUFFER)
        uring_buffer_put(loop->uring, event->buffer);
    if (event->result == 0)
        conn->flags |= CONN_EOF;
    conn->ops->on_recv(loop, conn, -event->result);
}

static void after_send(struct loop *loop, struct conn *conn)
{
    if (conn->next.size > 0) {
        conn->sending = conn->next;
        conn->next = (struct piece){.buffer = URING_NO_BUFFER};
        submit_send(loop, conn);
    } else if ((conn->flags & CONN_SHUT_WANTED) != 0 && (conn->flags & CONN_SHUT) == 0) {
        shut_now(conn);
    }
}

static void on_send(struct loop *loop, struct conn *conn, int result)
{
    if (result > 0 && (uint32_t)result < conn->sending.size && conn->state != CONN_CLOSING) {
        conn->sending.data += result;
        conn->sending.size -= (uint32_t)result;
        submit_send(loop, conn);
        return;
    }
    piece_drop(loop, &conn->sending);
    if (conn->state == CONN_CLOSING)
        return;
    if (result > 0)
        after_send(loop, conn);
    if (conn->state == CONN_LINGERING) {
        if (result <= 0)
            conn_abort(loop, conn);
        else if (conn->sending.size == 0)
            begin_discarding(loop, conn);
        return;
    }
    conn->ops->on_sent(loop, conn, result < 0 ? -result : 0);
}

void conn_on_event(struct loop *loop, struct conn *conn, const struct uring_event *event)
{
    if (!event->has_more)
        conn->ops_inflight--;
    if (event->op == URING_RECV)
        on_recv(loop, conn, event);
    else if (event->op == URING_SEND)
        on_send(loop, conn, event->result);
    else if (event->op == URING_CONNECT)
        on_connect(loop, conn, event->result);
    release_when_idle(loop, conn);
}
