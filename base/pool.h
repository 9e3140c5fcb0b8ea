/* pool: objects of one size in slabs, each named by slot and generation.
 *
 * A name that is older than the object in its slot finds nothing, so a late kernel completion can
 * never reach a stranger. Slabs that become empty are given back. One thread only. Free objects
 * are poisoned under the address sanitizer. */
#ifndef LP_BASE_POOL_H
#define LP_BASE_POOL_H

#include "base/list.h"

#define LP_POOL_GENERATION_BITS 24u
#define LP_POOL_SLAB_OBJECTS    256u

struct lp_pool_slab;

struct lp_pool {
    uint32_t object_size;
    uint32_t generation; /* of the object given last */
    uint32_t slabs_count, slabs_room;
    struct lp_pool_slab **slabs; /* NULL where given back */
    struct lp_list partial;      /* slabs that have a free object */
    uint32_t used_count, empty_slabs_count;
    uint32_t place_hint; /* no directory entry before it is free */
};

struct lp_pool_name {
    uint32_t slot;
    uint32_t generation; /* below 1 << LP_POOL_GENERATION_BITS, never 0 */
};

void lp_pool_init(struct lp_pool *pool, uint32_t object_size);
/* Every object must be back. */
void lp_pool_deinit(struct lp_pool *pool);

/* Gives a zeroed object, aligned to a cache line when its size is a multiple of one, or NULL when
 * memory is out. */
void *lp_pool_get(struct lp_pool *pool, struct lp_pool_name *name);
void lp_pool_put(struct lp_pool *pool, uint32_t slot);

/* The object of that name, or NULL when it is gone. */
void *lp_pool_find(const struct lp_pool *pool, struct lp_pool_name name);

/* Calls visit for each object in use; visit must not get or put. */
void lp_pool_each(const struct lp_pool *pool, void (*visit)(void *object, void *context),
                  void *context);
/* The same in steps of one slab: begins at *place (0 at first) and moves it on. False: all places
 * were visited, and *place is 0 again. */
bool lp_pool_each_step(const struct lp_pool *pool, uint32_t *place,
                       void (*visit)(void *object, void *context), void *context);

#endif
