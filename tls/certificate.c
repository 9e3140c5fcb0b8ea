/* certificate_load() is the story: the chain's file, the server's own certificate, the key's file,
 * do they fit, then what is only worth a warning. Each step says itself what it does not like. The
 * library is asked where its own opinion counts: can it read this certificate, did this one sign
 * that one. */
#include "tls/certificate.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls/pem.h"
#include "tls/private_key.h"
#include "tls/subject.h"
#include "tls/wolfssl.h"

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#define OID_P256 "\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define OID_P384 "\x2b\x81\x04\x00\x22"
#define OID_P521 "\x2b\x81\x04\x00\x23"

#define RSA_BITS_MIN 2048u
#define RSA_BITS_MAX 4096u

#define WHAT_WORKS "ECDSA on P-256, P-384 or P-521 and RSA of 2048 to 4096 bits work"

#define TIME_TEXT_BYTES 40u

/* What the steps share. */
struct loading {
    struct certificate *out;
    const char *chain_path, *key_path, *staple_path;
    int64_t now_s;
    struct lp_arena *arena;
    const struct certificate_report *report;
    struct x509 leaf;
};

/* --- saying what is wrong --- */

#define SENTENCE_BYTES 2048u

static bool refuse(const struct loading *l, enum certificate_file at, const char *format, ...)
    LP_PRINTF(3, 4);
static void warn(const struct loading *l, enum certificate_file at, const char *format, ...)
    LP_PRINTF(3, 4);

/* Answers false, so that `return refuse(...)` reads well. */
static bool refuse(const struct loading *l, enum certificate_file at, const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    l->report->complain(l->report->listener, at, true, sentence);
    return false;
}

static void warn(const struct loading *l, enum certificate_file at, const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    l->report->complain(l->report->listener, at, false, sentence);
}

static const char *time_text(char out[TIME_TEXT_BYTES], int64_t when_s)
{
    time_t when = (time_t)when_s;
    struct tm utc;

    if (gmtime_r(&when, &utc) == NULL ||
        strftime(out, TIME_TEXT_BYTES, "%Y-%m-%d %H:%M:%S UTC", &utc) == 0)
        return "a day without a name";
    return out;
}

static const char *ordinal(uint32_t number)
{
    static const char *const words[CERTIFICATE_CHAIN_MAX + 1] = {
        "0th", "1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th", "10th"};

    return words[number < LP_COUNT_OF(words) ? number : 0];
}

/* --- the chain's file --- */

static bool add_certificate(struct loading *l, const struct pem_block *block)
{
    struct certificate *out = l->out;
    const char *which = ordinal(out->chain_count + 1);
    struct x509 read;

    if (out->chain_count == CERTIFICATE_CHAIN_MAX)
        return refuse(
            l, CERTIFICATE_CHAIN,
            "%s has more than %u certificates; a server's own and its issuers are needed, "
            "not a bundle of authorities",
            l->chain_path, CERTIFICATE_CHAIN_MAX);
    if (!pem_decode(&out->chain[out->chain_count], block, l->arena))
        return refuse(l, CERTIFICATE_CHAIN, "%s: the base64 of the %s certificate is damaged",
                      l->chain_path, which);
    if (!x509_read(&read, out->chain[out->chain_count]))
        return refuse(l, CERTIFICATE_CHAIN, "%s: the %s certificate is damaged", l->chain_path,
                      which);
    out->chain_count++;
    return true;
}

static bool read_chain(struct loading *l, struct lp_slice file)
{
    struct lp_slice rest = file;
    struct pem_block block;
    bool has_block = false, has_key = false;
    enum pem_outcome outcome;
    struct lp_err err;

    while ((outcome = pem_next(&rest, &block)) != PEM_END) {
        if (!pem_check(outcome, &block, l->chain_path, &err))
            return refuse(l, CERTIFICATE_CHAIN, "%s", err.text);
        has_block = true;
        has_key = has_key || pem_is_key(&block);
        if (pem_is_certificate(&block) && !add_certificate(l, &block))
            return false;
    }
    if (l->out->chain_count > 0)
        return true;
    if (!has_block)
        return refuse(l, CERTIFICATE_CHAIN, "%s has no certificate in it; it %s", l->chain_path,
                      pem_describe(file));
    return refuse(l, CERTIFICATE_CHAIN, "%s has no certificate in it%s", l->chain_path,
                  has_key ? "; it has a private key: are \"cert\" and \"key\" the wrong way round?"
                          : "");
}

static bool load_chain(struct loading *l)
{
    struct lp_slice file;
    struct lp_err err;

    if (!pem_read_file(&file, l->chain_path, &err))
        return refuse(l, CERTIFICATE_CHAIN, "%s", err.text);

    bool done = read_chain(l, file);

    pem_free_file(file);
    return done;
}

/* --- the server's own certificate --- */

static uint32_t bits_of(struct lp_slice number)
{
    while (number.size > 0 && number.data[0] == 0) {
        number.data++;
        number.size--;
    }
    if (number.size == 0)
        return 0;
    return (uint32_t)(8 * number.size) - (uint32_t)(__builtin_clz((uint8_t)number.data[0]) - 24);
}

static bool check_rsa(struct loading *l)
{
    struct lp_slice key = l->leaf.key, numbers, modulus;

    if (!der_open(&key, DER_SEQUENCE, &numbers) || !der_open(&numbers, DER_INTEGER, &modulus))
        return refuse(l, CERTIFICATE_CHAIN, "%s: the 1st certificate's RSA key is damaged",
                      l->chain_path);
    l->out->is_rsa = true;
    l->out->bits = bits_of(modulus);
    if (l->out->bits < RSA_BITS_MIN || l->out->bits > RSA_BITS_MAX)
        return refuse(l, CERTIFICATE_CHAIN, "%s: its RSA key has %u bits; " WHAT_WORKS,
                      l->chain_path, l->out->bits);
    return true;
}

static bool check_curve(struct loading *l)
{
    struct lp_slice parameters = l->leaf.key_parameters, curve;

    if (!der_open(&parameters, DER_OID, &curve))
        curve = LP_SLICE("");
    l->out->bits = der_is_oid(curve, OID_P256)   ? 256
                   : der_is_oid(curve, OID_P384) ? 384
                   : der_is_oid(curve, OID_P521) ? 521
                                                 : 0;
    if (l->out->bits == 0)
        return refuse(l, CERTIFICATE_CHAIN,
                      "%s: its key is on an elliptic curve that is not supported; " WHAT_WORKS,
                      l->chain_path);
    return true;
}

static bool check_kind(struct loading *l)
{
    if (der_is_oid(l->leaf.key_algorithm, X509_OID_RSA))
        return check_rsa(l);
    if (der_is_oid(l->leaf.key_algorithm, X509_OID_EC))
        return check_curve(l);
    return refuse(l, CERTIFICATE_CHAIN, "%s: its key is %s, which is not supported; " WHAT_WORKS,
                  l->chain_path, x509_key_word(l->leaf.key_algorithm));
}

/* Whoever serves serves it all the same: it may be all there is, and others stand beside it. */
static bool check_dates(struct loading *l)
{
    int64_t left_s = l->leaf.not_after_s - l->now_s;
    bool has_begun = l->now_s >= l->leaf.not_before_s;
    char text[TIME_TEXT_BYTES];

    l->out->is_of_today = left_s >= 0 && has_begun;
    if (!l->out->is_of_today) {
        const char *what = has_begun ? "expired on" : "is not valid before";
        int64_t when_s = has_begun ? l->leaf.not_after_s : l->leaf.not_before_s;
        if (l->report->expired_is_error)
            return refuse(l, CERTIFICATE_CHAIN, "%s %s %s", l->chain_path, what,
                          time_text(text, when_s));
        warn(l, CERTIFICATE_CHAIN, "%s %s %s; it is used all the same, and peers will refuse it",
             l->chain_path, what, time_text(text, when_s));
        return true;
    }
    if (left_s < CERTIFICATE_WARN_S)
        warn(l, CERTIFICATE_CHAIN, "%s expires in %d %s, on %s", l->chain_path,
             (int)(left_s < 2 * 86400 ? left_s / 3600 : left_s / 86400),
             left_s < 2 * 86400 ? "hours" : "days", time_text(text, l->leaf.not_after_s));
    return true;
}

/* What we can read the library should, too: it has rules of its own. */
static bool check_with_library(struct loading *l)
{
    struct lp_slice der = l->out->chain[0];
    struct DecodedCert decoded;

    wc_InitDecodedCert(&decoded, (const byte *)der.data, (word32)der.size, NULL);

    int problem = wc_ParseCert(&decoded, CERT_TYPE, NO_VERIFY, NULL);

    wc_FreeDecodedCert(&decoded);
    if (problem != 0)
        return refuse(l, CERTIFICATE_CHAIN,
                      "%s: the TLS library cannot use the 1st certificate: %s", l->chain_path,
                      wc_GetErrorString(problem));
    return true;
}

static struct lp_slice lower_copy(struct lp_slice text, struct lp_arena *arena)
{
    char *copy = lp_arena_copy(arena, text);

    for (size_t i = 0; i < text.size; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] - 'A' + 'a');
    return (struct lp_slice){copy, text.size};
}

/* The names that clients may ask for. The commonName counts only when nothing else is there. */
static void list_names(struct loading *l)
{
    struct lp_slice rest = l->leaf.names, common_name;
    struct x509_name name;
    uint32_t room = 0;

    while (x509_next_name(&rest, &name))
        room++;
    l->out->names = LP_ARENA_ARRAY(l->arena, struct lp_slice, room + 1);
    rest = l->leaf.names;
    while (x509_next_name(&rest, &name))
        if (!name.is_ip)
            l->out->names[l->out->names_count++] = lower_copy(name.value, l->arena);
    if (!l->leaf.has_names && x509_common_name(&l->leaf, &common_name))
        l->out->names[l->out->names_count++] = lower_copy(common_name, l->arena);
}

static void describe(struct loading *l)
{
    struct certificate *out = l->out;
    char subject[SUBJECT_BYTES_MAX];
    size_t size = subject_write(subject, l->leaf.subject), chain_bytes = 0;

    out->subject = lp_arena_copy(l->arena, (struct lp_slice){subject, size == SIZE_MAX ? 0 : size});
    fingerprint_write(out->fingerprint, out->chain[0]);
    out->not_before_s = l->leaf.not_before_s;
    out->not_after_s = l->leaf.not_after_s;
    list_names(l);

    for (uint32_t i = 0; i < out->chain_count; i++)
        chain_bytes += out->chain[i].size;

    char *all = lp_alloc(chain_bytes + 1), *end = all;

    for (uint32_t i = 0; i < out->chain_count; i++) {
        memcpy(end, out->chain[i].data, out->chain[i].size);
        end += out->chain[i].size;
    }
    lp_sha256(out->digest, (struct lp_slice){all, chain_bytes});
    lp_free(all);
}

/* Is it one whose key could be used? Only then can the key's file be compared with it. */
static bool read_leaf(struct loading *l)
{
    LP_ASSERT(x509_read(&l->leaf, l->out->chain[0]));
    describe(l);
    return check_kind(l);
}

/* --- the key --- */

static bool load_key(struct loading *l, bool has_leaf)
{
    struct lp_err err;

    /* What is wrong with the one file that holds both was said. */
    if (!has_leaf && strcmp(l->key_path, l->chain_path) == 0)
        return false;
    if (!private_key_read(&l->out->key, l->key_path, has_leaf ? &l->leaf : NULL, l->chain_path,
                          l->arena, &err))
        return refuse(l, CERTIFICATE_KEY, "%s", err.text);
    return true;
}

/* --- the rest of the chain: servers take it as it is, so clients' trouble is a warning --- */

/* Did issuer sign subject? When the library cannot tell, names decide. */
static bool has_signed(struct lp_slice issuer, struct lp_slice subject)
{
    WOLFSSL_CERT_MANAGER *library = wolfSSL_CertManagerNew();
    struct x509 above, below;

    LP_ASSERT(library != NULL && x509_read(&above, issuer) && x509_read(&below, subject));

    bool signed_it = lp_slice_equal(above.subject, below.issuer);

    if (wolfSSL_CertManagerLoadCABuffer_ex(library, (const byte *)issuer.data, (long)issuer.size,
                                           WOLFSSL_FILETYPE_ASN1, 0,
                                           WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY) == WOLFSSL_SUCCESS) {
        int problem = wolfSSL_CertManagerVerifyBuffer(library, (const byte *)subject.data,
                                                      (long)subject.size, WOLFSSL_FILETYPE_ASN1);

        signed_it = problem != ASN_NO_SIGNER_E && problem != ASN_SELF_SIGNED_E &&
                    problem != ASN_SIG_CONFIRM_E && problem != ASN_SIG_HASH_E;
    }
    wolfSSL_CertManagerFree(library);
    return signed_it;
}

static void check_link(const struct loading *l, uint32_t index)
{
    struct x509 above, below;
    char issuer[SUBJECT_BYTES_MAX], text[TIME_TEXT_BYTES];

    LP_ASSERT(x509_read(&below, l->out->chain[index - 1]) &&
              x509_read(&above, l->out->chain[index]));
    if (!has_signed(l->out->chain[index], l->out->chain[index - 1])) {
        size_t size = subject_write(issuer, below.issuer);

        warn(l, CERTIFICATE_CHAIN,
             "%s: the %s certificate has not signed the %s, whose issuer is \"%.*s\"; clients may "
             "refuse a chain that is out of order",
             l->chain_path, ordinal(index + 1), ordinal(index), size == SIZE_MAX ? 0 : (int)size,
             issuer);
    }
    if (above.not_after_s < l->now_s)
        warn(l, CERTIFICATE_CHAIN, "%s: the %s certificate of the chain expired on %s",
             l->chain_path, ordinal(index + 1), time_text(text, above.not_after_s));
}

/* --- the staple --- */

static bool load_staple(struct loading *l)
{
    struct staple *staple = LP_ARENA_NEW(l->arena, struct staple);
    struct lp_slice file;
    struct x509 issuer;
    struct lp_err err;

    if (l->staple_path == NULL)
        return true;
    if (!pem_read_file(&file, l->staple_path, &err))
        return refuse(l, CERTIFICATE_STAPLE, "%s", err.text);

    /* Without the issuer at hand, the serial number and the issuer's name must do. */
    bool has_issuer = l->out->chain_count > 1 && x509_read(&issuer, l->out->chain[1]) &&
                      lp_slice_equal(issuer.subject, l->leaf.issuer);
    enum staple_outcome outcome =
        staple_read(staple, file, &l->leaf, has_issuer ? &issuer : NULL, l->now_s, l->arena, &err);

    pem_free_file(file);
    if (outcome == STAPLE_BAD)
        return refuse(l, CERTIFICATE_STAPLE, "%s %s", l->staple_path, err.text);
    if (outcome == STAPLE_STALE)
        warn(l, CERTIFICATE_STAPLE, "%s %s", l->staple_path, err.text);
    else
        l->out->staple = staple;
    return true;
}

/* --- all of it --- */

static bool is_given(const char *path)
{
    return path != NULL && path[0] != '\0';
}

bool certificate_load(struct certificate *out, const struct certificate_files *files, int64_t now_s,
                      struct lp_arena *arena, const struct certificate_report *report)
{
    struct loading l = {
        .out = out,
        .chain_path = files->chain,
        .key_path = is_given(files->key) ? files->key : files->chain,
        .staple_path = is_given(files->staple) ? files->staple : NULL,
        .now_s = now_s,
        .arena = arena,
        .report = report,
    };

    *out = (struct certificate){0};

    /* All that is wrong is said at once: whoever mends a file would rather know of the others. */
    bool has_leaf = load_chain(&l) && read_leaf(&l);
    bool is_good = has_leaf && check_dates(&l) && check_with_library(&l);

    is_good = load_key(&l, has_leaf) && is_good;
    if (has_leaf)
        is_good = load_staple(&l) && is_good;
    for (uint32_t i = 1; is_good && i < out->chain_count; i++)
        check_link(&l, i);
    if (!is_good)
        certificate_forget_key(out);
    return is_good;
}

/* --- into the library --- */

bool certificate_install(WOLFSSL_CTX *library, const struct certificate *certificate,
                         struct lp_err *err)
{
    size_t size = 0;

    for (uint32_t i = 0; i < certificate->chain_count; i++)
        size += certificate->chain[i].size;

    byte *chain = lp_alloc(size + 1);

    size = 0;
    for (uint32_t i = 0; i < certificate->chain_count; i++) {
        memcpy(chain + size, certificate->chain[i].data, certificate->chain[i].size);
        size += certificate->chain[i].size;
    }

    int outcome = wolfSSL_CTX_use_certificate_chain_buffer_format(library, chain, (long)size,
                                                                  WOLFSSL_FILETYPE_ASN1);

    lp_free(chain);
    if (outcome == WOLFSSL_SUCCESS)
        outcome =
            wolfSSL_CTX_use_PrivateKey_buffer(library, (const byte *)certificate->key.data,
                                              (long)certificate->key.size, WOLFSSL_FILETYPE_ASN1);
    if (outcome != WOLFSSL_SUCCESS || wolfSSL_CTX_check_private_key(library) != WOLFSSL_SUCCESS)
        return lp_err_set(err, LP_ERR_CONFIG, "the TLS library refuses the certificate: %s",
                          wc_GetErrorString(outcome));
    return certificate->staple == NULL || staple_install(library, certificate->staple, err);
}

void certificate_forget_key(struct certificate *certificate)
{
    if (certificate->key.size > 0)
        explicit_bzero((char *)(uintptr_t)certificate->key.data, certificate->key.size);
    certificate->key = (struct lp_slice){0};
}
