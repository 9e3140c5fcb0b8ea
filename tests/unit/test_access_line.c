/* access_line: what a line of the access log looks like, whatever a client put into it. */
#include "lb/ops/access_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct access_line a_request(void)
{
    struct access_line line;

    access_line_init(&line);
    line.unix_ms = 1735689599007; /* 2024-12-31T23:59:59.007Z */
    line.event = ACCESS_REQUEST;
    line.class = "http";
    line.end = "done";
    line.ended_by = "nobody";
    line.id = LP_SLICE("4f2a");
    line.client = LP_SLICE("[2001:db8::1]:50000");
    line.listener = LP_SLICE("edge");
    line.pool = LP_SLICE("chat");
    line.server = LP_SLICE("s1");
    line.method = LP_SLICE("GET");
    line.host = LP_SLICE("example.com");
    line.path = LP_SLICE("/a/b");
    line.status = 200;
    line.bytes_in = 0;
    line.bytes_out = 18446744073709551614u;
    line.connect_ms = 0;
    line.response_ms = 12;
    line.total_ms = 13;
    line.retries = 0;
    return line;
}

static struct access_line an_empty_line(void)
{
    struct access_line line;

    access_line_init(&line);
    return line;
}

/* The line in a block of exactly out_max bytes; "" when there is none. Lives until the next call.
 */
static const char *write_into(size_t out_max, const struct access_format *as,
                              const struct access_line *line)
{
    static char text[8192];
    struct access_format format = *as;
    char *block = malloc(out_max ? out_max : 1);

    assert_non_null(block);
    size_t size = access_line_write(&format, block, out_max, line);
    assert_true(size <= out_max);
    memcpy(text, block, size);
    text[size] = '\0';
    free(block);
    return text;
}

static const char *written(enum lp_log_format kind, const struct access_line *line)
{
    struct access_format format;

    access_format_init(&format, kind, NULL, 0);
    return write_into(ACCESS_LINE_BYTES, &format, line);
}

static const char *path_of_text(struct lp_slice path)
{
    static char value[8192];
    struct access_line line = an_empty_line();

    line.path = path;
    const char *start = strstr(written(LP_LOG_TEXT, &line), " path=");
    const char *end = strstr(start, " status=");
    memcpy(value, start + 6, (size_t)(end - start) - 6);
    value[end - start - 6] = '\0';
    return value;
}

static const char *path_of_json(struct lp_slice path)
{
    static char value[8192];
    struct access_line line = an_empty_line();

    line.path = path;
    const char *start = strstr(written(LP_LOG_JSON, &line), "\"path\":");
    size_t size = strlen(start) - strlen("}\n") - 7;
    memcpy(value, start + 7, size);
    value[size] = '\0';
    return value;
}

/* A string of JSON (RFC 8259) in printable UTF-8. Gives what is behind it, or NULL. */
static const char *behind_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    while (*at != '"') {
        if ((uint8_t)*at < 0x20)
            return NULL;
        if (*at == '\\') {
            at++;
            if (*at == 'u') {
                if (strspn(at + 1, "0123456789abcdef") < 4)
                    return NULL;
                at += 4;
            } else if (*at == '\0' || strchr("\"\\/bfnrt", *at) == NULL) {
                return NULL;
            }
        }
        at++;
    }
    return at + 1;
}

static bool is_one_flat_json_object(const char *text)
{
    const char *at = text;

    if (*at++ != '{')
        return false;
    for (;;) {
        at = behind_string(at);
        if (at == NULL || *at++ != ':')
            return false;
        if (*at == '"') {
            at = behind_string(at);
        } else {
            size_t digits = strspn(at, "0123456789");
            at = digits == 0 || (digits > 1 && *at == '0') ? NULL : at + digits;
        }
        if (at == NULL)
            return false;
        if (*at != ',')
            return strcmp(at, "}\n") == 0;
        at++;
    }
}

static void json_of_a_request_has_every_field_that_there_is(void **state)
{
    (void)state;
    struct access_line line = a_request();

    assert_string_equal(
        written(LP_LOG_JSON, &line),
        "{\"time\":\"2024-12-31T23:59:59.007Z\",\"event\":\"request\",\"id\":\"4f2a\","
        "\"client\":\"[2001:db8::1]:50000\",\"listener\":\"edge\",\"pool\":\"chat\","
        "\"server\":\"s1\",\"class\":\"http\",\"method\":\"GET\",\"host\":\"example.com\","
        "\"path\":\"/a/b\",\"status\":200,\"end\":\"done\",\"ended_by\":\"nobody\",\"bytes_in\":0,"
        "\"bytes_out\":18446744073709551614,\"connect_ms\":0,\"response_ms\":12,\"total_ms\":13,"
        "\"retries\":0}\n");
}

static void json_of_a_tunnels_end_tells_messages_and_age(void **state)
{
    (void)state;
    struct access_line line = an_empty_line();

    line.unix_ms = 0;
    line.event = ACCESS_END;
    line.class = "websocket";
    line.messages_in = 0;
    line.messages_out = 4294967294u;
    line.close_code = 1001;
    line.age_ms = 86400000;
    assert_string_equal(written(LP_LOG_JSON, &line),
                        "{\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"end\","
                        "\"class\":\"websocket\",\"messages_in\":0,\"messages_out\":4294967294,"
                        "\"close_code\":1001,\"age_ms\":86400000}\n");
}

static void text_has_all_fields_and_a_dash_for_what_is_absent(void **state)
{
    (void)state;
    struct access_line line = a_request();

    line.server = (struct lp_slice){NULL, 0};
    line.end = "no-server-up";
    line.status = 503;
    assert_string_equal(
        written(LP_LOG_TEXT, &line),
        "time=2024-12-31T23:59:59.007Z event=request id=4f2a client=[2001:db8::1]:50000 "
        "listener=edge pool=chat server=- class=http method=GET host=example.com path=/a/b "
        "status=503 end=no-server-up ended_by=nobody bytes_in=0 bytes_out=18446744073709551614 "
        "connect_ms=0 response_ms=12 total_ms=13 retries=0 messages_in=- messages_out=- "
        "close_code=- age_ms=-\n");
}

static void text_is_quoted_only_where_it_must_be(void **state)
{
    (void)state;
    assert_string_equal(path_of_text(LP_SLICE("/a;b,c")), "/a;b,c");
    assert_string_equal(path_of_text(LP_SLICE("/a b")), "\"/a b\"");
    assert_string_equal(path_of_text(LP_SLICE("/a=b")), "\"/a=b\"");
    assert_string_equal(path_of_text(LP_SLICE("/\"\\")), "\"/\\\"\\\\\"");
    assert_string_equal(path_of_text(LP_SLICE("-")), "\"-\"");
    assert_string_equal(path_of_text(LP_SLICE("/\n\x1b\xc3\xa9")), "\"/\\x0a\\x1b\\xc3\\xa9\"");
}

static void json_escapes_what_it_must_and_keeps_utf8(void **state)
{
    (void)state;
    assert_string_equal(path_of_json(LP_SLICE("/\"\\/")), "\"/\\\"\\\\/\"");
    assert_string_equal(path_of_json(LP_SLICE("/\n\x01\x7f")), "\"/\\u000a\\u0001\\u007f\"");
    assert_string_equal(path_of_json(LP_SLICE("/\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8c")),
                        "\"/\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8c\"");
    assert_string_equal(path_of_json(LP_SLICE("/\xc2\x9b")), "\"/\\u009b\"");
}

static void bytes_that_are_no_utf8_become_the_replacement_character(void **state)
{
    (void)state;
    assert_string_equal(path_of_json(LP_SLICE("/\xff!")), "\"/\\ufffd!\"");
    assert_string_equal(path_of_json(LP_SLICE("/\xc3")), "\"/\\ufffd\"");
    assert_string_equal(path_of_json(LP_SLICE("/\xc0\xaf")), "\"/\\ufffd\\ufffd\"");
    assert_string_equal(path_of_json(LP_SLICE("\xed\xa0\x80")), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_string_equal(path_of_json(LP_SLICE("\xe0\x80\x80")), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_string_equal(path_of_json(LP_SLICE("\xf4\x90\x80\x80")),
                        "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

static void any_bytes_give_valid_json_and_printable_text(void **state)
{
    (void)state;
    struct access_line line = a_request();
    char noise[64];
    uint32_t seed = 1;

    for (int round = 0; round < 20000; round++) {
        for (size_t i = 0; i < sizeof(noise); i++) {
            seed = seed * 1664525u + 1013904223u;
            noise[i] = (char)(seed >> 24);
        }
        line.id = (struct lp_slice){noise, 8};
        line.host = (struct lp_slice){noise + 8, 24};
        line.path = (struct lp_slice){noise + 32, 32};
        assert_true(is_one_flat_json_object(written(LP_LOG_JSON, &line)));
        const char *text = written(LP_LOG_TEXT, &line);
        for (size_t i = 0; text[i] != '\n'; i++)
            assert_in_range((uint8_t)text[i], 0x20, 0x7e);
    }
}

static void the_query_is_not_logged(void **state)
{
    (void)state;
    struct access_line line = a_request();

    line.query = LP_SLICE("token=secret");
    assert_null(strstr(written(LP_LOG_JSON, &line), "secret"));
    assert_null(strstr(written(LP_LOG_TEXT, &line), "secret"));
}

static void only_allowed_parameters_of_the_query_are_logged(void **state)
{
    (void)state;
    static const struct lp_slice names[] = {{"room", 4}, {"v", 1}};
    struct access_format format;
    struct access_line line = a_request();

    access_format_init(&format, LP_LOG_JSON, names, 2);
    line.query = LP_SLICE("token=secret&room=1&&rooms=2&v&Room=3&room=\"");
    assert_non_null(strstr(write_into(ACCESS_LINE_BYTES, &format, &line),
                           "\"path\":\"/a/b?room=1&v&room=\\\"\","));
    line.query = LP_SLICE("token=secret");
    assert_non_null(strstr(write_into(ACCESS_LINE_BYTES, &format, &line), "\"path\":\"/a/b\","));

    access_format_init(&format, LP_LOG_TEXT, names, 2);
    line.query = LP_SLICE("room=1");
    assert_non_null(
        strstr(write_into(ACCESS_LINE_BYTES, &format, &line), " path=\"/a/b?room=1\" "));
}

/* Everything as long as it may come, of one byte. */
static struct access_line a_line_full_of(char *bytes, size_t size, char byte)
{
    struct access_line line = a_request();
    struct lp_slice text = {bytes, size};

    memset(bytes, byte, size);
    line.id = line.client = line.listener = line.pool = line.server = text;
    line.method = line.host = line.path = line.query = text;
    line.bytes_in = line.bytes_out = line.total_ms = line.age_ms = UINT64_MAX - 1;
    line.connect_ms = line.response_ms = line.retries = UINT32_MAX - 1;
    line.messages_in = line.messages_out = UINT32_MAX - 1;
    line.status = line.close_code = 65535;
    line.class = "websocket";
    line.end = "half-closed-timeout";
    line.ended_by = "operator";
    return line;
}

static void long_values_are_cut_and_the_line_is_still_whole(void **state)
{
    (void)state;
    static char bytes[16384];
    static const char kinds[] = "x\x01\"\xff =&";
    struct access_format format;
    struct lp_slice name = {bytes, 1};

    for (size_t i = 0; i + 1 < sizeof(kinds); i++) {
        struct access_line line = a_line_full_of(bytes, sizeof(bytes), kinds[i]);
        access_format_init(&format, LP_LOG_JSON, &name, 1);
        const char *json = write_into(ACCESS_LINE_BYTES, &format, &line);
        assert_true(is_one_flat_json_object(json));
        assert_non_null(strstr(json, "...\",\"status\":65535,"));
        access_format_init(&format, LP_LOG_TEXT, &name, 1);
        const char *text = write_into(ACCESS_LINE_BYTES, &format, &line);
        assert_non_null(strstr(text, " status=65535 "));
        assert_int_equal(text[strlen(text) - 1], '\n');
    }
}

static void a_buffer_that_is_too_small_gives_a_whole_line_or_none(void **state)
{
    (void)state;
    static const struct lp_slice names[] = {{"room", 4}};
    struct access_line line = a_request();
    struct access_format format;

    line.query = LP_SLICE("room=1");
    for (size_t out_max = 0; out_max < 1200; out_max++) {
        access_format_init(&format, LP_LOG_JSON, names, 1);
        const char *json = write_into(out_max, &format, &line);
        assert_true(*json == '\0' || is_one_flat_json_object(json));
        access_format_init(&format, LP_LOG_TEXT, names, 1);
        const char *text = write_into(out_max, &format, &line);
        assert_true(*text == '\0' || text[strlen(text) - 1] == '\n');
    }
}

static void one_format_follows_the_clock(void **state)
{
    (void)state;
    struct access_format format;
    struct access_line line = an_empty_line();
    char out[ACCESS_LINE_BYTES];

    access_format_init(&format, LP_LOG_TEXT, NULL, 0);
    line.unix_ms = 951782399999; /* the day before a leap day, and back */
    access_line_write(&format, out, sizeof(out), &line);
    assert_memory_equal(out, "time=2000-02-28T23:59:59.999Z ", 30);
    line.unix_ms += 1;
    access_line_write(&format, out, sizeof(out), &line);
    assert_memory_equal(out, "time=2000-02-29T00:00:00.000Z ", 30);
    line.unix_ms -= 1;
    access_line_write(&format, out, sizeof(out), &line);
    assert_memory_equal(out, "time=2000-02-28T23:59:59.999Z ", 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_of_a_request_has_every_field_that_there_is),
        cmocka_unit_test(json_of_a_tunnels_end_tells_messages_and_age),
        cmocka_unit_test(text_has_all_fields_and_a_dash_for_what_is_absent),
        cmocka_unit_test(text_is_quoted_only_where_it_must_be),
        cmocka_unit_test(json_escapes_what_it_must_and_keeps_utf8),
        cmocka_unit_test(bytes_that_are_no_utf8_become_the_replacement_character),
        cmocka_unit_test(any_bytes_give_valid_json_and_printable_text),
        cmocka_unit_test(the_query_is_not_logged),
        cmocka_unit_test(only_allowed_parameters_of_the_query_are_logged),
        cmocka_unit_test(long_values_are_cut_and_the_line_is_still_whole),
        cmocka_unit_test(a_buffer_that_is_too_small_gives_a_whole_line_or_none),
        cmocka_unit_test(one_format_follows_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
