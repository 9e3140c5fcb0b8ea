/* How many connections fit: descriptors first, memory for those that stall second. */
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "lb/ops/cgroup.h"
#include "lb/ops/process.h"

#define DESCRIPTORS_PER_SESSION 2u         /* client and server */
#define DESCRIPTORS_SPARE       96u        /* files, checks, eventfds, the control thread */
#define MEMORY_MIN              (1u << 20) /* below that nobody could stall for a moment */

/* The soft limit is a default for programs that use select(); we may have the hard one. */
static uint64_t raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

static uint64_t count_binds(const struct lp_config *config)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < config->listeners_count; i++)
        count += config->listeners[i].binds_count;
    return count;
}

static bool find_room(const struct process *process, const struct lp_config *config,
                      uint32_t *sessions_max, struct lp_err *err)
{
    uint64_t descriptors = raise_descriptors();
    uint64_t fixed = DESCRIPTORS_SPARE + LIMITS_RESERVE + 4ull * process->workers_count +
                     2 * count_binds(config) * process->workers_count;
    uint64_t fits = descriptors > fixed ? (descriptors - fixed) / DESCRIPTORS_PER_SESSION : 0;

    if (count_binds(config) > LIMITS_BINDS_MAX)
        return lp_err_set(err, LP_ERR_LIMIT, "%llu addresses to listen on are more than %u",
                          (unsigned long long)count_binds(config), LIMITS_BINDS_MAX);
    if (fits == 0 || config->limits.connections > fits)
        return lp_err_set(
            err, LP_ERR_LIMIT,
            "limits.connections: %u connections need %llu file descriptors, but RLIMIT_NOFILE "
            "allows %llu, which is enough for %llu; raise it (`ulimit -n`, LimitNOFILE= in a "
            "systemd unit) or lower limits.connections",
            config->limits.connections > 0 ? config->limits.connections : 1,
            (unsigned long long)(fixed + DESCRIPTORS_PER_SESSION * (config->limits.connections > 0
                                                                        ? config->limits.connections
                                                                        : 1ull)),
            (unsigned long long)descriptors, (unsigned long long)fits);
    *sessions_max = config->limits.connections > 0
                        ? config->limits.connections
                        : (uint32_t)(fits < UINT32_MAX / 2 ? fits : UINT32_MAX / 2);
    return true;
}

bool limits_check(const struct process *process, const struct lp_config *config, struct lp_err *err)
{
    uint32_t sessions_max = 0;
    return find_room(process, config, &sessions_max, err);
}

bool limits_apply(struct process *process, const struct lp_config *config, struct lp_err *err)
{
    uint32_t sessions_max = 0;

    if (!find_room(process, config, &sessions_max, err))
        return false;
    process->shared.sessions_max = sessions_max;
    atomic_store(&process->shared.memory_max, limits_memory(config));
    return true;
}

/* An eighth of what there is: of the machine's, or of what a cgroup leaves of it. */
uint64_t limits_memory(const struct lp_config *config)
{
    struct cgroup_limits limits;
    struct sysinfo info;

    if (config->limits.memory != 0)
        return config->limits.memory;
    cgroup_read(&limits, "");
    uint64_t bytes = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 2ull << 30;
    if (limits.memory_bytes < bytes)
        bytes = limits.memory_bytes;
    return bytes / 8 > MEMORY_MIN ? bytes / 8 : MEMORY_MIN;
}
