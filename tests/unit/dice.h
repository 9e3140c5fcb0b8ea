/* dice: numbers that look random and are the same in every run, so that a finding comes again. */
#ifndef LP_TESTS_UNIT_DICE_H
#define LP_TESTS_UNIT_DICE_H

#include <stdint.h>

struct dice {
    uint64_t state; /* begin with any number */
};

/* SplitMix64: every 64-bit number once, in an order that looks like none. */
static inline uint64_t dice_roll(struct dice *dice)
{
    uint64_t x = dice->state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* 0 .. count - 1. */
static inline uint32_t dice_below(struct dice *dice, uint32_t count)
{
    return (uint32_t)((dice_roll(dice) >> 32) * count >> 32);
}

#endif
