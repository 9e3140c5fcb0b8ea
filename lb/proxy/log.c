/* A stream's access log lines: collected from where the facts lie, formatted by
 * lb/ops/access_line, handed to the thread that writes them through the worker's ring. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lb/proxy/back.h"

#define ID_FIELD "\r\nX-Request-ID: "

/* A head in few bytes: its parts stand in `text`, one behind the other. */
struct log_note {
    uint16_t target_size;
    uint8_t method_size, host_size, id_size;
    char text[];
};

/* What log lines show of a head. */
struct shown {
    struct lp_slice method, target, host, id;
};

static struct lp_slice until(struct lp_slice text, const char *end, size_t end_size)
{
    const char *found = text.size == 0 ? NULL : memmem(text.data, text.size, end, end_size);
    return (struct lp_slice){text.data, found == NULL ? text.size : (size_t)(found - text.data)};
}

static struct lp_slice behind(struct lp_slice text, size_t size)
{
    return (struct lp_slice){text.data + size, text.size - size};
}

static struct lp_slice find_id(struct lp_slice head)
{
    const char *found =
        head.size == 0 ? NULL : memmem(head.data, head.size, ID_FIELD, sizeof(ID_FIELD) - 1);

    if (found == NULL)
        return (struct lp_slice){NULL, 0};
    size_t at = (size_t)(found - head.data) + sizeof(ID_FIELD) - 1;
    return until(behind(head, at), "\r\n", 2);
}

/* The kept head begins with "METHOD TARGET HTTP/1.1\r\nHost: NAME\r\n". */
static struct shown show_head(const struct piece *head)
{
    struct lp_slice text = {head->data, head->size};
    struct shown shown = {.id = find_id(text), .method = until(text, " ", 1)};

    if (shown.method.size == text.size)
        return shown;
    text = behind(text, shown.method.size + 1);
    struct lp_slice request_line = until(text, "\r\n", 2);
    shown.target = until(request_line, " ", 1);
    if (request_line.size == text.size)
        return shown;
    text = behind(text, request_line.size + 2);
    if (text.size > 6 && memcmp(text.data, "Host: ", 6) == 0)
        shown.host = until(behind(text, 6), "\r\n", 2);
    return shown;
}

static struct shown show_note(const struct log_note *note)
{
    struct shown shown = {.method = {note->text, note->method_size}};

    shown.target = (struct lp_slice){shown.method.data + note->method_size, note->target_size};
    shown.host = (struct lp_slice){shown.target.data + note->target_size, note->host_size};
    shown.id = (struct lp_slice){shown.host.data + note->host_size, note->id_size};
    return shown;
}

static void shorten(struct lp_slice *text, size_t size_max)
{
    if (text->size > size_max)
        text->size = size_max;
}

static char *append(char *at, struct lp_slice text)
{
    return text.size == 0 ? at : mempcpy(at, text.data, text.size);
}

struct log_note *log_note_create(const struct piece *head)
{
    struct shown shown = show_head(head);

    /* A method is a word that we know, an id at most 128 bytes, a host name at most 253. */
    shorten(&shown.method, UINT8_MAX);
    shorten(&shown.host, UINT8_MAX);
    shorten(&shown.id, UINT8_MAX);
    shorten(&shown.target, UINT16_MAX);
    struct log_note *note = lp_try_alloc(sizeof(*note) + shown.method.size + shown.target.size +
                                         shown.host.size + shown.id.size);
    if (note == NULL)
        return NULL;
    *note = (struct log_note){.target_size = (uint16_t)shown.target.size,
                              .method_size = (uint8_t)shown.method.size,
                              .host_size = (uint8_t)shown.host.size,
                              .id_size = (uint8_t)shown.id.size};
    append(append(append(append(note->text, shown.method), shown.target), shown.host), shown.id);
    return note;
}

static void read_head(struct access_line *line, const struct stream *stream)
{
    struct shown shown = {0};

    if (stream->note != NULL)
        shown = show_note(stream->note);
    else if (stream->request != NULL)
        shown = show_head(&stream->request->head);
    line->method = shown.method;
    line->host = shown.host;
    line->id = shown.id;
    line->path = until(shown.target, "?", 1);
    if (line->path.size < shown.target.size)
        line->query = behind(shown.target, line->path.size + 1);
}

static void read_places(struct access_line *line, const struct stream *stream)
{
    line->listener = lp_slice_of(stream->session->acceptor->listener_name);
    if (stream->server != NULL) {
        line->server = lp_slice_of(stream->server->name);
        line->pool = lp_slice_of(stream->server->pool->name);
    } else if (stream->request != NULL && stream->request->route != NULL) {
        line->pool = stream->request->route->pool->config->name;
    }
}

static struct lp_slice client_text(const struct session *session, char out[LP_ADDR_TEXT_MAX])
{
    struct lp_addr peer = session_peer(session);

    if (peer.as.any.sa_family == AF_UNIX)
        return LP_SLICE("unix");
    return (struct lp_slice){out, lp_addr_format(&peer, out)};
}

static void read_frames(struct access_line *line, const struct stream *stream)
{
    const struct ws_tracker *up = &stream->up.as.frames, *down = &stream->down.as.frames;

    line->messages_in = up->messages;
    line->messages_out = down->messages;
    line->close_code = stream->closing == CLOSING_SENT ? stream->close_code
                       : up->close_code != 0           ? up->close_code
                                                       : down->close_code;
}

static const char *class_word(const struct stream *stream)
{
    static const char *const words[] = {[CLASS_HTTP] = "http",
                                        [CLASS_WEBSOCKET] = "websocket",
                                        [CLASS_SSE] = "sse",
                                        [CLASS_TCP] = "tcp"};
    return words[stream->class];
}

static void put(struct worker *worker, const struct access_line *line)
{
    char text[ACCESS_LINE_BYTES];
    const uint64_t one = 1;
    size_t size = access_line_write(&worker->access, text, sizeof(text), line);

    if (log_ring_put(worker->log, text, size) &&
        write(worker->shared->log_fd, &one, sizeof(one)) < 0)
        lp_log(LP_LOG_ERROR, "cannot wake the access log");
}

static uint64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void stream_log(struct worker *worker, const struct stream *stream, bool is_start)
{
    struct access_line line;
    char client[LP_ADDR_TEXT_MAX];

    if (!worker->logs_access)
        return;
    access_line_init(&line);
    line.unix_ms = unix_ms();
    bool is_long = stream_has(stream, STREAM_LONG_LIVED);
    line.event = is_start ? ACCESS_START : is_long ? ACCESS_END : ACCESS_REQUEST;
    line.class = class_word(stream);
    line.client = client_text(stream->session, client);
    line.status = stream->status;
    line.connect_ms = stream->connect_ms;
    line.response_ms = stream->response_ms;
    line.retries = stream->retries_count;
    read_head(&line, stream);
    read_places(&line, stream);
    if (!is_start) {
        uint64_t age_ms = worker->loop.now_ms - stream->began_ms;
        line.end = end_word((enum end_reason)stream->end_reason);
        line.ended_by = stream->end_reason == END_DONE && stream->first_to_end != SIDE_NONE
                            ? (stream->first_to_end == SIDE_CLIENT ? "client" : "server")
                            : end_whose((enum end_reason)stream->end_reason);
        line.bytes_in = stream->up.bytes;
        line.bytes_out = stream->down.bytes;
        if (is_long)
            line.age_ms = age_ms;
        else
            line.total_ms = age_ms;
        if (stream->class == CLASS_WEBSOCKET && is_long)
            read_frames(&line, stream);
    }
    put(worker, &line);
}
