/* After a 101, or at layer 4: opaque bytes both ways. For WebSockets a tracker reads along, so that
 * limpet knows where a frame of its own could stand; planned ends are in closing.c. */
#include "lb/proxy/back.h"

void tunnel_begin(struct worker *worker, struct stream *stream)
{
    stream_enter(stream, STREAM_TUNNEL);
    stream->up.bytes = 0;
    stream->down.bytes = 0;
    if (stream->class == CLASS_WEBSOCKET) {
        ws_tracker_init(&stream->up.as.frames, true);
        ws_tracker_init(&stream->down.as.frames, false);
    }
    stream->session->since_ms = stream->back->since_ms = (uint32_t)worker->loop.now_ms;
    stream_become_long_lived(worker, stream);
    stream_arm_timers(worker, stream);
    tunnel_step(worker, stream);
}

/* A send to it has failed, or it was reset. It may have said something before. */
static bool is_deaf(const struct stream *stream, const struct conn *side)
{
    return stream_has(stream,
                      side == &stream->back->conn ? STREAM_SERVER_DEAF : STREAM_CLIENT_DEAF);
}

static bool takes_more(const struct stream *stream, const struct conn *conn)
{
    return conn_can_send(conn) && (conn->flags & (CONN_SHUT | CONN_SHUT_WANTED)) == 0 &&
           !is_deaf(stream, conn);
}

/* The client has our Close: what the server still says is for nobody. */
static void discard(struct worker *worker, struct conn *from)
{
    while (from->io->in.size > 0)
        conn_consume(&worker->loop, from, from->io->in.size);
    conn_want(&worker->loop, from, 0);
}

/* All of data; or to the end of a frame, the next one when it stands at an end already. */
static uint32_t read_frames(struct ws_tracker *tracker, const char *data, uint32_t size,
                            bool ends_at_boundary)
{
    size_t first = 0;

    if (!ends_at_boundary)
        return (uint32_t)ws_tracker_step(tracker, data, size, false);
    if (ws_tracker_is_at_boundary(tracker))
        first = ws_tracker_step(tracker, data, 1, false);
    return (uint32_t)(first + ws_tracker_step(tracker, data + first, size - first, true));
}

static void forward(struct worker *worker, struct stream *stream, struct direction *direction,
                    struct conn *from, struct conn *to)
{
    bool is_down = direction == &stream->down;

    while (from->io->in.size > 0 && takes_more(stream, to)) {
        bool ends_at_boundary =
            is_down && stream->closing == CLOSING_WANTED && stream->class == CLASS_WEBSOCKET;
        uint32_t size = from->io->in.size;
        if (stream->class == CLASS_WEBSOCKET)
            size = read_frames(&direction->as.frames, from->io->in.data, size, ends_at_boundary);
        if (stream->class == CLASS_WEBSOCKET && stream->first_to_end == SIDE_NONE &&
            ws_tracker_has_close(&direction->as.frames))
            stream->first_to_end = is_down ? SIDE_SERVER : SIDE_CLIENT;
        direction->bytes += size;
        if (size > 0)
            stream_send(worker, stream, to, conn_take(&worker->loop, from, size));
        if (ends_at_boundary)
            closing_try_close_frame(worker, stream);
        if (ends_at_boundary && (stream->state != STREAM_TUNNEL || stream->closing == CLOSING_SENT))
            return;
    }
}

static void note_eof(struct worker *worker, struct stream *stream, enum end_reason who)
{
    if (stream->half_closed_ms != 0)
        return;
    stream->half_closed_ms = (uint32_t)worker->loop.now_ms | 1u; /* never 0 */
    bool was_closing = stream->class == CLASS_TCP || ws_tracker_has_close(&stream->up.as.frames) ||
                       ws_tracker_has_close(&stream->down.as.frames);
    stream->eof_reason = was_closing ? END_DONE : (uint8_t)who;
    if (stream->first_to_end == SIDE_NONE)
        stream->first_to_end = who == END_CLIENT_CLOSED ? SIDE_CLIENT : SIDE_SERVER;
    stream_arm_timers(worker, stream);
}

/* Its end is not whole, or nothing reaches it any more: both directions end. */
static bool is_cut(const struct stream *stream, const struct conn *from)
{
    return is_deaf(stream, from) || (stream->class == CLASS_TCP && conn_is_truncated(from));
}

static void end_cut(struct worker *worker, struct stream *stream, enum end_reason who)
{
    bool is_client = who == END_CLIENT_CLOSED;

    if (stream->class == CLASS_TCP) /* bytes may be missing: it must not look like the end */
        stream_end(worker, stream, is_client ? END_CLIENT_RESET : END_SERVER_RESET, FRONT_RESET);
    else
        stream_end(worker, stream,
                   stream->eof_reason != END_DONE ? (enum end_reason)stream->eof_reason : who,
                   is_client ? FRONT_ABORT : FRONT_POLITE);
}

/* Passes on an end, or asks for more. */
static void follow(struct worker *worker, struct stream *stream, struct conn *from, struct conn *to,
                   enum end_reason who)
{
    if (from->io->in.size > 0 && !(conn_is_eof(from) && is_deaf(stream, to)))
        return;
    if (conn_is_eof(from) && is_cut(stream, from)) {
        if (conn_has_sent_all(to) || is_deaf(stream, to))
            end_cut(worker, stream, who);
    } else if (conn_is_eof(from)) {
        conn_shut(&worker->loop, to);
        note_eof(worker, stream, who);
    } else if (stream_may_read(worker, from, to)) {
        conn_want_messages(&worker->loop, from);
    }
}

static bool is_over(const struct conn *front, const struct conn *back)
{
    return conn_is_eof(front) && conn_is_eof(back) && front->io->in.size == 0 &&
           back->io->in.size == 0 && conn_has_sent_all(front) && conn_has_sent_all(back);
}

/* Our Close came in the middle of a message of the client's: from its last byte on he is waited
 * for. */
static void note_last_words(struct worker *worker, struct stream *stream)
{
    stream->closing_ms = (uint32_t)worker->loop.now_ms;
    if (!ws_tracker_is_speaking(&stream->up.as.frames))
        stream->flags &= ~(uint32_t)STREAM_CLIENT_SPEAKS;
    stream_arm_timers(worker, stream);
}

void tunnel_step(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn, *back = &stream->back->conn;
    uint64_t up_before = stream->up.bytes;

    forward(worker, stream, &stream->up, front, back);
    if (stream_has(stream, STREAM_CLIENT_SPEAKS) && stream->up.bytes != up_before)
        note_last_words(worker, stream);
    if (stream->closing == CLOSING_WANTED && stream->class == CLASS_WEBSOCKET)
        closing_try_close_frame(worker, stream);
    if (stream->closing != CLOSING_SENT)
        forward(worker, stream, &stream->down, back, front);
    if (stream->state != STREAM_TUNNEL)
        return; /* its turn in a drain has ended it */
    if (stream->closing == CLOSING_WANTED)
        stream_arm_timers(worker, stream);
    if (stream->closing == CLOSING_SENT) {
        discard(worker, back);
        bool client_is_done = ws_tracker_has_whole_close(&stream->up.as.frames) ||
                              (conn_is_eof(front) && front->io->in.size == 0);
        if (client_is_done && conn_can_send(back)) {
            closing_finish(worker, stream);
            return;
        }
        if (front->io->in.size == 0 && stream_may_read(worker, front, back))
            conn_want(&worker->loop, front, 0);
        return;
    }
    follow(worker, stream, front, back, END_CLIENT_CLOSED);
    if (stream->state == STREAM_TUNNEL)
        follow(worker, stream, back, front, END_SERVER_CLOSED);
    if (stream->state == STREAM_TUNNEL && is_over(front, back))
        stream_end(worker, stream, (enum end_reason)stream->eof_reason, FRONT_POLITE);
}
