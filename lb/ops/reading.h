/* reading: a configuration is read and compiled on a helper thread of its own, at the start and for
 * each reload.
 *
 * Reading may hang: the file is a pipe whose writer stops, or lies on a server that is gone. So
 * nobody waits for the thread: its end is told by an eventfd, and one that hangs can be left
 * behind. What it finds out later is thrown away. */
#ifndef LP_LB_OPS_READING_H
#define LP_LB_OPS_READING_H

#include <pthread.h>

#include "lb/proxy/snapshot.h"

enum reading_state {
    READING_READS,     /* the thread's; may be left behind                          */
    READING_COMPARES,  /* the thread's; looks at the running snapshot, ends soon    */
    READING_DONE,      /* the control thread's; done_fd was written to              */
    READING_ABANDONED, /* the thread's; frees what it finds and touches nothing else */
    READING_OVER,      /* left behind, and its thread ends                          */
};

struct reading {
    struct lp_list link; /* of those left behind */
    pthread_t thread;
    _Atomic uint8_t state;          /* enum reading_state */
    const char *path, *text;        /* text NULL: read from path */
    const struct snapshot *running; /* what is compared with; NULL at the start */
    int done_fd;
    struct snapshot *snapshot; /* NULL: refused */
    char moved[512];           /* which share of which pool's keys moves */
    struct lp_config_report report;
    struct lp_err err;
    /* Does it get on? The control thread's. */
    uint64_t cpu_ns, progress_ms;
    bool is_told; /* that it hangs */
};

/* Begins; NULL without a thread. Keeps path, text and done_fd, and running until it is compared or
 * left behind. */
struct reading *reading_begin(const char *path, const char *text, const struct snapshot *running,
                              int done_fd);
/* True when its thread has done nothing for so long that it must be waiting for a file. */
bool reading_hangs(struct reading *reading, uint64_t now_ms);
/* done_fd was written to: waits for the thread's last instructions. */
void reading_join(struct reading *reading);
/* Of one that is joined: frees it, with the snapshot if it still has it. */
void reading_destroy(struct reading *reading);

/* Puts one that is not done behind, into the list. False: it is comparing or done, which takes no
 * file. */
bool reading_leave(struct reading *reading, struct lp_list *left);
/* Frees those whose threads have ended meanwhile. Gives how many still hang. */
uint32_t readings_sweep(struct lp_list *left);

#endif
