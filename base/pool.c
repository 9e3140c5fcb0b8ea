/* Slabs of equal objects. A slot leads to its slab by division; the slab knows each object's
 * generation (0: free), so a stale name finds nothing even when its slab was given back. */
#include "base/pool.h"

#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/poison.h"

/* Objects of any size that is a multiple of 16 fill whole pages then. */
#define SLAB_OBJECTS LP_POOL_SLAB_OBJECTS
#define NO_OBJECT    UINT16_MAX

struct lp_pool_slab {
    struct lp_list link; /* pool->partial, when an object is free */
    uint32_t index;
    uint16_t used_count, first_free;
    /* Of each object: 0 when it is free, else its generation; and the next free one. */
    uint32_t generation[SLAB_OBJECTS];
    uint16_t next_free[SLAB_OBJECTS];
    char *objects;
};

void lp_pool_init(struct lp_pool *pool, uint32_t object_size)
{
    *pool = (struct lp_pool){.object_size = (object_size + 15u) & ~15u};
    lp_list_init(&pool->partial);
}

static size_t slab_bytes(const struct lp_pool *pool)
{
    return (size_t)pool->object_size * SLAB_OBJECTS;
}

static void free_slab(struct lp_pool *pool, struct lp_pool_slab *slab)
{
    lp_list_remove(&slab->link);
    pool->slabs[slab->index] = NULL;
    LP_UNPOISON(slab->objects, slab_bytes(pool));
    munmap(slab->objects, slab_bytes(pool));
    lp_free(slab);
}

void lp_pool_deinit(struct lp_pool *pool)
{
    LP_ASSERT(pool->used_count == 0);
    for (uint32_t i = 0; i < pool->slabs_count; i++)
        if (pool->slabs[i] != NULL)
            free_slab(pool, pool->slabs[i]);
    lp_free(pool->slabs);
    *pool = (struct lp_pool){0};
}

/* Not lp_realloc(): here out of memory is an outcome. */
static bool grow_directory(struct lp_pool *pool)
{
    uint32_t room = pool->slabs_room == 0 ? 16 : pool->slabs_room * 2;
    struct lp_pool_slab **slabs = lp_try_alloc(room * sizeof(struct lp_pool_slab *));

    if (slabs == NULL)
        return false;
    if (pool->slabs_count > 0)
        memcpy(slabs, pool->slabs, pool->slabs_count * sizeof(struct lp_pool_slab *));
    lp_free(pool->slabs);
    pool->slabs = slabs;
    pool->slabs_room = room;
    return true;
}

/* A place in the directory; one that was given back first, so that slots stay small. */
static bool find_place(struct lp_pool *pool, uint32_t *place)
{
    for (; pool->place_hint < pool->slabs_count; pool->place_hint++)
        if (pool->slabs[pool->place_hint] == NULL) {
            *place = pool->place_hint;
            return true;
        }
    if (pool->slabs_count == pool->slabs_room && !grow_directory(pool))
        return false;
    pool->slabs[pool->slabs_count] = NULL;
    *place = pool->slabs_count++;
    return true;
}

static struct lp_pool_slab *add_slab(struct lp_pool *pool)
{
    size_t bytes = slab_bytes(pool);
    struct lp_pool_slab *slab = lp_try_alloc(sizeof(*slab));
    uint32_t place;

    if (slab == NULL || !find_place(pool, &place)) {
        lp_free(slab);
        return NULL;
    }
    /* Pages of its own, so that they really go back. */
    char *objects = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (objects == MAP_FAILED) {
        lp_free(slab);
        return NULL;
    }
    *slab = (struct lp_pool_slab){.objects = objects, .index = place};
    lp_list_init(&slab->link);
    for (uint32_t i = 0; i < SLAB_OBJECTS; i++)
        slab->next_free[i] = (uint16_t)(i + 1 < SLAB_OBJECTS ? i + 1 : NO_OBJECT);
    LP_POISON(objects, bytes);
    pool->slabs[slab->index] = slab;
    pool->empty_slabs_count++;
    lp_list_push_front(&pool->partial, &slab->link);
    return slab;
}

static char *object_at(const struct lp_pool *pool, const struct lp_pool_slab *slab, uint32_t at)
{
    return slab->objects + (size_t)pool->object_size * at;
}

static uint32_t next_generation(struct lp_pool *pool)
{
    pool->generation = (pool->generation + 1) & ((1u << LP_POOL_GENERATION_BITS) - 1);
    if (pool->generation == 0)
        pool->generation = 1;
    return pool->generation;
}

void *lp_pool_get(struct lp_pool *pool, struct lp_pool_name *name)
{
    struct lp_pool_slab *slab = NULL;

    if (!lp_list_is_empty(&pool->partial))
        slab = lp_container_of(pool->partial.next, struct lp_pool_slab, link);
    else
        slab = add_slab(pool);
    if (slab == NULL)
        return NULL;
    uint32_t at = slab->first_free;
    slab->first_free = slab->next_free[at];
    slab->generation[at] = next_generation(pool);
    if (slab->used_count++ == 0)
        pool->empty_slabs_count--;
    if (slab->first_free == NO_OBJECT)
        lp_list_remove(&slab->link);
    pool->used_count++;
    *name = (struct lp_pool_name){.slot = slab->index * SLAB_OBJECTS + at,
                                  .generation = slab->generation[at]};
    char *object = object_at(pool, slab, at);
    LP_UNPOISON(object, pool->object_size);
    memset(object, 0, pool->object_size);
    return object;
}

/* One empty slab is kept, so that a single connection that comes and goes costs no allocation. */
static void keep_one_empty(struct lp_pool *pool, struct lp_pool_slab *slab)
{
    if (pool->empty_slabs_count == 0) {
        pool->empty_slabs_count = 1;
        return;
    }
    if (slab->index < pool->place_hint)
        pool->place_hint = slab->index;
    free_slab(pool, slab);
}

void lp_pool_put(struct lp_pool *pool, uint32_t slot)
{
    struct lp_pool_slab *slab = pool->slabs[slot / SLAB_OBJECTS];
    uint32_t at = slot % SLAB_OBJECTS;

    LP_ASSERT(slab != NULL);
    LP_ASSERT(slab->generation[at] != 0);
    LP_POISON(object_at(pool, slab, at), pool->object_size);
    slab->generation[at] = 0;
    if (slab->first_free == NO_OBJECT)
        lp_list_push_front(&pool->partial, &slab->link);
    slab->next_free[at] = slab->first_free;
    slab->first_free = (uint16_t)at;
    pool->used_count--;
    if (--slab->used_count == 0)
        keep_one_empty(pool, slab);
}

void *lp_pool_find(const struct lp_pool *pool, struct lp_pool_name name)
{
    uint32_t index = name.slot / SLAB_OBJECTS, at = name.slot % SLAB_OBJECTS;

    if (index >= pool->slabs_count || pool->slabs[index] == NULL || name.generation == 0 ||
        pool->slabs[index]->generation[at] != name.generation)
        return NULL;
    return object_at(pool, pool->slabs[index], at);
}

void lp_pool_each(const struct lp_pool *pool, void (*visit)(void *object, void *context),
                  void *context)
{
    uint32_t place = 0;

    while (lp_pool_each_step(pool, &place, visit, context))
        continue;
}

bool lp_pool_each_step(const struct lp_pool *pool, uint32_t *place,
                       void (*visit)(void *object, void *context), void *context)
{
    const struct lp_pool_slab *slab = *place < pool->slabs_count ? pool->slabs[*place] : NULL;

    for (uint32_t at = 0; slab != NULL && at < SLAB_OBJECTS; at++)
        if (slab->generation[at] != 0)
            visit(object_at(pool, slab, at), context);
    if (++*place < pool->slabs_count)
        return true;
    *place = 0;
    return false;
}
