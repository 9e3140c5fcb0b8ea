/* Follows the frames of one direction of a tunnel. It reads headers and the code of a Close; what a
 * payload says is none of its business, nor are RSV bits (extensions) or lengths written longer
 * than needed. Whether anything may be injected is decided by the tunnel, with the answers of this
 * file.
 *
 * Start at ws_tracker_step(). A header that lies wholly in the data is read where it lies; only one
 * that was cut is gathered, a byte at a time, in the tracker. Both ways end in frame_begin(). */
#include "lb/ws/ws.h"

#include <string.h>

static_assert(sizeof(struct ws_tracker) <= 24, "two of them live in every open tunnel");

enum {
    FLAG_FROM_CLIENT = 1,
    FLAG_OPAQUE = 2,
    FLAG_IN_PAYLOAD = 4, /* frame.left counts, and is not 0 */
    FLAG_IN_MESSAGE = 8, /* a fragment without FIN came: only its continuation may follow */
    FLAG_CLOSE_BEGUN = 16,
    FLAG_CLOSE_PASSED = 32,
};

enum { OPCODE_CONTINUATION = 0, OPCODE_CLOSE = 8, OPCODE_FIRST_CONTROL = 8 };

#define FIN           0x80u /* of the first byte  */
#define OPCODE_BITS   0x0fu
#define MASKED        0x80u /* of the second byte */
#define LENGTH_BITS   0x7fu
#define LENGTH_IN_16  126u
#define LENGTH_IN_64  127u
#define CLOSE_NO_CODE 1005u
#define OPCODES_LEGAL 0x0707u /* bit n: opcode n is 0, 1, 2, 8, 9 or 10 */

static inline bool is_control(uint8_t first)
{
    return (first & OPCODE_BITS) >= OPCODE_FIRST_CONTROL;
}

static inline bool is_close(uint8_t first)
{
    return (first & OPCODE_BITS) == OPCODE_CLOSE;
}

/* Of the whole header; from its second byte, once that is there. */
static inline size_t header_size_of(uint8_t second)
{
    size_t size = 2;

    if ((second & LENGTH_BITS) == LENGTH_IN_16)
        size += 2;
    else if ((second & LENGTH_BITS) == LENGTH_IN_64)
        size += 8;
    return second & MASKED ? size + 4 : size;
}

/* From here on a Close has begun, even when its second byte breaks the rules. */
static inline bool take_first_byte(struct ws_tracker *tracker, uint8_t first)
{
    uint8_t opcode = first & OPCODE_BITS;

    if (!(OPCODES_LEGAL >> opcode & 1))
        return false;
    if (!is_control(first))
        return (opcode == OPCODE_CONTINUATION) == !!(tracker->flags & FLAG_IN_MESSAGE);
    if (!(first & FIN))
        return false;
    if (is_close(first))
        tracker->flags |= FLAG_CLOSE_BEGUN;
    return true;
}

static inline bool second_byte_is_legal(const struct ws_tracker *tracker, const uint8_t *header)
{
    if (!(header[1] & MASKED) != !(tracker->flags & FLAG_FROM_CLIENT))
        return false;
    return !is_control(header[0]) || (header[1] & LENGTH_BITS) < LENGTH_IN_16;
}

static inline bool third_byte_is_legal(const uint8_t *header)
{
    return (header[1] & LENGTH_BITS) != LENGTH_IN_64 || header[2] < 0x80;
}

static uint64_t big_endian(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

static inline uint64_t payload_size_of(const uint8_t *header)
{
    uint8_t length = header[1] & LENGTH_BITS;

    if (length < LENGTH_IN_16)
        return length;
    return length == LENGTH_IN_16 ? big_endian(header + 2, 2) : big_endian(header + 2, 8);
}

static void frame_end(struct ws_tracker *tracker, uint8_t first)
{
    tracker->flags &= (uint8_t)~FLAG_IN_PAYLOAD;
    if (is_close(first)) {
        if (!(tracker->flags & FLAG_CLOSE_PASSED)) /* The first one is the one that was meant. */
            tracker->close_code = tracker->frame.code_seen == 2
                                      ? (uint16_t)big_endian(tracker->frame.code, 2)
                                      : CLOSE_NO_CODE;
        tracker->flags |= FLAG_CLOSE_PASSED;
    } else if (!is_control(first) && first & FIN) {
        tracker->messages++;
    }
}

/* The header is complete and legal. It may lie in tracker->header, which shares its place with
 * tracker->frame: everything is read before anything is written. */
static void frame_begin(struct ws_tracker *tracker, const uint8_t *header)
{
    uint8_t first = header[0];
    uint64_t size = payload_size_of(header);
    uint8_t key[2] = {0, 0};

    if (is_close(first)) {
        if (header[1] & MASKED) /* A control frame's length is in the second byte. */
            memcpy(key, header + 2, sizeof(key));
        memcpy(tracker->frame.key, key, sizeof(key));
        tracker->frame.code_seen = 0;
    } else if (!is_control(first)) {
        if (first & FIN)
            tracker->flags &= (uint8_t)~FLAG_IN_MESSAGE;
        else
            tracker->flags |= FLAG_IN_MESSAGE;
    }
    tracker->header_size = 0;
    tracker->frame.first = first;
    tracker->frame.left = size;
    if (size > 0)
        tracker->flags |= FLAG_IN_PAYLOAD;
    else
        frame_end(tracker, first);
}

/* One more byte of a header that was cut. */
static void gather_header_byte(struct ws_tracker *tracker, uint8_t byte)
{
    uint8_t *header = tracker->header;
    bool is_legal = true;

    header[tracker->header_size++] = byte;
    if (tracker->header_size == 1)
        is_legal = take_first_byte(tracker, byte);
    else if (tracker->header_size == 2)
        is_legal = second_byte_is_legal(tracker, header);
    else if (tracker->header_size == 3)
        is_legal = third_byte_is_legal(header);

    if (!is_legal)
        tracker->flags |= FLAG_OPAQUE;
    else if (tracker->header_size >= 2 && tracker->header_size == header_size_of(header[1]))
        frame_begin(tracker, header);
}

/* Gives the bytes read: a whole header, or one byte of a header that was cut. */
static inline size_t header_step(struct ws_tracker *tracker, const uint8_t *data, size_t size)
{
    if (tracker->header_size > 0 || size < 2 || size < header_size_of(data[1])) {
        gather_header_byte(tracker, data[0]);
        return 1;
    }
    if (take_first_byte(tracker, data[0]) && second_byte_is_legal(tracker, data) &&
        third_byte_is_legal(data))
        frame_begin(tracker, data);
    else
        tracker->flags |= FLAG_OPAQUE;
    return header_size_of(data[1]);
}

static void read_close_code(struct ws_tracker *tracker, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size && tracker->frame.code_seen < 2; i++) {
        uint8_t seen = tracker->frame.code_seen++;
        tracker->frame.code[seen] = data[i] ^ tracker->frame.key[seen];
    }
}

static inline size_t payload_step(struct ws_tracker *tracker, const uint8_t *data, size_t size)
{
    if (size > tracker->frame.left)
        size = (size_t)tracker->frame.left;
    if (is_close(tracker->frame.first))
        read_close_code(tracker, data, size);
    tracker->frame.left -= size;
    if (tracker->frame.left == 0)
        frame_end(tracker, tracker->frame.first);
    return size;
}

void ws_tracker_init(struct ws_tracker *tracker, bool is_from_client)
{
    memset(tracker, 0, sizeof(*tracker));
    tracker->flags = is_from_client ? FLAG_FROM_CLIENT : 0;
}

size_t ws_tracker_step(struct ws_tracker *tracker, const char *data, size_t size,
                       bool until_boundary)
{
    const uint8_t *bytes = (const uint8_t *)data;
    size_t at = 0;

    if (until_boundary && ws_tracker_is_at_boundary(tracker))
        return 0;
    while (at < size) {
        if (tracker->flags & FLAG_OPAQUE)
            return size;
        if (tracker->flags & FLAG_IN_PAYLOAD)
            at += payload_step(tracker, bytes + at, size - at);
        else
            at += header_step(tracker, bytes + at, size - at);
        if (until_boundary && ws_tracker_is_at_boundary(tracker))
            break;
    }
    return at;
}

bool ws_tracker_is_opaque(const struct ws_tracker *tracker)
{
    return tracker->flags & FLAG_OPAQUE;
}

bool ws_tracker_is_at_boundary(const struct ws_tracker *tracker)
{
    return !(tracker->flags & (FLAG_OPAQUE | FLAG_IN_PAYLOAD)) && tracker->header_size == 0;
}

bool ws_tracker_is_in_message(const struct ws_tracker *tracker)
{
    return tracker->flags & FLAG_IN_MESSAGE;
}

bool ws_tracker_has_close(const struct ws_tracker *tracker)
{
    return tracker->flags & FLAG_CLOSE_BEGUN;
}

bool ws_tracker_has_whole_close(const struct ws_tracker *tracker)
{
    return tracker->flags & FLAG_CLOSE_PASSED;
}
