/* access_log: from the workers' rings to a file, a pipe or standard output. A thread of its own
 * writes (base/sink.h), so neither workers nor the control thread ever wait for it. */
#ifndef LP_LB_OPS_ACCESS_LOG_H
#define LP_LB_OPS_ACCESS_LOG_H

#include "lb/ops/log_ring.h"

struct access_log {
    struct lp_sink_feed feed; /* the rings; workers write to its eventfd */
    struct log_ring **rings;
    uint32_t rings_count;
    struct lp_sink *sink;   /* NULL: not opened yet. The error log's when both are one file */
    uint64_t asked_ms;      /* the last report */
    uint64_t dropped, told; /* lines: until then, and those that were told of */
    uint64_t told_ms;       /* when */
    int error;              /* that was told of */
};

/* With places for that many rings, which the caller fills before it opens the log; feed.wake_fd is
 * below 0 when there is no descriptor left. */
void access_log_init(struct access_log *log, uint32_t rings_count);
void access_log_deinit(struct access_log *log);
/* Where the log goes to, opened and not yet in use. */
struct access_target {
    struct lp_sink *sink;
    bool is_new; /* else it is in use already */
};

/* to: "stdout", "stderr", "off" or a path. False with a sentence. */
bool access_log_prepare(const struct access_log *log, struct access_target *out, struct lp_slice to,
                        struct lp_err *err);
/* Cannot fail; what was open is closed. Else the target is to be discarded. */
void access_log_switch(struct access_log *log, struct access_target target);
void access_log_discard(struct access_target target);
/* Both; opens a file again even when it is the same (rotation). False with a sentence; then what
 * was open stays. */
bool access_log_open(struct access_log *log, struct lp_slice to, struct lp_err *err);
/* Tells in the error log what was dropped, and why. To be asked now and then: once a second counts.
 */
void access_log_report(struct access_log *log, uint64_t now_ms);
/* The last lines; waits at most LP_LOG_FINISH_MS for a slow reader. */
void access_log_finish(struct access_log *log);

#endif
