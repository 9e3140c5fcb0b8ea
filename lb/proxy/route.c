/* Which route does a request take? The first that matches. With many of them only those are looked
 * at that can match: each route stands in a table under what it demands exactly (a host, the first
 * segment of a path, or both), and what demands neither is looked at always. Start at
 * snapshot_route(). */
#include <string.h>

#include "lb/http/http1.h"
#include "lb/proxy/snapshot.h"

#define LINEAR_MAX     8u   /* so few are looked at one by one */
#define HOST_BYTES_MAX 255u /* longer ones are no host of a route */

/* Places in `order` of the routes in each bucket, in their own order. */
struct route_index {
    uint32_t buckets_count; /* a power of two; behind them the bucket of those without a key */
    uint32_t *starts;
    uint32_t *order;
};

/* wanted "" matches any; a suffix stands for "*.example.com": at least one label, a dot, it. */
static bool name_matches(struct lp_slice wanted, bool is_suffix, struct lp_slice name)
{
    if (wanted.size == 0)
        return true;
    if (!is_suffix)
        return lp_slice_equal_nocase(wanted, name);
    if (name.size < wanted.size + 2)
        return false;
    size_t before = name.size - wanted.size;
    return name.data[before - 1] == '.' &&
           lp_slice_equal_nocase(wanted, (struct lp_slice){name.data + before, wanted.size});
}

/* A prefix of whole segments: "/ws" is in "/ws" and "/ws/x", not in "/wsx". */
static bool path_matches(const struct lp_cfg_route *route, struct lp_slice path)
{
    struct lp_slice wanted = route->path;

    if (wanted.size == 0)
        return true;
    if (route->path_is_exact)
        return lp_slice_equal(wanted, path);
    while (wanted.size > 0 && wanted.data[wanted.size - 1] == '/')
        wanted.size--;
    return path.size >= wanted.size && memcmp(path.data, wanted.data, wanted.size) == 0 &&
           (path.size == wanted.size || path.data[wanted.size] == '/');
}

static bool upgrade_matches(const struct lp_cfg_route *route, bool is_websocket)
{
    return route->upgrade == LP_MATCH_ANY_UPGRADE ||
           (route->upgrade == LP_MATCH_WEBSOCKET) == is_websocket;
}

static bool route_matches(const struct lp_cfg_route *route, struct lp_slice host,
                          struct lp_slice path, bool is_websocket)
{
    return name_matches(route->host, route->host_is_suffix, host) && path_matches(route, path) &&
           upgrade_matches(route, is_websocket);
}

/* --- the table --- */

static struct lp_slice first_segment(struct lp_slice path)
{
    if (path.size > 0 && path.data[0] == '/')
        path = (struct lp_slice){path.data + 1, path.size - 1};
    const char *end = path.size == 0 ? NULL : memchr(path.data, '/', path.size);
    if (end != NULL)
        path.size = (size_t)(end - path.data);
    return path;
}

/* NULL slices: not demanded. host in lower case. */
static uint32_t bucket_of(const struct route_index *index, const struct lp_slice *host,
                          const struct lp_slice *segment)
{
    uint64_t hash = 0;

    if (host != NULL)
        hash = lp_hash_key(*host, 1);
    if (segment != NULL)
        hash += lp_hash_key(*segment, 2);
    return (uint32_t)hash & (index->buckets_count - 1);
}

static uint32_t bucket_of_route(const struct route_index *index, const struct lp_cfg_route *route)
{
    struct lp_slice segment = first_segment(route->path);
    bool has_host = route->host.size > 0 && !route->host_is_suffix;
    bool has_segment = segment.size > 0;

    if (!has_host && !has_segment)
        return index->buckets_count;
    return bucket_of(index, has_host ? &route->host : NULL, has_segment ? &segment : NULL);
}

void routes_index(struct snap_listener *listener, struct lp_arena *arena)
{
    uint32_t count = listener->config->routes_count, buckets_count = 16;

    if (count <= LINEAR_MAX)
        return;
    while (buckets_count < 2 * count)
        buckets_count *= 2;
    struct route_index *index = LP_ARENA_NEW(arena, struct route_index);
    index->buckets_count = buckets_count;
    index->starts = LP_ARENA_ARRAY(arena, uint32_t, buckets_count + 2);
    index->order = LP_ARENA_ARRAY(arena, uint32_t, count);
    for (uint32_t i = 0; i < count; i++)
        index->starts[bucket_of_route(index, &listener->config->routes[i]) + 1]++;
    for (uint32_t i = 0; i <= buckets_count; i++)
        index->starts[i + 1] += index->starts[i];
    /* Backwards, so that each start ends where it belongs and the order within a bucket is kept. */
    uint32_t *ends = lp_alloc((buckets_count + 1) * sizeof(*ends));
    memcpy(ends, index->starts + 1, (buckets_count + 1) * sizeof(*ends));
    for (uint32_t i = count; i-- > 0;)
        index->order[--ends[bucket_of_route(index, &listener->config->routes[i])]] = i;
    lp_free(ends);
    listener->index = index;
}

/* Routes that stand in one bucket, from the next one on. */
struct cursor {
    const uint32_t *next, *end;
};

static struct cursor cursor_at(const struct route_index *index, uint32_t bucket)
{
    return (struct cursor){index->order + index->starts[bucket],
                           index->order + index->starts[bucket + 1]};
}

/* The lowest number that any cursor shows, or UINT32_MAX; that cursor moves on. */
static uint32_t next_of(struct cursor *cursors, uint32_t count)
{
    uint32_t lowest = UINT32_MAX;

    for (uint32_t i = 0; i < count; i++)
        if (cursors[i].next < cursors[i].end && *cursors[i].next < lowest)
            lowest = *cursors[i].next;
    for (uint32_t i = 0; i < count; i++) /* two keys may share a bucket */
        if (cursors[i].next < cursors[i].end && *cursors[i].next == lowest)
            cursors[i].next++;
    return lowest;
}

static struct lp_slice lower_case(struct lp_slice host, char out[HOST_BYTES_MAX])
{
    host.size = host.size > HOST_BYTES_MAX ? 0 : host.size;
    for (size_t i = 0; i < host.size; i++)
        out[i] =
            (char)(host.data[i] >= 'A' && host.data[i] <= 'Z' ? host.data[i] + 32 : host.data[i]);
    return (struct lp_slice){out, host.size};
}

static const struct snap_route *find(const struct snap_listener *listener, struct lp_slice host,
                                     struct lp_slice path, bool is_websocket)
{
    const struct route_index *index = listener->index;
    struct lp_slice segment = first_segment(path);
    char lower[HOST_BYTES_MAX];
    struct lp_slice name = lower_case(host, lower);
    struct cursor cursors[] = {cursor_at(index, bucket_of(index, &name, &segment)),
                               cursor_at(index, bucket_of(index, &name, NULL)),
                               cursor_at(index, bucket_of(index, NULL, &segment)),
                               cursor_at(index, index->buckets_count)};
    uint32_t i;

    while ((i = next_of(cursors, LP_COUNT_OF(cursors))) != UINT32_MAX)
        if (route_matches(listener->routes[i].config, host, path, is_websocket))
            return &listener->routes[i];
    return NULL;
}

const struct snap_route *snapshot_route(const struct snap_listener *listener, struct lp_slice host,
                                        struct lp_slice path, bool is_websocket)
{
    host = http1_host_name(host);
    if (listener->index != NULL)
        return find(listener, host, path, is_websocket);
    for (uint32_t i = 0; i < listener->config->routes_count; i++)
        if (route_matches(listener->routes[i].config, host, path, is_websocket))
            return &listener->routes[i];
    return NULL;
}

const struct snap_route *snapshot_route_tcp(const struct snap_listener *listener,
                                            struct lp_slice name)
{
    for (uint32_t i = 0; i < listener->config->routes_count; i++) {
        const struct lp_cfg_route *route = listener->routes[i].config;
        if (name_matches(route->sni, route->sni_is_suffix, name))
            return &listener->routes[i];
    }
    return NULL;
}
