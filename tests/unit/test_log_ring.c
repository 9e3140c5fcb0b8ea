/* The access log on its way: lines of several workers, rings that wrap, a reader that is slow. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lb/ops/access_log.h"

#define RINGS 3u

static void a_full_ring_drops_whole_lines_and_counts_them(void **state)
{
    struct log_ring *ring = log_ring_create();
    char line[1000];
    uint64_t put = 0;

    (void)state;
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    while (log_ring_dropped(ring) == 0) {
        (void)log_ring_put(ring, line, sizeof(line));
        put++;
    }
    assert_int_equal(put - 1, LOG_RING_BYTES / sizeof(line));
    assert_int_equal(log_ring_peek(ring).size, (put - 1) * sizeof(line));
    log_ring_destroy(ring);
}

/* Writes numbered lines of every length into all rings, so that they wrap at every place, and reads
 * the file back: each line whole, those of one ring in order. */
static void lines_arrive_whole_and_in_order_however_rings_wrap(void **state)
{
    static struct access_log log;
    char path[] = "/tmp/limpet-log-XXXXXX", line[LOG_LINE_MAX];
    unsigned next[RINGS] = {0}, seen[RINGS] = {0};

    (void)state;
    int file = mkstemp(path);
    assert_true(file >= 0);
    access_log_init(&log, RINGS);
    struct log_ring **rings = log.rings;
    for (unsigned i = 0; i < RINGS; i++)
        rings[i] = log_ring_create();
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned n = 0; n < 250; n++)
            for (unsigned i = 0; i < RINGS; i++) {
                int size = snprintf(line, sizeof(line), "%u %u %*s\n", i, next[i]++,
                                    1 + (int)((n * 37 + round * 11 + i) % 1500), ".");
                (void)log_ring_put(rings[i], line, (size_t)size);
            }
        assert_true(access_log_open(&log, lp_slice_of(path), NULL));
        access_log_finish(&log);
    }
    FILE *reader = fopen(path, "r");
    assert_non_null(reader);
    while (fgets(line, sizeof(line), reader) != NULL) {
        char *rest;
        unsigned long ring = strtoul(line, &rest, 10), number = strtoul(rest, &rest, 10);
        assert_true(ring < RINGS);
        assert_int_equal(number, seen[ring]);
        assert_string_equal(rest + strspn(rest, " "), ".\n");
        seen[ring]++;
    }
    for (unsigned i = 0; i < RINGS; i++) {
        assert_int_equal(log_ring_dropped(rings[i]), 0);
        assert_int_equal(seen[i], next[i]);
        log_ring_destroy(rings[i]);
    }
    access_log_deinit(&log);
    fclose(reader);
    close(file);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_ring_drops_whole_lines_and_counts_them),
        cmocka_unit_test(lines_arrive_whole_and_in_order_however_rings_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
