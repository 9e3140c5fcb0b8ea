/* bench-load: the options, and what is set up before the loop of engine.c runs. */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/load/load.h"

#define PIDS_MAX     64u
#define SECONDS_MAX  3600.0
#define RATE_MAX     1000000u     /* nanoseconds of an hour times this still fit 64 bits */
#define SIZE_MAX_WS  (1ull << 30) /* of what is compared, and so has to be in memory */
#define SPARE_FILES  64u          /* descriptors beside the connections */
#define EXIT_MISUSED 2

static const struct mode *const modes[] = {&mode_http, &mode_close, &mode_ws,   &mode_churn,
                                           &mode_idle, &mode_sse,   &mode_down, &mode_up,
                                           &mode_slow, &mode_tcp};

/* clang-format off */
enum option_id { OPT_TO = 1, OPT_CONNECTIONS, OPT_SECONDS, OPT_WARMUP, OPT_SIZE, OPT_RATE, OPT_PATH,
              OPT_HOST, OPT_SOURCE, OPT_PID, OPT_HOLD, OPT_TIMELINE, OPT_TIMEOUT, OPT_JSON,
              OPT_TLS, OPT_GROUP, OPT_RESUME, OPT_HELP };

static const struct option long_options[] = {
    {"to",          required_argument, NULL, OPT_TO},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"seconds",     required_argument, NULL, OPT_SECONDS},
    {"warmup",      required_argument, NULL, OPT_WARMUP},
    {"size",        required_argument, NULL, OPT_SIZE},
    {"rate",        required_argument, NULL, OPT_RATE},
    {"path",        required_argument, NULL, OPT_PATH},
    {"host",        required_argument, NULL, OPT_HOST},
    {"source",      required_argument, NULL, OPT_SOURCE},
    {"pid",         required_argument, NULL, OPT_PID},
    {"hold",        required_argument, NULL, OPT_HOLD},
    {"timeline",    no_argument,       NULL, OPT_TIMELINE},
    {"timeout",     required_argument, NULL, OPT_TIMEOUT},
    {"json",        no_argument,       NULL, OPT_JSON},
    {"tls",         no_argument,       NULL, OPT_TLS},
    {"group",       required_argument, NULL, OPT_GROUP},
    {"resume",      no_argument,       NULL, OPT_RESUME},
    {"help",        no_argument,       NULL, OPT_HELP},
    {NULL,          0,                 NULL, 0},
};
/* clang-format on */

static void print_help(void)
{
    printf("bench-load MODE --to ADDRESS [option ...]: measures a server, or a proxy before it\n\n"
           "Modes, and what a unit of each is:\n");
    for (size_t i = 0; i < LP_COUNT_OF(modes); i++)
        printf("  %-6s %s\n", modes[i]->name, modes[i]->about);
    printf(
        "\nOptions:\n"
        "  --to ADDRESS       127.0.0.1:80, [::1]:80 or unix:/path\n"
        "  --connections N    at the same time (100)\n"
        "  --seconds S        the measured window (5)\n"
        "  --warmup S         units before it that do not count (1)\n"
        "  --size BYTES       of a message (64), a body (128; GET /bytes/BYTES), or bulk (16 MiB)\n"
        "  --rate N           units per second over all connections, latency counted from the\n"
        "                     moment each was due; without it each connection asks again at once\n"
        "  --path P           instead of the mode's own; any length of body is right then, unless\n"
        "                     --size says which\n"
        "  --host H           the Host of requests (the address)\n"
        "  --source A.B.C.D/N connects from these addresses in turn\n"
        "  --pid PID          a process under test, with its children: CPU time and context\n"
        "                     switches in the window, memory at its end (may be repeated)\n"
        "  --hold S           idle: how long (5)\n"
        "  --timeline         what happened in each 100 ms of the window\n"
        "  --timeout S        a unit that takes longer is an error (10); of bulk and events, the\n"
        "                     longest time without a byte\n"
        "  --tls              with TLS 1.3 and AES-128-GCM\n"
        "  --group NAME       of its key exchange (X25519)\n"
        "  --resume           sessions are resumed: each place keeps its last ticket, and the\n"
        "                     warm-up lasts until all have one\n"
        "  --json             one object instead of text\n"
        "  --help             this\n");
}

/* ---- Options ---- */

static bool parse_number(uint64_t *out, const char *name, const char *text, uint64_t least,
                         uint64_t most, struct lp_err *err)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (text[0] >= '0' && text[0] <= '9' && *end == 0 && value >= least && value <= most) {
        *out = value;
        return true;
    }
    return lp_err_set(err, LP_ERR_CONFIG,
                      "--%s %s: a number from %" PRIu64 " to %" PRIu64 " is needed", name, text,
                      least, most);
}

static bool parse_seconds(uint64_t *out_ns, const char *name, const char *text, bool may_be_zero,
                          struct lp_err *err)
{
    char *end;
    double value = strtod(text, &end);
    bool is_number = end != text && *end == 0 && isfinite(value);

    if (!is_number || value < 0 || value > SECONDS_MAX || (value < 0.001 && !may_be_zero))
        return lp_err_set(err, LP_ERR_CONFIG,
                          "--%s %s: seconds are needed, from %s to %.0f, as 2 or 0.5", name, text,
                          may_be_zero ? "0" : "0.001", SECONDS_MAX);
    *out_ns = (uint64_t)(value * 1e9);
    return true;
}

static bool parse_source(struct lp_cidr *out, const char *text, struct lp_err *err)
{
    if (strchr(text, '/') != NULL && lp_cidr_parse(out, lp_slice_of(text)) && out->ip.family == 4 &&
        out->bits >= 8)
        return true;
    return lp_err_set(err, LP_ERR_CONFIG,
                      "--source %s: an IPv4 range is needed, as 127.1.0.0/16 (from /8 to /32, "
                      "without bits behind the prefix)",
                      text);
}

/* A line break in it would write other lines of the request. */
static bool parse_text(const char **out, const char *name, const char *text, struct lp_err *err)
{
    for (const char *at = text; *at != 0; at++)
        if ((unsigned char)*at <= ' ' || *at == 127)
            return lp_err_set(err, LP_ERR_CONFIG, "--%s: no spaces or control characters", name);
    *out = text;
    if (text[0] != 0)
        return true;
    return lp_err_set(err, LP_ERR_CONFIG, "--%s: must not be empty", name);
}

static bool parse_pid(struct options *options, int32_t pids[PIDS_MAX], const char *text,
                      struct lp_err *err)
{
    uint64_t pid = 0;

    if (!parse_number(&pid, "pid", text, 1, INT32_MAX, err))
        return false;
    if (options->pids_count == PIDS_MAX)
        return lp_err_set(err, LP_ERR_LIMIT, "--pid: at most %u", PIDS_MAX);
    pids[options->pids_count++] = (int32_t)pid;
    return true;
}

static bool parse_option(struct options *options, int32_t pids[PIDS_MAX], enum option_id option,
                         struct lp_err *err)
{
    uint64_t number = 0;

    switch (option) {
    case OPT_TO:
        options->to_text = optarg;
        return lp_addr_parse(&options->to, lp_slice_of(optarg), false) ||
               lp_err_set(err, LP_ERR_CONFIG,
                          "--to %s: an address is needed, as 127.0.0.1:80, [::1]:80 or unix:/path",
                          optarg);
    case OPT_CONNECTIONS:
        if (!parse_number(&number, "connections", optarg, 1, LOAD_CONNECTIONS_MAX, err))
            return false;
        options->connections = (uint32_t)number;
        return true;
    case OPT_SECONDS:
        return parse_seconds(&options->window_ns, "seconds", optarg, false, err);
    case OPT_WARMUP:
        return parse_seconds(&options->warmup_ns, "warmup", optarg, true, err);
    case OPT_SIZE:
        return parse_number(&options->size, "size", optarg, 0, 1ull << 40, err);
    case OPT_RATE:
        return parse_number(&options->rate, "rate", optarg, 1, RATE_MAX, err);
    case OPT_PATH:
        return parse_text(&options->path, "path", optarg, err);
    case OPT_HOST:
        return parse_text(&options->host, "host", optarg, err);
    case OPT_SOURCE:
        return parse_source(&options->source, optarg, err);
    case OPT_PID:
        return parse_pid(options, pids, optarg, err);
    case OPT_HOLD:
        return parse_seconds(&options->hold_ns, "hold", optarg, false, err);
    case OPT_TIMELINE:
        options->has_timeline = true;
        return true;
    case OPT_TIMEOUT:
        return parse_seconds(&options->timeout_ns, "timeout", optarg, false, err);
    case OPT_JSON:
        options->has_json = true;
        return true;
    case OPT_TLS:
        options->has_tls = true;
        return true;
    case OPT_GROUP:
        return parse_text(&options->group, "group", optarg, err);
    case OPT_RESUME:
        options->resumes = true;
        return true;
    case OPT_HELP:
        break;
    }
    return false;
}

static bool parse_mode(struct options *options, const char *name, struct lp_err *err)
{
    for (size_t i = 0; i < LP_COUNT_OF(modes); i++)
        if (strcmp(modes[i]->name, name) == 0)
            options->mode = modes[i];
    if (options->mode != NULL)
        return true;
    return lp_err_set(err, LP_ERR_CONFIG, "%s: there is no such mode; --help lists them", name);
}

/* What no option alone can know. */
static bool check_options(struct options *options, struct lp_err *err)
{
    const struct mode *mode = options->mode;

    if (mode == NULL)
        return lp_err_set(err, LP_ERR_CONFIG, "a mode is needed, as http; --help lists them");
    if (options->to_text == NULL)
        return lp_err_set(err, LP_ERR_CONFIG, "--to ADDRESS is needed");
    if (options->rate > 0 && !mode->takes_rate)
        return lp_err_set(err, LP_ERR_CONFIG, "--rate: %s has no units to be begun at one",
                          mode->name);
    if (options->path != NULL && mode == &mode_tcp)
        return lp_err_set(err, LP_ERR_CONFIG, "--path: tcp asks for nothing");
    if (options->source.ip.family != 0 && options->to.as.any.sa_family != AF_INET)
        return lp_err_set(err, LP_ERR_CONFIG, "--source needs an IPv4 address behind --to");
    if (options->size != UINT64_MAX && options->size > SIZE_MAX_WS && mode->stamp != NULL)
        return lp_err_set(err, LP_ERR_LIMIT, "--size: at most %llu for %s, which compares it",
                          SIZE_MAX_WS, mode->name);
    if (!options->has_tls && (options->resumes || options->group != NULL))
        return lp_err_set(err, LP_ERR_CONFIG, "--group and --resume need --tls");
    if (options->group == NULL)
        options->group = "X25519";
    if (!secure_has_group(options->group))
        return lp_err_set(err, LP_ERR_CONFIG,
                          "--group %s: X25519, P-256 or X25519MLKEM768 is needed", options->group);
    if (options->host == NULL)
        options->host = options->to.as.any.sa_family == AF_UNIX ? "localhost" : options->to_text;
    return true;
}

/* Gives false with err set, or with err empty when help was asked for. */
static bool parse_options(struct options *options, int32_t pids[PIDS_MAX], int argc, char **argv,
                          struct lp_err *err)
{
    int option;

    opterr = 0;
    options->pids = pids;
    while ((option = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
        if (option == ':')
            return lp_err_set(err, LP_ERR_CONFIG, "%s needs a value", argv[optind - 1]);
        if (option == '?')
            return lp_err_set(err, LP_ERR_CONFIG, "%s: there is no such option; --help lists them",
                              argv[optind - 1]);
        if (!parse_option(options, pids, (enum option_id)option, err))
            return false;
    }
    for (int i = optind; i < argc; i++) {
        if (options->mode != NULL)
            return lp_err_set(err, LP_ERR_CONFIG, "%s: one mode at a time", argv[i]);
        if (!parse_mode(options, argv[i], err))
            return false;
    }
    return check_options(options, err);
}

/* ---- Setting up ---- */

static bool raise_files(uint32_t connections, struct lp_err *err)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return true;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= connections + SPARE_FILES)
        return true;
    return lp_err_set(err, LP_ERR_LIMIT,
                      "--connections %" PRIu32 ": at most %llu files may be open (ulimit -Hn), and "
                      "%u are needed beside the connections",
                      connections, (unsigned long long)limit.rlim_cur, SPARE_FILES);
}

static void init(struct load *load, const struct options *options)
{
    LP_ASSERT(options->mode != NULL);
    load->options = options;
    load->mode = options->mode;
    load->size = options->size != UINT64_MAX ? options->size : options->mode->size;
    load->samples.pids = options->pids;
    load->samples.pids_count = options->pids_count;
    load->window_ns = options->mode->is_idle ? options->hold_ns : options->window_ns;
    lp_list_init(&load->ready);
    lp_list_init(&load->waiting);
    load->conns = lp_alloc_lines(options->connections * sizeof(*load->conns));
    for (uint32_t i = 0; i < options->connections; i++)
        conn_init(load, &load->conns[i], i);
    load->buffer = lp_alloc_lines(LOAD_BUFFER_BYTES);
    load->body = lp_alloc_lines(LOAD_BUFFER_BYTES);
    memset(load->body, 'x', LOAD_BUFFER_BYTES);
    if (options->has_timeline || options->mode->is_idle) {
        load->timeline_room = (uint32_t)(load->window_ns / LOAD_BUCKET_NS) + 2;
        load->timeline = lp_alloc(load->timeline_room * sizeof(*load->timeline));
    }
}

static void deinit(struct load *load)
{
    for (uint32_t i = 0; i < load->options->connections; i++)
        conn_deinit(load, &load->conns[i]);
    if (load->epoll > 0)
        close(load->epoll);
    if (load->signals > 0)
        close(load->signals);
    secure_destroy(load);
    sample_deinit(&load->samples);
    lp_free(load->request.head);
    lp_free(load->opener.head);
    lp_free(load->payload);
    lp_free(load->timeline);
    lp_free(load->conns);
    lp_free(load->buffer);
    lp_free(load->body);
}

static int fail(const struct lp_err *err, int status)
{
    fprintf(stderr, "bench-load: %s\n", err->text);
    return status;
}

int main(int argc, char **argv)
{
    static struct load load;
    static int32_t pids[PIDS_MAX];
    struct lp_err err = {0};
    struct options options = {
        .connections = 100,
        .size = UINT64_MAX,
        .window_ns = 5000000000u,
        .warmup_ns = 1000000000u,
        .hold_ns = 5000000000u,
        .timeout_ns = 10000000000u,
    };

    if (!parse_options(&options, pids, argc, argv, &err)) {
        if (err.code != LP_ERR_NONE)
            return fail(&err, EXIT_MISUSED);
        print_help();
        return EXIT_SUCCESS;
    }
    init(&load, &options);
    if (!load.mode->setup(&load, &err) || !sample_check(&load.samples, &err) ||
        (options.has_tls && !secure_create(&load, &err)))
        return fail(&err, EXIT_MISUSED);
    bool is_measured = raise_files(options.connections, &err) && load_run(&load, &err);
    if (is_measured && options.has_json)
        report_json(&load, stdout);
    else if (is_measured)
        report_text(&load, stdout);
    deinit(&load);
    return is_measured ? EXIT_SUCCESS : fail(&err, EXIT_FAILURE);
}
