/* order: what sorted arrays of configuration things are sorted by. */
#ifndef LP_CONFIG_ORDER_H
#define LP_CONFIG_ORDER_H

#include <string.h>

#include "config/config.h"

/* Below, equal to or above 0, byte by byte. */
static inline int order_slices(struct lp_slice a, struct lp_slice b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;

    return order != 0 ? order : a.size < b.size ? -1 : a.size > b.size;
}

/* What stands earlier in the file comes first. */
static inline int order_positions(struct lp_cfg_pos a, struct lp_cfg_pos b)
{
    if (a.line != b.line)
        return a.line < b.line ? -1 : 1;
    return a.column < b.column ? -1 : a.column > b.column;
}

#endif
