/* limits: the edges of everything, each with its unit, why this number, and what happens there. */
#ifndef LP_BASE_LIMITS_H
#define LP_BASE_LIMITS_H

#include "base/macros.h"

/* Longest head we take: room for a dozen 1 KiB cookies. Beyond: 431 from a client, 502 from a
 * server. limits.head may only lower it. */
#define LP_HEAD_BYTES_MAX 16384u

/* Header lines in a head. limits.headers is 100 unless set and may go up to this. */
#define LP_HEADERS_MAX 256u

/* Free bytes before each receive buffer: a head is rewritten in place, and may grow by the lines
 * that limpet adds. A head that grows more is sent from a buffer of its own. */
#define LP_HEADROOM_BYTES 1024u

/* Small buffers hold one head or one burst; large ones are for connections seen streaming (a GB
 * costs 0.44 of the CPU time that it costs with 64 KiB), tiny ones for messages. */
#define LP_BUF_TINY_BYTES  2048u
#define LP_BUF_SMALL_BYTES 16384u
#define LP_BUF_LARGE_BYTES (256u * 1024u) /* limits.stalled may say less */

/* What the kernel takes from us for a peer beyond what is on its way to it, as long as the peer has
 * not taken so much: for bulk it costs 5 % of CPU time. */
#define LP_UNSENT_BYTES_MAX (128u * 1024u)
#define LP_FLOWING_BYTES    (1024u * 1024u)

/* The window that a sender gets whose bytes nobody takes. */
#define LP_NARROW_WINDOW_BYTES (64u * 1024u)

/* Only after so long without progress a peer counts as stalled. */
#define LP_STALLED_MS 100u

/* While somebody waits for a buffer, or half of limits.memory is held, those who hold some are
 * looked at so often. */
#define LP_STARVED_MS 20u

/* The kernel may fill so many buffers of a multishot receive before it looks at anything else. */
#define LP_MULTISHOT_BYTES (32u * LP_BUF_TINY_BYTES)

/* TLS handshakes in one turn of a loop: 0.1 ms each with ECDSA, and open tunnels come first. One
 * that signs with RSA takes as long as all of them. */
#define LP_HANDSHAKES_PER_TURN 8u

/* Slow handshakes that may wait for the crypto thread; beyond, workers do them themselves. */
#define LP_CRYPTO_JOBS_MAX 256u

/* Weights of servers (HASHING.md, section 3, step 5). */
#define LP_WEIGHT_MAX 65535u

/* Servers of one pool: the slot table of hash/ stores 16-bit indexes. */
#define LP_POOL_SERVERS_MAX 65535u

/* Bytes of a server's identity. */
#define LP_SERVER_ID_MAX 255u

/* What a polite end reads and discards before it gives up waiting for the peer's FIN. */
#define LP_LINGER_BYTES_MAX (256u * 1024u)

static_assert(LP_HEAD_BYTES_MAX <= LP_BUF_SMALL_BYTES, "a head fits one buffer");

#endif
