/* Addresses as text and back. libc parses and prints the numbers; what limpet accepts around them
 * is decided here. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ::ffff:a.b.c.d is the IPv4 client that came through an IPv6 socket. */
static struct lp_ip ip_of_v6(const uint8_t bytes[16])
{
    struct lp_ip ip = {.family = 6};

    if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        ip.family = 4;
        memcpy(ip.bytes, bytes + 12, 4);
    } else {
        memcpy(ip.bytes, bytes, 16);
    }
    return ip;
}

bool lp_ip_parse(struct lp_ip *out, struct lp_slice text)
{
    char copy[INET6_ADDRSTRLEN + 1];
    uint8_t bytes[16];

    if (text.size == 0 || text.size >= sizeof(copy) || memchr(text.data, '\0', text.size) != NULL)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (inet_pton(AF_INET, copy, bytes) == 1) {
        *out = (struct lp_ip){.family = 4};
        memcpy(out->bytes, bytes, 4);
        return true;
    }
    if (inet_pton(AF_INET6, copy, bytes) != 1)
        return false;
    *out = ip_of_v6(bytes);
    return true;
}

static size_t put_decimal(char *out, unsigned value)
{
    size_t size = 0;

    if (value >= 100)
        out[size++] = (char)('0' + value / 100);
    if (value >= 10)
        out[size++] = (char)('0' + value / 10 % 10);
    out[size++] = (char)('0' + value % 10);
    return size;
}

size_t lp_ip_format(const struct lp_ip *ip, char out[LP_ADDR_TEXT_MAX])
{
    size_t size = 0;

    out[0] = '\0';
    if (ip->family == 6) {
        inet_ntop(AF_INET6, ip->bytes, out, LP_ADDR_TEXT_MAX);
        return strlen(out);
    }
    for (unsigned i = 0; ip->family == 4 && i < 4; i++) { /* on the data path: no printf */
        if (i > 0)
            out[size++] = '.';
        size += put_decimal(out + size, ip->bytes[i]);
    }
    out[size] = '\0';
    return size;
}

bool lp_ip_equal(const struct lp_ip *a, const struct lp_ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* Digits only, no sign, no leading blanks, at most max. */
static bool parse_number(unsigned *out, struct lp_slice text, unsigned max)
{
    unsigned value = 0;

    if (text.size == 0 || text.size > 5)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    *out = value;
    return value <= max;
}

static bool bit_is_set(const uint8_t *bytes, unsigned bit)
{
    return (bytes[bit / 8] >> (7 - bit % 8) & 1) != 0;
}

bool lp_cidr_parse(struct lp_cidr *out, struct lp_slice text)
{
    const char *slash = text.size == 0 ? NULL : memchr(text.data, '/', text.size);
    struct lp_slice address = text;
    unsigned bits;

    if (slash != NULL)
        address.size = (size_t)(slash - text.data);
    if (!lp_ip_parse(&out->ip, address))
        return false;
    bool is_mapped = out->ip.family == 4 && memchr(address.data, ':', address.size) != NULL;
    unsigned bits_max = out->ip.family == 4 ? 32 : 128;
    bits = bits_max;
    if (slash != NULL &&
        !parse_number(&bits, (struct lp_slice){slash + 1, text.size - address.size - 1},
                      is_mapped ? 128 : bits_max))
        return false;
    if (slash != NULL && is_mapped) { /* ::ffff:10.0.0.0/104 is written in bits of IPv6 */
        if (bits < 96)
            return false;
        bits -= 96;
    }
    for (unsigned bit = bits; bit < bits_max; bit++)
        if (bit_is_set(out->ip.bytes, bit))
            return false;
    out->bits = (uint8_t)bits;
    return true;
}

bool lp_cidr_contains(const struct lp_cidr *cidr, const struct lp_ip *ip)
{
    unsigned whole = cidr->bits / 8, rest = cidr->bits % 8;

    if (ip->family != cidr->ip.family || memcmp(ip->bytes, cidr->ip.bytes, whole) != 0)
        return false;
    return rest == 0 || (ip->bytes[whole] ^ cidr->ip.bytes[whole]) >> (8 - rest) == 0;
}

static bool parse_unix(struct lp_addr *out, struct lp_slice path)
{
    if (path.size == 0 || path.size >= sizeof(out->as.un.sun_path) || path.data[0] != '/' ||
        memchr(path.data, '\0', path.size) != NULL)
        return false;
    memset(out, 0, sizeof(*out));
    out->as.un.sun_family = AF_UNIX;
    memcpy(out->as.un.sun_path, path.data, path.size);
    out->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.size + 1);
    return true;
}

static void set_ip(struct lp_addr *out, const struct lp_ip *ip, unsigned port)
{
    memset(out, 0, sizeof(*out));
    if (ip->family == 4) {
        out->as.in.sin_family = AF_INET;
        out->as.in.sin_port = htons((uint16_t)port);
        memcpy(&out->as.in.sin_addr, ip->bytes, 4);
        out->size = sizeof(out->as.in);
    } else {
        out->as.in6.sin6_family = AF_INET6;
        out->as.in6.sin6_port = htons((uint16_t)port);
        memcpy(&out->as.in6.sin6_addr, ip->bytes, 16);
        out->size = sizeof(out->as.in6);
    }
}

bool lp_addr_parse(struct lp_addr *out, struct lp_slice text, bool allow_any)
{
    struct lp_ip ip = {.family = 6};
    unsigned port;

    if (text.size >= 5 && memcmp(text.data, "unix:", 5) == 0)
        return parse_unix(out, (struct lp_slice){text.data + 5, text.size - 5});
    const char *colon = text.size == 0 ? NULL : memrchr(text.data, ':', text.size);
    if (colon == NULL)
        return false;
    struct lp_slice host = {text.data, (size_t)(colon - text.data)};
    if (!parse_number(&port, (struct lp_slice){colon + 1, text.size - host.size - 1}, 65535) ||
        port == 0)
        return false;
    if (host.size == 1 && host.data[0] == '*') {
        set_ip(out, &ip, port);
        return allow_any;
    }
    bool is_bracketed = host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']';
    if (is_bracketed)
        host = (struct lp_slice){host.data + 1, host.size - 2};
    bool has_colon = host.size > 0 && memchr(host.data, ':', host.size) != NULL;
    if (is_bracketed != has_colon || !lp_ip_parse(&ip, host))
        return false;
    set_ip(out, &ip, port);
    return true;
}

/* The kernel sets as much as size says: of a peer without a name nothing, and of the longest path
 * no NUL. */
static struct lp_slice unix_path(const struct lp_addr *addr)
{
    size_t room = 0;

    if (addr->size > offsetof(struct sockaddr_un, sun_path))
        room = addr->size - offsetof(struct sockaddr_un, sun_path);
    if (room > sizeof(addr->as.un.sun_path))
        room = sizeof(addr->as.un.sun_path);
    return (struct lp_slice){addr->as.un.sun_path, strnlen(addr->as.un.sun_path, room)};
}

size_t lp_addr_format(const struct lp_addr *addr, char out[LP_ADDR_TEXT_MAX])
{
    if (addr->as.any.sa_family == AF_UNIX)
        return (size_t)snprintf(out, LP_ADDR_TEXT_MAX, "unix:%.*s", LP_SLICE_ARG(unix_path(addr)));
    struct lp_ip ip = lp_addr_ip(addr);
    char text[LP_ADDR_TEXT_MAX];
    lp_ip_format(&ip, text);
    return (size_t)snprintf(out, LP_ADDR_TEXT_MAX, ip.family == 6 ? "[%.64s]:%u" : "%.64s:%u", text,
                            lp_addr_port(addr));
}

bool lp_addr_equal(const struct lp_addr *a, const struct lp_addr *b)
{
    if (a->as.any.sa_family != b->as.any.sa_family)
        return false;
    if (a->as.any.sa_family == AF_UNIX)
        return lp_slice_equal(unix_path(a), unix_path(b));
    struct lp_ip ip_a = lp_addr_ip(a), ip_b = lp_addr_ip(b);
    return lp_ip_equal(&ip_a, &ip_b) && lp_addr_port(a) == lp_addr_port(b);
}

struct lp_ip lp_addr_ip(const struct lp_addr *addr)
{
    struct lp_ip ip = {0};

    if (addr->as.any.sa_family == AF_INET) {
        ip.family = 4;
        memcpy(ip.bytes, &addr->as.in.sin_addr, 4);
    } else if (addr->as.any.sa_family == AF_INET6) {
        ip = ip_of_v6(addr->as.in6.sin6_addr.s6_addr);
    }
    return ip;
}

uint16_t lp_addr_port(const struct lp_addr *addr)
{
    if (addr->as.any.sa_family == AF_INET)
        return ntohs(addr->as.in.sin_port);
    return addr->as.any.sa_family == AF_INET6 ? ntohs(addr->as.in6.sin6_port) : 0;
}
