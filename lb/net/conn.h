/* conn: one connected socket: receive, send, the polite end, and when its memory may go.
 *
 * A connection holds one received piece that its owner has not consumed, one piece that the kernel
 * sends and one that waits behind it; an idle one not even the room to describe them. It is freed
 * in one place (loop.c: release_ended), when it is closing and nothing is in flight. TLS, where
 * there is some, stands between the bytes of the socket and the pieces seen here (secure.h). */
#ifndef LP_LB_NET_CONN_H
#define LP_LB_NET_CONN_H

#include "lb/net/loop.h"

struct conn;
struct lp_tls;

/* The owner's side of a connection. Every handler may end the connection. */
struct conn_ops {
    /* 0 or errno; and once more when a TLS handshake is over (EPROTO: conn_tls_error() says why) */
    void (*on_connect)(struct loop *loop, struct conn *conn, int error);
    /* It is its turn after conn_wait_turn(). */
    void (*on_turn)(struct loop *loop, struct conn *conn);
    void (*on_recv)(struct loop *loop, struct conn *conn, int error);
    /* 0: bytes lie in conn->io->in, or conn_is_eof(); else errno */
    void (*on_sent)(struct loop *loop, struct conn *conn,
                    int error); /* a piece has left, or errno */
    void (*on_timer)(struct loop *loop, struct conn *conn);
    /* conn_watch(): the peer says no more, or has gone. NULL where nobody watches. */
    void (*on_hangup)(struct loop *loop, struct conn *conn);
    void (*on_released)(struct loop *loop, struct conn *conn); /* the last call: free the object */
};

/* Bytes in a buffer (with one reference to it), or static ones. */
struct piece {
    const char *data;
    uint32_t size;
    uint32_t buffer; /* URING_NO_BUFFER: static memory */
};

enum conn_state {
    CONN_CONNECTING,
    CONN_HANDSHAKE, /* TLS: the owner waits for on_connect */
    CONN_OPEN,
    CONN_LINGERING, /* the owner has said all: send it, shut, discard until FIN */
    CONN_CLOSING,   /* waits until nothing is in flight                         */
};

enum {
    CONN_RECV_ARMED = 1u << 0,
    CONN_EOF = 1u << 1,          /* the peer has said all                            */
    CONN_SHUT_WANTED = 1u << 2,  /* shut our side when the pieces have left          */
    CONN_SHUT = 1u << 3,         /* our side is shut                                 */
    CONN_STARVED = 1u << 4,      /* in loop->starved                                 */
    CONN_LIKELY_EMPTY = 1u << 5, /* the last receive emptied the socket              */
    CONN_STREAMING = 1u << 6,    /* full buffers come in: use large ones             */
    CONN_MULTISHOT = 1u << 7,    /* the armed receive goes on by itself              */
    CONN_CANCELLING = 1u << 8,   /* ... until its cancel lands                       */
    CONN_ENDED = 1u << 9,        /* in loop->ended                                   */
    CONN_TLS = 1u << 10,         /* conn->io is the begin of a struct conn_tls       */
    CONN_TRUNCATED = 1u << 11,   /* at EOF: the peer did not say close_notify        */
    CONN_WAITS_TURN = 1u << 12,  /* in loop->handshakes                              */
    CONN_LAST = 1u << 13,        /* behind the pieces given nothing follows          */
    CONN_STALLED = 1u << 14,     /* in loop->stalled                                 */
    CONN_NARROW = 1u << 15,      /* its window is small: nobody takes what it sends  */
};

/* What only a connection has on which bytes are under way. */
struct conn_traffic {
    struct piece in;              /* received, not consumed */
    struct piece sending, next;   /* size 0: none */
    struct conn_backlog *backlog; /* received behind `in`; NULL: nothing was */
    struct conn *conn;
    uint32_t acked; /* low bits of the peer's acknowledged bytes when last looked at */
    uint32_t slot;
    struct lp_list stalled; /* loop->stalled, while CONN_STALLED */
};

struct conn {
    struct lp_timer timer;   /* the owner's while open; linger's afterwards */
    struct conn_traffic *io; /* a read-only empty one while nothing is under way */
    int fd;
    uint32_t slot;
    uint32_t generation : 24, space : 8;
    uint8_t state, ops_inflight;
    uint16_t flags;
    uint32_t send_started_ms; /* or its last progress, or when it stalled; low bits of now_ms */
    union {
        uint32_t taken_bytes; /* by the peer since it stalled or began, up to LP_FLOWING_BYTES */
        uint32_t linger;      /* of a polite end: milliseconds, then bytes left to discard */
    };
    uint32_t stalled_ms;        /* of a polite end */
    uint16_t recv_limit;        /* of a starved limited receive */
    uint8_t messages_count : 7; /* small receives in a row, as far as it matters */
    bool is_watched : 1;        /* a poll for the peer's leaving is in flight */
};
static_assert(sizeof(struct conn) == LP_CACHE_LINE, "an idle connection is one cache line");

/* For a fresh object of a space: takes fd. accepted ones are open; others connect (op) to addr,
 * which the caller keeps until on_connect. */
void conn_open(struct conn *conn, uint8_t space, struct lp_pool_name name, int fd);
void conn_connect(struct loop *loop, struct conn *conn, uint8_t space, struct lp_pool_name name,
                  int fd, const struct lp_addr *addr);

/* Asks for the next bytes, at most size_max of them (0: a buffer full). Harmless when already
 * asked, at EOF, or while conn->io->in is not consumed. */
void conn_want(struct loop *loop, struct conn *conn, uint32_t size_max);
/* The same, a buffer full at a time. As long as small messages come and are consumed at once, one
 * request is enough for all of them; when they stop doing so, LP_MULTISHOT_BYTES may come at once
 * before reading stops. */
void conn_want_messages(struct loop *loop, struct conn *conn);
/* Nothing can be asked for while conn->io->in is not consumed, but that the peer leaves would
 * matter: on_hangup follows then, at once if it has left already. Until conn_unwatch(), or an end.
 */
void conn_watch(struct loop *loop, struct conn *conn);
void conn_unwatch(struct loop *loop, struct conn *conn);
/* The first size bytes of conn->io->in are done with. */
void conn_consume(struct loop *loop, struct conn *conn, uint32_t size);
/* Moves the first size bytes of conn->io->in into a piece of its own reference. */
struct piece conn_take(struct loop *loop, struct conn *conn, uint32_t size);

static inline bool conn_is_eof(const struct conn *conn)
{
    return (conn->flags & CONN_EOF) != 0;
}
/* At EOF: it came without close_notify, so what came before may not be all. */
static inline bool conn_is_truncated(const struct conn *conn)
{
    return (conn->flags & CONN_TRUNCATED) != 0;
}
/* The owner goes on after an error of a receive: it stands for an end that came too early. */
static inline void conn_note_reset(struct conn *conn)
{
    conn->flags |= CONN_EOF | CONN_TRUNCATED;
}
static inline bool conn_can_send(const struct conn *conn)
{
    return conn->io->next.size == 0 && conn->state == CONN_OPEN;
}
static inline bool conn_has_sent_all(const struct conn *conn)
{
    return conn->io->sending.size == 0;
}

/* Takes the piece; only when conn_can_send(). Size 0 is allowed and does nothing. */
void conn_send(struct loop *loop, struct conn *conn, struct piece piece);
/* The piece sent next is the last one: TLS says so in the same send. */
static inline void conn_next_is_last(struct conn *conn)
{
    conn->flags |= CONN_LAST;
}
/* Half-close: FIN (under TLS close_notify and FIN) behind the last piece. */
void conn_shut(struct loop *loop, struct conn *conn);

/* Handshakes cost as much as many messages, so they wait for their turn: a bounded number in each
 * turn of the loop. on_turn follows. */
void conn_wait_turn(struct loop *loop, struct conn *conn);
/* From here on the socket carries TLS, what was received and not consumed included. Takes session.
 * on_connect follows; until then the owner may only end the connection. */
void conn_begin_tls(struct loop *loop, struct conn *conn, struct lp_tls *session);
/* NULL: a plain connection. */
struct lp_tls *conn_tls_session(const struct conn *conn);
/* Why its handshake failed, or its records could not be opened. Static. */
const char *conn_tls_error(const struct conn *conn);
/* The end of a server connection that nobody uses: close_notify, if it can go out at once. */
void conn_say_goodbye(struct loop *loop, struct conn *conn);

/* Asked now and then while a piece waits: has the peer taken any byte within stalled_ms? */
bool conn_takes_bytes(struct loop *loop, struct conn *conn, uint32_t stalled_ms);

/* Joins loop->stalled, where the one that has taken nothing for the longest time comes first. It
 * leaves with the next piece that its peer has taken whole, or with its bytes. */
void conn_stall(struct loop *loop, struct conn *conn);
/* Of a stalled one: has its peer taken nothing since it joined, or since this was asked last? If it
 * has, it moves behind all others. */
bool conn_still_stalls(struct loop *loop, struct conn *conn);
static inline bool conn_is_flowing(const struct conn *conn)
{
    return conn->state == CONN_OPEN && conn->taken_bytes >= LP_FLOWING_BYTES;
}
/* The kernel takes little for a peer that has not begun to take much: for a new socket. Accepted
 * ones have it from their listener. */
void conn_bound_unsent(int fd);
/* Nobody takes what this peer sends: the kernel receives little more of it, until what it has
 * received is read to its end, or conn_widen(). */
void conn_narrow(struct conn *conn);
void conn_widen(struct conn *conn);
/* Bytes of the buffers that it holds. */
size_t conn_held(const struct conn *conn);

/* Short of ports, descriptors or memory: that a connect failed is no fault of its peer. */
bool conn_is_our_shortage(int error);

/* Three ways to end; the first call counts, later ones are harmless (an abort may overtake a
 * polite end). polite: last bytes, FIN, read and discard until the peer's FIN, linger_ms or 256
 * KiB; a peer that takes nothing for stalled_ms is given up. abort: as soon as nothing is in
 * flight. reset: abort with RST, so that a truncated answer cannot look complete. */
void conn_end_politely(struct loop *loop, struct conn *conn, uint32_t linger_ms,
                       uint32_t stalled_ms);
/* Our FIN at once, for a peer that promised to say no more. False, and nothing done, when it has
 * said something after all, or something is in flight. */
bool conn_close(struct loop *loop, struct conn *conn) LP_MUST_USE;
void conn_abort(struct loop *loop, struct conn *conn);
void conn_reset(struct loop *loop, struct conn *conn);

/* A polite end that is under way takes at most these times from now on. */
void conn_shorten_end(struct loop *loop, struct conn *conn, uint32_t linger_ms,
                      uint32_t stalled_ms);

/* Gives a piece's reference back. */
void piece_drop(struct loop *loop, struct piece *piece);

static inline void conn_set_timer(struct loop *loop, struct conn *conn, uint64_t due_ms)
{
    lp_timer_set_at_latest(&loop->wheel, &conn->timer, due_ms);
}

/* For loop.c. */
void conn_on_event(struct loop *loop, struct conn *conn, const struct uring_event *event);
void conn_on_timer(struct loop *loop, struct conn *conn);
void conn_rearm_starved(struct loop *loop, struct conn *conn);

#endif
