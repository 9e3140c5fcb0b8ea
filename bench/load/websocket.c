/* The modes ws, churn and idle: what a browser does with a WebSocket, as to order.
 *
 * A unit of ws is an echo; of churn a whole life, from connect to FIN, whose latency ends with the
 * server's Close frame; idle holds connections and has its units, one echo each, behind the hold. A
 * Close of the server is answered before anything else is decided. */
#include "bench/load/load.h"

#include <string.h>

#include "lb/ws/ws.h"

enum { OPCODE_CLOSE = 8, OPCODE_PONG = 10 };

#define BINARY_WITH_FIN 0x82
#define MASKED          0x80

/* ---- Setting up ---- */

static size_t write_header(uint8_t out[14], uint64_t size, uint32_t mask)
{
    size_t at = 2, length_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;

    out[0] = BINARY_WITH_FIN;
    out[1] = (uint8_t)(MASKED | (length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127));
    for (size_t i = length_bytes; i > 0; i--)
        out[at++] = (uint8_t)(size >> (8 * (i - 1)));
    memcpy(out + at, &mask, 4);
    return at + 4;
}

static bool setup(struct load *load, struct lp_err *err)
{
    char key[WS_KEY_SIZE], more[256];
    uint8_t header[14];

    (void)err;
    ws_make_key(key);
    ws_accept(load->accept, (struct lp_slice){key, sizeof(key)});
    snprintf(more, sizeof(more),
             "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: %.*s\r\n",
             (int)sizeof(key), key);
    http_request(load, &load->opener, "GET",
                 load->options->path != NULL ? load->options->path : "/", more);
    lp_random(&load->mask, sizeof(load->mask));
    echo_build(load, (const char *)header, write_header(header, load->size, load->mask));
    return true;
}

/* ---- The hold of idle ---- */

static bool is_holding(const struct load *load)
{
    return load->mode->is_idle && load->phase == PHASE_WINDOW;
}

/* Idle connections are not replaced once the hold has begun. */
static bool idle_on_lost(struct load *load, struct conn *conn, enum load_error error)
{
    if (load->phase == PHASE_ECHO) {
        load->echoes_busy -= conn->state == CONN_BUSY;
        load->tally.echo_failed += conn->state == CONN_BUSY || conn->state == CONN_READY;
    } else if (load->phase != PHASE_WINDOW) {
        return false;
    } else if (conn->state == CONN_READY && error == LOAD_ERR_RESET) {
        load_count_ending(load, LOAD_END_RESET, 0);
    } else if (conn->state == CONN_READY && error == LOAD_ERR_CLOSED) {
        load_count_ending(load, LOAD_END_FIN, 0);
    } else if (conn->state != CONN_ENDING) {
        load_count_error(load, error);
    }
    conn_close(load, conn);
    return true;
}

/* ---- Frames ---- */

static void on_message(struct load *load, struct conn *conn)
{
    if (conn->state != CONN_BUSY || conn->has_sent_close || conn->echoed != load->size) {
        conn_fail(load, conn, LOAD_ERR_PROTOCOL);
        return;
    }
    if (load->mode == &mode_churn) {
        static const uint8_t normal[] = {1000 >> 8, 1000 & 0xff};
        conn->has_sent_close = true;
        conn_send_control(load, conn, OPCODE_CLOSE, normal, sizeof(normal));
        return;
    }
    load_count(load, conn->start_ns, lp_clock_ns());
    if (load->phase != PHASE_ECHO) {
        load_ready(load, conn);
        return;
    }
    load->echoes_busy--;
    conn_close(load, conn);
}

static void on_close_frame(struct load *load, struct conn *conn)
{
    const struct frames *frames = &conn->frames;

    if (conn->has_sent_close) {
        conn->end_ns = lp_clock_ns();
        conn_enter(load, conn, CONN_ENDING);
        return;
    }
    conn_send_control(load, conn, OPCODE_CLOSE, frames->control, frames->control_size >= 2 ? 2 : 0);
    if (is_holding(load)) {
        load_count_ending(load, LOAD_END_CLOSE_FRAME, frames_close_code(frames));
        lp_list_remove(&conn->place);
        conn->since_ns = load->now_ns;
        conn_enter(load, conn, CONN_ENDING);
    } else if (conn->state == CONN_READY && load->phase != PHASE_ECHO) {
        conn_reopen(load, conn);
    } else {
        conn_fail(load, conn, LOAD_ERR_CLOSED);
    }
}

static void on_frames(struct load *load, struct conn *conn, const char *data, size_t size)
{
    uint32_t generation = conn->generation;
    struct lp_slice piece;
    size_t used;

    while (conn->generation == generation) {
        if (conn->state == CONN_ENDING && size > 0) {
            conn_fail(load, conn, LOAD_ERR_PROTOCOL); /* nothing comes behind a Close */
            return;
        }
        enum frames_event event = frames_step(&conn->frames, &used, &piece, data, size);
        data += used;
        size -= used;
        switch (event) {
        case FRAMES_MORE:
            return;
        case FRAMES_DATA:
            if (!echo_take(load, conn, piece))
                conn_fail(load, conn, LOAD_ERR_PROTOCOL);
            break;
        case FRAMES_MESSAGE:
            on_message(load, conn);
            break;
        case FRAMES_PING:
            conn_send_control(load, conn, OPCODE_PONG, conn->frames.control,
                              conn->frames.control_size);
            break;
        case FRAMES_PONG:
            break;
        case FRAMES_CLOSE:
            on_close_frame(load, conn);
            break;
        case FRAMES_BAD:
            conn_fail(load, conn, LOAD_ERR_PROTOCOL);
            break;
        }
    }
}

/* ---- The handshake ---- */

static void on_open(struct load *load, struct conn *conn)
{
    conn->has_sent_close = false;
    memset(&conn->frames, 0, offsetof(struct frames, control));
    response_begin(&conn->response);
    conn_enter(load, conn, CONN_OPENING);
    conn_send(load, conn, &load->opener);
}

static bool is_accepted(const struct load *load, const struct conn *conn)
{
    return lp_slice_equal(conn->response.accept,
                          (struct lp_slice){load->accept, sizeof(load->accept)});
}

/* The head of the answer to the upgrade. False when the connection is none. */
static bool on_upgrade(struct load *load, struct conn *conn)
{
    if (conn->response.status != 101) {
        load_count_status(load, conn->response.status);
        conn_fail(load, conn, LOAD_ERR_STATUS);
        return false;
    }
    if (!is_accepted(load, conn)) {
        conn_fail(load, conn, LOAD_ERR_PROTOCOL);
        return false;
    }
    response_begin(&conn->response);
    if (load->mode == &mode_churn) {
        conn_enter(load, conn, CONN_BUSY);
        echo_begin(load, conn);
    } else {
        load_ready(load, conn);
    }
    return true;
}

static void on_data(struct load *load, struct conn *conn, char *data, size_t size)
{
    if (conn->state == CONN_OPENING) {
        uint32_t generation = conn->generation;
        struct lp_slice piece;
        size_t used;
        enum response_event event = response_step(&conn->response, &used, &piece, data, size);
        if (event == RESPONSE_MORE)
            return;
        if (event != RESPONSE_HEAD) {
            conn_fail(load, conn, LOAD_ERR_PROTOCOL);
            return;
        }
        if (!on_upgrade(load, conn) || conn->generation != generation)
            return;
        /* The server may speak first: what stands behind the head are frames. */
        data += used;
        size -= used;
    }
    on_frames(load, conn, data, size);
}

static void on_fin(struct load *load, struct conn *conn)
{
    if (conn->state == CONN_ENDING && load->mode == &mode_churn) {
        load_count(load, conn->start_ns, conn->end_ns);
        conn_close(load, conn);
        load_ready(load, conn);
    } else if (conn->state == CONN_READY && !is_holding(load) && load->phase != PHASE_ECHO) {
        conn_reopen(load, conn);
    } else {
        conn_fail(load, conn, LOAD_ERR_CLOSED);
    }
}

const struct mode mode_ws = {
    .name = "ws",
    .about = "WebSocket echo",
    .size = 64,
    .takes_rate = true,
    .setup = setup,
    .on_open = on_open,
    .begin = echo_begin,
    .stamp = echo_stamp,
    .on_data = on_data,
    .on_fin = on_fin,
};

const struct mode mode_churn = {
    .name = "churn",
    .about = "connect, upgrade, one echo, Close, again",
    .size = 64,
    .takes_rate = true,
    .is_one_unit_per_connection = true,
    .setup = setup,
    .on_open = on_open,
    .stamp = echo_stamp,
    .on_data = on_data,
    .on_fin = on_fin,
};

const struct mode mode_idle = {
    .name = "idle",
    .about = "WebSockets that are only held; one echo each at the end",
    .size = 64,
    .is_idle = true,
    .setup = setup,
    .on_open = on_open,
    .begin = echo_begin,
    .stamp = echo_stamp,
    .on_data = on_data,
    .on_fin = on_fin,
    .on_lost = idle_on_lost,
};
