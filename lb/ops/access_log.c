/* See access_log.h. Lines of one ring are taken whole, so that those of two workers never mix. */
#include "lb/ops/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define GATHER_MS     50u
#define ASK_MS        1000u
#define TELL_AGAIN_MS 60000u /* of lines that are dropped all the time */

static_assert(LOG_LINE_MAX <= LP_SINK_LINE_MAX, "a sink takes every line");

/* --- from the rings, on the sink's thread --- */

/* What is taken, and where it goes. */
struct taken {
    char *out;
    size_t size, room;
};

/* Bytes of the whole lines that fit into room. */
static size_t whole_lines(struct lp_slice bytes, size_t room)
{
    size_t size = bytes.size < room ? bytes.size : room;
    const char *last = size == 0 ? NULL : memrchr(bytes.data, '\n', size);
    return last == NULL ? 0 : (size_t)(last - bytes.data) + 1;
}

static void take(struct taken *taken, struct log_ring *ring, struct lp_slice bytes, size_t size)
{
    memcpy(taken->out + taken->size, bytes.data, size);
    taken->size += size;
    log_ring_skip(ring, size);
}

/* Only whole lines, so that those of two rings never mix; the line that wraps around the ring's end
 * lies in two pieces and is taken with both. */
static void take_ring(struct taken *taken, struct log_ring *ring)
{
    struct lp_slice bytes = log_ring_peek(ring);

    take(taken, ring, bytes, whole_lines(bytes, taken->room - taken->size));
    bytes = log_ring_peek(ring);
    bool wraps =
        bytes.size > 0 && bytes.size < LOG_LINE_MAX && memchr(bytes.data, '\n', bytes.size) == NULL;
    if (!wraps || taken->room - taken->size < LOG_LINE_MAX)
        return;
    take(taken, ring, bytes, bytes.size);
    bytes = log_ring_peek(ring);
    const char *end = memchr(bytes.data, '\n', bytes.size);
    take(taken, ring, bytes, (size_t)(end - bytes.data) + 1);
    bytes = log_ring_peek(ring);
    take(taken, ring, bytes, whole_lines(bytes, taken->room - taken->size));
}

static size_t take_rings(struct lp_sink_feed *feed, char *out, size_t room)
{
    struct access_log *log = lp_container_of(feed, struct access_log, feed);
    struct taken taken = {.out = out, .room = room};

    for (uint32_t i = 0; i < log->rings_count; i++)
        take_ring(&taken, log->rings[i]);
    return taken.size;
}

/* --- on the control thread --- */

void access_log_init(struct access_log *log, uint32_t rings_count)
{
    *log = (struct access_log){
        .feed = {.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                 .gather_ms = GATHER_MS,
                 .take = take_rings},
        .rings = lp_alloc(rings_count * sizeof(struct log_ring *)),
        .rings_count = rings_count,
    };
}

void access_log_deinit(struct access_log *log)
{
    close(log->feed.wake_fd);
    lp_free(log->rings);
}

static bool is_own(const struct access_log *log)
{
    return log->sink != NULL && log->sink != lp_log_sink();
}

static void use(struct access_log *log, struct lp_sink *sink)
{
    struct lp_sink *old = is_own(log) ? log->sink : NULL;

    if (log->sink == NULL)
        lp_sink_add(sink, &log->feed);
    else if (log->sink != sink)
        lp_sink_move(&log->feed, log->sink, sink);
    if (old != NULL)
        (void)lp_sink_end(old, 0);
    log->sink = sink;
}

/* Of one file there is one sink: that of the error log, or the one that writes to it already. */
static struct lp_sink *find_sink(const struct access_log *log, int fd)
{
    if (lp_log_sink() != NULL && lp_sink_writes_to(lp_log_sink(), fd))
        return lp_log_sink();
    return is_own(log) && lp_sink_writes_to(log->sink, fd) ? log->sink : NULL;
}

static bool open_file(int *fd, struct lp_slice to, struct lp_err *err)
{
    char path[PATH_MAX];

    if (to.size >= sizeof(path))
        return lp_err_set(err, LP_ERR_CONFIG, "log.access.to: the path is too long");
    memcpy(path, to.data, to.size);
    path[to.size] = '\0';
    *fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
    return *fd >= 0 ||
           lp_err_set(err, LP_ERR_SYSTEM, "the access log %s cannot be opened: %s", path,
                      errno == ENXIO ? "it is a pipe or socket that nobody reads"
                                     : strerror(errno));
}

bool access_log_prepare(const struct access_log *log, struct access_target *out, struct lp_slice to,
                        struct lp_err *err)
{
    int fd = -1;
    bool is_file = false, ok = true;

    if (lp_slice_equal(to, LP_SLICE("stdout"))) {
        fd = STDOUT_FILENO;
    } else if (lp_slice_equal(to, LP_SLICE("stderr"))) {
        fd = STDERR_FILENO;
    } else if (!lp_slice_equal(to, LP_SLICE("off"))) {
        is_file = true;
        if (!open_file(&fd, to, err))
            return false;
    }
    *out = (struct access_target){.sink = find_sink(log, fd)};
    out->is_new = out->sink == NULL;
    if (out->is_new)
        ok = lp_sink_create(&out->sink, fd, is_file, err);
    if (is_file && (!out->is_new || !ok))
        close(fd);
    return ok;
}

void access_log_switch(struct access_log *log, struct access_target target)
{
    lp_sink_retry(target.sink);
    if (target.sink != log->sink)
        use(log, target.sink);
}

void access_log_discard(struct access_target target)
{
    if (target.is_new)
        (void)lp_sink_end(target.sink, 0);
}

bool access_log_open(struct access_log *log, struct lp_slice to, struct lp_err *err)
{
    struct access_target target;

    if (!access_log_prepare(log, &target, to, err))
        return false;
    access_log_switch(log, target);
    return true;
}

static uint64_t count_dropped(const struct access_log *log)
{
    uint64_t dropped = 0;

    for (uint32_t i = 0; i < log->rings_count; i++)
        dropped += log_ring_dropped(log->rings[i]);
    return dropped;
}

static void tell(struct access_log *log, uint64_t dropped, const char *why)
{
    if (dropped > log->told && lp_log(LP_LOG_WARNING, "%llu access log lines were dropped: %s",
                                      (unsigned long long)(dropped - log->told), why))
        log->told = dropped;
}

/* The first, then once a minute, and the rest when it has passed. */
void access_log_report(struct access_log *log, uint64_t now_ms)
{
    if (now_ms - log->asked_ms < ASK_MS)
        return;
    int error = lp_sink_error(log->sink);
    uint64_t dropped = count_dropped(log);
    bool has_passed = dropped == log->dropped;

    log->asked_ms = now_ms;
    log->dropped = dropped;
    if (error != log->error && error != 0)
        lp_log(LP_LOG_ERROR, "the access log cannot be written: %s; lines wait until it can",
               strerror(error));
    else if (error != log->error)
        lp_log(LP_LOG_INFO, "the access log can be written again");
    log->error = error;
    if (dropped > log->told &&
        (has_passed || log->told_ms == 0 || now_ms - log->told_ms >= TELL_AGAIN_MS)) {
        tell(log, dropped, error != 0 ? strerror(error) : "the log is not read fast enough");
        log->told_ms = now_ms;
    }
}

/* Lines that nobody will write any more. */
static uint64_t count_left(struct access_log *log)
{
    char lines[LP_SINK_LINE_MAX];
    uint64_t count = 0;
    size_t size;

    while ((size = take_rings(&log->feed, lines, sizeof(lines))) > 0)
        for (size_t i = 0; i < size; i++)
            count += lines[i] == '\n';
    return count;
}

void access_log_finish(struct access_log *log)
{
    uint64_t lost = 0;

    if (log->sink == NULL)
        return;
    if (is_own(log)) {
        lost = lp_sink_end(log->sink, LP_LOG_FINISH_MS);
    } else {
        lp_sink_flush(log->sink, LP_LOG_FINISH_MS);
        lp_sink_remove(log->sink, &log->feed);
    }
    log->sink = NULL;
    tell(log, count_dropped(log) + count_left(log) + lost, "they could not be written in time");
}
