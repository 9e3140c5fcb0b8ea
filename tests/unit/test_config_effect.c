/* Settings that nothing reads: each row of a table is a valid file with one of them, and must give
 * exactly that one warning; what looks alike and has an effect must give none. And the type of a
 * check that does not say it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

/* Where the lines stand. */
enum around { TOP_OF_HTTP, TOP_OF_TCP, LISTENER, HTTP, TCP, TLS, BOTH, SERVER, UNIX };

static const char *const before[] = {
    [TOP_OF_HTTP] = "",
    [TOP_OF_TCP] = "",
    [LISTENER] = "listeners:\n  web:\n",
    [HTTP] = "listeners: {web: {bind: 127.0.0.1:8080, pool: app}}\npools:\n  app:\n",
    [TCP] = "listeners: {db: {bind: 127.0.0.1:8080, protocol: tcp, pool: app}}\npools:\n  app:\n",
    [TLS] =
        "listeners: {web: {bind: 127.0.0.1:8080, pool: app, tls: {certificates: [{cert: a, key: "
        "b}], tickets: {secret_file: s}}}}\npools:\n  app:\n",
    [BOTH] = "listeners: {web: {bind: 127.0.0.1:8080, pool: app}, db: {bind: 127.0.0.1:8081, "
             "protocol: tcp, pool: app}}\npools:\n  app:\n",
    [UNIX] = "listeners: {web: {bind: \"unix:/x\", pool: app}}\npools:\n  app:\n",
    [SERVER] = "listeners: {web: {bind: 127.0.0.1:8080, pool: app}}\npools:\n  app:\n",
};

#define SERVERS "\n    servers: {a: 10.0.0.1:80, b: 10.0.0.2:80}\n"

static const char *const after[] = {
    [TOP_OF_HTTP] = "\nlisteners: {web: {bind: 127.0.0.1:8080, pool: app}}\n"
                    "pools: {app: {servers: {a: 10.0.0.1:80}}}\n",
    [TOP_OF_TCP] = "\nlisteners: {db: {bind: 127.0.0.1:8080, protocol: tcp, pool: app}}\n"
                   "pools: {app: {servers: {a: 10.0.0.1:80}}}\n",
    [LISTENER] = "\npools: {app: {servers: {a: 10.0.0.1:80}}}\n",
    [HTTP] = SERVERS,
    [TCP] = SERVERS,
    [TLS] = SERVERS,
    [BOTH] = SERVERS,
    [SERVER] = "\n",
    [UNIX] = SERVERS,
};

struct setting {
    enum around around;
    const char *lines;
    const char *warning; /* behind "t.yaml:", up to the end of the line */
};

static struct lp_config *load(const struct setting *setting, struct lp_config_report *report)
{
    struct lp_config *config;
    char text[4096];

    int size = snprintf(text, sizeof(text), "%s%s%s", before[setting->around], setting->lines,
                        after[setting->around]);
    assert_in_range(size, 0, sizeof(text) - 1);
    if (!lp_config_parse(&config, report, "t.yaml", lp_slice_of(text))) {
        print_error("input: %s\ngot:   %s\n", setting->lines, report->text);
        fail();
    }
    return config;
}

static void assert_only_warning(const struct setting *setting)
{
    struct lp_config_report report;
    struct lp_config *config = load(setting, &report);
    char expected[512];

    size_t size = (size_t)snprintf(expected, sizeof(expected), "t.yaml:%s\n", setting->warning);
    if (report.warnings_count != 1 || strncmp(report.text, expected, size) != 0) {
        print_error("input:    %s\nexpected: %sgot:      %s\n", setting->lines, expected,
                    report.text);
        fail();
    }
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
}

static void assert_silence(const struct setting *setting)
{
    struct lp_config_report report;
    struct lp_config *config = load(setting, &report);

    if (report.warnings_count != 0) {
        print_error("input: %s\ngot:   %s\n", setting->lines, report.text);
        fail();
    }
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
}

#define ASSERT_WARNINGS(settings)                                                                  \
    for (size_t i = 0; i < LP_COUNT_OF(settings); i++)                                             \
    assert_only_warning(&(settings)[i])
#define ASSERT_SILENCE(settings)                                                                   \
    for (size_t i = 0; i < LP_COUNT_OF(settings); i++)                                             \
    assert_silence(&(settings)[i])

/* ---- the process ---- */

#define NO_HTTP "has no effect: no listener of this file has protocol http"

static void what_only_requests_have_is_warned_of_where_no_listener_reads_any(void **state)
{
    static const struct setting settings[] = {
        {TOP_OF_TCP, "limits: {head: 8KiB}", "1:16: warning: limits.head: " NO_HTTP},
        {TOP_OF_TCP, "limits: {headers: 50}", "1:19: warning: limits.headers: " NO_HTTP},
        {TOP_OF_TCP, "limits: {body: 1MiB}", "1:16: warning: limits.body: " NO_HTTP},
        {TOP_OF_TCP, "timeouts: {head: 5s}", "1:18: warning: timeouts.head: " NO_HTTP},
        {TOP_OF_TCP, "timeouts: {keep_alive: 5s}", "1:24: warning: timeouts.keep_alive: " NO_HTTP},
        {TOP_OF_TCP, "timeouts: {body: 5s}", "1:18: warning: timeouts.body: " NO_HTTP},
        {TOP_OF_TCP, "timeouts: {response: 5s}", "1:22: warning: timeouts.response: " NO_HTTP},
        {TOP_OF_TCP, "drain: {close_code: 1012}", "1:21: warning: drain.close_code: " NO_HTTP},
        {TOP_OF_TCP, "log: {access: {query: [room]}}", "1:16: warning: log.access.query: " NO_HTTP},
    };
    static const struct setting silent[] = {
        {TOP_OF_TCP, "limits: {connections: 5, stalled: 64KiB, memory: 1MiB}", NULL},
        {TOP_OF_TCP,
         "timeouts: {handshake: 5s, connect: 1s, stream_idle: 1h, half_closed: 1s, stalled: 1s, "
         "linger: 1s}",
         NULL},
        {TOP_OF_TCP, "drain: {delay: 1s, deadline: 2s, spread: 50%}", NULL},
        {TOP_OF_TCP, "log: {level: debug, access: {to: stderr, format: text}}", NULL},
        {TOP_OF_HTTP, "limits: {head: 8KiB, headers: 50, body: 1MiB}", NULL},
        {TOP_OF_HTTP, "drain: {close_code: 1012}", NULL},
        {TOP_OF_HTTP,
         "timeouts: {handshake: 5s, head: 5s, keep_alive: 5s, body: 5s, connect: 1s, response: 5s, "
         "stream_idle: 1h, half_closed: 1s, stalled: 1s, linger: 1s}",
         NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

static void a_limit_that_cannot_be_kept_is_warned_of(void **state)
{
    static const struct setting settings[] = {
        {TOP_OF_HTTP, "limits: {stalled: 8KiB}",
         "1:19: warning: limits.stalled: has no effect below 16KiB, the least that is received at "
         "once"},
        {TOP_OF_TCP, "limits: {stalled: 1MiB}",
         "1:19: warning: limits.stalled: has no effect above 256KiB, the most that is received at "
         "once"},
    };
    static const struct setting silent[] = {
        {TOP_OF_HTTP, "limits: {stalled: 16KiB}", NULL},
        {TOP_OF_HTTP, "limits: {stalled: 256KiB}", NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

static void an_access_log_that_is_off_has_no_form(void **state)
{
    static const struct setting settings[] = {
        {TOP_OF_HTTP, "log: {access: {to: off, format: text}}",
         "1:33: warning: log.access.format: has no effect: no line is written with \"to: off\""},
        {TOP_OF_TCP, "log: {access: {to: off, query: [room]}}",
         "1:25: warning: log.access.query: has no effect: no line is written with \"to: off\""},
    };
    static const struct setting silent[] = {
        {TOP_OF_HTTP, "log: {access: {to: off}}", NULL},
        {TOP_OF_HTTP, "log: {access: {format: text, query: [room]}}", NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

/* ---- listeners and routes ---- */

#define IS_TCP "has no effect: a listener with protocol tcp reads no requests"
#define EARLY                                                                                      \
    "has no effect: it is over before a route is chosen; it counts on listeners and at the top"
#define REDIRECTS "has no effect: this listener answers everything itself"

static void a_tcp_listener_has_nothing_that_only_requests_have(void **state)
{
    static const struct setting settings[] = {
        {LISTENER, "    {bind: 127.0.0.1:1, protocol: tcp, pool: app, timeouts: {head: 1s}}",
         "3:68: warning: listeners.web.timeouts.head: " IS_TCP},
        {LISTENER, "    {bind: 127.0.0.1:1, protocol: tcp, pool: app, timeouts: {keep_alive: 1s}}",
         "3:74: warning: listeners.web.timeouts.keep_alive: " IS_TCP},
        {LISTENER, "    {bind: 127.0.0.1:1, protocol: tcp, pool: app, timeouts: {body: 1s}}",
         "3:68: warning: listeners.web.timeouts.body: " IS_TCP},
        {LISTENER, "    {bind: 127.0.0.1:1, protocol: tcp, pool: app, timeouts: {response: 1s}}",
         "3:72: warning: listeners.web.timeouts.response: " IS_TCP},
        {LISTENER,
         "    {bind: 127.0.0.1:1, protocol: tcp, routes: [{pool: app, timeouts: {body: 1s}}]}",
         "3:78: warning: listeners.web.routes[0].timeouts.body: " IS_TCP},
        {LISTENER, "    {bind: 127.0.0.1:1, protocol: tcp, pool: app, trusted_proxies: 10.0.0.0/8}",
         "3:68: warning: listeners.web.trusted_proxies: " IS_TCP ", so it sees no X-Forwarded-For"},
        {LISTENER, "    {bind: \"unix:/x\", pool: app, trusted_proxies: 10.0.0.0/8}",
         "3:51: warning: listeners.web.trusted_proxies: has no effect: clients of a Unix socket "
         "have no address, so none of them is in a network"},
    };
    static const struct setting silent[] = {
        {LISTENER,
         "    {bind: 127.0.0.1:1, protocol: tcp, pool: app, timeouts: {connect: 1s, stream_idle: "
         "1h, half_closed: 1s, stalled: 1s, linger: 1s}}",
         NULL},
        {LISTENER, "    {bind: [127.0.0.1:1, \"unix:/x\"], pool: app, trusted_proxies: 10.0.0.0/8}",
         NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

static void a_timeout_is_warned_of_where_nobody_waits_for_it(void **state)
{
    static const struct setting settings[] = {
        {LISTENER, "    {bind: 127.0.0.1:1, pool: app, timeouts: {handshake: 1s}}",
         "3:58: warning: listeners.web.timeouts.handshake: has no effect: this listener has no "
         "tls"},
        {LISTENER, "    {bind: 127.0.0.1:1, protocol: tcp, pool: app, timeouts: {handshake: 1s}}",
         "3:73: warning: listeners.web.timeouts.handshake: has no effect: this listener has no "
         "tls"},
        {LISTENER, "    {bind: 127.0.0.1:1, routes: [{pool: app, timeouts: {head: 1s}}]}",
         "3:63: warning: listeners.web.routes[0].timeouts.head: " EARLY},
        {LISTENER, "    {bind: 127.0.0.1:1, routes: [{pool: app, timeouts: {keep_alive: 1s}}]}",
         "3:69: warning: listeners.web.routes[0].timeouts.keep_alive: " EARLY},
        {LISTENER, "    {bind: 127.0.0.1:1, routes: [{pool: app, timeouts: {handshake: 1s}}]}",
         "3:68: warning: listeners.web.routes[0].timeouts.handshake: " EARLY},
        {HTTP, "    timeouts: {head: 1s}", "4:22: warning: pools.app.timeouts.head: " EARLY},
        {TLS, "    timeouts: {handshake: 1s}",
         "4:27: warning: pools.app.timeouts.handshake: " EARLY},
        {TCP, "    timeouts: {response: 1s}",
         "4:26: warning: pools.app.timeouts.response: has no effect: only listeners with protocol "
         "tcp use this pool"},
    };
    static const struct setting silent[] = {
        {LISTENER,
         "    {bind: 127.0.0.1:1, protocol: tcp, routes: [{match: {sni: a.b}, pool: app}], "
         "timeouts: {handshake: 1s}}",
         NULL},
        {LISTENER,
         "    {bind: 127.0.0.1:1, pool: app, tls: {certificates: [{cert: a, key: b}], tickets: "
         "{secret_file: s}}, timeouts: {handshake: 1s}}",
         NULL},
        {LISTENER,
         "    {bind: 127.0.0.1:1, redirect: https, timeouts: {head: 1s, linger: 1s}}\n"
         "  other: {bind: 127.0.0.1:2, pool: app}",
         NULL},
        {BOTH, "    timeouts: {response: 1s, body: 1s}", NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

static void a_redirection_reaches_no_server(void **state)
{
    static const char *const keys[] = {"body", "connect", "response", "stream_idle", "half_closed"};

    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(keys); i++) {
        char lines[256], warning[256];
        snprintf(lines, sizeof(lines),
                 "    {bind: 127.0.0.1:1, redirect: https, timeouts: {%s: 1s}}\n"
                 "  other: {bind: 127.0.0.1:2, pool: app}",
                 keys[i]);
        snprintf(warning, sizeof(warning), "3:%zu: warning: listeners.web.timeouts.%s: " REDIRECTS,
                 55 + strlen(keys[i]), keys[i]);
        assert_only_warning(&(struct setting){LISTENER, lines, warning});
    }
}

/* ---- pools: what is hashed ---- */

static void hash_is_warned_of_where_nothing_is_hashed(void **state)
{
    static const struct setting settings[] = {
        {HTTP, "    balance: round_robin\n    hash: {key: \"header:X-Tenant\"}",
         "5:5: warning: pools.app.hash: has no effect beside balance: round_robin; balance: hash "
         "uses it"},
        {HTTP, "    balance: least_connections\n    hash: {ipv4_prefix: 24}",
         "5:5: warning: pools.app.hash: has no effect beside balance: least_connections; balance: "
         "hash uses it"},
        {TCP, "    balance: round_robin\n    hash: {key: [\"cookie:a\", client_ip]}",
         "5:5: warning: pools.app.hash: has no effect beside balance: round_robin; balance: hash "
         "uses it"},
    };
    static const struct setting silent[] = {
        {HTTP, "    balance: round_robin\n    hash: {}", NULL},
        {HTTP, "    balance: hash\n    hash: {ipv4_prefix: 24, ipv6_prefix: 48}", NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

static void a_server_id_is_warned_of_where_nothing_is_hashed(void **state)
{
    static const struct setting settings[] = {
        {SERVER, "    balance: round_robin\n    servers: {a: {address: 10.0.0.1:80, id: x}}",
         "5:45: warning: pools.app.servers.a.id: has no effect: it is what balance: hash hashes"},
    };
    static const struct setting silent[] = {
        {SERVER, "    servers: {a: {address: 10.0.0.1:80, id: x}}", NULL},
        {SERVER, "    balance: round_robin\n    servers: {a: {address: 10.0.0.1:80, weight: 2}}",
         NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

#define TCP_KEY                                                                                    \
    "has no effect: only listeners with protocol tcp use this pool, which see no requests; "       \
    "\"client_ip\" or \"sni\" would tell clients apart"
#define NO_IP  "only listeners on Unix sockets use this pool, whose clients have no address"
#define BEHIND "has no effect: every client has a key before it in this list"

static void a_key_that_no_client_has_is_warned_of(void **state)
{
    static const struct setting settings[] = {
        {TCP, "    hash: {key: \"query:room\"}", "4:17: warning: pools.app.hash.key: " TCP_KEY},
        {TCP, "    hash: {key: path}", "4:17: warning: pools.app.hash.key: " TCP_KEY},
        {TCP, "    hash: {key: \"cookie:sid\"}", "4:17: warning: pools.app.hash.key: " TCP_KEY},
        {TCP, "    hash: {key: \"header:X\"}", "4:17: warning: pools.app.hash.key: " TCP_KEY},
        {TCP, "    hash: {key: [\"cookie:sid\", client_ip]}",
         "4:18: warning: pools.app.hash.key[0]: " TCP_KEY},
        {UNIX, "    hash: {key: client_ip}",
         "4:17: warning: pools.app.hash.key: has no effect: " NO_IP},
        {UNIX, "    hash: {key: path, ipv6_prefix: 48}",
         "4:36: warning: pools.app.hash.ipv6_prefix: has no effect: " NO_IP},
        {UNIX, "    balance: hash",
         "3:3: warning: pools.app: every client goes to the same server: " NO_IP
         "; another \"hash.key\" or \"balance\" would tell them apart"},
        {HTTP, "    hash: {key: sni}",
         "4:17: warning: pools.app.hash.key: has no effect: no listener that uses this pool speaks "
         "TLS"},
        {HTTP, "    hash: {key: [client_ip, \"cookie:sid\"]}",
         "4:29: warning: pools.app.hash.key[1]: " BEHIND},
        {HTTP, "    hash: {key: [path, \"cookie:sid\"]}",
         "4:24: warning: pools.app.hash.key[1]: " BEHIND},
        {HTTP, "    hash: {key: path, ipv4_prefix: 24}",
         "4:36: warning: pools.app.hash.ipv4_prefix: has no effect: every request has a path, so "
         "no address is hashed"},
        {HTTP, "    hash: {key: [path, client_ip], ipv6_prefix: 48}",
         "4:49: warning: pools.app.hash.ipv6_prefix: has no effect: every request has a path, so "
         "no address is hashed"},
        {HTTP, "    hash: {key: [\"cookie:sid\", client_ip]}",
         "4:12: warning: pools.app.hash.key: a list of keys: a client whose requests carry "
         "\"cookie:sid\" only now and then is sent to different servers"},
    };
    static const struct setting silent[] = {
        {TCP, "    hash: {key: sni}", NULL},
        {UNIX, "    hash: {key: \"cookie:sid\"}", NULL},
        {UNIX, "    balance: round_robin", NULL},
        {TCP, "    hash: {key: client_ip, ipv4_prefix: 24}", NULL},
        {TLS, "    hash: {key: sni}", NULL},
        {BOTH, "    hash: {key: \"cookie:sid\", ipv4_prefix: 24}", NULL},
        {BOTH, "    hash: {key: sni}", NULL},
        {BOTH, "    hash: {key: path, ipv4_prefix: 24}", NULL},
        {HTTP, "    hash: {key: [path, client_ip]}", NULL},
        {HTTP, "    hash: {key: [client_ip], ipv4_prefix: 24}", NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

/* ---- pools: the rest ---- */

static void what_a_pools_connections_never_do_is_warned_of(void **state)
{
    static const struct setting settings[] = {
        {TCP, "    keep_alive: {idle: 5}",
         "4:5: warning: pools.app.keep_alive: has no effect: only listeners with protocol tcp use "
         "this pool, which never use a connection again"},
        {HTTP, "    proxy_protocol: v2\n    keep_alive: {timeout: 5s}",
         "5:5: warning: pools.app.keep_alive: has no effect: with proxy_protocol each connection "
         "is one client's and never used again"},
        {HTTP, "    keep_alive: {idle: 0, timeout: 5s}",
         "4:36: warning: pools.app.keep_alive.timeout: has no effect: \"idle: 0\" keeps no "
         "connection"},
        {TCP, "    drain: {close_code: 1012}",
         "4:25: warning: pools.app.drain.close_code: has no effect: only listeners with protocol "
         "tcp use this pool, whose streams have no Close frames"},
        {HTTP, "    when_all_down: try_all\n    check: {type: off}",
         "4:20: warning: pools.app.when_all_down: has no effect: without checks no server is "
         "down"},
    };
    static const struct setting silent[] = {
        {HTTP, "    keep_alive: {idle: 5, timeout: 5s}", NULL},
        {HTTP, "    keep_alive: {idle: 0}", NULL},
        {BOTH, "    keep_alive: {idle: 5}\n    drain: {close_code: 1012}", NULL},
        {TCP, "    retries: 1\n    proxy_protocol: v1\n    drain: {deadline: 1m, spread: 5%}",
         NULL},
        {HTTP, "    when_all_down: reject\n    check: {type: off}", NULL},
        {HTTP, "    when_all_down: try_all", NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

static void an_address_as_a_name_that_is_not_verified_is_warned_of(void **state)
{
    static const struct setting setting = {
        HTTP, "    tls: {verify: false, name: 10.0.0.1}",
        ":32: warning: pools.app.tls.name: has no effect: with verify: false an IP address is "
        "neither compared nor asked for\n"};
    static const struct setting other = {HTTP, "    tls: {verify: false, name: app.internal}", ""};
    struct lp_config_report report;
    struct lp_config *config = load(&setting, &report);

    (void)state;
    assert_int_equal(report.warnings_count, 2); /* the other is that of verify: false itself */
    assert_non_null(strstr(report.text, setting.warning));
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
    config = load(&other, &report);
    assert_int_equal(report.warnings_count, 1);
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
}

/* ---- checks ---- */

#define NO_REQUEST                                                                                 \
    "has no effect: a tcp check sends no request; \"type: http\" or \"type: websocket\" does"
#define NO_PING "has no effect: only a websocket check says Ping; \"type: websocket\" makes it one"
#define NO_CHECK                                                                                   \
    "warning: pools.app.check.type: nothing is checked, so nothing else in \"check\" has an "      \
    "effect"

static void what_a_check_of_its_type_never_does_is_warned_of(void **state)
{
    static const struct setting settings[] = {
        {HTTP, "    check: {type: tcp, path: /x}",
         "4:30: warning: pools.app.check.path: " NO_REQUEST},
        {HTTP, "    check: {type: tcp, host: a.b}",
         "4:30: warning: pools.app.check.host: " NO_REQUEST},
        {HTTP, "    check: {type: tcp, headers: {A: b}}",
         "4:24: warning: pools.app.check.headers: " NO_REQUEST},
        {HTTP, "    check: {type: tcp, expect: 204}",
         "4:32: warning: pools.app.check.expect: has no effect: a tcp check hears no answer; "
         "\"type: http\" does"},
        {HTTP, "    check: {type: tcp, ping: true}",
         "4:30: warning: pools.app.check.ping: " NO_PING},
        {HTTP, "    check: {type: http, ping: true}",
         "4:31: warning: pools.app.check.ping: " NO_PING},
        {HTTP, "    check: {type: websocket, expect: 101}",
         "4:38: warning: pools.app.check.expect: has no effect: a websocket check expects 101; "
         "\"type: http\" lets you choose the status"},
        {HTTP, "    check: {type: off, interval: 5s}", "4:19: " NO_CHECK},
        {HTTP, "    check: {path: /x, ping: true, rise: 1, type: off}", "4:50: " NO_CHECK},
        {SERVER, "    check: {port: 80}\n    servers: {a: \"unix:/y\"}",
         "4:19: warning: pools.app.check.port: has no effect: every server is on a Unix socket"},
    };
    static const struct setting silent[] = {
        {HTTP, "    check: {type: tcp, port: 80, interval: 1s, timeout: 1s, rise: 1, fall: 1}",
         NULL},
        {HTTP,
         "    check: {type: http, path: /, host: a, headers: {A: b}, expect: 200, ping: false}",
         NULL},
        {HTTP, "    check: {type: websocket, path: /, host: a, headers: {A: b}, ping: true}", NULL},
        {HTTP, "    check: {type: tcp, ping: false}", NULL},
        {HTTP, "    check: {type: off}", NULL},
    };

    (void)state;
    ASSERT_WARNINGS(settings);
    ASSERT_SILENCE(silent);
}

static void a_check_without_a_type_is_what_its_keys_ask_for(void **state)
{
    static const struct {
        const char *lines;
        enum lp_check_type type;
    } checks[] = {
        {"    check: {}", LP_CHECK_TCP},
        {"    check: {interval: 1s, ping: false}", LP_CHECK_TCP},
        {"    check: {port: 81}", LP_CHECK_TCP},
        {"    check: {path: /ready}", LP_CHECK_HTTP},
        {"    check: {expect: 204}", LP_CHECK_HTTP},
        {"    check: {path: /ready, host: a, headers: {A: b}, expect: 204}", LP_CHECK_HTTP},
        {"    check: {ping: true}", LP_CHECK_WEBSOCKET},
        {"    check: {ping: true, path: /live, host: a, headers: {A: b}}", LP_CHECK_WEBSOCKET},
    };

    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(checks); i++) {
        struct lp_config_report report;
        struct lp_config *config = load(&(struct setting){HTTP, checks[i].lines, NULL}, &report);
        assert_int_equal(config->pools[0].check.type, checks[i].type);
        assert_string_equal(report.text, "");
        lp_config_report_deinit(&report);
        lp_config_destroy(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_only_requests_have_is_warned_of_where_no_listener_reads_any),
        cmocka_unit_test(a_limit_that_cannot_be_kept_is_warned_of),
        cmocka_unit_test(an_access_log_that_is_off_has_no_form),
        cmocka_unit_test(a_tcp_listener_has_nothing_that_only_requests_have),
        cmocka_unit_test(a_timeout_is_warned_of_where_nobody_waits_for_it),
        cmocka_unit_test(a_redirection_reaches_no_server),
        cmocka_unit_test(hash_is_warned_of_where_nothing_is_hashed),
        cmocka_unit_test(a_server_id_is_warned_of_where_nothing_is_hashed),
        cmocka_unit_test(a_key_that_no_client_has_is_warned_of),
        cmocka_unit_test(what_a_pools_connections_never_do_is_warned_of),
        cmocka_unit_test(an_address_as_a_name_that_is_not_verified_is_warned_of),
        cmocka_unit_test(what_a_check_of_its_type_never_does_is_warned_of),
        cmocka_unit_test(a_check_without_a_type_is_what_its_keys_ask_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
