/* The loop: which phase it is, when a unit begins, what has taken too long.
 *
 * Phases end when they end: the bounds of the window are read from the clock at the very moment
 * when the counters begin and the CPU clocks of the proxy are read, so what is divided by each
 * other belongs together. With a rate, unit i is due at schedule_begin + i / rate; what is due and
 * finds no connection free is no list but the distance between two numbers, so it costs nothing and
 * cannot grow. Without, a connection's next unit begins where its last one ended. Start at
 * load_run(). */
#include "bench/load/load.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX   256
#define SIGNAL_EVENT UINT64_MAX
#define QUIET_NS     1000000000u /* idle: between the last open and what is measured */
#define REFRESH_NS   100000000u  /* how often processes that come and go are looked for */

/* ---- Units ---- */

static bool runs_units(const struct load *load)
{
    return load->phase == PHASE_WARMUP || load->phase == PHASE_WINDOW;
}

static uint64_t due_ns(const struct load *load, uint64_t unit)
{
    return load->schedule_begin_ns + unit * 1000000000u / load->options->rate;
}

static void begin_unit(struct load *load, struct conn *conn, uint64_t start_ns)
{
    lp_list_remove(&conn->place);
    conn->start_ns = conn->since_ns = start_ns;
    conn->sequence++;
    if (load->mode->is_one_unit_per_connection) {
        conn_open(load, conn);
        return;
    }
    conn_enter(load, conn, CONN_BUSY);
    load->mode->begin(load, conn);
}

/* Units that waited longer than any may take are errors already. */
static void give_up_late_units(struct load *load, uint64_t now_ns)
{
    while (due_ns(load, load->schedule_next) + load->options->timeout_ns < now_ns) {
        load->schedule_next++;
        load_count_error(load, LOAD_ERR_TIMEOUT);
    }
}

void load_ready(struct load *load, struct conn *conn)
{
    const struct mode *mode = load->mode;

    if (!mode->is_one_unit_per_connection)
        conn_enter(load, conn, CONN_READY);
    if (runs_units(load) && !mode->is_stream && !mode->is_idle) {
        uint64_t now_ns = lp_clock_ns();
        if (load->options->rate == 0) {
            begin_unit(load, conn, now_ns);
            return;
        }
        give_up_late_units(load, now_ns);
        if (due_ns(load, load->schedule_next) <= now_ns) {
            begin_unit(load, conn, due_ns(load, load->schedule_next++));
            return;
        }
    }
    lp_list_remove(&conn->place);
    lp_list_push_back(&load->ready, &conn->place);
}

void load_revive(struct load *load, struct conn *conn)
{
    if (load->mode->is_one_unit_per_connection)
        load_ready(load, conn);
    else
        conn_open(load, conn);
}

static struct conn *first_ready(struct load *load)
{
    return lp_container_of(load->ready.next, struct conn, place);
}

/* Begins all units that are due. Gives when the next one will be. */
static uint64_t schedule_step(struct load *load)
{
    if (load->options->rate == 0 || !runs_units(load) || load->mode->is_stream)
        return UINT64_MAX;
    uint64_t now_ns = lp_clock_ns();
    give_up_late_units(load, now_ns);
    while (!lp_list_is_empty(&load->ready)) {
        uint64_t at_ns = due_ns(load, load->schedule_next);
        if (at_ns > now_ns)
            return at_ns;
        load->schedule_next++;
        begin_unit(load, first_ready(load), at_ns);
    }
    return UINT64_MAX;
}

/* ---- What has taken too long ---- */

static void look_at(struct load *load, struct conn *conn)
{
    bool may_wait =
        conn->state == CONN_CLOSED || (conn->state == CONN_READY && !load->mode->is_stream);

    if (!may_wait && conn->since_ns + load->options->timeout_ns < load->now_ns)
        conn_fail(load, conn, LOAD_ERR_TIMEOUT);
    else if (load->mode->on_tick != NULL && conn->state != CONN_CLOSED)
        load->mode->on_tick(load, conn);
}

static void tick_step(struct load *load)
{
    if (load->now_ns < load->next_tick_ns)
        return;
    load->next_tick_ns = load->now_ns + LOAD_TICK_NS;
    for (uint32_t i = load->tick % LOAD_TICKS; i < load->options->connections; i += LOAD_TICKS)
        look_at(load, &load->conns[i]);
    load->tick++;
}

/* ---- Phases ---- */

static uint64_t own_cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Those that could not be opened are tried again, so that their errors are seen in the window. */
static void try_given_up_again(struct load *load)
{
    for (uint32_t i = 0; i < load->options->connections; i++) {
        struct conn *conn = &load->conns[i];
        if (!conn->is_given_up)
            continue;
        conn->is_given_up = false;
        lp_list_push_back(&load->waiting, &conn->place);
    }
}

/* What is not open by now is none of the idle ones. */
static void give_up_the_rest(struct load *load)
{
    for (uint32_t i = 0; i < load->options->connections; i++) {
        struct conn *conn = &load->conns[i];
        if (conn->state == CONN_READY || conn->is_given_up)
            continue;
        load_count_error(load, LOAD_ERR_TIMEOUT);
        conn_close(load, conn);
    }
}

static void begin_window(struct load *load)
{
    if (load->mode->is_idle)
        load->samples.memory = sample_memory_now(&load->samples);
    else
        load->tally = (struct tally){0};
    load->phase = PHASE_WINDOW;
    load->own_cpu_ns = own_cpu_ns();
    sample_begin(&load->samples);
    load->window_begin_ns = load->now_ns = lp_clock_ns();
    load->phase_end_ns = load->window_begin_ns + load->window_ns;
    load->next_refresh_ns = load->window_begin_ns + REFRESH_NS;
    load->opened_count = load->open_count;
    if (load->mode->is_idle)
        fprintf(stderr, "load: open %" PRIu32 "\n", load->open_count);
    else
        fprintf(stderr, "load: measuring\n");
}

/* Each ready connection is asked once, also when its unit is over so soon that it is ready again.
 */
static void begin_units(struct load *load)
{
    struct lp_list ready;

    lp_list_init(&ready);
    while (!lp_list_is_empty(&load->ready)) {
        struct conn *conn = first_ready(load);
        lp_list_remove(&conn->place);
        lp_list_push_back(&ready, &conn->place);
    }
    while (!lp_list_is_empty(&ready))
        load_ready(load, lp_container_of(ready.next, struct conn, place));
}

static void begin_warmup(struct load *load)
{
    load->phase = PHASE_WARMUP;
    load->now_ns = load->schedule_begin_ns = lp_clock_ns();
    load->phase_end_ns = load->now_ns + (load->mode->is_idle ? QUIET_NS : load->options->warmup_ns);
    if (load->mode->is_idle) {
        give_up_the_rest(load);
        return;
    }
    try_given_up_again(load);
    /* Without a warm-up nothing may happen before the window, nor be due. */
    if (load->options->warmup_ns == 0) {
        begin_window(load);
        load->schedule_begin_ns = load->window_begin_ns;
    }
    begin_units(load);
}

static void count_unfinished(struct load *load)
{
    for (uint32_t i = 0; i < load->options->connections; i++) {
        const struct conn *conn = &load->conns[i];
        bool is_unit = conn->state == CONN_BUSY || conn->state == CONN_ENDING ||
                       (load->mode->is_one_unit_per_connection && conn->state != CONN_CLOSED);
        if (is_unit)
            load_count_unfinished(load, conn->start_ns, 1);
    }
    if (load->options->rate == 0 || load->mode->is_stream)
        return;
    uint64_t ns = load->window_end_ns - load->schedule_begin_ns;
    uint64_t due = ns * load->options->rate / 1000000000u + 1;
    if (due > load->schedule_next)
        load_count_unfinished(load, due_ns(load, load->schedule_next), due - load->schedule_next);
}

static void end_window(struct load *load)
{
    load->window_end_ns = lp_clock_ns();
    sample_refresh(&load->samples);
    load->own_cpu_ns = own_cpu_ns() - load->own_cpu_ns;
    load->phase = PHASE_END;
    if (!load->mode->is_idle) {
        load->samples.memory = sample_memory_now(&load->samples);
        count_unfinished(load);
        return;
    }
    load->phase = PHASE_ECHO;
    load->phase_end_ns = UINT64_MAX;
}

/* Idle's last phase: one echo over each connection that is left, not all at once. */
static void echo_step(struct load *load)
{
    load->now_ns = lp_clock_ns();
    while (load->echoes_busy < LOAD_OPENING_MAX && !lp_list_is_empty(&load->ready)) {
        load->echoes_busy++;
        begin_unit(load, first_ready(load), lp_clock_ns());
    }
    if (load->echoes_busy == 0)
        load->phase = PHASE_END;
}

/* All connections are open, or it is clear that they will not be. */
static bool opening_is_over(struct load *load)
{
    if (load->mode->is_one_unit_per_connection)
        return true;
    if (load->opening_best < load->open_count) {
        load->opening_best = load->open_count;
        load->opening_end_ns = load->now_ns + load->options->timeout_ns;
    }
    return load->open_count + load->given_up_count >= load->options->connections ||
           load->now_ns >= load->opening_end_ns;
}

/* A warm-up lasts until each place can resume, so that no full handshake is measured; a server that
 * gives no tickets does not make it last forever. */
static bool may_begin_window(const struct load *load)
{
    if (!load->options->resumes || !load->mode->is_one_unit_per_connection ||
        load->now_ns >= load->phase_end_ns + load->options->timeout_ns)
        return true;
    for (uint32_t i = 0; i < load->options->connections; i++)
        if (load->conns[i].session == NULL)
            return false;
    return true;
}

static void end_opening(struct load *load)
{
    if (!load->mode->is_one_unit_per_connection && load->connected == 0)
        load->phase = PHASE_END;
    else
        begin_warmup(load);
}

static void phase_step(struct load *load)
{
    bool is_over = load->now_ns >= load->phase_end_ns || load->is_interrupted;

    switch (load->phase) {
    case PHASE_OPENING:
        if (load->is_interrupted)
            load->phase = PHASE_END;
        else if (opening_is_over(load))
            end_opening(load);
        break;
    case PHASE_WARMUP:
        if (load->is_interrupted)
            load->phase = PHASE_END;
        else if (is_over && may_begin_window(load))
            begin_window(load);
        break;
    case PHASE_WINDOW:
        if (is_over)
            end_window(load);
        else if (load->now_ns >= load->next_refresh_ns) {
            load->next_refresh_ns = load->now_ns + REFRESH_NS;
            sample_refresh(&load->samples);
        }
        break;
    case PHASE_ECHO:
        echo_step(load);
        break;
    case PHASE_END:
        break;
    }
}

/* ---- The loop ---- */

static void on_signal(struct load *load)
{
    struct signalfd_siginfo info;

    if (read(load->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        load->is_interrupted = true;
}

static void wait_for_events(struct load *load, uint64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t now_ns = lp_clock_ns();
    uint64_t wait_ns = until_ns > now_ns && load->again == NULL ? until_ns - now_ns : 0;
    struct timespec timeout = {.tv_sec = (time_t)(wait_ns / 1000000000u),
                               .tv_nsec = (long)(wait_ns % 1000000000u)};

    int count = epoll_pwait2(load->epoll, events, EVENTS_MAX, &timeout, NULL);
    load->now_ns = lp_clock_ns();
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == SIGNAL_EVENT) {
            on_signal(load);
            continue;
        }
        struct conn *conn = &load->conns[(uint32_t)events[i].data.u64];
        if (conn->generation == (uint32_t)(events[i].data.u64 >> 32))
            conn_on_event(load, conn, events[i].events);
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void run_phases(struct load *load)
{
    load->now_ns = lp_clock_ns();
    load->opening_end_ns = load->now_ns + load->options->timeout_ns;
    for (;;) {
        phase_step(load);
        if (load->phase == PHASE_END)
            return;
        uint64_t until_ns = least(schedule_step(load), load->next_tick_ns);
        if (load->phase != PHASE_OPENING || !load->mode->is_one_unit_per_connection)
            until_ns = least(until_ns, conn_open_waiting(load, load->now_ns));
        bool has_end = load->phase == PHASE_WARMUP || load->phase == PHASE_WINDOW;
        if (has_end && load->phase_end_ns > load->now_ns)
            until_ns = least(until_ns, load->phase_end_ns);
        wait_for_events(load, until_ns);
        conn_go_on(load);
        tick_step(load);
    }
}

static bool init_epoll(struct load *load, struct lp_err *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = SIGNAL_EVENT};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (load->epoll < 0 || load->signals < 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, load->signals, &event) != 0)
        return lp_err_set(err, LP_ERR_SYSTEM, "cannot wait for events: %s", strerror(errno));
    /* The kernel may otherwise let us sleep 50 us longer than a unit's moment. */
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    return true;
}

static bool explain_nothing(const struct load *load, struct lp_err *err)
{
    if (load->is_interrupted)
        return lp_err_set(err, LP_ERR_SYSTEM, "ended by a signal before the window began");
    return lp_err_set(err, LP_ERR_SYSTEM, "%s: no connection came about (%s%s%s)",
                      load->options->to_text, load_error_word(load->last_error),
                      load->last_errno != 0 ? ": " : "",
                      load->last_errno != 0 ? strerror(load->last_errno) : "");
}

bool load_run(struct load *load, struct lp_err *err)
{
    if (!init_epoll(load, err))
        return false;
    load->samples.memory_before = sample_memory_now(&load->samples);
    run_phases(load);
    bool is_measured = load->window_end_ns > 0 && load->connected > 0;
    if (is_measured)
        return true;
    return explain_nothing(load, err);
}
