/* What a valid configuration means: defaults, every key, inheritance, the environment, files, the
 * difference of two configurations, and the printed reference. TLS is in test_config_tls.c,
 * mistakes are in test_config_errors.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"
#include "hash/hash.h"

static struct lp_config *parse_at(const char *path, const char *text)
{
    struct lp_config *config;
    struct lp_config_report report;

    if (!lp_config_parse(&config, &report, path, lp_slice_of(text)))
        fail_msg("%s", report.text);
    lp_config_report_deinit(&report);
    return config;
}

static struct lp_config *parse(const char *text)
{
    return parse_at("limpet.yaml", text);
}

static void assert_slice(struct lp_slice slice, const char *expected)
{
    if (!lp_slice_equal(slice, lp_slice_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", LP_SLICE_ARG(slice), expected);
}

static void assert_address(const struct lp_addr *address, const char *expected)
{
    char text[LP_ADDR_TEXT_MAX];

    lp_addr_format(address, text);
    assert_string_equal(text, expected);
}

static const char minimal[] = "listeners:\n"
                              "  web: {bind: \"0.0.0.0:8080\", pool: app}\n"
                              "pools:\n"
                              "  app:\n"
                              "    servers:\n"
                              "      a: 10.0.0.1:9000\n"
                              "      b: 10.0.0.2:9000\n";

/* ---- defaults ---- */

static void the_process_has_the_documented_defaults(void **state)
{
    struct lp_config *config = parse(minimal);

    (void)state;
    assert_slice(config->path, "limpet.yaml");
    assert_int_equal(config->workers, 0);
    assert_int_equal(config->log.level, LP_LOG_INFO);
    assert_slice(config->log.access_to, "stdout");
    assert_int_equal(config->log.access_format, LP_LOG_JSON);
    assert_int_equal(config->log.query_count, 0);
    assert_int_equal(config->limits.connections, 0);
    assert_int_equal(config->limits.head, 16384);
    assert_int_equal(config->limits.headers, 100);
    assert_true(config->limits.body == UINT64_MAX);
    assert_int_equal(config->limits.stalled, 256 * 1024);
    assert_int_equal(config->limits.memory, 0);
    assert_int_equal(config->timeouts.handshake, 10000);
    assert_int_equal(config->timeouts.head, 10000);
    assert_int_equal(config->timeouts.keep_alive, 60000);
    assert_int_equal(config->timeouts.body, 30000);
    assert_int_equal(config->timeouts.connect, 5000);
    assert_int_equal(config->timeouts.response, 60000);
    assert_int_equal(config->timeouts.stream_idle, 3600000);
    assert_int_equal(config->timeouts.half_closed, 30000);
    assert_int_equal(config->timeouts.stalled, 60000);
    assert_int_equal(config->timeouts.linger, 2000);
    assert_int_equal(config->drain.delay_ms, 5000);
    assert_int_equal(config->drain.deadline_ms, 25000);
    assert_int_equal(config->drain.spread_percent, 80);
    assert_int_equal(config->drain.close_code, 1001);
    lp_config_destroy(config);
}

static void a_listener_has_the_documented_defaults(void **state)
{
    struct lp_config *config = parse(minimal);
    const struct lp_cfg_listener *web = &config->listeners[0];

    (void)state;
    assert_int_equal(config->listeners_count, 1);
    assert_slice(web->name, "web");
    assert_int_equal(web->pos.line, 2);
    assert_int_equal(web->pos.column, 3);
    assert_int_equal(web->binds_count, 1);
    assert_address(&web->binds[0].address, "0.0.0.0:8080");
    assert_slice(web->binds[0].text, "0.0.0.0:8080");
    assert_false(web->binds[0].takes_ipv4);
    assert_int_equal(web->protocol, LP_PROTOCOL_HTTP);
    assert_int_equal(web->trusted_proxies_count, 0);
    assert_memory_equal(&web->timeouts, &config->timeouts, sizeof(config->timeouts));
    assert_int_equal(web->routes_count, 1);
    assert_ptr_equal(web->routes[0].pool, &config->pools[0]);
    assert_int_equal(web->routes[0].host.size, 0);
    assert_int_equal(web->routes[0].path.size, 0);
    assert_int_equal(web->routes[0].upgrade, LP_MATCH_ANY_UPGRADE);
    assert_memory_equal(&web->routes[0].timeouts, &config->timeouts, sizeof(config->timeouts));
    lp_config_destroy(config);
}

static void a_pool_has_the_documented_defaults(void **state)
{
    struct lp_config *config = parse(minimal);
    const struct lp_cfg_pool *app = lp_config_pool(config, LP_SLICE("app"));

    (void)state;
    assert_ptr_equal(app, &config->pools[0]);
    assert_null(lp_config_pool(config, LP_SLICE("ap")));
    assert_slice(app->name, "app");
    assert_int_equal(app->balance, LP_BALANCE_HASH);
    assert_int_equal(app->keys_count, 1);
    assert_int_equal(app->keys[0].source, LP_KEY_CLIENT_IP);
    assert_int_equal(app->ipv4_prefix, 32);
    assert_int_equal(app->ipv6_prefix, 64);
    assert_true(app->seed == 0);
    assert_int_equal(app->retries, 2);
    assert_int_equal(app->keep_alive_idle, 64);
    assert_int_equal(app->keep_alive_timeout_ms, 4000);
    assert_int_equal(app->when_all_down, LP_ALL_DOWN_REJECT);
    assert_memory_equal(&app->timeouts, &config->timeouts, sizeof(config->timeouts));
    assert_int_equal(app->drain.deadline_ms, 300000);
    assert_int_equal(app->drain.spread_percent, 80);
    assert_int_equal(app->drain.close_code, 1001);
    lp_config_destroy(config);
}

static void a_check_and_a_server_have_the_documented_defaults(void **state)
{
    struct lp_config *config = parse(minimal);
    const struct lp_cfg_pool *app = &config->pools[0];

    (void)state;
    assert_int_equal(app->check.type, LP_CHECK_TCP);
    assert_slice(app->check.path, "/");
    assert_slice(app->check.host, "");
    assert_int_equal(app->check.port, 0);
    assert_int_equal(app->check.headers_count, 0);
    assert_int_equal(app->check.expect_count, 1);
    assert_int_equal(app->check.expect[0].from, 200);
    assert_int_equal(app->check.expect[0].to, 399);
    assert_false(app->check.ping);
    assert_int_equal(app->check.interval_ms, 2000);
    assert_int_equal(app->check.timeout_ms, 1000);
    assert_int_equal(app->check.rise, 2);
    assert_int_equal(app->check.fall, 3);
    assert_int_equal(app->servers_count, 2);
    assert_slice(app->servers[1].name, "b");
    assert_slice(app->servers[1].id, "b");
    assert_int_equal(app->servers[1].weight, 1);
    assert_address(&app->servers[1].address, "10.0.0.2:9000");
    assert_int_equal(app->servers[1].pos.line, 7);
    assert_int_equal(app->servers[1].pos.column, 7);
    lp_config_destroy(config);
}

/* ---- every key ---- */

static void every_key_of_the_process_is_read(void **state)
{
    struct lp_config *config =
        parse_at("/etc/limpet/limpet.yaml",
                 "workers: 3\n"
                 "log: {level: debug, access: {to: access.log, format: text, query: [room, v]}}\n"
                 "limits: {connections: 5000, head: 8KiB, headers: 50, body: 3GiB, "
                 "stalled: 128KiB, memory: 5GiB}\n"
                 "timeouts: {handshake: 7s, head: 1s, keep_alive: 2s, body: 3s, connect: 250ms, "
                 "response: 5m, "
                 "stream_idle: off, half_closed: 1h, stalled: 1d, linger: 1ms}\n"
                 "drain: {delay: 0s, deadline: 1m, spread: 50%, close_code: 4000}\n"
                 "listeners: {w: {bind: 127.0.0.1:1, pool: p}}\n"
                 "pools: {p: {servers: {a: 127.0.0.1:2}}}\n");

    (void)state;
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->log.level, LP_LOG_DEBUG);
    assert_slice(config->log.access_to, "/etc/limpet/access.log");
    assert_int_equal(config->log.access_format, LP_LOG_TEXT);
    assert_int_equal(config->log.query_count, 2);
    assert_slice(config->log.query[0], "room");
    assert_slice(config->log.query[1], "v");
    assert_int_equal(config->limits.connections, 5000);
    assert_int_equal(config->limits.head, 8192);
    assert_int_equal(config->limits.headers, 50);
    assert_true(config->limits.body == 3ull << 30);
    assert_int_equal(config->limits.stalled, 131072);
    assert_true(config->limits.memory == 5ull << 30);
    assert_int_equal(config->timeouts.handshake, 7000);
    assert_int_equal(config->timeouts.head, 1000);
    assert_int_equal(config->timeouts.keep_alive, 2000);
    assert_int_equal(config->timeouts.body, 3000);
    assert_int_equal(config->timeouts.connect, 250);
    assert_int_equal(config->timeouts.response, 300000);
    assert_int_equal(config->timeouts.stream_idle, LP_OFF);
    assert_int_equal(config->timeouts.half_closed, 3600000);
    assert_int_equal(config->timeouts.stalled, 86400000);
    assert_int_equal(config->timeouts.linger, 1);
    assert_int_equal(config->drain.delay_ms, 0);
    assert_int_equal(config->drain.deadline_ms, 60000);
    assert_int_equal(config->drain.spread_percent, 50);
    assert_int_equal(config->drain.close_code, 4000);
    lp_config_destroy(config);
}

static const char edge[] =
    "listeners:\n"
    "  edge:\n"
    "    bind: [\"*:443\", \"[2001:db8::1]:80\", \"unix:/run/e.sock\", 127.0.0.1:81]\n"
    "    trusted_proxies: [10.0.0.0/8, \"2001:db8::/32\", 192.0.2.1]\n"
    "    routes:\n"
    "      - {match: {host: Chat.Example.COM., path: /ws/, upgrade: websocket}, pool: a}\n"
    "      - {match: {host: \"*.example.com\", path_exact: /old/}, pool: b}\n"
    "      - {match: {host: \"[2001:DB8::1]\", path: /, upgrade: none}, pool: a}\n"
    "      - {match: {path: /a%2Fb/c}, pool: a}\n"
    "      - {pool: b}\n"
    "  raw: {bind: 127.0.0.1:82, protocol: tcp, pool: b}\n"
    "pools: {a: {servers: {s: 127.0.0.1:1}}, b: {servers: {s: 127.0.0.1:2}}}\n";

static void every_key_of_a_listener_is_read(void **state)
{
    struct lp_config *config = parse(edge);
    const struct lp_cfg_listener *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->binds_count, 4);
    assert_address(&listener->binds[0].address, "[::]:443");
    assert_true(listener->binds[0].takes_ipv4);
    assert_slice(listener->binds[0].text, "*:443");
    assert_address(&listener->binds[1].address, "[2001:db8::1]:80");
    assert_false(listener->binds[1].takes_ipv4);
    assert_address(&listener->binds[2].address, "unix:/run/e.sock");
    assert_address(&listener->binds[3].address, "127.0.0.1:81");
    assert_int_equal(listener->binds[3].pos.line, 3);
    assert_int_equal(listener->binds[3].pos.column, 61);
    assert_int_equal(listener->trusted_proxies_count, 3);
    assert_int_equal(listener->trusted_proxies[0].bits, 8);
    assert_int_equal(listener->trusted_proxies[1].ip.family, 6);
    assert_int_equal(listener->trusted_proxies[2].bits, 32);
    assert_int_equal(config->listeners[1].protocol, LP_PROTOCOL_TCP);
    assert_ptr_equal(config->listeners[1].routes[0].pool, &config->pools[1]);
    lp_config_destroy(config);
}

static void a_route_matches_in_normal_form(void **state)
{
    struct lp_config *config = parse(edge);
    const struct lp_cfg_route *routes = config->listeners[0].routes;

    (void)state;
    assert_int_equal(config->listeners[0].routes_count, 5);
    assert_slice(routes[0].host, "chat.example.com");
    assert_false(routes[0].host_is_suffix);
    assert_slice(routes[0].path, "/ws");
    assert_false(routes[0].path_is_exact);
    assert_int_equal(routes[0].upgrade, LP_MATCH_WEBSOCKET);
    assert_int_equal(routes[0].pos.line, 6);
    assert_slice(routes[1].host, "example.com");
    assert_true(routes[1].host_is_suffix);
    assert_slice(routes[1].path, "/old/");
    assert_true(routes[1].path_is_exact);
    assert_ptr_equal(routes[1].pool, &config->pools[1]);
    assert_slice(routes[2].host, "[2001:db8::1]");
    assert_slice(routes[2].path, "");
    assert_int_equal(routes[2].upgrade, LP_MATCH_NO_UPGRADE);
    assert_slice(routes[3].path, "/a%2Fb/c");
    assert_int_equal(routes[4].upgrade, LP_MATCH_ANY_UPGRADE);
    lp_config_destroy(config);
}

static const char full_pool[] =
    "listeners: {w: {bind: 127.0.0.1:1, pool: p}}\n"
    "pools:\n"
    "  p:\n"
    "    balance: least_connections\n"
    "    hash:\n"
    "      key: [cookie:sid, header:X-User, query:room, path, client_ip]\n"
    "      algorithm: rendezvous\n"
    "      ipv4_prefix: 24\n"
    "      ipv6_prefix: 56\n"
    "    retries: 0\n"
    "    keep_alive: {idle: 0, timeout: 9s}\n"
    "    drain: {deadline: 1h, spread: 0%, close_code: 1012}\n"
    "    when_all_down: try_all\n"
    "    check:\n"
    "      type: websocket\n"
    "      path: /health?deep=1\n"
    "      host: app.example.com:8080\n"
    "      port: 9001\n"
    "      headers: {X-One: a, X-Two: \" b c \"}\n"
    "      expect: [200, 300-308]\n"
    "      ping: true\n"
    "      interval: 10s\n"
    "      timeout: 3s\n"
    "      rise: 1\n"
    "      fall: 100\n"
    "    servers:\n"
    "      short: 10.0.0.1:80\n"
    "      long: {address: \"[::1]:80\", weight: 0, id: \"\xc3\xa4 1\"}\n"
    "      sock.et_1-A: unix:/run/app.sock\n";

static void every_key_of_a_pool_is_read(void **state)
{
    struct lp_config *config = parse(full_pool);
    const struct lp_cfg_pool *p = &config->pools[0];

    (void)state;
    assert_int_equal(p->balance, LP_BALANCE_LEAST_CONNECTIONS);
    assert_int_equal(p->keys_count, 5);
    assert_int_equal(p->keys[0].source, LP_KEY_COOKIE);
    assert_slice(p->keys[0].name, "sid");
    assert_int_equal(p->keys[1].source, LP_KEY_HEADER);
    assert_slice(p->keys[1].name, "X-User");
    assert_int_equal(p->keys[2].source, LP_KEY_QUERY);
    assert_slice(p->keys[2].name, "room");
    assert_int_equal(p->keys[3].source, LP_KEY_PATH);
    assert_int_equal(p->keys[4].source, LP_KEY_CLIENT_IP);
    assert_int_equal(p->ipv4_prefix, 24);
    assert_int_equal(p->ipv6_prefix, 56);
    assert_int_equal(p->retries, 0);
    assert_int_equal(p->keep_alive_idle, 0);
    assert_int_equal(p->keep_alive_timeout_ms, 9000);
    assert_int_equal(p->drain.deadline_ms, 3600000);
    assert_int_equal(p->drain.spread_percent, 0);
    assert_int_equal(p->drain.close_code, 1012);
    assert_int_equal(p->when_all_down, LP_ALL_DOWN_TRY_ALL);
    assert_int_equal(p->servers_count, 3);
    assert_address(&p->servers[0].address, "10.0.0.1:80");
    assert_address(&p->servers[1].address, "[::1]:80");
    assert_int_equal(p->servers[1].weight, 0);
    assert_slice(p->servers[1].id, "\xc3\xa4 1");
    assert_address(&p->servers[2].address, "unix:/run/app.sock");
    assert_slice(p->servers[2].id, "sock.et_1-A");
    lp_config_destroy(config);
}

static void every_key_of_a_check_is_read(void **state)
{
    struct lp_config *config = parse(full_pool);
    const struct lp_cfg_check *check = &config->pools[0].check;

    (void)state;
    assert_int_equal(check->type, LP_CHECK_WEBSOCKET);
    assert_slice(check->path, "/health?deep=1");
    assert_slice(check->host, "app.example.com:8080");
    assert_int_equal(check->port, 9001);
    assert_int_equal(check->headers_count, 2);
    assert_slice(check->headers[0].name, "X-One");
    assert_slice(check->headers[1].value, "b c");
    assert_int_equal(check->expect_count, 2);
    assert_int_equal(check->expect[0].from, 200);
    assert_int_equal(check->expect[0].to, 200);
    assert_int_equal(check->expect[1].from, 300);
    assert_int_equal(check->expect[1].to, 308);
    assert_true(check->ping);
    assert_int_equal(check->interval_ms, 10000);
    assert_int_equal(check->timeout_ms, 3000);
    assert_int_equal(check->rise, 1);
    assert_int_equal(check->fall, 100);
    lp_config_destroy(config);
}

static void a_key_with_everything_commented_out_has_its_defaults(void **state)
{
    struct lp_config *config = parse("log:\n"
                                     "  # level: debug\n"
                                     "limits: {}\n"
                                     "listeners: {w: {bind: 127.0.0.1:1, pool: p, timeouts: }}\n"
                                     "pools: {p: {check: , servers: {a: 127.0.0.1:2}}}\n");

    (void)state;
    assert_int_equal(config->log.level, LP_LOG_INFO);
    assert_int_equal(config->listeners[0].routes[0].timeouts.head, 10000);
    assert_int_equal(config->pools[0].check.rise, 2);
    lp_config_destroy(config);
}

/* ---- inheritance ---- */

static void the_nearest_timeout_wins(void **state)
{
    struct lp_config *config =
        parse("timeouts: {head: 1s, body: 1s, connect: 1s, response: 1s}\n"
              "listeners:\n"
              "  w:\n"
              "    bind: 127.0.0.1:1\n"
              "    timeouts: {body: 2s, connect: 2s, response: 2s}\n"
              "    routes:\n"
              "      - {match: {path: /x}, pool: p, timeouts: {response: 4s}}\n"
              "      - {pool: q}\n"
              "  plain: {bind: 127.0.0.1:2, pool: p}\n"
              "pools:\n"
              "  p: {timeouts: {connect: 3s, response: 3s, stream_idle: off}, "
              "servers: {a: 127.0.0.1:9}}\n"
              "  q: {servers: {a: 127.0.0.1:9}}\n");
    const struct lp_cfg_listener *w = &config->listeners[0], *plain = &config->listeners[1];

    (void)state;
    assert_int_equal(w->routes[0].timeouts.head, 1000);
    assert_int_equal(w->routes[0].timeouts.body, 2000);
    assert_int_equal(w->routes[0].timeouts.connect, 3000);
    assert_int_equal(w->routes[0].timeouts.response, 4000);
    assert_int_equal(w->routes[0].timeouts.stream_idle, LP_OFF);
    assert_int_equal(w->routes[0].timeouts.linger, 2000);
    assert_int_equal(w->routes[1].timeouts.response, 2000);
    assert_int_equal(w->timeouts.response, 2000);
    assert_int_equal(w->timeouts.head, 1000);
    assert_int_equal(plain->routes[0].timeouts.response, 3000);
    assert_int_equal(plain->routes[0].timeouts.body, 1000);
    assert_int_equal(plain->timeouts.response, 1000);
    assert_int_equal(config->pools[0].timeouts.connect, 3000);
    assert_int_equal(config->pools[0].timeouts.body, 1000);
    lp_config_destroy(config);
}

/* ---- scalars ---- */

static void words_mean_the_same_with_and_without_quotes(void **state)
{
    struct lp_config *config = parse("timeouts: {stream_idle: \"off\"}\n"
                                     "limits: {body: 'off', memory: \"auto\"}\n"
                                     "workers: 'auto'\n"
                                     "listeners: {w: {bind: 127.0.0.1:1, pool: \"p\"}}\n"
                                     "pools: {p: {check: {ping: \"true\", type: off, rise: '7'}, "
                                     "servers: {a: 127.0.0.1:2}}}\n");

    (void)state;
    assert_int_equal(config->timeouts.stream_idle, LP_OFF);
    assert_true(config->limits.body == UINT64_MAX);
    assert_int_equal(config->limits.memory, 0);
    assert_int_equal(config->workers, 0);
    assert_true(config->pools[0].check.ping);
    assert_int_equal(config->pools[0].check.type, LP_CHECK_OFF);
    assert_int_equal(config->pools[0].check.rise, 7);
    lp_config_destroy(config);
}

static void the_environment_is_put_into_one_scalar_after_parsing(void **state)
{
    setenv("LP_TEST_ADDRESS", "10.1.2.3", 1);
    setenv("LP_TEST_TOKEN", "a: b # {\"c\"}\n  evil: true", 1);
    setenv("LP_TEST_LEVEL", "debug", 1);
    setenv("LP_TEST_EMPTY", "", 1);
    struct lp_config *config = parse(
        "log: {level: \"${LP_TEST_LEVEL}\"}\n"
        "listeners: {w: {bind: 127.0.0.1:1, pool: p}}\n"
        "pools:\n"
        "  p:\n"
        "    check: {type: http, headers: {A: \"x$${LP}${LP_TEST_EMPTY}$y${LP_TEST_LEVEL}$\", B: "
        "\"${LP_TEST_EMPTY}\"}}\n"
        "    servers:\n"
        "      a: ${LP_TEST_ADDRESS}:80\n");

    (void)state;
    assert_int_equal(config->log.level, LP_LOG_DEBUG);
    assert_slice(config->pools[0].check.headers[0].value, "x${LP}$ydebug$");
    assert_slice(config->pools[0].check.headers[1].value, "");
    assert_address(&config->pools[0].servers[0].address, "10.1.2.3:80");
    lp_config_destroy(config);

    /* It cannot add lines or keys: the header with it is refused, and not repeated. */
    struct lp_config_report report;
    assert_false(
        lp_config_parse(&config, &report, "t.yaml",
                        LP_SLICE("listeners: {w: {bind: 127.0.0.1:1, pool: p}}\n"
                                 "pools: {p: {check: {headers: {A: "
                                 "\"${LP_TEST_TOKEN}\"}}, servers: {a: 127.0.0.1:2}}}\n")));
    assert_int_equal(report.errors_count, 1);
    assert_null(strstr(report.text, "evil"));
    lp_config_report_deinit(&report);
}

/* ---- files ---- */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void a_secret_file_beside_the_configuration_seeds_the_hash(void **state)
{
    char folder[] = "/tmp/limpet-test-XXXXXX", secret[64], path[64];
    struct lp_config *config;
    struct lp_config_report report;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(secret, sizeof(secret), "%s/seed.key", folder);
    snprintf(path, sizeof(path), "%s/limpet.yaml", folder);
    write_file(secret, "correct horse\n");
    write_file(path, "\xef\xbb\xbflisteners: {w: {bind: 127.0.0.1:1, pool: p}}\r\n"
                     "pools: {p: {hash: {secret_file: seed.key}, servers: {a: 127.0.0.1:2}}}\r\n");
    assert_true(lp_config_load(&config, &report, path));
    assert_string_equal(report.text, "");
    assert_true(config->pools[0].seed == lp_hash_seed(LP_SLICE("correct horse\n")));
    assert_true(config->pools[0].seed != 0);
    lp_config_destroy(config);
    lp_config_report_deinit(&report);

    write_file(secret, "\n");
    assert_false(lp_config_load(&config, &report, path));
    assert_non_null(strstr(report.text, "limpet.yaml:2:33: error: pools.p.hash.secret_file: cannot "
                                        "read /tmp/limpet-test-"));
    assert_non_null(strstr(report.text, "seed.key: it is empty\n"));
    lp_config_report_deinit(&report);
    unlink(secret);
    unlink(path);
    rmdir(folder);
}

static void ten_thousand_servers_load_in_well_under_a_second(void **state)
{
    size_t room = 1048576, used;
    char *text = lp_alloc(room);
    uint64_t begin_ms = lp_clock_ms();

    (void)state;
    used = (size_t)snprintf(text, room,
                            "listeners: {w: {bind: 127.0.0.1:1, pool: p}}\n"
                            "pools:\n  p:\n    servers:\n");
    for (int i = 0; i < 10000; i++)
        used += (size_t)snprintf(text + used, room - used,
                                 "      s%d: {address: 10.0.%d.%d:80, weight: 2, id: i%d}\n", i,
                                 i / 256, i % 256, i);
    struct lp_config *config = parse(text);
    struct lp_config *same = parse(text);
    struct lp_config_diff diff;
    lp_config_diff(config, same, &diff);
    assert_int_equal(diff.servers_count, 0);
    lp_config_diff_deinit(&diff);
    assert_int_equal(config->pools[0].servers_count, 10000);
    assert_slice(config->pools[0].servers[9999].id, "i9999");
    assert_in_range(lp_clock_ms() - begin_ms, 0, 2000);
    lp_config_destroy(config);
    lp_config_destroy(same);
    lp_free(text);
}

/* ---- differences ---- */

static void a_difference_lists_servers_and_addresses(void **state)
{
    struct lp_config *before =
        parse("listeners:\n"
              "  a: {bind: [127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3], pool: p}\n"
              "pools:\n"
              "  p: {servers: {kept: 10.0.0.1:1, gone: 10.0.0.2:1, moved: 10.0.0.3:1}}\n"
              "  q: {servers: {kept: 10.0.0.4:1}}\n");
    struct lp_config *after =
        parse("listeners:\n"
              "  a: {bind: [127.0.0.1:2, \"*:1\"], pool: p}\n"
              "  b: {bind: 127.0.0.1:3, pool: p}\n"
              "pools:\n"
              "  p: {servers: {new: 10.0.0.2:1, moved: 10.0.0.3:2, kept: 10.0.0.1:1}}\n"
              "  r: {servers: {kept: 10.0.0.4:1}}\n");
    struct lp_config_diff diff;

    (void)state;
    lp_config_diff(before, after, &diff);
    assert_null(diff.restart_key);
    assert_int_equal(diff.servers_count, 5);
    assert_int_equal(diff.servers_added, 2);
    assert_int_equal(diff.servers_removed, 2);
    assert_int_equal(diff.servers_changed, 1);
    assert_int_equal(diff.servers[0].change, LP_CFG_REMOVED);
    assert_slice(diff.servers[0].old_server->name, "gone");
    assert_null(diff.servers[0].new_server);
    assert_ptr_equal(diff.servers[0].old_pool, &before->pools[0]);
    assert_ptr_equal(diff.servers[0].new_pool, &after->pools[0]);
    assert_int_equal(diff.servers[1].change, LP_CFG_CHANGED);
    assert_slice(diff.servers[1].old_server->name, "moved");
    assert_address(&diff.servers[1].new_server->address, "10.0.0.3:2");
    assert_int_equal(diff.servers[2].change, LP_CFG_ADDED);
    assert_slice(diff.servers[2].new_server->name, "new");
    assert_int_equal(diff.servers[3].change, LP_CFG_REMOVED);
    assert_null(diff.servers[3].new_pool);
    assert_int_equal(diff.servers[4].change, LP_CFG_ADDED);
    assert_null(diff.servers[4].old_pool);
    assert_int_equal(diff.binds_count, 3);
    assert_int_equal(diff.binds_added, 1);
    assert_int_equal(diff.binds_removed, 1);
    assert_int_equal(diff.binds[0].change, LP_CFG_REMOVED);
    assert_slice(diff.binds[0].old_bind->text, "127.0.0.1:1");
    assert_int_equal(diff.binds[1].change, LP_CFG_CHANGED);
    assert_slice(diff.binds[1].new_listener->name, "b");
    assert_int_equal(diff.binds[2].change, LP_CFG_ADDED);
    assert_slice(diff.binds[2].new_bind->text, "*:1");
    lp_config_diff_deinit(&diff);
    lp_config_destroy(before);
    lp_config_destroy(after);
}

static void a_difference_names_the_key_that_needs_a_restart(void **state)
{
    struct lp_config *before = parse(minimal);
    struct lp_config *after =
        parse("workers: 2\nlisteners: {web: {bind: 0.0.0.0:8080, pool: app}}\n"
              "pools: {app: {servers: {a: 10.0.0.1:9000, b: 10.0.0.2:9000}}}\n");
    struct lp_config_diff diff;

    (void)state;
    lp_config_diff(before, after, &diff);
    assert_string_equal(diff.restart_key, "workers");
    assert_int_equal(diff.servers_count, 0);
    assert_int_equal(diff.binds_count, 0);
    lp_config_diff_deinit(&diff);
    lp_config_destroy(before);
    lp_config_destroy(after);
}

/* ---- the reference ---- */

#define REFERENCE_BYTES_MAX ((size_t)256 * 1024)

static char *read_whole(FILE *file, size_t *size)
{
    char *text = lp_alloc(REFERENCE_BYTES_MAX);

    rewind(file);
    *size = fread(text, 1, REFERENCE_BYTES_MAX - 1, file);
    return text;
}

static void docs_configuration_is_what_the_table_prints(void **state)
{
    FILE *printed = tmpfile(), *written = fopen("docs/configuration.md", "r");
    size_t printed_size, written_size;

    (void)state;
    assert_non_null(printed);
    assert_non_null(written);
    lp_config_print_reference(printed);
    char *printed_text = read_whole(printed, &printed_size);
    char *written_text = read_whole(written, &written_size);
    assert_string_equal(written_text, printed_text);
    lp_free(printed_text);
    lp_free(written_text);
    fclose(printed);
    fclose(written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_process_has_the_documented_defaults),
        cmocka_unit_test(a_listener_has_the_documented_defaults),
        cmocka_unit_test(a_pool_has_the_documented_defaults),
        cmocka_unit_test(a_check_and_a_server_have_the_documented_defaults),
        cmocka_unit_test(every_key_of_the_process_is_read),
        cmocka_unit_test(every_key_of_a_listener_is_read),
        cmocka_unit_test(a_route_matches_in_normal_form),
        cmocka_unit_test(every_key_of_a_pool_is_read),
        cmocka_unit_test(every_key_of_a_check_is_read),
        cmocka_unit_test(a_key_with_everything_commented_out_has_its_defaults),
        cmocka_unit_test(the_nearest_timeout_wins),
        cmocka_unit_test(words_mean_the_same_with_and_without_quotes),
        cmocka_unit_test(the_environment_is_put_into_one_scalar_after_parsing),
        cmocka_unit_test(a_secret_file_beside_the_configuration_seeds_the_hash),
        cmocka_unit_test(ten_thousand_servers_load_in_well_under_a_second),
        cmocka_unit_test(a_difference_lists_servers_and_addresses),
        cmocka_unit_test(a_difference_names_the_key_that_needs_a_restart),
        cmocka_unit_test(docs_configuration_is_what_the_table_prints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
