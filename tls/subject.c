/* A Name is a list of sets of attributes; subject_write() lists the attributes and writes them from
 * the last to the first. What a value looks like depends on its string type: write_value(). */
#include "tls/subject.h"

#include <stdio.h>
#include <string.h>

/* People have five or so; more is an attack or a mistake. */
#define ATTRIBUTES_MAX 64u

struct attribute {
    struct lp_slice type;
    struct der_element value;
    bool joins_previous; /* of the same set */
};

struct text {
    char *at, *end;
    bool is_full;
};

static void put(struct text *text, char byte)
{
    if (text->at == text->end)
        text->is_full = true;
    else
        *text->at++ = byte;
}

static void put_text(struct text *text, const char *bytes)
{
    for (; *bytes != '\0'; bytes++)
        put(text, *bytes);
}

static void put_hex(struct text *text, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";

    put(text, digits[byte >> 4]);
    put(text, digits[byte & 15]);
}

/* One byte of a value's UTF-8. RFC 4514, 2.4 says which characters need a backslash; the rest of
 * them could end a header line or mean different things to different readers. */
static void put_byte(struct text *text, uint8_t byte, bool is_first, bool is_last)
{
    if (byte < 0x20 || byte >= 0x7f) {
        put(text, '\\');
        put_hex(text, byte);
        return;
    }
    if (strchr("\"+,;<>\\", byte) != NULL || (is_first && (byte == ' ' || byte == '#')) ||
        (is_last && byte == ' '))
        put(text, '\\');
    put(text, (char)byte);
}

static void put_character(struct text *text, uint32_t character, bool is_first, bool is_last)
{
    if (character < 0x80) {
        put_byte(text, (uint8_t)character, is_first, is_last);
        return;
    }
    if (character < 0x800) {
        put_byte(text, (uint8_t)(0xc0 | character >> 6), false, false);
    } else {
        if (character < 0x10000) {
            put_byte(text, (uint8_t)(0xe0 | character >> 12), false, false);
        } else {
            put_byte(text, (uint8_t)(0xf0 | (character >> 18 & 7)), false, false);
            put_byte(text, (uint8_t)(0x80 | (character >> 12 & 63)), false, false);
        }
        put_byte(text, (uint8_t)(0x80 | (character >> 6 & 63)), false, false);
    }
    put_byte(text, (uint8_t)(0x80 | (character & 63)), false, false);
}

/* Bytes of one character; 0: not a string that we know. UTF-8's bytes are written as they are. */
static unsigned width_of(uint8_t tag)
{
    switch (tag) {
    case DER_UTF8_STRING:
    case DER_NUMERIC_STRING:
    case DER_PRINTABLE:
    case DER_TELETEX: /* taken for Latin-1, which is what it has always held */
    case DER_IA5_STRING:
    case DER_VISIBLE:
        return 1;
    case DER_BMP:
        return 2;
    case DER_UNIVERSAL:
        return 4;
    default:
        return 0;
    }
}

static void write_string(struct text *text, const struct der_element *value, unsigned width)
{
    const uint8_t *bytes = (const uint8_t *)value->body.data;
    size_t size = value->body.size;

    for (size_t at = 0; at + width <= size; at += width) {
        uint32_t character = 0;
        bool is_first = at == 0, is_last = at + width == size;

        for (unsigned i = 0; i < width; i++)
            character = character << 8 | bytes[at + i];
        if (value->tag == DER_UTF8_STRING)
            put_byte(text, (uint8_t)character, is_first, is_last);
        else
            put_character(text, character, is_first, is_last);
    }
}

/* RFC 4514, 2.3: "#" and the whole element, for types without a short name too. */
static void write_value(struct text *text, const struct der_element *value, bool is_known)
{
    unsigned width = width_of(value->tag);

    if (is_known && width != 0 && value->body.size % width == 0) {
        write_string(text, value, width);
        return;
    }
    put(text, '#');
    for (size_t i = 0; i < value->whole.size; i++)
        put_hex(text, (uint8_t)value->whole.data[i]);
}

/* clang-format off */
#define OID(literal) {(literal), sizeof(literal) - 1}
static const struct {
    struct lp_slice type;
    const char *name;
} names[] = {
    {OID("\x55\x04\x03"), "CN"},
    {OID("\x55\x04\x04"), "SN"},
    {OID("\x55\x04\x05"), "serialNumber"},
    {OID("\x55\x04\x06"), "C"},
    {OID("\x55\x04\x07"), "L"},
    {OID("\x55\x04\x08"), "ST"},
    {OID("\x55\x04\x09"), "street"},
    {OID("\x55\x04\x0a"), "O"},
    {OID("\x55\x04\x0b"), "OU"},
    {OID("\x55\x04\x0c"), "title"},
    {OID("\x55\x04\x2a"), "GN"},
    {OID("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01"), "UID"},
    {OID("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"), "DC"},
    {OID("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"), "emailAddress"},
};
#undef OID
/* clang-format on */

/* "1.2.840.113549": the first number holds two (X.690, 8.19.4). Numbers beyond 32 bits make no name
 * that anybody uses: the text is refused. */
static bool write_oid(struct text *text, struct lp_slice oid)
{
    uint64_t number = 0;
    bool is_first = true, is_whole = false;

    for (size_t i = 0; i < oid.size; i++) {
        char digits[24];
        uint8_t byte = (uint8_t)oid.data[i];

        number = number << 7 | (byte & 0x7f);
        is_whole = (byte & 0x80) == 0;
        if (number > UINT32_MAX)
            return false;
        if (!is_whole)
            continue;
        if (is_first) {
            uint64_t top = number < 80 ? number / 40 : 2;

            snprintf(digits, sizeof(digits), "%llu.%llu", (unsigned long long)top,
                     (unsigned long long)(number - 40 * top));
        } else {
            snprintf(digits, sizeof(digits), ".%llu", (unsigned long long)number);
        }
        put_text(text, digits);
        is_first = false;
        number = 0;
    }
    return is_whole;
}

static bool write_attribute(struct text *text, const struct attribute *attribute)
{
    for (size_t i = 0; i < LP_COUNT_OF(names); i++)
        if (lp_slice_equal(attribute->type, names[i].type)) {
            put_text(text, names[i].name);
            put(text, '=');
            write_value(text, &attribute->value, true);
            return true;
        }
    if (!write_oid(text, attribute->type))
        return false;
    put(text, '=');
    write_value(text, &attribute->value, false);
    return true;
}

/* RelativeDistinguishedName ::= SET OF SEQUENCE { type, value }. Answers the number of attributes,
 * SIZE_MAX when it is no Name or has too many. */
static size_t list_attributes(struct attribute out[ATTRIBUTES_MAX], struct lp_slice name)
{
    struct lp_slice parts, set, pair;
    size_t count = 0;

    if (!der_open(&name, DER_SEQUENCE, &parts) || name.size > 0)
        return SIZE_MAX;
    while (parts.size > 0) {
        bool joins_previous = false;

        if (!der_open(&parts, DER_SET, &set) || set.size == 0)
            return SIZE_MAX;
        while (set.size > 0) {
            if (count == ATTRIBUTES_MAX || !der_open(&set, DER_SEQUENCE, &pair) ||
                !der_open(&pair, DER_OID, &out[count].type) ||
                !der_take(&pair, &out[count].value) || pair.size > 0)
                return SIZE_MAX;
            out[count++].joins_previous = joins_previous;
            joins_previous = true;
        }
    }
    return count;
}

size_t subject_write(char out[SUBJECT_BYTES_MAX], struct lp_slice name)
{
    struct attribute attributes[ATTRIBUTES_MAX];
    size_t count = list_attributes(attributes, name);
    struct text text = {out, out + SUBJECT_BYTES_MAX, false};

    if (count == SIZE_MAX)
        return SIZE_MAX;
    for (size_t i = count; i-- > 0;) {
        if (!write_attribute(&text, &attributes[i]))
            return SIZE_MAX;
        if (i > 0)
            put(&text, attributes[i].joins_previous ? '+' : ',');
    }
    return text.is_full ? SIZE_MAX : (size_t)(text.at - out);
}

void fingerprint_write(char out[2 * LP_SHA256_BYTES + 1], struct lp_slice der)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[LP_SHA256_BYTES];

    lp_sha256(digest, der);
    for (size_t i = 0; i < sizeof(digest); i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * LP_SHA256_BYTES] = '\0';
}
