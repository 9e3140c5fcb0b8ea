/* What is asked for, and what is answered. Start at http_consume().
 *
 * An answer is chosen when its head has been read and written when the body has passed; so one
 * request at a time is remembered in the connection, however many are pipelined behind it. */
#include "bench/origin/http.h"

#include <stdio.h>

#include "bench/origin/head.h"
#include "lb/ws/ws.h"

#define TEXT_BYTES       128u
#define BYTES_MAX        (1ull << 40)
#define BYTES_INLINE_MAX 8192u /* a shorter body is copied behind its head */
#define DELAY_MS_MAX     600000u
#define EVERY_MS_DEFAULT 97u
#define EVERY_MS_MAX     3600000u
#define EVENT_BYTES      64u
#define EVENT_BYTES_MAX  16384u
#define CLOCK_DIGITS     19u
/* data: T x\n\n, with one x at least. */
#define EVENT_BYTES_MIN (6u + CLOCK_DIGITS + 1u + 1u + 2u)

static void put_number(struct origin *origin, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    out_put(origin, (struct lp_slice){digits + at, sizeof digits - at});
}

/* ---- Answers ----------------------------------------------------------------------------------*/

static void refuse(struct origin *origin, struct conn *conn)
{
    out_put(origin, LP_SLICE("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                             "Connection: close\r\n\r\n"));
    conn->lingers = true;
    conn->state = CONN_ENDING;
}

static void put_connection(struct origin *origin, const struct conn *conn)
{
    if (!conn->keeps_alive)
        out_put(origin, LP_SLICE("\r\nConnection: close\r\n\r\n"));
    else if (conn->is_http10)
        out_put(origin, LP_SLICE("\r\nConnection: keep-alive\r\n\r\n"));
    else
        out_put(origin, LP_SLICE("\r\n\r\n"));
}

static void put_head(struct origin *origin, const struct conn *conn, uint64_t length)
{
    out_put(origin, LP_SLICE("HTTP/1.1 200 OK\r\nServer: origin\r\n"
                             "Content-Type: text/plain\r\nContent-Length: "));
    put_number(origin, length);
    put_connection(origin, conn);
}

static void answer_text(struct origin *origin, struct conn *conn)
{
    put_head(origin, conn, TEXT_BYTES);
    if (!conn->is_head)
        out_put(origin, (struct lp_slice){origin->pattern, TEXT_BYTES});
}

static void answer_count(struct origin *origin, struct conn *conn)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)conn->body_count);
    put_head(origin, conn, (uint64_t)size);
    out_put(origin, (struct lp_slice){text, (size_t)size});
}

static void answer_bytes(struct origin *origin, struct conn *conn)
{
    put_head(origin, conn, conn->number);
    if (conn->is_head)
        return;
    if (conn->number <= BYTES_INLINE_MAX) {
        out_put(origin, (struct lp_slice){origin->pattern, (size_t)conn->number});
        return;
    }
    conn->body_left = conn->number;
    conn->state = CONN_BYTES;
}

static void put_event(struct origin *origin, const struct conn *conn)
{
    uint64_t now_ns = lp_clock_ns();
    char clock[CLOCK_DIGITS];
    for (size_t i = CLOCK_DIGITS; i-- > 0; now_ns /= 10)
        clock[i] = (char)('0' + now_ns % 10);

    if (!conn->is_http10) {
        char size[16];
        int digits = snprintf(size, sizeof size, "%x\r\n", conn->event_size);
        out_put(origin, (struct lp_slice){size, (size_t)digits});
    }
    out_put(origin, LP_SLICE("data: "));
    out_put(origin, (struct lp_slice){clock, sizeof clock});
    out_put(origin, LP_SLICE(" "));
    size_t padding = conn->event_size - EVENT_BYTES_MIN + 1;
    memset(out_reserve(origin, padding), 'x', padding);
    out_put(origin, LP_SLICE("\n\n"));
    if (!conn->is_http10)
        out_put(origin, LP_SLICE("\r\n"));
}

static void answer_events(struct origin *origin, struct conn *conn)
{
    out_put(origin, LP_SLICE("HTTP/1.1 200 OK\r\nServer: origin\r\nCache-Control: no-cache\r\n"
                             "Content-Type: text/event-stream"));
    if (conn->is_http10)
        out_put(origin, LP_SLICE("\r\nConnection: close\r\n\r\n"));
    else
        out_put(origin, LP_SLICE("\r\nTransfer-Encoding: chunked\r\n\r\n"));
    if (conn->is_head)
        return;
    conn->state = CONN_EVENTS;
    /* Streams that began together do not stay in step: real ones have nothing to do with each
     * other. */
    uint64_t share = (uint32_t)conn->fd * UINT32_C(2654435769) % (conn->number + 1);
    wheel_set(&origin->wheel, &conn->timer, lp_clock_ms() + share);
}

static void begin_delay(struct origin *origin, struct conn *conn)
{
    conn->state = CONN_DELAY;
    wheel_set(&origin->wheel, &conn->timer, lp_clock_ms() + conn->number);
}

/* The request is whole. */
static void answer(struct origin *origin, struct conn *conn)
{
    conn->state = conn->keeps_alive ? CONN_HEAD : CONN_ENDING;
    switch (conn->answer) {
    case ANSWER_TEXT:
        answer_text(origin, conn);
        break;
    case ANSWER_BYTES:
        answer_bytes(origin, conn);
        break;
    case ANSWER_COUNT:
        answer_count(origin, conn);
        break;
    case ANSWER_EVENTS:
        answer_events(origin, conn);
        break;
    case ANSWER_DELAY:
        begin_delay(origin, conn);
        break;
    }
}

void http_on_timer(struct origin *origin, struct conn *conn)
{
    if (conn->state == CONN_DELAY) {
        conn->state = conn->keeps_alive ? CONN_HEAD : CONN_ENDING;
        answer_text(origin, conn);
        return;
    }
    put_event(origin, conn);
    /* In step with its first event, unless it is late by a whole round. */
    uint64_t due_ms = conn->timer.due_ms + conn->number;
    uint64_t now_ms = origin->wheel.now_ms;
    wheel_set(&origin->wheel, &conn->timer, due_ms > now_ms ? due_ms : now_ms + conn->number);
}

/* ---- Targets ----------------------------------------------------------------------------------*/

static bool take_prefix(struct lp_slice *text, struct lp_slice prefix)
{
    if (text->size < prefix.size || memcmp(text->data, prefix.data, prefix.size) != 0)
        return false;
    text->data += prefix.size;
    text->size -= prefix.size;
    return true;
}

static bool parse_event_option(struct conn *conn, struct lp_slice option)
{
    uint64_t number;
    if (take_prefix(&option, LP_SLICE("every="))) {
        if (option.size > 2 && memcmp(option.data + option.size - 2, "ms", 2) == 0)
            option.size -= 2;
        return number_parse(&conn->number, option, EVERY_MS_MAX) && conn->number > 0;
    }
    if (!take_prefix(&option, LP_SLICE("size=")) || !number_parse(&number, option, EVENT_BYTES_MAX))
        return false;
    conn->event_size = (uint32_t)number;
    return number >= EVENT_BYTES_MIN;
}

static bool parse_events(struct conn *conn, struct lp_slice query)
{
    conn->answer = ANSWER_EVENTS;
    conn->number = EVERY_MS_DEFAULT;
    conn->event_size = EVENT_BYTES;
    while (query.size > 0) {
        const char *end = memchr(query.data, '&', query.size);
        size_t size = end != NULL ? (size_t)(end - query.data) : query.size;
        if (!parse_event_option(conn, (struct lp_slice){query.data, size}))
            return false;
        size += end != NULL;
        query = (struct lp_slice){query.data + size, query.size - size};
    }
    return true;
}

/* Any path that is not known is answered like /, so that a proxy may be given any routes. */
static bool choose_answer(struct conn *conn, const struct head *head)
{
    struct lp_slice path = head->target, query = {"", 0};
    conn->is_head = lp_slice_equal(head->method, LP_SLICE("HEAD"));
    if (!conn->is_head && !lp_slice_equal(head->method, LP_SLICE("GET"))) {
        conn->answer = ANSWER_COUNT;
        return true;
    }
    const char *mark = memchr(path.data, '?', path.size);
    if (mark != NULL) {
        query = (struct lp_slice){mark + 1, (size_t)(path.data + path.size - mark) - 1};
        path.size = (size_t)(mark - path.data);
    }
    conn->answer = ANSWER_TEXT;
    if (lp_slice_equal(path, LP_SLICE("/events")))
        return parse_events(conn, query);
    if (take_prefix(&path, LP_SLICE("/bytes/"))) {
        conn->answer = ANSWER_BYTES;
        return number_parse(&conn->number, path, BYTES_MAX);
    }
    if (take_prefix(&path, LP_SLICE("/delay/"))) {
        conn->answer = ANSWER_DELAY;
        return number_parse(&conn->number, path, DELAY_MS_MAX);
    }
    return true;
}

/* ---- Requests ---------------------------------------------------------------------------------*/

static void upgrade(struct origin *origin, struct conn *conn, const struct head *head)
{
    if (!head->connection_upgrade || head->is_http10 || head->is_chunked ||
        head->content_length > 0 || !lp_slice_equal(head->method, LP_SLICE("GET")) ||
        !ws_key_is_valid(head->websocket_key)) {
        refuse(origin, conn);
        return;
    }
    char accept[WS_ACCEPT_SIZE];
    ws_accept(accept, head->websocket_key);
    out_put(origin, LP_SLICE("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Accept: "));
    out_put(origin, (struct lp_slice){accept, sizeof accept});
    out_put(origin, LP_SLICE("\r\n\r\n"));
    conn->ws = (struct conn_ws){0};
    conn->state = CONN_WS;
}

static void on_head(struct origin *origin, struct conn *conn, const struct head *head)
{
    conn->is_http10 = head->is_http10;
    conn->keeps_alive = head->keeps_alive;
    conn->body_count = 0;
    conn->body_left = head->content_length;
    if (lp_slice_equal_nocase(head->upgrade, LP_SLICE("websocket"))) {
        upgrade(origin, conn, head);
        return;
    }
    if (!choose_answer(conn, head)) {
        refuse(origin, conn);
        return;
    }
    if (!head->is_chunked && conn->body_left == 0) {
        answer(origin, conn);
        return;
    }
    if (head->expects_continue)
        out_put(origin, LP_SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    conn->state = head->is_chunked ? CONN_CHUNKED : CONN_BODY;
    if (head->is_chunked)
        conn->chunk = (struct conn_chunk){.phase = CHUNK_SIZE};
}

static size_t consume_head(struct origin *origin, struct conn *conn, const char *data, size_t size)
{
    struct head head;
    switch (head_parse(&head, data, size)) {
    case HEAD_DONE:
        if (head.size > HEAD_BYTES_MAX)
            break;
        on_head(origin, conn, &head);
        return head.size;
    case HEAD_MORE:
        if (size <= HEAD_BYTES_MAX)
            return 0;
        break;
    case HEAD_BAD:
        break;
    }
    refuse(origin, conn);
    return size;
}

static size_t consume_body(struct origin *origin, struct conn *conn, size_t size)
{
    size_t used = size < conn->body_left ? size : (size_t)conn->body_left;
    conn->body_left -= used;
    conn->body_count += used;
    if (conn->body_left == 0)
        answer(origin, conn);
    return used;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* One byte that is not payload. False when it must not stand there. */
static bool step_chunk(struct conn_chunk *chunk, char c, bool *is_over)
{
    switch (chunk->phase) {
    case CHUNK_SIZE:
        if (hex_digit(c) >= 0) {
            chunk->left = chunk->left << 4 | (uint64_t)hex_digit(c);
            return ++chunk->count <= 15;
        }
        chunk->phase = CHUNK_EXTENSION;
        return chunk->count > 0 && (c == '\r' || c == ';' || c == ' ');
    case CHUNK_EXTENSION:
        if (++chunk->count > HEAD_BYTES_MAX)
            return false;
        if (c == '\n') {
            chunk->phase = chunk->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
            chunk->count = 0;
        }
        return true;
    case CHUNK_END:
        if (c != "\r\n"[chunk->count])
            return false;
        if (++chunk->count == 2)
            *chunk = (struct conn_chunk){.phase = CHUNK_SIZE};
        return true;
    case CHUNK_TRAILER: /* the count of a line's bytes, without its CR */
        *is_over = c == '\n' && chunk->count == 0;
        if (c == '\n')
            chunk->count = 0;
        else if (c != '\r')
            chunk->count++;
        return chunk->count <= HEAD_BYTES_MAX;
    case CHUNK_DATA:
        break;
    }
    return false;
}

static size_t consume_chunked(struct origin *origin, struct conn *conn, const char *data,
                              size_t size)
{
    struct conn_chunk *chunk = &conn->chunk;
    size_t used = 0;
    while (used < size) {
        if (chunk->phase == CHUNK_DATA) {
            size_t part = size - used < chunk->left ? size - used : (size_t)chunk->left;
            used += part;
            chunk->left -= part;
            conn->body_count += part;
            if (chunk->left == 0)
                *chunk = (struct conn_chunk){.phase = CHUNK_END};
            continue;
        }
        bool is_over = false;
        if (!step_chunk(chunk, data[used++], &is_over)) {
            refuse(origin, conn);
            return size;
        }
        if (is_over) {
            answer(origin, conn);
            break;
        }
    }
    return used;
}

size_t http_consume(struct origin *origin, struct conn *conn, const char *data, size_t size)
{
    size_t used = 0, part = 1;
    while (part > 0 && origin->out_size < ANSWERS_BYTES) {
        part = 0;
        if (conn->state == CONN_HEAD && used < size)
            part = consume_head(origin, conn, data + used, size - used);
        else if (conn->state == CONN_BODY)
            part = consume_body(origin, conn, size - used);
        else if (conn->state == CONN_CHUNKED)
            part = consume_chunked(origin, conn, data + used, size - used);
        used += part;
    }
    return used;
}
