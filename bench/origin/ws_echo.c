/* A frame's header is collected until it is whole, then answered; its payload is unmasked piece by
 * piece, so a frame of any size needs no memory. The echo is never longer than what was read. */
#include "bench/origin/ws_echo.h"

#define OPCODE_CONTINUATION 0x0u
#define OPCODE_BINARY       0x2u
#define OPCODE_CLOSE        0x8u
#define OPCODE_PING         0x9u
#define OPCODE_PONG         0xau
#define CONTROL_BYTES_MAX   125u
#define MASK_BYTES          4u

static unsigned opcode_of(const struct conn_ws *ws)
{
    return ws->header[0] & 0x0f;
}

/* What comes without a mask is a violation, but a whole header first. */
static size_t header_size_of(const struct conn_ws *ws)
{
    if (ws->header_size < 2)
        return 2;
    size_t mask = ws->header[1] & 0x80 ? MASK_BYTES : 0;
    switch (ws->header[1] & 0x7f) {
    case 126:
        return 2 + 2 + mask;
    case 127:
        return 2 + 8 + mask;
    default:
        return 2 + mask;
    }
}

/* Also keeps track of messages: a continuation needs a beginning, and nothing else may follow. */
static bool header_is_allowed(struct conn_ws *ws)
{
    unsigned opcode = opcode_of(ws);
    bool is_final = ws->header[0] & 0x80;
    bool is_reserved = ws->header[0] & 0x70;
    bool is_masked = ws->header[1] & 0x80;

    if (is_reserved || !is_masked || ws->left >> 63 != 0)
        return false;
    if (opcode >= OPCODE_CLOSE)
        return opcode <= OPCODE_PONG && is_final && ws->left <= CONTROL_BYTES_MAX &&
               !(opcode == OPCODE_CLOSE && ws->left == 1);
    if (opcode > OPCODE_BINARY || (opcode == OPCODE_CONTINUATION) != ws->is_in_message)
        return false;
    ws->is_in_message = !is_final;
    return true;
}

static void end_with(struct conn *conn)
{
    conn->lingers = true;
    conn->state = CONN_ENDING;
}

static void on_header(struct origin *origin, struct conn *conn)
{
    struct conn_ws *ws = &conn->ws;
    size_t size = ws->header_size - (ws->header[1] & 0x80 ? MASK_BYTES : 0);

    ws->left = size > 2 ? 0 : ws->header[1] & 0x7f;
    for (size_t i = 2; i < size; i++)
        ws->left = ws->left << 8 | ws->header[i];
    if (!header_is_allowed(ws)) {
        out_put(origin, LP_SLICE("\x88\x02\x03\xea"));
        end_with(conn);
        return;
    }
    memcpy(&ws->mask, ws->header + size, MASK_BYTES);
    ws->is_in_payload = true;
    if (opcode_of(ws) == OPCODE_PONG)
        return;
    char *out = out_reserve(origin, size);
    memcpy(out, ws->header, size);
    if (opcode_of(ws) == OPCODE_PING)
        out[0] = (char)(0x80 | OPCODE_PONG);
    out[1] = (char)(ws->header[1] & 0x7f);
}

static size_t collect_header(struct origin *origin, struct conn *conn, const char *data,
                             size_t size)
{
    struct conn_ws *ws = &conn->ws;
    size_t used = 0;
    for (size_t wanted; (wanted = header_size_of(ws)) > ws->header_size;) {
        size_t part = wanted - ws->header_size;
        if (part > size - used)
            part = size - used;
        if (part == 0)
            return used;
        memcpy(ws->header + ws->header_size, data + used, part);
        ws->header_size = (uint8_t)(ws->header_size + part);
        used += part;
    }
    on_header(origin, conn);
    return used;
}

static void unmask(char *out, const char *data, size_t size, uint32_t mask)
{
    uint64_t twice = (uint64_t)mask << 32 | mask;
    size_t i = 0;
    for (; i + sizeof twice <= size; i += sizeof twice) {
        uint64_t word;
        memcpy(&word, data + i, sizeof word);
        word ^= twice;
        memcpy(out + i, &word, sizeof word);
    }
    for (unsigned shift = 0; i < size; i++, shift += 8)
        out[i] = (char)(data[i] ^ (char)(twice >> shift));
}

static size_t echo_payload(struct origin *origin, struct conn *conn, const char *data, size_t size)
{
    struct conn_ws *ws = &conn->ws;
    size_t part = size < ws->left ? size : (size_t)ws->left;

    if (opcode_of(ws) != OPCODE_PONG)
        unmask(out_reserve(origin, part), data, part, ws->mask);
    unsigned turn = (unsigned)(part % MASK_BYTES) * 8;
    if (turn > 0)
        ws->mask = ws->mask >> turn | ws->mask << (32 - turn);
    ws->left -= part;
    if (ws->left == 0) {
        ws->is_in_payload = false;
        ws->header_size = 0;
        if (opcode_of(ws) == OPCODE_CLOSE)
            end_with(conn);
    }
    return part;
}

size_t ws_echo_consume(struct origin *origin, struct conn *conn, const char *data, size_t size)
{
    size_t used = 0;
    while (conn->state == CONN_WS && (used < size || conn->ws.is_in_payload)) {
        if (conn->ws.is_in_payload && conn->ws.left > 0 && used == size)
            break;
        if (conn->ws.is_in_payload)
            used += echo_payload(origin, conn, data + used, size - used);
        else
            used += collect_header(origin, conn, data + used, size - used);
    }
    return used;
}
