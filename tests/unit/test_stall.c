/* What the kernel is told to hold for a peer that takes nothing. */
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lb/net/conn.h"

/* Gives both ends of a connection over the loopback. */
static void connect_over_loopback(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ends[0], (struct sockaddr *)&address, size), 0);
    ends[1] = accept(listener, NULL, NULL);
    assert_true(ends[1] >= 0);
    close(listener);
}

static void a_narrow_window_takes_two_segments(void **state)
{
    struct tcp_info info = {0};
    socklen_t info_size = sizeof(info), window_size = sizeof(int);
    int ends[2], window = 0;

    (void)state;
    connect_over_loopback(ends);
    struct conn conn = {.fd = ends[0]};
    conn_narrow(&conn);
    assert_int_equal(getsockopt(ends[0], IPPROTO_TCP, TCP_WINDOW_CLAMP, &window, &window_size), 0);
    assert_int_equal(getsockopt(ends[0], IPPROTO_TCP, TCP_INFO, &info, &info_size), 0);
    assert_true(info.tcpi_advmss > 0);
    assert_true((uint32_t)window >= 2 * info.tcpi_advmss);
    conn_widen(&conn);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_narrow_window_takes_two_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
