/* `limpet demo`: three servers (demo_server.c) as child processes, and limpet itself in front of
 * them in this process, with a configuration made from the ports the servers got.
 *
 * The sockets are bound and listening before anybody is born, so the configuration is right and the
 * first check finds a server. Children never outlive us: they are killed and reaped at the end, and
 * the kernel kills them if we come to a bad one. */
#include "lb/cli/demo.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lb/lb.h"
#include "lb/ops/signals.h"

#define PORT_DEFAULT 8080u
#define BACKLOG      128

struct demo_child {
    const char *name;
    int listen_fd;
    uint16_t port;
    pid_t pid;  /* 0: none */
    int pid_fd; /* its number may be another process's when it has ended */
};

static void print_help(FILE *to, const char *program)
{
    fprintf(to,
            "usage: %s demo [--port N]\n"
            "\n"
            "Runs limpet on 127.0.0.1 before three small servers of its own: a page, a WebSocket\n"
            "echo, an event stream. Nothing else is needed. Ctrl-C ends all of it.\n"
            "\n"
            "  -p, --port N   listen on 127.0.0.1:N (default %u)\n"
            "  -h, --help     this text\n",
            program, PORT_DEFAULT);
}

/* Gives the port, 0 when the text is none. */
static uint16_t parse_port(const char *text)
{
    char *end;

    errno = 0;
    unsigned long port = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || port > 65535)
        return 0;
    return (uint16_t)port;
}

/* True with *port; else the exit status. */
static bool read_arguments(uint16_t *port, int *status, int argc, char **argv, const char *program)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'}, {"help", no_argument, NULL, 'h'}, {0}};
    int option;

    *port = PORT_DEFAULT;
    *status = 2;
    optind = 0; /* Somebody may have read options of their own before us. */
    while ((option = getopt_long(argc, argv, "p:h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help(stdout, program);
            *status = 0;
            return false;
        }
        if (option != 'p') {
            print_help(stderr, program);
            return false;
        }
        *port = parse_port(optarg);
        if (*port == 0) {
            fprintf(stderr, "%s demo: \"%s\" is no port: a number from 1 to 65535, please\n",
                    program, optarg);
            return false;
        }
    }
    if (optind < argc) {
        print_help(stderr, program);
        return false;
    }
    return true;
}

/* A listening socket on the loopback address; port 0 takes a free one. */
static int listen_on(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, BACKLOG) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
        *port = ntohs(address.sin_port);
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Asked before anything is started or printed; limpet itself binds a moment later. */
static bool port_is_free(uint16_t port, const char *program)
{
    int fd = listen_on(&port);

    if (fd >= 0) {
        close(fd);
        return true;
    }
    if (errno == EADDRINUSE)
        fprintf(stderr,
                "%s demo: port %u on 127.0.0.1 is already in use; "
                "choose another one, like: %s demo --port %u\n",
                program, port, program, port == 65535 ? 8081u : port + 1u);
    else
        fprintf(stderr, "%s demo: cannot listen on 127.0.0.1:%u: %s\n", program, port,
                strerror(errno));
    return false;
}

/* In the child, for good. */
static void be_server(const struct demo_child *children, size_t count, size_t self, pid_t parent)
{
    /* A group of its own: the terminal's Ctrl-C is for limpet, which says goodbye to everybody and
     * needs its servers until then. */
    setpgid(0, 0);
    signals_release();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* It died before we asked to die with it. */
        _exit(1);
    for (size_t i = 0; i < count; i++)
        if (i != self)
            close(children[i].listen_fd);
    _exit(demo_server_run(children[self].listen_fd, children[self].name));
}

static bool start_children(struct demo_child *children, size_t count, const char *program)
{
    pid_t self = getpid();

    for (size_t i = 0; i < count; i++) {
        children[i].listen_fd = listen_on(&children[i].port);
        if (children[i].listen_fd < 0) {
            fprintf(stderr, "%s demo: cannot listen on 127.0.0.1: %s\n", program, strerror(errno));
            return false;
        }
    }
    fflush(NULL); /* Or each child would print it again. */
    for (size_t i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            fprintf(stderr, "%s demo: cannot start a server: %s\n", program, strerror(errno));
            return false;
        }
        if (pid == 0)
            be_server(children, count, i, self);
        children[i].pid_fd = pidfd_open(pid, 0);
        if (children[i].pid_fd < 0) {
            fprintf(stderr, "%s demo: cannot watch a server: %s\n", program, strerror(errno));
            kill(pid, SIGKILL);
            return false;
        }
        children[i].pid = pid;
    }
    return true;
}

static void close_sockets(struct demo_child *children, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (children[i].listen_fd >= 0)
            close(children[i].listen_fd);
        children[i].listen_fd = -1;
    }
}

static void end_children(struct demo_child *children, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (children[i].pid > 0)
            pidfd_send_signal(children[i].pid_fd, SIGKILL, NULL, 0);
    for (size_t i = 0; i < count; i++) {
        if (children[i].pid == 0)
            continue;
        /* ECHILD when the kernel has reaped it for us. */
        while (waitpid(children[i].pid, NULL, 0) < 0 && errno == EINTR)
            ;
        close(children[i].pid_fd);
    }
}

static void write_configuration(char *out, size_t out_max, uint16_t port,
                                const struct demo_child *children)
{
    int size = snprintf(out, out_max,
                        "listeners:\n"
                        "  demo: {bind: \"127.0.0.1:%u\", pool: rocks}\n"
                        "pools:\n"
                        "  rocks:\n"
                        "    balance: hash\n"
                        "    hash: {key: [\"cookie:demo_client\", client_ip]}\n"
                        "    check: {type: http, path: /health, interval: 1s}\n"
                        "    servers:\n"
                        "      %s: 127.0.0.1:%u\n"
                        "      %s: 127.0.0.1:%u\n"
                        "      %s: 127.0.0.1:%u\n"
                        "drain: {delay: 0s, deadline: 3s}   # after Ctrl-C\n"
                        "log: {access: {to: stdout, format: text}}\n",
                        port, children[0].name, children[0].port, children[1].name,
                        children[1].port, children[2].name, children[2].port);

    LP_ASSERT(size > 0 && (size_t)size < out_max);
}

static void print_indented(const char *text)
{
    while (*text != '\0') {
        size_t size = strcspn(text, "\n") + 1;
        printf("    %.*s", (int)size, text);
        text += size;
    }
}

static void print_welcome(uint16_t port, const struct demo_child *children, const char *yaml)
{
    printf("limpet demo: three small servers (%s, %s, %s) behind limpet, nothing else.\n\n",
           children[0].name, children[1].name, children[2].name);
    printf("  Open   http://127.0.0.1:%u/\n\n", port);
    printf("  Try    curl http://127.0.0.1:%u/whoami\n", port);
    printf("         curl -b demo_client=ada http://127.0.0.1:%u/whoami   "
           "# ada: always the same server\n",
           port);
    printf("         curl -N http://127.0.0.1:%u/events\n", port);
    printf("         npx wscat -c ws://127.0.0.1:%u/ws\n", port);
    printf("         kill %d   # %s goes away; only its clients move\n\n", (int)children[0].pid,
           children[0].name);
    printf("  Stop   Ctrl-C\n\nThe configuration of this limpet:\n\n");
    print_indented(yaml);
    printf("\nFrom here on: its log, a line for each request.\n\n");
    fflush(stdout);
}

int demo_run(int argc, char **argv, const char *program)
{
    struct demo_child children[3] = {{.name = "rock", .listen_fd = -1},
                                     {.name = "reef", .listen_fd = -1},
                                     {.name = "cove", .listen_fd = -1}};
    char yaml[1024];
    uint16_t port;
    int status = 1;

    if (!read_arguments(&port, &status, argc, argv, program))
        return status;
    if (!port_is_free(port, program))
        return 1;
    bool is_running = start_children(children, LP_COUNT_OF(children), program);
    close_sockets(children, LP_COUNT_OF(children));
    if (is_running) {
        write_configuration(yaml, sizeof(yaml), port, children);
        print_welcome(port, children, yaml);
        status = lp_lb_run_text("the demo's configuration", yaml);
    }
    end_children(children, LP_COUNT_OF(children));
    return is_running ? status : 1;
}
