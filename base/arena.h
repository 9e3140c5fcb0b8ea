/* arena: memory that is given piece by piece and dies as a whole. Not for the data path.
 *
 * An arena belongs to one thread at a time. Allocation does not fail: out of memory while setting
 * up ends the process with a sentence. */
#ifndef LP_BASE_ARENA_H
#define LP_BASE_ARENA_H

#include "base/slice.h"

struct lp_arena_chunk;

struct lp_arena {
    struct lp_arena_chunk *chunks; /* newest first */
    size_t bytes;                  /* given so far */
};

void lp_arena_init(struct lp_arena *arena);
void lp_arena_deinit(struct lp_arena *arena); /* frees every piece */

/* Gives size zeroed bytes, aligned for any type. */
void *lp_arena_alloc(struct lp_arena *arena, size_t size);
/* Gives a NUL-terminated copy of text. */
char *lp_arena_copy(struct lp_arena *arena, struct lp_slice text);
/* The same as a slice. */
struct lp_slice lp_arena_slice(struct lp_arena *arena, struct lp_slice text);

#define LP_ARENA_NEW(arena, type)          ((type *)lp_arena_alloc((arena), sizeof(type)))
#define LP_ARENA_ARRAY(arena, type, count) ((type *)lp_arena_alloc((arena), sizeof(type) * (count)))

/* Plain heap memory for setting up: zeroed; never NULL (out of memory ends the process). */
void *lp_alloc(size_t size);
void *lp_realloc(void *memory, size_t size);
/* Like lp_alloc(), beginning at a cache line. */
void *lp_alloc_lines(size_t size);
/* On the data path out of memory is an outcome: NULL, and not zeroed. */
void *lp_try_alloc(size_t size);
void lp_free(void *memory);

#endif
