/* The end of a process that no longer understands its own state. */
#include "base/macros.h"

#include <stdio.h>
#include <stdlib.h>

void lp_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "limpet: bug: %s:%d: \"%s\" does not hold; please report this\n", file, line,
            condition);
    abort();
}
