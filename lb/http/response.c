/* response: decides what a parsed response head means: how long its body is, and whether the
 * server keeps its connection. Start at http1_read_response(). */
#include "lb/http/fields.h"

/* RFC 9112, 6.3. */
static bool read_body(struct http1_response *out, struct fields_summary *summary,
                      struct http1_head *head, enum http1_method method, const char **why)
{
    struct fields_framing framing;

    out->body = HTTP1_BODY_NONE;
    out->body_size = 0;
    /* RFC 9112, 6.3: it ends with its head, whatever stands in it; that does not go on. */
    if (http1_has_no_body(out->status))
        return true;
    fields_drop_equal_lengths(summary, head);
    if (!fields_read_framing(&framing, summary, why))
        return false;
    if (out->status == 304 || method == HTTP1_HEAD) {
        out->body = HTTP1_BODY_NONE;
    } else if (framing.is_chunked) {
        out->body = HTTP1_BODY_CHUNKED;
    } else if (framing.has_length) {
        out->body = framing.length != 0 ? HTTP1_BODY_LENGTH : HTTP1_BODY_NONE;
        out->body_size = framing.length;
    } else {
        out->body = HTTP1_BODY_UNTIL_CLOSE;
    }
    return true;
}

/* Keep-Alive: timeout=5, max=100 (RFC 2068, 19.7.1.1). */
static uint32_t read_keep_alive_seconds(const struct fields_summary *summary)
{
    static const struct lp_slice prefix = {"timeout=", 8};
    struct lp_slice rest, element;

    if (summary->counts[HTTP1_KEEP_ALIVE] == 0)
        return UINT32_MAX;
    rest = fields_value(summary, HTTP1_KEEP_ALIVE);
    while (http1_list_next(&rest, &element)) {
        uint64_t seconds = 0;

        if (element.size <= prefix.size ||
            !lp_slice_equal_nocase((struct lp_slice){element.data, prefix.size}, prefix))
            continue;
        for (size_t i = prefix.size; i < element.size; i++) {
            if (element.data[i] < '0' || element.data[i] > '9')
                return UINT32_MAX;
            seconds = seconds * 10 + (uint64_t)(element.data[i] - '0');
            if (seconds >= UINT32_MAX)
                return UINT32_MAX;
        }
        return (uint32_t)seconds;
    }
    return UINT32_MAX;
}

static bool is_event_stream(const struct fields_summary *summary)
{
    struct lp_slice type;
    size_t size = 0;

    if (summary->counts[HTTP1_CONTENT_TYPE] == 0)
        return false;
    type = fields_value(summary, HTTP1_CONTENT_TYPE);
    while (size < type.size && type.data[size] != ';')
        size++;
    return lp_slice_equal_nocase(lp_slice_trim((struct lp_slice){type.data, size}),
                                 LP_SLICE("text/event-stream"));
}

/* Any line, of a server or of a proxy: to be wrong about it costs one connection. */
static bool authenticates_connection(const struct http1_head *head, const char *bytes)
{
    if (head->status != 401 && head->status != 407)
        return false;
    for (uint32_t i = 0; i < head->fields_count; i++) {
        const struct http1_field *field = &head->fields[i];
        struct lp_slice name = {bytes + field->name_at, field->name_size};
        bool is_challenge = field->name == HTTP1_PROXY_AUTHENTICATE ||
                            lp_slice_equal_nocase(name, LP_SLICE("www-authenticate"));

        if (is_challenge && fields_speak_for_connection(http1_value(field, bytes)))
            return true;
    }
    return false;
}

/* Its bytes say nothing to us (RFC 9110, 8.4; "identity" is no coding). */
static bool is_coded(const struct http1_head *head, const char *bytes)
{
    const struct http1_field *field = http1_find_text(head, bytes, LP_SLICE("content-encoding"));

    return field != NULL && field->value_size > 0 &&
           !lp_slice_equal_nocase(http1_value(field, bytes), LP_SLICE("identity"));
}

/* RFC 6455, 4.1: what the client would demand of a 101. */
static bool is_websocket(const struct fields_summary *summary,
                         const struct fields_connection *connection)
{
    return summary->head->status == 101 && summary->head->minor == 1 && connection->has_upgrade &&
           summary->counts[HTTP1_UPGRADE] == 1 &&
           lp_slice_equal_nocase(fields_value(summary, HTTP1_UPGRADE), LP_SLICE("websocket"));
}

static bool frames_a_body(const struct fields_summary *summary)
{
    return summary->counts[HTTP1_TRANSFER_ENCODING] != 0 ||
           summary->counts[HTTP1_CONTENT_LENGTH] > 1 ||
           (summary->counts[HTTP1_CONTENT_LENGTH] == 1 &&
            !lp_slice_equal(fields_value(summary, HTTP1_CONTENT_LENGTH), LP_SLICE("0")));
}

bool http1_read_response(struct http1_response *out, struct http1_head *head, const char *bytes,
                         enum http1_method method, const char **why)
{
    struct fields_summary summary;
    struct fields_connection connection;

    fields_summarise(&summary, head, bytes);
    out->status = head->status;
    if (!fields_read_connection(&connection, &summary, head, why) ||
        !read_body(out, &summary, head, method, why))
        return false;
    /* A server that frames a body where there is none may send one. */
    bool is_odd = http1_has_no_body(out->status) && frames_a_body(&summary);
    out->wants_keep_alive = out->body != HTTP1_BODY_UNTIL_CLOSE && !connection.has_close &&
                            !is_odd && (head->minor == 1 || connection.has_keep_alive);
    out->keep_alive_seconds = read_keep_alive_seconds(&summary);
    out->is_event_stream = is_event_stream(&summary);
    out->is_coded = out->is_event_stream && is_coded(head, bytes);
    out->is_websocket = is_websocket(&summary, &connection);
    out->authenticates_connection = authenticates_connection(head, bytes);
    out->websocket_accept = fields_only_value(&summary, HTTP1_SEC_WEBSOCKET_ACCEPT);
    return true;
}
