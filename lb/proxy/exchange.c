/* HTTP both ways: the request body as it comes, the response head rewritten, the response body as
 * it comes. Nothing is collected and nothing held back. Where an upgrade becomes a tunnel:
 * on_switching(). */
#include <string.h>

#include "lb/proxy/back.h"

/* --- bodies --- */

enum body_outcome body_step(struct direction *direction, const char *data, size_t size,
                            size_t *used, struct http1_events *events)
{
    const char *why;
    size_t run;

    *used = 0;
    switch ((enum http1_body)direction->body) {
    case HTTP1_BODY_NONE:
        return BODY_DONE;
    case HTTP1_BODY_UNTIL_CLOSE:
        if (events != NULL)
            http1_events_step(events, data, size, false);
        *used = size;
        return BODY_MORE;
    case HTTP1_BODY_LENGTH:
        *used = size < direction->as.left ? size : (size_t)direction->as.left;
        if (events != NULL)
            http1_events_step(events, data, *used, false);
        direction->as.left -= *used;
        return direction->as.left == 0 ? BODY_DONE : BODY_MORE;
    case HTTP1_BODY_CHUNKED:
        break;
    }
    for (;;) {
        enum http1_chunk chunk =
            http1_chunked_step(direction->as.chunked, data + *used, size - *used, &run, &why);
        if (chunk == HTTP1_CHUNK_DATA && events != NULL)
            http1_events_step(events, data + *used, run, false);
        if (chunk == HTTP1_CHUNK_BAD)
            return BODY_BAD;
        *used += run;
        if (chunk == HTTP1_CHUNK_DONE)
            return BODY_DONE;
        if (chunk == HTTP1_CHUNK_MORE)
            return BODY_MORE;
    }
}

/* For a client of HTTP/1.0: the content of the chunks, moved together where it lies. Gives the
 * bytes of conn->in that were read; *content is what to send of its start. */
static enum body_outcome body_strip(struct direction *direction, struct piece *in, size_t *used,
                                    size_t *content, struct http1_events *events)
{
    char *bytes = (char *)(uintptr_t)in->data; /* the buffer is ours */
    const char *why;
    size_t run;

    *used = *content = 0;
    for (;;) {
        enum http1_chunk chunk =
            http1_chunked_step(direction->as.chunked, bytes + *used, in->size - *used, &run, &why);
        if (chunk == HTTP1_CHUNK_BAD)
            return BODY_BAD;
        if (chunk == HTTP1_CHUNK_DATA) {
            if (events != NULL)
                http1_events_step(events, bytes + *used, run, false);
            memmove(bytes + *content, bytes + *used, run);
            *content += run;
        }
        *used += run;
        if (chunk == HTTP1_CHUNK_DONE)
            return BODY_DONE;
        if (chunk == HTTP1_CHUNK_MORE)
            return BODY_MORE;
    }
}

/* Adds bytes that lie right behind a head to its piece, so that both leave in one send. */
static void join(struct loop *loop, struct piece *head, struct conn *from, size_t size)
{
    if (size == 0)
        return;
    LP_ASSERT(head->data + head->size == from->io->in.data && head->buffer == from->io->in.buffer);
    head->size += (uint32_t)size;
    conn_consume(loop, from, (uint32_t)size);
}

static bool is_adjacent(const struct piece *head, const struct conn *from)
{
    return from->io->in.size > 0 && head->buffer == from->io->in.buffer &&
           head->data + head->size == from->io->in.data;
}

/* --- heads --- */

struct piece place_head(struct worker *worker, struct conn *conn, size_t head_size, size_t size)
{
    struct uring *uring = worker->loop.uring;
    uint32_t buffer = conn->io->in.buffer;
    char *base = uring_buffer_base(uring, buffer);
    size_t room = (size_t)(conn->io->in.data - base) + head_size;
    char *place;

    if (size <= room && uring_buffer_refs(uring, buffer) == 1) {
        place = base + room - size;
        uring_buffer_ref(uring, buffer);
    } else {
        buffer = uring_buffer_take(uring, uring_group_for(size));
        if (buffer == URING_NO_BUFFER)
            return (struct piece){.buffer = URING_NO_BUFFER};
        place = uring_buffer_base(uring, buffer);
    }
    memcpy(place, worker->scratch, size);
    conn_consume(&worker->loop, conn, (uint32_t)head_size);
    return (struct piece){place, (uint32_t)size, buffer};
}

/* --- the request --- */

static bool body_is_over_limit(const struct stream *stream)
{
    return stream->up.bytes > stream->request->body_max;
}

static void on_bad_body(struct worker *worker, struct stream *stream)
{
    stream->flags &= ~(uint32_t)STREAM_CLIENT_KEEPS;
    stream_fail(worker, stream, 400, END_BAD_REQUEST);
}

/* RFC 9112, 3.2.2: a client of HTTP/1.0 need not say where it goes, but we must. The empty Host is
 * the head's second line. */
static struct piece head_with_host(struct worker *worker, struct stream *stream)
{
    const struct piece *kept = &stream->request->head;
    const char *line_end = memchr(kept->data, '\n', kept->size);
    size_t before = (size_t)(line_end - kept->data) + sizeof("\nHost: ") - 1;
    struct lp_slice host = stream->server->address.as.any.sa_family == AF_UNIX
                               ? LP_SLICE("localhost")
                               : lp_slice_of(stream->server->address_text);
    struct piece head = {.buffer = URING_NO_BUFFER};

    if (kept->size + host.size <= LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES)
        head.buffer = uring_buffer_take(worker->loop.uring, URING_SMALL);
    if (head.buffer == URING_NO_BUFFER)
        return head;
    char *place = uring_buffer_base(worker->loop.uring, head.buffer);
    memcpy(place, kept->data, before);
    memcpy(place + before, host.data, host.size);
    memcpy(place + before + host.size, kept->data + before, kept->size - before);
    head.data = place;
    head.size = (uint32_t)(kept->size + host.size);
    return head;
}

/* A reference of its own for this try; heap memory goes into a buffer again. */
static struct piece head_for_sending(struct worker *worker, struct stream *stream)
{
    struct piece head = stream->request->head;

    if (stream_has(stream, STREAM_NEEDS_HOST))
        return head_with_host(worker, stream);
    if (!stream_has(stream, STREAM_HEAD_ON_HEAP)) {
        uring_buffer_ref(worker->loop.uring, head.buffer);
        return head;
    }
    head.buffer = uring_buffer_take(worker->loop.uring, uring_group_for(head.size));
    if (head.buffer == URING_NO_BUFFER)
        return (struct piece){.buffer = URING_NO_BUFFER};
    char *place = uring_buffer_base(worker->loop.uring, head.buffer);
    memcpy(place, stream->request->head.data, stream->request->head.size);
    head.data = place;
    return head;
}

void exchange_begin(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn, *back = &stream->back->conn;

    stream_enter(stream, STREAM_EXCHANGE);
    stream->flags &= ~(uint32_t)STREAM_ANSWERED_SOME;
    if (!lp_list_is_linked(&stream->link))
        stream_drop_snapshot(worker, stream); /* connecting took its time */
    if (stream_has(stream, STREAM_AUTHENTICATES))
        stream->back->is_authenticated = true;
    struct piece head = head_for_sending(worker, stream);
    if (head.size == 0) {
        stream_fail(worker, stream, 503, END_OUT_OF_BUFFERS);
        return;
    }
    if (!stream_has(stream, STREAM_UP_DONE) && is_adjacent(&head, front)) {
        size_t used;
        enum body_outcome outcome =
            body_step(&stream->up, front->io->in.data, front->io->in.size, &used, NULL);
        stream->up.bytes += used;
        if (outcome == BODY_BAD || body_is_over_limit(stream)) {
            piece_drop(&worker->loop, &head);
            conn_consume(&worker->loop, front, (uint32_t)used); /* they were read */
            if (outcome == BODY_DONE)
                stream->flags |= STREAM_UP_DONE;
            if (outcome == BODY_BAD)
                on_bad_body(worker, stream);
            else
                stream_fail(worker, stream, 413, END_BODY_TOO_LARGE);
            return;
        }
        join(&worker->loop, &head, front, used);
        if (used > 0)
            stream->flags |= STREAM_BODY_SENT;
        if (outcome == BODY_DONE)
            stream->flags |= STREAM_UP_DONE;
    }
    stream_send(worker, stream, back, head);
    exchange_step(worker, stream);
    if (stream->state == STREAM_EXCHANGE)
        stream_arm_timers(worker, stream);
}

/* False when the stream went elsewhere. */
static bool send_request_body(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn, *back = &stream->back->conn;

    if (stream_has(stream, STREAM_SERVER_DEAF))
        return true;
    while (!stream_has(stream, STREAM_UP_DONE) && front->io->in.size > 0 && conn_can_send(back)) {
        size_t used;
        enum body_outcome outcome =
            body_step(&stream->up, front->io->in.data, front->io->in.size, &used, NULL);
        if (outcome == BODY_BAD && stream_has(stream, STREAM_DOWN_DONE)) {
            stream->flags |= STREAM_SERVER_DEAF; /* the answer stands, and is the last */
            stream->flags &= ~(uint32_t)STREAM_CLIENT_KEEPS;
            return true;
        }
        if (outcome == BODY_BAD) {
            on_bad_body(worker, stream);
            return false;
        }
        stream->up.bytes += used;
        if (body_is_over_limit(stream)) {
            conn_consume(&worker->loop, front, (uint32_t)used);
            if (outcome == BODY_DONE)
                stream->flags |= STREAM_UP_DONE;
            if (!stream_has(stream, STREAM_DOWN_DONE)) {
                stream_fail(worker, stream, 413, END_BODY_TOO_LARGE);
                return false;
            }
            stream->flags |= STREAM_SERVER_DEAF; /* it has answered; the rest goes nowhere */
            return true;
        }
        stream->flags |= STREAM_BODY_SENT;
        stream_send(worker, stream, back, conn_take(&worker->loop, front, (uint32_t)used));
        if (outcome == BODY_DONE) {
            stream->flags |= STREAM_UP_DONE;
            stream->back->since_ms = (uint32_t)worker->loop.now_ms;
            stream_arm_timers(worker, stream);
        }
    }
    return true;
}

/* Is it still worth the server's while? A client that left while it waits, or in the middle of its
 * own request, is gone; a finite response that flows is finished. */
static bool client_is_gone(const struct stream *stream)
{
    const struct conn *front = &stream->session->conn;

    if (!conn_is_eof(front) || front->io->in.size > 0)
        return false;
    return !stream_has(stream, STREAM_UP_DONE) || stream_needs_client(stream);
}

static void read_client(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;

    if (stream_has(stream, STREAM_UP_DONE) || stream_has(stream, STREAM_SERVER_DEAF))
        stream_hear_client(worker, stream);
    else if (stream_may_read(worker, front, &stream->back->conn))
        stream_want(worker, front, &stream->session->since_ms);
}

/* --- the response head --- */

static void on_bad_response(struct worker *worker, struct stream *stream, const char *why)
{
    lp_log(LP_LOG_WARNING, "server %s of pool %s: bad response: %s", stream->server->name,
           stream->server->pool->name, why);
    stream_fail(worker, stream, 502, END_BAD_RESPONSE);
}

static enum http1_persist persist_for_client(struct worker *worker, struct stream *stream,
                                             const struct http1_response *response)
{
    bool keeps = stream_has(stream, STREAM_CLIENT_KEEPS) &&
                 !session_must_close(worker, stream->session) &&
                 response->body != HTTP1_BODY_UNTIL_CLOSE;

    if (stream_has(stream, STREAM_HTTP10) && response->body == HTTP1_BODY_CHUNKED)
        keeps = false; /* without chunks only our FIN tells the end */
    /* Whether the client sends the body that it has announced, nobody knows (RFC 9110, 10.1.1). */
    if (!stream_has(stream, STREAM_UP_DONE) && stream_has(stream, STREAM_AWAITS_100))
        keeps = false;
    if (!keeps) {
        stream->flags &= ~(uint32_t)STREAM_CLIENT_KEEPS;
        return HTTP1_PERSIST_CLOSE;
    }
    return stream_has(stream, STREAM_HTTP10) ? HTTP1_PERSIST_KEEP_ALIVE : HTTP1_PERSIST_DEFAULT;
}

/* The head for the client stands before its body in the server's buffer; size 0: it is too large
 * or buffers are out. */
static struct piece write_response_head(struct worker *worker, struct stream *stream,
                                        enum http1_persist persist, bool without_chunked)
{
    struct conn *back = &stream->back->conn;
    size_t size =
        http1_write_response(worker->scratch, sizeof(worker->scratch), &worker->response_head,
                             back->io->in.data, persist, without_chunked,
                             worker->response_head.status >= 200 ? session_hsts(stream->session)
                                                                 : (struct lp_slice){"", 0});
    if (size == 0)
        return (struct piece){.buffer = URING_NO_BUFFER};
    return place_head(worker, back, worker->response_head.size, size);
}

/* 1xx on the way to the answer: passed on, but not to a client of HTTP/1.0. */
static bool on_interim(struct worker *worker, struct stream *stream)
{
    if (worker->response_head.status == 100)
        stream->flags &= ~(uint32_t)STREAM_AWAITS_100;
    if (stream_has(stream, STREAM_HTTP10)) {
        conn_consume(&worker->loop, &stream->back->conn, worker->response_head.size);
        return true;
    }
    struct piece head = write_response_head(worker, stream, HTTP1_PERSIST_DEFAULT, false);
    if (head.size == 0) {
        on_bad_response(worker, stream, "an interim head is too large");
        return false;
    }
    stream_send(worker, stream, &stream->session->conn, head);
    return true;
}

/* An upgrade becomes a tunnel here and nowhere else: the server answered 101 with the right fields
 * and the right proof that it read the client's key. */
static void on_switching(struct worker *worker, struct stream *stream,
                         const struct http1_response *response)
{
    char accept[WS_ACCEPT_SIZE];

    if (stream->class != CLASS_WEBSOCKET) {
        on_bad_response(worker, stream, "101 without being asked");
        return;
    }
    ws_accept(accept, (struct lp_slice){stream->request->key, WS_KEY_SIZE});
    if (!response->is_websocket ||
        !lp_slice_equal(response->websocket_accept, (struct lp_slice){accept, sizeof(accept)})) {
        on_bad_response(worker, stream,
                        "101 without Upgrade, Connection or the right Sec-WebSocket-Accept");
        return;
    }
    struct piece head = write_response_head(worker, stream, HTTP1_PERSIST_UPGRADE, false);
    if (head.size == 0) {
        on_bad_response(worker, stream, "the head is too large");
        return;
    }
    stream->status = 101;
    stream->response_ms = (uint32_t)(worker->loop.now_ms - stream->began_ms);
    stream->flags |= STREAM_RESPONSE_BEGUN;
    stream_send(worker, stream, &stream->session->conn, head);
    tunnel_begin(worker, stream);
}

static void begin_body(struct stream *stream, const struct http1_response *response)
{
    direction_begin_body(&stream->down, response->body, response->body_size,
                         &stream->request->down);
    stream->request->down.is_response = true;
    if (response->body == HTTP1_BODY_NONE)
        stream->flags |= STREAM_DOWN_DONE;
    http1_events_init(&stream->request->events);
}

/* Behind the last byte of a response on a connection that does not stay, nothing follows. */
static void send_to_client(struct worker *worker, struct stream *stream, struct piece piece)
{
    struct conn *front = &stream->session->conn;

    if (stream_has(stream, STREAM_DOWN_DONE) && !stream_has(stream, STREAM_CLIENT_KEEPS))
        conn_next_is_last(front);
    stream_send(worker, stream, front, piece);
}

static struct http1_events *events_of(struct stream *stream)
{
    return stream->class == CLASS_SSE ? &stream->request->events : NULL;
}

static void on_final_head(struct worker *worker, struct stream *stream,
                          const struct http1_response *response)
{
    struct conn *back = &stream->back->conn;
    bool strips = stream_has(stream, STREAM_HTTP10) && response->body == HTTP1_BODY_CHUNKED;
    enum http1_persist persist = persist_for_client(worker, stream, response);
    struct piece head =
        write_response_head(worker, stream, persist, stream_has(stream, STREAM_HTTP10));

    if (head.size == 0) {
        on_bad_response(worker, stream, "the head is too large");
        return;
    }
    stream->status = response->status;
    stream->response_ms = (uint32_t)(worker->loop.now_ms - stream->began_ms);
    stream->back->since_ms = (uint32_t)worker->loop.now_ms;
    stream->flags |= STREAM_RESPONSE_BEGUN | (strips ? STREAM_STRIP_CHUNKS : 0u) |
                     (response->wants_keep_alive ? STREAM_SERVER_KEEPS : 0u);
    stream->request->keep_alive_seconds = response->keep_alive_seconds;
    begin_body(stream, response);
    if (response->authenticates_connection)
        stream->back->is_authenticated = true;
    if (stream->class == CLASS_WEBSOCKET) {
        /* Refused: an ordinary response. Many servers hand an upgrade request's socket over before
         * they refuse it, and never read a request from it again; but one that authenticates the
         * connection waits for the next step there. */
        stream->class = CLASS_HTTP;
        if (!response->authenticates_connection)
            stream->flags &= ~(uint32_t)STREAM_SERVER_KEEPS;
    }
    if (response->is_event_stream && !stream_has(stream, STREAM_DOWN_DONE))
        stream->class = CLASS_SSE;
    if (response->is_coded)
        stream->flags |= STREAM_CODED;
    if (!strips && !stream_has(stream, STREAM_DOWN_DONE) && is_adjacent(&head, back)) {
        size_t used;
        enum body_outcome outcome = body_step(&stream->down, back->io->in.data, back->io->in.size,
                                              &used, events_of(stream));
        stream->down.bytes += used;
        join(&worker->loop, &head, back, used);
        if (outcome == BODY_BAD) {
            piece_drop(&worker->loop, &head);
            stream_end(worker, stream, END_BAD_RESPONSE, FRONT_RESET);
            return;
        }
        if (outcome == BODY_DONE)
            stream->flags |= STREAM_DOWN_DONE;
    }
    send_to_client(worker, stream, head);
    if (stream->class == CLASS_SSE)
        stream_become_long_lived(worker, stream);
    if (!stream_has(stream, STREAM_DOWN_DONE))
        stream_arm_timers(worker, stream);
}

static enum end_reason lost_reason(const struct stream *stream)
{
    return stream->eof_reason != END_DONE ? (enum end_reason)stream->eof_reason : END_SERVER_CLOSED;
}

/* Closed, before a whole head. */
static void on_no_answer(struct worker *worker, struct stream *stream)
{
    if (stream->back->conn.io->in.size == 0 && stream->request->partial == NULL &&
        stream_retry_reused(worker, stream))
        return;
    stream_fail(worker, stream, 502, lost_reason(stream));
}

/* Reads heads until the final one went on. False when the stream went elsewhere. */
static bool read_response_head(struct worker *worker, struct stream *stream)
{
    struct conn *back = &stream->back->conn;
    const struct lp_cfg_limits *limits = &worker_config(worker)->limits;
    struct http1_head *head = &worker->response_head;
    struct http1_response response;
    const char *why = "";

    while (!stream_has(stream, STREAM_RESPONSE_BEGUN)) {
        if (back->io->in.size == 0) {
            if (conn_is_eof(back)) {
                on_no_answer(worker, stream);
                return false;
            }
            if (stream->request->partial == NULL)
                conn_want_messages(&worker->loop, back);
            else
                conn_want(&worker->loop, back, LP_BUF_SMALL_BYTES - stream->request->partial->size);
            return true;
        }
        stream->flags |= STREAM_ANSWERED_SOME;
        if (!conn_can_send(&stream->session->conn))
            return true; /* earlier interim heads are still leaving */
        if (stream->request->partial != NULL) {
            partial_load(stream->request->partial, head);
            if (!partial_join(&worker->loop, stream->request->partial, back)) {
                stream_fail(worker, stream, 503, END_OUT_OF_BUFFERS);
                return false;
            }
            partial_free(&stream->request->partial);
        } else {
            http1_head_init(head, limits->head, limits->headers);
        }
        enum http1_outcome outcome =
            http1_parse_response(head, back->io->in.data, back->io->in.size, &why);
        if (outcome == HTTP1_MORE) {
            if (!partial_save(&stream->request->partial, head,
                              (struct lp_slice){back->io->in.data, back->io->in.size})) {
                stream_fail(worker, stream, 503, END_OUT_OF_BUFFERS);
                return false;
            }
            conn_consume(&worker->loop, back, back->io->in.size);
            continue;
        }
        if (outcome != HTTP1_DONE ||
            !http1_read_response(&response, head, back->io->in.data,
                                 (enum http1_method)stream->request->method, &why)) {
            on_bad_response(worker, stream, why);
            return false;
        }
        if (response.status == 101) {
            on_switching(worker, stream, &response);
            return false;
        }
        if (response.status < 200) {
            if (!on_interim(worker, stream))
                return false;
            continue;
        }
        on_final_head(worker, stream, &response);
        if (stream->state != STREAM_EXCHANGE)
            return false;
    }
    return true;
}

/* --- the response body --- */

static bool send_response_piece(struct worker *worker, struct stream *stream)
{
    struct conn *back = &stream->back->conn;
    enum body_outcome outcome;
    size_t used, content;

    if (stream->closing == CLOSING_WANTED) {
        closing_step_events(worker, stream);
        return stream->state == STREAM_EXCHANGE;
    }
    if (stream_has(stream, STREAM_STRIP_CHUNKS)) {
        outcome = body_strip(&stream->down, &back->io->in, &used, &content, events_of(stream));
    } else {
        outcome = body_step(&stream->down, back->io->in.data, back->io->in.size, &used,
                            events_of(stream));
        content = used;
    }
    if (outcome == BODY_BAD) {
        stream_end(worker, stream, END_BAD_RESPONSE, FRONT_RESET);
        return false;
    }
    stream->down.bytes += content;
    struct piece piece = conn_take(&worker->loop, back, (uint32_t)used);
    piece.size = (uint32_t)content;
    if (outcome == BODY_DONE)
        stream->flags |= STREAM_DOWN_DONE;
    if (piece.size > 0)
        send_to_client(worker, stream, piece);
    else
        piece_drop(&worker->loop, &piece);
    return true;
}

static bool send_response_body(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn, *back = &stream->back->conn;

    while (!stream_has(stream, STREAM_DOWN_DONE) && stream->closing != CLOSING_TAIL &&
           back->io->in.size > 0 && conn_can_send(front))
        if (!send_response_piece(worker, stream))
            return false;
    if (stream_has(stream, STREAM_DOWN_DONE) || stream->closing == CLOSING_TAIL)
        return true;
    if (back->io->in.size == 0 && conn_is_eof(back)) {
        if (stream->down.body != HTTP1_BODY_UNTIL_CLOSE || conn_is_truncated(back)) {
            if (!conn_has_sent_all(front))
                return true; /* what there is of it */
            stream_end(worker, stream, lost_reason(stream), FRONT_RESET);
            return false;
        }
        stream->flags |= STREAM_DOWN_DONE;
    } else if (stream_may_read(worker, back, front)) {
        stream_want(worker, back, &stream->back->since_ms);
    }
    return true;
}

/* --- the end --- */

/* Its answer came early, but it keeps its connection, so it reads what is left of the request. Till
 * then it has nothing to say. */
static bool server_wants_the_rest(const struct stream *stream)
{
    bool has_all = stream_has(stream, STREAM_UP_DONE) && conn_has_sent_all(&stream->back->conn);

    return !has_all && stream_has(stream, STREAM_SERVER_KEEPS) &&
           (stream->flags & (STREAM_SERVER_DEAF | STREAM_AWAITS_100)) == 0 &&
           !conn_is_eof(&stream->back->conn) && stream->back->conn.io->in.size == 0;
}

static void wait_for_the_rest(struct worker *worker, struct stream *stream)
{
    stream->flags |= STREAM_ANSWERED_EARLY;
    conn_want_messages(&worker->loop, &stream->back->conn);
}

/* The server has said all, and has the whole request or wants no more of it. */
static void let_go_of_server(struct worker *worker, struct stream *stream)
{
    struct back *back = stream->back;
    bool may_keep = stream_has(stream, STREAM_UP_DONE) && stream_has(stream, STREAM_SERVER_KEEPS) &&
                    !stream_has(stream, STREAM_SERVER_DEAF);

    /* What it has said meanwhile would answer somebody else. */
    if (stream_has(stream, STREAM_ANSWERED_EARLY))
        may_keep = may_keep && back_is_silent(back);
    stream->back = NULL;
    back_release(worker, back, may_keep, stream->request->keep_alive_seconds);
}

/* False when the rest of the request is still read, from wherever it goes to. */
static bool is_request_over(struct worker *worker, struct stream *stream)
{
    if (stream->back != NULL && !stream_has(stream, STREAM_SERVER_DEAF))
        return false;
    return stream_has(stream, STREAM_UP_DONE) || stream_discard_body(worker, stream);
}

static void finish(struct worker *worker, struct stream *stream)
{
    bool keeps = stream_has(stream, STREAM_CLIENT_KEEPS) && stream_has(stream, STREAM_UP_DONE);
    enum end_reason reason =
        stream->closing == CLOSING_NONE ? END_DONE : (enum end_reason)stream->closing_reason;
    bool is_last = stream_has(stream, STREAM_CLIENT_CLOSES) && stream_has(stream, STREAM_UP_DONE);
    stream_end(worker, stream, reason, keeps ? FRONT_KEEP : is_last ? FRONT_CLOSE : FRONT_POLITE);
}

void exchange_step(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;

    if (stream->back != NULL) {
        if (!send_request_body(worker, stream))
            return;
        if (client_is_gone(stream)) {
            stream_end(worker, stream, END_CLIENT_CLOSED, FRONT_ABORT);
            return;
        }
        read_client(worker, stream);
        if (!read_response_head(worker, stream))
            return;
        if (stream->closing == CLOSING_TAIL) {
            if (!stream_has(stream, STREAM_DOWN_DONE))
                closing_end_events(worker, stream);
        } else if (stream_has(stream, STREAM_RESPONSE_BEGUN) && !send_response_body(worker, stream))
            return;
        if (stream_has(stream, STREAM_DOWN_DONE) && server_wants_the_rest(stream))
            wait_for_the_rest(worker, stream);
        else if (stream_has(stream, STREAM_DOWN_DONE))
            let_go_of_server(worker, stream);
    }
    if (stream_has(stream, STREAM_RESPONSE_BEGUN) && is_request_over(worker, stream) &&
        stream_has(stream, STREAM_DOWN_DONE) && conn_has_sent_all(front))
        finish(worker, stream);
}
