/* What a wrong configuration is told: place, key, sentence. Each row of a table is one mistake in
 * an otherwise valid file, and must give exactly that one error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

/* Where the wrong lines stand, so that the table shows only them. */
enum around { ALONE, TOP, LISTENER, ROUTE, POOL, CHECK, SERVER };

static const char *const before[] = {
    [ALONE] = "",
    [TOP] = "",
    [LISTENER] = "listeners:\n  web:\n",
    [ROUTE] = "listeners:\n  web:\n    bind: 127.0.0.1:8080\n    routes:\n",
    [POOL] = "listeners: {web: {bind: 127.0.0.1:8080, pool: app}}\npools:\n  app:\n",
    [CHECK] = "listeners: {web: {bind: 127.0.0.1:8080, pool: app}}\npools:\n  app:\n"
              "    servers: {a: 10.0.0.1:80}\n    check:\n",
    [SERVER] = "listeners: {web: {bind: 127.0.0.1:8080, pool: app}}\npools:\n  app:\n"
               "    servers:\n",
};
static const char *const after[] = {
    [ALONE] = "",
    [TOP] = ("\nlisteners: {web: {bind: 127.0.0.1:8080, pool: app}}\n"
             "pools: {app: {servers: {a: 10.0.0.1:80}}}\n"),
    [LISTENER] = "\npools: {app: {servers: {a: 10.0.0.1:80}}}\n",
    [ROUTE] = "\npools: {app: {servers: {a: 10.0.0.1:80}}}\n",
    [POOL] = "\n    servers: {a: 10.0.0.1:80}\n",
    [CHECK] = "\n",
    [SERVER] = "\n",
};

struct mistake {
    enum around around;
    const char *lines;
    const char *error; /* behind "t.yaml:", up to the end of the line */
};

static void assert_first_line(const char *text, const char *prefix, const char *expected,
                              const char *input)
{
    const char *feed = strchr(text, '\n');
    size_t size = feed != NULL ? (size_t)(feed - text) : strlen(text);
    size_t prefix_size = strlen(prefix);

    if (size == prefix_size + strlen(expected) && memcmp(text, prefix, prefix_size) == 0 &&
        memcmp(text + prefix_size, expected, size - prefix_size) == 0)
        return;
    print_error("input:    %s\nexpected: %s%s\ngot:      %s\n", input, prefix, expected, text);
    fail();
}

static void assert_only_error(const struct mistake *mistake)
{
    struct lp_config *config;
    struct lp_config_report report;
    char text[4096];

    int size = snprintf(text, sizeof(text), "%s%s%s", before[mistake->around], mistake->lines,
                        after[mistake->around]);
    assert_in_range(size, 0, sizeof(text) - 1);
    assert_false(lp_config_parse(&config, &report, "t.yaml", lp_slice_of(text)));
    assert_null(config);
    assert_first_line(report.text, "t.yaml:", mistake->error, mistake->lines);
    if (report.errors_count != 1)
        print_error("%s\n", report.text);
    assert_int_equal(report.errors_count, 1);
    lp_config_report_deinit(&report);
}

#define ASSERT_ALL(mistakes)                                                                       \
    for (size_t i = 0; i < LP_COUNT_OF(mistakes); i++)                                             \
    assert_only_error(&(mistakes)[i])

static void yaml_that_cannot_be_read_is_answered_with_what_to_do(void **state)
{
    static const struct mistake mistakes[] = {
        {ALONE, "", " error: the file is empty; it needs at least listeners and pools"},
        {ALONE, "# nothing\n", " error: the file is empty; it needs at least listeners and pools"},
        {ALONE, "---\n", " error: the file is empty; it needs at least listeners and pools"},
        {ALONE, "text", "1:1: error: needs a map (lines of \"key: value\"), found a single value"},
        {ALONE, "- a\n", "1:1: error: needs a map (lines of \"key: value\"), found a list"},
        {LISTENER, "    bind: [::]:443", "3:11: error: YAML needs quotes here: write \"[::]:443\""},
        {LISTENER, "    bind: *:443", "3:11: error: YAML needs quotes here: write \"*:443\""},
        {LISTENER, "    bind: [1.2.3.4:80, [2001:db8::1]:443]",
         "3:24: error: YAML needs quotes here: write \"[2001:db8::1]:443\""},
        {LISTENER, "    bind: [127.0.0.1:1, *:443]",
         "3:25: error: YAML needs quotes here: write \"*:443\""},
        {ROUTE, "      - {match: {host: *.example.com}, pool: app}",
         "5:24: error: YAML needs quotes here: write \"*.example.com\""},
        {CHECK, "      headers: {A: Bearer ${X}}",
         "6:27: error: YAML needs quotes here: write \"${X}\" (the whole value in quotes)"},
        {CHECK, "      headers: {A: ${X}, B: c}",
         "6:20: error: YAML needs quotes here: write \"${X}\" (the whole value in quotes)"},
        {ALONE, "a: ${X}: b\n",
         "1:8: error: a \": \" too many in this line; put the value in quotes, "
         "or the map on lines of its own"},
        {TOP, "log: @x", "1:6: error: YAML needs quotes here: write \"@x\""},
        {TOP, "log:\n\tlevel: info", "2:1: error: YAML takes no tab for indentation; use spaces"},
        {ALONE, "a: b: c\n",
         "1:5: error: a \": \" too many in this line; put the value in quotes, or "
         "the map on lines of its own"},
        {ALONE, "a: \"b\nc: d\n", "1:4: error: a quote that is never closed"},
        {ALONE, "a: 1\nb\nc: 2\n", "3:1: error: the line before has no \"key: value\""},
        {ALONE, "a:\n   b: 1\n  c: 2\n",
         "3:3: error: indented neither like the lines before nor like a new level"},
        {ALONE, "a: {b: 1\n",
         "2:1: error: not valid YAML: did not find expected ',' or '}' "
         "(while parsing a flow mapping from line 1)"},
        {ALONE, "? [a]\n: b\n", "1:3: error: a key must be text, not a map or a list"},
        {ALONE, "[[[[[[[[[[[[[[[[[[[[", "1:17: error: nested too deeply"},
        {ALONE, "a: 1\n---\nb: 2\n",
         "2:1: error: a second YAML document; a configuration is one document"},
        {ALONE, "a: \"\xff\"\n", "1:5: error: a byte that is not UTF-8; save the file as UTF-8"},
        {ALONE, "a: \"\xc0\xaf\"\n",
         "1:5: error: a byte that is not UTF-8; save the file as UTF-8"},
        {ALONE, "a: \"\xed\xa0\x80\"",
         "1:5: error: a byte that is not UTF-8; save the file as UTF-8"},
        {ALONE, "\xc3\xa4: \x01\n", "1:4: error: a control character, which YAML does not take"},
        {ALONE, "a: b\rc: d\n",
         "1:5: error: a carriage return that ends no line; lines end with \\n or \\r\\n"},
        {ALONE,
         "a: b\xe2\x80\xa8"
         "c: d\n",
         "1:5: error: a Unicode line separator; lines end with \\n or \\r\\n"},
        {TOP, "workers: !!int 5",
         "1:10: error: workers: YAML tags (!name) are not taken; the key says what type its value "
         "has"},
        {TOP, "workers: &w 5",
         "1:10: error: workers: YAML anchors (&name) are not taken; write the "
         "value out, or in quotes if it is text"},
        {TOP, "log: &l {}",
         "1:1: error: log: YAML anchors (&name) are not taken; write the value "
         "out, or in quotes if it is text"},
        {TOP, "workers: *w",
         "1:10: error: workers: YAML aliases (*name) are not taken; write the "
         "value out, or in quotes if it is text"},
        {LISTENER, "    bind: *:443 # not \"quoted\"",
         "3:11: error: YAML needs quotes here: write \"*:443\""},
        {ALONE, "a: b: c # *:443\n",
         "1:5: error: a \": \" too many in this line; put the value in quotes, or the map on lines "
         "of its own"},
        {ALONE, "a: {b: \"*:1\", c: *:2}\n", "1:18: error: YAML needs quotes here: write \"*:2\""},
        {ALONE, "*a : b\n",
         "1:1: error: YAML aliases (*name) are not taken; write the value out, or in quotes if it "
         "is text"},
        {TOP, "log: [*l]", "1:1: error: log: needs a map (lines of \"key: value\"), found a list"},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

static void an_unknown_key_gets_the_nearest_one_or_our_word(void **state)
{
    static const struct mistake mistakes[] = {
        {CHECK, "      intervall: 2s",
         "6:7: error: pools.app.check.intervall: unknown key; did you mean \"interval\"?"},
        {CHECK, "      inter: 2s",
         "6:7: error: pools.app.check.inter: unknown key; limpet says \"interval\""},
        {TOP, "worker_processes: 4",
         "1:1: error: worker_processes: unknown key; limpet says \"workers\""},
        {TOP, "upstream: {}",
         "1:1: error: upstream: unknown key; limpet says \"pools: (a map of names)\""},
        {TOP, "backends: {}",
         "1:1: error: backends: unknown key; limpet says \"pools: (a map of names)\""},
        {TOP, "frontend: {}",
         "1:1: error: frontend: unknown key; limpet says \"listeners: (a map of names)\""},
        {TOP, "timeout client: 5s",
         "1:1: error: timeout client: unknown key; limpet says \"timeouts.stream_idle\""},
        {TOP, "timeout server: 5s",
         "1:1: error: timeout server: unknown key; limpet says "
         "\"timeouts.response (stream_idle for tunnels)\""},
        {TOP, "timeout: {}", "1:1: error: timeout: unknown key; did you mean \"timeouts\"?"},
        {TOP, "limits: {maxconn: 5}",
         "1:10: error: limits.maxconn: unknown key; limpet says "
         "\"limits.connections (for the whole process)\""},
        {TOP, "timeouts: {keepalive: 5s}",
         "1:12: error: timeouts.keepalive: unknown key; did you mean \"keep_alive\"?"},
        {TOP, "timeouts: {keep-alive: 5s}",
         "1:12: error: timeouts.keep-alive: unknown key; did you mean \"keep_alive\"?"},
        {POOL, "    ip_hash: true",
         "4:5: error: pools.app.ip_hash: unknown key; limpet says \"balance: hash\""},
        {POOL, "    sticky: true",
         "4:5: error: pools.app.sticky: unknown key; limpet says "
         "\"balance: hash with hash: {key: cookie:NAME}\""},
        {POOL, "    server: {}",
         "4:5: error: pools.app.server: unknown key; limpet says "
         "\"servers: (a map of names)\""},
        {POOL, "    proxy_read_timeout: 5s",
         "4:5: error: pools.app.proxy_read_timeout: unknown key; limpet says "
         "\"timeouts.stream_idle\""},
        {POOL, "    interval: 5s",
         "4:5: error: pools.app.interval: unknown key here; it belongs in pools.NAME.check"},
        {POOL, "    workers: 5",
         "4:5: error: pools.app.workers: unknown key here; it belongs at the "
         "top of the file"},
        {TOP, "admin: {bind: x}", "1:1: error: admin: unknown key"},
        {LISTENER, "    bind: 127.0.0.1:1\n    pool: app\n    headers: {}",
         "5:5: error: listeners.web.headers: unknown key"},
        {ROUTE, "      - {path: /x, pool: app}",
         "5:10: error: listeners.web.routes[0].path: unknown "
         "key; limpet says \"match: {path: ...}\""},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

static void durations_sizes_and_numbers_are_never_guessed(void **state)
{
    static const struct mistake mistakes[] = {
        {TOP, "timeouts: {head: 5}",
         "1:18: error: timeouts.head: \"5\" has no unit; did you mean \"5s\"?"},
        {TOP, "timeouts: {head: 5min}",
         "1:18: error: timeouts.head: \"5min\" is not a duration; did you mean \"5m\"?"},
        {TOP, "timeouts: {head: 5 sec}",
         "1:18: error: timeouts.head: \"5 sec\" is not a duration; did you mean \"5s\"?"},
        {TOP, "timeouts: {head: soon}",
         "1:18: error: timeouts.head: \"soon\" is not a duration; "
         "write a number with ms, s, m, h or d, like 30s"},
        {TOP, "timeouts: {head: 1.5s}",
         "1:18: error: timeouts.head: \"1.5s\" is not a duration; "
         "write a number with ms, s, m, h or d, like 30s"},
        {TOP, "timeouts: {head: -1s}",
         "1:18: error: timeouts.head: \"-1s\" is not a duration; "
         "write a number with ms, s, m, h or d, like 30s"},
        {TOP, "timeouts: {head: \"\"}",
         "1:18: error: timeouts.head: \"\" is not a duration; "
         "write a number with ms, s, m, h or d, like 30s"},
        {TOP, "timeouts: {head: 0s}", "1:18: error: timeouts.head: 0s is outside 1ms..30d"},
        {TOP, "timeouts: {head: 31d}", "1:18: error: timeouts.head: 31d is outside 1ms..30d"},
        {TOP, "timeouts: {head: 99999999999999999999s}",
         "1:18: error: timeouts.head: \"99999999999999999999s\" is not a duration; write a number "
         "with ms, s, m, h or d, like 30s"},
        {TOP, "timeouts: {head: 9999999999999999999d}",
         "1:18: error: timeouts.head: 9999999999999999999d is outside 1ms..30d"},
        {TOP, "timeouts: {head: off}",
         "1:18: error: timeouts.head: cannot be off; it must be a "
         "duration; write a number with ms, s, m, h or d, like 30s"},
        {TOP, "timeouts: {head: [5s]}",
         "1:12: error: timeouts.head: needs a single value, found a list"},
        {TOP, "timeouts: {head: }",
         "1:12: error: timeouts.head: needs a single value, found nothing"},
        {TOP, "limits: {head: 64KiB}", "1:16: error: limits.head: 64KiB is outside 1KiB..16KiB"},
        {TOP, "limits: {head: 8}",
         "1:16: error: limits.head: \"8\" has no unit; did you mean \"8KiB\"?"},
        {TOP, "limits: {body: 65536}",
         "1:16: error: limits.body: \"65536\" has no unit; did you mean \"64KiB\"?"},
        {TOP, "limits: {body: 10m}",
         "1:16: error: limits.body: \"10m\" is not a size; did you mean \"10MiB\"?"},
        {TOP, "limits: {body: 10MB}",
         "1:16: error: limits.body: \"10MB\" is not a size; did you mean \"10MiB\"?"},
        {TOP, "limits: {body: big}",
         "1:16: error: limits.body: \"big\" is not a size; write a number "
         "with KiB, MiB or GiB, like 64KiB"},
        {TOP, "limits: {headers: 300}", "1:19: error: limits.headers: 300 is outside 1..256"},
        {TOP, "workers: many", "1:10: error: workers: \"many\" is not a whole number"},
        {TOP, "workers: 0", "1:10: error: workers: 0 is outside 1..1024"},
        {TOP, "workers: 0x10", "1:10: error: workers: \"0x10\" is not a whole number"},
        {TOP, "drain: {spread: 80}",
         "1:17: error: drain.spread: \"80\" has no unit; did you mean \"80%\"?"},
        {TOP, "drain: {spread: 101%}", "1:17: error: drain.spread: 101% is outside 0%..100%"},
        {TOP, "drain: {spread: \"%\"}",
         "1:17: error: drain.spread: \"%\" is not a percentage; write it like 80%"},
        {TOP, "drain: {close_code: 999}",
         "1:21: error: drain.close_code: 999 is outside 1000..4999"},
        {TOP, "drain: {close_code: 1006}",
         "1:21: error: drain.close_code: 1006 is not a close code that may be sent (1000, 1001, "
         "1003, "
         "1007..1014, 3000..4999)"},
        {TOP, "drain: {close_code: 1015}",
         "1:21: error: drain.close_code: 1015 is not a close code that may be sent (1000, 1001, "
         "1003, "
         "1007..1014, 3000..4999)"},
        {TOP, "drain: {delay: 25s}",
         "1:16: error: drain.delay: the delay (25s) must be shorter than "
         "the deadline (25s), which includes it"},
        {TOP, "drain: {deadline: 1s}",
         "1:19: error: drain.deadline: the delay (5s) must be shorter "
         "than the deadline (1s), which includes it"},
        {POOL, "    drain: {delay: 1s}",
         "4:13: error: pools.app.drain.delay: unknown key here; it "
         "belongs in drain"},
        {POOL, "    retries: 11", "4:14: error: pools.app.retries: 11 is outside 0..10"},
        {POOL, "    hash: {ipv4_prefix: 33}",
         "4:25: error: pools.app.hash.ipv4_prefix: 33 is outside 0..32"},
        {POOL, "    hash: {ipv6_prefix: 129}",
         "4:25: error: pools.app.hash.ipv6_prefix: 129 is outside 0..128"},
        {CHECK, "      rise: 0", "6:13: error: pools.app.check.rise: 0 is outside 1..100"},
        {CHECK, "      fall: 101", "6:13: error: pools.app.check.fall: 101 is outside 1..100"},
        {CHECK, "      port: 65536",
         "6:13: error: pools.app.check.port: 65536 is outside 1..65535"},
        {CHECK, "      timeout: 0ms",
         "6:16: error: pools.app.check.timeout: 0ms is outside 1ms..1h"},
        {CHECK, "      interval: 9ms",
         "6:17: error: pools.app.check.interval: 9ms is outside 10ms..1d"},
        {SERVER, "      a: {address: 10.0.0.1:80, weight: 65536}",
         "5:41: error: pools.app.servers.a.weight: 65536 is outside 0..65535"},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

static void words_are_taken_from_a_list(void **state)
{
    static const struct mistake mistakes[] = {
        {POOL, "    balance: roundrobin",
         "4:14: error: pools.app.balance: \"roundrobin\" is none of "
         "hash, least_connections, round_robin; limpet says \"round_robin\""},
        {POOL, "    balance: leastconn",
         "4:14: error: pools.app.balance: \"leastconn\" is none of "
         "hash, least_connections, round_robin; limpet says \"least_connections\""},
        {POOL, "    balance: source",
         "4:14: error: pools.app.balance: \"source\" is none of hash, "
         "least_connections, round_robin; limpet says \"hash\""},
        {POOL, "    balance: least_conections",
         "4:14: error: pools.app.balance: \"least_conections\" "
         "is none of hash, least_connections, round_robin; did you mean \"least_connections\"?"},
        {POOL, "    balance: zzz",
         "4:14: error: pools.app.balance: \"zzz\" is none of hash, "
         "least_connections, round_robin"},
        {POOL, "    hash: {algorithm: ketama}",
         "4:23: error: pools.app.hash.algorithm: \"ketama\" is "
         "not known; the only value is \"rendezvous\""},
        {POOL, "    when_all_down: fail",
         "4:20: error: pools.app.when_all_down: \"fail\" is none of "
         "reject, try_all"},
        {TOP, "log: {level: warn}",
         "1:14: error: log.level: \"warn\" is none of error, warning, info, "
         "debug; limpet says \"warning\""},
        {TOP, "log: {access: {format: xml}}",
         "1:24: error: log.access.format: \"xml\" is none of json, text"},
        {TOP, "log: {access: {to: Stdout}}",
         "1:20: error: log.access.to: \"Stdout\" is none of stdout, "
         "stderr, off; did you mean \"stdout\"? (a file of that name is written \"./Stdout\")"},
        {TOP, "log: {access: {to: \"\"}}",
         "1:20: error: log.access.to: needs stdout, stderr, off or "
         "the path of a file"},
        {CHECK, "      ping: yes",
         "6:13: error: pools.app.check.ping: \"yes\" is neither true nor false; did you mean "
         "\"true\"?"},
        {CHECK, "      ping: perhaps",
         "6:13: error: pools.app.check.ping: \"perhaps\" is neither true nor false"},
        {CHECK, "      type: ws",
         "6:13: error: pools.app.check.type: \"ws\" is none of tcp, http, "
         "websocket, off; limpet says \"websocket\""},
        {ROUTE, "      - {match: {upgrade: any}, pool: app}",
         "5:27: error: listeners.web.routes[0].match.upgrade: \"any\" is none of websocket, none"},
        {LISTENER, "    bind: 127.0.0.1:1\n    pool: app\n    protocol: https",
         "5:15: error: listeners.web.protocol: \"https\" is none of http, tcp; limpet says "
         "\"http, with tls beside it\""},
        {CHECK, "      ping: True",
         "6:13: error: pools.app.check.ping: \"True\" is neither true nor false; did you mean "
         "\"true\"?"},
        {CHECK, "      ping: off",
         "6:13: error: pools.app.check.ping: \"off\" is neither true nor false; did you mean "
         "\"false\"?"},
        {TOP, "log: {access: {query: [\"\"]}}", "1:24: error: log.access.query[0]: needs a name"},
        {TOP, "log: {access: {query: [[a]]}}",
         "1:24: error: log.access.query[0]: needs a single value, found a list"},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

static void an_address_that_is_none_is_answered_with_one(void **state)
{
#define LONG          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BIND(text)    LISTENER, "    pool: app\n    bind: " text
#define AT_BIND       "4:11: error: listeners.web.bind: "
#define ADDRESS(text) SERVER, "      a: " text
#define AT_ADDRESS    "5:10: error: pools.app.servers.a: "
    static const struct mistake mistakes[] = {
        {BIND("example.com:80"),
         AT_BIND "host names are not resolved yet; write the IP address for "
                 "\"example.com\", as in 10.0.0.1:80"},
        {BIND("10.0.0.1"), AT_BIND "has no port; write 10.0.0.1:8080"},
        {BIND("\"::1\""),
         AT_BIND "an IPv6 address stands in brackets, its port behind them: \"[::1]:8080\""},
        {BIND("8080"), AT_BIND "has no address; write \"*:8080\""},
        {BIND("\":8080\""), AT_BIND "\":8080\" has no address; write \"*:8080\""},
        {BIND("\"*:0\""), AT_BIND "\"0\" is no port; a port is 1..65535"},
        {BIND("10.0.0.1:70000"), AT_BIND "\"70000\" is no port; a port is 1..65535"},
        {BIND("10.0.0.1:http"), AT_BIND "\"http\" is no port; a port is 1..65535"},
        {BIND("10.0.0.256:80"), AT_BIND "\"10.0.0.256\" is not an IP address"},
        {BIND("http://10.0.0.1:80"),
         AT_BIND "an address has no scheme and no path; write only ADDRESS:PORT"},
        {BIND("/run/x.sock"), AT_BIND "the path of a Unix socket is written \"unix:/run/x.sock\""},
        {BIND("unix:x.sock"), AT_BIND "needs an absolute path: \"unix:/path\""},
        {BIND("localhost"),
         AT_BIND "\"localhost\" is not an address with a port; write 10.0.0.1:8080, "
                 "\"[v6]:8080\" or unix:/path"},
        {BIND("[]"),
         "4:5: error: listeners.web.bind: needs at least one address, like 0.0.0.0:8080"},
        {BIND("{a: b}"),
         "4:5: error: listeners.web.bind: needs a single value, found a map; without "
         "the space: \"a:b\"?"},
        {ADDRESS("\"*:80\""),
         AT_ADDRESS "a server needs an address of its own; \"*\" is only for bind"},
        {ADDRESS("\":80\""), AT_ADDRESS "\":80\" has no address; write \"127.0.0.1:80\""},
        {ADDRESS("app.local:80"),
         AT_ADDRESS "host names are not resolved yet; write the IP address "
                    "for \"app.local\", as in 10.0.0.1:80"},
        {ADDRESS("{weight: 1}"),
         "5:7: error: pools.app.servers.a.address: is missing; a server needs "
         "one, like 10.0.0.1:8080"},
        {ADDRESS(""),
         "5:7: error: pools.app.servers.a.address: is missing; a server needs one, like "
         "10.0.0.1:8080"},
        {BIND("\"2001:db8:1:2:3:4:5:6:80\""),
         AT_BIND "an IPv6 address stands in brackets: \"[2001:db8:1:2:3:4:5:6]:80\""},
        {BIND("unix:/" LONG LONG), AT_BIND "the path of a Unix socket has at most 107 bytes"},
        {LISTENER, "    bind: 127.0.0.1:1\n    pool: app\n    trusted_proxies: 10.0.0.1/8",
         "5:22: error: listeners.web.trusted_proxies: 10.0.0.1/8 has bits set behind its prefix; "
         "is the address or the prefix wrong?"},
        {LISTENER, "    bind: 127.0.0.1:1\n    pool: app\n    trusted_proxies: [10.0.0.0/33]",
         "5:23: error: listeners.web.trusted_proxies[0]: the prefix of an IPv4 network is 0..32"},
        {LISTENER, "    bind: 127.0.0.1:1\n    pool: app\n    trusted_proxies: [\"::/x\"]",
         "5:23: error: listeners.web.trusted_proxies[0]: the prefix of an IPv6 network is 0..128"},
        {LISTENER, "    bind: 127.0.0.1:1\n    pool: app\n    trusted_proxies: [local]",
         "5:23: error: listeners.web.trusted_proxies[0]: \"local\" is not a network; write it like "
         "10.0.0.0/8 or \"2001:db8::/32\""},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

static void routes_say_what_they_match_in_normal_form(void **state)
{
#define MATCH(text) ROUTE, "      - {pool: app, match: {" text "}}"
#define AT_PATH     "5:35: error: listeners.web.routes[0].match.path: "
#define AT_HOST     "5:35: error: listeners.web.routes[0].match.host: "
    static const struct mistake mistakes[] = {
        {MATCH("path: ws"), AT_PATH "a path begins with \"/\""},
        {MATCH("path: \"\""), AT_PATH "a path begins with \"/\""},
        {MATCH("path: /a//b"), AT_PATH "slashes are merged before a path is compared; write one"},
        {MATCH("path: /a/../b"), AT_PATH "\".\" and \"..\" are resolved before a path is compared; "
                                         "write the path without them"},
        {MATCH("path: /a/."), AT_PATH "\".\" and \"..\" are resolved before a path is compared; "
                                      "write the path without them"},
        {MATCH("path: /a?b=c"), AT_PATH "only the path is compared; leave the query out"},
        {MATCH("path: /a b"), AT_PATH "spaces, control and non-ASCII characters arrive "
                                      "percent-encoded; write them like %20"},
        {MATCH("path: /\xc3\xa4"), AT_PATH "spaces, control and non-ASCII characters arrive "
                                           "percent-encoded; write them like %20"},
        {MATCH("path: /%41"),
         AT_PATH "paths are compared in normal form: write \"A\" instead of \"%41\""},
        {MATCH("path: /%2f"),
         AT_PATH "paths are compared in normal form: write \"%2F\" instead of \"%2f\""},
        {MATCH("path: /%00"), AT_PATH "no request with %00 in its path is ever passed on"},
        {MATCH("path: /%4"), AT_PATH "\"%\" begins an escape of two hex digits, like %2F"},
        {MATCH("path: /ws/*"), AT_PATH "\"path\" is a prefix and needs no star; write \"/ws\""},
        {MATCH("path: /*"), AT_PATH "\"path\" is a prefix and needs no star; write \"/\""},
        {MATCH("path: /a, path_exact: /b"),
         "5:39: error: listeners.web.routes[0].match.path_exact: "
         "stands beside \"path\"; a route has one of them"},
        {MATCH("host: \"*\""), AT_HOST "leave \"host\" out to match every host"},
        {MATCH("host: \"a.*.com\""),
         AT_HOST "a star stands only for whole labels at the start: \"*.example.com\""},
        {MATCH("host: a.com:80"), AT_HOST "the port is not compared; write only the name (an IPv6 "
                                          "address in brackets)"},
        {MATCH("host: https://a.com"),
         AT_HOST "only the name of the host, without scheme and path"},
        {MATCH("host: a..com"), AT_HOST "a host name has no empty label"},
        {MATCH("host: .a.com"), AT_HOST "a host name has no empty label"},
        {MATCH("host: m\xc3\xbcnchen.de"),
         AT_HOST "write an international name in its ASCII form (xn--...)"},
        {MATCH("host: a_b c"), AT_HOST "a host name has letters, digits, hyphens and dots"},
        {MATCH("host: \"\""),
         AT_HOST "needs a host name, like chat.example.com; without \"host\" a "
                 "route takes any"},
        {ROUTE, "      - {pool: ap}",
         "5:16: error: listeners.web.routes[0].pool: there is no pool "
         "\"ap\"; did you mean \"app\"?"},
        {ROUTE, "      - {pool: other}",
         "5:16: error: listeners.web.routes[0].pool: there is no pool \"other\""},
        {ROUTE, "      - {match: {path: /x}}",
         "5:9: error: listeners.web.routes[0].pool: is missing; "
         "a route needs the pool that its requests go to"},
        {ROUTE, "      - app",
         "5:9: error: listeners.web.routes[0]: needs a map (lines of \"key: "
         "value\"), found a single value"},
        {LISTENER, "    bind: 127.0.0.1:1\n    routes: []",
         "4:5: error: listeners.web.routes: is "
         "empty; write \"pool: NAME\" to send everything to one pool"},
        {LISTENER, "    bind: 127.0.0.1:1\n    routes: {pool: app}",
         "4:5: error: listeners.web.routes: "
         "needs a list (lines that begin with \"- \"), found a map"},
        {LISTENER, "    bind: 127.0.0.1:1",
         "2:3: error: listeners.web: has neither \"pool\" nor "
         "\"routes\"; where should its requests go?"},
        {LISTENER, "    bind: 127.0.0.1:1\n    pool: app\n    routes: [{pool: app}]",
         "4:5: error: listeners.web.pool: stands beside \"routes\"; make it the last route: - "
         "{pool: ...}"},
        {LISTENER, "    pool: app",
         "2:3: error: listeners.web.bind: is missing; a listener needs an "
         "address, like 0.0.0.0:8080"},
        {LISTENER,
         "    bind: 127.0.0.1:1\n    protocol: tcp\n    routes: [{pool: app, match: {path: /x}}]",
         "5:34: error: listeners.web.routes[0].match.path: a listener with protocol tcp sees no "
         "requests; it can match only \"sni\""},
        {MATCH("host: " LONG LONG LONG LONG), AT_HOST "a host name has at most 253 bytes"},
        {MATCH("host: \"[::1\""),
         AT_HOST "the port is not compared; write only the name (an IPv6 address in brackets)"},
        {MATCH("host: \"[::g]\""), AT_HOST "not an IPv6 address in brackets"},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

static void pools_are_looked_at_too(void **state)
{
    static const struct mistake mistakes[] = {
        {POOL, "    hash: {key: ip}",
         "4:17: error: pools.app.hash.key: \"ip\" is none of client_ip, "
         "cookie:NAME, header:NAME, query:NAME, path, sni; limpet says \"client_ip\""},
        {POOL, "    hash: {key: cooky:x}",
         "4:17: error: pools.app.hash.key: \"cooky:x\" is none of "
         "client_ip, cookie:NAME, header:NAME, query:NAME, path, sni; did you mean "
         "\"cookie:NAME\"?"},
        {POOL, "    hash: {key: jwt:sub}",
         "4:17: error: pools.app.hash.key: \"jwt:sub\" is none of "
         "client_ip, cookie:NAME, header:NAME, query:NAME, path, sni"},
        {POOL, "    hash: {key: cookie}",
         "4:17: error: pools.app.hash.key: needs a name: \"cookie:NAME\""},
        {POOL, "    hash: {key: \"header:a b\"}",
         "4:17: error: pools.app.hash.key: not a possible name of a header"},
        {POOL, "    hash: {key: \"path:x\"}",
         "4:17: error: pools.app.hash.key: \"path\" takes no name"},
        {POOL, "    hash: {key: [cookie: sid]}",
         "4:18: error: pools.app.hash.key[0]: needs a single "
         "value, found a map; without the space: \"cookie:sid\"?"},
        {POOL, "    hash: {key: [path, path]}",
         "4:24: error: pools.app.hash.key[1]: stands in this list twice"},
        {POOL, "    hash: {key: []}",
         "4:12: error: pools.app.hash.key: needs at least one of client_ip, "
         "cookie:NAME, header:NAME, query:NAME, path, sni"},
        {POOL, "    hash: {secret_file: /nonexistent/key}",
         "4:25: error: pools.app.hash.secret_file: "
         "cannot read /nonexistent/key: No such file or directory"},
        {POOL, "    hash: {secret_file: /}",
         "4:25: error: pools.app.hash.secret_file: cannot read /: "
         "it is not a regular file"},
        {SERVER, "      a: {address: 10.0.0.1:80, id: \"\"}",
         "5:37: error: pools.app.servers.a.id: an "
         "id has 1 to 255 bytes and no control characters"},
        {SERVER, "      a: 10.0.0.1:80\n      b: {address: 10.0.0.2:80, id: a}",
         "6:7: error: "
         "pools.app.servers.b: has the same id \"a\" as server \"a\"; an id is one server's "
         "identity"},
        {SERVER, "      a: {address: 10.0.0.1:80, weight: 0}",
         "4:5: error: pools.app.servers: every server has weight 0, so no client would get in"},
        {SERVER, "      a b: 10.0.0.1:80",
         "5:7: error: pools.app.servers.a b: a name has 1 to 255 "
         "letters, digits, dots, underscores or hyphens (A-Z a-z 0-9 . _ -)"},
        {SERVER, "", "4:5: error: pools.app.servers: is empty; a pool needs at least one server"},
        {POOL, "    hash: {key: [header:A, header:a]}",
         "4:28: error: pools.app.hash.key[1]: stands in this list twice"},
        {POOL,
         "    hash: {key: [query:1, query:2, query:3, query:4, query:5, query:6, query:7, query:8, "
         "query:9, query:10, query:11, query:12, query:13, query:14, query:15, query:16, "
         "query:17]}",
         "4:12: error: pools.app.hash.key: has 17 sources; at most 16"},
        {POOL, "    hash: {secret_file: \"\"}",
         "4:25: error: pools.app.hash.secret_file: needs the path of a file"},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

static void checks_are_looked_at_too(void **state)
{
    static const struct mistake mistakes[] = {
        {CHECK, "      path: x",
         "6:13: error: pools.app.check.path: a path begins with \"/\" and has no "
         "spaces, control or non-ASCII characters and no \"#\" (write them like %20)"},
        {CHECK, "      host: \"a b\"",
         "6:13: error: pools.app.check.host: needs a host as in a Host "
         "header, like app.example.com"},
        {CHECK, "      host: app.test",
         "6:7: error: pools.app.check.host: needs a type: a tcp check sends no request; write "
         "\"type: http\" or \"type: websocket\""},
        {CHECK, "      headers: {A: b}",
         "6:7: error: pools.app.check.headers: needs a type: a tcp check sends no request; write "
         "\"type: http\" or \"type: websocket\""},
        {CHECK, "      ping: true\n      expect: 101",
         "6:7: error: pools.app.check.ping: is for a websocket check, \"expect\" for an http "
         "check; "
         "write which \"type\" it is"},
        {CHECK, "      typ: http\n      host: app.test",
         "6:7: error: pools.app.check.typ: unknown key; did you mean \"type\"?"},
        {CHECK, "      expect: 99",
         "6:15: error: pools.app.check.expect: \"99\" is not a status "
         "(100..599) or a range like 200-399"},
        {CHECK, "      expect: 300-200",
         "6:15: error: pools.app.check.expect: \"300-200\" is not a "
         "status (100..599) or a range like 200-399"},
        {CHECK, "      expect: []",
         "6:7: error: pools.app.check.expect: needs at least one status, "
         "like 200 or 200-399"},
        {CHECK, "      headers: {Host: x}",
         "6:17: error: pools.app.check.headers.Host: is set with the check's \"host\""},
        {CHECK, "      headers: {upgrade: x}",
         "6:17: error: pools.app.check.headers.upgrade: is written by the check itself"},
        {CHECK, "      headers: {\"a b\": x}",
         "6:17: error: pools.app.check.headers.a b: not a possible name of a header"},
        {CHECK, "      headers: {X: \"a\\r\\nb: c\"}",
         "6:20: error: pools.app.check.headers.X: a header's "
         "value is one line of at most 4096 bytes without control characters"},
        {CHECK, "      headers: {X: \"a\\0b\"}",
         "6:20: error: pools.app.check.headers.X: a NUL character has no place here"},
        {CHECK, "      headers: {X: \"${LP_TEST_MISSING}\"}",
         "6:20: error: pools.app.check.headers.X: the "
         "environment variable LP_TEST_MISSING is not set"},
        {CHECK, "      headers: {X: \"${a b}\"}",
         "6:20: error: pools.app.check.headers.X: \"${\" begins "
         "the name of an environment variable, as in ${NAME}; a literal one is written \"$${\""},
        {CHECK, "      expect: [{}]",
         "6:16: error: pools.app.check.expect[0]: needs a single value, found a map"},
        {CHECK, "      headers: [a]",
         "6:7: error: pools.app.check.headers: needs a map of header names and values, found a "
         "list"},
        {CHECK, "      headers: {A: [b]}",
         "6:17: error: pools.app.check.headers.A: needs a single value, found a list"},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

static void what_stands_twice_or_nowhere_is_an_error(void **state)
{
#define REST "\npools: {app: {servers: {a: 10.0.0.1:80}}}\n"
    static const struct mistake mistakes[] = {
        {TOP, "workers: 1\nlog: {}\nworkers: 2",
         "3:1: error: workers: stands there twice; the first is in line 1"},
        {SERVER, "      a: 10.0.0.1:80\n      b: 10.0.0.2:80\n      a: 10.0.0.3:80",
         "7:7: error: pools.app.servers.a: stands there twice; the first is in line 5"},
        {ALONE,
         "listeners: {a: {bind: 127.0.0.1:80, pool: app}, b: {bind: 127.0.0.1:80, pool: app}}" REST,
         "1:59: error: listeners.b.bind: listener \"a\" is bound to this address already, in line "
         "1"},
        {ALONE,
         "listeners:\n  a: {bind: \"*:80\", pool: app}\n  b: {bind: 0.0.0.0:80, pool: app}" REST,
         "3:13: error: listeners.b.bind: listener \"a\" is bound to this address already, in line "
         "2"},
        {ALONE,
         "listeners:\n  a: {bind: \"*:80\", pool: app}\n  b: {bind: \"[::]:80\", pool: app}" REST,
         "3:13: error: listeners.b.bind: listener \"a\" is bound to this address already, in line "
         "2"},
        {ALONE, "listeners:\n  a: {bind: [\"*:80\", \"*:80\"], pool: app}" REST,
         "2:22: error: listeners.a.bind[1]: listener \"a\" is bound to this address already, in "
         "line 2"},
        {ALONE, "listeners: {a: {bind: [\"unix:/a\", \"unix:/a\"], pool: app}}" REST,
         "1:35: error: listeners.a.bind[1]: listener \"a\" is bound to this address already, in "
         "line 1"},
        {ALONE, "pools: {app: {servers: {a: 10.0.0.1:80}}}",
         "1:1: error: listeners: is missing; it says where to accept connections"},
        {ALONE, "listeners:" REST,
         "1:1: error: listeners: is empty; it says where to accept connections"},
        {ALONE, "listeners: [a]" REST, "1:1: error: listeners: needs a map of names, found a list"},
        {ALONE, "listeners: {web: {bind: 127.0.0.1:1, pool: app}}\npools: {app: {}}",
         "2:9: error: pools.app.servers: is missing; a pool needs at least one server"},
        {ALONE, "listeners: {web: {bind: 127.0.0.1:1, pool: app}}\npools: {app: x}",
         "2:14: error: pools.app: needs a map (lines of \"key: value\"), found a single value"},
    };
    (void)state;
    ASSERT_ALL(mistakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_that_cannot_be_read_is_answered_with_what_to_do),
        cmocka_unit_test(an_unknown_key_gets_the_nearest_one_or_our_word),
        cmocka_unit_test(durations_sizes_and_numbers_are_never_guessed),
        cmocka_unit_test(words_are_taken_from_a_list),
        cmocka_unit_test(an_address_that_is_none_is_answered_with_one),
        cmocka_unit_test(routes_say_what_they_match_in_normal_form),
        cmocka_unit_test(pools_are_looked_at_too),
        cmocka_unit_test(checks_are_looked_at_too),
        cmocka_unit_test(what_stands_twice_or_nowhere_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
