/* The ClientHello, read from the front of what a client has sent. This file decides whether that is
 * TLS at all, when it is whole, and what it says about name, versions and protocols; whether a
 * handshake can come of it is wolfSSL's business.
 *
 * First the records are walked header by header, until the message is there (walk_records()); only
 * then is it read (read_hello()). Every test looks at bytes in the order in which they came, so
 * more of them never change a verdict. */
#include <string.h>

#include "tls/tls.h"

#define RECORD_HEAD_BYTES     5u
#define RECORD_BYTES_MAX      16384u /* RFC 8446, 5.1 */
#define CONTENT_HANDSHAKE     0x16
#define HANDSHAKE_HEAD_BYTES  4u
#define HANDSHAKE_CLIENTHELLO 1

#define RANDOM_BYTES         32u
#define SESSION_ID_BYTES_MAX 32u

#define VERSION_1_2 0x0303u
#define VERSION_1_3 0x0304u

enum {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_SUPPORTED_GROUPS = 10,
    EXTENSION_SIGNATURES = 13,
    EXTENSION_ALPN = 16,
    EXTENSION_PRE_SHARED_KEY = 41,
    EXTENSION_EARLY_DATA = 42,
    EXTENSION_SUPPORTED_VERSIONS = 43,
    EXTENSION_PSK_MODES = 45,
    EXTENSION_RENEGOTIATION = 0xff01,
};

/* RFC 8446, 6: those of rules that the library does not know. */
enum {
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_RECORD_OVERFLOW = 22,
    ALERT_HANDSHAKE_FAILURE = 40,
    ALERT_ILLEGAL_PARAMETER = 47,
    ALERT_DECODE_ERROR = 50,
    ALERT_MISSING_EXTENSION = 109,
};

/* ---- Records ---- */

struct walk {
    const uint8_t *bytes;
    size_t size;
    size_t at;                          /* of the next record's head */
    uint8_t head[HANDSHAKE_HEAD_BYTES]; /* of the message, which may be cut anywhere */
    size_t joined_size;                 /* of the message, head included, in the records so far */
    size_t message_size;                /* head included; known with the fourth byte */
    uint8_t alert;
};

/* Is the byte at this place there? If not: is it to come? */
static enum lp_hello_outcome look_at(const struct walk *walk, size_t at)
{
    if (at >= LP_TLS_HELLO_BYTES_MAX)
        return LP_HELLO_TOO_LARGE;
    return at < walk->size ? LP_HELLO_DONE : LP_HELLO_MORE;
}

/* Gives the size of the record at walk->at. */
static enum lp_hello_outcome walk_record_head(struct walk *walk, size_t *size)
{
    const uint8_t *head = walk->bytes + walk->at;
    enum lp_hello_outcome no_tls = walk->at == 0 ? LP_HELLO_NOT_TLS : LP_HELLO_BAD;

    for (size_t i = 0; i < RECORD_HEAD_BYTES; i++) {
        enum lp_hello_outcome outcome = look_at(walk, walk->at + i);
        if (outcome != LP_HELLO_DONE)
            return outcome;
        if (i == 0 && head[0] != CONTENT_HANDSHAKE) {
            /* RFC 8446, 5.1: nothing comes between the records of a message. */
            walk->alert = walk->at == 0 ? 0 : ALERT_UNEXPECTED_MESSAGE;
            return no_tls;
        }
        if (i == 1 && head[1] != 3)
            return no_tls;
    }
    *size = (size_t)head[3] << 8 | head[4];
    /* RFC 8446, 5.1: no fragment of a handshake message is empty. */
    if (*size > 0 && *size <= RECORD_BYTES_MAX)
        return LP_HELLO_DONE;
    walk->alert = *size == 0 ? ALERT_UNEXPECTED_MESSAGE : ALERT_RECORD_OVERFLOW;
    return LP_HELLO_BAD;
}

/* Takes what the record's first bytes have of the message's head. */
static enum lp_hello_outcome walk_message_head(struct walk *walk, size_t record_size)
{
    size_t at = walk->at + RECORD_HEAD_BYTES;

    for (size_t i = 0; i < record_size && walk->joined_size + i < HANDSHAKE_HEAD_BYTES; i++) {
        enum lp_hello_outcome outcome = look_at(walk, at + i);
        if (outcome != LP_HELLO_DONE)
            return outcome;
        walk->head[walk->joined_size + i] = walk->bytes[at + i];
        if (walk->head[0] != HANDSHAKE_CLIENTHELLO)
            return LP_HELLO_BAD;
    }
    if (walk->joined_size + record_size < HANDSHAKE_HEAD_BYTES)
        return LP_HELLO_DONE;
    walk->message_size = HANDSHAKE_HEAD_BYTES +
                         ((size_t)walk->head[1] << 16 | (size_t)walk->head[2] << 8 | walk->head[3]);
    if (walk->message_size > LP_TLS_HELLO_BYTES_MAX - RECORD_HEAD_BYTES)
        return LP_HELLO_TOO_LARGE;
    return LP_HELLO_DONE;
}

/* On to the record that ends the message. */
static enum lp_hello_outcome walk_records(struct walk *walk)
{
    do {
        size_t record_size;
        enum lp_hello_outcome outcome = walk_record_head(walk, &record_size);
        if (outcome == LP_HELLO_DONE)
            outcome = walk_message_head(walk, record_size);
        if (outcome != LP_HELLO_DONE)
            return outcome;
        walk->joined_size += record_size;
        walk->at += RECORD_HEAD_BYTES + record_size;
        /* A client says nothing after its hello until the server has spoken, unless in records of
         * another kind. */
        if (walk->message_size != 0 && walk->joined_size > walk->message_size)
            return LP_HELLO_BAD;
        outcome = look_at(walk, walk->at - 1);
        if (outcome != LP_HELLO_DONE)
            return outcome;
    } while (walk->message_size == 0 || walk->joined_size < walk->message_size);
    return LP_HELLO_DONE;
}

/* The message without heads; the records are known to be good and to be there. */
static size_t join(uint8_t *out, const struct walk *walk)
{
    size_t size = 0;

    for (size_t at = 0; at < walk->at;) {
        const uint8_t *head = walk->bytes + at;
        size_t record_size = (size_t)head[3] << 8 | head[4];
        memcpy(out + size, head + RECORD_HEAD_BYTES, record_size);
        size += record_size;
        at += RECORD_HEAD_BYTES + record_size;
    }
    return size;
}

/* ---- Vectors: RFC 8446, 3.4 ---- */

struct vector {
    const uint8_t *at;
    size_t size;
};

static bool take(struct vector *from, size_t size, struct vector *out)
{
    if (from->size < size)
        return false;
    *out = (struct vector){from->at, size};
    from->at += size;
    from->size -= size;
    return true;
}

static bool take_number(struct vector *from, size_t size, uint32_t *out)
{
    struct vector bytes;

    if (!take(from, size, &bytes))
        return false;
    *out = 0;
    for (size_t i = 0; i < size; i++)
        *out = *out << 8 | bytes.at[i];
    return true;
}

/* Bytes behind their length. */
static bool take_vector(struct vector *from, size_t length_size, struct vector *out)
{
    uint32_t size;

    return take_number(from, length_size, &size) && take(from, size, out);
}

/* A vector that is all there is. */
static bool take_only_vector(struct vector from, size_t length_size, struct vector *out)
{
    return take_vector(&from, length_size, out) && from.size == 0;
}

/* ---- Extensions ---- */

static bool is_equal(struct vector a, const char *text)
{
    return a.size == strlen(text) && memcmp(a.at, text, a.size) == 0;
}

/* The byte of a host name in lower case; 0 for one that no host name has. Underscores are no
 * letters of RFC 1123, yet names with them are served everywhere. */
static char host_byte(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return (char)(byte - 'A' + 'a');
    if ((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' ||
        byte == '_' || byte == '.')
        return (char)byte;
    return 0;
}

static bool read_host_name(struct lp_hello *out, struct vector name)
{
    /* RFC 6066, 3 wants it without the trailing dot, but some people type it. */
    if (name.size > 0 && name.at[name.size - 1] == '.')
        name.size--;
    if (name.size == 0 || name.size > LP_TLS_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        bool begins_label = i == 0 || name.at[i - 1] == '.';
        out->name[i] = host_byte(name.at[i]);
        if (out->name[i] == 0 || (begins_label && name.at[i] == '.'))
            return false;
    }
    if (name.at[name.size - 1] == '.')
        return false;
    out->name[name.size] = '\0';
    out->name_size = (uint16_t)name.size;
    return true;
}

/* RFC 6066, 3: names of other kinds would begin with their length, too. */
static bool read_server_name(struct lp_hello *out, struct vector body)
{
    struct vector names, name;
    uint32_t kind;

    if (!take_only_vector(body, 2, &names) || names.size == 0)
        return false;
    while (names.size > 0) {
        if (!take_number(&names, 1, &kind) || !take_vector(&names, 2, &name))
            return false;
        if (kind != 0)
            continue;
        if (name.size == 0)
            out->alert = ALERT_DECODE_ERROR;
        if (out->name_size != 0 || !read_host_name(out, name))
            return false;
    }
    return true;
}

/* RFC 7301, 3.1. */
static bool read_alpn(struct lp_hello *out, struct vector body)
{
    struct vector protocols, protocol;

    if (!take_only_vector(body, 2, &protocols) || protocols.size == 0)
        return false;
    out->has_alpn = true;
    while (protocols.size > 0) {
        if (!take_vector(&protocols, 1, &protocol) || protocol.size == 0)
            return false;
        out->offers_http_1_1 |= is_equal(protocol, "http/1.1");
        out->offers_h2 |= is_equal(protocol, "h2");
    }
    return true;
}

/* RFC 8446, 4.2.1: where this extension is, legacy_version says nothing. */
static bool read_supported_versions(struct lp_hello *out, struct vector body)
{
    struct vector versions;
    uint32_t version;

    if (!take_only_vector(body, 1, &versions) || versions.size == 0)
        return false;
    out->offers_1_2 = out->offers_1_3 = false;
    while (versions.size > 0) {
        if (!take_number(&versions, 2, &version))
            return false;
        out->offers_1_2 |= version == VERSION_1_2;
        out->offers_1_3 |= version == VERSION_1_3;
    }
    return true;
}

/* Those that the library is built with. */
static bool is_our_group(uint32_t group)
{
    switch (group) {
    case 23: /* secp256r1, secp384r1, secp521r1 */
    case 24:
    case 25:
    case 29:     /* x25519 */
    case 0x11eb: /* and with ML-KEM: SecP256r1MLKEM768, X25519MLKEM768, SecP384r1MLKEM1024 */
    case 0x11ec:
    case 0x11ed:
        return true;
    default:
        return false;
    }
}

/* RFC 8446, 4.2.7; RFC 8422, 5.1.1. */
static bool read_groups(struct lp_hello *out, struct vector body)
{
    struct vector groups;
    uint32_t group;

    if (!take_only_vector(body, 2, &groups) || groups.size == 0)
        return false;
    out->has_common_group = false;
    while (groups.size > 0) {
        if (!take_number(&groups, 2, &group))
            return false;
        out->has_common_group |= is_our_group(group);
    }
    return true;
}

/* RFC 8446, 4.2.3. Which of them will do is the library's business. */
static bool is_list_of_signatures(struct vector body)
{
    struct vector list;

    return take_only_vector(body, 2, &list) && list.size > 0 && list.size % 2 == 0;
}

/* RFC 8446, 4.2.9. */
static bool is_list_of_modes(struct vector body)
{
    struct vector list;

    return take_only_vector(body, 1, &list) && list.size > 0;
}

/* RFC 5746, 3.6: in a first handshake it is empty. */
static bool read_renegotiation(struct lp_hello *out, struct vector body)
{
    struct vector verified;

    if (!take_only_vector(body, 1, &verified))
        return false;
    if (verified.size > 0)
        out->alert = ALERT_HANDSHAKE_FAILURE;
    return out->alert == 0;
}

static bool read_extension(struct lp_hello *out, uint32_t type, struct vector body)
{
    switch (type) {
    case EXTENSION_SERVER_NAME:
        return read_server_name(out, body);
    case EXTENSION_SUPPORTED_GROUPS:
        return read_groups(out, body);
    case EXTENSION_SIGNATURES:
        return is_list_of_signatures(body);
    case EXTENSION_ALPN:
        return read_alpn(out, body);
    case EXTENSION_EARLY_DATA:
        out->offers_early_data = true;
        return body.size == 0;
    case EXTENSION_SUPPORTED_VERSIONS:
        return read_supported_versions(out, body);
    case EXTENSION_PSK_MODES:
        return is_list_of_modes(body);
    case EXTENSION_RENEGOTIATION:
        return read_renegotiation(out, body);
    default:
        return true;
    }
}

static bool has(const uint64_t *seen, uint32_t type)
{
    return (seen[type / 64] >> type % 64 & 1) != 0;
}

/* RFC 8446, 4.2: none comes twice. A client may send thousands, so that comparing each with each
 * would take milliseconds; a bit for every type is cleared in no time. */
static bool read_extensions(struct lp_hello *out, struct vector extensions)
{
    uint64_t seen[65536 / 64] = {0};
    struct vector body;
    uint32_t type;

    while (extensions.size > 0) {
        if (!take_number(&extensions, 2, &type) || !take_vector(&extensions, 2, &body))
            return false;
        if (has(seen, type)) {
            out->alert = ALERT_ILLEGAL_PARAMETER;
            return false;
        }
        seen[type / 64] |= (uint64_t)1 << type % 64;
        if (!read_extension(out, type, body)) {
            /* Names that no certificate has are served by default. */
            if (out->alert == 0 && type != EXTENSION_SERVER_NAME)
                out->alert = ALERT_DECODE_ERROR;
            return false;
        }
    }
    /* RFC 8446, 4.2.9. */
    if (has(seen, EXTENSION_PRE_SHARED_KEY) && !has(seen, EXTENSION_PSK_MODES))
        out->alert = ALERT_MISSING_EXTENSION;
    return out->alert == 0;
}

/* ---- The message: RFC 8446, 4.1.2 ---- */

static bool read_hello(struct lp_hello *out, struct vector message)
{
    struct vector skipped, session_id, suites, compressions, extensions;
    uint32_t version;

    *out = (struct lp_hello){.has_common_group = true};
    if (!take_number(&message, 2, &version) || version >> 8 != 3)
        return false;
    out->offers_1_2 = version >= VERSION_1_2;
    out->alert = ALERT_DECODE_ERROR;
    if (!take(&message, RANDOM_BYTES, &skipped) || !take_vector(&message, 1, &session_id) ||
        session_id.size > SESSION_ID_BYTES_MAX || !take_vector(&message, 2, &suites) ||
        suites.size == 0 || suites.size % 2 != 0 || !take_vector(&message, 1, &compressions) ||
        compressions.size == 0)
        return false;
    /* RFC 5246, 7.4.1.2: without any extension their length is missing, too. */
    bool has_extensions = message.size > 0;
    if (has_extensions && !take_only_vector(message, 2, &extensions))
        return false;
    out->alert = 0;
    return !has_extensions || read_extensions(out, extensions);
}

enum lp_hello_outcome lp_hello_parse(struct lp_hello *out, struct lp_slice bytes)
{
    struct walk walk = {.bytes = (const uint8_t *)bytes.data, .size = bytes.size};
    uint8_t joined[LP_TLS_HELLO_BYTES_MAX];
    enum lp_hello_outcome outcome = walk_records(&walk);

    out->alert = walk.alert;
    if (outcome != LP_HELLO_DONE)
        return outcome;
    struct vector message = {walk.bytes + RECORD_HEAD_BYTES, walk.message_size}, head;
    if (walk.message_size + RECORD_HEAD_BYTES != walk.at) /* in more than one record */
        message = (struct vector){joined, join(joined, &walk)};
    LP_ASSERT(take(&message, HANDSHAKE_HEAD_BYTES, &head));
    return read_hello(out, message) ? LP_HELLO_DONE : LP_HELLO_BAD;
}

size_t lp_hello_join(char *bytes, size_t size)
{
    struct walk walk = {.bytes = (const uint8_t *)bytes, .size = size};
    uint8_t joined[LP_TLS_HELLO_BYTES_MAX];

    if (walk_records(&walk) != LP_HELLO_DONE)
        return size;
    size_t message_size = join(joined, &walk);
    size_t saved = walk.at - (RECORD_HEAD_BYTES + message_size);
    if (saved == 0)
        return size;
    bytes[3] = (char)(message_size >> 8);
    bytes[4] = (char)message_size;
    memcpy(bytes + RECORD_HEAD_BYTES, joined, message_size);
    memmove(bytes + walk.at - saved, bytes + walk.at, size - walk.at);
    return size - saved;
}
