/* The modes http and close, and the life of a request and its response that bulk.c and sse.c share.
 *
 * A unit of http is a request over a kept connection. A unit of close is a connection: its latency
 * ends with the response, but it counts only once the other side's FIN has come, as was asked for.
 */
#include "bench/load/load.h"

#include <inttypes.h>
#include <string.h>

void http_request(struct load *load, struct message *out, const char *method, const char *path,
                  const char *more)
{
    static const char format[] = "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n";
    size_t room =
        sizeof(format) + strlen(method) + strlen(path) + strlen(load->options->host) + strlen(more);

    out->head = lp_alloc(room);
    out->head_size =
        (uint64_t)snprintf(out->head, room, format, method, path, load->options->host, more);
}

void http_begin(struct load *load, struct conn *conn)
{
    response_begin(&conn->response);
    conn->echoed = 0;
    conn_send(load, conn, &load->request);
}

/* ---- Responses ---- */

/* The connection goes on, or is opened again as the other side wanted. */
static void go_on(struct load *load, struct conn *conn)
{
    if (conn->response.keeps && conn->message == NULL)
        load_ready(load, conn);
    else if (load->mode->is_one_unit_per_connection)
        conn_replace(load, conn);
    else
        conn_reopen(load, conn);
}

static void on_response(struct load *load, struct conn *conn)
{
    uint64_t now_ns = lp_clock_ns();

    if (load->mode->is_stream) {
        /* In good order only where no event is cut. */
        if (conn->event.position == 0 && !conn->event.is_data)
            conn_reopen(load, conn);
        else
            conn_fail(load, conn, LOAD_ERR_CLOSED);
    } else if (conn->response.status != 200) {
        load_count_status(load, conn->response.status);
        load_count_error(load, LOAD_ERR_STATUS);
        go_on(load, conn);
    } else if (load->mode->is_right != NULL && !load->mode->is_right(load, conn)) {
        conn_fail(load, conn, LOAD_ERR_PROTOCOL);
    } else if (load->mode->is_one_unit_per_connection) {
        conn->end_ns = now_ns;
        conn_enter(load, conn, CONN_ENDING);
    } else {
        load_count(load, conn->start_ns, now_ns);
        go_on(load, conn);
    }
}

static void on_skipped(struct load *load, struct conn *conn, size_t size)
{
    enum response_event event = response_skip(&conn->response, size);

    conn->discard = response_skippable(&conn->response);
    if (event == RESPONSE_DONE)
        on_response(load, conn);
}

void http_on_data(struct load *load, struct conn *conn, char *data, size_t size)
{
    uint32_t generation = conn->generation;
    struct lp_slice piece;
    size_t used;

    if (data == NULL) {
        on_skipped(load, conn, size);
        return;
    }
    if (conn->state == CONN_ENDING || (conn->state == CONN_READY && !load->mode->is_stream)) {
        conn_fail(load, conn, LOAD_ERR_PROTOCOL); /* nobody asked for these bytes */
        return;
    }
    while (conn->generation == generation) {
        enum response_event event = response_step(&conn->response, &used, &piece, data, size);
        data += used;
        size -= used;
        switch (event) {
        case RESPONSE_MORE:
            conn->discard = load->mode->on_body == NULL ? response_skippable(&conn->response) : 0;
            return;
        case RESPONSE_HEAD:
            if (load->mode->on_head != NULL)
                load->mode->on_head(load, conn);
            break;
        case RESPONSE_BODY:
            if (load->mode->on_body != NULL)
                load->mode->on_body(load, conn, piece);
            break;
        case RESPONSE_DONE:
            if (size > 0)
                conn_fail(load, conn, LOAD_ERR_PROTOCOL); /* more than one response */
            else
                on_response(load, conn);
            return;
        case RESPONSE_BAD:
            conn_fail(load, conn, LOAD_ERR_PROTOCOL);
            return;
        }
    }
}

void http_on_fin(struct load *load, struct conn *conn)
{
    if (conn->state == CONN_ENDING) {
        load_count(load, conn->start_ns, conn->end_ns);
        conn_close(load, conn);
        load_ready(load, conn);
        return;
    }
    if (conn->state == CONN_READY && !load->mode->is_stream) {
        conn_reopen(load, conn);
        return;
    }
    if (conn->state != CONN_BUSY || !response_ends_with_fin(&conn->response)) {
        conn_fail(load, conn, LOAD_ERR_CLOSED);
        return;
    }
    on_response(load, conn);
    if (conn->state == CONN_ENDING)
        http_on_fin(load, conn);
}

/* ---- The modes ---- */

static bool setup(struct load *load, const char *more)
{
    const struct options *options = load->options;
    char path[64] = "/";

    load->expected_body = UINT64_MAX;
    if (options->size != UINT64_MAX)
        snprintf(path, sizeof(path), "/bytes/%" PRIu64, options->size);
    if (options->size != UINT64_MAX || options->path == NULL)
        load->expected_body = load->size;
    http_request(load, &load->request, "GET", options->path != NULL ? options->path : path, more);
    return true;
}

static bool http_setup(struct load *load, struct lp_err *err)
{
    (void)err;
    return setup(load, "");
}

static bool close_setup(struct load *load, struct lp_err *err)
{
    (void)err;
    return setup(load, "Connection: close\r\n");
}

static bool has_expected_body(const struct load *load, const struct conn *conn)
{
    return load->expected_body == UINT64_MAX || conn->response.body == load->expected_body;
}

static void close_on_open(struct load *load, struct conn *conn)
{
    conn_enter(load, conn, CONN_BUSY);
    http_begin(load, conn);
}

const struct mode mode_http = {
    .name = "http",
    .about = "requests over kept connections",
    .size = 128,
    .takes_rate = true,
    .setup = http_setup,
    .on_open = load_ready,
    .begin = http_begin,
    .on_data = http_on_data,
    .is_right = has_expected_body,
    .on_fin = http_on_fin,
};

const struct mode mode_close = {
    .name = "close",
    .about = "one connection for each request",
    .size = 128,
    .takes_rate = true,
    .is_one_unit_per_connection = true,
    .setup = close_setup,
    .on_open = close_on_open,
    .on_data = http_on_data,
    .is_right = has_expected_body,
    .on_fin = http_on_fin,
};
