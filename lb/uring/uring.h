/* uring: one thread's kernel queue pair and its receive buffers. The only code that knows liburing.
 *
 * An operation is a promise that the kernel keeps: it is named by operation, space, slot and
 * generation, and its end is the event without `has_more`. The owner counts: +1 per call of a
 * function marked (op), -1 per event without has_more. Memory given to an operation stays until
 * then. All functions belong to the thread that created the uring. */
#ifndef LP_LB_URING_URING_H
#define LP_LB_URING_URING_H

#include "base/base.h"

enum uring_op {
    URING_ACCEPT, /* multishot: result is a descriptor        */
    URING_CONNECT,
    URING_RECV, /* result bytes in `buffer`, 0 is EOF         */
    URING_SEND, /* everything was sent, or an error           */
    URING_READ, /* of an eventfd or signalfd                  */
    URING_POLL, /* a descriptor's events, as poll()           */
    URING_CANCEL,
};

/* Which table a slot belongs to; the loop looks it up there. */
struct uring_name {
    uint8_t space; /* 0..15 */
    struct lp_pool_name at;
};

struct uring_event {
    enum uring_op op;
    struct uring_name name;
    int result;           /* as the system call, errors negative */
    uint32_t buffer;      /* URING_NO_BUFFER, or a buffer that is now ours */
    bool has_more;        /* of a multishot: the operation goes on */
    bool socket_has_more; /* recv: more bytes wait in the socket */
};

#define URING_NO_BUFFER UINT32_MAX

enum uring_group { URING_TINY, URING_SMALL, URING_LARGE, URING_GROUPS };

struct uring;

struct uring_settings {
    uint32_t entries;      /* of the submission queue, a power of two */
    uint32_t buffers_tiny; /* published at any time, powers of two     */
    uint32_t buffers_small;
    uint32_t buffers_large;
    size_t memory_max; /* bytes of buffers beyond the published ones */
};

/* Gives *out, or false with a sentence that says what forbids io_uring here and what to do. */
bool uring_create(struct uring **out, const struct uring_settings *settings,
                  struct lp_err *err) LP_MUST_USE;
void uring_destroy(struct uring *uring);
void uring_set_memory_max(struct uring *uring, size_t memory_max);

/* (op) each. */
void uring_accept(struct uring *uring, struct uring_name name, int fd);
void uring_connect(struct uring *uring, struct uring_name name, int fd, const struct lp_addr *addr);
/* Into a buffer of that group. size_max 0: as much as a buffer holds. is_likely_empty saves the
 * first attempt and waits for data at once. */
void uring_recv(struct uring *uring, struct uring_name name, int fd, enum uring_group group,
                uint32_t size_max, bool is_likely_empty);
/* Once armed, each arrival is an event with a tiny buffer until one lacks has_more; up to 32 come
 * before the kernel looks at anything else, also behind a cancel. Only if the kernel does it well.
 */
void uring_recv_multishot(struct uring *uring, struct uring_name name, int fd);
bool uring_has_multishot(const struct uring *uring);
/* Waits until all of data is sent, or an error. */
void uring_send(struct uring *uring, struct uring_name name, int fd, const char *data,
                uint32_t size);
void uring_read(struct uring *uring, struct uring_name name, int fd, void *out, uint32_t size);
/* The peer says no more, or has gone, whatever of it lies unread. */
void uring_poll_hangup(struct uring *uring, struct uring_name name, int fd);
/* Cancels the operation `op` of the same name. Its own event (URING_CANCEL) comes as well. */
void uring_cancel(struct uring *uring, struct uring_name name, enum uring_op op);

enum uring_wait {
    URING_WOKE,        /* there are events, or the time is over                           */
    URING_INTERRUPTED, /* by a signal, a stop or a freeze: what is there may be unseen yet */
    URING_BROKEN,      /* the kernel refuses for good (with errno)                        */
};

/* Submits what was prepared and waits for at least one event, at most wait_ms. Refills the
 * published buffers first. */
enum uring_wait uring_wait(struct uring *uring, uint32_t wait_ms);
/* Takes the next event; false when there is none now. */
bool uring_next(struct uring *uring, struct uring_event *out);

/* Buffers have reference counts; an event gives one reference. */
void uring_buffer_ref(struct uring *uring, uint32_t buffer);
void uring_buffer_put(struct uring *uring, uint32_t buffer);
uint32_t uring_buffer_refs(const struct uring *uring, uint32_t buffer);
/* The buffer's memory: LP_HEADROOM_BYTES of headroom, then where receives begin. */
char *uring_buffer_base(const struct uring *uring, uint32_t buffer);
/* Bytes behind the headroom. */
uint32_t uring_buffer_size(uint32_t buffer);
/* For bytes of our own, whoever holds all the rest: what must be said when memory is full waits for
 * nobody. So each connection takes at most one or two. URING_NO_BUFFER: the system has none. */
uint32_t uring_buffer_take(struct uring *uring, enum uring_group group);
/* The smallest group whose buffers hold so many bytes from their base on. */
static inline enum uring_group uring_group_for(size_t size)
{
    return size <= LP_HEADROOM_BYTES + LP_BUF_TINY_BYTES    ? URING_TINY
           : size <= LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES ? URING_SMALL
                                                            : URING_LARGE;
}
/* A large one; URING_NO_BUFFER when half of memory_max is held. */
uint32_t uring_buffer_take_large(struct uring *uring);
/* Now and then, as long as it may: gives memory back that was not needed since the time before. */
void uring_trim(struct uring *uring);
bool uring_may_trim(const struct uring *uring);
/* Bytes of buffers that are neither published nor free, and how many memory_max allows. Above half
 * nobody should hold more than one buffer. */
size_t uring_held(const struct uring *uring);
size_t uring_memory_max(const struct uring *uring);
/* Buffers that are neither published nor free; in a debug build all must be back at exit. */
uint32_t uring_buffers_out(const struct uring *uring);
/* How many receives of that group could get a buffer now (an estimate, 0 is exact). */
uint32_t uring_buffers_ready(const struct uring *uring, enum uring_group group);

#endif
