/* log: the error log on standard error, a line at a time, from any thread. It never waits: lines
 * that nobody reads are dropped and counted. */
#ifndef LP_BASE_LOG_H
#define LP_BASE_LOG_H

#include "base/macros.h"

enum lp_log_level { LP_LOG_ERROR, LP_LOG_WARNING, LP_LOG_INFO, LP_LOG_DEBUG };

/* Lines above this level are not written. */
void lp_log_set_level(enum lp_log_level level);
/* "limpet: warning: ..." with a newline added; at most 2 KiB a line, longer ones are cut. */
void lp_log(enum lp_log_level level, const char *format, ...) LP_PRINTF(2, 3);

/* Milliseconds and nanoseconds of the monotonic clock. */
uint64_t lp_clock_ms(void);
uint64_t lp_clock_ns(void);

/* A time of which only the low 32 bits were kept, as a whole one: it lies at most 49 days before
 * now_ms, or less than a minute after it. */
static inline uint64_t lp_clock_whole_ms(uint64_t now_ms, uint32_t low_ms)
{
    uint32_t ago_ms = (uint32_t)now_ms - low_ms;
    return ago_ms > UINT32_MAX - 60000 ? now_ms + (low_ms - (uint32_t)now_ms) : now_ms - ago_ms;
}

#endif
