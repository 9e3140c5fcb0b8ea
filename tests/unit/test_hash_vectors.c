/* hash against tests/vectors/: rows on which two independent implementations agreed. Fields are
 * separated by tabs, and "-" means none. Run from the root of the project. */
#include "hash/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the headers above. */
#include <cmocka.h>

#include "hash/log2_table.h"

#define SLOTS_COUNT (1u << 20)
#define FIELDS_MAX  8u

/* --- reading a vector file --- */

struct rows {
    FILE *file;
    char line[8192];
    char *fields[FIELDS_MAX];
};

static uint32_t split(struct rows *rows)
{
    uint32_t count = 0;

    rows->line[strcspn(rows->line, "\n")] = '\0';
    for (char *at = rows->line; at != NULL && count < FIELDS_MAX; count++) {
        rows->fields[count] = at;
        at = strchr(at, '\t');
        if (at != NULL)
            *at++ = '\0';
    }
    return count;
}

static void rows_begin(struct rows *rows, const char *path, const char *columns)
{
    rows->file = fopen(path, "r");
    if (rows->file == NULL)
        fail_msg("%s cannot be read: tests run from the root of the project", path);
    assert_non_null(fgets(rows->line, sizeof(rows->line), rows->file));
    rows->line[strcspn(rows->line, "\n")] = '\0';
    assert_string_equal(rows->line, columns);
}

static bool rows_next(struct rows *rows, uint32_t fields_count)
{
    if (fgets(rows->line, sizeof(rows->line), rows->file) == NULL)
        return false;
    assert_non_null(strchr(rows->line, '\n'));
    assert_int_equal(split(rows), fields_count);
    return true;
}

/* Every row was looked at, and none is missing from the file. */
static void rows_end(struct rows *rows, uint32_t seen_count, uint32_t expected_count)
{
    fclose(rows->file);
    assert_int_equal(seen_count, expected_count);
}

static uint64_t number(const char *text, int base)
{
    char *end;
    uint64_t value = strtoull(text, &end, base);

    assert_true(*text != '\0' && *end == '\0');
    return value;
}

/* "-" is no prefix, for keys that are no address. */
static uint8_t prefix_of(const char *text)
{
    return strcmp(text, "-") == 0 ? 0 : (uint8_t)number(text, 10);
}

/* The key bytes of a row, as a slice of buffer or of the input itself. */
static struct lp_slice key_of(const char *kind, const char *input, uint8_t prefix4, uint8_t prefix6,
                              uint8_t buffer[16])
{
    struct lp_ip ip;

    if (strcmp(kind, "text") == 0)
        return lp_slice_of(input);
    assert_string_equal(kind, "ip");
    assert_true(lp_ip_parse(&ip, lp_slice_of(input)));
    return (struct lp_slice){(const char *)buffer, lp_hash_ip_key(buffer, &ip, prefix4, prefix6)};
}

/* --- the pools of the vectors --- */

struct pool {
    char name[16];
    uint64_t seed;
    uint32_t members_count;
    char ids[8][16];
    struct lp_hash_member members[8];
    struct lp_hash_table *table;
};

static struct pool pools[4];
static uint32_t pools_count;

static struct pool *pool_named(const char *name)
{
    for (uint32_t i = 0; i < pools_count; i++)
        if (strcmp(pools[i].name, name) == 0)
            return &pools[i];
    return NULL;
}

static const char *id_at(const struct pool *pool, uint32_t index)
{
    return index == LP_HASH_NONE ? "-" : pool->ids[index];
}

static int read_pools(void **state)
{
    (void)state;
    struct rows rows;
    uint32_t count = 0;

    rows_begin(&rows, "tests/vectors/slot-hrw-configs.tsv", "config\tseed\tid\tweight\tfactor256");
    for (; rows_next(&rows, 5); count++) {
        struct pool *pool = pool_named(rows.fields[0]);
        if (pool == NULL) {
            assert_true(pools_count < LP_COUNT_OF(pools));
            pool = &pools[pools_count++];
            snprintf(pool->name, sizeof(pool->name), "%s", rows.fields[0]);
            pool->seed = number(rows.fields[1], 10);
        }
        uint32_t at = pool->members_count++;
        snprintf(pool->ids[at], sizeof(pool->ids[at]), "%s", rows.fields[2]);
        pool->members[at].id = lp_slice_of(pool->ids[at]);
        pool->members[at].weight =
            (uint32_t)(number(rows.fields[3], 10) * number(rows.fields[4], 10));
    }
    rows_end(&rows, count, 12);
    for (uint32_t i = 0; i < pools_count; i++)
        if (!lp_hash_build(&pools[i].table, pools[i].members, pools[i].members_count, pools[i].seed,
                           NULL))
            return -1;
    return 0;
}

static int free_pools(void **state)
{
    (void)state;

    for (uint32_t i = 0; i < pools_count; i++)
        lp_hash_destroy(pools[i].table);
    return 0;
}

static uint64_t key_hash_of(const struct pool *pool, const char *kind, const char *input)
{
    uint8_t buffer[16];
    return lp_hash_key(key_of(kind, input, 32, 64, buffer), pool->seed);
}

/* --- the vectors --- */

static void the_table_of_logarithms_has_the_sha256_of_the_specification(void **state)
{
    (void)state;
    static uint8_t bytes[sizeof(log2_table)];
    uint8_t digest[LP_SHA256_BYTES];
    char text[2 * LP_SHA256_BYTES + 1];

    assert_int_equal(LP_COUNT_OF(log2_table), 4097);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(log2_table[i / 8] >> i % 8 * 8);
    lp_sha256(digest, (struct lp_slice){(const char *)bytes, sizeof(bytes)});
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, "b1268c2d1f7a42881ea8875438d8dbfd715b1832cb53cf4ef4c901f776d61783");
}

static void every_cost_is_the_one_of_the_vectors(void **state)
{
    (void)state;
    struct rows rows;
    uint32_t count = 0;

    rows_begin(&rows, "tests/vectors/cost.tsv", "h_hex\tcost_q40");
    for (; rows_next(&rows, 2); count++)
        assert_true(lp_hash_cost_q40(number(rows.fields[0], 16)) == number(rows.fields[1], 10));
    rows_end(&rows, count, 106);
}

static void every_key_has_the_bytes_hash_and_slot_of_the_vectors(void **state)
{
    (void)state;
    struct rows rows;
    uint32_t count = 0;

    rows_begin(&rows, "tests/vectors/key-hash.tsv",
               "kind\tinput\tprefix4\tprefix6\tseed\tbytes_hex\txxh3_hex\tslot");
    for (; rows_next(&rows, 8); count++) {
        uint8_t buffer[16];
        char hex[2048];
        struct lp_slice key = key_of(rows.fields[0], rows.fields[1], prefix_of(rows.fields[2]),
                                     prefix_of(rows.fields[3]), buffer);
        assert_true(2 * key.size < sizeof(hex));
        for (size_t i = 0; i < key.size; i++)
            snprintf(hex + 2 * i, 3, "%02x", (uint8_t)key.data[i]);
        assert_string_equal(hex, rows.fields[5]);
        uint64_t hash = lp_hash_key(key, number(rows.fields[4], 10));
        assert_true(hash == number(rows.fields[6], 16));
        assert_int_equal(hash >> 44, number(rows.fields[7], 10));
    }
    rows_end(&rows, count, 252);
}

static void every_key_ranks_the_servers_as_in_the_vectors(void **state)
{
    (void)state;
    struct rows rows;
    uint32_t count = 0;

    rows_begin(&rows, "tests/vectors/slot-hrw.tsv",
               "config\tkind\tkey\tslot\thome\tsecond\tthird\tlast");
    for (; rows_next(&rows, 8); count++) {
        const struct pool *pool = pool_named(rows.fields[0]);
        uint32_t rank[8] = {LP_HASH_NONE, LP_HASH_NONE, LP_HASH_NONE};
        assert_non_null(pool);
        uint64_t hash = key_hash_of(pool, rows.fields[1], rows.fields[2]);
        assert_int_equal(hash >> 44, number(rows.fields[3], 10));
        uint32_t ranked_count = lp_hash_rank(pool->table, hash, rank, 8);
        assert_string_equal(id_at(pool, lp_hash_home(pool->table, hash)), rows.fields[4]);
        assert_string_equal(id_at(pool, rank[0]), rows.fields[4]);
        assert_string_equal(id_at(pool, rank[1]), rows.fields[5]);
        assert_string_equal(id_at(pool, rank[2]), rows.fields[6]);
        assert_string_equal(id_at(pool, rank[ranked_count - 1]), rows.fields[7]);
    }
    rows_end(&rows, count, 800);
}

struct outage {
    const struct pool *pool;
    const char *down_ids; /* separated by commas */
};

static bool is_up(void *context, uint32_t index)
{
    const struct outage *outage = context;
    const char *id = outage->pool->ids[index];
    size_t size = strlen(id);

    for (const char *at = outage->down_ids; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, id, size) == 0 && (at[size] == ',' || at[size] == '\0'))
            return false;
    }
    return true;
}

static void every_key_of_a_server_that_is_down_goes_where_the_vectors_say(void **state)
{
    (void)state;
    struct rows rows;
    uint32_t count = 0;

    rows_begin(&rows, "tests/vectors/slot-hrw-health.tsv", "config\tdown_ids\tkind\tkey\tbackend");
    for (; rows_next(&rows, 5); count++) {
        struct outage outage = {pool_named(rows.fields[0]), rows.fields[1]};
        assert_non_null(outage.pool);
        uint64_t hash = key_hash_of(outage.pool, rows.fields[2], rows.fields[3]);
        uint32_t picked = lp_hash_pick(outage.pool->table, hash, is_up, &outage);
        assert_string_equal(id_at(outage.pool, picked), rows.fields[4]);
    }
    rows_end(&rows, count, 240);
}

static void every_server_owns_as_many_slots_as_in_the_vectors(void **state)
{
    (void)state;
    struct rows rows;
    uint32_t count = 0;
    uint32_t slots[LP_COUNT_OF(pools)][8] = {{0}};

    for (uint32_t i = 0; i < pools_count; i++)
        for (uint64_t slot = 0; slot < SLOTS_COUNT; slot++)
            slots[i][lp_hash_home(pools[i].table, slot << 44)]++;
    rows_begin(&rows, "tests/vectors/slot-hrw-counts.tsv", "config\tid\tslots\texpected");
    for (; rows_next(&rows, 4); count++) {
        const struct pool *pool = pool_named(rows.fields[0]);
        uint64_t weight_sum = 0;
        uint32_t at = 0;
        char expected[32];
        assert_non_null(pool);
        for (uint32_t i = 0; i < pool->members_count; i++)
            weight_sum += pool->members[i].weight;
        while (strcmp(pool->ids[at], rows.fields[1]) != 0)
            assert_true(++at < pool->members_count);
        assert_int_equal(slots[pool - pools][at], number(rows.fields[2], 10));
        snprintf(expected, sizeof(expected), "%.1f",
                 (double)SLOTS_COUNT * pool->members[at].weight / (double)weight_sum);
        assert_string_equal(expected, rows.fields[3]);
    }
    rows_end(&rows, count, 12);
}

static void the_homes_of_all_slots_have_the_digest_of_the_vectors(void **state)
{
    (void)state;
    struct rows rows;
    uint32_t count = 0;
    char *homes = malloc((size_t)SLOTS_COUNT * 16);

    assert_non_null(homes);
    rows_begin(&rows, "tests/vectors/slot-hrw-table-digest.tsv",
               "config\tsha256_of_home_ids_slot0_to_1048575_newline_terminated");
    for (; rows_next(&rows, 2); count++) {
        const struct pool *pool = pool_named(rows.fields[0]);
        uint8_t digest[LP_SHA256_BYTES];
        char text[2 * LP_SHA256_BYTES + 1];
        size_t size = 0;
        assert_non_null(pool);
        for (uint64_t slot = 0; slot < SLOTS_COUNT; slot++) {
            struct lp_slice id = pool->members[lp_hash_home(pool->table, slot << 44)].id;
            memcpy(homes + size, id.data, id.size);
            homes[size + id.size] = '\n';
            size += id.size + 1;
        }
        lp_sha256(digest, (struct lp_slice){homes, size});
        for (size_t i = 0; i < sizeof(digest); i++)
            snprintf(text + 2 * i, 3, "%02x", digest[i]);
        assert_string_equal(text, rows.fields[1]);
    }
    rows_end(&rows, count, 2);
    free(homes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_of_logarithms_has_the_sha256_of_the_specification),
        cmocka_unit_test(every_cost_is_the_one_of_the_vectors),
        cmocka_unit_test(every_key_has_the_bytes_hash_and_slot_of_the_vectors),
        cmocka_unit_test(every_key_ranks_the_servers_as_in_the_vectors),
        cmocka_unit_test(every_key_of_a_server_that_is_down_goes_where_the_vectors_say),
        cmocka_unit_test(every_server_owns_as_many_slots_as_in_the_vectors),
        cmocka_unit_test(the_homes_of_all_slots_have_the_digest_of_the_vectors),
    };

    return cmocka_run_group_tests(tests, read_pools, free_pools);
}
