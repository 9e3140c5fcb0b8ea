/* CPU time comes from each process's own clock: to the nanosecond, up to this very moment even
 * while it runs on another CPU, threads that have ended included. /proc's schedstat knows a running
 * thread only up to its last tick and forgets ended ones, which at a window of half a second is a
 * percent.
 *
 * Context switches are counted by thread in /proc/PID/task/TID/status, memory by process in
 * smaps_rollup. A process that is born in the window counts from its birth; one that dies counts up
 * to the last look. */
#include "bench/load/sample.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 4096u
#define TEXT_MAX      8192u

struct process_list {
    int32_t pids[PROCESSES_MAX];
    uint32_t count;
};

/* ---- Reading /proc ---- */

/* Gives "" when there is nothing to read. */
static void read_text(char out[TEXT_MAX], const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;

    while (fd >= 0 && size < TEXT_MAX - 1) {
        ssize_t n = read(fd, out + size, TEXT_MAX - 1 - size);
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    out[size] = 0;
}

/* The number behind the word at the beginning of a line; 0 when it is not there. */
static uint64_t number_after(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    return at == NULL ? 0 : strtoull(at + strlen(word), NULL, 10);
}

typedef void (*task_fn)(int32_t pid, int32_t tid, void *with);

static void each_task(int32_t pid, task_fn visit, void *with)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%" PRId32 "/task", pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        long tid = strtol(entry->d_name, NULL, 10);
        if (tid > 0)
            visit(pid, (int32_t)tid, with);
    }
    closedir(dir);
}

static void add_process(struct process_list *list, int32_t pid)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->pids[i] == pid)
            return;
    if (list->count < PROCESSES_MAX)
        list->pids[list->count++] = pid;
}

static void add_children(int32_t pid, int32_t tid, void *list)
{
    char path[96], text[TEXT_MAX];

    snprintf(path, sizeof(path), "/proc/%" PRId32 "/task/%" PRId32 "/children", pid, tid);
    read_text(text, path);
    for (char *at = text, *end; *at != 0; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at)
            break;
        add_process(list, (int32_t)child);
    }
}

/* The list grows while it is walked, which makes it a walk over the whole tree. */
static void find_processes(struct process_list *list, const struct sample_set *set)
{
    list->count = 0;
    for (uint32_t i = 0; i < set->pids_count; i++)
        add_process(list, set->pids[i]);
    for (uint32_t i = 0; i < list->count; i++)
        each_task(list->pids[i], add_children, list);
}

/* ---- Counters ---- */

/* is_first: what was counted before is not ours. */
static void take(struct sample_table *table, int32_t id, uint64_t value, bool is_first)
{
    for (uint32_t i = 0; i < table->count; i++) {
        struct sample_counter *counter = &table->counters[i];
        if (counter->id == id && value >= counter->last) {
            counter->last = value;
            return;
        }
    }
    if (table->count == table->room) {
        table->room = table->room == 0 ? 16 : 2 * table->room;
        table->counters = lp_realloc(table->counters, table->room * sizeof(*table->counters));
    }
    table->counters[table->count++] =
        (struct sample_counter){.id = id, .first = is_first ? value : 0, .last = value};
}

struct look {
    struct sample_set *set;
    bool is_first;
};

static void take_task(int32_t pid, int32_t tid, void *with)
{
    const struct look *look = with;
    char path[96], text[TEXT_MAX];

    snprintf(path, sizeof(path), "/proc/%" PRId32 "/task/%" PRId32 "/status", pid, tid);
    read_text(text, path);
    if (text[0] == 0)
        return;
    look->set->threads++;
    take(&look->set->voluntary, tid, number_after(text, "\nvoluntary_ctxt_switches:"),
         look->is_first);
    take(&look->set->involuntary, tid, number_after(text, "\nnonvoluntary_ctxt_switches:"),
         look->is_first);
}

static bool cpu_of(uint64_t *out, int32_t pid)
{
    clockid_t clock;
    struct timespec now;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &now) != 0)
        return false;
    *out = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return true;
}

static void look_at(struct sample_set *set, bool is_first)
{
    struct process_list list;
    struct look look = {set, is_first};
    uint64_t cpu_ns;

    if (set->pids_count == 0)
        return;
    find_processes(&list, set);
    set->threads = 0;
    /* CPU time before the rest: looking at /proc takes time, too. */
    for (uint32_t i = 0; i < list.count; i++)
        if (cpu_of(&cpu_ns, list.pids[i]))
            take(&set->cpu, list.pids[i], cpu_ns, is_first);
    for (uint32_t i = 0; i < list.count; i++)
        each_task(list.pids[i], take_task, &look);
}

void sample_begin(struct sample_set *set)
{
    set->cpu.count = set->voluntary.count = set->involuntary.count = 0;
    look_at(set, true);
}

void sample_refresh(struct sample_set *set)
{
    look_at(set, false);
}

uint64_t sample_growth(const struct sample_table *table)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < table->count; i++)
        sum += table->counters[i].last - table->counters[i].first;
    return sum;
}

/* ---- Memory ---- */

struct sample_memory sample_memory_now(const struct sample_set *set)
{
    struct process_list list;
    struct sample_memory sum = {0};
    char path[64], text[TEXT_MAX];

    find_processes(&list, set);
    for (uint32_t i = 0; i < list.count; i++) {
        snprintf(path, sizeof(path), "/proc/%" PRId32 "/smaps_rollup", list.pids[i]);
        read_text(text, path);
        sum.pss += number_after(text, "\nPss:") * 1024;
        sum.rss += number_after(text, "\nRss:") * 1024;
    }
    return sum;
}

bool sample_check(const struct sample_set *set, struct lp_err *err)
{
    char path[64], text[TEXT_MAX];
    uint64_t cpu_ns;

    for (uint32_t i = 0; i < set->pids_count; i++) {
        if (!cpu_of(&cpu_ns, set->pids[i]))
            return lp_err_set(err, LP_ERR_CONFIG, "--pid %" PRId32 ": there is no such process",
                              set->pids[i]);
        snprintf(path, sizeof(path), "/proc/%" PRId32 "/smaps_rollup", set->pids[i]);
        read_text(text, path);
        if (text[0] == 0)
            return lp_err_set(err, LP_ERR_SYSTEM, "%s cannot be read: %s", path, strerror(errno));
    }
    return true;
}

void sample_deinit(struct sample_set *set)
{
    lp_free(set->cpu.counters);
    lp_free(set->voluntary.counters);
    lp_free(set->involuntary.counters);
}
