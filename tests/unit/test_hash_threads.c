/* hash shared by threads: whoever fills the table of homes, all of them read the same. Also to be
 * run under the thread sanitizer: build/tsan/tests/unit/test_hash_threads. */
#include "hash/hash.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/servers.h"

#define THREADS_COUNT 4u
#define LOOKS_COUNT   65536u
#define STRIDE        (SLOTS_COUNT / LOOKS_COUNT)

/* One thread: looks all homes up in an order of its own. */
struct reader {
    pthread_t thread;
    const struct lp_hash_table *table;
    uint32_t factor; /* odd, so the order is a permutation */
    uint32_t down_index;
    uint32_t homes[LOOKS_COUNT];
};

static bool is_up(void *context, uint32_t index)
{
    const struct reader *reader = context;
    return index != reader->down_index;
}

static void *look_up_all(void *context)
{
    struct reader *reader = context;

    for (uint32_t i = 0; i < LOOKS_COUNT; i++) {
        uint32_t at = i * reader->factor % LOOKS_COUNT;
        uint64_t hash = hash_in_slot(at * STRIDE);
        reader->homes[at] = reader->down_index == LP_HASH_NONE
                                ? lp_hash_home(reader->table, hash)
                                : lp_hash_pick(reader->table, hash, is_up, reader);
    }
    return NULL;
}

static void run_readers(struct reader *readers, const struct lp_hash_table *table,
                        uint32_t down_index)
{
    for (uint32_t i = 0; i < THREADS_COUNT; i++) {
        readers[i].table = table;
        readers[i].factor = 2 * i * 12345 + 1;
        readers[i].down_index = down_index;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, look_up_all, &readers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS_COUNT; i++)
        pthread_join(readers[i].thread, NULL);
}

static void threads_that_fill_one_table_at_once_agree_with_one_that_fills_it_alone(void **state)
{
    (void)state;
    static struct reader readers[THREADS_COUNT], alone = {.factor = 1, .down_index = LP_HASH_NONE};
    struct servers servers = servers_equal(100, 256);
    struct lp_hash_table *shared = table_of(&servers), *own = table_of(&servers);

    alone.table = own;
    look_up_all(&alone);
    run_readers(readers, shared, LP_HASH_NONE);
    for (uint32_t i = 0; i < THREADS_COUNT; i++)
        assert_memory_equal(readers[i].homes, alone.homes, sizeof(alone.homes));
    run_readers(readers, shared, LP_HASH_NONE); /* now it is full */
    for (uint32_t i = 0; i < THREADS_COUNT; i++)
        assert_memory_equal(readers[i].homes, alone.homes, sizeof(alone.homes));
    lp_hash_destroy(shared);
    lp_hash_destroy(own);
}

static void threads_agree_on_who_stands_in_for_a_server_that_is_down(void **state)
{
    (void)state;
    static struct reader readers[THREADS_COUNT];
    struct servers servers = servers_equal(70, 256), left = servers;
    struct lp_hash_table *shared = table_of(&servers);

    servers_remove(&left, 3);
    struct lp_hash_table *without = table_of(&left);
    run_readers(readers, shared, servers_find(&servers, 3));
    for (uint32_t i = 0; i < THREADS_COUNT; i++) {
        uint32_t different_count = 0;
        for (uint32_t at = 0; at < LOOKS_COUNT; at++) {
            uint32_t home = lp_hash_home(without, hash_in_slot(at * STRIDE));
            different_count += number_at(&left, home) != number_at(&servers, readers[i].homes[at]);
        }
        assert_int_equal(different_count, 0);
    }
    lp_hash_destroy(shared);
    lp_hash_destroy(without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_fill_one_table_at_once_agree_with_one_that_fills_it_alone),
        cmocka_unit_test(threads_agree_on_who_stands_in_for_a_server_that_is_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
