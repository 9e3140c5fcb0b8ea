/* What limpet itself says to a client: refusals and failures, in a few plain words. */
#include <stdio.h>
#include <string.h>

#include "lb/proxy/stream.h"

#define PLAIN_ANSWER_BYTES 1024u /* and whatever fields of a redirect or of HSTS */

struct answer_words {
    uint16_t status;
    const char *reason, *body, *fields;
};

static const struct answer_words answers[] = {
    {301, "Moved Permanently", "This is served with TLS.", ""},
    {308, "Permanent Redirect", "This is served with TLS.", ""},
    {400, "Bad Request", "The request is malformed or ambiguous.", ""},
    {404, "Not Found", "Nothing is routed here.", ""},
    {405, "Method Not Allowed", "This method is not served here.",
     "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n"},
    {408, "Request Timeout", "The request took too long to arrive.", ""},
    {413, "Content Too Large", "The request body is too large.", ""},
    {417, "Expectation Failed", "Only 100-continue can be expected.", ""},
    {426, "Upgrade Required", "WebSocket version 13 is spoken here.",
     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
    {431, "Request Header Fields Too Large", "The request head is too large.", ""},
    {502, "Bad Gateway", "The server's answer was unusable.", ""},
    {503, "Service Unavailable", "No server can answer now.", "Retry-After: 1\r\n"},
    {504, "Gateway Timeout", "The server took too long to answer.", ""},
    {505, "HTTP Version Not Supported", "HTTP/1.0 and HTTP/1.1 are spoken here.", ""},
};

static const struct answer_words *words_for(uint16_t status)
{
    for (unsigned i = 0; i < LP_COUNT_OF(answers); i++)
        if (answers[i].status == status)
            return &answers[i];
    LP_ASSERT(!"every status that limpet answers with has its words");
    return NULL;
}

/* The client's connection stays open only when it is certain where its next request begins. */
static bool may_keep(const struct worker *worker, const struct stream *stream)
{
    return stream_has(stream, STREAM_UP_DONE) && stream_has(stream, STREAM_CLIENT_KEEPS) &&
           !stream_has(stream, STREAM_HTTP10) && !session_must_close(worker, stream->session);
}

/* A head of its own: its lines may be longer than one expects. */
static size_t write_fields(const struct stream *stream, char *out, size_t out_max)
{
    struct lp_slice hsts = session_hsts(stream->session);
    const char *location = stream->request->location;
    int size = snprintf(out, out_max, "%s%s%s%s%.*s%s", location != NULL ? "Location: " : "",
                        location != NULL ? location : "", location != NULL ? "\r\n" : "",
                        hsts.size > 0 ? "Strict-Transport-Security: " : "", LP_SLICE_ARG(hsts),
                        hsts.size > 0 ? "\r\n" : "");
    return (size_t)size < out_max ? (size_t)size : 0;
}

static struct piece write_answer(struct worker *worker, struct stream *stream)
{
    const struct answer_words *words = words_for(stream->request->answer_status);
    size_t more = write_fields(stream, worker->scratch, sizeof(worker->scratch));
    enum uring_group group = uring_group_for(PLAIN_ANSWER_BYTES + more);
    uint32_t buffer = uring_buffer_take(worker->loop.uring, group);

    if (buffer == URING_NO_BUFFER)
        return (struct piece){.buffer = URING_NO_BUFFER};
    char *place = uring_buffer_base(worker->loop.uring, buffer);
    const char *text =
        stream->end_reason == END_PLAIN_ON_TLS ? "This port speaks TLS: use https." : words->body;
    bool has_content = stream->request->method != HTTP1_HEAD;
    int size = snprintf(
        place, LP_HEADROOM_BYTES + uring_buffer_size(buffer),
        "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
        "Cache-Control: no-store\r\n%s%.*s%s%s\r\n%s%s",
        words->status, words->reason, strlen(text) + 1, words->fields, (int)more, worker->scratch,
        stream->request->answer_status == 426 ? "Connection: upgrade" : "",
        stream->request->answer_status == 426
            ? (stream_has(stream, STREAM_CLIENT_KEEPS) ? "\r\n" : ", close\r\n")
            : (stream_has(stream, STREAM_CLIENT_KEEPS) ? "" : "Connection: close\r\n"),
        has_content ? text : "", has_content ? "\n" : "");
    return (struct piece){place, (uint32_t)size, buffer};
}

/* First call: sends it as soon as earlier pieces leave room. Later ones: ends when all is sent. */
void answer_send(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;

    if (stream->status == 0 || stream->status != stream->request->answer_status) {
        if (!conn_can_send(front))
            return;
        if (!may_keep(worker, stream))
            stream->flags &= ~(uint32_t)STREAM_CLIENT_KEEPS;
        struct piece piece = write_answer(worker, stream);
        if (piece.size == 0) {
            stream_end(worker, stream, END_OUT_OF_BUFFERS, FRONT_RESET);
            return;
        }
        stream->status = stream->request->answer_status;
        if (!stream_has(stream, STREAM_CLIENT_KEEPS))
            conn_next_is_last(front);
        conn_send(&worker->loop, front, piece);
        conn_set_timer(&worker->loop, front,
                       worker->loop.now_ms + worker_config(worker)->timeouts.stalled / 4 + 1);
        return;
    }
    bool is_request_over =
        stream_has(stream, STREAM_UP_DONE) || stream_discard_body(worker, stream);
    if (is_request_over && conn_has_sent_all(front))
        stream_end(worker, stream, END_DONE,
                   stream_has(stream, STREAM_CLIENT_KEEPS) ? FRONT_KEEP : FRONT_POLITE);
}
