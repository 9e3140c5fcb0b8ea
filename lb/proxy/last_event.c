/* How an event stream ends when its turn in a drain has come: behind an event, with a complete
 * body. Where it may end is decided in events_may_end(). Start at closing_step_events(). */
#include <stdio.h>
#include <string.h>

#include "lb/proxy/back.h"

/* "4000\r\n" before the content of a chunk, "\r\n" behind it. */
#define CHUNK_SIZE_MAX    8u
#define CHUNK_END_SIZE    2u
#define CHUNK_CONTENT_MAX (LP_BUF_SMALL_BYTES - CHUNK_SIZE_MAX - CHUNK_END_SIZE)

static bool is_chunked(const struct stream *stream)
{
    return stream->down.body == HTTP1_BODY_CHUNKED;
}

/* The server's own chunks go to the client as they come. */
static bool passes_chunks(const struct stream *stream)
{
    return is_chunked(stream) && (stream->flags & (STREAM_STRIP_CHUNKS | STREAM_OWN_CHUNKS)) == 0;
}

/* Of bytes that are coded nobody knows where an event ends; the end of a chunk will do. */
static bool content_may_end(const struct stream *stream)
{
    if (!stream_has(stream, STREAM_CODED))
        return http1_events_is_at_boundary(&stream->request->events);
    return !is_chunked(stream) || http1_chunked_is_at_boundary(stream->down.as.chunked);
}

bool events_may_end(const struct stream *stream)
{
    return content_may_end(stream) &&
           (!passes_chunks(stream) || http1_chunked_is_at_boundary(stream->down.as.chunked));
}

/* The complete body: a last chunk, or for the other framings our FIN. */
void closing_end_events(struct worker *worker, struct stream *stream)
{
    struct conn *front = &stream->session->conn;
    bool ends_in_chunk = is_chunked(stream) && !stream_has(stream, STREAM_STRIP_CHUNKS);

    stream->closing = CLOSING_TAIL;
    if (ends_in_chunk && !conn_can_send(front))
        return;
    if (ends_in_chunk)
        stream_send(worker, stream, front, (struct piece){"0\r\n\r\n", 5, URING_NO_BUFFER});
    stream->flags |= STREAM_DOWN_DONE;
    stream->flags &= ~(uint32_t)(STREAM_CLIENT_KEEPS | STREAM_SERVER_KEEPS);
}

enum event_outcome { EVENTS_MORE, EVENTS_DONE, EVENTS_BAD, EVENTS_NO_BUFFER };

/* A body without chunks goes up to the first boundary, or its own end. */
static enum event_outcome read_plain(struct stream *stream, const struct piece *in, size_t *used)
{
    uint64_t *left = &stream->down.as.left;
    bool has_length = stream->down.body == HTTP1_BODY_LENGTH;
    size_t size = has_length && *left < in->size ? (size_t)*left : in->size;

    *used = http1_events_step(&stream->request->events, in->data, size, true);
    if (!has_length)
        return EVENTS_MORE;
    *left -= *used;
    return *left == 0 ? EVENTS_DONE : EVENTS_MORE;
}

/* One step in a chunked body: content up to size_max bytes, an event's or the chunk's end; or one
 * byte of framing. *content is how many of *used bytes are content. */
static enum event_outcome step_chunked(struct stream *stream, const char *data, size_t size_max,
                                       size_t *used, size_t *content)
{
    struct http1_chunked *chunked = stream->down.as.chunked;
    uint64_t content_left = http1_chunked_content_left(chunked);
    size_t step = 1;
    const char *why;

    if (content_left > 0) {
        step = content_left < size_max ? (size_t)content_left : size_max;
        step = http1_events_step(&stream->request->events, data, step,
                                 !stream_has(stream, STREAM_CODED) && !passes_chunks(stream));
    }
    enum http1_chunk chunk = http1_chunked_step(chunked, data, step, used, &why);
    *content = chunk == HTTP1_CHUNK_DATA ? *used : 0;
    return chunk == HTTP1_CHUNK_BAD    ? EVENTS_BAD
           : chunk == HTTP1_CHUNK_DONE ? EVENTS_DONE
                                       : EVENTS_MORE;
}

/* The server's chunks, to the end of the one under way. */
static enum event_outcome read_chunk(struct stream *stream, const struct piece *in, size_t *used)
{
    enum event_outcome outcome = EVENTS_MORE;
    size_t step, content;

    *used = 0;
    while (outcome == EVENTS_MORE && *used < in->size &&
           !http1_chunked_is_at_boundary(stream->down.as.chunked)) {
        outcome = step_chunked(stream, in->data + *used, in->size - *used, &step, &content);
        *used += step;
    }
    return outcome;
}

/* The content of chunks, up to an event's end, gathered at place. */
static enum event_outcome gather(struct stream *stream, const struct piece *in, size_t *used,
                                 char *place, size_t *gathered)
{
    enum event_outcome outcome = EVENTS_MORE;
    size_t step, content;

    *used = *gathered = 0;
    while (outcome == EVENTS_MORE && *used < in->size && *gathered < CHUNK_CONTENT_MAX &&
           !events_may_end(stream)) {
        size_t room = CHUNK_CONTENT_MAX - *gathered, left = in->size - *used;
        const char *data = in->data + *used;
        outcome = step_chunked(stream, data, left < room ? left : room, &step, &content);
        memcpy(place + *gathered, data, content);
        *gathered += content;
        *used += step;
    }
    return outcome;
}

/* Where chunks and events never end together, the framing is ours; a client of HTTP/1.0 has none.
 */
static enum event_outcome send_content(struct worker *worker, struct stream *stream)
{
    struct conn *back = &stream->back->conn;
    struct piece piece = {.buffer = uring_buffer_take(worker->loop.uring, URING_SMALL)};
    char size_line[CHUNK_SIZE_MAX + 1];
    size_t used, size;

    if (piece.buffer == URING_NO_BUFFER)
        return EVENTS_NO_BUFFER;
    char *place = uring_buffer_base(worker->loop.uring, piece.buffer) + CHUNK_SIZE_MAX;
    enum event_outcome outcome = gather(stream, &back->io->in, &used, place, &size);
    conn_consume(&worker->loop, back, (uint32_t)used);
    if (outcome == EVENTS_BAD || size == 0) {
        piece_drop(&worker->loop, &piece);
        return outcome;
    }
    piece.data = place;
    piece.size = (uint32_t)size;
    if (stream_has(stream, STREAM_OWN_CHUNKS)) {
        int line_size = snprintf(size_line, sizeof(size_line), "%zx\r\n", size);
        memcpy(place - line_size, size_line, (size_t)line_size);
        memcpy(place + size, "\r\n", CHUNK_END_SIZE);
        piece.data = place - line_size;
        piece.size += (uint32_t)line_size + CHUNK_END_SIZE;
    }
    stream->down.bytes += size;
    stream_send(worker, stream, &stream->session->conn, piece);
    return outcome;
}

static enum event_outcome send_as_it_came(struct worker *worker, struct stream *stream)
{
    struct conn *back = &stream->back->conn;
    size_t size;
    enum event_outcome outcome = is_chunked(stream) ? read_chunk(stream, &back->io->in, &size)
                                                    : read_plain(stream, &back->io->in, &size);

    if (outcome == EVENTS_BAD || size == 0)
        return outcome;
    stream->down.bytes += size;
    stream_send(worker, stream, &stream->session->conn,
                conn_take(&worker->loop, back, (uint32_t)size));
    return outcome;
}

void closing_step_events(struct worker *worker, struct stream *stream)
{
    if (passes_chunks(stream) && http1_chunked_is_at_boundary(stream->down.as.chunked))
        stream->flags |= STREAM_OWN_CHUNKS;
    enum event_outcome outcome = is_chunked(stream) && !passes_chunks(stream)
                                     ? send_content(worker, stream)
                                     : send_as_it_came(worker, stream);

    if (outcome == EVENTS_BAD)
        stream_end(worker, stream, END_BAD_RESPONSE, FRONT_RESET);
    else if (outcome == EVENTS_NO_BUFFER)
        stream_end(worker, stream, END_OUT_OF_BUFFERS, FRONT_RESET);
    else if (outcome == EVENTS_DONE && !stream_has(stream, STREAM_OWN_CHUNKS)) {
        stream->flags |= STREAM_DOWN_DONE; /* the server was quicker */
        stream->flags &= ~(uint32_t)STREAM_CLIENT_KEEPS;
    } else if (outcome == EVENTS_DONE || events_may_end(stream)) {
        closing_end_events(worker, stream);
    }
}
