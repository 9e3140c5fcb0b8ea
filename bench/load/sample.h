/* sample: what processes under test cost: CPU time and context switches between two moments, and
 * memory at one. A process stands for itself, all its threads and all its children. */
#ifndef LOAD_SAMPLE_H
#define LOAD_SAMPLE_H

#include "base/base.h"

/* A counter of one process or thread since sample_begin(). */
struct sample_counter {
    int32_t id;
    uint64_t first;
    uint64_t last;
};

struct sample_table {
    struct sample_counter *counters;
    uint32_t count;
    uint32_t room;
};

struct sample_memory {
    uint64_t pss; /* bytes */
    uint64_t rss;
};

/* Begins zeroed, then pids and pids_count are set (kept). */
struct sample_set {
    const int32_t *pids;
    uint32_t pids_count;
    struct sample_table cpu, voluntary, involuntary;
    uint32_t threads; /* at the last look */
    struct sample_memory memory_before, memory;
};

/* From here on it is counted. */
void sample_begin(struct sample_set *set);
/* Looks again. Between begin and end this finds processes that are born or die meanwhile. */
void sample_refresh(struct sample_set *set);
/* The sum of a table's growth. */
uint64_t sample_growth(const struct sample_table *table);
/* Memory of all of them now. */
struct sample_memory sample_memory_now(const struct sample_set *set);
void sample_deinit(struct sample_set *set);

/* False with err set when a process does not exist or may not be looked at. */
bool sample_check(const struct sample_set *set, struct lp_err *err) LP_MUST_USE;

#endif
