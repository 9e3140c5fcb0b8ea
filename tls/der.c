/* An element is a tag, a length and that many bytes. Everything here refuses rather than repairs: a
 * certificate has one right encoding, and two readers must never disagree about it. */
#include "tls/der.h"

#include <string.h>

/* Lengths of up to 4 bytes, in their shortest form. Answers the bytes read, 0 for a bad length. */
static size_t take_length(const uint8_t *at, size_t size, size_t *length)
{
    if (size == 0)
        return 0;
    *length = at[0];
    if (at[0] < 0x80)
        return 1;

    size_t count = at[0] & 0x7f;

    if (count == 0 || count > 4 || count >= size || at[1] == 0)
        return 0;
    *length = 0;
    for (size_t i = 1; i <= count; i++)
        *length = *length << 8 | at[i];
    return *length < 0x80 ? 0 : 1 + count;
}

bool der_take(struct lp_slice *in, struct der_element *out)
{
    const uint8_t *at = (const uint8_t *)in->data;
    size_t length;

    if (in->size < 2 || (at[0] & 0x1f) == 0x1f)
        return false;

    size_t head = take_length(at + 1, in->size - 1, &length);

    if (head == 0 || length > in->size - 1 - head)
        return false;
    head++;
    *out = (struct der_element){at[0], {in->data + head, length}, {in->data, head + length}};
    in->data += head + length;
    in->size -= head + length;
    return true;
}

bool der_is(struct lp_slice in, unsigned tag)
{
    return in.size > 0 && (uint8_t)in.data[0] == tag;
}

bool der_take_tag(struct lp_slice *in, unsigned tag, struct der_element *out)
{
    return der_is(*in, tag) && der_take(in, out);
}

bool der_open(struct lp_slice *in, unsigned tag, struct lp_slice *body)
{
    struct der_element element;

    if (!der_take_tag(in, tag, &element))
        return false;
    *body = element.body;
    return true;
}

/* Days since 1970 of a date of the Gregorian calendar: years begin in March, so that the leap day
 * is the last. */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;

    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return 365 * year + year / 4 - year / 100 + year / 400 + of_year - 719468;
}

static int two_digits(const char *at)
{
    return 10 * (at[0] - '0') + at[1] - '0';
}

bool der_time(const struct der_element *element, int64_t *out_s)
{
    size_t year_digits = element->tag == DER_UTC_TIME ? 2 : 4;
    const char *text = element->body.data;
    size_t digits = year_digits + 10;

    if ((element->tag != DER_UTC_TIME && element->tag != DER_TIME) ||
        element->body.size != digits + 1 || text[digits] != 'Z')
        return false;
    for (size_t i = 0; i < digits; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;

    int64_t year = two_digits(text);

    /* RFC 5280, 4.1.2.5.1: two digits mean 1950 to 2049. */
    year = year_digits == 4 ? 100 * year + two_digits(text + 2) : year + (year < 50 ? 2000 : 1900);
    text += year_digits;

    int month = two_digits(text), day = two_digits(text + 2), hour = two_digits(text + 4);
    int minute = two_digits(text + 6), second = two_digits(text + 8);

    if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59)
        return false;
    *out_s = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    return true;
}
