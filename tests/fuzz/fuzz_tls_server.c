/* TLS, both sides: whatever the bytes are and however they come in pieces, nobody opens what the
 * other has not sealed, and a session that failed stays so.
 *
 * The first byte of the input says what is played: arbitrary bytes to a server, arbitrary bytes to
 * a client, or a client and a server with somebody between them who changes, repeats, moves and
 * withholds what they say as the rest of the input tells. All goes as lb/net/secure.c does it. What
 * is given and what is asked for has exactly its size, so that the address sanitizer sees one byte
 * too far. Random bytes are the same in every run: a recorded conversation is played again to its
 * end, and a finding comes again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/digest.h"
#include "tests/unit/dice.h"
#include "tests/unit/pki.h"
#include "tls/memory.h"
#include "tls/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* --- random bytes --- */

static struct dice dice;
static bool was_dice_rolled;

/* In the place of the system's: base/digest.c asks it for a block now and then. */
ssize_t getrandom(void *out, size_t size, unsigned flags)
{
    uint8_t *bytes = out;

    (void)flags;
    was_dice_rolled = true;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)dice_roll(&dice);
    return (ssize_t)size;
}

/* What a session does next depends on nothing that was done before: the rest of the block goes. */
static void take_dice(uint64_t seed)
{
    char unused;

    dice.state = seed;
    for (was_dice_rolled = false; !was_dice_rolled;)
        lp_random(&unused, 1);
}

/* --- the two ends --- */

#define WIRE_BYTES_MAX (256u * 1024)
#define HELLO_ROOM     (2 * LP_TLS_HELLO_BYTES_MAX)

struct end {
    struct lp_tls *tls;
    const struct lp_tls_front *front; /* of a server */
    uint64_t sealed_count, opened_count;
    size_t out_room; /* for each step of a handshake */
    bool is_client, is_done, has_failed, is_closed, has_said_goodbye;
    uint64_t now_ms;
    size_t hello_size; /* a server's: not given to its session yet */
    char hello[HELLO_ROOM];
    size_t sent_size; /* on its way */
    char sent[WIRE_BYTES_MAX];
};

/* What an end seals is a pattern by which lost, repeated and foreign bytes are seen. */
static char pattern_at(const struct end *from, uint64_t at)
{
    return (char)(at * 31 + at / 251 + (from->is_client ? 0 : 128));
}

static bool knows_pattern = true;
static struct end client = {.is_client = true}, server;

static void check_opened(struct end *to, const char *plain, size_t size)
{
    const struct end *from = to->is_client ? &server : &client;

    LP_ASSERT(to->is_done);
    for (size_t i = 0; knows_pattern && i < size; i++)
        LP_ASSERT(plain[i] == pattern_at(from, to->opened_count + i));
    to->opened_count += size;
    LP_ASSERT(!knows_pattern || to->opened_count <= from->sealed_count);
}

static void on_wire(struct end *end, const struct lp_tls_wire *wire)
{
    LP_ASSERT(wire->out_size <= wire->out_room);
    LP_ASSERT(end->sent_size + wire->out_size <= WIRE_BYTES_MAX);
    if (wire->out_size > 0)
        memcpy(end->sent + end->sent_size, wire->out, wire->out_size);
    end->sent_size += wire->out_size;
}

static void check_taken(struct lp_slice before, struct lp_slice after)
{
    LP_ASSERT(after.size <= before.size);
    LP_ASSERT(after.data + after.size == before.data + before.size);
}

static void fail(struct end *end)
{
    end->has_failed = true;
    LP_ASSERT(end->tls == NULL || strcmp(lp_tls_error(end->tls), "no error") != 0);
}

static struct lp_tls_wire wire_of(struct lp_slice in, size_t out_room)
{
    struct lp_tls_wire wire = {.in = in, .out = malloc(out_room), .out_room = out_room};

    LP_ASSERT(wire.out != NULL);
    return wire;
}

/* --- opening --- */

static enum lp_tls_result open_record(struct end *end, struct lp_tls_wire *wire, char *plain,
                                      size_t *size)
{
    struct lp_slice before = wire->in;
    size_t out_size = wire->out_size;
    enum lp_tls_result result = lp_tls_open(end->tls, wire, plain, size);

    check_taken(before, wire->in);
    LP_ASSERT(wire->out_size >= out_size);
    LP_ASSERT((result == LP_TLS_DATA) == (*size > 0) && *size <= LP_TLS_PLAIN_BYTES_MAX);
    LP_ASSERT(result != LP_TLS_MORE || wire->in.size == 0);
    LP_ASSERT(result != LP_TLS_FULL);
    return result;
}

static enum lp_tls_result open_carried(struct end *end, struct lp_tls_wire *wire)
{
    char *plain = malloc(LP_TLS_PLAIN_BYTES_MAX);
    size_t size;

    LP_ASSERT(plain != NULL);
    enum lp_tls_result result = open_record(end, wire, plain, &size);
    check_opened(end, plain, size);
    free(plain);
    return result;
}

/* bytes may be written. */
static void open_all(struct end *end, char *bytes, size_t size)
{
    struct lp_tls_wire wire = wire_of((struct lp_slice){bytes, size}, LP_TLS_CONTROL_BYTES);
    enum lp_tls_result result = LP_TLS_DATA;
    char *at = bytes;

    take_dice(end->is_client);
    if (size > 0 && lp_tls_carried(end->tls) > 0)
        result = open_carried(end, &wire);
    while (result == LP_TLS_DATA) {
        size_t plain_size;
        LP_ASSERT(lp_tls_carried(end->tls) == 0);
        result = open_record(end, &wire, at, &plain_size);
        LP_ASSERT(at + plain_size <= wire.in.data);
        check_opened(end, at, plain_size);
        at += plain_size;
    }
    on_wire(end, &wire);
    free(wire.out);
    if (result == LP_TLS_FAILED)
        fail(end);
    end->is_closed = end->is_closed || result == LP_TLS_CLOSED;
}

/* --- handshake --- */

static void establish(struct end *end)
{
    struct lp_tls_facts facts;

    end->is_done = true;
    lp_tls_facts(end->tls, &facts);
    LP_ASSERT(strcmp(facts.version, "TLSv1.3") == 0 || strcmp(facts.version, "TLSv1.2") == 0);
    LP_ASSERT(facts.client_fingerprint.size == 0 || facts.client_fingerprint.size == 64);
    LP_ASSERT((facts.client_subject.size == 0) == (facts.client_fingerprint.size == 0));
    (void)lp_tls_flight_can_wait(end->tls);
}

static void shake(struct end *end, char *bytes, size_t size)
{
    struct lp_slice in = {bytes, size};
    enum lp_tls_result result;

    do {
        struct lp_tls_wire wire = wire_of(in, end->out_room);
        take_dice(end->is_client);
        result = lp_tls_handshake(end->tls, &wire);
        check_taken(in, wire.in);
        LP_ASSERT(result != LP_TLS_FULL || wire.out_size > 0);
        LP_ASSERT(result != LP_TLS_MORE || wire.in.size == 0);
        LP_ASSERT(lp_tls_is_established(end->tls) == (result == LP_TLS_DATA));
        in = wire.in;
        on_wire(end, &wire);
        free(wire.out);
    } while (result == LP_TLS_FULL);
    if (result == LP_TLS_FAILED || result == LP_TLS_CLOSED)
        fail(end);
    if (result != LP_TLS_DATA)
        return;
    establish(end);
    if (in.size > 0)
        open_all(end, bytes + (in.data - bytes), in.size);
}

static void accept_client(struct end *end)
{
    struct lp_hello hello = {0}, again = {0};
    struct lp_slice bytes = {end->hello, end->hello_size};
    enum lp_hello_outcome outcome = lp_hello_parse(&hello, bytes);

    if (outcome == LP_HELLO_MORE)
        return;
    if (outcome == LP_HELLO_NOT_TLS || outcome == LP_HELLO_TOO_LARGE ||
        (outcome == LP_HELLO_BAD && hello.alert != 0)) {
        fail(end);
        return;
    }
    size_t size = lp_hello_join(end->hello, end->hello_size);
    LP_ASSERT(size <= end->hello_size);
    LP_ASSERT(lp_hello_parse(&again, (struct lp_slice){end->hello, size}) == outcome);
    if (outcome == LP_HELLO_DONE)
        LP_ASSERT(strcmp(hello.name, again.name) == 0 && hello.offers_1_3 == again.offers_1_3);
    else
        hello = (struct lp_hello){0};
    end->tls = lp_tls_accept(end->front, &hello);
    LP_ASSERT(end->tls != NULL);
    char *copy = malloc(size);
    LP_ASSERT(copy != NULL);
    memcpy(copy, end->hello, size);
    shake(end, copy, size);
    free(copy);
}

/* --- what arrives --- */

/* Once more, to see that nothing comes of it. */
static void knock(struct end *end, char *bytes, size_t size)
{
    struct lp_tls_wire wire = wire_of((struct lp_slice){bytes, size}, LP_TLS_FLIGHT_BYTES);
    size_t plain_size = 0;
    enum lp_tls_result result;

    if (end->is_done)
        result = lp_tls_open(end->tls, &wire, bytes, &plain_size);
    else
        result = lp_tls_handshake(end->tls, &wire);
    LP_ASSERT(result == LP_TLS_FAILED && plain_size == 0);
    LP_ASSERT(lp_tls_is_established(end->tls) == end->is_done);
    free(wire.out);
}

/* Takes bytes. */
static void receive(struct end *end, char *bytes, size_t size)
{
    if (end->has_failed && end->tls != NULL)
        knock(end, bytes, size);
    else if (end->tls == NULL && !end->has_failed) {
        LP_ASSERT(end->hello_size + size <= HELLO_ROOM);
        memcpy(end->hello + end->hello_size, bytes, size);
        end->hello_size += size;
        accept_client(end);
    } else if (!end->has_failed && !end->is_closed) {
        if (end->is_done)
            open_all(end, bytes, size);
        else
            shake(end, bytes, size);
    }
    free(bytes);
}

static char *copy_of(const void *bytes, size_t size)
{
    char *copy = malloc(size);

    LP_ASSERT(copy != NULL);
    memcpy(copy, bytes, size);
    return copy;
}

static void cut(struct end *from, size_t at, size_t size)
{
    from->sent_size -= size;
    memmove(from->sent + at, from->sent + at + size, from->sent_size - at);
}

/* An end that might not have room for what it answers is given nothing. */
static void deliver(struct end *from, struct end *to, size_t size_max)
{
    size_t size = from->sent_size < size_max ? from->sent_size : size_max;

    size = size < LP_TLS_HELLO_BYTES_MAX ? size : LP_TLS_HELLO_BYTES_MAX;
    if (size == 0 || to->sent_size + 2 * LP_TLS_FLIGHT_BYTES > WIRE_BYTES_MAX)
        return;
    char *bytes = copy_of(from->sent, size);
    cut(from, 0, size);
    receive(to, bytes, size);
}

static void exchange(void)
{
    for (int i = 0; i < 100 && client.sent_size + server.sent_size > 0; i++) {
        deliver(&client, &server, SIZE_MAX);
        deliver(&server, &client, SIZE_MAX);
    }
}

/* --- what an end says of its own accord --- */

static bool may_say(const struct end *end)
{
    return end->is_done && !end->has_failed && !end->has_said_goodbye &&
           end->sent_size + 4 * LP_TLS_FLIGHT_BYTES < WIRE_BYTES_MAX;
}

/* In place when there is enough room in front, as the proxy does it; else all the same. */
static void seal(struct end *end, size_t size, size_t front_size)
{
    size_t room = front_size + size;
    char *memory = malloc(room + 1);
    struct lp_tls_wire wire = {.out = memory, .out_room = room};
    struct lp_slice plain = {memory + front_size, size};

    LP_ASSERT(memory != NULL);
    take_dice(end->is_client);
    uint32_t records = lp_tls_records(end->tls, size, end->now_ms);
    if (front_size < records * LP_TLS_RECORD_OVERHEAD + LP_TLS_SEAL_SLACK)
        wire.out = malloc(room + 1);
    LP_ASSERT(wire.out != NULL);
    for (size_t i = 0; i < size; i++)
        memory[front_size + i] = pattern_at(end, end->sealed_count + i);
    enum lp_tls_result result = lp_tls_seal(end->tls, &wire, &plain, end->now_ms);
    LP_ASSERT(result == LP_TLS_DATA || result == LP_TLS_FULL);
    LP_ASSERT((result == LP_TLS_DATA) == (plain.size == 0) && plain.size <= size);
    LP_ASSERT(wire.out != memory || result == LP_TLS_DATA);
    end->sealed_count += size - plain.size;
    on_wire(end, &wire);
    if (wire.out != memory)
        free(wire.out);
    free(memory);
}

static void say_goodbye(struct end *end)
{
    struct lp_tls_wire wire = wire_of((struct lp_slice){NULL, 0}, LP_TLS_CONTROL_BYTES);

    take_dice(end->is_client);
    lp_tls_close(end->tls, &wire);
    LP_ASSERT(wire.out_size > 0);
    end->has_said_goodbye = true;
    on_wire(end, &wire);
    free(wire.out);
}

/* --- who sits between them --- */

struct script {
    const uint8_t *at, *end;
};

static uint32_t next(struct script *script)
{
    return script->at < script->end ? *script->at++ : 0;
}

static uint32_t next_two(struct script *script)
{
    uint32_t high = next(script);

    return high << 8 | next(script);
}

/* A record that is on its way, as far as its header can be believed. */
static struct lp_slice find_record(const struct end *from, uint32_t index)
{
    size_t at = 0, size = 0;

    for (uint32_t i = 0; i <= index && at + size + 5 <= from->sent_size; i++) {
        at += size;
        size = 5 + ((size_t)(uint8_t)from->sent[at + 3] << 8 | (uint8_t)from->sent[at + 4]);
        size = size < from->sent_size - at ? size : from->sent_size - at;
    }
    return (struct lp_slice){from->sent + at, size};
}

static void insert(struct end *from, size_t at, const void *bytes, size_t size)
{
    if (size == 0 || from->sent_size + size + 4 * LP_TLS_FLIGHT_BYTES > WIRE_BYTES_MAX)
        return;
    memmove(from->sent + at + size, from->sent + at, from->sent_size - at);
    memcpy(from->sent + at, bytes, size);
    from->sent_size += size;
}

enum deed { FLIP, CUT, REPEAT, DEFER, INSERT, DEEDS_COUNT };

static void meddle(struct end *from, enum deed deed, struct script *script)
{
    size_t at = from->sent_size > 0 ? next_two(script) % from->sent_size : 0;
    struct lp_slice record;
    char *copy;

    switch (deed) {
    case FLIP:
        if (from->sent_size > 0)
            from->sent[at] ^= (char)(1u << next(script) % 8);
        break;
    case CUT:
        cut(from, at, next_two(script) % (from->sent_size - at + 1));
        break;
    case REPEAT:
    case DEFER:
        record = find_record(from, next(script) % 8);
        if (record.size == 0)
            break;
        copy = copy_of(record.data, record.size);
        if (deed == DEFER)
            cut(from, (size_t)(record.data - from->sent), record.size);
        insert(from, from->sent_size, copy, record.size);
        free(copy);
        break;
    case INSERT: {
        size_t size = next(script), left = (size_t)(script->end - script->at);
        size = size < left ? size : left;
        insert(from, at, script->at, size);
        script->at += size;
        break;
    }
    case DEEDS_COUNT:
        break;
    }
}

/* Has anything been done that may end the conversation? */
static bool play(struct script *script)
{
    bool is_touched = false;

    while (script->at < script->end) {
        uint32_t word = next(script), deed = word / 2 % 16;
        struct end *from = word % 2 == 0 ? &client : &server;
        struct end *to = word % 2 == 0 ? &server : &client;

        if (deed < DEEDS_COUNT) {
            meddle(from, deed, script);
            is_touched = true;
        } else if (deed < 8)
            deliver(from, to, 1 + next(script));
        else if (deed < 10)
            deliver(from, to, next_two(script));
        else if (deed < 12)
            exchange();
        else if (deed == 12)
            from->now_ms += 16 * next(script);
        else if (deed < 15 && may_say(from))
            seal(from, next_two(script) % 20000, deed == 13 ? LP_HEADROOM_BYTES : 93);
        else if (deed == 15 && may_say(from))
            say_goodbye(from);
    }
    return is_touched;
}

/* --- contexts, once --- */

static const struct lp_config no_file;
static struct lp_tls_front *fronts[4];
static struct lp_tls_back *backs[2];
static struct lp_tls_ticket *tickets[LP_COUNT_OF(fronts)][LP_COUNT_OF(backs)];

/* In memory: no run leaves a file behind. */
static struct lp_cfg_file file_with(const char *text)
{
    static char paths[8][32];
    static uint32_t count;
    int fd = memfd_create("pki", MFD_CLOEXEC);
    char *path = paths[count++];

    LP_ASSERT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    snprintf(path, sizeof(paths[0]), "/proc/self/fd/%d", fd);
    return (struct lp_cfg_file){.path = lp_slice_of(path), .where = LP_SLICE("tls")};
}

static void build(void)
{
    struct lp_cfg_file chain = file_with(PKI_LEAF PKI_MIDDLE), key = file_with(PKI_LEAF_KEY),
                       ca = file_with(PKI_ROOT);
    struct lp_cfg_certificate certificate = {.cert = chain, .key = key};
    struct lp_config_report report = {0};

    for (uint32_t i = 0; i < LP_COUNT_OF(fronts); i++) {
        struct lp_cfg_listener listener = {
            .name = LP_SLICE("web"),
            .protocol = LP_PROTOCOL_HTTP,
            .tls = {.is_on = true,
                    .certificates = &certificate,
                    .certificates_count = 1,
                    .versions = i % 2 == 0 ? LP_TLS_1_2 | LP_TLS_1_3 : LP_TLS_1_2}};
        if (i >= 2)
            listener.tls.client_ca = ca;
        LP_ASSERT(lp_tls_front_build(&fronts[i], &no_file, &listener, &report));
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(backs); i++) {
        struct lp_cfg_pool pool = {.name = LP_SLICE("app"),
                                   .tls = {.is_on = true, .name = LP_SLICE("www.example.com")}};
        if (i == 1) {
            pool.tls.cert = chain;
            pool.tls.key = key;
        }
        LP_ASSERT(lp_tls_back_build(&backs[i], &no_file, &pool, &report));
    }
    lp_config_report_deinit(&report);
}

/* --- one input --- */

struct setting {
    uint32_t front, back;
    bool resumes;
    size_t out_room;
};

static void reset(struct end *end, const struct setting *setting)
{
    bool is_client = end->is_client;

    memset(end, 0, offsetof(struct end, hello));
    end->is_client = is_client;
    end->out_room = setting->out_room;
    end->sent_size = 0;
}

static void begin(const struct setting *setting, bool has_client)
{
    struct lp_addr address = {.size = sizeof(address.as.in)};

    address.as.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(443)};
    reset(&client, setting);
    reset(&server, setting);
    server.front = fronts[setting->front];
    if (!has_client)
        return;
    take_dice(client.is_client);
    client.tls = lp_tls_connect(backs[setting->back], &address,
                                setting->resumes ? tickets[setting->front][setting->back] : NULL);
    LP_ASSERT(client.tls != NULL);
    char *nothing = malloc(1);
    shake(&client, nothing, 0);
    free(nothing);
}

static void finish(void)
{
    lp_tls_destroy(client.tls);
    lp_tls_destroy(server.tls);
    client.tls = server.tls = NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct setting setting = {.out_room = LP_TLS_FLIGHT_BYTES};

    (void)argc;
    (void)argv;
    take_dice(1);
    lp_tls_init();
    lp_tls_thread_begin();
    build();
    for (setting.front = 0; setting.front < LP_COUNT_OF(fronts); setting.front++)
        for (setting.back = 0; setting.back < LP_COUNT_OF(backs); setting.back++) {
            begin(&setting, true);
            exchange();
            tickets[setting.front][setting.back] = lp_tls_take_ticket(client.tls);
            finish();
        }
    return 0;
}

/* Arbitrary bytes in pieces that are short mostly. */
static void feed(struct end *to, struct script *script)
{
    struct dice pieces = {next(script)};

    while (script->at < script->end) {
        size_t left = (size_t)(script->end - script->at);
        size_t size = pieces.state == 0             ? left
                      : dice_below(&pieces, 4) == 0 ? 1 + dice_below(&pieces, 3000)
                                                    : 1 + dice_below(&pieces, 20);
        size = size < left ? size : left;
        size = size < LP_TLS_HELLO_BYTES_MAX ? size : LP_TLS_HELLO_BYTES_MAX;
        receive(to, copy_of(script->at, size), size);
        script->at += size;
        to->sent_size = 0;
    }
}

/* Between them sat nobody who did more than wait. */
static void check_conversation(const struct setting *setting)
{
    bool is_refused = setting->front >= 2 && setting->back == 0;

    LP_ASSERT(server.has_failed == is_refused);
    LP_ASSERT(client.has_failed == is_refused);
    LP_ASSERT(is_refused || (client.is_done && server.is_done));
    LP_ASSERT(server.opened_count == client.sealed_count || client.has_failed);
    LP_ASSERT(client.opened_count == server.sealed_count || client.has_failed);
    LP_ASSERT(server.is_closed == client.has_said_goodbye || client.has_failed);
    LP_ASSERT(client.is_closed == server.has_said_goodbye || client.has_failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, data + size};
    uint32_t word = next(&script);
    struct setting setting = {.front = word >> 2 & 3,
                              .back = word >> 4 & 1,
                              .resumes = (word >> 5 & 1) != 0,
                              .out_room = (word >> 6 & 1) != 0 ? 61 : LP_TLS_FLIGHT_BYTES};
    struct tls_memory_use before, after;

    tls_memory_look(&before);
    knows_pattern = word % 4 >= 2;
    begin(&setting, word % 4 != 0);
    if (word % 4 == 0)
        feed(&server, &script);
    else if (word % 4 == 1)
        feed(&client, &script);
    else {
        bool is_touched = play(&script);
        exchange();
        if (!is_touched)
            check_conversation(&setting);
        lp_tls_ticket_free(lp_tls_take_ticket(client.tls));
    }
    finish();
    tls_memory_look(&after);
    LP_ASSERT(after.blocks_count == before.blocks_count);
    return 0;
}
