/* access_log: the control thread's end of the access log: from the workers' rings to a file, a pipe
 * or standard output, without ever waiting for it. */
#ifndef LP_LB_OPS_ACCESS_LOG_H
#define LP_LB_OPS_ACCESS_LOG_H

#include "lb/net/loop.h"
#include "lb/ops/log_ring.h"

#define ACCESS_LOG_STAGE 65536u

struct access_log {
    struct loop_source wake; /* an eventfd that workers write to */
    uint64_t wake_count;
    struct loop_source writable; /* waits until the log can be written again */
    struct loop_timer timer;
    struct log_ring **rings;
    uint32_t rings_count;
    int fd;                       /* -1: off */
    bool is_owned;                /* opened by us */
    char stage[ACCESS_LOG_STAGE]; /* whole lines on their way out */
    size_t stage_at, stage_size;
    uint64_t dropped_reported;
};

/* wake_fd: the eventfd. rings: one a worker; keeps them. */
bool access_log_init(struct access_log *log, struct loop *loop, int wake_fd,
                     struct log_ring **rings, uint32_t rings_count);
/* "stdout", "stderr", "off" or a path; opens a file again even when it is the same (rotation).
 * False with a sentence; then what was open stays. */
bool access_log_open(struct access_log *log, struct loop *loop, struct lp_slice to,
                     struct lp_err *err);
/* The last lines; waits at most a second for a slow reader. */
void access_log_finish(struct access_log *log);

#endif
