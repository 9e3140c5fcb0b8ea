/* http1, scanning: the classes of bytes in words, and the SSE2 loops against the table. */
#include "lb/http/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

static bool is_plain(int byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-';
}

static void the_table_says_what_the_rfcs_say(void **state)
{
    (void)state;

    for (int byte = 0; byte < 256; byte++) {
        bool is_token = is_plain(byte) || (byte != 0 && strchr("!#$%&'*+.^_`|~", byte) != NULL);

        assert_int_equal(scan_is((char)byte, SCAN_PLAIN), is_plain(byte));
        assert_int_equal(scan_is((char)byte, SCAN_TOKEN), is_token);
        assert_int_equal(scan_is((char)byte, SCAN_TARGET),
                         byte >= 0x21 && byte <= 0x7e && byte != '#');
        assert_int_equal(scan_is((char)byte, SCAN_VALUE),
                         byte == '\t' || (byte >= 0x20 && byte != 0x7f));
        assert_int_equal(scan_is((char)byte, SCAN_LINE), byte != '\r' && byte != '\n');
    }
}

static const char *scan_token_only(const char *at, const char *end)
{
    bool is_all_plain = true;

    return scan_token(at, end, &is_all_plain);
}

/* Every byte at every place of runs up to three vectors long, which end at the guard page. */
static void every_loop_stops_where_the_table_stops(void **state)
{
    (void)state;
    static const struct {
        const char *(*scan)(const char *at, const char *end);
        enum scan_class class;
    } loops[] = {{scan_plain, SCAN_PLAIN},
                 {scan_token_only, SCAN_TOKEN},
                 {scan_target, SCAN_TARGET},
                 {scan_value, SCAN_VALUE},
                 {scan_line, SCAN_LINE}};
    char run[48];

    for (size_t size = 0; size <= sizeof(run); size++)
        for (size_t place = 0; place < size; place++)
            for (int byte = 0; byte < 256; byte++) {
                const char *at, *end;

                memset(run, 'x', size);
                run[place] = (char)byte;
                at = guarded(run, size);
                end = at + size;
                for (size_t i = 0; i < LP_COUNT_OF(loops); i++)
                    assert_ptr_equal(loops[i].scan(at, end),
                                     scan_by_table(at, end, loops[i].class));
            }
}

static void a_token_tells_whether_all_of_it_is_plain(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_all_plain;
    } rows[] = {{"Host:", true},
                {"X_Forwarded_For:", false},
                {"Accept-Encoding-And-More-Than-16:", true},
                {"Accept-Encoding-And-More_Than-16:", false},
                {"a!:", false}};

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        const char *at = guarded(rows[i].text, strlen(rows[i].text));
        bool is_all_plain = true;

        assert_int_equal(*scan_token(at, at + strlen(rows[i].text), &is_all_plain), ':');
        assert_int_equal(is_all_plain, rows[i].is_all_plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_says_what_the_rfcs_say),
        cmocka_unit_test(every_loop_stops_where_the_table_stops),
        cmocka_unit_test(a_token_tells_whether_all_of_it_is_plain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
