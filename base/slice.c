/* Comparing and trimming bytes that somebody else owns. */
#include "base/slice.h"

#include <string.h>

struct lp_slice lp_slice_of(const char *text)
{
    return (struct lp_slice){text, strlen(text)};
}

bool lp_slice_equal(struct lp_slice a, struct lp_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Not strncasecmp(): that stops at a NUL and asks the locale. */
bool lp_slice_equal_nocase(struct lp_slice a, struct lp_slice b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
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
