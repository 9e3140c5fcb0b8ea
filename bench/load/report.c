/* What was measured, for a reader and for a script. */
#include "bench/load/load.h"

#include <inttypes.h>

struct quantile {
    const char *name;
    double share;
};

static const struct quantile quantiles[] = {
    {"p50", 0.5},
    {"p90", 0.9},
    {"p99", 0.99},
    {"p99.9", 0.999},
};

static double seconds_of(const struct load *load)
{
    return (double)(load->window_end_ns - load->window_begin_ns) / 1e9;
}

/* The units of idle are what it holds. */
static uint64_t units_of(const struct load *load)
{
    return load->mode->is_idle ? load->opened_count : load->tally.units;
}

static double us(uint64_t ns)
{
    return (double)ns / 1e3;
}

static uint64_t errors_of(const struct load *load)
{
    uint64_t sum = 0;

    for (int i = 0; i < LOAD_ERROR_COUNT; i++)
        sum += load->tally.errors[i];
    return sum;
}

static uint32_t buckets_of(const struct load *load)
{
    uint64_t ns = load->window_end_ns - load->window_begin_ns;
    uint64_t count = (ns + LOAD_BUCKET_NS - 1) / LOAD_BUCKET_NS;
    return count < load->timeline_room ? (uint32_t)count : load->timeline_room;
}

/* ---- JSON ---- */

/* The counters of an array that are not 0, by index. */
static void json_counters(FILE *out, const char *name, const uint64_t *counters, uint32_t count)
{
    const char *comma = "";

    fprintf(out, ",\"%s\":{", name);
    for (uint32_t i = 0; i < count; i++) {
        if (counters[i] == 0)
            continue;
        fprintf(out, "%s\"%" PRIu32 "\":%" PRIu64, comma, i, counters[i]);
        comma = ",";
    }
    fprintf(out, "}");
}

static void json_errors(const struct load *load, FILE *out)
{
    fprintf(out, ",\"errors\":{");
    for (int i = 0; i < LOAD_ERROR_COUNT; i++)
        fprintf(out, "%s\"%s\":%" PRIu64, i > 0 ? "," : "", load_error_word((enum load_error)i),
                load->tally.errors[i]);
    fprintf(out, "}");
    json_counters(out, "status", load->tally.statuses, LOAD_STATUS_MAX);
}

static void json_latency(const struct load *load, FILE *out)
{
    const struct hist *hist = &load->tally.latency;

    fprintf(out, ",\"latency_us\":{\"mean\":%.3f", hist_mean_ns(hist) / 1e3);
    for (size_t i = 0; i < LP_COUNT_OF(quantiles); i++)
        fprintf(out, ",\"%s\":%.3f", quantiles[i].name,
                us(hist_quantile_ns(hist, quantiles[i].share)));
    fprintf(out, ",\"max\":%.3f}", us(hist->max_ns));
}

static void json_proxy(const struct load *load, FILE *out)
{
    const struct sample_set *set = &load->samples;
    uint64_t cpu_ns = sample_growth(&set->cpu), units = units_of(load);

    if (set->pids_count == 0)
        return;
    fprintf(out,
            ",\"proxy\":{\"cpu_ns\":%" PRIu64 ",\"cpu_ns_per_unit\":%.1f,\"pss_before\":%" PRIu64
            ",\"rss_before\":%" PRIu64 ",\"pss\":%" PRIu64 ",\"rss\":%" PRIu64
            ",\"voluntary\":%" PRIu64 ",\"involuntary\":%" PRIu64 ",\"threads\":%" PRIu32 "}",
            cpu_ns, units > 0 ? (double)cpu_ns / (double)units : 0, set->memory_before.pss,
            set->memory_before.rss, set->memory.pss, set->memory.rss,
            sample_growth(&set->voluntary), sample_growth(&set->involuntary), set->threads);
}

static void json_tls(const struct load *load, FILE *out)
{
    if (secure_version(load) != NULL)
        fprintf(out,
                ",\"tls\":{\"version\":\"%s\",\"suite\":\"%s\",\"group\":\"%s\""
                ",\"handshakes\":%" PRIu64 ",\"resumed\":%" PRIu64 "}",
                secure_version(load), secure_suite(load), load->options->group,
                load->tally.handshakes, load->tally.resumed);
}

static void json_timeline(const struct load *load, FILE *out)
{
    if (load->timeline == NULL)
        return;
    fprintf(out, ",\"timeline\":[");
    for (uint32_t i = 0; i < buckets_of(load); i++) {
        const struct bucket *bucket = &load->timeline[i];
        fprintf(out,
                "%s{\"ms\":%" PRIu32 ",\"units\":%" PRIu32 ",\"errors\":%" PRIu32
                ",\"max_us\":%.3f,\"close_frames\":%" PRIu32 ",\"fin\":%" PRIu32
                ",\"reset\":%" PRIu32 "}",
                i > 0 ? "," : "", (i + 1) * 100, bucket->units, bucket->errors, us(bucket->max_ns),
                bucket->endings[LOAD_END_CLOSE_FRAME], bucket->endings[LOAD_END_FIN],
                bucket->endings[LOAD_END_RESET]);
    }
    fprintf(out, "]");
}

void report_json(const struct load *load, FILE *out)
{
    const struct tally *tally = &load->tally;
    double seconds = seconds_of(load);

    fprintf(out,
            "{\"mode\":\"%s\",\"connections\":%" PRIu32 ",\"seconds\":%.6f,\"rate\":%" PRIu64
            ",\"size\":%" PRIu64 ",\"units\":%" PRIu64 ",\"per_second\":%.3f,\"bytes_in\":%" PRIu64
            ",\"bytes_out\":%" PRIu64 ",\"reopened\":%" PRIu64,
            load->mode->name, load->options->connections, seconds, load->options->rate, load->size,
            units_of(load), (double)units_of(load) / seconds, tally->bytes_in, tally->bytes_out,
            tally->reopened);
    json_errors(load, out);
    json_latency(load, out);
    fprintf(out, ",\"unfinished\":%" PRIu64 ",\"unfinished_max_us\":%.3f,\"load_cpu_ns\":%" PRIu64,
            load->unfinished, us(load->unfinished_max_ns), load->own_cpu_ns);
    if (load->mode->is_idle) {
        fprintf(out, ",\"echo_failed\":%" PRIu64, tally->echo_failed);
        json_counters(out, "close_codes", tally->codes, LOAD_CODES_MAX);
    }
    json_tls(load, out);
    json_proxy(load, out);
    json_timeline(load, out);
    fprintf(out, "}\n");
}

/* ---- Text ---- */

static void text_errors(const struct load *load, FILE *out)
{
    const struct tally *tally = &load->tally;

    fprintf(out, "errors      %" PRIu64, errors_of(load));
    for (int i = 0; i < LOAD_ERROR_COUNT; i++)
        if (tally->errors[i] > 0)
            fprintf(out, ", %s %" PRIu64, load_error_word((enum load_error)i), tally->errors[i]);
    for (uint32_t i = 0; i < LOAD_STATUS_MAX; i++)
        if (tally->statuses[i] > 0)
            fprintf(out, ", status %" PRIu32 ": %" PRIu64, i, tally->statuses[i]);
    fprintf(out, "; reopened in good order: %" PRIu64 "\n", tally->reopened);
}

static void text_latency(const struct load *load, FILE *out)
{
    const struct hist *hist = &load->tally.latency;

    if (hist->count == 0)
        return;
    fprintf(out, "latency us  mean %.1f", hist_mean_ns(hist) / 1e3);
    for (size_t i = 0; i < LP_COUNT_OF(quantiles); i++)
        fprintf(out, "  %s %.1f", quantiles[i].name,
                us(hist_quantile_ns(hist, quantiles[i].share)));
    fprintf(out, "  max %.1f\n", us(hist->max_ns));
    if (load->unfinished > 0)
        fprintf(out, "unfinished  %" PRIu64 " when the window ended, the oldest for %.1f us\n",
                load->unfinished, us(load->unfinished_max_ns));
}

static void text_proxy(const struct load *load, FILE *out)
{
    const struct sample_set *set = &load->samples;
    uint64_t units = units_of(load);
    double cpu_ns = (double)sample_growth(&set->cpu), seconds = seconds_of(load);

    fprintf(out, "load        %.1f %% of a CPU\n", (double)load->own_cpu_ns / seconds / 1e7);
    if (set->pids_count == 0)
        return;
    fprintf(out, "proxy       %.1f %% of a CPU, %.0f ns a unit, %" PRIu32 " threads\n",
            cpu_ns / seconds / 1e7, units > 0 ? cpu_ns / (double)units : 0, set->threads);
    fprintf(out, "switches    %" PRIu64 " voluntary, %" PRIu64 " involuntary\n",
            sample_growth(&set->voluntary), sample_growth(&set->involuntary));
    fprintf(out, "memory KiB  PSS %" PRIu64 " (before %" PRIu64 "), RSS %" PRIu64 "\n",
            set->memory.pss / 1024, set->memory_before.pss / 1024, set->memory.rss / 1024);
}

static void text_idle(const struct load *load, FILE *out)
{
    const struct tally *tally = &load->tally;

    fprintf(out,
            "hold        %" PRIu32 " open, ended by Close %" PRIu64 ", by FIN %" PRIu64
            ", by reset %" PRIu64 "; echoes failed %" PRIu64 "\n",
            load->opened_count, tally->endings[LOAD_END_CLOSE_FRAME], tally->endings[LOAD_END_FIN],
            tally->endings[LOAD_END_RESET], tally->echo_failed);
    for (uint32_t i = 0; i < LOAD_CODES_MAX; i++)
        if (tally->codes[i] > 0)
            fprintf(out, "            Close %" PRIu32 ": %" PRIu64 "\n", i, tally->codes[i]);
}

static void text_tls(const struct load *load, FILE *out)
{
    if (secure_version(load) != NULL)
        fprintf(out, "tls         %s, %s, %s; %" PRIu64 " handshakes, %" PRIu64 " resumed\n",
                secure_version(load), secure_suite(load), load->options->group,
                load->tally.handshakes, load->tally.resumed);
}

/* Only the buckets in which something happened. */
static void text_timeline(const struct load *load, FILE *out)
{
    if (load->timeline == NULL)
        return;
    fprintf(out,
            "timeline    until ms    units   errors       max us    Close      FIN    reset\n");
    for (uint32_t i = 0; i < buckets_of(load); i++) {
        const struct bucket *bucket = &load->timeline[i];
        const uint32_t *endings = bucket->endings;
        if (bucket->units + bucket->errors + endings[0] + endings[1] + endings[2] == 0)
            continue;
        fprintf(out,
                "            %8" PRIu32 " %8" PRIu32 " %8" PRIu32 " %12.1f %8" PRIu32 " %8" PRIu32
                " %8" PRIu32 "\n",
                (i + 1) * 100, bucket->units, bucket->errors, us(bucket->max_ns),
                endings[LOAD_END_CLOSE_FRAME], endings[LOAD_END_FIN], endings[LOAD_END_RESET]);
    }
}

void report_text(const struct load *load, FILE *out)
{
    const struct tally *tally = &load->tally;
    double seconds = seconds_of(load);

    fprintf(out, "%s to %s, %" PRIu32 " connections, %.3f s", load->mode->name,
            load->options->to_text, load->options->connections, seconds);
    if (load->options->rate > 0)
        fprintf(out, ", %" PRIu64 "/s wanted", load->options->rate);
    fprintf(out, "\nunits       %" PRIu64 ", %.1f/s\n", units_of(load),
            (double)units_of(load) / seconds);
    fprintf(out, "MB/s        in %.2f, out %.2f\n", (double)tally->bytes_in / seconds / 1e6,
            (double)tally->bytes_out / seconds / 1e6);
    if (load->mode->is_idle)
        text_idle(load, out);
    text_errors(load, out);
    text_latency(load, out);
    text_tls(load, out);
    text_proxy(load, out);
    text_timeline(load, out);
}
