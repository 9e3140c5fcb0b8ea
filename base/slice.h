/* slice: bytes that somebody else owns. Not NUL-terminated. */
#ifndef LP_BASE_SLICE_H
#define LP_BASE_SLICE_H

#include "base/macros.h"

struct lp_slice {
    const char *data;
    size_t size;
};

/* A slice of a string literal, and of a C string. */
#define LP_SLICE(literal) ((struct lp_slice){(literal), sizeof(literal) - 1})
struct lp_slice lp_slice_of(const char *text);

/* Byte for byte; and ignoring ASCII case. */
bool lp_slice_equal(struct lp_slice a, struct lp_slice b);
bool lp_slice_equal_nocase(struct lp_slice a, struct lp_slice b);

/* Without the spaces and tabs at both ends (HTTP's optional white space). */
struct lp_slice lp_slice_trim(struct lp_slice text);

/* For printf's "%.*s". */
#define LP_SLICE_ARG(s) (int)(s).size, (s).data

#endif
