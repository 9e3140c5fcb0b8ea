/* Sessions against each other in memory: what a server's side and a client's side of tls/ say to
 * one another, record by record. */
#include "tests/unit/tls_pair.h"

#include <sys/time.h>
#include <time.h>

/* This program's clock, for tls/ and for the library: tests may move it. */
static int64_t clock_is_ahead_s;

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec + clock_is_ahead_s;
    return now.tv_sec + clock_is_ahead_s;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){.tv_sec = now.tv_sec + clock_is_ahead_s, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

/* --- handshakes --- */

static void both_versions_shake_hands_and_speak(void **state)
{
    static const uint32_t versions[] = {LP_TLS_1_2, LP_TLS_1_3};
    static const char *const words[] = {"TLSv1.2", "TLSv1.3"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct lp_tls_front *front = front_with((struct front_options){.versions = versions[i]});
        struct lp_tls_back *back = back_with(trusting("www.example.com"));
        struct pair pair = pair_of(front, back, NULL, "www.example.com");
        struct lp_tls_facts facts;

        shake_hands(&pair);
        lp_tls_facts(pair.server.tls, &facts);
        assert_string_equal(facts.version, words[i]);
        assert_false(facts.is_resumed);
        seal(&pair.client, &pair.server, "hello", 5, 0);
        expect_text(&pair.server, "hello");
        seal(&pair.server, &pair.client, "good day", 8, 0);
        expect_text(&pair.client, "good day");
        pair_free(&pair);
        lp_tls_front_destroy(front);
        lp_tls_back_destroy(back);
    }
}

static void a_handshake_goes_byte_by_byte_into_little_room(void **state)
{
    static const struct pace paces[] = {{1, LP_TLS_FLIGHT_BYTES}, {SIZE_MAX, 100}, {7, 33}};

    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++)
        for (size_t i = 0; i < LP_COUNT_OF(paces); i++) {
            struct lp_tls_front *front = front_with((struct front_options){.versions = versions});
            struct lp_tls_back *back = back_with(trusting("www.example.com"));
            struct pair pair = pair_of(front, back, NULL, "");

            assert_true(shake_hands_at(&pair, paces[i]));
            seal(&pair.client, &pair.server, "x", 1, 0);
            expect_text(&pair.server, "x");
            pair_free(&pair);
            lp_tls_front_destroy(front);
            lp_tls_back_destroy(back);
        }
}

static void a_server_for_another_name_is_refused(void **state)
{
    struct lp_tls_front *front = front_with((struct front_options){0});
    struct lp_tls_back *other = back_with(trusting("www.example.net"));
    struct lp_tls_back *address = back_with(trusting("")); /* 192.0.2.1 is in the certificate */
    struct lp_tls_back *no_ca = back_with((struct lp_cfg_back_tls){
        .verify = true, .name = LP_SLICE("www.example.com"), .ca = file_with("rsa.pem", PKI_RSA)});
    struct lp_tls_back *careless = back_with((struct lp_cfg_back_tls){.verify = false});

    (void)state;
    struct pair pair = pair_of(front, other, NULL, "");
    assert_false(shake_hands_at(&pair, whole));
    assert_string_equal(lp_tls_error(pair.client.tls),
                        "the server's certificate is for another name");
    pair_free(&pair);
    pair = pair_of(front, no_ca, NULL, "");
    assert_false(shake_hands_at(&pair, whole));
    assert_string_equal(lp_tls_error(pair.client.tls),
                        "the peer's certificate is not signed by a known CA");
    pair_free(&pair);
    pair = pair_of(front, address, NULL, "");
    assert_true(shake_hands_at(&pair, whole));
    pair_free(&pair);
    pair = pair_of(front, careless, NULL, "");
    assert_true(shake_hands_at(&pair, whole));
    pair_free(&pair);
    lp_tls_front_destroy(front);
    lp_tls_back_destroy(other);
    lp_tls_back_destroy(address);
    lp_tls_back_destroy(no_ca);
    lp_tls_back_destroy(careless);
}

static void a_demanded_client_certificate_is_verified_and_named(void **state)
{
    struct lp_tls_front *front = front_with((struct front_options){.client_ca = PKI_ROOT});
    struct lp_cfg_back_tls with = {.cert = file_with("me.pem", PKI_LEAF PKI_MIDDLE),
                                   .key = file_with("me.key", PKI_LEAF_KEY)};
    struct lp_cfg_back_tls foreign = {.cert = file_with("rsa.pem", PKI_RSA),
                                      .key = file_with("rsa.key", PKI_RSA_KEY)};
    struct lp_tls_back *known = back_with(with), *unknown = back_with(foreign),
                       *nobody = back_with((struct lp_cfg_back_tls){.verify = false});
    struct lp_tls_facts facts;

    (void)state;
    struct pair pair = pair_of(front, known, NULL, "");
    shake_hands(&pair);
    lp_tls_facts(pair.server.tls, &facts);
    assert_int_equal(facts.client_subject.size, strlen("CN=www.example.com,O=limpet tests,C=DE"));
    assert_memory_equal(facts.client_subject.data, "CN=www.example.com,O=limpet tests,C=DE",
                        facts.client_subject.size);
    assert_int_equal(facts.client_fingerprint.size, 64);
    pair_free(&pair);
    pair = pair_of(front, unknown, NULL, "");
    assert_false(shake_hands_at(&pair, whole));
    pair_free(&pair);
    pair = pair_of(front, nobody, NULL, "");
    assert_false(shake_hands_at(&pair, whole));
    assert_string_equal(lp_tls_error(pair.server.tls), "the client sent no certificate");
    pair_free(&pair);
    lp_tls_front_destroy(front);
    lp_tls_back_destroy(known);
    lp_tls_back_destroy(unknown);
    lp_tls_back_destroy(nobody);
}

/* Only TLS 1.3 says something of its own when hands are shaken: its tickets. */
static void only_tickets_of_tls_1_3_can_wait(void **state)
{
    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++) {
        struct lp_tls_front *front = front_with((struct front_options){.versions = versions});
        struct lp_tls_back *back = back_with(trusting("www.example.com"));
        struct pair pair = pair_of(front, back, NULL, "");

        shake_hands(&pair);
        assert_int_equal(lp_tls_flight_can_wait(pair.server.tls), versions == LP_TLS_1_3);
        assert_false(lp_tls_flight_can_wait(pair.client.tls));
        pair_free(&pair);
        lp_tls_front_destroy(front);
        lp_tls_back_destroy(back);
    }
}

/* --- tickets --- */

static void expect_resumption(struct lp_tls_front *from, struct lp_tls_front *to, bool expected)
{
    struct lp_tls_back *back = back_with(trusting("www.example.com"));
    bool was_resumed;
    struct lp_tls_ticket *ticket = visit(from, back, NULL, &was_resumed);

    assert_false(was_resumed);
    struct lp_tls_ticket *next = visit(to, back, ticket, &was_resumed);
    assert_int_equal(was_resumed, expected);
    lp_tls_ticket_free(ticket);
    lp_tls_ticket_free(next);
    lp_tls_back_destroy(back);
}

#define SECRET_A "0123456789abcdef0123456789abcdef"
#define SECRET_B "0123456789abcdef0123456789abcdeF"

static void a_ticket_is_good_where_secret_listener_and_certificate_are_the_same(void **state)
{
    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++) {
        struct lp_tls_front
            *a = front_with((struct front_options){.versions = versions, .secret = SECRET_A}),
            *again = front_with((struct front_options){.versions = versions, .secret = SECRET_A}),
            *secret = front_with((struct front_options){.versions = versions, .secret = SECRET_B}),
            *listener = front_with(
                (struct front_options){.versions = versions, .secret = SECRET_A, .name = "other"}),
            *chain = front_with((struct front_options){
                .versions = versions, .secret = SECRET_A, .chain = PKI_LEAF PKI_MIDDLE PKI_ROOT}),
            *random = front_with((struct front_options){.versions = versions}),
            *random_too = front_with((struct front_options){.versions = versions});

        expect_resumption(a, a, true);
        expect_resumption(a, again, true); /* another node, or the same one after a reload */
        expect_resumption(a, secret, false);
        expect_resumption(a, listener, false);
        expect_resumption(a, chain, false);
        expect_resumption(a, random, false);
        expect_resumption(random, random_too, true); /* of one process */
        struct lp_tls_front *all[] = {a, again, secret, listener, chain, random, random_too};
        for (size_t i = 0; i < LP_COUNT_OF(all); i++)
            lp_tls_front_destroy(all[i]);
    }
}

static bool is_resumed_after(uint32_t versions, int64_t age_s)
{
    struct lp_tls_front *front = front_with((struct front_options){.versions = versions});
    struct lp_tls_back *back = back_with(trusting("www.example.com"));
    bool was_resumed;
    struct lp_tls_ticket *ticket = visit(front, back, NULL, &was_resumed);

    clock_is_ahead_s = age_s;
    struct lp_tls_ticket *next = visit(front, back, ticket, &was_resumed);
    clock_is_ahead_s = 0;
    lp_tls_ticket_free(ticket);
    lp_tls_ticket_free(next);
    lp_tls_front_destroy(front);
    lp_tls_back_destroy(back);
    return was_resumed;
}

/* Its key is that of its 12 hours, and is good for those before and after. */
static void a_ticket_is_good_for_hours_and_not_for_days(void **state)
{
    static const int64_t good_s[] = {0, 9 * 60, 11 * 3600}, bad_s[] = {25 * 3600, 72 * 3600};

    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++) {
        for (size_t i = 0; i < LP_COUNT_OF(good_s); i++)
            assert_true(is_resumed_after(versions, good_s[i]));
        for (size_t i = 0; i < LP_COUNT_OF(bad_s); i++)
            assert_false(is_resumed_after(versions, bad_s[i]));
    }
}

/* Its age is hidden by an addition that wraps at 2^32 ms: of tickets this old, in one of a hundred.
 */
static void no_ticket_is_refused_because_its_hidden_age_wraps(void **state)
{
    struct lp_tls_front *front = front_with((struct front_options){.versions = LP_TLS_1_3});
    struct lp_tls_back *back = back_with(trusting("www.example.com"));
    bool was_resumed;

    (void)state;
    for (int i = 0; i < 600; i++) {
        struct lp_tls_ticket *ticket = visit(front, back, NULL, &was_resumed);
        clock_is_ahead_s = 11 * 3600;
        struct lp_tls_ticket *next = visit(front, back, ticket, &was_resumed);
        clock_is_ahead_s = 0;
        assert_true(was_resumed);
        lp_tls_ticket_free(ticket);
        lp_tls_ticket_free(next);
    }
    lp_tls_front_destroy(front);
    lp_tls_back_destroy(back);
}

static void six_hundred_resumptions_in_a_chain_succeed(void **state)
{
    struct lp_tls_front *front = front_with((struct front_options){.versions = LP_TLS_1_3});
    struct lp_tls_back *back = back_with(trusting("www.example.com"));
    bool was_resumed;
    struct lp_tls_ticket *ticket = visit(front, back, NULL, &was_resumed);

    (void)state;
    for (int i = 0; i < 600; i++) {
        struct lp_tls_ticket *next = visit(front, back, ticket, &was_resumed);
        assert_true(was_resumed);
        if (next != NULL) {
            lp_tls_ticket_free(ticket);
            ticket = next;
        }
    }
    lp_tls_ticket_free(ticket);
    lp_tls_front_destroy(front);
    lp_tls_back_destroy(back);
}

static void a_ticket_of_a_server_is_not_used_by_those_who_trust_others(void **state)
{
    struct lp_tls_front *front = front_with((struct front_options){0});
    struct lp_tls_back *careless = back_with((struct lp_cfg_back_tls){.verify = false});
    struct lp_tls_back *careful = back_with(trusting("www.example.com"));
    bool was_resumed;
    struct lp_tls_ticket *ticket = visit(front, careless, NULL, &was_resumed);

    (void)state;
    struct lp_tls_ticket *next = visit(front, careful, ticket, &was_resumed);
    assert_false(was_resumed);
    lp_tls_ticket_free(ticket);
    lp_tls_ticket_free(next);
    lp_tls_front_destroy(front);
    lp_tls_back_destroy(careless);
    lp_tls_back_destroy(careful);
}

/* --- records --- */

struct talk {
    struct lp_tls_front *front;
    struct lp_tls_back *back;
    struct pair pair;
};

static struct talk talk_of(uint32_t versions)
{
    struct talk talk = {.front = front_with((struct front_options){.versions = versions}),
                        .back = back_with(trusting("www.example.com"))};

    talk.pair = pair_of(talk.front, talk.back, NULL, "");
    shake_hands(&talk.pair);
    expect_text(&talk.pair.client, ""); /* takes the ticket in */
    return talk;
}

static void talk_free(struct talk *talk)
{
    pair_free(&talk->pair);
    lp_tls_front_destroy(talk->front);
    lp_tls_back_destroy(talk->back);
}

static void bytes_of_any_number_arrive_in_pieces_of_any_size(void **state)
{
    static const size_t sizes[] = {1, 2, 1369, 1370, 1371, 16383, 16384, 16385, 40000, 300000};
    static const size_t pieces[] = {1u << 20, 16384, 5000, 17, 1};
    char *text = malloc(300000), *got = malloc(300000 + LP_TLS_PLAIN_BYTES_MAX);
    struct talk talk = talk_of(LP_TLS_1_2 | LP_TLS_1_3);

    (void)state;
    for (size_t i = 0; i < 300000; i++)
        text[i] = (char)(i * 31 + i / 251);
    for (size_t s = 0; s < LP_COUNT_OF(sizes); s++)
        for (size_t p = 0; p < LP_COUNT_OF(pieces); p++) {
            struct end far = {0};
            size_t total = 0, at = 0;

            far.inbox = malloc(WIRE_BYTES);
            seal(&talk.pair.server, &far, text, sizes[s], s * 10000 + p * 2000);
            while (at < far.inbox_size) {
                size_t size = far.inbox_size - at < pieces[p] ? far.inbox_size - at : pieces[p];
                enum lp_tls_result last;
                talk.pair.client.inbox_size = 0;
                put(&talk.pair.client, far.inbox + at, size);
                total += open_all(&talk.pair.client, got + total,
                                  300000 + LP_TLS_PLAIN_BYTES_MAX - total, &last);
                assert_int_equal(last, LP_TLS_MORE);
                assert_int_equal(talk.pair.client.inbox_size, 0);
                at += size;
            }
            assert_int_equal(total, sizes[s]);
            assert_memory_equal(got, text, total);
            free(far.inbox);
        }
    talk_free(&talk);
    free(text);
    free(got);
}

static void sealing_in_place_gives_what_sealing_elsewhere_does(void **state)
{
    char *memory = malloc(400000), *got = malloc(300000), *text = malloc(262144);
    enum lp_tls_result last;

    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++) {
        struct talk talk = talk_of(versions);
        for (size_t i = 0; i < 262144; i++)
            text[i] = (char)(i * 7 + i / 253);
        uint32_t records = lp_tls_records(talk.pair.server.tls, 262144, 1);
        uint32_t added = records * LP_TLS_RECORD_OVERHEAD + LP_TLS_SEAL_SLACK;
        struct lp_slice plain = {memory + added, 262144};
        struct lp_tls_wire wire = {.out = memory, .out_room = added + 262144};

        assert_true(added <= LP_HEADROOM_BYTES);
        memcpy(memory + added, text, 262144);
        assert_int_equal(lp_tls_seal(talk.pair.server.tls, &wire, &plain, 1), LP_TLS_DATA);
        assert_true(wire.out_size <= added + 262144);
        put(&talk.pair.client, memory, wire.out_size);
        assert_int_equal(open_all(&talk.pair.client, got, 300000, &last), 262144);
        assert_memory_equal(got, text, 262144);
        talk_free(&talk);
    }
    free(memory);
    free(got);
    free(text);
}

static void records_are_small_after_a_pause_and_large_in_a_stream(void **state)
{
    struct talk talk = talk_of(LP_TLS_1_3);
    struct lp_tls *tls = talk.pair.server.tls;
    char *text = calloc(1, 100000);

    (void)state;
    assert_int_equal(lp_tls_records(tls, 1370, 5), 1);
    assert_int_equal(lp_tls_records(tls, 1371, 5), 2);
    assert_int_equal(lp_tls_records(tls, 16 * 1370 + 16385, 5), 18);
    seal(&talk.pair.server, &talk.pair.client, text, 100000, 5);
    assert_int_equal(lp_tls_records(tls, 16384, 900), 1);
    assert_int_equal(lp_tls_records(tls, 1371, 1100), 2);
    free(text);
    talk_free(&talk);
}

static void what_does_not_fit_waits(void **state)
{
    struct talk talk = talk_of(LP_TLS_1_3);
    char out[3000], text[5000] = {0};
    struct lp_tls_wire wire = {.out = out, .out_room = sizeof(out)};
    struct lp_slice plain = {text, sizeof(text)};

    (void)state;
    assert_int_equal(lp_tls_seal(talk.pair.server.tls, &wire, &plain, 5), LP_TLS_FULL);
    assert_int_equal(plain.size, 5000 - 2 * 1370);
    put(&talk.pair.client, out, wire.out_size);
    wire.out_size = 0;
    assert_int_equal(lp_tls_seal(talk.pair.server.tls, &wire, &plain, 5), LP_TLS_DATA);
    put(&talk.pair.client, out, wire.out_size);
    char got[20000];
    enum lp_tls_result last;
    assert_int_equal(open_all(&talk.pair.client, got, sizeof(got), &last), 5000);
    talk_free(&talk);
}

static void a_close_notify_ends_one_direction_only(void **state)
{
    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++) {
        struct talk talk = talk_of(versions);
        char out[LP_TLS_CONTROL_BYTES], got[100];
        struct lp_tls_wire wire = {.out = out, .out_room = sizeof(out)};
        enum lp_tls_result last;

        seal(&talk.pair.client, &talk.pair.server, "last words", 10, 0);
        lp_tls_close(talk.pair.client.tls, &wire);
        assert_true(wire.out_size > 0);
        put(&talk.pair.server, out, wire.out_size);
        assert_int_equal(open_all(&talk.pair.server, got, sizeof(got), &last), 10);
        assert_int_equal(last, LP_TLS_CLOSED);
        seal(&talk.pair.server, &talk.pair.client, "an answer", 9, 0);
        expect_text(&talk.pair.client, "an answer");
        talk_free(&talk);
    }
}

static void a_record_that_was_changed_on_its_way_is_an_error(void **state)
{
    struct talk talk = talk_of(LP_TLS_1_3);
    char got[100];
    enum lp_tls_result last;

    (void)state;
    seal(&talk.pair.client, &talk.pair.server, "hello", 5, 0);
    talk.pair.server.inbox[8] ^= 1;
    assert_int_equal(open_all(&talk.pair.server, got, sizeof(got), &last), 0);
    assert_int_equal(last, LP_TLS_FAILED);
    assert_string_not_equal(lp_tls_error(talk.pair.server.tls), "no error");
    talk_free(&talk);
}

static void a_context_may_go_before_its_sessions(void **state)
{
    struct talk talk = talk_of(LP_TLS_1_3);

    (void)state;
    lp_tls_front_destroy(talk.front);
    lp_tls_back_destroy(talk.back);
    seal(&talk.pair.client, &talk.pair.server, "still here", 10, 0);
    expect_text(&talk.pair.server, "still here");
    pair_free(&talk.pair);
}

/* In the middle of a handshake, too: tickets are sealed at its end. */
static void a_context_may_go_while_hands_are_shaken(void **state)
{
    struct lp_tls_front *front = front_with((struct front_options){.versions = LP_TLS_1_3});
    struct lp_tls_back *back = back_with(trusting("www.example.com"));
    struct pair pair = pair_of(front, back, NULL, "");

    (void)state;
    assert_int_equal(shake(&pair.client, &pair.server, SIZE_MAX, LP_TLS_FLIGHT_BYTES), LP_TLS_MORE);
    lp_tls_front_destroy(front);
    lp_tls_back_destroy(back);
    shake_hands(&pair);
    pair_free(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_shake_hands_and_speak),
        cmocka_unit_test(a_handshake_goes_byte_by_byte_into_little_room),
        cmocka_unit_test(a_server_for_another_name_is_refused),
        cmocka_unit_test(a_demanded_client_certificate_is_verified_and_named),
        cmocka_unit_test(only_tickets_of_tls_1_3_can_wait),
        cmocka_unit_test(a_ticket_is_good_where_secret_listener_and_certificate_are_the_same),
        cmocka_unit_test(a_ticket_is_good_for_hours_and_not_for_days),
        cmocka_unit_test(no_ticket_is_refused_because_its_hidden_age_wraps),
        cmocka_unit_test(six_hundred_resumptions_in_a_chain_succeed),
        cmocka_unit_test(a_ticket_of_a_server_is_not_used_by_those_who_trust_others),
        cmocka_unit_test(bytes_of_any_number_arrive_in_pieces_of_any_size),
        cmocka_unit_test(sealing_in_place_gives_what_sealing_elsewhere_does),
        cmocka_unit_test(records_are_small_after_a_pause_and_large_in_a_stream),
        cmocka_unit_test(what_does_not_fit_waits),
        cmocka_unit_test(a_close_notify_ends_one_direction_only),
        cmocka_unit_test(a_record_that_was_changed_on_its_way_is_an_error),
        cmocka_unit_test(a_context_may_go_before_its_sessions),
        cmocka_unit_test(a_context_may_go_while_hands_are_shaken),
    };

    return cmocka_run_group_tests_name("tls session", tests, make_folder, remove_folder);
}
