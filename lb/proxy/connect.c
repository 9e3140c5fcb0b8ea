/* From a request to a connected server: which one (lb/pool/pick.c), on which connection, and what
 * happens when that fails. "When is a request retried?" is answered here. */
#include <errno.h>
#include <string.h>

#include "lb/proxy/back.h"

static void choose(struct stream *stream, struct server *server)
{
    if (stream_has(stream, STREAM_COUNTED))
        atomic_fetch_sub_explicit(&stream->server->active_count, 1, memory_order_relaxed);
    stream->server = server;
    stream->flags |= STREAM_COUNTED;
    atomic_fetch_add_explicit(&server->active_count, 1, memory_order_relaxed);
}

static void begin_connecting(struct worker *worker, struct stream *stream)
{
    stream->back = back_connect(worker, stream);
    if (stream->back == NULL) {
        stream_on_connect_failed(worker, stream, errno);
        return;
    }
    /* A client that leaves meanwhile should be noticed. */
    if (stream_has(stream, STREAM_UP_DONE) && stream->class != CLASS_TCP)
        stream_hear_client(worker, stream);
}

/* The next server in rank order: each one once, at most `retries` after the first. */
static void connect_next(struct worker *worker, struct stream *stream, int status,
                         enum end_reason reason)
{
    const struct pool_view *view = stream->request->route->pool;
    struct server *server = NULL;

    if (stream->request->pick.tried_count <= view->config->retries)
        server = pool_pick(view, &stream->request->pick);
    if (server == NULL) {
        stream_fail(worker, stream, status, reason);
        return;
    }
    stream->retries_count = (uint8_t)(stream->request->pick.tried_count - 1);
    choose(stream, server);
    stream_enter(stream, STREAM_CONNECT);
    stream->back = stream->class == CLASS_TCP ? NULL : back_reuse(worker, stream);
    if (stream->back != NULL)
        stream_on_connected(worker, stream);
    else
        begin_connecting(worker, stream);
}

void stream_connect(struct worker *worker, struct stream *stream)
{
    struct back *pinned = back_pinned(worker, stream);

    if (pinned == NULL) {
        connect_next(worker, stream, 503, END_NO_SERVER_UP);
        return;
    }
    choose(stream, pinned->server);
    stream_enter(stream, STREAM_CONNECT);
    stream->back = pinned;
    stream_on_connected(worker, stream);
}

void stream_on_connected(struct worker *worker, struct stream *stream)
{
    stream->connect_ms = (uint32_t)(worker->loop.now_ms - stream->began_ms);
    stream->back->since_ms = (uint32_t)worker->loop.now_ms;
    if (stream->class == CLASS_TCP)
        tunnel_begin(worker, stream);
    else
        exchange_begin(worker, stream);
}

static void complain(struct worker *worker, const struct server *server, int error)
{
    if (worker->loop.now_ms - worker->complained_ms < 1000)
        return;
    worker->complained_ms = worker->loop.now_ms;
    if (error == EADDRNOTAVAIL)
        lp_log(LP_LOG_WARNING,
               "no port is left to connect from to %s: widen net.ipv4.ip_local_port_range or give "
               "the server more addresses",
               server->address_text);
    else
        lp_log(LP_LOG_WARNING, "no connection to %s: %s", server->address_text, strerror(error));
}

void stream_on_connect_failed(struct worker *worker, struct stream *stream, int error)
{
    bool is_timeout = error == ETIMEDOUT;

    if (conn_is_our_shortage(error))
        complain(worker, stream->server, error);
    else
        atomic_store_explicit(&stream->server->was_refused, true, memory_order_relaxed);
    /* It had its server once: there is no way back to the others. */
    if (stream->request->route == NULL) {
        stream_fail(worker, stream, is_timeout ? 504 : 503,
                    is_timeout ? END_CONNECT_TIMEOUT : END_CONNECT_FAILED);
        return;
    }
    if (is_timeout)
        connect_next(worker, stream, 504, END_CONNECT_TIMEOUT);
    else
        connect_next(worker, stream, 503, END_CONNECT_FAILED);
}

/* The connection had been idle and died under our hands before it said anything: the server most
 * likely never saw the request. Once, to the same server, if the request may be repeated. */
bool stream_retry_reused(struct worker *worker, struct stream *stream)
{
    if (!stream->back->was_reused ||
        (stream->flags & (STREAM_ANSWERED_SOME | STREAM_BODY_SENT | STREAM_RETRIED_REUSE)) != 0 ||
        !stream_has(stream, STREAM_IDEMPOTENT) || stream->request->head.size == 0)
        return false;
    /* How to speak TLS with it stands in the snapshot, and that is gone. */
    if (stream->server->uses_tls && stream->request->route == NULL)
        return false;
    struct back *back = stream->back;
    stream->back = NULL;
    back_release(worker, back, false, 0);
    stream->flags |= STREAM_RETRIED_REUSE;
    stream->flags &= ~(uint32_t)STREAM_SERVER_DEAF;
    stream->eof_reason = END_DONE;
    stream->retries_count++;
    stream_enter(stream, STREAM_CONNECT);
    begin_connecting(worker, stream);
    return true;
}
