/* A file may hold a key beside other things; it is found, decoded, and the library is asked whether
 * it can read it and whether it belongs to the certificate. */
#include "tls/private_key.h"

#include <string.h>

#include "tls/pem.h"
#include "tls/wolfssl.h"

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>

/* PrivateKeyInfo ::= SEQUENCE { version, SEQUENCE { algorithm, ... }, ... } (RFC 5958); the older
 * forms have their algorithm in the label. */
static struct lp_slice algorithm_of(const struct pem_block *block, struct lp_slice der)
{
    struct lp_slice info, version, algorithm, oid;

    if (lp_slice_equal(block->label, LP_SLICE("RSA PRIVATE KEY")))
        return LP_SLICE(X509_OID_RSA);
    if (lp_slice_equal(block->label, LP_SLICE("EC PRIVATE KEY")))
        return LP_SLICE(X509_OID_EC);
    if (!der_open(&der, DER_SEQUENCE, &info) || !der_open(&info, DER_INTEGER, &version) ||
        !der_open(&info, DER_SEQUENCE, &algorithm) || !der_open(&algorithm, DER_OID, &oid))
        return LP_SLICE("");
    return oid;
}

static bool is_whole_rsa(struct lp_slice der)
{
    RsaKey key;
    word32 at = 0;

    if (wc_InitRsaKey(&key, NULL) != 0)
        return false;

    bool is_whole =
        wc_RsaPrivateKeyDecode((const byte *)der.data, &at, &key, (word32)der.size) == 0;

    wc_FreeRsaKey(&key);
    return is_whole;
}

static bool is_whole_ec(struct lp_slice der)
{
    ecc_key key;
    word32 at = 0;

    if (wc_ecc_init(&key) != 0)
        return false;

    bool is_whole =
        wc_EccPrivateKeyDecode((const byte *)der.data, &at, &key, (word32)der.size) == 0;

    wc_ecc_free(&key);
    return is_whole;
}

/* The last argument names the kind of both. */
static bool is_pair(struct lp_slice private, struct lp_slice public, bool is_rsa)
{
    return wc_CheckPrivateKey((const byte *)private.data, (word32) private.size,
                              (const byte *)public.data, (word32) public.size,
                              is_rsa ? RSAk : ECDSAk, NULL) == 1;
}

static bool check_key(struct lp_slice der, struct lp_slice algorithm, const char *path,
                      const struct x509 *certificate, const char *certificate_path,
                      struct lp_err *err)
{
    bool is_rsa = der_is_oid(algorithm, X509_OID_RSA);

    if (algorithm.size == 0)
        return lp_err_set(err, LP_ERR_CONFIG, "%s: the private key is damaged", path);
    if (certificate == NULL)
        return true;
    if (!lp_slice_equal(algorithm, certificate->key_algorithm))
        return lp_err_set(err, LP_ERR_CONFIG,
                          "%s does not fit the certificate %s: the key is %s, the certificate's is "
                          "%s",
                          path, certificate_path, x509_key_word(algorithm),
                          x509_key_word(certificate->key_algorithm));
    if (is_rsa ? !is_whole_rsa(der) : !is_whole_ec(der))
        return lp_err_set(err, LP_ERR_CONFIG, "%s: the private key is damaged", path);
    if (!is_pair(der, certificate->key, is_rsa))
        return lp_err_set(err, LP_ERR_CONFIG,
                          "%s does not fit the certificate %s: it is the key of another one", path,
                          certificate_path);
    return true;
}

static bool can_be_used(const struct pem_block *block, const char *path, struct lp_err *err)
{
    if (block->is_encrypted || lp_slice_equal(block->label, LP_SLICE("ENCRYPTED PRIVATE KEY")))
        return lp_err_set(err, LP_ERR_CONFIG,
                          "%s: the private key is encrypted, and nobody is there to type its "
                          "passphrase; decrypt it with \"openssl pkey\"",
                          path);
    if (lp_slice_equal(block->label, LP_SLICE("OPENSSH PRIVATE KEY")))
        return lp_err_set(err, LP_ERR_CONFIG, "%s has a key of OpenSSH, not one for TLS", path);
    return true;
}

/* The one block with a private key. */
static bool find_key(struct pem_block *out, struct lp_slice file, const char *path,
                     struct lp_err *err)
{
    struct lp_slice rest = file;
    struct pem_block block;
    bool has_block = false, has_certificate = false;
    enum pem_outcome outcome;

    *out = (struct pem_block){0};
    while ((outcome = pem_next(&rest, &block)) != PEM_END) {
        if (!pem_check(outcome, &block, path, err))
            return false;
        has_block = true;
        has_certificate = has_certificate || pem_is_certificate(&block);
        if (!pem_is_key(&block))
            continue;
        if (out->label.size > 0)
            return lp_err_set(err, LP_ERR_CONFIG, "%s has two private keys; which one is it?",
                              path);
        *out = block;
    }
    if (out->label.size > 0)
        return true;
    if (!has_block)
        return lp_err_set(err, LP_ERR_CONFIG, "%s has no private key in it; it %s", path,
                          pem_describe(file));
    return lp_err_set(err, LP_ERR_CONFIG, "%s has no private key in it%s", path,
                      has_certificate ? "; it has a certificate" : "");
}

bool private_key_read(struct lp_slice *out, const char *path, const struct x509 *certificate,
                      const char *certificate_path, struct lp_arena *arena, struct lp_err *err)
{
    struct lp_slice file, der = {NULL, 0};
    struct pem_block block;

    if (!pem_read_file(&file, path, err))
        return false;

    bool done = find_key(&block, file, path, err) && can_be_used(&block, path, err);

    if (done && !pem_decode(&der, &block, arena)) {
        done = lp_err_set(err, LP_ERR_CONFIG, "%s: the base64 of the private key is damaged", path);
        der = (struct lp_slice){NULL, 0};
    }
    done =
        done && check_key(der, algorithm_of(&block, der), path, certificate, certificate_path, err);
    pem_free_file(file);
    if (!done && der.size > 0)
        explicit_bzero((char *)(uintptr_t)der.data, der.size);
    *out = der;
    return done;
}
