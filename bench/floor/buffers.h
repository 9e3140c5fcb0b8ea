/* buffers: receive buffers of one size, from which the kernel takes one when bytes arrive.
 *
 * Every buffer is published, taken by a receive, or here. */
#ifndef BENCH_FLOOR_BUFFERS_H
#define BENCH_FLOOR_BUFFERS_H

#include <liburing.h>

#include "base/base.h"

struct buffers {
    struct io_uring_buf_ring *ring;
    char *memory;
    uint32_t size, count;
    uint32_t published_count;
    uint32_t free_count;
    uint16_t *free; /* the last one given back is published first: it is in the cache */
};

/* Gives 0 or a negative errno. count is a power of two. */
int buffers_init(struct buffers *buffers, struct io_uring *uring, uint16_t group, uint32_t size,
                 uint32_t count, struct lp_arena *arena);

static inline char *buffers_at(const struct buffers *buffers, uint16_t index)
{
    return buffers->memory + (size_t)index * buffers->size;
}

/* A completion says that the kernel has taken this one. */
static inline uint16_t buffers_take(struct buffers *buffers, uint32_t cqe_flags)
{
    buffers->published_count--;
    return (uint16_t)(cqe_flags >> IORING_CQE_BUFFER_SHIFT);
}

static inline void buffers_put(struct buffers *buffers, uint16_t index)
{
    LP_ASSERT(buffers->free_count < buffers->count);
    buffers->free[buffers->free_count++] = index;
}

void buffers_publish(struct buffers *buffers);

#endif
