/* The head parser. Each example comes whole, cut in three, and byte by byte; at last all requests
 * in an order that branch prediction cannot learn, each at an address of its own, which is nearer
 * to what a proxy sees than one head a million times. */
#include <string.h>

#include "bench/micro/heads.h"
#include "bench/micro/micro.h"

#define MIX_COUNT  4096u
#define MIX_COPIES 256u

struct parsing {
    const struct example *example;
    struct http1_head head;
};

static inline enum http1_outcome parse(struct http1_head *head, const struct example *example,
                                       size_t size)
{
    const char *why;

    return example->is_request ? http1_parse_request(head, example->bytes.data, size, &why)
                               : http1_parse_response(head, example->bytes.data, size, &why);
}

static uint64_t run_whole(void *context, uint64_t count)
{
    struct parsing *parsing = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        http1_head_init(&parsing->head, LP_HEAD_BYTES_MAX, 100);
        micro_keep(parse(&parsing->head, parsing->example, parsing->example->bytes.size));
    }
    return micro_ticks() - begin;
}

static uint64_t run_thirds(void *context, uint64_t count)
{
    struct parsing *parsing = context;
    size_t size = parsing->example->bytes.size;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        http1_head_init(&parsing->head, LP_HEAD_BYTES_MAX, 100);
        micro_keep(parse(&parsing->head, parsing->example, size / 3));
        micro_keep(parse(&parsing->head, parsing->example, size * 2 / 3));
        micro_keep(parse(&parsing->head, parsing->example, size));
    }
    return micro_ticks() - begin;
}

static uint64_t run_bytes(void *context, uint64_t count)
{
    struct parsing *parsing = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        http1_head_init(&parsing->head, LP_HEAD_BYTES_MAX, 100);
        for (size_t size = 1; size <= parsing->example->bytes.size; size++)
            micro_keep(parse(&parsing->head, parsing->example, size));
    }
    return micro_ticks() - begin;
}

/* ---- All requests mixed -----------------------------------------------------------------------*/

struct mix {
    struct http1_head head;
    struct example copies[MIX_COPIES];
    uint8_t order[MIX_COUNT]; /* index into copies */
};

static uint64_t run_mix(void *context, uint64_t count)
{
    struct mix *mix = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        for (uint32_t i = 0; i < MIX_COUNT; i++) {
            const struct example *example = &mix->copies[mix->order[i]];
            http1_head_init(&mix->head, LP_HEAD_BYTES_MAX, 100);
            micro_keep(parse(&mix->head, example, example->bytes.size));
        }
    return micro_ticks() - begin;
}

/* Gives the bytes of a turn. */
static uint64_t build_mix(struct mix *mix, struct lp_arena *arena)
{
    uint64_t state = 2, bytes = 0;

    for (uint32_t i = 0; i < MIX_COPIES; i++) {
        mix->copies[i] = examples()[micro_random(&state) % EXAMPLE_JSON_RESPONSE];
        mix->copies[i].bytes = lp_arena_slice(arena, mix->copies[i].bytes);
    }
    for (uint32_t i = 0; i < MIX_COUNT; i++) {
        mix->order[i] = (uint8_t)micro_random(&state);
        bytes += mix->copies[mix->order[i]].bytes.size;
    }
    return bytes;
}

void micro_parse(struct micro *micro)
{
    static const struct {
        micro_fn run;
        const char *how;
    } ways[] = {{run_whole, "whole"}, {run_thirds, "in 3 pieces"}, {run_bytes, "byte by byte"}};
    struct parsing *parsing = lp_alloc(sizeof(*parsing));
    struct mix *mix = lp_alloc(sizeof(*mix));
    struct lp_arena arena;

    for (int i = 0; i < EXAMPLE_COUNT; i++) {
        parsing->example = &examples()[i];
        example_parse(&parsing->head, parsing->example);
        for (size_t way = 0; way < LP_COUNT_OF(ways); way++)
            micro_measure(micro,
                          &(struct micro_work){ways[way].run, .context = parsing,
                                               .bytes = parsing->example->bytes.size},
                          "%s, %s", parsing->example->name, ways[way].how);
    }
    lp_arena_init(&arena);
    uint64_t bytes = build_mix(mix, &arena);
    micro_measure(micro,
                  &(struct micro_work){run_mix, .context = mix, .ops = MIX_COUNT, .bytes = bytes},
                  "all requests mixed, whole");
    lp_arena_deinit(&arena);
    lp_free(mix);
    lp_free(parsing);
}
