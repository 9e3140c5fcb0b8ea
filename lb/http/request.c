/* request: decides what a parsed request head means: its method, where it goes, how long its body
 * is, and whether it asks for a WebSocket. Each decision is a function of its own below
 * http1_read_request(); the first one that refuses names the status. */
#include <string.h>

#include "lb/http/fields.h"
#include "lb/http/scan.h"

static enum http1_method method_of(struct lp_slice text)
{
    static const struct {
        struct lp_slice text;
        enum http1_method method;
    } methods[] = {
        /* clang-format off */
        {{"GET", 3}, HTTP1_GET},
        {{"POST", 4}, HTTP1_POST},
        {{"HEAD", 4}, HTTP1_HEAD},
        {{"PUT", 3}, HTTP1_PUT},
        {{"DELETE", 6}, HTTP1_DELETE},
        {{"OPTIONS", 7}, HTTP1_OPTIONS},
        {{"PATCH", 5}, HTTP1_PATCH},
        {{"TRACE", 5}, HTTP1_TRACE},
        {{"CONNECT", 7}, HTTP1_CONNECT},
        /* clang-format on */
    };

    for (size_t i = 0; i < LP_COUNT_OF(methods); i++)
        if (text.size == methods[i].text.size &&
            memcmp(text.data, methods[i].text.data, text.size) == 0)
            return methods[i].method;
    return HTTP1_METHOD_OTHER;
}

static bool method_is_idempotent(enum http1_method method)
{
    return method == HTTP1_GET || method == HTTP1_HEAD || method == HTTP1_OPTIONS ||
           method == HTTP1_TRACE || method == HTTP1_PUT || method == HTTP1_DELETE;
}

/* ":port", or ":" alone (RFC 3986, 3.2.3). */
static bool is_port(struct lp_slice text)
{
    return text.data[0] == ':' &&
           (text.size == 1 || http1_port_is_valid((struct lp_slice){text.data + 1, text.size - 1}));
}

/* "[v6]" or "[v6]:port". */
static bool literal_is_valid(struct lp_slice text)
{
    struct lp_ip ip;
    const char *close = memchr(text.data, ']', text.size);
    struct lp_slice inner, behind;

    if (close == NULL)
        return false;
    inner = (struct lp_slice){text.data + 1, (size_t)(close - text.data) - 1};
    behind = (struct lp_slice){close + 1, text.size - inner.size - 2};
    /* A dotted IPv4 address parses, too, but has no business in brackets. */
    if (memchr(inner.data, ':', inner.size) == NULL || !lp_ip_parse(&ip, inner))
        return false;
    return behind.size == 0 || is_port(behind);
}

/* host or host:port (RFC 9110, 7.2), not empty. A registered name could also have escapes and
 * sub-delimiters ("," or "=") in it; no name that anyone can look up has, while two parsers could
 * read it as two names, so it is refused. */
static bool authority_is_valid(struct lp_slice text)
{
    size_t size = 0;

    if (text.size == 0)
        return false;
    if (text.data[0] == '[')
        return literal_is_valid(text);
    while (size < text.size && (scan_is(text.data[size], SCAN_PLAIN) || text.data[size] == '.' ||
                                text.data[size] == '_' || text.data[size] == '~'))
        size++;
    if (size == 0)
        return false;
    if (size == text.size)
        return true;
    return is_port((struct lp_slice){text.data + size, text.size - size});
}

/* RFC 9112, 3.2: one Host in 1.1, which may be empty; at most one in 1.0. */
static int read_host(struct http1_request *out, const struct fields_summary *summary,
                     const char **why)
{
    out->authority = (struct lp_slice){"", 0};
    if (summary->counts[HTTP1_HOST] == 0 && summary->head->minor == 0)
        return 0;
    if (summary->counts[HTTP1_HOST] != 1) {
        *why = summary->counts[HTTP1_HOST] == 0 ? "no Host" : "several Host fields";
        return 400;
    }
    out->authority = fields_value(summary, HTTP1_HOST);
    if (out->authority.size > 0 && !authority_is_valid(out->authority)) {
        *why = "Host is not host:port";
        return 400;
    }
    return 0;
}

/* What is behind "http://" or "https://"; an empty slice when it is neither. */
static struct lp_slice without_scheme(struct lp_slice target)
{
    static const struct lp_slice schemes[] = {{"http://", 7}, {"https://", 8}};

    for (size_t i = 0; i < LP_COUNT_OF(schemes); i++)
        if (target.size > schemes[i].size &&
            lp_slice_equal_nocase((struct lp_slice){target.data, schemes[i].size}, schemes[i]))
            return (struct lp_slice){target.data + schemes[i].size, target.size - schemes[i].size};
    return (struct lp_slice){"", 0};
}

/* RFC 9112, 3.2.2: the target's authority replaces Host; what goes on is in origin form. */
static int read_absolute_form(struct http1_request *out, const char **why)
{
    struct lp_slice rest = without_scheme(out->target);
    size_t size = 0;

    if (rest.size == 0) {
        *why = "request target is neither a path nor an http URI";
        return 400;
    }
    while (size < rest.size && rest.data[size] != '/' && rest.data[size] != '?')
        size++;
    out->authority = (struct lp_slice){rest.data, size};
    if (!authority_is_valid(out->authority)) {
        *why = "authority in the request target is not host:port";
        return 400;
    }
    out->target = (struct lp_slice){rest.data + size, rest.size - size};
    if (out->target.size == 0) {
        /* RFC 9112, 3.2.4: OPTIONS without a path asks about the server as a whole. */
        out->target = out->method == HTTP1_OPTIONS ? LP_SLICE("*") : LP_SLICE("/");
    } else if (out->target.data[0] == '?') {
        /* Legal, but its origin form "/?..." is nowhere in the bytes, and nobody sends it. */
        *why = "request target has a query but no path";
        return 400;
    }
    return 0;
}

static int read_target(struct http1_request *out, const char **why)
{
    const char *mark;
    int status = 0;

    if (out->method == HTTP1_CONNECT) {
        *why = "CONNECT";
        return 405;
    }
    if (out->target.size == 1 && out->target.data[0] == '*') {
        if (out->method != HTTP1_OPTIONS) {
            *why = "request target \"*\" without OPTIONS";
            status = 400;
        }
    } else if (out->target.data[0] != '/') {
        status = read_absolute_form(out, why);
    }
    out->path = out->target;
    out->query = (struct lp_slice){"", 0};
    mark = memchr(out->target.data, '?', out->target.size);
    if (mark != NULL) {
        out->path.size = (size_t)(mark - out->target.data);
        out->query = (struct lp_slice){mark + 1, out->target.size - out->path.size - 1};
    }
    return status;
}

static int read_body(struct http1_request *out, const struct fields_summary *summary,
                     const char **why)
{
    struct fields_framing framing;

    if (!fields_read_framing(&framing, summary, why))
        return 400;
    if (framing.has_length) {
        struct lp_slice text = fields_value(summary, HTTP1_CONTENT_LENGTH);

        /* Legal, but no client writes it, and a server may read it as an octal number. */
        if (text.size > 1 && text.data[0] == '0') {
            *why = "Content-Length with leading zeros";
            return 400;
        }
    }
    out->body = framing.is_chunked    ? HTTP1_BODY_CHUNKED
                : framing.length != 0 ? HTTP1_BODY_LENGTH
                                      : HTTP1_BODY_NONE;
    out->body_size = framing.length;
    return 0;
}

/* RFC 9110, 10.1.1. A field named in Connection does not reach the server, which then would not
 * answer 100. */
static int read_expect(struct http1_request *out, const struct fields_summary *summary,
                       const char **why)
{
    const struct http1_head *head = summary->head;

    out->expects_continue = false;
    if (summary->counts[HTTP1_EXPECT] == 0 || head->minor == 0)
        return 0;
    for (uint32_t i = summary->firsts[HTTP1_EXPECT]; i < head->fields_count; i++) {
        if (head->fields[i].name != HTTP1_EXPECT)
            continue;
        if (!lp_slice_equal_nocase(http1_value(&head->fields[i], summary->bytes),
                                   LP_SLICE("100-continue"))) {
            *why = "Expect other than 100-continue";
            return 417;
        }
        out->expects_continue = out->body != HTTP1_BODY_NONE && !head->fields[i].is_nominated;
    }
    return 0;
}

static bool key_is_valid(struct lp_slice key)
{
    uint8_t decoded[18];

    return key.size == 24 && lp_base64_decode(decoded, key) == 16;
}

/* RFC 6455, 4.2.1; DESIGN.md, "The way of a connection". Any other Upgrade is none. */
static int read_upgrade(struct http1_request *out, const struct fields_summary *summary,
                        const struct fields_connection *connection, const char **why)
{
    struct lp_slice version;

    out->upgrade = HTTP1_UPGRADE_NONE;
    out->websocket_key = (struct lp_slice){"", 0};
    if (out->method != HTTP1_GET || summary->head->minor == 0 || !connection->has_upgrade ||
        !fields_list_has(summary, HTTP1_UPGRADE, LP_SLICE("websocket")))
        return 0;
    if (out->body != HTTP1_BODY_NONE) {
        *why = "WebSocket handshake with a body";
        return 400;
    }
    version = fields_only_value(summary, HTTP1_SEC_WEBSOCKET_VERSION);
    if (version.size == 0) {
        *why = "WebSocket handshake without exactly one Sec-WebSocket-Version";
        return 400;
    }
    if (!lp_slice_equal(version, LP_SLICE("13"))) {
        *why = "Sec-WebSocket-Version is not 13";
        return 426;
    }
    out->websocket_key = fields_only_value(summary, HTTP1_SEC_WEBSOCKET_KEY);
    if (!key_is_valid(out->websocket_key)) {
        *why = "Sec-WebSocket-Key is not base64 of 16 bytes";
        return 400;
    }
    out->upgrade = HTTP1_UPGRADE_WEBSOCKET;
    return 0;
}

/* Any line: a server may read another one than we. */
static bool authenticates_connection(const struct fields_summary *summary)
{
    const struct http1_head *head = summary->head;

    if (summary->counts[HTTP1_AUTHORIZATION] == 0)
        return false;
    for (uint32_t i = summary->firsts[HTTP1_AUTHORIZATION]; i < head->fields_count; i++)
        if (head->fields[i].name == HTTP1_AUTHORIZATION &&
            fields_speak_for_connection(http1_value(&head->fields[i], summary->bytes)))
            return true;
    return false;
}

int http1_read_request(struct http1_request *out, struct http1_head *head, const char *bytes,
                       const char **why)
{
    struct fields_summary summary;
    struct fields_connection connection;
    int status;

    fields_summarise(&summary, head, bytes);
    out->method_text = (struct lp_slice){bytes + head->method_at, head->method_size};
    out->target = (struct lp_slice){bytes + head->target_at, head->target_size};
    out->method = method_of(out->method_text);
    out->is_idempotent = method_is_idempotent(out->method);

    if (!fields_read_connection(&connection, &summary, head, why))
        return 400;
    out->wants_keep_alive =
        !connection.has_close && (head->minor == 1 || connection.has_keep_alive);
    status = read_body(out, &summary, why);
    if (status == 0)
        status = read_host(out, &summary, why);
    if (status == 0)
        status = read_target(out, why);
    if (status == 0)
        status = read_expect(out, &summary, why);
    if (status == 0)
        status = read_upgrade(out, &summary, &connection, why);
    out->authenticates_connection = authenticates_connection(&summary);
    return status;
}
