/* subject: what a distinguished name looks like as text. */
#include "tls/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/pki.h"
#include "tls/pem.h"
#include "tls/x509.h"

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

/* --- building names --- */

static struct lp_slice wrap(uint8_t tag, struct lp_slice body)
{
    char *bytes = lp_arena_alloc(&arena, body.size + 4);
    size_t head = 0;

    bytes[head++] = (char)tag;
    if (body.size >= 0x80) {
        bytes[head++] = (char)(body.size < 0x100 ? 0x81 : 0x82);
        if (body.size >= 0x100)
            bytes[head++] = (char)(body.size >> 8);
    }
    bytes[head++] = (char)body.size;
    if (body.size > 0)
        memcpy(bytes + head, body.data, body.size);
    return (struct lp_slice){bytes, head + body.size};
}

static struct lp_slice join(struct lp_slice a, struct lp_slice b)
{
    char *bytes = lp_arena_alloc(&arena, a.size + b.size + 1);

    memcpy(bytes, a.data, a.size);
    memcpy(bytes + a.size, b.data, b.size);
    return (struct lp_slice){bytes, a.size + b.size};
}

static struct lp_slice pair(struct lp_slice oid, uint8_t tag, struct lp_slice value)
{
    return wrap(DER_SEQUENCE, join(wrap(DER_OID, oid), wrap(tag, value)));
}

#define CN     LP_SLICE("\x55\x04\x03")
#define O      LP_SLICE("\x55\x04\x0a")
#define NO_DER ((struct lp_slice){"", 0})

static void assert_text(struct lp_slice name, const char *wanted)
{
    char *text = malloc(SUBJECT_BYTES_MAX);
    size_t size = subject_write(text, name);

    assert_int_not_equal(size, SIZE_MAX);
    if (size != strlen(wanted) || memcmp(text, wanted, size) != 0)
        fail_msg("found \"%.*s\", wanted \"%s\"", (int)size, text, wanted);
    free(text);
}

/* A Name of one commonName. */
static void assert_value(uint8_t tag, struct lp_slice value, const char *wanted)
{
    char text[2048];

    snprintf(text, sizeof(text), "CN=%s", wanted);
    assert_text(wrap(DER_SEQUENCE, wrap(DER_SET, pair(CN, tag, value))), text);
}

/* --- their text --- */

static void a_subject_reads_as_openssl_writes_it_in_rfc_2253(void **state)
{
    (void)state;
    struct lp_slice der = pki_der(&arena, PKI_CLIENT);
    struct x509 read;
    char hex[2 * LP_SHA256_BYTES + 1];

    assert_true(x509_read(&read, der));
    assert_text(read.subject, "UID=u1,emailAddress=a@b.c,CN=\\#x\\;\\<y\\>\\\\z\\ ,OU=a\\\"b,"
                              "O=M\\C3\\BCller\\, S\\C3\\B6hne,DC=test");
    assert_text(read.issuer, "CN=middle,O=limpet tests");
    fingerprint_write(hex, der);
    assert_string_equal(hex, "4144af4f7d0da5ece30acc0aa24dadb5b205a07273ec343e5113371168deb42a");
}

static void the_empty_name_is_the_empty_text(void **state)
{
    (void)state;

    assert_text(LP_SLICE("\x30\x00"), "");
    assert_value(DER_UTF8_STRING, LP_SLICE(""), "");
}

static void characters_that_mean_something_are_escaped(void **state)
{
    (void)state;

    assert_value(DER_UTF8_STRING, LP_SLICE(" a b "), "\\ a b\\ ");
    assert_value(DER_UTF8_STRING, LP_SLICE(" "), "\\ ");
    assert_value(DER_UTF8_STRING, LP_SLICE("#a#"), "\\#a#");
    assert_value(DER_PRINTABLE, LP_SLICE("a,b+c=d"), "a\\,b\\+c=d");
    assert_value(DER_IA5_STRING, LP_SLICE("<a>;\"\\"), "\\<a\\>\\;\\\"\\\\");
}

static void no_byte_can_end_a_header_line(void **state)
{
    (void)state;

    assert_value(DER_UTF8_STRING, LP_SLICE("a\r\nX-Admin: 1"), "a\\0D\\0AX-Admin: 1");
    assert_value(DER_UTF8_STRING, LP_SLICE("\0\t\x1f\x7f"), "\\00\\09\\1F\\7F");
    for (unsigned byte = 0; byte < 256; byte++)
        for (unsigned tag = 0; tag < 31; tag++) {
            char value[] = {'x', (char)byte, (char)byte, (char)byte};
            char text[SUBJECT_BYTES_MAX];
            struct lp_slice name = wrap(
                DER_SEQUENCE, wrap(DER_SET, pair(CN, (uint8_t)tag, (struct lp_slice){value, 4})));
            size_t size = subject_write(text, name);

            assert_int_not_equal(size, SIZE_MAX);
            for (size_t i = 0; i < size; i++)
                assert_in_range(text[i], 0x20, 0x7e);
        }
}

static void every_kind_of_string_becomes_utf_8(void **state)
{
    (void)state;

    assert_value(DER_UTF8_STRING, LP_SLICE("\xc3\xa4"), "\\C3\\A4");
    assert_value(DER_TELETEX, LP_SLICE("\xe4"), "\\C3\\A4");
    assert_value(DER_BMP, LP_SLICE("\0a\x20\xac\0#"), "a\\E2\\82\\AC#");
    assert_value(DER_BMP, LP_SLICE("\0#\0 "), "\\#\\ ");
    assert_value(DER_UNIVERSAL, LP_SLICE("\0\x01\xf6\0\0\0\0a"), "\\F0\\9F\\98\\80a");
    assert_value(DER_NUMERIC_STRING, LP_SLICE("1 2"), "1 2");
    /* Half a character, and what is no string. */
    assert_value(DER_BMP, LP_SLICE("\0a\0"), "#1E03006100");
    assert_value(DER_INTEGER, LP_SLICE("\x05"), "#020105");
}

static void several_attributes_of_one_set_are_joined_by_a_plus(void **state)
{
    (void)state;
    struct lp_slice set = wrap(DER_SET, join(pair(CN, DER_UTF8_STRING, LP_SLICE("a")),
                                             pair(O, DER_UTF8_STRING, LP_SLICE("b"))));
    struct lp_slice first = wrap(DER_SET, pair(O, DER_UTF8_STRING, LP_SLICE("c")));

    assert_text(wrap(DER_SEQUENCE, join(first, set)), "O=b+CN=a,O=c");
}

static void an_unknown_attribute_is_its_number_and_its_bytes(void **state)
{
    (void)state;
    struct lp_slice set = wrap(
        DER_SET, pair(LP_SLICE("\x2a\x86\x48\x86\xf7\x0d\x09"), DER_UTF8_STRING, LP_SLICE("hi")));

    assert_text(wrap(DER_SEQUENCE, set), "1.2.840.113549.9=#0C026869");
    set = wrap(DER_SET, pair(LP_SLICE("\x88\x37\x03"), DER_UTF8_STRING, LP_SLICE("")));
    assert_text(wrap(DER_SEQUENCE, set), "2.999.3=#0C00");
}

static void what_is_no_name_or_too_long_is_refused(void **state)
{
    (void)state;
    char text[SUBJECT_BYTES_MAX], long_value[2048];
    struct lp_slice cn = pair(CN, DER_UTF8_STRING, LP_SLICE("a")), many = NO_DER;

    memset(long_value, 'x', sizeof(long_value));
    assert_int_equal(subject_write(text, NO_DER), SIZE_MAX);
    assert_int_equal(subject_write(text, LP_SLICE("\x31\x00")), SIZE_MAX);
    assert_int_equal(subject_write(text, LP_SLICE("\x30\x00\x00")), SIZE_MAX);
    assert_int_equal(subject_write(text, wrap(DER_SEQUENCE, cn)), SIZE_MAX);
    assert_int_equal(subject_write(text, wrap(DER_SEQUENCE, wrap(DER_SET, NO_DER))), SIZE_MAX);

    for (unsigned size = SUBJECT_BYTES_MAX - 3; size <= SUBJECT_BYTES_MAX - 2; size++) {
        struct lp_slice value = {long_value, size};
        struct lp_slice name = wrap(DER_SEQUENCE, wrap(DER_SET, pair(CN, DER_PRINTABLE, value)));

        assert_int_equal(subject_write(text, name),
                         size == SUBJECT_BYTES_MAX - 3 ? SUBJECT_BYTES_MAX : SIZE_MAX);
    }
    for (unsigned i = 0; i < 65; i++)
        many = join(many, wrap(DER_SET, cn));
    assert_int_equal(subject_write(text, wrap(DER_SEQUENCE, many)), SIZE_MAX);
    /* Numbers without an end or of more than 32 bits. */
    many = wrap(DER_SET, pair(LP_SLICE("\x2a\x86"), DER_UTF8_STRING, LP_SLICE("a")));
    assert_int_equal(subject_write(text, wrap(DER_SEQUENCE, many)), SIZE_MAX);
    many = wrap(DER_SET,
                pair(LP_SLICE("\x2a\xff\xff\xff\xff\xff\x7f"), DER_UTF8_STRING, LP_SLICE("")));
    assert_int_equal(subject_write(text, wrap(DER_SEQUENCE, many)), SIZE_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_subject_reads_as_openssl_writes_it_in_rfc_2253),
        TEST(the_empty_name_is_the_empty_text),
        TEST(characters_that_mean_something_are_escaped),
        TEST(no_byte_can_end_a_header_line),
        TEST(every_kind_of_string_becomes_utf_8),
        TEST(several_attributes_of_one_set_are_joined_by_a_plus),
        TEST(an_unknown_attribute_is_its_number_and_its_bytes),
        TEST(what_is_no_name_or_too_long_is_refused),
    };

    return cmocka_run_group_tests_name("subject", tests, NULL, NULL);
}
