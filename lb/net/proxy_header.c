/* The PROXY protocol's header. "The specification" is HAProxy's proxy-protocol.txt. */
#include "lb/net/proxy_header.h"

#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX 107u /* of version 1, without NUL: the specification, 2.1 */
static_assert(LINE_BYTES_MAX < PROXY_HEADER_BYTES_MAX, "either version has room");

/* Both ends as the header names them. */
struct ends {
    uint8_t family; /* 4, 6, or 0 when they cannot be named */
    struct lp_ip client, local;
    uint16_t client_port, local_port;
};

static struct ends ends_of(const struct proxy_header *what)
{
    struct ends ends = {0};

    if (what->client == NULL || what->local == NULL)
        return ends;
    ends.client = lp_addr_ip(what->client);
    ends.local = lp_addr_ip(what->local);
    ends.client_port = lp_addr_port(what->client);
    ends.local_port = lp_addr_port(what->local);
    if (ends.client.family == 0 || ends.local.family == 0)
        return ends;
    ends.family = ends.client.family == 4 && ends.local.family == 4 ? 4 : 6;
    return ends;
}

/* ---- Version 1: a line of text ---- */

/* As text of the header's family: an IPv4 address among IPv6 ones is mapped, RFC 4291, 2.5.5.2.
 * No address has more than 45 letters, which the compiler cannot know. */
static void format_ip(char out[LP_ADDR_TEXT_MAX], const struct lp_ip *ip, uint8_t family)
{
    char text[LP_ADDR_TEXT_MAX];

    lp_ip_format(ip, text);
    snprintf(out, LP_ADDR_TEXT_MAX, "%s%.45s", ip->family == family ? "" : "::ffff:", text);
}

static size_t write_line(char out[PROXY_HEADER_BYTES_MAX], const struct proxy_header *what)
{
    struct ends ends = ends_of(what);
    char client[LP_ADDR_TEXT_MAX], local[LP_ADDR_TEXT_MAX];
    int size;

    if (ends.family == 0) {
        size = snprintf(out, PROXY_HEADER_BYTES_MAX, "PROXY UNKNOWN\r\n");
    } else {
        format_ip(client, &ends.client, ends.family);
        format_ip(local, &ends.local, ends.family);
        size = snprintf(out, PROXY_HEADER_BYTES_MAX, "PROXY TCP%d %s %s %d %d\r\n", ends.family,
                        client, local, ends.client_port, ends.local_port);
    }
    LP_ASSERT(size > 0 && (size_t)size <= LINE_BYTES_MAX);
    return (size_t)size;
}

/* ---- Version 2: binary ---- */

static const char signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

enum {
    VERSION_2_LOCAL = 0x20, /* nobody is served: the server takes the connection's own addresses */
    VERSION_2_PROXY = 0x21,
    FAMILY_NONE = 0x00,
    FAMILY_TCP4 = 0x11,
    FAMILY_TCP6 = 0x21,
    TYPE_AUTHORITY = 0x02,
};

static char *put_bytes(char *at, const void *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

static char *put_number(char *at, size_t number)
{
    at[0] = (char)(number >> 8);
    at[1] = (char)number;
    return at + 2;
}

static char *put_ip(char *at, const struct lp_ip *ip, uint8_t family)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (family == 6 && ip->family == 4)
        at = put_bytes(at, mapped, sizeof(mapped));
    return put_bytes(at, ip->bytes, ip->family == 4 ? 4 : 16);
}

static char *put_ends(char *at, const struct ends *ends)
{
    if (ends->family == 0)
        return at;
    at = put_ip(at, &ends->client, ends->family);
    at = put_ip(at, &ends->local, ends->family);
    at = put_number(at, ends->client_port);
    return put_number(at, ends->local_port);
}

static size_t write_binary(char out[PROXY_HEADER_BYTES_MAX], const struct proxy_header *what)
{
    struct ends ends = ends_of(what);
    bool is_local = what->client == NULL;
    char *at = put_bytes(out, signature, sizeof(signature));

    *at++ = is_local ? VERSION_2_LOCAL : VERSION_2_PROXY;
    *at++ = ends.family == 4 ? FAMILY_TCP4 : ends.family == 6 ? FAMILY_TCP6 : FAMILY_NONE;
    char *length = at;
    char *body = at + 2;
    at = put_ends(body, &ends);
    /* A server must skip what stands in a local header: we write nothing. */
    if (what->name.size > 0 && !is_local) {
        LP_ASSERT(what->name.size <= LP_TLS_NAME_BYTES_MAX);
        *at++ = TYPE_AUTHORITY;
        at = put_number(at, what->name.size);
        at = put_bytes(at, what->name.data, what->name.size);
    }
    put_number(length, (size_t)(at - body));
    return (size_t)(at - out);
}

size_t proxy_header_write(char out[PROXY_HEADER_BYTES_MAX], enum lp_proxy_protocol version,
                          const struct proxy_header *what)
{
    switch (version) {
    case LP_PROXY_PROTOCOL_OFF:
        return 0;
    case LP_PROXY_PROTOCOL_V1:
        return write_line(out, what);
    case LP_PROXY_PROTOCOL_V2:
        return write_binary(out, what);
    }
    LP_ASSERT(false);
}
