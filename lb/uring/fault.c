/* See fault.h. */
#include "lb/uring/fault.h"

#ifdef LP_DEBUG

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int error;
} errors[] = {{"ENOBUFS", ENOBUFS},       {"ECANCELED", ECANCELED}, {"EMFILE", EMFILE},
              {"ECONNRESET", ECONNRESET}, {"EPIPE", EPIPE},         {"ECONNREFUSED", ECONNREFUSED},
              {"ETIMEDOUT", ETIMEDOUT},   {"ENOMEM", ENOMEM}};

static const char *const op_names[] = {[URING_ACCEPT] = "accept",
                                       [URING_CONNECT] = "connect",
                                       [URING_RECV] = "recv",
                                       [URING_SEND] = "send"};

static bool parse(struct uring_fault *fault, char *text)
{
    char *rest = NULL, *op = strtok_r(text, ":", &rest), *error = strtok_r(NULL, ":", &rest);
    char *first = strtok_r(NULL, ":", &rest), *every = strtok_r(NULL, ":", &rest);
    if (op == NULL || error == NULL || first == NULL)
        return false;
    bool found = false;
    for (unsigned i = 0; i < LP_COUNT_OF(op_names); i++)
        if (strcmp(op, op_names[i]) == 0) {
            fault->op = (enum uring_op)i;
            found = true;
        }
    fault->is_short = strcmp(error, "short") == 0;
    fault->is_stuck = strcmp(error, "stuck") == 0;
    for (unsigned i = 0; i < LP_COUNT_OF(errors); i++)
        if (strcmp(error, errors[i].name) == 0)
            fault->error = errors[i].error;
    fault->left = (uint32_t)strtoul(first, NULL, 10);
    fault->every = every == NULL ? 0 : (uint32_t)strtoul(every, NULL, 10);
    return found && fault->left > 0 && (fault->is_short || fault->is_stuck || fault->error != 0);
}

void uring_fault_init(struct uring_fault *fault)
{
    char text[64] = "";
    const char *given = getenv("LIMPET_FAULT");

    *fault = (struct uring_fault){0};
    if (given == NULL)
        return;
    strncpy(text, given, sizeof(text) - 1);
    fault->is_on = parse(fault, text);
    if (!fault->is_on)
        lp_log(LP_LOG_ERROR, "LIMPET_FAULT=%s is not OP:ERROR:N[:EVERY]", given);
}

unsigned uring_fault_apply(struct uring_fault *fault, struct io_uring_sqe *sqe, enum uring_op op)
{
    if (!fault->is_on || op != fault->op || fault->left == 0 || --fault->left > 0)
        return 0;
    fault->left = fault->every;
    if (fault->is_short) {
        if (sqe->len > 1) {
            sqe->len /= 2;
            sqe->msg_flags &= ~(unsigned)MSG_WAITALL;
        }
        return 0;
    }
    if (fault->is_stuck) {
        io_uring_prep_poll_add(sqe, sqe->fd, 0); /* until it is cancelled, or both sides are shut */
        return 0;
    }
    io_uring_prep_nop(sqe);
    return URING_FAULT_BIT;
}

#endif
