/* Every deadline of a stream. Only the side that is waited for can time out. Timers are lazy:
 * activity stores a time, the timer fires at the earliest deadline that was possible, and looks
 * again. Start at stream_on_front_timer(). */
#include <errno.h>
#include <string.h>

#include "lb/proxy/back.h"

#define NEVER UINT64_MAX

static uint64_t whole_ms(const struct worker *worker, uint32_t low_ms)
{
    return lp_clock_whole_ms(worker->loop.now_ms, low_ms);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t after(const struct worker *worker, uint32_t since_ms, uint32_t wait_ms)
{
    return wait_ms == LP_OFF ? NEVER : whole_ms(worker, since_ms) + wait_ms;
}

static uint32_t last_activity(const struct worker *worker, const struct stream *stream)
{
    uint32_t now_ms = (uint32_t)worker->loop.now_ms;
    uint32_t front_ms = stream->session->since_ms, back_ms = stream->back->since_ms;

    return now_ms - front_ms < now_ms - back_ms ? front_ms : back_ms;
}

static bool body_size_is_known(const struct stream *stream)
{
    return stream->down.body == HTTP1_BODY_LENGTH && stream->class == CLASS_HTTP;
}

/* --- what is due on the client's side --- */

static bool waits_for_request_body(const struct stream *stream)
{
    const struct conn *front = &stream->session->conn;

    bool is_awaited =
        !stream_has(stream, STREAM_RESPONSE_BEGUN) || stream_has(stream, STREAM_DOWN_DONE);

    return stream->state == STREAM_EXCHANGE && !stream_has(stream, STREAM_UP_DONE) && is_awaited &&
           !stream_has(stream, STREAM_DISCARDS) &&
           (front->flags & (CONN_RECV_ARMED | CONN_STARVED)) != 0;
}

static uint64_t idle_due(const struct worker *worker, const struct stream *stream)
{
    bool is_idle_bound =
        stream->state == STREAM_TUNNEL ||
        (stream->state == STREAM_EXCHANGE && stream_has(stream, STREAM_RESPONSE_BEGUN) &&
         !stream_has(stream, STREAM_DOWN_DONE) && !body_size_is_known(stream));

    if (!is_idle_bound || stream->back == NULL)
        return NEVER;
    return after(worker, last_activity(worker, stream), policy_ms(&stream->policy->stream_idle_ms));
}

/* Nothing came from either side, and nothing is on its way to one. */
static uint64_t silent_due(const struct worker *worker, const struct stream *stream,
                           uint64_t since_ms, uint32_t wait_ms)
{
    uint64_t last_ms = whole_ms(worker, last_activity(worker, stream));

    if (!conn_has_sent_all(&stream->session->conn) || !conn_has_sent_all(&stream->back->conn))
        last_ms = worker->loop.now_ms;
    return (last_ms > since_ms ? last_ms : since_ms) + wait_ms;
}

static uint64_t half_closed_due(const struct worker *worker, const struct stream *stream)
{
    if (stream->half_closed_ms == 0 || stream->back == NULL)
        return NEVER;
    return silent_due(worker, stream, whole_ms(worker, stream->half_closed_ms),
                      policy_ms(&stream->policy->half_closed_ms));
}

/* A tcp stream whose turn has come ends when it is silent for so long. */
#define TCP_SILENT_MS 1000u

/* A turn that waits between two fragments for the end of their message takes this place then. One
 * whose Close is out waits so long for the client's. */
static uint64_t turn_due(const struct worker *worker, const struct stream *stream)
{
    const struct ws_tracker *down = &stream->down.as.frames;
    bool waits_for_message = stream->closing == CLOSING_WANTED && ws_tracker_is_at_boundary(down) &&
                             ws_tracker_is_in_message(down) &&
                             conn_can_send(&stream->session->conn);

    if (stream->class == CLASS_TCP && stream->closing == CLOSING_WANTED)
        return silent_due(worker, stream, 0, TCP_SILENT_MS);
    if (stream->state != STREAM_TUNNEL || stream->class != CLASS_WEBSOCKET ||
        (stream->closing != CLOSING_SENT && !waits_for_message))
        return NEVER;
    return after(worker, stream->closing_ms, policy_ms(&stream->policy->linger_ms));
}

/* The end of a removed server's drain. Who had no turn before it (it was moved by a reload) has it
 * now, and the time to answer that any turn has. Whose turn found it already ending (one side had
 * said Close) has no more of one than that. */
static uint64_t cut_due(const struct worker *worker, const struct stream *stream)
{
    bool ends_itself = stream->close_at_ms == 0 && stream->half_closed_ms != 0;

    if (stream->closing_reason != END_SERVER_REMOVED || (stream->close_at_ms == 0 && !ends_itself))
        return NEVER;
    uint64_t deadline_ms = closing_deadline_ms(stream);
    if (ends_itself) {
        uint64_t own_ms =
            after(worker, stream->half_closed_ms, policy_ms(&stream->policy->linger_ms));
        return own_ms > deadline_ms ? own_ms : deadline_ms;
    }
    if (stream->closing == CLOSING_NONE || stream->close_at_ms < deadline_ms)
        return deadline_ms;
    return stream->close_at_ms + policy_ms(&stream->policy->linger_ms);
}

static uint64_t front_due(const struct worker *worker, const struct stream *stream)
{
    const struct policy *policy = stream->policy;
    uint64_t due_ms = stream_discard_due(worker, stream);

    if (policy == NULL)
        return due_ms;
    if (waits_for_request_body(stream))
        due_ms = after(worker, stream->session->since_ms, policy_ms(&policy->body_ms));
    if (stream_has(stream, STREAM_CLIENT_DEAF) && !conn_is_eof(&stream->session->conn))
        due_ms = after(worker, stream->session->since_ms, policy_ms(&policy->linger_ms));
    due_ms = earlier(due_ms, idle_due(worker, stream));
    due_ms = earlier(due_ms, half_closed_due(worker, stream));
    if (stream->closing == CLOSING_NONE && stream->close_at_ms != 0)
        due_ms = earlier(due_ms, stream->close_at_ms);
    due_ms = earlier(due_ms, turn_due(worker, stream));
    return earlier(due_ms, cut_due(worker, stream));
}

static bool is_due(const struct worker *worker, uint64_t due_ms)
{
    return worker->loop.now_ms >= due_ms;
}

static void act_on_front(struct worker *worker, struct stream *stream)
{
    const struct policy *policy = stream->policy;

    if (is_due(worker, stream_discard_due(worker, stream))) {
        stream_step(worker, stream);
    } else if (waits_for_request_body(stream) &&
               is_due(worker,
                      after(worker, stream->session->since_ms, policy_ms(&policy->body_ms)))) {
        stream->flags &= ~(uint32_t)STREAM_CLIENT_KEEPS;
        if (stream_has(stream, STREAM_DOWN_DONE)) /* it has its answer */
            stream_end(worker, stream, END_BODY_TIMEOUT, FRONT_POLITE);
        else
            stream_fail(worker, stream, 408, END_BODY_TIMEOUT);
    } else if (stream_has(stream, STREAM_CLIENT_DEAF) &&
               is_due(worker,
                      after(worker, stream->session->since_ms, policy_ms(&policy->linger_ms)))) {
        stream_end(worker, stream, END_CLIENT_CLOSED,
                   stream->class == CLASS_TCP ? FRONT_RESET : FRONT_ABORT);
    } else if (stream->closing == CLOSING_SENT && is_due(worker, turn_due(worker, stream))) {
        closing_finish(worker, stream);
    } else if (is_due(worker, turn_due(worker, stream)) && stream->class == CLASS_TCP) {
        stream_end(worker, stream, (enum end_reason)stream->closing_reason, FRONT_POLITE);
    } else if (is_due(worker, turn_due(worker, stream))) {
        tunnel_step(worker, stream);
    } else if ((stream->closing != CLOSING_NONE || stream->close_at_ms == 0) &&
               is_due(worker, cut_due(worker, stream))) {
        stream_end(worker, stream, END_DRAIN_DEADLINE, FRONT_RESET);
    } else if (is_due(worker, half_closed_due(worker, stream))) {
        enum end_reason reason =
            stream->closing_reason != 0 ? (enum end_reason)stream->closing_reason : END_HALF_CLOSED;
        stream_end(worker, stream, reason, FRONT_CUT);
    } else if (stream->closing == CLOSING_NONE && stream->close_at_ms != 0 &&
               is_due(worker, earlier(stream->close_at_ms, cut_due(worker, stream)))) {
        stream->close_at_ms = worker->loop.now_ms;
        closing_begin(worker, stream);
    } else if (is_due(worker, idle_due(worker, stream))) {
        bool is_tunnel = stream->state == STREAM_TUNNEL;
        stream_end(worker, stream, END_STREAM_IDLE, is_tunnel ? FRONT_CUT : FRONT_RESET);
    }
}

static uint32_t stalled_ms_max(const struct worker *worker, const struct stream *stream)
{
    return stream->policy != NULL ? policy_ms(&stream->policy->stalled_ms)
                                  : worker_config(worker)->timeouts.stalled;
}

/* When a peer that has bytes of ours to take is looked at again; 0: it took none for too long. */
static uint64_t stalled_due(struct worker *worker, struct stream *stream, struct conn *conn)
{
    if (conn_has_sent_all(conn))
        return NEVER;
    uint32_t stalled_ms = stalled_ms_max(worker, stream);
    return conn_takes_bytes(&worker->loop, conn, stalled_ms)
               ? worker->loop.now_ms + stalled_ms / 4 + 1
               : 0;
}

void stream_on_front_timer(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;
    uint64_t look_ms = stalled_due(worker, stream, front);

    if (look_ms == 0) {
        stream_end(worker, stream, END_SLOW_CLIENT, FRONT_RESET);
        return;
    }
    if (is_due(worker, front_due(worker, stream)))
        act_on_front(worker, stream);
    if (stream->state == STREAM_ENDED)
        return;
    look_ms = earlier(look_ms, front_due(worker, stream));
    /* A body that is held up now may be waited for again later. */
    if (stream->state == STREAM_EXCHANGE && !stream_has(stream, STREAM_UP_DONE))
        look_ms = earlier(look_ms, worker->loop.now_ms + policy_ms(&stream->policy->body_ms));
    if (look_ms != NEVER)
        conn_set_timer(&worker->loop, front, look_ms);
}

/* --- what is due on the server's side --- */

static bool waits_for_response(const struct stream *stream)
{
    if (stream->state != STREAM_EXCHANGE || stream->back == NULL ||
        stream_has(stream, STREAM_DOWN_DONE))
        return false;
    if (!stream_has(stream, STREAM_RESPONSE_BEGUN))
        return stream_waits_for_head(stream);
    return body_size_is_known(stream) &&
           (stream->back->conn.flags & (CONN_RECV_ARMED | CONN_STARVED)) != 0;
}

static uint64_t back_due(const struct worker *worker, const struct stream *stream)
{
    const struct policy *policy = stream->policy;

    if (stream->state == STREAM_CONNECT)
        return after(worker, stream->back->since_ms, policy_ms(&policy->connect_ms));
    if (stream_has(stream, STREAM_SERVER_DEAF))
        return conn_is_eof(&stream->back->conn)
                   ? NEVER /* it has said all, the client is waited for */
                   : after(worker, stream->back->since_ms, policy_ms(&policy->linger_ms));
    if (waits_for_response(stream))
        return after(worker, stream->back->since_ms, policy_ms(&policy->response_ms));
    return NEVER;
}

static void act_on_back(struct worker *worker, struct stream *stream)
{
    if (stream->state == STREAM_CONNECT) {
        struct back *back = stream->back;
        stream->back = NULL;
        back->stream = NULL;
        conn_abort(&worker->loop, &back->conn);
        stream_on_connect_failed(worker, stream, ETIMEDOUT);
        return;
    }
    if (stream->state == STREAM_TUNNEL)
        stream_end(worker, stream, END_SERVER_CLOSED,
                   stream->class == CLASS_TCP ? FRONT_RESET : FRONT_POLITE);
    else if (stream_has(stream, STREAM_SERVER_DEAF))
        stream_fail(worker, stream, 502, END_SERVER_CLOSED);
    else
        stream_fail(worker, stream, 504, END_RESPONSE_TIMEOUT);
}

void stream_on_back_timer(struct worker *worker, struct stream *stream)
{
    struct conn *back = &stream->back->conn;
    uint64_t look_ms = stalled_due(worker, stream, back);

    if (look_ms == 0 && stream_has(stream, STREAM_DOWN_DONE)) {
        stream->flags |= STREAM_SERVER_DEAF; /* it has answered, and takes no more */
        stream_step(worker, stream);
        return;
    }
    if (look_ms == 0) {
        stream_fail(worker, stream, 504, END_SLOW_SERVER);
        return;
    }
    if (is_due(worker, back_due(worker, stream))) {
        act_on_back(worker, stream);
        return;
    }
    look_ms = earlier(look_ms, back_due(worker, stream));
    if (stream->state == STREAM_EXCHANGE)
        look_ms = earlier(look_ms, worker->loop.now_ms + policy_ms(&stream->policy->response_ms));
    if (look_ms != NEVER)
        conn_set_timer(&worker->loop, back, look_ms);
}

void stream_arm_timers(struct worker *worker, struct stream *stream)
{
    uint64_t due_ms = front_due(worker, stream);

    if (due_ms != NEVER)
        conn_set_timer(&worker->loop, &stream->session->conn, due_ms);
    if (stream->back == NULL)
        return;
    due_ms = back_due(worker, stream);
    if (due_ms != NEVER)
        conn_set_timer(&worker->loop, &stream->back->conn, due_ms);
}

static void look_for_stall(struct worker *worker, struct stream *stream, struct conn *conn)
{
    if (!conn_has_sent_all(conn))
        conn_set_timer(&worker->loop, conn,
                       worker->loop.now_ms + stalled_ms_max(worker, stream) / 4 + 1);
}

void stream_look_again(struct worker *worker, struct stream *stream)
{
    struct loop *loop = &worker->loop;
    bool is_exchange = stream->state == STREAM_EXCHANGE;
    struct conn *front = &stream->session->conn;

    stream_arm_timers(worker, stream);
    look_for_stall(worker, stream, front);
    if (is_exchange && !stream_has(stream, STREAM_UP_DONE))
        conn_set_timer(loop, front, loop->now_ms + policy_ms(&stream->policy->body_ms));
    if (stream->back == NULL)
        return;
    look_for_stall(worker, stream, &stream->back->conn);
    if (is_exchange)
        conn_set_timer(loop, &stream->back->conn,
                       loop->now_ms + policy_ms(&stream->policy->response_ms));
}
