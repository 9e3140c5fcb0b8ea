/* memory: blocks are as malloc's, come home from every thread, and cost nothing once warm. */
#include "tls/memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/child.h"
#include "tests/unit/dice.h"

/* gcc says it by a macro, clang by a feature. */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

/* As wolfSSL itself asks for memory; only tls/ may include its headers. */
void *wolfSSL_Malloc(size_t size);
void wolfSSL_Free(void *memory);
void *wolfSSL_Realloc(void *memory, size_t size);

/* What a server's session holds when it is idle: ours, then our wolfSSL's, measured. */
static const size_t idle_sizes[] = {64, 1728, 32, 12, 528, 32, 24, 9, 12, 448, 448, 12, 32};
/* What it needs in between. */
static const size_t burst_sizes[] = {768,  512,  944,  347, 1041,  1216,  4296,
                                     2383, 5176, 1120, 69,  10752, 16422, 16645};

static struct tls_memory_use look(void)
{
    struct tls_memory_use use;

    tls_memory_look(&use);
    return use;
}

/* The size is a part of the pattern, so that blocks that overlap are seen. */
static void fill(char *block, size_t size)
{
    memset(block, (int)(size * 31 + 7), size);
}

static void assert_filled(const char *block, size_t size, size_t pattern_size)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != (char)(pattern_size * 31 + 7))
            fail_msg("byte %zu of %zu was overwritten", i, size);
}

static void *get_filled(size_t size)
{
    void *block = tls_memory_get(size);

    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 16, 0);
    fill(block, size);
    return block;
}

static size_t any_size(struct dice *dice)
{
    return dice_below(dice, 8) == 0 ? dice_below(dice, 60000) : dice_below(dice, 1000);
}

static void blocks_of_every_size_are_aligned_and_apart(void **state)
{
    (void)state;
    static char *blocks[40000];

    for (size_t step = 1; step <= 1000; step *= 10) {
        size_t count = 0;
        for (size_t size = 0; size < 40000 && count < 1200; size += step)
            blocks[count++] = get_filled(size);
        for (size_t i = 0; i < count; i++) {
            assert_filled(blocks[i], i * step, i * step);
            tls_memory_put(blocks[i]);
        }
    }
    assert_int_equal(look().blocks_count, 0);
}

static void resizing_keeps_the_bytes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     15,    16,     17,     528,
                                   16645, 36864, 36865, 100000, 300000, 1000000};

    for (size_t from = 0; from < LP_COUNT_OF(sizes); from++)
        for (size_t to = 0; to < LP_COUNT_OF(sizes); to++) {
            size_t least = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
            char *block = tls_memory_resize(get_filled(sizes[from]), sizes[to]);
            assert_non_null(block);
            assert_filled(block, least, sizes[from]);
            fill(block, sizes[to]);
            tls_memory_put(block);
        }
    assert_int_equal(look().blocks_count, 0);
}

static void nothing_is_put_back_and_resized_as_by_free_and_realloc(void **state)
{
    (void)state;
    void *block = tls_memory_resize(NULL, 100);

    assert_non_null(block);
    tls_memory_put(block);
    tls_memory_put(NULL);
}

static void wolfssl_takes_its_memory_here(void **state)
{
    (void)state;
    uint64_t before = look().blocks_count;
    void *block = wolfSSL_Malloc(100);

    assert_int_equal(look().blocks_count, before + 1);
    block = wolfSSL_Realloc(block, 1000);
    assert_non_null(block);
    assert_int_equal(look().blocks_count, before + 1);
    wolfSSL_Free(block);
    assert_int_equal(look().blocks_count, before);
}

#define SESSIONS 2000u
#define IDLE     LP_COUNT_OF(idle_sizes)
#define BURST    LP_COUNT_OF(burst_sizes)

static void get_all(void **blocks, const size_t *sizes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        blocks[i] = get_filled(sizes[i]);
}

static void put_all(void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tls_memory_put(blocks[i]);
}

static void an_idle_session_costs_at_most_4_percent_more_than_its_blocks(void **state)
{
    (void)state;
    static void *idle[SESSIONS][IDLE];
    uint64_t size = 0;

    tls_memory_thread_begin();
    for (uint32_t i = 0; i < SESSIONS; i++)
        get_all(idle[i], idle_sizes, IDLE);
    for (size_t i = 0; i < IDLE; i++)
        size += idle_sizes[i];
    /* The last slab of each of the six sizes may be nearly unused. */
    assert_true(look().slab_bytes - 6u * 256 * 1024 <= size * SESSIONS * 104 / 100);
    for (uint32_t i = 0; i < SESSIONS; i++)
        put_all(idle[i], IDLE);
    tls_memory_thread_end();
}

static void memory_of_a_burst_goes_back_while_its_sessions_stay(void **state)
{
    (void)state;
    static void *idle[SESSIONS][IDLE], *burst[SESSIONS][BURST];

    tls_memory_thread_begin();
    for (uint32_t i = 0; i < SESSIONS; i++) {
        get_all(burst[i], burst_sizes, BURST / 2);
        get_all(idle[i], idle_sizes, IDLE);
        get_all(burst[i] + BURST / 2, burst_sizes + BURST / 2, BURST - BURST / 2);
    }
    uint64_t most = look().slab_bytes;
    for (uint32_t i = 0; i < SESSIONS; i++)
        put_all(burst[i], BURST);
    assert_true(most > (uint64_t)100 * 1024 * 1024);
    assert_true(look().slab_bytes < (uint64_t)14 * 1024 * 1024);
    for (uint32_t i = 0; i < SESSIONS; i++)
        put_all(idle[i], IDLE);
    assert_int_equal(look().blocks_count, 0);
    assert_true(look().slab_bytes < (uint64_t)6 * 1024 * 1024);
    tls_memory_thread_end();
}

static void sessions_that_come_and_go_take_nothing_from_the_system_once_warm(void **state)
{
    (void)state;
    void *idle[100][IDLE], *burst[BURST];
    uint64_t warm = 0;

    tls_memory_thread_begin();
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < LP_COUNT_OF(idle); i++) {
            get_all(burst, burst_sizes, BURST);
            get_all(idle[i], idle_sizes, IDLE);
            put_all(burst, BURST);
        }
        for (uint32_t i = 0; i < LP_COUNT_OF(idle); i++)
            put_all(idle[i], IDLE);
        if (round == 0)
            warm = look().maps_count;
    }
    assert_int_equal(look().maps_count, warm);
    tls_memory_thread_end();
}

static void more_than_there_is_gives_null(void **state)
{
    (void)state;
    char *block = get_filled(1000);

    assert_null(tls_memory_get(SIZE_MAX));
    assert_null(tls_memory_get(SIZE_MAX - 100));
    assert_null(tls_memory_get((size_t)1 << 60));
    assert_null(tls_memory_resize(block, SIZE_MAX));
    assert_filled(block, 1000, 1000);
    tls_memory_put(block);
}

/* Leaves 256 MiB of addresses: a sanitizer has taken terabytes for itself. */
static void limit_memory(void)
{
    struct rlimit limit;
    char pages[100];
    FILE *file = fopen("/proc/self/statm", "re");

    LP_ASSERT(file != NULL);
    LP_ASSERT(fgets(pages, sizeof(pages), file) != NULL);
    fclose(file);
    limit.rlim_cur = limit.rlim_max =
        strtoul(pages, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) + ((size_t)256 << 20);
    LP_ASSERT(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void take_until_none_is_left(void)
{
    static void *blocks[100000];
    uint32_t count = 0;

    tls_memory_thread_begin();
    limit_memory();
    while ((blocks[count] = tls_memory_get(16384)) != NULL)
        count++;
    LP_ASSERT(count > 1000);
    LP_ASSERT(tls_memory_resize(blocks[0], 30000) == NULL);
    while (count > 0)
        tls_memory_put(blocks[--count]);
    blocks[0] = tls_memory_get(16384);
    LP_ASSERT(blocks[0] != NULL);
    tls_memory_put(blocks[0]);
    tls_memory_thread_end();
}

static void a_heap_goes_on_after_memory_was_out(void **state)
{
    (void)state;
    assert_int_equal(child_run(take_until_none_is_left).status, 0);
}

#ifdef HAS_ASAN
static void write_behind_a_block(void)
{
    char *volatile block = tls_memory_get(12);

    block[12] = 1;
}

static void write_after_put(void)
{
    char *volatile block = tls_memory_get(100);

    tls_memory_put(block);
    block[50] = 1;
}

static void the_sanitizer_sees_a_write_behind_a_block_and_after_its_end(void **state)
{
    (void)state;
    assert_int_not_equal(child_run(write_behind_a_block).status, 0);
    assert_int_not_equal(child_run(write_after_put).status, 0);
}
#endif

/* ---- Several threads ---- */

#define MARKET_PLACES 512u

/* Blocks that any thread takes away, one place at a time. Their first bytes tell their size. */
static _Atomic(size_t *) market[MARKET_PLACES];

static void leave(size_t *block)
{
    if (block == NULL)
        return;
    for (size_t i = 1; i < block[0] / sizeof(size_t); i++)
        LP_ASSERT(block[i] == block[0] * i);
    tls_memory_put(block);
}

static void trade(struct dice *dice, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        size_t size = any_size(dice) + sizeof(size_t);
        size_t *block = tls_memory_get(size);

        LP_ASSERT(block != NULL);
        if (dice_below(dice, 8) == 0) {
            size = any_size(dice) + sizeof(size_t);
            block = tls_memory_resize(block, size);
            LP_ASSERT(block != NULL);
        }
        block[0] = size;
        for (size_t k = 1; k < size / sizeof(size_t); k++)
            block[k] = size * k;
        leave(atomic_exchange(&market[dice_below(dice, MARKET_PLACES)], block));
    }
}

static void *trader(void *seed)
{
    struct dice dice = {(uintptr_t)seed};
    bool begins = (uintptr_t)seed % 4 != 0; /* some have no heap of their own */

    if (begins)
        tls_memory_thread_begin();
    trade(&dice, 5000);
    if (begins)
        tls_memory_thread_end();
    return NULL;
}

static void clear_market(void)
{
    for (uint32_t i = 0; i < MARKET_PLACES; i++)
        leave(atomic_exchange(&market[i], NULL));
}

static void blocks_may_be_put_back_by_any_thread_at_any_time(void **state)
{
    (void)state;
    pthread_t threads[4];

    for (uintptr_t round = 0; round < 5; round++) {
        for (uintptr_t i = 0; i < LP_COUNT_OF(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, trader, (void *)(round * 4 + i)), 0);
        for (uint32_t i = 0; i < LP_COUNT_OF(threads); i++)
            pthread_join(threads[i], NULL);
        /* Blocks of threads that have ended stay for the next ones. */
    }
    clear_market();
    assert_int_equal(look().blocks_count, 0);
}

static void *put_back(void *block)
{
    tls_memory_put(block);
    return NULL;
}

static void put_back_by_another_thread(void *block)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, put_back, block), 0);
    pthread_join(thread, NULL);
}

static void a_block_comes_home_from_another_thread(void **state)
{
    (void)state;
    tls_memory_thread_begin();
    void *block = get_filled(1728);
    put_back_by_another_thread(block);
    void *again = get_filled(1728);
    assert_ptr_equal(again, block);
    assert_int_equal(look().blocks_count, 1);
    tls_memory_put(again);
    tls_memory_thread_end();
}

static void what_rests_between_two_trims_goes_back(void **state)
{
    (void)state;
    tls_memory_thread_begin();
    assert_false(tls_memory_trim()); /* there is nothing yet */
    tls_memory_put(get_filled(500));
    tls_memory_put(get_filled(16000));
    assert_int_equal(look().slabs_count, 2);
    assert_true(tls_memory_trim());
    assert_int_equal(look().slabs_count, 2);
    tls_memory_put(get_filled(500)); /* of one size only */
    assert_true(tls_memory_trim());
    assert_int_equal(look().slabs_count, 1);
    assert_false(tls_memory_trim());
    assert_int_equal(look().slabs_count, 0);
    assert_int_equal(look().slab_bytes, 0);
    assert_false(tls_memory_trim());
    tls_memory_put(get_filled(500)); /* and it goes on */
    assert_int_equal(look().slabs_count, 1);
    tls_memory_thread_end();
}

static void what_is_used_survives_every_trim(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 64, 500, 1728, 16645, 36864, 100000};
    char *blocks[LP_COUNT_OF(sizes)];

    tls_memory_thread_begin();
    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++)
        blocks[i] = get_filled(sizes[i]);
    uint64_t slabs_count = look().slabs_count;
    for (int i = 0; i < 5; i++)
        assert_false(tls_memory_trim());
    assert_int_equal(look().slabs_count, slabs_count);
    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        assert_filled(blocks[i], sizes[i], sizes[i]);
        tls_memory_put(blocks[i]);
    }
    tls_memory_thread_end();
}

static void what_others_put_back_is_trimmed_too(void **state)
{
    (void)state;
    tls_memory_thread_begin();
    put_back_by_another_thread(get_filled(500));
    assert_int_equal(look().slabs_count, 1);
    assert_true(tls_memory_trim());
    assert_false(tls_memory_trim());
    assert_int_equal(look().slabs_count, 0);
    tls_memory_thread_end();
}

static void a_block_outlives_its_thread(void **state)
{
    (void)state;
    tls_memory_thread_begin();
    char *here = get_filled(500), *there = get_filled(500);
    tls_memory_thread_end();
    tls_memory_thread_begin();
    here = tls_memory_resize(here, 700);
    assert_filled(here, 500, 500);
    assert_filled(there, 500, 500);
    put_back_by_another_thread(there);
    tls_memory_put(here);
    tls_memory_thread_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_every_size_are_aligned_and_apart),
        cmocka_unit_test(resizing_keeps_the_bytes),
        cmocka_unit_test(nothing_is_put_back_and_resized_as_by_free_and_realloc),
        cmocka_unit_test(wolfssl_takes_its_memory_here),
        cmocka_unit_test(an_idle_session_costs_at_most_4_percent_more_than_its_blocks),
        cmocka_unit_test(memory_of_a_burst_goes_back_while_its_sessions_stay),
        cmocka_unit_test(sessions_that_come_and_go_take_nothing_from_the_system_once_warm),
        cmocka_unit_test(more_than_there_is_gives_null),
        cmocka_unit_test(a_heap_goes_on_after_memory_was_out),
#ifdef HAS_ASAN
        cmocka_unit_test(the_sanitizer_sees_a_write_behind_a_block_and_after_its_end),
#endif
        cmocka_unit_test(blocks_may_be_put_back_by_any_thread_at_any_time),
        cmocka_unit_test(a_block_comes_home_from_another_thread),
        cmocka_unit_test(what_rests_between_two_trims_goes_back),
        cmocka_unit_test(what_is_used_survives_every_trim),
        cmocka_unit_test(what_others_put_back_is_trimmed_too),
        cmocka_unit_test(a_block_outlives_its_thread),
    };

    tls_memory_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
