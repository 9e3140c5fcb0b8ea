/* wheel: a hashed timer wheel (Varghese and Lauck, 1987, scheme 6) with ticks of 100 ms.
 *
 * A timer never fires early and at most one tick late. Setting, moving and stopping cost O(1), and
 * activity needs none of them: store the time of the activity, let the timer fire, look whether it
 * is due, and set it again ("lazy"). One thread only. */
#ifndef LP_BASE_WHEEL_H
#define LP_BASE_WHEEL_H

#include "base/list.h"

#define LP_WHEEL_TICK_MS 100u
#define LP_WHEEL_SLOTS   512u

struct lp_timer {
    struct lp_list link;
    uint32_t due_tick;
    uint32_t kind; /* the owner's word, to tell its timers apart; the wheel leaves it alone */
};

struct lp_wheel {
    uint32_t now_tick;
    uint32_t timers_count;
    uint64_t occupied[LP_WHEEL_SLOTS / 64]; /* slots that hold a timer */
    struct lp_list slots[LP_WHEEL_SLOTS];
    struct lp_list due; /* passed, and not fired yet */
};

typedef void (*lp_timer_fn)(struct lp_timer *timer, void *context);

/* Times are milliseconds of one monotonic clock. */
void lp_wheel_init(struct lp_wheel *wheel, uint64_t now_ms);
void lp_timer_init(struct lp_timer *timer);

/* Sets or moves: fires at due_ms. */
void lp_timer_set(struct lp_wheel *wheel, struct lp_timer *timer, uint64_t due_ms);
/* Like lp_timer_set(), but a timer that is set for an earlier time stays where it is. */
void lp_timer_set_at_latest(struct lp_wheel *wheel, struct lp_timer *timer, uint64_t due_ms);
void lp_timer_stop(struct lp_wheel *wheel, struct lp_timer *timer);
static inline bool lp_timer_is_set(const struct lp_timer *timer)
{
    return lp_list_is_linked(&timer->link);
}

/* Fires what is due, at most count_max timers; the rest go first in the next call. A fired timer is
 * no longer set, and fire may set it (and others) again. */
void lp_wheel_advance(struct lp_wheel *wheel, uint64_t now_ms, uint32_t count_max, lp_timer_fn fire,
                      void *context);

/* Milliseconds until the wheel wants to be advanced, at most limit_ms. */
uint32_t lp_wheel_wait_ms(const struct lp_wheel *wheel, uint64_t now_ms, uint32_t limit_ms);

#endif
