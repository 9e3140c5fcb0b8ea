/* loop: what one thread does for ever: wait, handle completions, fire timers, release what ended.
 *
 * Objects that have operations in flight live in *spaces* (pools named by slot and generation), so
 * a completion finds its object or nothing. Nothing is released inside a handler: every pointer
 * stays good until the handler returns; loop_turn() releases between two batches. */
#ifndef LP_LB_NET_LOOP_H
#define LP_LB_NET_LOOP_H

#include "base/base.h"
#include "lb/net/crypto.h"
#include "lb/uring/uring.h"

struct loop;
struct conn_ops;

/* Spaces 1.. hold objects that begin with a struct conn; space 0 is the table of sources. */
enum { LOOP_SPACE_SOURCE = 0, LOOP_SPACE_FRONT = 1, LOOP_SPACE_BACK = 2, LOOP_SPACES = 3 };

/* Something with completions that is no connection: a listening socket, an eventfd. */
struct loop_source {
    void (*on_event)(struct loop *loop, struct loop_source *source,
                     const struct uring_event *event);
    struct uring_name name;
    uint32_t ops_inflight;
    int fd;
};

enum { LOOP_TIMER_CONN, LOOP_TIMER_OTHER };

/* A timer that belongs to no connection. */
struct loop_timer {
    struct lp_timer timer;
    void (*fire)(struct loop *loop, struct loop_timer *timer);
};

/* Connections by name, first in, first out. One that has left meanwhile is passed over. */
struct loop_queue {
    struct uring_name *names;
    uint32_t first, count, room; /* room is a power of two */
};

/* What a space holds, and who hears of its events. */
struct loop_space {
    uint32_t object_size;
    const struct conn_ops *ops;
};

#define LOOP_SOURCES_MAX 4096u /* listening sockets of one thread */

struct loop {
    struct uring *uring;
    struct lp_wheel wheel;
    struct lp_pool spaces[LOOP_SPACES];
    const struct conn_ops *ops[LOOP_SPACES];
    struct lp_pool traffic, secures; /* struct conn_traffic, struct conn_tls */
    struct loop_source *sources[LOOP_SOURCES_MAX];
    uint32_t sources_generation;
    uint64_t now_ms;              /* of this batch */
    uint64_t away_ms;             /* in all, for how long this thread was late to look */
    uint64_t catch_up_until_ms;   /* 0: timers may fire */
    uint32_t catch_up_turns;      /* that are left for it */
    uint64_t trimmed_ms;          /* when memory was last given back */
    bool tls_may_trim;            /* there may be more of it */
    struct loop_queue starved;    /* whose receive found no buffer: first come, first served */
    uint64_t starved_since_ms;    /* when the first of them came */
    struct loop_queue ended;      /* to release after this batch */
    struct loop_queue handshakes; /* who waits for a turn to shake hands */
    uint32_t turns_left;          /* of this turn of the loop */
    struct loop_queue held;       /* whose last flight of a handshake waits for company */
    struct loop_timer held_timer;
    struct crypto *crypto;        /* the owner's: takes slow handshakes off this thread, or NULL */
    struct crypto_box crypto_box; /* those that are back */
    bool is_stopping;
    bool is_tight;          /* half of the memory is held: one buffer is enough for anybody */
    struct lp_list stalled; /* of conn->io: who has taken nothing for longest comes first */
    uint32_t large_bytes;   /* the owner's: a streaming connection receives so much at once */
    bool may_multishot;     /* the owner's: a connection may hold what a multishot receive brings */
    uint64_t stale_events;  /* for an object that is gone: never a write, counted */
    void (*after_batch)(struct loop *loop);
    /* Somebody holds buffers at the end of a turn. */
    void (*on_held)(struct loop *loop);
};

/* Gives a running state inside *loop. False when io_uring refuses. */
bool loop_init(struct loop *loop, const struct uring_settings *settings, struct loop_space front,
               struct loop_space back, struct lp_err *err) LP_MUST_USE;
void loop_deinit(struct loop *loop);

/* Until is_stopping is set; and one turn of it, waiting at most wait_ms_max. */
void loop_run(struct loop *loop);
void loop_turn(struct loop *loop, uint32_t wait_ms_max);

/* Sources: keep the struct alive until removed; remove only with nothing in flight. Gives false
 * when the table is full. */
bool loop_add_source(struct loop *loop, struct loop_source *source);
void loop_remove_source(struct loop *loop, struct loop_source *source);
/* What was the source `from` is `to` from now on, operations in flight included. */
void loop_move_source(struct loop *loop, struct loop_source *from, struct loop_source *to);

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t due_ms);
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);

/* For lb/net. */
void loop_queue_push(struct loop_queue *queue, struct uring_name name);
/* NULL: it has left meanwhile. */
struct conn *loop_queue_pop(struct loop *loop, struct loop_queue *queue);

/* Operations in flight of all objects. */
uint64_t loop_ops_inflight(const struct loop *loop);

#endif
