/* What people write who come from other balancers, and slips of the finger: which of our words was
 * meant. Only for messages. */
#include "config/schema.h"

#include <string.h>

#define ANY_SECTION    SECTION_COUNT
#define WORD_BYTES_MAX 64u

/* clang-format off */
static const struct foreign_key {
    uint32_t section; /* where it was written, or ANY_SECTION */
    const char *word;
    const char *ours;
} foreign_keys[] = {
    {SECTION_ROOT,     "http",                   "listeners: and pools: at the top of the file"},
    {SECTION_ROOT,     "stream",                 "a listener with protocol: tcp"},
    {SECTION_ROOT,     "events",                 "limits.connections"},
    {SECTION_ROOT,     "global",                 "workers, log, limits, timeouts and drain"},
    {SECTION_ROOT,     "defaults",               "timeouts at the top of the file"},
    {ANY_SECTION,      "upstream",               "pools: (a map of names)"},
    {ANY_SECTION,      "upstreams",              "pools: (a map of names)"},
    {ANY_SECTION,      "cluster",                "pools: (a map of names)"},
    {ANY_SECTION,      "clusters",               "pools: (a map of names)"},
    {SECTION_ROOT,     "backend",                "pools: (a map of names)"},
    {SECTION_ROOT,     "backends",               "pools: (a map of names)"},
    {SECTION_LISTENER, "backend",                "pool: NAME"},
    {SECTION_LISTENER, "default_backend",        "pool: NAME, or a last route without match"},
    {SECTION_LISTENER, "use_backend",            "routes: with match: and pool:"},
    {SECTION_LISTENER, "proxy_pass",             "pool: NAME"},
    {SECTION_LISTENER, "locations",              "routes:"},
    {SECTION_LISTENER, "location",               "routes: with match: {path: ...}"},
    {SECTION_LISTENER, "server_name",            "routes: with match: {host: ...}"},
    {SECTION_LISTENER, "listen",                 "bind: ADDRESS:PORT"},
    {SECTION_LISTENER, "address",                "bind: ADDRESS:PORT"},
    {SECTION_LISTENER, "mode",                   "protocol: http or tcp"},
    {SECTION_LISTENER, "set_real_ip_from",       "trusted_proxies:"},
    {SECTION_ROUTE,    "backend",                "pool: NAME"},
    {SECTION_ROUTE,    "proxy_pass",             "pool: NAME"},
    {SECTION_ROUTE,    "path",                   "match: {path: ...}"},
    {SECTION_ROUTE,    "path_exact",             "match: {path_exact: ...}"},
    {SECTION_ROUTE,    "host",                   "match: {host: ...}"},
    {SECTION_ROUTE,    "sni",                    "match: {sni: ...}"},
    {SECTION_ROUTE,    "upgrade",                "match: {upgrade: ...}"},
    {SECTION_POOL,     "backend",                "servers: (a map of names)"},
    {SECTION_POOL,     "backends",               "servers: (a map of names)"},
    {SECTION_POOL,     "server",                 "servers: (a map of names)"},
    {SECTION_POOL,     "targets",                "servers: (a map of names)"},
    {SECTION_POOL,     "peers",                  "servers: (a map of names)"},
    {SECTION_POOL,     "members",                "servers: (a map of names)"},
    {SECTION_ROOT,     "server",                 "listeners: (what is accepted), pools: (servers)"},
    {SECTION_ROOT,     "servers",                "pools.NAME.servers:"},
    {ANY_SECTION,      "frontend",               "listeners: (a map of names)"},
    {ANY_SECTION,      "frontends",              "listeners: (a map of names)"},
    {SECTION_ROOT,     "listen",                 "listeners.NAME.bind"},
    {SECTION_ROOT,     "bind",                   "listeners.NAME.bind"},
    {SECTION_ROOT,     "routes",                 "listeners.NAME.routes"},
    {ANY_SECTION,      "ip_hash",                "balance: hash"},
    {ANY_SECTION,      "least_conn",             "balance: least_connections"},
    {ANY_SECTION,      "leastconn",              "balance: least_connections"},
    {ANY_SECTION,      "roundrobin",             "balance: round_robin"},
    {ANY_SECTION,      "lb_policy",              "balance: hash, least_connections or round_robin"},
    {SECTION_POOL,     "algorithm",              "balance: (of the hash itself: hash.algorithm)"},
    {ANY_SECTION,      "hash-type",              "hash.algorithm"},
    {ANY_SECTION,      "sticky",                 "balance: hash with hash: {key: cookie:NAME}"},
    {ANY_SECTION,      "stick_table",            "balance: hash"},
    {ANY_SECTION,      "stick-table",            "balance: hash"},
    {ANY_SECTION,      "session_affinity",       "balance: hash"},
    {ANY_SECTION,      "maxconn",                "limits.connections (for the whole process)"},
    {ANY_SECTION,      "worker_connections",     "limits.connections"},
    {ANY_SECTION,      "max_connections",        "limits.connections (for the whole process)"},
    {ANY_SECTION,      "worker_processes",       "workers"},
    {ANY_SECTION,      "nbthread",               "workers"},
    {ANY_SECTION,      "threads",                "workers"},
    {ANY_SECTION,      "access_log",             "log.access"},
    {ANY_SECTION,      "error_log",              "log.level (errors go to standard error)"},
    {ANY_SECTION,      "client_max_body_size",   "limits.body"},
    {ANY_SECTION,      "large_client_header_buffers", "limits.head"},
    {ANY_SECTION,      "client_header_timeout",  "timeouts.head"},
    {ANY_SECTION,      "timeout http-request",   "timeouts.head"},
    {ANY_SECTION,      "client_body_timeout",    "timeouts.body"},
    {ANY_SECTION,      "keepalive_timeout",      "timeouts.keep_alive"},
    {ANY_SECTION,      "timeout http-keep-alive", "timeouts.keep_alive"},
    {ANY_SECTION,      "timeout client",         "timeouts.stream_idle"},
    {ANY_SECTION,      "timeout server",         "timeouts.response (stream_idle for tunnels)"},
    {ANY_SECTION,      "timeout tunnel",         "timeouts.stream_idle"},
    {ANY_SECTION,      "timeout connect",        "timeouts.connect"},
    {ANY_SECTION,      "timeout check",          "check.timeout"},
    {ANY_SECTION,      "timeout client-fin",     "timeouts.half_closed"},
    {ANY_SECTION,      "timeout server-fin",     "timeouts.half_closed"},
    {ANY_SECTION,      "proxy_connect_timeout",  "timeouts.connect"},
    {ANY_SECTION,      "proxy_read_timeout",     "timeouts.stream_idle"},
    {ANY_SECTION,      "proxy_send_timeout",     "timeouts.stalled"},
    {ANY_SECTION,      "send_timeout",           "timeouts.stalled"},
    {ANY_SECTION,      "lingering_timeout",      "timeouts.linger"},
    {ANY_SECTION,      "worker_shutdown_timeout", "drain.deadline"},
    {ANY_SECTION,      "hard-stop-after",        "drain.deadline"},
    {SECTION_TIMEOUTS, "client",                 "stream_idle"},
    {SECTION_TIMEOUTS, "server",                 "response (stream_idle for tunnels)"},
    {SECTION_TIMEOUTS, "tunnel",                 "stream_idle"},
    {SECTION_TIMEOUTS, "idle",                   "stream_idle"},
    {SECTION_TIMEOUTS, "read",                   "response (stream_idle for tunnels)"},
    {SECTION_TIMEOUTS, "send",                   "stalled"},
    {SECTION_TIMEOUTS, "write",                  "stalled"},
    {SECTION_TIMEOUTS, "request",                "head"},
    {SECTION_POOL,     "keepalive",              "keep_alive: {idle: NUMBER, timeout: DURATION}"},
    {SECTION_POOL,     "health_check",           "check:"},
    {SECTION_POOL,     "health_checks",          "check:"},
    {SECTION_POOL,     "healthcheck",            "check:"},
    {SECTION_POOL,     "option httpchk",         "check: {type: http}"},
    {SECTION_POOL,     "httpchk",                "check: {type: http}"},
    {SECTION_POOL,     "proxy_next_upstream_tries", "retries"},
    {ANY_SECTION,      "inter",                  "interval"},
    {SECTION_CHECK,    "uri",                    "path"},
    {SECTION_CHECK,    "url",                    "path"},
    {SECTION_CHECK,    "protocol",               "type"},
    {SECTION_CHECK,    "status",                 "expect"},
    {SECTION_CHECK,    "passes",                 "rise"},
    {SECTION_CHECK,    "healthy_threshold",      "rise"},
    {SECTION_CHECK,    "fails",                  "fall"},
    {SECTION_CHECK,    "unhealthy_threshold",    "fall"},
    {SECTION_LISTENER, "ssl",                    "tls: {certificates: [{cert: ..., key: ...}]}"},
    {SECTION_LISTENER, "certificates",           "tls: {certificates: [{cert: ..., key: ...}]}"},
    {SECTION_LISTENER, "cert",                   "tls: {certificates: [{cert: ..., key: ...}]}"},
    {SECTION_LISTENER, "crt",                    "tls: {certificates: [{cert: ..., key: ...}]}"},
    {SECTION_LISTENER, "hsts",                   "tls: {hsts: ...}"},
    {SECTION_LISTENER, "client_ca",              "tls: {client_ca: ...}"},
    {SECTION_LISTENER, "http2https",             "redirect: https"},
    {SECTION_LISTENER, "return",                 "redirect: https (of a whole listener)"},
    {SECTION_LISTENER, "redirect scheme",        "redirect: https"},
    {SECTION_LISTENER, "http-request redirect",  "redirect: https (of a whole listener)"},
    {SECTION_LISTENER, "send-proxy",             "pools.NAME.proxy_protocol: v1 or v2"},
    {ANY_SECTION,      "ssl_certificate",        "tls.certificates: [{cert: ..., key: ...}]"},
    {ANY_SECTION,      "ssl_certificate_key",    "key, beside cert in tls.certificates"},
    {ANY_SECTION,      "ssl_protocols",          "tls.versions"},
    {ANY_SECTION,      "ssl-min-ver",            "tls.versions"},
    {ANY_SECTION,      "ssl_client_certificate", "tls.client_ca"},
    {ANY_SECTION,      "ssl_verify_client",      "tls.client_ca (every client needs a certificate)"},
    {ANY_SECTION,      "ssl_session_ticket_key", "tls.tickets: {secret_file: ...}"},
    {ANY_SECTION,      "tls-ticket-keys",        "tls.tickets: {secret_file: ...}"},
    {ANY_SECTION,      "ssl_session_tickets",    "tls.tickets: {secret_file: ...}"},
    {ANY_SECTION,      "ssl_stapling_file",      "ocsp, beside cert in tls.certificates"},
    {ANY_SECTION,      "ssl_handshake_timeout",  "timeouts.handshake"},
    {ANY_SECTION,      "strict-transport-security", "tls.hsts"},
    {ANY_SECTION,      "strict_transport_security", "tls.hsts"},
    {ANY_SECTION,      "ssl_preread",            "match: {sni: ...} on a listener with protocol: tcp"},
    {ANY_SECTION,      "req_ssl_sni",            "match: {sni: ...} on a listener with protocol: tcp"},
    {ANY_SECTION,      "req.ssl_sni",            "match: {sni: ...} on a listener with protocol: tcp"},
    {SECTION_FRONT_TLS, "crt",                   "certificates: [{cert: ..., key: ...}]"},
    {SECTION_FRONT_TLS, "cert",                  "certificates: [{cert: ..., key: ...}]"},
    {SECTION_FRONT_TLS, "key",                   "certificates: [{cert: ..., key: ...}]"},
    {SECTION_FRONT_TLS, "certificate",           "certificates: [{cert: ..., key: ...}]"},
    {SECTION_FRONT_TLS, "protocols",             "versions"},
    {SECTION_FRONT_TLS, "min_version",           "versions"},
    {SECTION_FRONT_TLS, "ca",                    "client_ca"},
    {SECTION_FRONT_TLS, "ca-file",               "client_ca"},
    {SECTION_FRONT_TLS, "ca_file",               "client_ca"},
    {SECTION_FRONT_TLS, "secret_file",           "tickets: {secret_file: ...}"},
    {SECTION_FRONT_TLS, "ocsp",                  "ocsp, beside cert in certificates"},
    {SECTION_CERTIFICATE, "crt",                 "cert"},
    {SECTION_CERTIFICATE, "certificate",         "cert"},
    {SECTION_CERTIFICATE, "chain",               "cert (one file: the certificate, then its chain)"},
    {SECTION_CERTIFICATE, "fullchain",           "cert"},
    {SECTION_CERTIFICATE, "private_key",         "key"},
    {SECTION_POOL,     "ssl",                    "tls: {}"},
    {SECTION_POOL,     "ca-file",                "tls: {ca: ...}"},
    {SECTION_POOL,     "proxy_ssl",              "tls: {}"},
    {ANY_SECTION,      "proxy_ssl_verify",       "tls.verify"},
    {ANY_SECTION,      "proxy_ssl_name",         "tls.name"},
    {ANY_SECTION,      "proxy_ssl_server_name",  "tls.name"},
    {ANY_SECTION,      "proxy_ssl_trusted_certificate", "tls.ca"},
    {ANY_SECTION,      "proxy_ssl_certificate",  "tls.cert"},
    {ANY_SECTION,      "proxy_ssl_certificate_key", "tls.key"},
    {SECTION_BACK_TLS, "ca-file",                "ca"},
    {SECTION_BACK_TLS, "ca_file",                "ca"},
    {SECTION_BACK_TLS, "crt",                    "cert, with key"},
    {SECTION_BACK_TLS, "sni",                    "name"},
    {SECTION_BACK_TLS, "verifyhost",             "name"},
    {SECTION_BACK_TLS, "server_name",            "name"},
    {SECTION_BACK_TLS, "insecure",               "verify: false"},
    {SECTION_BACK_TLS, "insecure_skip_verify",   "verify: false"},
    {SECTION_POOL,     "send-proxy",             "proxy_protocol: v1"},
    {SECTION_POOL,     "send_proxy",             "proxy_protocol: v1"},
    {SECTION_POOL,     "send-proxy-v2",          "proxy_protocol: v2"},
    {SECTION_SERVER,   "send-proxy",             "pools.NAME.proxy_protocol: v1"},
    {SECTION_SERVER,   "send-proxy-v2",          "pools.NAME.proxy_protocol: v2"},
    {SECTION_SERVER,   "tls",                    "pools.NAME.tls (one for all servers)"},
    {SECTION_SERVER,   "ssl",                    "pools.NAME.tls (one for all servers)"},
    {SECTION_SERVER,   "check",                  "pools.NAME.check (one for all servers)"},
    {SECTION_SERVER,   "host",                   "address: ADDRESS:PORT"},
    {SECTION_SERVER,   "port",                   "address: ADDRESS:PORT"},
    {SECTION_SERVER,   "url",                    "address: ADDRESS:PORT"},
    {SECTION_SERVER,   "addr",                   "address"},
};

static const struct foreign_value {
    const char *key;
    const char *word;
    const char *ours;
} foreign_values[] = {
    {"balance",  "roundrobin",   "round_robin"},
    {"balance",  "rr",           "round_robin"},
    {"balance",  "leastconn",    "least_connections"},
    {"balance",  "least_conn",   "least_connections"},
    {"balance",  "least_request", "least_connections"},
    {"balance",  "source",       "hash"},
    {"balance",  "ip_hash",      "hash"},
    {"balance",  "sticky",       "hash"},
    {"balance",  "consistent",   "hash"},
    {"balance",  "ring_hash",    "hash"},
    {"balance",  "maglev",       "hash"},
    {"balance",  "uri",          "hash with hash: {key: path}"},
    {"balance",  "random",       "least_connections"},
    {"level",    "warn",         "warning"},
    {"level",    "notice",       "info"},
    {"level",    "crit",         "error"},
    {"level",    "trace",        "debug"},
    {"protocol", "ws",           "http"},
    {"protocol", "websocket",    "http"},
    {"protocol", "sse",          "http"},
    {"protocol", "https",        "http, with tls beside it"},
    {"protocol", "tls",          "tcp, with tls beside it"},
    {"protocol", "ssl",          "tcp, with tls beside it"},
    {"proxy_protocol", "1",      "v1"},
    {"proxy_protocol", "2",      "v2"},
    {"proxy_protocol", "on",     "v2"},
    {"proxy_protocol", "true",   "v2"},
    {"proxy_protocol", "false",  "off"},
    {"proxy_protocol", "none",   "off"},
    {"proxy_protocol", "send-proxy", "v1"},
    {"proxy_protocol", "send-proxy-v2", "v2"},
    {"type",     "ws",           "websocket"},
    {"type",     "none",         "off"},
    {"type",     "false",        "off"},
    {"upgrade",  "ws",           "websocket"},
    {"upgrade",  "off",          "none"},
    {"upgrade",  "false",        "none"},
    {"upgrade",  "true",         "websocket"},
    {"key",      "ip",           "client_ip"},
    {"key",      "source",       "client_ip"},
    {"key",      "src",          "client_ip"},
    {"key",      "source_ip",    "client_ip"},
    {"key",      "remote_addr",  "client_ip"},
    {"key",      "$remote_addr", "client_ip"},
    {"key",      "$binary_remote_addr", "client_ip"},
    {"key",      "ssl_preread_server_name", "sni"},
    {"key",      "$ssl_preread_server_name", "sni"},
    {"key",      "req.ssl_sni",  "sni"},
    {"key",      "ssl_fc_sni",   "sni"},
    {"key",      "server_name",  "sni"},
    {"key",      "uri",          "path"},
    {"key",      "url",          "path"},
    {"key",      "$uri",         "path"},
    {"key",      "$request_uri", "path"},
};
/* clang-format on */

/* ---- nearness ---- */

static char folded(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c + 32);
    if (c == '-')
        return '_';
    return c;
}

static uint32_t least_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: three rows of the usual matrix, the third for swapped letters. */
uint32_t words_distance(struct lp_slice a, struct lp_slice b)
{
    uint32_t rows[3][WORD_BYTES_MAX + 1];

    a.size = a.size > WORD_BYTES_MAX ? WORD_BYTES_MAX : a.size;
    b.size = b.size > WORD_BYTES_MAX ? WORD_BYTES_MAX : b.size;
    for (uint32_t j = 0; j <= b.size; j++)
        rows[0][j] = j;
    for (uint32_t i = 1; i <= a.size; i++) {
        uint32_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (uint32_t j = 1; j <= b.size; j++) {
            char x = folded(a.data[i - 1]), y = folded(b.data[j - 1]);
            now[j] = least_of(before[j - 1] + (x != y), least_of(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && x == folded(b.data[j - 2]) && folded(a.data[i - 2]) == y)
                now[j] = least_of(now[j], earlier[j - 2] + 1);
        }
    }
    return rows[a.size % 3][b.size];
}

bool words_are_near(struct lp_slice a, struct lp_slice b)
{
    size_t longer = a.size > b.size ? a.size : b.size;
    size_t allowed = longer / 3;

    if (allowed == 0)
        allowed = 1;
    if (allowed > 3)
        allowed = 3;
    size_t shorter = a.size + b.size - longer;
    if (longer > WORD_BYTES_MAX || longer - shorter > allowed)
        return false;
    uint32_t distance = words_distance(a, b);
    return distance <= allowed && distance < longer;
}

const char *words_nearest_key(enum schema_section section, struct lp_slice key)
{
    const char *nearest = NULL;
    uint32_t least = UINT32_MAX;

    for (uint32_t i = 0; i < schema_rows_count; i++) {
        const struct schema_row *row = &schema_rows[i];
        if (row->in != section || !words_are_near(key, lp_slice_of(row->key)))
            continue;
        uint32_t distance = words_distance(key, lp_slice_of(row->key));
        if (distance < least) {
            least = distance;
            nearest = row->key;
        }
    }
    return nearest;
}

/* ---- other balancers ---- */

const char *words_for_key(enum schema_section section, struct lp_slice key)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(foreign_keys); i++)
        if ((foreign_keys[i].section == ANY_SECTION || foreign_keys[i].section == section) &&
            lp_slice_equal_nocase(lp_slice_of(foreign_keys[i].word), key))
            return foreign_keys[i].ours;
    return NULL;
}

const char *words_for_value(const char *key, struct lp_slice value)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(foreign_values); i++)
        if (strcmp(foreign_values[i].key, key) == 0 &&
            lp_slice_equal_nocase(lp_slice_of(foreign_values[i].word), value))
            return foreign_values[i].ours;
    return NULL;
}
