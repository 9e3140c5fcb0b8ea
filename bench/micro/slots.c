/* base/pool: objects that come and go at once, and at random among many. */
#include "bench/micro/micro.h"

#define OBJECTS_COUNT 10000u
#define CHOICES       4096u /* a power of two */

struct slotting {
    struct lp_pool pool;
    struct lp_pool_name names[OBJECTS_COUNT];
    uint32_t which[CHOICES];
};

static uint64_t run_get_put(void *context, uint64_t count)
{
    struct slotting *slotting = context;
    struct lp_pool_name name;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        micro_keep_pointer(lp_pool_get(&slotting->pool, &name));
        lp_pool_put(&slotting->pool, name.slot);
    }
    return micro_ticks() - begin;
}

/* A random one of many goes and another comes. */
static uint64_t run_replace(void *context, uint64_t count)
{
    struct slotting *slotting = context;
    uint64_t begin = micro_ticks();

    for (uint64_t i = 0; i < count; i++) {
        struct lp_pool_name *name = &slotting->names[slotting->which[i % CHOICES]];
        lp_pool_put(&slotting->pool, name->slot);
        micro_keep_pointer(lp_pool_get(&slotting->pool, name));
    }
    return micro_ticks() - begin;
}

static uint64_t run_find(void *context, uint64_t count)
{
    struct slotting *slotting = context;
    uint64_t begin = micro_ticks();

    for (uint64_t i = 0; i < count; i++)
        micro_keep_pointer(
            lp_pool_find(&slotting->pool, slotting->names[slotting->which[i % CHOICES]]));
    return micro_ticks() - begin;
}

static void visit(void *object, void *context)
{
    (void)context;
    micro_keep_pointer(object);
}

static uint64_t run_each(void *context, uint64_t count)
{
    struct slotting *slotting = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        lp_pool_each(&slotting->pool, visit, NULL);
    return micro_ticks() - begin;
}

/* All objects come and go: slabs are made and given back. */
static uint64_t run_fill(void *context, uint64_t count)
{
    struct slotting *slotting = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        for (uint32_t i = 0; i < OBJECTS_COUNT; i++)
            micro_keep_pointer(lp_pool_get(&slotting->pool, &slotting->names[i]));
        for (uint32_t i = 0; i < OBJECTS_COUNT; i++)
            lp_pool_put(&slotting->pool, slotting->names[i].slot);
    }
    return micro_ticks() - begin;
}

static void measure_size(struct micro *micro, struct slotting *slotting, uint32_t size)
{
    struct micro_work work = {run_get_put, .context = slotting};

    lp_pool_init(&slotting->pool, size);
    micro_measure(micro, &work, "get and put, %u B", size);
    work = (struct micro_work){run_fill, .context = slotting, .ops = OBJECTS_COUNT};
    micro_measure(micro, &work, "10 000 come, then go, %u B", size);
    for (uint32_t i = 0; i < OBJECTS_COUNT; i++)
        MICRO_REQUIRE(lp_pool_get(&slotting->pool, &slotting->names[i]) != NULL);
    work = (struct micro_work){run_replace, .context = slotting};
    micro_measure(micro, &work, "put one of 10 000 and get, %u B", size);
    work.run = run_find;
    micro_measure(micro, &work, "find one of 10 000, %u B", size);
    work = (struct micro_work){run_each, .context = slotting, .ops = OBJECTS_COUNT};
    micro_measure(micro, &work, "visit each of 10 000, %u B", size);
    for (uint32_t i = 0; i < OBJECTS_COUNT; i++)
        lp_pool_put(&slotting->pool, slotting->names[i].slot);
    lp_pool_deinit(&slotting->pool);
}

void micro_slots(struct micro *micro)
{
    static const uint32_t sizes[] = {64, 256, 1024};
    struct slotting *slotting = lp_alloc(sizeof(*slotting));
    uint64_t state = 8;

    for (uint32_t i = 0; i < CHOICES; i++)
        slotting->which[i] = (uint32_t)(micro_random(&state) % OBJECTS_COUNT);
    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++)
        measure_size(micro, slotting, sizes[i]);
    lp_free(slotting);
}
