/* The drain of the process, as a timetable: announced, spreading, cutting. What each connection
 * does with it is decided in lb/proxy/closing.c and session.c. */
#include "lb/ops/process.h"

static void enter(struct process *process, enum drain_phase phase)
{
    atomic_store_explicit(&process->shared.drain_phase, (uint8_t)phase, memory_order_release);
    for (uint32_t i = 0; i < process->workers_count; i++)
        worker_wake(&process->workers[i]);
}

static void cut(struct process *process)
{
    lp_log(LP_LOG_WARNING, "drain: the deadline is here, what is left is cut");
    enter(process, DRAIN_CUTTING);
}

static void spread(struct process *process)
{
    const struct lp_cfg_drain *drain = &process->snapshot->config->drain;
    uint64_t now_ms = process->loop.now_ms;
    uint64_t deadline_ms = process->drain_began_ms + drain->deadline_ms;
    uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;

    process->shared.spread_begins_ms = now_ms;
    process->shared.spread_ends_ms = now_ms + left_ms * drain->spread_percent / 100;
    process->shared.drain_close_code = drain->close_code;
    enter(process, DRAIN_SPREADING);
    loop_timer_set(&process->loop, &process->drain_timer, deadline_ms);
}

static void on_timer(struct loop *loop, struct loop_timer *timer)
{
    struct process *process = process_of(loop);

    (void)timer;
    if (atomic_load(&process->shared.drain_phase) == DRAIN_ANNOUNCED)
        spread(process);
    else
        cut(process);
}

void drain_begin(struct process *process, bool keeps_delay)
{
    const struct lp_cfg_drain *drain = &process->snapshot->config->drain;

    process->drain_began_ms = process->loop.now_ms;
    lp_log(LP_LOG_INFO, "drain: %u connections have until %u ms from now",
           atomic_load_explicit(&process->shared.sessions_count, memory_order_relaxed),
           drain->deadline_ms);
    process->drain_timer = (struct loop_timer){.fire = on_timer};
    lp_timer_init(&process->drain_timer.timer);
    enter(process, DRAIN_ANNOUNCED);
    if (!keeps_delay || drain->delay_ms == 0)
        spread(process);
    else
        loop_timer_set(&process->loop, &process->drain_timer,
                       process->loop.now_ms + drain->delay_ms);
}

void drain_hurry(struct process *process)
{
    if (atomic_load(&process->shared.drain_phase) == DRAIN_ANNOUNCED)
        spread(process);
    loop_timer_stop(&process->loop, &process->drain_timer);
    cut(process);
}
