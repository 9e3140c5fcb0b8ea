/* hash: from a key to one server of a pool, moving few keys when the pool changes.
 *
 * Weighted rendezvous hashing over 2^20 virtual slots (version 1): the exact mapping is limpet's
 * promise between nodes, versions and restarts. A table is built once and only read afterwards
 * (its lazy slot cache is filled with relaxed atomics), so all workers share it without locks.
 * The order of members does not matter: two proxies with the same pool agree. Pure functions, no
 * I/O, no clock, no floating point. */
#ifndef LP_HASH_H
#define LP_HASH_H

#include "base/base.h"

#define LP_HASH_NONE UINT32_MAX

struct lp_hash_table;

struct lp_hash_member {
    struct lp_slice id; /* identity: explicit id, else name; 1..LP_SERVER_ID_MAX bytes */
    uint32_t weight;    /* weight * factor, 0..LP_WEIGHT_MAX * 256; 0 takes no keys    */
};

/* Is this member a candidate now? Called with the index in the array given to lp_hash_build(). */
typedef bool (*lp_hash_eligible_fn)(void *context, uint32_t index);

/* Borrows members (their ids are copied), gives *out, to be freed with lp_hash_destroy(). Cheap:
 * fills no slot. False with err set when members_count is 0 or above LP_POOL_SERVERS_MAX, when an
 * id is empty or too long, or when two members share an id. */
bool lp_hash_build(struct lp_hash_table **out, const struct lp_hash_member *members,
                   uint32_t members_count, uint64_t seed, struct lp_err *err) LP_MUST_USE;
void lp_hash_destroy(struct lp_hash_table *table);

/* Same set of (id, weight), same seed and same order: may the old table be kept? */
bool lp_hash_equal(const struct lp_hash_table *a, const struct lp_hash_table *b);

/* The home of a key over all members of positive weight, whatever their health. LP_HASH_NONE when
 * all weights are 0. */
uint32_t lp_hash_home(const struct lp_hash_table *table, uint64_t key_hash);

/* The first in rank order that is_eligible accepts: the home is asked first (table or direct
 * scoring), then one scoring pass over the rest. LP_HASH_NONE when it accepts none. Calls
 * is_eligible at most once a member. */
uint32_t lp_hash_pick(const struct lp_hash_table *table, uint64_t key_hash,
                      lp_hash_eligible_fn is_eligible, void *context);

/* Writes the first out_max members in rank order; gives how many. Not for the data path. */
uint32_t lp_hash_rank(const struct lp_hash_table *table, uint64_t key_hash, uint32_t *out,
                      uint32_t out_max);

/* The share of the key space, 0..1e6 (parts per million), whose home has another id in b than in
 * a; estimated over 65 536 evenly spread slots, or fewer when both have more than 1024 members
 * together: a reload should not wait. */
uint32_t lp_hash_moved_ppm(const struct lp_hash_table *a, const struct lp_hash_table *b);

/* XXH3 of a key's bytes: what the functions above take as key_hash. */
uint64_t lp_hash_key(struct lp_slice key, uint64_t seed);
/* The seed of a secret file: XXH3 of its bytes without one trailing newline. */
uint64_t lp_hash_seed(struct lp_slice file);
/* The key bytes of a client address: 4 or 16, bits behind the prefix zeroed. Gives their count, 0
 * for family 0. prefixes in bits: 0..32, 0..128. */
uint32_t lp_hash_ip_key(uint8_t out[16], const struct lp_ip *ip, uint8_t ipv4_prefix,
                        uint8_t ipv6_prefix);

/* Cost of a hash in Q40 (HASHING.md, section 3, step 3); public for the vectors and micro bench. */
uint64_t lp_hash_cost_q40(uint64_t hash);

#endif
