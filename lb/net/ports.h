/* ports: who listens on a port of this machine, asked of the kernel (sock_diag). */
#ifndef LP_LB_NET_PORTS_H
#define LP_LB_NET_PORTS_H

#include "base/base.h"

enum ports_answer {
    PORTS_NOBODY,
    PORTS_UNKNOWN, /* the kernel, or a filter of this service, does not answer */
    PORTS_OURS,
    PORTS_STRANGER,
};

/* Who listens where a socket for address would get in each other's way? takes_ipv4: an IPv6
 * wildcard that takes IPv4 as well. is_ours is asked with the inode of each such socket. */
enum ports_answer ports_who_listens(const struct lp_addr *address, bool takes_ipv4,
                                    bool (*is_ours)(const void *context, uint32_t inode),
                                    const void *context);
/* Is narrow one of the addresses that wide takes clients for? Of an IPv6 wildcard only IPv6 counts.
 */
bool ports_covers(const struct lp_addr *wide, bool wide_takes_ipv4, const struct lp_addr *narrow);

#endif
