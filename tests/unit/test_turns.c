/* The order of round robin: exactly that of smooth weighted round robin, looked at server by
 * server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lb/pool/pool.h"
#include "tests/unit/dice.h"

#define SERVERS_MAX 3000u

static char ids[SERVERS_MAX][16];
static struct lp_cfg_server servers[SERVERS_MAX];
static int64_t gained[SERVERS_MAX];

static void build(struct pool_view *view, struct lp_cfg_pool *pool, struct lp_arena *arena,
                  uint32_t count)
{
    *pool = (struct lp_cfg_pool){
        .balance = LP_BALANCE_ROUND_ROBIN, .servers = servers, .servers_count = count};
    for (uint32_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%u", i);
        servers[i].id = lp_slice_of(ids[i]);
    }
    lp_arena_init(arena);
    assert_true(pool_view_build(view, pool, arena, NULL));
}

/* Each turn all gain their weight, the first of the greatest has it and loses the sum. */
static void assert_smooth(const struct pool_view *view, uint32_t count)
{
    int64_t total = 0;

    for (uint32_t i = 0; i < count; i++) {
        total += servers[i].weight;
        gained[i] = 0;
    }
    assert_int_equal(view->turns_count, total);
    for (uint32_t turn = 0; turn < view->turns_count; turn++) {
        uint32_t best = 0;
        for (uint32_t i = 0; i < count; i++) {
            gained[i] += servers[i].weight;
            if (gained[i] > gained[best])
                best = i;
        }
        gained[best] -= total;
        if (view->turns[turn] != best)
            fail_msg("turn %u is server %u's, not %u's", turn, best, view->turns[turn]);
    }
}

/* Few weights or many, some 0, the first one 1 so that no divisor makes them smaller. */
static void turns_are_those_of_smooth_weighted_round_robin(void **state)
{
    struct dice dice = {.state = 31};

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        uint32_t count = 1 + dice_below(&dice, round % 10 == 0 ? 300 : 12);
        uint32_t weight_max = 1 + dice_below(&dice, round % 3 == 0 ? 100 : 4);
        struct pool_view view;
        struct lp_cfg_pool pool;
        struct lp_arena arena;
        for (uint32_t i = 0; i < count; i++)
            servers[i].weight = dice_below(&dice, weight_max + 1);
        servers[dice_below(&dice, count)].weight = 1;
        build(&view, &pool, &arena, count);
        assert_smooth(&view, count);
        pool_view_deinit(&view);
        lp_arena_deinit(&arena);
    }
}

/* Weights that are too large are rounded, never to 0; each has as many turns as that. */
static void everybody_with_a_weight_has_turns(void **state)
{
    struct dice dice = {.state = 32};
    static uint32_t turns[SERVERS_MAX];
    struct pool_view view;
    struct lp_cfg_pool pool;
    struct lp_arena arena;

    (void)state;
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        servers[i].weight = dice_below(&dice, LP_WEIGHT_MAX + 1) * (i % 7 != 0);
    build(&view, &pool, &arena, SERVERS_MAX);
    for (uint32_t turn = 0; turn < view.turns_count; turn++)
        turns[view.turns[turn]]++;
    double share = (double)view.turns_count;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        sum += servers[i].weight;
    for (uint32_t i = 0; i < SERVERS_MAX; i++) {
        assert_int_equal(turns[i] > 0, servers[i].weight > 0);
        double exact = share * servers[i].weight / (double)sum;
        assert_true(turns[i] <= exact + 2 && turns[i] + 2 >= exact);
    }
    pool_view_deinit(&view);
    lp_arena_deinit(&arena);
}

static void without_any_weight_nobody_has_a_turn(void **state)
{
    struct pool_view view;
    struct lp_cfg_pool pool;
    struct lp_arena arena;

    (void)state;
    servers[0].weight = servers[1].weight = 0;
    build(&view, &pool, &arena, 2);
    assert_int_equal(view.turns_count, 0);
    pool_view_deinit(&view);
    lp_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_are_those_of_smooth_weighted_round_robin),
        cmocka_unit_test(everybody_with_a_weight_has_turns),
        cmocka_unit_test(without_any_weight_nobody_has_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
