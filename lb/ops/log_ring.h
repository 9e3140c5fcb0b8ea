/* log_ring: access log lines on their way from one worker to the thread that writes them.
 *
 * A byte ring with one writer and one reader. A full ring drops the line and counts it: a blocked
 * log never makes a client wait. */
#ifndef LP_LB_OPS_LOG_RING_H
#define LP_LB_OPS_LOG_RING_H

#include <stdatomic.h>

#include "base/base.h"

#define LOG_RING_BYTES (1u << 20)
#define LOG_LINE_MAX   4096u

struct log_ring;

struct log_ring *log_ring_create(void);
void log_ring_destroy(struct log_ring *ring);

/* Writer. Copies the line. Answers whether the reader should be woken: the ring was empty, or is
 * half full now. */
bool log_ring_put(struct log_ring *ring, const char *line, size_t size);

/* Reader: the bytes that lie in one piece, and that they are done with. */
struct lp_slice log_ring_peek(struct log_ring *ring);
void log_ring_skip(struct log_ring *ring, size_t size);
uint64_t log_ring_dropped(const struct log_ring *ring);

#endif
