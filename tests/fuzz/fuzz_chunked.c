/* Chunked bodies against a simple decoder that looks at the whole body at once: however the bytes
 * were cut on their way, content, end and verdict are the same. The first byte of the input chooses
 * how the rest is cut. Event streams are cut the same way. */
#include <stdlib.h>
#include <string.h>

#include "lb/http/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a whole body comes to. Content beyond what is there is not counted. */
struct body {
    enum http1_chunk end; /* DONE, BAD or MORE */
    size_t read;          /* with DONE */
    size_t content_size;
    uint8_t *content;
};

static bool is_text(uint8_t byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 127);
}

static bool is_token(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool is_refused_trailer(const uint8_t *name, size_t size)
{
    static const char *const refused[] = {"accept-encoding",
                                          "connection",
                                          "content-length",
                                          "content-type",
                                          "cookie",
                                          "expect",
                                          "forwarded",
                                          "host",
                                          "http2-settings",
                                          "keep-alive",
                                          "origin",
                                          "proxy-authenticate",
                                          "proxy-authorization",
                                          "proxy-connection",
                                          "sec-websocket-accept",
                                          "sec-websocket-key",
                                          "sec-websocket-version",
                                          "te",
                                          "trailer",
                                          "transfer-encoding",
                                          "upgrade",
                                          "x-forwarded-for",
                                          "x-forwarded-host",
                                          "x-forwarded-proto",
                                          "x-real-ip",
                                          "x-request-id"};
    static const char *const with_underscores[] = {
        "content-length",      "http2-settings",    "keep-alive",        "proxy-authenticate",
        "proxy-authorization", "proxy-connection",  "transfer-encoding", "x-forwarded-for",
        "x-forwarded-host",    "x-forwarded-proto", "x-real-ip",         "x-request-id"};
    char plain[32];
    bool has_underscore = memchr(name, '_', size) != NULL;

    if (size >= sizeof(plain))
        return false;
    for (size_t i = 0; i < size; i++)
        plain[i] = (char)(name[i] == '_'                     ? '-'
                          : name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32
                                                             : name[i]);
    plain[size] = '\0';
    for (size_t i = 0; !has_underscore && i < LP_COUNT_OF(refused); i++)
        if (strcmp(plain, refused[i]) == 0)
            return true;
    for (size_t i = 0; has_underscore && i < LP_COUNT_OF(with_underscores); i++)
        if (strcmp(plain, with_underscores[i]) == 0)
            return true;
    return false;
}

/* A text up to its CRLF. Gives where the next line starts; 0 with *end for MORE and BAD. `start` is
 * where the counting of bytes began. */
static size_t read_text_line(const uint8_t *data, size_t size, size_t at, size_t start, size_t max,
                             enum http1_chunk *end)
{
    for (;; at++) {
        *end = HTTP1_CHUNK_MORE;
        if (at == size)
            return 0;
        *end = HTTP1_CHUNK_BAD;
        if (at - start + 1 > max)
            return 0;
        if (data[at] == '\r')
            break;
        if (!is_text(data[at]))
            return 0;
    }
    *end = HTTP1_CHUNK_MORE;
    if (at + 1 == size)
        return 0;
    *end = HTTP1_CHUNK_BAD;
    if (at + 2 - start > max || data[at + 1] != '\n')
        return 0;
    return at + 2;
}

/* From the size line's first byte; like read_text_line(). */
static size_t read_size_line(const uint8_t *data, size_t size, size_t at, uint64_t *chunk,
                             enum http1_chunk *end)
{
    size_t start = at;

    *chunk = 0;
    *end = HTTP1_CHUNK_BAD;
    for (; at < size && strchr("0123456789abcdefABCDEF", data[at]) != NULL && data[at] != 0; at++) {
        char digit[2] = {(char)data[at], '\0'};

        if (at - start == 16 || *chunk >= 1ull << 59)
            return 0;
        *chunk = *chunk * 16 + strtoull(digit, NULL, 16);
    }
    if (at == start && at < size)
        return 0;
    if (at < size && data[at] != ';' && data[at] != '\r') {
        size_t spaces = at;

        while (spaces < size && (data[spaces] == ' ' || data[spaces] == '\t') &&
               spaces - start < 4096)
            spaces++;
        if (spaces == at || (spaces < size && data[spaces] != ';'))
            return 0;
    }
    return read_text_line(data, size, at, start, 4096, end);
}

static void read_trailers(struct body *body, const uint8_t *data, size_t size, size_t at)
{
    size_t start = at;

    while (body->end == HTTP1_CHUNK_MORE && at < size) {
        size_t name = at;

        if (data[at] == '\r') {
            at = read_text_line(data, size, at, start, 8192, &body->end);
            if (at != 0) {
                body->end = HTTP1_CHUNK_DONE;
                body->read = at;
            }
            return;
        }
        while (at < size && is_token(data[at]) && at - start < 8192)
            at++;
        if (at == size)
            return;
        if (at - start >= 8192 || data[at] != ':' || at == name ||
            is_refused_trailer(data + name, at - name)) {
            body->end = HTTP1_CHUNK_BAD;
            return;
        }
        at = read_text_line(data, size, at + 1, start, 8192, &body->end);
        if (at == 0)
            return;
        body->end = HTTP1_CHUNK_MORE;
    }
}

/* Written to be obviously right: sees all bytes, keeps no state. body->content has room. */
static void decode_simply(struct body *body, const uint8_t *data, size_t size)
{
    size_t at = 0;

    body->end = HTTP1_CHUNK_MORE;
    while (at < size) {
        uint64_t chunk;

        at = read_size_line(data, size, at, &chunk, &body->end);
        if (at == 0)
            return;
        body->end = HTTP1_CHUNK_MORE;
        if (chunk == 0) {
            read_trailers(body, data, size, at);
            return;
        }
        size_t there = size - at < chunk ? size - at : (size_t)chunk;
        memcpy(body->content + body->content_size, data + at, there);
        body->content_size += there;
        at += there;
        if (at == size)
            return;
        if (data[at] != '\r' || (at + 1 < size && data[at + 1] != '\n')) {
            body->end = HTTP1_CHUNK_BAD;
            return;
        }
        at += 2;
    }
}

static size_t next_piece(uint32_t *seed, size_t left)
{
    size_t piece;

    *seed = *seed * 1664525u + 1013904223u;
    piece = (*seed >> 30) == 0 ? (*seed >> 16 & 63) + 1 : (*seed >> 30);
    return piece < left ? piece : left;
}

/* Feeds one piece, from memory of its own. */
static void feed(struct body *body, struct http1_chunked *chunked, const uint8_t *data, size_t size)
{
    char *copy = malloc(size), *at = copy;
    const char *why = NULL;
    size_t used;

    LP_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    while (body->end == HTTP1_CHUNK_MORE) {
        bool was_boundary = http1_chunked_is_at_boundary(chunked);
        enum http1_chunk chunk = http1_chunked_step(chunked, at, size, &used, &why);

        LP_ASSERT(used <= size);
        if (chunk == HTTP1_CHUNK_DATA) {
            LP_ASSERT(used != 0 && !was_boundary);
            memcpy(body->content + body->content_size, at, used);
            body->content_size += used;
        }
        at += used;
        size -= used;
        body->read += used;
        if (chunk == HTTP1_CHUNK_MORE) {
            LP_ASSERT(size == 0);
            break;
        }
        LP_ASSERT(chunk != HTTP1_CHUNK_FRAMING || used != 0);
        LP_ASSERT((chunk == HTTP1_CHUNK_BAD) == (why != NULL));
        if (chunk == HTTP1_CHUNK_BAD || chunk == HTTP1_CHUNK_DONE)
            body->end = chunk;
    }
    free(copy);
}

static void check_chunked(const uint8_t *data, size_t size, uint32_t seed)
{
    struct body simple = {.content = malloc(size + 1)}, pieces = {.content = malloc(size + 1)};
    struct http1_chunked chunked;

    LP_ASSERT(simple.content != NULL && pieces.content != NULL);
    decode_simply(&simple, data, size);
    http1_chunked_init(&chunked);
    pieces.end = HTTP1_CHUNK_MORE;
    for (size_t at = 0; at < size && pieces.end == HTTP1_CHUNK_MORE;) {
        size_t piece = seed == 0 ? size : next_piece(&seed, size - at);

        feed(&pieces, &chunked, data + at, piece);
        at += piece;
    }
    LP_ASSERT(pieces.end == simple.end);
    LP_ASSERT(pieces.content_size == simple.content_size);
    LP_ASSERT(memcmp(pieces.content, simple.content, simple.content_size) == 0);
    if (simple.end == HTTP1_CHUNK_DONE)
        LP_ASSERT(pieces.read == simple.read);
    free(simple.content);
    free(pieces.content);
}

/* Is there nothing of an event, nor of a line, behind the last empty line? */
static bool ends_an_event(const uint8_t *data, size_t size)
{
    bool is_between = true, is_in_line = false, is_comment = false;

    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n' && i != 0 && data[i - 1] == '\r')
            continue; /* of the same line end */
        if (data[i] == '\r' || data[i] == '\n') {
            is_between = !is_in_line || is_comment;
            is_in_line = false;
        } else if (!is_in_line) {
            is_comment = is_between && data[i] == ':';
            is_in_line = true;
        }
    }
    return is_between && !is_in_line;
}

static void check_events(const uint8_t *data, size_t size, uint32_t seed)
{
    struct http1_events events;
    size_t at = 0;

    http1_events_init(&events);
    while (at < size) {
        size_t piece = next_piece(&seed, size - at);
        bool until_boundary = seed >> 8 & 1;
        size_t read = http1_events_step(&events, (const char *)data + at, piece, until_boundary);

        LP_ASSERT(read <= piece);
        at += read;
        LP_ASSERT(http1_events_is_at_boundary(&events) == ends_an_event(data, at));
        if (read != piece)
            LP_ASSERT(until_boundary && http1_events_is_at_boundary(&events));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    check_chunked(data + 1, size - 1, data[0]);
    check_events(data + 1, size - 1 < 512 ? size - 1 : 512, data[0]);
    return 0;
}
