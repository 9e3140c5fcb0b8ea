/* A head is looked for in what was read, and copied only when it came in pieces. Of its fields only
 * those count that frame the body, keep the connection or accept an upgrade. Chunks are read by a
 * state per position, strictly by RFC 9112, 7.1. */
#include "bench/load/response.h"

#include <string.h>
#include <strings.h>

enum {
    IN_HEAD,
    IN_COUNTED,
    IN_UNTIL_FIN,
    IN_CHUNK_SIZE,
    IN_CHUNK_EXTENSION,
    IN_CHUNK_SIZE_LF,
    IN_CHUNK,
    IN_CHUNK_CR,
    IN_CHUNK_LF,
    IN_TRAILER,
    IN_NOTHING, /* the response has ended */
};

/* ---- The head ---- */

static bool is_field(struct lp_slice name, const char *wanted, size_t size)
{
    return name.size == size && strncasecmp(name.data, wanted, size) == 0;
}

static bool has_token(struct lp_slice list, struct lp_slice token)
{
    while (list.size > 0) {
        const char *comma = memchr(list.data, ',', list.size);
        size_t size = comma == NULL ? list.size : (size_t)(comma - list.data);
        if (lp_slice_equal_nocase(lp_slice_trim((struct lp_slice){list.data, size}), token))
            return true;
        size += comma != NULL;
        list = (struct lp_slice){list.data + size, list.size - size};
    }
    return false;
}

static bool parse_length(uint64_t *out, struct lp_slice text)
{
    uint64_t value = 0;

    if (text.size == 0 || text.size > 18)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return true;
}

static bool take_field(struct response *response, struct lp_slice name, struct lp_slice value)
{
    switch (name.data[0] | 0x20) {
    case 'c':
        if (is_field(name, "content-length", 14)) {
            response->state = IN_COUNTED;
            return parse_length(&response->left, value);
        }
        if (is_field(name, "connection", 10)) {
            if (has_token(value, LP_SLICE("close")))
                response->keeps = false;
            else if (has_token(value, LP_SLICE("keep-alive")))
                response->keeps = true;
        }
        return true;
    case 't':
        if (is_field(name, "transfer-encoding", 17)) {
            response->is_chunked = true;
            return has_token(value, LP_SLICE("chunked"));
        }
        return true;
    case 's':
        if (is_field(name, "sec-websocket-accept", 20))
            response->accept = value;
        return true;
    default:
        return true;
    }
}

static bool take_fields(struct response *response, const char *data, const char *end)
{
    while (data < end) {
        const char *line_end = memchr(data, '\n', (size_t)(end - data));
        if (line_end == NULL || line_end == data || line_end[-1] != '\r')
            return false;
        if (line_end - data == 1)
            return true;
        const char *colon = memchr(data, ':', (size_t)(line_end - data));
        if (colon == NULL || colon == data)
            return false;
        struct lp_slice value = {colon + 1, (size_t)(line_end - 1 - (colon + 1))};
        if (!take_field(response, (struct lp_slice){data, (size_t)(colon - data)},
                        lp_slice_trim(value)))
            return false;
        data = line_end + 1;
    }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads a whole head and decides how the body ends (RFC 9112, 6.3). */
static bool parse_head(struct response *response, const char *data, size_t size)
{
    static const size_t line_min = sizeof("HTTP/1.1 200") - 1;

    if (size < line_min || memcmp(data, "HTTP/1.", 7) != 0 || data[8] != ' ' ||
        !is_digit(data[9]) || !is_digit(data[10]) || !is_digit(data[11]))
        return false;
    response->status = (uint16_t)((data[9] - '0') * 100 + (data[10] - '0') * 10 + data[11] - '0');
    response->keeps = data[7] != '0';
    response->state = IN_UNTIL_FIN;
    response->is_chunked = false;
    response->left = 0;
    response->body = 0;
    const char *line_end = memchr(data, '\n', size);
    if (line_end == NULL || !take_fields(response, line_end + 1, data + size))
        return false;
    if (response->status < 200 || response->status == 204 || response->status == 304) {
        response->state = IN_COUNTED;
        response->left = 0;
    } else if (response->is_chunked) {
        response->state = IN_CHUNK_SIZE;
        response->left = 0;
        response->digits = 0;
    } else if (response->state == IN_UNTIL_FIN) {
        response->keeps = false;
    }
    return true;
}

/* Appends to what came before; only what may belong to the head. */
static void keep_piece(struct response *response, const char *data, size_t size)
{
    response->head = lp_realloc(response->head, response->head_size + size);
    memcpy(response->head + response->head_size, data, size);
    response->head_size += (uint32_t)size;
}

static enum response_event step_head(struct response *response, size_t *used, const char *data,
                                     size_t size)
{
    size_t before = response->head_size;

    if (before > 0) {
        if (size > RESPONSE_HEAD_MAX)
            size = RESPONSE_HEAD_MAX;
        keep_piece(response, data, size);
        size_t from = before > 3 ? before - 3 : 0;
        const char *end = memmem(response->head + from, response->head_size - from, "\r\n\r\n", 4);
        *used = size;
        if (end == NULL)
            return response->head_size > RESPONSE_HEAD_MAX ? RESPONSE_BAD : RESPONSE_MORE;
        size_t head_size = (size_t)(end + 4 - response->head);
        *used = head_size - before;
        response->head_size = 0;
        return parse_head(response, response->head, head_size) ? RESPONSE_HEAD : RESPONSE_BAD;
    }
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    *used = end == NULL ? size : (size_t)(end + 4 - data);
    if (end != NULL)
        return parse_head(response, data, *used) ? RESPONSE_HEAD : RESPONSE_BAD;
    if (size > RESPONSE_HEAD_MAX)
        return RESPONSE_BAD;
    keep_piece(response, data, size);
    return RESPONSE_MORE;
}

/* ---- The body ---- */

static enum response_event take_body(struct response *response, size_t *used, struct lp_slice *body,
                                     const char *data, size_t size)
{
    *used = size < response->left ? size : (size_t)response->left;
    *body = (struct lp_slice){data, *used};
    response->left -= *used;
    response->body += *used;
    return RESPONSE_BODY;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* One byte of a chunk's size. False when it cannot stand there. */
static bool step_chunk_size(struct response *response, char c)
{
    int value = hex_value(c);

    if (value >= 0) {
        response->left = response->left << 4 | (uint64_t)value;
        return ++response->digits <= 15;
    }
    response->state = c == '\r' ? IN_CHUNK_SIZE_LF : IN_CHUNK_EXTENSION;
    return response->digits > 0 && (c == '\r' || c == ';' || c == ' ' || c == '\t');
}

static bool step_trailer(struct response *response, char c)
{
    if (c != '\n') {
        response->line_size += c != '\r';
        return true;
    }
    if (response->line_size == 0)
        response->state = IN_NOTHING;
    response->line_size = 0;
    return true;
}

/* One byte of a chunked body's frame. */
static bool step_frame(struct response *response, char c)
{
    switch (response->state) {
    case IN_CHUNK_SIZE:
        return step_chunk_size(response, c);
    case IN_CHUNK_EXTENSION:
        if (c == '\r')
            response->state = IN_CHUNK_SIZE_LF;
        return c != '\n';
    case IN_CHUNK_SIZE_LF:
        response->state = response->left == 0 ? IN_TRAILER : IN_CHUNK;
        response->line_size = 0;
        return c == '\n';
    case IN_CHUNK_CR:
        response->state = IN_CHUNK_LF;
        return c == '\r';
    case IN_CHUNK_LF:
        response->state = IN_CHUNK_SIZE;
        response->digits = 0;
        return c == '\n';
    default:
        return step_trailer(response, c);
    }
}

static enum response_event step_chunked(struct response *response, size_t *used,
                                        struct lp_slice *body, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (response->state == IN_CHUNK) {
            size_t taken;
            take_body(response, &taken, body, data + i, size - i);
            *used = i + taken;
            if (response->left == 0)
                response->state = IN_CHUNK_CR;
            return RESPONSE_BODY;
        }
        if (!step_frame(response, data[i]))
            return RESPONSE_BAD;
        if (response->state == IN_NOTHING) {
            *used = i + 1;
            return RESPONSE_DONE;
        }
    }
    *used = size;
    return RESPONSE_MORE;
}

enum response_event response_step(struct response *response, size_t *used, struct lp_slice *body,
                                  const char *data, size_t size)
{
    enum response_event event;

    *used = 0;
    switch (response->state) {
    case IN_HEAD:
        if (size == 0)
            return RESPONSE_MORE;
        event = step_head(response, used, data, size);
        if (event == RESPONSE_HEAD && response->status < 200 && response->status != 101) {
            size_t skipped = *used; /* an interim response: the final one follows */
            response->state = IN_HEAD;
            event = response_step(response, used, body, data + skipped, size - skipped);
            *used += skipped;
        }
        return event;
    case IN_COUNTED:
        if (response->left == 0) {
            response->state = IN_NOTHING;
            return RESPONSE_DONE;
        }
        return size == 0 ? RESPONSE_MORE : take_body(response, used, body, data, size);
    case IN_UNTIL_FIN:
        response->left = size;
        return size == 0 ? RESPONSE_MORE : take_body(response, used, body, data, size);
    case IN_NOTHING:
        return RESPONSE_DONE;
    default:
        return step_chunked(response, used, body, data, size);
    }
}

void response_begin(struct response *response)
{
    if (response->head != NULL)
        lp_free(response->head);
    *response = (struct response){0};
}

uint64_t response_skippable(const struct response *response)
{
    return response->state == IN_COUNTED ? response->left : 0;
}

enum response_event response_skip(struct response *response, uint64_t size)
{
    LP_ASSERT(size <= response->left);
    response->left -= size;
    response->body += size;
    if (response->left > 0)
        return RESPONSE_MORE;
    response->state = IN_NOTHING;
    return RESPONSE_DONE;
}

bool response_ends_with_fin(const struct response *response)
{
    return response->state == IN_UNTIL_FIN;
}

bool response_has_begun(const struct response *response)
{
    return response->state != IN_HEAD || response->head_size > 0;
}
