/* demo: three small servers behind limpet, in one program. */
#ifndef LP_LB_CLI_DEMO_H
#define LP_LB_CLI_DEMO_H

#include "base/base.h"

/* `limpet demo [--port N]`: argv[0] is "demo", program what usage messages call us. Runs until
 * drained; gives the exit status. No child process outlives it. */
int demo_run(int argc, char **argv, const char *program);

/* One server, answering on a listening socket in the name of `name` until the process ends. Comes
 * back only when the kernel fails it. */
int demo_server_run(int listen_fd, const char *name);

/* The page (lb/cli/demo.html), in which NAME stands between two braces on either side where the
 * server's name belongs. */
struct lp_slice demo_page(void);

#endif
