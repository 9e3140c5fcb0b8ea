/* A client connection between its streams: accepted, counted, waiting for a head, read, closed.
 * Start at session_begin(); the way goes on in stream.c. */
#include "lb/proxy/session.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "lb/proxy/back.h"

static void on_connect(struct loop *loop, struct conn *conn, int error);
static void on_turn(struct loop *loop, struct conn *conn);
static void on_recv(struct loop *loop, struct conn *conn, int error);
static void on_sent(struct loop *loop, struct conn *conn, int error);
static void on_timer(struct loop *loop, struct conn *conn);
static void on_hangup(struct loop *loop, struct conn *conn);
static void on_released(struct loop *loop, struct conn *conn);

const struct conn_ops session_ops = {.on_connect = on_connect,
                                     .on_turn = on_turn,
                                     .on_recv = on_recv,
                                     .on_sent = on_sent,
                                     .on_timer = on_timer,
                                     .on_hangup = on_hangup,
                                     .on_released = on_released};

/* --- accept --- */

static void learn_peer(struct session *session)
{
    struct lp_addr peer = {.size = sizeof(peer.as)};

    if (getpeername(session->conn.fd, &peer.as.any, &peer.size) == 0) {
        session->ip = lp_addr_ip(&peer);
        session->port = lp_addr_port(&peer);
    }
}

struct lp_addr session_peer(const struct session *session)
{
    struct lp_addr peer = {0};

    if (session->ip.family == 4) {
        peer.as.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(session->port)};
        memcpy(&peer.as.in.sin_addr, session->ip.bytes, 4);
        peer.size = sizeof(peer.as.in);
    } else if (session->ip.family == 6) {
        peer.as.in6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(session->port)};
        memcpy(&peer.as.in6.sin6_addr, session->ip.bytes, 16);
        peer.size = sizeof(peer.as.in6);
    } else {
        peer.as.any.sa_family = AF_UNIX;
        peer.size = sizeof(peer.as.any.sa_family);
    }
    return peer;
}

/* Above the limit a client hears why, as long as the reserve of descriptors lasts. */
static bool refuse_over_limit(struct worker *worker, struct session *session)
{
    struct shared *shared = worker->shared;
    uint32_t count = atomic_fetch_add_explicit(&shared->sessions_count, 1, memory_order_relaxed);
    uint32_t max = atomic_load_explicit(&shared->sessions_max, memory_order_relaxed);

    if (LP_UNLIKELY(count >= max)) {
        const struct snap_listener *listener = session->acceptor->listener;
        bool is_http = listener != NULL && listener->tls == NULL &&
                       listener->config->protocol == LP_PROTOCOL_HTTP;
        if (is_http && count < max + shared->sessions_reserve)
            stream_begin_refusal(worker, session, 503, END_CONNECTION_LIMIT, NULL);
        else
            conn_reset(&worker->loop, &session->conn);
        return true;
    }
    return false;
}

/* RFC 9112, 2.2: an empty line is passed over, so no request has begun by it. */
static bool has_begun(const struct session *session)
{
    const struct partial *partial = session->partial;

    return partial != NULL && (partial->head == NULL || !http1_is_empty_line(partial->head));
}

/* Its turn in a drain, should it be idle then. */
static void schedule_close(void *object, void *context)
{
    struct session *session = object;
    struct worker *worker = context;
    uint64_t now_ms = worker->loop.now_ms, ends_ms = worker->shared->spread_ends_ms;
    uint64_t window_ms = ends_ms > now_ms ? ends_ms - now_ms : 0;

    if (session->conn.state != CONN_OPEN && session->conn.state != CONN_HANDSHAKE)
        return;
    session->close_at_ms = now_ms + 1 + lp_random_fast() % (window_ms + 1);
    if (session->stream == NULL && !has_begun(session))
        conn_set_timer(&worker->loop, &session->conn, session->close_at_ms);
}

/* Its first request, or one more, is on its way. */
#define ONE_MORE_REQUEST_MS 1000u

void session_delay_close(struct worker *worker, struct session *session)
{
    uint64_t at_least_ms = worker->loop.now_ms + ONE_MORE_REQUEST_MS;

    if (session->close_at_ms != 0 && session->close_at_ms < at_least_ms)
        session->close_at_ms = at_least_ms;
}

void session_begin(struct worker *worker, struct acceptor *acceptor, int fd)
{
    struct lp_pool_name name;
    struct session *session = lp_pool_get(&worker->loop.spaces[LOOP_SPACE_FRONT], &name);

    if (session == NULL) {
        close(fd);
        return;
    }
    conn_open(&session->conn, LOOP_SPACE_FRONT, name, fd);
    session->acceptor = acceptor;
    acceptor->sessions_count++;
    acceptor->requesters_count++;
    session->is_requester = true;
    learn_peer(session);
    session->since_ms = (uint32_t)worker->loop.now_ms;
    if (refuse_over_limit(worker, session))
        return;
    if (worker->drain_phase >= DRAIN_SPREADING) {
        schedule_close(session, worker); /* it was in the queue when the drain began */
        session_delay_close(worker, session);
    }
    const struct snap_listener *listener = acceptor->listener;
    if (listener == NULL || worker->drain_phase == DRAIN_CUTTING) {
        conn_abort(&worker->loop, &session->conn);
        return;
    }
    if (listener->reads_hello)
        hello_begin(worker, session);
    else
        session_open(worker, session);
}

void session_open(struct worker *worker, struct session *session)
{
    const struct snap_listener *listener = session->acceptor->listener;

    session->stage = SESSION_OPEN;
    if (listener == NULL)
        session_end_quietly(worker, session);
    else if (listener->config->protocol == LP_PROTOCOL_TCP)
        stream_begin_tcp(worker, session);
    else
        session_next(worker, session);
}

/* --- between two streams --- */

bool session_must_close(const struct worker *worker, const struct session *session)
{
    return worker->drain_phase != DRAIN_NONE || session->acceptor->state != ACCEPTOR_OPEN;
}

const struct lp_cfg_timeouts *session_timeouts(const struct worker *worker,
                                               const struct session *session)
{
    const struct snap_listener *listener = session->acceptor->listener;
    return listener != NULL ? &listener->config->timeouts : &worker_config(worker)->timeouts;
}

void session_forget_partial(struct worker *worker, struct session *session)
{
    if (session->partial != NULL && session->partial->snapshot != NULL)
        worker_drop_snapshot(worker, session->partial->snapshot);
    partial_free(&session->partial);
}

void session_end_quietly(struct worker *worker, struct session *session)
{
    const struct lp_cfg_timeouts *timeouts = session_timeouts(worker, session);

    session_forget_partial(worker, session);
    backs_close_pinned(worker, session);
    conn_end_politely(&worker->loop, &session->conn, timeouts->linger, timeouts->stalled);
}

/* Between two streams: what is waited for may take so long. */
static uint32_t patience_ms(const struct worker *worker, const struct session *session)
{
    const struct lp_cfg_timeouts *timeouts = session_timeouts(worker, session);

    if (session->stage != SESSION_OPEN)
        return timeouts->handshake;
    return has_begun(session) ? timeouts->head : timeouts->keep_alive;
}

static void wait_for_bytes(struct worker *worker, struct session *session)
{
    uint32_t wait_ms = patience_ms(worker, session);

    conn_set_timer(&worker->loop, &session->conn, worker->loop.now_ms + wait_ms);
    if (session->close_at_ms != 0 && !has_begun(session))
        conn_set_timer(&worker->loop, &session->conn, session->close_at_ms);
    if (session->partial == NULL)
        conn_want_messages(&worker->loop, &session->conn);
    else
        conn_want(&worker->loop, &session->conn, LP_BUF_SMALL_BYTES - session->partial->size);
}

/* What was received is kept until the rest of the head comes. False: memory is out. */
static bool keep_partial(struct worker *worker, struct session *session)
{
    struct conn *conn = &session->conn;

    if (!has_begun(session) && !http1_is_empty_line(&worker->request_head))
        session->since_ms = (uint32_t)worker->loop.now_ms;
    if (!partial_save(&session->partial, &worker->request_head,
                      (struct lp_slice){conn->io->in.data, conn->io->in.size}))
        return false;
    conn_consume(&worker->loop, conn, conn->io->in.size);
    return true;
}

/* One piece of a head, behind those that came before. False: buffers are out. */
static bool parse_piece(struct worker *worker, struct session *session, enum http1_outcome *outcome,
                        const char **why)
{
    const struct lp_cfg_limits *limits = &worker_config(worker)->limits;
    struct http1_head *head = &worker->request_head;
    struct conn *conn = &session->conn;

    if (session->partial == NULL) {
        http1_head_init(head, limits->head, limits->headers);
    } else {
        partial_load(session->partial, head);
        if (!partial_join(&worker->loop, session->partial, conn))
            return false;
    }
    *outcome = http1_parse_request(head, conn->io->in.data, conn->io->in.size, why);
    return true;
}

static void begin_stream(struct worker *worker, struct session *session, enum http1_outcome outcome,
                         const char *why)
{
    switch (outcome) {
    case HTTP1_DONE:
        stream_begin_request(worker, session);
        return;
    case HTTP1_TOO_LARGE:
        stream_begin_refusal(worker, session, 431, END_HEAD_TOO_LARGE, why);
        return;
    case HTTP1_BAD_VERSION:
        stream_begin_refusal(worker, session, 505, END_BAD_REQUEST, why);
        return;
    case HTTP1_BAD:
    case HTTP1_MORE:
        stream_begin_refusal(worker, session, 400, END_BAD_REQUEST, why);
        return;
    }
}

static void read_head(struct worker *worker, struct session *session)
{
    struct conn *conn = &session->conn;
    enum http1_outcome outcome = HTTP1_MORE;
    const char *why = NULL;

    while (outcome == HTTP1_MORE && conn->io->in.size > 0)
        if (!parse_piece(worker, session, &outcome, &why) ||
            (outcome == HTTP1_MORE && !keep_partial(worker, session))) {
            conn_abort(&worker->loop, conn);
            return;
        }
    if (outcome != HTTP1_MORE) {
        partial_free(&session->partial);
        begin_stream(worker, session, outcome, why);
    } else if (conn_is_eof(conn)) {
        session_end_quietly(worker, session);
    } else {
        wait_for_bytes(worker, session);
    }
}

void session_next(struct worker *worker, struct session *session)
{
    LP_ASSERT(session->stream == NULL);
    session->since_ms = (uint32_t)worker->loop.now_ms;
    if (session->conn.io->in.size > 0)
        read_head(worker, session);
    else if (conn_is_eof(&session->conn))
        session_end_quietly(worker, session);
    else
        wait_for_bytes(worker, session);
}

void session_stop_requesting(struct worker *worker, struct session *session)
{
    if (!session->is_requester)
        return;
    session->is_requester = false;
    acceptor_put_requester(worker, session->acceptor);
}

void session_request_again(struct session *session)
{
    if (session->is_requester)
        return;
    session->is_requester = true;
    session->acceptor->requesters_count++;
}

/* --- completions --- */

static void on_connect(struct loop *loop, struct conn *conn, int error)
{
    hello_on_connect(worker_of(loop), session_of(conn), error);
}

static void on_turn(struct loop *loop, struct conn *conn)
{
    hello_on_turn(worker_of(loop), session_of(conn));
}

static void on_recv(struct loop *loop, struct conn *conn, int error)
{
    struct session *session = session_of(conn);
    struct worker *worker = worker_of(loop);

    if (session->stream != NULL) {
        stream_on_front_recv(worker, session->stream, error);
        return;
    }
    if (session->stage != SESSION_OPEN) {
        hello_on_recv(worker, session, error);
        return;
    }
    if (error != 0)
        conn_abort(loop, conn);
    else if (conn->io->in.size > 0)
        read_head(worker, session);
    else
        session_end_quietly(worker, session);
}

static void on_sent(struct loop *loop, struct conn *conn, int error)
{
    struct session *session = session_of(conn);

    if (session->stream != NULL)
        stream_on_front_sent(worker_of(loop), session->stream, error);
    else if (error != 0)
        conn_abort(loop, conn);
}

static void on_timer(struct loop *loop, struct conn *conn)
{
    struct session *session = session_of(conn);
    struct worker *worker = worker_of(loop);

    if (session->stream != NULL) {
        stream_on_front_timer(worker, session->stream);
        return;
    }
    if (session->stage != SESSION_OPEN) {
        hello_on_timer(worker, session);
        return;
    }
    bool is_in_head = has_begun(session);
    uint32_t waited_ms = (uint32_t)loop->now_ms - session->since_ms;
    uint32_t limit_ms = patience_ms(worker, session);
    if (waited_ms >= limit_ms && is_in_head) {
        partial_free(&session->partial);
        stream_begin_refusal(worker, session, 408, END_HEAD_TIMEOUT, NULL);
    } else if (waited_ms >= limit_ms ||
               (!is_in_head && session->close_at_ms != 0 && loop->now_ms >= session->close_at_ms)) {
        session_end_quietly(worker, session);
    } else {
        lp_timer_set_at_latest(&loop->wheel, &conn->timer, loop->now_ms + limit_ms - waited_ms);
        if (session->close_at_ms != 0 && !is_in_head)
            conn_set_timer(loop, conn, session->close_at_ms);
    }
}

static void on_hangup(struct loop *loop, struct conn *conn)
{
    struct session *session = session_of(conn);

    if (session->stream != NULL)
        stream_on_hangup(worker_of(loop), session->stream);
}

static void on_released(struct loop *loop, struct conn *conn)
{
    struct session *session = session_of(conn);
    struct worker *worker = worker_of(loop);

    LP_ASSERT(session->stream == NULL);
    session_forget_partial(worker, session);
    backs_close_pinned(worker, session);
    lp_free(session->name);
    session_stop_requesting(worker, session);
    atomic_fetch_sub_explicit(&worker->shared->sessions_count, 1, memory_order_relaxed);
    acceptor_put_session(worker, session->acceptor);
    lp_pool_put(&loop->spaces[LOOP_SPACE_FRONT], conn->slot);
}

/* --- new timeouts --- */

static void look_again(void *object, void *context)
{
    struct session *session = object;
    struct worker *worker = context;
    struct conn *conn = &session->conn;

    if (conn->state == CONN_LINGERING) {
        const struct lp_cfg_timeouts *timeouts = session_timeouts(worker, session);
        conn_shorten_end(&worker->loop, conn, timeouts->linger, timeouts->stalled);
    } else if (session->stream != NULL) {
        stream_look_again(worker, session->stream);
    } else if (conn->state != CONN_CLOSING) {
        uint32_t waited_ms = (uint32_t)worker->loop.now_ms - session->since_ms;
        conn_set_timer(&worker->loop, conn,
                       worker->loop.now_ms - waited_ms + patience_ms(worker, session));
    }
}

void sessions_look_again(struct worker *worker)
{
    lp_pool_each(&worker->loop.spaces[LOOP_SPACE_FRONT], look_again, worker);
}

/* --- drain --- */

void sessions_schedule_close(struct worker *worker)
{
    lp_pool_each(&worker->loop.spaces[LOOP_SPACE_FRONT], schedule_close, worker);
}

static void cut(void *object, void *context)
{
    struct session *session = object;
    struct worker *worker = context;

    /* One that lingers has said all; it only waits for the client's FIN. */
    if (session->conn.state == CONN_OPEN)
        atomic_fetch_add_explicit(&worker->shared->cut_count, 1, memory_order_relaxed);
    if (session->stream != NULL)
        stream_end(worker, session->stream, END_DRAIN_DEADLINE, FRONT_RESET);
    else
        conn_abort(&worker->loop, &session->conn);
}

/* Server connections that only linger wait for nobody now. */
static void cut_back(void *object, void *context)
{
    struct conn *back = object;
    struct worker *worker = context;

    if (back->state == CONN_LINGERING)
        conn_abort(&worker->loop, back);
}

void sessions_cut(struct worker *worker)
{
    lp_pool_each(&worker->loop.spaces[LOOP_SPACE_FRONT], cut, worker);
    lp_pool_each(&worker->loop.spaces[LOOP_SPACE_BACK], cut_back, worker);
}
