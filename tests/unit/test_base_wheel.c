/* wheel: every timer fires, never early and at most one tick late; held against a naive model. */
#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/dice.h"

#define ROUND_MS ((uint64_t)LP_WHEEL_TICK_MS * LP_WHEEL_SLOTS)
#define START_MS 1234567u /* in the middle of a tick and of a round */

/* --- one or two timers at a time --- */

struct bell {
    struct lp_timer timer;
    uint32_t fired_count;
    uint64_t fired_ms;
};

/* What the clock shows while the wheel advances, and what ringing a bell does besides. */
struct tower {
    struct lp_wheel wheel;
    uint64_t now_ms;
    uint32_t fired_count;
    void (*also)(struct tower *tower, struct bell *bell);
    struct bell *other;
};

static void ring(struct lp_timer *timer, void *context)
{
    struct tower *tower = context;
    struct bell *bell = lp_container_of(timer, struct bell, timer);

    bell->fired_count++;
    bell->fired_ms = tower->now_ms;
    tower->fired_count++;
    if (tower->also != NULL)
        tower->also(tower, bell);
}

static void tower_init(struct tower *tower, uint64_t now_ms)
{
    memset(tower, 0, sizeof(*tower));
    tower->now_ms = now_ms;
    lp_wheel_init(&tower->wheel, now_ms);
}

static void bell_init(struct bell *bell)
{
    memset(bell, 0, sizeof(*bell));
    lp_timer_init(&bell->timer);
}

static void tower_advance(struct tower *tower, uint64_t now_ms)
{
    tower->now_ms = now_ms;
    lp_wheel_advance(&tower->wheel, now_ms, UINT32_MAX, ring, tower);
}

/* Millisecond by millisecond until the bell rings. */
static void tower_walk(struct tower *tower, const struct bell *bell, uint64_t end_ms)
{
    uint32_t before = bell->fired_count;

    while (bell->fired_count == before && tower->now_ms < end_ms)
        tower_advance(tower, tower->now_ms + 1);
}

static void a_timer_is_never_early_and_at_most_one_tick_late(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    for (uint64_t phase = 0; phase < LP_WHEEL_TICK_MS; phase += 7) {
        for (uint64_t wait = 0; wait < 450; wait += 3) {
            uint64_t due_ms = START_MS + phase + wait;
            tower_init(&tower, START_MS + phase);
            bell_init(&bell);
            lp_timer_set(&tower.wheel, &bell.timer, due_ms);
            tower_walk(&tower, &bell, due_ms + 1000);
            assert_int_equal(bell.fired_count, 1);
            assert_true(bell.fired_ms >= due_ms);
            assert_true(bell.fired_ms <= due_ms + LP_WHEEL_TICK_MS);
        }
    }
}

static void a_timer_due_in_the_past_fires_at_the_next_tick_not_at_once(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    bell_init(&bell);
    lp_timer_set(&tower.wheel, &bell.timer, 0);
    tower_advance(&tower, START_MS);
    assert_int_equal(bell.fired_count, 0);
    assert_true(lp_timer_is_set(&bell.timer));
    tower_advance(&tower, START_MS + LP_WHEEL_TICK_MS);
    assert_int_equal(bell.fired_count, 1);
}

static void a_fired_timer_is_no_longer_set_and_fires_only_once(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    bell_init(&bell);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 50);
    tower_advance(&tower, START_MS + 500);
    assert_false(lp_timer_is_set(&bell.timer));
    assert_int_equal(tower.wheel.timers_count, 0);
    for (uint64_t i = 0; i < 3 * LP_WHEEL_SLOTS; i++)
        tower_advance(&tower, START_MS + 500 + i * LP_WHEEL_TICK_MS);
    assert_int_equal(bell.fired_count, 1);
}

static void a_timer_that_is_set_again_forgets_its_former_time(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    bell_init(&bell);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 300);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 5000);
    assert_int_equal(tower.wheel.timers_count, 1);
    tower_advance(&tower, START_MS + 4999);
    assert_int_equal(bell.fired_count, 0);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 5100);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 5000);
    tower_advance(&tower, START_MS + 5100);
    assert_int_equal(bell.fired_count, 1);
}

static void set_at_latest_moves_a_timer_forward_but_never_back(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    bell_init(&bell);
    lp_timer_set_at_latest(&tower.wheel, &bell.timer, START_MS + 5000);
    assert_true(lp_timer_is_set(&bell.timer));
    lp_timer_set_at_latest(&tower.wheel, &bell.timer, START_MS + 2000);
    lp_timer_set_at_latest(&tower.wheel, &bell.timer, START_MS + 8000);
    assert_int_equal(tower.wheel.timers_count, 1);
    tower_advance(&tower, START_MS + 1999);
    assert_int_equal(bell.fired_count, 0);
    tower_advance(&tower, START_MS + 2100);
    assert_int_equal(bell.fired_count, 1);
    tower_advance(&tower, START_MS + 9000);
    assert_int_equal(bell.fired_count, 1);
}

static void a_stopped_timer_does_not_fire_and_may_be_stopped_again(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    bell_init(&bell);
    lp_timer_stop(&tower.wheel, &bell.timer);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 200);
    lp_timer_stop(&tower.wheel, &bell.timer);
    lp_timer_stop(&tower.wheel, &bell.timer);
    assert_false(lp_timer_is_set(&bell.timer));
    assert_int_equal(tower.wheel.timers_count, 0);
    tower_advance(&tower, START_MS + 2 * ROUND_MS);
    assert_int_equal(bell.fired_count, 0);
}

static void timers_of_one_slot_but_of_later_rounds_stay(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bells[4];

    tower_init(&tower, START_MS);
    for (uint32_t i = 0; i < 4; i++) {
        bell_init(&bells[i]);
        lp_timer_set(&tower.wheel, &bells[i].timer, START_MS + 700 + i * ROUND_MS);
    }
    for (uint32_t round = 0; round < 4; round++) {
        tower_advance(&tower, START_MS + 699 + round * ROUND_MS);
        assert_int_equal(tower.fired_count, round);
        tower_advance(&tower, START_MS + 800 + round * ROUND_MS);
        assert_int_equal(bells[round].fired_count, 1);
        assert_int_equal(tower.fired_count, round + 1);
    }
}

static void the_kind_of_a_timer_is_its_owners_alone(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    bell_init(&bell);
    assert_int_equal(bell.timer.kind, 0);
    bell.timer.kind = 42;
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 200);
    lp_timer_stop(&tower.wheel, &bell.timer);
    lp_timer_set_at_latest(&tower.wheel, &bell.timer, START_MS + 200);
    tower_advance(&tower, START_MS + 300);
    assert_int_equal(bell.fired_count, 1);
    assert_int_equal(bell.timer.kind, 42);
}

static void a_clock_that_stands_or_goes_back_fires_nothing(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    bell_init(&bell);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 100);
    tower_advance(&tower, START_MS);
    tower_advance(&tower, START_MS - 100000);
    assert_int_equal(bell.fired_count, 0);
    tower_advance(&tower, START_MS + 200);
    assert_int_equal(bell.fired_count, 1);
}

static void a_timer_for_the_end_of_time_does_not_fire(void **state)
{
    (void)state;
    static const uint64_t ends[] = {UINT64_MAX, UINT64_MAX - 98, UINT64_MAX / 2, 1ull << 42};
    struct tower tower;

    for (uint32_t i = 0; i < LP_COUNT_OF(ends); i++) {
        struct bell bell;
        tower_init(&tower, START_MS);
        bell_init(&bell);
        lp_timer_set(&tower.wheel, &bell.timer, ends[i]);
        for (uint64_t day = 0; day < 1000; day++)
            tower_advance(&tower, START_MS + day * 86400000);
        assert_int_equal(bell.fired_count, 0);
        lp_timer_set_at_latest(&tower.wheel, &bell.timer, tower.now_ms + 1000);
        tower_advance(&tower, tower.now_ms + 1100);
        assert_int_equal(bell.fired_count, 1);
    }
}

/* --- what fire may do --- */

static void set_again(struct tower *tower, struct bell *bell)
{
    lp_timer_set(&tower->wheel, &bell->timer, tower->now_ms + 1000);
}

static void a_timer_may_set_itself_again_while_it_fires(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    tower.also = set_again;
    bell_init(&bell);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS);
    for (uint64_t ms = 0; ms <= 10000; ms += 50)
        tower_advance(&tower, START_MS + ms);
    assert_in_range(bell.fired_count, 9, 10);
    assert_true(lp_timer_is_set(&bell.timer));
}

static void set_again_in_the_past(struct tower *tower, struct bell *bell)
{
    lp_timer_set(&tower->wheel, &bell->timer, 0);
}

static void a_timer_that_sets_itself_to_the_past_fires_once_an_advance(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    tower.also = set_again_in_the_past;
    bell_init(&bell);
    lp_timer_set(&tower.wheel, &bell.timer, 0);
    for (uint32_t i = 1; i < 200; i++) { /* sleeps of all lengths up to two rounds */
        tower_advance(&tower, tower.now_ms + LP_WHEEL_TICK_MS * (1 + i * 5));
        assert_int_equal(bell.fired_count, i);
    }
}

static void stop_other(struct tower *tower, struct bell *bell)
{
    (void)bell;
    lp_timer_stop(&tower->wheel, &tower->other->timer);
}

static void a_timer_that_is_due_may_still_be_stopped_by_one_that_fires_first(void **state)
{
    (void)state;
    struct tower tower;
    struct bell first, second;

    tower_init(&tower, START_MS);
    tower.also = stop_other;
    tower.other = &second;
    bell_init(&first);
    bell_init(&second);
    lp_timer_set(&tower.wheel, &first.timer, START_MS + 200);
    lp_timer_set(&tower.wheel, &second.timer, START_MS + 200);
    tower_advance(&tower, START_MS + 1000);
    assert_int_equal(first.fired_count, 1);
    assert_int_equal(second.fired_count, 0);
    assert_int_equal(tower.wheel.timers_count, 0);
    tower_advance(&tower, START_MS + 1000 + 2 * ROUND_MS);
    assert_int_equal(second.fired_count, 0);
}

static void move_other(struct tower *tower, struct bell *bell)
{
    if (bell != tower->other)
        lp_timer_set(&tower->wheel, &tower->other->timer, tower->now_ms + 3000);
}

static void a_timer_that_is_due_may_still_be_moved_by_one_that_fires_first(void **state)
{
    (void)state;
    struct tower tower;
    struct bell first, second;

    tower_init(&tower, START_MS);
    tower.also = move_other;
    tower.other = &second;
    bell_init(&first);
    bell_init(&second);
    lp_timer_set(&tower.wheel, &first.timer, START_MS + 200);
    lp_timer_set(&tower.wheel, &second.timer, START_MS + 200);
    tower_advance(&tower, START_MS + 1000);
    assert_int_equal(second.fired_count, 0);
    tower_advance(&tower, START_MS + 3999);
    assert_int_equal(second.fired_count, 0);
    tower_advance(&tower, START_MS + 4100);
    assert_int_equal(second.fired_count, 1);
}

/* --- sleeping --- */

static void after_a_long_sleep_everything_due_fires_once_and_the_rest_stays(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bells[300];
    uint32_t due_count = 0;
    uint64_t wake_ms = START_MS + 5 * ROUND_MS + 12345;

    tower_init(&tower, START_MS);
    for (uint32_t i = 0; i < 300; i++) {
        uint64_t due_ms = START_MS + (uint64_t)i * 1777;
        bell_init(&bells[i]);
        lp_timer_set(&tower.wheel, &bells[i].timer, due_ms);
        due_count += due_ms + LP_WHEEL_TICK_MS <= wake_ms;
    }
    tower_advance(&tower, wake_ms);
    assert_in_range(tower.fired_count, due_count, due_count + 1);
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(bells[i].fired_count + lp_timer_is_set(&bells[i].timer), 1);
    tower_advance(&tower, wake_ms + 1000000);
    assert_int_equal(tower.fired_count, 300);
}

static void what_is_due_beyond_the_most_at_once_comes_first_next_time(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bells[10], later;

    tower_init(&tower, START_MS);
    for (uint32_t i = 0; i < 10; i++) {
        bell_init(&bells[i]);
        lp_timer_set(&tower.wheel, &bells[i].timer, START_MS + 100);
    }
    bell_init(&later);
    lp_timer_set(&tower.wheel, &later.timer, START_MS + 1000);
    lp_wheel_advance(&tower.wheel, START_MS + 300, 4, ring, &tower);
    assert_int_equal(tower.fired_count, 4);
    assert_int_equal(lp_wheel_wait_ms(&tower.wheel, START_MS + 300, 60000), 0);
    lp_timer_stop(&tower.wheel, &bells[4].timer); /* one that waits may still be stopped or moved */
    lp_timer_set(&tower.wheel, &bells[5].timer, START_MS + 5000);
    lp_wheel_advance(&tower.wheel, START_MS + 2000, 4, ring, &tower);
    assert_int_equal(tower.fired_count, 8);
    assert_int_equal(later.fired_count, 0);
    lp_wheel_advance(&tower.wheel, START_MS + 2000, 4, ring, &tower); /* the clock need not move */
    assert_int_equal(tower.fired_count, 9);
    assert_int_equal(later.fired_count, 1);
    assert_int_equal(bells[4].fired_count + bells[5].fired_count, 0);
    assert_int_equal(tower.wheel.timers_count, 1);
}

static void without_timers_the_loop_may_sleep_as_long_as_it_likes(void **state)
{
    (void)state;
    struct tower tower;
    struct bell bell;

    tower_init(&tower, START_MS);
    assert_int_equal(lp_wheel_wait_ms(&tower.wheel, START_MS, 4321), 4321);
    bell_init(&bell);
    lp_timer_set(&tower.wheel, &bell.timer, START_MS + 1000);
    assert_true(lp_wheel_wait_ms(&tower.wheel, START_MS, UINT32_MAX) <= 1100);
    assert_int_equal(lp_wheel_wait_ms(&tower.wheel, START_MS, 10), 10);
    assert_int_equal(lp_wheel_wait_ms(&tower.wheel, START_MS + 5000, 10), 0);
    lp_timer_stop(&tower.wheel, &bell.timer);
    assert_int_equal(lp_wheel_wait_ms(&tower.wheel, START_MS, UINT32_MAX), UINT32_MAX);
}

static void a_loop_that_sleeps_as_told_is_in_time_for_every_timer(void **state)
{
    (void)state;
    struct dice dice = {1};

    for (uint32_t i = 0; i < 2000; i++) {
        struct tower tower;
        struct bell bell;
        uint64_t start_ms = dice_below(&dice, 10000000);
        uint64_t due_ms = start_ms + dice_below(&dice, i % 2 == 0 ? 2000 : 300000);
        uint32_t wakes_count = 0;

        tower_init(&tower, start_ms);
        bell_init(&bell);
        lp_timer_set(&tower.wheel, &bell.timer, due_ms);
        while (bell.fired_count == 0) {
            uint32_t wait_ms = lp_wheel_wait_ms(&tower.wheel, tower.now_ms, UINT32_MAX);
            assert_true(wait_ms > 0);
            tower_advance(&tower, tower.now_ms + wait_ms);
            wakes_count++;
        }
        assert_true(bell.fired_ms >= due_ms);
        assert_true(bell.fired_ms <= due_ms + LP_WHEEL_TICK_MS);
        /* Once a round for a timer that is due later, and once for good. */
        assert_true(wakes_count <= (due_ms - start_ms) / ROUND_MS + 2);
    }
}

/* --- against a naive model --- */

#define MODEL_TIMERS 150u

struct model_timer {
    struct lp_timer timer;
    bool is_set;
    uint64_t due_ms, set_ms;
};

struct model {
    struct lp_wheel wheel;
    struct dice dice;
    uint64_t now_ms;
    uint32_t fired_count, early_count, ghosts_count;
    struct model_timer timers[MODEL_TIMERS];
};

static uint64_t some_due(struct model *model)
{
    static const uint32_t spans[] = {1, 90, 250, 5000, 60000, 400000};
    uint32_t span = spans[dice_below(&model->dice, LP_COUNT_OF(spans))];
    uint64_t due_ms = model->now_ms + dice_below(&model->dice, span);

    return dice_below(&model->dice, 20) == 0 && due_ms > 500 ? due_ms - 500 : due_ms;
}

static void change_one(struct model *model)
{
    struct model_timer *one = &model->timers[dice_below(&model->dice, MODEL_TIMERS)];
    uint64_t due_ms = some_due(model);

    switch (dice_below(&model->dice, 4)) {
    case 0:
        lp_timer_stop(&model->wheel, &one->timer);
        one->is_set = false;
        break;
    case 1:
        lp_timer_set_at_latest(&model->wheel, &one->timer, due_ms);
        if (!one->is_set || due_ms < one->due_ms) {
            one->due_ms = due_ms;
            one->set_ms = model->now_ms;
        }
        one->is_set = true;
        break;
    default:
        lp_timer_set(&model->wheel, &one->timer, due_ms);
        one->due_ms = due_ms;
        one->set_ms = model->now_ms;
        one->is_set = true;
    }
}

static void model_fire(struct lp_timer *timer, void *context)
{
    struct model *model = context;
    struct model_timer *one = lp_container_of(timer, struct model_timer, timer);

    model->fired_count++;
    model->ghosts_count += !one->is_set || lp_timer_is_set(timer);
    model->early_count += model->now_ms < one->due_ms;
    one->is_set = false;
    for (uint32_t i = dice_below(&model->dice, 3); i > 0; i--)
        change_one(model);
}

static void model_check(const struct model *model)
{
    uint32_t set_count = 0, late_count = 0, different_count = 0;

    for (uint32_t i = 0; i < MODEL_TIMERS; i++) {
        const struct model_timer *one = &model->timers[i];
        uint64_t due_ms = one->due_ms > one->set_ms ? one->due_ms : one->set_ms;
        set_count += one->is_set;
        different_count += one->is_set != lp_timer_is_set(&one->timer);
        late_count += one->is_set && model->now_ms >= due_ms + LP_WHEEL_TICK_MS;
    }
    assert_int_equal(model->ghosts_count, 0);
    assert_int_equal(model->early_count, 0);
    assert_int_equal(late_count, 0);
    assert_int_equal(different_count, 0);
    assert_int_equal(model->wheel.timers_count, set_count);
}

static uint64_t some_sleep(struct dice *dice)
{
    static const uint32_t sleeps[] = {1, 30, 30, 250, 250, 3000, 55000, 200000};
    return dice_below(dice, sleeps[dice_below(dice, LP_COUNT_OF(sleeps))]);
}

static void the_wheel_does_what_a_naive_list_of_times_does(void **state)
{
    (void)state;
    static struct model model;

    for (uint64_t seed = 1; seed <= 10; seed++) {
        memset(&model, 0, sizeof(model));
        model.dice.state = seed;
        model.now_ms = dice_below(&model.dice, 1000000);
        lp_wheel_init(&model.wheel, model.now_ms);
        for (uint32_t i = 0; i < MODEL_TIMERS; i++)
            lp_timer_init(&model.timers[i].timer);
        for (uint32_t step = 0; step < 3000; step++) {
            for (uint32_t i = dice_below(&model.dice, 6); i > 0; i--)
                change_one(&model);
            model.now_ms += some_sleep(&model.dice);
            lp_wheel_advance(&model.wheel, model.now_ms, UINT32_MAX, model_fire, &model);
            model_check(&model);
        }
        assert_true(model.fired_count > 1000);
    }
}

/* The loop's own way: sleep what the wheel says, and nobody else wakes it. */
static void nothing_is_late_when_the_model_sleeps_what_the_wheel_says(void **state)
{
    (void)state;
    static struct model model;

    memset(&model, 0, sizeof(model));
    model.dice.state = 99;
    lp_wheel_init(&model.wheel, 0);
    for (uint32_t i = 0; i < MODEL_TIMERS; i++)
        lp_timer_init(&model.timers[i].timer);
    for (uint32_t step = 0; step < 20000; step++) {
        change_one(&model);
        model.now_ms += lp_wheel_wait_ms(&model.wheel, model.now_ms, 60000);
        for (uint32_t i = 0; i < MODEL_TIMERS; i++) /* one tick is still in time */
            if (model.timers[i].is_set && model.timers[i].due_ms > model.timers[i].set_ms)
                assert_true(model.now_ms <= model.timers[i].due_ms + LP_WHEEL_TICK_MS);
        lp_wheel_advance(&model.wheel, model.now_ms, UINT32_MAX, model_fire, &model);
        model_check(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_is_never_early_and_at_most_one_tick_late),
        cmocka_unit_test(a_timer_due_in_the_past_fires_at_the_next_tick_not_at_once),
        cmocka_unit_test(a_fired_timer_is_no_longer_set_and_fires_only_once),
        cmocka_unit_test(a_timer_that_is_set_again_forgets_its_former_time),
        cmocka_unit_test(set_at_latest_moves_a_timer_forward_but_never_back),
        cmocka_unit_test(a_stopped_timer_does_not_fire_and_may_be_stopped_again),
        cmocka_unit_test(timers_of_one_slot_but_of_later_rounds_stay),
        cmocka_unit_test(the_kind_of_a_timer_is_its_owners_alone),
        cmocka_unit_test(a_clock_that_stands_or_goes_back_fires_nothing),
        cmocka_unit_test(a_timer_for_the_end_of_time_does_not_fire),
        cmocka_unit_test(a_timer_may_set_itself_again_while_it_fires),
        cmocka_unit_test(a_timer_that_sets_itself_to_the_past_fires_once_an_advance),
        cmocka_unit_test(a_timer_that_is_due_may_still_be_stopped_by_one_that_fires_first),
        cmocka_unit_test(a_timer_that_is_due_may_still_be_moved_by_one_that_fires_first),
        cmocka_unit_test(after_a_long_sleep_everything_due_fires_once_and_the_rest_stays),
        cmocka_unit_test(what_is_due_beyond_the_most_at_once_comes_first_next_time),
        cmocka_unit_test(without_timers_the_loop_may_sleep_as_long_as_it_likes),
        cmocka_unit_test(a_loop_that_sleeps_as_told_is_in_time_for_every_timer),
        cmocka_unit_test(the_wheel_does_what_a_naive_list_of_times_does),
        cmocka_unit_test(nothing_is_late_when_the_model_sleeps_what_the_wheel_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
