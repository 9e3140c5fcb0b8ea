/* A connection's events: read and understand, send, and which of the two to wait for.
 *
 * Start at conn_on_event(). What bytes mean is decided in http.c and ws.c; they only change the
 * state and fill the answer buffer. This file alone touches sockets, memory and epoll.
 *
 * Level-triggered: after a read that did not fill the buffer nothing is asked a second time, so a
 * request costs one read and one send, and its share of an epoll_wait. */
#include "bench/origin/conn.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/origin/http.h"
#include "bench/origin/ws_echo.h"

#define CONNS_OF_A_SLAB 256u
#define PATTERN_PIECES  16u   /* of one send: a megabyte, all from the same hot pages */
#define LINGER_MS       2000u /* for a client that does not answer our FIN */
#define DROP_BYTES_MAX  (1u << 30)
#define SEND_FLAGS      (MSG_NOSIGNAL | MSG_DONTWAIT)

void origin_init(struct origin *origin, bool is_tcp_echo, struct lp_arena *arena)
{
    *origin = (struct origin){.arena = arena,
                              .is_tcp_echo = is_tcp_echo,
                              .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                              .in = lp_arena_alloc(arena, IN_BYTES),
                              .out = lp_arena_alloc(arena, OUT_BYTES),
                              .pattern = lp_arena_alloc(arena, 2 * PATTERN_BYTES)};
    lp_list_init(&origin->free_conns);
    wheel_init(&origin->wheel, lp_clock_ms());
    uint32_t noise = 1;
    for (uint32_t i = 0; i < PATTERN_BYTES; i++) {
        noise = noise * 1664525u + 1013904223u;
        origin->pattern[i] = (char)('a' + (noise >> 24) % 26);
        origin->pattern[i + PATTERN_BYTES] = origin->pattern[i];
    }
}

/* ---- Life -------------------------------------------------------------------------------------*/

static struct conn *take_conn(struct origin *origin)
{
    if (lp_list_is_empty(&origin->free_conns)) {
        struct conn *slab = LP_ARENA_ARRAY(origin->arena, struct conn, CONNS_OF_A_SLAB);
        for (uint32_t i = 0; i < CONNS_OF_A_SLAB; i++)
            lp_list_push_back(&origin->free_conns, &slab[i].timer.link);
    }
    struct conn *conn = lp_container_of(origin->free_conns.next, struct conn, timer.link);
    lp_list_remove(&conn->timer.link);
    return conn;
}

bool conn_begin(struct origin *origin, int fd, bool is_tcp)
{
    struct conn *conn = take_conn(origin);
    *conn = (struct conn){.fd = fd,
                          .is_tcp = is_tcp,
                          .interest = EPOLLIN,
                          .state = origin->is_tcp_echo ? CONN_ECHO : CONN_HEAD};
    timer_init(&conn->timer);

    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(origin->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return true;
    close(fd);
    lp_list_push_front(&origin->free_conns, &conn->timer.link);
    return false;
}

static void end(struct origin *origin, struct conn *conn)
{
    wheel_stop(&origin->wheel, &conn->timer);
    lp_free(conn->held_in);
    lp_free(conn->held_out);
    conn->held_in = conn->held_out = NULL;
    close(conn->fd);
    lp_list_push_front(&origin->free_conns, &conn->timer.link);
}

/* Closing with unread bytes in the socket would reset the connection, and the client might lose
 * our last words. */
static void linger(struct origin *origin, struct conn *conn)
{
    shutdown(conn->fd, SHUT_WR);
    conn->state = CONN_LINGER;
    wheel_set(&origin->wheel, &conn->timer, lp_clock_ms() + LINGER_MS);
}

/* Waits for what the state needs. */
static void await(struct origin *origin, struct conn *conn)
{
    uint32_t interest = EPOLLIN;
    if (conn->state == CONN_EVENTS)
        interest = EPOLLRDHUP;
    if (conn->state == CONN_DELAY)
        interest = 0;
    if (conn->state == CONN_BYTES || conn->held_out != NULL)
        interest = EPOLLOUT;
    if (interest == conn->interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = conn};
    epoll_ctl(origin->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
    conn->interest = interest;
}

/* ---- Sending ----------------------------------------------------------------------------------*/

static char *copy_of(const char *data, size_t size)
{
    char *copy = lp_alloc(size);
    memcpy(copy, data, size);
    return copy;
}

static void hold_out(struct conn *conn, const char *data, size_t size)
{
    LP_ASSERT(conn->held_out == NULL);
    conn->held_out = copy_of(data, size);
    conn->held_out_at = 0;
    conn->held_out_size = size;
}

/* One send of text and, in CONN_BYTES, of the pattern behind it. Negative: the socket is broken. */
static ssize_t send_some(struct origin *origin, struct conn *conn, struct lp_slice text)
{
    ssize_t sent;
    if (conn->state != CONN_BYTES) {
        sent = send(conn->fd, text.data, text.size, SEND_FLAGS);
    } else {
        struct iovec pieces[1 + PATTERN_PIECES] = {{(char *)(uintptr_t)text.data, text.size}};
        uint64_t left = conn->body_left;
        size_t count = 1;
        for (; left > 0 && count < LP_COUNT_OF(pieces); count++) {
            size_t at = (size_t)((conn->number - left) % PATTERN_BYTES);
            pieces[count] = (struct iovec){origin->pattern + at,
                                           left < PATTERN_BYTES ? (size_t)left : PATTERN_BYTES};
            left -= pieces[count].iov_len;
        }
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
        sent = sendmsg(conn->fd, &message, SEND_FLAGS);
    }
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return sent;
}

/* Sends what is held or, when nothing is, the answer buffer. What the socket does not take is
 * held. False when the socket is broken. */
static bool flush(struct origin *origin, struct conn *conn)
{
    bool was_held = conn->held_out != NULL;
    struct lp_slice text = {origin->out, origin->out_size};
    if (was_held)
        text = (struct lp_slice){conn->held_out + conn->held_out_at,
                                 conn->held_out_size - conn->held_out_at};
    if (text.size == 0 && conn->state != CONN_BYTES)
        return true;

    ssize_t sent = send_some(origin, conn, text);
    origin->out_size = 0;
    if (sent < 0)
        return false;
    size_t of_text = (size_t)sent < text.size ? (size_t)sent : text.size;
    if (was_held) {
        conn->held_out_at += of_text;
        if (of_text == text.size) {
            lp_free(conn->held_out);
            conn->held_out = NULL;
        }
    } else if (of_text < text.size) {
        hold_out(conn, text.data + of_text, text.size - of_text);
    }
    if (conn->state == CONN_BYTES) {
        conn->body_left -= (size_t)sent - of_text;
        if (conn->body_left == 0)
            conn->state = conn->keeps_alive ? CONN_HEAD : CONN_ENDING;
    }
    return true;
}

/* ---- Reading ----------------------------------------------------------------------------------*/

/* The next request must wait until these are done with the last one. */
static bool is_busy(const struct conn *conn)
{
    return conn->held_out != NULL || conn->state == CONN_BYTES || conn->state == CONN_DELAY ||
           conn->state == CONN_EVENTS;
}

static size_t consume(struct origin *origin, struct conn *conn, const char *data, size_t size)
{
    if (conn->state == CONN_WS)
        return ws_echo_consume(origin, conn, data, size);
    if (conn->state == CONN_ENDING || conn->state == CONN_LINGER) {
        conn->lingers = true;
        return size;
    }
    return http_consume(origin, conn, data, size);
}

/* Works on bytes until they are used up, or must wait for a socket, a timer or more bytes. */
static void work(struct origin *origin, struct conn *conn, const char *data, size_t size)
{
    size_t used;
    do {
        used = consume(origin, conn, data, size);
        data += used;
        size -= used;
        if (!flush(origin, conn)) {
            end(origin, conn);
            return;
        }
    } while (size > 0 && used > 0 && !is_busy(conn));

    if (conn->state == CONN_ENDING && conn->held_out == NULL) {
        if (!conn->lingers && !origin->read_was_full) {
            end(origin, conn);
            return;
        }
        linger(origin, conn);
    }
    if (size > 0) {
        conn->held_in = copy_of(data, size);
        conn->held_in_size = size;
    }
    await(origin, conn);
}

/* What was held back goes to the front of the hot buffer. */
static size_t take_held_in(struct origin *origin, struct conn *conn)
{
    size_t size = conn->held_in_size;
    if (conn->held_in == NULL)
        return 0;
    memcpy(origin->in, conn->held_in, size);
    lp_free(conn->held_in);
    conn->held_in = NULL;
    conn->held_in_size = 0;
    return size;
}

static void echo(struct origin *origin, struct conn *conn, size_t size)
{
    ssize_t sent = send(conn->fd, origin->in, size, SEND_FLAGS);
    if (sent < 0 && errno != EAGAIN) {
        end(origin, conn);
        return;
    }
    size_t taken = sent > 0 ? (size_t)sent : 0;
    if (taken < size) {
        hold_out(conn, origin->in + taken, size - taken);
        await(origin, conn);
    }
}

/* A long body is dropped in the kernel: TCP counts with MSG_TRUNC and copies nothing. A system
 * call without wrapper, because the address sanitizer's expects the bytes to be written. */
static ssize_t receive(struct origin *origin, const struct conn *conn, size_t at)
{
    if (conn->state == CONN_BODY && conn->is_tcp && conn->body_left > READ_BYTES) {
        size_t limit = conn->body_left < DROP_BYTES_MAX ? (size_t)conn->body_left : DROP_BYTES_MAX;
        return syscall(SYS_recvfrom, conn->fd, NULL, limit, MSG_TRUNC | MSG_DONTWAIT, NULL, NULL);
    }
    ssize_t size = recv(conn->fd, origin->in + at, READ_BYTES, MSG_DONTWAIT);
    origin->read_was_full = size == (ssize_t)READ_BYTES;
    return size;
}

static void on_readable(struct origin *origin, struct conn *conn)
{
    bool is_dropping = conn->state == CONN_BODY && conn->is_tcp && conn->body_left > READ_BYTES;
    size_t held = is_dropping ? 0 : take_held_in(origin, conn);
    ssize_t size = receive(origin, conn, held);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        size = 0;
    else if (size <= 0) {
        end(origin, conn);
        return;
    }
    if (is_dropping) {
        conn->body_left -= (uint64_t)size;
        conn->body_count += (uint64_t)size;
        if (conn->body_left == 0)
            work(origin, conn, origin->in, 0);
    } else if (conn->state == CONN_ECHO) {
        echo(origin, conn, (size_t)size);
    } else if (conn->state != CONN_LINGER) {
        work(origin, conn, origin->in, held + (size_t)size);
    }
}

static void on_writable(struct origin *origin, struct conn *conn)
{
    if (!flush(origin, conn)) {
        end(origin, conn);
        return;
    }
    if (conn->held_out != NULL || conn->state == CONN_BYTES)
        return;
    if (conn->state == CONN_ECHO || conn->state == CONN_EVENTS || conn->state == CONN_DELAY) {
        await(origin, conn);
        return;
    }
    origin->read_was_full = true; /* nobody knows: reading had stopped */
    work(origin, conn, origin->in, take_held_in(origin, conn));
}

void conn_on_event(struct origin *origin, struct conn *conn, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
        end(origin, conn);
    else if (events & EPOLLOUT)
        on_writable(origin, conn);
    else
        on_readable(origin, conn);
}

void conn_on_timer(struct timer *timer, void *context)
{
    struct origin *origin = context;
    struct conn *conn = lp_container_of(timer, struct conn, timer);
    if (conn->state == CONN_LINGER) {
        end(origin, conn);
        return;
    }
    /* Pipelined answers before this one are still on their way, or a reader of events is slow. */
    if (conn->held_out != NULL) {
        wheel_set(&origin->wheel, timer,
                  timer->due_ms + (conn->state == CONN_EVENTS ? conn->number : 1));
        return;
    }
    http_on_timer(origin, conn);
    origin->read_was_full = true;
    work(origin, conn, origin->in, conn->state == CONN_EVENTS ? 0 : take_held_in(origin, conn));
}
