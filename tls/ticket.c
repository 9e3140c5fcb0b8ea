/* Session tickets: AES-256-GCM under keys that every node derives for itself. */
#include "tls/ticket.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/kdf.h>

#define NONCE_BYTES GCM_NONCE_MID_SZ
#define TAG_BYTES   16u

static_assert(NONCE_BYTES <= WOLFSSL_TICKET_IV_SZ, "the nonce has a place in the ticket");
static_assert(TAG_BYTES <= WOLFSSL_TICKET_MAC_SZ, "and so has the tag");

struct epoch_keys {
    uint8_t name[WOLFSSL_TICKET_NAME_SZ];
    uint8_t key[32];
};

/* What stands before the ciphertext in the ticket, and whom it is for. */
struct associated {
    uint8_t name[WOLFSSL_TICKET_NAME_SZ];
    uint8_t nonce[NONCE_BYTES];
    uint8_t tag[TICKET_POLICY_BYTES];
};

static pthread_once_t process_secret_once = PTHREAD_ONCE_INIT;
static uint8_t process_secret[LP_SHA256_BYTES];

static void make_process_secret(void)
{
    lp_random(process_secret, sizeof(process_secret));
}

void ticket_policy_init(struct ticket_policy *policy, struct lp_slice secret, struct lp_slice what)
{
    pthread_once(&process_secret_once, make_process_secret);
    lp_sha256(policy->tag, what);
    if (secret.size == 0)
        memcpy(policy->secret, process_secret, sizeof(process_secret));
    else
        lp_hmac_sha256(policy->secret, LP_SLICE("limpet ticket secret"), secret);
}

/* HKDF (RFC 5869) costs a microsecond or two of a handshake that takes a hundred: cheaper than keys
 * that have to be kept, rotated and shared. */
static bool derive(const struct ticket_policy *policy, uint64_t epoch, struct epoch_keys *out)
{
    struct {
        char label[16];
        uint64_t epoch;
    } info = {"limpet ticket", htobe64(epoch)};

    return wc_HKDF(WC_SHA256, policy->secret, sizeof(policy->secret), NULL, 0, (byte *)&info,
                   sizeof(info), (byte *)out, sizeof(*out)) == 0;
}

static void associate(struct associated *out, const struct ticket_policy *policy,
                      const uint8_t *name, const uint8_t *nonce)
{
    memcpy(out->name, name, sizeof(out->name));
    memcpy(out->nonce, nonce, sizeof(out->nonce));
    memcpy(out->tag, policy->tag, sizeof(out->tag));
}

static int seal(const struct ticket_policy *policy, uint64_t epoch, uint8_t *name, uint8_t *nonce,
                uint8_t *mac, uint8_t *ticket, uint32_t size)
{
    struct epoch_keys keys;
    struct associated associated;
    Aes aes;

    if (!derive(policy, epoch, &keys) || wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return WOLFSSL_TICKET_RET_FATAL;
    memcpy(name, keys.name, sizeof(keys.name));
    lp_random(nonce, NONCE_BYTES);
    associate(&associated, policy, name, nonce);
    int error = wc_AesGcmSetKey(&aes, keys.key, sizeof(keys.key));
    if (error == 0)
        error = wc_AesGcmEncrypt(&aes, ticket, ticket, size, nonce, NONCE_BYTES, mac, TAG_BYTES,
                                 (byte *)&associated, sizeof(associated));
    wc_AesFree(&aes);
    wc_ForceZero(&keys, sizeof(keys));
    return error == 0 ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_FATAL;
}

static bool open_with(const struct epoch_keys *keys, const struct associated *associated,
                      const uint8_t *mac, uint8_t *ticket, uint32_t size)
{
    Aes aes;

    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return false;
    int error = wc_AesGcmSetKey(&aes, keys->key, sizeof(keys->key));
    if (error == 0)
        error = wc_AesGcmDecrypt(&aes, ticket, ticket, size, associated->nonce, NONCE_BYTES, mac,
                                 TAG_BYTES, (const byte *)associated, sizeof(*associated));
    wc_AesFree(&aes);
    return error == 0;
}

/* An older key is good, too: a new ticket follows after every TLS 1.3 handshake anyhow, and asking
 * the library to renew it would make that handshake a full one. */
static int open_ticket(const struct ticket_policy *policy, uint64_t epoch, const uint8_t *name,
                       const uint8_t *nonce, const uint8_t *mac, uint8_t *ticket, uint32_t size)
{
    const uint64_t candidates[] = {epoch, epoch - 1, epoch + 1};
    struct associated associated;
    bool is_open = false;

    associate(&associated, policy, name, nonce);
    for (size_t i = 0; i < LP_COUNT_OF(candidates) && !is_open; i++) {
        struct epoch_keys keys;
        if (derive(policy, candidates[i], &keys) && memcmp(keys.name, name, sizeof(keys.name)) == 0)
            is_open = open_with(&keys, &associated, mac, ticket, size);
        wc_ForceZero(&keys, sizeof(keys));
    }
    return is_open ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_REJECT;
}

int ticket_crypt(WOLFSSL *ssl, unsigned char key_name[WOLFSSL_TICKET_NAME_SZ],
                 unsigned char iv[WOLFSSL_TICKET_IV_SZ], unsigned char mac[WOLFSSL_TICKET_MAC_SZ],
                 int is_encrypting, unsigned char *ticket, int size, int *out_size, void *policy)
{
    uint64_t epoch = (uint64_t)time(NULL) / TICKET_EPOCH_S;

    (void)ssl;
    if (policy == NULL || size <= 0)
        return WOLFSSL_TICKET_RET_REJECT;
    *out_size = size;
    if (!is_encrypting)
        return open_ticket(policy, epoch, key_name, iv, mac, ticket, (uint32_t)size);
    memset(iv, 0, WOLFSSL_TICKET_IV_SZ);
    memset(mac, 0, WOLFSSL_TICKET_MAC_SZ);
    return seal(policy, epoch, key_name, iv, mac, ticket, (uint32_t)size);
}
