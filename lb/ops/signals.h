/* signals: which of them limpet hears, which do nothing, and from when on.
 *
 * What would end a process by default is blocked in all threads and read by the control thread one
 * at a time; docs/operating.md has the table. What an error of our own raises (SIGSEGV, SIGABRT)
 * and what a terminal stops and continues a job with (SIGTSTP, SIGCONT) keep their defaults. */
#ifndef LP_LB_OPS_SIGNALS_H
#define LP_LB_OPS_SIGNALS_H

#include <stdbool.h>

/* The first line of main(), before there are threads: from now on signals wait. */
void signals_hold(void);
/* For a command that is over soon, and for a child: what has waited is delivered. */
void signals_release(void);
/* A limpet begins: what must not end it is ignored. Children end without a trace from now on, also
 * those that somebody else left to us; the dead of whoever executed us are reaped. */
void signals_begin(void);

/* Gives a signalfd that hears all that wait, or only those that end a start; -1 with errno. */
int signals_open(void);
int signals_open_stops(void);
/* SIGTERM, SIGINT or SIGQUIT? */
bool signals_is_stop(unsigned number);
/* Did a SIGHUP wait? It does no longer. */
bool signals_take_hangup(void);
/* A line that it does nothing here, unless it came from a terminal whose size changed. */
void signals_say_unused(unsigned number, int code);

#endif
