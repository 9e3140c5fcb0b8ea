/* A stream's life: its states, what each side's events mean for it, and its one end. Where an
 * upgrade is asked for is decided in lb/http (http1_read_request), where it becomes a tunnel in
 * exchange.c: on_switching(). Start at stream_begin_request(). */
#include "lb/proxy/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lb/proxy/back.h"

/* clang-format off */
#define TO(state) (1u << STREAM_##state)
static const uint32_t stream_next[STREAM_STATE_COUNT] = {
    [STREAM_FREE]     = TO(CONNECT) | TO(ANSWER) | TO(ENDED),
    [STREAM_CONNECT]  = TO(CONNECT) | TO(EXCHANGE) | TO(TUNNEL) /* itself: the next server */
                      | TO(ANSWER) | TO(ENDED),
    [STREAM_EXCHANGE] = TO(CONNECT)                             /* a reused connection was dead */
                      | TO(TUNNEL) | TO(ANSWER) | TO(ENDED),
    [STREAM_TUNNEL]   = TO(ENDED),
    [STREAM_ANSWER]   = TO(ENDED),
    [STREAM_ENDED]    = 0,
};
/* clang-format on */

#define SHRINK_AFTER_MS 100u /* a request that takes longer is a waiting one */

void stream_enter(struct stream *stream, enum stream_state next)
{
    LP_ASSERT((stream_next[stream->state] & (1u << next)) != 0);
    stream->state = (uint8_t)next;
}

/* --- begin --- */

static struct stream *begin(struct worker *worker, struct session *session, enum stream_class class)
{
    struct lp_pool_name name, request_name;
    struct stream *stream = lp_pool_get(&worker->streams, &name);
    struct request *request = stream == NULL ? NULL : lp_pool_get(&worker->requests, &request_name);

    if (request == NULL) {
        if (stream != NULL)
            lp_pool_put(&worker->streams, name.slot);
        conn_abort(&worker->loop, &session->conn);
        return NULL;
    }
    stream->slot = name.slot;
    stream->request = request;
    request->slot = request_name.slot;
    stream->session = session;
    stream->class = (uint8_t) class;
    stream->request->listener = session->acceptor->listener;
    stream->request->snapshot = worker_use_snapshot(acceptor_snapshot(session->acceptor, worker));
    stream->request->body_max = stream->request->snapshot->snapshot->config->limits.body;
    stream->request->head.buffer = URING_NO_BUFFER;
    stream->began_ms = worker->loop.now_ms;
    stream->connect_ms = stream->response_ms = UINT32_MAX;
    stream->end_reason = END_DONE;
    lp_list_init(&stream->link);
    session->stream = stream;
    session->since_ms = (uint32_t)worker->loop.now_ms;
    return stream;
}

/* Bytes of a piece for the log alone: the request line of a head that was refused. */
static void keep_request_line(struct stream *stream, struct lp_slice line)
{
    char *memory = lp_try_alloc(line.size + 1);

    if (memory == NULL)
        return;
    memcpy(memory, line.data, line.size);
    stream->request->head = (struct piece){memory, (uint32_t)line.size, URING_NO_BUFFER};
    stream->flags |= STREAM_HEAD_ON_HEAP;
}

static void answer(struct worker *worker, struct stream *stream, int status, enum end_reason reason)
{
    stream->request->answer_status = (uint16_t)status;
    stream->end_reason = (uint8_t)reason;
    stream_enter(stream, STREAM_ANSWER);
    answer_send(worker, stream);
}

void stream_begin_refusal(struct worker *worker, struct session *session, int status,
                          enum end_reason reason, const char *why)
{
    struct stream *stream = begin(worker, session, CLASS_HTTP);

    if (stream == NULL)
        return;
    if (why != NULL)
        lp_log(LP_LOG_DEBUG, "a request is refused with %d: %s", status, why);
    stream->policy = NULL;
    answer(worker, stream, status, reason);
}

/* The head was whole, but what it says cannot be served. */
static void refuse_meaning(struct worker *worker, struct stream *stream, int status)
{
    const struct http1_head *head = &worker->request_head;
    const char *bytes = stream->session->conn.io->in.data;
    enum end_reason reason = status == 405   ? END_METHOD_REFUSED
                             : status == 426 ? END_BAD_UPGRADE
                                             : END_BAD_REQUEST;

    keep_request_line(
        stream, (struct lp_slice){bytes + head->method_at,
                                  (size_t)head->target_at + head->target_size - head->method_at});
    stream->flags &= ~(uint32_t)STREAM_CLIENT_KEEPS; /* the head stays unread */
    answer(worker, stream, status, reason);
}

static struct lp_slice request_id(struct worker *worker, const char *bytes, char made[32])
{
    const struct http1_field *given = http1_find(&worker->request_head, HTTP1_X_REQUEST_ID);

    if (given != NULL && given->value_size > 0 && given->value_size <= 128)
        return http1_value(given, bytes);
    static const char digits[] = "0123456789abcdef";
    for (unsigned half = 0; half < 2; half++) {
        uint64_t random = lp_random_fast();
        for (unsigned i = 0; i < 16; i++, random >>= 4)
            made[half * 16 + i] = digits[random & 15];
    }
    return (struct lp_slice){made, 32};
}

/* The head as it goes to servers, written once and kept for another try. */
static bool write_head(struct worker *worker, struct stream *stream,
                       const struct http1_request *request, const struct lp_ip *client_ip)
{
    const struct session *session = stream->session;
    const struct lp_cfg_listener *listener = stream->request->listener->config;
    char peer[LP_ADDR_TEXT_MAX], client[LP_ADDR_TEXT_MAX], made_id[32];
    struct conn *conn = &stream->session->conn;
    bool is_trusted = false;

    for (uint32_t i = 0; i < listener->trusted_proxies_count && !is_trusted; i++)
        is_trusted = lp_cidr_contains(&listener->trusted_proxies[i], &session->ip);
    struct http1_forward forward = {.client_ip = {peer, lp_ip_format(&session->ip, peer)},
                                    .proto = session_is_secure(session) ? LP_SLICE("https")
                                                                        : LP_SLICE("http"),
                                    .request_id = request_id(worker, conn->io->in.data, made_id),
                                    .is_trusted = is_trusted,
                                    .real_ip = {client, lp_ip_format(client_ip, client)}};
    if (session_is_secure(session) && listener->tls.client_ca.path.size > 0) {
        struct lp_tls_facts facts;
        lp_tls_facts(conn_tls_session(conn), &facts);
        forward.client_subject = facts.client_subject;
        forward.client_fingerprint = facts.client_fingerprint;
    }
    size_t size = http1_write_request(worker->scratch, sizeof(worker->scratch),
                                      &worker->request_head, conn->io->in.data, request, &forward);
    if (size == 0)
        return false;
    stream->request->head = place_head(worker, conn, worker->request_head.size, size);
    if (stream->request->head.size == 0)
        return false;
    lp_list_push_back(&worker->waiting, &stream->link);
    if (!lp_timer_is_set(&worker->shrink_timer.timer))
        loop_timer_set(&worker->loop, &worker->shrink_timer, worker->loop.now_ms + SHRINK_AFTER_MS);
    return true;
}

static uint64_t key_hash(const struct worker *worker, const struct stream *stream,
                         const struct http1_request *request, const struct lp_ip *client_ip,
                         struct lp_slice path)
{
    const struct lp_cfg_pool *pool = stream->request->route->pool->config;
    const struct http1_head *head = &worker->request_head;
    const char *bytes = stream->session->conn.io->in.data;
    struct lp_slice key = {NULL, 0};
    uint8_t ip_key[16];

    for (uint32_t i = 0; i < pool->keys_count && key.size == 0; i++) {
        const struct lp_cfg_key *source = &pool->keys[i];
        const struct http1_field *field;
        switch (source->source) {
        case LP_KEY_CLIENT_IP:
            key.data = (const char *)ip_key;
            key.size = lp_hash_ip_key(ip_key, client_ip, pool->ipv4_prefix, pool->ipv6_prefix);
            break;
        case LP_KEY_COOKIE:
            if (request == NULL || !http1_cookie(&key, head, bytes, source->name))
                key.size = 0;
            break;
        case LP_KEY_HEADER:
            field = request == NULL ? NULL : http1_find_text(head, bytes, source->name);
            key = field == NULL ? key : http1_value(field, bytes);
            break;
        case LP_KEY_QUERY:
            if (request == NULL || !http1_query(&key, request->query, source->name))
                key.size = 0;
            break;
        case LP_KEY_PATH:
            if (request != NULL)
                key = path;
            break;
        case LP_KEY_SNI:
            if (stream->session->name != NULL)
                key = lp_slice_of(stream->session->name);
            break;
        }
    }
    if (key.size == 0) /* the last resort is always the client's address */
        key = (struct lp_slice){
            (const char *)ip_key,
            lp_hash_ip_key(ip_key, client_ip, pool->ipv4_prefix, pool->ipv6_prefix)};
    return lp_hash_key(key, pool->seed);
}

/* What the request asks of the two connections and of its end. */
static void note_request(struct stream *stream, const struct http1_head *head,
                         const struct http1_request *request)
{
    stream->request->method = (uint8_t)request->method;
    direction_begin_body(&stream->up, request->body, request->body_size, &stream->request->up);
    if (request->body == HTTP1_BODY_NONE)
        stream->flags |= STREAM_UP_DONE;
    stream->flags |= request->wants_keep_alive ? STREAM_CLIENT_KEEPS : STREAM_CLIENT_CLOSES;
    if (request->is_idempotent)
        stream->flags |= STREAM_IDEMPOTENT;
    if (request->authenticates_connection)
        stream->flags |= STREAM_AUTHENTICATES;
    if (request->expects_continue)
        stream->flags |= STREAM_AWAITS_100;
    if (head->minor == 0)
        stream->flags |= STREAM_HTTP10;
    if (head->minor == 0 && request->authority.size == 0)
        stream->flags |= STREAM_NEEDS_HOST;
    if (request->upgrade == HTTP1_UPGRADE_WEBSOCKET) {
        stream->class = CLASS_WEBSOCKET;
        memcpy(stream->request->key, request->websocket_key.data, WS_KEY_SIZE);
    }
}

/* The same host and target, where TLS is spoken: at https' own port. */
static void redirect(struct worker *worker, struct stream *stream,
                     const struct http1_request *request)
{
    const struct http1_head *head = &worker->request_head;
    const char *bytes = stream->session->conn.io->in.data;
    bool may_repeat = request->method == HTTP1_GET || request->method == HTTP1_HEAD;
    struct lp_slice host = http1_host_name(request->authority);
    if (host.size == 0) {
        refuse_meaning(worker, stream, 400); /* nowhere to go */
        return;
    }
    struct lp_slice target =
        request->target.data[0] == '/' ? request->target : LP_SLICE("/"); /* OPTIONS * */

    stream->request->location = lp_try_alloc(host.size + target.size + sizeof("https://"));
    if (stream->request->location != NULL)
        snprintf(stream->request->location, host.size + target.size + sizeof("https://"),
                 "https://%.*s%.*s", LP_SLICE_ARG(host), LP_SLICE_ARG(target));
    keep_request_line(
        stream, (struct lp_slice){bytes + head->method_at,
                                  (size_t)head->target_at + head->target_size - head->method_at});
    conn_consume(&worker->loop, &stream->session->conn, head->size);
    answer(worker, stream, may_repeat ? 301 : 308, END_DONE);
}

void stream_begin_request(struct worker *worker, struct session *session)
{
    struct http1_head *head = &worker->request_head;
    const char *bytes = session->conn.io->in.data, *why = NULL;
    struct http1_request request;

    struct stream *stream = begin(worker, session, CLASS_HTTP);
    if (stream == NULL)
        return;
    int status = http1_read_request(&request, head, bytes, &why);
    size_t path_size = 0;
    if (status == 0 && request.path.size > 0 && request.path.data[0] == '/') {
        path_size = http1_normalise_path(worker->path, request.path);
        if (path_size == SIZE_MAX)
            status = 400;
    } else if (status == 0) {
        worker->path[0] = '*';
        path_size = 1;
    }
    if (status != 0) {
        refuse_meaning(worker, stream, status);
        return;
    }
    note_request(stream, head, &request);
    struct lp_slice path = {worker->path, path_size};
    if (stream->request->listener->config->redirects_to_https) {
        redirect(worker, stream, &request);
        return;
    }
    stream->request->route = snapshot_route(stream->request->listener, request.authority, path,
                                            request.upgrade == HTTP1_UPGRADE_WEBSOCKET);
    const struct lp_cfg_listener *listener = stream->request->listener->config;
    struct lp_ip client_ip = http1_client_ip(&session->ip, head, bytes, listener->trusted_proxies,
                                             listener->trusted_proxies_count);
    if (stream->request->route != NULL) {
        stream->policy = stream->request->route->policy;
        stream->request->pick.key_hash = key_hash(worker, stream, &request, &client_ip, path);
    }
    if (!write_head(worker, stream, &request, &client_ip)) {
        stream->flags &= ~(uint32_t)STREAM_CLIENT_KEEPS; /* the head still lies unread */
        stream_fail(worker, stream, 431, END_HEAD_TOO_LARGE);
        return;
    }
    if (stream->request->route == NULL)
        stream_fail(worker, stream, 404, END_NO_ROUTE);
    else if (request.body == HTTP1_BODY_LENGTH && request.body_size > stream->request->body_max)
        stream_fail(worker, stream, 413, END_BODY_TOO_LARGE);
    else
        stream_connect(worker, stream);
}

void stream_begin_tcp(struct worker *worker, struct session *session)
{
    struct stream *stream = begin(worker, session, CLASS_TCP);

    if (stream == NULL)
        return;
    struct lp_slice name =
        session->name != NULL ? lp_slice_of(session->name) : (struct lp_slice){"", 0};
    stream->request->route = snapshot_route_tcp(stream->request->listener, name);
    if (stream->request->route == NULL) {
        stream_end(worker, stream, END_NO_ROUTE, FRONT_POLITE);
        return;
    }
    stream->policy = stream->request->route->policy;
    stream->request->pick.key_hash =
        key_hash(worker, stream, NULL, &session->ip, (struct lp_slice){0});
    stream->flags |= STREAM_UP_DONE;
    stream_connect(worker, stream);
}

/* --- the kept head --- */

void stream_drop_head(struct worker *worker, struct stream *stream)
{
    if (stream_has(stream, STREAM_HEAD_ON_HEAP)) {
        char *memory = (char *)(uintptr_t)stream->request->head.data;
        lp_free(memory);
        stream->flags &= ~(uint32_t)STREAM_HEAD_ON_HEAP;
        stream->request->head = (struct piece){.buffer = URING_NO_BUFFER};
    } else if (stream->request->head.size > 0) {
        piece_drop(&worker->loop, &stream->request->head);
    }
}

static void move_head_to_heap(struct worker *worker, struct stream *stream)
{
    struct piece head = stream->request->head;
    char *memory = lp_try_alloc(head.size);

    if (memory == NULL)
        return;
    memcpy(memory, head.data, head.size);
    stream_drop_head(worker, stream);
    stream->request->head = (struct piece){memory, head.size, URING_NO_BUFFER};
    stream->flags |= STREAM_HEAD_ON_HEAP;
}

/* Of a client that closes behind this request nothing is expected, so most often a receive would be
 * armed for nothing. Only when the answer takes its time it matters that a client leaves. */
void stream_hear_client(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;
    bool is_young = worker->loop.now_ms - stream->began_ms < SHRINK_AFTER_MS;

    if (front->io->in.size > 0) {
        if ((!is_young || stream_has(stream, STREAM_LONG_LIVED)) && stream_needs_client(stream))
            conn_watch(&worker->loop, front);
        return;
    }
    if (stream->class == CLASS_HTTP && stream_has(stream, STREAM_CLIENT_CLOSES) && is_young)
        return;
    conn_want_messages(&worker->loop, front);
}

/* A client that left while it waits, or reads a response of which nobody knows how long it goes on,
 * is gone; a finite response that flows is finished. */
bool stream_needs_client(const struct stream *stream)
{
    if (stream->state == STREAM_CONNECT)
        return stream->class != CLASS_TCP;
    return stream->state == STREAM_EXCHANGE && !stream_has(stream, STREAM_DOWN_DONE) &&
           (!stream_has(stream, STREAM_RESPONSE_BEGUN) || stream->class == CLASS_SSE ||
            stream->down.body != HTTP1_BODY_LENGTH);
}

/* Heads whose answer takes its time move out of their 16 KiB buffers. */
void streams_shrink(struct loop *loop, struct loop_timer *timer)
{
    struct worker *worker = worker_of(loop);

    while (!lp_list_is_empty(&worker->waiting)) {
        struct stream *stream = lp_container_of(worker->waiting.next, struct stream, link);
        uint64_t due_ms = stream->began_ms + SHRINK_AFTER_MS;
        if (due_ms > loop->now_ms) {
            loop_timer_set(loop, timer, due_ms);
            return;
        }
        lp_list_remove(&stream->link);
        move_head_to_heap(worker, stream);
        if (stream->state == STREAM_EXCHANGE)
            stream_drop_snapshot(worker, stream);
        if (stream_has(stream, STREAM_UP_DONE))
            stream_hear_client(worker, stream);
    }
}

static void drop_snapshot(struct worker *worker, struct stream *stream)
{
    if (stream->request->snapshot != NULL)
        worker_drop_snapshot(worker, stream->request->snapshot);
    stream->request->snapshot = NULL;
    stream->request->route = NULL;
    stream->request->listener = NULL;
}

void stream_drop_snapshot(struct worker *worker, struct stream *stream)
{
    LP_ASSERT(stream->server != NULL); /* which holds the pool */
    if (stream->request->route != NULL) {
        stream->flags |= STREAM_HOLDS_POLICY;
        atomic_fetch_add_explicit(&stream->policy->streams_count, 1, memory_order_relaxed);
    }
    drop_snapshot(worker, stream);
}

/* --- end --- */

static void drop_request(struct worker *worker, struct stream *stream)
{
    if (stream->request == NULL)
        return;
    stream_drop_head(worker, stream);
    partial_free(&stream->request->partial);
    lp_free(stream->request->location);
    drop_snapshot(worker, stream);
    lp_pool_put(&worker->requests, stream->request->slot);
    stream->request = NULL;
}

/* The last use of the server, its pool and policy: the control thread may free them now. */
static void leave_server(struct stream *stream)
{
    if (stream_has(stream, STREAM_HOLDS_POLICY))
        atomic_fetch_sub_explicit(&stream->policy->streams_count, 1, memory_order_release);
    if (stream->server != NULL && stream_has(stream, STREAM_COUNTED))
        atomic_fetch_sub_explicit(&stream->server->active_count, 1, memory_order_release);
    stream->flags &= ~(uint32_t)(STREAM_COUNTED | STREAM_HOLDS_POLICY);
}

/* How long a client is waited for that has heard all. */
struct patience {
    uint32_t linger_ms, stalled_ms;
};

static struct patience patience_of(const struct worker *worker, const struct stream *stream)
{
    const struct lp_cfg_timeouts *timeouts = &worker_config(worker)->timeouts;
    const struct policy *policy = stream->policy;

    if (policy == NULL)
        return (struct patience){timeouts->linger, timeouts->stalled};
    return (struct patience){policy_ms(&policy->linger_ms), policy_ms(&policy->stalled_ms)};
}

static void end_front(struct worker *worker, struct stream *stream, enum front_fate fate,
                      struct patience patience)
{
    struct session *session = stream->session;
    struct loop *loop = &worker->loop;

    session->stream = NULL;
    if (fate == FRONT_KEEP && session->acceptor->listener == NULL)
        fate = FRONT_POLITE;
    if (fate != FRONT_KEEP)
        backs_close_pinned(worker, session);
    conn_unwatch(loop, &session->conn);
    switch (fate) {
    case FRONT_KEEP:
        session_request_again(session);
        session_delay_close(worker, session);
        session_next(worker, session);
        return;
    case FRONT_CLOSE:
        if (conn_close(loop, &session->conn))
            return;
        /* fall through */
    case FRONT_POLITE:
        conn_end_politely(loop, &session->conn, patience.linger_ms, patience.stalled_ms);
        return;
    case FRONT_ABORT:
        conn_abort(loop, &session->conn);
        return;
    case FRONT_CUT: /* stream_end() has decided */
    case FRONT_RESET:
        conn_reset(loop, &session->conn);
        return;
    }
}

/* Has everything that the other side had to say reached this one, its end included? */
static bool has_all(const struct stream *stream, const struct conn *to, const struct conn *from,
                    const struct direction *direction)
{
    bool has_ended =
        (conn_is_eof(from) && !conn_is_truncated(from)) ||
        (stream->class == CLASS_WEBSOCKET && ws_tracker_has_whole_close(&direction->as.frames));

    return has_ended && from->io->in.size == 0 && conn_has_sent_all(to);
}

static void end_tunnel_back(struct worker *worker, struct stream *stream, struct back *back,
                            enum front_fate *fate)
{
    const struct conn *front = &stream->session->conn;
    bool is_polite = *fate == FRONT_POLITE;

    if (*fate == FRONT_CUT) {
        is_polite = has_all(stream, &back->conn, front, &stream->up);
        *fate = has_all(stream, front, &back->conn, &stream->down) ? FRONT_POLITE : FRONT_RESET;
    }
    if (is_polite)
        back_end_politely(worker, back);
    else if (stream->class == CLASS_TCP || *fate != FRONT_ABORT)
        conn_reset(&worker->loop, &back->conn); /* what is cut must not look complete */
    else
        back_release(worker, back, false, 0);
}

/* The one way out. The first reason wins; a reason that was set with an answer stays. */
void stream_end(struct worker *worker, struct stream *stream, enum end_reason reason,
                enum front_fate fate)
{
    if (stream->state == STREAM_ENDED)
        return;
    if (stream->state != STREAM_ANSWER)
        stream->end_reason = (uint8_t)reason;
    bool was_tunnel = stream->state == STREAM_TUNNEL;
    stream_enter(stream, STREAM_ENDED);
    stream_log(worker, stream, false);
    if (stream->back != NULL) {
        struct back *back = stream->back;
        stream->back = NULL;
        if (was_tunnel)
            end_tunnel_back(worker, stream, back, &fate);
        else if (stream->class == CLASS_TCP)
            conn_reset(&worker->loop, &back->conn); /* a reset on one side is one on the other */
        else
            back_release(worker, back, false, 0);
    }
    /* Of a stream that has no server only the snapshot holds the pool, and with it the policy. */
    struct patience patience = patience_of(worker, stream);
    drop_request(worker, stream);
    lp_free(stream->note);
    lp_list_remove(&stream->link);
    lp_list_push_back(&worker->ended_streams, &stream->link);
    end_front(worker, stream, fate, patience);
    leave_server(stream);
}

void stream_fail(struct worker *worker, struct stream *stream, int status, enum end_reason reason)
{
    if (stream_has(stream, STREAM_RESPONSE_BEGUN) || stream->class == CLASS_TCP) {
        bool is_cut_short = stream->state != STREAM_CONNECT && stream->state != STREAM_FREE;
        stream_end(worker, stream, reason, is_cut_short ? FRONT_RESET : FRONT_POLITE);
        return;
    }
    if (stream->back != NULL) {
        struct back *back = stream->back;
        stream->back = NULL;
        back_release(worker, back, false, 0);
    }
    /* The start state is left here too: a refusal before any server was asked. */
    answer(worker, stream, status, reason);
}

void streams_after_batch(struct worker *worker)
{
    while (!lp_list_is_empty(&worker->ended_streams)) {
        struct stream *stream = lp_container_of(worker->ended_streams.next, struct stream, link);
        lp_list_remove(&stream->link);
        lp_pool_put(&worker->streams, stream->slot);
    }
}

/* --- events of the front --- */

void stream_step(struct worker *worker, struct stream *stream)
{
    switch ((enum stream_state)stream->state) {
    case STREAM_CONNECT:
    case STREAM_FREE:
    case STREAM_ENDED:
        return;
    case STREAM_EXCHANGE:
        exchange_step(worker, stream);
        return;
    case STREAM_TUNNEL:
        tunnel_step(worker, stream);
        return;
    case STREAM_ANSWER:
        answer_send(worker, stream);
        return;
    }
}

static enum end_reason reason_of_front(int error)
{
    return error == EPIPE || error == 0 ? END_CLIENT_CLOSED : END_CLIENT_RESET;
}

/* A client of a tunnel is gone. What it said before goes on first, and tunnel_step() ends. */
static void lose_client(struct worker *worker, struct stream *stream)
{
    stream->flags |= STREAM_CLIENT_DEAF;
    stream_arm_timers(worker, stream);
    tunnel_step(worker, stream);
}

void stream_on_front_recv(struct worker *worker, struct stream *stream, int error)
{
    if (error != 0 && stream->state == STREAM_TUNNEL) {
        conn_note_reset(&stream->session->conn);
        stream->eof_reason = (uint8_t)reason_of_front(error);
        lose_client(worker, stream);
        return;
    }
    if (error != 0) {
        stream_end(worker, stream, reason_of_front(error), FRONT_ABORT);
        return;
    }
    if (!stream_has(stream, STREAM_CLIENT_DEAF))
        stream->session->since_ms = (uint32_t)worker->loop.now_ms;
    /* A client that is gone while it waits needs no server any more. */
    if (stream->state == STREAM_CONNECT && stream->class != CLASS_TCP &&
        conn_is_eof(&stream->session->conn) && stream->session->conn.io->in.size == 0) {
        stream_end(worker, stream, END_CLIENT_CLOSED, FRONT_ABORT);
        return;
    }
    stream_step(worker, stream);
}

void stream_on_hangup(struct worker *worker, struct stream *stream)
{
    if (stream_needs_client(stream))
        stream_end(worker, stream, END_CLIENT_CLOSED, FRONT_ABORT);
}

void stream_on_front_sent(struct worker *worker, struct stream *stream, int error)
{
    if (error != 0 && stream->state == STREAM_TUNNEL) {
        stream->session->since_ms = (uint32_t)worker->loop.now_ms;
        lose_client(worker, stream);
    } else if (error != 0) {
        stream_end(worker, stream, reason_of_front(error), FRONT_ABORT);
    } else {
        if (stream->half_closed_ms != 0) /* that it takes bytes is no silence */
            stream->session->since_ms = (uint32_t)worker->loop.now_ms;
        stream_step(worker, stream);
    }
}

bool stream_may_read(const struct worker *worker, const struct conn *from, const struct conn *to)
{
    if (to->io->next.size > 0 || to->state != CONN_OPEN)
        return false;
    bool holds_two = (from->flags & CONN_STREAMING) == 0 && !worker->loop.is_tight &&
                     worker_config(worker)->limits.stalled >= 2 * LP_BUF_SMALL_BYTES;
    return to->io->sending.size == 0 || holds_two;
}

void stream_want(struct worker *worker, struct conn *from, uint32_t *since_ms)
{
    if ((from->flags & (CONN_RECV_ARMED | CONN_STARVED)) == 0 && from->io->in.size == 0)
        *since_ms = (uint32_t)worker->loop.now_ms;
    conn_want(&worker->loop, from, 0);
}

void stream_send(struct worker *worker, struct stream *stream, struct conn *to, struct piece piece)
{
    conn_send(&worker->loop, to, piece);
    conn_set_timer(&worker->loop, to,
                   worker->loop.now_ms + policy_ms(&stream->policy->stalled_ms) / 4 + 1);
}

void stream_become_long_lived(struct worker *worker, struct stream *stream)
{
    stream->flags |= STREAM_LONG_LIVED;
    stream_log(worker, stream, true);
    lp_list_remove(&stream->link);
    lp_list_push_back(&stream->server->cells[worker->index].tunnels, &stream->link);
    if (stream->request->head.size > 0)
        stream->note = log_note_create(&stream->request->head);
    if (stream->state == STREAM_TUNNEL) {
        backs_close_pinned(worker, stream->session); /* no request follows */
        stream_drop_snapshot(worker, stream);
        drop_request(worker, stream);
    } else {
        stream_drop_head(worker, stream);
        stream_drop_snapshot(worker, stream);
        if (stream_has(stream, STREAM_UP_DONE))
            stream_hear_client(worker, stream);
    }
    session_stop_requesting(worker, stream->session);
    closing_plan(worker, stream);
}
