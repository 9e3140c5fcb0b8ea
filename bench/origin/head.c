/* Line by line: a request line, fields, an empty line. What is broken is never repaired. */
#include "bench/origin/head.h"

#include <string.h>

#define LENGTH_MAX (1ull << 62)

bool number_parse(uint64_t *out, struct lp_slice text, uint64_t limit)
{
    uint64_t number = 0;
    if (text.size == 0 || text.size > 19)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = number;
    return number <= limit;
}

/* Takes the part of *rest before the separator (all of it without one) and what follows it. */
static struct lp_slice take_until(struct lp_slice *rest, char separator)
{
    const char *at = rest->size > 0 ? memchr(rest->data, separator, rest->size) : NULL;
    struct lp_slice part = *rest;
    if (at == NULL) {
        *rest = (struct lp_slice){rest->data + rest->size, 0};
        return part;
    }
    part.size = (size_t)(at - rest->data);
    rest->data += part.size + 1;
    rest->size -= part.size + 1;
    return part;
}

static bool parse_request_line(struct head *out, struct lp_slice line)
{
    out->method = take_until(&line, ' ');
    out->target = take_until(&line, ' ');
    for (size_t i = 0; i < out->method.size; i++)
        if (out->method.data[i] < 'A' || out->method.data[i] > 'Z')
            return false;
    if (out->method.size == 0 || out->target.size == 0)
        return false;
    out->is_http10 = lp_slice_equal(line, LP_SLICE("HTTP/1.0"));
    out->keeps_alive = !out->is_http10;
    return out->is_http10 || lp_slice_equal(line, LP_SLICE("HTTP/1.1"));
}

static void read_connection(struct head *out, struct lp_slice value)
{
    while (value.size > 0) {
        struct lp_slice word = lp_slice_trim(take_until(&value, ','));
        if (lp_slice_equal_nocase(word, LP_SLICE("close")))
            out->keeps_alive = false;
        else if (lp_slice_equal_nocase(word, LP_SLICE("keep-alive")))
            out->keeps_alive = true;
        else if (lp_slice_equal_nocase(word, LP_SLICE("upgrade")))
            out->connection_upgrade = true;
    }
}

static bool read_field(struct head *out, struct lp_slice name, struct lp_slice value)
{
    switch (name.size) { /* told apart by their lengths first: most fields are none of these */
    case 6:
        if (lp_slice_equal_nocase(name, LP_SLICE("expect")))
            out->expects_continue = lp_slice_equal_nocase(value, LP_SLICE("100-continue"));
        return true;
    case 7:
        if (lp_slice_equal_nocase(name, LP_SLICE("upgrade")))
            out->upgrade = value;
        return true;
    case 10:
        if (lp_slice_equal_nocase(name, LP_SLICE("connection")))
            read_connection(out, value);
        return true;
    case 14:
        if (!lp_slice_equal_nocase(name, LP_SLICE("content-length")))
            return true;
        if (out->has_content_length)
            return false;
        out->has_content_length = true;
        return number_parse(&out->content_length, value, LENGTH_MAX);
    case 17:
        if (lp_slice_equal_nocase(name, LP_SLICE("sec-websocket-key")))
            out->websocket_key = value;
        if (!lp_slice_equal_nocase(name, LP_SLICE("transfer-encoding")))
            return true;
        if (out->is_chunked)
            return false;
        out->is_chunked = lp_slice_equal_nocase(value, LP_SLICE("chunked"));
        return out->is_chunked;
    default:
        return true;
    }
}

static bool parse_field(struct head *out, struct lp_slice line)
{
    struct lp_slice rest = line;
    struct lp_slice name = take_until(&rest, ':');
    if (name.size == 0 || name.size == line.size)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] <= ' ' || (unsigned char)name.data[i] >= 0x7f)
            return false;
    return read_field(out, name, lp_slice_trim(rest));
}

/* The next line without its end; false when its end is not there yet. */
static bool take_line(struct lp_slice *rest, struct lp_slice *line)
{
    if (rest->size == 0 || memchr(rest->data, '\n', rest->size) == NULL)
        return false;
    *line = take_until(rest, '\n');
    if (line->size > 0 && line->data[line->size - 1] == '\r')
        line->size--;
    return true;
}

enum head_result head_parse(struct head *out, const char *data, size_t size)
{
    struct lp_slice rest = {data, size}, line;
    bool has_request_line = false;

    *out = (struct head){0};
    while (take_line(&rest, &line)) {
        if (line.size == 0 && has_request_line) {
            out->size = (size_t)(rest.data - data);
            /* Both at once is how requests are smuggled. */
            return out->is_chunked && out->has_content_length ? HEAD_BAD : HEAD_DONE;
        }
        if (line.size == 0)
            continue; /* RFC 9112, 2.2: empty lines before a request are ignored */
        if (!(has_request_line ? parse_field(out, line) : parse_request_line(out, line)))
            return HEAD_BAD;
        has_request_line = true;
    }
    /* What does not begin like a method may never have an end of line. */
    if (!has_request_line && rest.size > 0 && rest.data[0] != '\r' &&
        (rest.data[0] < 'A' || rest.data[0] > 'Z'))
        return HEAD_BAD;
    return HEAD_MORE;
}
