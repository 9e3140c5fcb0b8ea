/* Payloads that come back, and the mode tcp, which is nothing but that.
 *
 * All connections send the same bytes but for the first eight, which are written into the shared
 * message before each send and into the shared expectation before each comparison. So an answer
 * that was meant for another connection, or for the unit before, is found out; and 15 000
 * connections need no buffers. */
#include "bench/load/load.h"

#include <string.h>

#define STAMP_BYTES 8u

void echo_build(struct load *load, const char *head, size_t head_size)
{
    uint8_t mask[4];
    size_t size = (size_t)load->size;

    memcpy(mask, &load->mask, sizeof(mask));
    load->payload_at = (uint32_t)head_size;
    load->request.head_size = head_size + size;
    load->request.head = lp_alloc(head_size + size + 1);
    load->payload = lp_alloc(size + 1);
    if (head_size > 0)
        memcpy(load->request.head, head, head_size);
    for (size_t i = 0; i < size; i++) {
        load->payload[i] = (char)('a' + (i * 7 + i / 26) % 26);
        load->request.head[head_size + i] = (char)((uint8_t)load->payload[i] ^ mask[i % 4]);
    }
}

static size_t stamp_of(const struct load *load, const struct conn *conn, uint64_t *stamp)
{
    *stamp = (uint64_t)conn->index << 32 | conn->sequence;
    return load->size < STAMP_BYTES ? (size_t)load->size : STAMP_BYTES;
}

void echo_stamp(struct load *load, struct conn *conn)
{
    uint64_t stamp;
    size_t size = stamp_of(load, conn, &stamp);

    stamp ^= (uint64_t)load->mask << 32 | load->mask;
    memcpy(load->request.head + load->payload_at, &stamp, size);
}

void echo_begin(struct load *load, struct conn *conn)
{
    conn->echoed = 0;
    conn_send(load, conn, &load->request);
}

bool echo_take(struct load *load, struct conn *conn, struct lp_slice piece)
{
    uint64_t stamp;

    if (conn->state != CONN_BUSY || piece.size > load->size - conn->echoed)
        return false;
    if (conn->echoed < STAMP_BYTES) {
        size_t size = stamp_of(load, conn, &stamp);
        memcpy(load->payload, &stamp, size);
    }
    if (memcmp(load->payload + conn->echoed, piece.data, piece.size) != 0)
        return false;
    conn->echoed += piece.size;
    return true;
}

/* ---- The mode tcp ---- */

static bool tcp_setup(struct load *load, struct lp_err *err)
{
    if (load->size == 0)
        return lp_err_set(err, LP_ERR_CONFIG, "--size of tcp: at least 1 byte has to come back");
    echo_build(load, NULL, 0);
    return true;
}

static void tcp_on_data(struct load *load, struct conn *conn, char *data, size_t size)
{
    if (!echo_take(load, conn, (struct lp_slice){data, size})) {
        conn_fail(load, conn, LOAD_ERR_PROTOCOL);
        return;
    }
    if (conn->echoed < load->size)
        return;
    load_count(load, conn->start_ns, lp_clock_ns());
    load_ready(load, conn);
}

static void tcp_on_fin(struct load *load, struct conn *conn)
{
    if (conn->state == CONN_READY)
        conn_reopen(load, conn);
    else
        conn_fail(load, conn, LOAD_ERR_CLOSED);
}

const struct mode mode_tcp = {
    .name = "tcp",
    .about = "echo over plain TCP",
    .size = 64,
    .takes_rate = true,
    .setup = tcp_setup,
    .on_open = load_ready,
    .begin = echo_begin,
    .stamp = echo_stamp,
    .on_data = tcp_on_data,
    .on_fin = tcp_on_fin,
};
