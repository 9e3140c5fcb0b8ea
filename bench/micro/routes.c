/* Finding a request's route. Every host here is as long as the others and begins alike, as those of
 * one company do; requests ask for all routes evenly, or for the last one. */
#include "bench/micro/micro.h"
#include "bench/micro/world.h"

#define REQUESTS_COUNT 1024u

struct routing {
    struct world world;
    struct lp_slice hosts[REQUESTS_COUNT], paths[REQUESTS_COUNT];
};

static uint64_t run_route(void *context, uint64_t count)
{
    const struct routing *routing = context;
    const struct snap_listener *listener = &routing->world.snapshot->listeners[0];
    uint64_t begin = micro_ticks();

    for (uint64_t i = 0; i < count; i++)
        micro_keep_pointer(snapshot_route(listener, routing->hosts[i % REQUESTS_COUNT],
                                          routing->paths[i % REQUESTS_COUNT], false));
    return micro_ticks() - begin;
}

/* Requests for routes numbered from..to - 1; what no route has goes to the last one. */
static void take_requests(struct routing *routing, enum routes_by by, uint32_t from, uint32_t to,
                          struct lp_arena *arena)
{
    uint64_t state = 5;

    for (uint32_t i = 0; i < REQUESTS_COUNT; i++) {
        uint32_t number = from + (uint32_t)(micro_random(&state) % (to - from));
        char host[ROUTE_TEXT_MAX], path[ROUTE_TEXT_MAX];
        size_t host_size = route_request_host(host, by, number);
        size_t path_size = route_request_path(path, by, number);
        routing->hosts[i] = lp_arena_slice(arena, (struct lp_slice){host, host_size});
        routing->paths[i] = lp_arena_slice(arena, (struct lp_slice){path, path_size});
    }
}

static void measure_routes(struct micro *micro, struct routing *routing, uint32_t count,
                           enum routes_by by)
{
    static const char *const words[ROUTES_BY_COUNT] = {
        [ROUTES_BY_HOST] = "host",
        [ROUTES_BY_WILDCARD] = "*.host",
        [ROUTES_BY_SEGMENT] = "first segment",
        [ROUTES_BY_PATH] = "second segment",
    };
    struct plan plan = {
        .pools_count = 1, .servers_count = 1, .routes_count = count, .routes_by = by};
    struct micro_work work = {run_route, .context = routing};
    struct lp_arena arena;

    lp_arena_init(&arena);
    world_init(&routing->world, &plan);
    take_requests(routing, by, 0, count, &arena);
    micro_measure(micro, &work, "%u by %s, evenly", count, words[by]);
    take_requests(routing, by, count, count + 1, &arena);
    micro_measure(micro, &work, "%u by %s, none of them", count, words[by]);
    world_deinit(&routing->world);
    lp_arena_deinit(&arena);
}

void micro_routes(struct micro *micro)
{
    static const uint32_t counts[] = {1, 10, 100, 1000};
    struct routing *routing = lp_alloc(sizeof(*routing));

    for (int by = 0; by < ROUTES_BY_COUNT; by++)
        for (size_t i = 0; i < LP_COUNT_OF(counts); i++)
            measure_routes(micro, routing, counts[i], (enum routes_by)by);
    lp_free(routing);
}
