/* Weighted rendezvous hashing over 2^20 virtual slots, version 1, to the bit.
 *
 * A key falls into a slot; for that slot every member has a score, and the ranking of the scores is
 * the mapping. Up to DIRECT_MAX usable members are scored on each look-up; above, a table remembers
 * each slot's home when it is first asked for. The table is only a cache of the function: every
 * thread that fills an entry writes the same value. Start reading at lp_hash_pick(). */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash/hash.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hash/log2_table.h"

#define SLOT_BITS     20u
#define SLOTS_COUNT   (1u << SLOT_BITS)
#define DIRECT_MAX    64u
#define MOVED_SAMPLES 65536u
#define MOVED_SCORES  (32u << 20) /* fewer samples for large pools: a reload should not wait */

/* XXH3 of 8 bytes is an XOR with a constant of the seed and a finaliser; these are its secret's
 * words 8..15 and 16..23 combined, and its multiplier (xxHash's specification, 4 to 8 bytes). */
#define XXH3_SECRET_8_XOR_16 0xc73ab174c5ecd5a2ull
#define XXH3_MULTIPLIER      0x9fb21c651e98df25ull

/* A member that can be picked, where scoring walks over it. Sorted by weight, then by id. */
struct candidate {
    uint64_t flip; /* of its seed: what the slot is XORed with */
    uint32_t weight;
    uint32_t index; /* in the caller's array */
};

struct lp_hash_table {
    uint32_t members_count, candidates_count;
    uint64_t seed;
    struct lp_hash_member *members; /* ids point behind the arrays */
    struct candidate *candidates;
    _Atomic uint16_t *homes; /* by slot: candidate + 1, 0: not asked yet; NULL without a table */
};

static uint32_t slot_of(uint64_t key_hash)
{
    return (uint32_t)(key_hash >> (64 - SLOT_BITS));
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t flip_of(uint64_t seed)
{
    seed ^= (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
    return XXH3_SECRET_8_XOR_16 - seed;
}

/* XXH3_64bits_withSeed(slot as 8 bytes, little-endian). */
static uint64_t score(uint64_t flip, uint32_t slot)
{
    uint64_t h = (uint64_t)slot << 32 ^ flip;

    h ^= rotate(h, 49) ^ rotate(h, 24);
    h *= XXH3_MULTIPLIER;
    h ^= (h >> 35) + 8;
    h *= XXH3_MULTIPLIER;
    return h ^ h >> 28;
}

uint64_t lp_hash_cost_q40(uint64_t hash)
{
    uint64_t odd = hash | 1;
    unsigned e = 63u - (unsigned)__builtin_clzll(odd);
    uint64_t m = odd << (63 - e);
    uint64_t i = m >> 51 & 4095, f = m >> 19 & 0xffffffff;
    uint64_t l =
        ((uint64_t)e << 40) + log2_table[i] + (((log2_table[i + 1] - log2_table[i]) * f) >> 32);
    return (64ull << 40) - l;
}

/* --- building --- */

static int compare_ids(struct lp_slice a, struct lp_slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

static int by_id(const void *a, const void *b, void *context)
{
    const struct lp_hash_member *members = context;
    return compare_ids(members[*(const uint32_t *)a].id, members[*(const uint32_t *)b].id);
}

static int by_weight_and_id(const void *a, const void *b, void *context)
{
    const struct lp_hash_table *table = context;
    const struct candidate *x = a, *y = b;

    if (x->weight != y->weight)
        return x->weight < y->weight ? -1 : 1;
    return compare_ids(table->members[x->index].id, table->members[y->index].id);
}

static bool check_members(const struct lp_hash_member *members, uint32_t count, struct lp_err *err)
{
    if (count == 0 || count > LP_POOL_SERVERS_MAX)
        return lp_err_set(err, LP_ERR_CONFIG, "a pool has %u servers; 1..%u can be hashed", count,
                          LP_POOL_SERVERS_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (members[i].id.size == 0 || members[i].id.size > LP_SERVER_ID_MAX)
            return lp_err_set(err, LP_ERR_CONFIG, "a server's id has %zu bytes; 1..%u are allowed",
                              members[i].id.size, LP_SERVER_ID_MAX);
    uint32_t *order = lp_alloc(count * sizeof(*order));
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    struct lp_hash_member *sorted_by = lp_alloc(count * sizeof(*sorted_by));
    memcpy(sorted_by, members, count * sizeof(*sorted_by));
    qsort_r(order, count, sizeof(*order), by_id, sorted_by);
    bool ok = true;
    for (uint32_t i = 1; i < count && ok; i++)
        if (compare_ids(members[order[i - 1]].id, members[order[i]].id) == 0)
            ok = lp_err_set(err, LP_ERR_CONFIG, "two servers share the id \"%.*s\"",
                            LP_SLICE_ARG(members[order[i]].id));
    lp_free(sorted_by);
    lp_free(order);
    return ok;
}

static void copy_members(struct lp_hash_table *table, const struct lp_hash_member *members)
{
    size_t ids_size = 0;

    for (uint32_t i = 0; i < table->members_count; i++)
        ids_size += members[i].id.size;
    table->members = lp_alloc(table->members_count * sizeof(*members) + ids_size);
    char *ids = (char *)(table->members + table->members_count);
    for (uint32_t i = 0; i < table->members_count; i++) {
        memcpy(ids, members[i].id.data, members[i].id.size);
        table->members[i] =
            (struct lp_hash_member){.id = {ids, members[i].id.size}, .weight = members[i].weight};
        ids += members[i].id.size;
    }
}

static void build_candidates(struct lp_hash_table *table)
{
    table->candidates = lp_alloc(table->members_count * sizeof(*table->candidates));
    for (uint32_t i = 0; i < table->members_count; i++) {
        const struct lp_hash_member *member = &table->members[i];
        if (member->weight == 0)
            continue;
        uint64_t seed = XXH3_64bits_withSeed(member->id.data, member->id.size, table->seed);
        table->candidates[table->candidates_count++] =
            (struct candidate){.flip = flip_of(seed), .weight = member->weight, .index = i};
    }
    qsort_r(table->candidates, table->candidates_count, sizeof(*table->candidates),
            by_weight_and_id, table);
}

bool lp_hash_build(struct lp_hash_table **out, const struct lp_hash_member *members,
                   uint32_t members_count, uint64_t seed, struct lp_err *err)
{
    if (!check_members(members, members_count, err))
        return false;
    struct lp_hash_table *table = lp_alloc(sizeof(*table));
    table->members_count = members_count;
    table->seed = seed;
    copy_members(table, members);
    build_candidates(table);
    if (table->candidates_count > DIRECT_MAX) {
        /* Pages that no key touches are never there. */
        void *homes = mmap(NULL, SLOTS_COUNT * sizeof(*table->homes), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        table->homes = homes == MAP_FAILED ? NULL : homes;
    }
    *out = table;
    return true;
}

void lp_hash_destroy(struct lp_hash_table *table)
{
    if (table->homes != NULL)
        munmap((void *)(uintptr_t)table->homes, SLOTS_COUNT * sizeof(*table->homes));
    lp_free(table->candidates);
    lp_free(table->members);
    lp_free(table);
}

bool lp_hash_equal(const struct lp_hash_table *a, const struct lp_hash_table *b)
{
    if (a->seed != b->seed || a->members_count != b->members_count)
        return false;
    for (uint32_t i = 0; i < a->members_count; i++)
        if (a->members[i].weight != b->members[i].weight ||
            !lp_slice_equal(a->members[i].id, b->members[i].id))
            return false;
    return true;
}

/* --- ranking --- */

struct ranked {
    uint64_t hash;
    const struct candidate *candidate;
};

/* Does a rank before b? C_a * w_b < C_b * w_a; tie: the greater hash; tie: the smaller id, which
 * among equal weights is the earlier candidate. */
static bool ranks_before(const struct lp_hash_table *table, struct ranked a, struct ranked b)
{
    unsigned __int128 left = (unsigned __int128)lp_hash_cost_q40(a.hash) * b.candidate->weight;
    unsigned __int128 right = (unsigned __int128)lp_hash_cost_q40(b.hash) * a.candidate->weight;

    if (left != right)
        return left < right;
    if (a.hash != b.hash)
        return a.hash > b.hash;
    return compare_ids(table->members[a.candidate->index].id,
                       table->members[b.candidate->index].id) < 0;
}

/* Among equal weights the greatest hash wins, so costs are computed once a weight group. NULL
 * is_eligible accepts all; `skip` was asked already. */
static const struct candidate *best_of(const struct lp_hash_table *table, uint32_t slot,
                                       lp_hash_eligible_fn is_eligible, void *context,
                                       const struct candidate *skip)
{
    const struct candidate *end = table->candidates + table->candidates_count;
    struct ranked best = {0, NULL};

    for (const struct candidate *at = table->candidates; at < end;) {
        struct ranked group = {0, NULL};
        uint32_t weight = at->weight;
        for (; at < end && at->weight == weight; at++) {
            uint64_t hash = score(at->flip, slot);
            if (group.candidate != NULL && hash <= group.hash)
                continue;
            if (is_eligible == NULL || (at != skip && is_eligible(context, at->index)))
                group = (struct ranked){hash, at};
        }
        if (group.candidate != NULL && (best.candidate == NULL || ranks_before(table, group, best)))
            best = group;
    }
    return best.candidate;
}

static const struct candidate *home_of(const struct lp_hash_table *table, uint32_t slot)
{
    if (table->candidates_count == 0)
        return NULL;
    if (table->homes == NULL)
        return best_of(table, slot, NULL, NULL, NULL);
    uint16_t home = atomic_load_explicit(&table->homes[slot], memory_order_relaxed);
    if (home != 0)
        return &table->candidates[home - 1];
    const struct candidate *found = best_of(table, slot, NULL, NULL, NULL);
    atomic_store_explicit(&table->homes[slot], (uint16_t)(found - table->candidates + 1),
                          memory_order_relaxed);
    return found;
}

uint32_t lp_hash_home(const struct lp_hash_table *table, uint64_t key_hash)
{
    const struct candidate *home = home_of(table, slot_of(key_hash));
    return home == NULL ? LP_HASH_NONE : home->index;
}

uint32_t lp_hash_pick(const struct lp_hash_table *table, uint64_t key_hash,
                      lp_hash_eligible_fn is_eligible, void *context)
{
    uint32_t slot = slot_of(key_hash);
    const struct candidate *home = home_of(table, slot);

    if (home == NULL)
        return LP_HASH_NONE;
    if (is_eligible(context, home->index))
        return home->index;
    const struct candidate *next = best_of(table, slot, is_eligible, context, home);
    return next == NULL ? LP_HASH_NONE : next->index;
}

struct ranking {
    const struct lp_hash_table *table;
};

static int by_rank(const void *a, const void *b, void *context)
{
    const struct ranking *ranking = context;
    return ranks_before(ranking->table, *(const struct ranked *)a, *(const struct ranked *)b) ? -1
                                                                                              : 1;
}

uint32_t lp_hash_rank(const struct lp_hash_table *table, uint64_t key_hash, uint32_t *out,
                      uint32_t out_max)
{
    struct ranking ranking = {table};
    uint32_t count = table->candidates_count;
    struct ranked *all = lp_alloc(count * sizeof(*all));

    for (uint32_t i = 0; i < count; i++)
        all[i] = (struct ranked){score(table->candidates[i].flip, slot_of(key_hash)),
                                 &table->candidates[i]};
    qsort_r(all, count, sizeof(*all), by_rank, &ranking);
    uint32_t given = count < out_max ? count : out_max;
    for (uint32_t i = 0; i < given; i++)
        out[i] = all[i].candidate->index;
    lp_free(all);
    return given;
}

uint32_t lp_hash_moved_ppm(const struct lp_hash_table *a, const struct lp_hash_table *b)
{
    uint64_t moved = 0;
    uint32_t samples = MOVED_SAMPLES;

    if (lp_hash_equal(a, b))
        return 0;
    while ((uint64_t)samples * (a->candidates_count + b->candidates_count) > 2ull * MOVED_SCORES)
        samples /= 2;
    for (uint32_t i = 0; i < samples; i++) {
        uint32_t slot = i * (SLOTS_COUNT / samples);
        const struct candidate *home_a = best_of(a, slot, NULL, NULL, NULL);
        const struct candidate *home_b = best_of(b, slot, NULL, NULL, NULL);
        bool same = (home_a == NULL) == (home_b == NULL) &&
                    (home_a == NULL ||
                     lp_slice_equal(a->members[home_a->index].id, b->members[home_b->index].id));
        moved += !same;
    }
    return (uint32_t)(moved * 1000000u / samples);
}
