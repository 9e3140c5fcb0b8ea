/* hello: what real clients say, and what nobody may say. Input lies before a guard page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"
#include "tls/tls.h"

/* ---- Bytes that a client sends ---- */

struct draft {
    uint8_t bytes[100000];
    size_t size;
};

static void put_bytes(struct draft *draft, const void *bytes, size_t size)
{
    assert_true(size <= sizeof(draft->bytes) - draft->size);
    if (size > 0)
        memcpy(draft->bytes + draft->size, bytes, size);
    draft->size += size;
}

static void put(struct draft *draft, size_t size, uint32_t number)
{
    for (size_t i = size; i-- > 0;)
        put_bytes(draft, &(uint8_t){(uint8_t)(number >> 8 * i)}, 1);
}

/* A vector: its length, then what is put until it ends. */
static size_t begin(struct draft *draft, size_t length_size)
{
    put(draft, length_size, 0);
    return draft->size;
}

static void end(struct draft *draft, size_t begun, size_t length_size)
{
    size_t size = draft->size - begun;

    for (size_t i = 0; i < length_size; i++)
        draft->bytes[begun - 1 - i] = (uint8_t)(size >> 8 * i);
}

static size_t begin_extension(struct draft *draft, uint32_t type)
{
    put(draft, 2, type);
    return begin(draft, 2);
}

static void put_extension(struct draft *draft, uint32_t type, const void *body, size_t size)
{
    size_t begun = begin_extension(draft, type);

    put_bytes(draft, body, size);
    end(draft, begun, 2);
}

static void put_name(struct draft *draft, const void *name, size_t size)
{
    size_t extension = begin_extension(draft, 0), list = begin(draft, 2);

    put(draft, 1, 0);
    put(draft, 2, (uint32_t)size);
    put_bytes(draft, name, size);
    end(draft, list, 2);
    end(draft, extension, 2);
}

/* A handshake message around extensions, of which NULL stands for none at all. */
static struct draft *message_of(const struct draft *extensions, uint32_t version)
{
    static struct draft message;

    message.size = 0;
    put(&message, 1, 1);
    size_t whole = begin(&message, 3);
    put(&message, 2, version);
    for (uint32_t i = 0; i < 32; i++)
        put(&message, 1, i);
    put(&message, 1, 0);          /* no session */
    put(&message, 2, 4);          /* suites */
    put(&message, 4, 0x0a0a1301); /* GREASE and TLS_AES_128_GCM_SHA256 */
    put(&message, 2, 0x0100);     /* one compression method: none */
    if (extensions != NULL) {
        put(&message, 2, (uint32_t)extensions->size);
        put_bytes(&message, extensions->bytes, extensions->size);
    }
    end(&message, whole, 3);
    return &message;
}

/* In records of at most so many bytes, each behind a head. */
static struct draft *records_of(const struct draft *message, size_t fragment_size)
{
    static struct draft records;

    records.size = 0;
    for (size_t at = 0; at < message->size; at += fragment_size) {
        size_t rest = message->size - at;
        put(&records, 3, 0x160301);
        size_t begun = begin(&records, 2);
        put_bytes(&records, message->bytes + at, rest < fragment_size ? rest : fragment_size);
        end(&records, begun, 2);
    }
    return &records;
}

/* ---- What comes of them ---- */

/* RFC 8446, 6. */
enum { UNEXPECTED_MESSAGE = 10, RECORD_OVERFLOW = 22, HANDSHAKE_FAILURE = 40 };
enum { ILLEGAL_PARAMETER = 47, DECODE_ERROR = 50, MISSING_EXTENSION = 109 };

static struct lp_hello hello;

static enum lp_hello_outcome parse(const void *bytes, size_t size)
{
    memset(&hello, 0xa5, sizeof(hello));
    return lp_hello_parse(&hello, (struct lp_slice){guarded(bytes, size), size});
}

static enum lp_hello_outcome parse_extensions(const struct draft *extensions)
{
    struct draft *records = records_of(message_of(extensions, 0x0303), 16384);

    return parse(records->bytes, records->size);
}

/* However little has come, it means the same or nothing yet. */
static void assert_every_prefix(const void *bytes, size_t size, enum lp_hello_outcome expected)
{
    bool is_decided = false;

    for (size_t there = 0; there <= size; there++) {
        enum lp_hello_outcome outcome = parse(bytes, there);
        if (outcome != expected && (is_decided || outcome != LP_HELLO_MORE))
            fail_msg("outcome %d of %zu bytes of %zu, not %d", outcome, there, size, expected);
        is_decided = outcome == expected;
    }
    assert_true(is_decided);
}

static void assert_name(const char *name)
{
    assert_string_equal(hello.name, name);
    assert_int_equal(hello.name_size, strlen(name));
}

/* ---- Real clients ---- */

/* What they sent first: the corpus of the fuzz target has it, too. */
static const struct client {
    const char *file, *name;
    bool offers_1_3, has_alpn, offers_http_1_1, offers_h2;
} clients[] = {
    /* clang-format off */
    {"openssl",                "limpet.test", true,  true,  true,  true},
    {"openssl-tls1.2-no-name", "",            false, false, false, false},
    {"curl",                   "limpet.test", true,  true,  true,  true},
    {"node",                   "limpet.test", true,  false, false, false},
    {"chromium",               "limpet.test", true,  true,  true,  true},
    {"wolfssl-mlkem",          "limpet.test", true,  true,  true,  true},
    /* `openssl s_client -alpn h2,http/1.1` and net/http, to a socket that wrote down what came. */
    {"openssl-3.5",            "limpet.test", true,  true,  true,  true},
    {"go-1.24",                "limpet.test", true,  true,  true,  true},
    /* clang-format on */
};

static struct draft *sent_by(const struct client *client)
{
    static struct draft sent;
    char path[100];

    snprintf(path, sizeof(path), "tests/fuzz/corpus/hello/%s", client->file);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    sent.size = fread(sent.bytes, 1, sizeof(sent.bytes), file);
    fclose(file);
    return &sent;
}

static void assert_said_by(const struct client *client)
{
    assert_name(client->name);
    assert_true(hello.offers_1_2);
    assert_int_equal(hello.offers_1_3, client->offers_1_3);
    assert_int_equal(hello.has_alpn, client->has_alpn);
    assert_int_equal(hello.offers_http_1_1, client->offers_http_1_1);
    assert_int_equal(hello.offers_h2, client->offers_h2);
    assert_true(hello.has_common_group);
    assert_false(hello.offers_early_data);
}

static void real_clients_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(clients); i++) {
        struct draft *sent = sent_by(&clients[i]);
        assert_every_prefix(sent->bytes, sent->size, LP_HELLO_DONE);
        assert_said_by(&clients[i]);
    }
}

static void the_cut_into_records_does_not_matter(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 50, 100, 135, 1000, 1900};

    for (size_t i = 0; i < LP_COUNT_OF(clients); i++)
        for (size_t k = 0; k < LP_COUNT_OF(sizes); k++) {
            struct draft message = *sent_by(&clients[i]), *records;
            message.size -= 5;
            memmove(message.bytes, message.bytes + 5, message.size);
            records = records_of(&message, sizes[k]);
            assert_int_equal(parse(records->bytes, records->size), LP_HELLO_DONE);
            assert_said_by(&clients[i]);
            if (i == 0)
                assert_every_prefix(records->bytes, records->size, LP_HELLO_DONE);
        }
}

static void what_follows_the_hello_is_nobodys_business_here(void **state)
{
    (void)state;
    struct draft *sent = sent_by(&clients[0]);

    put(sent, 3, 0x140303); /* change cipher spec: middlebox compatibility */
    put(sent, 3, 0x000101);
    put(sent, 1, 0x99);
    assert_every_prefix(sent->bytes, sent->size, LP_HELLO_DONE);
    assert_name("limpet.test");
}

/* ---- Not TLS, too large ---- */

static void what_begins_unlike_a_handshake_record_is_not_tls(void **state)
{
    (void)state;
    static const char *const others[] = {"GET / HTTP/1.1\r\n\r\n", "\x80\x2e\x01\x03\x01",
                                         "SSH-2.0-x\r\n",          "\x15\x03\x01",
                                         "\x16\x02\x01\x01",       "\x16\x16"};

    for (size_t i = 0; i < LP_COUNT_OF(others); i++)
        assert_every_prefix(others[i], strlen(others[i]), LP_HELLO_NOT_TLS);
    assert_int_equal(parse("", 0), LP_HELLO_MORE);
    assert_int_equal(parse("\x16", 1), LP_HELLO_MORE);
    assert_int_equal(parse("\x16\x03", 2), LP_HELLO_MORE);
}

/* A message that is as large as said, padded with an extension. */
static struct draft *message_of_size(size_t size)
{
    static struct draft extensions;
    static const uint8_t zeros[20000];

    extensions.size = 0;
    put_name(&extensions, "a.example", 9);
    put_extension(&extensions, 21, NULL, 0);
    size_t least = message_of(&extensions, 0x0303)->size;
    extensions.size -= 4;
    put_extension(&extensions, 21, zeros, size - least);
    return message_of(&extensions, 0x0303);
}

static void a_hello_is_whole_within_16_kib_of_records_or_too_large(void **state)
{
    (void)state;
    struct draft *records = records_of(message_of_size(16379), 16384);

    assert_int_equal(records->size, LP_TLS_HELLO_BYTES_MAX);
    assert_every_prefix(records->bytes, records->size, LP_HELLO_DONE);
    assert_name("a.example");
    records = records_of(message_of_size(16380), 16384);
    assert_every_prefix(records->bytes, records->size, LP_HELLO_TOO_LARGE);
    /* Heads count. */
    records = records_of(message_of_size(16374), 16373);
    assert_int_equal(records->size, LP_TLS_HELLO_BYTES_MAX);
    assert_every_prefix(records->bytes, records->size, LP_HELLO_DONE);
    records = records_of(message_of_size(16375), 16373);
    assert_every_prefix(records->bytes, records->size, LP_HELLO_TOO_LARGE);
    records = records_of(message_of_size(2731), 1);
    assert_every_prefix(records->bytes, records->size, LP_HELLO_TOO_LARGE);
}

static void a_message_too_large_is_known_by_its_head(void **state)
{
    (void)state;
    assert_int_equal(parse("\x16\x03\x01\x10\x00\x01\x00\x40\x00", 9), LP_HELLO_TOO_LARGE);
    assert_int_equal(parse("\x16\x03\x01\x10\x00\x01\xff\xff\xff", 9), LP_HELLO_TOO_LARGE);
    assert_int_equal(parse("\x16\x03\x01\x10\x00\x01\x00\x0f\xfc", 9), LP_HELLO_MORE);
}

/* ---- Bad records ---- */

static void records_that_hold_no_hello_are_bad(void **state)
{
    (void)state;
    static const struct lp_slice bad[] = {
        LP_SLICE("\x16\x03\x01\x00\x00"),                             /* empty */
        LP_SLICE("\x16\x03\x01\x41\x01"),                             /* above 2^14 + 256 */
        LP_SLICE("\x16\x03\x01\x00\x04\x02"),                         /* ServerHello */
        LP_SLICE("\x16\x03\x01\x00\x04\x00"),                         /* HelloRequest */
        LP_SLICE("\x16\x03\x01\x00\x04\x01\x00\x00\x00"),             /* an empty ClientHello */
        LP_SLICE("\x16\x03\x01\x00\x05\x01\x00\x00\x00\x01"),         /* and more behind it */
        LP_SLICE("\x16\x03\x01\x00\x02\x01\x00\x16\x03\x01\x00\x00"), /* empty in between */
        LP_SLICE("\x16\x03\x01\x00\x02\x01\x00\x15"),                 /* an alert in between */
        LP_SLICE("\x16\x03\x01\x00\x02\x01\x00\x16\x02"),
    };

    for (size_t i = 0; i < LP_COUNT_OF(bad); i++)
        assert_every_prefix(bad[i].data, bad[i].size, LP_HELLO_BAD);
}

static void a_record_ends_with_its_hello(void **state)
{
    (void)state;
    struct draft *message = message_of(NULL, 0x0303);

    put(message, 1, 1); /* of another message */
    struct draft *records = records_of(message, 16384);
    assert_every_prefix(records->bytes, records->size, LP_HELLO_BAD);
    records = records_of(message, message->size - 2);
    assert_every_prefix(records->bytes, records->size, LP_HELLO_BAD);
}

/* Its head says that it ends where it was cut. */
static void no_cut_message_is_a_hello_unless_only_its_extensions_are_missing(void **state)
{
    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(clients); i++) {
        struct draft *sent = sent_by(&clients[i]);
        uint32_t done_count = 0;
        for (size_t size = sent->size - 1; size > 9; size--) {
            sent->bytes[3] = (uint8_t)((size - 5) >> 8);
            sent->bytes[4] = (uint8_t)(size - 5);
            sent->bytes[7] = (uint8_t)((size - 9) >> 8);
            sent->bytes[8] = (uint8_t)(size - 9);
            enum lp_hello_outcome outcome = parse(sent->bytes, size);
            done_count += outcome == LP_HELLO_DONE;
            assert_true(outcome == LP_HELLO_DONE || outcome == LP_HELLO_BAD);
        }
        assert_int_equal(done_count, 1);
    }
}

static void any_byte_may_be_any_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(clients); i++) {
        struct draft *sent = sent_by(&clients[i]);
        for (size_t at = 0; at < sent->size; at++)
            for (uint32_t k = 0; k < 8; k++) {
                sent->bytes[at] ^= (uint8_t)(1u << k);
                if (parse(sent->bytes, sent->size) == LP_HELLO_DONE)
                    assert_int_equal(strlen(hello.name), hello.name_size);
                sent->bytes[at] ^= (uint8_t)(1u << k);
            }
    }
}

/* ---- Bad messages ---- */

static void the_parts_before_the_extensions_have_their_sizes(void **state)
{
    (void)state;
    /* Places in the message: version 4, session 38, suites 39, compressions 45. */
    static const struct {
        size_t at;
        uint8_t byte;
    } changes[] = {{4, 2},  {4, 4},  {38, 1}, {38, 33}, {39, 1},
                   {40, 0}, {40, 3}, {40, 6}, {45, 0},  {45, 2}};

    for (size_t i = 0; i < LP_COUNT_OF(changes); i++) {
        struct draft *message = message_of(NULL, 0x0303);
        message->bytes[changes[i].at] = changes[i].byte;
        struct draft *records = records_of(message, 16384);
        assert_int_equal(parse(records->bytes, records->size), LP_HELLO_BAD);
    }
}

static void no_extension_comes_twice(void **state)
{
    (void)state;
    static const uint32_t types[] = {12, 14, 0x0a0a, 0xfffe, 65535};
    struct draft extensions = {.size = 0};

    put_extension(&extensions, 63, "", 0);
    put_extension(&extensions, 64, "", 0);
    for (size_t i = 0; i < LP_COUNT_OF(types); i++) {
        put_extension(&extensions, types[i], "x", 1);
        assert_int_equal(parse_extensions(&extensions), LP_HELLO_DONE);
    }
    for (size_t i = 0; i < LP_COUNT_OF(types); i++) {
        size_t before = extensions.size;
        put_extension(&extensions, types[i], "x", 1);
        assert_int_equal(parse_extensions(&extensions), LP_HELLO_BAD);
        assert_int_equal(hello.alert, ILLEGAL_PARAMETER);
        extensions.size = before;
    }
}

static void extensions_fill_their_length_exactly(void **state)
{
    (void)state;
    struct draft extensions = {.size = 0};

    assert_int_equal(parse_extensions(&extensions), LP_HELLO_DONE); /* an empty list */
    put_extension(&extensions, 77, "abc", 3);
    extensions.bytes[3] = 4;
    assert_int_equal(parse_extensions(&extensions), LP_HELLO_BAD);
    extensions.bytes[3] = 2;
    assert_int_equal(parse_extensions(&extensions), LP_HELLO_BAD);
    extensions.bytes[3] = 0; /* then 'a', 'b', 'c' would begin another one */
    assert_int_equal(parse_extensions(&extensions), LP_HELLO_BAD);

    struct draft *message = message_of(&extensions, 0x0303);
    message->bytes[48]++;
    struct draft *records = records_of(message, 16384);
    assert_int_equal(parse(records->bytes, records->size), LP_HELLO_BAD);
}

/* ---- Names ---- */

static enum lp_hello_outcome parse_name(const void *name, size_t size)
{
    struct draft extensions = {.size = 0};

    put_name(&extensions, name, size);
    return parse_extensions(&extensions);
}

static void names_become_lower_case_without_a_trailing_dot(void **state)
{
    (void)state;
    assert_int_equal(parse_name("Www.EXAMPLE.com.", 16), LP_HELLO_DONE);
    assert_name("www.example.com");
    assert_int_equal(parse_name("_a-1.xn--bcher-kva.Z", 20), LP_HELLO_DONE);
    assert_name("_a-1.xn--bcher-kva.z");
    assert_int_equal(parse_name("x", 1), LP_HELLO_DONE);
    assert_name("x");
}

static void a_name_has_up_to_255_bytes(void **state)
{
    (void)state;
    char name[257];

    memset(name, 'a', sizeof(name));
    assert_int_equal(parse_name(name, 255), LP_HELLO_DONE);
    assert_int_equal(hello.name_size, 255);
    assert_int_equal(strlen(hello.name), 255);
    assert_int_equal(parse_name(name, 256), LP_HELLO_BAD);
    name[255] = '.';
    assert_int_equal(parse_name(name, 256), LP_HELLO_DONE);
}

static void what_no_host_name_has_is_bad(void **state)
{
    (void)state;
    static const struct lp_slice bad[] = {
        LP_SLICE(""),     LP_SLICE("."),     LP_SLICE(".."),        LP_SLICE("a.."),
        LP_SLICE(".a"),   LP_SLICE("a..b"),  LP_SLICE("a\0b"),      LP_SLICE("a\0"),
        LP_SLICE("a\nb"), LP_SLICE("a b"),   LP_SLICE("a/b"),       LP_SLICE("::1"),
        LP_SLICE("a:80"), LP_SLICE("*.com"), LP_SLICE("b\xc3\xbc"), LP_SLICE("a\x7f"),
        LP_SLICE("a@b"),  LP_SLICE("[a]"),   LP_SLICE("a\xff"),
    };

    for (size_t i = 0; i < LP_COUNT_OF(bad); i++)
        assert_int_equal(parse_name(bad[i].data, bad[i].size), LP_HELLO_BAD);
}

static enum lp_hello_outcome parse_one(uint32_t type, struct lp_slice body)
{
    struct draft extensions = {.size = 0};

    put_extension(&extensions, type, body.data, body.size);
    return parse_extensions(&extensions);
}

static void a_list_of_names_has_one_host_name_at_most(void **state)
{
    (void)state;
    assert_int_equal(parse_one(0, LP_SLICE("\0\x08\0\0\1a\0\0\1b")), LP_HELLO_BAD);
    assert_int_equal(parse_one(0, LP_SLICE("\0\x08\0\0\1a\0\0\1a")), LP_HELLO_BAD);
    /* Of a kind that nobody knows yet. */
    assert_int_equal(parse_one(0, LP_SLICE("\0\x09\7\0\2??\0\0\1b")), LP_HELLO_DONE);
    assert_name("b");
    assert_int_equal(parse_one(0, LP_SLICE("\0\x05\7\0\2??")), LP_HELLO_DONE);
    assert_name("");
}

static void a_list_of_names_has_its_length(void **state)
{
    (void)state;
    static const struct lp_slice bad[] = {
        LP_SLICE(""),
        LP_SLICE("\0"),
        LP_SLICE("\0\0"),
        LP_SLICE("\0\1\0"),
        LP_SLICE("\0\2\0\0"),
        LP_SLICE("\0\3\0\0\0"),
        LP_SLICE("\0\3\0\0\1"),
        LP_SLICE("\0\3\0\0\1a"),
        LP_SLICE("\0\4\0\0\2a"),
        LP_SLICE("\0\5\0\0\1a"),
        LP_SLICE("\0\4\0\0\1a_"),
        LP_SLICE("\0\5\0\0\1a\0"),
    };

    for (size_t i = 0; i < LP_COUNT_OF(bad); i++)
        assert_int_equal(parse_one(0, bad[i]), LP_HELLO_BAD);
    assert_int_equal(parse_one(0, LP_SLICE("\0\4\0\0\1a")), LP_HELLO_DONE);
}

/* ---- Protocols and versions ---- */

static void protocols_are_told_apart_byte_by_byte(void **state)
{
    (void)state;
    assert_int_equal(parse_one(16, LP_SLICE("\0\x0c\x02h2\x08http/1.1")), LP_HELLO_DONE);
    assert_true(hello.has_alpn && hello.offers_h2 && hello.offers_http_1_1);
    assert_int_equal(parse_one(16, LP_SLICE("\0\x0c\x02h3\x08http/1.0")), LP_HELLO_DONE);
    assert_true(hello.has_alpn && !hello.offers_h2 && !hello.offers_http_1_1);
    assert_int_equal(parse_one(16, LP_SLICE("\0\x0b\x01h\x08HTTP/1.1")), LP_HELLO_DONE);
    assert_true(hello.has_alpn && !hello.offers_h2 && !hello.offers_http_1_1);
    assert_int_equal(parse_one(17, LP_SLICE("\0\x03\x02h2")), LP_HELLO_DONE);
    assert_false(hello.has_alpn);
}

static void a_list_of_protocols_has_its_length(void **state)
{
    (void)state;
    static const struct lp_slice bad[] = {
        LP_SLICE(""),         LP_SLICE("\0\0"),       LP_SLICE("\0\1\0"),
        LP_SLICE("\0\2\2h2"), LP_SLICE("\0\4\2h2"),   LP_SLICE("\0\3\3h2"),
        LP_SLICE("\0\3\1h2"), LP_SLICE("\0\4\2h2\0"), LP_SLICE("\0\3\2h2\0"),
    };

    for (size_t i = 0; i < LP_COUNT_OF(bad); i++)
        assert_int_equal(parse_one(16, bad[i]), LP_HELLO_BAD);
}

static void supported_versions_count_before_the_legacy_one(void **state)
{
    (void)state;
    assert_int_equal(parse_one(43, LP_SLICE("\4\x7a\x7a\3\4")), LP_HELLO_DONE);
    assert_true(hello.offers_1_3 && !hello.offers_1_2);
    assert_int_equal(parse_one(43, LP_SLICE("\4\3\4\3\3")), LP_HELLO_DONE);
    assert_true(hello.offers_1_3 && hello.offers_1_2);
    assert_int_equal(parse_one(43, LP_SLICE("\2\3\2")), LP_HELLO_DONE);
    assert_true(!hello.offers_1_3 && !hello.offers_1_2);
}

static void without_supported_versions_the_legacy_one_counts(void **state)
{
    (void)state;
    for (uint32_t version = 0x0300; version <= 0x0305; version++)
        for (int fragment_size = 1; fragment_size <= 16384; fragment_size += 16383) {
            struct draft *records = records_of(message_of(NULL, version), (size_t)fragment_size);
            assert_every_prefix(records->bytes, records->size, LP_HELLO_DONE);
            assert_int_equal(hello.offers_1_2, version >= 0x0303);
            assert_false(hello.offers_1_3);
            assert_false(hello.has_alpn);
            assert_name("");
        }
}

static void a_list_of_versions_has_its_length(void **state)
{
    (void)state;
    static const struct lp_slice bad[] = {
        LP_SLICE(""),         LP_SLICE("\0"),         LP_SLICE("\1\3"),   LP_SLICE("\2\3"),
        LP_SLICE("\3\3\4\3"), LP_SLICE("\2\3\4\3\3"), LP_SLICE("\4\3\4"),
    };

    for (size_t i = 0; i < LP_COUNT_OF(bad); i++)
        assert_int_equal(parse_one(43, bad[i]), LP_HELLO_BAD);
}

/* ---- Alerts for what the library would let pass ---- */

static void a_record_of_more_than_16_kib_deserves_record_overflow(void **state)
{
    (void)state;
    assert_int_equal(parse("\x16\x03\x01\x40\x01\x01", 6), LP_HELLO_BAD);
    assert_int_equal(hello.alert, RECORD_OVERFLOW);
    assert_int_equal(parse("\x16\x03\x01\x40\x00\x01", 6), LP_HELLO_MORE);
}

static void neither_an_empty_record_nor_another_kind_is_part_of_a_hello(void **state)
{
    (void)state;
    assert_int_equal(parse("\x16\x03\x01\x00\x00\x01", 6), LP_HELLO_BAD);
    assert_int_equal(hello.alert, UNEXPECTED_MESSAGE);
    for (char type = 20; type <= 24; type++) {
        char records[] = "\x16\x03\x01\x00\x01\x01?\x03\x03\x00\x01\x01";
        records[6] = type;
        assert_int_equal(parse(records, 12), type == 22 ? LP_HELLO_MORE : LP_HELLO_BAD);
    }
}

/* Lists of numbers of two bytes, behind the length of all. */
static void lists_of_groups_and_signatures_have_their_length(void **state)
{
    (void)state;
    static const struct lp_slice bad[] = {
        LP_SLICE(""),           LP_SLICE("\0\0"),
        LP_SLICE("\0\1\0"),     LP_SLICE("\0\3\0\x1d\0"),
        LP_SLICE("\0\4\0\x1d"), LP_SLICE("\0\2\0\x1d\0"),
    };

    for (uint32_t type = 10; type <= 13; type += 3) {
        for (size_t i = 0; i < LP_COUNT_OF(bad); i++) {
            assert_int_equal(parse_one(type, bad[i]), LP_HELLO_BAD);
            assert_int_equal(hello.alert, DECODE_ERROR);
        }
        assert_int_equal(parse_one(type, LP_SLICE("\0\4\x0a\x0a\0\x1d")), LP_HELLO_DONE);
    }
}

static void a_common_group_is_one_of_ours(void **state)
{
    (void)state;
    static const uint32_t ours[] = {23, 24, 25, 29, 0x11eb, 0x11ec, 0x11ed};

    assert_int_equal(parse_one(10, LP_SLICE("\0\6\x1a\x1a\0\x1e\1\0")), LP_HELLO_DONE);
    assert_false(hello.has_common_group);
    for (size_t i = 0; i < LP_COUNT_OF(ours); i++) {
        char groups[] = {0, 4, 0x1a, 0x1a, (char)(ours[i] >> 8), (char)ours[i]};
        assert_int_equal(parse_one(10, (struct lp_slice){groups, sizeof(groups)}), LP_HELLO_DONE);
        assert_true(hello.has_common_group);
    }
}

static void early_data_and_psk_modes_have_their_form(void **state)
{
    (void)state;
    assert_int_equal(parse_one(42, LP_SLICE("")), LP_HELLO_DONE);
    assert_true(hello.offers_early_data);
    assert_int_equal(parse_one(42, LP_SLICE("x")), LP_HELLO_BAD);
    assert_int_equal(hello.alert, DECODE_ERROR);
    assert_int_equal(parse_one(45, LP_SLICE("\2\1\7")), LP_HELLO_DONE);
    assert_int_equal(parse_one(45, LP_SLICE("\0")), LP_HELLO_BAD);
    assert_int_equal(hello.alert, DECODE_ERROR);
}

static void a_first_hello_renegotiates_nothing(void **state)
{
    (void)state;
    assert_int_equal(parse_one(0xff01, LP_SLICE("\x00")), LP_HELLO_DONE);
    assert_int_equal(parse_one(0xff01, LP_SLICE("\x01x")), LP_HELLO_BAD);
    assert_int_equal(hello.alert, HANDSHAKE_FAILURE);
    assert_int_equal(parse_one(0xff01, LP_SLICE("")), LP_HELLO_BAD);
    assert_int_equal(hello.alert, DECODE_ERROR);
}

static void a_pre_shared_key_comes_with_its_modes(void **state)
{
    (void)state;
    struct draft extensions = {.size = 0};

    assert_int_equal(parse_one(41, LP_SLICE("whatever")), LP_HELLO_BAD);
    assert_int_equal(hello.alert, MISSING_EXTENSION);
    put_extension(&extensions, 45, "\x01\x01", 2);
    put_extension(&extensions, 41, "whatever", 8);
    assert_int_equal(parse_extensions(&extensions), LP_HELLO_DONE);
    assert_int_equal(hello.alert, 0);
}

static void an_empty_name_cannot_be_decoded(void **state)
{
    (void)state;
    assert_int_equal(parse_name("", 0), LP_HELLO_BAD);
    assert_int_equal(hello.alert, DECODE_ERROR);
}

/* ---- One record of several ---- */

/* What comes behind the hello of a client that does not wait. */
static const char behind[] = "\x14\x03\x03\x00\x01\x01\x17\x03\x03 and more";

/* Joins a copy, behind which there is nothing. */
static size_t join(struct draft *draft)
{
    char *bytes = (char *)(uintptr_t)guarded(draft->bytes, draft->size);
    size_t size = lp_hello_join(bytes, draft->size);

    assert_true(size <= draft->size);
    memcpy(draft->bytes, bytes, size);
    return size;
}

static void records_are_joined_and_mean_the_same(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 4, 5, 6, 100, 134, 1000};

    for (size_t i = 0; i < LP_COUNT_OF(clients); i++)
        for (size_t k = 0; k < LP_COUNT_OF(sizes); k++) {
            struct draft whole = *sent_by(&clients[i]), message = whole, *records;
            size_t rest = k % 2 == 0 ? 0 : sizeof(behind);
            message.size -= 5;
            memmove(message.bytes, message.bytes + 5, message.size);
            records = records_of(&message, sizes[k]);
            if (sizes[k] >= message.size)
                continue;
            put_bytes(records, behind, rest);
            assert_int_equal(join(records), whole.size + rest);
            assert_memory_equal(records->bytes + 5, whole.bytes + 5, message.size);
            assert_memory_equal(records->bytes + whole.size, behind, rest);
            assert_int_equal(parse(records->bytes, whole.size), LP_HELLO_DONE);
            assert_said_by(&clients[i]);
            /* One stays one. */
            records->size = whole.size + rest;
            assert_int_equal(join(records), whole.size + rest);
        }
}

static void assert_stays(const void *bytes, size_t size)
{
    static struct draft draft;

    draft.size = 0;
    put_bytes(&draft, bytes, size);
    assert_int_equal(join(&draft), size);
    assert_memory_equal(draft.bytes, bytes, size);
}

static void one_record_stays_as_it_came(void **state)
{
    (void)state;
    for (size_t i = 0; i < LP_COUNT_OF(clients); i++) {
        struct draft sent = *sent_by(&clients[i]);
        assert_stays(sent.bytes, sent.size);
        put_bytes(&sent, behind, sizeof(behind));
        assert_stays(sent.bytes, sent.size);
    }
}

static void what_is_unfinished_or_no_hello_is_not_joined(void **state)
{
    (void)state;
    struct draft message = *sent_by(&clients[0]), *records;

    message.size -= 5;
    memmove(message.bytes, message.bytes + 5, message.size);
    records = records_of(&message, 40);
    for (size_t size = 0; size < records->size; size++)
        assert_stays(records->bytes, size);
    records->bytes[45] = 23; /* the second record is none of a handshake */
    assert_stays(records->bytes, records->size);
    assert_stays("GET / HTTP/1.1\r\n\r\n", 18);
    assert_stays("", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_clients_are_understood),
        cmocka_unit_test(the_cut_into_records_does_not_matter),
        cmocka_unit_test(what_follows_the_hello_is_nobodys_business_here),
        cmocka_unit_test(what_begins_unlike_a_handshake_record_is_not_tls),
        cmocka_unit_test(a_hello_is_whole_within_16_kib_of_records_or_too_large),
        cmocka_unit_test(a_message_too_large_is_known_by_its_head),
        cmocka_unit_test(records_that_hold_no_hello_are_bad),
        cmocka_unit_test(a_record_ends_with_its_hello),
        cmocka_unit_test(no_cut_message_is_a_hello_unless_only_its_extensions_are_missing),
        cmocka_unit_test(any_byte_may_be_any_other),
        cmocka_unit_test(the_parts_before_the_extensions_have_their_sizes),
        cmocka_unit_test(no_extension_comes_twice),
        cmocka_unit_test(extensions_fill_their_length_exactly),
        cmocka_unit_test(names_become_lower_case_without_a_trailing_dot),
        cmocka_unit_test(a_name_has_up_to_255_bytes),
        cmocka_unit_test(what_no_host_name_has_is_bad),
        cmocka_unit_test(a_list_of_names_has_one_host_name_at_most),
        cmocka_unit_test(a_list_of_names_has_its_length),
        cmocka_unit_test(protocols_are_told_apart_byte_by_byte),
        cmocka_unit_test(a_list_of_protocols_has_its_length),
        cmocka_unit_test(supported_versions_count_before_the_legacy_one),
        cmocka_unit_test(without_supported_versions_the_legacy_one_counts),
        cmocka_unit_test(a_list_of_versions_has_its_length),
        cmocka_unit_test(a_record_of_more_than_16_kib_deserves_record_overflow),
        cmocka_unit_test(neither_an_empty_record_nor_another_kind_is_part_of_a_hello),
        cmocka_unit_test(lists_of_groups_and_signatures_have_their_length),
        cmocka_unit_test(a_common_group_is_one_of_ours),
        cmocka_unit_test(early_data_and_psk_modes_have_their_form),
        cmocka_unit_test(a_first_hello_renegotiates_nothing),
        cmocka_unit_test(a_pre_shared_key_comes_with_its_modes),
        cmocka_unit_test(an_empty_name_cannot_be_decoded),
        cmocka_unit_test(records_are_joined_and_mean_the_same),
        cmocka_unit_test(one_record_stays_as_it_came),
        cmocka_unit_test(what_is_unfinished_or_no_hello_is_not_joined),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
