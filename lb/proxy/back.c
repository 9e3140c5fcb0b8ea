/* Server connections: opened for a stream, kept idle for the next one, closed. */
#include "lb/proxy/back.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "lb/net/proxy_header.h"

/* Requests that may not be sent twice do not take a connection that was idle for longer: the
 * server may be closing it at this moment. */
#define FRESH_MS 1000u

#define NEVER UINT64_MAX

static void on_connect(struct loop *loop, struct conn *conn, int error);
static void on_turn(struct loop *loop, struct conn *conn);
static void on_recv(struct loop *loop, struct conn *conn, int error);
static void on_sent(struct loop *loop, struct conn *conn, int error);
static void on_timer(struct loop *loop, struct conn *conn);
static void on_released(struct loop *loop, struct conn *conn);

const struct conn_ops back_ops = {.on_connect = on_connect,
                                  .on_turn = on_turn,
                                  .on_recv = on_recv,
                                  .on_sent = on_sent,
                                  .on_timer = on_timer,
                                  .on_released = on_released};

static struct server_cell *cell_of(struct worker *worker, struct server *server)
{
    return &server->cells[worker->index];
}

static int open_socket(const struct lp_addr *address)
{
    const int on = 1;
    int fd = socket(address->as.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && address->as.any.sa_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        conn_bound_unsent(fd);
    }
    return fd;
}

struct back *back_connect(struct worker *worker, struct stream *stream)
{
    struct server *server = stream->server;
    struct lp_pool_name name;
    int fd = open_socket(&server->address);

    if (fd < 0)
        return NULL;
    struct back *back = lp_pool_get(&worker->loop.spaces[LOOP_SPACE_BACK], &name);
    if (back == NULL) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    back->server = server;
    back->stream = stream;
    back->since_ms = (uint32_t)worker->loop.now_ms;
    lp_list_init(&back->link);
    atomic_fetch_add_explicit(&cell_of(worker, server)->connections_count, 1, memory_order_relaxed);
    conn_connect(&worker->loop, &back->conn, LOOP_SPACE_BACK, name, fd, &server->address);
    conn_set_timer(&worker->loop, &back->conn,
                   worker->loop.now_ms + policy_ms(&stream->policy->connect_ms));
    return back;
}

/* TLS 1.3 servers give tickets behind the handshake, so the newest is there when it is over. */
static void keep_ticket(struct worker *worker, struct back *back)
{
    struct server_cell *cell = cell_of(worker, back->server);
    struct lp_tls *tls = conn_tls_session(&back->conn);
    struct lp_tls_ticket *ticket = tls != NULL ? lp_tls_take_ticket(tls) : NULL;

    if (ticket == NULL)
        return;
    lp_tls_ticket_free(cell->ticket);
    cell->ticket = ticket;
}

/* This worker's share, rounded up. */
static uint32_t idle_count_max(const struct worker *worker, const struct pool *pool)
{
    return (policy_ms(&pool->keep_alive_idle) + worker->workers_count - 1) / worker->workers_count;
}

/* One whose exchange was whole says so. */
static void close_back(struct worker *worker, struct back *back, bool was_whole)
{
    if (was_whole)
        conn_say_goodbye(&worker->loop, &back->conn);
    conn_abort(&worker->loop, &back->conn);
}

/* --- without a stream --- */

static bool is_pinned(const struct back *back)
{
    return back->is_authenticated || back->server->proxy_protocol != LP_PROXY_PROTOCOL_OFF;
}

static void leave_list(struct worker *worker, struct back *back)
{
    if (!is_pinned(back))
        cell_of(worker, back->server)->idle_count--;
    lp_list_remove(&back->link);
}

static void drop_idle(struct worker *worker, struct back *back)
{
    leave_list(worker, back);
    close_back(worker, back, true);
}

void back_evict(struct worker *worker, struct back *back)
{
    if (lp_list_is_linked(&back->link))
        leave_list(worker, back);
    conn_reset(&worker->loop, &back->conn); /* what the kernel still holds for it goes, too */
}

void backs_close_idle(struct worker *worker, struct server *server)
{
    struct server_cell *cell = cell_of(worker, server);

    while (!lp_list_is_empty(&cell->idle))
        drop_idle(worker, lp_container_of(cell->idle.next, struct back, link));
}

void backs_close_pinned(struct worker *worker, struct session *session)
{
    if (session->pinned == NULL)
        return;
    while (!lp_list_is_empty(session->pinned))
        drop_idle(worker, lp_container_of(session->pinned->next, struct back, link));
    lp_free(session->pinned);
    session->pinned = NULL;
}

static struct back *find_pinned(const struct session *session, const struct pool *pool)
{
    if (session->pinned == NULL)
        return NULL;
    LP_LIST_EACH (link, session->pinned) {
        struct back *back = lp_container_of(link, struct back, link);
        if (back->server->pool == pool)
            return back;
    }
    return NULL;
}

static uint64_t drained_at_ms(const struct server *server)
{
    uint64_t began_ms = atomic_load_explicit(&server->drain_began_ms, memory_order_relaxed);
    return began_ms == 0 ? NEVER : began_ms + policy_ms(&server->pool->drain_deadline_ms);
}

/* The user would have to be authenticated anew, so a server that drains keeps its pinned
 * connections as long as its tunnels. */
static void arm_drain(struct worker *worker, struct back *back)
{
    uint64_t at_ms = drained_at_ms(back->server);

    if (at_ms != NEVER)
        conn_set_timer(&worker->loop, &back->conn, at_ms);
}

static void arm_drain_of_pinned(void *object, void *context)
{
    struct back *back = object;

    if (back->stream == NULL && is_pinned(back) && lp_list_is_linked(&back->link))
        arm_drain(context, back);
}

void backs_follow_drain(struct worker *worker)
{
    lp_pool_each(&worker->loop.spaces[LOOP_SPACE_BACK], arm_drain_of_pinned, worker);
}

/* Kept for its client's next request. False: idle connections are not wanted, or memory is out. */
static bool pin(struct worker *worker, struct session *session, struct back *back)
{
    struct back *other = find_pinned(session, back->server->pool);

    if (!back->is_authenticated && policy_ms(&back->server->pool->keep_alive_idle) == 0)
        return false;
    if (session->pinned == NULL) {
        session->pinned = lp_try_alloc(sizeof(*session->pinned));
        if (session->pinned == NULL)
            return false;
        lp_list_init(session->pinned);
    }
    if (other != NULL)
        drop_idle(worker, other);
    lp_list_push_front(session->pinned, &back->link);
    arm_drain(worker, back);
    return true;
}

/* --- in use again --- */

/* Once its bytes are out, such a request cannot be sent again when the server turns out to be
 * gone. */
static bool may_repeat(const struct stream *stream)
{
    return stream_has(stream, STREAM_IDEMPOTENT) && stream_has(stream, STREAM_UP_DONE) &&
           stream->class == CLASS_HTTP;
}

static ssize_t peek(const struct back *back)
{
    char byte;

    return recv(back->conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

bool back_is_silent(const struct back *back)
{
    return peek(back) < 0 && (errno == EAGAIN || errno == EINTR);
}

static struct back *use_again(struct worker *worker, struct stream *stream, struct back *back)
{
    leave_list(worker, back);
    back->stream = stream;
    back->was_reused = true;
    back->since_ms = (uint32_t)worker->loop.now_ms;
    return back;
}

struct back *back_pinned(struct worker *worker, struct stream *stream)
{
    struct back *back = find_pinned(stream->session, stream->request->route->pool->pool);

    if (back == NULL || !back->is_authenticated)
        return NULL;
    if (server_health(back->server) == SERVER_DOWN ||
        worker->loop.now_ms >= drained_at_ms(back->server) ||
        (!may_repeat(stream) && !back_is_silent(back))) {
        drop_idle(worker, back);
        return NULL;
    }
    return use_again(worker, stream, back);
}

static uint32_t idle_ms(const struct worker *worker, const struct back *back)
{
    return (uint32_t)worker->loop.now_ms - back->since_ms;
}

/* Told by a PROXY header whom it serves. */
static struct back *reuse_own(struct worker *worker, struct stream *stream)
{
    struct back *back = find_pinned(stream->session, stream->server->pool);

    if (back == NULL || back->server != stream->server)
        return NULL;
    if (may_repeat(stream) || (idle_ms(worker, back) <= FRESH_MS && back_is_silent(back)))
        return use_again(worker, stream, back);
    drop_idle(worker, back);
    return NULL;
}

struct back *back_reuse(struct worker *worker, struct stream *stream)
{
    struct server_cell *cell = cell_of(worker, stream->server);

    if (stream->server->proxy_protocol != LP_PROXY_PROTOCOL_OFF)
        return reuse_own(worker, stream);
    while (!lp_list_is_empty(&cell->idle)) {
        struct back *back = lp_container_of(cell->idle.next, struct back, link);
        if (idle_ms(worker, back) >= back->idle_max_ms ||
            (idle_ms(worker, back) > FRESH_MS && !may_repeat(stream)))
            return NULL;
        if (may_repeat(stream) || back_is_silent(back))
            return use_again(worker, stream, back);
        drop_idle(worker, back);
    }
    return NULL;
}

/* --- no longer in use --- */

/* Kept for anybody's next request. False when it may not be. */
static bool keep_idle(struct worker *worker, struct back *back, uint32_t keep_alive_seconds)
{
    struct server_cell *cell = cell_of(worker, back->server);
    const struct pool *pool = back->server->pool;

    back->idle_max_ms = policy_ms(&pool->keep_alive_timeout_ms);
    /* A second less than the server says, so that it does not close in our hands. */
    if (keep_alive_seconds != UINT32_MAX) {
        uint64_t theirs_ms = keep_alive_seconds > 0 ? ((uint64_t)keep_alive_seconds - 1) * 1000 : 0;
        if (theirs_ms < back->idle_max_ms)
            back->idle_max_ms = (uint32_t)theirs_ms;
    }
    if (cell->idle_count >= idle_count_max(worker, pool) || back->idle_max_ms == 0 ||
        atomic_load_explicit(&back->server->drain_began_ms, memory_order_relaxed) != 0)
        return false;
    lp_list_push_front(&cell->idle, &back->link);
    cell->idle_count++;
    conn_set_timer(&worker->loop, &back->conn, worker->loop.now_ms + back->idle_max_ms);
    return true;
}

void back_release(struct worker *worker, struct back *back, bool may_keep,
                  uint32_t keep_alive_seconds)
{
    struct session *session = back->stream->session;

    back->stream = NULL;
    keep_ticket(worker, back);
    if (!may_keep || back->conn.state != CONN_OPEN || conn_is_eof(&back->conn) ||
        back->conn.io->in.size > 0 || !conn_has_sent_all(&back->conn) ||
        worker->drain_phase == DRAIN_CUTTING) {
        close_back(worker, back, may_keep);
        return;
    }
    bool is_kept =
        is_pinned(back) ? pin(worker, session, back) : keep_idle(worker, back, keep_alive_seconds);
    if (!is_kept) {
        close_back(worker, back, true);
        return;
    }
    back->since_ms = (uint32_t)worker->loop.now_ms;
    conn_want_messages(&worker->loop, &back->conn); /* its end, or what it has no right to say */
}

void back_end_politely(struct worker *worker, struct back *back)
{
    struct policy *policy =
        back->stream != NULL ? back->stream->policy : &back->server->pool->policy;

    back->stream = NULL;
    keep_ticket(worker, back);
    conn_end_politely(&worker->loop, &back->conn, policy_ms(&policy->linger_ms),
                      policy_ms(&policy->stalled_ms));
}

void backs_look_again(struct worker *worker, struct server *server)
{
    struct server_cell *cell = cell_of(worker, server);
    uint32_t timeout_ms = policy_ms(&server->pool->keep_alive_timeout_ms);

    while (cell->idle_count > idle_count_max(worker, server->pool))
        drop_idle(worker, lp_container_of(cell->idle.prev, struct back, link));
    LP_LIST_EACH (link, &cell->idle) {
        struct back *back = lp_container_of(link, struct back, link);
        if (back->idle_max_ms > timeout_ms)
            back->idle_max_ms = timeout_ms;
        conn_set_timer(&worker->loop, &back->conn,
                       worker->loop.now_ms - idle_ms(worker, back) + back->idle_max_ms);
    }
}

/* --- completions --- */

/* Whom the server serves here, before anything else is said. */
static bool send_proxy_header(struct worker *worker, struct back *back)
{
    const struct session *session = back->stream->session;
    struct lp_addr client = session_peer(session), local = {.size = sizeof(local.as)};
    uint32_t buffer = uring_buffer_take(worker->loop.uring, URING_TINY);

    if (buffer == URING_NO_BUFFER)
        return false;
    bool has_local = getsockname(session->conn.fd, &local.as.any, &local.size) == 0;
    struct proxy_header header = {.client = &client,
                                  .local = has_local ? &local : NULL,
                                  .name = session->name != NULL ? lp_slice_of(session->name)
                                                                : (struct lp_slice){"", 0}};
    char *place = uring_buffer_base(worker->loop.uring, buffer);
    size_t size = proxy_header_write(place, back->server->proxy_protocol, &header);
    conn_send(&worker->loop, &back->conn, (struct piece){place, (uint32_t)size, buffer});
    return true;
}

static void fail_connect(struct worker *worker, struct back *back, int error)
{
    struct stream *stream = back->stream;

    if ((back->conn.flags & CONN_TLS) != 0 && error == EPROTO)
        lp_log(LP_LOG_WARNING, "server %s of pool %s: TLS handshake failed: %s", back->server->name,
               back->server->pool->name, conn_tls_error(&back->conn));
    stream->back = NULL;
    back->stream = NULL;
    conn_abort(&worker->loop, &back->conn);
    stream_on_connect_failed(worker, stream, error);
}

/* Called when there is a connection, and again when its TLS handshake is over. */
static void on_connect(struct loop *loop, struct conn *conn, int error)
{
    struct back *back = back_of(conn);
    struct worker *worker = worker_of(loop);
    bool is_fresh = (conn->flags & CONN_TLS) == 0;

    if (error == 0 && is_fresh && back->server->proxy_protocol != LP_PROXY_PROTOCOL_OFF &&
        !send_proxy_header(worker, back))
        error = ENOBUFS;
    if (error != 0)
        fail_connect(worker, back, error);
    else if (is_fresh && back->server->uses_tls)
        conn_wait_turn(loop, conn);
    else
        stream_on_connected(worker, back->stream);
}

static void on_turn(struct loop *loop, struct conn *conn)
{
    struct back *back = back_of(conn);
    struct worker *worker = worker_of(loop);
    const struct snap_route *route = back->stream->request->route; /* keeps its snapshot alive */
    const struct lp_tls_back *settings = route != NULL ? route->pool->tls : NULL;
    struct lp_tls *tls = settings == NULL ? NULL
                                          : lp_tls_connect(settings, &back->server->address,
                                                           cell_of(worker, back->server)->ticket);

    if (tls == NULL)
        fail_connect(worker, back, settings == NULL ? ECONNREFUSED : ENOMEM);
    else
        conn_begin_tls(loop, conn, tls);
}

static enum end_reason reason_of(int error)
{
    return error == 0 || error == EPIPE ? END_SERVER_CLOSED : END_SERVER_RESET;
}

/* The server was reset. What it said before is passed on first, and decides how the stream ends. */
static void on_reset(struct worker *worker, struct back *back, int error)
{
    struct stream *stream = back->stream;

    conn_note_reset(&back->conn);
    stream->eof_reason = (uint8_t)reason_of(error);
    stream->flags |= STREAM_SERVER_DEAF;
    stream_step(worker, stream);
}

/* The server takes no more, but it may have said something already, or say why; that comes first,
 * if it comes soon. */
static void on_deaf(struct worker *worker, struct back *back, int error)
{
    struct stream *stream = back->stream;
    bool may_hear = stream->state == STREAM_TUNNEL || stream_has(stream, STREAM_BODY_SENT) ||
                    back->conn.io->in.size > 0 || peek(back) > 0;

    if (stream->state == STREAM_CONNECT) { /* its PROXY header */
        stream_fail(worker, stream, 502, reason_of(error));
    } else if (may_hear) {
        stream->flags |= STREAM_SERVER_DEAF;
        back->since_ms = (uint32_t)worker->loop.now_ms;
        stream_arm_timers(worker, stream);
        stream_step(worker, stream);
    } else if (!stream_retry_reused(worker, stream)) {
        stream_fail(worker, stream, 502, reason_of(error));
    }
}

static void on_recv(struct loop *loop, struct conn *conn, int error)
{
    struct back *back = back_of(conn);
    struct worker *worker = worker_of(loop);
    struct stream *stream = back->stream;

    if (stream == NULL) {
        /* Idle: closed by the server, or it speaks without being asked. Either way it goes. */
        if (lp_list_is_linked(&back->link))
            drop_idle(worker, back);
        else
            conn_abort(loop, conn);
        return;
    }
    /* A head that drips, or 1xx, are not yet the answer. */
    bool is_silence = stream_waits_for_head(stream) ||
                      (stream_has(stream, STREAM_SERVER_DEAF) && stream->state == STREAM_TUNNEL);
    if (!is_silence)
        back->since_ms = (uint32_t)loop->now_ms;
    if (error != 0)
        on_reset(worker, back, error);
    else
        stream_step(worker, stream);
}

static void on_sent(struct loop *loop, struct conn *conn, int error)
{
    struct back *back = back_of(conn);
    struct worker *worker = worker_of(loop);

    if (back->stream == NULL) {
        if (error != 0 && lp_list_is_linked(&back->link))
            drop_idle(worker, back);
        return;
    }
    if (error != 0) {
        on_deaf(worker, back, error);
        return;
    }
    back->since_ms = (uint32_t)loop->now_ms;
    stream_step(worker, back->stream);
}

static void on_timer(struct loop *loop, struct conn *conn)
{
    struct back *back = back_of(conn);
    struct worker *worker = worker_of(loop);

    if (back->stream != NULL) {
        stream_on_back_timer(worker, back->stream);
        return;
    }
    if (!lp_list_is_linked(&back->link))
        return;
    if (is_pinned(back)) {
        if (loop->now_ms >= drained_at_ms(back->server))
            drop_idle(worker, back);
        else
            arm_drain(worker, back);
        return;
    }
    if (idle_ms(worker, back) >= back->idle_max_ms)
        drop_idle(worker, back);
    else
        conn_set_timer(loop, conn, loop->now_ms + back->idle_max_ms - idle_ms(worker, back));
}

static void on_released(struct loop *loop, struct conn *conn)
{
    struct back *back = back_of(conn);
    struct worker *worker = worker_of(loop);

    LP_ASSERT(!lp_list_is_linked(&back->link));
    /* Release: the control thread may free the server when it sees no connection. */
    atomic_fetch_sub_explicit(&cell_of(worker, back->server)->connections_count, 1,
                              memory_order_release);
    lp_pool_put(&loop->spaces[LOOP_SPACE_BACK], conn->slot);
}
