/* secure: TLS between the bytes of a socket and the pieces of its connection. For lb/net only;
 * owners of connections see conn.h.
 *
 * Records are opened where they were received, and sealed where the plaintext lies when nobody else
 * needs it there, so that a byte wanders through two buffers of the library but no third one. */
#ifndef LP_LB_NET_SECURE_H
#define LP_LB_NET_SECURE_H

#include "lb/net/conn.h"

struct conn_tls {
    struct conn_traffic io; /* first: conn->io for good */
    struct lp_tls *session;
    struct piece cipher;  /* received, to be taken by the handshake or opened behind it */
    struct piece plain;   /* the rest of the piece that is being sent, not sealed yet */
    struct piece control; /* sealed: what the protocol itself has to say */
    uint32_t slot;
    bool is_away;         /* the crypto thread has the session       */
    bool has_more_to_say; /* its flight is larger than one buffer   */
    bool has_said_goodbye;
};

static inline struct conn_tls *conn_tls_of(const struct conn *conn)
{
    return (struct conn_tls *)(void *)conn->io;
}

/* One turn of the loop: some of the handshakes that wait, and those that came back. */
void secure_turn(struct loop *loop);
/* Takes a piece of ciphertext. 0: the owner should look; EAGAIN: there is nothing for it yet; else
 * errno. */
int secure_receive(struct loop *loop, struct conn *conn, struct piece piece);
/* Takes a piece to be sealed and sent; nothing is being sent. */
void secure_send(struct loop *loop, struct conn *conn, struct piece piece);
/* A send has ended. False: nothing of ours is left to send. */
bool secure_send_more(struct loop *loop, struct conn *conn);
/* A send has failed. No record would be understood any more, so not even a goodbye is said. */
void secure_drop_unsent(struct loop *loop, struct conn *conn);
/* Sends close_notify; nothing is being sent. False: it was said, or cannot be. */
bool secure_close(struct loop *loop, struct conn *conn);
/* loop->held_timer. */
void secure_send_held(struct loop *loop, struct loop_timer *timer);
/* The connection is being released. */
void secure_release(struct loop *loop, struct conn *conn);

/* In conn.c, for secure.c. */
struct uring_name conn_name(const struct conn *conn);
void conn_arm_recv(struct loop *loop, struct conn *conn, uint32_t size_max);
void conn_submit_send(struct loop *loop, struct conn *conn);
void conn_release_when_idle(struct loop *loop, struct conn *conn);
/* What is under way is described there from now on. */
void conn_move_traffic(struct loop *loop, struct conn *conn, struct conn_traffic *to);
void conn_forget_tls(struct conn *conn);
/* In stall.c: its peer takes what it can get. */
void conn_let_flow(struct conn *conn);
/* It leaves loop->stalled. */
void conn_leave_stalled(struct conn *conn);
static inline void conn_unstall(struct conn *conn)
{
    if (LP_UNLIKELY((conn->flags & CONN_STALLED) != 0))
        conn_leave_stalled(conn);
}
/* Takes a piece of plaintext behind what its owner has not consumed. False: memory is out. */
bool conn_deliver(struct loop *loop, struct conn *conn, struct piece piece);

#endif
