/* certificate: what the files of a listener hold, what is wrong with them, and which certificate
 * answers to which name. */
#include "tls/certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/pki.h"
#include "tls/pem.h"

#define NOW_S    1800000000 /* in 2027 */
#define BEGINS_S 1795256950 /* PKI_LEAF: 2026-11-21 10:29:10 */
#define ENDS_S   4948856950 /* 2126-10-28 10:29:10 */

/* --- a folder of files, and a listener that remembers what was said --- */

static char folder[64];
static struct lp_arena arena;

struct heard {
    uint32_t errors_count[3], warnings_count; /* errors by file */
    char sentence[2048];                      /* the last one */
    char about[3][2048];                      /* the last one of each file */
};

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/limpet-certificate-XXXXXX");
    lp_arena_init(&arena);
    return mkdtemp(folder) == NULL;
}

static int end(void **state)
{
    (void)state;
    char command[128];

    lp_arena_deinit(&arena);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return lp_arena_copy(&arena, lp_slice_of(path));
}

static const char *write_bytes(const char *name, const void *bytes, size_t size)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static const char *write_text(const char *name, const char *text)
{
    return write_bytes(name, text, strlen(text));
}

static const char *write_base64(const char *name, const char *text)
{
    char *bytes = lp_arena_alloc(&arena, strlen(text));
    size_t size = lp_base64_decode(bytes, lp_slice_of(text));

    assert_int_not_equal(size, SIZE_MAX);
    return write_bytes(name, bytes, size);
}

static void hear(void *listener, enum certificate_file at, bool is_error, const char *sentence)
{
    struct heard *heard = listener;

    *(is_error ? &heard->errors_count[at] : &heard->warnings_count) += 1;
    snprintf(heard->sentence, sizeof(heard->sentence), "%s", sentence);
    snprintf(heard->about[at], sizeof(heard->about[at]), "%s", sentence);
}

static bool load_at(struct certificate *out, struct heard *heard, const char *chain,
                    const char *key, const char *staple, int64_t now_s)
{
    struct certificate_files files = {chain, key, staple};
    struct certificate_report report = {hear, heard, true};

    *heard = (struct heard){0};
    return certificate_load(out, &files, now_s, &arena, &report);
}

/* As for somebody who serves. */
static bool load_to_serve(struct certificate *out, struct heard *heard, const char *chain,
                          int64_t now_s)
{
    struct certificate_files files = {chain, NULL, NULL};
    struct certificate_report report = {hear, heard, false};

    *heard = (struct heard){0};
    return certificate_load(out, &files, now_s, &arena, &report);
}

/* Chain and key as texts; key NULL: it is in the chain's file. */
static bool load(struct certificate *out, struct heard *heard, const char *chain, const char *key)
{
    return load_at(out, heard, write_text("chain.pem", chain),
                   key != NULL ? write_text("key.pem", key) : "", NULL, NOW_S);
}

static void assert_refused(const char *chain, const char *key, enum certificate_file at,
                           const char *part)
{
    struct certificate out;
    struct heard heard;

    assert_false(load(&out, &heard, chain, key));
    assert_int_equal(heard.errors_count[at], 1);
    if (strstr(heard.about[at], part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, heard.about[at]);
    assert_non_null(strstr(heard.about[at], folder));
}

static void assert_taken(const char *chain, const char *key)
{
    struct certificate out;
    struct heard heard;

    if (!load(&out, &heard, chain, key))
        fail_msg("%s", heard.sentence);
    assert_int_equal(heard.warnings_count, 0);
}

static void assert_slice(struct lp_slice found, const char *wanted)
{
    assert_int_equal(found.size, strlen(wanted));
    assert_memory_equal(found.data, wanted, found.size);
}

/* --- good files --- */

static void a_chain_with_its_key_tells_names_dates_kind_and_subject(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;

    assert_true(load(&out, &heard, PKI_LEAF PKI_MIDDLE, PKI_LEAF_KEY));
    assert_int_equal(heard.warnings_count, 0);
    assert_int_equal(out.chain_count, 2);
    assert_true(lp_slice_equal(out.chain[1], pki_der(&arena, PKI_MIDDLE)));
    assert_false(out.is_rsa);
    assert_int_equal(out.bits, 256);
    assert_int_equal(out.not_before_s, BEGINS_S);
    assert_int_equal(out.not_after_s, ENDS_S);
    assert_string_equal(out.subject, "CN=www.example.com,O=limpet tests,C=DE");
    assert_string_equal(out.fingerprint,
                        "e083bda2830e7a7bd1601239fdb8c6cb8b55535ac54525c0356943b669e668ef");
    assert_int_equal(out.names_count, 4);
    assert_slice(out.names[0], "www.example.com");
    assert_slice(out.names[1], "*.example.com");
    assert_slice(out.names[2], "*.com");
    assert_slice(out.names[3], "example.org");
    assert_null(out.staple);
}

static void the_common_name_counts_only_without_other_names(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;

    assert_true(load(&out, &heard, PKI_RSA, PKI_RSA_KEY));
    assert_int_equal(out.names_count, 1);
    assert_slice(out.names[0], "rsa.example.com");
    assert_true(load(&out, &heard, PKI_P521, PKI_P521_KEY));
    assert_int_equal(out.names_count, 0);
}

static void rsa_and_the_three_curves_are_told_apart(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;

    assert_true(load(&out, &heard, PKI_RSA, PKI_RSA_KEY));
    assert_true(out.is_rsa);
    assert_int_equal(out.bits, 2048);
    assert_true(load(&out, &heard, PKI_P384, PKI_P384_KEY));
    assert_false(out.is_rsa);
    assert_int_equal(out.bits, 384);
    assert_true(load(&out, &heard, PKI_P521, PKI_P521_KEY));
    assert_int_equal(out.bits, 521);
}

static void a_key_may_be_pkcs8_pkcs1_or_sec1_with_parameters_before_it(void **state)
{
    (void)state;

    assert_taken(PKI_LEAF, PKI_LEAF_SEC1);
    assert_taken(PKI_LEAF, PKI_EC_PARAMETERS PKI_LEAF_SEC1);
    assert_taken(PKI_RSA, PKI_RSA_PKCS1);
    assert_taken(PKI_RSA, PKI_RSA_KEY);
}

static void key_and_chain_may_share_a_file_in_any_order_with_text_around(void **state)
{
    (void)state;

    assert_taken(PKI_LEAF PKI_MIDDLE PKI_LEAF_KEY, NULL);
    assert_taken("subject=a\nissuer=b\n" PKI_EC_PARAMETERS PKI_LEAF_SEC1
                 "\n\nthe chain:\n" PKI_LEAF PKI_MIDDLE PKI_ROOT "the end",
                 NULL);
}

/* As files come from Windows. */
static void lines_may_end_in_cr_lf(void **state)
{
    (void)state;
    const char *from = PKI_LEAF PKI_LEAF_KEY;
    char *text = lp_arena_alloc(&arena, 2 * strlen(from) + 1), *to = text;

    for (; *from != '\0'; from++) {
        if (*from == '\n')
            *to++ = '\r';
        *to++ = *from;
    }
    assert_taken(text, NULL);
}

static void the_digest_changes_with_any_certificate_of_the_chain(void **state)
{
    (void)state;
    struct certificate one, two, three;
    struct heard heard;

    assert_true(load(&one, &heard, PKI_LEAF, PKI_LEAF_KEY));
    assert_true(load(&two, &heard, PKI_LEAF PKI_MIDDLE, PKI_LEAF_SEC1));
    assert_true(load(&three, &heard, "other text\n" PKI_LEAF PKI_MIDDLE, PKI_LEAF_KEY));
    assert_memory_not_equal(one.digest, two.digest, sizeof(one.digest));
    assert_memory_equal(two.digest, three.digest, sizeof(two.digest));
    certificate_forget_key(&three);
    assert_int_equal(three.key.size, 0);
}

/* --- files that cannot be used --- */

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    const char *chain = write_text("chain.pem", PKI_LEAF);

    assert_false(load_at(&out, &heard, path_of("missing.pem"), NULL, NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "missing.pem: No such file or directory"));
    assert_false(load_at(&out, &heard, folder, NULL, NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "is a directory; a file is needed"));
    assert_false(load_at(&out, &heard, "/dev/null", NULL, NULL, NOW_S));
    assert_string_equal(heard.sentence, "/dev/null is no regular file");
    assert_false(load_at(&out, &heard, chain, path_of("missing.key"), NULL, NOW_S));
    assert_non_null(strstr(heard.about[CERTIFICATE_KEY], "missing.key"));
    assert_false(load_at(&out, &heard, chain, write_text("empty", ""), NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "is empty"));
}

static void a_pipe_is_refused_without_waiting_for_its_writer(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    const char *pipe = path_of("pipe");

    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_false(load_at(&out, &heard, pipe, NULL, NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "is no regular file"));
}

static void a_file_of_more_than_a_mebibyte_is_refused(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    const char *path = write_text("large.pem", PKI_LEAF);

    assert_int_equal(truncate(path, PEM_FILE_BYTES_MAX + 1), 0);
    assert_false(load_at(&out, &heard, path, NULL, NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "has 1048577 bytes; at most 1048576 are read"));
    assert_int_equal(truncate(path, PEM_FILE_BYTES_MAX), 0);
    assert_false(load_at(&out, &heard, path, NULL, NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "has no private key in it"));
}

static void a_file_of_another_form_is_called_by_its_name(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    struct lp_slice der = pki_der(&arena, PKI_LEAF);
    const char *path = write_bytes("leaf.der", der.data, der.size);

    assert_false(load_at(&out, &heard, path, NULL, NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "is DER, not PEM; convert it with \"openssl x509"));
    path = write_bytes("leaf.p12", "\x30\x05\x02\x01\x03\x30", 7);
    assert_false(load_at(&out, &heard, path, NULL, NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "is a PKCS#12 file"));
    path = write_bytes("noise",
                       "\x7f"
                       "ELF\0\0",
                       6);
    assert_false(load_at(&out, &heard, path, NULL, NULL, NOW_S));
    assert_non_null(strstr(heard.sentence, "is binary"));
    assert_refused("hello\n", PKI_LEAF_KEY, CERTIFICATE_CHAIN, "is not PEM");
    assert_refused(PKI_LEAF, "hello\n", CERTIFICATE_KEY, "is not PEM");
}

static void certificate_and_key_must_be_there(void **state)
{
    (void)state;

    assert_refused(PKI_LEAF_KEY, PKI_LEAF, CERTIFICATE_CHAIN, "the wrong way round?");
    assert_refused(PKI_EC_PARAMETERS, PKI_LEAF, CERTIFICATE_CHAIN, "has no certificate in it");
    assert_refused(PKI_LEAF, NULL, CERTIFICATE_KEY,
                   "has no private key in it; it has a certificate");
    assert_refused(PKI_LEAF, PKI_EC_PARAMETERS, CERTIFICATE_KEY, "has no private key in it");
    assert_refused(PKI_LEAF, PKI_LEAF_KEY PKI_LEAF_SEC1, CERTIFICATE_KEY,
                   "has two private keys; which one is it?");
}

static void damaged_blocks_are_refused_with_their_place(void **state)
{
    (void)state;

    assert_refused("-----BEGIN CERTIFICATE-----\nMIIB\n", PKI_LEAF_KEY, CERTIFICATE_CHAIN,
                   "the block CERTIFICATE has no line that ends it");
    assert_refused("-----BEGIN CERTIFICATE-----\nMIIB\n" PKI_LEAF, PKI_LEAF_KEY, CERTIFICATE_CHAIN,
                   "the block CERTIFICATE has no line that ends it");
    assert_refused("-----BEGIN CERTIFICATE-----\nMIIB\n-----END PRIVATE KEY-----\n", PKI_LEAF_KEY,
                   CERTIFICATE_CHAIN, "has no line that ends it");
    assert_refused(PKI_LEAF "-----BEGIN CERTIFICATE-----\nM*IB\n-----END CERTIFICATE-----\n",
                   PKI_LEAF_KEY, CERTIFICATE_CHAIN, "the base64 of the 2nd certificate is damaged");
    assert_refused(PKI_LEAF "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                   PKI_LEAF_KEY, CERTIFICATE_CHAIN, "the 2nd certificate is damaged");
    assert_refused(PKI_LEAF, "-----BEGIN PRIVATE KEY-----\nMI=B\n-----END PRIVATE KEY-----\n",
                   CERTIFICATE_KEY, "the base64 of the private key is damaged");
    assert_refused(PKI_LEAF, "-----BEGIN PRIVATE KEY-----\nMIIB\n", CERTIFICATE_KEY,
                   "the block PRIVATE KEY has no line that ends it");
    assert_refused(PKI_LEAF, "-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n",
                   CERTIFICATE_KEY, "the private key is damaged");
    assert_refused(PKI_RSA,
                   "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n",
                   CERTIFICATE_KEY, "the private key is damaged");
}

static void what_belongs_to_no_block_or_to_one_of_another_kind_is_refused(void **state)
{
    (void)state;
#define LOST    "----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
#define TRUSTED "-----BEGIN TRUSTED CERTIFICATE-----\nMIIB\n-----END TRUSTED CERTIFICATE-----\n"
    assert_refused(PKI_LEAF LOST PKI_MIDDLE, PKI_LEAF_KEY, CERTIFICATE_CHAIN, "to no block");
    assert_refused(PKI_LEAF TRUSTED, PKI_LEAF_KEY, CERTIFICATE_CHAIN, "is not read");
    assert_refused(PKI_LEAF, LOST PKI_LEAF_KEY, CERTIFICATE_KEY, "belongs to no block");
    assert_refused("\xff\xfe-\0-\0", PKI_LEAF_KEY, CERTIFICATE_CHAIN, "is text in UTF-16");
    assert_taken("\xef\xbb\xbf" PKI_LEAF "\xef\xbb\xbf" PKI_MIDDLE, "\xef\xbb\xbf" PKI_LEAF_KEY);
}

static void an_encrypted_key_is_refused_in_both_forms(void **state)
{
    (void)state;

    assert_refused(PKI_LEAF, PKI_LEAF_ENCRYPTED, CERTIFICATE_KEY, "the private key is encrypted");
    assert_refused(PKI_LEAF, PKI_LEAF_PROC_TYPE, CERTIFICATE_KEY, "the private key is encrypted");
    assert_refused(PKI_LEAF,
                   "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                   CERTIFICATE_KEY, "a key of OpenSSH");
}

static void the_key_must_be_that_of_the_certificate(void **state)
{
    (void)state;

    assert_refused(PKI_LEAF, PKI_OTHER_KEY, CERTIFICATE_KEY, "it is the key of another one");
    assert_refused(PKI_LEAF, PKI_P384_KEY, CERTIFICATE_KEY, "it is the key of another one");
    assert_refused(PKI_LEAF, PKI_RSA_KEY, CERTIFICATE_KEY,
                   "the key is RSA, the certificate's is ECDSA");
    assert_refused(PKI_RSA, PKI_LEAF_SEC1, CERTIFICATE_KEY,
                   "the key is ECDSA, the certificate's is RSA");
    assert_refused(PKI_LEAF, PKI_ED25519_KEY, CERTIFICATE_KEY,
                   "the key is Ed25519, the certificate's is ECDSA");
}

static void keys_of_other_kinds_and_sizes_are_refused(void **state)
{
    (void)state;

    assert_refused(PKI_RSA_1024, PKI_RSA_KEY, CERTIFICATE_CHAIN, "its RSA key has 1024 bits");
    assert_refused(PKI_SECP256K1, PKI_LEAF_KEY, CERTIFICATE_CHAIN,
                   "its key is on an elliptic curve that is not supported; ECDSA on P-256");
    assert_refused(PKI_ED25519, PKI_ED25519_KEY, CERTIFICATE_CHAIN,
                   "its key is Ed25519, which is not supported; ECDSA on P-256");
}

static void a_certificate_is_good_only_between_its_dates(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    const char *chain = write_text("chain.pem", PKI_LEAF PKI_LEAF_KEY);

    assert_false(load_at(&out, &heard, chain, NULL, NULL, BEGINS_S - 1));
    assert_non_null(strstr(heard.sentence, "is not valid before 2026-11-21 10:29:10 UTC"));
    assert_true(load_at(&out, &heard, chain, NULL, NULL, BEGINS_S));
    assert_true(load_at(&out, &heard, chain, NULL, NULL, ENDS_S));
    assert_false(load_at(&out, &heard, chain, NULL, NULL, ENDS_S + 1));
    assert_non_null(strstr(heard.sentence, "expired on 2126-10-28 10:29:10 UTC"));
    assert_int_equal(heard.errors_count[CERTIFICATE_CHAIN], 1);
}

static void outside_its_dates_a_certificate_is_served_with_a_warning(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    const char *chain = write_text("chain.pem", PKI_LEAF PKI_LEAF_KEY);

    assert_true(load_to_serve(&out, &heard, chain, BEGINS_S - 1));
    assert_non_null(strstr(heard.sentence, "is not valid before 2026-11-21 10:29:10 UTC; it is"));
    assert_false(out.is_of_today);
    assert_true(load_to_serve(&out, &heard, chain, BEGINS_S));
    assert_true(out.is_of_today);
    assert_int_equal(heard.warnings_count, 0);
    assert_true(load_to_serve(&out, &heard, chain, ENDS_S + 1));
    assert_non_null(strstr(heard.sentence, "expired on 2126-10-28 10:29:10 UTC; it is"));
    assert_int_equal(heard.warnings_count, 1);
    assert_int_equal(heard.errors_count[CERTIFICATE_CHAIN], 0);
    assert_false(out.is_of_today);
    assert_true(out.key.size > 0);
    certificate_forget_key(&out);
    /* Only that: its key must still fit. */
    assert_false(
        load_to_serve(&out, &heard, write_text("c.pem", PKI_LEAF PKI_OTHER_KEY), ENDS_S + 1));
}

static void the_last_seven_days_of_a_certificate_are_a_warning(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    const char *chain = write_text("chain.pem", PKI_LEAF PKI_LEAF_KEY);

    assert_true(load_at(&out, &heard, chain, NULL, NULL, ENDS_S - 7 * 86400));
    assert_int_equal(heard.warnings_count, 0);
    assert_true(load_at(&out, &heard, chain, NULL, NULL, ENDS_S - 7 * 86400 + 1));
    assert_int_equal(heard.warnings_count, 1);
    assert_non_null(strstr(heard.sentence, "expires in 6 days, on 2126-10-28 10:29:10 UTC"));
    assert_true(load_at(&out, &heard, chain, NULL, NULL, ENDS_S - 3600));
    assert_non_null(strstr(heard.sentence, "expires in 1 hours"));
}

static void a_chain_out_of_order_is_a_warning_that_names_the_place(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;

    assert_true(load(&out, &heard, PKI_LEAF PKI_ROOT, PKI_LEAF_KEY));
    assert_int_equal(heard.warnings_count, 1);
    assert_non_null(strstr(heard.sentence, "the 2nd certificate has not signed the 1st, whose "
                                           "issuer is \"CN=middle,O=limpet tests\""));
    assert_true(load(&out, &heard, PKI_LEAF PKI_ROOT PKI_MIDDLE, PKI_LEAF_KEY));
    assert_int_equal(heard.warnings_count, 2);
    assert_non_null(strstr(heard.sentence, "the 3rd certificate has not signed the 2nd"));
    assert_true(load(&out, &heard, PKI_LEAF PKI_MIDDLE PKI_ROOT, PKI_LEAF_KEY));
    assert_int_equal(heard.warnings_count, 0);
    /* The server's own behind its issuer: then the first one's key is another. */
    assert_false(load(&out, &heard, PKI_MIDDLE PKI_LEAF, PKI_LEAF_KEY));
}

static void a_bundle_of_authorities_is_no_chain(void **state)
{
    (void)state;
#define FIVE PKI_LEAF PKI_LEAF PKI_LEAF PKI_LEAF PKI_LEAF
    struct certificate out;
    struct heard heard;

    assert_true(load(&out, &heard, FIVE FIVE, PKI_LEAF_KEY));
    assert_int_equal(out.chain_count, 10);
    assert_refused(FIVE FIVE PKI_LEAF, PKI_LEAF_KEY, CERTIFICATE_CHAIN,
                   "has more than 10 certificates");
#undef FIVE
}

static void all_that_is_wrong_is_said_at_once(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    const char *both = write_text("both.pem", PKI_LEAF PKI_OTHER_KEY);

    assert_false(
        load_at(&out, &heard, path_of("missing.pem"), path_of("missing.key"), NULL, NOW_S));
    assert_int_equal(heard.errors_count[CERTIFICATE_CHAIN], 1);
    assert_int_equal(heard.errors_count[CERTIFICATE_KEY], 1);
    assert_false(load_at(&out, &heard, both, both, path_of("missing.ocsp"), ENDS_S + 1));
    assert_non_null(strstr(heard.about[CERTIFICATE_CHAIN], "expired"));
    assert_non_null(strstr(heard.about[CERTIFICATE_KEY], "does not fit"));
    assert_non_null(strstr(heard.about[CERTIFICATE_STAPLE], "missing.ocsp"));
    assert_int_equal(out.key.size, 0);
    /* But one file that is not there is said once. */
    assert_false(
        load_at(&out, &heard, path_of("missing.pem"), path_of("missing.pem"), NULL, NOW_S));
    assert_int_equal(heard.errors_count[CERTIFICATE_CHAIN], 1);
    assert_int_equal(heard.errors_count[CERTIFICATE_KEY], 0);
}

/* --- staples --- */

static bool load_staple(struct certificate *out, struct heard *heard, const char *staple,
                        int64_t now_s)
{
    return load_at(out, heard, write_text("chain.pem", PKI_LEAF PKI_MIDDLE PKI_LEAF_KEY), NULL,
                   staple, now_s);
}

static void a_good_response_is_stapled_as_it_is(void **state)
{
    (void)state;
    struct certificate out;
    struct heard heard;
    const char *const texts[] = {PKI_OCSP_GOOD, PKI_OCSP_GOOD_SHA256, PKI_OCSP_NO_END};

    for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
        char bytes[1024];
        size_t size = lp_base64_decode(bytes, lp_slice_of(texts[i]));

        assert_true(load_staple(&out, &heard, write_base64("good.ocsp", texts[i]), NOW_S));
        assert_int_equal(heard.warnings_count, 0);
        assert_non_null(out.staple);
        assert_int_equal(out.staple->response.size, size);
        assert_memory_equal(out.staple->response.data, bytes, size);
        assert_int_equal(out.staple->next_update_s, i < 2 ? ENDS_S + 1 : INT64_MAX);
    }
}

static void a_response_of_another_day_is_a_warning_and_not_stapled(void **state)
{
    (void)state;
    struct lp_slice leaf = pki_der(&arena, PKI_LEAF);
    struct x509 certificate;
    struct staple staple;
    struct lp_err err;
    char bytes[1024];
    struct lp_slice file = {bytes, lp_base64_decode(bytes, LP_SLICE(PKI_OCSP_GOOD))};

    assert_true(x509_read(&certificate, leaf));
    assert_int_equal(staple_read(&staple, file, &certificate, NULL, ENDS_S, &arena, &err),
                     STAPLE_GOOD);
    assert_int_equal(staple_read(&staple, file, &certificate, NULL, ENDS_S + 1, &arena, &err),
                     STAPLE_STALE);
    assert_non_null(strstr(err.text, "expired on 2126-10-28 10:29:11 UTC; it is not sent"));
    assert_int_equal(staple_read(&staple, file, &certificate, NULL, BEGINS_S - 299, &arena, &err),
                     STAPLE_GOOD);
    assert_int_equal(staple_read(&staple, file, &certificate, NULL, BEGINS_S - 300, &arena, &err),
                     STAPLE_STALE);
    assert_non_null(strstr(err.text, "will be good only on 2026-11-21 10:29:11 UTC"));
}

static void assert_staple_refused(const char *path, const char *part)
{
    struct certificate out;
    struct heard heard;

    assert_false(load_staple(&out, &heard, path, NOW_S));
    assert_int_equal(heard.errors_count[CERTIFICATE_STAPLE], 1);
    if (strstr(heard.sentence, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, heard.sentence);
}

static void a_response_that_helps_no_client_is_refused(void **state)
{
    (void)state;

    assert_staple_refused(path_of("missing.ocsp"), "No such file");
    assert_staple_refused(write_base64("a", PKI_OCSP_REVOKED), "has been revoked");
    assert_staple_refused(write_base64("a", PKI_OCSP_UNKNOWN), "does not know the certificate");
    assert_staple_refused(write_base64("a", PKI_OCSP_OTHER), "about another certificate");
    assert_staple_refused(write_text("a", PKI_LEAF), "is PEM");
    assert_staple_refused(write_text("a", "hello"), "is not an OCSP response");
    assert_staple_refused(write_bytes("a", "\x30\x03\x0a\x01\x03", 5),
                          "is a refusal of the responder: tryLater");
    assert_staple_refused(write_bytes("a", "\x30\x03\x0a\x01\x63", 5),
                          "a number that is not assigned");
}

/* The same serial number from another authority: only the issuer's name and key tell. */
static void a_response_of_another_issuer_is_refused(void **state)
{
    (void)state;
    struct lp_slice leaf = pki_der(&arena, PKI_LEAF), root = pki_der(&arena, PKI_ROOT),
                    middle = pki_der(&arena, PKI_MIDDLE);
    struct x509 certificate, issuer;
    struct staple staple;
    struct lp_err err;
    char bytes[1024];
    struct lp_slice file = {bytes, lp_base64_decode(bytes, LP_SLICE(PKI_OCSP_GOOD))};

    assert_true(x509_read(&certificate, leaf));
    assert_true(x509_read(&issuer, middle));
    assert_int_equal(staple_read(&staple, file, &certificate, &issuer, NOW_S, &arena, &err),
                     STAPLE_GOOD);
    assert_true(x509_read(&issuer, root));
    assert_int_equal(staple_read(&staple, file, &certificate, &issuer, NOW_S, &arena, &err),
                     STAPLE_BAD);
    certificate.issuer = issuer.subject;
    assert_int_equal(staple_read(&staple, file, &certificate, NULL, NOW_S, &arena, &err),
                     STAPLE_BAD);
}

static void a_response_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct lp_slice leaf = pki_der(&arena, PKI_LEAF);
    struct x509 certificate;
    struct staple staple;
    struct lp_err err;
    char bytes[1024];
    size_t size = lp_base64_decode(bytes, LP_SLICE(PKI_OCSP_GOOD));

    assert_true(x509_read(&certificate, leaf));
    for (size_t cut = 0; cut < size; cut++) {
        /* Memory of its own, for the address sanitizer. */
        char *copy = malloc(cut + 1);

        memcpy(copy, bytes, cut);
        assert_int_equal(staple_read(&staple, (struct lp_slice){copy, cut}, &certificate, NULL,
                                     NOW_S, &arena, &err),
                         STAPLE_BAD);
        free(copy);
    }
}

/* --- which certificate for which name --- */

static uint32_t find(const struct certificate_names *names, const char *name)
{
    return certificate_names_find(names, lp_slice_of(name));
}

static void a_name_finds_the_exact_certificate_then_a_wildcard_then_the_first(void **state)
{
    (void)state;
    struct lp_slice first[] = {LP_SLICE("first.net"), LP_SLICE("*.example.com")};
    struct lp_slice second[] = {LP_SLICE("www.example.com"), LP_SLICE("*.example.org"),
                                LP_SLICE("example.org")};
    struct lp_slice third[] = {LP_SLICE("*.sub.example.com"), LP_SLICE("x.y"), LP_SLICE("z")};
    struct certificate certificates[] = {
        {.names = first, .names_count = 2},
        {.names = second, .names_count = 3},
        {.names = third, .names_count = 3},
    };
    struct certificate_names names;

    certificate_names_build(&names, certificates, 3, &arena);
    assert_int_equal(find(&names, "www.example.com"), 1);
    assert_int_equal(find(&names, "api.example.com"), 0);
    assert_int_equal(find(&names, "example.org"), 1);
    assert_int_equal(find(&names, "a.example.org"), 1);
    assert_int_equal(find(&names, "a.sub.example.com"), 2);
    assert_int_equal(find(&names, "x.y"), 2);
    assert_int_equal(find(&names, "z"), 2);
    /* A wildcard is one label, neither two nor none, and no name is nobody's. */
    assert_int_equal(find(&names, "a.b.example.org"), 0);
    assert_int_equal(find(&names, ".example.org"), 0);
    assert_int_equal(find(&names, "nobody.test"), 0);
    assert_int_equal(find(&names, ""), 0);
    assert_int_equal(find(&names, "."), 0);
    assert_int_equal(find(&names, "a."), 0);
}

static void of_equal_names_the_first_listed_certificate_wins(void **state)
{
    (void)state;
    struct lp_slice other[] = {LP_SLICE("other")};
    struct lp_slice both[] = {LP_SLICE("a.b"), LP_SLICE("*.b"), LP_SLICE("a.b")};
    struct certificate certificates[] = {
        {.names = other, .names_count = 1},
        {.names = both, .names_count = 3, .is_rsa = true},
        {.names = both, .names_count = 3},
        {.names_count = 0},
    };
    struct certificate_names names;

    certificate_names_build(&names, certificates, 4, &arena);
    assert_int_equal(names.count, 3);
    assert_int_equal(find(&names, "a.b"), 1);
    assert_int_equal(find(&names, "c.b"), 1);
}

static void of_equal_names_one_that_is_of_today_wins(void **state)
{
    (void)state;
    struct lp_slice names_of[] = {LP_SLICE("a.b"), LP_SLICE("*.b")};
    struct certificate certificates[] = {
        {.names = names_of, .names_count = 2},
        {.names = names_of, .names_count = 1, .is_of_today = true},
        {.names = names_of, .names_count = 1, .is_of_today = true},
    };
    struct certificate_names names;

    certificate_names_build(&names, certificates, 3, &arena);
    assert_int_equal(find(&names, "a.b"), 1);
    assert_int_equal(find(&names, "c.b"), 0); /* nobody else has that */
}

static void many_names_are_all_found(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct certificate *certificates = LP_ARENA_ARRAY(&arena, struct certificate, COUNT);
    struct certificate_names names;
    char text[64];

    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "host%u.example.com", i * 7919 % COUNT);
        certificates[i].names = LP_ARENA_NEW(&arena, struct lp_slice);
        certificates[i].names[0] = lp_arena_slice(&arena, lp_slice_of(text));
        certificates[i].names_count = 1;
    }
    certificate_names_build(&names, certificates, COUNT, &arena);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(certificate_names_find(&names, certificates[i].names[0]), i);
}

static void no_names_at_all_mean_the_first_certificate(void **state)
{
    (void)state;
    struct certificate nameless = {0};
    struct certificate_names names;

    certificate_names_build(&names, &nameless, 1, &arena);
    assert_int_equal(find(&names, "www.example.com"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_chain_with_its_key_tells_names_dates_kind_and_subject),
        TEST(the_common_name_counts_only_without_other_names),
        TEST(rsa_and_the_three_curves_are_told_apart),
        TEST(a_key_may_be_pkcs8_pkcs1_or_sec1_with_parameters_before_it),
        TEST(key_and_chain_may_share_a_file_in_any_order_with_text_around),
        TEST(lines_may_end_in_cr_lf),
        TEST(the_digest_changes_with_any_certificate_of_the_chain),
        TEST(a_file_that_cannot_be_read_is_named),
        TEST(a_pipe_is_refused_without_waiting_for_its_writer),
        TEST(a_file_of_more_than_a_mebibyte_is_refused),
        TEST(a_file_of_another_form_is_called_by_its_name),
        TEST(certificate_and_key_must_be_there),
        TEST(damaged_blocks_are_refused_with_their_place),
        TEST(what_belongs_to_no_block_or_to_one_of_another_kind_is_refused),
        TEST(an_encrypted_key_is_refused_in_both_forms),
        TEST(the_key_must_be_that_of_the_certificate),
        TEST(keys_of_other_kinds_and_sizes_are_refused),
        TEST(a_certificate_is_good_only_between_its_dates),
        TEST(outside_its_dates_a_certificate_is_served_with_a_warning),
        TEST(the_last_seven_days_of_a_certificate_are_a_warning),
        TEST(a_chain_out_of_order_is_a_warning_that_names_the_place),
        TEST(a_bundle_of_authorities_is_no_chain),
        TEST(all_that_is_wrong_is_said_at_once),
        TEST(a_good_response_is_stapled_as_it_is),
        TEST(a_response_of_another_day_is_a_warning_and_not_stapled),
        TEST(a_response_that_helps_no_client_is_refused),
        TEST(a_response_of_another_issuer_is_refused),
        TEST(a_response_cut_anywhere_is_refused),
        TEST(a_name_finds_the_exact_certificate_then_a_wildcard_then_the_first),
        TEST(of_equal_names_the_first_listed_certificate_wins),
        TEST(of_equal_names_one_that_is_of_today_wins),
        TEST(many_names_are_all_found),
        TEST(no_names_at_all_mean_the_first_certificate),
    };

    return cmocka_run_group_tests_name("certificate", tests, NULL, NULL);
}
