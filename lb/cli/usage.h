/* usage: how limpet is called, and what is said when it is called otherwise. */
#ifndef LP_LB_CLI_USAGE_H
#define LP_LB_CLI_USAGE_H

#include "base/base.h"

#define USAGE_DEFAULT_PATH "limpet.yaml"

void usage_print(void);
/* Says what is wrong and where help is. Gives the exit status of wrong usage, 2. */
int usage_error(const char *format, ...) LP_PRINTF(1, 2);

#endif
