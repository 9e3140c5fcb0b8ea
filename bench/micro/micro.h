/* micro: times pure code of limpet, one case at a time.
 *
 * A subject is one file and one function, which prepares what it measures and hands each case to
 * micro_measure(). A case is a function that does its work count times and says how long that took;
 * measure.c decides how often, and what is said of it. */
#ifndef MICRO_MICRO_H
#define MICRO_MICRO_H

#include <x86intrin.h>

#include "base/base.h"

struct micro;

/* Does the work count times. Gives the ticks that it took, so that what prepares one turn for the
 * next may stay out of them. */
typedef uint64_t (*micro_fn)(void *context, uint64_t count);

struct micro_work {
    micro_fn run;
    void *context;
    uint64_t ops;   /* of one turn, when it has several: results are for one; 0 is 1 */
    uint64_t bytes; /* read by one turn; 0: speed per byte is not the question      */
    uint64_t memory, memory_peak; /* said beside the times; 0: nothing to say        */
};

/* Warms up, measures all rounds and prints. The name is a printf format. Borrows everything. */
void micro_measure(struct micro *micro, const struct micro_work *work, const char *name, ...)
    LP_PRINTF(3, 4);

/* The time stamp counter: it runs at one rate whatever the core's clock does. */
static inline uint64_t micro_ticks(void)
{
    uint64_t ticks;

    _mm_lfence(); /* what was measured has ended, and what follows has not begun */
    ticks = __rdtsc();
    _mm_lfence();
    return ticks;
}

/* The compiler must have this value, and may not assume that memory stayed as it was. */
static inline void micro_keep(uint64_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

static inline void micro_keep_pointer(const void *pointer)
{
    __asm__ volatile("" : : "r"(pointer) : "memory");
}

/* Numbers without a pattern, the same in every run (SplitMix64). */
static inline uint64_t micro_random(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

/* Ends the program with status 1: what a subject prepared is not what it believes. */
void micro_fail(const char *what) __attribute__((noreturn));
#define MICRO_REQUIRE(condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            micro_fail(__FILE__ ": " #condition);                                                  \
    } while (0)

/* The subjects. */
void micro_reference(struct micro *micro);
void micro_parse(struct micro *micro);
void micro_meaning(struct micro *micro);
void micro_edit(struct micro *micro);
void micro_exchange(struct micro *micro);
void micro_hash(struct micro *micro);
void micro_frames(struct micro *micro);
void micro_timers(struct micro *micro);
void micro_yaml(struct micro *micro);
void micro_routes(struct micro *micro);
void micro_pick(struct micro *micro);
void micro_slots(struct micro *micro);
void micro_body(struct micro *micro);

#endif
