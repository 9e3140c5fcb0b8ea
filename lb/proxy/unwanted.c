/* What is left of a request's body when its answer has come early and no server takes more of it.
 * It is read to its end and thrown away, so that a client which writes everything before it reads
 * gets its answer instead of a reset; but not for ever. */
#include "lb/proxy/back.h"

#define DISCARD_MS_MAX 30000u

/* Is it known where the body ends, and is it worth waiting for it? */
static bool can_discard(const struct stream *stream)
{
    bool has_frame = stream->up.body == HTTP1_BODY_LENGTH || stream->up.body == HTTP1_BODY_CHUNKED;

    return has_frame && stream->request != NULL && stream->end_reason != END_BODY_TIMEOUT &&
           stream->end_reason != END_BAD_REQUEST && stream->end_reason != END_HEAD_TOO_LARGE;
}

static enum body_outcome throw_away(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;
    enum body_outcome outcome = BODY_MORE;

    while (outcome == BODY_MORE && front->io->in.size > 0) {
        size_t used;
        outcome = body_step(&stream->up, front->io->in.data, front->io->in.size, &used, NULL);
        stream->up.bytes += used;
        conn_consume(&worker->loop, front, (uint32_t)used);
    }
    return outcome;
}

bool stream_discard_body(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;

    if (!can_discard(stream) || stream_has(stream, STREAM_DISCARD_OVER))
        return true;
    if (!stream_has(stream, STREAM_DISCARDS)) {
        stream->flags |= STREAM_DISCARDS;
        stream->request->discard_until_ms = worker->loop.now_ms + DISCARD_MS_MAX;
    }
    /* A client that stops here waits for our FIN. */
    bool has_answer = stream->state == STREAM_ANSWER || stream_has(stream, STREAM_DOWN_DONE);
    if (has_answer && !stream_has(stream, STREAM_CLIENT_KEEPS) && conn_has_sent_all(front))
        conn_shut(&worker->loop, front);
    enum body_outcome outcome = throw_away(worker, stream);
    if (outcome == BODY_DONE)
        stream->flags |= STREAM_UP_DONE;
    uint64_t due_ms = stream_discard_due(worker, stream);
    if (outcome != BODY_MORE || conn_is_eof(front) || worker->loop.now_ms >= due_ms) {
        stream->flags |= STREAM_DISCARD_OVER;
        return true;
    }
    stream_want(worker, front, &stream->session->since_ms);
    conn_set_timer(&worker->loop, front, due_ms);
    return false;
}

uint64_t stream_discard_due(const struct worker *worker, const struct stream *stream)
{
    const struct lp_cfg_timeouts *timeouts = session_timeouts(worker, stream->session);
    uint32_t body_ms =
        stream->policy != NULL ? policy_ms(&stream->policy->body_ms) : timeouts->body;
    /* A client that waits for 100 may have no mind to send anything now. */
    bool may_be_silent = stream_has(stream, STREAM_AWAITS_100) && stream->up.bytes == 0;
    uint64_t silent_ms = may_be_silent ? timeouts->linger : body_ms;

    if (!stream_has(stream, STREAM_DISCARDS) ||
        (stream->flags & (STREAM_UP_DONE | STREAM_DISCARD_OVER)) != 0)
        return UINT64_MAX;
    uint64_t due_ms = lp_clock_whole_ms(worker->loop.now_ms, stream->session->since_ms) + silent_ms;
    return due_ms < stream->request->discard_until_ms ? due_ms : stream->request->discard_until_ms;
}
