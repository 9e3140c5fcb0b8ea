#include "bench/floor/buffers.h"

int buffers_init(struct buffers *buffers, struct io_uring *uring, uint16_t group, uint32_t size,
                 uint32_t count, struct lp_arena *arena)
{
    int status;
    *buffers = (struct buffers){.size = size, .count = count};
    buffers->ring = io_uring_setup_buf_ring(uring, count, group, 0, &status);
    if (buffers->ring == NULL)
        return status;
    buffers->memory = lp_arena_alloc(arena, (size_t)size * count);
    buffers->free = LP_ARENA_ARRAY(arena, uint16_t, count);
    for (uint32_t i = 0; i < count; i++)
        buffers_put(buffers, (uint16_t)i);
    buffers_publish(buffers);
    return 0;
}

void buffers_publish(struct buffers *buffers)
{
    int added = 0;
    for (; buffers->free_count > 0; added++) {
        uint16_t index = buffers->free[--buffers->free_count];
        io_uring_buf_ring_add(buffers->ring, buffers_at(buffers, index), buffers->size, index,
                              io_uring_buf_ring_mask(buffers->count), added);
    }
    if (added == 0)
        return;
    io_uring_buf_ring_advance(buffers->ring, added);
    buffers->published_count += (uint32_t)added;
}
