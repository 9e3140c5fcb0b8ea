/* secure: a connection's TLS 1.3, for any mode.
 *
 * The client's half of a handshake is as much work as the server's, so only a quick library can
 * keep a quick proxy busy: this one is the wolfSSL that limpet is built with, called directly.
 * Nobody looks at certificates beyond their signature in the handshake: what they say about a name
 * is no cost of the server's. */
#ifndef LOAD_SECURE_H
#define LOAD_SECURE_H

#include <sys/types.h>

#include "base/base.h"

struct conn;
struct load;
struct secure; /* what all connections share */

enum secure_result { SECURE_DONE, SECURE_AGAIN, SECURE_FAILED };

/* Is there a group of the key exchange with this name? */
bool secure_has_group(const char *name);

bool secure_create(struct load *load, struct lp_err *err) LP_MUST_USE;
void secure_destroy(struct load *load);
/* Of the last handshake: "TLSv1.3", "TLS_AES_128_GCM_SHA256"; NULL before. */
const char *secure_version(const struct load *load);
const char *secure_suite(const struct load *load);

/* Makes conn's session over its connected socket; with --resume out of its last one. */
bool secure_open(struct load *load, struct conn *conn) LP_MUST_USE;
/* SECURE_FAILED sets errno as the calls below do. */
enum secure_result secure_handshake(struct load *load, struct conn *conn);
/* Like send() and recv(), with EAGAIN, and EPROTO for what is no proper TLS. A call that gave
 * EAGAIN must be repeated with the same bytes. */
ssize_t secure_send(struct load *load, struct conn *conn, const char *data, size_t size);
/* Takes at most size bytes off the socket, and gives all that they mean, at most LOAD_BUFFER_BYTES.
 * *is_all: the socket was emptied. */
ssize_t secure_receive(struct load *load, struct conn *conn, char *data, size_t size, bool *is_all);
/* Ends the session without a word; what it needs to be resumed stays. */
void secure_close(const struct load *load, struct conn *conn);
/* Forgets that, too. */
void secure_forget(struct conn *conn);

#endif
