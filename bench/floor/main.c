/* bench/floor: a bare relay, the least that anything between client and server must cost.
 *
 * It accepts, connects onward and copies both ways; it parses nothing. This file has what the
 * engines share: options, sockets, signals. Each engine is one file and one thread. */
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/floor/relay.h"

#define BACKLOG        4096
#define BUFFER_DEFAULT 65536u
#define BUFFER_MIN     32768u
#define BUFFER_MAX     4194304u

static const char help[] =
    "Usage: bench-floor --listen ADDRESS --to ADDRESS [--engine epoll|uring]\n"
    "\n"
    "Copies bytes between each client of --listen and a connection of its own to --to.\n"
    "ADDRESS: HOST:PORT or unix:/path.\n"
    "\n"
    "  --engine epoll  one recv and one send for what is there (the default)\n"
    "  --engine uring  the same through an io_uring\n"
    "  --buffer BYTES  of one copy at most, 32768 to 4194304 (65536). Larger ones make a\n"
    "                  stream cheaper: fewer acknowledgements and wake-ups for each byte\n"
    "  --help          this text\n";

struct options {
    struct lp_addr listen, to;
    uint64_t buffer_size;
    bool is_uring;
};

/* ---- Sockets ----------------------------------------------------------------------------------*/

static int open_socket(const struct lp_addr *addr, int flags)
{
    int on = 1, family = addr->as.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd >= 0 && family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int relay_socket(const struct relay *relay, int flags)
{
    return open_socket(&relay->to, flags);
}

static int spare_fd = -1;

void relay_turn_away(const struct relay *relay)
{
    close(spare_fd);
    close(accept(relay->listen_fd, NULL, NULL));
    spare_fd = dup(STDERR_FILENO);
}

void relay_reset(int fd)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static int open_listener(const struct lp_addr *addr)
{
    int on = 1;
    struct stat found;
    int fd = open_socket(addr, SOCK_NONBLOCK);
    if (addr->as.any.sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    else if (stat(addr->as.un.sun_path, &found) == 0 && S_ISSOCK(found.st_mode))
        unlink(addr->as.un.sun_path);
    if (fd < 0 || bind(fd, &addr->as.any, addr->size) != 0 || listen(fd, BACKLOG) != 0)
        return -1;
    return fd;
}

static int open_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Each client takes two descriptors. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- Options ----------------------------------------------------------------------------------*/

static bool read_addr(struct lp_addr *out, const char *option, const char *text)
{
    if (lp_addr_parse(out, lp_slice_of(text), false))
        return true;
    fprintf(stderr, "bench-floor: --%s '%s': expected HOST:PORT or unix:/path\n", option, text);
    return false;
}

static bool read_engine(struct options *options, const char *text)
{
    options->is_uring = strcmp(text, "uring") == 0;
    if (options->is_uring || strcmp(text, "epoll") == 0)
        return true;
    fprintf(stderr, "bench-floor: --engine '%s': expected epoll or uring\n", text);
    return false;
}

static bool read_buffer(struct options *options, const char *text)
{
    char *end;
    errno = 0;
    options->buffer_size = strtoul(text, &end, 10);
    if (errno == 0 && *end == '\0' && options->buffer_size >= BUFFER_MIN &&
        options->buffer_size <= BUFFER_MAX)
        return true;
    fprintf(stderr, "bench-floor: --buffer '%s': expected %u to %u\n", text, BUFFER_MIN,
            BUFFER_MAX);
    return false;
}

static bool read_options(struct options *out, int count, char **arguments)
{
    static const struct option known[] = {
        {"listen", required_argument, NULL, 'l'}, {"to", required_argument, NULL, 't'},
        {"engine", required_argument, NULL, 'e'}, {"buffer", required_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'h'},         {0}};
    bool is_good = true;
    for (int option; is_good && (option = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        if (option == 'l')
            is_good = read_addr(&out->listen, "listen", optarg);
        else if (option == 't')
            is_good = read_addr(&out->to, "to", optarg);
        else if (option == 'b')
            is_good = read_buffer(out, optarg);
        else
            is_good = option == 'e' && read_engine(out, optarg);
    }
    if (is_good && (optind < count || out->listen.size == 0 || out->to.size == 0)) {
        fprintf(stderr, "bench-floor: expected --listen ADDRESS, --to ADDRESS and no other words; "
                        "see --help\n");
        return false;
    }
    return is_good;
}

int main(int count, char **arguments)
{
    struct options options = {.buffer_size = BUFFER_DEFAULT};
    if (!read_options(&options, count, arguments))
        return 2;

    raise_descriptor_limit();
    spare_fd = dup(STDERR_FILENO);
    struct relay relay = {.listen_fd = open_listener(&options.listen),
                          .signal_fd = open_signals(),
                          .to = options.to,
                          .buffer_size = (uint32_t)options.buffer_size};
    if (relay.listen_fd < 0 || relay.signal_fd < 0) {
        perror("bench-floor: cannot listen");
        return 1;
    }
    fprintf(stderr, "bench-floor: listening, engine %s\n", options.is_uring ? "uring" : "epoll");
    int status = options.is_uring ? relay_with_uring(&relay) : relay_with_epoll(&relay);
    if (options.listen.as.any.sa_family == AF_UNIX)
        unlink(options.listen.as.un.sun_path);
    return status;
}
