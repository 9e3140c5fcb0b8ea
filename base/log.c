/* The error log. Until lp_log_start() lines are written where they arise; then they go into a
 * buffer, from where a sink writes them. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define BUFFER_BYTES   65536u /* some seconds of a bad day; above that lines are dropped */

static_assert(LINE_MAX_BYTES <= LP_SINK_LINE_MAX, "a sink takes every line");

static size_t take(struct lp_sink_feed *feed, char *out, size_t room);

static _Atomic int log_level = LP_LOG_INFO;
static struct {
    pthread_mutex_t lock; /* never held while anybody waits, but before the start */
    enum { LOG_DIRECT, LOG_STARTED, LOG_FINISHED } state;
    struct lp_sink_feed feed;
    struct lp_sink *sink;
    char buffer[BUFFER_BYTES]; /* whole lines */
    size_t size;
    unsigned long long dropped_count; /* behind the buffer's last line */
} error_log = {.lock = PTHREAD_MUTEX_INITIALIZER, .feed = {.wake_fd = -1, .take = take}};

void lp_log_set_level(enum lp_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

/* Behind the last line before the gap; only when all of them are taken. */
static size_t write_notice(char *out, size_t room)
{
    int size = snprintf(out, room, "limpet: warning: %llu line%s dropped here\n",
                        error_log.dropped_count, error_log.dropped_count == 1 ? " was" : "s were");
    error_log.dropped_count = 0;
    return (size_t)size;
}

static size_t take(struct lp_sink_feed *feed, char *out, size_t room)
{
    (void)feed;
    pthread_mutex_lock(&error_log.lock);
    size_t size = error_log.size;
    if (size > room)
        size = (size_t)((char *)memrchr(error_log.buffer, '\n', room) - error_log.buffer) + 1;
    memcpy(out, error_log.buffer, size);
    error_log.size -= size;
    memmove(error_log.buffer, error_log.buffer + size, error_log.size);
    if (error_log.size == 0 && error_log.dropped_count > 0 && room - size >= LINE_MAX_BYTES)
        size += write_notice(out + size, room - size);
    pthread_mutex_unlock(&error_log.lock);
    return size;
}

static void write_directly(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, text, size);
        if (written <= 0)
            return;
        text += written;
        size -= (size_t)written;
    }
}

/* Nobody waits for a reader: what is too much is dropped, counted, and said where it is missing. */
static bool append_or_drop(const char *line, size_t size)
{
    const uint64_t one = 1;

    if (error_log.dropped_count > 0 || size > BUFFER_BYTES - error_log.size) {
        error_log.dropped_count++;
        return false;
    }
    if (error_log.size == 0)
        (void)!write(error_log.feed.wake_fd, &one, sizeof(one));
    memcpy(error_log.buffer + error_log.size, line, size);
    error_log.size += size;
    return true;
}

static bool put_line(const char *line, size_t size)
{
    bool is_put = true;

    pthread_mutex_lock(&error_log.lock);
    switch (error_log.state) {
    case LOG_DIRECT:
        write_directly(line, size);
        break;
    case LOG_STARTED:
        is_put = append_or_drop(line, size);
        break;
    case LOG_FINISHED:
        is_put = false;
        break;
    }
    pthread_mutex_unlock(&error_log.lock);
    return is_put;
}

bool lp_log(enum lp_log_level level, const char *format, ...)
{
    static const char *const words[] = {"error", "warning", "info", "debug"};
    char line[LINE_MAX_BYTES];
    va_list arguments;

    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return true;
    int size = snprintf(line, sizeof(line), "limpet: %s: ", words[level]);
    va_start(arguments, format);
    size += vsnprintf(line + size, sizeof(line) - (size_t)size - 1, format, arguments);
    va_end(arguments);
    if (size > LINE_MAX_BYTES - 2)
        size = LINE_MAX_BYTES - 2;
    line[size++] = '\n';
    return put_line(line, (size_t)size);
}

void lp_log_text(const char *text)
{
    while (*text != '\0') {
        const char *end = strchrnul(text, '\n');
        size_t size = (size_t)(end - text);
        char line[LINE_MAX_BYTES];

        if (size > sizeof(line) - 1)
            size = sizeof(line) - 1;
        memcpy(line, text, size);
        line[size++] = '\n';
        (void)put_line(line, size);
        text = *end == '\0' ? end : end + 1;
    }
}

bool lp_log_start(struct lp_err *err)
{
    error_log.feed.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (error_log.feed.wake_fd < 0)
        return lp_err_set(err, LP_ERR_SYSTEM, "no descriptor for the log");
    if (!lp_sink_create(&error_log.sink, STDERR_FILENO, false, err))
        return false;
    pthread_mutex_lock(&error_log.lock);
    error_log.state = LOG_STARTED;
    pthread_mutex_unlock(&error_log.lock);
    lp_sink_add(error_log.sink, &error_log.feed);
    return true;
}

struct lp_sink *lp_log_sink(void)
{
    return error_log.sink;
}

void lp_log_finish(uint32_t wait_ms)
{
    pthread_mutex_lock(&error_log.lock);
    bool is_started = error_log.state == LOG_STARTED;
    if (is_started)
        error_log.state = LOG_FINISHED;
    pthread_mutex_unlock(&error_log.lock);
    if (is_started)
        (void)lp_sink_end(error_log.sink, wait_ms);
}

uint64_t lp_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t lp_clock_ms(void)
{
    return lp_clock_ns() / 1000000u;
}
