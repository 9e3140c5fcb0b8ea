/* http1: where the parts of a head are, and what requests and responses mean. What must be refused
 * is in test_http1_hostile.c. */
#include "lb/http/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

#define UP  "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"

static struct http1_head head;
static const char *bytes;
static const char *why;

static void assert_slice(struct lp_slice slice, const char *text)
{
    if (slice.size != strlen(text) || memcmp(slice.data, text, slice.size) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", LP_SLICE_ARG(slice), text);
}

static enum http1_outcome parse_request(const char *text, uint32_t bytes_max, uint32_t fields_max)
{
    bytes = guarded(text, strlen(text));
    http1_head_init(&head, bytes_max, fields_max);
    return http1_parse_request(&head, bytes, strlen(text), &why);
}

static struct http1_request request_of(const char *text)
{
    struct http1_request request;

    memset(&request, 0xa5, sizeof(request));
    assert_int_equal(parse_request(text, LP_HEAD_BYTES_MAX, 100), HTTP1_DONE);
    assert_int_equal(http1_read_request(&request, &head, bytes, &why), 0);
    return request;
}

static struct http1_response response_of(const char *text, enum http1_method method)
{
    struct http1_response response;

    memset(&response, 0xa5, sizeof(response));
    bytes = guarded(text, strlen(text));
    http1_head_init(&head, LP_HEAD_BYTES_MAX, 100);
    assert_int_equal(http1_parse_response(&head, bytes, strlen(text), &why), HTTP1_DONE);
    assert_true(http1_read_response(&response, &head, bytes, method, &why));
    return response;
}

/* Where the parts are. */

static void a_parsed_request_says_where_its_parts_are(void **state)
{
    (void)state;
    static const char text[] =
        "POST /a?b HTTP/1.1\r\nHost:a\r\nX-Long:  b c \t\r\nEmpty:\r\n\r\nbody";

    assert_int_equal(parse_request(text, LP_HEAD_BYTES_MAX, 100), HTTP1_DONE);
    assert_int_equal(head.size, sizeof(text) - 1 - 4);
    assert_int_equal(head.minor, 1);
    assert_slice((struct lp_slice){bytes + head.method_at, head.method_size}, "POST");
    assert_slice((struct lp_slice){bytes + head.target_at, head.target_size}, "/a?b");
    assert_int_equal(head.fields_count, 3);
    assert_int_equal(head.fields[0].name, HTTP1_HOST);
    assert_slice(http1_value(&head.fields[0], bytes), "a");
    assert_slice(http1_value(&head.fields[1], bytes), "b c");
    assert_slice(http1_value(&head.fields[2], bytes), "");
    assert_slice((struct lp_slice){bytes + head.fields[1].name_at, head.fields[1].name_size},
                 "X-Long");
}

static void a_parsed_response_says_where_its_parts_are(void **state)
{
    (void)state;

    response_of("HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\n", HTTP1_GET);
    assert_int_equal(head.status, 404);
    assert_int_equal(head.minor, 0);
    assert_slice((struct lp_slice){bytes + head.reason_at, head.reason_size}, "Not Found");
    response_of("HTTP/1.1 200\r\n\r\n", HTTP1_GET);
    assert_int_equal(head.reason_size, 0);
    assert_int_equal(head.fields_count, 0);
}

static void an_empty_line_before_a_request_counts_in_its_size(void **state)
{
    (void)state;
    struct http1_request request = request_of("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");

    assert_int_equal(head.method_at, 2);
    assert_slice(request.method_text, "GET");
    assert_int_equal(head.size, 29);
}

static void every_name_we_know_is_recognised_in_any_case(void **state)
{
    (void)state;
    static const char *const names[HTTP1_NAME_COUNT] = {
        [HTTP1_ACCEPT_ENCODING] = "Accept-Encoding",
        [HTTP1_AUTHORIZATION] = "Authorization",
        [HTTP1_CONNECTION] = "Connection",
        [HTTP1_CONTENT_LENGTH] = "Content-Length",
        [HTTP1_CONTENT_TYPE] = "Content-Type",
        [HTTP1_COOKIE] = "Cookie",
        [HTTP1_EXPECT] = "Expect",
        [HTTP1_FORWARDED] = "Forwarded",
        [HTTP1_HOST] = "Host",
        [HTTP1_HTTP2_SETTINGS] = "HTTP2-Settings",
        [HTTP1_KEEP_ALIVE] = "Keep-Alive",
        [HTTP1_ORIGIN] = "Origin",
        [HTTP1_PROXY_AUTHENTICATE] = "Proxy-Authenticate",
        [HTTP1_PROXY_AUTHORIZATION] = "Proxy-Authorization",
        [HTTP1_PROXY_CONNECTION] = "Proxy-Connection",
        [HTTP1_SEC_WEBSOCKET_ACCEPT] = "Sec-WebSocket-Accept",
        [HTTP1_SEC_WEBSOCKET_KEY] = "Sec-WebSocket-Key",
        [HTTP1_SEC_WEBSOCKET_VERSION] = "Sec-WebSocket-Version",
        [HTTP1_STRICT_TRANSPORT_SECURITY] = "Strict-Transport-Security",
        [HTTP1_TE] = "TE",
        [HTTP1_TRAILER] = "Trailer",
        [HTTP1_TRANSFER_ENCODING] = "Transfer-Encoding",
        [HTTP1_UPGRADE] = "Upgrade",
        [HTTP1_X_CLIENT_CERT_FINGERPRINT] = "X-Client-Cert-Fingerprint",
        [HTTP1_X_CLIENT_CERT_SUBJECT] = "X-Client-Cert-Subject",
        [HTTP1_X_FORWARDED_FOR] = "X-Forwarded-For",
        [HTTP1_X_FORWARDED_HOST] = "X-Forwarded-Host",
        [HTTP1_X_FORWARDED_PROTO] = "X-Forwarded-Proto",
        [HTTP1_X_REAL_IP] = "X-Real-IP",
        [HTTP1_X_REQUEST_ID] = "X-Request-ID",
    };

    for (uint32_t name = 0; name < HTTP1_NAME_COUNT; name++) {
        char text[128];

        if (names[name] == NULL)
            continue;
        for (int variant = 0; variant < 3; variant++) {
            int size = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s: \r\n\r\n", names[name]);

            for (int i = 16; variant != 0 && text[i] != ':'; i++)
                if (text[i] >= 'A' && (text[i] & 0x20) == (variant == 1 ? 0x20 : 0))
                    text[i] ^= 0x20;
            assert_true(size > 0);
            parse_request(text, LP_HEAD_BYTES_MAX, 100);
            assert_int_equal(head.fields[0].name, name);
            assert_ptr_equal(http1_find(&head, (enum http1_name)name), &head.fields[0]);
            text[16] = 'Q'; /* none of ours starts with it */
            parse_request(text, LP_HEAD_BYTES_MAX, 100);
            assert_int_equal(head.fields[0].name, HTTP1_OTHER);
        }
    }
}

static void a_name_with_underscores_for_one_of_ours_is_a_lookalike(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum http1_name is;
    } rows[] = {{"X_Forwarded_For", HTTP1_LOOKALIKE},
                {"x-forwarded_for", HTTP1_LOOKALIKE},
                {"CONTENT_LENGTH", HTTP1_LOOKALIKE},
                {"Transfer_Encoding", HTTP1_LOOKALIKE},
                {"Proxy_Connection", HTTP1_LOOKALIKE},
                {"X_Request-ID", HTTP1_LOOKALIKE},
                {"X-Real_IP", HTTP1_LOOKALIKE},
                {"Keep_Alive", HTTP1_LOOKALIKE},
                {"X_Client_Cert_Subject", HTTP1_LOOKALIKE},
                {"x-client-cert_fingerprint", HTTP1_LOOKALIKE},
                {"Content_Type", HTTP1_OTHER},
                {"Strict_Transport_Security", HTTP1_OTHER},
                {"Sec_WebSocket_Key", HTTP1_OTHER},
                {"X_Forwarded_Fox", HTTP1_OTHER},
                {"_Host", HTTP1_OTHER},
                {"Host_", HTTP1_OTHER}};

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        char text[128];
        size_t size;

        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s: 1\r\n\r\n", rows[i].name);
        parse_request(text, LP_HEAD_BYTES_MAX, 100);
        assert_int_equal(head.fields[0].name, rows[i].is);
        /* The same when the name came in two pieces. */
        size = strlen(text);
        http1_head_init(&head, LP_HEAD_BYTES_MAX, 100);
        assert_int_equal(http1_parse_request(&head, guarded(text, 20), 20, &why), HTTP1_MORE);
        assert_int_equal(http1_parse_request(&head, guarded(text, size), size, &why), HTTP1_DONE);
        assert_int_equal(head.fields[0].name, rows[i].is);
    }
}

static void a_field_is_found_by_its_text_in_any_case(void **state)
{
    (void)state;

    request_of("GET / HTTP/1.1\r\nHost: a\r\nX-User: 1\r\nx-user: 2\r\n\r\n");
    assert_ptr_equal(http1_find_text(&head, bytes, LP_SLICE("X-USER")), &head.fields[1]);
    assert_null(http1_find_text(&head, bytes, LP_SLICE("X-Use")));
    assert_null(http1_find(&head, HTTP1_COOKIE));
}

/* Limits. */

static void a_head_may_have_exactly_its_limit_of_bytes(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const uint32_t size = sizeof(text) - 1;

    assert_int_equal(parse_request(text, size, 100), HTTP1_DONE);
    for (uint32_t bytes_max = 1; bytes_max < size; bytes_max++)
        assert_int_equal(parse_request(text, bytes_max, 100), HTTP1_TOO_LARGE);
}

static void too_large_is_known_when_the_limit_is_reached(void **state)
{
    (void)state;

    assert_int_equal(parse_request("GET / HTTP/1.1\r\nHost: aaaa", 27, 100), HTTP1_MORE);
    assert_int_equal(parse_request("GET / HTTP/1.1\r\nHost: aaaaa", 27, 100), HTTP1_TOO_LARGE);
    assert_int_equal(parse_request("G", 1, 100), HTTP1_TOO_LARGE);
}

static void a_head_may_have_exactly_its_limit_of_fields(void **state)
{
    (void)state;
    static char text[LP_HEAD_BYTES_MAX + 1];
    size_t size = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");

    for (uint32_t i = 0; i < LP_HEADERS_MAX; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "A%u: b\r\n", i);
    snprintf(text + size, sizeof(text) - size, "\r\n");
    assert_int_equal(parse_request(text, LP_HEAD_BYTES_MAX, LP_HEADERS_MAX), HTTP1_DONE);
    assert_int_equal(parse_request(text, LP_HEAD_BYTES_MAX, LP_HEADERS_MAX - 1), HTTP1_TOO_LARGE);
    assert_int_equal(parse_request("GET / HTTP/1.1\r\n\r\n", 100, 0), HTTP1_DONE);
    assert_int_equal(parse_request("GET / HTTP/1.1\r\nA", 100, 0), HTTP1_TOO_LARGE);
}

static void limits_that_say_more_than_there_is_room_for_are_cut_to_it(void **state)
{
    (void)state;
    static char text[2 * LP_HEAD_BYTES_MAX];
    size_t size = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");

    for (uint32_t i = 0; i <= LP_HEADERS_MAX; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "A: b\r\n");
    assert_int_equal(parse_request(text, UINT32_MAX, UINT32_MAX), HTTP1_TOO_LARGE);
    assert_int_equal(head.fields_count, LP_HEADERS_MAX);
    memset(text + 16, 'a', LP_HEAD_BYTES_MAX);
    text[16 + LP_HEAD_BYTES_MAX] = '\0';
    assert_int_equal(parse_request(text, UINT32_MAX, UINT32_MAX), HTTP1_TOO_LARGE);
}

static void the_longest_head_parses_also_byte_by_byte(void **state)
{
    (void)state;
    static char text[LP_HEAD_BYTES_MAX + 1];
    int start = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nCookie: ");
    enum http1_outcome outcome = HTTP1_MORE;

    memset(text + start, 'c', sizeof(text) - (size_t)start);
    memcpy(text + LP_HEAD_BYTES_MAX - 4, "\r\n\r\n", 5);
    http1_head_init(&head, LP_HEAD_BYTES_MAX, 100);
    for (size_t size = 1; size <= LP_HEAD_BYTES_MAX; size++) {
        assert_int_equal(outcome, HTTP1_MORE);
        outcome = http1_parse_request(&head, text, size, &why);
    }
    assert_int_equal(outcome, HTTP1_DONE);
    assert_int_equal(head.size, LP_HEAD_BYTES_MAX);
    assert_int_equal(head.fields[1].value_size, LP_HEAD_BYTES_MAX - 4 - start);
}

/* What a request means. */

static void a_target_is_split_into_path_and_query(void **state)
{
    (void)state;
    static const struct {
        const char *line, *target, *path, *query, *authority;
    } rows[] = {
        {"GET /", "/", "/", "", "h"},
        {"GET /a/b?c=d?e&f", "/a/b?c=d?e&f", "/a/b", "c=d?e&f", "h"},
        {"GET /?", "/?", "/", "", "h"},
        {"OPTIONS *", "*", "*", "", "h"},
        {"GET http://b.example:81/c?d", "/c?d", "/c", "d", "b.example:81"},
        {"GET HTTPS://[::1]/", "/", "/", "", "[::1]"},
        {"GET http://b", "/", "/", "", "b"},
        {"OPTIONS http://b:80", "*", "*", "", "b:80"},
        {"OPTIONS http://b/", "/", "/", "", "b"},
        {"GET //b/c", "//b/c", "//b/c", "", "h"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        char text[128];
        struct http1_request request;

        snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].line);
        request = request_of(text);
        assert_slice(request.target, rows[i].target);
        assert_slice(request.path, rows[i].path);
        assert_slice(request.query, rows[i].query);
        assert_slice(request.authority, rows[i].authority);
    }
}

static void a_request_of_1_0_may_have_no_host(void **state)
{
    (void)state;

    assert_slice(request_of("GET / HTTP/1.0\r\n\r\n").authority, "");
    assert_slice(request_of("GET / HTTP/1.0\r\nHost: a\r\n\r\n").authority, "a");
    assert_slice(request_of("GET http://b/ HTTP/1.0\r\n\r\n").authority, "b");
}

static void methods_are_known_and_case_sensitive(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http1_method method;
        bool is_idempotent;
    } rows[] = {{"GET", HTTP1_GET, true},           {"HEAD", HTTP1_HEAD, true},
                {"POST", HTTP1_POST, false},        {"PUT", HTTP1_PUT, true},
                {"DELETE", HTTP1_DELETE, true},     {"OPTIONS", HTTP1_OPTIONS, true},
                {"TRACE", HTTP1_TRACE, true},       {"PATCH", HTTP1_PATCH, false},
                {"get", HTTP1_METHOD_OTHER, false}, {"GETX", HTTP1_METHOD_OTHER, false}};

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        char text[128];
        struct http1_request request;

        snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].text);
        request = request_of(text);
        assert_int_equal(request.method, rows[i].method);
        assert_int_equal(request.is_idempotent, rows[i].is_idempotent);
        assert_slice(request.method_text, rows[i].text);
    }
}

#define GET(lines)  "GET / HTTP/1.1\r\nHost: a\r\n" lines "\r\n"
#define GET0(lines) "GET / HTTP/1.0\r\nHost: a\r\n" lines "\r\n"

static void the_body_of_a_request_is_framed_by_length_or_chunks(void **state)
{
    (void)state;
    struct http1_request request = request_of(GET(""));

    assert_int_equal(request.body, HTTP1_BODY_NONE);
    request = request_of(GET("Content-Length: 0\r\n"));
    assert_int_equal(request.body, HTTP1_BODY_NONE);
    request = request_of(GET("Content-Length: 9223372036854775807\r\n"));
    assert_int_equal(request.body, HTTP1_BODY_LENGTH);
    assert_int_equal(request.body_size, INT64_MAX);
    request = request_of(GET("Transfer-Encoding: Chunked\r\n"));
    assert_int_equal(request.body, HTTP1_BODY_CHUNKED);
}

static void connection_decides_what_stays_open(void **state)
{
    (void)state;

    assert_true(request_of(GET("")).wants_keep_alive);
    assert_true(request_of(GET("Connection: keep-alive\r\n")).wants_keep_alive);
    assert_false(request_of(GET("Connection: CLOSE\r\n")).wants_keep_alive);
    assert_false(request_of(GET("Connection: x , close\r\n")).wants_keep_alive);
    assert_false(request_of(GET("Connection: keep-alive\r\nA: b\r\nConnection: close\r\n"))
                     .wants_keep_alive);
    assert_true(request_of(GET("Proxy-Connection: close\r\n")).wants_keep_alive);
    assert_false(request_of(GET0("")).wants_keep_alive);
    assert_true(request_of(GET0("Connection: Keep-Alive\r\n")).wants_keep_alive);
    assert_false(request_of(GET0("Connection: keep-alive, close\r\n")).wants_keep_alive);
    assert_false(request_of(GET0("Proxy-Connection: keep-alive\r\n")).wants_keep_alive);
}

static void fields_named_in_connection_are_nominated(void **state)
{
    (void)state;

    request_of(GET("A: 1\r\nConnection: close, b,C_d\r\nB: 2\r\nb: 3\r\nC_D: 4\r\nBB: 5\r\n"));
    assert_false(head.fields[1].is_nominated);
    assert_true(head.fields[3].is_nominated);
    assert_true(head.fields[4].is_nominated);
    assert_true(head.fields[5].is_nominated);
    assert_false(head.fields[6].is_nominated);
}

static void a_client_that_sends_a_body_may_expect_100(void **state)
{
    (void)state;

    assert_true(request_of(GET("Expect: 100-CONTINUE\r\nContent-Length: 1\r\n")).expects_continue);
    assert_true(
        request_of(GET("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n")).expects_continue);
    assert_false(request_of(GET("Expect: 100-continue\r\n")).expects_continue);
    assert_false(request_of(GET("Content-Length: 1\r\n")).expects_continue);
    assert_false(
        request_of(GET0("Expect: 100-continue\r\nContent-Length: 1\r\n")).expects_continue);
}

static void a_websocket_is_asked_for_by_lists_in_any_case(void **state)
{
    (void)state;
    static const char *const asks[] = {
        GET(UP KEY V13),
        GET(KEY V13 "connection: keep-alive, UPGRADE\r\nUPGRADE: WebSocket\r\n"),
        GET(KEY V13 "Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
                    "Upgrade: foo , websocket\r\n"),
        GET(UP KEY V13 "Content-Length: 0\r\n"),
    };
    static const char *const asks_not[] = {
        GET(KEY V13 "Upgrade: websocket\r\n"),
        GET(KEY V13 "Connection: upgrade\r\n"),
        GET(KEY V13 "Connection: upgrade\r\nUpgrade: websocket/13\r\n"),
        GET(KEY V13 "Connection: upgrade\r\nUpgrade: h2c\r\n"),
        GET(KEY V13 "Connection: upgraded\r\nUpgrade: websocket\r\n"),
        GET0(UP KEY V13),
        "POST / HTTP/1.1\r\nHost: a\r\n" UP KEY V13 "\r\n",
        "get / HTTP/1.1\r\nHost: a\r\n" UP KEY V13 "\r\n",
    };

    for (size_t i = 0; i < LP_COUNT_OF(asks); i++) {
        struct http1_request request = request_of(asks[i]);

        assert_int_equal(request.upgrade, HTTP1_UPGRADE_WEBSOCKET);
        assert_slice(request.websocket_key, "dGhlIHNhbXBsZSBub25jZQ==");
    }
    for (size_t i = 0; i < LP_COUNT_OF(asks_not); i++)
        assert_int_equal(request_of(asks_not[i]).upgrade, HTTP1_UPGRADE_NONE);
}

/* What a response means. */

#define RESPONSE(lines)       "HTTP/1.1 200 OK\r\n" lines "\r\n"
#define RESPONSE0(lines)      "HTTP/1.0 200 OK\r\n" lines "\r\n"
#define STATUS(status, lines) "HTTP/1.1 " status " x\r\n" lines "\r\n"

static void the_body_of_a_response_depends_on_status_and_method(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http1_method method;
        enum http1_body body;
    } rows[] = {
        {RESPONSE("Content-Length: 5\r\n"), HTTP1_GET, HTTP1_BODY_LENGTH},
        {RESPONSE("Content-Length: 0\r\n"), HTTP1_GET, HTTP1_BODY_NONE},
        {RESPONSE("Transfer-Encoding: chunked\r\n"), HTTP1_GET, HTTP1_BODY_CHUNKED},
        {RESPONSE(""), HTTP1_GET, HTTP1_BODY_UNTIL_CLOSE},
        {RESPONSE0(""), HTTP1_POST, HTTP1_BODY_UNTIL_CLOSE},
        {RESPONSE0("Content-Length: 5\r\n"), HTTP1_POST, HTTP1_BODY_LENGTH},
        {RESPONSE("Content-Length: 5\r\n"), HTTP1_HEAD, HTTP1_BODY_NONE},
        {RESPONSE("Transfer-Encoding: chunked\r\n"), HTTP1_HEAD, HTTP1_BODY_NONE},
        {RESPONSE(""), HTTP1_HEAD, HTTP1_BODY_NONE},
        {STATUS("100", ""), HTTP1_POST, HTTP1_BODY_NONE},
        {STATUS("103", "Content-Length: 5\r\n"), HTTP1_GET, HTTP1_BODY_NONE},
        {STATUS("204", ""), HTTP1_GET, HTTP1_BODY_NONE},
        {STATUS("204", "Content-Length: 5\r\n"), HTTP1_GET, HTTP1_BODY_NONE},
        {STATUS("304", ""), HTTP1_GET, HTTP1_BODY_NONE},
        {STATUS("304", "Content-Length: 5\r\n"), HTTP1_GET, HTTP1_BODY_NONE},
        {STATUS("205", "Content-Length: 5\r\n"), HTTP1_GET, HTTP1_BODY_LENGTH},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct http1_response response = response_of(rows[i].text, rows[i].method);

        assert_int_equal(response.body, rows[i].body);
        assert_int_equal(response.body_size, rows[i].body == HTTP1_BODY_LENGTH ? 5 : 0);
    }
}

static void a_server_keeps_its_connection_as_it_says(void **state)
{
    (void)state;

    assert_true(response_of(RESPONSE("Content-Length: 5\r\n"), HTTP1_GET).wants_keep_alive);
    assert_true(response_of(STATUS("304", ""), HTTP1_GET).wants_keep_alive);
    assert_false(response_of(RESPONSE(""), HTTP1_GET).wants_keep_alive);
    assert_false(response_of(RESPONSE("Connection: keep-alive\r\n"), HTTP1_GET).wants_keep_alive);
    assert_false(response_of(RESPONSE("Content-Length: 5\r\nConnection: close\r\n"), HTTP1_GET)
                     .wants_keep_alive);
    assert_false(response_of(RESPONSE0("Content-Length: 5\r\n"), HTTP1_GET).wants_keep_alive);
    assert_true(response_of(RESPONSE0("Content-Length: 5\r\nConnection: Keep-Alive\r\n"), HTTP1_GET)
                    .wants_keep_alive);
}

static void a_server_says_for_how_many_seconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t seconds;
    } rows[] = {
        {RESPONSE(""), UINT32_MAX},
        {RESPONSE("Keep-Alive: timeout=5\r\n"), 5},
        {RESPONSE("Keep-Alive: max=100, Timeout=75\r\n"), 75},
        {RESPONSE("Keep-Alive: timeout=0\r\n"), 0},
        {RESPONSE("Keep-Alive: timeout=\r\n"), UINT32_MAX},
        {RESPONSE("Keep-Alive: timeout=5s\r\n"), UINT32_MAX},
        {RESPONSE("Keep-Alive: timeout=99999999999999999999999\r\n"), UINT32_MAX},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
        assert_int_equal(response_of(rows[i].text, HTTP1_GET).keep_alive_seconds, rows[i].seconds);
}

#define CHALLENGE(value) STATUS("401", "WWW-Authenticate: " value "\r\n")

static void some_schemes_authenticate_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool authenticates;
    } rows[] = {
        {CHALLENGE("NTLM"), true},
        {CHALLENGE("negotiate"), true},
        {CHALLENGE("Negotiate oYG1MIGyoAMKAQGh=="), true},
        {CHALLENGE("ntlm TlRMTVNTUAACAAAA"), true},
        {CHALLENGE("Basic realm=\"x, y\", charset=\"UTF-8\",NTLM"), true},
        {CHALLENGE("Basic realm=\"\\\"\", NTLM"), true},
        {CHALLENGE(", ,\tNegotiate\t,"), true},
        {CHALLENGE("Negotiate , Basic realm=x"), true},
        {CHALLENGE("Basic realm=x\r\nX: y\r\nwww-authenticate: NTLM"), true},
        {STATUS("407", "Proxy-Authenticate: NTLM\r\n"), true},
        {CHALLENGE(""), false},
        {CHALLENGE("Basic realm=\"NTLM, Negotiate\""), false},
        {CHALLENGE("Basic realm=\"\\\", NTLM, \""), false},
        {CHALLENGE("Basic realm=\"unfinished, NTLM"), false},
        {CHALLENGE("Other ntlm=a, negotiate = b"), false},
        {CHALLENGE("NTLM=Negotiate"), false},
        {CHALLENGE("NTLMv2, Negotiator"), false},
        {CHALLENGE("Bearer NTLM"), false},
        {STATUS("401", "X-WWW-Authenticate: NTLM\r\n"), false},
        {STATUS("403", "WWW-Authenticate: NTLM\r\n"), false},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
        if (response_of(rows[i].text, HTTP1_HEAD).authenticates_connection != rows[i].authenticates)
            fail_msg("%s", rows[i].text);
    assert_true(request_of(GET("Authorization: Negotiate YII=\r\n")).authenticates_connection);
    assert_true(request_of(GET("authorization: Basic eDp5\r\nAuthorization: ntlm TlRM\r\n"))
                    .authenticates_connection);
    assert_false(request_of(GET("Authorization: Basic eDp5\r\n")).authenticates_connection);
    assert_false(request_of(GET("")).authenticates_connection);
}

static void an_event_stream_is_known_by_its_type(void **state)
{
    (void)state;

    assert_true(
        response_of(RESPONSE("Content-Type: text/event-stream\r\n"), HTTP1_GET).is_event_stream);
    assert_true(
        response_of(RESPONSE("content-type: Text/Event-Stream ; charset=utf-8\r\n"), HTTP1_GET)
            .is_event_stream);
    assert_false(
        response_of(RESPONSE("Content-Type: text/event-streams\r\n"), HTTP1_GET).is_event_stream);
    assert_false(response_of(RESPONSE(""), HTTP1_GET).is_event_stream);
}

#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static void a_101_is_a_websocket_only_with_both_fields(void **state)
{
    (void)state;
    struct http1_response response = response_of(
        STATUS("101", "Upgrade: WebSocket\r\nConnection: upgrade\r\n" ACCEPT), HTTP1_GET);

    assert_true(response.is_websocket);
    assert_slice(response.websocket_accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(response_of(STATUS("101", "Upgrade: websocket\r\n"), HTTP1_GET).is_websocket);
    assert_false(response_of(STATUS("101", "Connection: upgrade\r\n"), HTTP1_GET).is_websocket);
    assert_false(response_of(STATUS("101", "Upgrade: h2c\r\nConnection: upgrade\r\n"), HTTP1_GET)
                     .is_websocket);
    assert_false(response_of(STATUS("200", UP), HTTP1_GET).is_websocket);
    assert_false(response_of("HTTP/1.0 101 x\r\n" UP "\r\n", HTTP1_GET).is_websocket);
}

static void two_accept_values_are_none(void **state)
{
    (void)state;

    assert_slice(response_of(STATUS("101", UP ACCEPT ACCEPT), HTTP1_GET).websocket_accept, "");
    assert_slice(response_of(STATUS("101", UP), HTTP1_GET).websocket_accept, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parsed_request_says_where_its_parts_are),
        cmocka_unit_test(a_parsed_response_says_where_its_parts_are),
        cmocka_unit_test(an_empty_line_before_a_request_counts_in_its_size),
        cmocka_unit_test(every_name_we_know_is_recognised_in_any_case),
        cmocka_unit_test(a_name_with_underscores_for_one_of_ours_is_a_lookalike),
        cmocka_unit_test(a_field_is_found_by_its_text_in_any_case),
        cmocka_unit_test(a_head_may_have_exactly_its_limit_of_bytes),
        cmocka_unit_test(too_large_is_known_when_the_limit_is_reached),
        cmocka_unit_test(a_head_may_have_exactly_its_limit_of_fields),
        cmocka_unit_test(limits_that_say_more_than_there_is_room_for_are_cut_to_it),
        cmocka_unit_test(the_longest_head_parses_also_byte_by_byte),
        cmocka_unit_test(a_target_is_split_into_path_and_query),
        cmocka_unit_test(a_request_of_1_0_may_have_no_host),
        cmocka_unit_test(methods_are_known_and_case_sensitive),
        cmocka_unit_test(the_body_of_a_request_is_framed_by_length_or_chunks),
        cmocka_unit_test(connection_decides_what_stays_open),
        cmocka_unit_test(fields_named_in_connection_are_nominated),
        cmocka_unit_test(a_client_that_sends_a_body_may_expect_100),
        cmocka_unit_test(a_websocket_is_asked_for_by_lists_in_any_case),
        cmocka_unit_test(the_body_of_a_response_depends_on_status_and_method),
        cmocka_unit_test(a_server_keeps_its_connection_as_it_says),
        cmocka_unit_test(a_server_says_for_how_many_seconds),
        cmocka_unit_test(some_schemes_authenticate_the_connection),
        cmocka_unit_test(an_event_stream_is_known_by_its_type),
        cmocka_unit_test(a_101_is_a_websocket_only_with_both_fields),
        cmocka_unit_test(two_accept_values_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
