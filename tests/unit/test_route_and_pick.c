/* Routes and picks as one snapshot decides them: no sockets, no threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dice.h"
#include "lb/proxy/snapshot.h"

/* A snapshot bound to run-time objects and to addresses that nobody listens on. */
struct bench {
    uint32_t generation;
    struct snapshot *snapshot;
    struct registry registry;
    struct lp_list endpoints;
};

static void set_up(struct bench *bench, const char *yaml)
{
    struct lp_config_report report;
    struct lp_config *config = NULL;
    struct lp_err err = {0};

    assert_true(lp_config_parse(&config, &report, "test", lp_slice_of(yaml)));
    assert_true(snapshot_build(&bench->snapshot, config, &report, &err));
    lp_config_report_deinit(&report);
    registry_init(&bench->registry, 2);
    lp_list_init(&bench->endpoints);
    for (uint32_t i = 0; i < config->listeners_count; i++)
        for (uint32_t b = 0; b < config->listeners[i].binds_count; b++) {
            struct endpoint *endpoint = lp_alloc(sizeof(*endpoint));
            endpoint->address = config->listeners[i].binds[b].address;
            lp_list_push_back(&bench->endpoints, &endpoint->link);
        }
    bench->snapshot->generation = bench->generation = 1;
    snapshot_bind(bench->snapshot, &bench->registry, &bench->endpoints);
}

static void tear_down(struct bench *bench)
{
    snapshot_destroy(bench->snapshot);
    LP_LIST_EACH (link, &bench->endpoints)
        endpoint_destroy(lp_container_of(link, struct endpoint, link));
    registry_sweep(&bench->registry, true);
    registry_sweep(&bench->registry, true);
    assert_true(lp_list_is_empty(&bench->registry.pools));
}

/* --- routes --- */

static const char *const routes_yaml =
    "listeners:\n"
    "  web:\n"
    "    bind: \"127.0.0.1:7001\"\n"
    "    routes:\n"
    "      - {match: {host: chat.example.com, path: /ws/, upgrade: websocket}, pool: chat}\n"
    "      - {match: {host: \"*.example.org\"}, pool: wild}\n"
    "      - {match: {path_exact: /only}, pool: exact}\n"
    "      - {match: {path: /api, upgrade: none}, pool: api}\n"
    "pools:\n"
    "  chat: {servers: {s: 127.0.0.1:1}}\n"
    "  wild: {servers: {s: 127.0.0.1:1}}\n"
    "  exact: {servers: {s: 127.0.0.1:1}}\n"
    "  api: {servers: {s: 127.0.0.1:1}}\n";

static void the_first_route_whose_every_condition_holds_wins(void **state)
{
    static const struct {
        const char *host, *path;
        bool is_websocket;
        const char *pool; /* NULL: none matches */
    } rows[] = {
        {"chat.example.com", "/ws", true, "chat"},
        {"CHAT.Example.com:8080", "/ws/room/1", true, "chat"},
        {"chat.example.com.", "/ws", true, "chat"},
        {"chat.example.com", "/wsx", true, NULL},
        {"chat.example.com", "/ws", false, NULL},
        {"chat.example.community", "/ws", true, NULL},
        {"a.example.org", "/", false, "wild"},
        {"a.b.example.org:1", "/", true, "wild"},
        {"example.org", "/", false, NULL},
        {".example.org", "/", false, NULL},
        {"badexample.org", "/", false, NULL},
        {"[::1]:80", "/only", false, "exact"},
        {"", "/only", false, "exact"},
        {"x", "/only/", false, NULL},
        {"x", "/api", false, "api"},
        {"x", "/api/v1", false, "api"},
        {"x", "/apiary", false, NULL},
        {"x", "/api", true, NULL},
        {"x", "*", false, NULL},
    };
    struct bench bench;

    (void)state;
    set_up(&bench, routes_yaml);
    for (unsigned i = 0; i < LP_COUNT_OF(rows); i++) {
        const struct snap_route *route =
            snapshot_route(&bench.snapshot->listeners[0], lp_slice_of(rows[i].host),
                           lp_slice_of(rows[i].path), rows[i].is_websocket);
        if ((route == NULL) != (rows[i].pool == NULL))
            print_error("row %u: %s %s\n", i, rows[i].host, rows[i].path);
        assert_int_equal(route == NULL, rows[i].pool == NULL);
        if (route != NULL)
            assert_string_equal(route->pool->pool->name, rows[i].pool);
    }
    tear_down(&bench);
}

static int put_condition(char *out, size_t room, struct dice *dice)
{
    static const char *const hosts[] = {"",          "h1.test",     "h2.test",
                                        "*.h1.test", "*.wild.test", "h3.wild.test"};
    static const char *const paths[] = {"",  "/a",     "/b", "/a/b", "/a/c/d",
                                        "/", "/c%20d", "/A", "/ab"};
    const char *host = hosts[dice_below(dice, LP_COUNT_OF(hosts))];
    const char *path = paths[dice_below(dice, LP_COUNT_OF(paths))];
    bool has_upgrade = dice_below(dice, 4) == 0, is_exact = dice_below(dice, 3) == 0;

    return snprintf(out, room, "      - {match: {%s%s%s%s%s%s%s}, pool: p}\n",
                    *host != '\0' ? "host: \"" : "", host, *host != '\0' ? "\", " : "",
                    *path == '\0' ? ""
                    : is_exact    ? "path_exact: \""
                                  : "path: \"",
                    path, *path != '\0' ? "\", " : "", has_upgrade ? "upgrade: websocket" : "");
}

/* The same answer as looking at one after the other, for any mix of routes. */
static void many_routes_are_found_as_if_looked_at_one_by_one(void **state)
{
    static const char *const hosts[] = {"h1.test",      "H1.Test:80", "x.h1.test", "h2.test",
                                        "h3.wild.test", "other",      "",          "wild.test."};
    static const char *const paths[] = {"/",     "/a",     "/a/b", "/a/b/c", "/a/c/d", "/b",
                                        "/ab/c", "/c%20d", "/A/x", "*",      "/none"};
    static char yaml[1u << 16];
    struct dice dice = {11};
    (void)state;

    for (uint32_t round = 0; round < 20; round++) {
        struct bench bench;
        uint32_t count = 9 + dice_below(&dice, 60);
        size_t size = (size_t)snprintf(yaml, sizeof(yaml),
                                       "listeners:\n  web:\n    bind: "
                                       "\"127.0.0.1:7001\"\n    routes:\n");
        for (uint32_t i = 0; i < count; i++)
            size += (size_t)put_condition(yaml + size, sizeof(yaml) - size, &dice);
        snprintf(yaml + size, sizeof(yaml) - size, "pools: {p: {servers: {s: 127.0.0.1:1}}}\n");
        set_up(&bench, yaml);
        struct snap_listener *listener = &bench.snapshot->listeners[0];
        struct route_index *index = listener->index;
        assert_non_null(index);
        for (uint32_t h = 0; h < LP_COUNT_OF(hosts); h++)
            for (uint32_t i = 0; i < 2 * LP_COUNT_OF(paths); i++) {
                struct lp_slice host = lp_slice_of(hosts[h]);
                struct lp_slice path = lp_slice_of(paths[i / 2]);
                listener->index = NULL;
                const struct snap_route *wanted = snapshot_route(listener, host, path, i % 2 == 0);
                listener->index = index;
                assert_ptr_equal(snapshot_route(listener, host, path, i % 2 == 0), wanted);
            }
        tear_down(&bench);
    }
}

/* --- picks --- */

static char pick_name(const struct pool_view *view, struct pick *pick)
{
    struct server *server = pool_pick(view, pick);
    return server == NULL ? '-' : server->name[0];
}

static char pick_fresh(const struct pool_view *view)
{
    struct pick pick = {0};
    return pick_name(view, &pick);
}

static void set_health(const struct pool_view *view, uint32_t index, enum server_health health)
{
    server_set_health(view->servers[index], health);
}

static void round_robin_is_smooth_and_weighted(void **state)
{
    struct bench bench;
    char turns[15] = "";

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {balance: round_robin, servers: {a: {address: \"127.0.0.1:1\", "
                   "weight: 500}, b: {address: \"127.0.0.1:2\", weight: 100}, c: {address: "
                   "\"127.0.0.1:3\", weight: 100}}}}\n");
    for (unsigned i = 0; i < 14; i++)
        turns[i] = pick_fresh(&bench.snapshot->pools[0]);
    assert_string_equal(turns, "aabacaaaabacaa");
    tear_down(&bench);
}

static void turns_of_a_server_that_is_down_go_to_the_others_one_by_one(void **state)
{
    struct bench bench;
    char turns[9] = "";

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {balance: round_robin, servers: {a: \"127.0.0.1:1\", b: "
                   "\"127.0.0.1:2\", c: \"127.0.0.1:3\"}}}\n");
    set_health(&bench.snapshot->pools[0], 1, SERVER_DOWN);
    for (unsigned i = 0; i < 8; i++)
        turns[i] = pick_fresh(&bench.snapshot->pools[0]);
    assert_string_equal(turns, "acacacac");
    tear_down(&bench);
}

static void least_connections_weighs_what_is_open(void **state)
{
    struct bench bench;
    unsigned counts[2] = {0, 0};

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {balance: least_connections, servers: {a: {address: "
                   "\"127.0.0.1:1\", weight: 3}, b: \"127.0.0.1:2\", z: {address: "
                   "\"127.0.0.1:3\", weight: 0}}}}\n");
    const struct pool_view *view = &bench.snapshot->pools[0];
    for (unsigned i = 0; i < 400; i++) {
        struct pick pick = {0};
        struct server *server = pool_pick(view, &pick);
        assert_ptr_not_equal(server, view->servers[2]);
        atomic_fetch_add(&server->active_count, 1); /* stays open */
        counts[server == view->servers[1]]++;
    }
    assert_int_equal(counts[0], 300);
    assert_int_equal(counts[1], 100);
    tear_down(&bench);
}

static void each_server_is_tried_once_in_rank_order(void **state)
{
    struct bench bench;
    struct pick pick = {.key_hash = lp_hash_key(LP_SLICE("ada"), 0)};
    uint32_t order[3];

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {servers: {a: \"127.0.0.1:1\", b: \"127.0.0.1:2\", c: "
                   "\"127.0.0.1:3\"}}}\n");
    const struct pool_view *view = &bench.snapshot->pools[0];
    assert_int_equal(lp_hash_rank(view->table, pick.key_hash, order, 3), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_ptr_equal(pool_pick(view, &pick), view->servers[order[i]]);
    assert_null(pool_pick(view, &pick));
    tear_down(&bench);
}

static void when_all_are_down_they_are_rejected_or_tried_as_configured(void **state)
{
    static const char *const words[] = {"reject", "try_all"};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct bench bench;
        char yaml[256];
        snprintf(yaml, sizeof(yaml),
                 "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                 "pools: {p: {when_all_down: %s, servers: {a: \"127.0.0.1:1\"}}}\n",
                 words[i]);
        set_up(&bench, yaml);
        assert_int_equal(pick_fresh(&bench.snapshot->pools[0]), 'a'); /* unknown is not down */
        set_health(&bench.snapshot->pools[0], 0, SERVER_DOWN);
        assert_int_equal(pick_fresh(&bench.snapshot->pools[0]), i == 0 ? '-' : 'a');
        tear_down(&bench);
    }
}

/* --- what a pick costs: turns taken, servers asked --- */

static uint32_t turns_taken(const struct pool_view *view)
{
    return atomic_load(&view->pool->turn);
}

static void with_every_server_down_nobody_is_asked(void **state)
{
    static const char *const balances[] = {"hash", "least_connections", "round_robin"};

    (void)state;
    for (unsigned i = 0; i < LP_COUNT_OF(balances); i++) {
        struct bench bench;
        char yaml[400];
        snprintf(yaml, sizeof(yaml),
                 "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                 "pools: {p: {balance: %s, servers: {a: {address: \"127.0.0.1:1\", weight: 9999}, "
                 "b: \"127.0.0.1:2\"}}}\n",
                 balances[i]);
        set_up(&bench, yaml);
        struct pool_view *view = &bench.snapshot->pools[0];
        for (unsigned n = 0; n < 2; n++)
            set_health(view, n, SERVER_DOWN);
        struct pool_view blind = *view; /* whoever looks at a server through it crashes */
        blind.servers = NULL;
        blind.table = NULL;
        assert_int_equal(pick_fresh(&blind), '-');
        assert_int_equal(turns_taken(view), 0);
        set_health(view, 1, SERVER_UP);
        assert_int_equal(pick_fresh(view), 'b');
        set_health(view, 1, SERVER_DOWN);
        set_health(view, 0, SERVER_UNKNOWN);
        assert_int_equal(pick_fresh(view), 'a');
        tear_down(&bench);
    }
}

static void servers_that_are_freed_or_only_drain_are_counted_right(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {balance: round_robin, servers: {a: {address: \"127.0.0.1:1\", "
                   "weight: 0}, b: \"127.0.0.1:2\"}}}\n");
    const struct pool_view *view = &bench.snapshot->pools[0];
    assert_int_equal(atomic_load(&view->pool->not_down_count), 2);
    set_health(view, 1, SERVER_DOWN);
    assert_int_equal(pick_fresh(view), '-'); /* a would do, but has no weight */
    set_health(view, 1, SERVER_DOWN);
    set_health(view, 0, SERVER_DOWN);
    assert_int_equal(atomic_load(&view->pool->not_down_count), 0);
    set_health(view, 0, SERVER_UNKNOWN);
    assert_int_equal(atomic_load(&view->pool->not_down_count), 1);
    tear_down(&bench);
}

static void a_heavy_server_that_is_down_costs_as_many_turns_as_there_are_servers(void **state)
{
    struct bench bench;
    unsigned counts[4] = {0};

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {balance: round_robin, servers: {"
                   "a: {address: \"127.0.0.1:1\", weight: 60000}, "
                   "b: {address: \"127.0.0.1:2\", weight: 100}, "
                   "c: {address: \"127.0.0.1:3\", weight: 300}, "
                   "d: {address: \"127.0.0.1:4\", weight: 0}}}}\n");
    const struct pool_view *view = &bench.snapshot->pools[0];
    set_health(view, 0, SERVER_DOWN);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t before = turns_taken(view);
        char name = pick_fresh(view);
        counts[name - 'a']++;
        assert_in_range(turns_taken(view) - before, 1, 4);
    }
    assert_int_equal(counts[0] + counts[3], 0);
    assert_in_range(counts[1], 1000, 9000); /* a quarter by weight: 100 and 300 */
    tear_down(&bench);
}

/* --- run-time servers --- */

static struct snapshot *bind_yaml(struct bench *bench, const char *yaml)
{
    struct snapshot *next = NULL;
    struct lp_config_report report;
    struct lp_config *config = NULL;
    struct lp_err err = {0};
    assert_true(lp_config_parse(&config, &report, "test", lp_slice_of(yaml)));
    assert_true(snapshot_build(&next, config, &report, &err));
    lp_config_report_deinit(&report);
    next->generation = ++bench->generation;
    snapshot_bind(next, &bench->registry, &bench->endpoints);
    return next;
}

static struct snapshot *bind_again(struct bench *bench, const char *servers)
{
    char yaml[512];

    snprintf(yaml, sizeof(yaml),
             "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\npools: {p: {servers: {%s}}}\n",
             servers);
    return bind_yaml(bench, yaml);
}

static struct server *by_name(const struct snapshot *snapshot, char name)
{
    for (uint32_t i = 0; i < snapshot->config->pools[0].servers_count; i++)
        if (snapshot->pools[0].servers[i]->name[0] == name)
            return snapshot->pools[0].servers[i];
    return NULL;
}

static void a_server_is_the_same_object_wherever_a_new_file_lists_it(void **state)
{
    static const char *const files[] = {
        "b: \"127.0.0.1:2\", a: \"127.0.0.1:1\"",
        "c: \"127.0.0.1:3\", b: \"127.0.0.1:2\", a: \"127.0.0.1:1\"",
        "a: \"127.0.0.1:1\", c: \"127.0.0.1:3\", b: \"127.0.0.1:2\"",
        "b: \"127.0.0.1:2\", c: \"127.0.0.1:3\", a: {address: \"127.0.0.1:1\", weight: 7}",
    };
    struct bench bench;

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {servers: {a: \"127.0.0.1:1\", b: \"127.0.0.1:2\"}}}\n");
    struct server *a = by_name(bench.snapshot, 'a'), *b = by_name(bench.snapshot, 'b');
    for (unsigned i = 0; i < LP_COUNT_OF(files); i++) {
        struct snapshot *next = bind_again(&bench, files[i]);
        assert_ptr_equal(by_name(next, 'a'), a);
        assert_ptr_equal(by_name(next, 'b'), b);
        snapshot_destroy(next);
    }
    struct snapshot *moved = bind_again(&bench, "a: \"127.0.0.1:9\", b: \"127.0.0.1:2\"");
    assert_ptr_not_equal(by_name(moved, 'a'), a);
    assert_ptr_equal(by_name(moved, 'b'), b);
    snapshot_destroy(moved);
    tear_down(&bench);
}

/* --- policies --- */

static struct snapshot *bind_with_timeouts(struct bench *bench, const char *path, unsigned idle_s)
{
    char yaml[512];

    snprintf(yaml, sizeof(yaml),
             "listeners: {w: {bind: \"127.0.0.1:7001\", routes: [{match: {path: %s}, pool: p, "
             "timeouts: {stream_idle: %us}}, {match: {path: %s}, pool: p, timeouts: {stream_idle: "
             "1s}}, {pool: p}]}}\n"
             "pools: {p: {servers: {a: \"127.0.0.1:1\"}}}\n",
             path, idle_s, path);
    return bind_yaml(bench, yaml);
}

static unsigned policies_count(const struct snapshot *snapshot)
{
    unsigned count = 0;

    for (unsigned i = 0; i < POOL_POLICY_BUCKETS; i++)
        for (const struct policy *p = snapshot->pools[0].pool->policies[i]; p != NULL; p = p->next)
            count++;
    return count;
}

static void a_route_keeps_its_policy_and_reloads_update_it(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {servers: {a: \"127.0.0.1:1\"}}}\n");
    struct snapshot *first = bind_with_timeouts(&bench, "/a", 5000);
    struct policy *policy = first->listeners[0].routes[0].policy;
    assert_int_equal(policy_ms(&policy->stream_idle_ms), 5000000);
    /* The second route never matches, so it does not count. */
    assert_ptr_equal(first->listeners[0].routes[1].policy, policy);
    assert_ptr_not_equal(first->listeners[0].routes[2].policy, policy);
    struct snapshot *second = bind_with_timeouts(&bench, "/a", 7);
    assert_ptr_equal(second->listeners[0].routes[0].policy, policy);
    assert_int_equal(policy_ms(&policy->stream_idle_ms), 7000);
    snapshot_destroy(first);
    snapshot_destroy(second);
    registry_sweep(&bench.registry, false);
    assert_int_equal(policies_count(bench.snapshot), 1);
    tear_down(&bench);
}

static void a_policy_lives_as_long_as_a_route_or_a_stream_of_it(void **state)
{
    struct bench bench;
    char path[32];

    (void)state;
    set_up(&bench, "listeners: {w: {bind: \"127.0.0.1:7001\", pool: p}}\n"
                   "pools: {p: {servers: {a: \"127.0.0.1:1\"}}}\n");
    struct snapshot *last = bind_with_timeouts(&bench, "/a", 5000);
    struct policy *policy = last->listeners[0].routes[0].policy;
    policy->streams_count++; /* a tunnel that outlives its snapshot */
    for (unsigned i = 1; i <= 1000; i++) {
        snprintf(path, sizeof(path), "/version/%u", i);
        struct snapshot *next = bind_with_timeouts(&bench, path, 5);
        snapshot_destroy(last);
        registry_sweep(&bench.registry, false);
        assert_int_equal(policies_count(next), 3); /* its own two, and the tunnel's */
        last = next;
    }
    policy->streams_count--;
    registry_sweep(&bench.registry, false);
    assert_int_equal(policies_count(last), 2);
    snapshot_destroy(last);
    registry_sweep(&bench.registry, false);
    assert_int_equal(policies_count(bench.snapshot), 1);
    tear_down(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_route_whose_every_condition_holds_wins),
        cmocka_unit_test(many_routes_are_found_as_if_looked_at_one_by_one),
        cmocka_unit_test(round_robin_is_smooth_and_weighted),
        cmocka_unit_test(turns_of_a_server_that_is_down_go_to_the_others_one_by_one),
        cmocka_unit_test(with_every_server_down_nobody_is_asked),
        cmocka_unit_test(servers_that_are_freed_or_only_drain_are_counted_right),
        cmocka_unit_test(a_heavy_server_that_is_down_costs_as_many_turns_as_there_are_servers),
        cmocka_unit_test(least_connections_weighs_what_is_open),
        cmocka_unit_test(each_server_is_tried_once_in_rank_order),
        cmocka_unit_test(a_server_is_the_same_object_wherever_a_new_file_lists_it),
        cmocka_unit_test(a_route_keeps_its_policy_and_reloads_update_it),
        cmocka_unit_test(a_policy_lives_as_long_as_a_route_or_a_stream_of_it),
        cmocka_unit_test(when_all_are_down_they_are_rejected_or_tried_as_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
