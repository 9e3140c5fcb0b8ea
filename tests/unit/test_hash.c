/* hash: what is a key, which pools are refused, and that the ranking is the one of the
 * specification, however it is asked for. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "tests/unit/servers.h"

/* --- keys --- */

static void a_key_without_bytes_has_a_hash_even_without_a_pointer(void **state)
{
    (void)state;
    struct lp_slice nothing = {NULL, 0};

    assert_true(lp_hash_key(nothing, 7) == XXH3_64bits_withSeed("", 0, 7));
    assert_true(lp_hash_key(LP_SLICE(""), 7) == lp_hash_key(nothing, 7));
}

static void a_key_has_another_hash_under_another_seed(void **state)
{
    (void)state;
    char text[600];
    struct dice dice = {1};

    for (size_t size = 0; size < sizeof(text); size++) {
        struct lp_slice key = {text, size};
        text[size] = (char)dice_roll(&dice);
        assert_true(lp_hash_key(key, 0) == XXH3_64bits(text, size));
        assert_true(lp_hash_key(key, size + 1) == XXH3_64bits_withSeed(text, size, size + 1));
        assert_true(lp_hash_key(key, 0) != lp_hash_key(key, 1));
    }
}

static void the_seed_of_a_secret_is_the_hash_of_its_bytes_without_one_newline(void **state)
{
    (void)state;

    assert_true(lp_hash_seed(LP_SLICE("secret\n")) == XXH3_64bits("secret", 6));
    assert_true(lp_hash_seed(LP_SLICE("secret")) == XXH3_64bits("secret", 6));
    assert_true(lp_hash_seed(LP_SLICE("secret\n\n")) == XXH3_64bits("secret\n", 7));
    assert_true(lp_hash_seed(LP_SLICE("secret\r\n")) == XXH3_64bits("secret\r", 7));
    assert_true(lp_hash_seed(LP_SLICE("\n")) == XXH3_64bits("", 0));
    assert_true(lp_hash_seed((struct lp_slice){NULL, 0}) == XXH3_64bits("", 0));
}

static struct lp_ip ip_of(const char *text)
{
    struct lp_ip ip;

    assert_true(lp_ip_parse(&ip, lp_slice_of(text)));
    return ip;
}

static void the_key_of_an_address_is_its_bytes_with_zeros_behind_the_prefix(void **state)
{
    (void)state;
    struct lp_ip four = {.family = 4}, six = {.family = 6};

    memset(four.bytes, 0xff, 4);
    memset(six.bytes, 0xff, 16);
    for (uint32_t prefix = 0; prefix <= 128; prefix++) {
        uint8_t key[16];
        memset(key, 0x55, sizeof(key));
        assert_int_equal(lp_hash_ip_key(key, &six, 0, (uint8_t)prefix), 16);
        for (uint32_t bit = 0; bit < 128; bit++)
            assert_int_equal(key[bit / 8] >> (7 - bit % 8) & 1, bit < prefix);
        if (prefix > 32)
            continue;
        memset(key, 0x55, sizeof(key));
        assert_int_equal(lp_hash_ip_key(key, &four, (uint8_t)prefix, 0), 4);
        for (uint32_t bit = 0; bit < 32; bit++)
            assert_int_equal(key[bit / 8] >> (7 - bit % 8) & 1, bit < prefix);
        assert_int_equal(key[4], 0x55);
    }
}

static void addresses_that_are_one_client_are_one_key(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"192.0.2.1", "::ffff:192.0.2.1"},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"},
    };

    for (size_t i = 0; i < LP_COUNT_OF(pairs); i++) {
        struct lp_ip a = ip_of(pairs[i][0]), b = ip_of(pairs[i][1]);
        uint8_t key_a[16], key_b[16];
        uint32_t size = lp_hash_ip_key(key_a, &a, 32, 64);
        assert_int_equal(lp_hash_ip_key(key_b, &b, 32, 64), size);
        assert_memory_equal(key_a, key_b, size);
    }
}

static void a_peer_without_an_address_has_no_key(void **state)
{
    (void)state;
    struct lp_ip nobody = {0};
    uint8_t key[16];

    assert_int_equal(lp_hash_ip_key(key, &nobody, 32, 64), 0);
}

/* --- building --- */

static void a_pool_without_servers_is_refused(void **state)
{
    (void)state;
    struct lp_hash_table *table = NULL;
    struct lp_err err = {0};

    assert_false(lp_hash_build(&table, NULL, 0, 0, &err));
    assert_int_equal(err.code, LP_ERR_CONFIG);
    assert_non_null(strstr(err.text, "0 servers"));
    assert_null(table);
    assert_false(lp_hash_build(&table, NULL, 0, 0, NULL));
}

/* count members "0", "1", ... in memory to be freed. */
static struct lp_hash_member *numbered_members(uint32_t count)
{
    struct lp_hash_member *members = malloc(count * (sizeof(*members) + 8));
    char *ids = (char *)(members + count);

    assert_non_null(members);
    for (uint32_t i = 0; i < count; i++) {
        int size = snprintf(ids + (size_t)8 * i, 8, "%u", i);
        members[i] = (struct lp_hash_member){{ids + (size_t)8 * i, (size_t)size}, 256};
    }
    return members;
}

static void a_pool_may_have_65535_servers_and_no_more(void **state)
{
    (void)state;
    struct lp_hash_member *members = numbered_members(LP_POOL_SERVERS_MAX + 1);
    struct lp_hash_table *table = NULL;
    struct lp_err err = {0};
    uint32_t rank;

    assert_false(lp_hash_build(&table, members, LP_POOL_SERVERS_MAX + 1, 0, &err));
    assert_non_null(strstr(err.text, "65536"));
    assert_true(lp_hash_build(&table, members, LP_POOL_SERVERS_MAX, 0, &err));
    for (uint32_t i = 0; i < 30; i++) {
        uint64_t hash = (uint64_t)i * 0x9e3779b97f4a7c15u;
        uint32_t home = lp_hash_home(table, hash);
        assert_int_equal(lp_hash_rank(table, hash, &rank, 1), 1);
        assert_int_equal(rank, home);
        assert_int_equal(lp_hash_home(table, hash), home);
    }
    lp_hash_destroy(table);
    free(members);
}

/* The candidate that is written last into the table of homes has the largest number there is. */
static void the_last_of_65535_servers_is_found_again(void **state)
{
    (void)state;
    struct lp_hash_member *members = numbered_members(LP_POOL_SERVERS_MAX);
    struct lp_hash_table *table;
    uint32_t found_count = 0;

    for (uint32_t i = 0; i < LP_POOL_SERVERS_MAX; i++)
        members[i].weight = 1;
    members[777].weight = LP_WEIGHT_MAX * 256; /* sorted last, and nearly every slot's home */
    assert_true(lp_hash_build(&table, members, LP_POOL_SERVERS_MAX, 0, NULL));
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t home = lp_hash_home(table, hash_in_slot(i * 1000));
        found_count += home == 777;
        assert_int_equal(lp_hash_home(table, hash_in_slot(i * 1000)), home); /* remembered now */
    }
    assert_true(found_count > 15);
    lp_hash_destroy(table);
    free(members);
}

static void an_id_has_1_to_255_bytes(void **state)
{
    (void)state;
    char id[300];
    struct lp_hash_table *table = NULL;
    struct lp_err err = {0};

    memset(id, 'i', sizeof(id));
    for (size_t size = 0; size < sizeof(id); size++) {
        struct lp_hash_member members[] = {{LP_SLICE("first"), 1}, {{id, size}, 1}};
        bool is_allowed = size >= 1 && size <= 255;
        assert_int_equal(lp_hash_build(&table, members, 2, 0, &err), is_allowed);
        if (is_allowed)
            lp_hash_destroy(table);
        else
            assert_int_equal(err.code, LP_ERR_CONFIG);
    }
}

static void two_servers_of_one_id_are_refused_by_name(void **state)
{
    (void)state;
    struct lp_hash_table *table = NULL;
    struct lp_err err = {0};

    for (uint32_t i = 0; i < 20; i++) {
        for (uint32_t j = i + 1; j < 20; j++) {
            struct lp_hash_member *members = numbered_members(20);
            members[i].id = members[j].id = LP_SLICE("twin");
            members[i].weight = 0; /* even when it takes no keys */
            assert_false(lp_hash_build(&table, members, 20, 0, &err));
            assert_non_null(strstr(err.text, "\"twin\""));
            free(members);
        }
    }
}

static void ids_that_differ_in_case_length_or_a_nul_are_different(void **state)
{
    (void)state;
    struct lp_hash_member members[] = {{LP_SLICE("web"), 1},    {LP_SLICE("Web"), 1},
                                       {LP_SLICE("web-"), 1},   {LP_SLICE("web\0"), 1},
                                       {LP_SLICE("web\0a"), 1}, {LP_SLICE("w\xff"), 1}};
    struct lp_hash_table *table;

    assert_true(lp_hash_build(&table, members, LP_COUNT_OF(members), 0, NULL));
    lp_hash_destroy(table);
}

static void the_list_of_servers_may_go_after_building(void **state)
{
    (void)state;
    struct lp_hash_member *members = numbered_members(100);
    struct lp_hash_table *kept, *fresh;

    assert_true(lp_hash_build(&kept, members, 100, 3, NULL));
    memset(members, 0x55, 100 * (sizeof(*members) + 8));
    free(members);
    members = numbered_members(100);
    assert_true(lp_hash_build(&fresh, members, 100, 3, NULL));
    assert_true(lp_hash_equal(kept, fresh));
    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot += 1111)
        assert_int_equal(lp_hash_home(kept, hash_in_slot(slot)),
                         lp_hash_home(fresh, hash_in_slot(slot)));
    lp_hash_destroy(kept);
    lp_hash_destroy(fresh);
    free(members);
}

static bool accept_all(void *context, uint32_t index)
{
    (void)context;
    (void)index;
    return true;
}

static bool accept_none(void *context, uint32_t index)
{
    (void)context;
    (void)index;
    return false;
}

static void without_any_weight_no_key_has_a_home(void **state)
{
    (void)state;
    struct servers servers = servers_equal(100, 0);
    struct lp_hash_table *table = table_of(&servers);
    uint32_t rank[4];

    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot += 99999) {
        assert_true(lp_hash_home(table, hash_in_slot(slot)) == LP_HASH_NONE);
        assert_true(lp_hash_pick(table, hash_in_slot(slot), accept_all, NULL) == LP_HASH_NONE);
        assert_int_equal(lp_hash_rank(table, hash_in_slot(slot), rank, 4), 0);
    }
    lp_hash_destroy(table);
}

static void a_single_server_is_the_home_of_every_key(void **state)
{
    (void)state;
    struct servers servers = servers_equal(1, LP_WEIGHT_MAX * 256);
    struct lp_hash_table *table = table_of(&servers);

    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot += 101)
        assert_int_equal(lp_hash_home(table, hash_in_slot(slot)), 0);
    lp_hash_destroy(table);
}

static void tables_are_equal_when_order_ids_weights_and_seed_are(void **state)
{
    (void)state;
    struct servers servers = servers_equal(10, 256), heavier = servers, shorter = servers,
                   swapped = servers, renamed = servers;
    servers_weigh(&heavier, 5, 512);
    servers_remove(&shorter, 9);
    swapped.numbers[0] = 1;
    swapped.numbers[1] = 0;
    renamed.numbers[3] = 33;
    struct lp_hash_table *table = table_of(&servers);
    struct lp_hash_table *others[] = {table_of(&heavier), table_of(&shorter), table_of(&swapped),
                                      table_of(&renamed), table_with_seed(&servers, 1)};
    struct lp_hash_table *same = table_of(&servers);

    assert_true(lp_hash_equal(table, same));
    assert_true(lp_hash_equal(table, table));
    for (size_t i = 0; i < LP_COUNT_OF(others); i++) {
        assert_false(lp_hash_equal(table, others[i]));
        assert_false(lp_hash_equal(others[i], table));
        lp_hash_destroy(others[i]);
    }
    lp_hash_destroy(same);
    lp_hash_destroy(table);
}

/* --- the ranking, against one as plain as the specification --- */

struct plain {
    uint32_t index, weight;
    uint64_t hash;
    const char *id;
};

static int plain_order(const void *a, const void *b)
{
    const struct plain *x = a, *y = b;
    unsigned __int128 left = (unsigned __int128)lp_hash_cost_q40(x->hash) * y->weight;
    unsigned __int128 right = (unsigned __int128)lp_hash_cost_q40(y->hash) * x->weight;

    if (left != right)
        return left < right ? -1 : 1;
    if (x->hash != y->hash)
        return x->hash > y->hash ? -1 : 1;
    return strcmp(x->id, y->id);
}

/* Step by step as in HASHING, section 3, with the library's XXH3. Gives the count. */
static uint32_t plain_rank(const struct servers *servers, uint64_t seed, uint32_t slot,
                           uint32_t *out)
{
    static struct plain all[SERVERS_MAX];
    static char ids[SERVERS_MAX][16];
    uint32_t count = 0;
    uint8_t bytes[8] = {(uint8_t)slot, (uint8_t)(slot >> 8), (uint8_t)(slot >> 16)};

    for (uint32_t i = 0; i < servers->count; i++) {
        if (servers->weights[i] == 0)
            continue;
        size_t size = server_id(servers->numbers[i], ids[i]);
        uint64_t own_seed = XXH3_64bits_withSeed(ids[i], size, seed);
        all[count++] = (struct plain){i, servers->weights[i],
                                      XXH3_64bits_withSeed(bytes, sizeof(bytes), own_seed), ids[i]};
    }
    qsort(all, count, sizeof(*all), plain_order);
    for (uint32_t i = 0; i < count; i++)
        out[i] = all[i].index;
    return count;
}

static void check_ranks(const struct servers *servers, uint64_t seed, uint32_t slots_count,
                        struct dice *dice)
{
    struct lp_hash_table *table = table_with_seed(servers, seed);

    for (uint32_t i = 0; i < slots_count; i++) {
        static uint32_t expected[SERVERS_MAX], ranked[SERVERS_MAX];
        uint64_t hash = dice_roll(dice);
        uint32_t count = plain_rank(servers, seed, (uint32_t)(hash >> 44), expected);
        assert_int_equal(lp_hash_rank(table, hash, ranked, SERVERS_MAX), count);
        assert_memory_equal(ranked, expected, count * sizeof(*ranked));
        assert_int_equal(lp_hash_home(table, hash), expected[0]);
        assert_int_equal(lp_hash_pick(table, hash, accept_all, NULL), expected[0]);
        assert_int_equal(lp_hash_home(table, hash), expected[0]);
    }
    lp_hash_destroy(table);
}

static void equal_servers_rank_by_the_xxh3_of_the_library(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 10, 63, 64, 65, 66, 300, 1000};
    struct dice dice = {21};

    for (size_t i = 0; i < LP_COUNT_OF(counts); i++) {
        struct servers servers = servers_equal(counts[i], 256);
        check_ranks(&servers, 0, 200, &dice);
        check_ranks(&servers, dice_roll(&dice), 200, &dice);
    }
}

static void servers_of_any_weights_rank_as_specified(void **state)
{
    (void)state;
    struct dice dice = {22};

    for (uint32_t round = 0; round < 60; round++) {
        static const uint32_t weights_max[] = {2, 4, 1000, LP_WEIGHT_MAX * 256 + 1};
        struct servers servers = {0};
        uint32_t count = 1 + dice_below(&dice, round % 2 == 0 ? 12 : 200);
        for (uint32_t i = 0; i < count; i++)
            servers_add(&servers, dice_below(&dice, 30) + i * 30,
                        dice_below(&dice, weights_max[round % 4]));
        servers.weights[0] = LP_WEIGHT_MAX * 256;
        check_ranks(&servers, dice_roll(&dice), 60, &dice);
    }
}

static void only_the_ratios_of_weights_matter(void **state)
{
    (void)state;
    struct dice dice = {23};
    struct servers plain = {0}, scaled = {0};

    for (uint32_t i = 0; i < 90; i++) {
        uint32_t weight = dice_below(&dice, 50);
        servers_add(&plain, i, weight);
        servers_add(&scaled, i, weight * 335543); /* up to nearly LP_WEIGHT_MAX * 256 */
    }
    struct lp_hash_table *a = table_of(&plain), *b = table_of(&scaled);
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t rank_a[90], rank_b[90];
        uint64_t hash = dice_roll(&dice);
        uint32_t count = lp_hash_rank(a, hash, rank_a, 90);
        assert_int_equal(lp_hash_rank(b, hash, rank_b, 90), count);
        assert_memory_equal(rank_a, rank_b, count * sizeof(*rank_a));
        assert_int_equal(lp_hash_home(a, hash), lp_hash_home(b, hash));
    }
    lp_hash_destroy(a);
    lp_hash_destroy(b);
}

static void a_shorter_rank_is_the_beginning_of_the_longer(void **state)
{
    (void)state;
    struct servers servers = servers_equal(20, 7);
    struct lp_hash_table *table = table_of(&servers);

    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot += 54321) {
        uint32_t all[20];
        assert_int_equal(lp_hash_rank(table, hash_in_slot(slot), all, 20), 20);
        for (uint32_t max = 0; max < 20; max++) {
            uint32_t some[20] = {0};
            some[max] = 4711;
            assert_int_equal(lp_hash_rank(table, hash_in_slot(slot), some, max), max);
            assert_memory_equal(some, all, max * sizeof(*some));
            assert_int_equal(some[max], 4711);
        }
    }
    lp_hash_destroy(table);
}

static void keys_of_one_slot_share_their_home(void **state)
{
    (void)state;
    struct servers servers = servers_equal(70, 1);
    struct lp_hash_table *table = table_of(&servers);

    for (uint32_t slot = 0; slot < SLOTS_COUNT; slot += 1013) {
        uint64_t hash = hash_in_slot(slot);
        assert_int_equal(lp_hash_home(table, hash), lp_hash_home(table, hash | 0xfffffffffff));
    }
    lp_hash_destroy(table);
}

/* --- asking who is eligible --- */

struct poll {
    const struct servers *servers;
    bool is_down[SERVERS_MAX]; /* by index */
    uint32_t asked[SERVERS_MAX];
    uint32_t asked_count, first_asked;
};

static bool poll_answer(void *context, uint32_t index)
{
    struct poll *poll = context;

    if (poll->asked_count++ == 0)
        poll->first_asked = index;
    poll->asked[index]++;
    return !poll->is_down[index];
}

static void check_poll(const struct lp_hash_table *table, const struct servers *servers,
                       struct poll *poll, uint64_t hash)
{
    static uint32_t rank[SERVERS_MAX];
    uint32_t count = lp_hash_rank(table, hash, rank, SERVERS_MAX), expected = LP_HASH_NONE;

    for (uint32_t i = count; i > 0; i--)
        if (!poll->is_down[rank[i - 1]])
            expected = rank[i - 1];
    memset(poll->asked, 0, sizeof(poll->asked));
    poll->asked_count = 0;
    assert_true(lp_hash_pick(table, hash, poll_answer, poll) == expected);
    assert_int_equal(poll->first_asked, rank[0]);
    for (uint32_t i = 0; i < servers->count; i++)
        assert_true(poll->asked[i] <= (servers->weights[i] > 0 ? 1u : 0u));
    if (!poll->is_down[rank[0]])
        assert_int_equal(poll->asked_count, 1);
}

static void the_first_eligible_in_rank_is_picked_and_nobody_asked_twice(void **state)
{
    (void)state;
    struct dice dice = {31};
    static struct poll poll;

    for (uint32_t round = 0; round < 200; round++) {
        struct servers servers = {0};
        uint32_t count = 1 + dice_below(&dice, round % 2 == 0 ? 10 : 150);
        for (uint32_t i = 0; i < count; i++)
            servers_add(&servers, i, dice_below(&dice, round % 3 == 0 ? 2 : 4));
        servers.weights[0] = 1;
        struct lp_hash_table *table = table_of(&servers);
        for (uint32_t i = 0; i < 20; i++) {
            uint32_t down_of_ten = dice_below(&dice, 11);
            for (uint32_t j = 0; j < count; j++)
                poll.is_down[j] = dice_below(&dice, 10) < down_of_ten;
            check_poll(table, &servers, &poll, dice_roll(&dice));
        }
        lp_hash_destroy(table);
    }
}

static void nobody_is_picked_when_nobody_is_eligible(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 10, 100};

    for (size_t i = 0; i < LP_COUNT_OF(counts); i++) {
        struct servers servers = servers_equal(counts[i], 1);
        struct lp_hash_table *table = table_of(&servers);
        for (uint32_t slot = 0; slot < SLOTS_COUNT; slot += 12345)
            assert_true(lp_hash_pick(table, hash_in_slot(slot), accept_none, NULL) == LP_HASH_NONE);
        lp_hash_destroy(table);
    }
}

/* --- cost --- */

static void a_greater_hash_never_costs_more(void **state)
{
    (void)state;
    struct dice dice = {41};

    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t a = dice_roll(&dice) >> dice_below(&dice, 64);
        uint64_t b = i % 2 == 0 ? a + 1 : dice_roll(&dice) >> dice_below(&dice, 64);
        if (b < a) {
            uint64_t swapped = a;
            a = b;
            b = swapped;
        }
        assert_true(lp_hash_cost_q40(a) >= lp_hash_cost_q40(b));
    }
}

static void no_cost_is_zero_and_each_halving_costs_one_more(void **state)
{
    (void)state;
    const uint64_t one = 1ull << 40;

    assert_true(lp_hash_cost_q40(UINT64_MAX) > 0);
    assert_true(lp_hash_cost_q40(0) == 64 * one);
    assert_true(lp_hash_cost_q40(1) == 64 * one);
    for (uint32_t e = 63; e > 12; e--) { /* the lowest bit is always taken as set */
        uint64_t half = 1ull << (e - 1);
        uint64_t step = lp_hash_cost_q40(half) - lp_hash_cost_q40(2 * half);
        assert_true(step >= one - (one >> 8) && step <= one + (one >> 8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_without_bytes_has_a_hash_even_without_a_pointer),
        cmocka_unit_test(a_key_has_another_hash_under_another_seed),
        cmocka_unit_test(the_seed_of_a_secret_is_the_hash_of_its_bytes_without_one_newline),
        cmocka_unit_test(the_key_of_an_address_is_its_bytes_with_zeros_behind_the_prefix),
        cmocka_unit_test(addresses_that_are_one_client_are_one_key),
        cmocka_unit_test(a_peer_without_an_address_has_no_key),
        cmocka_unit_test(a_pool_without_servers_is_refused),
        cmocka_unit_test(a_pool_may_have_65535_servers_and_no_more),
        cmocka_unit_test(the_last_of_65535_servers_is_found_again),
        cmocka_unit_test(an_id_has_1_to_255_bytes),
        cmocka_unit_test(two_servers_of_one_id_are_refused_by_name),
        cmocka_unit_test(ids_that_differ_in_case_length_or_a_nul_are_different),
        cmocka_unit_test(the_list_of_servers_may_go_after_building),
        cmocka_unit_test(without_any_weight_no_key_has_a_home),
        cmocka_unit_test(a_single_server_is_the_home_of_every_key),
        cmocka_unit_test(tables_are_equal_when_order_ids_weights_and_seed_are),
        cmocka_unit_test(equal_servers_rank_by_the_xxh3_of_the_library),
        cmocka_unit_test(servers_of_any_weights_rank_as_specified),
        cmocka_unit_test(only_the_ratios_of_weights_matter),
        cmocka_unit_test(a_shorter_rank_is_the_beginning_of_the_longer),
        cmocka_unit_test(keys_of_one_slot_share_their_home),
        cmocka_unit_test(the_first_eligible_in_rank_is_picked_and_nobody_asked_twice),
        cmocka_unit_test(nobody_is_picked_when_nobody_is_eligible),
        cmocka_unit_test(a_greater_hash_never_costs_more),
        cmocka_unit_test(no_cost_is_zero_and_each_halving_costs_one_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
