/* memory: where wolfSSL's blocks come from. A thread that serves sessions has a heap of its own, so
 * that serving them calls no malloc and takes no lock; a block may be put back by any thread.
 *
 * Blocks lie in slabs of 256 KiB, each for one size, and have no header of their own: an idle
 * session consists of a dozen mostly tiny ones. A slab that becomes empty goes back to the system,
 * but one per size and heap is kept for a while, so that sessions that come and go cost no system
 * call. Free blocks are poisoned under the address sanitizer. */
#ifndef LP_TLS_MEMORY_H
#define LP_TLS_MEMORY_H

#include "base/base.h"

/* Makes wolfSSL use the functions below. Once in the process, before wolfSSL has taken memory. */
void tls_memory_install(void);

/* The calling thread gets a heap, and lets go of it. Its blocks outlive it: with the last one the
 * heap is freed. Threads that have not begun share one heap, under a lock. What others put back
 * into a heap is usable, and may go back to the system, from its thread's next call on. */
void tls_memory_thread_begin(void);
void tls_memory_thread_end(void);

/* Now and then: gives the calling thread's empty slabs back that were not needed since the call
 * before. Is there anything that a later call could give back? */
bool tls_memory_trim(void);

/* As malloc(), free() and realloc() are: aligned to 16, NULL when memory is out. */
void *tls_memory_get(size_t size);
void tls_memory_put(void *memory);
void *tls_memory_resize(void *memory, size_t size);

/* What the calling thread's heap holds now; blocks above the largest size are in no heap. */
struct tls_memory_use {
    uint64_t blocks_count, slabs_count, slab_bytes;
    uint64_t maps_count; /* slabs taken from the system ever */
};
void tls_memory_look(struct tls_memory_use *out);

#endif
