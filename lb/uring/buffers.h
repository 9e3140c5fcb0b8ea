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
    uint32_t free_low;    /* the least free_count since the last trim */
    uint32_t empty_count; /* slabs with no buffer in use */
};

struct buffers {
    struct buffer_group groups[URING_GROUPS];
    size_t bytes_allocated, bytes_published_max, memory_max;
};

void buffers_init(struct buffers *buffers, size_t memory_max);
void buffers_deinit(struct buffers *buffers);

/* A buffer with one reference, or URING_NO_BUFFER. for_kernel ones may always grow up to the
 * published number; others only within memory_max. */
uint32_t buffers_take(struct buffers *buffers, enum uring_group group);
void buffers_ref(struct buffers *buffers, uint32_t buffer);
void buffers_put(struct buffers *buffers, uint32_t buffer);
uint32_t buffers_refs(const struct buffers *buffers, uint32_t buffer);
/* Called now and then: gives back what was not needed since the call before. */
void buffers_trim(struct buffers *buffers);
/* Is there anything that a later trim could give back? */
bool buffers_may_trim(const struct buffers *buffers);
char *buffers_base(const struct buffers *buffers, uint32_t buffer);
/* Buffers that buffers_take() could give now. */
uint32_t buffers_obtainable(const struct buffers *buffers, enum uring_group group);
/* Bytes behind the headroom. */
uint32_t buffers_size(uint32_t buffer);

#endif
