/* der: reading ASN.1's distinguished encoding (X.690), one element at a time.
 *
 * Nothing is copied and nothing is allocated: elements are slices of what was given. Whatever the
 * bytes are, reading ends inside them; what is not DER is an answer, not an accident. */
#ifndef LP_TLS_DER_H
#define LP_TLS_DER_H

#include "base/base.h"

/* clang-format off */
enum der_tag {
    DER_BOOLEAN        = 0x01,
    DER_INTEGER        = 0x02,
    DER_BIT_STRING     = 0x03,
    DER_OCTET_STRING   = 0x04,
    DER_OID            = 0x06,
    DER_ENUMERATED     = 0x0a,
    DER_UTF8_STRING    = 0x0c,
    DER_NUMERIC_STRING = 0x12,
    DER_PRINTABLE      = 0x13,
    DER_TELETEX        = 0x14,
    DER_IA5_STRING     = 0x16,
    DER_UTC_TIME       = 0x17,
    DER_TIME           = 0x18, /* GeneralizedTime */
    DER_VISIBLE        = 0x1a,
    DER_UNIVERSAL      = 0x1c,
    DER_BMP            = 0x1e,
    DER_SEQUENCE       = 0x30,
    DER_SET            = 0x31,
    DER_CONTEXT        = 0x80, /* + number: [number] IMPLICIT of something primitive */
    DER_CONTEXT_HOLDS  = 0xa0, /* + number: [number] around other elements           */
};
/* clang-format on */

struct der_element {
    uint8_t tag;
    struct lp_slice body;  /* its contents          */
    struct lp_slice whole; /* with tag and length   */
};

/* Takes the first element off in's front. False at the end and for what is not DER: then in is
 * unchanged. Tags above 30 are not read; certificates have none. */
bool der_take(struct lp_slice *in, struct der_element *out);
/* The same, when it has this tag. */
bool der_take_tag(struct lp_slice *in, unsigned tag, struct der_element *out);
/* Does in begin with this tag? */
bool der_is(struct lp_slice in, unsigned tag);
/* Takes an element of this tag off in's front and answers its contents in *body. */
bool der_open(struct lp_slice *in, unsigned tag, struct lp_slice *body);

/* UTCTime or GeneralizedTime as RFC 5280, 4.1.2.5 has them, in seconds since 1970. */
bool der_time(const struct der_element *element, int64_t *out_s);

/* Is it this object identifier? The literal holds its encoded bytes. */
#define der_is_oid(body, literal) lp_slice_equal((body), LP_SLICE(literal))

#endif
