/* tls: ciphertext in, plaintext out, and back. No socket, no clock of its own, no locks on the data
 * path. TLS 1.2 (RFC 5246, AEAD suites only) and TLS 1.3 (RFC 8446); the library is wolfSSL, and
 * only this folder knows it.
 *
 * A *context* is what many sessions share: certificates and policy, built once, only read
 * afterwards. A *session* (struct lp_tls) is one connection's side; one thread at a time may use
 * it, and it may wander between threads. A session keeps its context alive. */
#ifndef LP_TLS_TLS_H
#define LP_TLS_TLS_H

#include "config/config.h"

/* ---- the ClientHello, read before anything else is decided ---- */

#define LP_TLS_HELLO_BYTES_MAX 16384u /* of records, headers included */
#define LP_TLS_NAME_BYTES_MAX  255u   /* of a host name */

enum lp_hello_outcome {
    LP_HELLO_DONE,
    LP_HELLO_MORE,
    LP_HELLO_BAD,       /* TLS, but not as RFC 8446, 4.1.2 or RFC 6066, 3 have it */
    LP_HELLO_NOT_TLS,   /* its first bytes are no TLS handshake record            */
    LP_HELLO_TOO_LARGE, /* not whole within LP_TLS_HELLO_BYTES_MAX                */
};

struct lp_hello {
    char
        name[LP_TLS_NAME_BYTES_MAX + 1]; /* SNI: lower case, no trailing dot, NUL; "" when absent */
    uint16_t name_size;
    bool offers_1_2, offers_1_3;
    bool has_alpn, offers_http_1_1, offers_h2;
    bool offers_early_data;
    bool has_common_group; /* for the key exchange; true when it names none: then there is a default
                            */
    uint8_t alert;         /* of a bad one: the alert that it deserves, or 0: the library says */
};

/* Borrows all bytes that a client has sent so far. A pure function of them: more of the same
 * connection means another call with all of them. *out is whole after LP_HELLO_DONE only, but for
 * the alert. */
enum lp_hello_outcome lp_hello_parse(struct lp_hello *out, struct lp_slice bytes);

/* Puts a whole ClientHello that came in several records into one, in place, because the library
 * cannot read one whose head is cut (RFC 8446, 5.1 allows that; the transcript does not see
 * records). What stands behind it moves up. Gives the new size. */
size_t lp_hello_join(char *bytes, size_t size);

/* ---- contexts ---- */

/* What the clients of one listener meet: a certificate chosen by name, versions, client CA,
 * tickets. */
struct lp_tls_front;
/* What limpet is to the servers of one pool. */
struct lp_tls_back;

/* Reads the files that listener->tls names. What is wrong with them goes into the report, each at
 * its place in the configuration, as do warnings (a certificate in its last 7 days). False when
 * there was an error. Gives *out, to be freed with lp_tls_front_destroy(): open sessions live on.
 */
bool lp_tls_front_build(struct lp_tls_front **out, const struct lp_config *config,
                        const struct lp_cfg_listener *listener,
                        struct lp_config_report *report) LP_MUST_USE;
void lp_tls_front_destroy(struct lp_tls_front *front);

/* The same for pool->tls. */
bool lp_tls_back_build(struct lp_tls_back **out, const struct lp_config *config,
                       const struct lp_cfg_pool *pool, struct lp_config_report *report) LP_MUST_USE;
void lp_tls_back_destroy(struct lp_tls_back *back);

/* Builds all contexts of a configuration once and drops them, for what the report says then. A
 * certificate that is not of today is an error here, and a warning where somebody is served. */
bool lp_tls_check(const struct lp_config *config, struct lp_config_report *report) LP_MUST_USE;

/* ---- sessions ---- */

struct lp_tls;
struct lp_tls_ticket; /* what a client keeps to resume a session */

/* A server's session for a client that said hello; borrows hello. NULL when memory is out. The
 * ClientHello itself is still to be given to lp_tls_handshake(). */
struct lp_tls *lp_tls_accept(const struct lp_tls_front *front, const struct lp_hello *hello);
/* A client's session with a server at that address; ticket may be NULL and is borrowed. */
struct lp_tls *lp_tls_connect(const struct lp_tls_back *back, const struct lp_addr *address,
                              const struct lp_tls_ticket *ticket);
void lp_tls_destroy(struct lp_tls *tls);

enum lp_tls_result {
    LP_TLS_MORE,   /* everything was taken; bytes of the peer must come first    */
    LP_TLS_DATA,   /* it went well: plaintext came out, or the handshake is done */
    LP_TLS_FULL,   /* out has no room left: send it and call again               */
    LP_TLS_CLOSED, /* the peer has said close_notify                             */
    LP_TLS_FAILED, /* for good: lp_tls_error() says why; an alert may lie in out */
};

/* The wire on both sides of one call: what was received is taken off in's front, what is to be sent
 * is put behind out_size. */
struct lp_tls_wire {
    struct lp_slice in;
    char *out;
    size_t out_size, out_room;
};

/* After a step that gave LP_TLS_DATA: is what it wrote something that the peer does not wait for
 * (the tickets of TLS 1.3)? */
bool lp_tls_flight_can_wait(const struct lp_tls *tls);
/* One step of the handshake. At LP_TLS_DATA it is done; what is left of in belongs to
 * lp_tls_open(). out needs LP_TLS_FLIGHT_BYTES of room, else LP_TLS_FULL may come several times. */
#define LP_TLS_FLIGHT_BYTES 16384u
enum lp_tls_result lp_tls_handshake(struct lp_tls *tls, struct lp_tls_wire *wire);

/* Opens one record: *plain_size bytes come out with LP_TLS_DATA, none with any other result. plain
 * has room for LP_TLS_PLAIN_BYTES_MAX, or is at most where in's bytes began in the same memory:
 * what comes out never takes more room than what it came in, as long as lp_tls_carried() is 0. out
 * needs LP_TLS_CONTROL_BYTES of room for answers of the protocol's own. */
#define LP_TLS_PLAIN_BYTES_MAX 16384u
#define LP_TLS_CONTROL_BYTES   512u
enum lp_tls_result lp_tls_open(struct lp_tls *tls, struct lp_tls_wire *wire, char *plain,
                               size_t *plain_size);
/* Bytes of an unfinished record that have been taken in already. */
uint32_t lp_tls_carried(const struct lp_tls *tls);

/* Seals from the front of *plain as many records as out has room for (LP_TLS_FULL: not all). Each
 * adds at most LP_TLS_RECORD_OVERHEAD bytes, and all together LP_TLS_SEAL_SLACK more. out may begin
 * that much before plain in the same memory. now_ms, a clock's: after a second's rest records are
 * small for a while, so that the peer can use the first bytes at once. */
#define LP_TLS_RECORD_OVERHEAD 29u /* TLS 1.2 with AES-GCM */
#define LP_TLS_SEAL_SLACK      64u /* a key update */
enum lp_tls_result lp_tls_seal(struct lp_tls *tls, struct lp_tls_wire *wire, struct lp_slice *plain,
                               uint64_t now_ms);
/* How many records so much plaintext would make now. */
uint32_t lp_tls_records(const struct lp_tls *tls, size_t plain_size, uint64_t now_ms);

/* Writes close_notify. Nothing may be sealed afterwards; opening goes on. */
void lp_tls_close(struct lp_tls *tls, struct lp_tls_wire *wire);

bool lp_tls_is_established(const struct lp_tls *tls);

/* Does its next handshake step sign with RSA, which takes ten times as long? */
bool lp_tls_is_slow(const struct lp_tls *tls);

/* Why it failed: "certificate expired", "no common suite", ... A static text. */
const char *lp_tls_error(const struct lp_tls *tls);

/* After the handshake, for logs and headers. Texts are the session's. */
struct lp_tls_facts {
    const char *version, *suite; /* "TLSv1.3", "TLS_AES_128_GCM_SHA256" */
    bool is_resumed;
    struct lp_slice client_subject;     /* of a verified client, RFC 4514; "" without */
    struct lp_slice client_fingerprint; /* SHA-256 of its certificate, lower case hex; "" without */
};
void lp_tls_facts(const struct lp_tls *tls, struct lp_tls_facts *out);

/* Client sessions: the newest ticket that the server gave, or NULL; free with
 * lp_tls_ticket_free(). TLS 1.3 servers send it behind the handshake. */
struct lp_tls_ticket *lp_tls_take_ticket(struct lp_tls *tls);
void lp_tls_ticket_free(struct lp_tls_ticket *ticket);

/* ---- threads ---- */

/* Once in the process, before any other call. */
void lp_tls_init(void);
/* A thread that serves sessions begins and ends: what it needs comes from memory of its own, so
 * that serving calls no malloc once warm. Other threads may call everything as well. */
void lp_tls_thread_begin(void);
void lp_tls_thread_end(void);
/* Any thread, now and then: gives memory back that was not needed since the call before. True: a
 * later call may give back more. */
bool lp_tls_trim(void);

#endif
