/* When servers are checked and what the results mean: unknown, up, down. */
#include "lb/health/check.h"

#include <string.h>

#include "lb/health/probe.h"

#define IN_FLIGHT_MAX   256u
#define FIRST_SPREAD_MS 1000u

static const char *type_word(enum lp_check_type type)
{
    static const char *const words[] = {[LP_CHECK_TCP] = "tcp",
                                        [LP_CHECK_HTTP] = "http",
                                        [LP_CHECK_WEBSOCKET] = "websocket",
                                        [LP_CHECK_OFF] = "off"};
    return words[type];
}

/* The interval with a tenth of jitter either way, counted from the last start. */
static void plan_next(struct process *process, struct check *check)
{
    uint32_t interval_ms = check->interval_ms = check->config->interval_ms;
    uint64_t jittered_ms =
        interval_ms - interval_ms / 10 + lp_random_fast() % (interval_ms / 5 + 1);
    uint64_t due_ms = check->began_ms + jittered_ms;

    if (due_ms <= process->loop.now_ms)
        due_ms = process->loop.now_ms + 1;
    loop_timer_set(&process->loop, &check->timer, due_ms);
}

static void set_health(struct check *check, enum server_health health, const char *failure)
{
    struct server *server = check->server;

    server_set_health(server, health);
    check->streak = 0;
    if (health == SERVER_UP)
        lp_log(LP_LOG_INFO, "server %s of pool %s is up", server->name, server->pool->name);
    else
        lp_log(LP_LOG_WARNING, "server %s of pool %s is down: %s check: %s", server->name,
               server->pool->name, type_word(check->type), failure);
}

/* The first result alone decides; afterwards `rise` or `fall` results in a row. */
static void judge(struct process *process, struct check *check, const char *failure)
{
    enum server_health health = server_health(check->server);
    bool is_good = failure == NULL;

    if (!check->has_result) {
        check->has_result = true;
        process->checks_pending.without_result--;
        set_health(check, is_good ? SERVER_UP : SERVER_DOWN, failure);
        process_accept_when_settled(process);
        return;
    }
    if (is_good == (health == SERVER_UP)) {
        check->streak = 0;
        return;
    }
    check->streak++;
    if (is_good && check->streak >= check->config->rise)
        set_health(check, SERVER_UP, NULL);
    else if (!is_good && check->streak >= check->config->fall)
        set_health(check, SERVER_DOWN, failure);
}

void check_done(struct process *process, struct check *check, const char *failure)
{
    process->checks_pending.in_flight--;
    judge(process, check, failure);
    plan_next(process, check);
}

void check_undecided(struct process *process, struct check *check)
{
    process->checks_pending.in_flight--;
    plan_next(process, check);
}

static void on_timer(struct loop *loop, struct loop_timer *timer)
{
    struct check *check = lp_container_of(timer, struct check, timer);
    struct process *process = process_of(loop);

    if (process->checks_pending.in_flight >= IN_FLIGHT_MAX) {
        loop_timer_set(loop, timer, loop->now_ms + LP_WHEEL_TICK_MS);
        return;
    }
    check->began_ms = loop->now_ms;
    check->type = check->config->type;
    /* What workers met since the last check counts as one failure. */
    if (check->has_result && atomic_exchange(&check->server->was_refused, false))
        judge(process, check, "workers could not connect");
    process->checks_pending.in_flight++;
    if (!probe_begin(process, check))
        check_undecided(process, check);
}

static void begin_check(struct process *process, struct server *server,
                        const struct lp_cfg_check *config, uint32_t index)
{
    struct check *check = lp_alloc(sizeof(*check));

    *check = (struct check){.server = server, .config = config, .timer = {.fire = on_timer}};
    lp_timer_init(&check->timer.timer);
    lp_list_push_back(&process->checks, &check->link);
    server->check = check;
    process->checks_pending.without_result++;
    if (index < IN_FLIGHT_MAX / 4)
        on_timer(&process->loop, &check->timer); /* at once */
    else
        loop_timer_set(&process->loop, &check->timer,
                       process->loop.now_ms + lp_random_fast() % FIRST_SPREAD_MS);
}

/* New settings are for the next probe, and for when that is. */
static void follow_config(struct process *process, struct check *check)
{
    if (check->probe != NULL)
        probe_follow(process, check);
    else if (check->began_ms != 0 && check->interval_ms != check->config->interval_ms)
        plan_next(process, check);
}

static void end_check(struct process *process, struct check *check)
{
    if (check->probe != NULL)
        process->checks_pending.in_flight--;
    probe_cancel(process, check);
    if (!check->has_result)
        process->checks_pending.without_result--;
    loop_timer_stop(&process->loop, &check->timer);
    check->server->check = NULL;
    lp_list_remove(&check->link);
    lp_free(check);
}

void checks_update(struct process *process, const struct snapshot *snapshot)
{
    uint32_t begun_count = 0;

    LP_LIST_EACH (link, &process->checks)
        lp_container_of(link, struct check, link)->config = NULL;
    for (uint32_t i = 0; i < snapshot->config->pools_count; i++) {
        const struct pool_view *pool = &snapshot->pools[i];
        const struct lp_cfg_check *config = &pool->config->check;
        for (uint32_t s = 0; s < pool->config->servers_count; s++) {
            struct server *server = pool->servers[s];
            if (server->check != NULL)
                server->check->config = config->type == LP_CHECK_OFF ? NULL : config;
            else if (config->type != LP_CHECK_OFF)
                begin_check(process, server, config, begun_count++);
            else
                server_set_health(server, SERVER_UNKNOWN);
        }
    }
    LP_LIST_EACH (link, &process->checks) {
        struct check *check = lp_container_of(link, struct check, link);
        if (check->config == NULL) {
            server_set_health(check->server, SERVER_UNKNOWN);
            end_check(process, check);
        } else {
            follow_config(process, check);
        }
    }
}

void checks_stop(struct process *process)
{
    while (!lp_list_is_empty(&process->checks))
        end_check(process, lp_container_of(process->checks.next, struct check, link));
}
