/* x509: whom a certificate is for, and how DER is read. */
#include "tls/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/pki.h"
#include "tls/pem.h"

static struct lp_arena arena;

static int begin(void **state)
{
    (void)state;
    lp_arena_init(&arena);
    return 0;
}

static int end(void **state)
{
    (void)state;
    lp_arena_deinit(&arena);
    return 0;
}

/* --- is it the certificate of this server --- */

static bool is_for(const char *pem, const char *name)
{
    return certificate_is_for(pki_der(&arena, pem), lp_slice_of(name));
}

static void a_certificate_is_for_its_names_whatever_their_case(void **state)
{
    (void)state;

    assert_true(is_for(PKI_LEAF, "www.example.com"));
    assert_true(is_for(PKI_LEAF, "WWW.Example.COM"));
    assert_true(is_for(PKI_LEAF, "www.example.com."));
    assert_true(is_for(PKI_LEAF, "example.org"));
    assert_false(is_for(PKI_LEAF, "example.net"));
    assert_false(is_for(PKI_LEAF, ""));
    assert_false(is_for(PKI_LEAF, "."));
    assert_false(is_for(PKI_LEAF, "uri.example.net"));
    assert_false(is_for(PKI_LEAF, "a@example.com"));
}

static void a_wildcard_stands_for_one_whole_label(void **state)
{
    (void)state;

    assert_true(is_for(PKI_LEAF, "api.example.com"));
    assert_false(is_for(PKI_LEAF, "a.b.example.com"));
    assert_false(is_for(PKI_LEAF, "example.com"));
    assert_false(is_for(PKI_LEAF, ".example.com"));
    /* "*.com" is in it, too. */
    assert_false(is_for(PKI_LEAF, "anything.com"));
    assert_false(x509_name_covers(LP_SLICE("w*.example.com"), LP_SLICE("www.example.com")));
    assert_false(x509_name_covers(LP_SLICE("*"), LP_SLICE("localhost")));
    assert_false(x509_name_covers(LP_SLICE("*."), LP_SLICE("localhost")));
    assert_false(x509_name_covers(LP_SLICE("www.*.com"), LP_SLICE("www.example.com")));
}

static void an_address_needs_an_address_in_the_certificate(void **state)
{
    (void)state;

    assert_true(is_for(PKI_LEAF, "192.0.2.1"));
    assert_true(is_for(PKI_LEAF, "2001:db8::1"));
    assert_true(is_for(PKI_LEAF, "2001:0db8:0:0:0:0:0:1"));
    assert_false(is_for(PKI_LEAF, "192.0.2.2"));
    assert_false(is_for(PKI_LEAF, "2001:db8::2"));
    assert_false(is_for(PKI_LEAF, "c000:201::"));
    assert_true(is_for(PKI_P521, "192.0.2.7"));
    assert_false(is_for(PKI_P521, "p521"));
}

static void the_common_name_says_nothing_about_a_server(void **state)
{
    (void)state;

    assert_false(is_for(PKI_RSA, "rsa.example.com"));
}

static void what_is_no_certificate_is_for_nobody(void **state)
{
    (void)state;
    struct lp_slice der = pki_der(&arena, PKI_LEAF);
    struct x509 read;

    for (size_t cut = 0; cut < der.size; cut++) {
        char *copy = malloc(cut + 1);

        memcpy(copy, der.data, cut);
        assert_false(x509_read(&read, (struct lp_slice){copy, cut}));
        assert_false(certificate_is_for((struct lp_slice){copy, cut}, LP_SLICE("www.example.com")));
        free(copy);
    }
}

static void assert_slice(struct lp_slice found, const char *wanted)
{
    assert_int_equal(found.size, strlen(wanted));
    assert_memory_equal(found.data, wanted, found.size);
}

/* --- DER itself --- */

static void only_one_encoding_of_a_length_is_read(void **state)
{
    (void)state;
    struct lp_slice good = LP_SLICE("\x04\x01x"), rest;
    struct der_element element;
    struct lp_slice bad[] = {
        LP_SLICE(""),
        LP_SLICE("\x04"),
        LP_SLICE("\x04\x02x"),         /* longer than what is there  */
        LP_SLICE("\x04\x81\x01x"),     /* not the shortest form      */
        LP_SLICE("\x04\x82\x00\x80x"), /* the same                   */
        LP_SLICE("\x04\x80x\0\0"),     /* without an end: BER only   */
        LP_SLICE("\x04\x85\x01\0\0\0\0"),
        LP_SLICE("\x04\x84\xff\xff\xff\xff"),
        LP_SLICE("\x1f\x01\x01x"), /* a tag above 30 */
    };

    assert_true(der_take(&good, &element));
    assert_slice(element.body, "x");
    assert_int_equal(good.size, 0);
    for (size_t i = 0; i < LP_COUNT_OF(bad); i++) {
        rest = bad[i];
        assert_false(der_take(&rest, &element));
        assert_int_equal(rest.size, bad[i].size);
    }
}

static void times_are_read_in_both_forms(void **state)
{
    (void)state;
    static const struct {
        uint8_t tag;
        const char *text;
        int64_t wanted_s; /* -1: refused */
    } cases[] = {
        {DER_UTC_TIME, "700101000000Z", 0},          {DER_TIME, "19700101000001Z", 1},
        {DER_UTC_TIME, "500101000000Z", -631152000}, {DER_UTC_TIME, "491231235959Z", 2524607999},
        {DER_TIME, "20000229120000Z", 951825600},    {DER_TIME, "20240301000000Z", 1709251200},
        {DER_TIME, "99991231235959Z", 253402300799}, {DER_UTC_TIME, "7001010000Z", -1},
        {DER_UTC_TIME, "700101000000+", -1},         {DER_UTC_TIME, "701301000000Z", -1},
        {DER_UTC_TIME, "700100000000Z", -1},         {DER_UTC_TIME, "700101240000Z", -1},
        {DER_UTC_TIME, "70010100000xZ", -1},         {DER_TIME, "20240301000000.5Z", -1},
        {DER_OCTET_STRING, "20240301000000Z", -1},
    };

    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        struct der_element element = {cases[i].tag, lp_slice_of(cases[i].text), {"", 0}};
        int64_t found_s = -1;

        assert_int_equal(der_time(&element, &found_s), cases[i].wanted_s != -1);
        assert_int_equal(found_s, cases[i].wanted_s);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_certificate_is_for_its_names_whatever_their_case),
        TEST(a_wildcard_stands_for_one_whole_label),
        TEST(an_address_needs_an_address_in_the_certificate),
        TEST(the_common_name_says_nothing_about_a_server),
        TEST(what_is_no_certificate_is_for_nobody),
        TEST(only_one_encoding_of_a_length_is_read),
        TEST(times_are_read_in_both_forms),
    };

    return cmocka_run_group_tests_name("x509", tests, NULL, NULL);
}
