/* hash when a pool changes: only what must move moves, and the rest is spread evenly (HASHING,
 * section 7, rows 2 to 5). Most tests look at every slot, which is every key there can be. */
#include "hash/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/servers.h"

#define ANY UINT32_MAX

/* 20 servers are scored on each look-up, 100 have a table of homes. */
static const uint32_t sizes[] = {20, 100};

/* Slots whose home differs; fails when one moved that was not `from` or is not `to`. */
static uint32_t moved_slots(const uint16_t *before, const uint16_t *after, uint32_t from,
                            uint32_t to)
{
    uint32_t moved_count = 0, wrong_count = 0;

    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot++) {
        if (before[slot] == after[slot])
            continue;
        moved_count++;
        wrong_count += (from != ANY && before[slot] != from) || (to != ANY && after[slot] != to);
    }
    assert_int_equal(wrong_count, 0);
    return moved_count;
}

static uint32_t slots_owned(const uint16_t *homes, uint32_t number)
{
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot++)
        count += homes[slot] == number;
    return count;
}

static void the_order_of_the_servers_does_not_matter(void **state)
{
    (void)state;
    struct dice dice = {1};

    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct servers servers = servers_equal(sizes[i], 256);
        for (uint32_t j = 0; j < sizes[i]; j += 3)
            servers.weights[j] = 1 + dice_below(&dice, 3);
        uint16_t *homes = homes_of(&servers);
        for (uint32_t round = 0; round < 3; round++) {
            servers_shuffle(&servers, &dice);
            uint16_t *shuffled = homes_of(&servers);
            assert_memory_equal(homes, shuffled, SLOTS_COUNT * sizeof(*homes));
            free(shuffled);
        }
        free(homes);
    }
}

static void only_the_keys_of_the_server_that_left_move(void **state)
{
    (void)state;

    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct servers servers = servers_equal(sizes[i], 256);
        uint16_t *before = homes_of(&servers);
        servers_remove(&servers, 7);
        uint16_t *after = homes_of(&servers);
        assert_int_equal(moved_slots(before, after, 7, ANY), slots_owned(before, 7));
        free(before);
        free(after);
    }
}

static void keys_move_only_to_the_server_that_came(void **state)
{
    (void)state;

    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct servers servers = servers_equal(sizes[i], 256);
        uint16_t *before = homes_of(&servers);
        servers_add(&servers, 500, 300);
        uint16_t *after = homes_of(&servers);
        assert_int_equal(moved_slots(before, after, ANY, 500), slots_owned(after, 500));
        free(before);
        free(after);
    }
}

/* 64 servers are scored directly, 65 have a table: the border is not to be seen from outside. */
static void the_first_server_that_needs_a_table_moves_no_others(void **state)
{
    (void)state;
    struct servers servers = servers_equal(64, 1);
    uint16_t *before = homes_of(&servers);

    servers_add(&servers, 64, 1);
    uint16_t *after = homes_of(&servers);
    assert_int_equal(moved_slots(before, after, ANY, 64), slots_owned(after, 64));
    free(before);
    free(after);
}

static void many_may_leave_and_come_at_once_and_the_rest_stays(void **state)
{
    (void)state;
    struct servers servers = servers_equal(30, 256);
    uint32_t wrong_count = 0;
    uint16_t *before = homes_of(&servers);

    for (uint32_t number = 0; number < 10; number++) {
        servers_remove(&servers, number);
        servers_add(&servers, 100 + number, 256);
    }
    uint16_t *after = homes_of(&servers);
    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot++) /* between two that stay */
        wrong_count += before[slot] != after[slot] && before[slot] >= 10 && after[slot] < 100;
    assert_int_equal(wrong_count, 0);
    free(before);
    free(after);
}

static void a_doubled_weight_gains_its_share_from_all_and_nothing_else_moves(void **state)
{
    (void)state;
    struct servers servers = servers_equal(100, 256);
    uint16_t *before = homes_of(&servers);

    servers_weigh(&servers, 42, 512);
    uint16_t *after = homes_of(&servers);
    double share = 2.0 / 101 - 1.0 / 100;
    double error = moved_slots(before, after, ANY, 42) - SLOTS_COUNT * share;
    assert_true(error * error <= 9 * SLOTS_COUNT * share * (1 - share)); /* 3 sigma */
    free(before);
    free(after);
}

static void a_halved_weight_gives_its_share_to_all_and_nothing_else_moves(void **state)
{
    (void)state;
    struct servers servers = servers_equal(100, 256);
    uint16_t *before = homes_of(&servers);

    servers_weigh(&servers, 42, 128);
    uint16_t *after = homes_of(&servers);
    double share = 1.0 / 100 - 0.5 / 99.5;
    double error = moved_slots(before, after, 42, ANY) - SLOTS_COUNT * share;
    assert_true(error * error <= 9 * SLOTS_COUNT * share * (1 - share));
    free(before);
    free(after);
}

static void a_slow_start_only_ever_gains_keys(void **state)
{
    (void)state;
    static const uint32_t factors[] = {0, 1, 2, 16, 100, 255, 256};
    struct servers servers = servers_equal(10, 256);
    uint16_t *before = NULL;

    for (size_t i = 0; i < LP_COUNT_OF(factors); i++) {
        servers_weigh(&servers, 3, factors[i]);
        uint16_t *after = homes_of(&servers);
        if (before != NULL)
            assert_true(moved_slots(before, after, ANY, 3) > 0);
        free(before);
        before = after;
    }
    free(before);
}

static void weight_zero_maps_as_if_the_server_was_removed(void **state)
{
    (void)state;

    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct servers drained = servers_equal(sizes[i], 256), removed = drained;
        servers_weigh(&drained, 11, 0);
        servers_remove(&removed, 11);
        uint16_t *a = homes_of(&drained), *b = homes_of(&removed);
        assert_memory_equal(a, b, SLOTS_COUNT * sizeof(*a));
        free(a);
        free(b);
    }
}

static void a_secret_seed_moves_nearly_every_key(void **state)
{
    (void)state;
    struct servers servers = servers_equal(20, 256);
    struct lp_hash_table *a = table_of(&servers);
    struct lp_hash_table *b = table_with_seed(&servers, lp_hash_seed(LP_SLICE("secret\n")));

    assert_in_range(lp_hash_moved_ppm(a, b), 940000, 960000); /* 19 of 20 */
    lp_hash_destroy(a);
    lp_hash_destroy(b);
}

/* --- health --- */

struct health {
    bool is_down[SERVERS_MAX]; /* by number */
    const struct servers *servers;
};

static bool is_up(void *context, uint32_t index)
{
    const struct health *health = context;
    return !health->is_down[health->servers->numbers[index]];
}

static uint16_t *picks_of(const struct lp_hash_table *table, struct health *health)
{
    uint16_t *picks = malloc(SLOTS_COUNT * sizeof(*picks));

    assert_non_null(picks);
    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot++)
        picks[slot] =
            number_at(health->servers, lp_hash_pick(table, hash_in_slot(slot), is_up, health));
    return picks;
}

static void servers_that_are_down_map_as_if_they_were_removed(void **state)
{
    (void)state;

    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct servers servers = servers_equal(sizes[i], 256), left = servers;
        struct lp_hash_table *table = table_of(&servers);
        struct health health = {.servers = &servers};
        for (uint32_t number = 0; number < sizes[i]; number += 9) {
            health.is_down[number] = true;
            servers_remove(&left, number);
        }
        uint16_t *picks = picks_of(table, &health), *homes = homes_of(&left);
        assert_memory_equal(picks, homes, SLOTS_COUNT * sizeof(*picks));
        free(picks);
        free(homes);
        lp_hash_destroy(table);
    }
}

static void two_views_disagree_on_the_keys_of_the_servers_they_differ_by_and_no_others(void **state)
{
    (void)state;
    struct servers servers = servers_equal(100, 256);
    struct lp_hash_table *table = table_of(&servers);
    struct health all_up = {.servers = &servers}, three_down = all_up;
    uint32_t wrong_count = 0;

    three_down.is_down[5] = three_down.is_down[50] = three_down.is_down[99] = true;
    uint16_t *a = picks_of(table, &all_up), *b = picks_of(table, &three_down);
    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot++)
        wrong_count += (a[slot] != b[slot]) != three_down.is_down[a[slot]];
    assert_int_equal(wrong_count, 0);
    free(a);
    free(b);
    lp_hash_destroy(table);
}

static void flaps_in_any_order_restore_the_mapping_exactly(void **state)
{
    (void)state;
    struct dice dice = {51};

    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct servers servers = servers_equal(sizes[i], 256);
        struct lp_hash_table *table = table_of(&servers);
        struct health health = {.servers = &servers};
        uint32_t different_count = 0;
        uint16_t *before = picks_of(table, &health);
        for (uint32_t flap = 0; flap < 100; flap++) {
            uint32_t number = dice_below(&dice, sizes[i]);
            health.is_down[number] = !health.is_down[number];
            for (uint32_t slot = flap; slot < SLOTS_COUNT; slot += 1009) {
                uint32_t index = lp_hash_pick(table, hash_in_slot(slot), is_up, &health);
                if (!health.is_down[before[slot]]) /* whose home is up stays at home */
                    different_count += number_at(&servers, index) != before[slot];
            }
        }
        memset(health.is_down, 0, sizeof(health.is_down));
        uint16_t *after = picks_of(table, &health);
        assert_int_equal(different_count, 0);
        assert_memory_equal(before, after, SLOTS_COUNT * sizeof(*before));
        free(before);
        free(after);
        lp_hash_destroy(table);
    }
}

/* --- balance --- */

struct balance {
    double max_over_average, variance; /* relative to each server's expected share */
};

static struct balance balance_of(const struct servers *servers, uint32_t keys_count)
{
    struct lp_hash_table *table = table_of(servers);
    static uint32_t keys[SERVERS_MAX];
    struct balance balance = {0};
    struct dice dice = {61};
    uint64_t weight_sum = 0;

    memset(keys, 0, sizeof(keys));
    for (uint32_t i = 0; i < keys_count; i++)
        keys[lp_hash_home(table, dice_roll(&dice))]++;
    for (uint32_t i = 0; i < servers->count; i++)
        weight_sum += servers->weights[i];
    for (uint32_t i = 0; i < servers->count; i++) {
        double expected = (double)keys_count * servers->weights[i] / (double)weight_sum;
        double ratio = keys[i] / expected;
        if (ratio > balance.max_over_average)
            balance.max_over_average = ratio;
        balance.variance += (ratio - 1) * (ratio - 1) / servers->count;
    }
    lp_hash_destroy(table);
    return balance;
}

static void a_million_keys_are_spread_evenly_over_10_100_and_1000_servers(void **state)
{
    (void)state;
    static const struct {
        uint32_t count;
        double max_over_average, slack;
    } rows[] = {{10, 1.02, 2}, {100, 1.06, 1.25}, {1000, 1.20, 1.25}};

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct servers servers = servers_equal(rows[i].count, 256);
        struct balance balance = balance_of(&servers, 1000000);
        double chance = rows[i].count / (double)SLOTS_COUNT + rows[i].count / 1e6;
        assert_true(balance.max_over_average <= rows[i].max_over_average);
        assert_true(balance.variance <= rows[i].slack * rows[i].slack * chance);
    }
}

static void a_million_keys_are_spread_by_weight(void **state)
{
    (void)state;
    struct servers servers = {0};

    for (uint32_t i = 0; i < 10; i++)
        servers_add(&servers, i, 256 * (3 - i % 3));
    assert_true(balance_of(&servers, 1000000).max_over_average <= 1.03);
}

/* --- how much a reload moves --- */

static uint32_t moved_ppm(const struct servers *a, const struct servers *b)
{
    struct lp_hash_table *table_a = table_of(a), *table_b = table_of(b);
    uint32_t moved = lp_hash_moved_ppm(table_a, table_b);

    assert_int_equal(lp_hash_moved_ppm(table_b, table_a), moved);
    lp_hash_destroy(table_a);
    lp_hash_destroy(table_b);
    return moved;
}

static void the_share_that_moves_is_estimated_from_evenly_spread_slots(void **state)
{
    (void)state;
    struct servers before = servers_equal(10, 256), after = before;
    uint64_t moved_count = 0;

    servers_remove(&after, 4);
    servers_add(&after, 40, 128);
    uint16_t *homes_before = homes_of(&before), *homes_after = homes_of(&after);
    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot += SLOTS_COUNT / 65536)
        moved_count += homes_before[slot] != homes_after[slot];
    assert_int_equal(moved_ppm(&before, &after), moved_count * 1000000 / 65536);
    free(homes_before);
    free(homes_after);
}

static void nothing_moves_between_equal_pools_in_any_order(void **state)
{
    (void)state;
    struct servers servers = servers_equal(30, 256), shuffled = servers;
    struct dice dice = {71};

    assert_int_equal(moved_ppm(&servers, &servers), 0);
    servers_shuffle(&shuffled, &dice);
    assert_int_equal(moved_ppm(&servers, &shuffled), 0);
}

static void everything_moves_when_all_servers_are_others_or_none_is_left(void **state)
{
    (void)state;
    struct servers servers = servers_equal(5, 256), none = servers_equal(5, 0), others = {0};

    for (uint32_t i = 0; i < 5; i++)
        servers_add(&others, 100 + i, 256);
    assert_int_equal(moved_ppm(&servers, &others), 1000000);
    assert_int_equal(moved_ppm(&servers, &none), 1000000);
    servers_weigh(&servers, 0, 0);
    servers_weigh(&none, 1, 0);
    assert_int_equal(moved_ppm(&none, &none), 0);
}

static void the_estimate_holds_for_a_thousand_servers_too(void **state)
{
    (void)state;
    struct servers before = servers_equal(1000, 256), after = before;

    for (uint32_t number = 0; number < 100; number++)
        servers_remove(&after, number);
    assert_in_range(moved_ppm(&before, &after), 95000, 105000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_the_servers_does_not_matter),
        cmocka_unit_test(only_the_keys_of_the_server_that_left_move),
        cmocka_unit_test(keys_move_only_to_the_server_that_came),
        cmocka_unit_test(the_first_server_that_needs_a_table_moves_no_others),
        cmocka_unit_test(many_may_leave_and_come_at_once_and_the_rest_stays),
        cmocka_unit_test(a_doubled_weight_gains_its_share_from_all_and_nothing_else_moves),
        cmocka_unit_test(a_halved_weight_gives_its_share_to_all_and_nothing_else_moves),
        cmocka_unit_test(a_slow_start_only_ever_gains_keys),
        cmocka_unit_test(weight_zero_maps_as_if_the_server_was_removed),
        cmocka_unit_test(a_secret_seed_moves_nearly_every_key),
        cmocka_unit_test(servers_that_are_down_map_as_if_they_were_removed),
        cmocka_unit_test(
            two_views_disagree_on_the_keys_of_the_servers_they_differ_by_and_no_others),
        cmocka_unit_test(flaps_in_any_order_restore_the_mapping_exactly),
        cmocka_unit_test(a_million_keys_are_spread_evenly_over_10_100_and_1000_servers),
        cmocka_unit_test(a_million_keys_are_spread_by_weight),
        cmocka_unit_test(the_share_that_moves_is_estimated_from_evenly_spread_slots),
        cmocka_unit_test(nothing_moves_between_equal_pools_in_any_order),
        cmocka_unit_test(everything_moves_when_all_servers_are_others_or_none_is_left),
        cmocka_unit_test(the_estimate_holds_for_a_thousand_servers_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
