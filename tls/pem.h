/* pem: files of certificates and keys, and the blocks in them (RFC 7468). */
#ifndef LP_TLS_PEM_H
#define LP_TLS_PEM_H

#include "base/base.h"

#define PEM_FILE_BYTES_MAX (1024u * 1024u)

/* Reads a whole regular file of at most PEM_FILE_BYTES_MAX; it may be empty. Gives *out, to be
 * freed with pem_free_file(). The error says what is wrong with which file. */
bool pem_read_file(struct lp_slice *out, const char *path, struct lp_err *err) LP_MUST_USE;
/* Wipes it first: it may hold a key. */
void pem_free_file(struct lp_slice file);

enum pem_outcome { PEM_BLOCK, PEM_END, PEM_BROKEN };

struct pem_block {
    struct lp_slice label; /* "CERTIFICATE" */
    struct lp_slice body;  /* the lines between BEGIN and END */
    struct lp_slice stray; /* of a broken one: the line that should have begun or ended a block */
    bool is_encrypted;     /* by RFC 1421's header lines */
};

/* Takes the next block off text's front; other text between blocks is passed over. PEM_BROKEN: the
 * block has no end line, then only out->label is set; or a line belongs to no block, then only
 * out->stray is. */
enum pem_outcome pem_next(struct lp_slice *text, struct pem_block *out);
/* Is that as it should be, and no block that would be passed over though certificates are in it? */
bool pem_check(enum pem_outcome outcome, const struct pem_block *block, const char *path,
               struct lp_err *err) LP_MUST_USE;

bool pem_is_certificate(const struct pem_block *block);
bool pem_is_key(const struct pem_block *block); /* private, of any kind */

/* Decodes a block's body. Gives the bytes inside arena; false when it is not base64. */
bool pem_decode(struct lp_slice *out, const struct pem_block *block, struct lp_arena *arena);

/* What a file is that has no block at all, and what to do about it: a sentence's end like "is DER,
 * not PEM; ...", "is empty". */
const char *pem_describe(struct lp_slice file);

#endif
