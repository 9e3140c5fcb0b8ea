/* pool: a name finds its own object or nothing, and memory goes back. */
#include "base/pool.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/child.h"
#include "tests/unit/dice.h"

/* gcc says it by a macro, clang by a feature. */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>

/* Lets a test ask for more than there is, and get NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=4096";
}
#endif

struct thing {
    uint64_t word;
    char rest[120];
};
static_assert(sizeof(struct thing) % LP_CACHE_LINE == 0, "whole cache lines");

static uint32_t slabs_held(const struct lp_pool *pool)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < pool->slabs_count; i++)
        count += pool->slabs[i] != NULL;
    return count;
}

/* Gets count objects, marked with their position. */
static void get_many(struct lp_pool *pool, struct lp_pool_name *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct thing *thing = lp_pool_get(pool, &names[i]);
        assert_non_null(thing);
        thing->word = i;
    }
}

static void put_many(struct lp_pool *pool, const struct lp_pool_name *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        lp_pool_put(pool, names[i].slot);
}

static void a_name_finds_its_object(void **state)
{
    (void)state;
    struct lp_pool pool;
    struct lp_pool_name names[1000];

    lp_pool_init(&pool, sizeof(struct thing));
    get_many(&pool, names, 1000);
    assert_int_equal(pool.used_count, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        const struct thing *thing = lp_pool_find(&pool, names[i]);
        assert_non_null(thing);
        assert_int_equal(thing->word, i);
    }
    put_many(&pool, names, 1000);
    assert_int_equal(pool.used_count, 0);
    lp_pool_deinit(&pool);
}

static void an_object_is_zeroed_each_time_it_is_given(void **state)
{
    (void)state;
    static const struct thing zero;
    struct lp_pool pool;

    lp_pool_init(&pool, sizeof(struct thing));
    for (uint32_t i = 0; i < 200; i++) {
        struct lp_pool_name name;
        struct thing *thing = lp_pool_get(&pool, &name);
        assert_memory_equal(thing, &zero, sizeof(zero));
        memset(thing, 0xee, sizeof(*thing));
        lp_pool_put(&pool, name.slot);
    }
    lp_pool_deinit(&pool);
}

static void objects_of_whole_cache_lines_begin_at_one(void **state)
{
    (void)state;
    struct lp_pool pool;
    struct lp_pool_name names[130];

    lp_pool_init(&pool, sizeof(struct thing));
    get_many(&pool, names, 130);
    for (uint32_t i = 0; i < 130; i++)
        assert_int_equal((uintptr_t)lp_pool_find(&pool, names[i]) % LP_CACHE_LINE, 0);
    put_many(&pool, names, 130);
    lp_pool_deinit(&pool);
}

static void objects_of_any_size_are_aligned_for_any_type_and_apart(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 7, 16, 17, 100, 4097};

    for (uint32_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct lp_pool pool;
        struct lp_pool_name names[100];
        lp_pool_init(&pool, sizes[i]);
        for (uint32_t j = 0; j < 100; j++) {
            char *object = lp_pool_get(&pool, &names[j]);
            assert_int_equal((uintptr_t)object % _Alignof(max_align_t), 0);
            memset(object, (int)j, sizes[i]);
        }
        for (uint32_t j = 0; j < 100; j++) {
            const char *object = lp_pool_find(&pool, names[j]);
            assert_int_equal(object[0], j);
            assert_int_equal(object[sizes[i] - 1], j);
        }
        put_many(&pool, names, 100);
        lp_pool_deinit(&pool);
    }
}

static void a_name_older_than_the_object_in_its_slot_finds_nothing(void **state)
{
    (void)state;
    struct lp_pool pool;
    struct lp_pool_name old, new;

    lp_pool_init(&pool, sizeof(struct thing));
    lp_pool_get(&pool, &old);
    lp_pool_put(&pool, old.slot);
    assert_null(lp_pool_find(&pool, old));
    assert_non_null(lp_pool_get(&pool, &new));
    assert_int_equal(new.slot, old.slot);
    assert_int_not_equal(new.generation, old.generation);
    assert_null(lp_pool_find(&pool, old));
    assert_non_null(lp_pool_find(&pool, new));
    lp_pool_put(&pool, new.slot);
    lp_pool_deinit(&pool);
}

static void names_that_were_never_given_find_nothing(void **state)
{
    (void)state;
    static const struct lp_pool_name names[] = {
        {0, 0}, {0, 2}, {1, 1}, {255, 1}, {256, 1}, {0, 0}, {1, 0}, {0, 1u << 24}, {UINT32_MAX, 1}};
    struct lp_pool pool;
    struct lp_pool_name name;

    lp_pool_init(&pool, sizeof(struct thing));
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++)
        assert_null(lp_pool_find(&pool, names[i]));
    lp_pool_get(&pool, &name);
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++)
        assert_null(lp_pool_find(&pool, names[i]));
    lp_pool_put(&pool, name.slot);
    lp_pool_deinit(&pool);
}

static void empty_slabs_are_given_back_but_for_one(void **state)
{
    (void)state;
    struct lp_pool pool;
    static struct lp_pool_name names[5000];

    lp_pool_init(&pool, sizeof(struct thing));
    for (uint32_t round = 0; round < 3; round++) {
        get_many(&pool, names, 5000);
        assert_in_range(slabs_held(&pool), 5000 / LP_POOL_SLAB_OBJECTS,
                        5000 / LP_POOL_SLAB_OBJECTS + 1);
        put_many(&pool, names, 5000);
        assert_int_equal(slabs_held(&pool), 1);
    }
    lp_pool_deinit(&pool);
}

static void a_name_finds_nothing_after_its_slab_was_given_back(void **state)
{
    (void)state;
    struct lp_pool pool;
    static struct lp_pool_name old[1000], new[1000];

    lp_pool_init(&pool, sizeof(struct thing));
    get_many(&pool, old, 1000);
    put_many(&pool, old, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        assert_null(lp_pool_find(&pool, old[i]));
    get_many(&pool, new, 1000); /* in the same slots, in other memory */
    for (uint32_t i = 0; i < 1000; i++)
        assert_null(lp_pool_find(&pool, old[i]));
    put_many(&pool, new, 1000);
    lp_pool_deinit(&pool);
}

static void slots_stay_as_small_as_what_was_in_use_at_once(void **state)
{
    (void)state;
    struct lp_pool pool;
    struct dice dice = {3};
    static struct lp_pool_name names[640];
    uint32_t slots_max = 0;

    lp_pool_init(&pool, sizeof(struct thing));
    for (uint32_t round = 0; round < 50; round++) {
        uint32_t count = 1 + dice_below(&dice, 640);
        get_many(&pool, names, count);
        for (uint32_t i = 0; i < count; i++)
            slots_max = names[i].slot > slots_max ? names[i].slot : slots_max;
        put_many(&pool, names, count);
    }
    assert_true(slots_max < 640 + LP_POOL_SLAB_OBJECTS);
    lp_pool_deinit(&pool);
}

static void one_object_that_comes_and_goes_keeps_its_slab(void **state)
{
    (void)state;
    struct lp_pool pool;
    struct lp_pool_name name;

    lp_pool_init(&pool, sizeof(struct thing));
    const void *first = lp_pool_get(&pool, &name);
    lp_pool_put(&pool, name.slot);
    for (uint32_t i = 0; i < 10; i++) {
        assert_ptr_equal(lp_pool_get(&pool, &name), first);
        lp_pool_put(&pool, name.slot);
    }
    lp_pool_deinit(&pool);
}

static void generations_begin_again_at_one_and_never_are_zero(void **state)
{
    (void)state;
    const uint32_t last = (1u << LP_POOL_GENERATION_BITS) - 1;
    struct lp_pool pool;
    struct lp_pool_name name;

    lp_pool_init(&pool, sizeof(struct thing));
    lp_pool_get(&pool, &name);
    assert_int_equal(name.generation, 1);
    lp_pool_put(&pool, name.slot);
    pool.generation = last - 1;
    lp_pool_get(&pool, &name);
    assert_int_equal(name.generation, last);
    lp_pool_put(&pool, name.slot);
    lp_pool_get(&pool, &name);
    assert_int_equal(name.generation, 1);
    assert_non_null(lp_pool_find(&pool, name));
    lp_pool_put(&pool, name.slot);
    lp_pool_deinit(&pool);
}

static void mark_visited(void *object, void *context)
{
    struct thing *thing = object;
    uint32_t *visits = context;
    visits[thing->word]++;
}

static void each_object_in_use_is_visited_once_and_no_other(void **state)
{
    (void)state;
    struct lp_pool pool;
    struct lp_pool_name names[500];
    uint32_t visits[500] = {0};

    lp_pool_init(&pool, sizeof(struct thing));
    lp_pool_each(&pool, mark_visited, visits);
    get_many(&pool, names, 500);
    for (uint32_t i = 0; i < 500; i++) /* every third, and whole slabs */
        if (i % 3 == 0 || (i >= 128 && i < 320))
            lp_pool_put(&pool, names[i].slot);
    lp_pool_each(&pool, mark_visited, visits);
    for (uint32_t i = 0; i < 500; i++)
        assert_int_equal(visits[i], i % 3 == 0 || (i >= 128 && i < 320) ? 0 : 1);
    for (uint32_t i = 0; i < 500; i++)
        if (visits[i] == 1)
            lp_pool_put(&pool, names[i].slot);
    lp_pool_deinit(&pool);
}

/* --- at random --- */

#define LIVES 700u

struct life {
    bool is_used;
    struct lp_pool_name name, former; /* the object it had before */
    struct thing *thing;
    uint64_t mark;
};

static void change_life(struct lp_pool *pool, struct life *life, uint64_t mark)
{
    if (life->is_used) {
        lp_pool_put(pool, life->name.slot);
        life->former = life->name;
    } else {
        life->thing = lp_pool_get(pool, &life->name);
        assert_non_null(life->thing);
        life->thing->word = life->mark = mark;
    }
    life->is_used = !life->is_used;
}

static void check_lives(const struct lp_pool *pool, const struct life *lives)
{
    uint32_t used_count = 0;

    for (uint32_t i = 0; i < LIVES; i++) {
        const struct life *life = &lives[i];
        used_count += life->is_used;
        assert_null(lp_pool_find(pool, life->former));
        if (!life->is_used)
            continue;
        assert_ptr_equal(lp_pool_find(pool, life->name), life->thing);
        assert_true(life->thing->word == life->mark);
    }
    assert_int_equal(pool->used_count, used_count);
    assert_true(slabs_held(pool) <= used_count + 1);
}

static void at_random_every_name_finds_its_own_object_or_nothing(void **state)
{
    (void)state;
    static struct life lives[LIVES];
    struct dice dice = {7};
    struct lp_pool pool;

    lp_pool_init(&pool, sizeof(struct thing));
    for (uint32_t step = 0; step < 60000; step++) {
        /* Tides: mostly getting, then mostly putting, so that slabs come and go. */
        bool wants_used = step / 3000 % 2 == 0;
        struct life *life = &lives[dice_below(&dice, LIVES)];
        if (life->is_used != wants_used || dice_below(&dice, 8) == 0)
            change_life(&pool, life, dice_roll(&dice));
        if (step % 200 == 0)
            check_lives(&pool, lives);
    }
    for (uint32_t i = 0; i < LIVES; i++)
        if (lives[i].is_used)
            change_life(&pool, &lives[i], 0);
    check_lives(&pool, lives);
    lp_pool_deinit(&pool);
}

/* --- what must not happen --- */

static void put_twice(void)
{
    struct lp_pool pool;
    struct lp_pool_name name;

    lp_pool_init(&pool, sizeof(struct thing));
    lp_pool_get(&pool, &name);
    lp_pool_put(&pool, name.slot);
    lp_pool_put(&pool, name.slot);
}

static void an_object_that_is_put_twice_stops_the_process(void **state)
{
    (void)state;
    struct child_end end = child_run(put_twice);

    assert_true(WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGABRT);
    assert_non_null(strstr(end.said, "base/pool.c"));
}

static void deinit_with_a_used_object(void)
{
    struct lp_pool pool;
    struct lp_pool_name name;

    lp_pool_init(&pool, sizeof(struct thing));
    lp_pool_get(&pool, &name);
    lp_pool_deinit(&pool);
}

static void a_pool_that_ends_before_its_objects_stops_the_process(void **state)
{
    (void)state;
    struct child_end end = child_run(deinit_with_a_used_object);

    assert_true(WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGABRT);
    assert_non_null(strstr(end.said, "used_count == 0"));
}

static void the_address_sanitizer_sees_a_stale_pointer(void **state)
{
    (void)state;
#ifdef HAS_ASAN
    struct lp_pool pool;
    struct lp_pool_name names[2];

    lp_pool_init(&pool, sizeof(struct thing));
    char *kept = lp_pool_get(&pool, &names[0]);
    char *stale = lp_pool_get(&pool, &names[1]);
    assert_false(__asan_address_is_poisoned(stale));
    lp_pool_put(&pool, names[1].slot);
    assert_true(__asan_address_is_poisoned(stale));
    assert_true(__asan_address_is_poisoned(stale + sizeof(struct thing) - 1));
    assert_false(__asan_address_is_poisoned(kept));
    lp_pool_put(&pool, names[0].slot);
    lp_pool_deinit(&pool);
#else
    skip();
#endif
}

static void out_of_memory_gives_null_and_leaves_the_pool_as_it_was(void **state)
{
    (void)state;
#ifdef HAS_ASAN
    struct lp_pool pool;
    struct lp_pool_name name = {5, 6};

    lp_pool_init(&pool, 1u << 30);
    for (uint32_t i = 0; i < 3; i++)
        assert_null(lp_pool_get(&pool, &name));
    assert_int_equal(pool.used_count, 0);
    assert_int_equal(slabs_held(&pool), 0);
    lp_pool_deinit(&pool);
#else
    skip(); /* without the sanitizer's limit the memory might be had */
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_finds_its_object),
        cmocka_unit_test(an_object_is_zeroed_each_time_it_is_given),
        cmocka_unit_test(objects_of_whole_cache_lines_begin_at_one),
        cmocka_unit_test(objects_of_any_size_are_aligned_for_any_type_and_apart),
        cmocka_unit_test(a_name_older_than_the_object_in_its_slot_finds_nothing),
        cmocka_unit_test(names_that_were_never_given_find_nothing),
        cmocka_unit_test(empty_slabs_are_given_back_but_for_one),
        cmocka_unit_test(a_name_finds_nothing_after_its_slab_was_given_back),
        cmocka_unit_test(slots_stay_as_small_as_what_was_in_use_at_once),
        cmocka_unit_test(one_object_that_comes_and_goes_keeps_its_slab),
        cmocka_unit_test(generations_begin_again_at_one_and_never_are_zero),
        cmocka_unit_test(each_object_in_use_is_visited_once_and_no_other),
        cmocka_unit_test(at_random_every_name_finds_its_own_object_or_nothing),
        cmocka_unit_test(an_object_that_is_put_twice_stops_the_process),
        cmocka_unit_test(a_pool_that_ends_before_its_objects_stops_the_process),
        cmocka_unit_test(the_address_sanitizer_sees_a_stale_pointer),
        cmocka_unit_test(out_of_memory_gives_null_and_leaves_the_pool_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
