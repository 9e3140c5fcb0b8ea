/* worker: one data-path thread and what it owns; what all workers share.
 *
 * A worker has its own queue pair, listening sockets, connections, timers, buffers and idle server
 * connections. It shares snapshots (read-only), run-time servers (its own cell of each) and the few
 * counters of struct shared. */
#ifndef LP_LB_PROXY_WORKER_H
#define LP_LB_PROXY_WORKER_H

#include <pthread.h>

#include "lb/http/http1.h"
#include "lb/net/conn.h"
#include "lb/ops/access_line.h"
#include "lb/ops/log_ring.h"
#include "lb/proxy/snapshot.h"

/* A drain of the process goes through these; each one only once, in order. */
enum drain_phase {
    DRAIN_NONE,
    DRAIN_ANNOUNCED, /* still accepting; answers say `Connection: close`      */
    DRAIN_SPREADING, /* no longer accepting; tunnels and idle sessions close  */
    DRAIN_CUTTING,   /* deadline: whatever is left is closed at once          */
};

struct shared {
    _Atomic(struct snapshot *) snapshot;       /* the newest; written by the control thread */
    _Atomic uint8_t drain_phase;               /* written by the control thread */
    uint64_t spread_begins_ms, spread_ends_ms; /* written before DRAIN_SPREADING */
    uint16_t drain_close_code;                 /* likewise */
    _Atomic uint32_t sessions_max;             /* written by the control thread on a reload */
    uint32_t sessions_reserve;                 /* so many more hear a 503 */
    _Atomic uint64_t memory_max;               /* bytes for stalled connections */
    int control_fd; /* eventfd: a snapshot was let go of, a worker has ended */
    int log_fd;     /* eventfd: access log lines wait */
    _Alignas(LP_CACHE_LINE) _Atomic uint32_t sessions_count;
    _Alignas(LP_CACHE_LINE) _Atomic uint32_t workers_drained;
    _Atomic uint32_t cut_count; /* sessions that a drain's deadline ended */
};

/* One worker's users of a snapshot. */
struct snapshot_ref {
    struct snapshot *snapshot;
    uint32_t users_count; /* streams that are requests; plus one while it is the newest */
};

/* One worker's share of an endpoint. */
struct acceptor {
    struct loop_source source;
    struct loop_timer timer;              /* the pause after EMFILE; the wait before a removal */
    struct lp_list link;                  /* worker->acceptors */
    struct endpoint *endpoint;            /* NULL when let go of */
    const struct snap_listener *listener; /* of the newest snapshot, or of `kept`; else NULL */
    struct snapshot_ref
        *kept; /* removed or replaced: the last snapshot that lists it, while sessions need it */
    char *listener_name;       /* for the log, also when the listener is gone */
    uint32_t sessions_count;   /* and one for itself until it is closed */
    uint32_t requesters_count; /* sessions that may still have a request: no tunnels */
    enum { ACCEPTOR_OPEN, ACCEPTOR_REFUSING, ACCEPTOR_EMPTYING, ACCEPTOR_CLOSED } state;
};

/* What a worker still had when its thread ended; debug builds report it, tests demand zeros. */
struct leftovers {
    uint64_t buffers_out, ops_inflight, connections, stale;
};

struct worker {
    struct loop loop; /* first: a handler's loop is its worker */
    uint32_t index, workers_count;
    struct shared *shared;
    struct crypto *crypto;         /* of the process */
    struct snapshot_ref *snapshot; /* the newest this worker has seen */
    struct lp_list acceptors;
    struct lp_pool streams, requests;
    struct lp_list ended_streams; /* freed after the batch */
    struct lp_list waiting;       /* streams whose request head lies in a buffer, oldest first */
    struct loop_timer shrink_timer;
    uint64_t looked_ms, made_room_ms; /* stalled.c: when last */
    uint32_t look_pool, look_place;   /* and how far it is; both 0: not under way */
    struct loop_source wake;
    uint64_t wake_count; /* where the eventfd is read to */
    int wake_fd;
    _Atomic uint32_t generation; /* of the snapshot in use; read by the control thread */
    enum drain_phase drain_phase;
    struct log_ring *log;
    struct access_format access;
    bool logs_access;
    uint64_t handshake_complained_ms;
    uint32_t handshakes_uncounted; /* that failed since then, without a word */
    uint64_t complained_ms;        /* of what is short on this machine; once a second is enough */
    struct http1_head request_head, response_head;        /* of the message just parsed */
    char path[LP_HEAD_BYTES_MAX];                         /* normalised */
    char scratch[LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES]; /* a head being written */
    pthread_t thread;
    pthread_barrier_t *started; /* all workers and the thread that starts them */
    bool is_started;
    struct uring_settings settings;
    struct lp_err start_error;
    struct leftovers leftovers; /* written at the thread's end */
};

static inline struct worker *worker_of(struct loop *loop)
{
    return lp_container_of(loop, struct worker, loop);
}

static inline const struct lp_config *worker_config(const struct worker *worker)
{
    return worker->snapshot->snapshot->config;
}

/* The snapshot that acceptor->listener is of. */
static inline struct snapshot_ref *acceptor_snapshot(const struct acceptor *acceptor,
                                                     const struct worker *worker)
{
    return acceptor->kept != NULL ? acceptor->kept : worker->snapshot;
}

/* One more user, one less; the last one lets the snapshot go. */
struct snapshot_ref *worker_use_snapshot(struct snapshot_ref *ref);
void worker_drop_snapshot(struct worker *worker, struct snapshot_ref *ref);

/* The thread's life; argument is the struct worker. */
void *worker_main(void *argument);
/* Any thread: makes the worker look at struct shared. */
void worker_wake(const struct worker *worker);

/* stalled.c: loop->on_held. */
void stalled_watch(struct loop *loop);

/* acceptor.c */
/* The worker has a new snapshot (in worker->snapshot): opens what it lists, lets go of what it does
 * not; old is the one before, or NULL. */
void acceptors_update(struct worker *worker, struct snapshot_ref *old);
void acceptors_stop(struct worker *worker);
/* One session less; one less that may have a request (it became a tunnel, or ends). */
void acceptor_put_requester(struct worker *worker, struct acceptor *acceptor);
void acceptor_put_session(struct worker *worker, struct acceptor *acceptor);
bool acceptors_are_closed(const struct worker *worker);

#endif
