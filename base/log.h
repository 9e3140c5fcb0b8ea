/* log: the error log on standard error, a line at a time, from any thread. Once it has started it
 * never waits: lines that nobody reads are dropped, counted, and told where they are missing. */
#ifndef LP_BASE_LOG_H
#define LP_BASE_LOG_H

#include "base/macros.h"
#include "base/sink.h"

enum lp_log_level { LP_LOG_ERROR, LP_LOG_WARNING, LP_LOG_INFO, LP_LOG_DEBUG };

#define LP_LOG_FINISH_MS 1000u /* for the last lines: nobody waits longer for a process to end */

/* From here on a thread of its own writes the lines. Before anybody is served. */
bool lp_log_start(struct lp_err *err) LP_MUST_USE;
/* The last lines: waits for their reader, but not longer than wait_ms. Lines that come later are
 * thrown away. Without a start it does nothing. */
void lp_log_finish(uint32_t wait_ms);
/* What writes to standard error, for others who write to the same file. */
struct lp_sink *lp_log_sink(void);

/* Lines above this level are not written. */
void lp_log_set_level(enum lp_log_level level);
/* "limpet: warning: ..." with a newline added; at most 2 KiB a line, longer ones are cut. False
 * when the line was dropped. */
bool lp_log(enum lp_log_level level, const char *format, ...) LP_PRINTF(2, 3);
/* Lines as they are, whatever the level. */
void lp_log_text(const char *text);

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
