/* Counting: into the tally of the window, and into the timeline's bucket of the moment. */
#include "bench/load/load.h"

#define ERROR_WORD(name, word) word,

const char *load_error_word(enum load_error error)
{
    static const char *const words[] = {LOAD_ERRORS(ERROR_WORD)};
    return words[error];
}

/* NULL outside of the window, or without a timeline. */
static struct bucket *bucket_at(struct load *load, uint64_t now_ns)
{
    if (load->timeline == NULL || load->phase != PHASE_WINDOW || now_ns < load->window_begin_ns)
        return NULL;
    uint64_t index = (now_ns - load->window_begin_ns) / LOAD_BUCKET_NS;
    return &load->timeline[index < load->timeline_room ? index : load->timeline_room - 1];
}

void load_count(struct load *load, uint64_t begin_ns, uint64_t end_ns)
{
    uint64_t ns = end_ns > begin_ns ? end_ns - begin_ns : 0;
    struct bucket *bucket = bucket_at(load, end_ns);

    load->tally.units++;
    hist_record(&load->tally.latency, ns);
    if (bucket == NULL)
        return;
    bucket->units++;
    if (ns > bucket->max_ns)
        bucket->max_ns = ns;
}

void load_count_error(struct load *load, enum load_error error)
{
    struct bucket *bucket = bucket_at(load, lp_clock_ns());

    load->tally.errors[error]++;
    if (bucket != NULL)
        bucket->errors++;
}

void load_count_status(struct load *load, uint32_t status)
{
    load->tally.statuses[status < LOAD_STATUS_MAX ? status : 0]++;
}

void load_count_ending(struct load *load, enum load_ending ending, uint32_t code)
{
    struct bucket *bucket = bucket_at(load, lp_clock_ns());

    load->tally.endings[ending]++;
    if (ending == LOAD_END_CLOSE_FRAME)
        load->tally.codes[code < LOAD_CODES_MAX ? code : LOAD_CODES_MAX - 1]++;
    if (bucket != NULL)
        bucket->endings[ending]++;
}

void load_count_unfinished(struct load *load, uint64_t begin_ns, uint64_t units)
{
    uint64_t end_ns = load->window_end_ns;
    uint64_t ns = end_ns > begin_ns ? end_ns - begin_ns : 0;

    load->unfinished += units;
    if (ns > load->unfinished_max_ns)
        load->unfinished_max_ns = ns;
}
