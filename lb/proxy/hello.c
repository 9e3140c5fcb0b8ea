/* A client's first words where they are TLS: its ClientHello is read whole before anything is
 * decided. A listener that terminates TLS chooses the certificate by it and shakes hands; a tcp
 * listener that does not routes by its SNI. Until then a client costs what it has sent. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lb/proxy/session.h"
#include "lb/proxy/stream.h"

/* Clients whose handshake fails are named, but not a thousand times a second. */
#define COMPLAIN_MS 1000u

/* A hello that is half there when a reload comes goes by the listener that it began with. */
static const struct snap_listener *listener_of(const struct session *session)
{
    const struct partial *partial = session->partial;
    return partial != NULL && partial->listener != NULL ? partial->listener
                                                        : session->acceptor->listener;
}

static bool terminates(const struct session *session)
{
    return listener_of(session) != NULL && listener_of(session)->tls != NULL;
}

static void want_more(struct worker *worker, struct session *session)
{
    uint32_t has = session->partial != NULL ? session->partial->size : 0;
    uint64_t due_ms =
        worker->loop.now_ms + session_timeouts(worker, session)->handshake -
        ((uint32_t)worker->loop.now_ms - session->since_ms); /* from the first moment on */

    conn_set_timer(&worker->loop, &session->conn, due_ms);
    if (session->close_at_ms != 0)
        conn_set_timer(&worker->loop, &session->conn, session->close_at_ms);
    conn_want(&worker->loop, &session->conn, LP_BUF_SMALL_BYTES - has);
}

void hello_begin(struct worker *worker, struct session *session)
{
    session->stage = SESSION_HELLO;
    want_more(worker, session);
}

/* A tcp stream's route, hash key and PROXY header may want it; a session on its own does not. */
static bool keep_name(struct session *session, const struct lp_hello *hello)
{
    if (!listener_of(session)->keeps_name || hello->name_size == 0)
        return true;
    session->name = lp_try_alloc(hello->name_size + 1u);
    if (session->name == NULL)
        return false;
    memcpy(session->name, hello->name, hello->name_size + 1u);
    return true;
}

static bool keep_bytes(struct worker *worker, struct session *session)
{
    struct conn *conn = &session->conn;

    if (!partial_save(&session->partial, NULL,
                      (struct lp_slice){conn->io->in.data, conn->io->in.size}))
        return false;
    if (session->partial->snapshot == NULL) {
        session->partial->snapshot =
            worker_use_snapshot(acceptor_snapshot(session->acceptor, worker));
        session->partial->listener = session->acceptor->listener;
    }
    conn_consume(&worker->loop, conn, conn->io->in.size);
    return true;
}

static void complain(struct worker *worker, const struct session *session, const char *why)
{
    char client[LP_ADDR_TEXT_MAX];
    size_t size = lp_ip_format(&session->ip, client);

    if (worker->loop.now_ms - worker->handshake_complained_ms < COMPLAIN_MS) {
        worker->handshakes_uncounted++;
        return;
    }
    worker->handshake_complained_ms = worker->loop.now_ms;
    lp_log(LP_LOG_INFO, "listener %s: TLS handshake with %.*s failed: %s%s",
           session->acceptor->listener_name, (int)size, client, why,
           worker->handshakes_uncounted > 0 ? " (and others)" : "");
    worker->handshakes_uncounted = 0;
}

/* RFC 8446, 6: what is no ClientHello of ours still hears why, in a record of its own. */
static void refuse(struct worker *worker, struct session *session, char description,
                   const char *why)
{
    const char alert[] = {21, 3, 3, 0, 2, 2, description};
    ssize_t ignored = send(session->conn.fd, alert, sizeof(alert), MSG_DONTWAIT | MSG_NOSIGNAL);

    (void)ignored;
    complain(worker, session, why);
    session_end_quietly(worker, session);
}

/* Someone types http:// where https:// is spoken. */
static bool looks_like_http(const struct session *session)
{
    char first = session->conn.io->in.data[0];
    return listener_of(session)->config->protocol == LP_PROTOCOL_HTTP && first >= 'A' &&
           first <= 'Z';
}

static bool has_common_version(const struct snap_listener *listener, const struct lp_hello *hello)
{
    uint32_t versions = listener->config->tls.versions;

    return (hello->offers_1_2 && (versions & LP_TLS_1_2) != 0) ||
           (hello->offers_1_3 && (versions & LP_TLS_1_3) != 0);
}

static void terminate(struct worker *worker, struct session *session, enum lp_hello_outcome outcome,
                      const struct lp_hello *hello)
{
    switch (outcome) {
    case LP_HELLO_NOT_TLS:
        if (looks_like_http(session)) {
            session->stage = SESSION_OPEN;
            session_forget_partial(worker, session);
            stream_begin_refusal(worker, session, 400, END_PLAIN_ON_TLS, NULL);
        } else {
            refuse(worker, session, 10, "it does not speak TLS"); /* unexpected_message */
        }
        return;
    case LP_HELLO_TOO_LARGE:
        refuse(worker, session, 47, "its hello is too large"); /* illegal_parameter */
        return;
    case LP_HELLO_DONE:
        if (!has_common_version(listener_of(session), hello)) {
            refuse(worker, session, 70, "no common version of TLS"); /* protocol_version */
            return;
        }
        if (!hello->has_common_group) {
            refuse(worker, session, 40, "no common group"); /* handshake_failure */
            return;
        }
        break;
    case LP_HELLO_BAD:
        if (hello->alert != 0) {
            refuse(worker, session, (char)hello->alert, "its hello is malformed");
            return;
        }
        break; /* the library says what is wrong with it */
    case LP_HELLO_MORE:
        break;
    }
    session->stage = SESSION_HANDSHAKE;
    conn_wait_turn(&worker->loop, &session->conn);
}

/* A tcp stream: what has come are its first bytes. */
static void open_by_name(struct worker *worker, struct session *session)
{
    session_forget_partial(worker, session);
    session_open(worker, session);
}

/* All bytes that have come lie in conn.in. */
static void decide(struct worker *worker, struct session *session, enum lp_hello_outcome outcome,
                   const struct lp_hello *hello)
{
    static const struct lp_hello nameless;

    if (!keep_name(session, outcome == LP_HELLO_DONE ? hello : &nameless))
        conn_abort(&worker->loop, &session->conn);
    else if (terminates(session))
        terminate(worker, session, outcome, hello);
    else
        open_by_name(worker, session);
}

void hello_on_recv(struct worker *worker, struct session *session, int error)
{
    struct conn *conn = &session->conn;
    struct lp_hello hello = {0};

    if (error != 0 || listener_of(session) == NULL) {
        conn_abort(&worker->loop, conn);
        return;
    }
    if (conn->io->in.size == 0) {
        session_end_quietly(worker, session); /* it says no more, and has not said enough */
        return;
    }
    if (session->partial != NULL && !partial_join(&worker->loop, session->partial, conn)) {
        conn_abort(&worker->loop, conn);
        return;
    }
    enum lp_hello_outcome outcome =
        lp_hello_parse(&hello, (struct lp_slice){conn->io->in.data, conn->io->in.size});
    if (outcome == LP_HELLO_MORE) {
        if (keep_bytes(worker, session))
            want_more(worker, session);
        else
            conn_abort(&worker->loop, conn);
        return;
    }
    decide(worker, session, outcome, &hello);
}

void hello_on_turn(struct worker *worker, struct session *session)
{
    struct conn *conn = &session->conn;
    struct lp_hello hello;

    if (!terminates(session)) {
        conn_abort(&worker->loop, conn); /* its listener is gone */
        return;
    }
    if (lp_hello_parse(&hello, (struct lp_slice){conn->io->in.data, conn->io->in.size}) !=
        LP_HELLO_DONE)
        hello = (struct lp_hello){0};
    struct piece *in = &conn->io->in;
    in->size = (uint32_t)lp_hello_join((char *)(uintptr_t)in->data, in->size);
    struct lp_tls *tls = lp_tls_accept(listener_of(session)->tls, &hello);
    session_forget_partial(worker, session);
    if (tls == NULL)
        conn_abort(&worker->loop, conn);
    else
        conn_begin_tls(&worker->loop, conn, tls);
}

void hello_on_connect(struct worker *worker, struct session *session, int error)
{
    if (error == 0) {
        session_delay_close(worker, session); /* its turn may have passed meanwhile */
        session_open(worker, session);
        return;
    }
    complain(worker, session,
             error == EPROTO  ? conn_tls_error(&session->conn)
             : error == EPIPE ? "the client closed within it"
                              : strerror(error));
    session_end_quietly(worker, session);
}

void hello_on_timer(struct worker *worker, struct session *session)
{
    uint32_t waited_ms = (uint32_t)worker->loop.now_ms - session->since_ms;
    uint32_t limit_ms = session_timeouts(worker, session)->handshake;
    bool is_its_turn = session->close_at_ms != 0 && worker->loop.now_ms >= session->close_at_ms;

    bool is_too_late = waited_ms >= limit_ms;

    /* Who has said nothing at all is no news. */
    if (is_too_late && (session->stage == SESSION_HANDSHAKE || session->partial != NULL))
        complain(worker, session, "it took too long");
    if (is_too_late || (is_its_turn && session->stage == SESSION_HELLO))
        session_end_quietly(worker, session);
    else
        lp_timer_set_at_latest(&worker->loop.wheel, &session->conn.timer,
                               worker->loop.now_ms + limit_ms - waited_ms);
}
