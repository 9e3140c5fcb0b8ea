/* What the configuration says about TLS, redirects, SNI and PROXY headers: values, defaults,
 * mistakes and warnings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

static struct lp_config *parse(const char *text)
{
    struct lp_config *config;
    struct lp_config_report report;

    if (!lp_config_parse(&config, &report, "/etc/limpet/limpet.yaml", lp_slice_of(text)))
        fail_msg("%s", report.text);
    lp_config_report_deinit(&report);
    return config;
}

static void assert_slice(struct lp_slice slice, const char *expected)
{
    if (!lp_slice_equal(slice, lp_slice_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", LP_SLICE_ARG(slice), expected);
}

#define POOLS "pools: {app: {servers: {a: 10.0.0.1:80}}}\n"

/* ---- listeners ---- */

static const char edge[] = "listeners:\n"
                           "  edge:\n"
                           "    bind: 127.0.0.1:443\n"
                           "    pool: app\n"
                           "    timeouts: {handshake: 3s}\n"
                           "    tls:\n"
                           "      certificates:\n"
                           "        - {cert: site.pem, key: /keys/site.key, ocsp: site.ocsp}\n"
                           "        - cert: other.pem\n"
                           "          key: other.key\n"
                           "      versions: \"1.3\"\n"
                           "      client_ca: ca.pem\n"
                           "      tickets: {secret_file: t.key}\n"
                           "      hsts: 365d\n"
                           "  web: {bind: 127.0.0.1:80, redirect: https}\n"
                           "  raw: {bind: 127.0.0.1:5432, protocol: tcp, pool: app}\n" POOLS;

static void every_key_of_a_listeners_tls_is_read(void **state)
{
    struct lp_config *config = parse(edge);
    const struct lp_cfg_front_tls *tls = &config->listeners[0].tls;

    (void)state;
    assert_true(tls->is_on);
    assert_int_equal(tls->certificates_count, 2);
    assert_slice(tls->certificates[0].cert.path, "/etc/limpet/site.pem");
    assert_slice(tls->certificates[0].key.path, "/keys/site.key");
    assert_slice(tls->certificates[0].ocsp.path, "/etc/limpet/site.ocsp");
    assert_slice(tls->certificates[1].cert.path, "/etc/limpet/other.pem");
    assert_int_equal(tls->certificates[1].ocsp.path.size, 0);
    assert_int_equal(tls->versions, LP_TLS_1_3);
    assert_slice(tls->client_ca.path, "/etc/limpet/ca.pem");
    assert_slice(tls->ticket_secret.path, "/etc/limpet/t.key");
    assert_true(tls->hsts_s == 365ull * 86400);
    assert_int_equal(config->listeners[0].timeouts.handshake, 3000);
    assert_int_equal(config->listeners[0].routes[0].timeouts.handshake, 3000);
    lp_config_destroy(config);
}

static void a_file_knows_where_it_is_named(void **state)
{
    struct lp_config *config = parse(edge);
    const struct lp_cfg_front_tls *tls = &config->listeners[0].tls;

    (void)state;
    assert_slice(tls->certificates[0].key.where, "listeners.edge.tls.certificates[0].key");
    assert_int_equal(tls->certificates[0].key.pos.line, 8);
    assert_int_equal(tls->certificates[0].key.pos.column, 33);
    assert_int_equal(tls->certificates[0].key.pos.width, 14);
    assert_slice(tls->certificates[1].cert.where, "listeners.edge.tls.certificates[1].cert");
    assert_int_equal(tls->certificates[1].pos.line, 9);
    assert_slice(tls->ticket_secret.where, "listeners.edge.tls.tickets.secret_file");
    assert_slice(tls->client_ca.where, "listeners.edge.tls.client_ca");
    /* A path can be given to open(). */
    assert_int_equal(tls->client_ca.path.data[tls->client_ca.path.size], '\0');
    lp_config_destroy(config);
}

static void tls_is_off_where_nothing_is_said_of_it(void **state)
{
    struct lp_config *config = parse(edge);

    (void)state;
    assert_false(config->listeners[1].tls.is_on);
    assert_false(config->listeners[2].tls.is_on);
    assert_false(config->pools[0].tls.is_on);
    assert_int_equal(config->pools[0].proxy_protocol, LP_PROXY_PROTOCOL_OFF);
    lp_config_destroy(config);
}

static void a_listeners_tls_has_the_documented_defaults(void **state)
{
    struct lp_config *config =
        parse("listeners: {edge: {bind: 127.0.0.1:443, pool: app, tls: {certificates: "
              "[{cert: a, key: b}]}}}\n" POOLS);
    const struct lp_cfg_front_tls *tls = &config->listeners[0].tls;

    (void)state;
    assert_true(tls->is_on);
    assert_int_equal(tls->versions, LP_TLS_1_2 | LP_TLS_1_3);
    assert_int_equal(tls->client_ca.path.size, 0);
    assert_int_equal(tls->ticket_secret.path.size, 0);
    assert_true(tls->hsts_s == 0);
    assert_int_equal(config->listeners[0].timeouts.handshake, 10000);
    assert_false(config->listeners[0].redirects_to_https);
    lp_config_destroy(config);
}

static void versions_are_one_or_a_list_with_or_without_quotes(void **state)
{
    static const struct {
        const char *text;
        uint32_t versions;
    } all[] = {
        {"1.2", LP_TLS_1_2},
        {"[1.3]", LP_TLS_1_3},
        {"[\"1.3\", '1.2']", LP_TLS_1_2 | LP_TLS_1_3},
    };
    char text[512];

    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(all); i++) {
        snprintf(text, sizeof(text),
                 "listeners: {edge: {bind: 127.0.0.1:443, pool: app, tls: {versions: %s, "
                 "certificates: [{cert: a, key: b}]}}}\n" POOLS,
                 all[i].text);
        struct lp_config *config = parse(text);
        assert_int_equal(config->listeners[0].tls.versions, all[i].versions);
        lp_config_destroy(config);
    }
}

static void hsts_is_a_duration_in_seconds(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds;
    } all[] = {{"off", 0},     {"\"off\"", 0},     {"1s", 1},          {"90m", 5400},
               {"24h", 86400}, {"365d", 31536000}, {"730d", 63072000}, {"3650d", 315360000}};
    char text[512];

    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(all); i++) {
        snprintf(text, sizeof(text),
                 "listeners: {edge: {bind: 127.0.0.1:443, pool: app, tls: {hsts: %s, "
                 "certificates: [{cert: a, key: b}]}}}\n" POOLS,
                 all[i].text);
        struct lp_config *config = parse(text);
        assert_true(config->listeners[0].tls.hsts_s == all[i].seconds);
        lp_config_destroy(config);
    }
}

static void a_listener_that_redirects_has_no_routes(void **state)
{
    struct lp_config *config = parse(edge);

    (void)state;
    assert_true(config->listeners[1].redirects_to_https);
    assert_int_equal(config->listeners[1].protocol, LP_PROTOCOL_HTTP);
    assert_int_equal(config->listeners[1].routes_count, 0);
    assert_false(config->listeners[0].redirects_to_https);
    assert_int_equal(config->listeners[0].routes_count, 1);
    lp_config_destroy(config);
}

static void a_tcp_listener_routes_by_sni_with_and_without_tls(void **state)
{
    struct lp_config *config =
        parse("listeners:\n"
              "  db:\n"
              "    bind: 127.0.0.1:5432\n"
              "    protocol: tcp\n"
              "    routes:\n"
              "      - {match: {sni: One.DB.example.com.}, pool: app}\n"
              "      - {match: {sni: \"*.db.example.com\"}, pool: app}\n"
              "      - {pool: app}\n"
              "  ended:\n"
              "    bind: 127.0.0.1:5433\n"
              "    protocol: tcp\n"
              "    tls: {certificates: [{cert: a, key: b}]}\n"
              "    routes: [{match: {sni: a.example.com}, pool: app}]\n" POOLS);
    const struct lp_cfg_route *routes = config->listeners[0].routes;

    (void)state;
    assert_slice(routes[0].sni, "one.db.example.com");
    assert_false(routes[0].sni_is_suffix);
    assert_slice(routes[1].sni, "db.example.com");
    assert_true(routes[1].sni_is_suffix);
    assert_slice(routes[2].sni, "");
    assert_slice(routes[2].host, "");
    assert_slice(config->listeners[1].routes[0].sni, "a.example.com");
    lp_config_destroy(config);
}

/* ---- pools ---- */

static void every_key_of_a_pools_tls_is_read(void **state)
{
    struct lp_config *config =
        parse("listeners: {web: {bind: 127.0.0.1:80, pool: app}}\n"
              "pools:\n"
              "  app:\n"
              "    proxy_protocol: v2\n"
              "    hash: {key: [sni, client_ip]}\n"
              "    tls: {verify: true, ca: ca.pem, name: App.Internal., cert: c.pem, key: c.key}\n"
              "    timeouts: {handshake: 2s}\n"
              "    servers: {a: 10.0.0.1:443}\n");
    const struct lp_cfg_pool *app = &config->pools[0];

    (void)state;
    assert_true(app->tls.is_on);
    assert_true(app->tls.verify);
    assert_slice(app->tls.name, "app.internal");
    assert_slice(app->tls.ca.path, "/etc/limpet/ca.pem");
    assert_slice(app->tls.ca.where, "pools.app.tls.ca");
    assert_slice(app->tls.cert.path, "/etc/limpet/c.pem");
    assert_slice(app->tls.key.path, "/etc/limpet/c.key");
    assert_int_equal(app->tls.key.pos.line, 6);
    assert_int_equal(app->proxy_protocol, LP_PROXY_PROTOCOL_V2);
    assert_int_equal(app->timeouts.handshake, 2000);
    assert_int_equal(app->keys[0].source, LP_KEY_SNI);
    assert_int_equal(app->keys[0].name.size, 0);
    lp_config_destroy(config);
}

static void an_empty_tls_section_of_a_pool_is_on_and_verifies(void **state)
{
    static const char *const empty[] = {"tls: {}", "tls:\n      # name: app.internal"};
    char text[512];

    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(empty); i++) {
        snprintf(text, sizeof(text),
                 "listeners: {web: {bind: 127.0.0.1:80, pool: app}}\n"
                 "pools:\n  app:\n    %s\n    proxy_protocol: v1\n    servers: {a: 10.0.0.1:443}\n",
                 empty[i]);
        struct lp_config *config = parse(text);
        const struct lp_cfg_pool *app = &config->pools[0];
        assert_true(app->tls.is_on);
        assert_true(app->tls.verify);
        assert_slice(app->tls.name, "");
        assert_slice(app->tls.ca.path, "");
        assert_slice(app->tls.cert.path, "");
        assert_int_equal(app->proxy_protocol, LP_PROXY_PROTOCOL_V1);
        /* The system's authorities may be missing: that is said of the section. */
        assert_slice(app->tls.ca.where, "pools.app.tls");
        assert_int_equal(app->tls.ca.pos.line, 4);
        assert_int_equal(app->tls.ca.pos.column, 5);
        assert_int_equal(app->tls.ca.pos.width, 3);
        lp_config_destroy(config);
    }
}

static void a_servers_name_may_be_an_ip_address(void **state)
{
    struct lp_config *config =
        parse("listeners: {web: {bind: 127.0.0.1:80, pool: app}}\n"
              "pools: {app: {tls: {name: \"2001:DB8::1\"}, servers: {a: \"unix:/run/a\"}}}\n");

    (void)state;
    assert_slice(config->pools[0].tls.name, "2001:db8::1");
    lp_config_destroy(config);
}

/* ---- differences ---- */

static uint32_t count_changed_servers(const char *before_keys, const char *after_keys)
{
    struct lp_config *configs[2];
    struct lp_config_diff diff;
    char text[512];

    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text),
                 "listeners: {web: {bind: 127.0.0.1:80, pool: app}}\n"
                 "pools: {app: {%s servers: {a: 10.0.0.1:443, b: 10.0.0.2:443}}}\n",
                 i == 0 ? before_keys : after_keys);
        configs[i] = parse(text);
    }
    lp_config_diff(configs[0], configs[1], &diff);
    uint32_t changed = diff.servers_changed;
    assert_int_equal(diff.servers_count, changed);
    lp_config_diff_deinit(&diff);
    lp_config_destroy(configs[0]);
    lp_config_destroy(configs[1]);
    return changed;
}

static void another_way_to_speak_to_a_server_changes_it(void **state)
{
    (void)state;
    assert_int_equal(count_changed_servers("", ""), 0);
    assert_int_equal(count_changed_servers("", "tls: {},"), 2);
    assert_int_equal(count_changed_servers("tls: {},", ""), 2);
    assert_int_equal(count_changed_servers("tls: {},", "tls: {verify: true},"), 0);
    assert_int_equal(count_changed_servers("tls: {},", "tls: {verify: false},"), 2);
    assert_int_equal(count_changed_servers("tls: {name: a},", "tls: {name: A.},"), 0);
    assert_int_equal(count_changed_servers("tls: {name: a},", "tls: {name: b},"), 2);
    assert_int_equal(count_changed_servers("tls: {ca: a},", "tls: {ca: b},"), 2);
    assert_int_equal(count_changed_servers("tls: {ca: a},", "tls: {ca: a},"), 0);
    assert_int_equal(count_changed_servers("tls: {cert: a, key: b},", "tls: {cert: c, key: b},"),
                     2);
    assert_int_equal(count_changed_servers("tls: {cert: a, key: b},", "tls: {cert: a, key: c},"),
                     2);
    assert_int_equal(count_changed_servers("", "proxy_protocol: v1,"), 2);
    assert_int_equal(count_changed_servers("proxy_protocol: v1,", "proxy_protocol: v2,"), 2);
    assert_int_equal(count_changed_servers("", "proxy_protocol: off,"), 0);
    assert_int_equal(count_changed_servers("", "timeouts: {handshake: 1s},"), 0);
}

/* ---- mistakes ---- */

enum around { TLS, LISTENER, TCP, REDIRECT, POOL, BACK };

static const char *const before[] = {
    [TLS] = "listeners:\n  web:\n    bind: 127.0.0.1:443\n    pool: app\n    tls:\n"
            "      tickets: {secret_file: t}\n",
    [LISTENER] = "listeners:\n  web:\n    bind: 127.0.0.1:443\n",
    [TCP] = "listeners:\n  web:\n    bind: 127.0.0.1:443\n    protocol: tcp\n    routes:\n",
    [REDIRECT] = "listeners:\n  web:\n    bind: 127.0.0.1:80\n    redirect: https\n",
    [POOL] = "listeners: {web: {bind: 127.0.0.1:80, pool: app}}\npools:\n  app:\n"
             "    servers: {a: 10.0.0.1:443}\n",
    [BACK] = "listeners: {web: {bind: 127.0.0.1:80, pool: app}}\npools:\n  app:\n"
             "    servers: {a: 10.0.0.1:443}\n    tls:\n",
};
static const char *const after[] = {
    [TLS] = "\n" POOLS,      [LISTENER] = "\n" POOLS, [TCP] = "\n" POOLS,
    [REDIRECT] = "\n" POOLS, [POOL] = "\n",           [BACK] = "\n",
};

struct mistake {
    enum around around;
    const char *lines;
    const char *error; /* behind "t.yaml:", up to the end of the line */
};

static void assert_only_error(const struct mistake *mistake)
{
    struct lp_config *config;
    struct lp_config_report report;
    char text[2048], expected[1024];

    snprintf(text, sizeof(text), "%s%s%s", before[mistake->around], mistake->lines,
             after[mistake->around]);
    snprintf(expected, sizeof(expected), "t.yaml:%s\n", mistake->error);
    bool is_good = lp_config_parse(&config, &report, "t.yaml", lp_slice_of(text));
    if (is_good || report.errors_count != 1 ||
        strncmp(report.text, expected, strlen(expected)) != 0)
        fail_msg("input:\n%s\nexpected: %sgot:      %s", mistake->lines, expected, report.text);
    lp_config_report_deinit(&report);
}

#define ASSERT_ALL(mistakes)                                                                       \
    for (size_t i = 0; i < LP_COUNT_OF(mistakes); i++)                                             \
    assert_only_error(&(mistakes)[i])

#define ONE_CERTIFICATE "      certificates: [{cert: a, key: b}]\n"

static void a_listeners_tls_needs_a_certificate_with_its_key(void **state)
{
    static const struct mistake mistakes[] = {
        {TLS, "",
         "5:5: error: listeners.web.tls.certificates: is missing; TLS needs at least one: "
         "[{cert: site.pem, key: site.key}]"},
        {LISTENER, "    pool: app\n    tls: {tickets: {secret_file: t}, certificates: []}",
         "5:38: error: listeners.web.tls.certificates: is empty; TLS needs at least one: "
         "[{cert: site.pem, key: site.key}]"},
        {TLS, "      certificates: {cert: a, key: b}",
         "7:7: error: listeners.web.tls.certificates: needs a list (lines that begin with \"- \"), "
         "found a map"},
        {TLS, "      certificates: [site.pem]",
         "7:22: error: listeners.web.tls.certificates[0]: needs a map (lines of \"key: value\"), "
         "found a single value"},
        {TLS, "      certificates: [{cert: a, key: b}, {cert: a}]",
         "7:41: error: listeners.web.tls.certificates[1].key: is missing; the PEM file of its "
         "private key"},
        {TLS, "      certificates: [{key: a}]",
         "7:22: error: listeners.web.tls.certificates[0].cert: is missing; the PEM file of the "
         "certificate"},
        {TLS, "      certificates: [{cert: \"\", key: b}]",
         "7:29: error: listeners.web.tls.certificates[0].cert: needs the path of a file"},
        {TLS, "      certificates: [{cert: a, key: [b]}]",
         "7:32: error: listeners.web.tls.certificates[0].key: needs a single value, found a list"},
        {TLS, ONE_CERTIFICATE "      client_ca: \"\"",
         "8:18: error: listeners.web.tls.client_ca: needs the path of a file"},
        {LISTENER, "    pool: app\n    tls: true",
         "5:10: error: listeners.web.tls: needs a map (`{}` for the defaults of all its keys); "
         "leave it out for none"},
    };

    (void)state;
    ASSERT_ALL(mistakes);
}

static void versions_and_hsts_are_never_guessed(void **state)
{
#define VERSIONS(text) TLS, ONE_CERTIFICATE "      versions: " text
#define AT_VERSIONS    "8:17: error: listeners.web.tls.versions: "
#define HSTS(text)     TLS, ONE_CERTIFICATE "      hsts: " text
#define AT_HSTS        "8:13: error: listeners.web.tls.hsts: "
    static const struct mistake mistakes[] = {
        {VERSIONS("TLSv1.3"), AT_VERSIONS "\"TLSv1.3\" is none of 1.2, 1.3; limpet says \"1.3\""},
        {VERSIONS("tls1.2"), AT_VERSIONS "\"tls1.2\" is none of 1.2, 1.3; limpet says \"1.2\""},
        {VERSIONS("1.1"),
         AT_VERSIONS "versions before TLS 1.2 are not safe and not spoken (RFC 8996)"},
        {VERSIONS("SSLv3"),
         AT_VERSIONS "versions before TLS 1.2 are not safe and not spoken (RFC 8996)"},
        {VERSIONS("1.4"), AT_VERSIONS "\"1.4\" is none of 1.2, 1.3"},
        {VERSIONS("[]"), "8:7: error: listeners.web.tls.versions: needs at least one of 1.2, 1.3"},
        {VERSIONS("[1.3, \"1.3\"]"),
         "8:23: error: listeners.web.tls.versions[1]: stands in this list twice"},
        {HSTS("31536000"), AT_HSTS "\"31536000\" has no unit; did you mean \"365d\"?"},
        {HSTS("365days"), AT_HSTS "\"365days\" is not a duration; did you mean \"365d\"?"},
        {HSTS("500ms"),
         AT_HSTS "\"500ms\" is not a duration; write a number with s, m, h or d, like 365d"},
        {HSTS("true"),
         AT_HSTS "\"true\" is not a duration; write a number with s, m, h or d, like 365d"},
        {HSTS("0s"), AT_HSTS "0s is outside 1s..3650d"},
        {HSTS("3651d"), AT_HSTS "3651d is outside 1s..3650d"},
        {LISTENER,
         "    protocol: tcp\n    pool: app\n    tls: {hsts: 1d, tickets: {secret_file: t}, "
         "certificates: [{cert: a, key: b}]}",
         "6:11: error: listeners.web.tls.hsts: is a header of HTTP responses; this listener has "
         "protocol tcp"},
    };

    (void)state;
    ASSERT_ALL(mistakes);
}

static void a_redirect_answers_everything_in_plain_http(void **state)
{
    static const struct mistake mistakes[] = {
        {LISTENER, "    redirect: http",
         "4:15: error: listeners.web.redirect: \"http\" is not known; the only value is "
         "\"https\""},
        {LISTENER, "    redirect: 301",
         "4:15: error: listeners.web.redirect: \"301\" is not known; the only value is \"https\""},
        {REDIRECT, "    pool: app",
         "5:5: error: listeners.web.pool: stands beside \"redirect\", which answers every "
         "request"},
        {REDIRECT, "    routes: [{pool: app}]",
         "5:5: error: listeners.web.routes: stands beside \"redirect\", which answers every "
         "request"},
        {REDIRECT, "    protocol: tcp",
         "5:15: error: listeners.web.protocol: a listener that redirects needs protocol http"},
        {REDIRECT, "    tls: {tickets: {secret_file: t}, certificates: [{cert: a, key: b}]}",
         "5:5: error: listeners.web.tls: stands beside \"redirect\"; what arrives here is https "
         "already"},
    };

    (void)state;
    ASSERT_ALL(mistakes);
}

static void only_tcp_listeners_match_sni_and_they_match_nothing_else(void **state)
{
#define SNI(text) TCP, "      - {pool: app, match: {sni: " text "}}"
#define AT_SNI    "6:34: error: listeners.web.routes[0].match.sni: "
    static const struct mistake mistakes[] = {
        {LISTENER, "    routes: [{pool: app, match: {sni: a.com}}]",
         "4:34: error: listeners.web.routes[0].match.sni: a listener with protocol http matches "
         "the \"host\" of each request; \"sni\" is for protocol tcp"},
        {TCP, "      - {pool: app, match: {host: a.com}}",
         "6:29: error: listeners.web.routes[0].match.host: a listener with protocol tcp sees no "
         "requests; it can match only \"sni\""},
        {TCP, "      - {pool: app, match: {path: /x}}",
         "6:29: error: listeners.web.routes[0].match.path: a listener with protocol tcp sees no "
         "requests; it can match only \"sni\""},
        {TCP, "      - {pool: app, match: {sni: a.com, upgrade: websocket}}",
         "6:41: error: listeners.web.routes[0].match.upgrade: a listener with protocol tcp sees no "
         "requests; it can match only \"sni\""},
        {SNI("\"\""),
         AT_SNI "needs a host name, like db.example.com; without \"sni\" a route takes any"},
        {SNI("\"*\""), AT_SNI "leave \"sni\" out to match every host"},
        {SNI("10.0.0.1"), AT_SNI "clients never ask for an IP address by SNI"},
        {SNI("\"[::1]\""), AT_SNI "clients never ask for an IP address by SNI"},
        {SNI("a.com:443"), AT_SNI "only the name of the host, without its port"},
        {SNI("https://a.com"), AT_SNI "only the name of the host, without scheme and path"},
        {SNI("a.*.com"),
         AT_SNI "a star stands only for whole labels at the start: \"*.example.com\""},
        {SNI("m\xc3\xbcnchen.de"),
         AT_SNI "write an international name in its ASCII form (xn--...)"},
        {TCP, "      - {pool: app, sni: a.com}",
         "6:21: error: listeners.web.routes[0].sni: unknown key; limpet says \"match: {sni: "
         "...}\""},
    };

    (void)state;
    ASSERT_ALL(mistakes);
}

static void a_pools_tls_is_looked_at_too(void **state)
{
#define NAME(text) BACK, "      name: " text
#define AT_NAME    "6:13: error: pools.app.tls.name: "
    static const struct mistake mistakes[] = {
        {BACK, "      cert: a",
         "5:5: error: pools.app.tls.key: is missing; a certificate goes with its private key"},
        {BACK, "      key: a",
         "5:5: error: pools.app.tls.cert: is missing; a private key goes with its certificate"},
        {BACK, "      ca: \"\"", "6:11: error: pools.app.tls.ca: needs the path of a file"},
        {BACK, "      verify: none",
         "6:15: error: pools.app.tls.verify: \"none\" is neither true nor false"},
        {BACK, "      verify: off",
         "6:15: error: pools.app.tls.verify: \"off\" is neither true nor false; did you mean "
         "\"false\"?"},
        {NAME("\"\""),
         AT_NAME "needs the host name or IP address that the server's certificate has"},
        {NAME("app:443"), AT_NAME "only the name of the host, without its port"},
        {NAME("https://app"), AT_NAME "only the name of the host, without scheme and path"},
        {NAME("\"[::1]\""), AT_NAME "an IPv6 address stands here without brackets"},
        {NAME("\"*.app.com\""),
         AT_NAME "is the name of one host; a certificate for \"*.example.com\" has it, too"},
        {NAME("a..b"), AT_NAME "a host name has no empty label"},
        {NAME("a b"), AT_NAME "a host name has letters, digits, hyphens and dots"},
        {POOL, "    tls: true",
         "5:10: error: pools.app.tls: needs a map (`{}` for the defaults of all its keys); leave "
         "it out for none"},
        {POOL, "    proxy_protocol: v3",
         "5:21: error: pools.app.proxy_protocol: \"v3\" is none of off, v1, v2; did you mean "
         "\"v1\"?"},
        {POOL, "    proxy_protocol: send-proxy-v2",
         "5:21: error: pools.app.proxy_protocol: \"send-proxy-v2\" is none of off, v1, v2; limpet "
         "says \"v2\""},
        {POOL, "    hash: {key: \"sni:x\"}",
         "5:17: error: pools.app.hash.key: \"sni\" takes no name"},
        {POOL, "    timeouts: {handshake: off}",
         "5:27: error: pools.app.timeouts.handshake: cannot be off; it must be a duration; write a "
         "number with ms, s, m, h or d, like 30s"},
    };

    (void)state;
    ASSERT_ALL(mistakes);
}

static void a_server_on_a_unix_socket_needs_a_name_to_be_verified(void **state)
{
    struct lp_config *config;
    struct lp_config_report report;

    (void)state;
    assert_false(lp_config_parse(
        &config, &report, "t.yaml",
        LP_SLICE("listeners: {web: {bind: 127.0.0.1:80, pool: app}}\n"
                 "pools: {app: {tls: {}, servers: {a: 10.0.0.1:1, b: \"unix:/run/b\"}}}\n")));
    assert_non_null(strstr(report.text,
                           "t.yaml:2:15: error: pools.app.tls.name: is missing; a server on a Unix "
                           "socket has no address that its certificate could name\n"));
    assert_int_equal(report.errors_count, 1);
    lp_config_report_deinit(&report);
}

static void words_from_other_balancers_are_answered_in_ours(void **state)
{
#define SAYS(around, column, path, key, ours)                                                      \
    around, "    " key ": x",                                                                      \
        column ": error: " path "." key ": unknown key; limpet says \"" ours "\""
#define ON_LISTENER(key, ours)                                                                     \
    {                                                                                              \
        SAYS(REDIRECT, "5:5", "listeners.web", key, ours)                                          \
    }
#define ON_POOL(key, ours)                                                                         \
    {                                                                                              \
        SAYS(POOL, "5:5", "pools.app", key, ours)                                                  \
    }
#define IN_TLS(key, ours)                                                                          \
    {                                                                                              \
        TLS, ONE_CERTIFICATE "      " key ": x",                                                   \
            "8:7: error: listeners.web.tls." key ": unknown key; limpet says \"" ours "\""         \
    }
#define IN_BACK(key, ours)                                                                         \
    {                                                                                              \
        BACK, "      " key ": x",                                                                  \
            "6:7: error: pools.app.tls." key ": unknown key; limpet says \"" ours "\""             \
    }
    static const struct mistake mistakes[] = {
        ON_LISTENER("ssl_certificate", "tls.certificates: [{cert: ..., key: ...}]"),
        ON_LISTENER("ssl_certificate_key", "key, beside cert in tls.certificates"),
        ON_LISTENER("ssl_protocols", "tls.versions"),
        ON_LISTENER("ssl_client_certificate", "tls.client_ca"),
        ON_LISTENER("ssl_session_ticket_key", "tls.tickets: {secret_file: ...}"),
        ON_LISTENER("Strict-Transport-Security", "tls.hsts"),
        ON_LISTENER("crt", "tls: {certificates: [{cert: ..., key: ...}]}"),
        ON_LISTENER("ssl_preread", "match: {sni: ...} on a listener with protocol: tcp"),
        IN_TLS("crt", "certificates: [{cert: ..., key: ...}]"),
        IN_TLS("ca-file", "client_ca"),
        IN_TLS("protocols", "versions"),
        IN_TLS("secret_file", "tickets: {secret_file: ...}"),
        ON_POOL("proxy_ssl_verify", "tls.verify"),
        ON_POOL("proxy_ssl_name", "tls.name"),
        ON_POOL("proxy_ssl_trusted_certificate", "tls.ca"),
        ON_POOL("send-proxy", "proxy_protocol: v1"),
        ON_POOL("send-proxy-v2", "proxy_protocol: v2"),
        ON_POOL("ssl", "tls: {}"),
        IN_BACK("ca-file", "ca"),
        IN_BACK("sni", "name"),
        IN_BACK("insecure_skip_verify", "verify: false"),
    };

    (void)state;
    ASSERT_ALL(mistakes);
}

/* ---- warnings ---- */

static void assert_report(const char *text, const char *expected)
{
    struct lp_config *config;
    struct lp_config_report report;

    assert_true(lp_config_parse(&config, &report, "t.yaml", lp_slice_of(text)));
    assert_string_equal(report.text, expected);
    lp_config_report_deinit(&report);
    lp_config_destroy(config);
}

#define RANDOM                                                                                     \
    "without tickets.secret_file the secret of tickets is random: clients resume a session only "  \
    "with this process, not after a restart and not on another node\n"

static void a_random_ticket_secret_is_warned_of_at_the_tls_section(void **state)
{
    (void)state;
    assert_report("listeners:\n"
                  "  edge:\n"
                  "    bind: 127.0.0.1:443\n"
                  "    pool: app\n"
                  "    tls:\n"
                  "      certificates: [{cert: a, key: b}]\n" POOLS,
                  "t.yaml:5:5: warning: listeners.edge.tls: " RANDOM "    5 |     tls:\n"
                  "      |     ^~~\n");
    assert_report("listeners:\n"
                  "  edge:\n"
                  "    bind: 127.0.0.1:443\n"
                  "    pool: app\n"
                  "    tls: {certificates: [{cert: a, key: b}], tickets: {}}\n" POOLS,
                  "t.yaml:5:46: warning: listeners.edge.tls.tickets: " RANDOM
                  "    5 |     tls: {certificates: [{cert: a, key: b}], tickets: {}}\n"
                  "      |                                              ^~~~~~~\n");
}

static void without_tickets_nobody_warns_of_their_secret(void **state)
{
    (void)state;
    assert_report("listeners: {edge: {bind: 127.0.0.1:443, pool: app, tls: {client_ca: c, "
                  "certificates: [{cert: a, key: b}]}}}\n" POOLS,
                  "");
    assert_report("listeners: {edge: {bind: 127.0.0.1:443, pool: app, tls: {tickets: "
                  "{secret_file: s}, certificates: [{cert: a, key: b}]}}}\n" POOLS,
                  "");
}

static void servers_that_are_not_verified_are_warned_of(void **state)
{
    (void)state;
    assert_report("listeners: {web: {bind: 127.0.0.1:80, pool: app}}\n"
                  "pools:\n"
                  "  app:\n"
                  "    tls: {verify: false, ca: ca.pem}\n"
                  "    servers: {a: 10.0.0.1:443}\n",
                  "t.yaml:4:19: warning: pools.app.tls.verify: whoever answers at a server's "
                  "address is believed, and reads and changes what it likes\n"
                  "    4 |     tls: {verify: false, ca: ca.pem}\n"
                  "      |                   ^~~~~\n"
                  "t.yaml:4:30: warning: pools.app.tls.ca: has no effect beside verify: false\n"
                  "    4 |     tls: {verify: false, ca: ca.pem}\n"
                  "      |                              ^~~~~~\n");
}

static void a_route_behind_one_with_the_same_sni_never_matches(void **state)
{
    (void)state;
    assert_report("listeners:\n"
                  "  db:\n"
                  "    bind: 127.0.0.1:1\n"
                  "    protocol: tcp\n"
                  "    routes:\n"
                  "      - {match: {sni: \"*.example.com\"}, pool: app}\n"
                  "      - {match: {sni: example.com}, pool: app}\n"
                  "      - {match: {sni: a.b.example.com}, pool: app}\n" POOLS,
                  "t.yaml:8:9: warning: listeners.db.routes[2]: never matches: the route in line "
                  "6 takes everything before it\n"
                  "    8 |       - {match: {sni: a.b.example.com}, pool: app}\n"
                  "      |         ^\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_a_listeners_tls_is_read),
        cmocka_unit_test(a_file_knows_where_it_is_named),
        cmocka_unit_test(tls_is_off_where_nothing_is_said_of_it),
        cmocka_unit_test(a_listeners_tls_has_the_documented_defaults),
        cmocka_unit_test(versions_are_one_or_a_list_with_or_without_quotes),
        cmocka_unit_test(hsts_is_a_duration_in_seconds),
        cmocka_unit_test(a_listener_that_redirects_has_no_routes),
        cmocka_unit_test(a_tcp_listener_routes_by_sni_with_and_without_tls),
        cmocka_unit_test(every_key_of_a_pools_tls_is_read),
        cmocka_unit_test(an_empty_tls_section_of_a_pool_is_on_and_verifies),
        cmocka_unit_test(a_servers_name_may_be_an_ip_address),
        cmocka_unit_test(another_way_to_speak_to_a_server_changes_it),
        cmocka_unit_test(a_listeners_tls_needs_a_certificate_with_its_key),
        cmocka_unit_test(versions_and_hsts_are_never_guessed),
        cmocka_unit_test(a_redirect_answers_everything_in_plain_http),
        cmocka_unit_test(only_tcp_listeners_match_sni_and_they_match_nothing_else),
        cmocka_unit_test(a_pools_tls_is_looked_at_too),
        cmocka_unit_test(a_server_on_a_unix_socket_needs_a_name_to_be_verified),
        cmocka_unit_test(words_from_other_balancers_are_answered_in_ours),
        cmocka_unit_test(a_random_ticket_secret_is_warned_of_at_the_tls_section),
        cmocka_unit_test(without_tickets_nobody_warns_of_their_secret),
        cmocka_unit_test(servers_that_are_not_verified_are_warned_of),
        cmocka_unit_test(a_route_behind_one_with_the_same_sni_never_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
