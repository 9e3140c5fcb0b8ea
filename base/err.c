/* Sentences for people about what could not be set up. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

bool lp_err_set(struct lp_err *err, enum lp_err_code code, const char *format, ...)
{
    if (err != NULL) {
        struct lp_err made; /* not in place: a sentence may quote the one that it replaces */
        va_list arguments;
        va_start(arguments, format);
        made.code = code;
        vsnprintf(made.text, sizeof(made.text), format, arguments);
        va_end(arguments);
        *err = made;
    }
    return false;
}
