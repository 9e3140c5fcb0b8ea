/* subject: a distinguished name as text, safe for a header line and a log. */
#ifndef LP_TLS_SUBJECT_H
#define LP_TLS_SUBJECT_H

#include "tls/der.h"

/* The longest text. A name that needs more is refused rather than cut: the rest of it might be what
 * tells two people apart. */
#define SUBJECT_BYTES_MAX 1024u

/* Writes a Name (its whole DER) in the form of RFC 4514: the last part first, "CN=Ada,O=Example".
 * Only visible ASCII and spaces inside; everything else is escaped as \XX, byte by byte of its
 * UTF-8. The same text as `openssl x509 -nameopt RFC2253`, which nginx gives to servers, too.
 * Answers the length, 0 for the empty name, SIZE_MAX for what is no Name or does not fit. No NUL.
 */
size_t subject_write(char out[SUBJECT_BYTES_MAX], struct lp_slice name);

/* The SHA-256 of a certificate's DER in lower-case hex, with a NUL. */
void fingerprint_write(char out[2 * LP_SHA256_BYTES + 1], struct lp_slice der);

#endif
