/* write: decides which fields of a head go on to the other side, and writes the head that does.
 * Fields that stay are copied in their original bytes, as many consecutive ones at a time as
 * possible: a head that loses nothing is one copy and the lines that limpet adds. */
#include <string.h>

#include "lb/http/fields.h"

/* Where the bytes go. Once something did not fit, is_full stays true and nothing more is written.
 */
struct writer {
    char *at;
    char *end;
    bool is_full;
};

static inline void put(struct writer *w, const char *data, size_t size)
{
    if ((size_t)(w->end - w->at) < size) {
        w->is_full = true;
        w->end = w->at;
        return;
    }
    memcpy(w->at, data, size);
    w->at += size;
}

static inline void put_slice(struct writer *w, struct lp_slice slice)
{
    put(w, slice.data, slice.size);
}

#define PUT(w, literal) put(w, literal, sizeof(literal) - 1)

/* A literal "Name: " with its value; nothing when the value is empty. */
#define PUT_FIELD(w, name_and_colon, value)                                                        \
    put_field(w, name_and_colon, sizeof(name_and_colon) - 1, value)

static inline void put_field(struct writer *w, const char *name, size_t name_size,
                             struct lp_slice value)
{
    if (value.size == 0)
        return;
    put(w, name, name_size);
    put_slice(w, value);
    PUT(w, "\r\n");
}

#define BIT(name) (1u << HTTP1_##name)
static_assert(HTTP1_NAME_COUNT <= 32, "a set of names is one word");

/* RFC 9110, 7.6.1, and what its predecessors and others called hop-by-hop. Trailer goes on: it
 * describes what follows, and the trailers do go on. */
static const uint32_t names_of_hop = BIT(CONNECTION) | BIT(HTTP2_SETTINGS) | BIT(KEEP_ALIVE) |
                                     BIT(LOOKALIKE) | BIT(PROXY_AUTHENTICATE) |
                                     BIT(PROXY_AUTHORIZATION) | BIT(PROXY_CONNECTION) | BIT(TE) |
                                     BIT(UPGRADE);

/* What limpet says to servers in its own words. */
static const uint32_t names_of_ours = BIT(FORWARDED) | BIT(HOST) | BIT(X_CLIENT_CERT_FINGERPRINT) |
                                      BIT(X_CLIENT_CERT_SUBJECT) | BIT(X_FORWARDED_FOR) |
                                      BIT(X_FORWARDED_HOST) | BIT(X_FORWARDED_PROTO) |
                                      BIT(X_REAL_IP) | BIT(X_REQUEST_ID);

/* Copies what stays of the bytes from `from` on: whatever is before field number `first`, and the
 * fields from there on that are not in `dropped`. */
static void put_fields(struct writer *w, const struct http1_head *head, const char *bytes,
                       size_t from, uint32_t first, uint32_t dropped)
{
    for (uint32_t i = first; i < head->fields_count; i++) {
        const struct http1_field *field = &head->fields[i];

        if ((dropped >> field->name & 1) == 0 && !field->is_nominated)
            continue;
        put(w, bytes + from, field->name_at - from);
        from = i + 1 < head->fields_count ? head->fields[i + 1].name_at : head->size - 2u;
    }
    put(w, bytes + from, head->size - 2u - from);
}

static size_t first_field_at(const struct http1_head *head)
{
    return head->fields_count != 0 ? head->fields[0].name_at : head->size - 2u;
}

/* The lines that came from a trusted proxy, joined, and the peer behind them. */
static void put_forwarded_for(struct writer *w, const struct http1_head *head, const char *bytes,
                              const struct http1_forward *forward)
{
    bool has_some = false;

    for (uint32_t i = 0; forward->is_trusted && i < head->fields_count; i++) {
        struct lp_slice value = http1_value(&head->fields[i], bytes);

        if (head->fields[i].name != HTTP1_X_FORWARDED_FOR || value.size == 0)
            continue;
        if (has_some)
            PUT(w, ", ");
        else
            PUT(w, "X-Forwarded-For: ");
        put_slice(w, value);
        has_some = true;
    }
    if (!has_some) {
        PUT_FIELD(w, "X-Forwarded-For: ", forward->client_ip);
        return;
    }
    if (forward->client_ip.size != 0) {
        PUT(w, ", ");
        put_slice(w, forward->client_ip);
    }
    PUT(w, "\r\n");
}

/* What a trusted proxy said, else our own word. */
static struct lp_slice believe(const struct http1_head *head, const char *bytes,
                               const struct http1_forward *forward, enum http1_name name,
                               struct lp_slice ours)
{
    const struct http1_field *field = forward->is_trusted ? http1_find(head, name) : NULL;

    return field != NULL && field->value_size != 0 ? http1_value(field, bytes) : ours;
}

/* Request line and Host: as they came if nothing in them changes, which is nearly always. Gives
 * the index of the first field that put_fields() has to look at, and *from. */
static uint32_t put_request_line(struct writer *w, const struct http1_head *head, const char *bytes,
                                 const struct http1_request *request, size_t *from)
{
    bool is_origin_form = request->target.data == bytes + head->target_at;

    if (head->minor == 1 && !head->is_later_minor && is_origin_form &&
        head->fields[0].name == HTTP1_HOST) {
        *from = head->method_at;
        return 1;
    }
    put_slice(w, request->method_text);
    PUT(w, " ");
    put_slice(w, request->target);
    PUT(w, " HTTP/1.1\r\nHost: ");
    put_slice(w, request->authority);
    PUT(w, "\r\n");
    *from = first_field_at(head);
    return 0;
}

size_t http1_write_request(char *out, size_t out_max, const struct http1_head *head,
                           const char *bytes, const struct http1_request *request,
                           const struct http1_forward *forward)
{
    struct writer w = {.at = out, .end = out + out_max};
    uint32_t dropped = names_of_hop | names_of_ours;
    size_t from;
    uint32_t first = put_request_line(&w, head, bytes, request, &from);

    if (head->minor == 0)
        dropped |= BIT(EXPECT); /* RFC 9110, 10.1.1: it would get a 100 that it does not know */
    put_fields(&w, head, bytes, from, first, dropped);
    put_forwarded_for(&w, head, bytes, forward);
    PUT_FIELD(&w, "X-Forwarded-Proto: ",
              believe(head, bytes, forward, HTTP1_X_FORWARDED_PROTO, forward->proto));
    PUT_FIELD(&w, "X-Forwarded-Host: ",
              believe(head, bytes, forward, HTTP1_X_FORWARDED_HOST, request->authority));
    PUT_FIELD(&w, "X-Real-IP: ", forward->real_ip);
    PUT_FIELD(&w, "X-Request-ID: ", forward->request_id);
    PUT_FIELD(&w, "X-Client-Cert-Subject: ", forward->client_subject);
    PUT_FIELD(&w, "X-Client-Cert-Fingerprint: ", forward->client_fingerprint);
    if (request->upgrade == HTTP1_UPGRADE_WEBSOCKET)
        PUT(&w, "Connection: upgrade\r\nUpgrade: websocket\r\n");
    PUT(&w, "\r\n");
    return w.is_full ? 0 : (size_t)(w.at - out);
}

static void put_status_line(struct writer *w, const struct http1_head *head, const char *bytes)
{
    PUT(w, "HTTP/1.1 ");
    put(w, bytes + 9, 3);
    PUT(w, " "); /* RFC 9112, 4: also in front of an empty reason */
    put(w, bytes + head->reason_at, head->reason_size);
    PUT(w, "\r\n");
}

/* with_upgrade: what the server has said of Upgrade goes on, for this hop again. */
static void put_persist(struct writer *w, enum http1_persist persist, bool with_upgrade)
{
    switch (persist) {
    case HTTP1_PERSIST_DEFAULT:
        if (with_upgrade)
            PUT(w, "Connection: upgrade\r\n");
        break;
    case HTTP1_PERSIST_CLOSE:
        put_field(w, "Connection: ", 12,
                  with_upgrade ? LP_SLICE("upgrade, close") : LP_SLICE("close"));
        break;
    case HTTP1_PERSIST_KEEP_ALIVE:
        put_field(w, "Connection: ", 12,
                  with_upgrade ? LP_SLICE("upgrade, keep-alive") : LP_SLICE("keep-alive"));
        break;
    case HTTP1_PERSIST_UPGRADE:
        PUT(w, "Connection: upgrade\r\nUpgrade: websocket\r\n");
        break;
    }
}

size_t http1_write_response(char *out, size_t out_max, const struct http1_head *head,
                            const char *bytes, enum http1_persist persist, bool without_chunked,
                            struct lp_slice hsts)
{
    struct writer w = {.at = out, .end = out + out_max};
    uint32_t dropped = names_of_hop;
    /* RFC 9110, 15.5.22: it says to what. */
    bool keeps_upgrade = head->status == 426 && http1_find(head, HTTP1_UPGRADE) != NULL;
    size_t from = 0;

    if (keeps_upgrade)
        dropped &= ~BIT(UPGRADE);
    if (without_chunked)
        dropped |= BIT(TRANSFER_ENCODING);
    if (hsts.size > 0)
        dropped |= BIT(STRICT_TRANSPORT_SECURITY);
    if (http1_has_no_body(head->status)) /* RFC 9110, 8.6, and RFC 9112, 6.1: they have none */
        dropped |= BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING);
    if (head->minor == 0 || head->is_later_minor || bytes[12] != ' ') {
        put_status_line(&w, head, bytes);
        from = first_field_at(head);
    }
    put_fields(&w, head, bytes, from, 0, dropped);
    PUT_FIELD(&w, "Strict-Transport-Security: ", hsts);
    put_persist(&w, persist, keeps_upgrade);
    PUT(&w, "\r\n");
    return w.is_full ? 0 : (size_t)(w.at - out);
}
