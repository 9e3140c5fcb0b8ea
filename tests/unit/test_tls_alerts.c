/* Alerts: who is refused hears why, once, in a record of two bytes (RFC 8446, 6; RFC 5246, 7.2). */
#include "tests/unit/tls_pair.h"

enum {
    UNEXPECTED_MESSAGE = 10,
    RECORD_OVERFLOW = 22,
    DECODE_ERROR = 50,
    PROTOCOL_VERSION = 70,
};

static struct lp_tls_front *front;

static int make_front(void **state)
{
    if (make_folder(state) != 0)
        return -1;
    front = front_with((struct front_options){0});
    return 0;
}

static int remove_front(void **state)
{
    lp_tls_front_destroy(front);
    return remove_folder(state);
}

/* What a server on that front answers to a client that says this first and fails by it. */
static struct lp_tls_wire answer(const struct lp_tls_front *to, const void *bytes, size_t size)
{
    static char out[LP_TLS_FLIGHT_BYTES];
    struct lp_hello hello = {0};
    struct lp_tls_wire wire = {.in = {bytes, size}, .out = out, .out_room = sizeof(out)};
    struct lp_tls *tls = lp_tls_accept(to, &hello);

    assert_non_null(tls);
    assert_int_equal(lp_tls_handshake(tls, &wire), LP_TLS_FAILED);
    assert_false(lp_tls_is_established(tls));
    assert_string_not_equal(lp_tls_error(tls), "no error");
    lp_tls_destroy(tls);
    return wire;
}

static void expect_alert(const struct lp_tls_front *to, const void *bytes, size_t size,
                         uint8_t description)
{
    struct lp_tls_wire wire = answer(to, bytes, size);

    assert_int_equal(wire.out_size, 7);
    assert_int_equal(wire.out[0], 21);
    assert_int_equal(wire.out[1], 3);
    assert_int_equal(wire.out[3], 0);
    assert_int_equal(wire.out[4], 2);
    assert_int_equal(wire.out[5], 2); /* fatal */
    assert_int_equal(wire.out[6], description);
}

#define EXPECT_ALERT(text, description) expect_alert(front, text, sizeof(text) - 1, description)

static void what_does_not_begin_with_a_hello_is_an_unexpected_message(void **state)
{
    (void)state;
    EXPECT_ALERT("\x17\x03\x03\x00\x01x", UNEXPECTED_MESSAGE);          /* application data */
    EXPECT_ALERT("\x14\x03\x03\x00\x01\x01", UNEXPECTED_MESSAGE);       /* change_cipher_spec */
    EXPECT_ALERT("\x63\x03\x03\x00\x01x", UNEXPECTED_MESSAGE);          /* no type at all */
    EXPECT_ALERT("\x16\x03\x03\x00\x04\x14\0\0\0", UNEXPECTED_MESSAGE); /* Finished */
    EXPECT_ALERT("\x16\x03\x03\x00\x04\x0e\0\0\0", UNEXPECTED_MESSAGE); /* ServerHelloDone */
}

static void a_record_with_more_than_16_kib_overflows(void **state)
{
    (void)state;
    static char record[5 + 0x5000] = "\x16\x03\x01\x50\x00\x01";

    expect_alert(front, record, sizeof(record), RECORD_OVERFLOW);
}

static void a_hello_that_is_cut_short_cannot_be_decoded(void **state)
{
    (void)state;
    EXPECT_ALERT("\x16\x03\x01\x00\x06\x01\0\0\x02\x03\x03", DECODE_ERROR);
}

static size_t read_hello(char *out, size_t out_max)
{
    FILE *file = fopen("tests/fuzz/corpus/hello/openssl-tls1.2-no-name", "r");

    assert_non_null(file);
    size_t size = fread(out, 1, out_max, file);
    fclose(file);
    return size;
}

static void a_version_that_is_not_spoken_is_called_that(void **state)
{
    struct lp_tls_front *newer = front_with((struct front_options){.versions = LP_TLS_1_3});
    char bytes[1000];
    size_t size = read_hello(bytes, sizeof(bytes));

    (void)state;
    expect_alert(newer, bytes, size, PROTOCOL_VERSION);
    bytes[10] = 1; /* ClientHello.legacy_version 3.1: TLS 1.0 */
    expect_alert(front, bytes, size, PROTOCOL_VERSION);
    lp_tls_front_destroy(newer);
}

static void an_alert_is_not_answered(void **state)
{
    (void)state;
    assert_int_equal(answer(front, "\x15\x03\x03\x00\x02\x02\x28", 7).out_size, 0);
}

static void expect_beginning(const char *text, const char *expected)
{
    if (strncmp(text, expected, strlen(expected)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", text, expected);
}

/* What both sides say when the handshake has failed between them. */
static void expect_texts(const struct lp_tls_front *of, const struct lp_tls_back *back,
                         const char *server, const char *client)
{
    struct pair pair = pair_of(of, back, NULL, "");
    enum lp_tls_result last;
    char nothing[100];

    assert_false(shake_hands_at(&pair, whole));
    /* The other side reads what has come last. */
    for (int i = 0; i < 2; i++) {
        struct end *me = i == 0 ? &pair.client : &pair.server;
        struct end *other = i == 0 ? &pair.server : &pair.client;
        if (me->inbox_size > 0 && lp_tls_is_established(me->tls))
            open_all(me, nothing, sizeof(nothing), &last);
        else if (me->inbox_size > 0)
            shake(me, other, SIZE_MAX, LP_TLS_FLIGHT_BYTES);
    }
    expect_beginning(lp_tls_error(pair.server.tls), server);
    expect_beginning(lp_tls_error(pair.client.tls), client);
    pair_free(&pair);
}

static void both_sides_know_why_hands_were_not_shaken(void **state)
{
    struct lp_tls_back *nobody = back_with((struct lp_cfg_back_tls){.verify = false});
    struct lp_tls_back *stranger = back_with((struct lp_cfg_back_tls){
        .cert = file_with("rsa.pem", PKI_RSA), .key = file_with("rsa.key", PKI_RSA_KEY)});
    struct lp_tls_back *distrustful = back_with((struct lp_cfg_back_tls){
        .verify = true, .name = LP_SLICE("www.example.com"), .ca = file_with("ca.pem", PKI_RSA)});

    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++) {
        struct lp_tls_front *strict =
            front_with((struct front_options){.versions = versions, .client_ca = PKI_ROOT});
        struct lp_tls_front *open = front_with((struct front_options){.versions = versions});

        expect_texts(strict, nobody, "the client sent no certificate",
                     "the peer refused"); /* with the alert of its version */
        expect_texts(strict, stranger, "the peer's certificate is not signed by a known CA",
                     "the peer refused: it does not know the CA (alert 48)");
        expect_texts(open, distrustful, "the peer refused: it does not know the CA (alert 48)",
                     "the peer's certificate is not signed by a known CA");
        lp_tls_front_destroy(strict);
        lp_tls_front_destroy(open);
    }
    lp_tls_back_destroy(nobody);
    lp_tls_back_destroy(stranger);
    lp_tls_back_destroy(distrustful);
}

/* In a session, too, and as a record like all others there. */
static void who_sends_a_broken_record_is_told_once(void **state)
{
    (void)state;
    for (uint32_t versions = LP_TLS_1_2; versions <= LP_TLS_1_3; versions++) {
        struct lp_tls_front *of = front_with((struct front_options){.versions = versions});
        struct lp_tls_back *back = back_with(trusting("www.example.com"));
        struct pair pair = pair_of(of, back, NULL, "");
        char out[LP_TLS_CONTROL_BYTES], plain[LP_TLS_PLAIN_BYTES_MAX];
        enum lp_tls_result last;
        size_t size;

        shake_hands(&pair);
        expect_text(&pair.client, "");
        seal(&pair.client, &pair.server, "hello", 5, 0);
        pair.server.inbox[pair.server.inbox_size - 1] ^= 1;
        struct lp_tls_wire wire = {
            .in = {pair.server.inbox, pair.server.inbox_size}, .out = out, .out_room = sizeof(out)};
        assert_int_equal(lp_tls_open(pair.server.tls, &wire, plain, &size), LP_TLS_FAILED);
        put(&pair.client, out, wire.out_size);
        wire.out_size = 0;
        assert_int_equal(lp_tls_open(pair.server.tls, &wire, plain, &size), LP_TLS_FAILED);
        assert_int_equal(wire.out_size, 0);
        assert_int_equal(open_all(&pair.client, plain, sizeof(plain), &last), 0);
        assert_int_equal(last, LP_TLS_FAILED);
        expect_beginning(lp_tls_error(pair.client.tls), "the peer refused");
        pair_free(&pair);
        lp_tls_front_destroy(of);
        lp_tls_back_destroy(back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_begin_with_a_hello_is_an_unexpected_message),
        cmocka_unit_test(a_record_with_more_than_16_kib_overflows),
        cmocka_unit_test(a_hello_that_is_cut_short_cannot_be_decoded),
        cmocka_unit_test(a_version_that_is_not_spoken_is_called_that),
        cmocka_unit_test(an_alert_is_not_answered),
        cmocka_unit_test(both_sides_know_why_hands_were_not_shaken),
        cmocka_unit_test(who_sends_a_broken_record_is_told_once),
    };

    return cmocka_run_group_tests_name("tls alerts", tests, make_front, remove_front);
}
