/* Arenas, and the only calls of malloc in limpet. */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define CHUNK_BYTES 16384u
#define ALIGNMENT   16u

struct lp_arena_chunk {
    struct lp_arena_chunk *next;
    size_t used, size;
    _Alignas(ALIGNMENT) char memory[];
};

static void *or_die(void *memory, size_t size)
{
    if (memory == NULL) {
        lp_log(LP_LOG_ERROR, "out of memory: %zu bytes are not to be had", size);
        lp_log_finish(LP_LOG_FINISH_MS);
        exit(1);
    }
    return memory;
}

void *lp_alloc(size_t size)
{
    return or_die(calloc(1, size > 0 ? size : 1), size);
}

void *lp_realloc(void *memory, size_t size)
{
    return or_die(realloc(memory, size > 0 ? size : 1), size);
}

/* A size so large that rounding up would start at 0 again stays one that is not to be had. */
static size_t whole_lines(size_t size)
{
    if (size > SIZE_MAX - LP_CACHE_LINE)
        return SIZE_MAX - LP_CACHE_LINE + 1;
    return (size + LP_CACHE_LINE - 1) / LP_CACHE_LINE * LP_CACHE_LINE;
}

void *lp_alloc_lines(size_t size)
{
    size_t whole = whole_lines(size);
    void *memory = or_die(aligned_alloc(LP_CACHE_LINE, whole), whole);
    memset(memory, 0, whole);
    return memory;
}

void *lp_try_alloc(size_t size)
{
    return malloc(size > 0 ? size : 1);
}

void lp_free(void *memory)
{
    free(memory);
}

void lp_arena_init(struct lp_arena *arena)
{
    *arena = (struct lp_arena){0};
}

void lp_arena_deinit(struct lp_arena *arena)
{
    while (arena->chunks != NULL) {
        struct lp_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    *arena = (struct lp_arena){0};
}

static struct lp_arena_chunk *add_chunk(struct lp_arena *arena, size_t size)
{
    size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
    struct lp_arena_chunk *chunk = lp_alloc(sizeof(*chunk) + room);

    chunk->size = room;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk;
}

void *lp_arena_alloc(struct lp_arena *arena, size_t size)
{
    size_t whole = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct lp_arena_chunk *chunk = arena->chunks;

    if (size > SIZE_MAX / 2) /* its sums would overflow */
        or_die(NULL, size);
    if (chunk == NULL || chunk->size - chunk->used < whole)
        chunk = add_chunk(arena, whole);
    void *memory = chunk->memory + chunk->used;
    chunk->used += whole;
    arena->bytes += whole;
    return memory;
}

char *lp_arena_copy(struct lp_arena *arena, struct lp_slice text)
{
    char *copy = lp_arena_alloc(arena, text.size + 1);

    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    return copy;
}

struct lp_slice lp_arena_slice(struct lp_arena *arena, struct lp_slice text)
{
    return (struct lp_slice){lp_arena_copy(arena, text), text.size};
}
