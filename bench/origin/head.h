/* head: a request head of HTTP/1, as far as the origin needs it. Pure. Not limpet's parser, so
 * that the two do not share a mistake. */
#ifndef BENCH_ORIGIN_HEAD_H
#define BENCH_ORIGIN_HEAD_H

#include "base/slice.h"

enum head_result { HEAD_DONE, HEAD_MORE, HEAD_BAD };

struct head {
    size_t size; /* with the empty line */
    struct lp_slice method, target;
    struct lp_slice upgrade, websocket_key; /* empty when absent */
    uint64_t content_length;
    bool has_content_length;
    bool is_chunked;
    bool is_http10;
    bool keeps_alive;
    bool connection_upgrade;
    bool expects_continue;
};

/* Reads the head at the start of data. *out borrows data and is whole only with HEAD_DONE. */
enum head_result head_parse(struct head *out, const char *data, size_t size);

/* A decimal number of at most limit that is all of text. */
bool number_parse(uint64_t *out, struct lp_slice text, uint64_t limit);

#endif
