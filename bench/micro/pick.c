/* Choosing a server, by each balance, over 1 to 10 000 servers at run time: all there, and with
 * half of them down. Each has a random number of requests. */
#include "bench/micro/micro.h"
#include "bench/micro/world.h"

#define KEYS_COUNT 256u

struct picking {
    struct world world;
    uint64_t keys[KEYS_COUNT];
};

static uint64_t run_pick(void *context, uint64_t count)
{
    struct picking *picking = context;
    const struct pool_view *view = &picking->world.snapshot->pools[0];
    uint64_t begin = micro_ticks();

    for (uint64_t i = 0; i < count; i++) {
        struct pick pick = {.key_hash = picking->keys[i % KEYS_COUNT]};
        micro_keep_pointer(pool_pick(view, &pick));
    }
    return micro_ticks() - begin;
}

static void take_health(const struct pool_view *view, bool half_down)
{
    uint64_t state = 6;

    for (uint32_t i = 0; i < view->config->servers_count; i++) {
        bool is_down = half_down && (micro_random(&state) & 1) != 0;
        atomic_store(&view->servers[i]->health, (uint8_t)(is_down ? SERVER_DOWN : SERVER_UP));
        atomic_store(&view->servers[i]->active_count, (uint32_t)(micro_random(&state) % 50));
    }
}

static void measure_balance(struct micro *micro, struct picking *picking, const char *balance,
                            uint32_t count)
{
    struct plan plan = {.pools_count = 1, .servers_count = count, .balance = balance};
    struct micro_work work = {run_pick, .context = picking};

    world_init(&picking->world, &plan);
    take_health(&picking->world.snapshot->pools[0], false);
    micro_measure(micro, &work, "%s of %u", balance, count);
    if (count > 1) {
        take_health(&picking->world.snapshot->pools[0], true);
        micro_measure(micro, &work, "%s of %u, half down", balance, count);
    }
    world_deinit(&picking->world);
}

void micro_pick(struct micro *micro)
{
    static const char *const balances[] = {"hash", "least_connections", "round_robin"};
    static const uint32_t counts[] = {1, 10, 100, 1000, 10000};
    struct picking *picking = lp_alloc(sizeof(*picking));
    uint64_t state = 7;

    for (uint32_t i = 0; i < KEYS_COUNT; i++)
        picking->keys[i] = micro_random(&state);
    for (size_t b = 0; b < LP_COUNT_OF(balances); b++)
        for (size_t i = 0; i < LP_COUNT_OF(counts); i++)
            measure_balance(micro, picking, balances[b], counts[i]);
    lp_free(picking);
}
