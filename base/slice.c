/* Comparing and trimming bytes that somebody else owns. */
#include "base/slice.h"

#include <string.h>
#include <strings.h>

struct lp_slice lp_slice_of(const char *text)
{
    return (struct lp_slice){text, strlen(text)};
}

bool lp_slice_equal(struct lp_slice a, struct lp_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool lp_slice_equal_nocase(struct lp_slice a, struct lp_slice b)
{
    return a.size == b.size && (a.size == 0 || strncasecmp(a.data, b.data, a.size) == 0);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct lp_slice lp_slice_trim(struct lp_slice text)
{
    while (text.size > 0 && is_blank(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_blank(text.data[text.size - 1]))
        text.size--;
    return text;
}
