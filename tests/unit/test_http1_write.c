/* http1: the heads that go on to the other side. */
#include "lb/http/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

static struct http1_head head;
static char written[LP_HEAD_BYTES_MAX + LP_HEADROOM_BYTES + 1];

static const struct http1_forward from_client = {
    .client_ip = {"192.0.2.1", 9}, .proto = {"http", 4}, .real_ip = {"192.0.2.1", 9}};
static const struct http1_forward from_proxy = {.client_ip = {"10.0.0.1", 8},
                                                .proto = {"http", 4},
                                                .real_ip = {"192.0.2.1", 9},
                                                .request_id = {"id-1", 4},
                                                .is_trusted = true};

/* What a request from a client on plain HTTP gets at its end. */
#define OURS                                                                                       \
    "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"             \
    "X-Real-IP: 192.0.2.1\r\n"

static size_t write_request(const char *text, const struct http1_forward *forward, size_t out_max)
{
    const char *bytes = guarded(text, strlen(text)), *why;
    struct http1_request request;

    http1_head_init(&head, LP_HEAD_BYTES_MAX, 100);
    assert_int_equal(http1_parse_request(&head, bytes, strlen(text), &why), HTTP1_DONE);
    assert_int_equal(http1_read_request(&request, &head, bytes, &why), 0);
    return http1_write_request(written, out_max, &head, bytes, &request, forward);
}

static void assert_request(const char *text, const struct http1_forward *forward,
                           const char *expected)
{
    written[write_request(text, forward, sizeof(written) - 1)] = '\0';
    assert_string_equal(written, expected);
}

static void assert_secure_response(const char *text, enum http1_persist persist,
                                   bool without_chunked, struct lp_slice hsts, const char *expected)
{
    const char *bytes = guarded(text, strlen(text)), *why;
    struct http1_response response;

    http1_head_init(&head, LP_HEAD_BYTES_MAX, 100);
    assert_int_equal(http1_parse_response(&head, bytes, strlen(text), &why), HTTP1_DONE);
    assert_true(http1_read_response(&response, &head, bytes, HTTP1_GET, &why));
    written[http1_write_response(written, sizeof(written) - 1, &head, bytes, persist,
                                 without_chunked, hsts)] = '\0';
    assert_string_equal(written, expected);
    for (size_t out_max = 0; out_max < strlen(expected); out_max++)
        assert_int_equal(
            http1_write_response(written, out_max, &head, bytes, persist, without_chunked, hsts),
            0);
}

static void assert_response(const char *text, enum http1_persist persist, bool without_chunked,
                            const char *expected)
{
    assert_secure_response(text, persist, without_chunked, (struct lp_slice){0}, expected);
}

/* Requests. */

static void fields_that_stay_keep_their_bytes_and_order(void **state)
{
    (void)state;

    assert_request(
        "GET /a?b HTTP/1.1\r\nhOST:  a \r\nB:c\r\nAccept: \t d\r\nCookie: e\r\n\r\n", &from_client,
        "GET /a?b HTTP/1.1\r\nhOST:  a \r\nB:c\r\nAccept: \t d\r\nCookie: e\r\n" OURS "\r\n");
}

static void host_becomes_the_first_field(void **state)
{
    (void)state;

    assert_request("GET / HTTP/1.1\r\nB: c\r\nHost: a\r\nD: e\r\n\r\n", &from_client,
                   "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\n" OURS "\r\n");
}

static void absolute_form_becomes_origin_form_with_its_own_host(void **state)
{
    (void)state;

    assert_request("GET http://a/b?c HTTP/1.1\r\nHost: evil\r\nD: e\r\n\r\n", &from_client,
                   "GET /b?c HTTP/1.1\r\nHost: a\r\nD: e\r\n" OURS "\r\n");
    assert_request("OPTIONS http://a HTTP/1.1\r\nHost: evil\r\n\r\n", &from_client,
                   "OPTIONS * HTTP/1.1\r\nHost: a\r\n" OURS "\r\n");
}

static void a_request_of_1_0_goes_on_as_1_1_without_expect(void **state)
{
    (void)state;

    assert_request("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n"
                   "Content-Length: 3\r\n\r\nabc",
                   &from_client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n" OURS "\r\n");
    assert_request("GET / HTTP/1.0\r\n\r\n", &from_client,
                   "GET / HTTP/1.1\r\nHost: \r\nX-Forwarded-For: 192.0.2.1\r\n"
                   "X-Forwarded-Proto: http\r\nX-Real-IP: 192.0.2.1\r\n\r\n");
}

static void the_empty_line_before_a_request_does_not_go_on(void **state)
{
    (void)state;

    assert_request("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &from_client,
                   "GET / HTTP/1.1\r\nHost: a\r\n" OURS "\r\n");
}

static void what_frames_the_body_goes_on(void **state)
{
    (void)state;

    assert_request("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                   "Transfer-Encoding: chunked\r\nTrailer: b\r\n\r\n",
                   &from_client,
                   "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                   "Transfer-Encoding: chunked\r\nTrailer: b\r\n" OURS "\r\n");
}

static void fields_of_this_hop_do_not_go_on(void **state)
{
    (void)state;

    assert_request("GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 1\r\nA: 1\r\nTE: trailers\r\n"
                   "Connection: TE, upgrade, http2-settings, secret\r\nB: 2\r\nSecret: 3\r\n"
                   "Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\nProxy-Connection: close\r\n"
                   "Proxy-Authorization: Basic x\r\nproxy-authenticate: x\r\nC: 3\r\nSECRET: 4\r\n"
                   "\r\n",
                   &from_client,
                   "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n" OURS "\r\n");
}

static void fields_that_pretend_to_be_ours_are_replaced(void **state)
{
    (void)state;

    assert_request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nA: 1\r\n"
                   "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 6.6.6.6\r\n"
                   "Forwarded: for=6.6.6.6\r\nX-Request-ID: theirs\r\nX_Forwarded_For: 6.6.6.6\r\n"
                   "X-Real_IP: 6.6.6.6\r\nContent_Length: 3\r\nx-forwarded-for: 6.6.6.6\r\n"
                   "Connection: X-Forwarded-For\r\n\r\n",
                   &from_client, "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\n" OURS "\r\n");
}

static void a_trusted_proxy_is_believed_and_appended_to(void **state)
{
    (void)state;

    assert_request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.9\r\n"
                   "X-Forwarded-Proto: https\r\nX-Forwarded-Host: site.example\r\n"
                   "X-Forwarded-For:\r\nX-Forwarded-For: 10.0.0.8\r\nX-Real-IP: 1.1.1.1\r\n"
                   "X-Forwarded-Proto: second\r\nX-Request-ID: id-0\r\n\r\n",
                   &from_proxy,
                   "GET / HTTP/1.1\r\nHost: a\r\n"
                   "X-Forwarded-For: 192.0.2.1, 10.0.0.9, 10.0.0.8, 10.0.0.1\r\n"
                   "X-Forwarded-Proto: https\r\nX-Forwarded-Host: site.example\r\n"
                   "X-Real-IP: 192.0.2.1\r\nX-Request-ID: id-1\r\n\r\n");
}

static void a_trusted_proxy_that_says_nothing_gets_our_words(void **state)
{
    (void)state;

    assert_request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host:\r\n\r\n", &from_proxy,
                   "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n"
                   "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Real-IP: 192.0.2.1\r\n"
                   "X-Request-ID: id-1\r\n\r\n");
}

static void a_client_behind_a_trusted_proxy_cannot_nominate_its_address_away(void **state)
{
    (void)state;

    assert_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for\r\n"
                   "X-Forwarded-For: 192.0.2.1\r\n\r\n",
                   &from_proxy,
                   "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n"
                   "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Real-IP: 192.0.2.1\r\n"
                   "X-Request-ID: id-1\r\n\r\n");
}

static void a_peer_without_an_address_is_not_mentioned(void **state)
{
    (void)state;
    struct http1_forward unix_peer = {.proto = {"http", 4}, .is_trusted = true};

    assert_request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", &unix_peer,
                   "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n"
                   "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n");
    assert_request("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &unix_peer,
                   "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: http\r\n"
                   "X-Forwarded-Host: a\r\n\r\n");
}

static const struct http1_forward from_verified = {.client_ip = {"192.0.2.1", 9},
                                                   .proto = {"https", 5},
                                                   .real_ip = {"192.0.2.1", 9},
                                                   .client_subject = {"CN=me,O=x\\,y", 12},
                                                   .client_fingerprint = {"00ff", 4}};

#define OURS_OF_VERIFIED                                                                           \
    "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n"            \
    "X-Real-IP: 192.0.2.1\r\nX-Client-Cert-Subject: CN=me,O=x\\,y\r\n"                             \
    "X-Client-Cert-Fingerprint: 00ff\r\n"

static void a_verified_client_is_named_by_its_certificate(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    assert_request(text, &from_verified, "GET / HTTP/1.1\r\nHost: a\r\n" OURS_OF_VERIFIED "\r\n");
    for (size_t out_max = 0; out_max < strlen(written); out_max++)
        assert_int_equal(write_request(text, &from_verified, out_max), 0);
}

/* Whoever sends them, a trusted proxy as well. */
static void nobody_else_says_whose_certificate_it_was(void **state)
{
    (void)state;
    static const char text[] =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Client-Cert-Subject: CN=root\r\nA: 1\r\n"
        "x-CLIENT-cert-fingerprint: 6\r\nX_Client_Cert_Subject: CN=root\r\n"
        "X-Client-Cert_Fingerprint: 6\r\nX-Client-Cert-Subject: CN=again\r\nB: 2\r\n\r\n";
    static const char proxied[] =
        "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nX-Forwarded-For: 10.0.0.1\r\n"
        "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Real-IP: 192.0.2.1\r\n"
        "X-Request-ID: id-1\r\n\r\n";

    assert_request(text, &from_client, "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n" OURS "\r\n");
    assert_request(text, &from_proxy, proxied);
    assert_request(text, &from_verified,
                   "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n" OURS_OF_VERIFIED "\r\n");
}

static void nobody_nominates_a_certificate_away(void **state)
{
    (void)state;

    assert_request("GET / HTTP/1.1\r\nHost: a\r\n"
                   "Connection: X-Client-Cert-Subject, x-client-cert-fingerprint\r\n"
                   "X-Client-Cert-Subject: CN=root\r\n\r\n",
                   &from_verified, "GET / HTTP/1.1\r\nHost: a\r\n" OURS_OF_VERIFIED "\r\n");
}

#define WEBSOCKET                                                                                  \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"                 \
    "Sec-WebSocket-Extensions: permessage-deflate\r\n"

static void an_upgrade_is_asked_for_in_our_own_words(void **state)
{
    (void)state;

    assert_request("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade, secret\r\n"
                   "Upgrade: h2c, WebSocket\r\nSecret: 1\r\n" WEBSOCKET "\r\n",
                   &from_client,
                   "GET /ws HTTP/1.1\r\nHost: a\r\n" WEBSOCKET OURS
                   "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

static void a_request_that_does_not_fit_is_not_written(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nTE: x\r\nB: 2\r\n\r\n";
    static const char absolute[] = "GET http://a/b HTTP/1.1\r\nHost: c\r\n\r\n";
    size_t size = write_request(text, &from_client, sizeof(written));
    size_t absolute_size;

    for (size_t out_max = 0; out_max < size; out_max++)
        assert_int_equal(write_request(text, &from_client, out_max), 0);
    assert_int_equal(write_request(text, &from_client, size), size);
    absolute_size = write_request(absolute, &from_client, sizeof(written));
    for (size_t out_max = 0; out_max < absolute_size; out_max++)
        assert_int_equal(write_request(absolute, &from_client, out_max), 0);
}

/* Responses. */

static void a_response_loses_only_what_is_for_this_hop(void **state)
{
    (void)state;

    assert_response("HTTP/1.1 200 OK\r\nServer:x\r\nConnection: keep-alive, b\r\nKeep-Alive: 5\r\n"
                    "Set-Cookie: c \r\nB: 1\r\nUpgrade: h2,h2c\r\nContent-Length: 5\r\n"
                    "X-Request-ID: d\r\nTransfer_Encoding: chunked\r\n\r\nhello",
                    HTTP1_PERSIST_DEFAULT, false,
                    "HTTP/1.1 200 OK\r\nServer:x\r\nSet-Cookie: c \r\nContent-Length: 5\r\n"
                    "X-Request-ID: d\r\n\r\n");
}

static void the_status_line_is_always_one_of_1_1(void **state)
{
    (void)state;

    assert_response("HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n", HTTP1_PERSIST_CLOSE, false,
                    "HTTP/1.1 404 Not Found\r\nA: b\r\nConnection: close\r\n\r\n");
    assert_response("HTTP/1.1 200\r\n\r\n", HTTP1_PERSIST_CLOSE, false,
                    "HTTP/1.1 200 \r\nConnection: close\r\n\r\n");
    assert_response("HTTP/1.1 200 \r\n\r\n", HTTP1_PERSIST_CLOSE, false,
                    "HTTP/1.1 200 \r\nConnection: close\r\n\r\n");
}

static void how_the_connection_goes_on_is_said_in_our_words(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

    assert_response(text, HTTP1_PERSIST_DEFAULT, false,
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_response(text, HTTP1_PERSIST_KEEP_ALIVE, false,
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
    assert_response("HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
                    HTTP1_PERSIST_UPGRADE, false,
                    "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
                    "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

static void chunked_is_not_said_to_a_client_of_1_0(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n";

    assert_response(text, HTTP1_PERSIST_DEFAULT, false, text);
    assert_response(text, HTTP1_PERSIST_CLOSE, true,
                    "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n");
}

static void a_length_where_no_body_can_be_is_dropped(void **state)
{
    (void)state;

    assert_response("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", HTTP1_PERSIST_DEFAULT,
                    false, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_response("HTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 5\r\n\r\n",
                    HTTP1_PERSIST_DEFAULT, false, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    assert_response("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", HTTP1_PERSIST_DEFAULT,
                    false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
}

static void ours_is_the_only_word_on_strict_transport(void **state)
{
    (void)state;
    static const char text[] =
        "HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=0\r\nA: b\r\n"
        "Strict-Transport-Security: max-age=1; preload\r\nContent-Length: 0\r\n\r\n";
    static const char without[] = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n";

    assert_secure_response(text, HTTP1_PERSIST_CLOSE, false, LP_SLICE("max-age=300"),
                           "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n"
                           "Strict-Transport-Security: max-age=300\r\nConnection: close\r\n\r\n");
    assert_secure_response(without, HTTP1_PERSIST_DEFAULT, false, LP_SLICE("max-age=300"),
                           "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n"
                           "Strict-Transport-Security: max-age=300\r\n\r\n");
    /* Without ours the server's goes on. */
    assert_response(text, HTTP1_PERSIST_DEFAULT, false, text);
    assert_response(without, HTTP1_PERSIST_DEFAULT, false, without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_that_stay_keep_their_bytes_and_order),
        cmocka_unit_test(host_becomes_the_first_field),
        cmocka_unit_test(absolute_form_becomes_origin_form_with_its_own_host),
        cmocka_unit_test(a_request_of_1_0_goes_on_as_1_1_without_expect),
        cmocka_unit_test(the_empty_line_before_a_request_does_not_go_on),
        cmocka_unit_test(what_frames_the_body_goes_on),
        cmocka_unit_test(fields_of_this_hop_do_not_go_on),
        cmocka_unit_test(fields_that_pretend_to_be_ours_are_replaced),
        cmocka_unit_test(a_trusted_proxy_is_believed_and_appended_to),
        cmocka_unit_test(a_trusted_proxy_that_says_nothing_gets_our_words),
        cmocka_unit_test(a_client_behind_a_trusted_proxy_cannot_nominate_its_address_away),
        cmocka_unit_test(a_peer_without_an_address_is_not_mentioned),
        cmocka_unit_test(a_verified_client_is_named_by_its_certificate),
        cmocka_unit_test(nobody_else_says_whose_certificate_it_was),
        cmocka_unit_test(nobody_nominates_a_certificate_away),
        cmocka_unit_test(an_upgrade_is_asked_for_in_our_own_words),
        cmocka_unit_test(a_request_that_does_not_fit_is_not_written),
        cmocka_unit_test(a_response_loses_only_what_is_for_this_hop),
        cmocka_unit_test(the_status_line_is_always_one_of_1_1),
        cmocka_unit_test(how_the_connection_goes_on_is_said_in_our_words),
        cmocka_unit_test(chunked_is_not_said_to_a_client_of_1_0),
        cmocka_unit_test(a_length_where_no_body_can_be_is_dropped),
        cmocka_unit_test(ours_is_the_only_word_on_strict_transport),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
