/* The modes down, up and slow: bodies so long that they count by their bytes. */
#include "bench/load/load.h"

#include <inttypes.h>

#define SLOW_READ_BYTES   8192u /* of each connection, every 100 ms */
#define SLOW_SOCKET_BYTES 32768 /* so that it is the proxy which has to wait */

static bool down_setup(struct load *load, struct lp_err *err)
{
    char path[64];

    (void)err;
    snprintf(path, sizeof(path), "/bytes/%" PRIu64, load->size);
    http_request(load, &load->request, "GET",
                 load->options->path != NULL ? load->options->path : path, "");
    return true;
}

static bool down_is_right(const struct load *load, const struct conn *conn)
{
    return conn->response.body == load->size;
}

static bool up_setup(struct load *load, struct lp_err *err)
{
    char length[64];

    (void)err;
    snprintf(length, sizeof(length), "Content-Length: %" PRIu64 "\r\n", load->size);
    http_request(load, &load->request, "POST",
                 load->options->path != NULL ? load->options->path : "/", length);
    load->request.body_size = load->size;
    return true;
}

/* The answer is the number of bytes that arrived, as text. */
static void up_on_body(struct load *load, struct conn *conn, struct lp_slice piece)
{
    (void)load;
    for (size_t i = 0; i < piece.size; i++)
        if (piece.data[i] >= '0' && piece.data[i] <= '9')
            conn->echoed = conn->echoed * 10 + (uint64_t)(piece.data[i] - '0');
}

static bool up_is_right(const struct load *load, const struct conn *conn)
{
    return conn->echoed == load->size && conn->message == NULL;
}

static void slow_on_tick(struct load *load, struct conn *conn)
{
    if (conn->state == CONN_BUSY)
        conn_read(load, conn, SLOW_READ_BYTES);
}

const struct mode mode_down = {
    .name = "down",
    .about = "bulk to the client: GET /bytes/SIZE",
    .size = 16u << 20,
    .has_progress = true,
    .setup = down_setup,
    .on_open = load_ready,
    .begin = http_begin,
    .on_data = http_on_data,
    .is_right = down_is_right,
    .on_fin = http_on_fin,
};

const struct mode mode_up = {
    .name = "up",
    .about = "bulk to the server: POST of SIZE bytes",
    .size = 16u << 20,
    .has_progress = true,
    .setup = up_setup,
    .on_open = load_ready,
    .begin = http_begin,
    .on_data = http_on_data,
    .on_body = up_on_body,
    .is_right = up_is_right,
    .on_fin = http_on_fin,
};

const struct mode mode_slow = {
    .name = "slow",
    .about = "clients that read 80 KiB/s of a GET /bytes/SIZE",
    .size = 1u << 30,
    .has_progress = true,
    .reads_by_itself = true,
    .receive_buffer_bytes = SLOW_SOCKET_BYTES,
    .setup = down_setup,
    .on_open = load_ready,
    .begin = http_begin,
    .on_data = http_on_data,
    .is_right = down_is_right,
    .on_fin = http_on_fin,
    .on_tick = slow_on_tick,
};
