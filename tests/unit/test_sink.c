/* Lines on their way to pipes that nobody reads, stopped terminals and full disks: whoever logs
 * never waits, no line is cut, what is dropped is counted and told. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "lb/ops/access_log.h"

#define TEXT_BYTES (8u << 20)

/* --- a feed with numbered lines, as many as are asked for --- */

struct numbers {
    struct lp_sink_feed feed;
    pthread_mutex_t lock;
    char letter;
    unsigned next, end;
};

static size_t take_numbers(struct lp_sink_feed *feed, char *out, size_t room)
{
    struct numbers *numbers = lp_container_of(feed, struct numbers, feed);
    size_t size = 0;

    pthread_mutex_lock(&numbers->lock);
    for (; numbers->next < numbers->end && room - size >= 128; numbers->next++)
        size += (size_t)snprintf(out + size, room - size, "%c %u %*s\n", numbers->letter,
                                 numbers->next, 1 + (int)(numbers->next % 90), ".");
    pthread_mutex_unlock(&numbers->lock);
    return size;
}

static void numbers_init(struct numbers *numbers, char letter)
{
    *numbers = (struct numbers){.letter = letter};
    numbers->feed.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    numbers->feed.take = take_numbers;
    pthread_mutex_init(&numbers->lock, NULL);
}

static void more(struct numbers *numbers, unsigned count)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&numbers->lock);
    numbers->end += count;
    pthread_mutex_unlock(&numbers->lock);
    assert_int_equal(write(numbers->feed.wake_fd, &one, sizeof(one)), sizeof(one));
}

static void numbers_deinit(struct numbers *numbers)
{
    close(numbers->feed.wake_fd);
    pthread_mutex_destroy(&numbers->lock);
}

/* --- what arrives --- */

static char text[TEXT_BYTES];
static size_t text_size;

/* Gives how many lines have come. */
static unsigned read_more(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    unsigned lines_count = 0;

    assert_int_equal(poll(&poller, 1, 60000), 1);
    ssize_t got = read(fd, text + text_size, TEXT_BYTES - text_size);
    assert_true(got > 0);
    for (ssize_t i = 0; i < got; i++)
        lines_count += text[text_size + (size_t)i] == '\n';
    text_size += (size_t)got;
    return lines_count;
}

static void read_lines(int fd, unsigned count)
{
    text_size = 0;
    for (unsigned lines_count = 0; lines_count < count;)
        lines_count += read_more(fd);
}

/* Until that one has come whole. Gives the first. */
static unsigned read_until_line(int fd, const char *begin)
{
    text_size = 0;
    do
        (void)read_more(fd);
    while (memmem(text, text_size, begin, strlen(begin)) == NULL || text[text_size - 1] != '\n');
    return (unsigned)strtoul(text + 2, NULL, 10);
}

static void read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    assert_true(fd >= 0);
    text_size = 0;
    while ((got = read(fd, text + text_size, TEXT_BYTES - text_size)) > 0)
        text_size += (size_t)got;
    close(fd);
}

/* Every line is whole, and those of the letter are first, first + 1, ... Gives the one behind. */
static unsigned assert_whole(char letter, unsigned first)
{
    const char *end = text + text_size;

    for (const char *line = text; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        char *rest;
        assert_non_null(newline);
        assert_true(line[1] == ' ' && newline[-1] == '.');
        unsigned long number = strtoul(line + 2, &rest, 10);
        assert_int_equal(newline - rest - 1, 1 + number % 90);
        if (line[0] == letter)
            assert_int_equal(number, first++);
        line = newline + 1;
    }
    return first;
}

static void sink_for(struct lp_sink **sink, int fd, struct numbers *numbers)
{
    struct lp_err err;

    assert_true(lp_sink_create(sink, fd, false, &err));
    lp_sink_add(*sink, &numbers->feed);
}

/* --- readers that stop --- */

/* Gives how many lines were taken by then. */
static unsigned wait_until_nothing_moves(struct numbers *numbers)
{
    unsigned before, now = 0;

    do {
        before = now;
        poll(NULL, 0, 50);
        pthread_mutex_lock(&numbers->lock);
        now = numbers->next;
        pthread_mutex_unlock(&numbers->lock);
    } while (now == 0 || now != before);
    return now;
}

static void goes_on_where_it_stopped(int writer, int reader)
{
    struct numbers numbers;
    struct lp_sink *sink;

    numbers_init(&numbers, 'a');
    sink_for(&sink, writer, &numbers);
    more(&numbers, 50000); /* more than everything on the way holds */
    assert_in_range(wait_until_nothing_moves(&numbers), 1, 49999);
    read_lines(reader, 50000);
    assert_int_equal(assert_whole('a', 0), 50000);
    assert_int_equal(lp_sink_end(sink, 10000), 0);
    assert_int_equal(fcntl(writer, F_GETFL) & O_NONBLOCK, 0); /* others share that flag */
    numbers_deinit(&numbers);
}

static void lines_go_on_where_a_pipe_had_no_room(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    goes_on_where_it_stopped(fds[1], fds[0]);
    close(fds[0]);
    close(fds[1]);
}

static void lines_go_on_where_a_socket_had_no_room(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    goes_on_where_it_stopped(fds[1], fds[0]);
    close(fds[0]);
    close(fds[1]);
}

/* A terminal: fds[0] is the screen's side, fds[1] the program's. */
static void open_terminal(int fds[2])
{
    struct termios settings;

    fds[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fds[0] >= 0 && grantpt(fds[0]) == 0 && unlockpt(fds[0]) == 0);
    fds[1] = open(ptsname(fds[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fds[1] >= 0);
    assert_int_equal(tcgetattr(fds[1], &settings), 0);
    cfmakeraw(&settings);
    assert_int_equal(tcsetattr(fds[1], TCSANOW, &settings), 0);
}

static void lines_go_on_when_a_stopped_terminal_does(void **state)
{
    struct numbers numbers;
    struct lp_sink *sink;
    int fds[2];

    (void)state;
    open_terminal(fds);
    assert_int_equal(tcflow(fds[1], TCOOFF), 0); /* ctrl-S */
    numbers_init(&numbers, 'a');
    sink_for(&sink, fds[1], &numbers);
    more(&numbers, 5000);
    assert_in_range(wait_until_nothing_moves(&numbers), 1, 4999);
    assert_int_equal(tcflow(fds[1], TCOON), 0);
    read_lines(fds[0], 5000);
    assert_int_equal(assert_whole('a', 0), 5000);
    assert_int_equal(lp_sink_end(sink, 10000), 0);
    numbers_deinit(&numbers);
    close(fds[0]);
    close(fds[1]);
}

static void the_end_does_not_wait_for_a_reader_that_sleeps(void **state)
{
    struct numbers numbers;
    struct lp_sink *sink;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    numbers_init(&numbers, 'a');
    sink_for(&sink, fds[1], &numbers);
    more(&numbers, 50000);
    (void)wait_until_nothing_moves(&numbers);
    unsigned lost_count = lp_sink_end(sink, 100);
    assert_in_range(lost_count, 1, numbers.next);
    close(fds[1]);
    read_lines(fds[0], numbers.next - lost_count); /* the rest is whole */
    assert_int_equal(assert_whole('a', 0), numbers.next - lost_count);
    numbers_deinit(&numbers);
    close(fds[0]);
}

static void two_feeds_of_one_pipe_do_not_mix(void **state)
{
    struct numbers a, b;
    struct lp_sink *sink;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    numbers_init(&a, 'a');
    numbers_init(&b, 'b');
    sink_for(&sink, fds[1], &a);
    lp_sink_add(sink, &b.feed);
    for (int i = 0; i < 10; i++) {
        more(&a, 1000);
        more(&b, 1000);
    }
    read_lines(fds[0], 20000);
    assert_int_equal(assert_whole('a', 0), 10000);
    assert_int_equal(assert_whole('b', 0), 10000);
    assert_int_equal(lp_sink_end(sink, 10000), 0);
    numbers_deinit(&a);
    numbers_deinit(&b);
    close(fds[0]);
    close(fds[1]);
}

static void what_waits_for_a_dead_file_goes_to_the_next(void **state)
{
    struct numbers numbers;
    struct lp_sink *dead, *next;
    struct lp_err err;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    numbers_init(&numbers, 'a');
    sink_for(&dead, full, &numbers);
    more(&numbers, 1000);
    while (lp_sink_error(dead) != ENOSPC)
        poll(NULL, 0, 5);
    assert_true(lp_sink_create(&next, fds[1], false, &err));
    lp_sink_move(&numbers.feed, dead, next);
    assert_int_equal(lp_sink_end(dead, 10000), 0);
    more(&numbers, 1000);
    read_lines(fds[0], 2000);
    assert_int_equal(assert_whole('a', 0), 2000);
    assert_int_equal(lp_sink_end(next, 10000), 0);
    numbers_deinit(&numbers);
    close(full);
    close(fds[0]);
    close(fds[1]);
}

/* Where a descriptor of our own cannot be had, the thread sleeps in write(). */
static void sleep_in_write(void)
{
    char folder[] = "/tmp/limpet-sink-XXXXXX";
    struct lp_sink *asleep, *next;
    struct numbers numbers;
    int stuck[2], fds[2];

    if (geteuid() != 0 && unshare(CLONE_NEWUSER) != 0) /* chroot() is for root */
        abort();
    if (pipe(stuck) != 0 || pipe(fds) != 0 || mkdtemp(folder) == NULL || chdir(folder) != 0 ||
        rmdir(folder) != 0 || chroot(".") != 0) /* there is no /proc */
        abort();
    numbers_init(&numbers, 'a');
    sink_for(&asleep, stuck[1], &numbers);
    more(&numbers, 50000);
    (void)wait_until_nothing_moves(&numbers);
    assert_true(lp_sink_create(&next, fds[1], false, NULL));
    lp_sink_move(&numbers.feed, asleep, next);
    assert_int_equal(lp_sink_end(asleep, 0), 0); /* alone */
    unsigned first = read_until_line(fds[0], "a 49999 ");
    assert_int_equal(assert_whole('a', first), 50000);
    more(&numbers, 50000);
    (void)wait_until_nothing_moves(&numbers);
    assert_true(lp_sink_end(next, 100) > 0);
}

static void a_thread_that_sleeps_in_write_holds_up_nobody(void **state)
{
    (void)state;
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        sleep_in_write();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- files that may not grow: in a child, since the limit is the process's --- */

static void set_largest_file(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        abort();
}

/* The disk is full in the middle of a line, six times; then there is room. */
static void fill_a_disk(void)
{
    char path[] = "/tmp/limpet-sink-XXXXXX";
    int fd = mkstemp(path);
    struct numbers numbers;
    struct lp_sink *sink;

    numbers_init(&numbers, 'a');
    sink_for(&sink, fd, &numbers);
    for (rlim_t room = 1001; room < 40000; room = 2 * room + 9) {
        set_largest_file(room);
        more(&numbers, 700);
        lp_sink_retry(sink);
        while (lseek(fd, 0, SEEK_END) < (off_t)room || lp_sink_error(sink) != EFBIG)
            poll(NULL, 0, 5);
    }
    set_largest_file(RLIM_INFINITY);
    lp_sink_retry(sink);
    more(&numbers, 1);
    assert_int_equal(lp_sink_end(sink, 10000), 0);
    assert_int_equal(numbers.next, numbers.end);
    read_file(path);
    assert_int_equal(assert_whole('a', 0), numbers.end);
    unlink(path);
}

static void a_full_disk_cuts_no_line_once_it_has_room_again(void **state)
{
    (void)state;
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        fill_a_disk();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- the error log --- */

static int stderr_pipe[2], logged_pipe[2];

/* The pipe is full, the lines are more than the buffer holds, and yet nobody waits. */
static void log_to_nobody(void)
{
    struct lp_err err;
    char line[1000];

    memset(line, 'x', sizeof(line));
    dup2(stderr_pipe[1], STDERR_FILENO);
    if (!lp_log_start(&err))
        abort();
    for (int i = 0; i < 1000; i++)
        lp_log(LP_LOG_INFO, "%d %.*s", i, (int)sizeof(line), line);
    if (write(logged_pipe[1], "x", 1) != 1)
        abort();
    lp_log_finish(10000);
}

/* Counts lines from first to the one behind the last, with those that were dropped. */
static unsigned count_with_notices(char *lines, unsigned *dropped_count)
{
    unsigned next = 0;

    for (char *line = lines, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (strncmp(line, "limpet: warning: ", 17) == 0) {
            unsigned count = (unsigned)strtoul(line + 17, &line, 10);
            assert_string_equal(line,
                                count == 1 ? " line was dropped here" : " lines were dropped here");
            *dropped_count += count;
            next += count;
        } else {
            assert_int_equal(strncmp(line, "limpet: info: ", 14), 0);
            assert_int_equal(strtoul(line + 14, NULL, 10), next++);
            assert_true(end[-1] == 'x');
        }
    }
    return next;
}

static void lines_that_are_too_many_are_counted_where_they_are_missing(void **state)
{
    unsigned dropped_count = 0;
    ssize_t got;
    char logged;
    int status;

    (void)state;
    assert_true(pipe(stderr_pipe) == 0 && pipe(logged_pipe) == 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        log_to_nobody();
        _exit(0);
    }
    close(stderr_pipe[1]);
    assert_int_equal(read(logged_pipe[0], &logged, 1), 1);
    text_size = 0;
    while ((got = read(stderr_pipe[0], text + text_size, TEXT_BYTES - 1 - text_size)) > 0)
        text_size += (size_t)got;
    text[text_size] = '\0';
    assert_int_equal(count_with_notices(text, &dropped_count), 1000);
    assert_in_range(dropped_count, 1, 999);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(stderr_pipe[0]);
    close(logged_pipe[0]);
    close(logged_pipe[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_go_on_where_a_pipe_had_no_room),
        cmocka_unit_test(lines_go_on_where_a_socket_had_no_room),
        cmocka_unit_test(lines_go_on_when_a_stopped_terminal_does),
        cmocka_unit_test(the_end_does_not_wait_for_a_reader_that_sleeps),
        cmocka_unit_test(two_feeds_of_one_pipe_do_not_mix),
        cmocka_unit_test(what_waits_for_a_dead_file_goes_to_the_next),
        cmocka_unit_test(a_thread_that_sleeps_in_write_holds_up_nobody),
        cmocka_unit_test(a_full_disk_cuts_no_line_once_it_has_room_again),
        cmocka_unit_test(lines_that_are_too_many_are_counted_where_they_are_missing),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
