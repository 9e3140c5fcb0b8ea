/* child: does what may end the process in a process of its own, and tells how that ended. */
#ifndef LP_TESTS_UNIT_CHILD_H
#define LP_TESTS_UNIT_CHILD_H

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct child_end {
    int status;      /* as of waitpid() */
    char said[4096]; /* on standard error, the beginning */
};

/* Runs act in a child, which exits with 0 after it. */
static inline struct child_end child_run(void (*act)(void))
{
    struct child_end end = {0};
    size_t size = 0;
    int fds[2];

    if (pipe(fds) != 0)
        abort();
    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* an expected end leaves no core file */
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        act();
        _exit(0);
    }
    close(fds[1]);
    for (;;) { /* to its end, so that the child is never cut off */
        char rest[4096];
        size_t room = sizeof(end.said) - 1 - size;
        ssize_t got =
            read(fds[0], room > 0 ? end.said + size : rest, room > 0 ? room : sizeof(rest));
        if (got <= 0)
            break;
        size += room > 0 ? (size_t)got : 0;
    }
    close(fds[0]);
    if (waitpid(pid, &end.status, 0) != pid)
        abort();
    return end;
}

#endif
