/* main(): which subcommand, with which arguments. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lb/cli/demo.h"
#include "lb/cli/usage.h"
#include "lb/cli/where.h"
#include "lb/lb.h"
#include "lb/ops/signals.h"
#include "tls/tls.h"

#define LIMPET_VERSION "0.1.0"

void usage_print(void)
{
    puts("limpet " LIMPET_VERSION ": an edge load balancer for long-lived connections\n"
         "\n"
         "  limpet [run] [-c FILE]                runs in the foreground (SIGHUP reloads, SIGTERM\n"
         "                                        drains, SIGUSR1 reopens the access log)\n"
         "  limpet check [-c FILE] [--strict]     reads FILE and says what is wrong with it\n"
         "  limpet where [-c FILE] [--kind ip|text] [--rank N] [--down NAME,...] POOL [KEY ...]\n"
         "                                        the server of each key (standard input: one a\n"
         "                                        line), then its others in rank order\n"
         "  limpet demo [--port N]                three small servers behind limpet, to try it\n"
         "  limpet --help | --version\n"
         "\n"
         "FILE is " USAGE_DEFAULT_PATH
         " where not given. Exit status: 0 done, 1 an error, 2 wrong usage.");
}

int usage_error(const char *format, ...)
{
    va_list arguments;

    fputs("limpet: error: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("; see limpet --help\n", stderr);
    return 2;
}

/* -c FILE and the flags that a subcommand knows. */
static int read_options(const char *command, int count, char **arguments, const char **path,
                        bool *is_strict)
{
    *path = USAGE_DEFAULT_PATH;
    for (int i = 0; i < count; i++) {
        if (strcmp(arguments[i], "-c") == 0 && i + 1 < count)
            *path = arguments[++i];
        else if (strcmp(arguments[i], "-c") == 0)
            return usage_error("%s: -c needs a file", command);
        else if (is_strict != NULL && strcmp(arguments[i], "--strict") == 0)
            *is_strict = true;
        else
            return usage_error("%s: unknown option %s", command, arguments[i]);
    }
    return 0;
}

static int check(int count, char **arguments)
{
    struct lp_config *config = NULL;
    struct lp_config_report report;
    const char *path;
    bool is_strict = false;
    int status = read_options("check", count, arguments, &path, &is_strict);

    if (status != 0)
        return status;
    bool ok = lp_config_load(&config, &report, path);
    if (ok && !lp_tls_check(config, &report)) {
        lp_config_destroy(config);
        ok = false;
    }
    fputs(report.text, stderr);
    if (ok && is_strict && report.warnings_count > 0)
        status = 1;
    else if (!ok)
        status = 1;
    if (ok) {
        printf("%s: %s: %u listener%s, %u pool%s, %u warning%s\n", path,
               status == 0 ? "ok" : "refused by --strict", config->listeners_count,
               config->listeners_count == 1 ? "" : "s", config->pools_count,
               config->pools_count == 1 ? "" : "s", report.warnings_count,
               report.warnings_count == 1 ? "" : "s");
        lp_config_destroy(config);
    }
    lp_config_report_deinit(&report);
    return status;
}

static int run(int count, char **arguments)
{
    const char *path;
    int status = read_options("run", count, arguments, &path, NULL);

    return status != 0 ? status : lp_lb_run(path);
}

static bool serves(const char *command)
{
    return strcmp(command, "run") == 0 || strcmp(command, "-c") == 0 ||
           strcmp(command, "demo") == 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "run";
    int count = argc > 2 ? argc - 2 : 0;
    char **arguments = argc > 2 ? argv + 2 : NULL;

    signals_hold();
    if (!serves(command))
        signals_release(); /* Ctrl-C ends it at once */
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || (i == 1 && strcmp(argv[i], "help") == 0)) {
            usage_print();
            return 0;
        }
    if (strcmp(command, "--version") == 0) {
        puts("limpet " LIMPET_VERSION);
        return 0;
    }
    if (strcmp(command, "run") == 0)
        return run(count, arguments);
    if (strcmp(command, "check") == 0)
        return check(count, arguments);
    if (strcmp(command, "where") == 0)
        return where_run(count, arguments);
    if (strcmp(command, "demo") == 0)
        return demo_run(argc - 1, argv + 1, argv[0]);
    if (strcmp(command, "-c") == 0)
        return run(argc - 1, argv + 1);
    return usage_error("unknown command %s", command);
}
