/* macros: the few words every file uses. */
#ifndef LP_BASE_MACROS_H
#define LP_BASE_MACROS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_MUST_USE     __attribute__((warn_unused_result))
#define LP_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define LP_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define LP_COUNT_OF(a)  (sizeof(a) / sizeof((a)[0]))
#define LP_CACHE_LINE   64u

/* The struct of which `member` at `pointer` is a part. */
#define lp_container_of(pointer, type, member)                                                     \
    ((type *)((char *)(uintptr_t)(pointer)-offsetof(type, member)))

/* What we guarantee ourselves; stays on in releases. A proxy that no longer understands its own
 * state forwards not one more byte. */
#define LP_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (LP_UNLIKELY(!(condition)))                                                             \
            lp_assert_failed(#condition, __FILE__, __LINE__);                                      \
    } while (0)

void lp_assert_failed(const char *condition, const char *file, int line) __attribute__((noreturn));

#endif
