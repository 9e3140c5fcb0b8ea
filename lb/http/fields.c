/* fields: decides which field names we know, and what framing and Connection fields mean, alike
 * for requests and responses. What only one of them has is in request.c and response.c. */
#include "lb/http/fields.h"

#include <string.h>

#include "lb/http/scan.h"

/* More options in Connection than this are no honest client's; each costs a look at all fields. */
#define CONNECTION_OPTIONS_MAX 32u

/* Does a token of that size equal the lower-case literal? Bit 0x20 turns only letters' upper case
 * into letters, and "-" and digits stay, so the comparison is exact for PLAIN bytes. Whole words
 * are compared, the last one overlapping. */
static inline bool is_name(const char *name, const char *literal, size_t size)
{
    size_t at = 0;

    for (; size - at >= 8; at += 8) {
        uint64_t a, b;

        memcpy(&a, name + at, 8);
        memcpy(&b, literal + at, 8);
        if ((a | 0x2020202020202020u) != b)
            return false;
    }
    for (; size - at >= 4; at += 4) {
        uint32_t a, b;

        memcpy(&a, name + at, 4);
        memcpy(&b, literal + at, 4);
        if ((a | 0x20202020u) != b)
            return false;
    }
    for (; at < size; at++)
        if ((name[at] | 0x20) != literal[at])
            return false;
    return true;
}

#define TRY(literal, result)                                                                       \
    if (is_name(name, literal, sizeof(literal) - 1))                                               \
    return result

/* The size alone leaves at most three names to compare. */
enum http1_name http1_name_of(const char *name, size_t size)
{
    switch (size) {
    case 2:
        TRY("te", HTTP1_TE);
        break;
    case 4:
        TRY("host", HTTP1_HOST);
        break;
    case 6:
        TRY("cookie", HTTP1_COOKIE);
        TRY("expect", HTTP1_EXPECT);
        TRY("origin", HTTP1_ORIGIN);
        break;
    case 7:
        TRY("trailer", HTTP1_TRAILER);
        TRY("upgrade", HTTP1_UPGRADE);
        break;
    case 9:
        TRY("forwarded", HTTP1_FORWARDED);
        TRY("x-real-ip", HTTP1_X_REAL_IP);
        break;
    case 10:
        TRY("connection", HTTP1_CONNECTION);
        TRY("keep-alive", HTTP1_KEEP_ALIVE);
        break;
    case 12:
        TRY("content-type", HTTP1_CONTENT_TYPE);
        TRY("x-request-id", HTTP1_X_REQUEST_ID);
        break;
    case 13:
        TRY("authorization", HTTP1_AUTHORIZATION);
        break;
    case 14:
        TRY("content-length", HTTP1_CONTENT_LENGTH);
        TRY("http2-settings", HTTP1_HTTP2_SETTINGS);
        break;
    case 15:
        TRY("accept-encoding", HTTP1_ACCEPT_ENCODING);
        TRY("x-forwarded-for", HTTP1_X_FORWARDED_FOR);
        break;
    case 16:
        TRY("proxy-connection", HTTP1_PROXY_CONNECTION);
        TRY("x-forwarded-host", HTTP1_X_FORWARDED_HOST);
        break;
    case 17:
        TRY("transfer-encoding", HTTP1_TRANSFER_ENCODING);
        TRY("sec-websocket-key", HTTP1_SEC_WEBSOCKET_KEY);
        TRY("x-forwarded-proto", HTTP1_X_FORWARDED_PROTO);
        break;
    case 18:
        TRY("proxy-authenticate", HTTP1_PROXY_AUTHENTICATE);
        break;
    case 19:
        TRY("proxy-authorization", HTTP1_PROXY_AUTHORIZATION);
        break;
    case 20:
        TRY("sec-websocket-accept", HTTP1_SEC_WEBSOCKET_ACCEPT);
        break;
    case 21:
        TRY("sec-websocket-version", HTTP1_SEC_WEBSOCKET_VERSION);
        TRY("x-client-cert-subject", HTTP1_X_CLIENT_CERT_SUBJECT);
        break;
    case HTTP1_NAME_SIZE_MAX:
        TRY("strict-transport-security", HTTP1_STRICT_TRANSPORT_SECURITY);
        TRY("x-client-cert-fingerprint", HTTP1_X_CLIENT_CERT_FINGERPRINT);
        break;
    default:
        break;
    }
    return HTTP1_OTHER;
}

#define BIT(name) (1u << HTTP1_##name)

/* A server that hands fields to a program as variables (CGI and its heirs) reads "_" and "-" as
 * the same: X_Forwarded_For would stand beside ours there. */
static const uint32_t names_without_lookalike =
    BIT(CONTENT_LENGTH) | BIT(HTTP2_SETTINGS) | BIT(KEEP_ALIVE) | BIT(PROXY_AUTHENTICATE) |
    BIT(PROXY_AUTHORIZATION) | BIT(PROXY_CONNECTION) | BIT(TRANSFER_ENCODING) |
    BIT(X_FORWARDED_FOR) | BIT(X_FORWARDED_HOST) | BIT(X_FORWARDED_PROTO) | BIT(X_REAL_IP) |
    BIT(X_REQUEST_ID) | BIT(X_CLIENT_CERT_FINGERPRINT) | BIT(X_CLIENT_CERT_SUBJECT);

enum http1_name http1_name_of_any(const char *name, size_t size)
{
    char plain[HTTP1_NAME_SIZE_MAX] = {0};
    bool has_underscore = false;
    enum http1_name found;

    if (size > sizeof(plain))
        return HTTP1_OTHER;
    for (size_t i = 0; i < size; i++) {
        plain[i] = name[i];
        if (name[i] == '_') {
            plain[i] = '-';
            has_underscore = true;
        } else if (!scan_is(name[i], SCAN_PLAIN)) {
            return HTTP1_OTHER;
        }
    }
    found = http1_name_of(plain, size);
    if (!has_underscore)
        return found;
    return names_without_lookalike >> found & 1 ? HTTP1_LOOKALIKE : HTTP1_OTHER;
}

const struct http1_field *http1_find(const struct http1_head *head, enum http1_name name)
{
    for (uint32_t i = 0; i < head->fields_count; i++)
        if (head->fields[i].name == name)
            return &head->fields[i];
    return NULL;
}

const struct http1_field *http1_find_text(const struct http1_head *head, const char *bytes,
                                          struct lp_slice name)
{
    for (uint32_t i = 0; i < head->fields_count; i++) {
        const struct http1_field *field = &head->fields[i];

        if (field->name_size == name.size &&
            lp_slice_equal_nocase((struct lp_slice){bytes + field->name_at, field->name_size},
                                  name))
            return field;
    }
    return NULL;
}

bool http1_list_next(struct lp_slice *rest, struct lp_slice *element)
{
    const char *comma;

    if (rest->data == NULL)
        return false;
    comma = rest->size == 0 ? NULL : memchr(rest->data, ',', rest->size);
    if (comma == NULL) {
        *element = lp_slice_trim(*rest);
        *rest = (struct lp_slice){NULL, 0};
        return true;
    }
    *element = lp_slice_trim((struct lp_slice){rest->data, (size_t)(comma - rest->data)});
    rest->size -= (size_t)(comma + 1 - rest->data);
    rest->data = comma + 1;
    return true;
}

bool http1_port_is_valid(struct lp_slice text)
{
    uint32_t port = 0;

    if (text.size == 0 || text.size > 5)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    return port <= 65535;
}

void fields_summarise(struct fields_summary *summary, const struct http1_head *head,
                      const char *bytes)
{
    memset(summary->counts, 0, sizeof(summary->counts));
    summary->head = head;
    summary->bytes = bytes;
    for (uint32_t i = head->fields_count; i-- > 0;) {
        summary->counts[head->fields[i].name]++;
        summary->firsts[head->fields[i].name] = (uint16_t)i; /* backwards: the first stays */
    }
}

struct lp_slice fields_value(const struct fields_summary *summary, enum http1_name name)
{
    return http1_value(&summary->head->fields[summary->firsts[name]], summary->bytes);
}

struct lp_slice fields_only_value(const struct fields_summary *summary, enum http1_name name)
{
    if (summary->counts[name] != 1 || summary->head->fields[summary->firsts[name]].is_nominated)
        return (struct lp_slice){"", 0};
    return fields_value(summary, name);
}

bool fields_list_has(const struct fields_summary *summary, enum http1_name name,
                     struct lp_slice word)
{
    const struct http1_head *head = summary->head;
    struct lp_slice rest, element;

    if (summary->counts[name] == 0)
        return false;
    for (uint32_t i = summary->firsts[name]; i < head->fields_count; i++) {
        if (head->fields[i].name != name)
            continue;
        rest = http1_value(&head->fields[i], summary->bytes);
        while (http1_list_next(&rest, &element))
            if (lp_slice_equal_nocase(element, word))
                return true;
    }
    return false;
}

/* The size of one challenge or parameter, up to a comma that stands outside of quotes. */
static size_t challenge_size(struct lp_slice rest)
{
    bool is_quoted = false;
    size_t size = 0;

    for (; size < rest.size && (is_quoted || rest.data[size] != ','); size++) {
        if (rest.data[size] == '"')
            is_quoted = !is_quoted;
        else if (is_quoted && rest.data[size] == '\\')
            size++;
    }
    return size < rest.size ? size : rest.size;
}

/* "Scheme", "Scheme token68" and "Scheme name=value" begin with a scheme, "name = value" does
 * not. */
static struct lp_slice scheme_of(struct lp_slice element)
{
    size_t size = 0, next;

    while (size < element.size && element.data[size] != ' ' && element.data[size] != '\t' &&
           element.data[size] != '=')
        size++;
    for (next = size; next < element.size; next++)
        if (element.data[next] != ' ' && element.data[next] != '\t')
            break;
    bool is_parameter = next < element.size && element.data[next] == '=';
    return (struct lp_slice){element.data, is_parameter ? 0 : size};
}

bool fields_speak_for_connection(struct lp_slice value)
{
    while (value.size > 0) {
        size_t size = challenge_size(value);
        struct lp_slice scheme = scheme_of(lp_slice_trim((struct lp_slice){value.data, size}));

        if (lp_slice_equal_nocase(scheme, LP_SLICE("negotiate")) ||
            lp_slice_equal_nocase(scheme, LP_SLICE("ntlm")))
            return true;
        size += size < value.size; /* the comma */
        value.data += size;
        value.size -= size;
    }
    return false;
}

/* RFC 9110, 8.6: 1*DIGIT. What does not fit a signed 64-bit number would overflow somewhere. */
static bool read_length(uint64_t *out, struct lp_slice text)
{
    uint64_t length = 0;

    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)(uint8_t)text.data[i] - '0';

        if (digit > 9 || length > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        length = length * 10 + digit;
    }
    *out = length;
    return true;
}

void fields_drop_equal_lengths(struct fields_summary *summary, struct http1_head *head)
{
    if (summary->counts[HTTP1_CONTENT_LENGTH] < 2)
        return;
    struct lp_slice first = fields_value(summary, HTTP1_CONTENT_LENGTH);
    for (uint32_t i = summary->firsts[HTTP1_CONTENT_LENGTH] + 1u; i < head->fields_count; i++) {
        struct http1_field *field = &head->fields[i];
        if (field->name != HTTP1_CONTENT_LENGTH ||
            !lp_slice_equal(http1_value(field, summary->bytes), first))
            continue;
        field->is_nominated = true; /* it does not go on */
        summary->counts[HTTP1_CONTENT_LENGTH]--;
    }
}

bool fields_read_framing(struct fields_framing *out, const struct fields_summary *summary,
                         const char **why)
{
    const uint16_t *counts = summary->counts;

    *out = (struct fields_framing){0};
    if (counts[HTTP1_TRANSFER_ENCODING] != 0) {
        if (summary->head->minor == 0)
            *why = "Transfer-Encoding in HTTP/1.0";
        else if (counts[HTTP1_CONTENT_LENGTH] != 0)
            *why = "both Transfer-Encoding and Content-Length";
        else if (counts[HTTP1_TRANSFER_ENCODING] != 1 ||
                 !lp_slice_equal_nocase(fields_value(summary, HTTP1_TRANSFER_ENCODING),
                                        LP_SLICE("chunked")))
            *why = "Transfer-Encoding other than one \"chunked\"";
        else
            out->is_chunked = true;
        return out->is_chunked;
    }
    if (counts[HTTP1_CONTENT_LENGTH] != 0) {
        if (counts[HTTP1_CONTENT_LENGTH] != 1)
            *why = "several Content-Length fields";
        else if (!read_length(&out->length, fields_value(summary, HTTP1_CONTENT_LENGTH)))
            *why = "Content-Length is not one number";
        else
            out->has_length = true;
        return out->has_length;
    }
    return true;
}

/* RFC 9110, 7.6.1: a field named in Connection is for this hop only. False when it is one that the
 * other side must see as it was meant. */
static bool nominate(struct http1_head *head, const char *bytes, struct lp_slice option)
{
    enum http1_name name;

    for (uint32_t i = 0; i < head->fields_count; i++) {
        struct http1_field *field = &head->fields[i];

        if (field->name_size != option.size ||
            !lp_slice_equal_nocase((struct lp_slice){bytes + field->name_at, field->name_size},
                                   option))
            continue;
        field->is_nominated = true;
    }
    name = http1_name_of_any(option.data, option.size);
    return name != HTTP1_HOST && name != HTTP1_CONTENT_LENGTH && name != HTTP1_TRANSFER_ENCODING;
}

static bool read_options(struct fields_connection *out, struct http1_head *head, const char *bytes,
                         struct lp_slice value, uint32_t *options_count, const char **why)
{
    struct lp_slice option;

    while (http1_list_next(&value, &option)) {
        if (++*options_count > CONNECTION_OPTIONS_MAX) {
            *why = "too many options in Connection";
            return false;
        }
        if (option.size == 0)
            continue; /* RFC 9110, 5.6.1.2: empty elements are ignored */
        if (lp_slice_equal_nocase(option, LP_SLICE("close"))) {
            out->has_close = true;
        } else if (lp_slice_equal_nocase(option, LP_SLICE("keep-alive"))) {
            out->has_keep_alive = true;
        } else if (lp_slice_equal_nocase(option, LP_SLICE("upgrade"))) {
            out->has_upgrade = true;
        } else if (!nominate(head, bytes, option)) {
            *why = "Connection names Host, Content-Length or Transfer-Encoding";
            return false;
        }
    }
    return true;
}

bool fields_read_connection(struct fields_connection *out, const struct fields_summary *summary,
                            struct http1_head *head, const char **why)
{
    uint32_t options_count = 0;

    *out = (struct fields_connection){0};
    if (summary->counts[HTTP1_CONNECTION] == 0)
        return true;
    for (uint32_t i = summary->firsts[HTTP1_CONNECTION]; i < head->fields_count; i++)
        if (head->fields[i].name == HTTP1_CONNECTION &&
            !read_options(out, head, summary->bytes, http1_value(&head->fields[i], summary->bytes),
                          &options_count, why))
            return false;
    return true;
}
