/* One thread's loop. Start at loop_turn(): its body is the order of everything. */
#include "lb/net/loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lb/net/secure.h"

/* So many completions are handled before new operations go to the kernel. */
#define BATCH_EVENTS_MAX 512u
#define TIMERS_MAX       512u
#define WAIT_MS_MAX      60000u
#define TRIM_MS          250u

/* Catching up ends when nothing has come for a moment in which a peer nearby can answer, and then
 * timers fire whatever waits. */
#define CATCH_UP_TURNS  64u
#define CATCH_UP_MS     200u
#define CATCH_UP_GAP_MS 10u

static void init_space(struct loop *loop, unsigned space, struct loop_space holds)
{
    lp_pool_init(&loop->spaces[space], holds.object_size);
    loop->ops[space] = holds.ops;
}

bool loop_init(struct loop *loop, const struct uring_settings *settings, struct loop_space front,
               struct loop_space back, struct lp_err *err)
{
    memset(loop, 0, sizeof(*loop));
    loop->now_ms = lp_clock_ms();
    lp_wheel_init(&loop->wheel, loop->now_ms);
    init_space(loop, LOOP_SPACE_FRONT, front);
    init_space(loop, LOOP_SPACE_BACK, back);
    lp_list_init(&loop->stalled);
    loop->large_bytes = LP_BUF_LARGE_BYTES;
    lp_pool_init(&loop->traffic, sizeof(struct conn_traffic));
    lp_pool_init(&loop->secures, sizeof(struct conn_tls));
    loop->held_timer.fire = secure_send_held;
    lp_timer_init(&loop->held_timer.timer);
    return uring_create(&loop->uring, settings, err);
}

void loop_deinit(struct loop *loop)
{
    uring_destroy(loop->uring);
    lp_pool_deinit(&loop->spaces[LOOP_SPACE_FRONT]);
    lp_pool_deinit(&loop->spaces[LOOP_SPACE_BACK]);
    lp_pool_deinit(&loop->traffic);
    lp_pool_deinit(&loop->secures);
    lp_free(loop->starved.names);
    lp_free(loop->ended.names);
    lp_free(loop->handshakes.names);
    lp_free(loop->held.names);
}

/* --- queues of connections --- */

static void make_room(struct loop_queue *queue)
{
    uint32_t room = queue->room == 0 ? 64 : queue->room * 2;
    struct uring_name *names = lp_alloc(room * sizeof(*names));

    for (uint32_t i = 0; i < queue->count; i++)
        names[i] = queue->names[(queue->first + i) & (queue->room - 1)];
    lp_free(queue->names);
    *queue = (struct loop_queue){.names = names, .count = queue->count, .room = room};
}

void loop_queue_push(struct loop_queue *queue, struct uring_name name)
{
    if (queue->count == queue->room)
        make_room(queue);
    queue->names[(queue->first + queue->count++) & (queue->room - 1)] = name;
}

struct conn *loop_queue_pop(struct loop *loop, struct loop_queue *queue)
{
    struct uring_name name = queue->names[queue->first];

    queue->first = (queue->first + 1) & (queue->room - 1);
    queue->count--;
    return lp_pool_find(&loop->spaces[name.space], name.at);
}

bool loop_add_source(struct loop *loop, struct loop_source *source)
{
    for (uint32_t slot = 0; slot < LOOP_SOURCES_MAX; slot++) {
        if (loop->sources[slot] != NULL)
            continue;
        loop->sources_generation =
            (loop->sources_generation + 1) & ((1u << LP_POOL_GENERATION_BITS) - 1);
        source->name =
            (struct uring_name){.space = LOOP_SPACE_SOURCE,
                                .at = {.slot = slot, .generation = loop->sources_generation}};
        loop->sources[slot] = source;
        return true;
    }
    return false;
}

void loop_remove_source(struct loop *loop, struct loop_source *source)
{
    LP_ASSERT(source->ops_inflight == 0);
    loop->sources[source->name.at.slot] = NULL;
}

void loop_move_source(struct loop *loop, struct loop_source *from, struct loop_source *to)
{
    *to = *from;
    from->ops_inflight = 0;
    loop->sources[to->name.at.slot] = to;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t due_ms)
{
    timer->timer.kind = LOOP_TIMER_OTHER;
    lp_timer_set(&loop->wheel, &timer->timer, due_ms);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    lp_timer_stop(&loop->wheel, &timer->timer);
}

/* A completion whose object is gone may still carry a buffer or a descriptor. */
static void drop_stale(struct loop *loop, const struct uring_event *event)
{
    loop->stale_events++;
    if (event->buffer != URING_NO_BUFFER)
        uring_buffer_put(loop->uring, event->buffer);
    if (event->op == URING_ACCEPT && event->result >= 0)
        close(event->result);
    lp_log(LP_LOG_ERROR, "a completion of operation %d came for an object that is gone",
           (int)event->op);
}

static void dispatch(struct loop *loop, const struct uring_event *event)
{
    if (event->name.space == LOOP_SPACE_SOURCE) {
        struct loop_source *source =
            event->name.at.slot < LOOP_SOURCES_MAX ? loop->sources[event->name.at.slot] : NULL;
        if (source == NULL || source->name.at.generation != event->name.at.generation) {
            drop_stale(loop, event);
            return;
        }
        if (!event->has_more)
            source->ops_inflight--;
        source->on_event(loop, source, event);
        return;
    }
    struct conn *conn = lp_pool_find(&loop->spaces[event->name.space], event->name.at);
    if (conn == NULL)
        drop_stale(loop, event);
    else
        conn_on_event(loop, conn, event);
}

static void fire(struct lp_timer *timer, void *context)
{
    struct loop *loop = context;

    if (timer->kind == LOOP_TIMER_CONN) {
        conn_on_timer(loop, lp_container_of(timer, struct conn, timer));
    } else {
        struct loop_timer *other = lp_container_of(timer, struct loop_timer, timer);
        other->fire(loop, other);
    }
}

/* Starved receives go on as far as there are buffers; the rest keep their places. */
static void rearm_starved(struct loop *loop)
{
    if (loop->starved.count == 0)
        return;
    uint32_t ready = uring_buffers_ready(loop->uring, URING_SMALL);
    while (ready > 0 && loop->starved.count > 0) {
        struct conn *conn = loop_queue_pop(loop, &loop->starved);
        if (conn != NULL && (conn->flags & CONN_STARVED) != 0) {
            conn_rearm_starved(loop, conn);
            ready--;
        }
    }
}

static void watch_memory(struct loop *loop)
{
    size_t held = uring_held(loop->uring);

    loop->is_tight = held > uring_memory_max(loop->uring) / 2;
    if (held > 0 && loop->on_held != NULL)
        loop->on_held(loop);
}

/* The only place where a connection's descriptor is closed and its memory goes back. */
static void release_ended(struct loop *loop)
{
    while (loop->ended.count > 0) {
        struct conn *conn = loop_queue_pop(loop, &loop->ended);
        LP_ASSERT(conn != NULL && conn->state == CONN_CLOSING && conn->ops_inflight == 0);
        close(conn->fd);
        if ((conn->flags & CONN_TLS) != 0)
            secure_release(loop, conn);
        loop->ops[conn->space]->on_released(loop, conn);
    }
}

static uint32_t wait_ms(const struct loop *loop, uint32_t wait_ms_max)
{
    uint32_t look_ms = loop->starved.count > 0 ? LP_STARVED_MS : LP_STALLED_MS;
    bool is_watching = loop->starved.count > 0 || uring_held(loop->uring) > 0;
    uint32_t limit = is_watching && wait_ms_max > look_ms ? look_ms : wait_ms_max;

    if (limit > TRIM_MS && (uring_may_trim(loop->uring) || loop->tls_may_trim))
        limit = TRIM_MS;
    if (loop->ended.count > 0 || loop->handshakes.count > 0)
        return 0; /* after_batch() ended some; handshakes wait for their turn */
    if (loop->catch_up_until_ms != 0)
        return limit < CATCH_UP_GAP_MS ? limit : CATCH_UP_GAP_MS;
    return lp_wheel_wait_ms(&loop->wheel, loop->now_ms, limit);
}

/* Waits and takes the time; gives the longest wait of which "nothing came" can be said. A thread
 * that wakes late was stopped, frozen, not scheduled, or busy for long: what has come meanwhile
 * came in time, so it is looked at before any timer fires. One whose wait was interrupted may have
 * seen nothing of what is there. */
static uint32_t wait_for_events(struct loop *loop, uint32_t wait_ms_max)
{
    uint32_t planned_ms = wait_ms(loop, wait_ms_max);
    enum uring_wait outcome = uring_wait(loop->uring, planned_ms);
    uint64_t latest_ms = loop->now_ms + planned_ms + LP_WHEEL_TICK_MS;

    if (outcome == URING_BROKEN) {
        lp_log(LP_LOG_ERROR, "io_uring fails: %s", strerror(errno));
        LP_ASSERT(!"io_uring works");
    }
    loop->now_ms = lp_clock_ms();
    if (!LP_UNLIKELY(loop->now_ms > latest_ms || outcome == URING_INTERRUPTED))
        return planned_ms;
    if (loop->now_ms > latest_ms)
        loop->away_ms += loop->now_ms - latest_ms;
    if (loop->catch_up_until_ms == 0) {
        loop->catch_up_until_ms = loop->now_ms + CATCH_UP_MS;
        loop->catch_up_turns = CATCH_UP_TURNS;
    }
    return 0;
}

static bool may_fire_timers(struct loop *loop, bool is_quiet)
{
    if (!LP_UNLIKELY(loop->catch_up_until_ms != 0))
        return true;
    if (is_quiet || --loop->catch_up_turns == 0 || loop->now_ms >= loop->catch_up_until_ms)
        loop->catch_up_until_ms = 0;
    return loop->catch_up_until_ms == 0;
}

void loop_turn(struct loop *loop, uint32_t wait_ms_max)
{
    struct uring_event event;
    uint32_t count = 0;

    uint32_t waited_ms = wait_for_events(loop, wait_ms_max);
    while (count < BATCH_EVENTS_MAX && uring_next(loop->uring, &event)) {
        dispatch(loop, &event);
        count++;
    }
    if (may_fire_timers(loop, count == 0 && waited_ms > 0))
        lp_wheel_advance(&loop->wheel, loop->now_ms, TIMERS_MAX, fire, loop);
    watch_memory(loop);
    rearm_starved(loop);
    secure_turn(loop);
    release_ended(loop);
    if (loop->now_ms - loop->trimmed_ms >= TRIM_MS) {
        loop->trimmed_ms = loop->now_ms;
        uring_trim(loop->uring);
        loop->tls_may_trim = lp_tls_trim();
    }
    if (loop->after_batch != NULL)
        loop->after_batch(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->is_stopping)
        loop_turn(loop, WAIT_MS_MAX);
}

static void add_ops(void *object, void *context)
{
    *(uint64_t *)context += ((const struct conn *)object)->ops_inflight;
}

uint64_t loop_ops_inflight(const struct loop *loop)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < LOOP_SOURCES_MAX; i++)
        if (loop->sources[i] != NULL)
            count += loop->sources[i]->ops_inflight;
    for (uint32_t space = LOOP_SPACE_FRONT; space < LOOP_SPACES; space++)
        lp_pool_each(&loop->spaces[space], add_ops, &count);
    return count;
}
