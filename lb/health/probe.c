/* One check's conversation with a server. TCP: that it connects. HTTP: a GET and its status.
 * WebSocket: a real upgrade with a random key (RFC 6455, 4.1), optionally a Ping and its Pong, then
 * Close 1000. Start at probe_begin(). */
#include "lb/health/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lb/net/proxy_header.h"

#define LINGER_MS 1000u
#define PING_WORD "limpet"
#define PING_SIZE (sizeof(PING_WORD) - 1)

static void on_connect(struct loop *loop, struct conn *conn, int error);
static void on_turn(struct loop *loop, struct conn *conn);
static void on_recv(struct loop *loop, struct conn *conn, int error);
static void on_sent(struct loop *loop, struct conn *conn, int error);
static void on_timer(struct loop *loop, struct conn *conn);
static void on_released(struct loop *loop, struct conn *conn);

const struct conn_ops probe_ops = {.on_connect = on_connect,
                                   .on_turn = on_turn,
                                   .on_recv = on_recv,
                                   .on_sent = on_sent,
                                   .on_timer = on_timer,
                                   .on_released = on_released};

static struct probe *probe_of(struct conn *conn)
{
    return (struct probe *)(void *)conn;
}

static void set_port(struct lp_addr *address, uint16_t port)
{
    if (port != 0 && address->as.any.sa_family == AF_INET)
        address->as.in.sin_port = htons(port);
    else if (port != 0 && address->as.any.sa_family == AF_INET6)
        address->as.in6.sin6_port = htons(port);
}

bool probe_begin(struct process *process, struct check *check)
{
    const struct lp_addr *address = &check->server->address;
    struct lp_pool_name name;
    int fd = socket(address->as.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    struct probe *probe = lp_pool_get(&process->loop.spaces[LOOP_SPACE_BACK], &name);
    if (probe == NULL) {
        close(fd);
        return false;
    }
    probe->check = check;
    probe->asks = check->config;
    lp_arena_init(&probe->kept);
    probe->address = *address;
    set_port(&probe->address, check->config->port);
    probe->step = PROBE_CONNECT;
    probe->deadline_ms = process->loop.now_ms + check->config->timeout_ms;
    probe->away_ms = process->loop.away_ms;
    check->probe = probe;
    conn_connect(&process->loop, &probe->conn, LOOP_SPACE_BACK, name, fd, &probe->address);
    conn_set_timer(&process->loop, &probe->conn, probe->deadline_ms);
    return true;
}

void probe_cancel(struct process *process, struct check *check)
{
    struct probe *probe = check->probe;

    check->probe = NULL;
    if (probe == NULL)
        return;
    probe->check = NULL;
    conn_abort(&process->loop, &probe->conn);
}

static const struct lp_cfg_check *keep(struct lp_arena *arena, const struct lp_cfg_check *asks)
{
    struct lp_cfg_check *kept = LP_ARENA_NEW(arena, struct lp_cfg_check);

    *kept = *asks;
    kept->path = lp_arena_slice(arena, asks->path);
    kept->host = lp_arena_slice(arena, asks->host);
    kept->headers = LP_ARENA_ARRAY(arena, struct lp_cfg_header, asks->headers_count);
    for (uint32_t i = 0; i < asks->headers_count; i++) {
        kept->headers[i].name = lp_arena_slice(arena, asks->headers[i].name);
        kept->headers[i].value = lp_arena_slice(arena, asks->headers[i].value);
    }
    kept->expect = LP_ARENA_ARRAY(arena, struct lp_cfg_status_range, asks->expect_count);
    for (uint32_t i = 0; i < asks->expect_count; i++)
        kept->expect[i] = asks->expect[i];
    return kept;
}

void probe_follow(struct process *process, struct check *check)
{
    struct probe *probe = check->probe;

    if (probe->kept.chunks == NULL)
        probe->asks = keep(&probe->kept, probe->asks);
    probe->deadline_ms = check->began_ms + check->config->timeout_ms;
    conn_set_timer(&process->loop, &probe->conn, probe->deadline_ms);
}

/* Tells the result once; is_polite: the connection ends as a good client would end it. */
static void tell(struct loop *loop, struct probe *probe, const char *failure, bool is_polite)
{
    struct check *check = probe->check;

    probe->check = NULL;
    if (is_polite)
        conn_end_politely(loop, &probe->conn, LINGER_MS, LINGER_MS);
    else
        conn_abort(loop, &probe->conn);
    if (check != NULL) {
        check->probe = NULL;
        check_done(process_of(loop), check, failure);
    }
}

static bool send_text(struct loop *loop, struct probe *probe, const char *text, size_t size)
{
    uint32_t buffer = uring_buffer_take(loop->uring, uring_group_for(size));

    if (buffer == URING_NO_BUFFER || !conn_can_send(&probe->conn)) {
        if (buffer != URING_NO_BUFFER)
            uring_buffer_put(loop->uring, buffer);
        return false;
    }
    char *place = uring_buffer_base(loop->uring, buffer);
    memcpy(place, text, size);
    conn_send(loop, &probe->conn, (struct piece){place, (uint32_t)size, buffer});
    return true;
}

static size_t write_request(struct probe *probe, char *out, size_t out_max)
{
    const struct lp_cfg_check *config = probe->asks;
    char address[LP_ADDR_TEXT_MAX];
    struct lp_slice host = config->host;
    size_t size;

    if (host.size == 0 && probe->address.as.any.sa_family == AF_UNIX)
        host = LP_SLICE("localhost");
    else if (host.size == 0)
        host = (struct lp_slice){address, lp_addr_format(&probe->address, address)};
    size =
        (size_t)snprintf(out, out_max, "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: limpet\r\n",
                         LP_SLICE_ARG(config->path), LP_SLICE_ARG(host));
    for (uint32_t i = 0; i < config->headers_count && size < out_max; i++)
        size += (size_t)snprintf(out + size, out_max - size, "%.*s: %.*s\r\n",
                                 LP_SLICE_ARG(config->headers[i].name),
                                 LP_SLICE_ARG(config->headers[i].value));
    if (size < out_max && config->type == LP_CHECK_WEBSOCKET) {
        ws_make_key(probe->key);
        size += (size_t)snprintf(out + size, out_max - size,
                                 "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.*s\r\n\r\n",
                                 (int)WS_KEY_SIZE, probe->key);
    } else if (size < out_max) {
        size += (size_t)snprintf(out + size, out_max - size, "Connection: close\r\n\r\n");
    }
    return size < out_max ? size : 0;
}

/* A server that waits for one must not take a check for a broken client. */
static bool send_proxy_header(struct loop *loop, struct probe *probe)
{
    char header[PROXY_HEADER_BYTES_MAX];
    size_t size =
        proxy_header_write(header, probe->check->server->proxy_protocol, &(struct proxy_header){0});

    return size == 0 || send_text(loop, probe, header, size);
}

static void on_turn(struct loop *loop, struct conn *conn)
{
    struct probe *probe = probe_of(conn);
    const struct lp_tls_back *settings = atomic_load(&probe->check->server->pool->tls);
    struct lp_tls *tls = settings != NULL ? lp_tls_connect(settings, &probe->address, NULL) : NULL;

    if (tls == NULL)
        tell(loop, probe, "tls: memory is out", false);
    else
        conn_begin_tls(loop, conn, tls);
}

static void on_connect(struct loop *loop, struct conn *conn, int error)
{
    struct probe *probe = probe_of(conn);
    char text[LP_BUF_SMALL_BYTES], why[128];

    if (conn_is_our_shortage(error)) {
        struct check *check = probe->check;
        probe_cancel(process_of(loop), check);
        check_undecided(process_of(loop), check);
        return;
    }
    bool is_fresh = (conn->flags & CONN_TLS) == 0;
    if (error != 0) {
        snprintf(why, sizeof(why), "%s: %s", is_fresh ? "connect" : "tls",
                 !is_fresh && error == EPROTO ? conn_tls_error(conn) : strerror(error));
        tell(loop, probe, why, false);
        return;
    }
    if (is_fresh && !send_proxy_header(loop, probe)) {
        tell(loop, probe, "no buffer for a PROXY header", false);
        return;
    }
    if (is_fresh && probe->check->server->uses_tls) {
        probe->step = PROBE_TLS;
        conn_wait_turn(loop, conn);
        return;
    }
    if (probe->asks->type == LP_CHECK_TCP) {
        tell(loop, probe, NULL, false);
        return;
    }
    size_t size = write_request(probe, text, sizeof(text));
    if (size == 0 || !send_text(loop, probe, text, size)) {
        tell(loop, probe, "the request is too large", false);
        return;
    }
    probe->step = PROBE_ANSWER;
    conn_want(loop, conn, 0);
}

static void judge_status(struct loop *loop, struct probe *probe, uint16_t status)
{
    const struct lp_cfg_check *config = probe->asks;
    char why[64];

    for (uint32_t i = 0; i < config->expect_count; i++)
        if (status >= config->expect[i].from && status <= config->expect[i].to) {
            tell(loop, probe, NULL, true);
            return;
        }
    snprintf(why, sizeof(why), "status %u", status);
    tell(loop, probe, why, true);
}

/* After the 101: Close 1000 and a polite end. */
static void succeed_websocket(struct loop *loop, struct probe *probe)
{
    char frame[WS_CLOSE_FRAME_MAX];
    size_t size = ws_write_close(frame, 1000, LP_SLICE(""), true);

    (void)send_text(loop, probe, frame, size);
    tell(loop, probe, NULL, true);
}

static void judge_upgrade(struct loop *loop, struct probe *probe,
                          const struct http1_response *response)
{
    char accept[WS_ACCEPT_SIZE], why[64], frame[WS_CLOSE_FRAME_MAX];

    ws_accept(accept, (struct lp_slice){probe->key, WS_KEY_SIZE});
    if (response->status != 101) {
        snprintf(why, sizeof(why), "status %u instead of 101", response->status);
        tell(loop, probe, why, false);
    } else if (!response->is_websocket) {
        tell(loop, probe, "101 without Upgrade: websocket and Connection: upgrade", false);
    } else if (!lp_slice_equal(response->websocket_accept,
                               (struct lp_slice){accept, sizeof(accept)})) {
        tell(loop, probe, "101 with a wrong Sec-WebSocket-Accept", false);
    } else if (!probe->asks->ping) {
        succeed_websocket(loop, probe);
    } else {
        size_t size = ws_write_ping(frame, (struct lp_slice){PING_WORD, PING_SIZE}, true);
        if (!send_text(loop, probe, frame, size)) {
            tell(loop, probe, "no buffer for a Ping", false);
            return;
        }
        probe->step = PROBE_PONG;
    }
}

/* Frames before the Pong are the server's own words; they are skipped. */
static void look_for_pong(struct loop *loop, struct probe *probe)
{
    static const char pong[] = "\x8a\x06" PING_WORD;

    if (memmem(probe->received, probe->received_size, pong, sizeof(pong) - 1) != NULL)
        succeed_websocket(loop, probe);
    else if (probe->received_size == sizeof(probe->received))
        tell(loop, probe, "no Pong among much else", false);
}

static void drop_received(struct probe *probe, size_t size)
{
    memmove(probe->received, probe->received + size, probe->received_size - size);
    probe->received_size -= (uint32_t)size;
}

static void read_answer(struct loop *loop, struct probe *probe)
{
    struct http1_head head;
    struct http1_response response;
    const char *why = "";
    char text[160];

    for (;;) {
        http1_head_init(&head, LP_HEAD_BYTES_MAX, LP_HEADERS_MAX);
        enum http1_outcome outcome =
            http1_parse_response(&head, probe->received, probe->received_size, &why);
        if (outcome == HTTP1_MORE)
            return;
        if (outcome != HTTP1_DONE ||
            !http1_read_response(&response, &head, probe->received, HTTP1_GET, &why)) {
            snprintf(text, sizeof(text), "answer: %s", why);
            tell(loop, probe, text, false);
            return;
        }
        if (response.status >= 200 || response.status == 101)
            break;
        drop_received(probe, head.size);
    }
    if (probe->asks->type == LP_CHECK_HTTP) {
        judge_status(loop, probe, response.status);
        return;
    }
    judge_upgrade(loop, probe, &response);
    if (probe->check != NULL && probe->step == PROBE_PONG) {
        drop_received(probe, head.size);
        look_for_pong(loop, probe);
    }
}

static void on_recv(struct loop *loop, struct conn *conn, int error)
{
    struct probe *probe = probe_of(conn);
    char why[128];

    if (error != 0 || conn->io->in.size == 0) {
        snprintf(why, sizeof(why), "%s: %s", probe->step == PROBE_PONG ? "pong" : "answer",
                 error != 0 ? strerror(error) : "the server closed the connection");
        tell(loop, probe, why, false);
        return;
    }
    uint32_t room = (uint32_t)sizeof(probe->received) - probe->received_size;
    uint32_t size = conn->io->in.size < room ? conn->io->in.size : room;
    memcpy(probe->received + probe->received_size, conn->io->in.data, size);
    probe->received_size += size;
    conn_consume(loop, conn, conn->io->in.size);
    if (probe->step == PROBE_PONG)
        look_for_pong(loop, probe);
    else
        read_answer(loop, probe);
    conn_want(loop, conn, 0);
}

static void on_sent(struct loop *loop, struct conn *conn, int error)
{
    if (error != 0)
        tell(loop, probe_of(conn), "the server does not take the request", false);
}

static void on_timer(struct loop *loop, struct conn *conn)
{
    struct probe *probe = probe_of(conn);
    static const char *const steps[] = {[PROBE_CONNECT] = "connect: no answer in time",
                                        [PROBE_TLS] = "tls: no handshake in time",
                                        [PROBE_ANSWER] = "answer: none in time",
                                        [PROBE_PONG] = "pong: none in time"};

    /* Time in which this thread was away is not the server's. */
    probe->deadline_ms += loop->away_ms - probe->away_ms;
    probe->away_ms = loop->away_ms;
    if (loop->now_ms < probe->deadline_ms) {
        conn_set_timer(loop, conn, probe->deadline_ms); /* also: a reload gave it more */
        return;
    }
    tell(loop, probe, steps[probe->step], false);
}

static void on_released(struct loop *loop, struct conn *conn)
{
    lp_arena_deinit(&probe_of(conn)->kept);
    lp_pool_put(&loop->spaces[LOOP_SPACE_BACK], conn->slot);
}
