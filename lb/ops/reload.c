/* SIGHUP: the file is read and compiled on a helper thread (reading.c) beside the running snapshot;
 * then everything that may fail is made ready, and one swap and one line follow. On any error the
 * old one stays, and nobody has noticed. Start at reload_begin(). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lb/ops/process.h"

/* Longer than a short connection has its port, shorter than an operator waits for an answer. */
#define PASSING_MS 2000u

static void forget(struct process *process)
{
    struct reload *reload = &process->reload;

    if (reload->reading != NULL)
        reading_destroy(reload->reading);
    reload->reading = NULL;
    reload->is_ready = false;
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

static void leave_behind(struct process *process)
{
    struct reload *reload = &process->reload;
    uint32_t left_count = readings_sweep(&reload->left);

    if (left_count >= RELOAD_LEFT_MAX) {
        reload->is_wanted_again = false;
        lp_log(LP_LOG_ERROR,
               "reload refused, the running configuration stays: %u earlier ones hang in reading "
               "%s or a file that it names",
               left_count + 1, process->path);
        return;
    }
    if (!reading_leave(reload->reading, &reload->left))
        return; /* it has just come to its end */
    lp_log(LP_LOG_WARNING,
           "reload: the one before is left behind, where it hangs (%u of at most %u)",
           left_count + 1, RELOAD_LEFT_MAX);
    reload->reading = NULL;
    forget(process);
}

/* One under way that hangs says so; it makes place when it is wanted again, as does one that waits
 * for an address: the file may name another one by now. */
static void look_after(struct process *process)
{
    struct reload *reload = &process->reload;
    struct reading *reading = reload->reading;

    if (reading == NULL)
        return;
    if (reload->is_ready) {
        if (reload->is_wanted_again && reload->address_until_ms > 0)
            forget(process);
        return;
    }
    if (!reading_hangs(reading, process->loop.now_ms))
        return;
    if (!reading->is_told)
        lp_log(LP_LOG_WARNING,
               "reload: hangs in reading %s or a file that it names; the next SIGHUP begins anew",
               process->path);
    reading->is_told = true;
    if (reload->is_wanted_again)
        leave_behind(process);
}

void reload_begin(struct process *process)
{
    struct reload *reload = &process->reload;

    if (atomic_load(&process->shared.drain_phase) != DRAIN_NONE) {
        lp_log(LP_LOG_ERROR, "reload refused: limpet is draining");
        return;
    }
    if (!process->is_ready || reload->reading != NULL) {
        reload->is_wanted_again = true;
        look_after(process);
        return;
    }
    reload->reading =
        reading_begin(process->path, process->text, process->snapshot, reload->done.fd);
    if (reload->reading == NULL)
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
             process->reload.reading->moved);
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
    struct snapshot *snapshot = process->reload.reading->snapshot;
    struct lp_err impossible = {0};

    if (!limits_apply(process, snapshot->config, &impossible))
        LP_ASSERT(!"limits that fitted a moment ago fit");
    access_log_switch(&process->access_log, log);
    lp_log_set_level(snapshot->config->log.level);
    process->reload.reading->snapshot = NULL;
    uint32_t closing_count = process_publish(process, snapshot);
    process_tell_workers(process);
    describe(process, diff, closing_count);
}

static void try_swap(struct process *process)
{
    const struct lp_config *config = process->reload.reading->snapshot->config;
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
    struct reload *reload = &process->reload;

    readings_sweep(&reload->left);
    look_after(process);
    if (process->reload_line[0] != '\0' && process_is_adopted(process)) {
        process_sweep(process);
        uint32_t live_count = process_live_snapshots(process);
        lp_log(LP_LOG_INFO, "%s, %u snapshot%s live", process->reload_line, live_count,
               live_count == 1 ? "" : "s");
        process->reload_line[0] = '\0';
    }
    if (reload->reading == NULL && reload->is_wanted_again && process->is_ready) {
        reload->is_wanted_again = false; /* since the start */
        reload_begin(process);
    }
    /* One at a time: a worker must not skip a snapshot that counts it. */
    if (reload->is_ready && process_is_adopted(process) && process->reload_line[0] == '\0' &&
        atomic_load(&process->shared.drain_phase) == DRAIN_NONE)
        try_swap(process);
}

static void on_done(struct loop *loop, struct loop_source *source, const struct uring_event *event)
{
    struct process *process = process_of(loop);
    struct reload *reload = &process->reload;
    struct reading *reading = reload->reading;

    (void)event;
    source->ops_inflight++;
    uring_read(loop->uring, source->name, source->fd, &reload->done_count,
               sizeof(reload->done_count));
    reading_join(reading);
    if (reading->report.text_size > 0) {
        lp_log(LP_LOG_WARNING, "reload:");
        lp_log_text(reading->report.text); /* whole, however long it is */
    }
    if (reading->snapshot == NULL) {
        char why[160];
        snprintf(why, sizeof(why), "%u error%s in %s", reading->report.errors_count,
                 reading->report.errors_count == 1 ? "" : "s", process->path);
        refuse(process, reading->err.code != LP_ERR_NONE ? reading->err.text : why);
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
    if (reload->reading != NULL && !reload->is_ready) {
        if (reading_leave(reload->reading, &reload->left))
            reload->reading = NULL;
        else
            reading_join(reload->reading);
    }
    forget(process);
    readings_sweep(&reload->left);
}
