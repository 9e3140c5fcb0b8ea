/* probe: one health check under way: a connection with a step, an answer and a deadline. */
#ifndef LP_LB_HEALTH_PROBE_H
#define LP_LB_HEALTH_PROBE_H

#include "lb/ops/process.h"
#include "lb/ws/ws.h"

struct check;

extern const struct conn_ops probe_ops;

/* What is waited for; the word names the step in the log. */
enum probe_step { PROBE_CONNECT, PROBE_TLS, PROBE_ANSWER, PROBE_PONG };

struct probe {
    struct conn conn;                /* first: lb/net names it */
    struct check *check;             /* NULL: the result is told, only its end is left */
    const struct lp_cfg_check *asks; /* what it asks and expects, from its begin to its end */
    struct lp_arena kept;            /* a copy of that, once a reload has gone over it */
    struct lp_addr address;
    enum probe_step step;
    uint64_t deadline_ms, away_ms; /* loop->away_ms when it began, or its deadline was moved */
    char key[WS_KEY_SIZE];
    char received[LP_HEAD_BYTES_MAX];
    uint32_t received_size;
};

/* One server's checks. */
struct check {
    struct lp_list link; /* process->checks */
    struct server *server;
    const struct lp_cfg_check *config; /* of the newest snapshot */
    struct loop_timer timer;           /* the next probe */
    uint32_t interval_ms;              /* that it was planned by */
    enum lp_check_type type;           /* of the last probe */
    struct probe *probe;               /* under way, or NULL */
    uint32_t streak;                   /* results in a row that contradict the state */
    bool has_result;
    uint64_t began_ms; /* the last probe */
};

/* False when no socket or memory is to be had now. */
bool probe_begin(struct process *process, struct check *check);
/* No result any more. */
void probe_cancel(struct process *process, struct check *check);
/* check->config is another one from now on, and the one before may go: the probe keeps what it asks
 * and expects; its time is the new one's. */
void probe_follow(struct process *process, struct check *check);

/* check.c: the result of check->probe; failure NULL is success. */
void check_done(struct process *process, struct check *check, const char *failure);
/* The probe said nothing about the server: this machine is short of something. */
void check_undecided(struct process *process, struct check *check);

#endif
