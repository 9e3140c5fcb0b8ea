/* proxy_header: its bytes, as the specification (HAProxy's proxy-protocol.txt) has them. */
#include "lb/net/proxy_header.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

#define SIGNATURE "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"

static struct lp_addr addr(const char *text)
{
    struct lp_addr out;

    assert_true(lp_addr_parse(&out, lp_slice_of(text), false));
    return out;
}

/* As the kernel gives an IPv4 client on a listener for both families. */
static struct lp_addr mapped_addr(const char *ip, uint16_t port)
{
    struct lp_addr out = {.size = sizeof(struct sockaddr_in6)};

    out.as.in6.sin6_family = AF_INET6;
    out.as.in6.sin6_port = htons(port);
    assert_int_equal(inet_pton(AF_INET6, ip, &out.as.in6.sin6_addr), 1);
    return out;
}

/* Written right before a page that nobody may write. */
static void assert_written(enum lp_proxy_protocol version, const struct proxy_header *what,
                           struct lp_slice expected)
{
    char *out = guard_page() - PROXY_HEADER_BYTES_MAX;

    assert_int_equal(proxy_header_write(out, version, what), expected.size);
    assert_memory_equal(out, expected.data, expected.size);
}

static void assert_both(struct lp_addr client, struct lp_addr local, struct lp_slice line,
                        struct lp_slice binary)
{
    struct proxy_header what = {.client = &client, .local = &local};

    assert_written(LP_PROXY_PROTOCOL_V1, &what, line);
    assert_written(LP_PROXY_PROTOCOL_V2, &what, binary);
}

static void ipv4_is_written_in_both_versions(void **state)
{
    (void)state;
    assert_both(addr("192.0.2.33:51234"), addr("198.51.100.7:443"),
                LP_SLICE("PROXY TCP4 192.0.2.33 198.51.100.7 51234 443\r\n"),
                LP_SLICE(SIGNATURE "\x21\x11\x00\x0c"
                                   "\xc0\x00\x02\x21"
                                   "\xc6\x33\x64\x07"
                                   "\xc8\x22\x01\xbb"));
    assert_both(addr("255.255.255.255:65535"), addr("255.255.255.255:65535"),
                LP_SLICE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
                LP_SLICE(SIGNATURE "\x21\x11\x00\x0c"
                                   "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
}

static void ipv6_is_written_in_both_versions(void **state)
{
    (void)state;
    assert_both(addr("[2001:db8::1:2]:51234"), addr("[::1]:443"),
                LP_SLICE("PROXY TCP6 2001:db8::1:2 ::1 51234 443\r\n"),
                LP_SLICE(SIGNATURE "\x21\x21\x00\x24"
                                   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\x01\0\x02"
                                   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                                   "\xc8\x22\x01\xbb"));
}

static void mapped_ipv4_is_ipv4(void **state)
{
    (void)state;
    assert_both(mapped_addr("::ffff:192.0.2.33", 51234), mapped_addr("::ffff:198.51.100.7", 443),
                LP_SLICE("PROXY TCP4 192.0.2.33 198.51.100.7 51234 443\r\n"),
                LP_SLICE(SIGNATURE "\x21\x11\x00\x0c"
                                   "\xc0\x00\x02\x21"
                                   "\xc6\x33\x64\x07"
                                   "\xc8\x22\x01\xbb"));
}

static void two_families_are_both_written_as_ipv6(void **state)
{
    (void)state;
    assert_both(addr("192.0.2.33:51234"), addr("[2001:db8::7]:443"),
                LP_SLICE("PROXY TCP6 ::ffff:192.0.2.33 2001:db8::7 51234 443\r\n"),
                LP_SLICE(SIGNATURE "\x21\x21\x00\x24"
                                   "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x21"
                                   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
                                   "\xc8\x22\x01\xbb"));
    assert_both(addr("[2001:db8::7]:443"), addr("192.0.2.33:51234"),
                LP_SLICE("PROXY TCP6 2001:db8::7 ::ffff:192.0.2.33 443 51234\r\n"),
                LP_SLICE(SIGNATURE "\x21\x21\x00\x24"
                                   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
                                   "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x21"
                                   "\x01\xbb\xc8\x22"));
}

#define UNKNOWN_LINE   LP_SLICE("PROXY UNKNOWN\r\n")
#define UNKNOWN_BINARY LP_SLICE(SIGNATURE "\x21\x00\x00\x00")

static void a_client_on_a_unix_socket_is_unknown(void **state)
{
    (void)state;
    struct lp_addr client = addr("192.0.2.33:51234");
    struct proxy_header what = {.client = &client};

    assert_both(addr("unix:/run/client"), addr("unix:/run/limpet"), UNKNOWN_LINE, UNKNOWN_BINARY);
    assert_both(client, addr("unix:/run/limpet"), UNKNOWN_LINE, UNKNOWN_BINARY);
    assert_both((struct lp_addr){0}, addr("192.0.2.33:51234"), UNKNOWN_LINE, UNKNOWN_BINARY);
    assert_written(LP_PROXY_PROTOCOL_V1, &what, UNKNOWN_LINE);
    assert_written(LP_PROXY_PROTOCOL_V2, &what, UNKNOWN_BINARY);
}

static void a_connection_of_our_own_is_local(void **state)
{
    (void)state;
    struct lp_addr local = addr("192.0.2.33:51234");
    struct proxy_header what = {.local = &local, .name = LP_SLICE("a.example")};

    assert_written(LP_PROXY_PROTOCOL_V1, &what, UNKNOWN_LINE);
    assert_written(LP_PROXY_PROTOCOL_V2, &what, LP_SLICE(SIGNATURE "\x20\x00\x00\x00"));
}

static void a_name_is_told_by_version_2(void **state)
{
    (void)state;
    struct lp_addr client = addr("192.0.2.33:51234"), local = addr("198.51.100.7:443"),
                   nowhere = addr("unix:/run/limpet");
    struct proxy_header what = {.client = &client, .local = &local, .name = LP_SLICE("a.example")};

    assert_written(LP_PROXY_PROTOCOL_V1, &what,
                   LP_SLICE("PROXY TCP4 192.0.2.33 198.51.100.7 51234 443\r\n"));
    assert_written(LP_PROXY_PROTOCOL_V2, &what,
                   LP_SLICE(SIGNATURE "\x21\x11\x00\x18"
                                      "\xc0\x00\x02\x21"
                                      "\xc6\x33\x64\x07"
                                      "\xc8\x22\x01\xbb"
                                      "\x02\x00\x09"
                                      "a.example"));
    what.client = &nowhere;
    assert_written(LP_PROXY_PROTOCOL_V2, &what,
                   LP_SLICE(SIGNATURE "\x21\x00\x00\x0c"
                                      "\x02\x00\x09"
                                      "a.example"));
}

static void the_longest_header_fits(void **state)
{
    (void)state;
    const char *longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    char name[LP_TLS_NAME_BYTES_MAX];
    struct lp_addr end = mapped_addr(longest, 65535);
    struct proxy_header what = {.client = &end, .local = &end, .name = {name, sizeof(name)}};
    char *out = guard_page() - PROXY_HEADER_BYTES_MAX;

    memset(name, 'a', sizeof(name));
    assert_written(LP_PROXY_PROTOCOL_V1, &what,
                   LP_SLICE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"));
    assert_int_equal(proxy_header_write(out, LP_PROXY_PROTOCOL_V2, &what), PROXY_HEADER_BYTES_MAX);
    assert_memory_equal(out + 12, "\x21\x21\x01\x26", 4);
    assert_memory_equal(out + 52, "\x02\x00\xff", 3);
    assert_memory_equal(out + 55, name, sizeof(name));
}

static void nothing_is_written_when_it_is_off(void **state)
{
    (void)state;
    struct proxy_header what = {.client = NULL};

    assert_written(LP_PROXY_PROTOCOL_OFF, &what, LP_SLICE(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_is_written_in_both_versions),
        cmocka_unit_test(ipv6_is_written_in_both_versions),
        cmocka_unit_test(mapped_ipv4_is_ipv4),
        cmocka_unit_test(two_families_are_both_written_as_ipv6),
        cmocka_unit_test(a_client_on_a_unix_socket_is_unknown),
        cmocka_unit_test(a_connection_of_our_own_is_local),
        cmocka_unit_test(a_name_is_told_by_version_2),
        cmocka_unit_test(the_longest_header_fits),
        cmocka_unit_test(nothing_is_written_when_it_is_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
