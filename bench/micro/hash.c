/* The hash: keys, look-ups over few keys (all in the first cache) and over many, with the home
 * down, and building tables. Servers are named s0, s1, ... as in a configuration. */
#include <stdio.h>
#include <string.h>

#include "hash/hash.h"

#include "bench/micro/micro.h"

#define KEYS_MANY   65536u /* touch nearly every cache line of a slot table */
#define KEYS_FEW    256u
#define FIRST_LOOKS 64u
#define WEIGHT_ONE  256u /* what a weight of 1 is to lp_hash_build() */

/* ---- Keys -------------------------------------------------------------------------------------*/

struct keying {
    struct lp_ip ip;
    struct lp_slice key;
};

static uint64_t run_ip_key(void *context, uint64_t count)
{
    const struct keying *keying = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        uint8_t bytes[16];
        uint32_t size = lp_hash_ip_key(bytes, &keying->ip, 32, 64);
        micro_keep(lp_hash_key((struct lp_slice){(const char *)bytes, size}, 0));
    }
    return micro_ticks() - begin;
}

static uint64_t run_key(void *context, uint64_t count)
{
    const struct keying *keying = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        micro_keep(lp_hash_key(keying->key, 0));
    return micro_ticks() - begin;
}

static void measure_keys(struct micro *micro)
{
    struct keying keying = {.key = LP_SLICE("9f86d081884c7d659a2feaa0c55ad015")};
    struct micro_work by_ip = {run_ip_key, .context = &keying};
    struct micro_work by_text = {run_key, .context = &keying};

    MICRO_REQUIRE(lp_ip_parse(&keying.ip, LP_SLICE("192.0.2.33")));
    micro_measure(micro, &by_ip, "key of an IPv4 address");
    MICRO_REQUIRE(lp_ip_parse(&keying.ip, LP_SLICE("2001:db8:12::4:5678")));
    micro_measure(micro, &by_ip, "key of an IPv6 address (/64)");
    micro_measure(micro, &by_text, "key of a cookie, 32 bytes");
    char long_key[256];
    memset(long_key, 'x', sizeof(long_key));
    keying.key = (struct lp_slice){long_key, sizeof(long_key)};
    micro_measure(micro, &by_text, "key of a cookie, 256 bytes");
}

/* ---- Look-ups ---------------------------------------------------------------------------------*/

struct looking {
    struct lp_hash_table *table;
    struct lp_hash_member *members;
    uint32_t members_count;
    uint32_t keys_count; /* of those below; a power of two */
    uint32_t down;       /* index of the server that is not eligible now */
    uint64_t keys[KEYS_MANY];
    uint32_t homes[KEYS_MANY];
};

static bool is_up(void *context, uint32_t index)
{
    return index != ((const struct looking *)context)->down;
}

static uint64_t run_pick(void *context, uint64_t count)
{
    struct looking *looking = context;
    uint64_t begin = micro_ticks();

    for (uint64_t i = 0; i < count; i++)
        micro_keep(lp_hash_pick(looking->table, looking->keys[i & (looking->keys_count - 1)], is_up,
                                looking));
    return micro_ticks() - begin;
}

static uint64_t run_pick_home_down(void *context, uint64_t count)
{
    struct looking *looking = context;
    uint64_t begin = micro_ticks();

    for (uint64_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)i & (looking->keys_count - 1);
        looking->down = looking->homes[at];
        micro_keep(lp_hash_pick(looking->table, looking->keys[at], is_up, looking));
    }
    return micro_ticks() - begin;
}

static struct lp_hash_table *build(const struct looking *looking)
{
    struct lp_hash_table *table = NULL;

    MICRO_REQUIRE(lp_hash_build(&table, looking->members, looking->members_count, 0, NULL));
    return table;
}

/* Slots that nobody asked for yet: what the first client of a slot waits for. */
static uint64_t run_first_look(void *context, uint64_t count)
{
    struct looking *looking = context;
    uint64_t ticks = 0;

    while (count-- > 0) {
        struct lp_hash_table *table = build(looking);
        uint64_t begin = micro_ticks();
        for (uint32_t i = 0; i < FIRST_LOOKS; i++)
            micro_keep(lp_hash_home(table, looking->keys[i]));
        ticks += micro_ticks() - begin;
        lp_hash_destroy(table);
    }
    return ticks;
}

static uint64_t run_build(void *context, uint64_t count)
{
    struct looking *looking = context;
    uint64_t ticks = 0;

    while (count-- > 0) {
        uint64_t begin = micro_ticks();
        struct lp_hash_table *table = build(looking);
        ticks += micro_ticks() - begin;
        lp_hash_destroy(table);
    }
    return ticks;
}

static void take_keys(struct looking *looking, uint32_t keys_count)
{
    uint64_t state = 3;

    looking->keys_count = keys_count;
    looking->down = LP_HASH_NONE;
    for (uint32_t i = 0; i < keys_count; i++) {
        looking->keys[i] = micro_random(&state);
        looking->homes[i] = lp_hash_home(looking->table, looking->keys[i]);
    }
}

static void take_members(struct looking *looking, uint32_t count, bool has_weights,
                         struct lp_arena *arena)
{
    looking->members = LP_ARENA_ARRAY(arena, struct lp_hash_member, count);
    looking->members_count = count;
    for (uint32_t i = 0; i < count; i++) {
        char id[16];
        size_t size = (size_t)snprintf(id, sizeof(id), "s%u", i);
        looking->members[i] = (struct lp_hash_member){
            .id = lp_arena_slice(arena, (struct lp_slice){id, size}),
            .weight = WEIGHT_ONE * (has_weights ? 1 + i % 10 : 1),
        };
    }
}

static void measure_table(struct micro *micro, struct looking *looking, bool has_weights)
{
    const char *weights = has_weights ? ", weights 1..10" : "";
    uint32_t count = looking->members_count;
    struct micro_work pick = {run_pick, .context = looking};

    looking->table = build(looking);
    take_keys(looking, KEYS_FEW);
    micro_measure(micro, &pick, "pick of %u%s, few keys", count, weights);
    if (count > 1)
        micro_measure(micro, &(struct micro_work){run_pick_home_down, .context = looking},
                      "pick of %u%s, home down", count, weights);
    take_keys(looking, KEYS_MANY);
    micro_measure(micro, &pick, "pick of %u%s, 65 536 keys", count, weights);
    lp_hash_destroy(looking->table);
    micro_measure(micro,
                  &(struct micro_work){run_first_look, .context = looking, .ops = FIRST_LOOKS},
                  "first look at a slot of %u%s", count, weights);
}

void micro_hash(struct micro *micro)
{
    static const uint32_t counts[] = {1, 10, 100, 1000, 10000};
    struct looking *looking = lp_alloc(sizeof(*looking));

    measure_keys(micro);
    for (size_t i = 0; i < LP_COUNT_OF(counts); i++) {
        struct lp_arena arena;
        lp_arena_init(&arena);
        take_members(looking, counts[i], false, &arena);
        measure_table(micro, looking, false);
        micro_measure(micro, &(struct micro_work){run_build, .context = looking}, "build of %u",
                      counts[i]);
        take_members(looking, counts[i], true, &arena);
        measure_table(micro, looking, true);
        lp_arena_deinit(&arena);
    }
    lp_free(looking);
}
