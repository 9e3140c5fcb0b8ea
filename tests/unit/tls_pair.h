/* tls_pair: a server's and a client's session against each other in memory, for the unit tests of
 * tls/. The files that their contexts are built from lie in a folder that make_folder() makes. */
#ifndef LP_TESTS_TLS_PAIR_H
#define LP_TESTS_TLS_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/pki.h"
#include "tls/tls.h"

#define WIRE_BYTES (1u << 20)

/* One end: its session, and the bytes on their way to it. */
struct end {
    struct lp_tls *tls;
    char *inbox;
    size_t inbox_size;
};

struct pair {
    struct end server, client;
};

static char folder[] = "/tmp/limpet-tls-XXXXXX";

/* --- files and configurations --- */

static inline struct lp_cfg_file file_with(const char *name, const char *text)
{
    static char paths[64][256]; /* as many as one test names */
    static unsigned next;
    char *path = paths[next++ % 64];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return (struct lp_cfg_file){.path = lp_slice_of(path), .where = LP_SLICE("tls")};
}

/* Only what is wrong is said of it, and here nothing is. */
static const struct lp_config no_file;

struct front_options {
    const char *name;
    uint32_t versions;
    const char *chain, *key;
    const char *client_ca, *secret;
};

static inline struct lp_tls_front *front_with(struct front_options options)
{
    struct lp_cfg_certificate certificate = {
        .cert = file_with("site.pem", options.chain != NULL ? options.chain : PKI_LEAF PKI_MIDDLE),
        .key = file_with("site.key", options.key != NULL ? options.key : PKI_LEAF_KEY)};
    struct lp_cfg_listener listener = {
        .name = lp_slice_of(options.name != NULL ? options.name : "web"),
        .protocol = LP_PROTOCOL_HTTP,
        .tls = {.is_on = true,
                .certificates = &certificate,
                .certificates_count = 1,
                .versions = options.versions != 0 ? options.versions : LP_TLS_1_2 | LP_TLS_1_3}};
    struct lp_config_report report = {0};
    struct lp_tls_front *front = NULL;

    if (options.client_ca != NULL)
        listener.tls.client_ca = file_with("ca.pem", options.client_ca);
    if (options.secret != NULL)
        listener.tls.ticket_secret = file_with("ticket.key", options.secret);
    if (!lp_tls_front_build(&front, &no_file, &listener, &report))
        fail_msg("%s", report.text);
    lp_config_report_deinit(&report);
    return front;
}

static inline struct lp_tls_back *back_with(struct lp_cfg_back_tls tls)
{
    struct lp_cfg_pool pool = {.name = LP_SLICE("app"), .tls = tls};
    struct lp_config_report report = {0};
    struct lp_tls_back *back = NULL;

    pool.tls.is_on = true;
    if (!lp_tls_back_build(&back, &no_file, &pool, &report))
        fail_msg("%s", report.text);
    lp_config_report_deinit(&report);
    return back;
}

/* --- two ends and the wire between them --- */

static inline struct pair pair_of(const struct lp_tls_front *front, const struct lp_tls_back *back,
                                  const struct lp_tls_ticket *ticket, const char *name)
{
    struct lp_hello hello = {0};
    struct lp_addr address = {.size = sizeof(address.as.in)};
    struct pair pair = {0};

    snprintf(hello.name, sizeof(hello.name), "%s", name);
    hello.name_size = (uint16_t)strlen(name);
    address.as.in =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xC0000201)};
    pair.server.tls = lp_tls_accept(front, &hello);
    pair.client.tls = lp_tls_connect(back, &address, ticket);
    pair.server.inbox = malloc(WIRE_BYTES);
    pair.client.inbox = malloc(WIRE_BYTES);
    assert_non_null(pair.server.tls);
    assert_non_null(pair.client.tls);
    return pair;
}

static inline void pair_free(struct pair *pair)
{
    lp_tls_destroy(pair->server.tls);
    lp_tls_destroy(pair->client.tls);
    free(pair->server.inbox);
    free(pair->client.inbox);
}

static inline void put(struct end *to, const char *data, size_t size)
{
    assert_true(to->inbox_size + size <= WIRE_BYTES);
    memcpy(to->inbox + to->inbox_size, data, size);
    to->inbox_size += size;
}

static inline void take_off(struct end *end, const struct lp_tls_wire *wire)
{
    memmove(end->inbox, wire->in.data, wire->in.size);
    end->inbox_size = wire->in.size;
}

/* One step with at most `at_once` bytes of what has come, and out_room bytes to answer with. */
static inline enum lp_tls_result shake(struct end *me, struct end *other, size_t at_once,
                                       size_t out_room)
{
    char out[LP_TLS_FLIGHT_BYTES];
    size_t given = me->inbox_size < at_once ? me->inbox_size : at_once;
    struct lp_tls_wire wire = {.in = {me->inbox, given}, .out = out, .out_room = out_room};
    enum lp_tls_result result = lp_tls_handshake(me->tls, &wire);
    size_t used = given - wire.in.size;

    memmove(me->inbox, me->inbox + used, me->inbox_size - used);
    me->inbox_size -= used;
    put(other, out, wire.out_size);
    return result;
}

struct pace {
    size_t at_once, out_room;
};

static const struct pace whole = {SIZE_MAX, LP_TLS_FLIGHT_BYTES};

/* Both sides' last results. */
static inline bool shake_hands_at(struct pair *pair, struct pace pace)
{
    enum lp_tls_result client = LP_TLS_MORE, server = LP_TLS_MORE;

    for (int i = 0; i < 20000 && (client != LP_TLS_DATA || server != LP_TLS_DATA); i++) {
        if (client != LP_TLS_DATA)
            client = shake(&pair->client, &pair->server, pace.at_once, pace.out_room);
        if (client == LP_TLS_FAILED)
            return false;
        if (server != LP_TLS_DATA && pair->server.inbox_size > 0)
            server = shake(&pair->server, &pair->client, pace.at_once, pace.out_room);
        else if (server == LP_TLS_FULL)
            server = shake(&pair->server, &pair->client, pace.at_once, pace.out_room);
        if (server == LP_TLS_FAILED)
            return false;
    }
    return client == LP_TLS_DATA && server == LP_TLS_DATA;
}

static inline void shake_hands(struct pair *pair)
{
    if (!shake_hands_at(pair, whole))
        fail_msg("client: %s; server: %s", lp_tls_error(pair->client.tls),
                 lp_tls_error(pair->server.tls));
}

static inline void seal(struct end *from, struct end *to, const char *text, size_t size,
                        uint64_t now_ms)
{
    size_t room = size + 64 * LP_TLS_RECORD_OVERHEAD + LP_TLS_SEAL_SLACK + size / 32;
    char *out = malloc(room);
    struct lp_tls_wire wire = {.out = out, .out_room = room};
    struct lp_slice plain = {text, size};

    assert_int_equal(lp_tls_seal(from->tls, &wire, &plain, now_ms), LP_TLS_DATA);
    assert_int_equal(plain.size, 0);
    put(to, out, wire.out_size);
    free(out);
}

/* Opens what has come, in place as far as that goes. Gives how much it is; the text in out. */
static inline size_t open_all(struct end *end, char *out, size_t out_room, enum lp_tls_result *last)
{
    char control[LP_TLS_CONTROL_BYTES], *at = end->inbox;
    struct lp_tls_wire wire = {
        .in = {end->inbox, end->inbox_size}, .out = control, .out_room = sizeof(control)};
    size_t total = 0, size;

    if (lp_tls_carried(end->tls) > 0) {
        char carried[LP_TLS_PLAIN_BYTES_MAX];
        *last = lp_tls_open(end->tls, &wire, carried, &size);
        assert_true(size <= out_room);
        memcpy(out, carried, size);
        total = size;
    } else {
        *last = LP_TLS_DATA;
    }
    while (*last == LP_TLS_DATA) {
        *last = lp_tls_open(end->tls, &wire, at, &size);
        assert_true(at + size <= wire.in.data);
        assert_true(total + size <= out_room);
        memcpy(out + total, at, size);
        at += size;
        total += size;
    }
    take_off(end, &wire);
    return total;
}

static inline void expect_text(struct end *end, const char *text)
{
    char got[4096];
    enum lp_tls_result last;
    size_t size = open_all(end, got, sizeof(got), &last);

    assert_int_equal(size, strlen(text));
    assert_memory_equal(got, text, size);
    assert_int_equal(last, LP_TLS_MORE);
}

static inline struct lp_cfg_back_tls trusting(const char *name)
{
    return (struct lp_cfg_back_tls){
        .verify = true, .name = lp_slice_of(name), .ca = file_with("root.pem", PKI_ROOT)};
}

/* Shakes hands, speaks a word each way so that TLS 1.3's ticket comes, and gives it. */
static inline struct lp_tls_ticket *visit(const struct lp_tls_front *front,
                                          const struct lp_tls_back *back,
                                          const struct lp_tls_ticket *ticket, bool *was_resumed)
{
    struct pair pair = pair_of(front, back, ticket, "www.example.com");
    struct lp_tls_facts facts;

    shake_hands(&pair);
    lp_tls_facts(pair.server.tls, &facts);
    *was_resumed = facts.is_resumed;
    seal(&pair.server, &pair.client, "come again", 10, 0);
    expect_text(&pair.client, "come again");
    struct lp_tls_ticket *next = lp_tls_take_ticket(pair.client.tls);
    pair_free(&pair);
    return next;
}

static inline int make_folder(void **state)
{
    (void)state;
    lp_tls_init();
    return mkdtemp(folder) == NULL;
}

static inline int remove_folder(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

#endif
