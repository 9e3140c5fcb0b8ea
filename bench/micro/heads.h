/* heads: what real programs send, in shape: order and number of fields, lengths, spelling. */
#ifndef MICRO_HEADS_H
#define MICRO_HEADS_H

#include "lb/http/http1.h"

struct example {
    const char *name;
    bool is_request;
    struct lp_slice bytes; /* the head with its empty line */
};

enum {
    EXAMPLE_CURL,
    EXAMPLE_CHROME,
    EXAMPLE_FIREFOX_WEBSOCKET,
    EXAMPLE_SOCKET_IO,
    EXAMPLE_COOKIES,
    EXAMPLE_HEALTH_CHECK,
    EXAMPLE_BEHIND_PROXY,
    EXAMPLE_JSON_RESPONSE,
    EXAMPLE_FILE_RESPONSE,
    EXAMPLE_SWITCHING,
    EXAMPLE_COUNT,
};

/* The large cookies are made on the first call. */
const struct example *examples(void);

/* Parses the whole example, which must succeed. */
void example_parse(struct http1_head *head, const struct example *example);

#endif
