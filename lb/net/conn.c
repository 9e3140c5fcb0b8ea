/* A connected socket's life. Decided here: when a receive may be armed, what one send follows the
 * other, how a connection ends. What the bytes mean is the owner's business. Start at
 * conn_on_event(). */
#include "lb/net/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lb/net/secure.h"

/* So many small receives in a row promise more of the kind. */
#define MESSAGES_ENOUGH 4u

struct conn_backlog {
    uint32_t first, count, room;
    struct piece pieces[];
};

static const struct conn_traffic no_traffic = {.in = {.buffer = URING_NO_BUFFER},
                                               .sending = {.buffer = URING_NO_BUFFER},
                                               .next = {.buffer = URING_NO_BUFFER}};

struct uring_name conn_name(const struct conn *conn)
{
    return (struct uring_name){.space = conn->space,
                               .at = {.slot = conn->slot, .generation = conn->generation}};
}

void piece_drop(struct loop *loop, struct piece *piece)
{
    if (piece->buffer != URING_NO_BUFFER)
        uring_buffer_put(loop->uring, piece->buffer);
    *piece = (struct piece){.buffer = URING_NO_BUFFER};
}

/* --- what is under way --- */

static void clear_traffic(struct conn *conn)
{
    conn->io = (struct conn_traffic *)(uintptr_t)&no_traffic; /* nobody writes to it */
}

/* Small memory: when there is none of it, the process cannot go on. */
static void need_traffic(struct loop *loop, struct conn *conn)
{
    struct lp_pool_name name;

    if (conn->io != &no_traffic)
        return;
    struct conn_traffic *io = lp_pool_get(&loop->traffic, &name);
    LP_ASSERT(io != NULL);
    *io = no_traffic;
    io->conn = conn;
    io->slot = name.slot;
    conn->io = io;
}

static void put_traffic_when_idle(struct loop *loop, struct conn *conn)
{
    struct conn_traffic *io = conn->io;

    if (io == &no_traffic || (conn->flags & CONN_TLS) != 0 || io->in.size > 0 ||
        io->sending.size > 0 || io->next.size > 0)
        return;
    LP_ASSERT((conn->flags & CONN_STALLED) == 0);
    lp_pool_put(&loop->traffic, io->slot);
    clear_traffic(conn);
}

void conn_move_traffic(struct loop *loop, struct conn *conn, struct conn_traffic *to)
{
    struct conn_traffic *from = conn->io;

    conn_unstall(conn);
    *to = *from;
    to->conn = conn;
    if (from != &no_traffic)
        lp_pool_put(&loop->traffic, from->slot);
    conn->io = to;
}

void conn_forget_tls(struct conn *conn)
{
    clear_traffic(conn);
    conn->flags &= (uint16_t)~CONN_TLS;
}

static void init(struct conn *conn, uint8_t space, struct lp_pool_name name, int fd,
                 enum conn_state state)
{
    lp_timer_init(&conn->timer);
    conn->timer.kind = LOOP_TIMER_CONN;
    clear_traffic(conn);
    conn->fd = fd;
    conn->slot = name.slot;
    conn->generation = name.generation & ((1u << LP_POOL_GENERATION_BITS) - 1);
    conn->space = space;
    conn->state = (uint8_t)state;
    conn->ops_inflight = 0;
    conn->flags = 0;
    conn->is_watched = false;
    conn->taken_bytes = 0;
}

void conn_open(struct conn *conn, uint8_t space, struct lp_pool_name name, int fd)
{
    init(conn, space, name, fd, CONN_OPEN);
}

void conn_connect(struct loop *loop, struct conn *conn, uint8_t space, struct lp_pool_name name,
                  int fd, const struct lp_addr *addr)
{
    init(conn, space, name, fd, CONN_CONNECTING);
    conn->ops_inflight++;
    uring_connect(loop->uring, conn_name(conn), fd, addr);
}

/* --- receiving --- */

void conn_arm_recv(struct loop *loop, struct conn *conn, uint32_t size_max)
{
    bool is_large = (conn->flags & (CONN_STREAMING | CONN_NARROW)) == CONN_STREAMING &&
                    size_max == 0 && loop->large_bytes > LP_BUF_SMALL_BYTES && !loop->is_tight &&
                    uring_buffers_ready(loop->uring, URING_LARGE) > 0;

    conn->flags |= CONN_RECV_ARMED;
    conn->recv_limit = (uint16_t)size_max;
    conn->ops_inflight++;
    uring_recv(loop->uring, conn_name(conn), conn->fd, is_large ? URING_LARGE : URING_SMALL,
               is_large ? loop->large_bytes : size_max, (conn->flags & CONN_LIKELY_EMPTY) != 0);
}

static bool may_arm(const struct conn *conn)
{
    return conn->io->in.size == 0 && conn->state == CONN_OPEN &&
           (conn->flags & (CONN_RECV_ARMED | CONN_EOF | CONN_STARVED)) == 0;
}

void conn_want(struct loop *loop, struct conn *conn, uint32_t size_max)
{
    if (may_arm(conn))
        conn_arm_recv(loop, conn, size_max);
}

void conn_want_messages(struct loop *loop, struct conn *conn)
{
    if (!may_arm(conn))
        return;
    if (conn->messages_count < MESSAGES_ENOUGH || !loop->may_multishot || loop->is_tight ||
        !uring_has_multishot(loop->uring)) {
        conn_arm_recv(loop, conn, 0);
        return;
    }
    conn->flags |= CONN_RECV_ARMED | CONN_MULTISHOT;
    conn->ops_inflight++;
    uring_recv_multishot(loop->uring, conn_name(conn), conn->fd);
}

/* Back to one receive at a time. What the kernel has taken from the socket already still comes. */
static void stop_multishot(struct loop *loop, struct conn *conn)
{
    conn->messages_count = 0;
    if ((conn->flags & (CONN_MULTISHOT | CONN_CANCELLING)) != CONN_MULTISHOT)
        return;
    conn->flags |= CONN_CANCELLING;
    conn->ops_inflight++;
    uring_cancel(loop->uring, conn_name(conn), URING_RECV);
}

void conn_rearm_starved(struct loop *loop, struct conn *conn)
{
    conn->flags &= (uint16_t) ~(CONN_STARVED | CONN_STREAMING);
    if (conn->io->in.size == 0)
        conn_arm_recv(loop, conn, conn->recv_limit);
}

void conn_watch(struct loop *loop, struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn->is_watched)
        return;
    conn->is_watched = true;
    conn->ops_inflight++;
    uring_poll_hangup(loop->uring, conn_name(conn), conn->fd);
}

void conn_unwatch(struct loop *loop, struct conn *conn)
{
    if (!conn->is_watched)
        return;
    conn->ops_inflight++;
    uring_cancel(loop->uring, conn_name(conn), URING_POLL);
}

/* Only a multishot receive brings more before `in` is consumed. */
static bool push_backlog(struct conn *conn, struct piece piece)
{
    struct conn_backlog *backlog = conn->io->backlog;

    if (backlog == NULL || backlog->first + backlog->count == backlog->room) {
        uint32_t count = backlog == NULL ? 0 : backlog->count, room = count * 2 + 8;
        struct conn_backlog *grown = lp_try_alloc(sizeof(*grown) + room * sizeof(grown->pieces[0]));
        if (grown == NULL)
            return false;
        *grown = (struct conn_backlog){.count = count, .room = room};
        if (backlog != NULL)
            memcpy(grown->pieces, backlog->pieces + backlog->first, count * sizeof(piece));
        lp_free(backlog);
        conn->io->backlog = backlog = grown;
    }
    backlog->pieces[backlog->first + backlog->count++] = piece;
    return true;
}

/* `in` is consumed: the piece behind it moves up. */
static void move_up(struct loop *loop, struct conn *conn)
{
    struct conn_backlog *backlog = conn->io->backlog;

    if (conn->io->sending.size == 0)
        conn_unstall(conn);
    if (backlog == NULL) {
        put_traffic_when_idle(loop, conn);
        return;
    }
    conn->io->in = backlog->pieces[backlog->first++];
    if (--backlog->count == 0) {
        lp_free(backlog);
        conn->io->backlog = NULL;
    }
}

static void drop_received(struct loop *loop, struct conn *conn)
{
    while (conn->io->in.size > 0) {
        piece_drop(loop, &conn->io->in);
        move_up(loop, conn);
    }
}

void conn_consume(struct loop *loop, struct conn *conn, uint32_t size)
{
    struct piece *in = &conn->io->in;

    LP_ASSERT(size <= in->size);
    in->data += size;
    in->size -= size;
    if (in->size == 0) {
        piece_drop(loop, in);
        move_up(loop, conn);
    }
}

struct piece conn_take(struct loop *loop, struct conn *conn, uint32_t size)
{
    struct piece *in = &conn->io->in, taken = *in;

    LP_ASSERT(size <= in->size);
    taken.size = size;
    if (size == in->size) {
        *in = (struct piece){.buffer = URING_NO_BUFFER};
        move_up(loop, conn);
    } else {
        uring_buffer_ref(loop->uring, taken.buffer);
        in->data += size;
        in->size -= size;
    }
    return taken;
}

/* --- sending --- */

/* Behind the peer's FIN a send that cannot go on is tried again and again (the kernel's poll for it
 * hears RDHUP, too), so the kernel takes all that it can take. */
static void let_flow_behind_fin(struct conn *conn)
{
    if (conn_is_flowing(conn) || conn->state != CONN_OPEN)
        return;
    conn->taken_bytes = LP_FLOWING_BYTES;
    conn_let_flow(conn);
}

void conn_submit_send(struct loop *loop, struct conn *conn)
{
    if (LP_UNLIKELY(conn_is_eof(conn)))
        let_flow_behind_fin(conn);
    conn->ops_inflight++;
    conn->send_started_ms = (uint32_t)loop->now_ms;
    uring_send(loop->uring, conn_name(conn), conn->fd, conn->io->sending.data,
               conn->io->sending.size);
}

static void begin_sending(struct loop *loop, struct conn *conn, struct piece piece)
{
    if ((conn->flags & CONN_TLS) != 0) {
        secure_send(loop, conn, piece);
    } else {
        conn->io->sending = piece;
        conn_submit_send(loop, conn);
    }
}

void conn_send(struct loop *loop, struct conn *conn, struct piece piece)
{
    LP_ASSERT(conn_can_send(conn) && (conn->flags & (CONN_SHUT | CONN_SHUT_WANTED)) == 0);
    if (piece.size == 0) {
        piece_drop(loop, &piece);
        return;
    }
    need_traffic(loop, conn);
    if (conn->io->sending.size > 0)
        conn->io->next = piece;
    else
        begin_sending(loop, conn, piece);
}

/* Nothing is being sent. Under TLS close_notify goes first; after_send() comes back here. */
static void shut_now(struct loop *loop, struct conn *conn)
{
    if ((conn->flags & CONN_TLS) != 0 && secure_close(loop, conn))
        return;
    conn->flags |= CONN_SHUT;
    shutdown(conn->fd, SHUT_WR);
}

void conn_shut(struct loop *loop, struct conn *conn)
{
    if ((conn->flags & (CONN_SHUT | CONN_SHUT_WANTED)) != 0 || conn->state != CONN_OPEN)
        return;
    conn->flags |= CONN_SHUT_WANTED;
    if (conn->io->sending.size == 0)
        shut_now(loop, conn);
}

/* --- ending --- */

void conn_release_when_idle(struct loop *loop, struct conn *conn)
{
    if (conn->state != CONN_CLOSING || conn->ops_inflight > 0 || (conn->flags & CONN_ENDED) != 0)
        return;
    conn->flags |= CONN_ENDED;
    loop_queue_push(&loop->ended, conn_name(conn));
}

static void begin_closing(struct loop *loop, struct conn *conn)
{
    conn->flags &= (uint16_t)~CONN_STARVED;
    conn_unstall(conn);
    lp_timer_stop(&loop->wheel, &conn->timer);
    drop_received(loop, conn);
    if (conn->io->next.size > 0)
        piece_drop(loop, &conn->io->next);
    put_traffic_when_idle(loop, conn);
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
        uring_cancel(loop->uring, conn_name(conn), URING_CONNECT);
    } else if (conn->ops_inflight > 0) {
        shutdown(conn->fd, SHUT_RDWR);
    }
    conn_release_when_idle(loop, conn);
}

void conn_reset(struct loop *loop, struct conn *conn)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (conn->state == CONN_CLOSING || conn->state == CONN_CONNECTING) {
        conn_abort(loop, conn);
        return;
    }
    bool is_sending = conn->io->sending.size > 0;
    begin_closing(loop, conn);
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    conn_unwatch(loop, conn);
    if ((conn->flags & CONN_RECV_ARMED) != 0) {
        conn->ops_inflight++;
        uring_cancel(loop->uring, conn_name(conn), URING_RECV);
    }
    if (is_sending) {
        conn->ops_inflight++;
        uring_cancel(loop->uring, conn_name(conn), URING_SEND);
    }
    conn_release_when_idle(loop, conn);
}

/* All is said: our FIN is out, what the peer still sends is read and thrown away, so that it does
 * not lose our last words to a reset. */
static void begin_discarding(struct loop *loop, struct conn *conn)
{
    if ((conn->flags & CONN_SHUT) == 0)
        shut_now(loop, conn);
    if (conn->io->sending.size > 0) {
        /* close_notify: on_send() comes back, if the peer takes it. */
        lp_timer_set(&loop->wheel, &conn->timer, loop->now_ms + conn->stalled_ms);
        return;
    }
    if (conn_is_eof(conn)) {
        conn_abort(loop, conn);
        return;
    }
    lp_timer_set(&loop->wheel, &conn->timer, loop->now_ms + conn->linger);
    conn->linger = LP_LINGER_BYTES_MAX;
    if ((conn->flags & (CONN_RECV_ARMED | CONN_STARVED)) == 0)
        conn_arm_recv(loop, conn, 0);
}

void conn_end_politely(struct loop *loop, struct conn *conn, uint32_t linger_ms,
                       uint32_t stalled_ms)
{
    if (conn->state == CONN_CONNECTING) {
        conn_abort(loop, conn);
        return;
    }
    if (conn->state != CONN_OPEN && conn->state != CONN_HANDSHAKE)
        return;
    conn->state = CONN_LINGERING;
    conn->linger = linger_ms;
    conn->stalled_ms = stalled_ms;
    conn_unwatch(loop, conn);
    drop_received(loop, conn);
    if (conn->io->sending.size == 0)
        begin_discarding(loop, conn);
    else
        lp_timer_set(&loop->wheel, &conn->timer, loop->now_ms + stalled_ms);
}

void conn_shorten_end(struct loop *loop, struct conn *conn, uint32_t linger_ms, uint32_t stalled_ms)
{
    if (conn->state != CONN_LINGERING)
        return;
    if ((conn->flags & CONN_SHUT) != 0) {
        conn_set_timer(loop, conn, loop->now_ms + linger_ms);
        return;
    }
    conn->linger = linger_ms;
    conn->stalled_ms = stalled_ms;
    conn_set_timer(loop, conn, loop->now_ms + stalled_ms);
}

/* Unread bytes would turn the close into a reset, and so would bytes that come later, in breach of
 * the promise: they may at most meet what is on its way in the first window anyhow. */
#define FIRST_WINDOW_BYTES (10 * 1460)

bool conn_close(struct loop *loop, struct conn *conn)
{
    int unread = 0, unacked = 0;

    if (conn->state != CONN_OPEN || conn->ops_inflight > 0 || conn->io->in.size > 0 ||
        (conn->flags & CONN_STARVED) != 0)
        return false;
    if (ioctl(conn->fd, SIOCINQ, &unread) != 0 || unread > 0 ||
        ioctl(conn->fd, SIOCOUTQ, &unacked) != 0 || unacked > FIRST_WINDOW_BYTES)
        return false;
    conn_say_goodbye(loop, conn);
    conn_abort(loop, conn);
    return true;
}

void conn_on_timer(struct loop *loop, struct conn *conn)
{
    if (conn->state == CONN_LINGERING && conn->io->sending.size > 0 &&
        conn_takes_bytes(loop, conn, conn->stalled_ms))
        lp_timer_set(&loop->wheel, &conn->timer, loop->now_ms + conn->stalled_ms);
    else if (conn->state == CONN_LINGERING)
        conn_abort(loop, conn);
    else if (conn->state != CONN_CLOSING)
        loop->ops[conn->space]->on_timer(loop, conn);
}

bool conn_is_our_shortage(int error)
{
    return error == EADDRNOTAVAIL || error == EMFILE || error == ENFILE || error == ENOMEM ||
           error == ENOBUFS;
}

/* --- completions: account, too late?, name the outcome, step --- */

static void on_connect(struct loop *loop, struct conn *conn, int result)
{
    if (conn->state == CONN_CLOSING)
        return;
    if (result == 0)
        conn->state = CONN_OPEN;
    loop->ops[conn->space]->on_connect(loop, conn, -result);
}

/* Full buffers in a row are a stream of bulk data: those go through large buffers. Small receives
 * that empty the socket are messages. */
static void judge_size(struct conn *conn, const struct uring_event *event)
{
    uint32_t size = (uint32_t)event->result;

    if (size >= LP_BUF_TINY_BYTES || event->socket_has_more)
        conn->messages_count = 0;
    else if (conn->messages_count < MESSAGES_ENOUGH)
        conn->messages_count++;
    if (size >= LP_BUF_SMALL_BYTES && event->socket_has_more)
        conn->flags |= CONN_STREAMING;
    else if (size < LP_BUF_SMALL_BYTES)
        conn->flags &= (uint16_t)~CONN_STREAMING;
    if (event->socket_has_more) {
        conn->flags &= (uint16_t)~CONN_LIKELY_EMPTY;
    } else {
        conn->flags |= CONN_LIKELY_EMPTY;
        if (LP_UNLIKELY((conn->flags & CONN_NARROW) != 0))
            conn_widen(conn);
    }
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
    bool is_over = event->result <= 0;

    if (event->buffer != URING_NO_BUFFER)
        uring_buffer_put(loop->uring, event->buffer);
    if (event->result == 0)
        conn->flags |= CONN_EOF;
    if ((conn->flags & CONN_SHUT) != 0) {
        /* Only when our last bytes have left does the byte count of linger begin. */
        conn->linger -= size < conn->linger ? size : conn->linger;
        if (is_over || (conn->linger == 0 && has_acked_all(conn))) {
            conn_abort(loop, conn);
            return;
        }
    }
    if (!is_over && (conn->flags & CONN_RECV_ARMED) == 0)
        conn_arm_recv(loop, conn, 0);
}

static void starve(struct loop *loop, struct conn *conn)
{
    conn->flags |= CONN_STARVED;
    if (loop->starved.count == 0)
        loop->starved_since_ms = loop->now_ms;
    loop_queue_push(&loop->starved, conn_name(conn));
}

bool conn_deliver(struct loop *loop, struct conn *conn, struct piece piece)
{
    need_traffic(loop, conn);
    if (conn->io->in.size == 0) {
        conn->io->in = piece;
        return true;
    }
    if (push_backlog(conn, piece))
        return true;
    piece_drop(loop, &piece);
    return false;
}

static void receive(struct loop *loop, struct conn *conn, const struct uring_event *event)
{
    struct piece piece = {.data = uring_buffer_base(loop->uring, event->buffer) + LP_HEADROOM_BYTES,
                          .size = (uint32_t)event->result,
                          .buffer = event->buffer};
    int error;

    judge_size(conn, event);
    if ((conn->flags & CONN_TLS) != 0)
        error = secure_receive(loop, conn, piece);
    else
        error = conn_deliver(loop, conn, piece) ? 0 : ENOMEM;
    if (error != EAGAIN)
        loop->ops[conn->space]->on_recv(loop, conn, error);
    /* Its owner cannot take more now, or this is no message. */
    if (conn->io->in.size > 0 || conn->messages_count == 0)
        stop_multishot(loop, conn);
}

static void on_recv(struct loop *loop, struct conn *conn, const struct uring_event *event)
{
    bool was_cancelled = (conn->flags & CONN_CANCELLING) != 0 && event->result == -ECANCELED;

    if (!event->has_more)
        conn->flags &= (uint16_t) ~(CONN_RECV_ARMED | CONN_MULTISHOT | CONN_CANCELLING);
    if (conn->state == CONN_CLOSING) {
        if (event->buffer != URING_NO_BUFFER)
            uring_buffer_put(loop->uring, event->buffer);
        return;
    }
    if (event->result == -ENOBUFS) {
        starve(loop, conn);
        return;
    }
    if (was_cancelled) {
        /* The owner had asked for more, and still waits for it unless there is some. */
        if (conn->io->in.size == 0)
            conn_arm_recv(loop, conn, 0);
        return;
    }
    if (conn->state == CONN_LINGERING) {
        discard(loop, conn, event);
        return;
    }
    if (event->result > 0) {
        receive(loop, conn, event);
        return;
    }
    if (event->buffer != URING_NO_BUFFER)
        uring_buffer_put(loop->uring, event->buffer);
    if (event->result == 0 && (conn->flags & (CONN_TLS | CONN_EOF)) == CONN_TLS)
        conn->flags |= CONN_TRUNCATED;
    if (event->result == 0)
        conn->flags |= CONN_EOF;
    if (event->result == 0 && conn->io->sending.size > 0)
        let_flow_behind_fin(conn);
    if (conn->state == CONN_HANDSHAKE) {
        loop->ops[conn->space]->on_connect(loop, conn, event->result == 0 ? EPIPE : -event->result);
        return;
    }
    loop->ops[conn->space]->on_recv(loop, conn, -event->result);
}

static void after_send(struct loop *loop, struct conn *conn)
{
    if (conn->io->next.size > 0) {
        struct piece next = conn->io->next;
        conn->io->next = (struct piece){.buffer = URING_NO_BUFFER};
        begin_sending(loop, conn, next);
        return;
    }
    put_traffic_when_idle(loop, conn);
    if ((conn->flags & (CONN_SHUT_WANTED | CONN_SHUT)) == CONN_SHUT_WANTED)
        shut_now(loop, conn);
}

/* A send has failed: what waits behind it cannot follow. */
static void drop_unsent(struct loop *loop, struct conn *conn)
{
    piece_drop(loop, &conn->io->next);
    if ((conn->flags & CONN_TLS) != 0)
        secure_drop_unsent(loop, conn);
}

static void count_taken(struct conn *conn, int result)
{
    if (result <= 0 || conn->state != CONN_OPEN || conn->taken_bytes >= LP_FLOWING_BYTES)
        return;
    conn->taken_bytes += (uint32_t)result;
    if (conn->taken_bytes >= LP_FLOWING_BYTES)
        conn_let_flow(conn);
}

static void on_send(struct loop *loop, struct conn *conn, int result)
{
    struct conn_traffic *io = conn->io;

    count_taken(conn, result);
    conn_unstall(conn);
    if (result > 0 && (uint32_t)result < io->sending.size && conn->state != CONN_CLOSING) {
        io->sending.data += result;
        io->sending.size -= (uint32_t)result;
        conn_submit_send(loop, conn);
        return;
    }
    piece_drop(loop, &io->sending);
    if (result <= 0)
        drop_unsent(loop, conn);
    /* The rest of the piece, or what TLS itself has to say. */
    if (result > 0 && (conn->flags & CONN_TLS) != 0 && conn->state != CONN_CLOSING &&
        secure_send_more(loop, conn))
        return;
    if (conn->state == CONN_CLOSING) {
        put_traffic_when_idle(loop, conn);
        return;
    }
    if (result > 0)
        after_send(loop, conn);
    else
        put_traffic_when_idle(loop, conn);
    if (conn->state == CONN_HANDSHAKE) {
        loop->ops[conn->space]->on_connect(loop, conn, result < 0 ? -result : EPIPE);
        return;
    }
    if (conn->state == CONN_LINGERING) {
        if (result <= 0)
            conn_abort(loop, conn);
        else if (conn->io->sending.size == 0)
            begin_discarding(loop, conn);
        return;
    }
    loop->ops[conn->space]->on_sent(loop, conn, result < 0 ? -result : 0);
}

static void on_hangup(struct loop *loop, struct conn *conn, int result)
{
    conn->is_watched = false;
    if (conn->state == CONN_OPEN && result > 0)
        loop->ops[conn->space]->on_hangup(loop, conn);
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
    else if (event->op == URING_POLL)
        on_hangup(loop, conn, event->result);
    conn_release_when_idle(loop, conn);
}
