/* back: one connection to a server, in use by a stream or idle in its worker's cell. */
#ifndef LP_LB_PROXY_BACK_H
#define LP_LB_PROXY_BACK_H

#include "lb/proxy/stream.h"

struct back {
    struct conn conn; /* first: lb/net names it */
    struct server *server;
    struct stream *stream; /* NULL: idle */
    struct lp_list link;   /* cell->idle */
    uint32_t since_ms;     /* low bits: idle since, or the last progress */
    uint32_t idle_max_ms;  /* from the pool, or a second less than the server's Keep-Alive says */
    bool was_reused;
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

/* The stream lets go of it: kept idle when it may be, else closed. */
void back_release(struct worker *worker, struct back *back, bool may_keep,
                  uint32_t keep_alive_seconds);
void back_end_politely(struct worker *worker, struct back *back);

/* All idle ones of this worker's cell. */
void backs_close_idle(struct worker *worker, struct server *server);
/* pools.NAME.keep_alive has changed: those that are too many or were idle for too long go. */
void backs_look_again(struct worker *worker, struct server *server);

#endif
