/* See access_log.h. Lines of one ring are staged whole, so that those of two workers never mix. */
#include "lb/ops/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_MS  50u
#define WRITE_MAX 4096u /* PIPE_BUF: with POLLOUT set, such a write never blocks */

static bool is_writable(int fd, int wait_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    return poll(&poller, 1, wait_ms) == 1 && (poller.revents & (POLLOUT | POLLERR)) != 0;
}

/* Bytes of the whole lines that fit into room. */
static size_t whole_lines(struct lp_slice bytes, size_t room)
{
    size_t size = bytes.size < room ? bytes.size : room;
    const char *last = size == 0 ? NULL : memrchr(bytes.data, '\n', size);
    return last == NULL ? 0 : (size_t)(last - bytes.data) + 1;
}

static void take(struct access_log *log, struct log_ring *ring, struct lp_slice bytes, size_t size)
{
    memcpy(log->stage + log->stage_size, bytes.data, size);
    log->stage_size += size;
    log_ring_skip(ring, size);
}

static size_t stage_room(const struct access_log *log)
{
    return sizeof(log->stage) - log->stage_size;
}

/* Only whole lines, so that those of two rings never mix; the line that wraps around the ring's end
 * lies in two pieces and is taken with both. */
static void stage_ring(struct access_log *log, struct log_ring *ring)
{
    struct lp_slice bytes = log_ring_peek(ring);
    size_t size = whole_lines(bytes, stage_room(log));

    take(log, ring, bytes, size);
    bytes = log_ring_peek(ring);
    bool wraps =
        bytes.size > 0 && bytes.size < LOG_LINE_MAX && memchr(bytes.data, '\n', bytes.size) == NULL;
    if (!wraps || stage_room(log) < LOG_LINE_MAX)
        return;
    take(log, ring, bytes, bytes.size);
    bytes = log_ring_peek(ring);
    const char *end = memchr(bytes.data, '\n', bytes.size);
    take(log, ring, bytes, (size_t)(end - bytes.data) + 1);
    bytes = log_ring_peek(ring);
    take(log, ring, bytes, whole_lines(bytes, stage_room(log)));
}

/* Fills the empty stage with what the rings hold. */
static void stage(struct access_log *log)
{
    log->stage_at = log->stage_size = 0;
    for (uint32_t i = 0; i < log->rings_count; i++)
        stage_ring(log, log->rings[i]);
}

/* Writes as much as goes without waiting. True when nothing is left. */
static bool flush(struct access_log *log, int wait_ms)
{
    for (;;) {
        if (log->stage_at == log->stage_size)
            stage(log);
        if (log->stage_size == 0)
            return true;
        if (log->fd < 0) {
            log->stage_at = log->stage_size;
            continue;
        }
        if (!is_writable(log->fd, wait_ms))
            return false;
        size_t size = log->stage_size - log->stage_at;
        ssize_t written =
            write(log->fd, log->stage + log->stage_at, size < WRITE_MAX ? size : WRITE_MAX);
        if (written < 0 && errno != EINTR && errno != EAGAIN) {
            lp_log(LP_LOG_ERROR, "the access log cannot be written: %s", strerror(errno));
            log->stage_at = log->stage_size; /* lost, and said so */
        }
        if (written > 0)
            log->stage_at += (size_t)written;
    }
}

static void report_dropped(struct access_log *log)
{
    uint64_t dropped = 0;

    for (uint32_t i = 0; i < log->rings_count; i++)
        dropped += log_ring_dropped(log->rings[i]);
    if (dropped > log->dropped_reported)
        lp_log(LP_LOG_WARNING,
               "%llu access log lines were dropped: the log is not read fast enough",
               (unsigned long long)(dropped - log->dropped_reported));
    log->dropped_reported = dropped;
}

/* What cannot be written now waits for the reader, not for a clock. */
static void flush_or_wait(struct access_log *log, struct loop *loop)
{
    loop_timer_stop(loop, &log->timer);
    if (log->writable.ops_inflight > 0)
        return;
    if (!flush(log, 0)) {
        log->writable.ops_inflight++;
        uring_poll_writable(loop->uring, log->writable.name, log->fd);
    }
    report_dropped(log);
}

static void on_timer(struct loop *loop, struct loop_timer *timer)
{
    flush_or_wait(lp_container_of(timer, struct access_log, timer), loop);
}

static void on_writable(struct loop *loop, struct loop_source *source,
                        const struct uring_event *event)
{
    (void)event;
    flush_or_wait(lp_container_of(source, struct access_log, writable), loop);
}

static void on_wake(struct loop *loop, struct loop_source *source, const struct uring_event *event)
{
    struct access_log *log = lp_container_of(source, struct access_log, wake);

    (void)event;
    source->ops_inflight++;
    uring_read(loop->uring, source->name, source->fd, &log->wake_count, sizeof(log->wake_count));
    /* The first wake-up lets more lines gather; another one before that says a ring fills up. */
    if (lp_timer_is_set(&log->timer.timer))
        flush_or_wait(log, loop);
    else
        loop_timer_set(loop, &log->timer, loop->now_ms + FLUSH_MS);
}

bool access_log_init(struct access_log *log, struct loop *loop, int wake_fd,
                     struct log_ring **rings, uint32_t rings_count)
{
    log->wake = (struct loop_source){.on_event = on_wake, .fd = wake_fd};
    log->writable = (struct loop_source){.on_event = on_writable};
    log->timer = (struct loop_timer){.fire = on_timer};
    lp_timer_init(&log->timer.timer);
    log->rings = rings;
    log->rings_count = rings_count;
    log->fd = -1;
    if (!loop_add_source(loop, &log->wake) || !loop_add_source(loop, &log->writable))
        return false;
    log->wake.ops_inflight++;
    uring_read(loop->uring, log->wake.name, wake_fd, &log->wake_count, sizeof(log->wake_count));
    return true;
}

bool access_log_open(struct access_log *log, struct loop *loop, struct lp_slice to,
                     struct lp_err *err)
{
    int fd = -1;
    bool is_file = false;

    if (lp_slice_equal(to, LP_SLICE("stdout"))) {
        fd = STDOUT_FILENO;
    } else if (lp_slice_equal(to, LP_SLICE("stderr"))) {
        fd = STDERR_FILENO;
    } else if (!lp_slice_equal(to, LP_SLICE("off"))) {
        char path[PATH_MAX];
        if (to.size >= sizeof(path))
            return lp_err_set(err, LP_ERR_CONFIG, "log.access.to: the path is too long");
        memcpy(path, to.data, to.size);
        path[to.size] = '\0';
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
        if (fd < 0)
            return lp_err_set(err, LP_ERR_SYSTEM, "the access log %s cannot be opened: %s", path,
                              strerror(errno));
        is_file = true;
    }
    if (log->writable.ops_inflight > 0) { /* nobody may ever read the old one again */
        log->writable.ops_inflight++;
        uring_cancel(loop->uring, log->writable.name, URING_POLL);
    }
    if (log->is_owned)
        close(log->fd);
    log->fd = fd;
    log->is_owned = is_file;
    return true;
}

void access_log_finish(struct access_log *log)
{
    flush(log, 1000);
    report_dropped(log);
    if (log->is_owned)
        close(log->fd);
    log->fd = -1;
}
