/* hist: a histogram of durations with a fixed error, in fixed memory.
 *
 * Every duration from 1 ns to 100 s falls into a bucket at most 1/128 wider than where it begins,
 * so that any quantile is true to 1 %. Mean, smallest and largest are exact. Recording takes a few
 * instructions and no memory. */
#ifndef LOAD_HIST_H
#define LOAD_HIST_H

#include "base/base.h"

#define HIST_STEPS_BITS 7u              /* buckets to each power of two: 2^7 */
#define HIST_NS_MAX     100000000000ull /* longer ones are counted as this long */
#define HIST_BUCKETS    ((38u - HIST_STEPS_BITS) << HIST_STEPS_BITS)

static_assert(HIST_NS_MAX < 1ull << 37, "the longest duration has a bucket");

/* Zeroed memory is an empty histogram. */
struct hist {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t min_ns; /* 0 while empty */
    uint64_t max_ns; /* not cut at HIST_NS_MAX */
    uint64_t buckets[HIST_BUCKETS];
};

void hist_record(struct hist *hist, uint64_t ns);

/* The duration that share (0..1) of all recorded ones do not exceed; 0 of an empty histogram. */
uint64_t hist_quantile_ns(const struct hist *hist, double share);
double hist_mean_ns(const struct hist *hist);

#endif
