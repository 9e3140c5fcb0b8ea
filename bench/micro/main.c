/* bench/micro: how long limpet's pure code takes, without sockets and kernel.
 *
 * This file reads the options and calls the subjects in turn. How a case is measured: measure.c. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "bench/micro/measure.h"

static const struct subject {
    const char *name;
    void (*measure)(struct micro *micro);
    const char *what;
} subjects[] = {
    {"reference", micro_reference, "memcpy and memchr of the C library, to compare with"},
    {"parse", micro_parse, "heads from bytes to fields: whole, in pieces, byte by byte"},
    {"meaning", micro_meaning, "framing, host, upgrade; paths, cookies, client addresses"},
    {"edit", micro_edit, "writing the head that goes on to the other side"},
    {"exchange", micro_exchange, "a request and a response, all pure steps together"},
    {"hash", micro_hash, "keys, look-ups, servers down, building tables"},
    {"frames", micro_frames, "following WebSocket frames; handshake values"},
    {"timers", micro_timers, "the wheel with 10, 10 000 and 100 000 timers"},
    {"yaml", micro_yaml, "loading configurations, and what a reload computes"},
    {"routes", micro_routes, "finding the route among 1, 100, 1000"},
    {"pick", micro_pick, "choosing a server by each balance"},
    {"slots", micro_slots, "the pools of fixed-size objects"},
    {"body", micro_body, "chunked bodies and event streams"},
};
enum { SUBJECTS_COUNT = sizeof(subjects) / sizeof(subjects[0]) };

struct options {
    bool is_quick, is_json;
    bool is_wanted[SUBJECTS_COUNT];
    bool has_wanted;
};

static void print_help(void)
{
    printf("Usage: bench-micro [--quick] [--json] [--only SUBJECT]...\n"
           "\n"
           "Times the code of limpet that needs no kernel.\n"
           "\n"
           "  --quick         3 rounds instead of 9\n"
           "  --json          one JSON object per line instead of a table\n"
           "  --only SUBJECT  this one; may be given several times\n"
           "  --help          this text\n"
           "\n"
           "Subjects:\n");
    for (int i = 0; i < SUBJECTS_COUNT; i++)
        printf("  %-14s  %s\n", subjects[i].name, subjects[i].what);
}

static bool want_subject(struct options *options, const char *name)
{
    for (int i = 0; i < SUBJECTS_COUNT; i++)
        if (strcmp(subjects[i].name, name) == 0) {
            options->is_wanted[i] = options->has_wanted = true;
            return true;
        }
    fprintf(stderr, "bench-micro: --only '%s': no such subject; see --help\n", name);
    return false;
}

/* Gives the exit status, or -1 to go on. */
static int read_options(struct options *out, int count, char **arguments)
{
    static const struct option known[] = {{"quick", no_argument, NULL, 'q'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};

    for (int option; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        if (option == 'h') {
            print_help();
            return 0;
        }
        if (option == 'q')
            out->is_quick = true;
        else if (option == 'j')
            out->is_json = true;
        else if (option != 'o' || !want_subject(out, optarg))
            return 2;
    }
    if (optind < count) {
        fprintf(stderr, "bench-micro: '%s': expected options only; see --help\n",
                arguments[optind]);
        return 2;
    }
    return -1;
}

int main(int count, char **arguments)
{
    struct options options = {0};
    struct micro micro;
    int status = read_options(&options, count, arguments);

    if (status >= 0)
        return status;
    micro_init(&micro, options.is_quick, options.is_json);
    for (int i = 0; i < SUBJECTS_COUNT; i++)
        if (options.is_wanted[i] || !options.has_wanted) {
            micro.subject = subjects[i].name;
            subjects[i].measure(&micro);
        }
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
