/* frames: reads the frames of a WebSocket's server (RFC 6455, 5), however they are cut. */
#ifndef LOAD_FRAMES_H
#define LOAD_FRAMES_H

#include "base/base.h"

#define FRAMES_CONTROL_MAX 125u

enum frames_event {
    FRAMES_MORE,    /* all bytes are used, more are needed */
    FRAMES_DATA,    /* the slice is a piece of a message   */
    FRAMES_MESSAGE, /* the message has ended               */
    FRAMES_PING,    /* control_size bytes in control       */
    FRAMES_PONG,
    FRAMES_CLOSE,
    FRAMES_BAD,
};

/* Begins zeroed. */
struct frames {
    uint64_t left; /* of the payload */
    uint8_t header[10];
    uint8_t header_size; /* bytes of it that came; 0: between two frames */
    bool is_in_payload;
    bool is_in_message; /* a data frame without FIN came */
    uint8_t control_size;
    uint8_t control[FRAMES_CONTROL_MAX];
};

/* Reads on. Borrows data; gives in *used how much of it was taken and, for FRAMES_DATA, the piece,
 * which lies in data. To be called until FRAMES_MORE or BAD. */
enum frames_event frames_step(struct frames *frames, size_t *used, struct lp_slice *piece,
                              const char *data, size_t size);

/* The code of the Close that was just read; 1005 when it has none. */
uint16_t frames_close_code(const struct frames *frames);

#endif
