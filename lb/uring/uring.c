/* The kernel queue pair of one thread. IO_URING rules that live here: one system call a loop, no
 * timeout operations, oneshot receives into few published buffers, sends of everything or an error,
 * cancels by user data. Start reading at uring_wait() and uring_next(). */
#include "lb/uring/uring.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>

#include "lb/uring/buffers.h"
#include "lb/uring/fault.h"

#define ENTRIES_MIN 512u

/* user data: operation 4 bits, space 4, generation 24, slot 32. */
#define OP_SHIFT    60u
#define SPACE_SHIFT 56u
#define GEN_SHIFT   32u

/* The kernel tells which buffer it used, not of which group: the top bits of the id say that. */
#define GROUP_SHIFT 14u
#define ID_MASK     ((1u << GROUP_SHIFT) - 1)

/* So many are published at first; twice as many after each receive that found none. */
#define PUBLISHED_FIRST 16u

struct published {
    struct io_uring_buf_ring *ring;
    uint32_t count, free_count;
    uint32_t unused_count; /* free ones that stay so: what nobody needs would only grow cold */
    uint32_t *buffer_of;   /* by the kernel's buffer id */
    uint16_t *free_ids;    /* a stack */
};

struct uring {
    struct io_uring ring;
    struct buffers buffers;
    struct published published[URING_GROUPS];
    struct uring_fault fault;
};

static uint64_t user_data(struct uring_name name, enum uring_op op)
{
    return (uint64_t)op << OP_SHIFT | (uint64_t)name.space << SPACE_SHIFT |
           (uint64_t)name.at.generation << GEN_SHIFT | name.at.slot;
}

static bool explain(struct lp_err *err, int error)
{
    switch (error) {
    case EPERM:
    case EACCES:
        return lp_err_set(err, LP_ERR_SYSTEM,
                          "io_uring is blocked here: a container's seccomp profile or "
                          "kernel.io_uring_disabled forbids it; allow io_uring_setup, "
                          "io_uring_enter and io_uring_register");
    case ENOSYS:
        return lp_err_set(err, LP_ERR_SYSTEM,
                          "this kernel has no io_uring; limpet needs Linux 6.1 "
                          "or newer");
    case ENOMEM:
        return lp_err_set(err, LP_ERR_LIMIT,
                          "not enough locked memory for io_uring: raise RLIMIT_MEMLOCK "
                          "(LimitMEMLOCK=infinity in a systemd unit, `ulimit -l`)");
    case EINVAL:
        return lp_err_set(err, LP_ERR_SYSTEM,
                          "this kernel's io_uring is too old for limpet (it "
                          "lacks DEFER_TASKRUN or buffer rings); Linux 6.1 is "
                          "the oldest that works");
    case EMFILE:
    case ENFILE:
        return lp_err_set(err, LP_ERR_LIMIT,
                          "no file descriptor is left for io_uring: raise "
                          "RLIMIT_NOFILE (`ulimit -n`)");
    default:
        return lp_err_set(err, LP_ERR_SYSTEM, "io_uring cannot start: %s", strerror(error));
    }
}

/* Halves the queue while memory may not be locked. */
static int init_ring(struct io_uring *ring, uint32_t entries)
{
    for (;;) {
        struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                                  IORING_SETUP_DEFER_TASKRUN |
                                                  IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
                                         .cq_entries = entries * 4};
        int result = io_uring_queue_init_params(entries, ring, &params);
        if (result != -ENOMEM || entries <= ENTRIES_MIN)
            return result;
        entries /= 2;
    }
}

static int publish_init(struct uring *uring, enum uring_group group, uint32_t count)
{
    struct published *published = &uring->published[group];
    int result = 0;

    published->ring = io_uring_setup_buf_ring(&uring->ring, count, (int)group, 0, &result);
    if (published->ring == NULL)
        return result;
    published->count = count;
    published->free_count = count;
    published->unused_count = count > PUBLISHED_FIRST ? count - PUBLISHED_FIRST : 0;
    published->buffer_of = lp_alloc(count * sizeof(*published->buffer_of));
    published->free_ids = lp_alloc(count * sizeof(*published->free_ids));
    for (uint32_t i = 0; i < count; i++)
        published->free_ids[i] = (uint16_t)(count - 1 - i);
    struct buffer_group *of = &uring->buffers.groups[group];
    of->published_count = count;
    if (group != URING_LARGE) /* those are always within memory_max */
        uring->buffers.bytes_published_max += (size_t)(count + of->slab_count) * of->bytes;
    return 0;
}

bool uring_create(struct uring **out, const struct uring_settings *settings, struct lp_err *err)
{
    struct uring *uring = lp_alloc(sizeof(*uring));
    int result = init_ring(&uring->ring, settings->entries);

    if (result < 0) {
        lp_free(uring);
        return explain(err, -result);
    }
    buffers_init(&uring->buffers, settings->memory_max);
    uring_fault_init(&uring->fault);
    result = publish_init(uring, URING_TINY, settings->buffers_tiny);
    if (result == 0)
        result = publish_init(uring, URING_SMALL, settings->buffers_small);
    if (result == 0)
        result = publish_init(uring, URING_LARGE, settings->buffers_large);
    if (result < 0) {
        uring_destroy(uring);
        return explain(err, -result);
    }
    *out = uring;
    return true;
}

void uring_destroy(struct uring *uring)
{
    for (uint32_t g = 0; g < URING_GROUPS; g++) {
        struct published *published = &uring->published[g];
        if (published->ring == NULL)
            continue;
        io_uring_free_buf_ring(&uring->ring, published->ring, published->count, (int)g);
        lp_free(published->buffer_of);
        lp_free(published->free_ids);
    }
    io_uring_queue_exit(&uring->ring);
    buffers_deinit(&uring->buffers);
    lp_free(uring);
}

void uring_set_memory_max(struct uring *uring, size_t memory_max)
{
    uring->buffers.memory_max = memory_max;
}

/* A full submission queue is submitted at once: a dropped operation would be a hang. */
static struct io_uring_sqe *next_sqe(struct uring *uring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    while (LP_UNLIKELY(sqe == NULL)) {
        int result = io_uring_submit(&uring->ring);
        LP_ASSERT(result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY);
        sqe = io_uring_get_sqe(&uring->ring);
    }
    return sqe;
}

static void finish(struct uring *uring, struct io_uring_sqe *sqe, struct uring_name name,
                   enum uring_op op)
{
    unsigned fault = uring_fault_apply(&uring->fault, sqe, op);
    io_uring_sqe_set_data64(sqe, user_data(name, (enum uring_op)((unsigned)op | fault)));
}

void uring_accept(struct uring *uring, struct uring_name name, int fd)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    finish(uring, sqe, name, URING_ACCEPT);
}

void uring_connect(struct uring *uring, struct uring_name name, int fd, const struct lp_addr *addr)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_connect(sqe, fd, &addr->as.any, addr->size);
    finish(uring, sqe, name, URING_CONNECT);
}

void uring_recv(struct uring *uring, struct uring_name name, int fd, enum uring_group group,
                uint32_t size_max, bool is_likely_empty)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_recv(sqe, fd, NULL, size_max, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = (uint16_t)group;
    if (is_likely_empty)
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    finish(uring, sqe, name, URING_RECV);
}

void uring_recv_multishot(struct uring *uring, struct uring_name name, int fd)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_TINY;
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    finish(uring, sqe, name, URING_RECV);
}

/* Before 6.9 it had bugs; bundles came with 6.10. */
bool uring_has_multishot(const struct uring *uring)
{
    return (uring->ring.features & IORING_FEAT_RECVSEND_BUNDLE) != 0;
}

void uring_send(struct uring *uring, struct uring_name name, int fd, const char *data,
                uint32_t size)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_send(sqe, fd, data, size, MSG_WAITALL | MSG_NOSIGNAL);
    finish(uring, sqe, name, URING_SEND);
}

void uring_read(struct uring *uring, struct uring_name name, int fd, void *out, uint32_t size)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_read(sqe, fd, out, size, 0);
    finish(uring, sqe, name, URING_READ);
}

void uring_poll_hangup(struct uring *uring, struct uring_name name, int fd)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_poll_add(sqe, fd, POLLRDHUP);
    finish(uring, sqe, name, URING_POLL);
}

void uring_cancel(struct uring *uring, struct uring_name name, enum uring_op op)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    io_uring_prep_cancel64(sqe, user_data(name, op), 0);
    finish(uring, sqe, name, URING_CANCEL);
}

/* Hands hot buffers to the kernel until as many are published as there should be. */
static void refill(struct uring *uring, enum uring_group group)
{
    struct published *published = &uring->published[group];
    uint32_t added = 0;

    while (published->free_count > published->unused_count) {
        uint32_t buffer = buffers_take(&uring->buffers, group);
        if (buffer == URING_NO_BUFFER)
            break;
        uint16_t id = published->free_ids[--published->free_count];
        published->buffer_of[id] = buffer;
        buffers_publish(&uring->buffers, buffer);
        id |= (uint16_t)(group << GROUP_SHIFT);
        io_uring_buf_ring_add(
            published->ring, buffers_base(&uring->buffers, buffer) + LP_HEADROOM_BYTES,
            uring_buffer_size(buffer), id, io_uring_buf_ring_mask(published->count), (int)added++);
    }
    if (added > 0)
        io_uring_buf_ring_advance(published->ring, (int)added);
}

enum uring_wait uring_wait(struct uring *uring, uint32_t wait_ms)
{
    refill(uring, URING_TINY);
    refill(uring, URING_SMALL);
    refill(uring, URING_LARGE);
    struct __kernel_timespec wait = {.tv_sec = wait_ms / 1000,
                                     .tv_nsec = (long long)(wait_ms % 1000) * 1000000};
    struct io_uring_cqe *cqe;
    int result = io_uring_submit_and_wait_timeout(&uring->ring, &cqe, 1, &wait, NULL);
    if (result == -EINTR)
        return URING_INTERRUPTED;
    if (result >= 0 || result == -ETIME || result == -EAGAIN || result == -EBUSY)
        return URING_WOKE;
    errno = -result;
    return URING_BROKEN;
}

static void publish_more(struct published *published)
{
    uint32_t used_count = published->count - published->unused_count;
    published->unused_count -=
        used_count < published->unused_count ? used_count : published->unused_count;
}

/* The kernel used a published buffer: it is ours until put back. */
static uint32_t claim_buffer(struct uring *uring, uint16_t id)
{
    struct published *published = &uring->published[id >> GROUP_SHIFT];
    id &= (uint16_t)ID_MASK;
    published->free_ids[published->free_count++] = id;
    buffers_claim(&uring->buffers, published->buffer_of[id]);
    return published->buffer_of[id];
}

bool uring_next(struct uring *uring, struct uring_event *out)
{
    struct io_uring_cqe *cqe;

    if (io_uring_peek_cqe(&uring->ring, &cqe) != 0)
        return false;
    unsigned op = (unsigned)(cqe->user_data >> OP_SHIFT);
    *out = (struct uring_event){
        .op = (enum uring_op)(op & ~URING_FAULT_BIT),
        .name = {.space = (uint8_t)(cqe->user_data >> SPACE_SHIFT & 15),
                 .at = {.slot = (uint32_t)cqe->user_data,
                        .generation = (uint32_t)(cqe->user_data >> GEN_SHIFT & 0xffffff)}},
        .result = cqe->res,
        .buffer = URING_NO_BUFFER,
        .has_more = (cqe->flags & IORING_CQE_F_MORE) != 0,
        .socket_has_more = (cqe->flags & IORING_CQE_F_SOCK_NONEMPTY) != 0};
    if (LP_UNLIKELY(cqe->res == -ENOBUFS))
        for (uint32_t g = 0; g < URING_GROUPS; g++)
            publish_more(&uring->published[g]);
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0)
        out->buffer = claim_buffer(uring, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
#ifdef LP_DEBUG
    if ((op & URING_FAULT_BIT) != 0)
        out->result = -uring->fault.error;
#endif
    io_uring_cqe_seen(&uring->ring, cqe);
    return true;
}

void uring_buffer_ref(struct uring *uring, uint32_t buffer)
{
    buffers_ref(&uring->buffers, buffer);
}

void uring_buffer_put(struct uring *uring, uint32_t buffer)
{
    buffers_put(&uring->buffers, buffer);
}

uint32_t uring_buffer_refs(const struct uring *uring, uint32_t buffer)
{
    return buffers_refs(&uring->buffers, buffer);
}

char *uring_buffer_base(const struct uring *uring, uint32_t buffer)
{
    return buffers_base(&uring->buffers, buffer);
}

uint32_t uring_buffer_size(uint32_t buffer)
{
    return buffers_size(buffer);
}

uint32_t uring_buffer_take(struct uring *uring, enum uring_group group)
{
    return buffers_take_anyway(&uring->buffers, group);
}

uint32_t uring_buffer_take_large(struct uring *uring)
{
    return buffers_take(&uring->buffers, URING_LARGE);
}

size_t uring_held(const struct uring *uring)
{
    return buffers_held(&uring->buffers);
}

size_t uring_memory_max(const struct uring *uring)
{
    return uring->buffers.memory_max;
}

void uring_trim(struct uring *uring)
{
    buffers_trim(&uring->buffers);
}

bool uring_may_trim(const struct uring *uring)
{
    return buffers_may_trim(&uring->buffers);
}

uint32_t uring_buffers_out(const struct uring *uring)
{
    uint32_t out = 0;
    for (uint32_t g = 0; g < URING_GROUPS; g++) {
        const struct buffer_group *group = &uring->buffers.groups[g];
        const struct published *published = &uring->published[g];
        out += group->total_count - group->free_count - (published->count - published->free_count);
    }
    return out;
}

uint32_t uring_buffers_ready(const struct uring *uring, enum uring_group group)
{
    const struct published *published = &uring->published[group];
    uint32_t obtainable = buffers_obtainable(&uring->buffers, group);

    return published->count - published->free_count +
           (published->free_count < obtainable ? published->free_count : obtainable);
}
