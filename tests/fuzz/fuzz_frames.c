/* The frame tracker against a simple parser that looks at the whole stream at once: however the
 * bytes were cut on their way, the same frames, boundaries and ends are seen. The first byte of the
 * input chooses the direction and how the rest is cut. */
#include "lb/ws/ws.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is true after the first bytes of a stream. */
struct truth {
    bool is_opaque, is_at_boundary, has_close, has_whole_close;
    uint32_t messages;
    uint16_t close_code;
};

/* Written to be obviously right: starts over for every question, no state is kept between bytes. */
static struct truth truth_after(const uint8_t *bytes, size_t size, bool is_from_client)
{
    struct truth truth = {0};
    size_t at = 0;
    bool is_in_message = false;

    while (at < size) {
        const uint8_t *frame = bytes + at;
        size_t there = size - at;
        uint8_t opcode = frame[0] & 15;
        bool is_final = frame[0] & 128, is_data = opcode < 8;
        bool is_known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
        bool is_in_order = is_data ? (opcode == 0) == is_in_message : is_final;

        if (!is_known || !is_in_order) {
            truth.is_opaque = true;
            return truth;
        }
        truth.has_close |= opcode == 8;
        if (there < 2)
            return truth;

        uint64_t payload = frame[1] & 127;
        size_t header = payload == 127 ? 10 : payload == 126 ? 4 : 2;
        bool is_masked = frame[1] & 128;
        bool is_too_long = there > 2 && header == 10 && frame[2] >= 128;
        if (is_masked != is_from_client || (!is_data && payload > 125) || is_too_long) {
            truth.is_opaque = true;
            return truth;
        }
        if (there < header + (is_masked ? 4 : 0))
            return truth;
        if (header > 2) {
            payload = 0;
            for (size_t i = 2; i < header; i++)
                payload = payload * 256 + frame[i];
        }
        const uint8_t *mask = frame + header;
        header += is_masked ? 4 : 0;
        if (is_data)
            is_in_message = !is_final;
        if (there - header < payload)
            return truth;

        const uint8_t *code = frame + header;
        if (opcode == 8 && !truth.has_whole_close) {
            truth.has_whole_close = true;
            truth.close_code = 1005;
            if (payload >= 2)
                truth.close_code = is_masked
                                       ? (uint16_t)((code[0] ^ mask[0]) << 8 | (code[1] ^ mask[1]))
                                       : (uint16_t)(code[0] << 8 | code[1]);
        }
        truth.messages += is_data && is_final;
        at += header + (size_t)payload;
    }
    truth.is_at_boundary = true;
    return truth;
}

static void check(const struct ws_tracker *tracker, const struct truth *truth)
{
    LP_ASSERT(ws_tracker_is_opaque(tracker) == truth->is_opaque);
    LP_ASSERT(ws_tracker_is_at_boundary(tracker) == truth->is_at_boundary);
    LP_ASSERT(ws_tracker_has_close(tracker) == truth->has_close);
    LP_ASSERT(ws_tracker_has_whole_close(tracker) == truth->has_whole_close);
    LP_ASSERT(tracker->messages == truth->messages);
    LP_ASSERT(tracker->close_code == truth->close_code);
}

/* In a block of its own, so that the address sanitizer sees a byte read too far. */
static size_t step(struct ws_tracker *tracker, const uint8_t *bytes, size_t size, bool until)
{
    char *block = malloc(size ? size : 1);

    LP_ASSERT(block != NULL);
    memcpy(block, bytes, size);
    size_t used = ws_tracker_step(tracker, block, size, until);
    free(block);
    return used;
}

/* Cut where a small generator says. */
static void check_pieces(const uint8_t *bytes, size_t size, bool is_from_client, uint32_t seed)
{
    struct ws_tracker tracker;
    size_t at = 0;

    ws_tracker_init(&tracker, is_from_client);
    while (at < size) {
        seed = seed * 1664525u + 1013904223u;
        size_t piece = (seed >> 24) % 32;
        if (piece > size - at)
            piece = size - at;
        LP_ASSERT(step(&tracker, bytes + at, piece, false) == piece);
        at += piece;
        struct truth truth = truth_after(bytes, at, is_from_client);
        check(&tracker, &truth);
    }
}

/* From every place on: the first boundary behind it, as the full scan knows it. */
static void check_until_boundary(const uint8_t *bytes, size_t size, bool is_from_client)
{
    struct ws_tracker tracker;

    ws_tracker_init(&tracker, is_from_client);
    for (size_t at = 0; at <= size; at++) {
        struct truth truth = truth_after(bytes, at, is_from_client);
        check(&tracker, &truth);

        struct ws_tracker ahead = tracker;
        size_t used = step(&ahead, bytes + at, size - at, true), expected = at;
        while (expected < size && !truth_after(bytes, expected, is_from_client).is_at_boundary)
            expected++;
        LP_ASSERT(at + used == expected);
        truth = truth_after(bytes, expected, is_from_client);
        check(&ahead, &truth);
        if (at < size)
            LP_ASSERT(step(&tracker, bytes + at, 1, false) == 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 600) /* The reference is quadratic. */
        return 0;
    bool is_from_client = data[0] & 1;
    struct ws_tracker tracker;

    ws_tracker_init(&tracker, is_from_client);
    LP_ASSERT(step(&tracker, data + 1, size - 1, false) == size - 1);
    struct truth truth = truth_after(data + 1, size - 1, is_from_client);
    check(&tracker, &truth);
    check_pieces(data + 1, size - 1, is_from_client, data[0]);
    check_until_boundary(data + 1, size - 1, is_from_client);
    return 0;
}
