/* back: one connection to a server, in use by a stream, idle in its worker's cell, or pinned.
 *
 * A pinned one belongs to one client connection, whose next request to that pool goes there, and
 * ends with it: the server has authenticated its user (NTLM, Negotiate), or was told by a PROXY
 * header whom it serves. A session has at most one for each pool. */
#ifndef LP_LB_PROXY_BACK_H
#define LP_LB_PROXY_BACK_H

#include "lb/proxy/stream.h"

struct back {
    struct conn conn; /* first: lb/net names it */
    struct server *server;
    struct stream *stream; /* NULL: idle */
    struct lp_list link;   /* cell->idle, or its session's pinned */
    uint32_t since_ms;     /* low bits: idle since, or the last progress */
    uint32_t idle_max_ms;  /* from the pool, or a second less than the server's Keep-Alive says */
    bool was_reused;
    bool is_authenticated; /* or may become it by what was sent */
};

extern const struct conn_ops back_ops;

static inline struct back *back_of(struct conn *conn)
{
    return (struct back *)(void *)conn;
}

/* Takes a fresh connection or an idle one for the stream; NULL with errno when no socket is to be
 * had. A fresh one is connecting: stream_on_connected() or stream_on_connect_failed() follows. */
struct back *back_connect(struct worker *worker, struct stream *stream);
struct back *back_reuse(struct worker *worker, struct stream *stream);
/* Neither has it ended nor did its server say anything that we have not read. Under TLS that may
 * have been a ticket as well as a close_notify; who has to be sure takes it for the worse. */
bool back_is_silent(const struct back *back);
/* The one on which a server of the stream's pool has authenticated this client; NULL: none. */
struct back *back_pinned(struct worker *worker, struct stream *stream);

/* The stream lets go of it: kept idle when it may be, else closed. */
void back_release(struct worker *worker, struct back *back, bool may_keep,
                  uint32_t keep_alive_seconds);
void back_end_politely(struct worker *worker, struct back *back);

/* One without a stream goes at once, because memory is full. */
void back_evict(struct worker *worker, struct back *back);

/* All idle ones of this worker's cell. */
void backs_close_idle(struct worker *worker, struct server *server);
/* pools.NAME.keep_alive has changed: those that are too many or were idle for too long go. */
void backs_look_again(struct worker *worker, struct server *server);
/* All that are pinned to this client, which sends no more requests. */
void backs_close_pinned(struct worker *worker, struct session *session);
/* Servers drain: pinned ones close when their drain ends. */
void backs_follow_drain(struct worker *worker);

#endif
