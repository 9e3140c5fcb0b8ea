/* The relay with epoll. Start at on_ready().
 *
 * What one side has is read into one buffer that stays in the processor's cache, and sent to the
 * other side at once; only what the other side does not take gets memory of its own, and until it
 * has gone nothing more is read. Both events are asked for once, edge-triggered: no call is ever
 * made to change what is waited for, and the kernel does not look at a socket a second time. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/floor/relay.h"

#define EVENTS_OF_A_WAIT  512
#define ACCEPTS_OF_A_TURN 64
#define COPIES_OF_A_TURN  16 /* full buffers before others have their turn */
#define PAIRS_OF_A_SLAB   256u

/* One direction ends at the side in which it is stored: `held` is for this side's socket. */
struct side {
    int fd;
    bool is_right;    /* of its pair */
    bool is_open;     /* connected */
    bool is_readable; /* had its edge before the other side was open */
    bool has_ended;   /* its FIN was read */
    char *held;       /* did not fit into the socket; NULL when nothing */
    size_t held_at, held_size;
    struct lp_list ready; /* in the list of those that have more to read */
};

struct pair {
    struct side sides[2];
    struct lp_list link; /* of those free, or ended in this batch */
    bool is_over;
};

struct engine {
    const struct relay *relay;
    int epoll_fd;
    char *hot;
    struct lp_list free_pairs, ended_pairs, ready_sides;
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

/* ---- Life -------------------------------------------------------------------------------------*/

/* An event for the other side may stand in this batch, so the memory is given back after it. */
static void end(struct engine *engine, struct pair *pair, bool is_reset)
{
    if (pair->is_over)
        return;
    pair->is_over = true;
    for (int i = 0; i < 2; i++) {
        struct side *side = &pair->sides[i];
        lp_list_remove(&side->ready);
        lp_free(side->held);
        side->held = NULL;
        if (is_reset)
            relay_reset(side->fd);
        else
            close(side->fd);
    }
    lp_list_push_front(&engine->ended_pairs, &pair->link);
}

static void free_ended(struct engine *engine)
{
    LP_LIST_EACH (node, &engine->ended_pairs) {
        lp_list_remove(node);
        lp_list_push_front(&engine->free_pairs, node);
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

static bool watch(struct engine *engine, struct side *side)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = side};
    return epoll_ctl(engine->epoll_fd, EPOLL_CTL_ADD, side->fd, &event) == 0;
}

static bool begin_connect(int fd, const struct lp_addr *to)
{
    return connect(fd, &to->as.any, to->size) == 0 || errno == EINPROGRESS;
}

static void begin(struct engine *engine, int front_fd)
{
    int back_fd = relay_socket(engine->relay, SOCK_NONBLOCK);
    if (back_fd < 0 || !begin_connect(back_fd, &engine->relay->to)) {
        if (back_fd >= 0)
            close(back_fd);
        relay_reset(front_fd);
        return;
    }
    struct pair *pair = take_pair(engine);
    *pair = (struct pair){
        .sides = {{.fd = front_fd, .is_open = true}, {.fd = back_fd, .is_right = true}}};
    lp_list_init(&pair->link);
    for (int i = 0; i < 2; i++)
        lp_list_init(&pair->sides[i].ready);
    if (!watch(engine, &pair->sides[0]) || !watch(engine, &pair->sides[1]))
        end(engine, pair, true);
}

static void accept_some(struct engine *engine)
{
    for (int i = 0; i < ACCEPTS_OF_A_TURN; i++) {
        int fd = accept4(engine->relay->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            begin(engine, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE)
            relay_turn_away(engine->relay);
        return;
    }
}

/* ---- Copying ----------------------------------------------------------------------------------*/

static bool is_transient(ssize_t result)
{
    return result < 0 && (errno == EAGAIN || errno == EINTR);
}

static void hold(struct side *side, const char *data, size_t size)
{
    side->held = lp_try_alloc(size);
    LP_ASSERT(side->held != NULL);
    memcpy(side->held, data, size);
    side->held_at = 0;
    side->held_size = size;
}

/* The FIN of one side goes on to the other; with both the pair is over. */
static void on_end(struct engine *engine, struct side *from)
{
    struct side *to = other_of(from);
    from->has_ended = true;
    if (to->has_ended)
        end(engine, pair_of(from), false);
    else
        shutdown(to->fd, SHUT_WR);
}

/* From one side to the other until nothing is there, nothing fits or it is others' turn. A read
 * that does not fill the buffer has emptied the socket, and what comes later is a new edge; but a
 * FIN may have come with the data, and has no edge of its own. */
static void copy(struct engine *engine, struct side *from, bool may_have_fin)
{
    struct side *to = other_of(from);
    lp_list_remove(&from->ready);
    for (int i = 0; i < COPIES_OF_A_TURN; i++) {
        ssize_t size = recv(from->fd, engine->hot, engine->relay->buffer_size, MSG_DONTWAIT);
        if (size <= 0) {
            if (size == 0)
                on_end(engine, from);
            else if (!is_transient(size))
                end(engine, pair_of(from), true);
            return;
        }
        ssize_t sent = send(to->fd, engine->hot, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent != size) {
            if (sent < 0 && !is_transient(sent)) {
                end(engine, pair_of(from), true);
                return;
            }
            sent = sent < 0 ? 0 : sent;
            hold(to, engine->hot + sent, (size_t)(size - sent));
            return;
        }
        if (size < (ssize_t)engine->relay->buffer_size && !may_have_fin)
            return;
    }
    lp_list_push_back(&engine->ready_sides, &from->ready);
}

/* False when the rest must wait. */
static bool send_held(struct engine *engine, struct side *side)
{
    ssize_t sent = send(side->fd, side->held + side->held_at, side->held_size - side->held_at,
                        MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        if (!is_transient(sent))
            end(engine, pair_of(side), true);
        return false;
    }
    side->held_at += (size_t)sent;
    if (side->held_at < side->held_size)
        return false;
    lp_free(side->held);
    side->held = NULL;
    return true;
}

static bool can_copy(struct side *from)
{
    struct side *to = other_of(from);
    return to->is_open && to->held == NULL && !from->has_ended && !pair_of(from)->is_over;
}

static void on_writable(struct engine *engine, struct side *side)
{
    struct side *other = other_of(side);
    if (!side->is_open) {
        side->is_open = true;
        if (other->is_readable)
            copy(engine, other, true);
    } else if (side->held != NULL && send_held(engine, side)) {
        copy(engine, other, true); /* reading had stopped, with its edge long gone */
    }
}

static void on_ready(struct engine *engine, struct side *side, uint32_t events)
{
    if (pair_of(side)->is_over)
        return;
    if (events & EPOLLERR) {
        end(engine, pair_of(side), true);
        return;
    }
    if (events & EPOLLOUT)
        on_writable(engine, side);
    if (!(events & (EPOLLIN | EPOLLRDHUP)))
        return;
    if (can_copy(side))
        copy(engine, side, events & EPOLLRDHUP);
    else
        side->is_readable = true;
}

static void copy_on(struct engine *engine)
{
    struct lp_list sides = engine->ready_sides;
    if (lp_list_is_empty(&engine->ready_sides))
        return;
    sides.next->prev = sides.prev->next = &sides;
    lp_list_init(&engine->ready_sides);
    while (!lp_list_is_empty(&sides)) {
        struct side *side = lp_container_of(sides.next, struct side, ready);
        lp_list_remove(&side->ready);
        if (can_copy(side))
            copy(engine, side, true);
    }
}

/* ---- The loop ---------------------------------------------------------------------------------*/

static bool watch_plain(const struct engine *engine, int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
    return epoll_ctl(engine->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* What is waited for: NULL is a signal, the engine itself the listener, else a side. */
static int run(struct engine *engine)
{
    static struct epoll_event events[EVENTS_OF_A_WAIT];
    for (;;) {
        int wait_ms = lp_list_is_empty(&engine->ready_sides) ? -1 : 0;
        int count = epoll_wait(engine->epoll_fd, events, EVENTS_OF_A_WAIT, wait_ms);
        if (count < 0 && errno != EINTR)
            return 1;
        for (int i = 0; i < count; i++) {
            void *data = events[i].data.ptr;
            if (data == NULL)
                return 0;
            if (data == engine)
                accept_some(engine);
            else
                on_ready(engine, data, events[i].events);
        }
        copy_on(engine);
        free_ended(engine);
    }
}

int relay_with_epoll(const struct relay *relay)
{
    struct engine engine = {.relay = relay, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    lp_arena_init(&engine.arena);
    lp_list_init(&engine.free_pairs);
    lp_list_init(&engine.ended_pairs);
    lp_list_init(&engine.ready_sides);
    engine.hot = lp_arena_alloc(&engine.arena, relay->buffer_size);
    int status = 1;
    if (engine.epoll_fd >= 0 && watch_plain(&engine, relay->signal_fd, NULL) &&
        watch_plain(&engine, relay->listen_fd, &engine))
        status = run(&engine);
    else
        perror("bench-floor: cannot set up epoll");
    lp_arena_deinit(&engine.arena);
    return status;
}
