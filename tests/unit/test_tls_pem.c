/* pem: what is a block, what is text between blocks, and what was meant as a block but is none. */
#include "tls/pem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#define BLOCK(label) "-----BEGIN " label "-----\nMIIB\n-----END " label "-----\n"
#define ONE          BLOCK("CERTIFICATE")
#define MARK         "\xef\xbb\xbf"

static struct lp_err err;

/* How many certificates are in it, each with the same body; -1: that is wrong with it. */
static int certificates_in(const char *text)
{
    struct lp_slice rest = lp_slice_of(text), der;
    struct pem_block block;
    struct lp_arena arena;
    enum pem_outcome outcome;
    int count = 0;

    lp_arena_init(&arena);
    while (count >= 0 && (outcome = pem_next(&rest, &block)) != PEM_END) {
        if (!pem_check(outcome, &block, "file.pem", &err)) {
            count = -1;
        } else if (pem_is_certificate(&block)) {
            assert_true(pem_decode(&der, &block, &arena));
            assert_true(lp_slice_equal(der, LP_SLICE("\x30\x82\x01")));
            count++;
        }
    }
    lp_arena_deinit(&arena);
    return count;
}

static void assert_wrong(const char *text, const char *part)
{
    if (certificates_in(text) != -1)
        fail_msg("nothing is said about \"%s\"", text);
    if (strstr(err.text, part) == NULL || strstr(err.text, "file.pem") == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, err.text);
}

static void lines_end_in_any_way(void **state)
{
    (void)state;
    char text[] = ONE ONE;

    assert_int_equal(certificates_in(text), 2);
    for (char *at = text; *at != '\0'; at++)
        if (*at == '\n')
            *at = '\r';
    assert_int_equal(certificates_in(text), 2);
    assert_int_equal(certificates_in("-----BEGIN CERTIFICATE-----\r\nMI\r\nIB\r\n"
                                     "-----END CERTIFICATE-----"),
                     1);
}

/* Editors put a byte order mark before a text, and files with one are joined. */
static void marks_and_blanks_before_a_line_mean_nothing(void **state)
{
    (void)state;
    assert_int_equal(certificates_in(MARK ONE), 1);
    assert_int_equal(certificates_in(MARK ONE MARK ONE "\n" MARK ONE), 3);
    assert_int_equal(certificates_in("  " ONE "\t" ONE " \t" MARK " " ONE), 3);
    assert_int_equal(certificates_in("-----BEGIN CERTIFICATE-----  \n  MI\n\tIB \n"
                                     "  -----END CERTIFICATE-----\t\n"),
                     1);
}

/* `openssl x509 -text`, the attributes of a bag, the titles of a bundle. */
static void text_between_blocks_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(certificates_in("Certificate:\n    Data:\n        Version: 3 (0x2)\n--\n"
                                     "Bag Attributes\n    localKeyID: 54 69 6D\n" ONE
                                     "middle\n======\n------\nMIIB is how it begins\n" ONE
                                     "the END -- of a LEGEND --\n"),
                     2);
}

static void what_was_meant_as_a_block_is_not_passed_over(void **state)
{
    static const char *const lost[] = {
        "----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE----\nMIIB\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE\nMIIB\n-----END CERTIFICATE\n",
        "----- BEGIN CERTIFICATE -----\nMIIB\n----- END CERTIFICATE -----\n",
        "-----BEGIN-----\nMIIB\n",
        "BEGIN CERTIFICATE\nMIIB\nEND CERTIFICATE\n",
        "> -----BEGIN CERTIFICATE-----\n> MIIB\n> -----END CERTIFICATE-----\n",
        "\xe2\x80\x94 BEGIN CERTIFICATE \xe2\x80\x94\nMIIB\n",
        "MIIB\n-----END CERTIFICATE-----\n",
        "MIIBszCCAVmgAwIBAgIUEjHgLs0pZl5l0z8kq0y6nmRrX6AwCgYIKoZIzj0EAwIw\n",
    };

    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(lost); i++) {
        char text[1000];
        snprintf(text, sizeof(text), "%s%s%s", ONE, lost[i], ONE);
        assert_wrong(text, "belongs to no block");
    }
}

static void a_block_ends_as_it_began(void **state)
{
    (void)state;
    assert_wrong(ONE "-----BEGIN CERTIFICATE-----\nMIIB\n", "no line that ends it");
    assert_wrong("-----BEGIN CERTIFICATE-----\nMIIB\n" ONE, "no line that ends it");
    assert_wrong("-----BEGIN CERTIFICATE-----\nMIIB\n-----END PRIVATE KEY-----\n",
                 "the block CERTIFICATE has no line that ends it");
    /* Files that were joined without a line's end between them. */
    assert_wrong("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE----------BEGIN "
                 "CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" ONE,
                 "no line that ends it");
}

static void certificates_in_blocks_of_another_kind_are_named(void **state)
{
    (void)state;
    assert_wrong(ONE BLOCK("TRUSTED CERTIFICATE"), "a block TRUSTED CERTIFICATE is not read");
    assert_wrong(BLOCK("PKCS7"), "a block PKCS7 is not read");
    assert_wrong(BLOCK("X509 CRL") ONE, "a block X509 CRL is not read");
    assert_int_equal(certificates_in(BLOCK("DH PARAMETERS") BLOCK("PRIVATE KEY") ONE), 1);
    assert_int_equal(certificates_in(BLOCK("X509 CERTIFICATE")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_in_any_way),
        cmocka_unit_test(marks_and_blanks_before_a_line_mean_nothing),
        cmocka_unit_test(text_between_blocks_is_passed_over),
        cmocka_unit_test(what_was_meant_as_a_block_is_not_passed_over),
        cmocka_unit_test(a_block_ends_as_it_began),
        cmocka_unit_test(certificates_in_blocks_of_another_kind_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
