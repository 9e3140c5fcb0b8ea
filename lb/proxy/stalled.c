/* Peers that take nothing: found ten times a second among those that have bytes under way, put in
 * the order in which they stalled, and ended in that order when limits.memory runs short, before
 * anybody waits for a buffer. Start at stalled_watch(). */
#include "lb/proxy/back.h"

/* Objects of so many slabs are looked at in one turn. */
#define SLABS_PER_TURN 8u

/* So many of the stalled are asked in one turn whether they have taken something, or end. */
#define QUESTIONS_PER_TURN 64u

/* While somebody has waited for a buffer for LP_STALLED_MS, this stands for it. */
#define URGENT_MS 50u

/* In percent of limits.memory: above the first some end, until the second is reached. The rest is
 * for those who hold nothing yet. */
#define EVICT_ABOVE_PERCENT 90u
#define EVICT_TO_PERCENT    85u

/* Until the buffers of those who ended are back. */
#define PAUSE_MS 2u

static struct stream *stream_of(struct conn *conn)
{
    return conn->space == LOOP_SPACE_FRONT ? session_of(conn)->stream : back_of(conn)->stream;
}

/* Where what it sends comes from; NULL: from us. */
static struct conn *source_of(struct conn *conn)
{
    struct stream *stream = stream_of(conn);

    if (stream == NULL || stream->back == NULL)
        return NULL;
    return conn->space == LOOP_SPACE_FRONT ? &stream->back->conn : &stream->session->conn;
}

/* --- who stalls --- */

struct look {
    struct worker *worker;
    uint32_t stalled_ms;
};

/* Since when its bytes wait for a peer; false: for none, or for the other side of its stream. */
static bool waits_since(struct conn *conn, uint32_t *since_ms)
{
    const struct conn *other = source_of(conn);

    *since_ms = conn->send_started_ms;
    if (conn->io->sending.size > 0)
        return true;
    *since_ms =
        conn->space == LOOP_SPACE_FRONT ? session_of(conn)->since_ms : back_of(conn)->since_ms;
    return conn->io->in.size > 0 && (other == NULL || other->io->sending.size == 0);
}

/* Its peer takes bytes again, and may have as many as it can take. */
static void look_at_recovery(struct conn *conn)
{
    struct conn *source = source_of(conn);

    if (source != NULL && (source->flags & CONN_NARROW) != 0 && conn_is_flowing(conn))
        conn_widen(source);
}

static void look_at(void *object, void *context)
{
    const struct look *look = context;
    struct loop *loop = &look->worker->loop;
    struct conn *conn = ((struct conn_traffic *)object)->conn, *source;
    uint32_t since_ms;

    bool is_idle_back = conn->space == LOOP_SPACE_BACK && stream_of(conn) == NULL;

    if (conn->state == CONN_CLOSING || (conn->state == CONN_OPEN && is_idle_back) ||
        (conn->flags & CONN_STALLED) != 0 || !waits_since(conn, &since_ms))
        return;
    if ((uint32_t)loop->now_ms - since_ms < look->stalled_ms) {
        look_at_recovery(conn);
        return;
    }
    conn_stall(loop, conn);
    source = source_of(conn);
    if (source != NULL && conn->io->sending.size > 0)
        conn_narrow(source);
}

/* A part of those with bytes under way in each turn, all of them again after patience_ms. (Those
 * under TLS keep the place where such bytes are described.) */
static void look_for_stalled(struct worker *worker, uint32_t patience_ms)
{
    struct loop *loop = &worker->loop;
    const struct lp_pool *const pools[] = {&loop->traffic, &loop->secures};
    struct look look = {worker, patience_ms};

    if (worker->look_pool == 0 && worker->look_place == 0) {
        if (loop->now_ms - worker->looked_ms < look.stalled_ms)
            return;
        worker->looked_ms = loop->now_ms;
    }
    for (uint32_t i = 0; i < SLABS_PER_TURN; i++) {
        if (lp_pool_each_step(pools[worker->look_pool], &worker->look_place, look_at, &look))
            continue;
        worker->look_pool = (worker->look_pool + 1) % LP_COUNT_OF(pools);
        if (worker->look_pool == 0)
            return;
    }
}

/* --- who ends --- */

static void end_stalled(struct worker *worker, struct conn *conn)
{
    struct stream *stream = stream_of(conn);

    if (stream == NULL && conn->space == LOOP_SPACE_BACK)
        back_evict(worker, back_of(conn));
    else if (stream == NULL)
        conn_reset(&worker->loop, conn); /* what the kernel still holds for it goes, too */
    else if (conn->space == LOOP_SPACE_FRONT)
        stream_end(worker, stream, END_SLOW_CLIENT, FRONT_RESET);
    else
        stream_fail(worker, stream, 504, END_SLOW_SERVER);
}

/* Who has taken nothing for the longest time ends first; one that has taken something meanwhile
 * moves behind all others. */
static void make_room(struct worker *worker, size_t bytes, uint32_t patience_ms)
{
    struct loop *loop = &worker->loop;
    uint32_t questions = QUESTIONS_PER_TURN;
    size_t freed = 0;

    while (freed < bytes && questions-- > 0 && !lp_list_is_empty(&loop->stalled)) {
        struct conn *conn = lp_container_of(loop->stalled.next, struct conn_traffic, stalled)->conn;
        const struct conn *source = source_of(conn);
        if ((uint32_t)loop->now_ms - conn->send_started_ms < patience_ms)
            return;
        if (conn_still_stalls(loop, conn)) {
            freed += conn_held(conn) + (source != NULL ? conn_held(source) : 0);
            end_stalled(worker, conn);
        }
    }
}

/* How many bytes should come back: those above the mark, and a buffer for each who waits for one.
 */
static size_t bytes_wanted(const struct loop *loop)
{
    size_t held = uring_held(loop->uring), percent = uring_memory_max(loop->uring) / 100;
    size_t above = held > percent * EVICT_ABOVE_PERCENT ? held - percent * EVICT_TO_PERCENT : 0;
    size_t ready = uring_buffers_ready(loop->uring, URING_SMALL);
    size_t missing = loop->starved.count > ready ? loop->starved.count - ready : 0;

    missing *= LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES;
    return above > missing ? above : missing;
}

/* What is ended now gives its buffers back in the next turn. */
void stalled_watch(struct loop *loop)
{
    struct worker *worker = worker_of(loop);
    bool is_urgent =
        loop->starved.count > 0 && loop->now_ms - loop->starved_since_ms >= LP_STALLED_MS;

    look_for_stalled(worker, loop->is_tight ? LP_STARVED_MS : LP_STALLED_MS);
    if ((!loop->is_tight && loop->starved.count == 0) ||
        loop->now_ms - worker->made_room_ms < PAUSE_MS)
        return;
    size_t bytes = bytes_wanted(loop);
    if (bytes == 0)
        return;
    worker->made_room_ms = loop->now_ms;
    make_room(worker, bytes, is_urgent ? URGENT_MS : LP_STALLED_MS);
}
