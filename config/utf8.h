/* utf8: one character at a time, strictly. */
#ifndef LP_CONFIG_UTF8_H
#define LP_CONFIG_UTF8_H

#include "base/base.h"

/* The character at the start of bytes, its size in *size. UINT32_MAX with size 1 for what is not
 * UTF-8: overlong forms, surrogates, cut sequences. size_left is at least 1. */
uint32_t utf8_decode(const char *bytes, size_t size_left, uint32_t *size);

/* C0 and C1 controls, DEL: what a terminal would obey instead of show. */
bool utf8_is_control(uint32_t point);

#endif
