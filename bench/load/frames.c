/* A header is collected byte by byte, which costs little beside a system call; payloads are handed
 * on where they lie. Control frames are short and are collected whole. */
#include "bench/load/frames.h"

#include <string.h>

enum { OPCODE_CONTINUATION = 0, OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG };

#define FIN_BIT  0x80u
#define RSV_BITS 0x70u
#define MASK_BIT 0x80u

static uint8_t opcode_of(const struct frames *frames)
{
    return frames->header[0] & 0x0f;
}

static bool is_control(const struct frames *frames)
{
    return opcode_of(frames) >= OPCODE_CLOSE;
}

static uint8_t header_needs(const struct frames *frames)
{
    if (frames->header_size < 2 || frames->header[1] < 126)
        return 2;
    return frames->header[1] == 126 ? 4 : 10;
}

static bool header_is_good(const struct frames *frames)
{
    uint8_t opcode = opcode_of(frames);
    bool has_fin = (frames->header[0] & FIN_BIT) != 0;

    if ((frames->header[0] & RSV_BITS) != 0 || (frames->header[1] & MASK_BIT) != 0)
        return false;
    if (is_control(frames))
        return opcode <= OPCODE_PONG && has_fin && frames->header[1] <= FRAMES_CONTROL_MAX;
    if (opcode > OPCODE_BINARY)
        return false;
    return (opcode == OPCODE_CONTINUATION) == frames->is_in_message;
}

/* True once the header is whole. */
static bool collect_header(struct frames *frames, size_t *used, const char *data, size_t size)
{
    while (frames->header_size < header_needs(frames)) {
        if (*used == size)
            return false;
        frames->header[frames->header_size++] = (uint8_t)data[(*used)++];
    }
    uint8_t needs = header_needs(frames);
    frames->left = needs == 2 ? frames->header[1] : 0;
    for (uint8_t i = 2; i < needs; i++)
        frames->left = frames->left << 8 | frames->header[i];
    frames->is_in_payload = true;
    frames->control_size = 0;
    return true;
}

/* A frame's payload has passed. */
static enum frames_event end_frame(struct frames *frames)
{
    frames->header_size = 0;
    frames->is_in_payload = false;
    switch (opcode_of(frames)) {
    case OPCODE_CLOSE:
        return FRAMES_CLOSE;
    case OPCODE_PING:
        return FRAMES_PING;
    case OPCODE_PONG:
        return FRAMES_PONG;
    default:
        frames->is_in_message = (frames->header[0] & FIN_BIT) == 0;
        return frames->is_in_message ? FRAMES_MORE : FRAMES_MESSAGE;
    }
}

enum frames_event frames_step(struct frames *frames, size_t *used, struct lp_slice *piece,
                              const char *data, size_t size)
{
    *used = 0;
    for (;;) {
        if (!frames->is_in_payload) {
            if (!collect_header(frames, used, data, size))
                return FRAMES_MORE;
            if (!header_is_good(frames))
                return FRAMES_BAD;
        }
        if (frames->left == 0) {
            enum frames_event event = end_frame(frames);
            if (event != FRAMES_MORE)
                return event;
            continue; /* a fragment ended, the message goes on */
        }
        size_t taken = size - *used < frames->left ? size - *used : (size_t)frames->left;
        if (taken == 0)
            return FRAMES_MORE;
        *piece = (struct lp_slice){data + *used, taken};
        *used += taken;
        frames->left -= taken;
        if (!is_control(frames))
            return FRAMES_DATA;
        memcpy(frames->control + frames->control_size, piece->data, taken);
        frames->control_size = (uint8_t)(frames->control_size + taken);
    }
}

uint16_t frames_close_code(const struct frames *frames)
{
    if (frames->control_size < 2)
        return 1005;
    return (uint16_t)(frames->control[0] << 8 | frames->control[1]);
}
