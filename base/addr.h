/* addr: network addresses, as sockets want them and as people write them. */
#ifndef LP_BASE_ADDR_H
#define LP_BASE_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/slice.h"

/* An address without a port. A Unix-socket peer has none: family 0. */
struct lp_ip {
    uint8_t family;    /* 0, 4 or 6; an IPv4-mapped IPv6 address is always stored as 4 */
    uint8_t bytes[16]; /* network order; the first 4 for IPv4, the rest zero */
};

struct lp_cidr {
    struct lp_ip ip;
    uint8_t bits;
};

/* Where to bind or to connect. */
struct lp_addr {
    socklen_t size; /* of the member that is set */
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } as;
};

#define LP_ADDR_TEXT_MAX 128u /* any lp_*_format() result with its NUL */

/* RFC 4291 and dotted IPv4, without brackets or a port. */
bool lp_ip_parse(struct lp_ip *out, struct lp_slice text);
/* RFC 5952. Gives the length; 0 and "" for family 0, "unix" is the caller's word. */
size_t lp_ip_format(const struct lp_ip *ip, char out[LP_ADDR_TEXT_MAX]);
bool lp_ip_equal(const struct lp_ip *a, const struct lp_ip *b);

/* "10.0.0.0/8", "2001:db8::/32", or an address alone. False also when bits are set behind the
 * prefix. */
bool lp_cidr_parse(struct lp_cidr *out, struct lp_slice text);
bool lp_cidr_contains(const struct lp_cidr *cidr, const struct lp_ip *ip);

/* "127.0.0.1:80", "[::1]:80", "unix:/path"; with allow_any also "*:80" (which is [::]:80 taking
 * IPv4 too). Port 0 is refused. */
bool lp_addr_parse(struct lp_addr *out, struct lp_slice text, bool allow_any);
/* The same notation back; "unix:" for a Unix peer without a name. Gives the length. */
size_t lp_addr_format(const struct lp_addr *addr, char out[LP_ADDR_TEXT_MAX]);
bool lp_addr_equal(const struct lp_addr *a, const struct lp_addr *b);
struct lp_ip lp_addr_ip(const struct lp_addr *addr);
uint16_t lp_addr_port(const struct lp_addr *addr); /* host order; 0 for Unix */

#endif
