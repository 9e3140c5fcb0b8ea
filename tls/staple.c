/* The library has its own idea of stapling: it asks the responder itself, within the handshake, and
 * remembers answers behind a lock. With a status callback it does none of that; the callback copies
 * what staple_read() has found good. */
#include "tls/staple.h"

#include <string.h>
#include <time.h>

#include "tls/wolfssl.h"

/* Clocks differ; RFC 6960 leaves it to us by how much. */
#define CLOCK_SKEW_S 300

#define OID_OCSP_BASIC "\x2b\x06\x01\x05\x05\x07\x30\x01\x01"
#define OID_SHA1       "\x2b\x0e\x03\x02\x1a"
#define OID_SHA256     "\x60\x86\x48\x01\x65\x03\x04\x02\x01"

/* RFC 6960, 4.2.1: what a SingleResponse says. */
struct answer {
    struct lp_slice algorithm, name_hash, key_hash, serial;
    unsigned status; /* [0] good, [1] revoked, [2] unknown */
    int64_t this_update_s, next_update_s;
};

/* OCSPResponse ::= SEQUENCE { ENUMERATED, [0] SEQUENCE { OID, OCTET STRING } }; gives the
 * BasicOCSPResponse. */
static bool open_response(struct lp_slice file, uint8_t *status, struct lp_slice *basic)
{
    struct lp_slice response, state, holder, bytes, type;

    *status = 0;
    if (!der_open(&file, DER_SEQUENCE, &response) || file.size > 0 ||
        !der_open(&response, DER_ENUMERATED, &state) || state.size != 1)
        return false;
    *status = (uint8_t)state.data[0];
    if (*status != 0)
        return true;
    return der_open(&response, DER_CONTEXT_HOLDS, &holder) &&
           der_open(&holder, DER_SEQUENCE, &bytes) && der_open(&bytes, DER_OID, &type) &&
           der_is_oid(type, OID_OCSP_BASIC) && der_open(&bytes, DER_OCTET_STRING, basic);
}

/* BasicOCSPResponse ::= SEQUENCE { SEQUENCE { [0] version?, responder, time, SEQUENCE OF answers }
 * } */
static bool open_answers(struct lp_slice basic, struct lp_slice *answers)
{
    struct lp_slice body, data;
    struct der_element skipped;

    if (!der_open(&basic, DER_SEQUENCE, &body) || !der_open(&body, DER_SEQUENCE, &data))
        return false;
    if (der_is(data, DER_CONTEXT_HOLDS) && !der_take(&data, &skipped))
        return false;
    return der_take(&data, &skipped) && der_take_tag(&data, DER_TIME, &skipped) &&
           der_open(&data, DER_SEQUENCE, answers);
}

static bool read_answer(struct answer *out, struct lp_slice single)
{
    struct lp_slice id, algorithm, next;
    struct der_element status, time;

    *out = (struct answer){.next_update_s = INT64_MAX};
    if (!der_open(&single, DER_SEQUENCE, &id) || !der_open(&id, DER_SEQUENCE, &algorithm) ||
        !der_open(&algorithm, DER_OID, &out->algorithm) ||
        !der_open(&id, DER_OCTET_STRING, &out->name_hash) ||
        !der_open(&id, DER_OCTET_STRING, &out->key_hash) ||
        !der_open(&id, DER_INTEGER, &out->serial) || !der_take(&single, &status) ||
        !der_take(&single, &time) || !der_time(&time, &out->this_update_s))
        return false;
    out->status = status.tag & 0x1f;
    if (!der_open(&single, DER_CONTEXT_HOLDS, &next))
        return true;
    return der_take(&next, &time) && der_time(&time, &out->next_update_s);
}

/* Unknown digests cannot be compared; then the serial number must do. */
static bool hash_is(struct lp_slice algorithm, struct lp_slice hash, struct lp_slice of)
{
    uint8_t digest[LP_SHA256_BYTES];
    size_t size;

    if (der_is_oid(algorithm, OID_SHA1)) {
        lp_sha1(digest, of);
        size = LP_SHA1_BYTES;
    } else if (der_is_oid(algorithm, OID_SHA256)) {
        lp_sha256(digest, of);
        size = LP_SHA256_BYTES;
    } else {
        return true;
    }
    return lp_slice_equal(hash, (struct lp_slice){(const char *)digest, size});
}

static bool is_about(const struct answer *answer, const struct x509 *leaf,
                     const struct x509 *issuer)
{
    return lp_slice_equal(answer->serial, leaf->serial) &&
           hash_is(answer->algorithm, answer->name_hash, leaf->issuer) &&
           (issuer == NULL || hash_is(answer->algorithm, answer->key_hash, issuer->key));
}

/* RFC 6960, 4.2.1 */
static const char *word_of(uint8_t status)
{
    static const char *const words[] = {"successful",
                                        "malformedRequest",
                                        "internalError",
                                        "tryLater",
                                        "a number that is not assigned",
                                        "sigRequired",
                                        "unauthorized"};

    return status < LP_COUNT_OF(words) ? words[status] : "a number that is not assigned";
}

static enum staple_outcome bad(struct lp_err *err, const char *sentence)
{
    lp_err_set(err, LP_ERR_CONFIG, "%s", sentence);
    return STAPLE_BAD;
}

static enum staple_outcome stale(struct lp_err *err, const char *what, int64_t when_s)
{
    time_t when = (time_t)when_s;
    struct tm utc;
    char text[40] = "";

    if (gmtime_r(&when, &utc) != NULL)
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &utc);
    lp_err_set(err, LP_ERR_CONFIG, "%s on %s; it is not sent until a newer one is there", what,
               text);
    return STAPLE_STALE;
}

static enum staple_outcome judge(struct staple *out, const struct answer *answer, int64_t now_s,
                                 struct lp_err *err)
{
    if (answer->status == 1)
        return bad(err, "says that the certificate has been revoked; a new certificate is needed");
    if (answer->status != 0)
        return bad(err, "says that its responder does not know the certificate");
    if (answer->this_update_s > now_s + CLOCK_SKEW_S)
        return stale(err, "is a response that will be good only", answer->this_update_s);
    if (answer->next_update_s <= now_s)
        return stale(err, "is a response that expired", answer->next_update_s);
    out->next_update_s = answer->next_update_s;
    return STAPLE_GOOD;
}

enum staple_outcome staple_read(struct staple *out, struct lp_slice file, const struct x509 *leaf,
                                const struct x509 *issuer, int64_t now_s, struct lp_arena *arena,
                                struct lp_err *err)
{
    struct lp_slice basic, answers, single;
    struct answer answer;
    uint8_t status;

    if (file.size > 10 && memcmp(file.data, "-----BEGIN", 10) == 0)
        return bad(err, "is PEM; an OCSP response is DER, as \"openssl ocsp -respout\" writes it");
    if (file.size > STAPLE_BYTES_MAX)
        return bad(err, "is larger than an OCSP response can be sent");
    if (!open_response(file, &status, &basic))
        return bad(err, "is not an OCSP response in DER, as \"openssl ocsp -respout\" writes it");
    if (status != 0) {
        lp_err_set(err, LP_ERR_CONFIG, "is a refusal of the responder: %s", word_of(status));
        return STAPLE_BAD;
    }
    if (!open_answers(basic, &answers) || answers.size == 0)
        return bad(err, "is a damaged OCSP response");
    while (der_open(&answers, DER_SEQUENCE, &single)) {
        if (!read_answer(&answer, single))
            return bad(err, "is a damaged OCSP response");
        if (!is_about(&answer, leaf, issuer))
            continue;
        out->response = lp_arena_slice(arena, file);
        return judge(out, &answer, now_s, err);
    }
    return bad(err, "is an OCSP response about another certificate");
}

/* --- sending it --- */

static int give_response(WOLFSSL *session, void *context)
{
    const struct staple *staple = context;
    size_t size = staple->response.size;

    if (staple->next_update_s <= (int64_t)time(NULL))
        return WOLFSSL_OCSP_STATUS_CB_NOACK;

    /* The library frees it with the rest of the handshake. */
    unsigned char *copy = XMALLOC(size, NULL, DYNAMIC_TYPE_OCSP);

    /* Clients do without, so memory that is out is no reason to turn them away. */
    if (copy == NULL)
        return WOLFSSL_OCSP_STATUS_CB_NOACK;
    memcpy(copy, staple->response.data, size);
    if (wolfSSL_set_tlsext_status_ocsp_resp(session, copy, (int)size) != WOLFSSL_SUCCESS) {
        XFREE(copy, NULL, DYNAMIC_TYPE_OCSP);
        return WOLFSSL_OCSP_STATUS_CB_NOACK;
    }
    return WOLFSSL_OCSP_STATUS_CB_OK;
}

bool staple_install(WOLFSSL_CTX *library, const struct staple *staple, struct lp_err *err)
{
    if (wolfSSL_CTX_set_tlsext_status_cb(library, give_response) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_tlsext_status_arg(library, (void *)(uintptr_t)staple) != WOLFSSL_SUCCESS)
        return lp_err_set(err, LP_ERR_SYSTEM, "the TLS library refused to staple");
    return true;
}
