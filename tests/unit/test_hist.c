/* hist: what the load generator's histogram promises about quantiles. */
#include "bench/load/hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#define US 1000ull
#define MS 1000000ull
#define S  1000000000ull

static struct hist *empty(void)
{
    static struct hist hist;

    memset(&hist, 0, sizeof(hist));
    return &hist;
}

static void assert_within_a_percent(uint64_t got, uint64_t wanted)
{
    uint64_t off = got > wanted ? got - wanted : wanted - got;

    if (off * 100 > wanted)
        fail_msg("%llu is not within 1 %% of %llu", (unsigned long long)got,
                 (unsigned long long)wanted);
}

static void an_empty_histogram_answers_0(void **state)
{
    (void)state;
    struct hist *hist = empty();

    assert_int_equal(hist_quantile_ns(hist, 0.5), 0);
    assert_int_equal(hist_quantile_ns(hist, 1), 0);
    assert_true(hist_mean_ns(hist) == 0);
    assert_int_equal(hist->max_ns, 0);
}

static void any_quantile_of_a_single_value_is_that_value(void **state)
{
    (void)state;

    for (uint64_t ns = 1; ns < 200 * S; ns = ns * 3 + 1) {
        struct hist *hist = empty();
        hist_record(hist, ns);
        assert_int_equal(hist_quantile_ns(hist, 0), ns);
        assert_int_equal(hist_quantile_ns(hist, 0.5), ns);
        assert_int_equal(hist_quantile_ns(hist, 1), ns);
        assert_int_equal(hist->min_ns, ns);
        assert_int_equal(hist->max_ns, ns);
    }
}

static void values_from_1_us_to_100_s_are_true_to_1_percent(void **state)
{
    (void)state;

    for (uint64_t ns = US; ns <= 100 * S; ns += ns / 300 + 1) {
        struct hist *hist = empty();
        /* Two others around it, so that neither the smallest nor the largest answers for it. */
        hist_record(hist, 1);
        hist_record(hist, ns);
        hist_record(hist, 200 * S);
        assert_within_a_percent(hist_quantile_ns(hist, 0.5), ns);
    }
}

static void quantiles_are_those_of_the_sorted_values(void **state)
{
    (void)state;
    struct hist *hist = empty();

    for (uint64_t i = 10000; i > 0; i--)
        hist_record(hist, i * US);
    assert_within_a_percent(hist_quantile_ns(hist, 0.5), 5000 * US);
    assert_within_a_percent(hist_quantile_ns(hist, 0.9), 9000 * US);
    assert_within_a_percent(hist_quantile_ns(hist, 0.99), 9900 * US);
    assert_within_a_percent(hist_quantile_ns(hist, 0.999), 9990 * US);
    assert_int_equal(hist_quantile_ns(hist, 1), 10000 * US);
    assert_true(hist_mean_ns(hist) == 5000.5 * US);
}

static void one_slow_value_in_a_thousand_is_in_the_last_thousandth_only(void **state)
{
    (void)state;
    struct hist *hist = empty();

    for (int i = 0; i < 999; i++)
        hist_record(hist, 100 * US);
    hist_record(hist, 500 * MS);
    assert_within_a_percent(hist_quantile_ns(hist, 0.999), 100 * US);
    assert_int_equal(hist_quantile_ns(hist, 0.9991), 500 * MS);
    hist_record(hist, 500 * MS);
    assert_within_a_percent(hist_quantile_ns(hist, 0.999), 500 * MS);
}

static void a_quantile_never_lies_outside_of_what_was_recorded(void **state)
{
    (void)state;
    struct hist *hist = empty();

    /* The middle of their bucket is above both. */
    hist_record(hist, 1u << 20);
    hist_record(hist, (1u << 20) + 1);
    assert_in_range(hist_quantile_ns(hist, 0.5), 1u << 20, (1u << 20) + 1);
    assert_int_equal(hist_quantile_ns(hist, 1), (1u << 20) + 1);
}

static void what_is_longer_than_100_s_counts_and_is_the_maximum(void **state)
{
    (void)state;
    struct hist *hist = empty();

    hist_record(hist, 1 * MS);
    hist_record(hist, 1000 * S);
    hist_record(hist, UINT64_MAX / 4);
    assert_int_equal(hist->count, 3);
    assert_within_a_percent(hist_quantile_ns(hist, 0.6), 100 * S);
    assert_int_equal(hist->max_ns, UINT64_MAX / 4);
}

static void a_longer_duration_never_falls_into_an_earlier_bucket(void **state)
{
    (void)state;
    uint64_t before = 0;

    for (uint64_t ns = 0; ns < 100 * S; ns += ns / 1000 + 1) {
        struct hist *hist = empty();
        hist_record(hist, 0);
        hist_record(hist, ns);
        hist_record(hist, 200 * S);
        uint64_t answer = hist_quantile_ns(hist, 0.5);
        assert_true(answer >= before);
        before = answer;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_answers_0),
        cmocka_unit_test(any_quantile_of_a_single_value_is_that_value),
        cmocka_unit_test(values_from_1_us_to_100_s_are_true_to_1_percent),
        cmocka_unit_test(quantiles_are_those_of_the_sorted_values),
        cmocka_unit_test(one_slow_value_in_a_thousand_is_in_the_last_thousandth_only),
        cmocka_unit_test(a_quantile_never_lies_outside_of_what_was_recorded),
        cmocka_unit_test(what_is_longer_than_100_s_counts_and_is_the_maximum),
        cmocka_unit_test(a_longer_duration_never_falls_into_an_earlier_bucket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
