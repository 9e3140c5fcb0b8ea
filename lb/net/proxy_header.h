/* proxy_header: the first bytes of a connection to a server that wants to know whom it serves, as
 * HAProxy's PROXY protocol has them (proxy-protocol.txt, versions 1 and 2). Pure. */
#ifndef LP_LB_NET_PROXY_HEADER_H
#define LP_LB_NET_PROXY_HEADER_H

#include "tls/tls.h"

struct proxy_header {
    const struct lp_addr *client; /* NULL: the connection is limpet's own, as a health check's is */
    const struct lp_addr
        *local;           /* which of our addresses the client had connected to; may be NULL */
    struct lp_slice name; /* that the client's TLS asked for, or "" */
};

/* Of version 2: fixed part, two IPv6 addresses with ports, a name with its type and length. */
#define PROXY_HEADER_BYTES_MAX (16u + 36u + 3u + LP_TLS_NAME_BYTES_MAX)

/* Gives the size; 0 for LP_PROXY_PROTOCOL_OFF. Borrows everything. Version 1 has no place for the
 * name. Addresses of two families are both written as IPv6; where one has no IP at all (a Unix
 * socket's) the header says that the client is unknown. */
size_t proxy_header_write(char out[PROXY_HEADER_BYTES_MAX], enum lp_proxy_protocol version,
                          const struct proxy_header *what);

#endif
