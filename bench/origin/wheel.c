/* A hashed wheel like base/wheel.h, with finer ticks: an event's latency is counted from the time
 * written in it, but a delay of 5 ms must not become one of 100. */
#include "bench/origin/wheel.h"

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct wheel){.now_ms = now_ms};
    for (uint32_t i = 0; i < WHEEL_SLOTS; i++)
        lp_list_init(&wheel->slots[i]);
}

void timer_init(struct timer *timer)
{
    lp_list_init(&timer->link);
}

void wheel_set(struct wheel *wheel, struct timer *timer, uint64_t due_ms)
{
    wheel_stop(wheel, timer);
    timer->due_ms = due_ms > wheel->now_ms ? due_ms : wheel->now_ms + 1;
    uint32_t slot = (uint32_t)(timer->due_ms % WHEEL_SLOTS);
    wheel->occupied[slot / 64] |= 1ull << (slot % 64);
    lp_list_push_back(&wheel->slots[slot], &timer->link);
    wheel->timers_count++;
}

void wheel_stop(struct wheel *wheel, struct timer *timer)
{
    if (!lp_list_is_linked(&timer->link))
        return;
    lp_list_remove(&timer->link);
    wheel->timers_count--;
}

static void fire_slot(struct wheel *wheel, uint32_t slot, timer_fn fire, void *context)
{
    LP_LIST_EACH (node, &wheel->slots[slot]) {
        struct timer *timer = lp_container_of(node, struct timer, link);
        if (timer->due_ms > wheel->now_ms)
            continue;
        wheel_stop(wheel, timer);
        fire(timer, context);
    }
    if (lp_list_is_empty(&wheel->slots[slot]))
        wheel->occupied[slot / 64] &= ~(1ull << (slot % 64));
}

void wheel_advance(struct wheel *wheel, uint64_t now_ms, timer_fn fire, void *context)
{
    uint64_t passed = now_ms - wheel->now_ms;
    uint64_t first = wheel->now_ms + 1;

    if (now_ms <= wheel->now_ms)
        return;
    if (passed > WHEEL_SLOTS)
        passed = WHEEL_SLOTS;
    wheel->now_ms = now_ms;
    for (uint64_t i = 0; i < passed && wheel->timers_count > 0; i++) {
        uint32_t slot = (uint32_t)((first + i) % WHEEL_SLOTS);
        if (wheel->occupied[slot / 64] & 1ull << (slot % 64))
            fire_slot(wheel, slot, fire, context);
    }
}

int wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms)
{
    if (wheel->timers_count == 0)
        return -1;
    for (uint32_t i = 1; i <= WHEEL_SLOTS;) {
        uint32_t slot = (uint32_t)((wheel->now_ms + i) % WHEEL_SLOTS);
        uint64_t word = wheel->occupied[slot / 64] >> (slot % 64);
        if (word == 0) {
            i += 64 - slot % 64;
            continue;
        }
        uint64_t due_ms = wheel->now_ms + i + (uint64_t)__builtin_ctzll(word);
        return due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
    }
    return (int)WHEEL_SLOTS;
}
