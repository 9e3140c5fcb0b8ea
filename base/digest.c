/* digest: wolfCrypt behind our header, random bytes from the kernel, base64 by hand.
 *
 * The hashes cannot fail: wolfCrypt only refuses arguments that we never give, so a refusal is an
 * assertion. lp_rand_block() at the end is the other direction: wolfSSL's only random source. */
#include "base/digest.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/wc_port.h>

static_assert(LP_SHA1_BYTES == WC_SHA_DIGEST_SIZE, "SHA-1 as wolfCrypt sees it");
static_assert(LP_SHA256_BYTES == WC_SHA256_DIGEST_SIZE, "SHA-256 as wolfCrypt sees it");

/* wolfCrypt chooses its code for this CPU at the first hash and keeps the choice in plain globals:
 * one thread must have done that before two may hash. */
static pthread_once_t wolfcrypt_started = PTHREAD_ONCE_INIT;

static void start_wolfcrypt(void)
{
    uint8_t unused[LP_SHA256_BYTES];

    LP_ASSERT(wolfCrypt_Init() == 0);
    LP_ASSERT(wc_Sha256Hash((const byte *)"", 0, unused) == 0);
}

/* What wolfCrypt takes: never NULL, and a length of 32 bits. */
static const byte *bytes_of(struct lp_slice data)
{
    pthread_once(&wolfcrypt_started, start_wolfcrypt);
    LP_ASSERT(data.size <= UINT32_MAX);
    return (const byte *)(data.size > 0 ? data.data : "");
}

void lp_sha1(uint8_t out[LP_SHA1_BYTES], struct lp_slice data)
{
    LP_ASSERT(wc_ShaHash(bytes_of(data), (word32)data.size, out) == 0);
}

void lp_sha256(uint8_t out[LP_SHA256_BYTES], struct lp_slice data)
{
    LP_ASSERT(wc_Sha256Hash(bytes_of(data), (word32)data.size, out) == 0);
}

void lp_hmac_sha256(uint8_t out[LP_SHA256_BYTES], struct lp_slice key, struct lp_slice data)
{
    Hmac hmac;

    LP_ASSERT(wc_HmacInit(&hmac, NULL, INVALID_DEVID) == 0);
    LP_ASSERT(wc_HmacSetKey(&hmac, WC_SHA256, bytes_of(key), (word32)key.size) == 0);
    LP_ASSERT(wc_HmacUpdate(&hmac, bytes_of(data), (word32)data.size) == 0);
    LP_ASSERT(wc_HmacFinal(&hmac, out) == 0);
    wc_HmacFree(&hmac);
}

static int ask_kernel(unsigned char *out, unsigned int size)
{
    while (size > 0) {
        ssize_t got = getrandom(out, size, 0);

        if (got < 0 && errno != EINTR)
            return -1;
        if (got > 0) {
            out += got;
            size -= (unsigned int)got;
        }
    }
    return 0;
}

/* wolfSSL's random source (CUSTOM_RAND_GENERATE_BLOCK); its own header declares it. A TLS handshake
 * asks for a few dozen bytes five times: they come from a block of the kernel's, each
 * given once and wiped at once. */
int lp_rand_block(unsigned char *out, unsigned int size)
{
    static _Thread_local unsigned char random_block[512];
    static _Thread_local unsigned random_left;

    if (size > sizeof(random_block) / 4)
        return ask_kernel(out, size);
    if (random_left < size) {
        if (ask_kernel(random_block, sizeof(random_block)) != 0)
            return -1;
        random_left = sizeof(random_block);
    }
    random_left -= size;
    memcpy(out, random_block + random_left, size);
    explicit_bzero(random_block + random_left, size);
    return 0;
}

void lp_random(void *out, size_t size)
{
    LP_ASSERT(size <= UINT32_MAX);
    LP_ASSERT(lp_rand_block(out, (unsigned int)size) == 0);
}

/* A counter in steps of 2^64 / golden ratio, scrambled by two multiplications (splitmix64): every
 * value comes once in 2^64 calls, and 0 needs no care as a seed. */
uint64_t lp_random_fast(void)
{
    static _Thread_local uint64_t counter;
    static _Thread_local bool seeded;

    if (LP_UNLIKELY(!seeded)) {
        lp_random(&counter, sizeof(counter));
        seeded = true;
    }
    counter += 0x9e3779b97f4a7c15u;

    uint64_t mixed = counter;

    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

#define BASE64_PADDING 64u
static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";

size_t lp_base64_encode(char *out, const void *data, size_t size)
{
    const uint8_t *in = data;
    char *end = out;

    for (size_t at = 0; at < size; at += 3) {
        size_t have = size - at < 3 ? size - at : 3;
        uint32_t bits = (uint32_t)in[at] << 16;

        if (have > 1)
            bits |= (uint32_t)in[at + 1] << 8;
        if (have > 2)
            bits |= in[at + 2];
        *end++ = base64_letters[bits >> 18];
        *end++ = base64_letters[bits >> 12 & 63];
        *end++ = base64_letters[have > 1 ? bits >> 6 & 63 : BASE64_PADDING];
        *end++ = base64_letters[have > 2 ? bits & 63 : BASE64_PADDING];
    }
    return (size_t)(end - out);
}

/* The six bits of a letter, or -1. */
static int base64_bits(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    if (letter == '+')
        return 62;
    return letter == '/' ? 63 : -1;
}

size_t lp_base64_decode(void *out, struct lp_slice text)
{
    uint8_t *end = out;
    size_t letters_count = text.size;
    uint32_t bits = 0;

    if (text.size % 4 != 0)
        return SIZE_MAX;
    for (int padding = 0; padding < 2; padding++)
        if (letters_count > 0 && text.data[letters_count - 1] == '=')
            letters_count--;
    for (size_t at = 0; at < letters_count; at++) {
        int six = base64_bits(text.data[at]);

        if (six < 0)
            return SIZE_MAX;
        bits = bits << 6 | (uint32_t)six;
        /* The 2nd, 3rd and 4th letter of four complete a byte, and leave 4, 2, 0 bits over. */
        if (at % 4 != 0)
            *end++ = (uint8_t)(bits >> (6 - 2 * (at % 4)));
    }
    /* Left-over bits that are not zero would make two texts mean the same bytes. */
    if (letters_count % 4 == 2 && (bits & 15) != 0)
        return SIZE_MAX;
    if (letters_count % 4 == 3 && (bits & 3) != 0)
        return SIZE_MAX;
    return (size_t)(end - (uint8_t *)out);
}
