/* http1: normalised paths, cookies, query parameters and the client behind trusted proxies. */
#include "lb/http/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

static struct http1_head head;
static const char *bytes;

static void parse_with(const char *lines)
{
    static char text[LP_HEAD_BYTES_MAX];
    int size = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    const char *why;

    bytes = guarded(text, (size_t)size);
    http1_head_init(&head, LP_HEAD_BYTES_MAX, 100);
    assert_int_equal(http1_parse_request(&head, bytes, (size_t)size, &why), HTTP1_DONE);
}

/* Paths. */

static void a_path_has_one_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *path, *normalised;
    } rows[] = {
        {"/", "/"},
        {"/a", "/a"},
        {"/a/", "/a/"},
        {"/a/b/c", "/a/b/c"},
        {"//", "/"},
        {"//a///b//", "/a/b/"},
        {"/.", "/"},
        {"/./a/./b/.", "/a/b/"},
        {"/a/..", "/"},
        {"/a/b/..", "/a/"},
        {"/a/b/../c", "/a/c"},
        {"/a/b/../../c", "/c"},
        {"/a//../b", "/b"},
        {"/a/./../b/", "/b/"},
        {"/...", "/..."},
        {"/a../.b/..c/d.", "/a../.b/..c/d."},
        {"/%61%7A%41%5a%30%39%2d%2E%5f%7E", "/azAZ09-._~"},
        {"/%2e/a/%2E%2e/b", "/b"},
        {"/a/.%2e", "/"},
        {"/%2fa%2Fb", "/%2Fa%2Fb"},
        {"/%2e%2e%2fa", "/..%2Fa"},
        {"/%c3%a4%20%3f", "/%C3%A4%20%3F"},
        {"/%25%32%65", "/%252e"},
        {"/%01", "/%01"},
        {"/a;b=c/..;/d", "/a;b=c/..;/d"},
        {"/a\\..\\b|{}", "/a\\..\\b|{}"},
        {"*", "*"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        size_t size = strlen(rows[i].path);
        char *out = guard_page() - size;
        struct lp_slice path = {rows[i].path, size};
        size_t written = http1_normalise_path(out, path);

        if (written != strlen(rows[i].normalised) || memcmp(out, rows[i].normalised, written) != 0)
            fail_msg("%s became %.*s", rows[i].path, (int)written, out);
    }
}

static void a_path_above_the_root_or_with_a_broken_escape_is_none(void **state)
{
    (void)state;
    static const char *const rows[] = {"/..",        "/../",   "/a/../..",
                                       "/a/../../b", "//..",   "/./..",
                                       "/%2e%2e",    "/.%2E/", "/a/%2e%2e/%2e%2e",
                                       "/%",         "/a%",    "/%4",
                                       "/%4g",       "/%g4",   "/%%41",
                                       "/%00",       "/a%00b", "/% 41",
                                       "/%-1",       "a",      ""};

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        size_t size = strlen(rows[i]);
        char out[64];

        if (http1_normalise_path(out, (struct lp_slice){guarded(rows[i], size), size}) != SIZE_MAX)
            fail_msg("%s was taken", rows[i]);
    }
}

/* Cookies and queries. */

static void a_cookie_is_the_first_of_exactly_that_name(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *name, *value; /* NULL: missing */
    } rows[] = {
        {"Cookie: id=1\r\n", "id", "1"},
        {"Cookie: a=0; id=1; id=2\r\n", "id", "1"},
        {"Cookie: a=0;id=1\r\n", "id", "1"},
        {"Cookie: a=0\r\nB: c\r\nCookie: id=1\r\n", "id", "1"},
        {"Cookie: ID=1; xid=2; idx=3; id=4\r\n", "id", "4"},
        {"Cookie: id= \"a b\" ;c=d\r\n", "id", "\"a b\""},
        {"Cookie: id=a=b==\r\n", "id", "a=b=="},
        {"Cookie: id=\xff\r\n", "id", "\xff"},
        {"Cookie: id=a,b\r\n", "id", "a,b"},
        {"Cookie:   ;;  ; id=1;\r\n", "id", "1"},
        {"Cookie: id=; id=2\r\n", "id", NULL},
        {"Cookie: id\r\n", "id", NULL},
        {"Cookie: id =1\r\n", "id", NULL},
        {"Cookie: a=id=1\r\n", "id", NULL},
        {"Cookie:\r\n", "id", NULL},
        {"", "id", NULL},
        {"Set-Cookie: id=1\r\n", "id", NULL},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct lp_slice value = {NULL, 0};
        bool has = false;

        parse_with(rows[i].lines);
        has = http1_cookie(&value, &head, bytes, lp_slice_of(rows[i].name));
        if (has != (rows[i].value != NULL) ||
            (has && !lp_slice_equal(value, lp_slice_of(rows[i].value))))
            fail_msg("%s: %.*s", rows[i].lines, LP_SLICE_ARG(value));
    }
}

static void a_query_parameter_is_the_first_of_exactly_that_name(void **state)
{
    (void)state;
    static const struct {
        const char *query, *value; /* NULL: missing */
    } rows[] = {
        {"id=1", "1"},      {"a=b&id=1&id=2", "1"}, {"id=%31+", "%31+"}, {"xid=1&idx=2&id=3", "3"},
        {"&&id=1&", "1"},   {"id&id=1", "1"},       {"id=a=b", "a=b"},   {"id=a;id=b", "a;id=b"},
        {"id=&id=2", NULL}, {"id", NULL},           {"", NULL},          {"ID=1", NULL},
        {"i%64=1", NULL},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct lp_slice value = {NULL, 0};
        size_t size = strlen(rows[i].query);
        bool has = http1_query(&value, (struct lp_slice){guarded(rows[i].query, size), size},
                               LP_SLICE("id"));

        if (has != (rows[i].value != NULL) ||
            (has && !lp_slice_equal(value, lp_slice_of(rows[i].value))))
            fail_msg("%s: %.*s", rows[i].query, LP_SLICE_ARG(value));
    }
}

/* The client behind trusted proxies. */

static struct lp_ip ip_of(const char *text)
{
    struct lp_ip ip;

    assert_true(lp_ip_parse(&ip, lp_slice_of(text)));
    return ip;
}

static void assert_client(const char *peer, const char *lines, const char *client)
{
    static const char *const ranges[] = {"10.0.0.0/8", "2001:db8::/32"};
    struct lp_cidr trusted[LP_COUNT_OF(ranges)];
    struct lp_ip from = ip_of(peer), expected = ip_of(client), found;

    for (size_t i = 0; i < LP_COUNT_OF(ranges); i++)
        assert_true(lp_cidr_parse(&trusted[i], lp_slice_of(ranges[i])));
    parse_with(lines);
    found = http1_client_ip(&from, &head, bytes, trusted, LP_COUNT_OF(trusted));
    if (!lp_ip_equal(&found, &expected)) {
        char text[LP_ADDR_TEXT_MAX];

        lp_ip_format(&found, text);
        fail_msg("%s from %s: %s instead of %s", lines, peer, text, client);
    }
}

static void an_untrusted_peer_is_the_client_whatever_it_says(void **state)
{
    (void)state;

    assert_client("192.0.2.1", "X-Forwarded-For: 6.6.6.6\r\n", "192.0.2.1");
    assert_client("10.0.0.1", "", "10.0.0.1");
    assert_client("10.0.0.1", "X-Forwarded-For:\r\n", "10.0.0.1");
    assert_client("10.0.0.1", "X_Forwarded_For: 6.6.6.6\r\n", "10.0.0.1");
}

static void the_first_untrusted_address_from_the_right_is_the_client(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *client;
    } rows[] = {
        {"X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1"},
        {"X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n", "2.2.2.2"},
        {"X-Forwarded-For: 1.1.1.1,2.2.2.2 ,\t10.0.0.2\r\n", "2.2.2.2"},
        {"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 10.0.0.2\r\n", "1.1.1.1"},
        {"X-Forwarded-For: 1.1.1.1\r\nA: b\r\nX-Forwarded-For: 2.2.2.2, 10.0.0.2\r\n", "2.2.2.2"},
        {"X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3"},
        {"X-Forwarded-For: 1.1.1.1:1234\r\n", "1.1.1.1"},
        {"X-Forwarded-For: 2001:db9::1\r\n", "2001:db9::1"},
        {"X-Forwarded-For: [2001:db9::1]\r\n", "2001:db9::1"},
        {"X-Forwarded-For: [2001:db9::1]:443, 2001:db8::5\r\n", "2001:db9::1"},
        {"X-Forwarded-For: ::ffff:1.1.1.1\r\n", "1.1.1.1"},
        {"X-Forwarded-For: ::ffff:10.0.0.2\r\n", "10.0.0.2"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++)
        assert_client("10.0.0.1", rows[i].lines, rows[i].client);
}

static void what_is_no_address_stops_the_walk(void **state)
{
    (void)state;
    static const struct {
        const char *element, *client;
    } rows[] = {
        {"1.1.1.1, x, 10.0.0.2", "10.0.0.2"},
        {"1.1.1.1, unknown", "10.0.0.1"},
        {"1.1.1.1,", "10.0.0.1"},
        {"1.1.1.1, , 10.0.0.2", "10.0.0.2"},
        {"1.1.1.1:x", "10.0.0.1"},
        {"1.1.1.1:", "10.0.0.1"},
        {"1.1.1.1:65536", "10.0.0.1"},
        {"[1.1.1.1]", "10.0.0.1"},
        {"[2001:db9::1", "10.0.0.1"},
        {"[2001:db9::1]443", "10.0.0.1"},
        {"[]", "10.0.0.1"},
        {"1.1.1.256", "10.0.0.1"},
        {"\"1.1.1.1\"", "10.0.0.1"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        char lines[128];

        snprintf(lines, sizeof(lines), "X-Forwarded-For: %s\r\n", rows[i].element);
        assert_client("10.0.0.1", lines, rows[i].client);
    }
}

static void a_unix_socket_peer_stays_without_address(void **state)
{
    (void)state;
    struct lp_ip none = {0}, found;
    struct lp_cidr everyone = {0};

    parse_with("X-Forwarded-For: 1.1.1.1\r\n");
    found = http1_client_ip(&none, &head, bytes, &everyone, 1);
    assert_int_equal(found.family, 0);
}

static void a_host_name_has_no_port_and_no_trailing_dot(void **state)
{
    (void)state;
    static const struct {
        const char *authority, *name;
    } rows[] = {{"www.example.com", "www.example.com"},
                {"www.example.com:8443", "www.example.com"},
                {"www.example.com.", "www.example.com"},
                {"WWW.Example.com.:443", "WWW.Example.com"},
                {"a:", "a"},
                {"192.0.2.1:80", "192.0.2.1"},
                {"[2001:db8::1]", "[2001:db8::1]"},
                {"[2001:db8::1]:443", "[2001:db8::1]"},
                {"[2001:db8::1", "[2001:db8::1"},
                {":80", ""},
                {".", ""},
                {"a..", "a."},
                {"", ""}};

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        size_t size = strlen(rows[i].authority);
        struct lp_slice name =
            http1_host_name((struct lp_slice){guarded(rows[i].authority, size), size});

        assert_int_equal(name.size, strlen(rows[i].name));
        assert_memory_equal(name.data, rows[i].name, name.size);
    }
    assert_int_equal(http1_host_name((struct lp_slice){NULL, 0}).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_has_one_spelling),
        cmocka_unit_test(a_path_above_the_root_or_with_a_broken_escape_is_none),
        cmocka_unit_test(a_cookie_is_the_first_of_exactly_that_name),
        cmocka_unit_test(a_query_parameter_is_the_first_of_exactly_that_name),
        cmocka_unit_test(a_host_name_has_no_port_and_no_trailing_dot),
        cmocka_unit_test(an_untrusted_peer_is_the_client_whatever_it_says),
        cmocka_unit_test(the_first_untrusted_address_from_the_right_is_the_client),
        cmocka_unit_test(what_is_no_address_stops_the_walk),
        cmocka_unit_test(a_unix_socket_peer_stays_without_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
