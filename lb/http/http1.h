/* http1: HTTP/1.x heads and bodies, strictly (RFC 9112, RFC 9110). Pure: no I/O, no memory of its
 * own, any cut of the bytes means the same.
 *
 * A head is parsed where it was received. struct http1_head remembers offsets, not pointers, so
 * the bytes may move between two calls (to a larger buffer, say). What a head *means* (framing,
 * host, upgrade) is a second step; writing the head that goes on to the other side is the third. */
#ifndef LP_LB_HTTP_HTTP1_H
#define LP_LB_HTTP_HTTP1_H

#include "base/base.h"

enum http1_outcome {
    HTTP1_DONE,        /* complete: see the results                    */
    HTTP1_MORE,        /* fine so far, give more bytes                 */
    HTTP1_BAD,         /* not HTTP, or ambiguous: 400 / 502 and close  */
    HTTP1_TOO_LARGE,   /* over bytes_max or fields_max: 431 / 502      */
    HTTP1_BAD_VERSION, /* HTTP/2.0, HTTP/0.9 or the like: 505 / 502    */
};

/* Field names that limpet looks at; all others are HTTP1_OTHER. */
enum http1_name {
    HTTP1_OTHER,
    HTTP1_ACCEPT_ENCODING,
    HTTP1_AUTHORIZATION,
    HTTP1_CONNECTION,
    HTTP1_CONTENT_LENGTH,
    HTTP1_CONTENT_TYPE,
    HTTP1_COOKIE,
    HTTP1_EXPECT,
    HTTP1_FORWARDED,
    HTTP1_HOST,
    HTTP1_HTTP2_SETTINGS,
    HTTP1_KEEP_ALIVE,
    HTTP1_ORIGIN,
    HTTP1_PROXY_AUTHENTICATE,
    HTTP1_PROXY_AUTHORIZATION,
    HTTP1_PROXY_CONNECTION,
    HTTP1_SEC_WEBSOCKET_ACCEPT,
    HTTP1_SEC_WEBSOCKET_KEY,
    HTTP1_SEC_WEBSOCKET_VERSION,
    HTTP1_STRICT_TRANSPORT_SECURITY,
    HTTP1_TE,
    HTTP1_TRAILER,
    HTTP1_TRANSFER_ENCODING,
    HTTP1_UPGRADE,
    HTTP1_X_CLIENT_CERT_FINGERPRINT,
    HTTP1_X_CLIENT_CERT_SUBJECT,
    HTTP1_X_FORWARDED_FOR,
    HTTP1_X_FORWARDED_HOST,
    HTTP1_X_FORWARDED_PROTO,
    HTTP1_X_REAL_IP,
    HTTP1_X_REQUEST_ID,
    HTTP1_LOOKALIKE, /* one of ours, a framing or a hop-by-hop name if "_" were "-": dropped */
};
enum { HTTP1_NAME_COUNT = HTTP1_LOOKALIKE + 1 };

struct http1_field {
    uint16_t name_at, name_size;
    uint16_t value_at, value_size; /* OWS trimmed */
    uint8_t name;                  /* enum http1_name */
    bool is_nominated;             /* named in Connection: for this hop only */
};

/* All offsets count from the first byte of the message. Between two calls fields[fields_count] may
 * hold a field that is under way: who keeps a head elsewhere meanwhile keeps that one, too. */
struct http1_head {
    uint16_t parsed;                 /* bytes of whole lines seen; where the next call goes on */
    uint16_t scanned;                /* bytes of the unfinished line seen so far */
    uint8_t phase;                   /* private */
    uint8_t minor : 1;               /* HTTP/1.minor: 0 or 1; later ones are read as 1 */
    bool is_later_minor : 1;         /* HTTP/1.2 to 1.9 was written */
    uint16_t status;                 /* of a response */
    uint16_t method_at, method_size; /* of a request; at 0, or 2 behind an empty line */
    uint16_t target_at, target_size; /* of a request, as received */
    uint16_t reason_at, reason_size; /* of a response */
    uint16_t size;                   /* DONE: bytes of the head with its empty line */
    uint16_t bytes_max, fields_max;  /* its limits, from its first byte to its last */
    uint16_t fields_count;
    struct http1_field fields[LP_HEADERS_MAX];
};

/* To be called before the first byte. Cheap: does not clear fields. The limits stay with the head:
 * whoever changes them means the next one. At most LP_HEAD_BYTES_MAX and LP_HEADERS_MAX count. */
void http1_head_init(struct http1_head *head, uint32_t bytes_max, uint32_t fields_max);

/* Goes on where the last call stopped. bytes is the message from its first byte, size what is
 * there now (never less than before; bytes behind the head are left alone). An empty line before
 * a request line is skipped, once (RFC 9112, 2.2), and counts in size. Answers BAD as early as it
 * can be known, with *why (a static sentence, never NULL then) for log and answer. */
enum http1_outcome http1_parse_request(struct http1_head *head, const char *bytes, size_t size,
                                       const char **why);
enum http1_outcome http1_parse_response(struct http1_head *head, const char *bytes, size_t size,
                                        const char **why);

/* After HTTP1_MORE: is there nothing of the request yet but an empty line before it, or its CR? */
bool http1_is_empty_line(const struct http1_head *head);

/* The first field of that name (or of any name, by text without case); NULL when absent. */
const struct http1_field *http1_find(const struct http1_head *head, enum http1_name name);
const struct http1_field *http1_find_text(const struct http1_head *head, const char *bytes,
                                          struct lp_slice name);
static inline struct lp_slice http1_value(const struct http1_field *field, const char *bytes)
{
    return (struct lp_slice){bytes + field->value_at, field->value_size};
}

enum http1_body {
    HTTP1_BODY_NONE,
    HTTP1_BODY_LENGTH,
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_UNTIL_CLOSE, /* responses only */
};

enum http1_method {
    HTTP1_METHOD_OTHER,
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
    HTTP1_TRACE,
    HTTP1_PATCH,
    HTTP1_CONNECT,
};

enum http1_upgrade {
    HTTP1_UPGRADE_NONE, /* also: any Upgrade that is not ours; both fields are dropped */
    HTTP1_UPGRADE_WEBSOCKET,
};

/* What a request means. Slices point into its bytes. */
struct http1_request {
    enum http1_method method;
    bool is_idempotent; /* RFC 9110, 9.2.2 */
    struct lp_slice method_text;
    struct lp_slice authority; /* absolute-form's, else Host (RFC 9112, 3.2.2); may be "" in 1.0 */
    struct lp_slice target;    /* in origin form: "/path?query"; "*" for OPTIONS * */
    struct lp_slice path;      /* of target, raw */
    struct lp_slice query;     /* behind "?", raw; "" without */
    enum http1_body body;
    uint64_t body_size; /* with HTTP1_BODY_LENGTH; then never 0 (that is BODY_NONE) */
    bool wants_keep_alive;
    bool expects_continue;
    bool authenticates_connection; /* Authorization: NTLM or Negotiate */
    enum http1_upgrade upgrade;
    struct lp_slice websocket_key;
};

/* Step two. Also marks the fields nominated by Connection. Answers 0 with *out, or the status to
 * refuse with (400; 405 CONNECT; 426 another Sec-WebSocket-Version; 417 another Expect) and *why.
 * All of Transfer-Encoding, Content-Length, Host, absolute-form, Connection and the upgrade rules:
 * DESIGN "Security" and "The way of a connection". */
int http1_read_request(struct http1_request *out, struct http1_head *head, const char *bytes,
                       const char **why);

struct http1_response {
    uint16_t status;
    enum http1_body body;
    uint64_t body_size;
    bool wants_keep_alive;         /* the server keeps its connection open */
    uint32_t keep_alive_seconds;   /* Keep-Alive: timeout=N; UINT32_MAX without */
    bool is_event_stream;          /* Content-Type: text/event-stream */
    bool is_coded;                 /* an event stream with a Content-Encoding */
    bool is_websocket;             /* 101 with Upgrade: websocket and Connection: upgrade */
    bool authenticates_connection; /* a challenge of a 401 or 407 is NTLM or Negotiate */
    struct lp_slice websocket_accept;
};

/* Step two of a response to a request with that method. False with *why: 502. A 1xx (but 101) has
 * no body and another head follows. */
bool http1_read_response(struct http1_response *out, struct http1_head *head, const char *bytes,
                         enum http1_method method, const char **why);

/* Step three: the head that goes to a server. */
struct http1_forward {
    struct lp_slice client_ip;  /* for X-Forwarded-For (appended when trusted) and X-Real-IP */
    struct lp_slice proto;      /* "http", "https" */
    struct lp_slice request_id; /* X-Request-ID, passed on or made by the caller; "" adds none */
    bool is_trusted;            /* the peer is a trusted proxy: believe and append */
    struct lp_slice real_ip;    /* what X-Real-IP says: the client behind trusted proxies */
    struct lp_slice client_subject, client_fingerprint; /* of a verified certificate; "" without */
};
/* Writes request line, Host as second line, the fields that go on, ours, and the empty line. With
 * an upgrade also `Connection: upgrade` and `Upgrade: websocket`. Gives the size, or 0 when out_max
 * is too small. out must not overlap bytes. The method starts at 0 and the target behind it, so a
 * log line can be taken from the result. */
size_t http1_write_request(char *out, size_t out_max, const struct http1_head *head,
                           const char *bytes, const struct http1_request *request,
                           const struct http1_forward *forward);

/* The head that goes to the client. */
enum http1_persist {
    HTTP1_PERSIST_DEFAULT,    /* says nothing: HTTP/1.1 stays open        */
    HTTP1_PERSIST_CLOSE,      /* Connection: close                        */
    HTTP1_PERSIST_KEEP_ALIVE, /* Connection: keep-alive, for 1.0 clients  */
    HTTP1_PERSIST_UPGRADE,    /* Connection: upgrade + Upgrade: websocket */
};
/* Status line as HTTP/1.1, fields that go on, Connection, empty line. without_chunked drops
 * Transfer-Encoding (the body is stripped of its chunks for a 1.0 client). hsts, unless "", is the
 * value of Strict-Transport-Security (RFC 6797), whatever the server says about that. */
size_t http1_write_response(char *out, size_t out_max, const struct http1_head *head,
                            const char *bytes, enum http1_persist persist, bool without_chunked,
                            struct lp_slice hsts);

/* Chunked bodies, read only (RFC 9112, 7.1): what is legal is sent on as it came. */
struct http1_chunked {
    uint64_t left;       /* of the chunk's data */
    uint16_t line_bytes; /* of the size line with its extensions, or of the trailer section */
    uint16_t name_bytes; /* of a trailer field's name so far, for the refused names */
    uint8_t state;       /* private */
    uint8_t digits;
    bool is_response; /* set by the owner: trailers may be called as fields of requests are */
    char name[32];    /* a trailer's name, cut: enough to recognise those refused */
};

enum http1_chunk {
    HTTP1_CHUNK_DATA,    /* *used bytes of content                                         */
    HTTP1_CHUNK_FRAMING, /* *used bytes of size lines, CRLFs, trailers                     */
    HTTP1_CHUNK_MORE,    /* nothing left in data                                           */
    HTTP1_CHUNK_DONE,    /* the *used bytes end the message; what follows is not its part  */
    HTTP1_CHUNK_BAD,     /* bad size, bad CRLF, over 16 hex digits, line over 4 KiB, trailer section
                          * over 8 KiB, a trailer that frames or names a hop-by-hop field; of a
                          * request also one that routes or is one of ours (X-Forwarded-*,
                          * X-Real-IP, ... also with "_")                                   */
};

void http1_chunked_init(struct http1_chunked *chunked);
/* Reads one run: call again with what is behind *used until MORE, DONE or BAD. DONE and BAD are
 * final. */
enum http1_chunk http1_chunked_step(struct http1_chunked *chunked, const char *data, size_t size,
                                    size_t *used, const char **why);
/* Right behind a whole chunk (or before the first): may "0\r\n\r\n" be put here? */
bool http1_chunked_is_at_boundary(const struct http1_chunked *chunked);

/* Bytes of content that come next, before any framing. */
uint64_t http1_chunked_content_left(const struct http1_chunked *chunked);

/* Normalises a path (raw, starting with "/"): unreserved characters decoded, other escapes in upper
 * case, dot segments removed, slashes merged. Gives the size (at most path.size), or SIZE_MAX for
 * ".." above the root, "%00" or a broken escape (400). The target "*" stays. out may not
 * overlap. */
size_t http1_normalise_path(char *out, struct lp_slice path);

/* Hash keys. Each gives false when absent or empty (an empty value counts as missing). */
bool http1_cookie(struct lp_slice *out, const struct http1_head *head, const char *bytes,
                  struct lp_slice name); /* first exact match, case-sensitive, OWS trimmed, raw */
bool http1_query(struct lp_slice *out, struct lp_slice query,
                 struct lp_slice name); /* first occurrence, raw */

/* The name in an authority or a Host: without port and trailing dot; "[v6]" keeps its brackets. */
struct lp_slice http1_host_name(struct lp_slice authority);

/* The client behind trusted proxies: HASHING.md, section 2. Gives the peer when it is not trusted
 * or has no X-Forwarded-For. */
struct lp_ip http1_client_ip(const struct lp_ip *peer, const struct http1_head *head,
                             const char *bytes, const struct lp_cidr *trusted,
                             uint32_t trusted_count);

/* Event streams: does the data seen so far end at an event boundary (an empty line, or nothing)? */
struct http1_events {
    uint8_t state;
};
void http1_events_init(struct http1_events *events);
/* Reads all of data. With until_boundary stops behind the first boundary, and at one reads nothing
 * but an LF that belongs to the CR before it. Gives the bytes read. */
size_t http1_events_step(struct http1_events *events, const char *data, size_t size,
                         bool until_boundary);
bool http1_events_is_at_boundary(const struct http1_events *events);

#endif
