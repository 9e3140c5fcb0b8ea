/* The error log: one write a line, so lines of two threads do not mix. */
#include "base/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static _Atomic int log_level = LP_LOG_INFO;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long dropped_count; /* under the lock */

void lp_log_set_level(enum lp_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

static bool is_writable(void)
{
    struct pollfd poller = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&poller, 1, 0) == 1 && (poller.revents & POLLOUT) != 0;
}

static bool write_line(const char *line, size_t size)
{
    return is_writable() && write(STDERR_FILENO, line, size) == (ssize_t)size;
}

/* A pipe that says it is writable takes a line of this size without blocking, as long as only one
 * thread asks and writes: hence the lock. Nobody waits for a reader; what was dropped is counted
 * and said as soon as somebody reads again. */
static void write_or_drop(const char *line, size_t size)
{
    char notice[64];

    pthread_mutex_lock(&log_lock);
    if (dropped_count > 0) {
        int notice_size =
            snprintf(notice, sizeof(notice), "limpet: warning: %llu lines were dropped here\n",
                     (unsigned long long)dropped_count);
        if (write_line(notice, (size_t)notice_size))
            dropped_count = 0;
    }
    if (dropped_count > 0 || !write_line(line, size))
        dropped_count++;
    pthread_mutex_unlock(&log_lock);
}

void lp_log(enum lp_log_level level, const char *format, ...)
{
    static const char *const words[] = {"error", "warning", "info", "debug"};
    char line[LINE_MAX_BYTES];
    va_list arguments;

    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    int size = snprintf(line, sizeof(line), "limpet: %s: ", words[level]);
    va_start(arguments, format);
    size += vsnprintf(line + size, sizeof(line) - (size_t)size - 1, format, arguments);
    va_end(arguments);
    if (size > LINE_MAX_BYTES - 2)
        size = LINE_MAX_BYTES - 2;
    line[size++] = '\n';
    write_or_drop(line, (size_t)size);
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
