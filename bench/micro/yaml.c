/* Configurations of 10 to 10 000 servers from text to what workers read, and what a reload computes
 * beside that. Memory is that of a child which does nothing else: what stays after loading, and the
 * most that was there on the way. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/micro/micro.h"
#include "bench/micro/world.h"

struct loading {
    struct text yaml;
    struct lp_config *config, *other; /* for comparisons */
    struct world world;
    struct snapshot *snapshot;
};

static struct lp_slice yaml_of(const struct loading *loading)
{
    return (struct lp_slice){loading->yaml.data, loading->yaml.size};
}

/* ---- Memory -----------------------------------------------------------------------------------*/

struct memory {
    uint64_t kept, peak;
};

/* The highest that this process ever had in memory, or has since forget_peak(). */
static uint64_t peak_bytes(void)
{
    static const char name[] = "VmHWM:";
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    const char *line = size < 0 ? NULL : strstr(text, name);

    if (fd >= 0)
        close(fd);
    return line == NULL ? 0 : strtoull(line + sizeof(name) - 1, NULL, 10) * 1024;
}

/* False when the kernel does not let us: then there is no peak to tell. */
static bool forget_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, "5", 1) == 1;

    if (fd >= 0)
        close(fd);
    return ok;
}

static uint64_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* In the child. Loads twice: the first time brings code and libyaml's tables into memory. */
static struct memory memory_of_this(const struct loading *loading)
{
    struct memory memory = {0, 0};

    lp_config_destroy(config_of(yaml_of(loading)));
    malloc_trim(0);
    bool has_peak = forget_peak();
    uint64_t heap_before = heap_bytes(), peak_before = peak_bytes();
    micro_keep_pointer(config_of(yaml_of(loading)));
    memory.kept = heap_bytes() - heap_before;
    if (has_peak)
        memory.peak = peak_bytes() - peak_before;
    return memory;
}

/* Gives zeroes when there is no child. */
static struct memory memory_of_loading(const struct loading *loading)
{
    struct memory memory = {0, 0};
    int pipe_fds[2];

    if (pipe(pipe_fds) != 0)
        return memory;
    pid_t child = fork();
    if (child == 0) {
        memory = memory_of_this(loading);
        _exit(write(pipe_fds[1], &memory, sizeof(memory)) == sizeof(memory) ? 0 : 1);
    }
    close(pipe_fds[1]);
    if (child < 0 || read(pipe_fds[0], &memory, sizeof(memory)) != sizeof(memory))
        memory = (struct memory){0, 0};
    close(pipe_fds[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return memory;
}

/* ---- Loading ----------------------------------------------------------------------------------*/

static uint64_t run_load(void *context, uint64_t count)
{
    const struct loading *loading = context;
    uint64_t ticks = 0;

    while (count-- > 0) {
        uint64_t begin = micro_ticks();
        struct lp_config *config = config_of(yaml_of(loading));
        ticks += micro_ticks() - begin;
        lp_config_destroy(config);
    }
    return ticks;
}

/* What the helper thread does with a configuration. */
static uint64_t run_build(void *context, uint64_t count)
{
    const struct loading *loading = context;
    uint64_t ticks = 0;

    while (count-- > 0) {
        struct lp_config *config = config_of(yaml_of(loading));
        struct snapshot *snapshot = NULL;
        uint64_t begin = micro_ticks();
        MICRO_REQUIRE(snapshot_build(&snapshot, config, NULL, NULL));
        ticks += micro_ticks() - begin;
        snapshot_destroy(snapshot);
    }
    return ticks;
}

/* What the control thread does with a snapshot whose servers are there already, which is nearly
 * all of a reload. */
static uint64_t run_bind(void *context, uint64_t count)
{
    struct loading *loading = context;
    uint64_t ticks = 0;

    while (count-- > 0) {
        struct lp_config *config = config_of(yaml_of(loading));
        struct snapshot *snapshot = NULL;
        MICRO_REQUIRE(snapshot_build(&snapshot, config, NULL, NULL));
        uint64_t begin = micro_ticks();
        snapshot_bind(snapshot, &loading->world.registry, &loading->world.endpoints);
        ticks += micro_ticks() - begin;
        snapshot_destroy(snapshot);
    }
    return ticks;
}

static uint64_t run_diff(void *context, uint64_t count)
{
    const struct loading *loading = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        struct lp_config_diff diff;
        lp_config_diff(loading->config, loading->other, &diff);
        micro_keep(diff.servers_count);
        lp_config_diff_deinit(&diff);
    }
    return micro_ticks() - begin;
}

/* The share of keys that move to another server. */
static uint64_t run_moved(void *context, uint64_t count)
{
    const struct loading *loading = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        micro_keep(lp_hash_moved_ppm(loading->world.snapshot->pools[0].table,
                                     loading->snapshot->pools[0].table));
    return micro_ticks() - begin;
}

static void measure_plan(struct micro *micro, const struct plan *plan, const char *what)
{
    struct loading loading = {.yaml = plan_text(plan)};
    struct memory memory = memory_of_loading(&loading);
    struct micro_work load = {run_load, .context = &loading, .bytes = loading.yaml.size,
                              .memory = memory.kept, .memory_peak = memory.peak};

    micro_measure(micro, &load, "load: %s", what);
    micro_measure(micro, &(struct micro_work){run_build, .context = &loading}, "snapshot: %s",
                  what);
    world_bind(&loading.world, config_of(yaml_of(&loading)));
    micro_measure(micro, &(struct micro_work){run_bind, .context = &loading}, "bind again: %s",
                  what);
    world_deinit(&loading.world);
    text_free(&loading.yaml);
}

/* A reload that adds one server. */
static void measure_reload(struct micro *micro, uint32_t servers_count)
{
    struct plan before = {.pools_count = 1, .servers_count = servers_count};
    struct plan after = {.pools_count = 1, .servers_count = servers_count + 1};
    struct loading loading = {.yaml = plan_text(&after)};

    world_init(&loading.world, &before);
    loading.config = loading.world.snapshot->config;
    loading.other = config_of(yaml_of(&loading));
    micro_measure(micro, &(struct micro_work){run_diff, .context = &loading},
                  "difference: one server more than %u", servers_count);
    MICRO_REQUIRE(snapshot_build(&loading.snapshot, loading.other, NULL, NULL));
    micro_measure(micro, &(struct micro_work){run_moved, .context = &loading},
                  "moved keys: one server more than %u", servers_count);
    snapshot_destroy(loading.snapshot);
    world_deinit(&loading.world);
    text_free(&loading.yaml);
}

void micro_yaml(struct micro *micro)
{
    static const struct {
        const char *what;
        struct plan plan;
    } plans[] = {
        {"10 servers", {.pools_count = 1, .servers_count = 10}},
        {"1000 servers", {.pools_count = 1, .servers_count = 1000}},
        {"10 000 servers", {.pools_count = 1, .servers_count = 10000}},
        {"10 000 with weights", {.pools_count = 1, .servers_count = 10000, .has_weights = true}},
        {"10 000 by turn with weights",
         {.pools_count = 1, .servers_count = 10000, .has_weights = true, .balance = "round_robin"}},
        {"1000 pools of 10", {.pools_count = 1000, .servers_count = 10}},
        {"1000 routes to 10 pools", {.pools_count = 10, .servers_count = 10, .routes_count = 1000}},
    };
    static const uint32_t counts[] = {10, 1000, 10000};

    for (size_t i = 0; i < LP_COUNT_OF(plans); i++)
        measure_plan(micro, &plans[i].plan, plans[i].what);
    for (size_t i = 0; i < LP_COUNT_OF(counts); i++)
        measure_reload(micro, counts[i]);
}
