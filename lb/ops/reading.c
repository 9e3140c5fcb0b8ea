/* See reading.h. Start at read_and_compile(): the thread's whole life. */
#include "lb/ops/reading.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Ten thousand servers take their time to read; workers on the same CPU come first. */
#define READER_NICE 10
/* A thread that computes gets some of a CPU in this time, however busy the machine is. */
#define HANGS_MS 1000u

/* --- on the helper thread: may take its time, touches nothing that runs --- */

static void describe_moved(struct reading *reading)
{
    const struct snapshot *old = reading->running, *now = reading->snapshot;
    char *text = reading->moved;
    size_t size = 0, room = sizeof(reading->moved);

    for (uint32_t i = 0; i < now->config->pools_count && size < room; i++) {
        const struct lp_cfg_pool *pool = &now->config->pools[i];
        const struct lp_cfg_pool *before = lp_config_pool(old->config, pool->name);
        if (before == NULL || pool->balance != LP_BALANCE_HASH)
            continue;
        uint32_t ppm =
            lp_hash_moved_ppm(old->pools[before - old->config->pools].table, now->pools[i].table);
        if (ppm > 0)
            size += (size_t)snprintf(text + size, room - size,
                                     ", %u.%u %% of the key space of pool %.*s moved", ppm / 10000,
                                     ppm / 1000 % 10, LP_SLICE_ARG(pool->name));
    }
}

static bool load(struct reading *reading, struct lp_config **config)
{
    if (reading->text != NULL)
        return lp_config_parse(config, &reading->report, reading->path, lp_slice_of(reading->text));
    return lp_config_load(config, &reading->report, reading->path);
}

static void free_result(struct reading *reading)
{
    if (reading->snapshot != NULL)
        snapshot_destroy(reading->snapshot);
    reading->snapshot = NULL;
    lp_config_report_deinit(&reading->report);
}

/* False: it was left behind meanwhile. */
static bool step(struct reading *reading, enum reading_state from, enum reading_state to)
{
    uint8_t expected = (uint8_t)from;
    return atomic_compare_exchange_strong(&reading->state, &expected, (uint8_t)to);
}

static void *read_and_compile(void *argument)
{
    struct reading *reading = argument;
    struct lp_config *config = NULL;
    const uint64_t one = 1;

    if (reading->running != NULL)
        (void)setpriority(PRIO_PROCESS, 0, READER_NICE); /* of this thread */
    if (load(reading, &config))
        (void)!snapshot_build(&reading->snapshot, config, &reading->report, &reading->err);
    if (!step(reading, READING_READS, READING_COMPARES)) {
        free_result(reading);
        atomic_store(&reading->state, READING_OVER);
        return NULL;
    }
    if (reading->snapshot != NULL && reading->running != NULL)
        describe_moved(reading);
    atomic_store(&reading->state, READING_DONE);
    if (write(reading->done_fd, &one, sizeof(one)) < 0)
        lp_log(LP_LOG_ERROR, "cannot report what was read: %s", strerror(errno));
    return NULL;
}

/* --- on the control thread --- */

struct reading *reading_begin(const char *path, const char *text, const struct snapshot *running,
                              int done_fd)
{
    struct reading *reading = lp_alloc(sizeof(*reading));

    lp_list_init(&reading->link);
    reading->path = path;
    reading->text = text;
    reading->running = running;
    reading->done_fd = done_fd;
    reading->progress_ms = lp_clock_ms();
    if (pthread_create(&reading->thread, NULL, read_and_compile, reading) == 0)
        return reading;
    lp_free(reading);
    return NULL;
}

bool reading_hangs(struct reading *reading, uint64_t now_ms)
{
    clockid_t clock;
    struct timespec used = {0};

    if (atomic_load(&reading->state) != READING_READS)
        return false;
    if (pthread_getcpuclockid(reading->thread, &clock) == 0)
        (void)clock_gettime(clock, &used);
    uint64_t cpu_ns = (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    if (cpu_ns != reading->cpu_ns) {
        reading->cpu_ns = cpu_ns;
        reading->progress_ms = now_ms;
    }
    return now_ms - reading->progress_ms >= HANGS_MS;
}

void reading_join(struct reading *reading)
{
    pthread_join(reading->thread, NULL);
}

void reading_destroy(struct reading *reading)
{
    free_result(reading);
    lp_free(reading);
}

bool reading_leave(struct reading *reading, struct lp_list *left)
{
    if (!step(reading, READING_READS, READING_ABANDONED))
        return false;
    lp_list_push_back(left, &reading->link);
    return true;
}

uint32_t readings_sweep(struct lp_list *left)
{
    uint32_t hanging_count = 0;

    LP_LIST_EACH (link, left) {
        struct reading *reading = lp_container_of(link, struct reading, link);
        if (atomic_load(&reading->state) != READING_OVER) {
            hanging_count++;
            continue;
        }
        lp_list_remove(&reading->link);
        reading_join(reading);
        reading_destroy(reading);
    }
    return hanging_count;
}
