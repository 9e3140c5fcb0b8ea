/* http: requests and their answers. Changes the connection's state and fills the answer buffer;
 * conn.c sends, waits and ends. */
#ifndef BENCH_ORIGIN_HTTP_H
#define BENCH_ORIGIN_HTTP_H

#include "bench/origin/conn.h"

/* Understands requests in order, until the bytes are used up, a request is busy or the answers
 * should be sent first. Gives the bytes used; what is left is given again with more behind it. */
size_t http_consume(struct origin *origin, struct conn *conn, const char *data, size_t size);

/* CONN_DELAY: answers; CONN_EVENTS: writes the next event and sets the timer again. */
void http_on_timer(struct origin *origin, struct conn *conn);

#endif
