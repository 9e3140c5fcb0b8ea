/* A worker's thread: sets up its loop, follows snapshots and drain phases, and reports at its end.
 * What happens to a client is told in session.c and stream.c. */
#include "lb/proxy/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lb/proxy/back.h"
#include "lb/proxy/session.h"
#include "lb/proxy/stream.h"

/* --- snapshots --- */

struct snapshot_ref *worker_use_snapshot(struct snapshot_ref *ref)
{
    ref->users_count++;
    return ref;
}

void worker_drop_snapshot(struct worker *worker, struct snapshot_ref *ref)
{
    if (--ref->users_count > 0)
        return;
    /* Release: the control thread frees it when it sees 0, and must see all that we did. */
    if (atomic_fetch_sub_explicit(&ref->snapshot->workers_count, 1, memory_order_acq_rel) == 1) {
        const uint64_t one = 1;
        if (write(worker->shared->control_fd, &one, sizeof(one)) < 0)
            lp_log(LP_LOG_ERROR, "cannot wake the control thread: %s", strerror(errno));
    }
    lp_free(ref);
}

/* Servers that the new snapshot drains and the old one did not get their turns planned; those that
 * came back are left alone again. */
static void follow_drained(struct worker *worker, const struct snapshot *old,
                           const struct snapshot *now)
{
    for (uint32_t i = 0; old != NULL && i < old->drained_count; i++)
        if (old->drained[i]->drain_began_ms == 0)
            closing_cancel_server(worker, old->drained[i]);
    for (uint32_t i = 0; i < now->drained_count; i++) {
        backs_close_idle(worker, now->drained[i]);
        closing_plan_server(worker, now->drained[i]);
    }
    if (now->drained_count > 0)
        backs_follow_drain(worker);
}

/* Timeouts change at once, also for those who wait already. */
static void follow_timeouts(struct worker *worker, const struct snapshot *old,
                            const struct snapshot *now)
{
    if (lp_config_waits_alike(old->config, now->config))
        return;
    sessions_look_again(worker);
    for (uint32_t i = 0; i < now->config->pools_count; i++)
        for (uint32_t s = 0; s < now->pools[i].config->servers_count; s++)
            backs_look_again(worker, now->pools[i].servers[s]);
}

static void follow_snapshot(struct worker *worker)
{
    struct snapshot *newest = atomic_load_explicit(&worker->shared->snapshot, memory_order_acquire);
    struct snapshot_ref *old = worker->snapshot;

    if (newest == NULL || (old != NULL && old->snapshot == newest))
        return;
    worker->snapshot = lp_alloc(sizeof(*worker->snapshot));
    *worker->snapshot = (struct snapshot_ref){.snapshot = newest, .users_count = 1};
    uring_set_memory_max(worker->loop.uring, worker->shared->memory_max / worker->workers_count);
    uint64_t stalled = newest->config->limits.stalled;
    worker->loop.large_bytes =
        stalled < LP_BUF_LARGE_BYTES ? (uint32_t)stalled : LP_BUF_LARGE_BYTES;
    worker->loop.may_multishot = stalled >= LP_MULTISHOT_BYTES;
    worker->logs_access = !lp_slice_equal(newest->config->log.access_to, LP_SLICE("off"));
    access_format_init(&worker->access, newest->config->log.access_format,
                       newest->config->log.query, newest->config->log.query_count);
    acceptors_update(worker, old);
    follow_drained(worker, old != NULL ? old->snapshot : NULL, newest);
    if (old != NULL) {
        follow_timeouts(worker, old->snapshot, newest);
        worker_drop_snapshot(worker, old);
    }
    atomic_store_explicit(&worker->generation, newest->generation, memory_order_release);
}

/* --- drain --- */

static void follow_drain(struct worker *worker, enum drain_phase phase)
{
    if (worker->drain_phase < DRAIN_SPREADING && phase >= DRAIN_SPREADING) {
        worker->drain_phase = DRAIN_SPREADING;
        acceptors_stop(worker);
        sessions_schedule_close(worker);
        closing_plan_process(worker);
    }
    if (worker->drain_phase < DRAIN_CUTTING && phase >= DRAIN_CUTTING) {
        worker->drain_phase = DRAIN_CUTTING;
        sessions_cut(worker);
    }
    worker->drain_phase = phase;
}

static void close_all_idle(struct worker *worker)
{
    const struct snapshot *snapshot = worker->snapshot->snapshot;

    for (uint32_t i = 0; i < snapshot->config->pools_count; i++)
        for (uint32_t s = 0; s < snapshot->pools[i].config->servers_count; s++)
            backs_close_idle(worker, snapshot->pools[i].servers[s]);
}

/* The last client has left and the doors are shut: only idle server connections may remain. */
static void stop_when_drained(struct worker *worker)
{
    struct loop *loop = &worker->loop;

    if (worker->drain_phase < DRAIN_SPREADING || loop->spaces[LOOP_SPACE_FRONT].used_count > 0 ||
        !acceptors_are_closed(worker))
        return;
    close_all_idle(worker);
    if (loop->spaces[LOOP_SPACE_BACK].used_count == 0)
        loop->is_stopping = true;
}

/* --- the loop's hooks --- */

static void on_wake(struct loop *loop, struct loop_source *source, const struct uring_event *event)
{
    struct worker *worker = worker_of(loop);

    (void)event;
    source->ops_inflight++;
    uring_read(loop->uring, source->name, source->fd, &worker->wake_count,
               sizeof(worker->wake_count));
    /* The phase first: the snapshot seen behind it is then at least the one that drains. */
    enum drain_phase phase =
        atomic_load_explicit(&worker->shared->drain_phase, memory_order_acquire);
    follow_snapshot(worker);
    follow_drain(worker, phase);
}

static void after_batch(struct loop *loop)
{
    struct worker *worker = worker_of(loop);

    streams_after_batch(worker);
    if (LP_UNLIKELY(worker->drain_phase != DRAIN_NONE))
        stop_when_drained(worker);
}

/* --- the thread --- */

static bool start(struct worker *worker)
{
    struct loop *loop = &worker->loop;

    if (!loop_init(loop, &worker->settings,
                   (struct loop_space){sizeof(struct session), &session_ops},
                   (struct loop_space){sizeof(struct back), &back_ops}, &worker->start_error))
        return false;
    loop->after_batch = after_batch;
    loop->on_held = stalled_watch;
    loop->crypto = worker->crypto;
    loop->crypto_box.wake_fd = worker->wake_fd;
    lp_pool_init(&worker->streams, sizeof(struct stream));
    lp_pool_init(&worker->requests, sizeof(struct request));
    lp_list_init(&worker->acceptors);
    lp_list_init(&worker->ended_streams);
    lp_list_init(&worker->waiting);
    worker->shrink_timer = (struct loop_timer){.fire = streams_shrink};
    lp_timer_init(&worker->shrink_timer.timer);
    worker->wake = (struct loop_source){.on_event = on_wake, .fd = worker->wake_fd};
    if (!loop_add_source(loop, &worker->wake))
        return lp_err_set(&worker->start_error, LP_ERR_LIMIT, "no place for a wake-up");
    worker->wake.ops_inflight++;
    uring_read(loop->uring, worker->wake.name, worker->wake_fd, &worker->wake_count,
               sizeof(worker->wake_count));
    return true;
}

static void stop(struct worker *worker)
{
    struct loop *loop = &worker->loop;

    if (worker->snapshot != NULL)
        worker_drop_snapshot(worker, worker->snapshot);
    worker->snapshot = NULL;
    lp_pool_deinit(&worker->streams);
    lp_pool_deinit(&worker->requests);
    worker->leftovers =
        (struct leftovers){.buffers_out = uring_buffers_out(loop->uring),
                           .ops_inflight = loop_ops_inflight(loop) - worker->wake.ops_inflight,
                           .connections = loop->spaces[LOOP_SPACE_FRONT].used_count +
                                          loop->spaces[LOOP_SPACE_BACK].used_count,
                           .stale = loop->stale_events};
    loop_deinit(loop);
}

void *worker_main(void *argument)
{
    struct worker *worker = argument;

    lp_tls_thread_begin();
    worker->is_started = start(worker);
    pthread_barrier_wait(worker->started);
    if (!worker->is_started)
        return NULL;
    loop_run(&worker->loop);
    stop(worker);
    lp_tls_thread_end();
    atomic_fetch_add_explicit(&worker->shared->workers_drained, 1, memory_order_release);
    const uint64_t one = 1;
    if (write(worker->shared->control_fd, &one, sizeof(one)) < 0)
        lp_log(LP_LOG_ERROR, "cannot wake the control thread: %s", strerror(errno));
    return NULL;
}

void worker_wake(const struct worker *worker)
{
    const uint64_t one = 1;
    if (write(worker->wake_fd, &one, sizeof(one)) < 0)
        lp_log(LP_LOG_ERROR, "cannot wake a worker: %s", strerror(errno));
}
