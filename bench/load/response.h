/* response: reads HTTP/1.1 responses, however they are cut.
 *
 * A reader of our own, not limpet's: what checks a proxy should not share its mistakes. */
#ifndef LOAD_RESPONSE_H
#define LOAD_RESPONSE_H

#include "base/base.h"

#define RESPONSE_HEAD_MAX 65536u

enum response_event {
    RESPONSE_MORE, /* all bytes are used, more are needed                             */
    RESPONSE_HEAD, /* status, keeps and accept may be read; bytes behind a 101's head
                    * are not used                                                    */
    RESPONSE_BODY, /* the slice is a piece of the body                                */
    RESPONSE_DONE, /* the response has ended                                          */
    RESPONSE_BAD,
};

/* Begins zeroed. */
struct response {
    uint8_t state;
    bool keeps; /* the connection, for another request */
    bool is_chunked;
    uint8_t digits; /* of a chunk's size so far */
    uint16_t status;
    uint32_t line_size;     /* of a trailer line so far */
    uint64_t left;          /* of the body, or of a chunk */
    uint64_t body;          /* bytes of it so far */
    struct lp_slice accept; /* Sec-WebSocket-Accept, until response_begin() */
    char *head;             /* of a head that came in pieces; else NULL */
    uint32_t head_size;
};

/* Before each response; frees what the last one held. */
void response_begin(struct response *response);

/* Reads on. Borrows data; gives in *used how much of it was taken and, for RESPONSE_BODY, the
 * piece, which lies in data. To be called until RESPONSE_MORE, DONE or BAD. */
enum response_event response_step(struct response *response, size_t *used, struct lp_slice *body,
                                  const char *data, size_t size);

/* So many bytes of the body will come at least: they may be thrown away by the kernel, if
 * response_skip() is told of each. */
uint64_t response_skippable(const struct response *response);
enum response_event response_skip(struct response *response, uint64_t size);

/* FIN came: did the response end by it? */
bool response_ends_with_fin(const struct response *response);
/* Has anything of it come? */
bool response_has_begun(const struct response *response);

#endif
