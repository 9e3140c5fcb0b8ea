/* The relay with io_uring. Start at on_received().
 *
 * A message costs one entry, its send, and one completion, its receipt. Receives are multishot.
 * Sends are quiet: with MSG_DONTWAIT they are done or refused within the submission, and only one
 * that is not done whole has a completion. The kernel posts those before it looks at receives;
 * so a receipt is good news about all sends that were submitted before it, and when the queue has
 * been read to its end their buffers are free.
 *
 * What the other side does not take is copied to memory of its own and sent loudly: that waits
 * for the socket. While it lasts receiving is stopped. A side that fills its buffers is received
 * from one large buffer at a time, because few hot buffers beat many cold ones. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/floor/buffers.h"
#include "bench/floor/relay.h"

#define ENTRIES         4096u
#define COMPLETIONS     65536u /* two for each of 30 000 sockets: it cannot overflow */
#define SMALL_BYTES     16384u
#define SMALL_COUNT     256u /* fewer run out when 500 connections speak at once */
#define LARGE_COUNT     8u
#define LARGE_LEFT      4096u  /* less than this from a large buffer: back to small ones */
#define HELD_BYTES_MAX  65536u /* for one side, before receiving for it is stopped */
#define SENT_MAX        512u   /* a power of two above all buffers */
#define PAIRS_OF_A_SLAB 256u

static_assert(SENT_MAX >= SMALL_COUNT + LARGE_COUNT, "each buffer may be in a quiet send");

/* User data: a side and in its lowest bits the operation, or one of the USER numbers. */
enum op { OP_RECV, OP_QUIET, OP_LOUD, OP_CONNECT, OP_CANCEL };
#define OP_MASK     7u
#define USER_ACCEPT 8u
#define USER_SIGNAL 16u

enum { SMALL, LARGE, GROUPS };

struct chunk {
    struct chunk *next;
    size_t size;
    char data[];
};

struct side {
    int fd;
    bool is_right;       /* of its pair */
    bool has_ended;      /* its FIN was received */
    bool is_shut;        /* the other's FIN was sent on */
    bool is_receiving;   /* OP_RECV in flight */
    bool is_stopping;    /* its cancel is in flight, too */
    bool is_loud;        /* OP_LOUD in flight, with the first of chunks */
    bool is_starved;     /* in the list of those that found no buffer */
    uint8_t group;       /* from which its next receive takes */
    uint8_t armed_group; /* and the one in flight */
    uint8_t quiet_group;
    uint16_t quiet_index;
    uint32_t quiet_size;
    uint64_t quiet_number; /* of the last quiet send to this side; they count from 1; 0: heard */
    uint32_t held_bytes;
    struct chunk *chunks, **chunks_end; /* for this side, in order */
    struct side *next;                  /* starved */
};

struct pair {
    struct side sides[2];
    struct lp_list link;   /* of those free */
    uint32_t ops_inflight; /* that will have a completion for certain */
    uint32_t quiets_inflight;
    bool is_ending, is_reset;
};

/* A buffer in a quiet send. */
struct sent {
    struct side *side;
    uint16_t index;
    uint8_t group;
};

struct engine {
    const struct relay *relay;
    struct io_uring uring;
    struct buffers buffers[GROUPS];
    struct sent sent[SENT_MAX];
    uint64_t sent_begin, sent_submitted, sent_end; /* numbers of quiet sends */
    uint64_t heard; /* quiet sends before this number were done, or we know better */
    bool is_hasty;  /* something waits for news of a quiet send, and no news has no completion */
    bool is_over;
    struct side *starved, **starved_end;
    struct lp_list free_pairs;
    struct lp_arena arena;
};

static struct pair *pair_of(struct side *side)
{
    return lp_container_of(side - side->is_right, struct pair, sides);
}

static struct side *other_of(struct side *side)
{
    return side->is_right ? side - 1 : side + 1;
}

/* ---- Operations -------------------------------------------------------------------------------*/

static void on_submitted(struct engine *engine)
{
    LP_ASSERT(io_uring_sq_ready(&engine->uring) == 0);
    engine->sent_submitted = engine->sent_end;
    /* An overflow means that we are in a loop which would fill the kernel's memory. */
    LP_ASSERT(!(*engine->uring.sq.kflags & IORING_SQ_CQ_OVERFLOW));
}

static struct io_uring_sqe *entry(struct engine *engine)
{
    struct io_uring_sqe *sqe;
    while ((sqe = io_uring_get_sqe(&engine->uring)) == NULL) {
        io_uring_submit(&engine->uring);
        on_submitted(engine);
    }
    return sqe;
}

static void name(struct io_uring_sqe *sqe, struct side *side, enum op op)
{
    sqe->user_data = (uintptr_t)side | op;
}

static void receive(struct engine *engine, struct side *side, bool may_be_ready)
{
    struct io_uring_sqe *sqe = entry(engine);
    if (side->group == SMALL)
        io_uring_prep_recv_multishot(sqe, side->fd, NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, side->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = side->group;
    if (!may_be_ready)
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST; /* saves a look that finds nothing */
    name(sqe, side, OP_RECV);
    side->armed_group = side->group;
    side->is_receiving = true;
    pair_of(side)->ops_inflight++;
}

static void cancel(struct engine *engine, struct side *side, enum op op)
{
    struct io_uring_sqe *sqe = entry(engine);
    io_uring_prep_cancel64(sqe, (uintptr_t)side | op, 0);
    name(sqe, side, OP_CANCEL);
    pair_of(side)->ops_inflight++;
}

static void stop_receiving(struct engine *engine, struct side *side)
{
    if (!side->is_receiving || side->is_stopping)
        return;
    side->is_stopping = true;
    cancel(engine, side, OP_RECV);
}

static void send_quietly(struct engine *engine, struct side *to, uint8_t group, uint16_t index,
                         uint32_t size)
{
    struct io_uring_sqe *sqe = entry(engine);
    io_uring_prep_send(sqe, to->fd, buffers_at(&engine->buffers[group], index), size,
                       MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    name(sqe, to, OP_QUIET);
    to->quiet_group = group;
    to->quiet_index = index;
    to->quiet_size = size;
    to->quiet_number = engine->sent_end;
    pair_of(to)->quiets_inflight++;
    LP_ASSERT(engine->sent_end - engine->sent_begin < SENT_MAX);
    engine->sent[engine->sent_end++ % SENT_MAX] = (struct sent){to, index, group};
}

/* Is it open whether the last quiet send was done? */
static bool is_unheard(const struct engine *engine, const struct side *to)
{
    return to->quiet_number >= engine->heard;
}

static void send_loudly(struct engine *engine, struct side *to)
{
    struct io_uring_sqe *sqe = entry(engine);
    io_uring_prep_send(sqe, to->fd, to->chunks->data, to->chunks->size, MSG_WAITALL | MSG_NOSIGNAL);
    name(sqe, to, OP_LOUD);
    LP_ASSERT(!to->is_loud && !is_unheard(engine, to));
    to->is_loud = true;
    pair_of(to)->ops_inflight++;
}

/* ---- Life -------------------------------------------------------------------------------------*/

/* Once nothing is in flight any more: closes, and gives the pair back. */
static void try_retire(struct engine *engine, struct pair *pair)
{
    if (!pair->is_ending)
        return;
    if (pair->quiets_inflight > 0)
        engine->is_hasty = true;
    if (pair->ops_inflight > 0 || pair->quiets_inflight > 0 || pair->sides[0].is_starved ||
        pair->sides[1].is_starved)
        return;
    for (int i = 0; i < 2; i++) {
        struct side *side = &pair->sides[i];
        for (struct chunk *chunk = side->chunks, *next; chunk != NULL; chunk = next) {
            next = chunk->next;
            lp_free(chunk);
        }
        if (pair->is_reset)
            relay_reset(side->fd);
        else
            close(side->fd);
    }
    pair->is_ending = false; /* retired once only */
    lp_list_push_front(&engine->free_pairs, &pair->link);
}

/* Whoever calls this calls try_retire() later. */
static void end(struct engine *engine, struct pair *pair, bool is_reset)
{
    if (pair->is_ending)
        return;
    pair->is_ending = true;
    pair->is_reset = is_reset;
    for (int i = 0; i < 2; i++) {
        stop_receiving(engine, &pair->sides[i]);
        if (pair->sides[i].is_loud)
            cancel(engine, &pair->sides[i], OP_LOUD);
    }
}

static struct pair *take_pair(struct engine *engine)
{
    if (lp_list_is_empty(&engine->free_pairs)) {
        struct pair *slab = LP_ARENA_ARRAY(&engine->arena, struct pair, PAIRS_OF_A_SLAB);
        for (uint32_t i = 0; i < PAIRS_OF_A_SLAB; i++)
            lp_list_push_back(&engine->free_pairs, &slab[i].link);
    }
    struct pair *pair = lp_container_of(engine->free_pairs.next, struct pair, link);
    lp_list_remove(&pair->link);
    return pair;
}

static void begin(struct engine *engine, int front_fd)
{
    int back_fd = relay_socket(engine->relay, 0);
    if (back_fd < 0) {
        relay_reset(front_fd);
        return;
    }
    struct pair *pair = take_pair(engine);
    *pair = (struct pair){.sides = {{.fd = front_fd}, {.fd = back_fd, .is_right = true}}};
    lp_list_init(&pair->link);
    for (int i = 0; i < 2; i++)
        pair->sides[i].chunks_end = &pair->sides[i].chunks;

    struct io_uring_sqe *sqe = entry(engine);
    io_uring_prep_connect(sqe, back_fd, &engine->relay->to.as.any, engine->relay->to.size);
    name(sqe, &pair->sides[1], OP_CONNECT);
    pair->ops_inflight++;
}

static void begin_accept(struct engine *engine)
{
    struct io_uring_sqe *sqe = entry(engine);
    io_uring_prep_multishot_accept(sqe, engine->relay->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = USER_ACCEPT;
}

static void on_accepted(struct engine *engine, int res, uint32_t flags)
{
    if (res >= 0)
        begin(engine, res);
    else if (res == -EMFILE || res == -ENFILE)
        relay_turn_away(engine->relay);
    if (!(flags & IORING_CQE_F_MORE))
        begin_accept(engine);
}

static void on_connected(struct engine *engine, struct side *back, int res)
{
    if (res < 0) {
        end(engine, pair_of(back), true);
        return;
    }
    receive(engine, other_of(back), true);
    receive(engine, back, false);
}

/* ---- Copying ----------------------------------------------------------------------------------*/

static struct chunk *copy_of(const char *data, size_t size)
{
    struct chunk *chunk = lp_try_alloc(sizeof *chunk + size);
    LP_ASSERT(chunk != NULL);
    chunk->next = NULL;
    memcpy(chunk->data, data, size);
    chunk->size = size;
    return chunk;
}

static void hold(struct side *side, struct chunk *chunk)
{
    *side->chunks_end = chunk;
    side->chunks_end = &chunk->next;
    side->held_bytes += (uint32_t)chunk->size;
}

static void hold_first(struct side *side, struct chunk *chunk)
{
    chunk->next = side->chunks;
    if (side->chunks == NULL)
        side->chunks_end = &chunk->next;
    side->chunks = chunk;
    side->held_bytes += (uint32_t)chunk->size;
}

static void drop_first(struct side *side)
{
    struct chunk *chunk = side->chunks;
    side->chunks = chunk->next;
    if (side->chunks == NULL)
        side->chunks_end = &side->chunks;
    side->held_bytes -= (uint32_t)chunk->size;
    lp_free(chunk);
}

/* The FIN of one side goes on behind its bytes; with both the pair is over. */
static void pass_end(struct engine *engine, struct side *from)
{
    struct side *to = other_of(from);
    if (is_unheard(engine, to))
        engine->is_hasty = true;
    if (to->chunks != NULL || is_unheard(engine, to))
        return;
    if (to->has_ended && from->chunks == NULL && !is_unheard(engine, from)) {
        end(engine, pair_of(from), false);
    } else if (!to->is_shut) {
        to->is_shut = true;
        shutdown(to->fd, SHUT_WR);
    }
}

/* Receives go on when all that was held has gone. */
static void receive_on(struct engine *engine, struct side *from, bool may_be_ready)
{
    if (!from->is_receiving && !from->is_starved && !from->has_ended &&
        other_of(from)->chunks == NULL)
        receive(engine, from, may_be_ready);
}

/* A stream is worth the large buffers; what has become small is not. */
static void choose_group(struct engine *engine, struct side *from, uint32_t size)
{
    if (from->group == SMALL && size == SMALL_BYTES) {
        from->group = LARGE;
        stop_receiving(engine, from);
    } else if (from->armed_group == LARGE && size < LARGE_LEFT) {
        from->group = SMALL;
    }
}

static void on_bytes(struct engine *engine, struct side *from, uint8_t group, uint16_t index,
                     uint32_t size)
{
    struct side *to = other_of(from);
    struct buffers *buffers = &engine->buffers[group];

    if (to->chunks == NULL && !is_unheard(engine, to)) {
        send_quietly(engine, to, group, index, size);
        choose_group(engine, from, size);
        return;
    }
    if (to->chunks == NULL)
        engine->is_hasty = true;
    hold(to, copy_of(buffers_at(buffers, index), size));
    buffers_put(buffers, index);
    if (to->held_bytes > HELD_BYTES_MAX)
        stop_receiving(engine, from);
}

static void starve(struct engine *engine, struct side *side)
{
    side->is_starved = true;
    side->next = NULL;
    *engine->starved_end = side;
    engine->starved_end = &side->next;
}

static void on_received(struct engine *engine, struct side *from, int res, uint32_t flags)
{
    struct pair *pair = pair_of(from);
    uint8_t group = from->armed_group;
    bool has_buffer = flags & IORING_CQE_F_BUFFER;
    uint16_t index = has_buffer ? buffers_take(&engine->buffers[group], flags) : 0;

    if (!(flags & IORING_CQE_F_MORE)) {
        from->is_receiving = from->is_stopping = false;
        pair->ops_inflight--;
    }
    if (has_buffer && (res <= 0 || pair->is_ending))
        buffers_put(&engine->buffers[group], index);
    else if (has_buffer)
        on_bytes(engine, from, group, index, (uint32_t)res);
    if (pair->is_ending)
        return;
    if (res == 0) {
        from->has_ended = true;
        pass_end(engine, from);
    } else if (res == -ENOBUFS) {
        starve(engine, from);
    } else if (res < 0 && res != -ECANCELED) {
        end(engine, pair, true);
    } else {
        receive_on(engine, from, res < 0 || (flags & IORING_CQE_F_SOCK_NONEMPTY));
    }
}

/* A quiet send was not done whole. Whatever is held came after it. */
static void on_refused(struct engine *engine, struct side *to, int res)
{
    if (pair_of(to)->is_ending)
        return;
    if (res < 0 && res != -EAGAIN && res != -EINTR) {
        end(engine, pair_of(to), true);
        return;
    }
    uint32_t sent = res > 0 ? (uint32_t)res : 0;
    to->quiet_number = 0;
    const char *data = buffers_at(&engine->buffers[to->quiet_group], to->quiet_index);
    hold_first(to, copy_of(data + sent, to->quiet_size - sent));
    send_loudly(engine, to);
}

static void on_sent(struct engine *engine, struct side *to, int res)
{
    struct side *from = other_of(to);
    to->is_loud = false;
    if (pair_of(to)->is_ending)
        return;
    if (res < 0 || (size_t)res < to->chunks->size) {
        end(engine, pair_of(to), true);
        return;
    }
    drop_first(to);
    if (to->chunks != NULL)
        send_loudly(engine, to);
    else if (from->has_ended)
        pass_end(engine, from);
    else
        receive_on(engine, from, true);
}

/* ---- The loop ---------------------------------------------------------------------------------*/

static void on_side(struct engine *engine, struct side *side, const struct io_uring_cqe *cqe)
{
    struct pair *pair = pair_of(side);
    switch ((enum op)(cqe->user_data & OP_MASK)) {
    case OP_RECV:
        on_received(engine, side, cqe->res, cqe->flags);
        break;
    case OP_QUIET:
        on_refused(engine, side, cqe->res);
        break;
    case OP_LOUD:
        pair->ops_inflight--;
        on_sent(engine, side, cqe->res);
        break;
    case OP_CONNECT:
        pair->ops_inflight--;
        on_connected(engine, side, cqe->res);
        break;
    case OP_CANCEL:
        pair->ops_inflight--;
        break;
    }
    try_retire(engine, pair);
}

static void on_completion(struct engine *engine, const struct io_uring_cqe *cqe)
{
    if (cqe->user_data == USER_ACCEPT)
        on_accepted(engine, cqe->res, cqe->flags);
    else if (cqe->user_data == USER_SIGNAL)
        engine->is_over = true;
    else
        on_side(engine, (struct side *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK), cqe);
}

/* All completions are read: whatever quiet send was submitted is over, and its buffer is free. */
static void free_sent(struct engine *engine)
{
    engine->heard = engine->sent_submitted;
    while (engine->sent_begin != engine->sent_submitted) {
        const struct sent *sent = &engine->sent[engine->sent_begin++ % SENT_MAX];
        struct side *to = sent->side, *from = other_of(to);
        struct pair *pair = pair_of(to);

        buffers_put(&engine->buffers[sent->group], sent->index);
        pair->quiets_inflight--;
        if (!pair->is_ending && to->chunks != NULL && !to->is_loud && !is_unheard(engine, to))
            send_loudly(engine, to);
        if (!pair->is_ending && from->has_ended)
            pass_end(engine, from);
        try_retire(engine, pair);
    }
}

/* As many as there are buffers for: the others would only fail again. */
static void feed_starved(struct engine *engine)
{
    uint32_t left[GROUPS] = {engine->buffers[SMALL].published_count,
                             engine->buffers[LARGE].published_count};
    struct side *side = engine->starved;
    engine->starved = NULL;
    engine->starved_end = &engine->starved;
    for (struct side *next; side != NULL; side = next) {
        next = side->next;
        side->is_starved = false;
        if (pair_of(side)->is_ending)
            try_retire(engine, pair_of(side));
        else if (left[side->group] == 0)
            starve(engine, side);
        else {
            left[side->group]--;
            receive_on(engine, side, true);
        }
    }
    if (engine->starved != NULL)
        engine->is_hasty = true;
}

static int run(struct engine *engine)
{
    struct io_uring_cqe *cqe;
    while (!engine->is_over) {
        int status = io_uring_submit_and_wait(&engine->uring, engine->is_hasty ? 0 : 1);
        if (status < 0 && status != -EINTR)
            return 1;
        engine->is_hasty = false;
        on_submitted(engine);
        engine->heard = engine->sent_submitted;
        while (io_uring_peek_cqe(&engine->uring, &cqe) == 0) {
            on_completion(engine, cqe);
            io_uring_cqe_seen(&engine->uring, cqe);
        }
        free_sent(engine);
        buffers_publish(&engine->buffers[SMALL]);
        buffers_publish(&engine->buffers[LARGE]);
        if (engine->starved != NULL)
            feed_starved(engine);
    }
    return 0;
}

static int set_up(struct engine *engine)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                                              IORING_SETUP_CQSIZE,
                                     .cq_entries = COMPLETIONS};
    int status = io_uring_queue_init_params(ENTRIES, &engine->uring, &params);
    if (status < 0)
        return status;
    io_uring_register_ring_fd(&engine->uring);
    status = buffers_init(&engine->buffers[SMALL], &engine->uring, SMALL, SMALL_BYTES, SMALL_COUNT,
                          &engine->arena);
    if (status < 0)
        return status;
    return buffers_init(&engine->buffers[LARGE], &engine->uring, LARGE, engine->relay->buffer_size,
                        LARGE_COUNT, &engine->arena);
}

int relay_with_uring(const struct relay *relay)
{
    struct engine engine = {
        .relay = relay, .sent_begin = 1, .sent_submitted = 1, .sent_end = 1, .heard = 1};
    engine.starved_end = &engine.starved;
    lp_arena_init(&engine.arena);
    lp_list_init(&engine.free_pairs);
    int status = set_up(&engine);
    if (status < 0) {
        fprintf(stderr, "bench-floor: cannot set up io_uring: %s\n", strerror(-status));
        return 1;
    }
    begin_accept(&engine);
    struct io_uring_sqe *sqe = entry(&engine);
    io_uring_prep_poll_add(sqe, relay->signal_fd, POLLIN);
    sqe->user_data = USER_SIGNAL;
    status = run(&engine);
    io_uring_queue_exit(&engine.uring);
    lp_arena_deinit(&engine.arena);
    return status;
}
