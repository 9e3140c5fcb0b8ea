/* From a configuration to a running limpet and back to nothing. Start at run(): its order is the
 * order of everything that can be refused. */
#include "lb/ops/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lb/health/check.h"
#include "lb/health/probe.h"
#include "lb/lb.h"
#include "lb/ops/cgroup.h"
#include "lb/ops/signals.h"

#define WORKER_ENTRIES  4096u
#define CONTROL_ENTRIES 512u

/* A process that was killed a moment ago may still hold an address: the kernel takes its io_uring
 * down in the background. */
#define ADDRESS_PATIENCE_MS 1000u
#define ADDRESS_RETRY_MS    50
#define READING_LOOK_MS     250

static const struct uring_settings worker_settings = {.entries = WORKER_ENTRIES,
                                                      .buffers_tiny = 64,
                                                      .buffers_small = 32,
                                                      .buffers_large = 4,
                                                      .memory_max = 1u << 20};
static const struct uring_settings control_settings = {.entries = CONTROL_ENTRIES,
                                                       .buffers_tiny = 1,
                                                       .buffers_small = 16,
                                                       .buffers_large = 1,
                                                       .memory_max = 4u << 20};

/* --- signals and the other things that the control thread hears --- */

/* The delay is for balancers in front, whose nodes are told to leave with SIGTERM. SIGINT is a
 * person at a terminal, who waits. */
static void on_stop_signal(struct process *process, bool keeps_delay)
{
    uint8_t phase = atomic_load(&process->shared.drain_phase);

    if (!process->is_ready) {
        process->loop.is_stopping = true;
    } else if (phase == DRAIN_NONE) {
        drain_begin(process, keeps_delay);
    } else if (process->loop.now_ms - process->drain_began_ms >= 1000) {
        lp_log(LP_LOG_WARNING, "drain: asked again, so it ends now");
        drain_hurry(process);
    }
}

static void on_signal(struct loop *loop, struct loop_source *source,
                      const struct uring_event *event)
{
    struct process *process = process_of(loop);
    struct signalfd_siginfo info;

    if (event->result == (int)sizeof(info)) {
        memcpy(&info, process->signal_info, sizeof(info));
        struct lp_err err = {0};
        switch (info.ssi_signo) {
        case SIGHUP:
            reload_begin(process);
            break;
        case SIGUSR1:
            if (!access_log_open(&process->access_log, process->snapshot->config->log.access_to,
                                 &err))
                lp_log(LP_LOG_ERROR, "%s", err.text);
            break;
        default:
            if (signals_is_stop(info.ssi_signo))
                on_stop_signal(process, info.ssi_signo != SIGINT);
            else
                signals_say_unused(info.ssi_signo, info.ssi_code);
        }
    }
    source->ops_inflight++;
    uring_read(loop->uring, source->name, source->fd, process->signal_info,
               sizeof(process->signal_info));
}

static void on_wake(struct loop *loop, struct loop_source *source, const struct uring_event *event)
{
    struct process *process = process_of(loop);

    (void)event;
    source->ops_inflight++;
    uring_read(loop->uring, source->name, source->fd, &process->wake_count,
               sizeof(process->wake_count));
    if (atomic_load_explicit(&process->shared.workers_drained, memory_order_acquire) ==
        process->workers_count)
        loop->is_stopping = true;
}

static void become_ready(struct process *process)
{
    char text[512];
    size_t size = 0;

    process->is_ready = true;
    process_tell_workers(process);
    LP_LIST_EACH (link, &process->endpoints) {
        if (size < sizeof(text))
            size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s", size > 0 ? ", " : "",
                                     lp_container_of(link, struct endpoint, link)->text);
    }
    lp_log(LP_LOG_INFO, "ready: %u worker%s on %s", process->workers_count,
           process->workers_count == 1 ? "" : "s", text);
}

void process_accept_when_settled(struct process *process)
{
    if (!process->is_ready && (process->checks_pending.without_result == 0 ||
                               process->loop.now_ms >= process->ready_at_latest_ms))
        become_ready(process);
}

static void keep_house(struct loop *loop, struct loop_timer *timer)
{
    struct process *process = process_of(loop);
    uint64_t next_ms = 1000;

    process_accept_when_settled(process);
    reload_continue(process);
    process_sweep(process);
    access_log_report(&process->access_log, loop->now_ms);
    bool is_busy = !process->is_ready || process->reload.is_ready ||
                   process->reload.is_wanted_again || process->reload_line[0] != '\0';
    if (is_busy)
        next_ms = LP_WHEEL_TICK_MS;
    loop_timer_set(loop, timer, loop->now_ms + next_ms);
}

static bool add_reader(struct process *process, struct loop_source *source, int fd, void *out,
                       uint32_t size)
{
    source->fd = fd;
    if (fd < 0 || !loop_add_source(&process->loop, source))
        return false;
    source->ops_inflight++;
    uring_read(process->loop.uring, source->name, fd, out, size);
    return true;
}

static bool start_control(struct process *process, struct lp_err *err)
{
    struct loop *loop = &process->loop;

    if (!loop_init(loop, &control_settings, (struct loop_space){sizeof(struct conn), NULL},
                   (struct loop_space){sizeof(struct probe), &probe_ops}, err))
        return false;
    process->signals = (struct loop_source){.on_event = on_signal};
    process->wake = (struct loop_source){.on_event = on_wake};
    process->housekeeping = (struct loop_timer){.fire = keep_house};
    lp_timer_init(&process->housekeeping.timer);
    process->shared.control_fd = eventfd(0, EFD_CLOEXEC);
    process->shared.log_fd = process->access_log.feed.wake_fd;
    if (!add_reader(process, &process->signals, signals_open(), process->signal_info,
                    sizeof(process->signal_info)) ||
        !add_reader(process, &process->wake, process->shared.control_fd, &process->wake_count,
                    sizeof(process->wake_count)) ||
        process->shared.log_fd < 0 || !reload_init(process))
        return lp_err_set(err, LP_ERR_SYSTEM, "no descriptors for the control thread: %s",
                          strerror(errno));
    return true;
}

static void exit_at_once(int status)
{
    lp_log_finish(LP_LOG_FINISH_MS);
    fflush(NULL);
    _exit(status);
}

/* --- workers --- */

static uint32_t count_cpus(void)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || CPU_COUNT(&cpus) <= 0)
        return 1;
    return (uint32_t)CPU_COUNT(&cpus);
}

/* More workers than the cgroup's quota of time is worth would only take turns. */
static uint32_t count_workers(void)
{
    struct cgroup_limits limits;
    uint32_t cpus = count_cpus();

    cgroup_read(&limits, "");
    return limits.cpus < cpus ? (uint32_t)limits.cpus : cpus;
}

static bool start_workers(struct process *process, struct lp_err *err)
{
    bool ok = true;

    pthread_barrier_init(&process->started, NULL, process->workers_count + 1);
    for (uint32_t i = 0; i < process->workers_count; i++) {
        struct worker *worker = &process->workers[i];
        worker->index = i;
        worker->workers_count = process->workers_count;
        worker->shared = &process->shared;
        worker->crypto = process->crypto;
        worker->settings = worker_settings;
        worker->started = &process->started;
        worker->wake_fd = eventfd(0, EFD_CLOEXEC);
        worker->log = log_ring_create();
        process->access_log.rings[i] = worker->log;
        if (worker->wake_fd < 0 ||
            pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            /* The barrier would never open: leave at once. */
            lp_log(LP_LOG_ERROR, "worker %u cannot start: %s", i, strerror(errno));
            exit_at_once(1);
        }
    }
    pthread_barrier_wait(&process->started);
    for (uint32_t i = 0; i < process->workers_count && ok; i++)
        if (!process->workers[i].is_started) {
            *err = process->workers[i].start_error;
            ok = false;
        }
    return ok;
}

static void join_workers(struct process *process)
{
    for (uint32_t i = 0; i < process->workers_count; i++)
        pthread_join(process->workers[i].thread, NULL);
    /* It may still be about to wake one whose job came back a moment ago. */
    crypto_destroy(process->crypto);
    for (uint32_t i = 0; i < process->workers_count; i++) {
        struct worker *worker = &process->workers[i];
        process->leftovers.buffers_out += worker->leftovers.buffers_out;
        process->leftovers.ops_inflight += worker->leftovers.ops_inflight;
        process->leftovers.connections += worker->leftovers.connections;
        process->leftovers.stale += worker->leftovers.stale;
        close(worker->wake_fd);
    }
    pthread_barrier_destroy(&process->started);
    access_log_finish(&process->access_log);
    for (uint32_t i = 0; i < process->workers_count; i++)
        log_ring_destroy(process->workers[i].log);
}

/* --- the end --- */

#ifdef LP_DEBUG
static uint32_t count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint32_t count = 0;

    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* Zeros, or something was forgotten; the tests look. */
static void report_leftovers(const struct leftovers *left, uint32_t descriptors_before)
{
    char text[256];

    snprintf(text, sizeof(text),
             "debug: buffers_out %llu, ops_inflight %llu, connections %llu, descriptors %d, "
             "stale %llu",
             (unsigned long long)left->buffers_out, (unsigned long long)left->ops_inflight,
             (unsigned long long)left->connections,
             (int)count_descriptors() - (int)descriptors_before, (unsigned long long)left->stale);
    lp_log_text(text);
}
#endif

static void free_everything(struct process *process)
{
    LP_LIST_EACH (link, &process->snapshots)
        snapshot_destroy(lp_container_of(link, struct snapshot, link));
    LP_LIST_EACH (link, &process->endpoints)
        endpoint_destroy(lp_container_of(link, struct endpoint, link));
    registry_sweep(&process->registry, true);
    registry_sweep(&process->registry, true); /* pools whose last server went just now */
    close(process->signals.fd);
    close(process->wake.fd);
    close(process->reload.done.fd);
    access_log_deinit(&process->access_log);
    lp_free(process->workers);
}

/* Also those that have told their result and only linger. */
static void cut_probe(void *object, void *context)
{
    conn_abort(context, object);
}

/* Checks under way end on this thread's own loop. */
static void stop_control(struct process *process)
{
    struct loop *loop = &process->loop;

    checks_stop(process);
    reload_deinit(process);
    lp_pool_each(&loop->spaces[LOOP_SPACE_BACK], cut_probe, loop);
    while (loop->spaces[LOOP_SPACE_BACK].used_count > 0)
        loop_turn(loop, LP_WHEEL_TICK_MS);
    loop_deinit(loop);
}

static int finish(struct process *process)
{
    stop_control(process);
    join_workers(process);
    uint32_t cut_count = atomic_load(&process->shared.cut_count);
    lp_log(LP_LOG_INFO, "stopped: drained in %llu ms, %u connections cut",
           (unsigned long long)(lp_clock_ms() - process->drain_began_ms), cut_count);
    free_everything(process);
    return cut_count == 0 ? 0 : 1;
}

/* --- the start --- */

/* Threads may have started, but nobody was served yet. */
static void leave_early(struct process *process, int status)
{
    LP_LIST_EACH (link, &process->endpoints)
        endpoint_destroy(lp_container_of(link, struct endpoint, link));
    exit_at_once(status);
}

/* Waits for fd, or only so long; a signal that ends the start is followed at once. False: fd has
 * nothing. */
static bool wait_for(struct process *process, int fd, int wait_ms)
{
    struct pollfd polled[] = {{.fd = process->stops_fd, .events = POLLIN},
                              {.fd = fd, .events = POLLIN}};

    while (poll(polled, LP_COUNT_OF(polled), wait_ms) < 0 && errno == EINTR)
        ;
    if (polled[0].revents != 0)
        leave_early(process, 0);
    return polled[1].revents != 0;
}

/* False: it hangs and was left behind, because SIGHUP asks to begin anew. */
static bool wait_for_reading(struct process *process, struct reading *reading, int done_fd)
{
    while (!wait_for(process, done_fd, READING_LOOK_MS)) {
        if (!reading_hangs(reading, lp_clock_ms()))
            continue;
        if (!reading->is_told)
            lp_log(LP_LOG_WARNING,
                   "hangs in reading %s or a file that it names; SIGHUP begins anew",
                   process->path);
        reading->is_told = true;
        if (readings_sweep(&process->reload.left) < RELOAD_LEFT_MAX && signals_take_hangup() &&
            reading_leave(reading, &process->reload.left))
            return false;
    }
    return true;
}

/* What was found out about the files that the configuration names is said in any case. */
static struct snapshot *read_first(struct process *process, struct lp_err *err)
{
    int done_fd = eventfd(0, EFD_CLOEXEC);
    struct reading *reading;

    do {
        reading = reading_begin(process->path, process->text, NULL, done_fd);
        if (reading == NULL) {
            lp_err_set(err, LP_ERR_SYSTEM, "no thread to read %s on: %s", process->path,
                       strerror(errno));
            return NULL;
        }
    } while (!wait_for_reading(process, reading, done_fd));
    reading_join(reading);
    close(done_fd);
    if (reading->report.text_size > 0)
        lp_log_text(reading->report.text);
    struct snapshot *snapshot = reading->snapshot;
    *err = reading->err;
    reading->snapshot = NULL;
    reading_destroy(reading);
    return snapshot;
}

static bool open_endpoints(struct process *process, const struct lp_config *config,
                           struct lp_err *err)
{
    uint64_t until_ms = lp_clock_ms() + ADDRESS_PATIENCE_MS;

    for (;;) {
        enum endpoints_result result = process_bind_endpoints(process, config, err);
        if (result == ENDPOINTS_OPEN)
            return process_listen_endpoints(process, err);
        if (result == ENDPOINTS_REFUSED || lp_clock_ms() >= until_ms)
            return false;
        wait_for(process, -1, ADDRESS_RETRY_MS);
    }
}

static bool prepare(struct process *process, struct lp_err *err)
{
    struct snapshot *snapshot = read_first(process, err);

    if (snapshot == NULL)
        return false;
    const struct lp_config *config = snapshot->config;
    process->workers_count = config->workers != 0 ? config->workers : count_workers();
    process->shared.sessions_reserve = LIMITS_RESERVE;
    registry_init(&process->registry, process->workers_count);
    process->workers = lp_alloc_lines(process->workers_count * sizeof(*process->workers));
    access_log_init(&process->access_log, process->workers_count);
    if (!limits_apply(process, config, err) || !start_control(process, err) ||
        !open_endpoints(process, config, err) || !crypto_create(&process->crypto, err) ||
        !start_workers(process, err))
        return false;
    if (!access_log_open(&process->access_log, config->log.access_to, err))
        return false;
    lp_log_set_level(config->log.level);
    uint32_t longest_ms = 0;
    for (uint32_t i = 0; i < config->pools_count; i++)
        if (config->pools[i].check.timeout_ms > longest_ms)
            longest_ms = config->pools[i].check.timeout_ms;
    process->ready_at_latest_ms = process->loop.now_ms + longest_ms + LP_WHEEL_TICK_MS;
    process_publish(process, snapshot);
    return true;
}

/* Else the first file or socket that we open would be the one that logs are written to. */
static void hold_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDWR); /* the lowest that is free: this one */
}

static int run(const char *path, const char *text)
{
    struct process *process = lp_alloc_lines(sizeof(*process));
    struct lp_err err = {0};

    hold_standard_descriptors();
    signals_begin();
    process->path = path;
    process->text = text;
    lp_list_init(&process->endpoints);
    lp_list_init(&process->snapshots);
    lp_list_init(&process->checks);
    lp_list_init(&process->reload.left);
    bool ok = lp_log_start(&err);
#ifdef LP_DEBUG
    uint32_t descriptors_before = count_descriptors();
#endif
    process->stops_fd = signals_open_stops();
    if (!ok || !prepare(process, &err)) {
        if (err.code != LP_ERR_NONE)
            lp_log(LP_LOG_ERROR, "%s", err.text);
        leave_early(process, 1);
    }
    close(process->stops_fd);
    process_accept_when_settled(process); /* nothing to wait for without checks */
    loop_timer_set(&process->loop, &process->housekeeping, process->loop.now_ms + LP_WHEEL_TICK_MS);
    loop_run(&process->loop);
    if (!process->is_ready)
        leave_early(process, 0); /* asked to stop before it began */
    int status = finish(process);
#ifdef LP_DEBUG
    report_leftovers(&process->leftovers, descriptors_before);
#endif
    lp_free(process);
    lp_log_finish(LP_LOG_FINISH_MS);
    return status;
}

int lp_lb_run(const char *path)
{
    return run(path, NULL);
}

int lp_lb_run_text(const char *name, const char *text)
{
    return run(name, text);
}
