/* wheel: timers of one millisecond, for events and delays. One thread only. */
#ifndef BENCH_ORIGIN_WHEEL_H
#define BENCH_ORIGIN_WHEEL_H

#include "base/list.h"

#define WHEEL_SLOTS 1024u /* one millisecond each; a later timer is passed by until its round */

struct timer {
    struct lp_list link;
    uint64_t due_ms;
};

struct wheel {
    uint64_t now_ms; /* everything up to here has fired */
    uint32_t timers_count;
    uint64_t occupied[WHEEL_SLOTS / 64]; /* slots that may hold a timer */
    struct lp_list slots[WHEEL_SLOTS];
};

typedef void (*timer_fn)(struct timer *timer, void *context);

void wheel_init(struct wheel *wheel, uint64_t now_ms);
void timer_init(struct timer *timer);
/* Sets or moves; a time that has passed already means the next millisecond. */
void wheel_set(struct wheel *wheel, struct timer *timer, uint64_t due_ms);
/* Harmless for a timer that is not set. */
void wheel_stop(struct wheel *wheel, struct timer *timer);
/* Fires what is due; fire may set and stop the fired timer, no other. */
void wheel_advance(struct wheel *wheel, uint64_t now_ms, timer_fn fire, void *context);
/* For epoll_wait(): milliseconds until something may be due; -1 without timers. */
int wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms);

#endif
