/* A hashed wheel: a timer stands in the list of its tick modulo 512 and is looked at when the
 * wheel passes there; one that is due a round later stays. */
#include "base/wheel.h"

static uint32_t slot_of(uint32_t tick)
{
    return tick % LP_WHEEL_SLOTS;
}

void lp_wheel_init(struct lp_wheel *wheel, uint64_t now_ms)
{
    wheel->now_tick = (uint32_t)(now_ms / LP_WHEEL_TICK_MS);
    wheel->timers_count = 0;
    lp_list_init(&wheel->due);
    for (uint32_t i = 0; i < LP_WHEEL_SLOTS; i++)
        lp_list_init(&wheel->slots[i]);
    for (uint32_t i = 0; i < LP_COUNT_OF(wheel->occupied); i++)
        wheel->occupied[i] = 0;
}

void lp_timer_init(struct lp_timer *timer)
{
    lp_list_init(&timer->link);
    timer->due_tick = 0;
    timer->kind = 0;
}

/* Rounded up, so never early; and never in a slot that this advance has passed already. Ticks are
 * compared by the sign of their difference, so "never" becomes the latest that is not the past. */
static uint32_t tick_for(const struct lp_wheel *wheel, uint64_t due_ms)
{
    uint64_t tick = due_ms / LP_WHEEL_TICK_MS + (due_ms % LP_WHEEL_TICK_MS != 0);

    if (tick <= wheel->now_tick)
        return wheel->now_tick + 1;
    return tick - wheel->now_tick < INT32_MAX ? (uint32_t)tick : wheel->now_tick + INT32_MAX;
}

static void insert(struct lp_wheel *wheel, struct lp_timer *timer, uint32_t tick)
{
    uint32_t slot = slot_of(tick);

    timer->due_tick = tick;
    lp_list_push_back(&wheel->slots[slot], &timer->link);
    wheel->occupied[slot / 64] |= 1ull << slot % 64;
    wheel->timers_count++;
}

void lp_timer_stop(struct lp_wheel *wheel, struct lp_timer *timer)
{
    if (!lp_timer_is_set(timer))
        return;
    lp_list_remove(&timer->link);
    wheel->timers_count--;
    uint32_t slot = slot_of(timer->due_tick);
    if (lp_list_is_empty(&wheel->slots[slot]))
        wheel->occupied[slot / 64] &= ~(1ull << slot % 64);
}

void lp_timer_set(struct lp_wheel *wheel, struct lp_timer *timer, uint64_t due_ms)
{
    uint32_t tick = tick_for(wheel, due_ms);

    if (lp_timer_is_set(timer) && timer->due_tick == tick)
        return;
    lp_timer_stop(wheel, timer);
    insert(wheel, timer, tick);
}

void lp_timer_set_at_latest(struct lp_wheel *wheel, struct lp_timer *timer, uint64_t due_ms)
{
    uint32_t tick = tick_for(wheel, due_ms);

    if (lp_timer_is_set(timer)) {
        if ((int32_t)(timer->due_tick - tick) <= 0)
            return;
        lp_timer_stop(wheel, timer);
    }
    insert(wheel, timer, tick);
}

/* What is due in one slot goes to a list of its own first: fire may set and stop any timer. */
static void pass_slot(struct lp_wheel *wheel, uint32_t slot)
{
    LP_LIST_EACH (link, &wheel->slots[slot]) {
        struct lp_timer *timer = lp_container_of(link, struct lp_timer, link);
        if ((int32_t)(timer->due_tick - wheel->now_tick) <= 0) {
            lp_list_remove(link);
            lp_list_push_back(&wheel->due, link);
        }
    }
    if (lp_list_is_empty(&wheel->slots[slot]))
        wheel->occupied[slot / 64] &= ~(1ull << slot % 64);
}

static void pass(struct lp_wheel *wheel, uint64_t now_ms)
{
    uint32_t target = (uint32_t)(now_ms / LP_WHEEL_TICK_MS);
    uint32_t steps = target - wheel->now_tick;

    if ((int32_t)steps <= 0)
        return;
    /* After a long sleep one round meets every timer. */
    uint32_t first = steps > LP_WHEEL_SLOTS ? target - LP_WHEEL_SLOTS + 1 : wheel->now_tick + 1;
    wheel->now_tick = target;
    for (uint32_t tick = first; (int32_t)(target - tick) >= 0; tick++)
        if ((wheel->occupied[slot_of(tick) / 64] >> slot_of(tick) % 64 & 1) != 0)
            pass_slot(wheel, slot_of(tick));
}

void lp_wheel_advance(struct lp_wheel *wheel, uint64_t now_ms, uint32_t count_max, lp_timer_fn fire,
                      void *context)
{
    pass(wheel, now_ms);
    while (count_max-- > 0 && !lp_list_is_empty(&wheel->due)) {
        struct lp_timer *timer = lp_container_of(wheel->due.next, struct lp_timer, link);
        lp_list_remove(&timer->link);
        wheel->timers_count--;
        fire(timer, context);
    }
}

/* Ticks from now to the next slot that holds a timer, by the bitmap. */
static uint32_t ticks_to_occupied(const struct lp_wheel *wheel)
{
    uint32_t start = slot_of(wheel->now_tick + 1);

    for (uint32_t done = 0; done < LP_WHEEL_SLOTS;) {
        uint32_t slot = slot_of(start + done);
        uint64_t word = wheel->occupied[slot / 64] >> slot % 64;
        if (word != 0)
            return 1 + done + (uint32_t)__builtin_ctzll(word);
        done += 64 - slot % 64;
    }
    return LP_WHEEL_SLOTS;
}

uint32_t lp_wheel_wait_ms(const struct lp_wheel *wheel, uint64_t now_ms, uint32_t limit_ms)
{
    if (wheel->timers_count == 0)
        return limit_ms;
    if (!lp_list_is_empty(&wheel->due))
        return 0;
    uint64_t wake_ms = ((uint64_t)wheel->now_tick + ticks_to_occupied(wheel)) * LP_WHEEL_TICK_MS;
    if (wake_ms <= now_ms)
        return 0;
    return wake_ms - now_ms < limit_ms ? (uint32_t)(wake_ms - now_ms) : limit_ms;
}
