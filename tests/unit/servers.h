/* servers: lists of servers for the tests of hash/, which change while each keeps its number. */
#ifndef LP_TESTS_UNIT_SERVERS_H
#define LP_TESTS_UNIT_SERVERS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash/hash.h"

#include "tests/unit/dice.h"

#define SERVERS_MAX 1001u
#define SLOTS_COUNT (1u << 20)
#define NO_SERVER   UINT16_MAX

struct servers {
    uint32_t count;
    uint16_t numbers[SERVERS_MAX]; /* by position */
    uint32_t weights[SERVERS_MAX];
};

static inline void servers_add(struct servers *servers, uint32_t number, uint32_t weight)
{
    servers->numbers[servers->count] = (uint16_t)number;
    servers->weights[servers->count++] = weight;
}

/* Numbers 0 .. count - 1. */
static inline struct servers servers_equal(uint32_t count, uint32_t weight)
{
    struct servers servers = {0};

    for (uint32_t i = 0; i < count; i++)
        servers_add(&servers, i, weight);
    return servers;
}

static inline uint32_t servers_find(const struct servers *servers, uint32_t number)
{
    for (uint32_t i = 0; i < servers->count; i++)
        if (servers->numbers[i] == number)
            return i;
    abort();
}

static inline void servers_weigh(struct servers *servers, uint32_t number, uint32_t weight)
{
    servers->weights[servers_find(servers, number)] = weight;
}

/* The last one takes its place: the order never matters. */
static inline void servers_remove(struct servers *servers, uint32_t number)
{
    uint32_t at = servers_find(servers, number), last = --servers->count;

    servers->numbers[at] = servers->numbers[last];
    servers->weights[at] = servers->weights[last];
}

static inline void servers_shuffle(struct servers *servers, struct dice *dice)
{
    for (uint32_t i = servers->count; i > 1; i--) {
        uint32_t j = dice_below(dice, i), weight = servers->weights[i - 1];
        uint16_t number = servers->numbers[i - 1];
        servers->numbers[i - 1] = servers->numbers[j];
        servers->weights[i - 1] = servers->weights[j];
        servers->numbers[j] = number;
        servers->weights[j] = weight;
    }
}

/* "server-7" and so on. Gives the length. */
static inline size_t server_id(uint32_t number, char id[16])
{
    return (size_t)snprintf(id, 16, "server-%u", number);
}

static inline struct lp_hash_table *table_with_seed(const struct servers *servers, uint64_t seed)
{
    static _Thread_local char ids[SERVERS_MAX][16];
    static _Thread_local struct lp_hash_member members[SERVERS_MAX];
    struct lp_hash_table *table = NULL;

    for (uint32_t i = 0; i < servers->count; i++) {
        size_t size = server_id(servers->numbers[i], ids[i]);
        members[i] = (struct lp_hash_member){{ids[i], size}, servers->weights[i]};
    }
    if (!lp_hash_build(&table, members, servers->count, seed, NULL))
        abort();
    return table;
}

static inline struct lp_hash_table *table_of(const struct servers *servers)
{
    return table_with_seed(servers, 0);
}

static inline uint64_t hash_in_slot(uint32_t slot)
{
    return (uint64_t)slot << 44;
}

/* The number of the server at an index that hash/ answered. */
static inline uint16_t number_at(const struct servers *servers, uint32_t index)
{
    return index == LP_HASH_NONE ? NO_SERVER : servers->numbers[index];
}

/* The number of every slot's home: every key there can be. To be freed. */
static inline uint16_t *homes_of(const struct servers *servers)
{
    struct lp_hash_table *table = table_of(servers);
    uint16_t *homes = malloc(SLOTS_COUNT * sizeof(*homes));

    if (homes == NULL)
        abort();
    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot++)
        homes[slot] = number_at(servers, lp_hash_home(table, hash_in_slot(slot)));
    lp_hash_destroy(table);
    return homes;
}

#endif
