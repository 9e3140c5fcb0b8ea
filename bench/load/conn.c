/* Sockets: how they are opened, written, read, and replaced when they ended.
 *
 * Each socket is told to epoll once, edge-triggered for both directions: no further epoll_ctl() per
 * unit. So whoever stops before EAGAIN or a short read has to come back by itself; that is what
 * load.again is for, and why one connection's bulk does not hold up the others. Timeouts belong to
 * engine.c, the meaning of bytes to the mode. */
#include "bench/load/load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TURN_BYTES 1048576u /* read or sent in one turn of one connection */

void conn_init(struct load *load, struct conn *conn, uint32_t index)
{
    conn->fd = -1;
    conn->index = index;
    conn->state = CONN_CLOSED;
    lp_list_init(&conn->place);
    lp_list_push_back(&load->waiting, &conn->place);
}

/* ---- States ---- */

static bool is_opening(const struct conn *conn)
{
    return conn->state == CONN_CONNECTING || conn->state == CONN_OPENING;
}

static bool is_open(const struct conn *conn)
{
    return conn->state == CONN_READY || conn->state == CONN_BUSY || conn->state == CONN_ENDING;
}

void conn_enter(struct load *load, struct conn *conn, enum conn_state state)
{
    load->opening_count -= is_opening(conn);
    load->open_count -= is_open(conn);
    conn->state = (uint8_t)state;
    load->opening_count += is_opening(conn);
    load->open_count += is_open(conn);
}

void conn_close(struct load *load, struct conn *conn)
{
    lp_list_remove(&conn->place);
    conn_enter(load, conn, CONN_CLOSED);
    if (conn->ssl != NULL)
        secure_close(load, conn);
    if (conn->fd >= 0)
        close(conn->fd); /* which takes it out of the epoll, too */
    conn->fd = -1;
    conn->generation++;
    conn->message = NULL;
    conn->discard = 0;
    lp_free(conn->control);
    conn->control = NULL;
    response_begin(&conn->response);
}

void conn_deinit(struct load *load, struct conn *conn)
{
    conn_close(load, conn);
    secure_forget(conn);
}

void conn_replace(struct load *load, struct conn *conn)
{
    conn_close(load, conn);
    lp_list_push_back(&load->waiting, &conn->place);
}

void conn_reopen(struct load *load, struct conn *conn)
{
    load->tally.reopened++;
    conn_replace(load, conn);
}

void conn_fail(struct load *load, struct conn *conn, enum load_error error)
{
    load->last_error = error;
    if (load->mode->on_lost != NULL && load->mode->on_lost(load, conn, error))
        return;
    load_count_error(load, error);
    bool is_hopeless = error == LOAD_ERR_TIMEOUT || ++conn->attempts >= LOAD_ATTEMPTS_MAX;
    if (load->phase != PHASE_OPENING || !is_hopeless) {
        conn_replace(load, conn);
        return;
    }
    conn_close(load, conn);
    conn->is_given_up = true;
    load->given_up_count++;
}

/* ---- Opening ---- */

/* Each place keeps its address, so that a hash of clients sees the same ones again. Where each unit
 * has a connection of its own, addresses are taken in turn. */
static bool bind_source(const struct load *load, const struct conn *conn)
{
    const struct lp_cidr *source = &load->options->source;
    uint64_t turn = load->mode->is_one_unit_per_connection ? load->connects : conn->index;
    struct sockaddr_in address = {.sin_family = AF_INET};
    uint32_t host, on = 1;

    /* The first and the last address of a range may stand for all of its hosts. */
    uint64_t hosts_count = 1ull << (32 - source->bits);
    bool has_spare = hosts_count > 2;
    memcpy(&host, source->ip.bytes, sizeof(host));
    host = ntohl(host) + has_spare + (uint32_t)(turn % (hosts_count - 2 * has_spare));
    address.sin_addr.s_addr = htonl(host);
    /* The port is chosen by connect(), which may use one again for another destination. */
    (void)setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    return bind(conn->fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

static bool open_socket(struct load *load, struct conn *conn)
{
    const struct lp_addr *to = &load->options->to;
    int on = 1, size = load->mode->receive_buffer_bytes;

    conn->fd = socket(to->as.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        return false;
    if (to->as.any.sa_family != AF_UNIX)
        (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (size > 0)
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    return load->options->source.ip.family == 0 || bind_source(load, conn);
}

static enum load_error error_of(int code)
{
    switch (code) {
    case ECONNREFUSED:
        return LOAD_ERR_REFUSED;
    case ECONNRESET:
    case EPIPE:
        return LOAD_ERR_RESET;
    case ETIMEDOUT:
        return LOAD_ERR_TIMEOUT;
    case EPROTO:
        return LOAD_ERR_TLS;
    default:
        return LOAD_ERR_CONNECT;
    }
}

static bool watch(const struct load *load, const struct conn *conn)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.u64 = (uint64_t)conn->generation << 32 | conn->index,
    };
    return epoll_ctl(load->epoll, EPOLL_CTL_ADD, conn->fd, &event) == 0;
}

void conn_open(struct load *load, struct conn *conn)
{
    const struct lp_addr *to = &load->options->to;

    lp_list_remove(&conn->place);
    conn->generation++;
    conn->connect_ns = load->now_ns;
    if (!load->mode->is_one_unit_per_connection)
        conn->since_ns = load->now_ns;
    load->connects++;
    conn_enter(load, conn, CONN_CONNECTING);
    bool has_socket = open_socket(load, conn);
    bool is_begun =
        has_socket && (connect(conn->fd, &to->as.any, to->size) == 0 || errno == EINPROGRESS);
    if (is_begun && watch(load, conn))
        return;
    load->last_errno = errno;
    if (has_socket && errno == EAGAIN && to->as.any.sa_family == AF_UNIX)
        conn_replace(load, conn); /* a Unix listener's backlog is full: it waits by itself */
    else
        conn_fail(load, conn, has_socket ? error_of(errno) : LOAD_ERR_CONNECT);
}

uint64_t conn_open_waiting(struct load *load, uint64_t now_ns)
{
    while (!lp_list_is_empty(&load->waiting)) {
        struct conn *conn = lp_container_of(load->waiting.next, struct conn, place);
        if (conn->connect_ns > 0 && conn->connect_ns + LOAD_RETRY_NS > now_ns)
            return conn->connect_ns + LOAD_RETRY_NS;
        if (load->opening_count >= LOAD_OPENING_MAX)
            return UINT64_MAX;
        lp_list_remove(&conn->place);
        load_revive(load, conn);
    }
    return UINT64_MAX;
}

/* ---- Writing ---- */

static void go_on_later(struct load *load, struct conn *conn)
{
    if (conn->is_again)
        return;
    conn->is_again = true;
    conn->again_next = load->again;
    load->again = conn;
}

static ssize_t send_bytes(struct load *load, struct conn *conn, const char *data, size_t size,
                          int flags)
{
    if (conn->ssl != NULL)
        return secure_send(load, conn, data, size);
    return send(conn->fd, data, size, MSG_NOSIGNAL | flags);
}

/* Between two messages of our own. A frame that small does not fit only when the other side does
 * not read; then it is lost. */
static void flush_control(struct load *load, struct conn *conn)
{
    char *frame = conn->control;
    size_t size = 6u + ((uint8_t)frame[1] & 0x7fu);

    conn->control = NULL;
    ssize_t n = send_bytes(load, conn, frame, size, 0);
    lp_free(frame);
    if (n > 0)
        load->tally.bytes_out += (uint64_t)n;
}

/* One send() of what comes next in the message. */
static ssize_t send_piece(struct load *load, struct conn *conn)
{
    const struct message *message = conn->message;

    if (conn->sent < message->head_size) {
        if (message == &load->request && load->mode->stamp != NULL)
            load->mode->stamp(load, conn);
        return send_bytes(load, conn, message->head + conn->sent, message->head_size - conn->sent,
                          message->body_size > 0 ? MSG_MORE : 0);
    }
    uint64_t left = message->head_size + message->body_size - conn->sent;
    return send_bytes(load, conn, load->body, left < LOAD_BUFFER_BYTES ? left : LOAD_BUFFER_BYTES,
                      0);
}

/* Writes as much as the socket takes. False when the connection failed. */
static bool write_some(struct load *load, struct conn *conn)
{
    uint64_t total = conn->message->head_size + conn->message->body_size, turn = 0;

    while (conn->sent < total) {
        if (turn >= TURN_BYTES) {
            go_on_later(load, conn);
            return true;
        }
        ssize_t n = send_piece(load, conn);
        if (n < 0) {
            if (errno == EAGAIN)
                return true;
            conn_fail(load, conn, LOAD_ERR_RESET);
            return false;
        }
        conn->sent += (uint64_t)n;
        load->tally.bytes_out += (uint64_t)n;
        turn += (uint64_t)n;
        if (load->mode->has_progress)
            conn->since_ns = load->now_ns;
    }
    conn->message = NULL;
    if (conn->control != NULL)
        flush_control(load, conn);
    return true;
}

bool conn_send(struct load *load, struct conn *conn, const struct message *message)
{
    conn->message = message;
    conn->sent = 0;
    return write_some(load, conn);
}

void conn_send_control(struct load *load, struct conn *conn, uint8_t opcode, const uint8_t *payload,
                       uint8_t size)
{
    uint8_t *frame = lp_alloc(6u + size);

    frame[0] = 0x80 | opcode;
    frame[1] = 0x80 | size;
    memcpy(frame + 2, &load->mask, 4);
    for (uint8_t i = 0; i < size; i++)
        frame[6 + i] = payload[i] ^ frame[2 + i % 4];
    lp_free(conn->control); /* RFC 6455, 5.5.3: only the newest Ping needs an answer */
    conn->control = (char *)frame;
    if (conn->message == NULL)
        flush_control(load, conn);
}

/* ---- Reading ---- */

/* One recv() of at most size bytes. Bytes that nobody looks at are thrown away by the kernel (which
 * it does not do for Unix sockets, and cannot with TLS); data is NULL then. *is_all: the socket is
 * empty, or there is nothing to come; whatever comes now makes a new edge. */
static ssize_t receive(struct load *load, struct conn *conn, char **data, size_t size, bool *is_all)
{
    bool is_plain = conn->ssl == NULL && load->options->to.as.any.sa_family != AF_UNIX;

    if (conn->discard > 0 && is_plain) {
        if (conn->discard < size)
            size = (size_t)conn->discard;
        *data = NULL;
        ssize_t n = recv(conn->fd, NULL, size, MSG_TRUNC);
        *is_all = n < (ssize_t)size || (uint64_t)n == conn->discard;
        return n;
    }
    if (size > LOAD_BUFFER_BYTES)
        size = LOAD_BUFFER_BYTES;
    *data = load->buffer;
    if (conn->ssl != NULL)
        return secure_receive(load, conn, load->buffer, size, is_all);
    ssize_t n = recv(conn->fd, load->buffer, size, 0);
    *is_all = n < (ssize_t)size;
    return n;
}

/* Reads at most bytes_max; until_end: epoll will not tell again of what is there already. */
static void read_some(struct load *load, struct conn *conn, size_t bytes_max, bool until_end)
{
    uint32_t generation = conn->generation;

    for (size_t turn = 0; turn < bytes_max;) {
        char *data;
        bool is_all;
        ssize_t n = receive(load, conn, &data, bytes_max - turn, &is_all);
        if (n == 0) {
            load->mode->on_fin(load, conn);
            return;
        }
        if (n < 0) {
            if (errno != EAGAIN)
                conn_fail(load, conn, errno == EPROTO ? LOAD_ERR_TLS : LOAD_ERR_RESET);
            return;
        }
        turn += (size_t)n;
        load->tally.bytes_in += (uint64_t)n;
        if (load->mode->has_progress)
            conn->since_ns = load->now_ns;
        load->mode->on_data(load, conn, data, (size_t)n);
        if (conn->generation != generation)
            return;
        if (is_all && !until_end)
            return;
    }
    if (!load->mode->reads_by_itself)
        go_on_later(load, conn);
}

void conn_read(struct load *load, struct conn *conn, size_t bytes_max)
{
    read_some(load, conn, bytes_max, false);
}

/* ---- Events ---- */

/* One step of the TLS handshake. False when it failed, or is not done yet. */
static bool on_handshake(struct load *load, struct conn *conn)
{
    if (conn->ssl == NULL && !secure_open(load, conn)) {
        conn_fail(load, conn, LOAD_ERR_TLS);
        return false;
    }
    enum secure_result result = secure_handshake(load, conn);
    if (result == SECURE_FAILED)
        conn_fail(load, conn, error_of(errno));
    return result == SECURE_DONE;
}

/* False when it failed, or is not decided yet. */
static bool on_connect(struct load *load, struct conn *conn, uint32_t events)
{
    int code = 0;
    socklen_t size = sizeof(code);

    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        (void)getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &code, &size);
    if (code != 0) {
        load->last_errno = code;
        conn_fail(load, conn, error_of(code));
        return false;
    }
    if ((events & EPOLLOUT) == 0 && conn->ssl == NULL)
        return false;
    if (load->secure != NULL && !on_handshake(load, conn))
        return false;
    load->connected++;
    load->mode->on_open(load, conn);
    return true;
}

void conn_on_event(struct load *load, struct conn *conn, uint32_t events)
{
    const uint32_t readable = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    uint32_t generation = conn->generation;

    if (conn->state == CONN_CONNECTING) {
        if (!on_connect(load, conn, events))
            return;
    } else if ((events & EPOLLOUT) != 0 && conn->message != NULL) {
        write_some(load, conn);
    }
    if (conn->generation != generation || (events & readable) == 0)
        return;
    if (load->mode->reads_by_itself && conn->state == CONN_BUSY)
        return;
    read_some(load, conn, TURN_BYTES, (events & readable & ~EPOLLIN) != 0);
}

void conn_go_on(struct load *load)
{
    struct conn *conn = load->again;

    load->again = NULL;
    while (conn != NULL) {
        struct conn *next = conn->again_next;
        uint32_t generation = conn->generation;
        conn->is_again = false;
        /* It may have another socket by now, which makes this a harmless look too many. */
        if (is_open(conn) || conn->state == CONN_OPENING) {
            if (conn->message != NULL)
                write_some(load, conn);
            if (conn->generation == generation && !load->mode->reads_by_itself)
                read_some(load, conn, TURN_BYTES, true);
        }
        conn = next;
    }
}
