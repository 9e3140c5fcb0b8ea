/* Where a server is picked. One function per balance; what all share is is_candidate(): not tried,
 * and not known to be down. */
#include "lb/pool/pool.h"

struct candidates {
    const struct pool_view *view;
    const struct pick *pick;
    bool down_ones_too;
};

static bool was_tried(const struct pick *pick, uint32_t index)
{
    for (uint32_t i = 0; i < pick->tried_count; i++)
        if (pick->tried[i] == index)
            return true;
    return false;
}

static bool is_candidate(void *context, uint32_t index)
{
    const struct candidates *candidates = context;

    return (candidates->down_ones_too ||
            server_health(candidates->view->servers[index]) != SERVER_DOWN) &&
           !was_tried(candidates->pick, index);
}

/* One look at all, each with the chance that its weight gives it. */
static uint32_t pick_by_chance(struct candidates *candidates)
{
    const struct pool_view *view = candidates->view;
    uint32_t picked = LP_HASH_NONE;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < view->config->servers_count; i++) {
        uint64_t weight = view->config->servers[i].weight;
        if (weight == 0 || !is_candidate(candidates, i))
            continue;
        sum += weight;
        if (lp_random_fast() % sum < weight)
            picked = i;
    }
    return picked;
}

/* Each try takes the next turn, so those of a missing server go to the others one by one. Not for
 * ever: a server of weight 65535 may be missing beside one of weight 1. */
static uint32_t pick_by_turn(struct candidates *candidates)
{
    const struct pool_view *view = candidates->view;

    for (uint32_t i = 0; i < view->config->servers_count && view->turns_count > 0; i++) {
        uint32_t turn = atomic_fetch_add_explicit(&view->pool->turn, 1, memory_order_relaxed);
        uint32_t index = view->turns[turn % view->turns_count];
        if (is_candidate(candidates, index))
            return index;
    }
    return pick_by_chance(candidates);
}

/* The least (load + 1) / weight; equals take turns. */
static uint32_t pick_by_load(struct candidates *candidates)
{
    const struct pool_view *view = candidates->view;
    uint32_t count = view->config->servers_count, best = LP_HASH_NONE;
    uint32_t turn = atomic_fetch_add_explicit(&view->pool->turn, 1, memory_order_relaxed);
    uint64_t best_load = 0, best_weight = 1;

    for (uint32_t n = 0; n < count; n++) {
        uint32_t i = (uint32_t)(((uint64_t)turn + n) % count);
        uint64_t weight = view->config->servers[i].weight;
        if (weight == 0 || !is_candidate(candidates, i))
            continue;
        uint64_t load = 1 + (uint64_t)atomic_load_explicit(&view->servers[i]->active_count,
                                                           memory_order_relaxed);
        if (best == LP_HASH_NONE || load * best_weight < best_load * weight) {
            best = i;
            best_load = load;
            best_weight = weight;
        }
    }
    return best;
}

static uint32_t pick_one(struct candidates *candidates)
{
    switch (candidates->view->config->balance) {
    case LP_BALANCE_HASH:
        return lp_hash_pick(candidates->view->table, candidates->pick->key_hash, is_candidate,
                            candidates);
    case LP_BALANCE_LEAST_CONNECTIONS:
        return pick_by_load(candidates);
    case LP_BALANCE_ROUND_ROBIN:
        return pick_by_turn(candidates);
    }
    return LP_HASH_NONE;
}

struct server *pool_pick(const struct pool_view *view, struct pick *pick)
{
    struct candidates candidates = {.view = view, .pick = pick};

    if (pick->tried_count == PICK_TRIES_MAX)
        return NULL;
    /* With all of ten thousand down nobody needs to ask them one by one. */
    uint32_t index = pool_has_candidates(view->pool) ? pick_one(&candidates) : LP_HASH_NONE;
    if (index == LP_HASH_NONE && view->config->when_all_down == LP_ALL_DOWN_TRY_ALL) {
        candidates.down_ones_too = true;
        index = pick_one(&candidates);
    }
    if (index == LP_HASH_NONE)
        return NULL;
    pick->tried[pick->tried_count++] = (uint16_t)index;
    return view->servers[index];
}
