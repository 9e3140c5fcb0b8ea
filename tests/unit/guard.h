/* guard: places input right before a page that nobody may read, so that a look at one byte too
 * many is a crash. */
#ifndef LP_TESTS_UNIT_GUARD_H
#define LP_TESTS_UNIT_GUARD_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARD_BYTES_MAX ((size_t)128 * 1024)

/* The first byte of a page that cannot be read, behind GUARD_BYTES_MAX that can; always the same.
 */
static inline char *guard_page(void)
{
    static char *page;
    char *pages;

    if (page != NULL)
        return page;
    pages = mmap(NULL, GUARD_BYTES_MAX + (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED ||
        mprotect(pages + GUARD_BYTES_MAX, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE) != 0)
        abort();
    page = pages + GUARD_BYTES_MAX;
    return page;
}

/* A copy of bytes that ends at the guard page. Good until the next call. */
static inline const char *guarded(const void *bytes, size_t size)
{
    if (size > GUARD_BYTES_MAX)
        abort();
    if (size != 0)
        memmove(guard_page() - size, bytes, size);
    return guard_page() - size;
}

#endif
