/* Sentences for people about what could not be set up. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

bool lp_err_set(struct lp_err *err, enum lp_err_code code, const char *format, ...)
{
    if (err != NULL) {
        va_list arguments;
        va_start(arguments, format);
        err->code = code;
        vsnprintf(err->text, sizeof(err->text), format, arguments);
        va_end(arguments);
    }
    return false;
}
