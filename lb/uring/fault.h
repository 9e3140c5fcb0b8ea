/* fault: in debug builds, makes chosen operations fail as the kernel might make them fail.
 *
 * LIMPET_FAULT=OP:ERROR:N[:EVERY] in the environment, e.g. `recv:ENOBUFS:5` (the fifth receive of
 * each thread) or `send:short:1:3` (the first send and each third one after it). OP is accept,
 * connect, recv or send; ERROR an errno name below, or for sends `short`, or `stuck`: the peer
 * takes nothing. Release builds have none of this. */
#ifndef LP_LB_URING_FAULT_H
#define LP_LB_URING_FAULT_H

#include <liburing.h>

#include "lb/uring/uring.h"

#define URING_FAULT_BIT 8u /* in the operation's four bits of user data */

struct uring_fault {
#ifdef LP_DEBUG
    bool is_on, is_short, is_stuck;
    enum uring_op op;
    int error;
    uint32_t left, every;
#else
    char nothing;
#endif
};

#ifdef LP_DEBUG
void uring_fault_init(struct uring_fault *fault);
/* Answers URING_FAULT_BIT when this operation will fail: it was turned into a no-op. */
unsigned uring_fault_apply(struct uring_fault *fault, struct io_uring_sqe *sqe, enum uring_op op);
#else
static inline void uring_fault_init(struct uring_fault *fault)
{
    (void)fault;
}
static inline unsigned uring_fault_apply(struct uring_fault *fault, struct io_uring_sqe *sqe,
                                         enum uring_op op)
{
    (void)fault;
    (void)sqe;
    (void)op;
    return 0;
}
#endif

#endif
