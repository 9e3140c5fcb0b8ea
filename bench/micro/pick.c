/* Choosing a server, by each balance, over 1 to 10 000 servers at run time: all there, and with
 * half of them, all but one, and all of them down. Each has a random number of requests. */
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

enum down { NONE_DOWN, HALF_DOWN, ALL_BUT_ONE_DOWN, ALL_DOWN };

static bool is_among(enum down down, uint32_t index, uint64_t random)
{
    switch (down) {
    case NONE_DOWN:
        return false;
    case HALF_DOWN:
        return (random & 1) != 0;
    case ALL_BUT_ONE_DOWN:
        return index > 0;
    case ALL_DOWN:
        return true;
    }
    return false;
}

static void take_health(const struct pool_view *view, enum down down)
{
    uint64_t state = 6;

    for (uint32_t i = 0; i < view->config->servers_count; i++) {
        bool is_down = is_among(down, i, micro_random(&state));
        server_set_health(view->servers[i], is_down ? SERVER_DOWN : SERVER_UP);
        atomic_store(&view->servers[i]->active_count, (uint32_t)(micro_random(&state) % 50));
    }
}

static void measure_balance(struct micro *micro, struct picking *picking, const char *balance,
                            uint32_t count)
{
    struct plan plan = {.pools_count = 1, .servers_count = count, .balance = balance};
    struct micro_work work = {run_pick, .context = picking};

    static const char *const words[] = {"", ", half down", ", all but one down", ", all down"};

    world_init(&picking->world, &plan);
    for (enum down down = NONE_DOWN; down <= ALL_DOWN; down++) {
        if (count == 1 && down != NONE_DOWN)
            break;
        take_health(&picking->world.snapshot->pools[0], down);
        micro_measure(micro, &work, "%s of %u%s", balance, count, words[down]);
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
