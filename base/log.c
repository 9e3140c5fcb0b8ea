/* The error log: one write a line, so lines of two threads do not mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static _Atomic int log_level = LP_LOG_INFO;

void lp_log_set_level(enum lp_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
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
    /* Where standard error is gone, nobody can be told. */
    if (write(STDERR_FILENO, line, (size_t)size) < 0)
        return;
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
