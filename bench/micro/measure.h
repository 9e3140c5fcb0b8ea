/* measure: the settings and the clocks of one run, and how a case is measured. */
#ifndef MICRO_MEASURE_H
#define MICRO_MEASURE_H

#include "bench/micro/micro.h"

#define MICRO_ROUNDS_MAX 64u

struct micro {
    const char *subject; /* whose cases come now */
    uint32_t rounds_count;
    bool is_quick;
    bool is_json;
    bool has_head; /* of the table */
    double tsc_ghz;
    double core_ghz;
};

/* Measures both clocks. Takes a fifth of a second. */
void micro_init(struct micro *micro, bool is_quick, bool is_json);

#endif
