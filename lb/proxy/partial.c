/* Unfinished heads and hellos in memory of exactly their size: a hundred slow clients cost what
 * they sent. */
#include <string.h>

#include "lb/proxy/session.h"

/* The field behind the last whole one may be under way: its name was read, its value not yet. */
static size_t head_bytes(const struct http1_head *head)
{
    if (head == NULL)
        return 0;
    size_t count = head->fields_count < LP_HEADERS_MAX ? head->fields_count + 1u : LP_HEADERS_MAX;
    return offsetof(struct http1_head, fields) + count * sizeof(head->fields[0]);
}

bool partial_save(struct partial **partial, const struct http1_head *head, struct lp_slice bytes)
{
    size_t head_size = head_bytes(head);
    char *memory = lp_try_alloc(sizeof(struct partial) + head_size + bytes.size);

    if (memory == NULL)
        return false;
    struct partial *saved = (struct partial *)(void *)memory;
    *saved = (struct partial){.size = (uint32_t)bytes.size,
                              .bytes = memory + sizeof(*saved) + head_size,
                              .snapshot = *partial != NULL ? (*partial)->snapshot : NULL,
                              .listener = *partial != NULL ? (*partial)->listener : NULL};
    if (head != NULL) {
        saved->head = (struct http1_head *)(void *)(memory + sizeof(*saved));
        memcpy(saved->head, head, head_size);
    }
    memcpy(saved->bytes, bytes.data, bytes.size);
    partial_free(partial);
    *partial = saved;
    return true;
}

void partial_load(const struct partial *partial, struct http1_head *head)
{
    memcpy(head, partial->head, head_bytes(partial->head));
}

void partial_free(struct partial **partial)
{
    lp_free(*partial);
    *partial = NULL;
}

/* A receive for the rest of a head was limited so that both fit its buffer. Small messages are not:
 * those move to a buffer with room for both. */
bool partial_join(struct loop *loop, const struct partial *partial, struct conn *conn)
{
    struct uring *uring = loop->uring;
    struct piece *in = &conn->io->in;
    uint32_t size = partial->size + in->size;
    char *start = uring_buffer_base(uring, in->buffer) + LP_HEADROOM_BYTES;

    LP_ASSERT(in->data == start);
    if (size <= uring_buffer_size(in->buffer)) {
        memmove(start + partial->size, start, in->size);
    } else {
        uint32_t buffer = uring_buffer_take(uring, uring_group_for(LP_HEADROOM_BYTES + size));
        if (buffer == URING_NO_BUFFER)
            return false;
        start = uring_buffer_base(uring, buffer) + LP_HEADROOM_BYTES;
        memcpy(start + partial->size, in->data, in->size);
        piece_drop(loop, in);
        *in = (struct piece){start, size, buffer};
    }
    memcpy(start, partial->bytes, partial->size);
    in->size = size;
    return true;
}
