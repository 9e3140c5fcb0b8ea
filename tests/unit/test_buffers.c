/* Receive buffers: few and low while few are needed, given back when a burst is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lb/uring/buffers.h"

#define MANY 300u

static void take_many(struct buffers *buffers, uint32_t taken[MANY])
{
    for (uint32_t i = 0; i < MANY; i++) {
        taken[i] = buffers_take(buffers, URING_SMALL);
        assert_int_not_equal(taken[i], URING_NO_BUFFER);
        buffers_base(buffers, taken[i])[0] = 'x';
    }
}

static void what_a_burst_needed_goes_back_when_nobody_needed_it_for_a_while(void **state)
{
    struct buffers buffers;
    uint32_t taken[MANY];
    (void)state;

    buffers_init(&buffers, 1u << 30);
    take_many(&buffers, taken);
    size_t most = buffers.bytes_allocated;
    for (uint32_t i = MANY; i-- > 0;)
        buffers_put(&buffers, taken[i]);
    buffers_trim(&buffers); /* they were in use since the trim before */
    assert_int_equal(buffers.bytes_allocated, most);
    assert_true(buffers_may_trim(&buffers));
    buffers_trim(&buffers);
    assert_int_equal(buffers.bytes_allocated, 0);
    assert_false(buffers_may_trim(&buffers));
    take_many(&buffers, taken); /* and come again */
    buffers_deinit(&buffers);
}

static void a_slab_with_one_buffer_in_use_stays(void **state)
{
    struct buffers buffers;
    uint32_t taken[MANY];
    (void)state;

    buffers_init(&buffers, 1u << 30);
    take_many(&buffers, taken);
    for (uint32_t i = 0; i < MANY; i++)
        if (i != 200)
            buffers_put(&buffers, taken[i]);
    buffers_trim(&buffers);
    buffers_trim(&buffers);
    assert_int_equal(buffers.groups[URING_SMALL].total_count,
                     buffers.groups[URING_SMALL].slab_count);
    assert_int_equal(buffers_base(&buffers, taken[200])[0], 'x');
    buffers_put(&buffers, taken[200]);
    buffers_deinit(&buffers);
}

static void the_lowest_free_buffer_is_taken_so_that_high_slabs_become_empty(void **state)
{
    struct buffers buffers;
    uint32_t taken[MANY];
    (void)state;

    buffers_init(&buffers, 1u << 30);
    take_many(&buffers, taken);
    buffers_put(&buffers, taken[290]);
    buffers_put(&buffers, taken[3]);
    assert_int_equal(buffers_take(&buffers, URING_SMALL), taken[3]);
    assert_int_equal(buffers_take(&buffers, URING_SMALL), taken[290]);
    buffers_deinit(&buffers);
}

static void a_buffer_is_free_when_its_last_reference_is_back(void **state)
{
    struct buffers buffers;
    (void)state;

    buffers_init(&buffers, 1u << 30);
    uint32_t buffer = buffers_take(&buffers, URING_LARGE);
    buffers_ref(&buffers, buffer);
    buffers_put(&buffers, buffer);
    assert_int_equal(buffers_refs(&buffers, buffer), 1);
    assert_int_not_equal(buffers_take(&buffers, URING_LARGE), buffer);
    buffers_put(&buffers, buffer);
    assert_int_equal(buffers_take(&buffers, URING_LARGE), buffer);
    assert_int_equal(buffers_size(buffer), LP_BUF_LARGE_BYTES);
    buffers_deinit(&buffers);
}

static void memory_max_is_the_edge(void **state)
{
    struct buffers buffers;
    uint32_t count = 0;
    (void)state;

    buffers_init(&buffers, 4u << 20);
    while (buffers_take(&buffers, URING_SMALL) != URING_NO_BUFFER)
        count++;
    assert_in_range(count, 200, (4u << 20) / LP_BUF_SMALL_BYTES + 16);
    buffers_deinit(&buffers);
}

static void large_buffers_leave_half_of_the_memory_to_small_ones(void **state)
{
    struct buffers buffers;
    uint32_t small_count = 0;
    (void)state;

    buffers_init(&buffers, 8u << 20);
    while (buffers_take(&buffers, URING_LARGE) != URING_NO_BUFFER)
        continue;
    while (buffers_take(&buffers, URING_SMALL) != URING_NO_BUFFER)
        small_count++;
    assert_in_range(small_count, (3u << 20) / LP_BUF_SMALL_BYTES, (5u << 20) / LP_BUF_SMALL_BYTES);
    buffers_deinit(&buffers);
}

static void a_large_buffer_that_is_free_is_not_given_above_half_of_the_memory(void **state)
{
    struct buffers buffers;
    uint32_t large[4];
    (void)state;

    buffers_init(&buffers, 4u << 20);
    for (unsigned i = 0; i < LP_COUNT_OF(large); i++)
        large[i] = buffers_take(&buffers, URING_LARGE);
    for (unsigned i = 0; i < LP_COUNT_OF(large); i++)
        buffers_put(&buffers, large[i]);
    while (buffers_held(&buffers) <= 2u << 20)
        assert_int_not_equal(buffers_take(&buffers, URING_SMALL), URING_NO_BUFFER);
    assert_int_equal(buffers_take(&buffers, URING_LARGE), URING_NO_BUFFER);
    assert_int_equal(buffers_obtainable(&buffers, URING_LARGE), 0);
    buffers_deinit(&buffers);
}

static void large_slabs_that_nobody_uses_leave_their_memory_to_small_ones_at_once(void **state)
{
    struct buffers buffers;
    uint32_t large[MANY], large_count = 0;
    (void)state;

    buffers_init(&buffers, 4u << 20);
    while ((large[large_count] = buffers_take(&buffers, URING_LARGE)) != URING_NO_BUFFER)
        large_count++;
    for (uint32_t i = 0; i < large_count; i++)
        buffers_put(&buffers, large[i]);
    while (buffers_take(&buffers, URING_SMALL) != URING_NO_BUFFER)
        continue;
    assert_in_range(buffers_held(&buffers), (4u << 20) / 10 * 9, 4u << 20);
    assert_in_range(buffers.bytes_allocated, 0, 4u << 20);
    buffers_deinit(&buffers);
}

static void what_must_be_said_has_a_buffer_when_others_hold_all(void **state)
{
    struct buffers buffers;
    (void)state;

    buffers_init(&buffers, 1u << 20);
    while (buffers_take(&buffers, URING_SMALL) != URING_NO_BUFFER)
        continue;
    while (buffers_take(&buffers, URING_TINY) != URING_NO_BUFFER)
        continue;
    assert_int_not_equal(buffers_take_anyway(&buffers, URING_TINY), URING_NO_BUFFER);
    assert_int_not_equal(buffers_take_anyway(&buffers, URING_SMALL), URING_NO_BUFFER);
    buffers_deinit(&buffers);
}

static void what_waits_in_the_kernels_ring_is_held_by_nobody(void **state)
{
    struct buffers buffers;
    (void)state;

    buffers_init(&buffers, 1u << 20);
    uint32_t buffer = buffers_take(&buffers, URING_SMALL);
    buffers_publish(&buffers, buffer);
    assert_int_equal(buffers_held(&buffers), 0);
    buffers_claim(&buffers, buffer);
    assert_int_equal(buffers_held(&buffers), LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES);
    buffers_put(&buffers, buffer);
    assert_int_equal(buffers_held(&buffers), 0);
    buffers_deinit(&buffers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_burst_needed_goes_back_when_nobody_needed_it_for_a_while),
        cmocka_unit_test(a_slab_with_one_buffer_in_use_stays),
        cmocka_unit_test(the_lowest_free_buffer_is_taken_so_that_high_slabs_become_empty),
        cmocka_unit_test(a_buffer_is_free_when_its_last_reference_is_back),
        cmocka_unit_test(memory_max_is_the_edge),
        cmocka_unit_test(large_buffers_leave_half_of_the_memory_to_small_ones),
        cmocka_unit_test(a_large_buffer_that_is_free_is_not_given_above_half_of_the_memory),
        cmocka_unit_test(large_slabs_that_nobody_uses_leave_their_memory_to_small_ones_at_once),
        cmocka_unit_test(what_must_be_said_has_a_buffer_when_others_hold_all),
        cmocka_unit_test(what_waits_in_the_kernels_ring_is_held_by_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
