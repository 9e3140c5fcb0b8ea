/* What the C library needs to copy and to search as many bytes: nothing that looks at each byte can
 * be much faster, so the other figures are read beside these. */
#include <string.h>

#include "bench/micro/micro.h"

struct copy {
    char *to;
    const char *from;
    size_t size;
};

static uint64_t run_memcpy(void *context, uint64_t count)
{
    const struct copy *copy = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0) {
        size_t size = copy->size;
        __asm__("" : "+r"(size)); /* a size known only when it runs */
        memcpy(copy->to, copy->from, size);
        micro_keep_pointer(copy->to);
    }
    return micro_ticks() - begin;
}

static uint64_t run_memchr(void *context, uint64_t count)
{
    const struct copy *copy = context;
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        micro_keep(memchr(copy->from, '\n', copy->size) != NULL);
    return micro_ticks() - begin;
}

void micro_reference(struct micro *micro)
{
    static const size_t sizes[] = {512, LP_BUF_SMALL_BYTES, LP_BUF_LARGE_BYTES};
    char *from = lp_alloc(LP_BUF_LARGE_BYTES), *to = lp_alloc(LP_BUF_LARGE_BYTES);

    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct copy copy = {to, from, sizes[i]};
        micro_measure(micro, &(struct micro_work){run_memcpy, .context = &copy, .bytes = copy.size},
                      "memcpy, %zu bytes", copy.size);
        micro_measure(micro, &(struct micro_work){run_memchr, .context = &copy, .bytes = copy.size},
                      "memchr, %zu bytes", copy.size);
    }
    lp_free(from);
    lp_free(to);
}
