/* ws: WebSocket (RFC 6455) handshake values and frame tracking. Pure: no I/O, no memory.
 *
 * A tunnel forwards opaque bytes. The tracker reads only frame headers (and the code of a Close),
 * so that limpet always knows whether what it has sent stands at a frame boundary. */
#ifndef LP_LB_WS_WS_H
#define LP_LB_WS_WS_H

#include "base/base.h"

#define WS_ACCEPT_SIZE     28u /* base64 of a SHA-1 */
#define WS_KEY_SIZE        24u /* base64 of 16 bytes */
#define WS_CLOSE_FRAME_MAX (2u + 4u + 125u)

/* Sec-WebSocket-Accept for a valid Sec-WebSocket-Key. Not NUL-terminated. */
void ws_accept(char out[WS_ACCEPT_SIZE], struct lp_slice key);
/* A fresh random key. */
void ws_make_key(char out[WS_KEY_SIZE]);
/* Base64 of exactly 16 bytes? */
bool ws_key_is_valid(struct lp_slice key);

/* One direction of a tunnel; small, one lives in each direction of every open tunnel. Only messages
 * and close_code are for others to read. */
struct ws_tracker {
    union {
        uint8_t header[14]; /* of a frame header under way */
        struct {            /* of a frame whose header has passed */
            uint64_t left;  /* bytes of its payload */
            uint8_t first;  /* its FIN, RSV and opcode */
            uint8_t key[2]; /* a Close: of its mask, what covers the code */
            uint8_t code[2];
            uint8_t code_seen; /* bytes of it */
        } frame;
    };
    uint32_t messages;   /* data messages that ended */
    uint16_t close_code; /* of the first Close that passed; 1005 when it had none; 0 before */
    uint8_t header_size; /* bytes of the header seen */
    uint8_t flags;
};

/* is_from_client: frames must be masked, else they must not be. */
void ws_tracker_init(struct ws_tracker *tracker, bool is_from_client);

/* Reads all of data; or, with until_boundary, up to and including the first byte at which a frame
 * ends (reads nothing when it stands at a boundary already). Gives the bytes read. A violation
 * (reserved opcode, wrong mask bit, oversized or fragmented control frame, 64-bit length with the
 * top bit set, continuation without a start or a start within a message) makes the tracker opaque
 * for good: then it reads everything and knows nothing. */
size_t ws_tracker_step(struct ws_tracker *tracker, const char *data, size_t size,
                       bool until_boundary);

bool ws_tracker_is_opaque(const struct ws_tracker *tracker);
/* Nothing of a frame is under way; false when opaque. Between fragments of a message counts. */
bool ws_tracker_is_at_boundary(const struct ws_tracker *tracker);
/* Between the first and the last fragment of a message, whether or not a frame is under way. */
bool ws_tracker_is_in_message(const struct ws_tracker *tracker);
/* In the middle of a frame or of a message. */
static inline bool ws_tracker_is_speaking(const struct ws_tracker *tracker)
{
    return !ws_tracker_is_at_boundary(tracker) || ws_tracker_is_in_message(tracker);
}
/* A Close frame has begun or passed. */
bool ws_tracker_has_close(const struct ws_tracker *tracker);
/* A whole Close frame has passed. */
bool ws_tracker_has_whole_close(const struct ws_tracker *tracker);

/* A Close frame with code and reason (cut to 123 bytes, between two characters); without both when
 * the code may not be sent (1005: nothing to say). Masked with a fresh random key when it goes to a
 * server. Gives the size. A Ping frame likewise, with up to 125 bytes. */
size_t ws_write_close(char out[WS_CLOSE_FRAME_MAX], uint16_t code, struct lp_slice reason,
                      bool is_masked);
size_t ws_write_ping(char out[WS_CLOSE_FRAME_MAX], struct lp_slice payload, bool is_masked);

/* May this code be sent in a Close frame (RFC 6455, 7.4)? */
bool ws_close_code_is_sendable(uint16_t code);

#endif
