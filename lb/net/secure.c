/* TLS of a connection: when a handshake takes its steps, where records are opened and sealed. What
 * a record is: tls/. Start at conn_begin_tls() and secure_turn(). */
#include "lb/net/secure.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* A handshake with RSA takes the place of so many others. */
#define SLOW_HANDSHAKE_TURNS LP_HANDSHAKES_PER_TURN

/* So many slow ones in a row a worker does by itself. */
#define SLOW_WAITING_MAX 2u

/* A ticket waits so long for bytes that take it along. */
#define HOLD_MS 20u

static const struct piece no_piece = {.buffer = URING_NO_BUFFER};

static struct piece take_buffer(struct loop *loop, enum uring_group group)
{
    struct piece piece = {.buffer = uring_buffer_take(loop->uring, group)};

    if (piece.buffer != URING_NO_BUFFER)
        piece.data = uring_buffer_base(loop->uring, piece.buffer);
    return piece;
}

static uint32_t room_of(const struct piece *piece)
{
    return LP_HEADROOM_BYTES + uring_buffer_size(piece->buffer);
}

/* Memory that piece points into, to be written. */
static char *place_of(const struct piece *piece)
{
    return (char *)(uintptr_t)piece->data;
}

/* --- turns --- */

/* A hello that waits with many others need not hold a buffer that is ten times as large. */
static void shrink(struct loop *loop, struct piece *piece)
{
    if (piece->size == 0 || piece->size > LP_BUF_TINY_BYTES ||
        uring_buffer_size(piece->buffer) == LP_BUF_TINY_BYTES)
        return;
    struct piece tiny = take_buffer(loop, URING_TINY);
    if (tiny.buffer == URING_NO_BUFFER)
        return;
    tiny.data += LP_HEADROOM_BYTES;
    memcpy(place_of(&tiny), piece->data, piece->size);
    tiny.size = piece->size;
    piece_drop(loop, piece);
    *piece = tiny;
}

void conn_wait_turn(struct loop *loop, struct conn *conn)
{
    if ((conn->flags & CONN_WAITS_TURN) != 0)
        return;
    conn->flags |= CONN_WAITS_TURN;
    if (loop->handshakes.count > LP_HANDSHAKES_PER_TURN)
        shrink(loop, (conn->flags & CONN_TLS) != 0 ? &conn_tls_of(conn)->cipher : &conn->io->in);
    loop_queue_push(&loop->handshakes, conn_name(conn));
}

/* --- handshake --- */

struct lp_tls *conn_tls_session(const struct conn *conn)
{
    return (conn->flags & CONN_TLS) != 0 ? conn_tls_of(conn)->session : NULL;
}

const char *conn_tls_error(const struct conn *conn)
{
    return (conn->flags & CONN_TLS) != 0 ? lp_tls_error(conn_tls_of(conn)->session) : "no TLS";
}

/* An alert is worth one attempt, behind what was sealed before it. */
static void send_at_once(struct conn *conn, const char *data, size_t size)
{
    const struct piece *control = &conn_tls_of(conn)->control;

    if (size == 0 || conn->io->sending.size > 0)
        return;
    if (control->size > 0 &&
        send(conn->fd, control->data, control->size, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) < 0)
        return;
    ssize_t ignored = send(conn->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)ignored;
}

static int open_records(struct loop *loop, struct conn *conn);

/* Tickets that nothing has taken along go by themselves. */
void secure_send_held(struct loop *loop, struct loop_timer *timer)
{
    (void)timer;
    while (loop->held.count > 0) {
        struct conn *conn = loop_queue_pop(loop, &loop->held);
        if (conn != NULL && (conn->flags & CONN_TLS) != 0 && conn->state == CONN_OPEN &&
            conn->io->sending.size == 0)
            secure_send_more(loop, conn);
    }
}

static void hold_flight(struct loop *loop, struct conn *conn)
{
    if (loop->held.count == 0)
        loop_timer_set(loop, &loop->held_timer, loop->now_ms + HOLD_MS);
    loop_queue_push(&loop->held, conn_name(conn));
}

/* What the last step wrote goes out with the first bytes of the owner's, if it has some now (a
 * request to a server), or soon (an answer) and the peer does not wait for it. */
static void establish(struct loop *loop, struct conn *conn)
{
    struct conn_tls *tls = conn_tls_of(conn);

    conn->state = CONN_OPEN;
    int error = open_records(loop, conn); /* what came right behind the handshake */
    loop->ops[conn->space]->on_connect(loop, conn, error == EAGAIN ? 0 : error);
    if (conn->state != CONN_OPEN || tls->control.size == 0 || tls->io.sending.size > 0)
        return;
    if (lp_tls_flight_can_wait(tls->session))
        hold_flight(loop, conn);
    else
        secure_send_more(loop, conn);
}

/* Takes flight. It waits behind one that a slow peer has not taken yet; false when it does not fit
 * there. */
static bool say_flight(struct loop *loop, struct conn_tls *tls, struct piece flight)
{
    struct piece *control = &tls->control;

    if (control->size == 0) {
        if (flight.size == 0)
            piece_drop(loop, &flight);
        *control = flight;
        return true;
    }
    bool fits = room_of(control) - control->size >= flight.size;
    if (fits) {
        memcpy(place_of(control) + control->size, flight.data, flight.size);
        control->size += flight.size;
    }
    piece_drop(loop, &flight);
    return fits;
}

static void follow(struct loop *loop, struct conn *conn, enum lp_tls_result result,
                   struct piece flight)
{
    struct conn_tls *tls = conn_tls_of(conn);

    if (tls->cipher.size == 0)
        piece_drop(loop, &tls->cipher);
    if (result == LP_TLS_FAILED || result == LP_TLS_CLOSED) {
        send_at_once(conn, flight.data, flight.size);
        piece_drop(loop, &flight);
        loop->ops[conn->space]->on_connect(loop, conn, EPROTO);
        return;
    }
    if (!say_flight(loop, tls, flight)) {
        loop->ops[conn->space]->on_connect(loop, conn, ENOBUFS);
        return;
    }
    tls->has_more_to_say = result == LP_TLS_FULL; /* when this has left: secure_send_more() */
    if (result == LP_TLS_DATA) {
        establish(loop, conn);
        return;
    }
    if (tls->io.sending.size == 0)
        secure_send_more(loop, conn);
    if (result == LP_TLS_MORE && (conn->flags & (CONN_RECV_ARMED | CONN_STARVED)) == 0)
        conn_arm_recv(loop, conn, 0);
}

static void begin_wire(struct lp_tls_wire *wire, const struct conn_tls *tls,
                       const struct piece *flight)
{
    *wire = (struct lp_tls_wire){.in = {tls->cipher.data, tls->cipher.size},
                                 .out = place_of(flight),
                                 .out_room = room_of(flight)};
}

static void end_wire(const struct lp_tls_wire *wire, struct conn_tls *tls, struct piece *flight)
{
    tls->cipher.data = wire->in.data;
    tls->cipher.size = (uint32_t)wire->in.size;
    flight->size = (uint32_t)wire->out_size;
}

static bool give_away(struct loop *loop, struct conn *conn, struct piece flight)
{
    struct conn_tls *tls = conn_tls_of(conn);
    struct crypto_job *job;

    if (loop->crypto == NULL || loop->handshakes.count < SLOW_WAITING_MAX)
        return false;
    job = lp_try_alloc(sizeof(*job));
    if (job == NULL)
        return false;
    *job = (struct crypto_job){
        .box = &loop->crypto_box, .name = conn_name(conn), .session = tls->session};
    begin_wire(&job->wire, tls, &flight);
    job->wire_buffer = flight.buffer;
    tls->is_away = true;
    conn->ops_inflight++;
    if (crypto_submit(loop->crypto, job))
        return true;
    conn->ops_inflight--;
    tls->is_away = false;
    lp_free(job);
    return false;
}

static void take_turns(struct loop *loop, uint32_t count)
{
    loop->turns_left -= count < loop->turns_left ? count : loop->turns_left;
}

static void step(struct loop *loop, struct conn *conn)
{
    struct conn_tls *tls = conn_tls_of(conn);
    bool is_slow = lp_tls_is_slow(tls->session);
    struct piece flight = take_buffer(loop, URING_SMALL);
    struct lp_tls_wire wire;

    if (flight.buffer == URING_NO_BUFFER) {
        loop->ops[conn->space]->on_connect(loop, conn, ENOBUFS);
        return;
    }
    if (is_slow && give_away(loop, conn, flight))
        return;
    begin_wire(&wire, tls, &flight);
    enum lp_tls_result result = lp_tls_handshake(tls->session, &wire);
    end_wire(&wire, tls, &flight);
    follow(loop, conn, result, flight);
    take_turns(loop, is_slow ? SLOW_HANDSHAKE_TURNS : 1);
}

void conn_begin_tls(struct loop *loop, struct conn *conn, struct lp_tls *session)
{
    struct lp_pool_name name;
    struct conn_tls *tls = lp_pool_get(&loop->secures, &name);

    LP_ASSERT(tls != NULL && conn->state == CONN_OPEN && conn->io->next.size == 0);
    tls->session = session;
    tls->slot = name.slot;
    tls->cipher = tls->plain = tls->control = no_piece;
    if (conn->io->in.size > 0)
        tls->cipher = conn_take(loop, conn, conn->io->in.size);
    conn_move_traffic(loop, conn, &tls->io); /* a PROXY header may be under way */
    conn->flags |= CONN_TLS;
    conn->state = CONN_HANDSHAKE;
    step(loop, conn);
}

static void take_back(struct loop *loop, struct crypto_job *job)
{
    struct conn *conn = lp_pool_find(&loop->spaces[job->name.space], job->name.at);
    LP_ASSERT(conn != NULL && conn_tls_of(conn)->is_away);
    struct conn_tls *tls = conn_tls_of(conn);
    struct piece flight = {.data = job->wire.out, .buffer = job->wire_buffer};

    tls->is_away = false;
    conn->ops_inflight--;
    end_wire(&job->wire, tls, &flight);
    if (conn->state == CONN_HANDSHAKE)
        follow(loop, conn, job->result, flight);
    else
        piece_drop(loop, &flight);
    conn_release_when_idle(loop, conn);
    lp_free(job);
}

void secure_turn(struct loop *loop)
{
    struct crypto_job *job = crypto_collect(&loop->crypto_box);

    while (job != NULL) {
        struct crypto_job *next = job->next;
        take_back(loop, job);
        job = next;
    }
    loop->turns_left = LP_HANDSHAKES_PER_TURN;
    while (loop->turns_left > 0 && loop->handshakes.count > 0) {
        struct conn *conn = loop_queue_pop(loop, &loop->handshakes);
        if (conn == NULL)
            continue;
        conn->flags &= (uint16_t)~CONN_WAITS_TURN;
        if (conn->state == CONN_HANDSHAKE)
            step(loop, conn);
        else if (conn->state == CONN_OPEN)
            loop->ops[conn->space]->on_turn(loop, conn);
    }
}

/* --- opening --- */

/* The protocol's own answers wait behind what is being sent: records leave in the order in which
 * they were sealed. A peer that makes us say more than this without reading it is no peer. */
static bool say(struct loop *loop, struct conn *conn, const char *data, size_t size)
{
    struct conn_tls *tls = conn_tls_of(conn);

    if (size == 0 || tls->has_said_goodbye)
        return true;
    if (tls->control.size == 0)
        tls->control = take_buffer(loop, URING_TINY);
    if (tls->control.buffer == URING_NO_BUFFER || room_of(&tls->control) - tls->control.size < size)
        return false;
    memcpy(place_of(&tls->control) + tls->control.size, data, size);
    tls->control.size += (uint32_t)size;
    if (tls->io.sending.size == 0)
        secure_send_more(loop, conn);
    return true;
}

/* A record that began in an earlier buffer comes out larger than what is left of it in this one. */
static enum lp_tls_result open_carried(struct loop *loop, struct conn *conn,
                                       struct lp_tls_wire *wire, int *error)
{
    struct piece piece = take_buffer(loop, URING_SMALL);
    size_t size;

    if (piece.buffer == URING_NO_BUFFER) {
        *error = ENOBUFS;
        return LP_TLS_FAILED;
    }
    piece.data += LP_HEADROOM_BYTES;
    enum lp_tls_result result =
        lp_tls_open(conn_tls_of(conn)->session, wire, place_of(&piece), &size);
    piece.size = (uint32_t)size;
    if (size == 0)
        piece_drop(loop, &piece);
    else if (!conn_deliver(loop, conn, piece))
        *error = ENOMEM;
    return result;
}

/* All records of cipher; their plaintext takes the place they came in. */
static int open_records(struct loop *loop, struct conn *conn)
{
    struct conn_tls *tls = conn_tls_of(conn);
    struct piece cipher = tls->cipher;
    char control[LP_TLS_CONTROL_BYTES];
    struct lp_tls_wire wire = {
        .in = {cipher.data, cipher.size}, .out = control, .out_room = sizeof(control)};
    enum lp_tls_result result = LP_TLS_DATA;
    int error = 0;

    if (cipher.size == 0)
        return EAGAIN;
    tls->cipher = no_piece;
    char *begin = uring_buffer_base(loop->uring, cipher.buffer) + LP_HEADROOM_BYTES, *end = begin;
    LP_ASSERT(begin <= cipher.data);
    if (lp_tls_carried(tls->session) > 0)
        result = open_carried(loop, conn, &wire, &error);
    while (result == LP_TLS_DATA && error == 0) {
        size_t size;
        result = lp_tls_open(tls->session, &wire, end, &size);
        end += size;
    }
    if (end > begin)
        error =
            conn_deliver(loop, conn, (struct piece){begin, (uint32_t)(end - begin), cipher.buffer})
                ? error
                : ENOMEM;
    else
        piece_drop(loop, &cipher);
    if (result == LP_TLS_CLOSED)
        conn->flags |= CONN_EOF;
    if (result == LP_TLS_FAILED && error == 0) {
        send_at_once(conn, control, wire.out_size);
        return EPROTO;
    }
    if (!say(loop, conn, control, wire.out_size))
        return ENOBUFS;
    if (error == 0 && end == begin && conn->io->in.size == 0 && !conn_is_eof(conn))
        return EAGAIN;
    return error;
}

int secure_receive(struct loop *loop, struct conn *conn, struct piece piece)
{
    struct conn_tls *tls = conn_tls_of(conn);

    LP_ASSERT(tls->cipher.size == 0);
    tls->cipher = piece;
    if (conn->state == CONN_HANDSHAKE) {
        conn_wait_turn(loop, conn);
        return EAGAIN;
    }
    int error = open_records(loop, conn);
    /* The owner asked for bytes and still waits for them. */
    if (error == EAGAIN && conn->state == CONN_OPEN &&
        (conn->flags & (CONN_RECV_ARMED | CONN_STARVED)) == 0)
        conn_arm_recv(loop, conn, conn->recv_limit);
    return error;
}

/* --- sealing --- */

/* Where the ciphertext of what is to be sent goes: behind what the protocol itself has to say; in
 * front of the plaintext in the same buffer, when nobody else looks at that and there is room for
 * what TLS adds; else into a buffer of its own. */
static struct piece place_ciphertext(struct loop *loop, struct conn_tls *tls, uint32_t added,
                                     bool *is_in_place)
{
    struct uring *uring = loop->uring;
    const struct piece *plain = &tls->plain;
    bool is_large_allowed = loop->large_bytes > LP_BUF_SMALL_BYTES;

    if (tls->control.size > 0) {
        struct piece behind = tls->control;
        tls->control = no_piece;
        *is_in_place = false;
        return behind;
    }
    *is_in_place = plain->buffer != URING_NO_BUFFER &&
                   uring_buffer_refs(uring, plain->buffer) == 1 &&
                   plain->data - uring_buffer_base(uring, plain->buffer) >= added;
    if (*is_in_place)
        return (struct piece){plain->data - added, 0, plain->buffer};
    if (plain->size + added <= LP_HEADROOM_BYTES + LP_BUF_TINY_BYTES)
        return take_buffer(loop, URING_TINY);
    if (plain->size + added > LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES && is_large_allowed) {
        uint32_t buffer = uring_buffer_take_large(uring);
        if (buffer != URING_NO_BUFFER)
            return (struct piece){uring_buffer_base(uring, buffer), 0, buffer};
    }
    return take_buffer(loop, URING_SMALL);
}

static void say_goodbye(struct conn_tls *tls, struct lp_tls_wire *wire)
{
    if (tls->has_said_goodbye)
        return;
    tls->has_said_goodbye = true;
    lp_tls_close(tls->session, wire);
}

/* A session that cannot seal is over: the owner learns it from a send that fails. */
static void seal_nothing(struct loop *loop, struct conn *conn)
{
    piece_drop(loop, &conn_tls_of(conn)->plain);
    shutdown(conn->fd, SHUT_RDWR);
    conn->io->sending = (struct piece){"", 1, URING_NO_BUFFER};
    conn_submit_send(loop, conn);
}

static void seal(struct loop *loop, struct conn *conn)
{
    struct conn_tls *tls = conn_tls_of(conn);
    struct piece *plain = &tls->plain;
    uint32_t records = lp_tls_records(tls->session, plain->size, loop->now_ms);
    uint32_t added = records * LP_TLS_RECORD_OVERHEAD + LP_TLS_SEAL_SLACK;
    bool is_in_place;
    struct piece sealed = place_ciphertext(loop, tls, added, &is_in_place);

    if (sealed.buffer == URING_NO_BUFFER) {
        seal_nothing(loop, conn);
        return;
    }
    struct lp_slice rest = {plain->data, plain->size};
    struct lp_tls_wire wire = {.out = place_of(&sealed),
                               .out_size = sealed.size,
                               .out_room = is_in_place ? added + plain->size : room_of(&sealed)};
    enum lp_tls_result result = lp_tls_seal(tls->session, &wire, &rest, loop->now_ms);
    if (result == LP_TLS_DATA && (conn->flags & CONN_LAST) != 0 && tls->io.next.size == 0)
        say_goodbye(tls, &wire);
    sealed.size = (uint32_t)wire.out_size;
    if (result == LP_TLS_FAILED || sealed.size == 0) {
        if (!is_in_place)
            piece_drop(loop, &sealed);
        seal_nothing(loop, conn);
        return;
    }
    if (is_in_place && rest.size > 0)
        uring_buffer_ref(loop->uring, plain->buffer);
    plain->data = rest.data;
    plain->size = (uint32_t)rest.size;
    if (rest.size == 0 && is_in_place)
        *plain = no_piece;
    else if (rest.size == 0)
        piece_drop(loop, plain);
    conn->io->sending = sealed;
    conn_submit_send(loop, conn);
}

static bool fits_behind_control(const struct conn_tls *tls, uint32_t size)
{
    return room_of(&tls->control) - tls->control.size >=
           size + LP_TLS_RECORD_OVERHEAD * (size / 1024 + 1) + LP_TLS_SEAL_SLACK;
}

void secure_send(struct loop *loop, struct conn *conn, struct piece piece)
{
    struct conn_tls *tls = conn_tls_of(conn);

    tls->plain = piece;
    if (tls->control.size > 0 && !fits_behind_control(tls, piece.size))
        secure_send_more(loop, conn); /* the piece follows */
    else
        seal(loop, conn);
}

bool secure_send_more(struct loop *loop, struct conn *conn)
{
    struct conn_tls *tls = conn_tls_of(conn);

    if (tls->control.size > 0) {
        conn->io->sending = tls->control;
        tls->control = no_piece;
        conn_submit_send(loop, conn);
        return true;
    }
    if (conn->state == CONN_HANDSHAKE) {
        if (tls->has_more_to_say)
            conn_wait_turn(loop, conn);
        tls->has_more_to_say = false;
        return true;
    }
    if (tls->plain.size == 0)
        return false;
    seal(loop, conn);
    return true;
}

/* --- the end --- */

/* Into control, behind what waits there. False: there is nothing to send. */
static bool write_goodbye(struct loop *loop, struct conn_tls *tls)
{
    if (tls->is_away || !lp_tls_is_established(tls->session))
        return false;
    if (tls->control.size == 0)
        tls->control = take_buffer(loop, URING_TINY);
    if (tls->control.buffer == URING_NO_BUFFER)
        return false;
    struct lp_tls_wire wire = {.out = place_of(&tls->control),
                               .out_size = tls->control.size,
                               .out_room = room_of(&tls->control)};
    say_goodbye(tls, &wire);
    tls->control.size = (uint32_t)wire.out_size;
    if (tls->control.size == 0)
        piece_drop(loop, &tls->control);
    return tls->control.size > 0;
}

bool secure_close(struct loop *loop, struct conn *conn)
{
    return write_goodbye(loop, conn_tls_of(conn)) && secure_send_more(loop, conn);
}

void conn_say_goodbye(struct loop *loop, struct conn *conn)
{
    struct conn_tls *tls = conn_tls_of(conn);

    if ((conn->flags & CONN_TLS) == 0 || conn->state != CONN_OPEN || tls->io.sending.size > 0 ||
        !write_goodbye(loop, tls))
        return;
    struct piece goodbye = tls->control;
    tls->control = no_piece;
    send_at_once(conn, goodbye.data, goodbye.size);
    piece_drop(loop, &goodbye);
}

void secure_drop_unsent(struct loop *loop, struct conn *conn)
{
    struct conn_tls *tls = conn_tls_of(conn);

    piece_drop(loop, &tls->plain);
    piece_drop(loop, &tls->control);
    tls->has_more_to_say = false;
    tls->has_said_goodbye = true;
}

void secure_release(struct loop *loop, struct conn *conn)
{
    struct conn_tls *tls = conn_tls_of(conn);

    LP_ASSERT(!tls->is_away);
    conn_unstall(conn);
    piece_drop(loop, &tls->cipher);
    piece_drop(loop, &tls->plain);
    piece_drop(loop, &tls->control);
    lp_tls_destroy(tls->session);
    lp_pool_put(&loop->secures, tls->slot);
    conn_forget_tls(conn);
}
