/* session: one accepted client connection, until it closes; HTTP/1 runs one stream at a time on it.
 *
 * Between two streams a session holds no buffer. Bytes of an unfinished head move to memory of
 * exactly their size, so a slow head costs what it weighs. */
#ifndef LP_LB_PROXY_SESSION_H
#define LP_LB_PROXY_SESSION_H

#include "lb/proxy/worker.h"

struct stream;

/* An unfinished head, or ClientHello: its bytes and the parser's state. */
struct partial {
    uint32_t size;
    char *bytes;
    struct http1_head *head;       /* with room for its fields only; NULL of a hello */
    struct snapshot_ref *snapshot; /* of a hello: the newest when it began, held; else NULL */
    const struct snap_listener *listener; /* of that snapshot */
};

/* What a client has come to. */
enum session_stage {
    SESSION_HELLO,     /* TLS, or routes by SNI: its ClientHello is being read */
    SESSION_HANDSHAKE, /* waits for its turn, or shakes hands                  */
    SESSION_OPEN,      /* requests, or a stream                                */
};

struct session {
    struct conn conn; /* first: lb/net names it */
    struct acceptor *acceptor;
    struct stream *stream; /* NULL between two requests */
    struct partial *partial;
    struct lp_ip ip;
    uint8_t stage : 7;     /* enum session_stage */
    bool is_requester : 1; /* counted in acceptor->requesters_count */
    uint16_t port;
    uint32_t since_ms; /* low bits: idle since, or the head's first byte, or the last byte read */
    char *name;        /* what its TLS asked for, where that matters later; else NULL */
    struct lp_list *pinned; /* struct back: wait for this client and for no other; NULL: none yet */
    uint64_t close_at_ms;   /* of a drain: idle sessions end then; 0: none */
};
static_assert(sizeof(struct session) == LP_CACHE_LINE + 72, "an idle client costs no more");

extern const struct conn_ops session_ops;

static inline bool session_is_secure(const struct session *session)
{
    return (session->conn.flags & CONN_TLS) != 0;
}

static inline struct session *session_of(struct conn *conn)
{
    return (struct session *)(void *)conn;
}

/* Takes fd: a fresh client of this acceptor. Over the connection limit it hears 503. */
void session_begin(struct worker *worker, struct acceptor *acceptor, int fd);

/* The value of Strict-Transport-Security for this client, or "". */
static inline struct lp_slice session_hsts(const struct session *session)
{
    const struct snap_listener *listener = session->acceptor->listener;
    return session_is_secure(session) && listener != NULL ? listener->hsts
                                                          : (struct lp_slice){"", 0};
}

/* hello.c: the client speaks TLS, or says by its SNI where it wants to go. */
void hello_begin(struct worker *worker, struct session *session);
void hello_on_recv(struct worker *worker, struct session *session, int error);
void hello_on_turn(struct worker *worker, struct session *session);
void hello_on_connect(struct worker *worker, struct session *session, int error);
void hello_on_timer(struct worker *worker, struct session *session);
/* The client's address, as the connection has it; AF_UNIX where it has none. */
struct lp_addr session_peer(const struct session *session);
/* What the listener does with a client whose handshake is over, or who needs none. */
void session_open(struct worker *worker, struct session *session);
const struct lp_cfg_timeouts *session_timeouts(const struct worker *worker,
                                               const struct session *session);
void session_end_quietly(struct worker *worker, struct session *session);
/* Frees session->partial, and lets go of what it holds. */
void session_forget_partial(struct worker *worker, struct session *session);

/* The stream is over and the connection stays: the next head, if there is one. */
void session_next(struct worker *worker, struct session *session);

/* Bytes of a partial head, joined in front of what was just received. False: memory is out. head is
 * NULL for a hello. */
bool partial_save(struct partial **partial, const struct http1_head *head, struct lp_slice bytes);
void partial_load(const struct partial *partial, struct http1_head *head);
void partial_free(struct partial **partial);
/* What was received begins with the partial's bytes afterwards. False: buffers are out. */
bool partial_join(struct loop *loop, const struct partial *partial, struct conn *conn);

/* It became a tunnel, or ends: nothing on it will need a route any more. */
void session_stop_requesting(struct worker *worker, struct session *session);
/* An event stream has ended and the connection stays. */
void session_request_again(struct session *session);

/* Timeouts have changed: whoever waits, waits by the new ones. Those that became longer are seen
 * when the old ones are over. */
void sessions_look_again(struct worker *worker);

/* A drain begins: idle sessions get their turns; or all end now. */
void sessions_schedule_close(struct worker *worker);
void sessions_cut(struct worker *worker);
/* It was accepted just now, or its last response did not say that it closes: a request has its
 * chance before its turn. */
void session_delay_close(struct worker *worker, struct session *session);
bool session_must_close(const struct worker *worker, const struct session *session);

#endif
