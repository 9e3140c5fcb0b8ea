/* Following the frames of a tunnel: frames of one size as they fill a receive buffer, one frame a
 * receive as in a chat, frames cut anywhere; and the values of a handshake. */
#include <string.h>

#include "lb/ws/ws.h"

#include "bench/micro/micro.h"

#define TINY_BYTES   5u
#define TINY_COUNT   1000u
#define HEADER_MAX   14u
#define BUFFER_BYTES (4u * (LP_BUF_LARGE_BYTES + HEADER_MAX))
#define CUT_BYTES    997u

struct following {
    struct ws_tracker tracker;
    bool is_masked;
    uint32_t frames_count;
    uint32_t step_bytes; /* what one receive brings */
    uint32_t size;
    uint8_t *bytes; /* frames, one behind the other */
};

/* Binary, FIN, with the shortest form of its length. Gives the bytes written. */
static uint32_t put_frame(uint8_t *out, uint32_t payload_size, bool is_masked)
{
    uint8_t mask_bit = is_masked ? 0x80 : 0;
    uint32_t size = 0;

    out[size++] = 0x82;
    if (payload_size < 126) {
        out[size++] = (uint8_t)(mask_bit | payload_size);
    } else if (payload_size < 65536) {
        out[size++] = mask_bit | 126;
        out[size++] = (uint8_t)(payload_size >> 8);
        out[size++] = (uint8_t)payload_size;
    } else {
        out[size++] = mask_bit | 127;
        for (unsigned shift = 64; shift > 0;) {
            shift -= 8;
            out[size++] = (uint8_t)((uint64_t)payload_size >> shift);
        }
    }
    if (is_masked) {
        memcpy(out + size, "\x37\xfa\x21\x3d", 4);
        size += 4;
    }
    memset(out + size, 'x', payload_size);
    return size + payload_size;
}

static uint64_t run_follow(void *context, uint64_t count)
{
    struct following *following = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        for (uint32_t at = 0; at < following->size; at += following->step_bytes) {
            uint32_t there = following->size - at;
            micro_keep(ws_tracker_step(
                &following->tracker, (const char *)following->bytes + at,
                there < following->step_bytes ? there : following->step_bytes, false));
        }
    return micro_ticks() - begin;
}

static void fill(struct following *following, uint32_t payload_size, uint32_t frames_count,
                 bool is_masked)
{
    following->is_masked = is_masked;
    following->frames_count = frames_count;
    following->size = 0;
    for (uint32_t i = 0; i < frames_count; i++)
        following->size += put_frame(following->bytes + following->size, payload_size, is_masked);
    MICRO_REQUIRE(following->size <= BUFFER_BYTES);
    following->step_bytes = following->size;
}

/* step_bytes 0: all in one step; else as many as one receive brings. */
static void measure_following(struct micro *micro, struct following *following, uint32_t step_bytes,
                              const char *what)
{
    if (step_bytes != 0)
        following->step_bytes = step_bytes;
    ws_tracker_init(&following->tracker, following->is_masked);
    micro_measure(micro,
                  &(struct micro_work){run_follow, .context = following,
                                       .ops = following->frames_count, .bytes = following->size},
                  "%s%s", what, following->is_masked ? ", masked" : "");
    MICRO_REQUIRE(!ws_tracker_is_opaque(&following->tracker));
    MICRO_REQUIRE(ws_tracker_is_at_boundary(&following->tracker));
}

static void measure_frames(struct micro *micro, struct following *following, bool is_masked)
{
    fill(following, TINY_BYTES, TINY_COUNT, is_masked);
    measure_following(micro, following, 0, "1000 frames of 5 B in one buffer");
    fill(following, 64, 200, is_masked);
    measure_following(micro, following, 0, "64 B, 200 a receive");
    measure_following(micro, following, CUT_BYTES, "64 B, cut every 997 bytes");
    fill(following, 64, 1, is_masked);
    measure_following(micro, following, 0, "64 B, one a receive");
    fill(following, 1024, 16, is_masked);
    measure_following(micro, following, 0, "1 KiB, 16 a receive");
    fill(following, 1024, 1, is_masked);
    measure_following(micro, following, 0, "1 KiB, one a receive");
    fill(following, LP_BUF_LARGE_BYTES, 4, is_masked);
    measure_following(micro, following, LP_BUF_SMALL_BYTES, "64 KiB, 16 KiB a receive");
    fill(following, 64, 1, is_masked);
    measure_following(micro, following, 1, "64 B, byte by byte");
}

static uint64_t run_accept(void *context, uint64_t count)
{
    struct lp_slice key = LP_SLICE("q4xkcO32u266gldTuKaSOw==");
    char out[WS_ACCEPT_SIZE];
    uint64_t begin = micro_ticks();

    (void)context;
    while (count-- > 0) {
        ws_accept(out, key);
        micro_keep_pointer(out);
    }
    return micro_ticks() - begin;
}

static uint64_t run_close(void *context, uint64_t count)
{
    const bool *is_masked = context;
    char out[WS_CLOSE_FRAME_MAX];
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        micro_keep(ws_write_close(out, 1001, LP_SLICE("going away"), *is_masked));
        micro_keep_pointer(out);
    }
    return micro_ticks() - begin;
}

void micro_frames(struct micro *micro)
{
    struct following following = {.bytes = lp_alloc(BUFFER_BYTES)};
    bool to_client = false, to_server = true;

    measure_frames(micro, &following, false);
    measure_frames(micro, &following, true);
    micro_measure(micro, &(struct micro_work){.run = run_accept},
                  "handshake: Sec-WebSocket-Accept");
    micro_measure(micro, &(struct micro_work){run_close, .context = &to_client}, "write a Close");
    micro_measure(micro, &(struct micro_work){run_close, .context = &to_server},
                  "write a Close, masked");
    lp_free(following.bytes);
}
