/* See log_ring.h. Positions only grow; their difference is what lies in the ring. */
#include "lb/ops/log_ring.h"

#include <string.h>

struct log_ring {
    _Alignas(LP_CACHE_LINE) _Atomic uint64_t written;
    _Atomic uint64_t dropped;
    _Alignas(LP_CACHE_LINE) _Atomic uint64_t read;
    char *bytes; /* on its own: pages that no line has touched are never there */
};

struct log_ring *log_ring_create(void)
{
    struct log_ring *ring = lp_alloc_lines(sizeof(*ring));

    ring->bytes = lp_alloc(LOG_RING_BYTES);
    return ring;
}

void log_ring_destroy(struct log_ring *ring)
{
    lp_free(ring->bytes);
    lp_free(ring);
}

bool log_ring_put(struct log_ring *ring, const char *line, size_t size)
{
    uint64_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);
    uint64_t used = written - atomic_load_explicit(&ring->read, memory_order_acquire);
    size_t at = written % LOG_RING_BYTES;
    size_t first = size < LOG_RING_BYTES - at ? size : LOG_RING_BYTES - at;

    if (size > LOG_RING_BYTES - used) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        return false;
    }
    memcpy(ring->bytes + at, line, first);
    memcpy(ring->bytes, line + first, size - first);
    atomic_store_explicit(&ring->written, written + size, memory_order_release);
    /* The reader may have found the ring empty while the line was written: look again behind the
     * store (its fence stands in log_ring_peek()). */
    atomic_thread_fence(memory_order_seq_cst);
    bool was_empty = atomic_load_explicit(&ring->read, memory_order_relaxed) == written;
    return was_empty || (used < LOG_RING_BYTES / 2 && used + size >= LOG_RING_BYTES / 2);
}

struct lp_slice log_ring_peek(struct log_ring *ring)
{
    uint64_t read = atomic_load_explicit(&ring->read, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t used = atomic_load_explicit(&ring->written, memory_order_acquire) - read;
    size_t at = read % LOG_RING_BYTES;

    return (struct lp_slice){ring->bytes + at,
                             used < LOG_RING_BYTES - at ? used : LOG_RING_BYTES - at};
}

void log_ring_skip(struct log_ring *ring, size_t size)
{
    uint64_t read = atomic_load_explicit(&ring->read, memory_order_relaxed);
    atomic_store_explicit(&ring->read, read + size, memory_order_release);
}

uint64_t log_ring_dropped(const struct log_ring *ring)
{
    return atomic_load_explicit(&ring->dropped, memory_order_relaxed);
}
