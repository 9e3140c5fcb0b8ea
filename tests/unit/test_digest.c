/* digest: published answers for every digest, and for base64 its laws. */
#include "base/digest.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

/* "a3f0" and so on, for comparing with what the standards print. */
static const char *hex(const uint8_t *bytes, size_t size)
{
    static char text[2 * 64 + 1];

    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

static struct lp_slice repeated(char *buffer, char byte, size_t size)
{
    memset(buffer, byte, size);
    return (struct lp_slice){buffer, size};
}

static void sha1_gives_the_answers_of_fips_180(void **state)
{
    (void)state;
    uint8_t out[LP_SHA1_BYTES];

    lp_sha1(out, LP_SLICE("abc"));
    assert_string_equal(hex(out, sizeof(out)), "a9993e364706816aba3e25717850c26c9cd0d89d");
    lp_sha1(out, LP_SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"));
    assert_string_equal(hex(out, sizeof(out)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

static void sha256_gives_the_answers_of_fips_180(void **state)
{
    (void)state;
    uint8_t out[LP_SHA256_BYTES];

    lp_sha256(out, LP_SLICE("abc"));
    assert_string_equal(hex(out, sizeof(out)),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    lp_sha256(out, LP_SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"));
    assert_string_equal(hex(out, sizeof(out)),
                        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void nothing_has_a_digest_even_without_a_pointer(void **state)
{
    (void)state;
    uint8_t out[LP_SHA256_BYTES];
    struct lp_slice nothing = {NULL, 0};

    lp_sha1(out, nothing);
    assert_string_equal(hex(out, LP_SHA1_BYTES), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    lp_sha256(out, nothing);
    assert_string_equal(hex(out, sizeof(out)),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    lp_hmac_sha256(out, nothing, nothing);
    assert_string_equal(hex(out, sizeof(out)),
                        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void hmac_sha256_gives_the_answers_of_rfc_4231(void **state)
{
    (void)state;
    uint8_t out[LP_SHA256_BYTES];
    char key[131], data[50];

    lp_hmac_sha256(out, repeated(key, 0x0b, 20), LP_SLICE("Hi There"));
    assert_string_equal(hex(out, sizeof(out)),
                        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    lp_hmac_sha256(out, LP_SLICE("Jefe"), LP_SLICE("what do ya want for nothing?"));
    assert_string_equal(hex(out, sizeof(out)),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    lp_hmac_sha256(out, repeated(key, (char)0xaa, 20), repeated(data, (char)0xdd, 50));
    assert_string_equal(hex(out, sizeof(out)),
                        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    /* A key longer than a block is hashed first. */
    lp_hmac_sha256(out, repeated(key, (char)0xaa, 131),
                   LP_SLICE("Test Using Larger Than Block-Size Key - Hash Key First"));
    assert_string_equal(hex(out, sizeof(out)),
                        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void the_websocket_key_of_rfc_6455_is_accepted_as_it_says(void **state)
{
    (void)state;
    uint8_t digest[LP_SHA1_BYTES];
    char accept[32];

    lp_sha1(digest, LP_SLICE("dGhlIHNhbXBsZSBub25jZQ=="
                             "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    assert_int_equal(lp_base64_encode(accept, digest, sizeof(digest)), 28);
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28);
}

static void long_data_has_the_same_digest_at_every_alignment(void **state)
{
    (void)state;
    static char buffer[100000 + 64];
    uint8_t first[LP_SHA256_BYTES], other[LP_SHA256_BYTES];

    for (size_t shift = 0; shift < 64; shift++) {
        lp_sha256(shift == 0 ? first : other, repeated(buffer + shift, 'a', 100000));
        if (shift > 0)
            assert_memory_equal(first, other, sizeof(first));
    }
}

/* Each thread answers NULL when all its digests were right. */
static void *hash_abc_often(void *unused)
{
    uint8_t out[LP_SHA256_BYTES];

    (void)unused;
    for (int i = 0; i < 1000; i++) {
        lp_sha256(out, LP_SLICE("abc"));
        if (out[0] != 0xba || out[31] != 0xad)
            return "wrong";
    }
    return NULL;
}

static void threads_may_hash_at_the_same_time(void **state)
{
    (void)state;
    pthread_t threads[4];

    for (size_t i = 0; i < LP_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_abc_often, NULL), 0);
    for (size_t i = 0; i < LP_COUNT_OF(threads); i++) {
        void *complaint;

        assert_int_equal(pthread_join(threads[i], &complaint), 0);
        assert_null(complaint);
    }
}

static void random_bytes_fill_all_of_a_large_buffer(void **state)
{
    (void)state;
    static uint8_t buffer[1u << 20];
    size_t seen[256] = {0};

    lp_random(buffer, sizeof(buffer));
    for (size_t i = 0; i < sizeof(buffer); i++)
        seen[buffer[i]]++;
    /* 4096 each on average; 64 is one deviation, so a fault of ours is all this can find. */
    for (size_t byte = 0; byte < LP_COUNT_OF(seen); byte++)
        assert_in_range(seen[byte], 4096 - 640, 4096 + 640);
}

/* Sizes around those at which the kernel is asked for another block, or asked directly. */
static const size_t draw_sizes[] = {0, 1, 8, 32, 127, 128, 129, 511, 512, 513, 4096};

static void every_byte_that_is_asked_for_becomes_random_and_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(draw_sizes); i++) {
        uint8_t drawn[4096 + 2], seen[4096 + 2] = {0};

        for (int k = 0; k < 32; k++) {
            memset(drawn, 0, sizeof(drawn));
            lp_random(drawn + 1, draw_sizes[i]);
            for (size_t at = 0; at < sizeof(drawn); at++)
                seen[at] |= drawn[at];
        }
        for (size_t at = 0; at < sizeof(seen); at++)
            assert_int_equal(seen[at] != 0, at >= 1 && at <= draw_sizes[i]);
    }
}

/* Any eight bytes in a row that were given twice, however often and much is asked for at once. */
#define STREAM_BYTES 100000u

static void *draw_stream(void *out)
{
    uint8_t *stream = out;
    size_t size = 0;

    for (size_t i = 0; size < STREAM_BYTES; i++) {
        size_t left = STREAM_BYTES - size, draw = draw_sizes[i % LP_COUNT_OF(draw_sizes)];

        draw = draw < left ? draw : left;
        lp_random(stream + size, draw);
        size += draw;
    }
    return NULL;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void random_bytes_are_given_once_in_and_between_threads(void **state)
{
    (void)state;
    static uint8_t streams[3][STREAM_BYTES];
    static uint64_t numbers[3 * STREAM_BYTES];
    pthread_t threads[2];
    size_t count = 0;

    for (size_t i = 0; i < LP_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, draw_stream, streams[i]), 0);
    draw_stream(streams[2]);
    for (size_t i = 0; i < LP_COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < LP_COUNT_OF(streams); i++)
        for (size_t at = 0; at + sizeof(uint64_t) <= STREAM_BYTES; at++)
            memcpy(&numbers[count++], streams[i] + at, sizeof(uint64_t));
    qsort(numbers, count, sizeof(numbers[0]), compare_numbers);
    for (size_t i = 1; i < count; i++)
        assert_true(numbers[i] != numbers[i - 1]);
}

static void *one_fast_number(void *out)
{
    *(uint64_t *)out = lp_random_fast();
    return NULL;
}

static void fast_numbers_differ_within_and_between_threads(void **state)
{
    (void)state;
    uint64_t here = lp_random_fast(), there = 0;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, one_fast_number, &there), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(here != there);
    assert_true(here != lp_random_fast());
}

static void every_bit_of_a_fast_number_is_set_half_the_time(void **state)
{
    (void)state;
    int set[64] = {0};

    for (int i = 0; i < 10000; i++) {
        uint64_t number = lp_random_fast();

        for (int bit = 0; bit < 64; bit++)
            set[bit] += (int)(number >> bit & 1);
    }
    for (int bit = 0; bit < 64; bit++)
        assert_in_range(set[bit], 4500, 5500);
}

static void base64_gives_the_answers_of_rfc_4648(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const codes[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};

    for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
        char code[16], text[16];
        size_t size = lp_base64_encode(code, texts[i], strlen(texts[i]));

        assert_int_equal(size, strlen(codes[i]));
        assert_memory_equal(code, codes[i], size);
        size = lp_base64_decode(text, (struct lp_slice){codes[i], strlen(codes[i])});
        assert_int_equal(size, strlen(texts[i]));
        assert_memory_equal(text, texts[i], size);
    }
}

static void base64_brings_any_bytes_back(void **state)
{
    (void)state;

    for (size_t size = 0; size < 300; size++) {
        uint8_t bytes[300], back[300];
        char code[400];

        lp_random(bytes, size);

        size_t code_size = lp_base64_encode(code, bytes, size);

        assert_int_equal(code_size, 4 * ((size + 2) / 3));
        assert_int_equal(lp_base64_decode(back, (struct lp_slice){code, code_size}), size);
        assert_memory_equal(back, bytes, size);
    }
}

static void base64_that_could_be_written_otherwise_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Zg",   "Zg=",  "Zm9",      "Z",     "Zh==", "Zm9=", "Zm+=",  "====",    "Z===",
        "=Zg=", "Zg=a", "Zg==Zg==", "Zm9v ", " Zm9", "Zm-_", "Zm9\n", "Zm\x80v",
    };
    char out[16];

    for (size_t i = 0; i < LP_COUNT_OF(wrong); i++)
        assert_true(lp_base64_decode(out, (struct lp_slice){wrong[i], strlen(wrong[i])}) ==
                    SIZE_MAX);
    assert_true(lp_base64_decode(out, (struct lp_slice){"Zm\0v", 4}) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_gives_the_answers_of_fips_180),
        cmocka_unit_test(sha256_gives_the_answers_of_fips_180),
        cmocka_unit_test(nothing_has_a_digest_even_without_a_pointer),
        cmocka_unit_test(hmac_sha256_gives_the_answers_of_rfc_4231),
        cmocka_unit_test(the_websocket_key_of_rfc_6455_is_accepted_as_it_says),
        cmocka_unit_test(long_data_has_the_same_digest_at_every_alignment),
        cmocka_unit_test(threads_may_hash_at_the_same_time),
        cmocka_unit_test(random_bytes_fill_all_of_a_large_buffer),
        cmocka_unit_test(every_byte_that_is_asked_for_becomes_random_and_no_other),
        cmocka_unit_test(random_bytes_are_given_once_in_and_between_threads),
        cmocka_unit_test(fast_numbers_differ_within_and_between_threads),
        cmocka_unit_test(every_bit_of_a_fast_number_is_set_half_the_time),
        cmocka_unit_test(base64_gives_the_answers_of_rfc_4648),
        cmocka_unit_test(base64_brings_any_bytes_back),
        cmocka_unit_test(base64_that_could_be_written_otherwise_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
