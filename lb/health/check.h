/* check: active health checks of servers, on the control thread.
 *
 * Every server of a pool whose check is not `off` is checked in its interval, with jitter. The
 * first result alone decides, then `rise` and `fall`. A check is a real connection: connect, ask,
 * judge the answer step by step; the step that failed is what the log names. */
#ifndef LP_LB_HEALTH_CHECK_H
#define LP_LB_HEALTH_CHECK_H

#include "lb/ops/process.h"

/* Begins checks of servers that the snapshot lists, ends those of others, and lets all follow its
 * settings. */
void checks_update(struct process *process, const struct snapshot *snapshot);
/* Every check that is under way is cut. */
void checks_stop(struct process *process);

#endif
