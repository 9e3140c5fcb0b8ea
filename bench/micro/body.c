/* Bodies as lb/proxy walks them: chunked ones in receive buffers of 16 KiB, and event streams,
 * plain and in chunks, whose events are looked for. */
#include <stdio.h>
#include <string.h>

#include "lb/http/http1.h"

#include "bench/micro/micro.h"

#define BODY_BYTES  65536u /* of content, at least */
#define BYTES_MAX   (2u * BODY_BYTES)
#define CHUNK_LINES 16u /* bytes of a size line with both CRLFs, at most */

struct walking {
    size_t size;
    size_t step_bytes;
    bool has_events;
    char bytes[BYTES_MAX];
};

/* Gives the bytes of content. */
static size_t walk(const struct walking *walking, struct http1_chunked *chunked,
                   struct http1_events *events, size_t at, size_t there)
{
    size_t used = 0, content = 0;
    const char *why;

    for (;;) {
        size_t run;
        enum http1_chunk chunk =
            http1_chunked_step(chunked, walking->bytes + at + used, there - used, &run, &why);
        if (chunk == HTTP1_CHUNK_DATA) {
            content += run;
            if (walking->has_events)
                http1_events_step(events, walking->bytes + at + used, run, false);
        }
        used += run;
        if (chunk == HTTP1_CHUNK_MORE || chunk == HTTP1_CHUNK_DONE || chunk == HTTP1_CHUNK_BAD)
            return content;
    }
}

static size_t walk_body(const struct walking *walking)
{
    struct http1_chunked chunked;
    struct http1_events events;
    size_t content = 0;

    http1_chunked_init(&chunked);
    http1_events_init(&events);
    for (size_t at = 0; at < walking->size; at += walking->step_bytes) {
        size_t there = walking->size - at;
        content += walk(walking, &chunked, &events, at,
                        there < walking->step_bytes ? there : walking->step_bytes);
    }
    return content;
}

static uint64_t run_chunks(void *context, uint64_t count)
{
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        micro_keep(walk_body(context));
    return micro_ticks() - begin;
}

static uint64_t run_events(void *context, uint64_t count)
{
    const struct walking *walking = context;
    struct http1_events events;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        http1_events_init(&events);
        for (size_t at = 0; at < walking->size; at += walking->step_bytes) {
            size_t there = walking->size - at;
            micro_keep(http1_events_step(&events, walking->bytes + at,
                                         there < walking->step_bytes ? there : walking->step_bytes,
                                         false));
        }
    }
    return micro_ticks() - begin;
}

/* "data: xxx...", and the empty line, size bytes together. */
static size_t put_event(char *out, size_t size)
{
    memset(out, 'x', size);
    memcpy(out, "data: ", 6);
    memcpy(out + size - 2, "\n\n", 2);
    return size;
}

/* Chunks of that size, with an event in each when it has events. Gives their count. */
static uint32_t fill_chunks(struct walking *walking, uint32_t chunk_size)
{
    uint32_t chunks_count = BODY_BYTES / chunk_size;

    walking->size = 0;
    walking->step_bytes = LP_BUF_SMALL_BYTES;
    for (uint32_t i = 0; i < chunks_count; i++) {
        MICRO_REQUIRE(walking->size + chunk_size + CHUNK_LINES < BYTES_MAX);
        walking->size +=
            (size_t)snprintf(walking->bytes + walking->size, CHUNK_LINES, "%x\r\n", chunk_size);
        walking->size += put_event(walking->bytes + walking->size, chunk_size);
        memcpy(walking->bytes + walking->size, "\r\n", 2);
        walking->size += 2;
    }
    memcpy(walking->bytes + walking->size, "0\r\n\r\n", 5);
    walking->size += 5;
    return chunks_count;
}

static void measure_chunks(struct micro *micro, struct walking *walking, uint32_t chunk_size,
                           bool has_events)
{
    uint32_t chunks_count = fill_chunks(walking, chunk_size);

    walking->has_events = has_events;
    MICRO_REQUIRE(walk_body(walking) == (size_t)chunks_count * chunk_size);
    micro_measure(micro,
                  &(struct micro_work){run_chunks, .context = walking, .ops = chunks_count,
                                       .bytes = walking->size},
                  "chunk of %u B%s", chunk_size, has_events ? " with an event" : "");
}

/* BODY_BYTES of events, as one read brings them; or one event a read. */
static void measure_events(struct micro *micro, struct walking *walking, uint32_t event_size,
                           bool one_each)
{
    uint32_t events_count = one_each ? 1 : BODY_BYTES / event_size;

    walking->size = 0;
    for (uint32_t i = 0; i < events_count; i++)
        walking->size += put_event(walking->bytes + walking->size, event_size);
    walking->step_bytes = LP_BUF_SMALL_BYTES;
    micro_measure(micro,
                  &(struct micro_work){run_events, .context = walking, .ops = events_count,
                                       .bytes = walking->size},
                  "event of %u B%s", event_size, one_each ? ", one a receive" : "");
}

void micro_body(struct micro *micro)
{
    static const uint32_t chunk_sizes[] = {16, 256, 4096, 65536};
    static const uint32_t event_sizes[] = {16, 64, 1024, 16384};
    struct walking *walking = lp_alloc(sizeof(*walking));

    for (size_t i = 0; i < LP_COUNT_OF(chunk_sizes); i++)
        measure_chunks(micro, walking, chunk_sizes[i], false);
    measure_chunks(micro, walking, 64, true);
    measure_chunks(micro, walking, 1024, true);
    for (size_t i = 0; i < LP_COUNT_OF(event_sizes); i++)
        measure_events(micro, walking, event_sizes[i], false);
    measure_events(micro, walking, 64, true);
    lp_free(walking);
}
