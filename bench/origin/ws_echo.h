/* ws_echo: every frame comes back, as it passes. */
#ifndef BENCH_ORIGIN_WS_ECHO_H
#define BENCH_ORIGIN_WS_ECHO_H

#include "bench/origin/conn.h"

/* Echoes frames into the answer buffer: data with the same opcode and FIN, unmasked; a Ping as
 * Pong; after a Close, or with one of code 1002 after a violation, the connection ends. Gives the
 * bytes used: all, unless the connection ends. */
size_t ws_echo_consume(struct origin *origin, struct conn *conn, const char *data, size_t size);

#endif
