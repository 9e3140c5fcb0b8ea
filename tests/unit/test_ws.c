/* ws: handshake values, the frame tracker and the frames limpet writes. */
#include "lb/ws/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { FROM_SERVER = false, FROM_CLIENT = true };

/* Text that ends right before a page nobody may read. One at a time. */
static const char *before_guard_page(const void *bytes, size_t size)
{
    static char *pages;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (pages == NULL) {
        pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(pages, MAP_FAILED);
        assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    }
    assert_true(size <= page);
    return memcpy(pages + page - size, bytes, size);
}

static struct ws_tracker tracker_after(bool is_from_client, const void *bytes, size_t size)
{
    struct ws_tracker tracker;

    ws_tracker_init(&tracker, is_from_client);
    assert_int_equal(ws_tracker_step(&tracker, before_guard_page(bytes, size), size, false), size);
    return tracker;
}

#define AFTER(from, literal) tracker_after((from), (literal), sizeof(literal) - 1)

/* The handshake. */

static void the_accept_value_is_the_one_of_the_rfc(void **state)
{
    (void)state;
    char accept[WS_ACCEPT_SIZE];

    ws_accept(accept, LP_SLICE("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_SIZE);
}

static void a_made_key_is_valid_and_never_the_same(void **state)
{
    (void)state;
    char one[WS_KEY_SIZE], two[WS_KEY_SIZE];

    ws_make_key(one);
    ws_make_key(two);
    assert_true(ws_key_is_valid((struct lp_slice){one, sizeof(one)}));
    assert_memory_not_equal(one, two, WS_KEY_SIZE);
}

static void only_base64_of_sixteen_bytes_is_a_key(void **state)
{
    (void)state;
    assert_true(ws_key_is_valid(LP_SLICE("AAAAAAAAAAAAAAAAAAAAAA==")));
    assert_false(ws_key_is_valid(LP_SLICE("")));
    assert_false(ws_key_is_valid(LP_SLICE("AAAAAAAAAAAAAAAAAAAAAA=")));
    assert_false(ws_key_is_valid(LP_SLICE("AAAAAAAAAAAAAAAAAAAAAAA="))); /* 17 bytes */
    assert_false(ws_key_is_valid(LP_SLICE("AAAAAAAAAAAAAAAAAAAAAAAA"))); /* 18 bytes */
    assert_false(ws_key_is_valid(LP_SLICE("AAAAAAAAAAAAAAAAAAAAAB=="))); /* spare bits */
    assert_false(ws_key_is_valid(LP_SLICE("AAAAAAAAAA AAAAAAAAAAA==")));
    assert_false(ws_key_is_valid(LP_SLICE("AAAAAAAAAAAAAAAAAAAAAA==AAAA")));
}

/* The tracker. */

static void two_trackers_of_a_tunnel_are_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct ws_tracker) <= 24);
}

static void a_new_direction_stands_at_a_boundary(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "");

    assert_true(ws_tracker_is_at_boundary(&tracker));
    assert_false(ws_tracker_is_opaque(&tracker));
    assert_false(ws_tracker_has_close(&tracker));
    assert_int_equal(tracker.close_code, 0);
    assert_int_equal(ws_tracker_step(&tracker, NULL, 0, false), 0);
}

static void every_byte_of_a_frame_but_the_last_is_no_boundary(void **state)
{
    (void)state;
    static const char frame[] = "\x82\x83KEYSabc";
    size_t size = sizeof(frame) - 1;

    for (size_t i = 1; i < size; i++) {
        struct ws_tracker tracker = tracker_after(FROM_CLIENT, frame, i);
        assert_false(ws_tracker_is_at_boundary(&tracker));
        assert_int_equal(tracker.messages, 0);
    }
    struct ws_tracker tracker = tracker_after(FROM_CLIENT, frame, size);
    assert_true(ws_tracker_is_at_boundary(&tracker));
    assert_int_equal(tracker.messages, 1);
}

static void a_message_counts_once_however_many_fragments_it_has(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x01\x01"
                                                   "a"
                                                   "\x00\x01"
                                                   "b");
    assert_true(ws_tracker_is_at_boundary(&tracker));
    assert_int_equal(tracker.messages, 0);

    tracker = AFTER(FROM_SERVER, "\x01\x01"
                                 "a"
                                 "\x89\x02pi" /* a Ping may stand between them */
                                 "\x80\x01"
                                 "b"
                                 "\x82\x00");
    assert_true(ws_tracker_is_at_boundary(&tracker));
    assert_int_equal(tracker.messages, 2);
}

static void lengths_of_16_and_64_bits_are_read(void **state)
{
    (void)state;
    char frame[4 + 300] = "\x82\x7e\x01\x2c";
    struct ws_tracker tracker = tracker_after(FROM_SERVER, frame, sizeof(frame) - 1);
    assert_false(ws_tracker_is_at_boundary(&tracker));
    tracker = tracker_after(FROM_SERVER, frame, sizeof(frame));
    assert_true(ws_tracker_is_at_boundary(&tracker));

    char large[10 + 700] = "\x82\x7f\x00\x00\x00\x00\x00\x00\x02\xbc";
    tracker = tracker_after(FROM_SERVER, large, sizeof(large) - 1);
    assert_false(ws_tracker_is_at_boundary(&tracker));
    tracker = tracker_after(FROM_SERVER, large, sizeof(large));
    assert_true(ws_tracker_is_at_boundary(&tracker));

    /* A length that was written longer than needed is the receiver's business. */
    tracker = AFTER(FROM_SERVER, "\x82\x7e\x00\x01x");
    assert_true(ws_tracker_is_at_boundary(&tracker));
}

static void the_greatest_length_is_followed(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffxyz");

    assert_false(ws_tracker_is_opaque(&tracker));
    assert_false(ws_tracker_is_at_boundary(&tracker));
    tracker = AFTER(FROM_SERVER, "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00");
    assert_true(ws_tracker_is_opaque(&tracker));
}

static void extension_bits_are_not_a_violation(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\xc1\x01x"); /* permessage-deflate: RSV1 */

    assert_true(ws_tracker_is_at_boundary(&tracker));
    assert_int_equal(tracker.messages, 1);
}

static void a_close_gives_its_code(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x88\x05\x03\xe9"
                                                   "bye");
    assert_true(ws_tracker_has_whole_close(&tracker));
    assert_int_equal(tracker.close_code, 1001);
    assert_int_equal(tracker.messages, 0);

    tracker = AFTER(FROM_CLIENT, "\x88\x82\x11\x22\x33\x44\x1e\x8a"); /* 0f a8 = 4008, masked */
    assert_true(ws_tracker_has_whole_close(&tracker));
    assert_int_equal(tracker.close_code, 4008);
}

static void a_close_without_a_code_is_1005(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x88\x00");
    assert_int_equal(tracker.close_code, 1005);
    assert_true(ws_tracker_has_whole_close(&tracker));

    tracker = AFTER(FROM_CLIENT, "\x88\x80KEYS");
    assert_int_equal(tracker.close_code, 1005);

    tracker = AFTER(FROM_SERVER, "\x88\x01\x03");
    assert_int_equal(tracker.close_code, 1005);
}

static void a_close_has_begun_with_its_first_byte_and_passed_with_its_last(void **state)
{
    (void)state;
    static const char close[] = "\x88\x82\x00\x00\x00\x00\x03\xe8";
    size_t size = sizeof(close) - 1;

    for (size_t i = 1; i < size; i++) {
        struct ws_tracker tracker = tracker_after(FROM_CLIENT, close, i);
        assert_true(ws_tracker_has_close(&tracker));
        assert_false(ws_tracker_has_whole_close(&tracker));
        assert_int_equal(tracker.close_code, 0);
    }
    struct ws_tracker tracker = tracker_after(FROM_CLIENT, close, size);
    assert_true(ws_tracker_has_whole_close(&tracker));
    assert_int_equal(tracker.close_code, 1000);
}

static void only_the_first_close_counts(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x88\x02\x03\xe8\x88\x02\x03\xe9");

    assert_true(ws_tracker_has_whole_close(&tracker));
    assert_int_equal(tracker.close_code, 1000);
}

struct violation {
    bool is_from_client;
    const char *bytes;
    size_t size;
};
#define VIOLATION(from, literal)                                                                   \
    {                                                                                              \
        (from), (literal), sizeof(literal) - 1                                                     \
    }

static void a_violation_makes_the_tracker_opaque_for_good(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct violation violations[] = {
        VIOLATION(FROM_SERVER, "\x83"),                     /* reserved data opcode            */
        VIOLATION(FROM_SERVER, "\x8b"),                     /* reserved control opcode         */
        VIOLATION(FROM_SERVER, "\x08"),                     /* fragmented Close                */
        VIOLATION(FROM_SERVER, "\x09"),                     /* fragmented Ping                 */
        VIOLATION(FROM_SERVER, "\x80"),                     /* continuation without a start    */
        VIOLATION(FROM_SERVER, "\x01\x00\x81"),             /* a start within a message        */
        VIOLATION(FROM_SERVER, "\x81\x80"),                 /* a server that masks             */
        VIOLATION(FROM_CLIENT, "\x81\x00"),                 /* a client that does not          */
        VIOLATION(FROM_SERVER, "\x89\x7e"),                 /* Ping of 126 bytes               */
        VIOLATION(FROM_SERVER, "\x88\x7f"),                 /* Close of 2^16 bytes             */
        VIOLATION(FROM_SERVER, "\x81\x7f\xff"),             /* 64-bit length with the top bit  */
    };
    /* clang-format on */

    for (size_t i = 0; i < LP_COUNT_OF(violations); i++) {
        const struct violation *violation = &violations[i];
        struct ws_tracker before =
            tracker_after(violation->is_from_client, violation->bytes, violation->size - 1);
        struct ws_tracker after =
            tracker_after(violation->is_from_client, violation->bytes, violation->size);

        assert_false(ws_tracker_is_opaque(&before));
        assert_true(ws_tracker_is_opaque(&after));
        assert_false(ws_tracker_is_at_boundary(&after));
        assert_int_equal(ws_tracker_step(&after, "\x81\x01xrest", 7, true), 7);
        assert_true(ws_tracker_is_opaque(&after));
        assert_int_equal(after.messages, 0);
    }
}

static void a_violation_is_seen_alike_in_a_whole_header(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x83\x01xyz");
    assert_true(ws_tracker_is_opaque(&tracker));
    tracker = AFTER(FROM_CLIENT, "\x81\x01xyz");
    assert_true(ws_tracker_is_opaque(&tracker));
    tracker = AFTER(FROM_SERVER, "\x88\x81KEYSx");
    assert_true(ws_tracker_is_opaque(&tracker));
    assert_true(ws_tracker_has_close(&tracker));
    tracker = AFTER(FROM_SERVER, "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00xyz");
    assert_true(ws_tracker_is_opaque(&tracker));
}

static void until_boundary_stops_behind_the_frame_under_way(void **state)
{
    (void)state;
    static const char rest[] = "llo"
                               "\x81\x02hi";
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x81\x05he");

    assert_int_equal(ws_tracker_step(&tracker, rest, sizeof(rest) - 1, true), 3);
    assert_true(ws_tracker_is_at_boundary(&tracker));
    assert_int_equal(ws_tracker_step(&tracker, rest + 3, 4, true), 0);
}

static void until_boundary_stops_behind_an_empty_frame(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x81");

    assert_int_equal(ws_tracker_step(&tracker, "\x00\x81\x00", 3, true), 1);
    assert_int_equal(tracker.messages, 1);
}

static void between_fragments_is_a_boundary_for_control_frames(void **state)
{
    (void)state;
    struct ws_tracker tracker = AFTER(FROM_SERVER, "\x01\x03"
                                                   "ab");

    assert_int_equal(ws_tracker_step(&tracker, "c\x80\x01", 3, true), 1);
    assert_true(ws_tracker_is_at_boundary(&tracker));
}

/* What limpet writes. */

static void a_close_to_a_client_is_plain(void **state)
{
    (void)state;
    char frame[WS_CLOSE_FRAME_MAX];
    size_t size = ws_write_close(frame, 1001, LP_SLICE("away"), false);

    assert_int_equal(size, 8);
    assert_memory_equal(frame,
                        "\x88\x06\x03\xe9"
                        "away",
                        8);
}

static void a_close_to_a_server_is_masked_and_reads_back(void **state)
{
    (void)state;
    char frame[WS_CLOSE_FRAME_MAX], again[WS_CLOSE_FRAME_MAX];
    size_t size = ws_write_close(frame, 1001, LP_SLICE("away"), true);
    struct ws_tracker tracker = tracker_after(FROM_CLIENT, frame, size);

    assert_int_equal(size, 12);
    assert_true(ws_tracker_is_at_boundary(&tracker));
    assert_int_equal(tracker.close_code, 1001);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(frame[8 + i] ^ frame[2 + (2 + i) % 4], "away"[i]);
    ws_write_close(again, 1001, LP_SLICE("away"), true);
    assert_memory_not_equal(frame + 2, again + 2, 4); /* fails once in 2^32 runs */
}

static void a_long_reason_is_cut_between_two_characters(void **state)
{
    (void)state;
    char frame[WS_CLOSE_FRAME_MAX], reason[200];

    memset(reason, 'x', sizeof(reason));
    assert_int_equal(ws_write_close(frame, 1001, (struct lp_slice){reason, 123}, false), 127);
    assert_int_equal(ws_write_close(frame, 1001, (struct lp_slice){reason, 200}, false), 127);
    memcpy(reason + 121, "\xe2\x82\xac", 3); /* the euro sign over the edge */
    assert_int_equal(ws_write_close(frame, 1001, (struct lp_slice){reason, 200}, false), 125);
    assert_int_equal(frame[1], 123);
}

static void a_code_that_may_not_be_sent_gives_a_close_without_one(void **state)
{
    (void)state;
    char frame[WS_CLOSE_FRAME_MAX];

    assert_int_equal(ws_write_close(frame, 1005, LP_SLICE("why"), false), 2);
    assert_memory_equal(frame, "\x88\x00", 2);
    assert_int_equal(ws_write_close(frame, 0, LP_SLICE(""), true), 6);
}

static void a_ping_carries_up_to_125_bytes(void **state)
{
    (void)state;
    char frame[WS_CLOSE_FRAME_MAX], payload[126] = "";

    assert_int_equal(ws_write_ping(frame, LP_SLICE("hi"), false), 4);
    assert_memory_equal(frame, "\x89\x02hi", 4);
    assert_int_equal(ws_write_ping(frame, (struct lp_slice){payload, 126}, true), 6 + 125);
    struct ws_tracker tracker = tracker_after(FROM_CLIENT, frame, 6 + 125);
    assert_true(ws_tracker_is_at_boundary(&tracker));
    assert_int_equal(ws_write_ping(frame, (struct lp_slice){NULL, 0}, false), 2);
}

static void the_codes_of_section_7_4_may_be_sent(void **state)
{
    (void)state;
    static const uint16_t yes[] = {1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999};
    static const uint16_t no[] = {0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535};

    for (size_t i = 0; i < LP_COUNT_OF(yes); i++)
        assert_true(ws_close_code_is_sendable(yes[i]));
    for (size_t i = 0; i < LP_COUNT_OF(no); i++)
        assert_false(ws_close_code_is_sendable(no[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_accept_value_is_the_one_of_the_rfc),
        cmocka_unit_test(a_made_key_is_valid_and_never_the_same),
        cmocka_unit_test(only_base64_of_sixteen_bytes_is_a_key),
        cmocka_unit_test(two_trackers_of_a_tunnel_are_small),
        cmocka_unit_test(a_new_direction_stands_at_a_boundary),
        cmocka_unit_test(every_byte_of_a_frame_but_the_last_is_no_boundary),
        cmocka_unit_test(a_message_counts_once_however_many_fragments_it_has),
        cmocka_unit_test(lengths_of_16_and_64_bits_are_read),
        cmocka_unit_test(the_greatest_length_is_followed),
        cmocka_unit_test(extension_bits_are_not_a_violation),
        cmocka_unit_test(a_close_gives_its_code),
        cmocka_unit_test(a_close_without_a_code_is_1005),
        cmocka_unit_test(a_close_has_begun_with_its_first_byte_and_passed_with_its_last),
        cmocka_unit_test(only_the_first_close_counts),
        cmocka_unit_test(a_violation_makes_the_tracker_opaque_for_good),
        cmocka_unit_test(a_violation_is_seen_alike_in_a_whole_header),
        cmocka_unit_test(until_boundary_stops_behind_the_frame_under_way),
        cmocka_unit_test(until_boundary_stops_behind_an_empty_frame),
        cmocka_unit_test(between_fragments_is_a_boundary_for_control_frames),
        cmocka_unit_test(a_close_to_a_client_is_plain),
        cmocka_unit_test(a_close_to_a_server_is_masked_and_reads_back),
        cmocka_unit_test(a_long_reason_is_cut_between_two_characters),
        cmocka_unit_test(a_code_that_may_not_be_sent_gives_a_close_without_one),
        cmocka_unit_test(a_ping_carries_up_to_125_bytes),
        cmocka_unit_test(the_codes_of_section_7_4_may_be_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
