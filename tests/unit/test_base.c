/* base: slices, lists, errors, memory, the error log, the clock and the end of the process. */
#include "base/base.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/child.h"
#include "tests/unit/dice.h"
#include "tests/unit/guard.h"

/* Lets a test ask a sanitizer's allocator for more than there is, and get NULL.
 * NOLINTBEGIN(bugprone-reserved-identifier): the names are the sanitizers'. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return __asan_default_options();
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* --- slice --- */

static void slices_are_equal_when_every_byte_is(void **state)
{
    (void)state;
    struct lp_slice nothing = {NULL, 0};

    assert_true(lp_slice_equal(LP_SLICE("abc"), LP_SLICE("abc")));
    assert_false(lp_slice_equal(LP_SLICE("abc"), LP_SLICE("abd")));
    assert_false(lp_slice_equal(LP_SLICE("abc"), LP_SLICE("ABC")));
    assert_false(lp_slice_equal(LP_SLICE("abc"), LP_SLICE("ab")));
    assert_true(lp_slice_equal(LP_SLICE(""), nothing));
    assert_false(lp_slice_equal(LP_SLICE("a\0b"), LP_SLICE("a\0c")));
    assert_true(lp_slice_equal(lp_slice_of("text"), LP_SLICE("text")));
}

static void case_is_ignored_for_the_letters_of_ascii_only(void **state)
{
    (void)state;

    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            bool is_pair = (a | 0x20) == (b | 0x20) && (a | 0x20) >= 'a' && (a | 0x20) <= 'z';
            assert_int_equal(
                lp_slice_equal_nocase((struct lp_slice){&x, 1}, (struct lp_slice){&y, 1}),
                a == b || is_pair);
        }
    }
}

static void a_nul_does_not_end_the_comparison_of_two_slices(void **state)
{
    (void)state;
    struct lp_slice nothing = {NULL, 0};

    assert_false(lp_slice_equal_nocase(LP_SLICE("host\0a"), LP_SLICE("HOST\0b")));
    assert_true(lp_slice_equal_nocase(LP_SLICE("host\0a"), LP_SLICE("HOST\0A")));
    assert_false(lp_slice_equal_nocase(LP_SLICE("host"), LP_SLICE("host\0")));
    assert_true(lp_slice_equal_nocase(LP_SLICE(""), nothing));
}

static void trimming_takes_spaces_and_tabs_from_both_ends_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *given, *trimmed;
    } rows[] = {
        {"", ""},        {" ", ""},       {"\t \t", ""},        {"a", "a"},
        {" a", "a"},     {"a\t", "a"},    {" \ta b\t ", "a b"}, {"\na\r", "\na\r"},
        {"\va ", "\va"}, {"  \n ", "\n"}, {"a  b", "a  b"},     {"\xa0x", "\xa0x"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        size_t size = strlen(rows[i].given);
        struct lp_slice trimmed =
            lp_slice_trim((struct lp_slice){guarded(rows[i].given, size), size});
        assert_true(lp_slice_equal(trimmed, lp_slice_of(rows[i].trimmed)));
    }
}

/* --- list --- */

struct link {
    struct lp_list node;
    uint32_t number;
};

static uint32_t number_of(const struct lp_list *node)
{
    return lp_container_of(node, struct link, node)->number;
}

/* The numbers in a list as digits: 1 2 3 is 123. */
static uint32_t numbers_in(struct lp_list *head)
{
    uint32_t numbers = 0;

    LP_LIST_EACH (node, head)
        numbers = numbers * 10 + number_of(node);
    return numbers;
}

static void a_list_keeps_the_order_in_which_links_were_pushed(void **state)
{
    (void)state;
    struct lp_list head;
    struct link links[] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};

    lp_list_init(&head);
    assert_true(lp_list_is_empty(&head));
    lp_list_push_back(&head, &links[1].node);
    lp_list_push_back(&head, &links[2].node);
    lp_list_push_front(&head, &links[0].node);
    lp_list_insert_after(&links[1].node, &links[3].node);
    assert_int_equal(numbers_in(&head), 1243);
    assert_false(lp_list_is_empty(&head));
}

static void a_link_may_be_removed_twice_and_knows_whether_it_is_linked(void **state)
{
    (void)state;
    struct lp_list head;
    struct link one = {.number = 1}, two = {.number = 2};

    lp_list_init(&head);
    lp_list_init(&one.node);
    assert_false(lp_list_is_linked(&one.node));
    lp_list_remove(&one.node);
    lp_list_push_back(&head, &one.node);
    lp_list_push_back(&head, &two.node);
    assert_true(lp_list_is_linked(&one.node));
    lp_list_remove(&one.node);
    lp_list_remove(&one.node);
    assert_false(lp_list_is_linked(&one.node));
    assert_int_equal(numbers_in(&head), 2);
}

static void the_visited_link_may_be_removed(void **state)
{
    (void)state;
    struct lp_list head;
    struct link links[9];
    uint32_t visited_count = 0;

    lp_list_init(&head);
    for (uint32_t i = 0; i < 9; i++) {
        links[i].number = i + 1;
        lp_list_push_back(&head, &links[i].node);
    }
    LP_LIST_EACH (node, &head) {
        visited_count++;
        if (number_of(node) % 2 == 0)
            lp_list_remove(node);
    }
    assert_int_equal(visited_count, 9);
    assert_int_equal(numbers_in(&head), 13579);
    LP_LIST_EACH (node, &head)
        lp_list_remove(node);
    assert_true(lp_list_is_empty(&head));
}

/* --- err --- */

static void an_error_is_a_code_and_a_sentence_and_answers_false(void **state)
{
    (void)state;
    struct lp_err err = {0};

    assert_false(lp_err_set(&err, LP_ERR_LIMIT, "%s has %d servers", "pool 'chat'", 0));
    assert_int_equal(err.code, LP_ERR_LIMIT);
    assert_string_equal(err.text, "pool 'chat' has 0 servers");
    assert_false(lp_err_set(NULL, LP_ERR_SYSTEM, "nobody %s", "listens"));
}

static void a_sentence_that_is_too_long_is_cut(void **state)
{
    (void)state;
    struct lp_err err;
    char words[3000];

    memset(words, 'w', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';
    lp_err_set(&err, LP_ERR_CONFIG, "%s", words);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_memory_equal(err.text, words, sizeof(err.text) - 1);
}

static void a_sentence_may_quote_the_one_it_replaces(void **state)
{
    (void)state;
    struct lp_err err;

    lp_err_set(&err, LP_ERR_SYSTEM, "no such file");
    lp_err_set(&err, LP_ERR_CONFIG, "limpet.yaml:3: %s", err.text);
    assert_string_equal(err.text, "limpet.yaml:3: no such file");
}

/* --- memory --- */

static bool is_zero(const void *memory, size_t size)
{
    const char *bytes = memory;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void an_arena_gives_zeroed_aligned_memory_that_stays_apart(void **state)
{
    (void)state;
    struct lp_arena arena;
    struct dice dice = {1};
    static struct {
        unsigned char *bytes;
        size_t size;
    } pieces[2000];
    size_t size_sum = 0;

    lp_arena_init(&arena);
    for (size_t i = 0; i < LP_COUNT_OF(pieces); i++) {
        pieces[i].size = dice_below(&dice, i % 100 == 0 ? 50000 : 300);
        pieces[i].bytes = lp_arena_alloc(&arena, pieces[i].size);
        size_sum += pieces[i].size;
        assert_int_equal((uintptr_t)pieces[i].bytes % _Alignof(max_align_t), 0);
        assert_true(is_zero(pieces[i].bytes, pieces[i].size));
        memset(pieces[i].bytes, (int)(i % 255 + 1), pieces[i].size);
    }
    for (size_t i = 0; i < LP_COUNT_OF(pieces); i++)
        for (size_t j = 0; j < pieces[i].size; j++)
            if (pieces[i].bytes[j] != i % 255 + 1)
                fail_msg("piece %zu was written by another", i);
    assert_true(arena.bytes >= size_sum);
    lp_arena_deinit(&arena);
    assert_null(arena.chunks);
    assert_int_equal(arena.bytes, 0);
}

static void an_arena_that_gave_nothing_or_has_ended_may_end_again(void **state)
{
    (void)state;
    struct lp_arena arena;

    lp_arena_init(&arena);
    lp_arena_deinit(&arena);
    lp_arena_deinit(&arena);
    assert_non_null(lp_arena_alloc(&arena, 0));
    assert_non_null(lp_arena_alloc(&arena, 16384)); /* exactly one chunk, then one byte more */
    assert_non_null(lp_arena_alloc(&arena, 16385));
    lp_arena_deinit(&arena);
}

static void a_copy_ends_with_a_nul_and_outlives_its_original(void **state)
{
    (void)state;
    struct lp_arena arena;
    char original[] = "original";

    lp_arena_init(&arena);
    char *copy = lp_arena_copy(&arena, (struct lp_slice){original, 8});
    struct lp_slice slice = lp_arena_slice(&arena, (struct lp_slice){original, 4});
    memset(original, 'x', sizeof(original));
    assert_string_equal(copy, "original");
    assert_true(lp_slice_equal(slice, LP_SLICE("orig")));
    assert_int_equal(slice.data[4], '\0');
    assert_string_equal(lp_arena_copy(&arena, (struct lp_slice){NULL, 0}), "");
    lp_arena_deinit(&arena);
}

static void arrays_and_single_values_come_typed_from_an_arena(void **state)
{
    (void)state;
    struct lp_arena arena;

    lp_arena_init(&arena);
    uint64_t *one = LP_ARENA_NEW(&arena, uint64_t);
    uint64_t *many = LP_ARENA_ARRAY(&arena, uint64_t, 1000);
    assert_true(is_zero(one, sizeof(*one)));
    assert_true(is_zero(many, 1000 * sizeof(*many)));
    assert_true(one + 1 <= many || one >= many + 1000);
    lp_arena_deinit(&arena);
}

static void plain_memory_is_zeroed_and_begins_at_a_cache_line_when_asked(void **state)
{
    (void)state;

    for (size_t size = 0; size < 300; size += 13) {
        char *plain = lp_alloc(size), *lines = lp_alloc_lines(size);
        char *tried = lp_try_alloc(size);
        assert_true(is_zero(plain, size) && is_zero(lines, size));
        assert_int_equal((uintptr_t)lines % LP_CACHE_LINE, 0);
        assert_non_null(tried);
        plain = lp_realloc(plain, size + 1000);
        assert_true(is_zero(plain, size));
        memset(plain, 1, size + 1000);
        lp_free(plain);
        lp_free(lines);
        lp_free(tried);
    }
    lp_free(NULL);
}

/* The compiler would warn about a constant of this size. */
static volatile size_t too_much = SIZE_MAX - 20;

static void on_the_data_path_out_of_memory_is_null(void **state)
{
    (void)state;

    assert_null(lp_try_alloc(too_much));
    assert_null(lp_try_alloc(too_much / 2));
}

static void ask_alloc(void)
{
    lp_free(lp_alloc(too_much));
}

static void ask_realloc(void)
{
    lp_free(lp_realloc(NULL, too_much));
}

static void ask_alloc_lines(void)
{
    lp_free(lp_alloc_lines(too_much));
}

static void ask_arena(void)
{
    struct lp_arena arena;
    lp_arena_init(&arena);
    lp_arena_alloc(&arena, too_much);
}

static void ask_arena_for_less_than_its_overflow(void)
{
    struct lp_arena arena;
    lp_arena_init(&arena);
    lp_arena_alloc(&arena, too_much - 40);
}

static void out_of_memory_while_setting_up_ends_the_process_with_a_sentence(void **state)
{
    (void)state;
    static void (*const asks[])(void) = {ask_alloc, ask_realloc, ask_alloc_lines, ask_arena,
                                         ask_arena_for_less_than_its_overflow};

    for (size_t i = 0; i < LP_COUNT_OF(asks); i++) {
        struct child_end end = child_run(asks[i]);
        assert_true(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 1);
        assert_non_null(strstr(end.said, "limpet: error: out of memory"));
    }
}

/* --- log --- */

static void log_at_every_level(void)
{
    lp_log(LP_LOG_ERROR, "one %d", 1);
    lp_log(LP_LOG_WARNING, "two");
    lp_log(LP_LOG_INFO, "three");
    lp_log(LP_LOG_DEBUG, "four");
}

static void log_errors_only(void)
{
    lp_log_set_level(LP_LOG_ERROR);
    log_at_every_level();
}

static void log_everything(void)
{
    lp_log_set_level(LP_LOG_DEBUG);
    log_at_every_level();
}

static void a_line_names_its_level_and_lines_above_the_level_are_not_written(void **state)
{
    (void)state;

    assert_string_equal(child_run(log_at_every_level).said,
                        "limpet: error: one 1\nlimpet: warning: two\nlimpet: info: three\n");
    assert_string_equal(child_run(log_errors_only).said, "limpet: error: one 1\n");
    assert_string_equal(child_run(log_everything).said,
                        "limpet: error: one 1\nlimpet: warning: two\nlimpet: info: three\n"
                        "limpet: debug: four\n");
}

static void log_long_lines(void)
{
    char words[5000];

    memset(words, 'w', sizeof(words));
    for (int size = 2000; size < 2060; size += 3)
        lp_log(LP_LOG_INFO, "%.*s", size, words);
    lp_log(LP_LOG_INFO, "%.*s", (int)sizeof(words), words);
}

static void log_one_long_line(void)
{
    char words[5000];

    memset(words, 'w', sizeof(words));
    lp_log(LP_LOG_INFO, "%.*s", (int)sizeof(words), words);
    lp_log(LP_LOG_INFO, "short");
}

static void a_long_line_is_cut_at_2_kib_and_still_ends(void **state)
{
    (void)state;
    struct child_end end = child_run(log_one_long_line);
    const char *newline = strchr(end.said, '\n');

    assert_non_null(newline);
    assert_in_range(newline - end.said, 2000, 2048);
    assert_string_equal(newline + 1, "limpet: info: short\n");
    assert_int_equal(child_run(log_long_lines).status, 0);
}

static void log_without_standard_error(void)
{
    close(STDERR_FILENO);
    lp_log(LP_LOG_ERROR, "into the void");
}

static void without_standard_error_the_log_is_silent_and_harmless(void **state)
{
    (void)state;
    assert_int_equal(child_run(log_without_standard_error).status, 0);
}

static void *log_a_hundred_lines(void *letter)
{
    char line[200];

    memset(line, *(const char *)letter, sizeof(line));
    for (int i = 0; i < 100; i++)
        lp_log(LP_LOG_INFO, "%.*s", (int)sizeof(line), line);
    return NULL;
}

static void lines_of_several_threads_do_not_mix(void **state)
{
    (void)state;
    static const char prefix[] = "limpet: info: ";
    static char letters[] = {'a', 'b', 'c'};
    char line[300];
    uint32_t lines_count = 0;
    FILE *file = tmpfile();
    pthread_t threads[3];
    int saved = dup(STDERR_FILENO);

    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_a_hundred_lines, &letters[i]), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        lines_count++;
        assert_int_equal(strlen(line), sizeof(prefix) - 1 + 200 + 1);
        assert_memory_equal(line, prefix, sizeof(prefix) - 1);
        for (size_t i = sizeof(prefix) - 1; i < sizeof(prefix) - 1 + 200; i++)
            assert_int_equal(line[i], line[sizeof(prefix) - 1]);
    }
    fclose(file);
    assert_int_equal(lines_count, 300);
}

/* --- clock, and what must not happen --- */

static void the_clock_never_goes_back_and_its_units_agree(void **state)
{
    (void)state;
    uint64_t before_ns = lp_clock_ns();

    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t ms = lp_clock_ms(), ns = lp_clock_ns();
        assert_true(before_ns / 1000000 <= ms && ms <= ns / 1000000);
        before_ns = ns;
    }
    nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    assert_true(lp_clock_ns() - before_ns >= 3000000);
}

static void break_a_promise(void)
{
    LP_ASSERT(1 + 1 == 2);
    LP_ASSERT(too_much == 0);
}

static void half_a_time_is_made_whole_for_49_days(void **state)
{
    (void)state;
    const uint64_t day = 24ull * 3600 * 1000, now = 1000 * day + 12345;
    const uint64_t ago[] = {0, 1, day, 25 * day, 30 * day, 49 * day};

    for (size_t i = 0; i < LP_COUNT_OF(ago); i++)
        assert_int_equal(lp_clock_whole_ms(now, (uint32_t)(now - ago[i])), now - ago[i]);
    assert_int_equal(lp_clock_whole_ms(now, (uint32_t)(now + 1)), now + 1);
    assert_int_equal(lp_clock_whole_ms(now, (uint32_t)(now + 59999)), now + 59999);
}

static void a_broken_promise_is_named_and_stops_the_process(void **state)
{
    (void)state;
    struct child_end end = child_run(break_a_promise);

    assert_true(WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGABRT);
    assert_non_null(strstr(end.said, "limpet: bug: "));
    assert_non_null(strstr(end.said, "test_base.c"));
    assert_non_null(strstr(end.said, "too_much == 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_equal_when_every_byte_is),
        cmocka_unit_test(case_is_ignored_for_the_letters_of_ascii_only),
        cmocka_unit_test(a_nul_does_not_end_the_comparison_of_two_slices),
        cmocka_unit_test(trimming_takes_spaces_and_tabs_from_both_ends_and_nothing_else),
        cmocka_unit_test(a_list_keeps_the_order_in_which_links_were_pushed),
        cmocka_unit_test(a_link_may_be_removed_twice_and_knows_whether_it_is_linked),
        cmocka_unit_test(the_visited_link_may_be_removed),
        cmocka_unit_test(an_error_is_a_code_and_a_sentence_and_answers_false),
        cmocka_unit_test(a_sentence_that_is_too_long_is_cut),
        cmocka_unit_test(a_sentence_may_quote_the_one_it_replaces),
        cmocka_unit_test(an_arena_gives_zeroed_aligned_memory_that_stays_apart),
        cmocka_unit_test(an_arena_that_gave_nothing_or_has_ended_may_end_again),
        cmocka_unit_test(a_copy_ends_with_a_nul_and_outlives_its_original),
        cmocka_unit_test(arrays_and_single_values_come_typed_from_an_arena),
        cmocka_unit_test(plain_memory_is_zeroed_and_begins_at_a_cache_line_when_asked),
        cmocka_unit_test(on_the_data_path_out_of_memory_is_null),
        cmocka_unit_test(out_of_memory_while_setting_up_ends_the_process_with_a_sentence),
        cmocka_unit_test(a_line_names_its_level_and_lines_above_the_level_are_not_written),
        cmocka_unit_test(a_long_line_is_cut_at_2_kib_and_still_ends),
        cmocka_unit_test(without_standard_error_the_log_is_silent_and_harmless),
        cmocka_unit_test(lines_of_several_threads_do_not_mix),
        cmocka_unit_test(the_clock_never_goes_back_and_its_units_agree),
        cmocka_unit_test(half_a_time_is_made_whole_for_49_days),
        cmocka_unit_test(a_broken_promise_is_named_and_stops_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
