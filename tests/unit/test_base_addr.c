/* addr: addresses as people write them, and back in the one way RFC 5952 recommends. */
#include "base/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/dice.h"
#include "tests/unit/guard.h"

/* Text that ends at a page nobody may read. */
static struct lp_slice at_the_edge(const char *text)
{
    size_t size = strlen(text);
    return (struct lp_slice){guarded(text, size), size};
}

static struct lp_ip ip_of(const char *text)
{
    struct lp_ip ip;

    if (!lp_ip_parse(&ip, at_the_edge(text)))
        fail_msg("\"%s\" is an address", text);
    return ip;
}

static struct lp_addr addr_of(const char *text)
{
    struct lp_addr addr;

    if (!lp_addr_parse(&addr, at_the_edge(text), true))
        fail_msg("\"%s\" is an address", text);
    return addr;
}

static const char *text_of(const struct lp_ip *ip)
{
    static char text[LP_ADDR_TEXT_MAX];

    size_t size = lp_ip_format(ip, text);
    assert_int_equal(size, strlen(text));
    return text;
}

/* --- addresses without a port --- */

static void addresses_are_written_as_rfc_5952_says(void **state)
{
    (void)state;
    static const struct {
        const char *given, *written;
    } rows[] = {
        /* Sections 1 and 4 of the RFC. */
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8::1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8::0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:0db8::1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8:0:0:1::1", "2001:db8::1:0:0:1"},
        {"2001:DB8:0:0:1::1", "2001:db8::1:0:0:1"},
        {"2001:0db8::0001", "2001:db8::1"},
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* one zero field is not shortened */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},          /* the longest run of zeros is */
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},    /* the first of two equal ones is */
        {"2001:db8:aaaa:bbbb:cccc:dddd:eeee:AAAA", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa"},
        {"2001:db8:0:0:0::1", "2001:db8::1"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"0:0:0:0:0:0:0:1", "::1"},
        {"1:0:0:0:0:0:0:0", "1::"},
        {"fe80::", "fe80::"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:255.255.255.255",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"192.0.2.1", "192.0.2.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"10.20.100.9", "10.20.100.9"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct lp_ip ip = ip_of(rows[i].given);
        assert_string_equal(text_of(&ip), rows[i].written);
    }
}

static void a_mapped_ipv6_address_is_the_ipv4_address(void **state)
{
    (void)state;
    static const char *const mapped[] = {"::ffff:192.0.2.1", "::FFFF:c000:201",
                                         "0:0:0:0:0:ffff:c000:0201", "::ffff:c000:201"};
    struct lp_ip plain = ip_of("192.0.2.1");

    assert_int_equal(plain.family, 4);
    for (size_t i = 0; i < LP_COUNT_OF(mapped); i++) {
        struct lp_ip ip = ip_of(mapped[i]);
        assert_true(lp_ip_equal(&ip, &plain));
    }
}

static void no_other_ipv6_address_with_an_ipv4_part_is_unmapped(void **state)
{
    (void)state;
    static const char *const others[] = {"64:ff9b::192.0.2.1", "::192.0.2.1",
                                         "::fffe:192.0.2.1",   "1::ffff:192.0.2.1",
                                         "::ffff:0:192.0.2.1", "2002:c000:201::"};

    for (size_t i = 0; i < LP_COUNT_OF(others); i++)
        assert_int_equal(ip_of(others[i]).family, 6);
}

static void texts_that_are_no_address_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        " ",
        ".",
        ":",
        "::.",
        "a",
        "localhost",
        "example.com",
        /* IPv4 has four decimal numbers up to 255 without signs, blanks or leading zeros. */
        "1",
        "1.2",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.",
        ".1.2.3",
        "1..2.3",
        "1.2.3.4.",
        "256.1.1.1",
        "1.1.1.256",
        "1.2.3.1000",
        "-1.2.3.4",
        "+1.2.3.4",
        " 1.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4\n",
        "1.2.3. 4",
        "01.2.3.4",
        "1.2.3.04",
        "0x1.2.3.4",
        "1.2.3.0x4",
        "1,2,3,4",
        "1.2.3.4/32",
        "1.2.3.4:80",
        "[1.2.3.4]",
        "16909060",
        "1.2.3.4%lo",
        /* IPv6 has eight groups of up to four digits, or fewer and one "::". */
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:",
        ":1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8::",
        "::1:2:3:4:5:6:7:8",
        "1::2::3",
        "1:::2",
        "12345::",
        "::12345",
        "g::",
        "::g",
        "0x1::",
        "fe80::1%lo",
        "fe80::1%1",
        "[::1]",
        "[::1",
        "::1]",
        " ::1",
        "::1 ",
        "::1/128",
        "::1:",
        "1:2:3:4:5:6:7:1.2.3.4",
        "::1.2.3",
        "::1.2.3.4.5",
        "::256.1.1.1",
        "::1.2.3.4:5",
        "1.2.3.4::",
        "::-1",
        "::+1",
        "::ffff:1.2.3.04",
        "1111:2222:3333:4444:5555:6666:7777:88888",
        "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
    };

    for (size_t i = 0; i < LP_COUNT_OF(wrong); i++) {
        struct lp_ip ip;
        if (lp_ip_parse(&ip, at_the_edge(wrong[i])))
            fail_msg("\"%s\" was taken for an address", wrong[i]);
    }
}

static void an_address_with_a_nul_in_it_is_refused(void **state)
{
    (void)state;
    struct lp_ip ip;
    struct lp_cidr cidr;
    struct lp_addr addr;

    assert_false(lp_ip_parse(&ip, LP_SLICE("1.2.3.4\0")));
    assert_false(lp_ip_parse(&ip, LP_SLICE("::1\0junk")));
    assert_false(lp_ip_parse(&ip, LP_SLICE("\0")));
    assert_false(lp_ip_parse(&ip, (struct lp_slice){NULL, 0}));
    assert_false(lp_cidr_parse(&cidr, LP_SLICE("10.0.0.0\0/8")));
    assert_false(lp_cidr_parse(&cidr, LP_SLICE("10.0.0.0/8\0")));
    assert_false(lp_cidr_parse(&cidr, (struct lp_slice){NULL, 0}));
    assert_false(lp_addr_parse(&addr, LP_SLICE("1.2.3.4\0:80"), true));
    assert_false(lp_addr_parse(&addr, LP_SLICE("1.2.3.4:80\0"), true));
    assert_false(lp_addr_parse(&addr, LP_SLICE("unix:/a\0b"), true));
    assert_false(lp_addr_parse(&addr, (struct lp_slice){NULL, 0}, true));
}

static void whatever_address_is_written_is_read_back_the_same(void **state)
{
    (void)state;
    struct dice dice = {11};

    for (uint32_t i = 0; i < 50000; i++) {
        struct lp_ip ip = {.family = i % 4 == 0 ? 4 : 6}, back;
        char text[LP_ADDR_TEXT_MAX];
        for (uint32_t j = 0; j < (ip.family == 4 ? 4 : 16); j++) /* many zeros, for "::" */
            ip.bytes[j] = dice_below(&dice, 3) == 0 ? (uint8_t)dice_roll(&dice) : 0;
        if (ip.family == 6)
            ip.bytes[0] |= 1; /* not a mapped one */
        size_t size = lp_ip_format(&ip, text);
        assert_int_equal(size, strlen(text));
        assert_true(size < LP_ADDR_TEXT_MAX);
        assert_true(lp_ip_parse(&back, (struct lp_slice){text, size}));
        assert_true(lp_ip_equal(&ip, &back));
    }
}

static void no_random_text_is_read_beyond_its_end_and_what_is_taken_comes_back(void **state)
{
    (void)state;
    static const char letters[] = "0123456789abcdefF::::....//[]*%-";
    struct dice dice = {12};
    uint32_t taken_count = 0;

    for (uint32_t i = 0; i < 200000; i++) {
        char text[64], out[LP_ADDR_TEXT_MAX];
        size_t size = dice_below(&dice, 24);
        struct lp_ip ip, again;
        struct lp_cidr cidr;
        struct lp_addr addr;
        for (size_t j = 0; j < size; j++)
            text[j] = letters[dice_below(&dice, sizeof(letters) - 1)];
        struct lp_slice slice = {guarded(text, size), size};
        lp_cidr_parse(&cidr, slice);
        lp_addr_parse(&addr, slice, true);
        if (!lp_ip_parse(&ip, slice))
            continue;
        taken_count++;
        size = lp_ip_format(&ip, out);
        assert_true(lp_ip_parse(&again, (struct lp_slice){out, size}));
        assert_true(lp_ip_equal(&ip, &again));
    }
    assert_true(taken_count > 10);
}

static void the_address_of_nobody_is_written_as_nothing(void **state)
{
    (void)state;
    struct lp_ip nobody = {0};
    char text[LP_ADDR_TEXT_MAX] = "before";

    assert_int_equal(lp_ip_format(&nobody, text), 0);
    assert_string_equal(text, "");
}

static void addresses_of_two_families_are_never_equal(void **state)
{
    (void)state;
    struct lp_ip nobody = {0}, zero4 = ip_of("0.0.0.0"), zero6 = ip_of("::");

    assert_false(lp_ip_equal(&nobody, &zero4));
    assert_false(lp_ip_equal(&nobody, &zero6));
    assert_false(lp_ip_equal(&zero4, &zero6));
    assert_true(lp_ip_equal(&zero6, &zero6));
}

/* --- networks --- */

static void a_network_contains_its_own_addresses_and_no_others(void **state)
{
    (void)state;
    static const struct {
        const char *network, *ip;
        bool is_inside;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1/32", "192.0.2.0", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "1.2.3.4", false},
        {"::/0", "ffff::", true},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1", "::1", true},
        {"::1/128", "::", false},
        {"172.16.0.0/12", "172.31.9.9", true},
        {"172.16.0.0/12", "172.32.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true},
        {"fe80::/10", "febf::1", true},
        {"fe80::/10", "fec0::", false},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct lp_cidr cidr;
        struct lp_ip ip = ip_of(rows[i].ip);
        assert_true(lp_cidr_parse(&cidr, at_the_edge(rows[i].network)));
        if (lp_cidr_contains(&cidr, &ip) != rows[i].is_inside)
            fail_msg("%s in %s", rows[i].ip, rows[i].network);
    }
}

static bool first_bits_are_equal(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
    for (uint32_t bit = 0; bit < bits; bit++)
        if (((a[bit / 8] ^ b[bit / 8]) >> (7 - bit % 8) & 1) != 0)
            return false;
    return true;
}

static void containing_means_that_the_first_bits_are_equal(void **state)
{
    (void)state;
    struct dice dice = {13};
    uint32_t inside_count = 0;

    for (uint32_t i = 0; i < 20000; i++) {
        uint8_t family = i % 2 == 0 ? 4 : 6;
        uint32_t bits_max = family == 4 ? 32 : 128;
        struct lp_cidr cidr = {.ip = {.family = family},
                               .bits = (uint8_t)dice_below(&dice, bits_max + 1)};
        struct lp_ip ip = {.family = family};
        for (uint32_t j = 0; j < bits_max / 8; j++)
            ip.bytes[j] = (uint8_t)dice_roll(&dice);
        for (uint32_t bit = 0; bit < cidr.bits; bit++)
            cidr.ip.bytes[bit / 8] |= (uint8_t)(ip.bytes[bit / 8] & 0x80 >> bit % 8);
        uint32_t flipped = dice_below(&dice, bits_max);
        ip.bytes[flipped / 8] ^= (uint8_t)(0x80 >> flipped % 8);
        bool is_inside = first_bits_are_equal(cidr.ip.bytes, ip.bytes, cidr.bits);
        inside_count += is_inside;
        assert_int_equal(lp_cidr_contains(&cidr, &ip), is_inside);
    }
    assert_in_range(inside_count, 5000, 15000);
}

static void a_mapped_network_counts_its_prefix_in_bits_of_ipv6(void **state)
{
    (void)state;
    struct lp_cidr mapped, plain;

    assert_true(lp_cidr_parse(&mapped, at_the_edge("::ffff:10.0.0.0/104")));
    assert_true(lp_cidr_parse(&plain, at_the_edge("10.0.0.0/8")));
    assert_int_equal(mapped.bits, plain.bits);
    assert_true(lp_ip_equal(&mapped.ip, &plain.ip));
    assert_true(lp_cidr_parse(&mapped, at_the_edge("::ffff:0:0/96")));
    assert_int_equal(mapped.bits, 0);
    assert_true(lp_cidr_parse(&mapped, at_the_edge("::ffff:10.1.2.3")));
    assert_int_equal(mapped.bits, 32);
    assert_false(lp_cidr_parse(&mapped, at_the_edge("::ffff:10.0.0.0/8")));
    assert_false(lp_cidr_parse(&mapped, at_the_edge("::ffff:10.0.0.0/95")));
    assert_false(lp_cidr_parse(&mapped, at_the_edge("::ffff:11.0.0.0/103")));
    assert_false(lp_cidr_parse(&mapped, at_the_edge("::ffff:10.0.0.0/129")));
}

static void texts_that_are_no_network_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.0.0.0/8 ",
        "10.0.0.0/8/8",
        "10.0.0.0//8",
        "10.0.0.0/a",
        "10.0.0.0/0x8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/4294967304",
        "10.0.0.0/256",
        "10/8",
        "10.0.0/8",
        "::/129",
        "::/",
        "2001:db8::/1 ",
        "[::]/0",
        "*/0",
        "fe80::%lo/64",
        /* Bits behind the prefix. */
        "10.0.0.1/8",
        "10.0.0.1/31",
        "1.0.0.0/0",
        "192.0.2.128/24",
        "2001:db8::1/64",
        "::1/127",
        "8000::/0",
    };

    for (size_t i = 0; i < LP_COUNT_OF(wrong); i++) {
        struct lp_cidr cidr;
        if (lp_cidr_parse(&cidr, at_the_edge(wrong[i])))
            fail_msg("\"%s\" was taken for a network", wrong[i]);
    }
}

/* --- addresses with a port, and Unix sockets --- */

static void an_address_is_written_back_as_it_was_given(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "127.0.0.1:80",        "0.0.0.0:65535", "255.255.255.255:1", "[::1]:80",
        "[2001:db8::1]:65535", "[::]:443",      "unix:/run/a.sock",  "unix:/with space and :80",
    };

    for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
        struct lp_addr addr = addr_of(texts[i]);
        char out[LP_ADDR_TEXT_MAX];
        assert_int_equal(lp_addr_format(&addr, out), strlen(texts[i]));
        assert_string_equal(out, texts[i]);
    }
}

static void an_address_is_what_sockets_want(void **state)
{
    (void)state;
    struct lp_addr four = addr_of("192.0.2.1:8080"), six = addr_of("[2001:db8::7]:443");
    struct lp_addr path = addr_of("unix:/run/x");

    assert_int_equal(four.size, sizeof(struct sockaddr_in));
    assert_int_equal(four.as.in.sin_family, AF_INET);
    assert_int_equal(four.as.in.sin_port, htons(8080));
    assert_memory_equal(&four.as.in.sin_addr, "\xc0\x00\x02\x01", 4);
    assert_int_equal(six.size, sizeof(struct sockaddr_in6));
    assert_int_equal(six.as.in6.sin6_family, AF_INET6);
    assert_int_equal(six.as.in6.sin6_port, htons(443));
    assert_int_equal(six.as.in6.sin6_scope_id, 0);
    assert_int_equal(six.as.in6.sin6_addr.s6_addr[15], 7);
    assert_int_equal(path.as.un.sun_family, AF_UNIX);
    assert_string_equal(path.as.un.sun_path, "/run/x");
    assert_int_equal(path.size, offsetof(struct sockaddr_un, sun_path) + sizeof("/run/x"));
}

static void a_star_is_any_address_only_where_that_is_allowed(void **state)
{
    (void)state;
    struct lp_addr addr, any = addr_of("[::]:80");

    assert_true(lp_addr_parse(&addr, at_the_edge("*:80"), true));
    assert_true(lp_addr_equal(&addr, &any));
    assert_false(lp_addr_parse(&addr, at_the_edge("*:80"), false));
    assert_false(lp_addr_parse(&addr, at_the_edge("*"), true));
    assert_false(lp_addr_parse(&addr, at_the_edge("**:80"), true));
    assert_false(lp_addr_parse(&addr, at_the_edge("[*]:80"), true));
    assert_true(lp_addr_parse(&addr, at_the_edge("[::]:80"), false));
}

static void a_mapped_address_with_a_port_is_an_ipv4_socket_address(void **state)
{
    (void)state;
    struct lp_addr mapped = addr_of("[::ffff:192.0.2.1]:80"), plain = addr_of("192.0.2.1:80");

    assert_int_equal(mapped.as.any.sa_family, AF_INET);
    assert_true(lp_addr_equal(&mapped, &plain));
}

/* As accept() on [::] tells of an IPv4 client. */
static void an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client(void **state)
{
    (void)state;
    struct lp_addr peer = {.size = sizeof(struct sockaddr_in6)}, plain = addr_of("192.0.2.1:4711");
    struct lp_ip expected = ip_of("192.0.2.1");
    char text[LP_ADDR_TEXT_MAX];

    peer.as.in6.sin6_family = AF_INET6;
    peer.as.in6.sin6_port = htons(4711);
    memcpy(&peer.as.in6.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01", 16);
    struct lp_ip ip = lp_addr_ip(&peer);
    assert_true(lp_ip_equal(&ip, &expected));
    assert_int_equal(lp_addr_port(&peer), 4711);
    lp_addr_format(&peer, text);
    assert_string_equal(text, "192.0.2.1:4711");
    assert_false(lp_addr_equal(&peer, &plain)); /* another socket family, another address to bind */
}

static void texts_that_are_no_address_with_a_port_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        ":",
        ":80",
        "80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:99999",
        "1.2.3.4:100000",
        "1.2.3.4:-1",
        "1.2.3.4:+80",
        "1.2.3.4: 80",
        "1.2.3.4:80 ",
        " 1.2.3.4:80",
        "1.2.3.4:http",
        "1.2.3.4:8o",
        "1.2.3.4:80:80",
        "1.2.3:80",
        "256.0.0.1:80",
        "localhost:80",
        "[1.2.3.4]:80",
        "::1:80",
        "::1",
        "[::1]",
        "[::1]:",
        "[::1]:0",
        "[::1]80",
        "[::1:80",
        "::1]:80",
        "[]:80",
        "[:80",
        "]:80",
        "[[::1]]:80",
        "[::1]]:80",
        "[fe80::1%lo]:80",
        "[::1 ]:80",
        "2001:db8::1:80",
        "http://1.2.3.4:80",
        "unix:",
        "unix:relative",
        "unix:@abstract",
        "UNIX:/x",
        "unix",
        "unix/x",
        "1.2.3.4:4294967376",
        "1.2.3.4:000080",
    };

    for (size_t i = 0; i < LP_COUNT_OF(wrong); i++) {
        struct lp_addr addr;
        if (lp_addr_parse(&addr, at_the_edge(wrong[i]), true))
            fail_msg("\"%s\" was taken for an address", wrong[i]);
    }
}

static void a_unix_path_may_be_as_long_as_the_kernel_takes_and_no_longer(void **state)
{
    (void)state;
    char text[200] = "unix:/";
    char out[LP_ADDR_TEXT_MAX];
    struct lp_addr addr;
    const size_t path_max = sizeof(addr.as.un.sun_path) - 1; /* and its NUL */

    memset(text + 6, 'p', sizeof(text) - 6);
    assert_true(lp_addr_parse(&addr, (struct lp_slice){text, 5 + path_max}, false));
    assert_int_equal(lp_addr_format(&addr, out), 5 + path_max);
    assert_memory_equal(out, text, 5 + path_max);
    assert_false(lp_addr_parse(&addr, (struct lp_slice){text, 5 + path_max + 1}, false));
    assert_true(lp_addr_parse(&addr, LP_SLICE("unix:/"), false));
}

static void a_unix_peer_without_a_name_is_written_as_such(void **state)
{
    (void)state;
    struct lp_addr peer;
    char text[LP_ADDR_TEXT_MAX];

    memset(&peer, 'x', sizeof(peer)); /* the kernel writes no more than the family */
    peer.as.un.sun_family = AF_UNIX;
    peer.size = sizeof(sa_family_t);
    assert_int_equal(lp_addr_format(&peer, text), 5);
    assert_string_equal(text, "unix:");
    assert_int_equal(lp_addr_ip(&peer).family, 0);
    assert_int_equal(lp_addr_port(&peer), 0);
    struct lp_addr other = peer, named = addr_of("unix:/x");
    other.as.un.sun_path[0] = 'y';
    assert_true(lp_addr_equal(&peer, &other));
    assert_false(lp_addr_equal(&peer, &named));
}

static void a_unix_path_without_a_nul_is_not_read_beyond_its_end(void **state)
{
    (void)state;
    struct lp_addr *peer = malloc(sizeof(*peer));
    char text[LP_ADDR_TEXT_MAX];

    memset(peer, 'x', sizeof(*peer));
    peer->as.un.sun_family = AF_UNIX;
    peer->size = sizeof(struct sockaddr_un) + 1; /* as getsockname() may say of the longest path */
    assert_int_equal(lp_addr_format(peer, text), 5 + sizeof(peer->as.un.sun_path));
    assert_int_equal(strlen(text), 5 + sizeof(peer->as.un.sun_path));
    assert_true(lp_addr_equal(peer, peer));
    free(peer);
}

static void two_addresses_are_equal_when_family_host_and_port_are(void **state)
{
    (void)state;
    static const char *const texts[] = {"1.2.3.4:80", "1.2.3.4:81", "1.2.3.5:80", "[::1]:80",
                                        "[::1]:81",   "[::2]:80",   "unix:/a",    "unix:/ab"};

    for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
        for (size_t j = 0; j < LP_COUNT_OF(texts); j++) {
            struct lp_addr a = addr_of(texts[i]), b = addr_of(texts[j]);
            assert_int_equal(lp_addr_equal(&a, &b), i == j);
        }
    }
}

static void every_port_but_zero_is_read_and_written(void **state)
{
    (void)state;

    for (uint32_t port = 0; port <= 66000; port++) {
        char text[32], out[LP_ADDR_TEXT_MAX];
        struct lp_addr addr;
        int size =
            snprintf(text, sizeof(text), port % 2 == 0 ? "1.2.3.4:%u" : "[2001:db8::1]:%u", port);
        bool is_port = port > 0 && port < 65536;
        assert_int_equal(lp_addr_parse(&addr, (struct lp_slice){text, (size_t)size}, false),
                         is_port);
        if (!is_port)
            continue;
        assert_int_equal(lp_addr_port(&addr), port);
        lp_addr_format(&addr, out);
        assert_string_equal(out, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_written_as_rfc_5952_says),
        cmocka_unit_test(a_mapped_ipv6_address_is_the_ipv4_address),
        cmocka_unit_test(no_other_ipv6_address_with_an_ipv4_part_is_unmapped),
        cmocka_unit_test(texts_that_are_no_address_are_refused),
        cmocka_unit_test(an_address_with_a_nul_in_it_is_refused),
        cmocka_unit_test(whatever_address_is_written_is_read_back_the_same),
        cmocka_unit_test(no_random_text_is_read_beyond_its_end_and_what_is_taken_comes_back),
        cmocka_unit_test(the_address_of_nobody_is_written_as_nothing),
        cmocka_unit_test(addresses_of_two_families_are_never_equal),
        cmocka_unit_test(a_network_contains_its_own_addresses_and_no_others),
        cmocka_unit_test(containing_means_that_the_first_bits_are_equal),
        cmocka_unit_test(a_mapped_network_counts_its_prefix_in_bits_of_ipv6),
        cmocka_unit_test(texts_that_are_no_network_are_refused),
        cmocka_unit_test(an_address_is_written_back_as_it_was_given),
        cmocka_unit_test(an_address_is_what_sockets_want),
        cmocka_unit_test(a_star_is_any_address_only_where_that_is_allowed),
        cmocka_unit_test(a_mapped_address_with_a_port_is_an_ipv4_socket_address),
        cmocka_unit_test(an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client),
        cmocka_unit_test(texts_that_are_no_address_with_a_port_are_refused),
        cmocka_unit_test(a_unix_path_may_be_as_long_as_the_kernel_takes_and_no_longer),
        cmocka_unit_test(a_unix_peer_without_a_name_is_written_as_such),
        cmocka_unit_test(a_unix_path_without_a_nul_is_not_read_beyond_its_end),
        cmocka_unit_test(two_addresses_are_equal_when_family_host_and_port_are),
        cmocka_unit_test(every_port_but_zero_is_read_and_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
