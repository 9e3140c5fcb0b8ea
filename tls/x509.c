/* The walk through a certificate's fields is x509_read(); what is asked of names follows. */
#include "tls/x509.h"

#include <string.h>

#define OID_SUBJECT_ALT_NAME "\x55\x1d\x11"
#define OID_COMMON_NAME      "\x55\x04\x03"

#define OID_RSA_PSS "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"
#define OID_ED25519 "\x2b\x65\x70"
#define OID_ED448   "\x2b\x65\x71"

#define GENERAL_NAME_DNS (DER_CONTEXT + 2)
#define GENERAL_NAME_IP  (DER_CONTEXT + 7)

const char *x509_key_word(struct lp_slice algorithm)
{
    if (der_is_oid(algorithm, X509_OID_RSA))
        return "RSA";
    if (der_is_oid(algorithm, X509_OID_EC))
        return "ECDSA";
    if (der_is_oid(algorithm, OID_ED25519))
        return "Ed25519";
    if (der_is_oid(algorithm, OID_ED448))
        return "Ed448";
    return der_is_oid(algorithm, OID_RSA_PSS) ? "RSA-PSS" : "of an unknown kind";
}

/* Extension ::= SEQUENCE { extnID, critical DEFAULT FALSE, extnValue OCTET STRING } */
static bool read_extensions(struct x509 *out, struct lp_slice extensions)
{
    struct lp_slice extension, id, value;
    struct der_element critical;

    while (extensions.size > 0) {
        if (!der_open(&extensions, DER_SEQUENCE, &extension) || !der_open(&extension, DER_OID, &id))
            return false;
        if (der_is(extension, DER_BOOLEAN) && !der_take(&extension, &critical))
            return false;
        if (!der_open(&extension, DER_OCTET_STRING, &value))
            return false;
        if (!der_is_oid(id, OID_SUBJECT_ALT_NAME))
            continue;
        /* RFC 5280, 4.2: an extension comes once. Of two, readers could take different ones. */
        if (out->has_names || !der_open(&value, DER_SEQUENCE, &out->names))
            return false;
        out->has_names = true;
    }
    return true;
}

static bool read_validity(struct x509 *out, struct lp_slice validity)
{
    struct der_element from, until;

    return der_take(&validity, &from) && der_take(&validity, &until) &&
           der_time(&from, &out->not_before_s) && der_time(&until, &out->not_after_s);
}

/* SubjectPublicKeyInfo ::= SEQUENCE { SEQUENCE { algorithm, parameters }, BIT STRING } */
static bool read_key(struct x509 *out, struct lp_slice info)
{
    struct lp_slice bits;

    if (!der_open(&info, DER_SEQUENCE, &out->key_parameters) ||
        !der_open(&out->key_parameters, DER_OID, &out->key_algorithm) ||
        !der_open(&info, DER_BIT_STRING, &bits) || bits.size < 1 || bits.data[0] != 0)
        return false;
    out->key = (struct lp_slice){bits.data + 1, bits.size - 1};
    return true;
}

/* Behind the key there may be two unique identifiers, which nobody uses, and the extensions. */
static bool read_tail(struct x509 *out, struct lp_slice tail)
{
    struct der_element element;
    struct lp_slice extensions;

    while (tail.size > 0) {
        if (!der_take(&tail, &element))
            return false;
        if (element.tag == DER_CONTEXT_HOLDS + 3 &&
            (!der_open(&element.body, DER_SEQUENCE, &extensions) ||
             !read_extensions(out, extensions)))
            return false;
    }
    return true;
}

static bool read_fields(struct x509 *out, struct lp_slice fields)
{
    struct lp_slice validity, key;
    struct der_element version, algorithm, issuer, subject;

    if (der_is(fields, DER_CONTEXT_HOLDS) && !der_take(&fields, &version))
        return false;
    if (!der_open(&fields, DER_INTEGER, &out->serial) ||
        !der_take_tag(&fields, DER_SEQUENCE, &algorithm) ||
        !der_take_tag(&fields, DER_SEQUENCE, &issuer) ||
        !der_open(&fields, DER_SEQUENCE, &validity) ||
        !der_take_tag(&fields, DER_SEQUENCE, &subject) || !der_open(&fields, DER_SEQUENCE, &key))
        return false;
    out->issuer = issuer.whole;
    out->subject = subject.whole;
    return read_validity(out, validity) && read_key(out, key) && read_tail(out, fields);
}

bool x509_read(struct x509 *out, struct lp_slice der)
{
    struct lp_slice certificate, fields;

    *out = (struct x509){0};
    return der_open(&der, DER_SEQUENCE, &certificate) && der.size == 0 &&
           der_open(&certificate, DER_SEQUENCE, &fields) && read_fields(out, fields);
}

bool x509_next_name(struct lp_slice *rest, struct x509_name *out)
{
    struct der_element element;

    while (der_take(rest, &element)) {
        bool is_ip = element.tag == GENERAL_NAME_IP;

        if (is_ip && element.body.size != 4 && element.body.size != 16)
            continue;
        /* A NUL inside has fooled readers of C strings; no host name has one. */
        if (!is_ip && (element.tag != GENERAL_NAME_DNS || element.body.size == 0 ||
                       memchr(element.body.data, 0, element.body.size) != NULL))
            continue;
        *out = (struct x509_name){is_ip, element.body};
        return true;
    }
    return false;
}

bool x509_common_name(const struct x509 *certificate, struct lp_slice *out)
{
    struct lp_slice rest = certificate->subject, names, set, attribute, type;
    struct der_element value;
    bool found = false;

    if (!der_open(&rest, DER_SEQUENCE, &names))
        return false;
    while (der_open(&names, DER_SET, &set))
        while (der_open(&set, DER_SEQUENCE, &attribute))
            if (der_open(&attribute, DER_OID, &type) && der_is_oid(type, OID_COMMON_NAME) &&
                der_take(&attribute, &value)) {
                *out = value.body;
                found = true;
            }
    return found;
}

bool x509_name_covers(struct lp_slice name, struct lp_slice host)
{
    if (host.size > 0 && host.data[host.size - 1] == '.')
        host.size--;
    if (name.size < 3 || name.data[0] != '*' || name.data[1] != '.')
        return host.size > 0 && lp_slice_equal_nocase(name, host);

    const char *dot = host.size > 0 ? memchr(host.data, '.', host.size) : NULL;

    if (dot == NULL || dot == host.data)
        return false;

    size_t label = (size_t)(dot - host.data);

    return lp_slice_equal_nocase((struct lp_slice){name.data + 1, name.size - 1},
                                 (struct lp_slice){dot, host.size - label});
}

/* "*.com" would be good for half of the world: no authority signs that, so nobody needs it. */
static bool is_too_wide(struct lp_slice name)
{
    return name.size > 2 && name.data[0] == '*' &&
           memchr(name.data + 2, '.', name.size - 2) == NULL;
}

bool certificate_is_for(struct lp_slice der, struct lp_slice name)
{
    struct x509 certificate;
    struct x509_name found;
    struct lp_ip ip;
    bool is_ip = lp_ip_parse(&ip, name);

    if (!x509_read(&certificate, der))
        return false;
    while (x509_next_name(&certificate.names, &found)) {
        if (found.is_ip != is_ip)
            continue;
        if (is_ip && found.value.size == (ip.family == 4 ? 4u : 16u) &&
            memcmp(found.value.data, ip.bytes, found.value.size) == 0)
            return true;
        if (!is_ip && !is_too_wide(found.value) && x509_name_covers(found.value, name))
            return true;
    }
    return false;
}
