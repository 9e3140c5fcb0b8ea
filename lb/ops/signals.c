/* See signals.h. */
#include "lb/ops/signals.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"

static const int stops[] = {SIGTERM, SIGINT, SIGQUIT};
/* Besides the real-time ones. Most end a process by default, and every connection with it. */
static const int held[] = {SIGTERM,   SIGINT,  SIGQUIT, SIGHUP,    SIGUSR1, SIGUSR2, SIGALRM,
                           SIGVTALRM, SIGPROF, SIGIO,   SIGSTKFLT, SIGPWR,  SIGXCPU, SIGWINCH};
/* SIGPIPE, SIGXFSZ: the write says it. SIGTTOU, SIGTTIN: a job in the background must not stop
 * because of a line in its log. SIGCHLD: the kernel reaps, also the orphans that process 1 gets. */
static const int ignored[] = {SIGPIPE, SIGXFSZ, SIGTTOU, SIGTTIN, SIGCHLD};

static sigset_t set_of(const int *signals, unsigned count)
{
    sigset_t set;

    sigemptyset(&set);
    for (unsigned i = 0; i < count; i++)
        sigaddset(&set, signals[i]);
    return set;
}

static sigset_t held_set(void)
{
    sigset_t set = set_of(held, sizeof(held) / sizeof(held[0]));

    for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
        sigaddset(&set, number);
    return set;
}

void signals_hold(void)
{
    sigset_t set = held_set();
    sigprocmask(SIG_BLOCK, &set, NULL);
}

void signals_release(void)
{
    sigset_t set = held_set();
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void signals_begin(void)
{
    for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

int signals_open(void)
{
    sigset_t set = held_set();
    return signalfd(-1, &set, SFD_CLOEXEC);
}

int signals_open_stops(void)
{
    sigset_t set = set_of(stops, sizeof(stops) / sizeof(stops[0]));
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool signals_is_stop(unsigned number)
{
    return number == SIGTERM || number == SIGINT || number == SIGQUIT;
}

bool signals_take_hangup(void)
{
    const int hangup = SIGHUP;
    const struct timespec at_once = {0};
    sigset_t set = set_of(&hangup, 1);
    return sigtimedwait(&set, NULL, &at_once) == SIGHUP;
}

void signals_say_unused(unsigned number, int code)
{
    const char *name = sigabbrev_np((int)number);
    char text[32];

    if (number == SIGWINCH && code == SI_KERNEL)
        return;
    if (name != NULL)
        snprintf(text, sizeof(text), "SIG%s", name);
    else
        snprintf(text, sizeof(text), "SIGRTMIN+%d", (int)number - SIGRTMIN);
    lp_log(LP_LOG_WARNING,
           "%s does nothing here: use SIGHUP to reload, SIGTERM to drain, SIGUSR1 to reopen logs",
           text);
}
