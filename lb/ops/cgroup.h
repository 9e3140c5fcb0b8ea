/* cgroup: what the control groups of this process allow it, in version 1, version 2 or both beside
 * each other. The group's own limit and that of every parent that can be seen count: the smallest.
 * What cannot be found, read or understood is no limit. */
#ifndef LP_LB_OPS_CGROUP_H
#define LP_LB_OPS_CGROUP_H

#include "base/base.h"

struct cgroup_limits {
    uint64_t memory_bytes; /* UINT64_MAX: not limited */
    uint64_t cpus;         /* the quota of time, rounded up; UINT64_MAX: not limited */
};

/* root: the folder in which /proc and the mount points are looked for; "" but in tests. */
void cgroup_read(struct cgroup_limits *out, const char *root);

#endif
