/* lb: the balancer as its program sees it. */
#ifndef LP_LB_H
#define LP_LB_H

#include "config/config.h"

/* Runs limpet in the foreground until it has drained. Gives the exit status: 0 when everything
 * ended by itself, 1 when it could not start or had to cut connections. SIGHUP reads path again. */
int lp_lb_run(const char *path);
/* The same from a text that is in memory; name is what messages call it. SIGHUP reads the same
 * text again. */
int lp_lb_run_text(const char *name, const char *text);

#endif
