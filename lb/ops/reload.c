/* SIGHUP: the file is read and compiled on a helper thread beside the running snapshot; then one
 * swap and one line. On any error the old one stays, and nobody has noticed. Start at
 * reload_begin(). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lb/ops/process.h"

/* Ten thousand servers take their time to read; workers on the same CPU come first. */
#define READER_NICE 10
/* Longer than a short connection has its port, shorter than an operator waits for an answer. */
#define PASSING_MS 2000u

/* --- on the helper thread: may take its time, touches nothing that runs --- */

static void describe_moved(struct process *process, const struct snapshot *old,
                           const struct snapshot *now)
{
    char *text = process->reload.moved;
    size_t size = 0, room = sizeof(process->reload.moved);

    text[0] = '\0';
    for (uint32_t i = 0; i < now->config->pools_count && size < room; i++) {
        const struct lp_cfg_pool *pool = &now->config->pools[i];
        const struct lp_cfg_pool *before = lp_config_pool(old->config, pool->name);
        if (before == NULL || pool->balance != LP_BALANCE_HASH)
            continue;
        uint32_t ppm =
            lp_hash_moved_ppm(old->pools[before - old->config->pools].table, now->pools[i].table);
        if (ppm > 0)
            size += (size_t)snprintf(text + size, room - size,
                                     ", %u.%u %% of the key space of pool %.*s moved", ppm / 10000,
                                     ppm / 1000 % 10, LP_SLICE_ARG(pool->name));
    }
}

static bool load(struct process *process, struct lp_config **config)
{
    struct reload *reload = &process->reload;

    if (process->text != NULL)
        return lp_config_parse(config, &reload->report, process->path, lp_slice_of(process->text));
    return lp_config_load(config, &reload->report, process->path);
}

static void *read_and_compile(void *argument)
{
    struct process *process = argument;
    struct reload *reload = &process->reload;
    struct lp_config *config = NULL;
    const uint64_t one = 1;

    reload->snapshot = NULL;
    reload->err = (struct lp_err){0};
    (void)setpriority(PRIO_PROCESS, 0, READER_NICE); /* of this thread */
    if (load(process, &config) &&
        snapshot_build(&reload->snapshot, config, &reload->report, &reload->err))
        describe_moved(process, process->snapshot, reload->snapshot);
    if (write(reload->done.fd, &one, sizeof(one)) < 0)
        lp_log(LP_LOG_ERROR, "cannot report a reload: %s", strerror(errno));
    return NULL;
}

/* --- on the control thread --- */

static void forget(struct process *process)
{
    struct reload *reload = &process->reload;

    if (reload->snapshot != NULL)
        snapshot_destroy(reload->snapshot);
    reload->snapshot = NULL;
    lp_config_report_deinit(&reload->report);
    reload->is_running = reload->is_ready = false;
    reload->address_until_ms = 0;
    if (reload->is_wanted_again) {
        reload->is_wanted_again = false;
        reload_begin(process);
    }
}

static void refuse(struct process *process, const char *why)
{
    lp_log(LP_LOG_ERROR, "reload refused, the running configuration stays: %s", why);
    forget(process);
}

void reload_begin(struct process *process)
{
    struct reload *reload = &process->reload;

    if (atomic_load(&process->shared.drain_phase) != DRAIN_NONE) {
        lp_log(LP_LOG_ERROR, "reload refused: limpet is draining");
        return;
    }
    if (!process->is_ready || reload->is_running) {
        reload->is_wanted_again = true;
        if (reload->address_until_ms > 0)
            forget(process); /* it waits for an address: the file may name another one by now */
        return;
    }
    reload->is_running = true;
    if (pthread_create(&reload->thread, NULL, read_and_compile, process) != 0)
        refuse(process, "no thread to read it on");
}

static void describe(struct process *process, const struct lp_config_diff *diff,
                     uint32_t closing_count)
{
    char changed[64] = "";

    if (diff->servers_changed > 0)
        snprintf(changed, sizeof(changed), ", %u with another address", diff->servers_changed);
    snprintf(process->reload_line, sizeof(process->reload_line),
             "reload %u -> %u: +%u server%s, -%u%s, %u connections closed%s",
             process->generation - 1, process->generation, diff->servers_added,
             diff->servers_added == 1 ? "" : "s", diff->servers_removed, changed, closing_count,
             process->reload.moved);
}

/* An outgoing connection may give its port back soon. False: that has taken long enough. */
static bool may_wait_for_address(struct process *process)
{
    struct reload *reload = &process->reload;

    if (reload->address_until_ms == 0)
        reload->address_until_ms = process->loop.now_ms + PASSING_MS;
    return process->loop.now_ms < reload->address_until_ms;
}

/* Whatever can fail, without a trace when it does. Sockets listen last: they are seen at once. */
static enum endpoints_result make_ready(struct process *process, const struct lp_config *config,
                                        struct access_target *log, struct lp_err *err)
{
    if (!limits_check(process, config, err))
        return ENDPOINTS_REFUSED;
    enum endpoints_result result = process_bind_endpoints(process, config, err);
    if (result != ENDPOINTS_OPEN)
        return result;
    if (!access_log_prepare(&process->access_log, log, config->log.access_to, err)) {
        process_close_fresh_endpoints(process);
        return ENDPOINTS_REFUSED;
    }
    if (process_listen_endpoints(process, err))
        return ENDPOINTS_OPEN;
    access_log_discard(*log);
    return ENDPOINTS_REFUSED;
}

static void swap(struct process *process, struct access_target log,
                 const struct lp_config_diff *diff)
{
    struct snapshot *snapshot = process->reload.snapshot;
    struct lp_err impossible = {0};

    if (!limits_apply(process, snapshot->config, &impossible))
        LP_ASSERT(!"limits that fitted a moment ago fit");
    access_log_switch(&process->access_log, log);
    lp_log_set_level(snapshot->config->log.level);
    process->reload.snapshot = NULL;
    uint32_t closing_count = process_publish(process, snapshot);
    process_tell_workers(process);
    describe(process, diff, closing_count);
}

static void try_swap(struct process *process)
{
    const struct lp_config *config = process->reload.snapshot->config;
    struct access_target log;
    struct lp_config_diff diff;
    struct lp_err err = {0};

    lp_config_diff(process->snapshot->config, config, &diff);
    if (diff.restart_key != NULL) {
        char why[128];
        snprintf(why, sizeof(why), "%s cannot change without a restart", diff.restart_key);
        refuse(process, why);
        lp_config_diff_deinit(&diff);
        return;
    }
    switch (make_ready(process, config, &log, &err)) {
    case ENDPOINTS_OPEN:
        swap(process, log, &diff);
        forget(process);
        break;
    case ENDPOINTS_LEAVING:
        break; /* it is free in a moment */
    case ENDPOINTS_PASSING:
        if (!may_wait_for_address(process))
            refuse(process, err.text);
        break;
    case ENDPOINTS_STRANGER:
    case ENDPOINTS_REFUSED:
        refuse(process, err.text);
    }
    lp_config_diff_deinit(&diff);
}

void reload_continue(struct process *process)
{
    if (process->reload_line[0] != '\0' && process_is_adopted(process)) {
        process_sweep(process);
        uint32_t live_count = process_live_snapshots(process);
        lp_log(LP_LOG_INFO, "%s, %u snapshot%s live", process->reload_line, live_count,
               live_count == 1 ? "" : "s");
        process->reload_line[0] = '\0';
    }
    if (!process->reload.is_running && process->reload.is_wanted_again && process->is_ready) {
        process->reload.is_wanted_again = false; /* since the start */
        reload_begin(process);
    }
    /* One at a time: a worker must not skip a snapshot that counts it. */
    if (process->reload.is_ready && process_is_adopted(process) &&
        process->reload_line[0] == '\0' && atomic_load(&process->shared.drain_phase) == DRAIN_NONE)
        try_swap(process);
}

static void on_done(struct loop *loop, struct loop_source *source, const struct uring_event *event)
{
    struct process *process = process_of(loop);
    struct reload *reload = &process->reload;

    (void)event;
    source->ops_inflight++;
    uring_read(loop->uring, source->name, source->fd, &reload->done_count,
               sizeof(reload->done_count));
    pthread_join(reload->thread, NULL);
    if (reload->report.text_size > 0)
        lp_log(LP_LOG_WARNING, "reload:\n%s", reload->report.text);
    if (reload->snapshot == NULL) {
        char why[160];
        snprintf(why, sizeof(why), "%u error%s in %s", reload->report.errors_count,
                 reload->report.errors_count == 1 ? "" : "s", process->path);
        refuse(process, reload->err.code != LP_ERR_NONE ? reload->err.text : why);
        return;
    }
    reload->is_ready = true;
    reload_continue(process);
    loop_timer_set(loop, &process->housekeeping, loop->now_ms + LP_WHEEL_TICK_MS);
}

bool reload_init(struct process *process)
{
    process->reload.done = (struct loop_source){.on_event = on_done, .fd = eventfd(0, EFD_CLOEXEC)};
    if (process->reload.done.fd < 0 || !loop_add_source(&process->loop, &process->reload.done))
        return false;
    process->reload.done.ops_inflight++;
    uring_read(process->loop.uring, process->reload.done.name, process->reload.done.fd,
               &process->reload.done_count, sizeof(process->reload.done_count));
    return true;
}

void reload_deinit(struct process *process)
{
    struct reload *reload = &process->reload;

    reload->is_wanted_again = false;
    if (reload->is_running && !reload->is_ready)
        pthread_join(reload->thread, NULL);
    forget(process);
}
