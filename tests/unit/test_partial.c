/* A head that comes in pieces, while others are parsed in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lb/proxy/session.h"

static const char wanted[] =
    "POST /upload?x=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 70000\r\n"
    "X-Long: 1234567890\r\nCookie: u=ada\r\n\r\n";
static const char other[] =
    "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
    "Upgrade: websocket\r\nHost: stranger.example\r\nExpect: nothing\r\n\r\n";

static enum http1_outcome parse(struct http1_head *head, const char *bytes, size_t size)
{
    const char *why = NULL;
    return http1_parse_request(head, bytes, size, &why);
}

/* As a worker does it: one struct for all connections, saved and loaded between two receives. */
static void a_cut_at_every_byte_survives_strangers_in_between(void **state)
{
    static struct http1_head whole, shared;
    size_t size = sizeof(wanted) - 1;

    (void)state;
    http1_head_init(&whole, LP_HEAD_BYTES_MAX, LP_HEADERS_MAX);
    assert_int_equal(parse(&whole, wanted, size), HTTP1_DONE);
    for (size_t cut = 1; cut < size; cut++) {
        struct partial *partial = NULL;
        http1_head_init(&shared, LP_HEAD_BYTES_MAX, LP_HEADERS_MAX);
        assert_int_equal(parse(&shared, wanted, cut), HTTP1_MORE);
        assert_true(partial_save(&partial, &shared, (struct lp_slice){wanted, cut}));
        http1_head_init(&shared, LP_HEAD_BYTES_MAX, LP_HEADERS_MAX);
        assert_int_equal(parse(&shared, other, sizeof(other) - 1), HTTP1_DONE);
        partial_load(partial, &shared);
        assert_int_equal(parse(&shared, wanted, size), HTTP1_DONE);
        assert_int_equal(shared.fields_count, whole.fields_count);
        assert_memory_equal(shared.fields, whole.fields,
                            whole.fields_count * sizeof(whole.fields[0]));
        assert_memory_equal(partial->bytes, wanted, cut);
        partial_free(&partial);
        assert_null(partial);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_at_every_byte_survives_strangers_in_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
