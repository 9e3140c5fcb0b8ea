/* Buckets are linear within a power of two: the exponent chooses the group, the seven bits behind
 * the highest one the bucket. Below 128 ns each value has its own. */
#include "bench/load/hist.h"

#define STEPS (1u << HIST_STEPS_BITS)

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (uint32_t)ns;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(ns) - HIST_STEPS_BITS;
    return (shift << HIST_STEPS_BITS) + (uint32_t)(ns >> shift);
}

/* The middle of the bucket, which halves the error. */
static uint64_t middle_of(uint32_t bucket)
{
    if (bucket < 2 * STEPS)
        return bucket;
    uint32_t shift = (bucket >> HIST_STEPS_BITS) - 1;
    uint64_t begin = (uint64_t)(bucket - (shift << HIST_STEPS_BITS)) << shift;
    return begin + (1ull << shift) / 2;
}

void hist_record(struct hist *hist, uint64_t ns)
{
    if (hist->count == 0 || ns < hist->min_ns)
        hist->min_ns = ns;
    if (ns > hist->max_ns)
        hist->max_ns = ns;
    hist->count++;
    hist->sum_ns += ns;
    hist->buckets[bucket_of(ns < HIST_NS_MAX ? ns : HIST_NS_MAX)]++;
}

uint64_t hist_quantile_ns(const struct hist *hist, double share)
{
    /* The rank counts from 1: of ten values the ninth is the one that nine tenths do not exceed. */
    double exact = share * (double)hist->count;
    uint64_t rank = (uint64_t)exact, seen = 0;

    if ((double)rank < exact || rank == 0)
        rank++;
    if (rank >= hist->count)
        return hist->max_ns;
    for (uint32_t bucket = 0; bucket < HIST_BUCKETS; bucket++) {
        seen += hist->buckets[bucket];
        if (seen < rank)
            continue;
        uint64_t ns = middle_of(bucket);
        /* The middle may lie outside of what was seen. */
        return ns < hist->min_ns ? hist->min_ns : ns > hist->max_ns ? hist->max_ns : ns;
    }
    return hist->max_ns;
}

double hist_mean_ns(const struct hist *hist)
{
    return hist->count == 0 ? 0 : (double)hist->sum_ns / (double)hist->count;
}
