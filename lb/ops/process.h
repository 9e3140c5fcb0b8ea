/* process: everything that hangs on one running limpet, seen from its control thread.
 *
 * The control thread is the main thread. It owns the run-time objects (pools, servers, endpoints,
 * snapshots), hears signals and runs the checks. Workers learn of changes through struct shared and
 * a wake-up. */
#ifndef LP_LB_OPS_PROCESS_H
#define LP_LB_OPS_PROCESS_H

#include "lb/ops/access_log.h"
#include "lb/ops/reading.h"
#include "lb/proxy/worker.h"

/* So many may hang in reading files at once. */
#define RELOAD_LEFT_MAX 8u

struct reload {
    struct reading *reading; /* NULL: none is under way */
    bool is_wanted_again;
    bool is_ready;             /* read; waits for its turn, or for an address */
    uint64_t address_until_ms; /* how long it waits for one that passes; 0: it does not */
    struct lp_list left;       /* readings that hang, left behind */
    struct loop_source done;   /* an eventfd */
    uint64_t done_count;
};

struct process {
    struct loop loop; /* first */
    struct shared shared;
    const char *path, *text; /* text NULL: read from path */
    struct worker *workers;
    struct crypto *crypto;
    uint32_t workers_count;
    pthread_barrier_t started; /* all workers and this thread */
    struct registry registry;
    struct lp_list endpoints, snapshots;
    struct snapshot *snapshot; /* the newest */
    uint32_t generation;
    struct reload reload;
    char reload_line[1024]; /* waits until every worker has the new snapshot */
    struct access_log access_log;
    struct lp_list checks;
    struct check_pending {
        uint32_t without_result, in_flight;
    } checks_pending;
    bool is_ready; /* workers accept */
    uint64_t ready_at_latest_ms;
    uint64_t drain_began_ms;
    struct leftovers leftovers; /* of all workers, when they have ended */
    struct loop_timer housekeeping, drain_timer;
    int stops_fd; /* during the start: a signal that ends it */
    struct loop_source signals, wake;
    uint64_t wake_count;
    char signal_info[128]; /* struct signalfd_siginfo */
};

static inline struct process *process_of(struct loop *loop)
{
    return lp_container_of(loop, struct process, loop);
}

/* snapshots.c: publishing. */
enum endpoints_result {
    ENDPOINTS_OPEN,
    ENDPOINTS_LEAVING,  /* an address is still being let go of: try again soon */
    ENDPOINTS_PASSING,  /* a connection has a port for as long as it lasts: likewise, with err */
    ENDPOINTS_STRANGER, /* somebody else listens there; with err, as the next */
    ENDPOINTS_REFUSED,
};
/* Binds the addresses that are new; nobody can connect to them yet. Otherwise nothing was changed.
 */
enum endpoints_result process_bind_endpoints(struct process *process,
                                             const struct lp_config *config, struct lp_err *err);
/* From now on clients find them. False: a stranger was faster; then none is left. */
bool process_listen_endpoints(struct process *process, struct lp_err *err);
/* Closes those that no snapshot came to use. */
void process_close_fresh_endpoints(struct process *process);
/* Takes the snapshot and makes it the newest; workers see it with process_tell_workers(). Gives how
 * many connections will close because their server is not listed any more. */
uint32_t process_publish(struct process *process, struct snapshot *snapshot);
void process_tell_workers(struct process *process);
/* Workers begin to accept when every server has its first result, or the longest wait is over. */
void process_accept_when_settled(struct process *process);
bool process_is_adopted(const struct process *process);
/* Frees snapshots, servers and endpoints that nobody needs. */
void process_sweep(struct process *process);
uint32_t process_live_snapshots(const struct process *process);

/* reload.c */
bool reload_init(struct process *process);
/* Before clients are accepted it waits until they are. */
void reload_begin(struct process *process);
void reload_continue(struct process *process); /* from housekeeping: what had to wait */
void reload_deinit(struct process *process);

/* drain.c */
void drain_begin(struct process *process, bool keeps_delay);
void drain_hurry(struct process *process);

/* limits.c */
/* A loop has places for twice as many: removed addresses keep theirs for some 200 ms. */
#define LIMITS_BINDS_MAX (LOOP_SOURCES_MAX / 2 - 8)
#define LIMITS_RESERVE   64u /* clients over the limit that hear 503 */
/* limits_apply() changes nothing when they do not fit; limits_check() only asks. */
bool limits_check(const struct process *process, const struct lp_config *config,
                  struct lp_err *err);
bool limits_apply(struct process *process, const struct lp_config *config, struct lp_err *err);
uint64_t limits_memory(const struct lp_config *config);

#endif
