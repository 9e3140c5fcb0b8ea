/* err: why setting something up failed, in a sentence for a person. */
#ifndef LP_BASE_ERR_H
#define LP_BASE_ERR_H

#include "base/macros.h"

enum lp_err_code {
    LP_ERR_NONE,
    LP_ERR_CONFIG, /* what the user wrote cannot work     */
    LP_ERR_SYSTEM, /* the machine or the kernel refused   */
    LP_ERR_LIMIT,  /* a limit of ours or of the system    */
};

struct lp_err {
    enum lp_err_code code;
    char text[1024];
};

/* Writes the sentence and answers false, so that `return lp_err_set(...)` reads well. Borrows
 * everything. err may be NULL. */
bool lp_err_set(struct lp_err *err, enum lp_err_code code, const char *format, ...) LP_PRINTF(3, 4);

#endif
