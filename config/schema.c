/* The table itself: one row a key, in the order of the documentation. Numbers read their default,
 * their range and their place from here; what a text may contain is decided in values.c, what
 * values mean together in check.c. */
#include "config/schema.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000ull
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KIB    1024ull
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)
#define TIB    (1024 * GIB)

/* Timers count milliseconds in 32 bits; nobody waits for longer than a month. */
#define DURATION_MAX (30 * DAY)

#define RANGE(from, to) .min = (from), .max = (to)
#define AT(type, member)                                                                           \
    .offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member)
#define ARRAY(type, member)                                                                        \
    .offset = offsetof(struct type, member), .count_offset = offsetof(struct type, member##_count)

/* clang-format off */
const struct schema_row schema_rows[] = {
    /* ---- the process ---- */
    {SECTION_ROOT, TYPE_COUNT, "workers", "auto", RANGE(1, 1024), .flags = SCHEMA_AUTO,
     AT(lp_config, workers), .reload = RELOAD_RESTART,
     .doc = "worker threads; `auto` is one for each CPU that the process may use, by "
            "its affinity and its cgroup's quota"},
    {SECTION_ROOT, TYPE_SECTION, "log", .opens = SECTION_LOG, .doc = "what is logged, and where"},
    {SECTION_ROOT, TYPE_SECTION, "limits", .opens = SECTION_LIMITS,
     .doc = "limits of the whole process"},
    {SECTION_ROOT, TYPE_SECTION, "timeouts", .opens = SECTION_TIMEOUTS,
     .offset = offsetof(struct lp_config, timeouts),
     .doc = "only the side that is waited for can time out; listeners may override each of them, "
            "routes and pools all but `handshake`, `head` and `keep_alive`, which are over before "
            "a route is chosen"},
    {SECTION_ROOT, TYPE_SECTION, "drain", .opens = SECTION_DRAIN,
     .offset = offsetof(struct lp_config, drain), .doc = "how SIGTERM and SIGINT end the process"},
    {SECTION_ROOT, TYPE_NAMED, "listeners", .opens = SECTION_LISTENER, .flags = SCHEMA_REQUIRED,
     ARRAY(lp_config, listeners), .doc = "the addresses to accept on, by name"},
    {SECTION_ROOT, TYPE_NAMED, "pools", .opens = SECTION_POOL, .flags = SCHEMA_REQUIRED,
     ARRAY(lp_config, pools), .doc = "servers that share one hash and one check policy, by name"},

    {SECTION_LOG, TYPE_WORD, "level", "info", .words = "error|warning|info|debug",
     AT(lp_config, log.level), .doc = "of the error log on standard error"},
    {SECTION_LOG, TYPE_SECTION, "access", .opens = SECTION_ACCESS, .doc = "the access log"},

    {SECTION_ACCESS, TYPE_LOG_TARGET, "to", "stdout", AT(lp_config, log.access_to),
     .doc = "`stdout`, `stderr`, `off` or the path of a file; every reload opens it again"},
    {SECTION_ACCESS, TYPE_WORD, "format", "json", .words = "json|text",
     AT(lp_config, log.access_format), .doc = "of a line"},
    {SECTION_ACCESS, TYPE_NAMES, "query", ARRAY(lp_config, log.query),
     .doc = "names of query parameters that may be logged"},

    {SECTION_LIMITS, TYPE_COUNT, "connections", "auto", RANGE(1, 16777216), .flags = SCHEMA_AUTO,
     AT(lp_config, limits.connections),
     .doc = "client connections; above it 503 on http, close on tcp; `auto` follows RLIMIT_NOFILE"},
    {SECTION_LIMITS, TYPE_SIZE, "head", "16KiB", RANGE(KIB, LP_HEAD_BYTES_MAX),
     AT(lp_config, limits.head), .reload = RELOAD_NEW_STREAMS,
     .doc = "a request or response head; over it 431 or 502"},
    {SECTION_LIMITS, TYPE_COUNT, "headers", "100", RANGE(1, LP_HEADERS_MAX),
     AT(lp_config, limits.headers), .reload = RELOAD_NEW_STREAMS, .doc = "lines in a head"},
    {SECTION_LIMITS, TYPE_SIZE, "body", "off", RANGE(0, 64 * TIB), .flags = SCHEMA_OFF,
     AT(lp_config, limits.body), .reload = RELOAD_NEW_STREAMS,
     .doc = "a request body; over it 413"},
    {SECTION_LIMITS, TYPE_SIZE, "stalled", "256KiB", RANGE(KIB, GIB), AT(lp_config, limits.stalled),
     .doc = "held per direction for a peer that does not read; never less than `16KiB`, never more "
            "than `256KiB`"},
    {SECTION_LIMITS, TYPE_SIZE, "memory", "auto", RANGE(64 * KIB, 64 * TIB), .flags = SCHEMA_AUTO,
     AT(lp_config, limits.memory),
     .doc = "for the buffers of stalled connections; `auto` is 1/8 of the machine's memory, or of "
            "what its cgroup may use"},

    {SECTION_TIMEOUTS, TYPE_DURATION, "handshake", "10s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, handshake),
     .doc = "the whole TLS handshake with a client; one with a server counts into `connect`"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "head", "10s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, head), .doc = "the whole request head, from its first byte"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "keep_alive", "60s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, keep_alive), .doc = "idle between requests"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "body", "30s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, body), .doc = "no progress in a request body; never a total"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "connect", "5s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, connect), .doc = "to reach a server"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "response", "60s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, response),
     .doc = "from the last byte of the request to the response head or the 101; then between "
            "bytes of a response with Content-Length"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "stream_idle", "1h", RANGE(1, DURATION_MAX),
     .flags = SCHEMA_OFF, AT(lp_cfg_timeouts, stream_idle),
     .doc = "no byte in either direction: tunnels, event streams, responses of unknown length"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "half_closed", "30s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, half_closed), .doc = "silence of a tunnel or tcp stream that one side has closed"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "stalled", "60s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, stalled), .doc = "a peer that takes no byte while there are some for it"},
    {SECTION_TIMEOUTS, TYPE_DURATION, "linger", "2s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_timeouts, linger), .doc = "for the peer's own end after our last byte"},

    {SECTION_DRAIN, TYPE_DURATION, "delay", "5s", RANGE(0, DAY), AT(lp_cfg_drain, delay_ms),
     .doc = "readiness fails at once, still accepting; SIGINT (Ctrl-C) skips it"},
    {SECTION_DRAIN, TYPE_DURATION, "deadline", "25s", RANGE(1, DAY),
     AT(lp_cfg_drain, deadline_ms),
     .doc = "from the signal, delay included; whatever is left then is closed at once"},
    {SECTION_DRAIN, TYPE_PERCENT, "spread", "80%", RANGE(0, 100),
     AT(lp_cfg_drain, spread_percent),
     .doc = "tunnels close evenly, with jitter, over this share of what remains after the delay"},
    {SECTION_DRAIN, TYPE_CLOSE_CODE, "close_code", "1001", RANGE(1000, 4999),
     AT(lp_cfg_drain, close_code), .doc = "of the WebSocket Close frames"},

    /* ---- listeners and routes ---- */
    {SECTION_LISTENER, TYPE_BINDS, "bind", ARRAY(lp_cfg_listener, binds),
     .flags = SCHEMA_REQUIRED, .reload = RELOAD_SOCKETS,
     .doc = "one or a list: `address:port`, `\"[v6]:port\"`, `\"*:port\"`, `unix:/path`"},
    {SECTION_LISTENER, TYPE_WORD, "protocol", "http", .words = "http|tcp",
     AT(lp_cfg_listener, protocol), .reload = RELOAD_NEW_STREAMS,
     .doc = "http includes WebSocket and event streams"},
    {SECTION_LISTENER, TYPE_CIDRS, "trusted_proxies", ARRAY(lp_cfg_listener, trusted_proxies),
     .reload = RELOAD_NEW_STREAMS,
     .doc = "networks whose X-Forwarded-* headers are believed and appended to; from others they "
            "are replaced"},
    {SECTION_LISTENER, TYPE_OPTIONAL, "tls", .opens = SECTION_FRONT_TLS,
     .offset = offsetof(struct lp_cfg_listener, tls), .reload = RELOAD_HANDSHAKES,
     .doc = "clients speak TLS; plain where not written"},
    {SECTION_LISTENER, TYPE_WORD, "redirect", .words = "|https",
     AT(lp_cfg_listener, redirects_to_https), .reload = RELOAD_NEW_STREAMS,
     .doc = "everything is answered with the same address under https: 301 for GET and HEAD, else "
            "308; instead of `pool` and `routes`"},
    {SECTION_LISTENER, TYPE_OVERRIDES, "timeouts", .opens = SECTION_TIMEOUTS,
     .offset = offsetof(struct lp_cfg_listener, timeouts),
     .doc = "those of this listener; the global ones where not written"},
    {SECTION_LISTENER, TYPE_POOL_NAME, "pool", .reload = RELOAD_NEW_STREAMS,
     .doc = "the pool of everything that arrives; either this or `routes`"},
    {SECTION_LISTENER, TYPE_LIST, "routes", .opens = SECTION_ROUTE,
     ARRAY(lp_cfg_listener, routes), .reload = RELOAD_NEW_STREAMS,
     .doc = "the first that matches wins, none is 404; either this or `pool`"},

    {SECTION_FRONT_TLS, TYPE_LIST, "certificates", .opens = SECTION_CERTIFICATE,
     .flags = SCHEMA_REQUIRED, ARRAY(lp_cfg_front_tls, certificates),
     .reload = RELOAD_HANDSHAKES,
     .doc = "chosen by the name that the client asks for, exact names before wildcards; the first "
            "is the default"},
    {SECTION_FRONT_TLS, TYPE_TLS_VERSIONS, "versions", "[\"1.2\", \"1.3\"]",
     AT(lp_cfg_front_tls, versions), .reload = RELOAD_HANDSHAKES,
     .doc = "`\"1.2\"`, `\"1.3\"` or both"},
    {SECTION_FRONT_TLS, TYPE_FILE, "client_ca", AT(lp_cfg_front_tls, client_ca),
     .reload = RELOAD_HANDSHAKES,
     .doc = "PEM file of the authorities whose client certificates are let in; every client must "
            "have one then"},
    {SECTION_FRONT_TLS, TYPE_SECTION, "tickets", .opens = SECTION_TICKETS,
     .doc = "what clients resume a session with"},
    {SECTION_FRONT_TLS, TYPE_SECONDS, "hsts", "off", RANGE(1, 3650 * DAY / SECOND),
     .flags = SCHEMA_OFF, AT(lp_cfg_front_tls, hsts_s), .reload = RELOAD_NEW_STREAMS,
     .doc = "max-age of the Strict-Transport-Security header of every response, like `365d`"},

    {SECTION_CERTIFICATE, TYPE_FILE, "cert", .flags = SCHEMA_REQUIRED,
     AT(lp_cfg_certificate, cert), .reload = RELOAD_HANDSHAKES,
     .doc = "PEM file: the certificate, then those that lead to the authority"},
    {SECTION_CERTIFICATE, TYPE_FILE, "key", .flags = SCHEMA_REQUIRED,
     AT(lp_cfg_certificate, key), .reload = RELOAD_HANDSHAKES, .doc = "PEM file: its private key"},
    {SECTION_CERTIFICATE, TYPE_FILE, "ocsp", AT(lp_cfg_certificate, ocsp),
     .reload = RELOAD_HANDSHAKES,
     .doc = "DER file: the authority's OCSP response, which is stapled to handshakes"},

    {SECTION_TICKETS, TYPE_FILE, "secret_file", AT(lp_cfg_front_tls, ticket_secret),
     .reload = RELOAD_HANDSHAKES,
     .doc = "the keys of tickets follow from its bytes and the time; the same on every node; where "
            "not written a random secret, which only this process knows"},

    {SECTION_ROUTE, TYPE_SECTION, "match", .opens = SECTION_MATCH, .reload = RELOAD_NEW_STREAMS,
     .doc = "every condition must hold; a route without match takes everything"},
    {SECTION_ROUTE, TYPE_POOL_NAME, "pool", .flags = SCHEMA_REQUIRED,
     .reload = RELOAD_NEW_STREAMS, .doc = "where its requests go"},
    {SECTION_ROUTE, TYPE_OVERRIDES, "timeouts", .opens = SECTION_TIMEOUTS,
     .offset = offsetof(struct lp_cfg_route, timeouts),
     .doc = "those of this route; where not written the pool's, the listener's, the global ones"},

    {SECTION_MATCH, TYPE_HOST, "host", AT(lp_cfg_route, host), .reload = RELOAD_NEW_STREAMS,
     .doc = "ignores case, port and a trailing dot; `\"*.example.com\"` has one label or more "
            "for the star"},
    {SECTION_MATCH, TYPE_SNI, "sni", AT(lp_cfg_route, sni), .reload = RELOAD_NEW_STREAMS,
     .doc = "the name that a TLS client asks for; only on listeners with `protocol: tcp`, which "
            "see it whether or not they have `tls` themselves; like `host`"},
    {SECTION_MATCH, TYPE_PATH_PREFIX, "path", AT(lp_cfg_route, path),
     .reload = RELOAD_NEW_STREAMS,
     .doc = "a prefix of whole segments: `/ws` matches `/ws` and `/ws/x`, not `/wsx`"},
    {SECTION_MATCH, TYPE_PATH_EXACT, "path_exact", AT(lp_cfg_route, path),
     .reload = RELOAD_NEW_STREAMS, .doc = "the whole path; instead of `path`"},
    {SECTION_MATCH, TYPE_WORD, "upgrade", .words = "|websocket|none",
     AT(lp_cfg_route, upgrade), .reload = RELOAD_NEW_STREAMS,
     .doc = "`websocket`: only WebSocket handshakes; `none`: everything but them"},

    /* ---- pools and servers ---- */
    {SECTION_POOL, TYPE_WORD, "balance", "hash", .words = "hash|least_connections|round_robin",
     AT(lp_cfg_pool, balance), .reload = RELOAD_MOVES_KEYS,
     .doc = "how a client without a server gets one"},
    {SECTION_POOL, TYPE_SECTION, "hash", .opens = SECTION_HASH,
     .doc = "what `balance: hash` hashes, and how"},
    {SECTION_POOL, TYPE_COUNT, "retries", "2", RANGE(0, 10), AT(lp_cfg_pool, retries),
     .reload = RELOAD_NEW_STREAMS,
     .doc = "other servers to try when a connect fails, before any byte of the body was sent"},
    {SECTION_POOL, TYPE_SECTION, "keep_alive", .opens = SECTION_KEEP_ALIVE,
     .doc = "idle connections to each server"},
    {SECTION_POOL, TYPE_WORD, "proxy_protocol", "off", .words = "off|v1|v2",
     AT(lp_cfg_pool, proxy_protocol), .reload = RELOAD_SERVER,
     .doc = "begin each connection to a server with a PROXY header: the client's address, in text "
            "(`v1`) or binary (`v2`)"},
    {SECTION_POOL, TYPE_OPTIONAL, "tls", .opens = SECTION_BACK_TLS,
     .offset = offsetof(struct lp_cfg_pool, tls), .reload = RELOAD_SERVER,
     .doc = "servers are spoken to over TLS, `tls: {}` with the defaults; plain where not written"},
    {SECTION_POOL, TYPE_OVERRIDES, "timeouts", .opens = SECTION_TIMEOUTS,
     .offset = offsetof(struct lp_cfg_pool, timeouts),
     .doc = "those of this pool's streams; the listener's or global ones where not written"},
    {SECTION_POOL, TYPE_SECTION, "drain", .opens = SECTION_POOL_DRAIN,
     .offset = offsetof(struct lp_cfg_pool, drain),
     .doc = "how the tunnels of a removed or drained server end"},
    {SECTION_POOL, TYPE_WORD, "when_all_down", "reject", .words = "reject|try_all",
     AT(lp_cfg_pool, when_all_down), .doc = "`reject` answers 503"},
    {SECTION_POOL, TYPE_SECTION, "check", .opens = SECTION_CHECK,
     .offset = offsetof(struct lp_cfg_pool, check), .doc = "whether a server is up"},
    {SECTION_POOL, TYPE_NAMED, "servers", .opens = SECTION_SERVER, .flags = SCHEMA_REQUIRED,
     ARRAY(lp_cfg_pool, servers), .reload = RELOAD_SERVER,
     .doc = "by name; the name is the server's identity; short form `NAME: address`"},

    {SECTION_HASH, TYPE_KEY_SOURCES, "key", "client_ip", ARRAY(lp_cfg_pool, keys),
     .reload = RELOAD_MOVES_KEYS,
     .doc = "one or a list, the first that is present: `client_ip`, `cookie:NAME`, "
            "`header:NAME`, `query:NAME`, `path`, `sni`"},
    {SECTION_HASH, TYPE_WORD, "algorithm", "rendezvous", .words = "rendezvous",
     .reload = RELOAD_MOVES_KEYS, .doc = "few keys move when servers come and go"},
    {SECTION_HASH, TYPE_COUNT, "ipv4_prefix", "32", RANGE(0, 32), AT(lp_cfg_pool, ipv4_prefix),
     .reload = RELOAD_MOVES_KEYS, .doc = "bits of an IPv4 client address that count"},
    {SECTION_HASH, TYPE_COUNT, "ipv6_prefix", "64", RANGE(0, 128), AT(lp_cfg_pool, ipv6_prefix),
     .reload = RELOAD_MOVES_KEYS, .doc = "bits of an IPv6 client address that count"},
    {SECTION_HASH, TYPE_SECRET_FILE, "secret_file", AT(lp_cfg_pool, seed),
     .reload = RELOAD_MOVES_KEYS,
     .doc = "its bytes seed the hash, so that nobody can choose keys for one server; the same on "
            "every node"},

    {SECTION_KEEP_ALIVE, TYPE_COUNT, "idle", "64", RANGE(0, 65535),
     AT(lp_cfg_pool, keep_alive_idle), .doc = "connections per server, of the whole process"},
    {SECTION_KEEP_ALIVE, TYPE_DURATION, "timeout", "4s", RANGE(1, DURATION_MAX),
     AT(lp_cfg_pool, keep_alive_timeout_ms), .doc = "after which an idle one is closed"},

    {SECTION_BACK_TLS, TYPE_BOOL, "verify", "true", AT(lp_cfg_back_tls, verify),
     .reload = RELOAD_SERVER,
     .doc = "the server's certificate must come from a known authority, be in its time and name "
            "the server"},
    {SECTION_BACK_TLS, TYPE_FILE, "ca", AT(lp_cfg_back_tls, ca), .reload = RELOAD_SERVER,
     .doc = "PEM file of the authorities to believe; the system's where not written"},
    {SECTION_BACK_TLS, TYPE_TLS_NAME, "name", AT(lp_cfg_back_tls, name),
     .reload = RELOAD_SERVER,
     .doc = "the host name or IP address that the certificate must have, and that is asked for; "
            "the server's IP address where not written"},
    {SECTION_BACK_TLS, TYPE_FILE, "cert", AT(lp_cfg_back_tls, cert), .reload = RELOAD_SERVER,
     .doc = "PEM file: the certificate that limpet shows to servers which ask for one"},
    {SECTION_BACK_TLS, TYPE_FILE, "key", AT(lp_cfg_back_tls, key), .reload = RELOAD_SERVER,
     .doc = "PEM file: its private key"},

    {SECTION_POOL_DRAIN, TYPE_DURATION, "deadline", "5m", RANGE(1, DURATION_MAX),
     AT(lp_cfg_drain, deadline_ms), .doc = "whatever is left then is closed at once"},
    {SECTION_POOL_DRAIN, TYPE_PERCENT, "spread", "80%", RANGE(0, 100),
     AT(lp_cfg_drain, spread_percent),
     .doc = "tunnels close evenly, with jitter, over this share of the deadline"},
    {SECTION_POOL_DRAIN, TYPE_CLOSE_CODE, "close_code", "1001", RANGE(1000, 4999),
     AT(lp_cfg_drain, close_code), .doc = "of the WebSocket Close frames"},

    {SECTION_CHECK, TYPE_WORD, "type", "tcp", .words = "tcp|http|websocket|off",
     AT(lp_cfg_check, type),
     .doc = "a connect, a GET, a real WebSocket handshake, or none; where not written `ping: true` "
            "makes it `websocket`, `path` or `expect` make it `http`"},
    {SECTION_CHECK, TYPE_CHECK_PATH, "path", "/", AT(lp_cfg_check, path),
     .doc = "of http and websocket checks; a query may follow"},
    {SECTION_CHECK, TYPE_CHECK_HOST, "host", AT(lp_cfg_check, host),
     .doc = "Host of the check's request; the server's address where not written"},
    {SECTION_CHECK, TYPE_COUNT, "port", RANGE(1, 65535), AT(lp_cfg_check, port),
     .doc = "where not written the server's port"},
    {SECTION_CHECK, TYPE_HEADERS, "headers", ARRAY(lp_cfg_check, headers),
     .doc = "more lines of the check's request, as `NAME: value`"},
    {SECTION_CHECK, TYPE_STATUSES, "expect", "200-399", ARRAY(lp_cfg_check, expect),
     .doc = "status of a good answer to an http check: `200`, `200-399`, or a list of them"},
    {SECTION_CHECK, TYPE_BOOL, "ping", "false", AT(lp_cfg_check, ping),
     .doc = "a websocket check also waits for a Pong"},
    {SECTION_CHECK, TYPE_DURATION, "interval", "2s", RANGE(10, DAY),
     AT(lp_cfg_check, interval_ms), .doc = "between two checks of a server, with jitter"},
    {SECTION_CHECK, TYPE_DURATION, "timeout", "1s", RANGE(1, HOUR), AT(lp_cfg_check, timeout_ms),
     .doc = "of one check, connect included"},
    {SECTION_CHECK, TYPE_COUNT, "rise", "2", RANGE(1, 100), AT(lp_cfg_check, rise),
     .doc = "good results in a row that make a server up"},
    {SECTION_CHECK, TYPE_COUNT, "fall", "3", RANGE(1, 100), AT(lp_cfg_check, fall),
     .doc = "bad results in a row that make it down"},

    {SECTION_SERVER, TYPE_ADDRESS, "address", AT(lp_cfg_server, address),
     .flags = SCHEMA_REQUIRED, .reload = RELOAD_SERVER,
     .doc = "`address:port`, `\"[v6]:port\"` or `unix:/path`"},
    {SECTION_SERVER, TYPE_COUNT, "weight", "1", RANGE(0, LP_WEIGHT_MAX),
     AT(lp_cfg_server, weight), .reload = RELOAD_MOVES_KEYS,
     .doc = "relative to the others; 0 takes no new client"},
    {SECTION_SERVER, TYPE_SERVER_ID, "id", AT(lp_cfg_server, id), .reload = RELOAD_MOVES_KEYS,
     .doc = "what is hashed for this server; its name where not written"},
};

const struct schema_place schema_places[SECTION_COUNT] = {
    [SECTION_ROOT]       = {"", sizeof(struct lp_config), 0, 0},
    [SECTION_LOG]        = {"log", 0, 0, 0},
    [SECTION_ACCESS]     = {"log.access", 0, 0, 0},
    [SECTION_LIMITS]     = {"limits", 0, 0, 0},
    [SECTION_TIMEOUTS]   = {"timeouts", 0, 0, 0},
    [SECTION_DRAIN]      = {"drain", 0, 0, 0},
    [SECTION_LISTENER]   = {"listeners.NAME", sizeof(struct lp_cfg_listener),
                            offsetof(struct lp_cfg_listener, name),
                            offsetof(struct lp_cfg_listener, pos)},
    [SECTION_FRONT_TLS]  = {"listeners.NAME.tls", 0, 0, 0},
    [SECTION_CERTIFICATE] = {"listeners.NAME.tls.certificates[]",
                             sizeof(struct lp_cfg_certificate), 0,
                             offsetof(struct lp_cfg_certificate, pos)},
    [SECTION_TICKETS]    = {"listeners.NAME.tls.tickets", 0, 0, 0},
    [SECTION_ROUTE]      = {"listeners.NAME.routes[]", sizeof(struct lp_cfg_route), 0,
                            offsetof(struct lp_cfg_route, pos)},
    [SECTION_MATCH]      = {"listeners.NAME.routes[].match", 0, 0, 0},
    [SECTION_POOL]       = {"pools.NAME", sizeof(struct lp_cfg_pool),
                            offsetof(struct lp_cfg_pool, name), offsetof(struct lp_cfg_pool, pos)},
    [SECTION_HASH]       = {"pools.NAME.hash", 0, 0, 0},
    [SECTION_KEEP_ALIVE] = {"pools.NAME.keep_alive", 0, 0, 0},
    [SECTION_BACK_TLS]   = {"pools.NAME.tls", 0, 0, 0},
    [SECTION_POOL_DRAIN] = {"pools.NAME.drain", 0, 0, 0},
    [SECTION_CHECK]      = {"pools.NAME.check", 0, 0, 0},
    [SECTION_SERVER]     = {"pools.NAME.servers.NAME", sizeof(struct lp_cfg_server),
                            offsetof(struct lp_cfg_server, name),
                            offsetof(struct lp_cfg_server, pos)},
};
/* clang-format on */

static_assert(offsetof(struct lp_cfg_front_tls, is_on) == 0, "TYPE_OPTIONAL sets it");
static_assert(offsetof(struct lp_cfg_back_tls, is_on) == 0, "TYPE_OPTIONAL sets it");

const uint32_t schema_rows_count = LP_COUNT_OF(schema_rows);

const struct schema_row *schema_find(enum schema_section section, struct lp_slice key)
{
    for (uint32_t i = 0; i < schema_rows_count; i++)
        if (schema_rows[i].in == section && lp_slice_equal(lp_slice_of(schema_rows[i].key), key))
            return &schema_rows[i];
    return NULL;
}

size_t schema_list_keys(enum schema_section section, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < schema_rows_count; i++) {
        if (schema_rows[i].in != section)
            continue;
        int size =
            snprintf(out + used, out_size - used, "%s%s", used > 0 ? ", " : "", schema_rows[i].key);
        if (size < 0 || (size_t)size >= out_size - used)
            break;
        used += (size_t)size;
    }
    return used;
}
