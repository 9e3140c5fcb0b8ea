/* config: one YAML file -> one immutable configuration, or errors that a person can act on.
 *
 * Everything hangs in the configuration's own arena. Names are identities. Values have their
 * defaults filled in and inherited ones resolved, so a reader never asks "was it set?". */
#ifndef LP_CONFIG_H
#define LP_CONFIG_H

#include <stdio.h>

#include "base/base.h"

#define LP_OFF UINT32_MAX /* a duration, count or size that is `off` */

struct lp_cfg_pos {        /* where it stands in the file */
    uint32_t line, column; /* both start at 1; line 0: nowhere, or the whole file */
    uint32_t width;        /* characters to underline */
};

enum lp_balance { LP_BALANCE_HASH, LP_BALANCE_LEAST_CONNECTIONS, LP_BALANCE_ROUND_ROBIN };
enum lp_key_source {
    LP_KEY_CLIENT_IP,
    LP_KEY_COOKIE,
    LP_KEY_HEADER,
    LP_KEY_QUERY,
    LP_KEY_PATH,
    LP_KEY_SNI,
};
enum lp_protocol { LP_PROTOCOL_HTTP, LP_PROTOCOL_TCP };
enum lp_match_upgrade { LP_MATCH_ANY_UPGRADE, LP_MATCH_WEBSOCKET, LP_MATCH_NO_UPGRADE };
enum lp_check_type { LP_CHECK_TCP, LP_CHECK_HTTP, LP_CHECK_WEBSOCKET, LP_CHECK_OFF };
enum lp_all_down { LP_ALL_DOWN_REJECT, LP_ALL_DOWN_TRY_ALL };
enum lp_proxy_protocol { LP_PROXY_PROTOCOL_OFF, LP_PROXY_PROTOCOL_V1, LP_PROXY_PROTOCOL_V2 };
enum lp_log_format { LP_LOG_JSON, LP_LOG_TEXT };

/* All in milliseconds; LP_OFF where `off` is allowed (stream_idle only). */
struct lp_cfg_timeouts {
    uint32_t handshake, head, keep_alive, body, connect, response;
    uint32_t stream_idle, half_closed, stalled, linger;
};

/* Of a removed server's tunnels, and of the process. */
struct lp_cfg_drain {
    uint32_t delay_ms; /* process only */
    uint32_t deadline_ms;
    uint32_t spread_percent; /* 0..100 */
    uint16_t close_code;     /* 1000..4999, one that may be sent */
};

struct lp_cfg_key {
    enum lp_key_source source;
    struct lp_slice name; /* of the cookie, header or query parameter */
};

struct lp_cfg_header {
    struct lp_slice name, value;
};

/* A file that the configuration names: where it is (relative ones against the configuration's
 * folder), and where that is said. Nobody has opened it yet. */
struct lp_cfg_file {
    struct lp_slice path;  /* "": none; NUL-terminated */
    struct lp_slice where; /* "listeners.edge.tls.certificates[0].cert" */
    struct lp_cfg_pos pos; /* of the value */
};

struct lp_cfg_certificate {
    struct lp_cfg_file cert, key, ocsp; /* ocsp may be none */
    struct lp_cfg_pos pos;
};

enum { LP_TLS_1_2 = 1, LP_TLS_1_3 = 2 };

struct lp_cfg_front_tls {
    bool is_on;                              /* else nothing else here means anything */
    struct lp_cfg_certificate *certificates; /* at least one; the first is the default */
    uint32_t certificates_count;
    uint32_t versions; /* a set of LP_TLS_1_2, LP_TLS_1_3 */
    struct lp_cfg_file client_ca, ticket_secret;
    uint64_t hsts_s; /* 0: off, as on every tcp listener */
};

struct lp_cfg_back_tls {
    bool is_on; /* else nothing else here means anything */
    bool verify;
    struct lp_slice name;         /* lower case; "": the server's address */
    struct lp_cfg_file ca;        /* none: the system's; then its place is that of `tls` */
    struct lp_cfg_file cert, key; /* both or none */
};

struct lp_cfg_status_range { /* both ends included */
    uint16_t from, to;
};

struct lp_cfg_check {
    enum lp_check_type type;
    struct lp_slice path, host; /* host: "" means the server's address */
    uint16_t port;              /* 0: the server's */
    struct lp_cfg_header *headers;
    uint32_t headers_count;
    struct lp_cfg_status_range *expect;
    uint32_t expect_count;
    bool ping;
    uint32_t interval_ms, timeout_ms, rise, fall;
};

struct lp_cfg_server {
    struct lp_slice name, id; /* id: the name where not set */
    struct lp_addr address;
    uint32_t weight;
    struct lp_cfg_pos pos;
};

struct lp_cfg_pool {
    struct lp_slice name;
    enum lp_balance balance;
    struct lp_cfg_key *keys;
    uint32_t keys_count;
    uint8_t ipv4_prefix, ipv6_prefix;
    uint64_t seed; /* from hash.secret_file, else 0 */
    struct lp_cfg_back_tls tls;
    enum lp_proxy_protocol proxy_protocol;
    uint32_t retries;
    uint32_t keep_alive_idle, keep_alive_timeout_ms;
    enum lp_all_down when_all_down;
    struct lp_cfg_timeouts timeouts; /* pool over global: of what has no route (drained tunnels) */
    struct lp_cfg_drain drain;
    struct lp_cfg_check check;
    struct lp_cfg_server *servers;
    uint32_t servers_count;
    struct lp_cfg_pos pos;
};

struct lp_cfg_route {
    struct lp_slice host; /* lower case, no port, no trailing dot; "" matches any */
    bool host_is_suffix;  /* "*.example.com": host is "example.com", a label or more before it */
    struct lp_slice path; /* normalised, a prefix without its last '/'; "" matches any */
    bool path_is_exact;   /* path_exact; else a prefix of whole segments */
    enum lp_match_upgrade upgrade;
    struct lp_slice sni; /* as host, but never an IP address; of tcp listeners only */
    bool sni_is_suffix;
    struct lp_cfg_pool *pool;
    struct lp_cfg_timeouts timeouts; /* resolved: route over pool over listener over global */
    struct lp_cfg_pos pos;
};

struct lp_cfg_bind {
    struct lp_addr address;
    struct lp_slice text; /* as written */
    bool takes_ipv4;      /* written "*:port" */
    struct lp_cfg_pos pos;
};

struct lp_cfg_listener {
    struct lp_slice name;
    struct lp_cfg_bind *binds;
    uint32_t binds_count;
    enum lp_protocol protocol;
    struct lp_cfg_front_tls tls;
    bool redirects_to_https; /* then protocol http, no TLS and no routes */
    struct lp_cidr *trusted_proxies;
    uint32_t trusted_proxies_count;
    struct lp_cfg_timeouts timeouts; /* listener over global: for what comes before a route */
    struct lp_cfg_route *routes;     /* `pool:` is one route without a match */
    uint32_t routes_count;           /* 0 when it redirects */
    struct lp_cfg_pos pos;
};

struct lp_config {
    struct lp_arena arena;
    struct lp_slice path; /* of the file */
    struct lp_slice text; /* of the file, for the excerpts of lp_config_complain() */
    uint32_t workers;     /* 0: auto */
    struct {
        enum lp_log_level level;
        struct lp_slice access_to; /* "stdout", "stderr", "off" or a path */
        enum lp_log_format access_format;
        struct lp_slice *query; /* parameter names that may be logged */
        uint32_t query_count;
    } log;
    struct lp_cfg_limits {
        uint32_t connections; /* 0: auto */
        uint32_t head, headers;
        uint64_t body; /* UINT64_MAX: off */
        uint32_t stalled;
        uint64_t memory; /* 0: auto */
    } limits;
    struct lp_cfg_timeouts timeouts;
    struct lp_cfg_drain drain;
    struct lp_cfg_listener *listeners;
    uint32_t listeners_count;
    struct lp_cfg_pool *pools;
    uint32_t pools_count;
    struct lp_cfg_pool **pools_by_name; /* sorted, for lp_config_pool() */
};

/* Errors and warnings of one run, ready to print: each with file:line:col, the excerpt with its
 * caret line, and the keys valid there. */
struct lp_config_report {
    uint32_t errors_count, warnings_count;
    char *text; /* NUL-terminated, "" when there is nothing to say */
    size_t text_size;
    size_t shown_size; /* of text without its last lines: how many more are not shown */
    bool is_check;     /* for people: what is only too old, or too young, is an error there */
};

/* Reads and checks a file. Gives *out (free with lp_config_destroy()) and true, or false with the
 * report saying why (at most 20 errors). Always gives report->text, to be freed with
 * lp_config_report_deinit(). */
bool lp_config_load(struct lp_config **out, struct lp_config_report *report,
                    const char *path) LP_MUST_USE;
/* The same from memory; path is what messages say. */
bool lp_config_parse(struct lp_config **out, struct lp_config_report *report, const char *path,
                     struct lp_slice text) LP_MUST_USE;
void lp_config_destroy(struct lp_config *config);
void lp_config_report_deinit(struct lp_config_report *report);

enum lp_severity { LP_ERROR, LP_WARNING };
/* Adds what was found out about a value after the configuration was read (a file that it names does
 * not say what it should): printed and counted like the reader's own, behind them. Borrows
 * everything. where: the value's key from the top of the file. Any thread that owns the report. */
void lp_config_complain(struct lp_config_report *report, const struct lp_config *config,
                        enum lp_severity severity, struct lp_cfg_pos pos, struct lp_slice where,
                        const char *format, ...) LP_PRINTF(6, 7);

/* By name, or NULL. */
struct lp_cfg_pool *lp_config_pool(const struct lp_config *config, struct lp_slice name);

/* What a reload from one configuration to the next does. Everything points into the two
 * configurations. */
enum lp_cfg_change { LP_CFG_ADDED, LP_CFG_REMOVED, LP_CFG_CHANGED };

/* A server by pool name and server name; changed: another address, or another way to speak to it
 * (the pool's tls or proxy_protocol, as they are written). */
struct lp_cfg_server_change {
    enum lp_cfg_change change;
    const struct lp_cfg_pool *old_pool, *new_pool;       /* NULL where there is no such pool */
    const struct lp_cfg_server *old_server, *new_server; /* NULL when added, when removed */
};

/* A bind by address; changed: the same address under another listener name. */
struct lp_cfg_bind_change {
    enum lp_cfg_change change;
    const struct lp_cfg_listener *old_listener, *new_listener; /* NULL when added, removed */
    const struct lp_cfg_bind *old_bind, *new_bind;
};

struct lp_config_diff {
    const char *restart_key; /* a key whose change needs a restart ("workers"), or NULL */
    struct lp_cfg_server_change *servers;
    uint32_t servers_count;
    uint32_t servers_added, servers_removed, servers_changed;
    struct lp_cfg_bind_change *binds;
    uint32_t binds_count;
    uint32_t binds_added, binds_removed;
};

/* Borrows both; gives *out, to be freed with lp_config_diff_deinit() before either of them goes. */
void lp_config_diff(const struct lp_config *old_config, const struct lp_config *new_config,
                    struct lp_config_diff *out);
void lp_config_diff_deinit(struct lp_config_diff *diff);
/* Does everybody wait as long as before? False also where listeners, routes or pools are others. */
bool lp_config_waits_alike(const struct lp_config *old_config, const struct lp_config *new_config);

/* Prints every key with type, default, range and effect of a reload, as Markdown:
 * docs/configuration.md. */
void lp_config_print_reference(FILE *out);

#endif
