/* Heads of requests and responses: how the bytes were cut must not change what they mean, and a
 * head that limpet writes must mean to the next parser what the received one meant to limpet.
 *
 * The first byte of the input chooses request or response and the limits, the second how the rest
 * is cut. Every call gets a new copy of exactly the bytes that are there, so that the address
 * sanitizer sees one byte too far, and that offsets have to do without the old address. */
#include <stdlib.h>
#include <string.h>

#include "lb/http/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *copy_of(const void *data, size_t size)
{
    char *copy = malloc(size == 0 ? 1 : size);

    LP_ASSERT(copy != NULL);
    if (size != 0)
        memcpy(copy, data, size);
    return copy;
}

struct limits {
    bool is_request;
    uint32_t bytes_max, fields_max;
};

static enum http1_outcome parse(struct http1_head *head, struct limits limits, const char *bytes,
                                size_t size, const char **why)
{
    return limits.is_request ? http1_parse_request(head, bytes, size, why)
                             : http1_parse_response(head, bytes, size, why);
}

/* In pieces whose sizes come from the seed: often 1, sometimes long. */
static enum http1_outcome parse_in_pieces(struct http1_head *head, struct limits limits,
                                          const uint8_t *data, size_t size, uint32_t seed,
                                          const char **why)
{
    enum http1_outcome outcome;
    size_t there = 0;

    http1_head_init(head, limits.bytes_max, limits.fields_max);
    do {
        size_t piece;
        char *bytes;

        seed = seed * 1664525u + 1013904223u;
        piece = (seed >> 30) == 0 ? (seed >> 16 & 63) + 1 : (seed >> 30);
        there = size - there < piece ? size : there + piece;
        bytes = copy_of(data, there);
        outcome = parse(head, limits, bytes, there, why);
        free(bytes);
    } while (outcome == HTTP1_MORE && there < size);
    return outcome;
}

static void check_same_head(const struct http1_head *a, const struct http1_head *b)
{
    LP_ASSERT(a->size == b->size);
    LP_ASSERT(a->minor == b->minor);
    LP_ASSERT(a->status == b->status);
    LP_ASSERT(a->method_at == b->method_at && a->method_size == b->method_size);
    LP_ASSERT(a->target_at == b->target_at && a->target_size == b->target_size);
    LP_ASSERT(a->reason_at == b->reason_at && a->reason_size == b->reason_size);
    LP_ASSERT(a->fields_count == b->fields_count);
    for (uint32_t i = 0; i < a->fields_count; i++) {
        const struct http1_field *x = &a->fields[i], *y = &b->fields[i];

        LP_ASSERT(x->name_at == y->name_at && x->name_size == y->name_size);
        LP_ASSERT(x->value_at == y->value_at && x->value_size == y->value_size);
        LP_ASSERT(x->name == y->name);
        LP_ASSERT(x->is_nominated == y->is_nominated);
    }
}

/* Is it one of the words, when "_" is read as "-"? Knows nothing of enum http1_name. */
static bool is_one_of(struct lp_slice name, const char *const *words, bool with_underscores)
{
    for (; *words != NULL; words++) {
        size_t i = 0;

        while (i < name.size && (*words)[i] != '\0') {
            char byte = with_underscores && name.data[i] == '_' ? '-' : name.data[i];

            if (byte >= 'A' && byte <= 'Z')
                byte += 'a' - 'A';
            if (byte != (*words)[i])
                break;
            i++;
        }
        if (i == name.size && (*words)[i] == '\0')
            return true;
    }
    return false;
}

static const char *const hop_words[] = {
    "connection",     "keep-alive",         "proxy-connection",    "te", "upgrade",
    "http2-settings", "proxy-authenticate", "proxy-authorization", NULL};
static const char *const our_words[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
                                        "x-real-ip",       "x-request-id",      NULL};
static const char *const length_words[] = {"content-length", "transfer-encoding", NULL};

static struct lp_slice name_of(const struct http1_head *head, const char *bytes, uint32_t index)
{
    return (struct lp_slice){bytes + head->fields[index].name_at, head->fields[index].name_size};
}

/* How many fields have that name. */
static uint32_t count_of(const struct http1_head *head, const char *bytes, const char *name)
{
    const char *const words[] = {name, NULL};
    uint32_t count = 0;

    for (uint32_t i = 0; i < head->fields_count; i++)
        count += is_one_of(name_of(head, bytes, i), words, false);
    return count;
}

/* No name in the written head may be mistaken for one of ours, and hop-by-hop fields are there
 * only as an upgrade needs them. */
static void check_written_names(const struct http1_head *head, const char *bytes, bool is_request,
                                uint32_t hop_count)
{
    uint32_t hops = 0;

    for (uint32_t i = 0; i < head->fields_count; i++) {
        struct lp_slice name = name_of(head, bytes, i);

        hops += is_one_of(name, hop_words, true);
        LP_ASSERT(is_one_of(name, length_words, false) == is_one_of(name, length_words, true));
        if (is_request)
            LP_ASSERT(is_one_of(name, our_words, false) == is_one_of(name, our_words, true));
    }
    LP_ASSERT(hops == hop_count);
    if (!is_request)
        return;
    for (size_t i = 0; our_words[i] != NULL; i++)
        LP_ASSERT(count_of(head, bytes, our_words[i]) <= 1);
    LP_ASSERT(count_of(head, bytes, "host") == 1);
    LP_ASSERT(count_of(head, bytes, "forwarded") == 0);
}

/* Every field of the received head that is nobody's special case is there again, in its order. */
static void check_others_stayed(const struct http1_head *before, const char *before_bytes,
                                const struct http1_head *after, const char *after_bytes)
{
    uint32_t next = 0;

    for (uint32_t i = 0; i < before->fields_count; i++) {
        if (before->fields[i].name != HTTP1_OTHER || before->fields[i].is_nominated)
            continue;
        while (next < after->fields_count && after->fields[next].name != HTTP1_OTHER)
            next++;
        LP_ASSERT(next < after->fields_count);
        LP_ASSERT(
            lp_slice_equal(name_of(before, before_bytes, i), name_of(after, after_bytes, next)));
        LP_ASSERT(lp_slice_equal(http1_value(&before->fields[i], before_bytes),
                                 http1_value(&after->fields[next], after_bytes)));
        next++;
    }
    for (; next < after->fields_count; next++)
        LP_ASSERT(after->fields[next].name != HTTP1_OTHER);
}

/* Parses what was written. False when it only became too large for a head. */
static bool parse_written(struct http1_head *head, bool is_request, const char *out, size_t size)
{
    struct limits limits = {is_request, LP_HEAD_BYTES_MAX, LP_HEADERS_MAX};
    const char *why;
    enum http1_outcome outcome;

    http1_head_init(head, limits.bytes_max, limits.fields_max);
    outcome = parse(head, limits, out, size, &why);
    LP_ASSERT(outcome == HTTP1_DONE || outcome == HTTP1_TOO_LARGE);
    LP_ASSERT(outcome != HTTP1_DONE || head->size == size);
    return outcome == HTTP1_DONE;
}

#define OUT_MAX (2 * LP_HEAD_BYTES_MAX)
static struct http1_head before, after;

static void check_request(const char *bytes, bool is_trusted)
{
    struct http1_forward forward = {.client_ip = LP_SLICE("192.0.2.1"),
                                    .proto = LP_SLICE("http"),
                                    .request_id = LP_SLICE("id"),
                                    .real_ip = LP_SLICE("192.0.2.7"),
                                    .is_trusted = is_trusted};
    struct http1_request request, again;
    const char *why;
    size_t size;
    char *out;

    if (http1_read_request(&request, &before, bytes, &why) != 0) {
        LP_ASSERT(why != NULL);
        return;
    }
    out = copy_of(NULL, 0);
    LP_ASSERT(http1_write_request(out, 0, &before, bytes, &request, &forward) == 0);
    out = realloc(out, OUT_MAX);
    LP_ASSERT(out != NULL);
    size = http1_write_request(out, OUT_MAX, &before, bytes, &request, &forward);
    LP_ASSERT(size != 0);
    out = realloc(out, size);
    LP_ASSERT(http1_write_request(out, size - 1, &before, bytes, &request, &forward) == 0);
    LP_ASSERT(http1_write_request(out, size, &before, bytes, &request, &forward) == size);
    /* A request without any Host, which only HTTP/1.0 may be, cannot become a good one of 1.1. */
    if (parse_written(&after, true, out, size) && request.authority.size != 0) {
        LP_ASSERT(http1_read_request(&again, &after, out, &why) == 0);
        LP_ASSERT(again.method == request.method);
        LP_ASSERT(lp_slice_equal(again.method_text, request.method_text));
        LP_ASSERT(lp_slice_equal(again.target, request.target));
        LP_ASSERT(lp_slice_equal(again.path, request.path));
        LP_ASSERT(lp_slice_equal(again.query, request.query));
        LP_ASSERT(lp_slice_equal(again.authority, request.authority));
        LP_ASSERT(again.body == request.body && again.body_size == request.body_size);
        LP_ASSERT(again.expects_continue == request.expects_continue);
        LP_ASSERT(again.upgrade == request.upgrade);
        if (request.upgrade == HTTP1_UPGRADE_WEBSOCKET)
            LP_ASSERT(lp_slice_equal(again.websocket_key, request.websocket_key));
        check_written_names(&after, out, true, request.upgrade == HTTP1_UPGRADE_WEBSOCKET ? 2 : 0);
        check_others_stayed(&before, bytes, &after, out);
    }
    free(out);
}

static void check_response(const char *bytes, uint8_t choice)
{
    enum http1_method method = choice & 4 ? HTTP1_HEAD : HTTP1_GET;
    enum http1_persist persist;
    struct http1_response response, again;
    const char *why;
    size_t size;
    char *out;

    if (!http1_read_response(&response, &before, bytes, method, &why)) {
        LP_ASSERT(why != NULL);
        return;
    }
    persist = response.is_websocket       ? HTTP1_PERSIST_UPGRADE
              : response.wants_keep_alive ? HTTP1_PERSIST_DEFAULT
                                          : HTTP1_PERSIST_CLOSE;
    out = malloc(OUT_MAX);
    LP_ASSERT(out != NULL);
    size = http1_write_response(out, OUT_MAX, &before, bytes, persist, false, (struct lp_slice){0});
    LP_ASSERT(size != 0);
    LP_ASSERT(http1_write_response(out, size - 1, &before, bytes, persist, false,
                                   (struct lp_slice){0}) == 0);
    LP_ASSERT(http1_write_response(out, size, &before, bytes, persist, false,
                                   (struct lp_slice){0}) == size);
    if (parse_written(&after, false, out, size)) {
        LP_ASSERT(http1_read_response(&again, &after, out, method, &why));
        LP_ASSERT(again.status == response.status);
        LP_ASSERT(again.body == response.body && again.body_size == response.body_size);
        LP_ASSERT(again.is_websocket == response.is_websocket);
        LP_ASSERT(lp_slice_equal(again.websocket_accept, response.websocket_accept));
        LP_ASSERT(persist != HTTP1_PERSIST_DEFAULT || again.wants_keep_alive);
        LP_ASSERT(persist != HTTP1_PERSIST_CLOSE || !again.wants_keep_alive);
        check_written_names(&after, out, false,
                            persist == HTTP1_PERSIST_UPGRADE ? 2 : persist == HTTP1_PERSIST_CLOSE);
        check_others_stayed(&before, bytes, &after, out);
    }
    free(out);
}

/* Keys and paths hold for any bytes; here it is enough that they stay within them. */
static void take_keys(const char *bytes, size_t size)
{
    struct lp_ip peer = {.family = 4, .bytes = {10, 0, 0, 1}};
    struct lp_cidr trusted = {.ip = {.family = 4, .bytes = {10}}, .bits = 8};
    struct lp_slice path = {bytes, size}, value;
    char *once = copy_of(bytes, size), *twice = copy_of(bytes, size);
    size_t once_size = http1_normalise_path(once, path);

    if (once_size != SIZE_MAX) {
        LP_ASSERT(once_size <= size);
        LP_ASSERT(http1_normalise_path(twice, (struct lp_slice){once, once_size}) == once_size);
        LP_ASSERT(memcmp(once, twice, once_size) == 0);
    }
    free(once);
    free(twice);
    if (http1_query(&value, path, LP_SLICE("id")))
        LP_ASSERT(value.size != 0 && value.data >= bytes &&
                  value.data + value.size <= bytes + size);
    if (before.size != 0) {
        http1_cookie(&value, &before, bytes, LP_SLICE("id"));
        http1_client_ip(&peer, &before, bytes, &trusted, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct limits limits;
    const char *why_whole = NULL, *why_pieces = NULL;
    enum http1_outcome outcome;
    char *bytes;

    if (size < 2)
        return 0;
    limits.is_request = data[0] & 1;
    limits.bytes_max = data[0] & 16 ? 64u : LP_HEAD_BYTES_MAX;
    limits.fields_max = data[0] & 8 ? 4u : LP_HEADERS_MAX;
    bytes = copy_of(data + 2, size - 2);

    http1_head_init(&before, limits.bytes_max, limits.fields_max);
    outcome = parse(&before, limits, bytes, size - 2, &why_whole);
    LP_ASSERT(outcome == parse_in_pieces(&after, limits, data + 2, size - 2, data[1], &why_pieces));
    LP_ASSERT(why_whole == why_pieces);
    LP_ASSERT((why_whole != NULL) == (outcome != HTTP1_DONE && outcome != HTTP1_MORE));
    if (outcome == HTTP1_DONE) {
        check_same_head(&before, &after);
        if (limits.is_request)
            check_request(bytes, data[0] & 2);
        else
            check_response(bytes, data[0]);
    }
    take_keys(bytes, size - 2);
    free(bytes);
    return 0;
}
