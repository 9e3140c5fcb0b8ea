/* buffers: the receive buffers of one uring, in three sizes.
 *
 * Few buffers are published to the kernel, and refilled with those that came back last, so that the
 * ones in use stay hot in the cache (a published ring is a FIFO: with many of them every receive
 * would hit the coldest). Slabs that nobody needed for a while are given back. */
#ifndef LP_LB_URING_BUFFERS_H
#define LP_LB_URING_BUFFERS_H

#include "base/base.h"
#include "lb/uring/uring.h"

struct buffer_slab;

struct buffer_group {
    uint32_t bytes;      /* behind the headroom */
    uint32_t slab_count; /* buffers a slab holds */
    uint32_t slabs_count, slabs_room;
    struct buffer_slab **slabs; /* NULL where given back */
    uint32_t lowest;            /* no slab below it has a free buffer */
    uint32_t free_count, total_count, published_count;
    uint32_t in_kernel_count; /* of published_count: those that wait in its ring now */
    uint32_t free_low;        /* the least free_count since the last trim */
    uint32_t empty_count;     /* slabs with no buffer in use */
};

struct buffers {
    struct buffer_group groups[URING_GROUPS];
    size_t bytes_allocated, bytes_published_max, memory_max;
    size_t bytes_used, bytes_published; /* taken; and of those, waiting in the kernel's rings */
};

void buffers_init(struct buffers *buffers, size_t memory_max);
void buffers_deinit(struct buffers *buffers);

/* A buffer with one reference, or URING_NO_BUFFER: tiny and small ones up to the published number
 * always, beyond it within memory_max; large ones as long as half of memory_max is not held. */
uint32_t buffers_take(struct buffers *buffers, enum uring_group group);
/* The same without regard to memory_max. */
uint32_t buffers_take_anyway(struct buffers *buffers, enum uring_group group);
/* It waits in the kernel's ring from now on; and it came back from there. */
void buffers_publish(struct buffers *buffers, uint32_t buffer);
void buffers_claim(struct buffers *buffers, uint32_t buffer);
void buffers_ref(struct buffers *buffers, uint32_t buffer);
void buffers_put(struct buffers *buffers, uint32_t buffer);
uint32_t buffers_refs(const struct buffers *buffers, uint32_t buffer);
/* Called now and then: gives back what was not needed since the call before. */
void buffers_trim(struct buffers *buffers);
/* Is there anything that a later trim could give back? */
bool buffers_may_trim(const struct buffers *buffers);
char *buffers_base(const struct buffers *buffers, uint32_t buffer);
/* Bytes of buffers that are neither free nor published: somebody's bytes lie in them. */
static inline size_t buffers_held(const struct buffers *buffers)
{
    return buffers->bytes_used - buffers->bytes_published;
}
/* Buffers that buffers_take() could give now. */
uint32_t buffers_obtainable(const struct buffers *buffers, enum uring_group group);
/* Bytes behind the headroom. */
uint32_t buffers_size(uint32_t buffer);

#endif
