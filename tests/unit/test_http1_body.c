/* http1: chunked bodies and event streams, cut anywhere. */
#include "lb/http/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

/* What became of a body: its content, the bytes that belong to it, and how it ended. */
struct decoded {
    enum http1_chunk end;
    size_t read;
    size_t content_size;
    char content[256];
    const char *why;
};

static void feed(struct decoded *d, struct http1_chunked *chunked, const char *data, size_t size)
{
    size_t used;

    while (d->end == HTTP1_CHUNK_MORE) {
        enum http1_chunk chunk = http1_chunked_step(chunked, data, size, &used, &d->why);

        if (chunk == HTTP1_CHUNK_DATA && d->content_size < sizeof(d->content)) {
            size_t room = sizeof(d->content) - d->content_size;

            memcpy(d->content + d->content_size, data, used < room ? used : room);
            d->content_size += used < room ? used : room;
        }
        d->read += used;
        data += used;
        size -= used;
        if (chunk == HTTP1_CHUNK_MORE)
            return;
        if (chunk == HTTP1_CHUNK_DONE || chunk == HTTP1_CHUNK_BAD)
            d->end = chunk;
    }
}

static struct decoded decode(const char *text, size_t text_size, size_t piece)
{
    struct decoded d = {.end = HTTP1_CHUNK_MORE};
    struct http1_chunked chunked;

    http1_chunked_init(&chunked);
    for (size_t at = 0; at < text_size; at += piece) {
        size_t size = text_size - at < piece ? text_size - at : piece;

        feed(&d, &chunked, guarded(text + at, size), size);
    }
    return d;
}

static void assert_decoded(const char *text, size_t text_size, enum http1_chunk end,
                           const char *content)
{
    static const size_t pieces[] = {GUARD_BYTES_MAX, 1, 2, 3, 5};

    for (size_t i = 0; i < LP_COUNT_OF(pieces); i++) {
        struct decoded d = decode(text, text_size, pieces[i]);

        if (d.end != end)
            fail_msg("%.40s: ended with %d (%s)", text, (int)d.end, d.why != NULL ? d.why : "-");
        if (content == NULL)
            continue;
        assert_int_equal(d.content_size, strlen(content));
        assert_memory_equal(d.content, content, strlen(content));
    }
}

static void chunks_are_told_from_their_content(void **state)
{
    (void)state;
    static const struct {
        const char *text, *content;
    } rows[] = {
        {"0\r\n\r\n", ""},
        {"5\r\nhello\r\n0\r\n\r\n", "hello"},
        {"00000005\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", "hello world"},
        {"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
        {"3;a\r\nabc\r\n3 ; b=\"c;\td\" ; e=\xff\r\ndef\r\n0;last\r\n\r\n", "abcdef"},
        {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n"},
        {"0\r\nX-Digest: abc\r\nB:\r\nServer-Timing: d;e=1 \r\n\r\n", ""},
        {"0000000000000001\r\na\r\n0000000000000000\r\n\r\n", "a"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
        assert_decoded(rows[i].text, strlen(rows[i].text), HTTP1_CHUNK_DONE, rows[i].content);
}

#define BAD(text)                                                                                  \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static void what_two_parsers_could_read_differently_is_bad(void **state)
{
    (void)state;
    static const struct lp_slice rows[] = {
        BAD("\r\n"),
        BAD("g\r\n"),
        BAD("-1\r\n"),
        BAD("+1\r\n"),
        BAD("0x1\r\n"),
        BAD(" 1\r\n"),
        BAD("1 \r\na"),
        BAD("1\t\r\na"),
        BAD("1 2\r\n"),
        BAD("1_0\r\n"),
        BAD(";a\r\n"),
        BAD("10000000000000000\r\n"),
        BAD("00000000000000001\r\n"),
        BAD("ffffffffffffffff\r\n"),
        BAD("8000000000000000\r\n"),
        BAD("1\na"),
        BAD("1\ra"),
        BAD("1;a\nb\r\n"),
        BAD("1;a\rb\r\n"),
        BAD("1;a\0\r\n"),
        BAD("1;\x7f\r\n"),
        BAD("1\r\na\n"),
        BAD("1\r\nab"),
        BAD("1\r\na0\r\n\r\n"),
        BAD("1\r\na\r0"),
        BAD("0\n\n"),
        BAD("0\r\n\n"),
        BAD("0\r\n\r\r"),
        BAD("1\r\na\r\n\r\n0"),
        BAD("0\r\nA : b\r\n"),
        BAD("0\r\nA\r\n"),
        BAD("0\r\n: b\r\n"),
        BAD("0\r\n A: b\r\n"),
        BAD("0\r\nA: b\r\n c"),
        BAD("0\r\nA: b\n"),
        BAD("0\r\nA: b\rc"),
        BAD("0\r\nA: \0"),
        BAD("0\r\n\xe4: b\r\n"),
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
        assert_decoded(rows[i].data, rows[i].size, HTTP1_CHUNK_BAD, NULL);
}

static void what_frames_or_routes_may_not_be_a_trailer(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "Content-Length",
        "content_length",
        "Transfer-Encoding",
        "TRANSFER_ENCODING",
        "Host",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
        "Expect",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "x-forwarded-proto",
        "X-Real-IP",
        "X-Request_ID",
        "X-Client-Cert-Subject",
        "x_client_cert-subject",
        "X-Client-Cert-Fingerprint",
        "X-CLIENT_CERT_FINGERPRINT",
        "Forwarded",
        "Cookie",
        "Sec-WebSocket-Version",
    };
    static const char *const allowed[] = {
        "ETag",
        "X-Forwarded-Foo",
        "Hosts",
        "Content-Length-And-Much-More-Than-24-Bytes",
        "X-Forwarded-For-Somebody-Else",
        "X-Client-Cert",
        "X-Client-Cert-Fingerprints",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    char text[128];

    for (size_t i = 0; i < LP_COUNT_OF(refused); i++) {
        int size = snprintf(text, sizeof(text), "0\r\nA: b\r\n%s: 1\r\n\r\n", refused[i]);

        assert_decoded(text, (size_t)size, HTTP1_CHUNK_BAD, NULL);
    }
    for (size_t i = 0; i < LP_COUNT_OF(allowed); i++) {
        int size = snprintf(text, sizeof(text), "0\r\nA: b\r\n%s: 1\r\n\r\n", allowed[i]);

        assert_decoded(text, (size_t)size, HTTP1_CHUNK_DONE, "");
    }
}

static void what_follows_the_last_chunk_is_left_alone(void **state)
{
    (void)state;
    static const char text[] = "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    struct decoded d = decode(text, sizeof(text) - 1, GUARD_BYTES_MAX);

    assert_int_equal(d.end, HTTP1_CHUNK_DONE);
    assert_int_equal(d.read, 11);
}

static void done_and_bad_are_final(void **state)
{
    (void)state;
    struct http1_chunked chunked;
    const char *why = NULL;
    size_t used;

    http1_chunked_init(&chunked);
    assert_int_equal(http1_chunked_step(&chunked, "0\r\n\r\n", 5, &used, &why), HTTP1_CHUNK_DONE);
    assert_int_equal(used, 5);
    assert_int_equal(http1_chunked_step(&chunked, "1\r\n", 3, &used, &why), HTTP1_CHUNK_DONE);
    assert_int_equal(used, 0);
    http1_chunked_init(&chunked);
    assert_int_equal(http1_chunked_step(&chunked, "x", 1, &used, &why), HTTP1_CHUNK_BAD);
    assert_int_equal(http1_chunked_step(&chunked, "1\r\n", 3, &used, &why), HTTP1_CHUNK_BAD);
    assert_int_equal(used, 0);
    assert_non_null(why);
}

static void a_line_may_have_4_KiB_and_trailers_8(void **state)
{
    (void)state;
    static char text[16384];

    memset(text, 'x', sizeof(text));
    memcpy(text, "1;", 2);
    memcpy(text + 4094, "\r\n", 2);
    assert_decoded(text, 4096, HTTP1_CHUNK_MORE, NULL);
    text[4094] = 'x';
    memcpy(text + 4095, "\r\n", 2);
    assert_decoded(text, 4097, HTTP1_CHUNK_BAD, NULL);

    memset(text, 'x', sizeof(text));
    memcpy(text, "0\r\nA:", 5);
    memcpy(text + 3 + 8192 - 4, "\r\n\r\n", 4);
    assert_decoded(text, 3 + 8192, HTTP1_CHUNK_DONE, NULL);
    memset(text + 3 + 8192 - 4, 'x', 4);
    memcpy(text + 3 + 8193 - 4, "\r\n\r\n", 4);
    assert_decoded(text, 3 + 8193, HTTP1_CHUNK_BAD, NULL);
}

static void a_body_may_end_only_between_whole_chunks(void **state)
{
    (void)state;
    static const char text[] = "1;a\r\nb\r\n1\r\nc\r\n0\r\n\r\n";
    struct http1_chunked chunked;
    const char *why;
    size_t used, at = 0;

    http1_chunked_init(&chunked);
    while (at < sizeof(text) - 1) {
        bool is_boundary = at == 0 || at == 8 || at == 14;

        assert_int_equal(http1_chunked_is_at_boundary(&chunked), is_boundary);
        http1_chunked_step(&chunked, text + at, 1, &used, &why);
        at += used;
    }
    assert_false(http1_chunked_is_at_boundary(&chunked));
}

/* Event streams. */

static bool is_at_boundary_after(const char *text, size_t piece)
{
    struct http1_events events;

    http1_events_init(&events);
    for (size_t at = 0; at < strlen(text); at += piece) {
        size_t size = strlen(text) - at < piece ? strlen(text) - at : piece;

        assert_int_equal(http1_events_step(&events, guarded(text + at, size), size, false), size);
    }
    return http1_events_is_at_boundary(&events);
}

static void an_event_ends_with_an_empty_line(void **state)
{
    (void)state;
    static const char *const boundaries[] = {"",
                                             "\n",
                                             "\r",
                                             "\r\n",
                                             "data: x\n\n",
                                             "data: x\r\n\r\n",
                                             "data: x\r\r",
                                             "data: x\r\n\r",
                                             "data: x\n\r\n",
                                             "data: x\r\n\n",
                                             "data: x\n\ndata: y\n\n",
                                             "data: x\n\n\n\n",
                                             ":\n",
                                             "data: x\r\n\r\n:\r\n",
                                             "data: x\n\n: quiet\n: again, and for longer\n",
                                             "data: x\r\r: quiet\r:\r",
                                             "data: a long line of more than sixteen bytes\n\n"};
    static const char *const within[] = {"d",
                                         "data: x",
                                         "data: x\n",
                                         "data: x\r",
                                         "data: x\r\n",
                                         "data: x\n\nd",
                                         "\n:",
                                         "data: x\n\n: quiet",
                                         "data: x\n: quiet\n",
                                         "data: x\n\n: quiet\nd",
                                         "data: a long line of more than sixteen bytes\n"};

    for (size_t piece = 1; piece < 20; piece++) {
        for (size_t i = 0; i < LP_COUNT_OF(boundaries); i++)
            assert_true(is_at_boundary_after(boundaries[i], piece));
        for (size_t i = 0; i < LP_COUNT_OF(within); i++)
            assert_false(is_at_boundary_after(within[i], piece));
    }
}

static void reading_can_stop_behind_the_first_boundary(void **state)
{
    (void)state;
    struct http1_events events;

    http1_events_init(&events);
    assert_int_equal(http1_events_step(&events, "data", 4, true), 0);
    assert_int_equal(http1_events_step(&events, "data", 4, false), 4);
    assert_int_equal(http1_events_step(&events, ": x\n\ndata", 9, true), 5);
    assert_true(http1_events_is_at_boundary(&events));
    assert_int_equal(http1_events_step(&events, "\n", 1, true), 0);

    http1_events_init(&events);
    assert_int_equal(http1_events_step(&events, "x\r\n\r", 4, false), 4);
    assert_true(http1_events_is_at_boundary(&events));
    assert_int_equal(http1_events_step(&events, "\n\n", 2, true), 1);
    assert_int_equal(http1_events_step(&events, "\n", 1, true), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_told_from_their_content),
        cmocka_unit_test(what_two_parsers_could_read_differently_is_bad),
        cmocka_unit_test(what_frames_or_routes_may_not_be_a_trailer),
        cmocka_unit_test(what_follows_the_last_chunk_is_left_alone),
        cmocka_unit_test(done_and_bad_are_final),
        cmocka_unit_test(a_line_may_have_4_KiB_and_trailers_8),
        cmocka_unit_test(a_body_may_end_only_between_whole_chunks),
        cmocka_unit_test(an_event_ends_with_an_empty_line),
        cmocka_unit_test(reading_can_stop_behind_the_first_boundary),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
