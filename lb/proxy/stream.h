/* stream: a request with its response, or its tunnel.
 *
 * stream_enter() alone writes the state; stream_end() is the only way out. The story goes
 * stream.c (life) -> connect.c (server and connection) -> exchange.c (HTTP both ways) or tunnel.c
 * (after a 101, or layer 4); answer.c says what limpet itself has to say. */
#ifndef LP_LB_PROXY_STREAM_H
#define LP_LB_PROXY_STREAM_H

#include "lb/proxy/end.h"
#include "lb/proxy/session.h"
#include "lb/ws/ws.h"

struct back;
struct log_note;

/* clang-format off */
enum stream_state {
    STREAM_FREE,      /* in the pool: nothing may be read                                */
    STREAM_CONNECT,   /* head kept (not at layer 4), server being picked or connected    */
    STREAM_EXCHANGE,  /* HTTP both ways, event streams included: front and back open     */
    STREAM_TUNNEL,    /* after a 101, or layer 4: front and back, no HTTP parser         */
    STREAM_ANSWER,    /* sending our own answer: front open, no back                     */
    STREAM_ENDED,     /* logged; freed after this batch                                  */
};
enum { STREAM_STATE_COUNT = STREAM_ENDED + 1 };

enum stream_class { CLASS_HTTP, CLASS_WEBSOCKET, CLASS_SSE, CLASS_TCP };

/* What happens to the client connection when the stream ends. */
enum front_fate {
    FRONT_KEEP,   /* next request, unless a drain or the client says otherwise       */
    FRONT_CLOSE,  /* it has promised to say no more: our FIN, and no wait for theirs  */
    FRONT_POLITE, /* our FIN, then discard until theirs                              */
    FRONT_ABORT,  /* nobody is there any more, or we may not wait                    */
    FRONT_RESET,  /* an answer is cut short: it must not look complete               */
    FRONT_CUT,    /* a tunnel: polite to a side that got all of the other, else reset */
};

enum side { SIDE_NONE, SIDE_CLIENT, SIDE_SERVER };

/* A planned end of a long-lived stream (drain, server removed). */
enum closing {
    CLOSING_NONE,
    CLOSING_WANTED, /* its turn has come: waiting for a boundary                       */
    CLOSING_TAIL,   /* an event stream's last chunk waits for its place                */
    CLOSING_SENT,   /* our Close is out: what the client still says goes to the server */
};

/* Flags. */
enum {
    STREAM_UP_DONE = 1u << 0,         /* the whole request was taken from the client     */
    STREAM_DOWN_DONE = 1u << 1,       /* the whole response was taken from the server    */
    STREAM_RESPONSE_BEGUN = 1u << 2,  /* its final head went to the client               */
    STREAM_ANSWERED_SOME = 1u << 3,   /* any byte came from the server on this connection */
    STREAM_CLIENT_KEEPS = 1u << 4,    /* the client connection may stay open             */
    STREAM_SERVER_KEEPS = 1u << 5,    /* the server connection may be reused             */
    STREAM_IDEMPOTENT = 1u << 6,
    STREAM_BODY_SENT = 1u << 7,       /* some of the request's body: no other server now */
    STREAM_STRIP_CHUNKS = 1u << 8,    /* the client speaks HTTP/1.0                      */
    STREAM_COUNTED = 1u << 9,         /* in server->active_count                         */
    STREAM_LONG_LIVED = 1u << 10,     /* tunnel or event stream: in the server's cell    */
    STREAM_CLIENT_CLOSES = 1u << 11,  /* the client said so: no request follows this one */
    STREAM_HTTP10 = 1u << 12,
    STREAM_RETRIED_REUSE = 1u << 13,  /* a dead idle connection was replaced once        */
    STREAM_SERVER_DEAF = 1u << 14,    /* a send failed: only what it still says counts   */
    STREAM_HEAD_ON_HEAP = 1u << 15,   /* request->head is heap memory, not a buffer      */
    STREAM_AUTHENTICATES = 1u << 16,  /* ... the connection it is sent on                */
    STREAM_HOLDS_POLICY = 1u << 17,   /* in policy->streams_count                        */
    STREAM_CLIENT_DEAF = 1u << 18,    /* of a tunnel: a send to the client failed        */
    STREAM_CLIENT_SPEAKS = 1u << 21,  /* was within a message when our Close went out    */
    STREAM_AWAITS_100 = 1u << 22,     /* the client may hold its body back until then    */
    STREAM_NEEDS_HOST = 1u << 24,     /* HTTP/1.0 without Host: it is the server's address */
    STREAM_ANSWERED_EARLY = 1u << 25, /* the server's turn is over, the client's body is not */
    STREAM_DISCARDS = 1u << 23,       /* the rest of the request's body is thrown away    */
    STREAM_DISCARD_OVER = 1u << 26,   /* and no more of it is waited for                  */
    STREAM_CODED = 1u << 19,          /* an event stream whose bytes say nothing to us   */
    STREAM_OWN_CHUNKS = 1u << 20,     /* its chunks are ours now: its turn has come      */
};
/* clang-format on */

/* One direction's body or frames. */
struct direction {
    uint64_t bytes : 56; /* of the body, or of the tunnel */
    uint64_t body : 8;   /* enum http1_body */
    union {
        uint64_t left;                 /* HTTP1_BODY_LENGTH */
        struct http1_chunked *chunked; /* of the request */
        struct ws_tracker frames;      /* tunnels of class websocket */
    } as;
};

/* What a stream needs as long as it speaks HTTP: a tunnel lets go of it. */
struct request {
    struct snapshot_ref *snapshot; /* NULL once long-lived, or 100 ms after its server was found */
    const struct snap_listener *listener; /* of the snapshot */
    const struct snap_route *route;       /* of the snapshot; NULL: none matched */
    struct piece head;       /* as it goes to servers, kept for another try; size 0: not kept */
    struct partial *partial; /* of the response head */
    char *location;          /* of a redirect; else NULL */
    struct pick pick;
    struct http1_chunked up, down;
    struct http1_events events;
    uint64_t body_max;         /* limits.body when it began; UINT64_MAX: off */
    uint64_t discard_until_ms; /* of STREAM_DISCARDS */
    uint16_t answer_status;
    uint8_t method;              /* enum http1_method */
    uint32_t keep_alive_seconds; /* the server's; UINT32_MAX without */
    char key[WS_KEY_SIZE];       /* the client's Sec-WebSocket-Key */
    uint32_t slot;
};

struct stream {
    struct session *session;
    struct back *back;         /* NULL: none now */
    struct server *server;     /* NULL: none picked yet */
    struct policy *policy;     /* set with the route */
    struct request *request;   /* NULL: a tunnel */
    struct log_note *note;     /* of a long-lived one: what its last log line says of the head */
    struct lp_list link;       /* worker->waiting, then the cell's tunnels, then ended_streams */
    struct direction up, down; /* client to server, server to client */
    uint64_t began_ms, close_at_ms;
    uint32_t connect_ms, response_ms;    /* after began_ms; UINT32_MAX: never */
    uint32_t half_closed_ms, closing_ms; /* low bits of the time when it happened; closing_ms: or
                                          * of the last byte of the client's message then */
    uint32_t flags;
    uint32_t slot;
    uint16_t status, close_code;
    uint8_t state, class, end_reason, closing, closing_reason, retries_count;
    uint8_t eof_reason;   /* of a tunnel: who said FIN first; of any: who was reset */
    uint8_t first_to_end; /* of a tunnel: enum side whose Close or FIN came first */
};

static inline bool stream_has(const struct stream *stream, uint32_t flag)
{
    return (stream->flags & flag) != 0;
}

static inline void direction_begin_body(struct direction *direction, enum http1_body body,
                                        uint64_t size, struct http1_chunked *chunked)
{
    direction->body = body;
    direction->bytes = 0;
    if (body == HTTP1_BODY_LENGTH) {
        direction->as.left = size;
    } else if (body == HTTP1_BODY_CHUNKED) {
        direction->as.chunked = chunked;
        http1_chunked_init(chunked);
    }
}

/* stream.c */
/* A whole request head lies at the start of session->conn.in, parsed into worker->request_head. */
void stream_begin_request(struct worker *worker, struct session *session);
/* The head cannot be served: an answer and the end of the connection. */
void stream_begin_refusal(struct worker *worker, struct session *session, int status,
                          enum end_reason reason, const char *why);
void stream_begin_tcp(struct worker *worker, struct session *session);
/* Everything that happens to either side ends in one step. */
void stream_step(struct worker *worker, struct stream *stream);
void stream_enter(struct stream *stream, enum stream_state next);
void stream_end(struct worker *worker, struct stream *stream, enum end_reason reason,
                enum front_fate fate);
/* An answer of ours if none was begun, else the end. */
void stream_fail(struct worker *worker, struct stream *stream, int status, enum end_reason reason);
void stream_on_front_recv(struct worker *worker, struct stream *stream, int error);
void stream_on_front_sent(struct worker *worker, struct stream *stream, int error);
/* The client says no more, or has gone, while bytes that it said before wait. */
void stream_on_hangup(struct worker *worker, struct stream *stream);
/* When the front's timer fires: acts, or sets it again. */
void stream_on_front_timer(struct worker *worker, struct stream *stream);
void stream_on_back_timer(struct worker *worker, struct stream *stream);
/* Sets both timers for what is waited for now. */
void stream_arm_timers(struct worker *worker, struct stream *stream);
/* The same, and for peers that do not take what is there for them: some of it has changed. */
void stream_look_again(struct worker *worker, struct stream *stream);
void stream_send(struct worker *worker, struct stream *stream, struct conn *to, struct piece piece);
/* A tunnel or an event stream from now on: lets go of the snapshot, joins its server's list. */
void stream_become_long_lived(struct worker *worker, struct stream *stream);
void stream_drop_head(struct worker *worker, struct stream *stream);
/* A stream that has its server needs no configuration any more: snapshots die within seconds. */
void stream_drop_snapshot(struct worker *worker, struct stream *stream);
/* May the next piece be read from `from` while `to` still sends? */
bool stream_may_read(const struct worker *worker, const struct conn *from, const struct conn *to);
/* The client has said all of its request: listens for the next one, or for its leaving. */
void stream_hear_client(struct worker *worker, struct stream *stream);
/* Has the server the whole request, and not given its final head? */
static inline bool stream_waits_for_head(const struct stream *stream)
{
    return stream->state == STREAM_EXCHANGE && stream_has(stream, STREAM_UP_DONE) &&
           !stream_has(stream, STREAM_RESPONSE_BEGUN);
}
/* Is it in vain when the client has gone? */
bool stream_needs_client(const struct stream *stream);
/* Asks for more of a body; its peer is waited for from now on, not from before it was held up. */
void stream_want(struct worker *worker, struct conn *from, uint32_t *since_ms);
/* Frees ended streams; moves kept heads that wait long to memory of their size. */
void streams_after_batch(struct worker *worker);
void streams_shrink(struct loop *loop, struct loop_timer *timer);

/* connect.c */
void stream_connect(struct worker *worker, struct stream *stream);
void stream_on_connected(struct worker *worker, struct stream *stream);
/* error: ETIMEDOUT after timeouts.connect, else why there is no connection. */
void stream_on_connect_failed(struct worker *worker, struct stream *stream, int error);
/* The server closed a reused connection before any answer: may it be tried on a fresh one? */
bool stream_retry_reused(struct worker *worker, struct stream *stream);

/* exchange.c */
void exchange_begin(struct worker *worker, struct stream *stream);
void exchange_step(struct worker *worker, struct stream *stream);
/* Puts `size` bytes of worker->scratch right before what follows the head in conn->in, in place if
 * they fit, and consumes the head. Gives a piece; of size 0 when buffers are out. */
struct piece place_head(struct worker *worker, struct conn *conn, size_t head_size, size_t size);

/* tunnel.c */
void tunnel_begin(struct worker *worker, struct stream *stream);
void tunnel_step(struct worker *worker, struct stream *stream);

enum body_outcome { BODY_MORE, BODY_DONE, BODY_BAD };
/* How many of size bytes belong to the body; shows an event stream's data to `events`. */
enum body_outcome body_step(struct direction *direction, const char *data, size_t size,
                            size_t *used, struct http1_events *events);

/* unwanted.c */
/* The answer is out, or on its way, and nobody wants what is left of the request's body: reads some
 * more of it. True when that is over: all was read, the client left, or it cannot be read. */
bool stream_discard_body(struct worker *worker, struct stream *stream);
/* When whoever goes on sending it is given up; UINT64_MAX: nothing is thrown away. */
uint64_t stream_discard_due(const struct worker *worker, const struct stream *stream);

/* answer.c */
void answer_send(struct worker *worker, struct stream *stream);

/* last_event.c */
/* One piece of an event stream whose turn has come: up to the next boundary, where it ends with a
 * complete body; and that end. */
bool events_may_end(const struct stream *stream);
void closing_step_events(struct worker *worker, struct stream *stream);
void closing_end_events(struct worker *worker, struct stream *stream);

/* closing.c */
/* When a removed server's streams are cut. */
uint64_t closing_deadline_ms(const struct stream *stream);
/* The stream's turn to end has come. */
void closing_begin(struct worker *worker, struct stream *stream);
/* In a tunnel: sends our Close if the client's side stands at a boundary. */
void closing_try_close_frame(struct worker *worker, struct stream *stream);
/* The end of a tunnel whose Close is out. */
void closing_finish(struct worker *worker, struct stream *stream);
/* Plans a turn for one stream that begins while a drain runs. */
void closing_plan(struct worker *worker, struct stream *stream);
/* Plans all turns of a server's streams, and takes them back. */
void closing_plan_server(struct worker *worker, struct server *server);
void closing_cancel_server(struct worker *worker, struct server *server);
void closing_plan_process(struct worker *worker);

/* log.c */
/* What log lines show of a kept head, in memory of exactly that size, for lp_free(). NULL: memory
 * is out. */
struct log_note *log_note_create(const struct piece *head);
void stream_log(struct worker *worker, const struct stream *stream, bool is_start);

#endif
