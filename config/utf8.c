/* UTF-8 for the check of the file's bytes and for excerpts that go to a terminal. */
#include "config/utf8.h"

uint32_t utf8_decode(const char *bytes, size_t size_left, uint32_t *size)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *in = (const unsigned char *)bytes;
    uint32_t first = in[0];
    uint32_t length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    *size = 1;
    if (length == 0 || first > 0xf4 || length > size_left)
        return UINT32_MAX;
    uint32_t point = length == 1 ? first : first & (0xffu >> (length + 1));
    for (uint32_t i = 1; i < length; i++) {
        if ((in[i] & 0xc0) != 0x80)
            return UINT32_MAX;
        point = point << 6 | (in[i] & 0x3fu);
    }
    if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return UINT32_MAX;
    *size = length;
    return point;
}

bool utf8_is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0);
}
