/* bench/origin: a server cheap enough never to be the bottleneck of a measurement.
 *
 * One thread and one epoll. This file reads the options, accepts, and turns the loop; conn.c has
 * the connections, http.c and ws_echo.c what they say. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "bench/origin/conn.h"
#include "bench/origin/listen.h"

#define EVENTS_OF_A_WAIT  512
#define ACCEPTS_OF_A_TURN 64

static const char help[] =
    "Usage: bench-origin --listen ADDRESS [--listen ADDRESS]... [--tcp-echo]\n"
    "\n"
    "ADDRESS: HOST:PORT, HOST:FIRST-LAST (a listener on each port) or unix:/path.\n"
    "\n"
    "  GET /                          128 bytes of text, like any path that is not below\n"
    "  GET /bytes/N                   N bytes of text\n"
    "  GET /delay/MS                  the answer of / after MS milliseconds\n"
    "  GET /events?every=97ms&size=64 endless text/event-stream: data: NANOSECONDS xxx\n"
    "  POST, PUT, ...                 reads the body, answers the number of its bytes\n"
    "  Upgrade: websocket             echoes frames, on any path\n"
    "\n"
    "  --tcp-echo                     no HTTP: every byte comes back\n"
    "  --help                         this text\n";

/* What epoll gives back says what happened: NULL is a signal, a listener is told from a
 * connection by the lowest bit of its address. */
#define LISTENER_BIT 1u

static bool watch(const struct origin *origin, int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
    return epoll_ctl(origin->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool watch_all(const struct origin *origin, const struct listeners *listeners)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (origin->epoll_fd < 0 || signal_fd < 0 || !watch(origin, signal_fd, NULL))
        return false;
    for (uint32_t i = 0; i < listeners->count; i++)
        if (!watch(origin, listeners->list[i].fd, (char *)&listeners->list[i] + LISTENER_BIT))
            return false;
    return true;
}

/* Without descriptors the client is turned away at once: waiting in the queue it would wake us
 * again and again. *spare_fd makes room for that. */
static void turn_away(int listener_fd, int *spare_fd)
{
    close(*spare_fd);
    close(accept(listener_fd, NULL, NULL));
    *spare_fd = dup(STDERR_FILENO);
}

static void accept_some(struct origin *origin, const struct listener *listener, int *spare_fd)
{
    for (int i = 0; i < ACCEPTS_OF_A_TURN; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_begin(origin, fd, listener->is_tcp);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE)
            turn_away(listener->fd, spare_fd);
        return;
    }
}

static void run_timers(struct origin *origin, int *wait_ms)
{
    *wait_ms = -1;
    if (origin->wheel.timers_count == 0)
        return;
    uint64_t now_ms = lp_clock_ms();
    wheel_advance(&origin->wheel, now_ms, conn_on_timer, origin);
    *wait_ms = wheel_wait_ms(&origin->wheel, now_ms);
}

/* Until a signal. A connection that ends within a batch is not looked at again in it: each has
 * one event at most, and timers run between batches. */
static int run(struct origin *origin)
{
    static struct epoll_event events[EVENTS_OF_A_WAIT];
    int spare_fd = dup(STDERR_FILENO);

    for (;;) {
        int wait_ms;
        run_timers(origin, &wait_ms);
        int count = epoll_wait(origin->epoll_fd, events, EVENTS_OF_A_WAIT, wait_ms);
        if (count < 0 && errno != EINTR)
            return 1;
        for (int i = 0; i < count; i++) {
            char *data = events[i].data.ptr;
            if (data == NULL)
                return 0;
            if ((uintptr_t)data & LISTENER_BIT)
                accept_some(origin, (struct listener *)(void *)(data - LISTENER_BIT), &spare_fd);
            else
                conn_on_event(origin, (struct conn *)(void *)data, events[i].events);
        }
    }
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Exit status of the options: 0 to go on, 2 after a sentence. */
static int read_options(int count, char **arguments, struct listeners *listeners, bool *is_tcp_echo)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"tcp-echo", no_argument, NULL, 'e'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct lp_err err = {0};
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        if (option == 'e')
            *is_tcp_echo = true;
        else if (option != 'l')
            return 2; /* getopt_long has said why */
        else if (!listeners_add(listeners, optarg, &err)) {
            fprintf(stderr, "bench-origin: %s\n", err.text);
            return err.code == LP_ERR_CONFIG ? 2 : 1;
        }
    }
    if (optind < count || listeners->count == 0) {
        fprintf(stderr, "bench-origin: expected --listen ADDRESS and no other words; see --help\n");
        return 2;
    }
    return 0;
}

int main(int count, char **arguments)
{
    struct listeners listeners = {0};
    struct lp_arena arena;
    struct origin origin;
    bool is_tcp_echo = false;

    raise_descriptor_limit();
    int status = read_options(count, arguments, &listeners, &is_tcp_echo);
    if (status != 0)
        return status;

    lp_arena_init(&arena);
    origin_init(&origin, is_tcp_echo, &arena);
    if (!watch_all(&origin, &listeners)) {
        perror("bench-origin: cannot set up epoll");
        return 1;
    }
    fprintf(stderr, "bench-origin: listening on %u address%s\n", listeners.count,
            listeners.count == 1 ? "" : "es");
    status = run(&origin);
    listeners_deinit(&listeners);
    lp_arena_deinit(&arena);
    return status;
}
