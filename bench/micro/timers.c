/* The timer wheel. Each timer lies in an object of 256 bytes, as a connection's does, so that many
 * of them do not fit the caches here either. */
#include "bench/micro/micro.h"

#define OBJECT_BYTES 256u
#define CHOICES      4096u /* random timers and durations, taken in turn; a power of two */

struct ticking {
    struct lp_wheel wheel;
    uint64_t now_ms;
    uint64_t period_ms; /* what a fired timer is set to again */
    uint64_t fired_count;
    uint32_t timers_count;
    char *objects;
    uint32_t which[CHOICES];
    uint32_t delay_ms[CHOICES];
};

static struct lp_timer *timer_at(const struct ticking *ticking, uint32_t index)
{
    return (struct lp_timer *)(void *)(ticking->objects + (size_t)index * OBJECT_BYTES);
}

static void set_again(struct lp_timer *timer, void *context)
{
    struct ticking *ticking = context;

    ticking->fired_count++;
    lp_timer_set(&ticking->wheel, timer, ticking->now_ms + ticking->period_ms);
}

static uint64_t run_add_and_stop(void *context, uint64_t count)
{
    struct ticking *ticking = context;
    struct lp_timer one;
    uint64_t begin = micro_ticks();

    lp_timer_init(&one);
    for (uint64_t i = 0; i < count; i++) {
        lp_timer_set(&ticking->wheel, &one, ticking->now_ms + ticking->delay_ms[i % CHOICES]);
        micro_keep_pointer(&one);
        lp_timer_stop(&ticking->wheel, &one);
    }
    return micro_ticks() - begin;
}

static uint64_t run_move(void *context, uint64_t count)
{
    struct ticking *ticking = context;
    uint64_t begin = micro_ticks();

    for (uint64_t i = 0; i < count; i++)
        lp_timer_set(&ticking->wheel, timer_at(ticking, ticking->which[i % CHOICES]),
                     ticking->now_ms + ticking->delay_ms[i * 7 % CHOICES]);
    return micro_ticks() - begin;
}

/* What each activity of a connection does: its timer is set for an earlier time and stays. */
static uint64_t run_leave(void *context, uint64_t count)
{
    struct ticking *ticking = context;
    uint64_t begin = micro_ticks();

    for (uint64_t i = 0; i < count; i++)
        lp_timer_set_at_latest(&ticking->wheel, timer_at(ticking, ticking->which[i % CHOICES]),
                               ticking->now_ms + 2 * ticking->period_ms);
    return micro_ticks() - begin;
}

static uint64_t run_tick(void *context, uint64_t count)
{
    struct ticking *ticking = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        ticking->now_ms += LP_WHEEL_TICK_MS;
        lp_wheel_advance(&ticking->wheel, ticking->now_ms, UINT32_MAX, set_again, ticking);
    }
    return micro_ticks() - begin;
}

static uint64_t run_wait(void *context, uint64_t count)
{
    struct ticking *ticking = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        micro_keep(lp_wheel_wait_ms(&ticking->wheel, ticking->now_ms, 60000));
    return micro_ticks() - begin;
}

/* All timers set, evenly over a period. */
static void set_all(struct ticking *ticking, uint32_t timers_count, uint64_t period_ms)
{
    uint64_t state = 4;

    ticking->now_ms = 1000000;
    ticking->period_ms = period_ms;
    ticking->timers_count = timers_count;
    lp_wheel_init(&ticking->wheel, ticking->now_ms);
    for (uint32_t i = 0; i < timers_count; i++) {
        lp_timer_init(timer_at(ticking, i));
        lp_timer_set(&ticking->wheel, timer_at(ticking, i),
                     ticking->now_ms + 1 + micro_random(&state) % period_ms);
    }
    for (uint32_t i = 0; i < CHOICES; i++) {
        ticking->which[i] = (uint32_t)(micro_random(&state) % timers_count);
        ticking->delay_ms[i] = (uint32_t)(1 + micro_random(&state) % period_ms);
    }
}

void micro_timers(struct micro *micro)
{
    static const uint32_t counts[] = {10, 10000, 100000};
    struct ticking *ticking = lp_alloc(sizeof(*ticking));
    struct micro_work work = {.context = ticking};

    for (size_t i = 0; i < LP_COUNT_OF(counts); i++) {
        uint32_t count = counts[i];
        ticking->objects = lp_alloc((size_t)count * OBJECT_BYTES);
        set_all(ticking, count, 60000);
        work.run = run_add_and_stop;
        micro_measure(micro, &work, "add and stop one beside %u", count);
        work.run = run_leave;
        micro_measure(micro, &work, "set one of %u at latest: it stays", count);
        work.run = run_move;
        micro_measure(micro, &work, "move one of %u", count);
        work.run = run_wait;
        micro_measure(micro, &work, "time to wait with %u", count);
        set_all(ticking, count, 60000);
        work.run = run_tick;
        micro_measure(micro, &work, "tick with %u over 60 s", count);
        set_all(ticking, count, 3600000);
        micro_measure(micro, &work, "tick with %u over 1 h", count);
        MICRO_REQUIRE(ticking->wheel.timers_count == count);
        lp_free(ticking->objects);
    }
    lp_free(ticking);
}
