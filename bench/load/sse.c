/* The mode sse: readers of an event stream. A unit is an event; its latency is now minus the moment
 * which the server, on the same machine, wrote into it: "data: " and 19 digits, nanoseconds of the
 * monotonic clock. */
#include "bench/load/load.h"

#include <inttypes.h>
#include <string.h>

#define STAMP_DIGITS 19u

static const char prefix[] = "data: ";
enum { PREFIX_SIZE = sizeof(prefix) - 1, STAMP_END = PREFIX_SIZE + STAMP_DIGITS };

/* With a rate, each of the readers is sent its share of it. */
static bool setup(struct load *load, struct lp_err *err)
{
    const struct options *options = load->options;
    char path[96];
    uint64_t every_ms = 97;

    if (options->rate > 0)
        every_ms = options->connections * 1000ull / options->rate;
    if (every_ms == 0 || (options->rate > 0 && options->path != NULL))
        return lp_err_set(err, LP_ERR_CONFIG,
                          "--rate of events: at most 1000 a second for each connection, and only "
                          "without --path (which says how often they come)");
    snprintf(path, sizeof(path), "/events?every=%" PRIu64 "ms&size=%" PRIu64, every_ms, load->size);
    http_request(load, &load->request, "GET", options->path != NULL ? options->path : path,
                 "Accept: text/event-stream\r\n");
    return true;
}

static void on_open(struct load *load, struct conn *conn)
{
    conn_enter(load, conn, CONN_OPENING);
    conn->event.position = 0;
    conn->event.stamp = 0;
    conn->event.is_stamp = true;
    conn->event.is_data = conn->event.has_stamp = false;
    response_begin(&conn->response);
    conn_send(load, conn, &load->request);
}

static void on_head(struct load *load, struct conn *conn)
{
    if (conn->response.status == 200) {
        load_ready(load, conn);
        return;
    }
    load_count_status(load, conn->response.status);
    conn_fail(load, conn, LOAD_ERR_STATUS);
}

/* A line has ended. False when it ended an event without a stamp. */
static bool on_line(struct load *load, struct conn *conn, uint64_t now_ns)
{
    if (conn->event.position > 0) {
        conn->event.is_data |= conn->event.is_stamp;
        conn->event.has_stamp |= conn->event.is_stamp && conn->event.position >= STAMP_END;
        conn->event.position = 0;
        conn->event.is_stamp = !conn->event.has_stamp;
        if (!conn->event.has_stamp)
            conn->event.stamp = 0;
        return true;
    }
    bool is_good = conn->event.has_stamp || !conn->event.is_data;
    if (conn->event.has_stamp)
        load_count(load, conn->event.stamp, now_ns);
    conn->event.stamp = 0;
    conn->event.is_stamp = true;
    conn->event.is_data = conn->event.has_stamp = false;
    return is_good;
}

/* One byte of a line that may still be a stamp. */
static void step(struct conn *conn, char c)
{
    uint32_t position = conn->event.position++;

    if (position < PREFIX_SIZE) {
        conn->event.is_stamp &= c == prefix[position];
    } else {
        conn->event.is_data = true;
        conn->event.is_stamp &= c >= '0' && c <= '9';
        conn->event.stamp = conn->event.stamp * 10 + (uint64_t)(c - '0');
    }
}

static void on_body(struct load *load, struct conn *conn, struct lp_slice piece)
{
    uint64_t now_ns = lp_clock_ns();
    const char *at = piece.data, *end = piece.data + piece.size;

    while (at < end) {
        if (*at == '\r' && conn->event.position == 0) {
            at++; /* of an empty line; that of others is at its end, where nobody looks */
            continue;
        }
        if (*at == '\n') {
            at++;
            if (on_line(load, conn, now_ns))
                continue;
            conn_fail(load, conn, LOAD_ERR_PROTOCOL);
            return;
        }
        if (conn->event.is_stamp && conn->event.position < STAMP_END) {
            step(conn, *at++);
            continue;
        }
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        conn->event.position += conn->event.position < STAMP_END ? STAMP_END : 0;
        at = line_end == NULL ? end : line_end;
    }
}

const struct mode mode_sse = {
    .name = "sse",
    .about = "readers of an event stream",
    .size = 64,
    .takes_rate = true,
    .is_stream = true,
    .has_progress = true,
    .setup = setup,
    .on_open = on_open,
    .on_head = on_head,
    .on_data = http_on_data,
    .on_body = on_body,
    .on_fin = http_on_fin,
};
