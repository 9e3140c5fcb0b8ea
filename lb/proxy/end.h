/* end: why a stream or a connection ended. One table: the enum, the word in logs and metrics, and
 * whose doing it was. Tests expect these words. */
#ifndef LP_LB_PROXY_END_H
#define LP_LB_PROXY_END_H

/* clang-format off */
/*    name                 whose doing  word */
#define END_REASONS(X)                                              \
    X(DONE,                NOBODY,      "done")                     \
    X(CLIENT_CLOSED,       CLIENT,      "client-closed")            \
    X(CLIENT_RESET,        CLIENT,      "client-reset")             \
    X(BAD_REQUEST,         CLIENT,      "bad-request")              \
    X(BAD_UPGRADE,         CLIENT,      "bad-upgrade")              \
    X(METHOD_REFUSED,      CLIENT,      "method-refused")           \
    X(HEAD_TOO_LARGE,      CLIENT,      "head-too-large")           \
    X(PLAIN_ON_TLS,        CLIENT,      "plain-on-tls")             \
    X(HEAD_TIMEOUT,        CLIENT,      "head-timeout")             \
    X(BODY_TIMEOUT,        CLIENT,      "body-timeout")             \
    X(BODY_TOO_LARGE,      CLIENT,      "body-too-large")           \
    X(NO_ROUTE,            OPERATOR,    "no-route")                 \
    X(NO_SERVER_UP,        POOL,        "no-server-up")             \
    X(CONNECT_FAILED,      POOL,        "connect-failed")           \
    X(CONNECT_TIMEOUT,     POOL,        "connect-timeout")          \
    X(RESPONSE_TIMEOUT,    SERVER,      "response-timeout")         \
    X(BAD_RESPONSE,        SERVER,      "bad-response")             \
    X(SERVER_CLOSED,       SERVER,      "server-closed")            \
    X(SERVER_RESET,        SERVER,      "server-reset")             \
    X(SLOW_CLIENT,         CLIENT,      "slow-peer")                \
    X(SLOW_SERVER,         SERVER,      "slow-peer")                \
    X(STREAM_IDLE,         NOBODY,      "stream-idle")              \
    X(HALF_CLOSED,         NOBODY,      "half-closed-timeout")      \
    X(CONNECTION_LIMIT,    US,          "connection-limit")         \
    X(OUT_OF_BUFFERS,      US,          "out-of-buffers")           \
    X(DRAIN,               OPERATOR,    "drain")                    \
    X(DRAIN_DEADLINE,      OPERATOR,    "drain-deadline")           \
    X(SERVER_REMOVED,      OPERATOR,    "server-removed")
/* clang-format on */

#define END_AS_ENUM(name, whose, word) END_##name,
enum end_reason { END_REASONS(END_AS_ENUM) };
#undef END_AS_ENUM

/* The word of the table; "nobody", "client", "server", "pool", "operator" or "us". */
const char *end_word(enum end_reason reason);
const char *end_whose(enum end_reason reason);

#endif
