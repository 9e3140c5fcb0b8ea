/* One worker's listening sockets: opening with a snapshot, pausing when descriptors are out, and
 * letting go without losing a client that is already in the queue. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lb/proxy/session.h"

/* Handshakes under way when the SYN filter was attached end in this time. */
#define REFUSE_MS 200u

static void accept_more(struct worker *worker, struct acceptor *acceptor)
{
    acceptor->source.ops_inflight++;
    uring_accept(worker->loop.uring, acceptor->source.name, acceptor->source.fd);
}

/* Kept-alive clients of a removed listener have their next request served as before (its answer
 * says `Connection: close`); when none is left, the old snapshot goes. */
static void forget_snapshot(struct worker *worker, struct acceptor *acceptor)
{
    if (acceptor->kept == NULL || acceptor->requesters_count > 0 ||
        acceptor->state != ACCEPTOR_CLOSED)
        return;
    acceptor->listener = NULL;
    worker_drop_snapshot(worker, acceptor->kept);
    acceptor->kept = NULL;
}

void acceptor_put_requester(struct worker *worker, struct acceptor *acceptor)
{
    acceptor->requesters_count--;
    forget_snapshot(worker, acceptor);
}

/* Whoever was in the queue has left again, or its network says so; the next one may be fine
 * (accept(2)). */
static bool is_of_one_client(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

/* Descriptors or memory: something that closes gives some back, but a deadline does not wait. */
static bool is_short(const struct worker *worker, int error)
{
    return (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) &&
           worker->drain_phase != DRAIN_CUTTING;
}

/* Serves who is in the queue. False: some wait until something closes. */
static bool empty_queue(struct worker *worker, struct acceptor *acceptor)
{
    /* More than a queue holds: an error that does not go away must not keep us here. */
    for (uint32_t errors_count = 0; errors_count <= UINT16_MAX;) {
        int fd = accept4(acceptor->source.fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            session_begin(worker, acceptor, fd);
        else if (is_of_one_client(errno))
            errors_count++;
        else if (is_short(worker, errno))
            return false;
        else if (errno == EAGAIN || errno == EINVAL) /* empty; and of a Unix socket */
            return true;
        else
            break;
    }
    lp_log(LP_LOG_ERROR, "clients that wait on %s are lost: %s", acceptor->endpoint->text,
           strerror(errno));
    return true;
}

/* Nothing is in flight: when the queue is empty, too, the socket goes. */
static void close_acceptor(struct worker *worker, struct acceptor *acceptor)
{
    fcntl(acceptor->source.fd, F_SETFL, O_NONBLOCK);
    if (!empty_queue(worker, acceptor)) {
        loop_timer_set(&worker->loop, &acceptor->timer, worker->loop.now_ms + LP_WHEEL_TICK_MS);
        return;
    }
    close(acceptor->source.fd);
    acceptor->endpoint->fds[worker->index] = -1;
    atomic_fetch_sub_explicit(&acceptor->endpoint->workers_accepting, 1, memory_order_release);
    acceptor->endpoint = NULL;
    acceptor->state = ACCEPTOR_CLOSED;
    loop_remove_source(&worker->loop, &acceptor->source);
    forget_snapshot(worker, acceptor);
    acceptor_put_session(worker, acceptor);
}

static void on_timer(struct loop *loop, struct loop_timer *timer)
{
    struct acceptor *acceptor = lp_container_of(timer, struct acceptor, timer);
    struct worker *worker = worker_of(loop);

    if (acceptor->state == ACCEPTOR_OPEN) {
        if (acceptor->source.ops_inflight == 0)
            accept_more(worker, acceptor); /* descriptors were out a moment ago */
    } else if (acceptor->state == ACCEPTOR_REFUSING) {
        acceptor->state = ACCEPTOR_EMPTYING;
        if (acceptor->source.ops_inflight == 0)
            close_acceptor(worker, acceptor);
        else {
            acceptor->source.ops_inflight++;
            uring_cancel(loop->uring, acceptor->source.name, URING_ACCEPT);
        }
    } else if (acceptor->state == ACCEPTOR_EMPTYING) {
        close_acceptor(worker, acceptor);
    }
}

static void on_event(struct loop *loop, struct loop_source *source, const struct uring_event *event)
{
    struct acceptor *acceptor = lp_container_of(source, struct acceptor, source);
    struct worker *worker = worker_of(loop);

    if (event->op == URING_ACCEPT && event->result >= 0)
        session_begin(worker, acceptor, event->result);
    if (source->ops_inflight > 0)
        return;
    if (acceptor->state == ACCEPTOR_EMPTYING)
        close_acceptor(worker, acceptor);
    else if (event->result >= 0 || event->result == -ECONNABORTED)
        accept_more(worker, acceptor);         /* a multishot may end at any time */
    else if (acceptor->state == ACCEPTOR_OPEN) /* else the timer has its time already */
        loop_timer_set(loop, &acceptor->timer, loop->now_ms + LP_WHEEL_TICK_MS);
}

static void take_name(struct acceptor *acceptor)
{
    struct lp_slice name = acceptor->listener->config->name;

    acceptor->listener_name = lp_realloc(acceptor->listener_name, name.size + 1);
    memcpy(acceptor->listener_name, name.data, name.size);
    acceptor->listener_name[name.size] = '\0';
}

static struct acceptor *create_acceptor(struct worker *worker, struct endpoint *endpoint,
                                        const struct snap_listener *listener)
{
    struct acceptor *acceptor = lp_alloc(sizeof(*acceptor));

    *acceptor =
        (struct acceptor){.source = {.on_event = on_event, .fd = endpoint->fds[worker->index]},
                          .timer = {.fire = on_timer},
                          .endpoint = endpoint,
                          .listener = listener,
                          .sessions_count = 1, /* the acceptor's own, until it is closed */
                          .state = ACCEPTOR_OPEN};
    lp_timer_init(&acceptor->timer.timer);
    take_name(acceptor);
    lp_list_push_back(&worker->acceptors, &acceptor->link);
    return acceptor;
}

static void open_acceptor(struct worker *worker, struct endpoint *endpoint,
                          const struct snap_listener *listener)
{
    struct acceptor *acceptor = create_acceptor(worker, endpoint, listener);

    atomic_fetch_add_explicit(&endpoint->workers_accepting, 1, memory_order_relaxed);
    if (!loop_add_source(&worker->loop, &acceptor->source))
        LP_ASSERT(!"the configuration holds fewer listeners than a loop has sources");
    accept_more(worker, acceptor);
}

static struct acceptor *find_acceptor(const struct worker *worker, const struct endpoint *endpoint)
{
    LP_LIST_EACH (link, &worker->acceptors) {
        struct acceptor *acceptor = lp_container_of(link, struct acceptor, link);
        if (acceptor->endpoint == endpoint)
            return acceptor;
    }
    return NULL;
}

/* The order of letting go: no new handshakes, those under way end, the queue is emptied. Closing at
 * once would reset clients that the kernel has accepted for us. */
static void begin_removal(struct worker *worker, struct acceptor *acceptor)
{
    if (acceptor->state != ACCEPTOR_OPEN)
        return;
    acceptor->state = ACCEPTOR_REFUSING;
    endpoint_refuse_new(acceptor->endpoint, acceptor->source.fd);
    loop_timer_set(&worker->loop, &acceptor->timer, worker->loop.now_ms + REFUSE_MS);
}

/* Of the newest snapshot; NULL: it does not list this address. */
static const struct snap_listener *find_listener(const struct worker *worker,
                                                 const struct endpoint *endpoint)
{
    const struct snapshot *snapshot = worker->snapshot->snapshot;

    for (uint32_t i = 0; i < snapshot->config->listeners_count; i++)
        for (uint32_t b = 0; b < snapshot->listeners[i].config->binds_count; b++)
            if (snapshot->listeners[i].endpoints[b] == endpoint)
                return &snapshot->listeners[i];
    return NULL;
}

static bool speak_alike(const struct snap_listener *a, const struct snap_listener *b)
{
    return a->config->protocol == b->config->protocol && (a->tls == NULL) == (b->tls == NULL);
}

/* The address speaks something else from now on: its socket goes to a new acceptor, and who is here
 * already stays with the old one, as with a listener that is gone. */
static void replace(struct worker *worker, struct acceptor *acceptor,
                    const struct snap_listener *listener, struct snapshot_ref *old)
{
    struct acceptor *successor = create_acceptor(worker, acceptor->endpoint, listener);

    loop_move_source(&worker->loop, &acceptor->source, &successor->source);
    if (successor->source.ops_inflight == 0) /* it waits for descriptors */
        loop_timer_set(&worker->loop, &successor->timer, worker->loop.now_ms + LP_WHEEL_TICK_MS);
    acceptor->kept = worker_use_snapshot(old);
    acceptor->endpoint = NULL;
    acceptor->state = ACCEPTOR_CLOSED;
    forget_snapshot(worker, acceptor);
    acceptor_put_session(worker, acceptor);
}

void acceptors_update(struct worker *worker, struct snapshot_ref *old)
{
    const struct snapshot *snapshot = worker->snapshot->snapshot;

    LP_LIST_EACH (link, &worker->acceptors) {
        struct acceptor *acceptor = lp_container_of(link, struct acceptor, link);
        if (acceptor->state != ACCEPTOR_OPEN)
            continue;
        const struct snap_listener *listener = find_listener(worker, acceptor->endpoint);
        if (listener == NULL) {
            acceptor->kept = worker_use_snapshot(old);
            begin_removal(worker, acceptor);
        } else if (!speak_alike(acceptor->listener, listener)) {
            replace(worker, acceptor, listener, old);
        } else {
            acceptor->listener = listener;
            take_name(acceptor);
        }
    }
    for (uint32_t i = 0; i < snapshot->config->listeners_count; i++) {
        const struct snap_listener *listener = &snapshot->listeners[i];
        for (uint32_t b = 0; b < listener->config->binds_count; b++)
            if (find_acceptor(worker, listener->endpoints[b]) == NULL)
                open_acceptor(worker, listener->endpoints[b], listener);
    }
}

void acceptors_stop(struct worker *worker)
{
    LP_LIST_EACH (link, &worker->acceptors)
        begin_removal(worker, lp_container_of(link, struct acceptor, link));
}

void acceptor_put_session(struct worker *worker, struct acceptor *acceptor)
{
    if (--acceptor->sessions_count > 0)
        return;
    LP_ASSERT(acceptor->state == ACCEPTOR_CLOSED);
    loop_timer_stop(&worker->loop, &acceptor->timer);
    lp_list_remove(&acceptor->link);
    lp_free(acceptor->listener_name);
    lp_free(acceptor);
}

bool acceptors_are_closed(const struct worker *worker)
{
    LP_LIST_EACH (link, &worker->acceptors)
        if (lp_container_of(link, struct acceptor, link)->state != ACCEPTOR_CLOSED)
            return false;
    return true;
}
