/* The ClientHello: however its bytes came and however they were cut into records, it means the
 * same.
 *
 * The input is what a client sends. Every call gets a new copy of exactly the bytes that are there,
 * so that the address sanitizer sees one byte too far. */
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum lp_hello_outcome parse(struct lp_hello *out, const uint8_t *data, size_t size)
{
    char *copy = malloc(size == 0 ? 1 : size);

    LP_ASSERT(copy != NULL);
    if (size != 0)
        memcpy(copy, data, size);
    memset(out, 0xa5, sizeof(*out));
    enum lp_hello_outcome outcome = lp_hello_parse(out, (struct lp_slice){copy, size});
    free(copy);
    return outcome;
}

static void check_same(const struct lp_hello *a, const struct lp_hello *b)
{
    LP_ASSERT(strcmp(a->name, b->name) == 0);
    LP_ASSERT(a->name_size == b->name_size);
    LP_ASSERT(a->offers_1_2 == b->offers_1_2 && a->offers_1_3 == b->offers_1_3);
    LP_ASSERT(a->has_alpn == b->has_alpn);
    LP_ASSERT(a->offers_http_1_1 == b->offers_http_1_1 && a->offers_h2 == b->offers_h2);
}

/* What is done may be used as it is: for look-ups, in logs and in headers. */
static void check_meaning(const struct lp_hello *hello)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";

    LP_ASSERT(strlen(hello->name) == hello->name_size);
    LP_ASSERT(strspn(hello->name, good) == hello->name_size);
    LP_ASSERT(strstr(hello->name, "..") == NULL && hello->name[0] != '.');
    LP_ASSERT(hello->name_size == 0 || hello->name[hello->name_size - 1] != '.');
    LP_ASSERT(hello->has_alpn || (!hello->offers_http_1_1 && !hello->offers_h2));
}

/* Steps that are short mostly, because each costs a call. */
static size_t next_step(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 30 == 0 ? (*seed >> 16 & 1023) + 1 : (*seed >> 28) + 1;
}

/* Fewer bytes mean MORE, or already what all of them mean. */
static void check_prefixes(const uint8_t *data, size_t size, enum lp_hello_outcome whole)
{
    struct lp_hello hello;
    bool is_decided = false;
    uint32_t seed = (uint32_t)size;

    for (size_t there = 0; there < size; there += next_step(&seed)) {
        enum lp_hello_outcome outcome = parse(&hello, data, there);
        LP_ASSERT(outcome == whole || (outcome == LP_HELLO_MORE && !is_decided));
        is_decided = outcome == whole && whole != LP_HELLO_MORE;
    }
}

/* The message of a good stream in other records. */
static size_t cut_again(uint8_t *out, const uint8_t *data, size_t fragment_size)
{
    static uint8_t message[LP_TLS_HELLO_BYTES_MAX];
    size_t size = 0, message_size = 4, out_size = 0;

    for (size_t at = 0; size < message_size;) {
        size_t record_size = (size_t)data[at + 3] << 8 | data[at + 4];
        memcpy(message + size, data + at + 5, record_size);
        size += record_size;
        at += 5 + record_size;
        if (size >= 4)
            message_size = 4 + ((size_t)message[2] << 8 | message[3]);
    }
    LP_ASSERT(size == message_size);
    for (size_t at = 0; at < size; at += fragment_size) {
        size_t record_size = size - at < fragment_size ? size - at : fragment_size;
        memcpy(out + out_size, "\x16\x03\x03", 3);
        out[out_size + 3] = (uint8_t)(record_size >> 8);
        out[out_size + 4] = (uint8_t)record_size;
        memcpy(out + out_size + 5, message + at, record_size);
        out_size += 5 + record_size;
    }
    return out_size;
}

static void check_other_cuts(const uint8_t *data, const struct lp_hello *whole)
{
    static const size_t fragment_sizes[] = {1, 3, 16, 61, 500, 16384};
    static uint8_t records[6 * LP_TLS_HELLO_BYTES_MAX];
    struct lp_hello hello;

    for (size_t i = 0; i < LP_COUNT_OF(fragment_sizes); i++) {
        size_t size = cut_again(records, data, fragment_sizes[i]);
        enum lp_hello_outcome outcome = parse(&hello, records, size);
        LP_ASSERT(outcome == (size <= LP_TLS_HELLO_BYTES_MAX ? LP_HELLO_DONE : LP_HELLO_TOO_LARGE));
        if (outcome == LP_HELLO_DONE)
            check_same(whole, &hello);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lp_hello hello;
    enum lp_hello_outcome outcome = parse(&hello, data, size);

    LP_ASSERT(outcome != LP_HELLO_MORE || size < LP_TLS_HELLO_BYTES_MAX);
    check_prefixes(data, size, outcome);
    if (outcome == LP_HELLO_DONE) {
        check_meaning(&hello);
        check_other_cuts(data, &hello);
    }
    return 0;
}
