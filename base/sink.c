/* See sink.h. write_lines() is the thread. The lock is held whenever it does not wait: while it
 * writes, or waits until it can, others may look at everything but the piece under way. */
#include "base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"

#define STAGE_BYTES 65536u
#define RETRY_MS    1000u /* after an error: a disk is full for longer than that */
#define ALONE_MS    1000u /* for the last lines of a sink that nobody waits for */
#define GRACE_MS    100u

struct lp_sink {
    pthread_mutex_t lock;
    pthread_cond_t has_changed;
    pthread_t thread;
    int fd; /* -1: lines are thrown away */
    struct stat file;
    size_t piece_max;
    int wake_fd; /* feeds or the end have changed */
    struct lp_sink_feed *feeds[LP_SINK_FEEDS_MAX];
    uint32_t feeds_count;
    char stage[STAGE_BYTES]; /* lines on their way: those before at are written */
    size_t at, size;
    uint32_t idle_count; /* how often nothing was left to write */
    int error;
    bool is_writing; /* without the lock; else it waits, or does not run */
    bool is_ending, has_ended;
    bool is_alone;        /* frees itself */
    uint64_t ends_ms_max; /* when what could not be written is given up */
};

/* --- the descriptor --- */

/* The same pipe or terminal as fd, but with flags of our own: O_NONBLOCK on an inherited descriptor
 * would be set for everybody who shares it. Where that cannot be had (no /proc, a socket, the
 * terminal of another user), a descriptor that may block must do. Not for files: theirs would begin
 * at the front, and never blocks but for the disk. */
static int own_descriptor(int fd, const struct stat *file)
{
    char path[40];
    int own = -1;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (S_ISFIFO(file->st_mode) || S_ISCHR(file->st_mode))
        own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static ssize_t put(const struct lp_sink *sink, const char *bytes, size_t size)
{
    if (sink->fd < 0)
        return (ssize_t)size;
    if (S_ISSOCK(sink->file.st_mode))
        return send(sink->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return write(sink->fd, bytes, size);
}

bool lp_sink_writes_to(const struct lp_sink *sink, int fd)
{
    struct stat file;

    return sink->fd >= 0 && fstat(fd, &file) == 0 && file.st_dev == sink->file.st_dev &&
           file.st_ino == sink->file.st_ino;
}

/* --- lines --- */

/* Bytes of the whole lines that fit into room; at least what has no end there. */
static size_t whole_lines(const char *bytes, size_t size, size_t room)
{
    if (size <= room)
        return size;
    const char *last = memrchr(bytes, '\n', room);
    return last == NULL ? room : (size_t)(last - bytes) + 1;
}

static uint32_t count_lines(const char *bytes, size_t size)
{
    uint32_t count = 0;

    for (size_t i = 0; i < size; i++)
        count += bytes[i] == '\n';
    return count;
}

static void take_lines(struct lp_sink *sink)
{
    sink->at = sink->size = 0;
    for (uint32_t i = 0; i < sink->feeds_count; i++)
        if (STAGE_BYTES - sink->size >= LP_SINK_LINE_MAX)
            sink->size += sink->feeds[i]->take(sink->feeds[i], sink->stage + sink->size,
                                               STAGE_BYTES - sink->size);
}

/* --- waiting --- */

/* Forever, for wait_ms, or as long as the end allows. */
static int bounded(const struct lp_sink *sink, int wait_ms)
{
    if (!sink->is_ending)
        return wait_ms;
    uint64_t now = lp_clock_ms();
    int left_ms = now < sink->ends_ms_max ? (int)(sink->ends_ms_max - now) : 0;
    return wait_ms >= 0 && wait_ms < left_ms ? wait_ms : left_ms;
}

static void empty(int wake_fd)
{
    uint64_t count;
    (void)!read(wake_fd, &count, sizeof(count));
}

static void wake(const struct lp_sink *sink)
{
    const uint64_t one = 1;
    (void)!write(sink->wake_fd, &one, sizeof(one));
}

/* Until somebody wakes us, for at most wait_ms; with POLLOUT in events also until fd takes more. */
static void wait_to_write(struct lp_sink *sink, short events, int wait_ms)
{
    struct pollfd polls[] = {{.fd = sink->wake_fd, .events = POLLIN},
                             {.fd = events != 0 ? sink->fd : -1, .events = events}};

    wait_ms = bounded(sink, wait_ms);
    pthread_mutex_unlock(&sink->lock);
    (void)poll(polls, LP_COUNT_OF(polls), wait_ms);
    pthread_mutex_lock(&sink->lock);
    empty(sink->wake_fd);
}

/* Until a feed has lines. Its wake-up is read under the lock, and only while it is ours: else it
 * could be one that is meant for the next sink. */
static void wait_for_lines(struct lp_sink *sink)
{
    struct pollfd polls[LP_SINK_FEEDS_MAX + 1];
    int gather_ms = -1;

    for (;;) {
        uint32_t count = sink->feeds_count;
        bool is_urgent = gather_ms >= 0, was_woken = false;

        for (uint32_t i = 0; i < count; i++)
            polls[i] = (struct pollfd){.fd = sink->feeds[i]->wake_fd, .events = POLLIN};
        polls[count] = (struct pollfd){.fd = sink->wake_fd, .events = POLLIN};
        pthread_mutex_unlock(&sink->lock);
        int got = poll(polls, count + 1, gather_ms);
        pthread_mutex_lock(&sink->lock);
        if (got <= 0 || (polls[count].revents & POLLIN) != 0)
            break;
        for (uint32_t i = 0; i < count && i < sink->feeds_count; i++) {
            if (polls[i].revents == 0 || polls[i].fd != sink->feeds[i]->wake_fd)
                continue;
            empty(polls[i].fd);
            was_woken = true;
            is_urgent |= sink->feeds[i]->gather_ms == 0;
            gather_ms = (int)sink->feeds[i]->gather_ms;
        }
        if (is_urgent || !was_woken)
            return;
    }
    empty(sink->wake_fd);
}

/* --- the thread --- */

static void write_piece(struct lp_sink *sink)
{
    const char *piece = sink->stage + sink->at;
    size_t size = whole_lines(piece, sink->size - sink->at, sink->piece_max);

    sink->is_writing = true;
    pthread_mutex_unlock(&sink->lock);
    ssize_t written = put(sink, piece, size);
    int error = written > 0 ? 0 : written == 0 ? EAGAIN : errno;
    pthread_mutex_lock(&sink->lock);
    sink->is_writing = false;
    if (written > 0)
        sink->at += (size_t)written;
    if (error == EINTR)
        return;
    sink->error = error == EAGAIN ? 0 : error;
    if (error == EAGAIN)
        wait_to_write(sink, POLLOUT, -1);
    else if (error != 0 && sink->is_ending)
        sink->ends_ms_max = 0; /* a reader may come back in a second, a disk does not */
    else if (error != 0)
        wait_to_write(sink, 0, RETRY_MS);
}

static void close_file(struct lp_sink *sink)
{
    if (sink->fd >= 0)
        close(sink->fd);
    sink->fd = -1;
}

static void destroy(struct lp_sink *sink)
{
    close_file(sink);
    close(sink->wake_fd);
    pthread_cond_destroy(&sink->has_changed);
    pthread_mutex_destroy(&sink->lock);
    lp_free(sink);
}

static void *write_lines(void *argument)
{
    struct lp_sink *sink = argument;

    pthread_mutex_lock(&sink->lock);
    for (;;) {
        if (sink->at == sink->size)
            take_lines(sink);
        if (sink->is_ending && (sink->size == 0 || lp_clock_ms() >= sink->ends_ms_max))
            break;
        if (sink->size > 0) {
            write_piece(sink);
            continue;
        }
        sink->idle_count++;
        pthread_cond_signal(&sink->has_changed);
        wait_for_lines(sink);
    }
    pthread_mutex_unlock(&sink->lock);
    close_file(sink); /* which may wait, too, as for a file of another machine */
    pthread_mutex_lock(&sink->lock);
    bool is_alone = sink->is_alone;
    uint32_t lost_count = count_lines(sink->stage + sink->at, sink->size - sink->at);
    sink->has_ended = true;
    pthread_cond_signal(&sink->has_changed);
    pthread_mutex_unlock(&sink->lock);
    if (is_alone) {
        if (lost_count > 0)
            lp_log(LP_LOG_WARNING, "%u lines of a log that is closed now could not be written",
                   lost_count);
        destroy(sink);
    }
    return NULL;
}

/* With every signal blocked: none that is meant for another thread interrupts a write, one that
 * tells of a file's largest size (SIGXFSZ) or of a dead reader (SIGPIPE) is but an error, and a
 * terminal that stops its background jobs' output (SIGTTOU) does not stop limpet. */
static bool start_thread(struct lp_sink *sink)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&sink->thread, NULL, write_lines, sink);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return errno == 0;
}

bool lp_sink_create(struct lp_sink **out, int fd, bool is_owned, struct lp_err *err)
{
    struct lp_sink *sink = lp_alloc(sizeof(*sink));

    sink->fd = -1;
    if (fd >= 0) {
        (void)fstat(fd, &sink->file);
        sink->fd = is_owned ? fd : own_descriptor(fd, &sink->file);
        if (sink->fd < 0 && errno != EBADF) {
            lp_free(sink);
            return lp_err_set(err, LP_ERR_SYSTEM, "no descriptor for a log: %s", strerror(errno));
        }
    }
    sink->piece_max = S_ISREG(sink->file.st_mode) ? STAGE_BYTES : LP_SINK_LINE_MAX;
    sink->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&sink->lock, NULL);
    pthread_cond_init(&sink->has_changed, NULL);
    if (sink->wake_fd < 0 || !start_thread(sink)) {
        destroy(sink);
        return lp_err_set(err, LP_ERR_SYSTEM, "no thread for a log: %s", strerror(errno));
    }
    *out = sink;
    return true;
}

/* --- from other threads --- */

static void add_feed(struct lp_sink *sink, struct lp_sink_feed *feed)
{
    sink->feeds[sink->feeds_count++] = feed;
    wake(sink);
}

void lp_sink_add(struct lp_sink *sink, struct lp_sink_feed *feed)
{
    LP_ASSERT(sink->feeds_count < LP_SINK_FEEDS_MAX);
    pthread_mutex_lock(&sink->lock);
    add_feed(sink, feed);
    pthread_mutex_unlock(&sink->lock);
}

static void remove_feed(struct lp_sink *sink, const struct lp_sink_feed *feed)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < sink->feeds_count; i++)
        if (sink->feeds[i] != feed)
            sink->feeds[kept++] = sink->feeds[i];
    sink->feeds_count = kept;
    wake(sink);
}

/* Whole lines only: one that was begun in the old file begins anew in the next. */
static void hand_over(struct lp_sink *from, struct lp_sink *to)
{
    const char *before = memrchr(from->stage, '\n', from->at);
    size_t at = before == NULL ? 0 : (size_t)(before - from->stage) + 1;

    if (from->at == from->size || to->at < to->size)
        return;
    to->at = 0;
    to->size = from->size - at;
    memcpy(to->stage, from->stage + at, to->size);
    from->at = from->size = 0;
}

void lp_sink_move(struct lp_sink_feed *feed, struct lp_sink *from, struct lp_sink *to)
{
    LP_ASSERT(to->feeds_count < LP_SINK_FEEDS_MAX); /* without a lock: it ends with the log's */
    pthread_mutex_lock(&from->lock);
    pthread_mutex_lock(&to->lock);
    remove_feed(from, feed);
    if (from->feeds_count == 0 && !from->is_writing && !to->is_writing)
        hand_over(from, to);
    add_feed(to, feed);
    pthread_mutex_unlock(&to->lock);
    pthread_mutex_unlock(&from->lock);
}

void lp_sink_retry(struct lp_sink *sink)
{
    wake(sink);
}

int lp_sink_error(struct lp_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    int error = sink->error;
    pthread_mutex_unlock(&sink->lock);
    return error;
}

void lp_sink_remove(struct lp_sink *sink, const struct lp_sink_feed *feed)
{
    pthread_mutex_lock(&sink->lock);
    remove_feed(sink, feed);
    pthread_mutex_unlock(&sink->lock);
}

/* False: it is later than that already. */
static bool wait_for_change(struct lp_sink *sink, uint64_t until_ms)
{
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};

    return pthread_cond_clockwait(&sink->has_changed, &sink->lock, CLOCK_MONOTONIC, &until) !=
           ETIMEDOUT;
}

void lp_sink_flush(struct lp_sink *sink, uint32_t wait_ms)
{
    uint64_t until_ms = lp_clock_ms() + wait_ms;

    pthread_mutex_lock(&sink->lock);
    uint32_t before = sink->idle_count;
    wake(sink);
    while (sink->idle_count == before && wait_for_change(sink, until_ms))
        ;
    pthread_mutex_unlock(&sink->lock);
}

uint32_t lp_sink_end(struct lp_sink *sink, uint32_t wait_ms)
{
    uint64_t until_ms = lp_clock_ms() + wait_ms;

    pthread_mutex_lock(&sink->lock);
    sink->is_ending = true;
    sink->ends_ms_max = wait_ms > 0 ? until_ms : until_ms + ALONE_MS;
    wake(sink);
    while (!sink->has_ended) {
        if (wait_for_change(sink, until_ms))
            continue;
        if (wait_ms == 0 || (sink->is_writing && lp_clock_ms() >= sink->ends_ms_max + GRACE_MS))
            break;
        until_ms += GRACE_MS; /* it is about to end, unless a write never comes back */
    }
    uint32_t lost_count = count_lines(sink->stage + sink->at, sink->size - sink->at);
    bool has_ended = sink->has_ended;
    pthread_t thread = sink->thread;
    sink->feeds_count = 0;
    sink->is_alone = !has_ended;
    if (!has_ended)
        pthread_detach(thread); /* under the lock: it cannot have freed itself yet */
    pthread_mutex_unlock(&sink->lock);
    if (has_ended) {
        pthread_join(thread, NULL);
        destroy(sink);
    }
    return has_ended || wait_ms > 0 ? lost_count : 0;
}
