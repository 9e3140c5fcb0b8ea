/* The few frames that limpet says itself: a Close and a Ping. Control frames, so that one header
 * form is enough (RFC 6455, 5.5: at most 125 bytes, never fragmented). */
#include "lb/ws/ws.h"

#include <string.h>

#define CONTROL_PAYLOAD_MAX 125u
#define CLOSE_REASON_MAX    (CONTROL_PAYLOAD_MAX - 2u)
#define FIN_CLOSE           0x88u
#define FIN_PING            0x89u
#define MASKED              0x80u

static size_t write_control(char out[WS_CLOSE_FRAME_MAX], uint8_t first, const uint8_t *payload,
                            size_t size, bool is_masked)
{
    uint8_t *frame = (uint8_t *)out;
    uint8_t key[4] = {0, 0, 0, 0};
    size_t at = 0;

    frame[at++] = first;
    frame[at++] = (uint8_t)size;
    if (is_masked) {
        frame[1] |= MASKED;
        lp_random(key, sizeof(key)); /* RFC 6455, 5.3: from a strong source, for each frame. */
        memcpy(frame + at, key, sizeof(key));
        at += sizeof(key);
    }
    for (size_t i = 0; i < size; i++)
        frame[at++] = payload[i] ^ key[i % 4];
    return at;
}

/* RFC 6455, 5.5.1: the reason is UTF-8, so it is not cut within a character. */
static size_t cut_reason(struct lp_slice reason)
{
    size_t size = reason.size;

    if (size <= CLOSE_REASON_MAX)
        return size;
    size = CLOSE_REASON_MAX;
    while (size > 0 && ((uint8_t)reason.data[size] & 0xc0u) == 0x80u)
        size--;
    return size;
}

size_t ws_write_close(char out[WS_CLOSE_FRAME_MAX], uint16_t code, struct lp_slice reason,
                      bool is_masked)
{
    uint8_t payload[CONTROL_PAYLOAD_MAX] = {0};
    size_t reason_size = cut_reason(reason);

    if (!ws_close_code_is_sendable(code))
        return write_control(out, FIN_CLOSE, payload, 0, is_masked);
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    if (reason_size > 0)
        memcpy(payload + 2, reason.data, reason_size);
    return write_control(out, FIN_CLOSE, payload, 2 + reason_size, is_masked);
}

size_t ws_write_ping(char out[WS_CLOSE_FRAME_MAX], struct lp_slice payload, bool is_masked)
{
    size_t size = payload.size < CONTROL_PAYLOAD_MAX ? payload.size : CONTROL_PAYLOAD_MAX;

    return write_control(out, FIN_PING, (const uint8_t *)payload.data, size, is_masked);
}
