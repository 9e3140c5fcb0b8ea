/* Planned ends: a drain of the process or of a removed server gives each long-lived stream its turn
 * and ends it in its own language. When a turn is, what is said, and how long anybody waits is
 * decided here. */
#include <string.h>

#include "lb/proxy/back.h"

/* --- turns --- */

struct window {
    uint64_t begins_ms, ends_ms;
    uint16_t close_code;
    enum end_reason reason;
};

static struct window window_of_process(const struct worker *worker)
{
    return (struct window){.begins_ms = worker->shared->spread_begins_ms,
                           .ends_ms = worker->shared->spread_ends_ms,
                           .close_code = worker->shared->drain_close_code,
                           .reason = END_DRAIN};
}

static uint64_t drain_began(const struct server *server)
{
    return atomic_load_explicit(&server->drain_began_ms, memory_order_relaxed);
}

static struct window window_of_server(const struct server *server)
{
    const struct pool *pool = server->pool;
    uint64_t length_ms = (uint64_t)policy_ms(&pool->drain_deadline_ms) *
                         policy_ms(&pool->drain_spread_percent) / 100;

    return (struct window){.begins_ms = drain_began(server),
                           .ends_ms = drain_began(server) + length_ms,
                           .close_code = (uint16_t)policy_ms(&pool->drain_close_code),
                           .reason = END_SERVER_REMOVED};
}

uint64_t closing_deadline_ms(const struct stream *stream)
{
    const struct server *server = stream->server;
    uint64_t began_ms = drain_began(server);

    return began_ms == 0 ? UINT64_MAX : began_ms + policy_ms(&server->pool->drain_deadline_ms);
}

/* Its server is listed again. */
static bool is_void(const struct stream *stream)
{
    return stream->closing == CLOSING_NONE && stream->closing_reason == END_SERVER_REMOVED &&
           drain_began(stream->server) == 0;
}

static void cancel(struct stream *stream)
{
    stream->close_at_ms = 0;
    stream->closing_reason = END_DONE;
}

static void plan(struct worker *worker, struct stream *stream, const struct window *window,
                 uint64_t at_ms)
{
    if (stream->closing != CLOSING_NONE ||
        (stream->close_at_ms != 0 && stream->close_at_ms <= at_ms))
        return;
    stream->close_at_ms = at_ms;
    stream->close_code = window->close_code;
    stream->closing_reason = (uint8_t)window->reason;
    conn_set_timer(&worker->loop, &stream->session->conn, at_ms);
}

/* Somewhere in what is left of the window. */
static void plan_one(struct worker *worker, struct stream *stream, const struct window *window)
{
    uint64_t now_ms = worker->loop.now_ms;
    uint64_t from_ms = now_ms > window->begins_ms ? now_ms : window->begins_ms;
    uint64_t at_ms = from_ms;

    if (window->ends_ms > from_ms)
        at_ms += lp_random_fast() % (window->ends_ms - from_ms);
    plan(worker, stream, window, at_ms);
}

void closing_plan(struct worker *worker, struct stream *stream)
{
    if (drain_began(stream->server) != 0) {
        struct window window = window_of_server(stream->server);
        plan_one(worker, stream, &window);
    }
    if (worker->drain_phase >= DRAIN_SPREADING) {
        struct window window = window_of_process(worker);
        plan_one(worker, stream, &window);
    }
}

/* Streams of some servers, evenly spread in random order: the i-th of n has its turn within the
 * i-th n-th of the window. */
struct turns {
    struct stream **streams;
    uint32_t count, room;
};

static void collect(struct turns *turns, struct stream *stream)
{
    if (turns->count == turns->room) {
        turns->room = turns->room == 0 ? 256 : turns->room * 2;
        turns->streams = lp_realloc(turns->streams, turns->room * sizeof(*turns->streams));
    }
    turns->streams[turns->count++] = stream;
}

static void collect_of_session(void *object, void *context)
{
    const struct session *session = object;

    if (session->stream != NULL && stream_has(session->stream, STREAM_LONG_LIVED))
        collect(context, session->stream);
}

static void spread(struct worker *worker, struct turns *turns, const struct window *window)
{
    uint64_t length_ms =
        window->ends_ms > window->begins_ms ? window->ends_ms - window->begins_ms : 0;

    for (uint32_t i = turns->count; i > 1; i--) {
        uint32_t other = (uint32_t)(lp_random_fast() % i);
        struct stream *swapped = turns->streams[i - 1];
        turns->streams[i - 1] = turns->streams[other];
        turns->streams[other] = swapped;
    }
    for (uint32_t i = 0; i < turns->count; i++) {
        uint64_t jitter = lp_random_fast() % 1024;
        uint64_t at_ms =
            window->begins_ms + (length_ms * (i * 1024ull + jitter)) / (turns->count * 1024ull);
        /* Timers fire up to a tick late: half a tick less keeps the whole even at both ends. */
        if (at_ms > window->begins_ms + LP_WHEEL_TICK_MS / 2)
            at_ms -= LP_WHEEL_TICK_MS / 2;
        plan(worker, turns->streams[i], window, at_ms);
    }
    lp_free(turns->streams);
}

/* Turns that have not come are planned anew when the window has changed: in what is left of it. */
void closing_plan_server(struct worker *worker, struct server *server)
{
    struct server_cell *cell = &server->cells[worker->index];
    struct window window = window_of_server(server);
    bool has_changed = cell->plan_ends_ms != window.ends_ms;
    struct turns turns = {0};

    cell->plan_ends_ms = window.ends_ms;
    if (window.begins_ms < worker->loop.now_ms)
        window.begins_ms = worker->loop.now_ms;
    LP_LIST_EACH (link, &cell->tunnels) {
        struct stream *stream = lp_container_of(link, struct stream, link);
        if (has_changed && stream->closing == CLOSING_NONE)
            cancel(stream);
        if (stream->close_at_ms == 0)
            collect(&turns, stream);
    }
    spread(worker, &turns, &window);
}

void closing_cancel_server(struct worker *worker, struct server *server)
{
    LP_LIST_EACH (link, &server->cells[worker->index].tunnels) {
        struct stream *stream = lp_container_of(link, struct stream, link);
        if (is_void(stream))
            cancel(stream);
    }
}

/* All of them, whether or not a snapshot lists their servers. */
void closing_plan_process(struct worker *worker)
{
    struct window window = window_of_process(worker);
    struct turns turns = {0};

    lp_pool_each(&worker->loop.spaces[LOOP_SPACE_FRONT], collect_of_session, &turns);
    spread(worker, &turns, &window);
}

/* --- a WebSocket's end --- */

static bool has_said_close(const struct stream *stream)
{
    return ws_tracker_has_close(&stream->up.as.frames) ||
           ws_tracker_has_close(&stream->down.as.frames);
}

static bool is_opaque(const struct stream *stream)
{
    return ws_tracker_is_opaque(&stream->down.as.frames) ||
           ws_tracker_is_opaque(&stream->up.as.frames);
}

/* A Close frame of ours, to one side. False when the system has no memory for it. */
static bool send_close(struct worker *worker, struct stream *stream, struct conn *to,
                       bool is_masked)
{
    uint32_t buffer = uring_buffer_take(worker->loop.uring, URING_TINY);

    if (buffer == URING_NO_BUFFER)
        return false;
    char *place = uring_buffer_base(worker->loop.uring, buffer) + LP_HEADROOM_BYTES;
    size_t size = ws_write_close(place, stream->close_code, LP_SLICE("going away"), is_masked);
    stream_send(worker, stream, to, (struct piece){place, (uint32_t)size, buffer});
    return true;
}

/* Where a frame ends; for a while only where a message ends as well. */
static bool may_close_here(const struct worker *worker, const struct stream *stream)
{
    const struct ws_tracker *down = &stream->down.as.frames;
    uint32_t waited_ms = (uint32_t)worker->loop.now_ms - stream->closing_ms;

    return ws_tracker_is_at_boundary(down) &&
           (!ws_tracker_is_in_message(down) || waited_ms >= policy_ms(&stream->policy->linger_ms));
}

void closing_try_close_frame(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;

    if ((front->flags & (CONN_SHUT | CONN_SHUT_WANTED)) != 0) {
        /* The server has said FIN, and so have we: there is nothing more to say to the client. */
        stream_end(worker, stream, (enum end_reason)stream->closing_reason, FRONT_POLITE);
        return;
    }
    if (has_said_close(stream) || is_opaque(stream)) {
        /* Nothing of ours may stand between their last frames; half_closed bounds the wait. */
        stream->closing = CLOSING_NONE;
        stream->close_at_ms = 0;
        if (is_opaque(stream)) {
            stream_end(worker, stream, (enum end_reason)stream->closing_reason, FRONT_POLITE);
            return;
        }
        if (stream->half_closed_ms == 0)
            stream->half_closed_ms = (uint32_t)worker->loop.now_ms | 1u;
        stream_arm_timers(worker, stream);
        return;
    }
    if (!may_close_here(worker, stream) || !conn_can_send(front) ||
        !send_close(worker, stream, front, false))
        return;
    stream->closing = CLOSING_SENT;
    stream->closing_ms = (uint32_t)worker->loop.now_ms;
    if (ws_tracker_is_speaking(&stream->up.as.frames))
        stream->flags |= STREAM_CLIENT_SPEAKS;
    stream_arm_timers(worker, stream);
}

/* The client's Close went to the server, or none came in time and the server hears ours. */
void closing_finish(struct worker *worker, struct stream *stream)
{
    struct conn *back = &stream->back->conn;
    const struct ws_tracker *up = &stream->up.as.frames;

    if (!ws_tracker_has_close(up) && ws_tracker_is_at_boundary(up) && conn_can_send(back) &&
        (back->flags & (CONN_SHUT | CONN_SHUT_WANTED)) == 0)
        (void)send_close(worker, stream, back, true);
    stream_end(worker, stream, (enum end_reason)stream->closing_reason, FRONT_POLITE);
}

/* --- the turn --- */

void closing_begin(struct worker *worker, struct stream *stream)
{
    if (is_void(stream)) {
        cancel(stream);
        return;
    }
    if (stream_has(stream, STREAM_DOWN_DONE)) {
        stream->close_at_ms = 0; /* it is ending by itself */
        return;
    }
    stream->closing = CLOSING_WANTED;
    stream->closing_ms = (uint32_t)worker->loop.now_ms;
    if (stream->class == CLASS_TCP) {
        stream_arm_timers(worker, stream); /* it ends when it is silent */
    } else if (stream->state == STREAM_TUNNEL) {
        closing_try_close_frame(worker, stream);
        if (stream->state == STREAM_TUNNEL)
            tunnel_step(worker, stream);
    } else {
        if (events_may_end(stream))
            closing_end_events(worker, stream);
        exchange_step(worker, stream);
    }
}
