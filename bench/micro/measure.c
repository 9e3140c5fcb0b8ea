/* How a case is measured: turns are doubled until a round takes 5 ms (which warms up caches and
 * branch prediction), then come the rounds, of which the median, the best and the spread are told.
 * A round in which the kernel ran somebody else is taken again, a few times. What a case prepares
 * outside its measured time may take a tenth of a second in each round; then 5 ms are not reached.
 *
 * Time is read from the time stamp counter, compared with CLOCK_MONOTONIC first. It ticks at a rate
 * of its own; a core runs faster or slower. Cycles are the core's: its clock is found by a chain of
 * multiplications, each of which needs the result of the one before and takes three cycles on every
 * x86-64 of the last fifteen years. */
#include "bench/micro/measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define ROUND_NS         5e6
#define WALL_NS_MAX      100000000u
#define ROUNDS_COUNT     9u
#define ROUNDS_QUICK     3u
#define RETRIES_MAX      3u
#define CALIBRATION_NS   50000000u
#define CHAIN_TURNS      100000u
#define CHAIN_CYCLES     (3.0 * 20 * CHAIN_TURNS)
#define CHAIN_TRIES      15u
#define DURATION_TEXT    16u
#define NAME_WIDTH       45
#define COLUMNS          "%-10s %-*s %11s %11s %7s %11s %9s %11s %7s  %s\n"
#define MEGABYTE         1e6
#define NS_OF_LONG_ROUND 2e8

/* Of one case, in nanoseconds for one operation. */
struct figures {
    double median, min, spread_percent;
};

/* ---- Clocks -----------------------------------------------------------------------------------*/

static double measure_tsc_ghz(void)
{
    uint64_t begin_ns = lp_clock_ns(), begin = micro_ticks(), now_ns;

    do
        now_ns = lp_clock_ns();
    while (now_ns - begin_ns < CALIBRATION_NS);
    return (double)(micro_ticks() - begin) / (double)(now_ns - begin_ns);
}

static uint64_t chain_ticks(void)
{
    uint64_t x = 3, begin = micro_ticks();

    for (unsigned i = 0; i < CHAIN_TURNS; i++)
        __asm__ volatile(".rept 20\n\timul %0, %0\n\t.endr" : "+r"(x));
    return micro_ticks() - begin;
}

static double measure_core_ghz(double tsc_ghz)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < CHAIN_TRIES; i++) {
        uint64_t ticks = chain_ticks();
        if (ticks < least)
            least = ticks;
    }
    return CHAIN_CYCLES / ((double)least / tsc_ghz);
}

void micro_init(struct micro *micro, bool is_quick, bool is_json)
{
    *micro = (struct micro){.is_quick = is_quick, .is_json = is_json};
    micro->rounds_count = is_quick ? ROUNDS_QUICK : ROUNDS_COUNT;
    micro->tsc_ghz = measure_tsc_ghz();
    micro->core_ghz = measure_core_ghz(micro->tsc_ghz);
}

void micro_fail(const char *what)
{
    fprintf(stderr, "bench-micro: %s does not hold: nothing was measured\n", what);
    exit(1);
}

/* ---- Rounds -----------------------------------------------------------------------------------*/

static long switches_count(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

static double run_ns(const struct micro *micro, const struct micro_work *work, uint64_t count)
{
    return (double)work->run(work->context, count) / micro->tsc_ghz;
}

/* How many turns a round needs. */
static uint64_t find_count(const struct micro *micro, const struct micro_work *work)
{
    for (uint64_t count = 1;; count *= 2) {
        uint64_t begin_ns = lp_clock_ns();
        double ns = run_ns(micro, work, count);
        if (ns >= ROUND_NS || lp_clock_ns() - begin_ns > WALL_NS_MAX / 2)
            return count;
        if (ns > ROUND_NS / 16)
            return (uint64_t)((double)count * ROUND_NS / ns * 1.1) + 1;
    }
}

static double measure_round(const struct micro *micro, const struct micro_work *work,
                            uint64_t count)
{
    for (uint32_t retry = 0;; retry++) {
        long before = switches_count();
        double ns = run_ns(micro, work, count);
        if (switches_count() == before || retry == RETRIES_MAX || ns > NS_OF_LONG_ROUND)
            return ns / (double)count / (double)(work->ops == 0 ? 1 : work->ops);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The spread is that of the middle half of the rounds, in percent of the median. */
static struct figures measure_rounds(const struct micro *micro, const struct micro_work *work)
{
    double rounds[MICRO_ROUNDS_MAX];
    uint32_t count = micro->rounds_count;
    uint64_t turns = find_count(micro, work);

    measure_round(micro, work, turns);
    for (uint32_t i = 0; i < count; i++)
        rounds[i] = measure_round(micro, work, turns);
    qsort(rounds, count, sizeof(rounds[0]), by_value);
    double median = rounds[count / 2];
    return (struct figures){.median = median,
                            .min = rounds[0],
                            .spread_percent =
                                100 * (rounds[count - 1 - count / 4] - rounds[count / 4]) / median};
}

/* ---- What is said -----------------------------------------------------------------------------*/

static void duration_text(char out[DURATION_TEXT], double ns)
{
    if (ns < 1e3)
        snprintf(out, DURATION_TEXT, "%.2f ns", ns);
    else if (ns < 1e6)
        snprintf(out, DURATION_TEXT, "%.3f us", ns / 1e3);
    else
        snprintf(out, DURATION_TEXT, "%.3f ms", ns / 1e6);
}

static void print_head(struct micro *micro)
{
    if (micro->has_head)
        return;
    micro->has_head = true;
    if (micro->is_json) {
        printf("{\"subject\":\"machine\",\"case\":\"clocks\",\"tsc_ghz\":%.4f,\"core_ghz\":%.4f,"
               "\"rounds\":%u}\n",
               micro->tsc_ghz, micro->core_ghz, micro->rounds_count);
        return;
    }
    printf("Time is read by rdtsc, which ticks at %.4f GHz here (against CLOCK_MONOTONIC).\n"
           "Cycles are those of the core, which ran at %.2f GHz (a chain of multiplications).\n"
           "Median and least of %u rounds of at least 5 ms; spread: the middle half of them.\n\n",
           micro->tsc_ghz, micro->core_ghz, micro->rounds_count);
    printf(COLUMNS, "subject", NAME_WIDTH, "case", "time/op", "least", "spread", "cycles/op",
           "bytes/op", "bytes/cycle", "GB/s", "memory");
}

static void print_row(const struct micro *micro, const struct micro_work *work, const char *name,
                      struct figures figures, double bytes)
{
    char median[DURATION_TEXT], least[DURATION_TEXT], spread[DURATION_TEXT], cycles[DURATION_TEXT];
    char size[DURATION_TEXT] = "", speed[DURATION_TEXT] = "", rate[DURATION_TEXT] = "";
    char memory[64] = "";

    duration_text(median, figures.median);
    duration_text(least, figures.min);
    snprintf(spread, sizeof(spread), "%.1f %%", figures.spread_percent);
    snprintf(cycles, sizeof(cycles), "%.1f", figures.median * micro->core_ghz);
    if (bytes > 0) {
        snprintf(size, sizeof(size), "%.0f", bytes);
        snprintf(speed, sizeof(speed), "%.2f", bytes / figures.median / micro->core_ghz);
        snprintf(rate, sizeof(rate), "%.2f", bytes / figures.median);
    }
    if (work->memory_peak > 0)
        snprintf(memory, sizeof(memory), "%.2f MB, peak %.2f MB", (double)work->memory / MEGABYTE,
                 (double)work->memory_peak / MEGABYTE);
    else if (work->memory > 0)
        snprintf(memory, sizeof(memory), "%.2f MB", (double)work->memory / MEGABYTE);
    printf(COLUMNS, micro->subject, NAME_WIDTH, name, median, least, spread, cycles, size, speed,
           rate, memory);
}

/* Names are ours: no character in them needs an escape. */
static void print_json(const struct micro *micro, const struct micro_work *work, const char *name,
                       struct figures figures, double bytes)
{
    printf("{\"subject\":\"%s\",\"case\":\"%s\",\"ns_per_op\":%.3f,\"ns_min\":%.3f,"
           "\"spread_percent\":%.2f,\"cycles_per_op\":%.2f",
           micro->subject, name, figures.median, figures.min, figures.spread_percent,
           figures.median * micro->core_ghz);
    if (bytes > 0)
        printf(",\"bytes_per_op\":%.1f,\"bytes_per_cycle\":%.3f,\"gb_per_s\":%.3f", bytes,
               bytes / figures.median / micro->core_ghz, bytes / figures.median);
    if (work->memory > 0)
        printf(",\"memory_bytes\":%lu", work->memory);
    if (work->memory_peak > 0)
        printf(",\"memory_peak_bytes\":%lu", work->memory_peak);
    printf("}\n");
}

void micro_measure(struct micro *micro, const struct micro_work *work, const char *name, ...)
{
    char text[128];
    va_list arguments;

    va_start(arguments, name);
    vsnprintf(text, sizeof(text), name, arguments);
    va_end(arguments);
    print_head(micro);
    struct figures figures = measure_rounds(micro, work);
    double bytes = (double)work->bytes / (double)(work->ops == 0 ? 1 : work->ops);
    if (micro->is_json)
        print_json(micro, work, text, figures, bytes);
    else
        print_row(micro, work, text, figures, bytes);
    fflush(stdout);
}
