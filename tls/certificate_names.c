/* The names of a listener's certificates in alphabetical order, so that choosing one takes a search
 * by halves, once or twice. */
#include "tls/certificate.h"

#include <stdlib.h>
#include <string.h>

struct certificate_name {
    struct lp_slice text;
    uint32_t certificate_index;
    bool is_of_today;
};

/* Shorter names come first: what the order is does not matter. */
static int compare_texts(struct lp_slice a, struct lp_slice b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size == 0 ? 0 : memcmp(a.data, b.data, a.size);
}

static int compare_names(const void *left, const void *right)
{
    const struct certificate_name *a = left, *b = right;
    int order = compare_texts(a->text, b->text);

    if (order != 0)
        return order;
    if (a->is_of_today != b->is_of_today)
        return a->is_of_today ? -1 : 1;
    return (a->certificate_index > b->certificate_index) -
           (a->certificate_index < b->certificate_index);
}

void certificate_names_build(struct certificate_names *out, const struct certificate *certificates,
                             uint32_t certificates_count, struct lp_arena *arena)
{
    uint32_t count = 0, kept = 0;

    for (uint32_t i = 0; i < certificates_count; i++)
        count += certificates[i].names_count;
    *out = (struct certificate_names){LP_ARENA_ARRAY(arena, struct certificate_name, count + 1), 0};
    for (uint32_t i = 0; i < certificates_count; i++)
        for (uint32_t j = 0; j < certificates[i].names_count; j++)
            out->sorted[out->count++] =
                (struct certificate_name){certificates[i].names[j], i, certificates[i].is_of_today};
    qsort(out->sorted, out->count, sizeof(*out->sorted), compare_names);
    for (uint32_t i = 0; i < out->count; i++)
        if (kept == 0 || compare_texts(out->sorted[kept - 1].text, out->sorted[i].text) != 0)
            out->sorted[kept++] = out->sorted[i];
    out->count = kept;
}

static const struct certificate_name *search(const struct certificate_names *names,
                                             struct lp_slice text)
{
    uint32_t from = 0, until = names->count;

    while (from < until) {
        uint32_t middle = from + (until - from) / 2;
        int order = compare_texts(names->sorted[middle].text, text);

        if (order == 0)
            return &names->sorted[middle];
        if (order < 0)
            from = middle + 1;
        else
            until = middle;
    }
    return NULL;
}

uint32_t certificate_names_find(const struct certificate_names *names, struct lp_slice name)
{
    const struct certificate_name *found = search(names, name);

    if (found != NULL)
        return found->certificate_index;

    char wildcard[256] = "*";
    const char *dot = name.size > 0 ? memchr(name.data, '.', name.size) : NULL;
    size_t rest = dot != NULL ? name.size - (size_t)(dot - name.data) : 0;

    if (rest > 1 && dot != name.data && rest < sizeof(wildcard)) {
        memcpy(wildcard + 1, dot, rest);
        found = search(names, (struct lp_slice){wildcard, 1 + rest});
    }
    return found != NULL ? found->certificate_index : 0;
}
