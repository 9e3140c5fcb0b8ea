/* The end of a process that no longer understands its own state. */
#include "base/macros.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

void lp_assert_failed(const char *condition, const char *file, int line)
{
    char text[512];

    snprintf(text, sizeof(text), "limpet: bug: %s:%d: \"%s\" does not hold; please report this",
             file, line, condition);
    lp_log_text(text);
    lp_log_finish(LP_LOG_FINISH_MS);
    abort();
}
