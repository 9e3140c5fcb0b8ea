/* A server of the demonstration: small, honest and single-threaded. It says who it is in every way
 * that limpet can carry: a page, a line of text, a WebSocket echo, an event stream.
 *
 * Start at demo_server_run(), one loop around poll(). Each client has one buffer in and one out;
 * nothing is read for which the out buffer has no room, so the memory is bounded whatever comes.
 * A WebSocket is echoed frame by frame while it arrives: no message is ever held as a whole. */
#include "lb/cli/demo.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lb/http/http1.h"
#include "lb/ws/ws.h"

#define CLIENTS_MAX      500u              /* more wait in the accept queue */
#define IN_BYTES         LP_HEAD_BYTES_MAX /* a whole request head, or a part of a frame */
#define OUT_BYTES        32768u            /* the page with its head, or echoes */
#define TICK_MS          1000u             /* between two events */
#define LINGER_MS        2000u             /* for the FIN of somebody we have said goodbye to */
#define FRAME_HEADER_MAX 14u

enum client_state {
    CLIENT_FREE,    /* fd is -1: nothing may be read                         */
    CLIENT_HTTP,    /* between requests, or within a head                    */
    CLIENT_EVENTS,  /* an event stream: gets a tick a second                 */
    CLIENT_ECHO,    /* a WebSocket                                           */
    CLIENT_LEAVING, /* no more to say than what is in out, then FIN for FIN  */
};

struct client {
    int fd;
    enum client_state state;
    bool has_sent_fin, has_read_fin;
    uint64_t leave_ms; /* CLIENT_LEAVING: the end of patience */
    uint32_t ticks;    /* CLIENT_EVENTS: sent so far          */
    struct {           /* CLIENT_ECHO: the frame under way    */
        uint64_t left; /* bytes of its payload                */
        uint32_t key_at;
        uint8_t key[4];
        bool is_dropped; /* a Pong */
        bool is_close;
        bool is_in_message; /* the next data frame must be a continuation */
    } frame;
    size_t in_at, in_size; /* what is not used yet: in[in_at .. in_size) */
    size_t out_at, out_size;
    char in[IN_BYTES];
    char out[OUT_BYTES];
};

struct demo_server {
    int listen_fd;
    const char *name;
    struct lp_slice page;
    uint64_t tick_ms; /* when the next event is due */
    struct pollfd polls[CLIENTS_MAX + 1];
    struct client clients[CLIENTS_MAX];
};

/* Out and in. */

static size_t out_room(const struct client *client)
{
    return OUT_BYTES - client->out_size;
}

static void say(struct client *client, const void *bytes, size_t size)
{
    LP_ASSERT(size <= out_room(client));
    memcpy(client->out + client->out_size, bytes, size);
    client->out_size += size;
}

static void client_leave(struct client *client)
{
    client->state = CLIENT_LEAVING;
    client->leave_ms = lp_clock_ms() + LINGER_MS;
    client->in_at = client->in_size = 0;
}

static void client_close(struct client *client)
{
    close(client->fd);
    client->fd = -1;
    client->state = CLIENT_FREE;
}

/* HTTP. */

static void answer(struct client *client, int status, const char *reason, const char *type,
                   struct lp_slice body, bool is_head, bool is_last)
{
    char head[512];
    int size = snprintf(head, sizeof(head),
                        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                        "Cache-Control: no-store\r\n%s\r\n",
                        status, reason, type, body.size, is_last ? "Connection: close\r\n" : "");

    LP_ASSERT(size > 0 && (size_t)size < sizeof(head));
    say(client, head, (size_t)size);
    if (!is_head)
        say(client, body.data, body.size);
    if (is_last)
        client_leave(client);
}

static void answer_text(struct client *client, int status, const char *reason, const char *text,
                        bool is_head, bool is_last)
{
    answer(client, status, reason, "text/plain; charset=utf-8", lp_slice_of(text), is_head,
           is_last);
}

/* One event in a chunk of its own; left out for a client that does not read. */
static void say_event(struct demo_server *server, struct client *client)
{
    char event[160], chunk[200];
    int size = snprintf(event, sizeof(event),
                        "id: %u\nevent: tick\ndata: {\"server\":\"%s\",\"tick\":%u}\n\n",
                        client->ticks, server->name, client->ticks);
    int chunk_size = snprintf(chunk, sizeof(chunk), "%x\r\n%s\r\n", (unsigned)size, event);

    client->ticks++;
    if ((size_t)chunk_size <= out_room(client))
        say(client, chunk, (size_t)chunk_size);
}

static void begin_events(struct demo_server *server, struct client *client)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: text/event-stream\r\n"
                               "Cache-Control: no-store\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";

    say(client, head, sizeof(head) - 1);
    client->state = CLIENT_EVENTS;
    client->ticks = 0;
    say_event(server, client);
}

static void begin_echo(struct demo_server *server, struct client *client, struct lp_slice key)
{
    char accept[WS_ACCEPT_SIZE], head[256], greeting[64];

    ws_accept(accept, key);
    int size = snprintf(head, sizeof(head),
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
                        (int)sizeof(accept), accept);
    say(client, head, (size_t)size);

    int text_size = snprintf(greeting + 2, sizeof(greeting) - 2, "hello from %s", server->name);
    greeting[0] = (char)0x81; /* a whole text message */
    greeting[1] = (char)text_size;
    say(client, greeting, 2 + (size_t)text_size);
    client->state = CLIENT_ECHO;
    memset(&client->frame, 0, sizeof(client->frame));
}

static void serve(struct demo_server *server, struct client *client,
                  const struct http1_request *request)
{
    bool is_head = request->method == HTTP1_HEAD;
    bool is_last = !request->wants_keep_alive || request->body != HTTP1_BODY_NONE;
    char line[64];

    if (request->method != HTTP1_GET && !is_head) {
        answer_text(client, 405, "Method Not Allowed", "GET or HEAD, please\n", false, true);
    } else if (lp_slice_equal(request->path, LP_SLICE("/"))) {
        answer(client, 200, "OK", "text/html; charset=utf-8", server->page, is_head, is_last);
    } else if (lp_slice_equal(request->path, LP_SLICE("/whoami"))) {
        snprintf(line, sizeof(line), "%s\n", server->name);
        answer_text(client, 200, "OK", line, is_head, is_last);
    } else if (lp_slice_equal(request->path, LP_SLICE("/health"))) {
        answer_text(client, 200, "OK", "ok\n", is_head, is_last);
    } else if (lp_slice_equal(request->path, LP_SLICE("/events")) && !is_head) {
        begin_events(server, client);
    } else if (lp_slice_equal(request->path, LP_SLICE("/ws"))) {
        if (request->upgrade == HTTP1_UPGRADE_WEBSOCKET)
            begin_echo(server, client, request->websocket_key);
        else
            answer_text(client, 426, "Upgrade Required", "speak WebSocket here\n", is_head, true);
    } else {
        answer_text(client, 404, "Not Found", "nothing here: try / /whoami /ws /events /health\n",
                    is_head, is_last);
    }
}

/* Answers whether there may be more to do with what has been read. */
static bool http_step(struct demo_server *server, struct client *client)
{
    const char *bytes = client->in + client->in_at, *why;
    struct http1_head head;
    struct http1_request request;

    if (client->out_size > 0) /* Pipelined: first things first. */
        return false;
    http1_head_init(&head, IN_BYTES, LP_HEADERS_MAX);
    switch (http1_parse_request(&head, bytes, client->in_size - client->in_at, &why)) {
    case HTTP1_MORE:
        return false;
    case HTTP1_DONE:
        break;
    case HTTP1_BAD:
    case HTTP1_TOO_LARGE:
    case HTTP1_BAD_VERSION:
        answer_text(client, 400, "Bad Request", "not HTTP\n", false, true);
        return false;
    }
    client->in_at += head.size;
    if (http1_read_request(&request, &head, bytes, &why) != 0)
        answer_text(client, 400, "Bad Request", "bad request\n", false, true);
    else
        serve(server, client, &request);
    return client->state != CLIENT_LEAVING;
}

/* WebSocket (RFC 6455, 5). */

static void break_off(struct client *client)
{
    char frame[WS_CLOSE_FRAME_MAX];

    size_t size = ws_write_close(frame, 1002, LP_SLICE("not a frame"), false);
    if (size <= out_room(client))
        say(client, frame, size);
    client_leave(client);
}

static bool frame_is_legal(const struct client *client, const uint8_t *header)
{
    uint8_t opcode = header[0] & 15, length = header[1] & 127;
    bool is_final = header[0] & 128, is_masked = header[1] & 128;

    if ((header[0] & 0x70) != 0 || !is_masked) /* No extension was agreed on. */
        return false;
    if (opcode >= 8)
        return opcode <= 10 && is_final && length <= 125;
    return opcode <= 2 && (opcode == 0) == client->frame.is_in_message;
}

static void frame_ended(struct client *client)
{
    if (client->frame.is_close)
        client_leave(client);
}

/* The header of what goes back is the one that came, without its mask; a Ping comes back as Pong.
 */
static bool begin_frame(struct client *client)
{
    const uint8_t *header = (const uint8_t *)client->in + client->in_at;
    size_t there = client->in_size - client->in_at;

    if (there < 2)
        return false;
    uint8_t opcode = header[0] & 15, length = header[1] & 127;
    size_t size = length == 127 ? 10 : length == 126 ? 4 : 2;
    if (!frame_is_legal(client, header)) {
        break_off(client);
        return false;
    }
    if (there < size + 4 || out_room(client) < FRAME_HEADER_MAX)
        return false;
    client->frame.left = size == 2 ? length : 0;
    for (size_t i = 2; i < size; i++)
        client->frame.left = client->frame.left << 8 | header[i];
    if (client->frame.left > INT64_MAX) { /* RFC 6455, 5.2: the top bit is 0. */
        break_off(client);
        return false;
    }
    memcpy(client->frame.key, header + size, 4);
    client->frame.key_at = 0;
    client->frame.is_close = opcode == 8;
    client->frame.is_dropped = opcode == 10;
    if (opcode < 8)
        client->frame.is_in_message = !(header[0] & 128);

    uint8_t reply[FRAME_HEADER_MAX];
    memcpy(reply, header, size);
    reply[1] &= 127;
    if (opcode == 9)
        reply[0] = 0x8a;
    client->in_at += size + 4;
    if (!client->frame.is_dropped)
        say(client, reply, size);
    if (client->frame.left == 0)
        frame_ended(client);
    return client->state == CLIENT_ECHO;
}

static bool echo_payload(struct client *client)
{
    size_t size = client->in_size - client->in_at;

    if (size > client->frame.left)
        size = (size_t)client->frame.left;
    if (size > out_room(client) && !client->frame.is_dropped)
        size = out_room(client);
    if (size == 0)
        return false;
    char *bytes = client->in + client->in_at;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(bytes[i] ^ client->frame.key[client->frame.key_at++ & 3]);
    if (!client->frame.is_dropped)
        say(client, bytes, size);
    client->in_at += size;
    client->frame.left -= size;
    if (client->frame.left == 0)
        frame_ended(client);
    return client->state == CLIENT_ECHO;
}

/* The loop. */

/* Does what can be done with what has been read. */
static void client_step(struct demo_server *server, struct client *client)
{
    bool goes_on = true;

    while (goes_on && client->in_at < client->in_size) {
        switch (client->state) {
        case CLIENT_HTTP:
            goes_on = http_step(server, client);
            break;
        case CLIENT_ECHO:
            goes_on = client->frame.left > 0 ? echo_payload(client) : begin_frame(client);
            break;
        case CLIENT_FREE:
        case CLIENT_EVENTS:
        case CLIENT_LEAVING: /* Nobody listens to what else it says. */
            client->in_at = client->in_size;
            break;
        }
    }
    memmove(client->in, client->in + client->in_at, client->in_size - client->in_at);
    client->in_size -= client->in_at;
    client->in_at = 0;
}

static void client_read(struct demo_server *server, struct client *client)
{
    size_t room = IN_BYTES - client->in_size;
    ssize_t size = room > 0 ? recv(client->fd, client->in + client->in_size, room, 0) : 0;

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size == 0 && client->out_size > 0) { /* It may still listen. */
        client->has_read_fin = true;
        client_leave(client);
    } else if (size <= 0) {
        client_close(client);
    } else {
        client->in_size += (size_t)size;
        client_step(server, client);
    }
}

static void client_write(struct demo_server *server, struct client *client)
{
    while (client->out_at < client->out_size) {
        ssize_t size = send(client->fd, client->out + client->out_at,
                            client->out_size - client->out_at, MSG_NOSIGNAL);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (size < 0) {
            client_close(client);
            return;
        }
        client->out_at += (size_t)size;
    }
    memmove(client->out, client->out + client->out_at, client->out_size - client->out_at);
    client->out_size -= client->out_at;
    client->out_at = 0;
    if (client->out_size > 0)
        return;
    if (client->has_read_fin) {
        client_close(client);
        return;
    }
    if (client->state == CLIENT_LEAVING && !client->has_sent_fin) {
        shutdown(client->fd, SHUT_WR);
        client->has_sent_fin = true;
    }
    client_step(server, client); /* What waited for room. */
}

static void accept_clients(struct demo_server *server)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &server->clients[i];
        if (client->state != CLIENT_FREE)
            continue;
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        client->fd = fd;
        client->state = CLIENT_HTTP;
        client->has_sent_fin = client->has_read_fin = false;
        client->in_at = client->in_size = client->out_at = client->out_size = 0;
    }
}

/* Events that are due, and the end of patience. */
static void keep_time(struct demo_server *server)
{
    uint64_t now_ms = lp_clock_ms();
    bool is_tick = now_ms >= server->tick_ms;

    if (is_tick)
        server->tick_ms = now_ms + TICK_MS;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &server->clients[i];
        if (client->state == CLIENT_EVENTS && is_tick)
            say_event(server, client);
        if (client->state == CLIENT_LEAVING && now_ms >= client->leave_ms)
            client_close(client);
    }
}

/* What each socket is asked for. */
static void fill_polls(struct demo_server *server)
{
    bool has_place = false;

    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        const struct client *client = &server->clients[i];
        short events = 0;
        if (client->state != CLIENT_FREE && client->in_size < IN_BYTES && !client->has_read_fin)
            events |= POLLIN;
        if (client->out_size > client->out_at)
            events |= POLLOUT;
        server->polls[i] = (struct pollfd){client->fd, events, 0};
        has_place |= client->state == CLIENT_FREE;
    }
    server->polls[CLIENTS_MAX] = (struct pollfd){has_place ? server->listen_fd : -1, POLLIN, 0};
}

static void serve_ready(struct demo_server *server)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &server->clients[i];
        short ready = server->polls[i].revents;
        if (client->state != CLIENT_FREE && ready & (POLLIN | POLLHUP | POLLERR))
            client_read(server, client);
        if (client->state != CLIENT_FREE && client->out_size > client->out_at)
            client_write(server, client);
    }
    if (server->polls[CLIENTS_MAX].revents != 0)
        accept_clients(server);
}

/* Gives the page with the name put in. */
static struct lp_slice render_page(struct lp_slice name)
{
    static const char mark[] = "{{NAME}}";
    struct lp_slice rest = demo_page();
    char *page = lp_alloc(OUT_BYTES);
    size_t size = 0;

    while (rest.size > 0) {
        const char *found = memmem(rest.data, rest.size, mark, sizeof(mark) - 1);
        size_t before = found ? (size_t)(found - rest.data) : rest.size;
        LP_ASSERT(size + before + name.size < OUT_BYTES - 512); /* Its head goes before it. */
        memcpy(page + size, rest.data, before);
        size += before;
        rest = (struct lp_slice){rest.data + before, rest.size - before};
        if (found) {
            memcpy(page + size, name.data, name.size);
            size += name.size;
            rest = (struct lp_slice){found + sizeof(mark) - 1, rest.size - (sizeof(mark) - 1)};
        }
    }
    return (struct lp_slice){page, size};
}

int demo_server_run(int listen_fd, const char *name)
{
    struct demo_server *server = lp_alloc(sizeof(*server));

    server->listen_fd = listen_fd;
    server->name = name;
    server->page = render_page(lp_slice_of(name));
    server->tick_ms = lp_clock_ms() + TICK_MS;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++)
        server->clients[i].fd = -1;
    for (;;) {
        fill_polls(server);
        uint64_t now_ms = lp_clock_ms();
        int wait_ms = server->tick_ms > now_ms ? (int)(server->tick_ms - now_ms) : 0;
        if (poll(server->polls, CLIENTS_MAX + 1, wait_ms) < 0 && errno != EINTR)
            return 1;
        serve_ready(server);
        keep_time(server);
    }
}
