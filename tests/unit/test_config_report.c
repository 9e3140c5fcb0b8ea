/* The form of what lp_config_parse() says: order, excerpt, caret, limits; the warnings; and what is
 * complained about later, when files were opened. The sentences of single mistakes are in
 * test_config_errors.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

/* ---- the form of a report ---- */

static void assert_report(const char *text, bool is_good, const char *expected)
{
    struct lp_config *config;
    struct lp_config_report report;

    assert_int_equal(lp_config_parse(&config, &report, "limpet.yaml", lp_slice_of(text)), is_good);
    assert_string_equal(report.text, expected);
    assert_int_equal(report.text_size, strlen(expected));
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
}

static void an_error_shows_its_line_with_a_caret_and_the_valid_keys(void **state)
{
    (void)state;
    assert_report("listeners: {web: {bind: 127.0.0.1:1, pool: app}}\n"
                  "pools:\n"
                  "  app:\n"
                  "    servers: {a: 10.0.0.1:80}\n"
                  "    check:\n"
                  "      intervall: 2s\n",
                  false,
                  "limpet.yaml:6:7: error: pools.app.check.intervall: unknown key; did you mean "
                  "\"interval\"?\n"
                  "    6 |       intervall: 2s\n"
                  "      |       ^~~~~~~~~\n"
                  "  valid here: type, path, host, port, headers, expect, ping, interval, timeout, "
                  "rise, fall\n");
}

static void columns_count_characters_and_carets_stand_below_them(void **state)
{
    (void)state;
    assert_report("listeners: {\"\xc3\xa4\": {bind: 127.0.0.1:x, pool: app}}\n"
                  "pools: {app: {servers: {a: 10.0.0.1:80}}}\n",
                  false,
                  "limpet.yaml:1:13: error: listeners.\xc3\xa4: a name has 1 to 255 letters, "
                  "digits, dots, underscores or hyphens (A-Z a-z 0-9 . _ -)\n"
                  "    1 | listeners: {\"\xc3\xa4\": {bind: 127.0.0.1:x, pool: app}}\n"
                  "      |             ^~~\n"
                  "limpet.yaml:1:25: error: listeners.\xc3\xa4.bind: \"x\" is no port; a port is "
                  "1..65535\n"
                  "    1 | listeners: {\"\xc3\xa4\": {bind: 127.0.0.1:x, pool: app}}\n"
                  "      |                         ^~~~~~~~~~~\n");
}

static void several_errors_come_in_the_order_of_the_file(void **state)
{
    (void)state;
    assert_report("pools: {}\n"
                  "workers: x\n"
                  "listeners: {}\n"
                  "drain: {spread: 5}\n",
                  false,
                  "limpet.yaml:1:1: error: pools: is empty; it says which servers there are\n"
                  "    1 | pools: {}\n"
                  "      | ^~~~~\n"
                  "limpet.yaml:2:10: error: workers: \"x\" is not a whole number\n"
                  "    2 | workers: x\n"
                  "      |          ^\n"
                  "limpet.yaml:3:1: error: listeners: is empty; it says where to accept "
                  "connections\n"
                  "    3 | listeners: {}\n"
                  "      | ^~~~~~~~~\n"
                  "limpet.yaml:4:17: error: drain.spread: \"5\" has no unit; did you mean "
                  "\"5%\"?\n"
                  "    4 | drain: {spread: 5}\n"
                  "      |                 ^\n");
}

static void at_most_twenty_errors_are_shown(void **state)
{
    char text[2048] = "listeners: {web: {bind: 127.0.0.1:1, pool: app}}\n"
                      "pools:\n  app:\n    servers:\n";
    struct lp_config *config;
    struct lp_config_report report;
    uint32_t shown = 0;

    (void)state;
    for (int i = 0; i < 33; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "      s%d: nowhere\n", i);
    }
    assert_false(lp_config_parse(&config, &report, "limpet.yaml", lp_slice_of(text)));
    for (const char *at = report.text; (at = strstr(at, ": error: ")) != NULL; at++)
        shown++;
    assert_int_equal(shown, 20);
    assert_int_equal(report.errors_count, 33);
    assert_non_null(strstr(report.text, "\nlimpet.yaml: 13 more errors not shown\n"));
    lp_config_report_deinit(&report);
}

static void long_lines_are_cut_around_the_mistake(void **state)
{
    char text[1024], *at;
    struct lp_config *config;
    struct lp_config_report report;

    (void)state;
    snprintf(text, sizeof(text), "listeners: {web: {bind: 127.0.0.1:1, %*s pool: wrong}, %*s x: 1}",
             300, "", 300, "");
    assert_false(lp_config_parse(&config, &report, "limpet.yaml", lp_slice_of(text)));
    at = strstr(report.text, "error: listeners.web.pool: there is no pool \"wrong\"\n    1 | ");
    assert_non_null(at);
    at = strchr(at, '|') + 2;
    char *caret_line = strchr(at, '\n') + 1;
    assert_int_equal(caret_line - at, 101);
    size_t column = strcspn(caret_line, "^") - 8;
    assert_memory_equal(at + column, "wrong", 5);
    assert_memory_equal(caret_line + 8 + column, "^~~~~\n", 6);
    lp_config_report_deinit(&report);
}

static void no_control_character_of_a_file_reaches_the_terminal(void **state)
{
    struct lp_config *config;
    struct lp_config_report report;

    (void)state;
    assert_false(lp_config_parse(&config, &report, "a\x1b[2J.yaml",
                                 LP_SLICE("\"\\e[2J\": \"\xc2\x9b\x1b\xff\"\n")));
    for (size_t i = 0; i < report.text_size; i++)
        assert_true(report.text[i] == '\n' || (unsigned char)report.text[i] >= 0x20);
    assert_null(strstr(report.text, "\xc2\x9b"));
    assert_null(strchr(report.text, '\xff'));
    lp_config_report_deinit(&report);
}

static void a_file_that_cannot_be_read_is_one_error(void **state)
{
    struct lp_config *config;
    struct lp_config_report report;

    (void)state;
    assert_false(lp_config_load(&config, &report, "/nonexistent/limpet.yaml"));
    assert_null(config);
    assert_string_equal(report.text, "/nonexistent/limpet.yaml: error: cannot be read: No such "
                                     "file or directory\n");
    assert_int_equal(report.errors_count, 1);
    lp_config_report_deinit(&report);
    assert_false(lp_config_load(&config, &report, "/"));
    assert_string_equal(report.text, "/: error: cannot be read: Is a directory\n");
    lp_config_report_deinit(&report);
}

static void a_file_of_more_than_16_mib_is_refused(void **state)
{
    size_t size = 16777217;
    char *text = lp_alloc(size);
    struct lp_config *config;
    struct lp_config_report report;

    (void)state;
    memset(text, '#', size);
    assert_false(lp_config_parse(&config, &report, "limpet.yaml", (struct lp_slice){text, size}));
    assert_string_equal(report.text, "limpet.yaml: error: has more than 16 MiB\n");
    lp_config_report_deinit(&report);
    lp_free(text);
}

static void more_than_a_million_values_are_refused(void **state)
{
    size_t size = 2200000;
    char *text = lp_alloc(size);
    struct lp_config *config;
    struct lp_config_report report;

    (void)state;
    for (size_t i = 0; i < size; i++)
        text[i] = (i % 2 == 1) ? 'a' : ',';
    text[0] = '[';
    assert_false(
        lp_config_parse(&config, &report, "limpet.yaml", (struct lp_slice){text, size - 1}));
    assert_non_null(strstr(report.text, "error: more than a million values in one file\n"));
    lp_config_report_deinit(&report);
    lp_free(text);
}

/* ---- warnings ---- */

static void what_bites_later_is_a_warning(void **state)
{
    (void)state;
    assert_report("listeners:\n"
                  "  web:\n"
                  "    bind: \"*:8080\"\n"
                  "    routes:\n"
                  "      - {match: {path: /a}, pool: app}\n"
                  "      - {match: {path: /a/b, host: x.com}, pool: app}\n"
                  "      - {pool: app}\n"
                  "pools:\n"
                  "  app:\n"
                  "    hash: {key: [cookie:sid, client_ip]}\n"
                  "    servers: {a: 127.0.0.1:8080}\n"
                  "  idle: {servers: {a: 10.0.0.1:80}}\n",
                  true,
                  "limpet.yaml:6:9: warning: listeners.web.routes[1]: never matches: the route in "
                  "line 5 takes everything before it\n"
                  "    6 |       - {match: {path: /a/b, host: x.com}, pool: app}\n"
                  "      |         ^\n"
                  "limpet.yaml:10:12: warning: pools.app.hash.key: a list of keys: a client whose "
                  "requests carry \"cookie:sid\" only now and then is sent to different servers\n"
                  "   10 |     hash: {key: [cookie:sid, client_ip]}\n"
                  "      |            ^~~\n"
                  "limpet.yaml:11:18: warning: pools.app.servers.a: is limpet's own listener "
                  "\"web\": requests would go in circles\n"
                  "   11 |     servers: {a: 127.0.0.1:8080}\n"
                  "      |                  ^~~~~~~~~~~~~~\n"
                  "limpet.yaml:12:3: warning: pools.idle: no listener and no route uses this pool\n"
                  "   12 |   idle: {servers: {a: 10.0.0.1:80}}\n"
                  "      |   ^~~~\n");
}

static uint32_t warnings_of_routes(const char *first, const char *second)
{
    struct lp_config *config;
    struct lp_config_report report;
    char text[1024];

    snprintf(text, sizeof(text),
             "listeners: {web: {bind: 127.0.0.1:80, routes: [{pool: a, match: {%s}}, {pool: a, "
             "match: {%s}}]}}\npools: {a: {servers: {a: 10.0.0.1:80}}}\n",
             first, second);
    assert_true(lp_config_parse(&config, &report, "t.yaml", lp_slice_of(text)));
    uint32_t count = report.warnings_count;
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
    return count;
}

static void a_route_is_said_never_to_match_only_when_it_never_does(void **state)
{
    static const struct {
        const char *first, *second;
        uint32_t warnings;
    } pairs[] = {
        {"", "path: /a", 1},
        {"path: /a", "", 0},
        {"path: /", "path_exact: /a", 1},
        {"path: /a", "path: /a/", 1},
        {"path: /a", "path: /ab", 0},
        {"path: /a", "path_exact: /a", 1},
        {"path_exact: /a", "path: /a", 0},
        {"path_exact: /a", "path_exact: /a", 1},
        {"upgrade: websocket", "path: /a", 0},
        {"upgrade: websocket", "upgrade: none", 0},
        {"path: /a", "path: /a, upgrade: none", 1},
        {"host: a.com", "host: A.COM.", 1},
        {"host: a.com", "host: b.a.com", 0},
        {"host: \"*.a.com\"", "host: b.a.com", 1},
        {"host: \"*.a.com\"", "host: a.com", 0},
        {"host: \"*.a.com\"", "host: xa.com", 0},
        {"host: \"*.a.com\"", "host: \"*.b.a.com\"", 1},
        {"host: \"*.b.a.com\"", "host: \"*.a.com\"", 0},
        {"host: b.a.com", "host: \"*.a.com\"", 0},
    };

    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(pairs); i++)
        assert_int_equal(warnings_of_routes(pairs[i].first, pairs[i].second), pairs[i].warnings);
}

/* ---- complaints after the reading ---- */

static const char edge[] = "listeners:\n"
                           "  edge:\n"
                           "    bind: 127.0.0.1:443\n"
                           "    pool: app\n"
                           "    tls:\n"
                           "      client_ca: ca.pem\n"
                           "      certificates:\n"
                           "        - {cert: site.pem, key: /keys/site.key, ocsp: site.ocsp}\n"
                           "pools: {app: {servers: {a: 10.0.0.1:80}}}\n";

static struct lp_config *load_edge(struct lp_config_report *report)
{
    struct lp_config *config;

    assert_true(lp_config_parse(&config, report, "t.yaml", lp_slice_of(edge)));
    assert_string_equal(report->text, "");
    return config;
}

static void a_later_complaint_looks_like_the_readers_own(void **state)
{
    struct lp_config_report report;
    struct lp_config *config = load_edge(&report);
    const struct lp_cfg_certificate *first = &config->listeners[0].tls.certificates[0];

    (void)state;
    lp_config_complain(&report, config, LP_ERROR, first->key.pos, first->key.where,
                       "does not fit %s", "site.pem");
    lp_config_complain(&report, config, LP_WARNING, first->cert.pos, first->cert.where,
                       "ends in 3 days");
    assert_string_equal(report.text,
                        "t.yaml:8:33: error: listeners.edge.tls.certificates[0].key: does not fit "
                        "site.pem\n"
                        "    8 |         - {cert: site.pem, key: /keys/site.key, ocsp: site.ocsp}\n"
                        "      |                                 ^~~~~~~~~~~~~~\n"
                        "t.yaml:8:18: warning: listeners.edge.tls.certificates[0].cert: ends in 3 "
                        "days\n"
                        "    8 |         - {cert: site.pem, key: /keys/site.key, ocsp: site.ocsp}\n"
                        "      |                  ^~~~~~~~\n");
    assert_int_equal(report.text_size, strlen(report.text));
    assert_int_equal(report.errors_count, 1);
    assert_int_equal(report.warnings_count, 1);
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
}

static void a_complaint_about_no_line_names_only_the_file(void **state)
{
    struct lp_config_report report = {0};
    struct lp_config_report unused;
    struct lp_config *config = load_edge(&unused);

    (void)state;
    lp_config_complain(&report, config, LP_ERROR, (struct lp_cfg_pos){0}, LP_SLICE(""), "is old");
    assert_string_equal(report.text, "t.yaml: error: is old\n");
    lp_config_report_deinit(&report);
    lp_config_report_deinit(&unused);
    lp_config_destroy(config);
}

static uint32_t count_lines_with(const char *text, const char *word)
{
    uint32_t count = 0;

    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
        count++;
    return count;
}

static void of_many_complaints_twenty_are_shown_and_the_rest_counted(void **state)
{
    struct lp_config_report report;
    struct lp_config *config = load_edge(&report);
    const struct lp_cfg_file *file = &config->listeners[0].tls.client_ca;

    (void)state;
    for (int i = 0; i < 23; i++)
        lp_config_complain(&report, config, LP_ERROR, file->pos, file->where, "complaint %d", i);
    lp_config_complain(&report, config, LP_WARNING, file->pos, file->where, "the only warning");
    assert_int_equal(report.errors_count, 23);
    assert_int_equal(count_lines_with(report.text, ": error: "), 20);
    assert_int_equal(count_lines_with(report.text, "the only warning\n"), 1);
    assert_int_equal(count_lines_with(report.text, "not shown"), 1);
    const char *last = "t.yaml: 3 more errors not shown\n";
    assert_string_equal(report.text + report.text_size - strlen(last), last);
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_shows_its_line_with_a_caret_and_the_valid_keys),
        cmocka_unit_test(columns_count_characters_and_carets_stand_below_them),
        cmocka_unit_test(several_errors_come_in_the_order_of_the_file),
        cmocka_unit_test(at_most_twenty_errors_are_shown),
        cmocka_unit_test(long_lines_are_cut_around_the_mistake),
        cmocka_unit_test(no_control_character_of_a_file_reaches_the_terminal),
        cmocka_unit_test(a_file_that_cannot_be_read_is_one_error),
        cmocka_unit_test(a_file_of_more_than_16_mib_is_refused),
        cmocka_unit_test(more_than_a_million_values_are_refused),
        cmocka_unit_test(what_bites_later_is_a_warning),
        cmocka_unit_test(a_route_is_said_never_to_match_only_when_it_never_does),
        cmocka_unit_test(a_later_complaint_looks_like_the_readers_own),
        cmocka_unit_test(a_complaint_about_no_line_names_only_the_file),
        cmocka_unit_test(of_many_complaints_twenty_are_shown_and_the_rest_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
