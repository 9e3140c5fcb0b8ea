/* path: decides what a path looks like for matching: one spelling for what servers take as one
 * path. What is forwarded stays as it came. */
#include <string.h>

#include "lb/http/http1.h"

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* RFC 3986, 2.3: these mean the same with and without an escape. */
static bool is_unreserved(int byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

/* Writes what stands at `from` (one byte, or an escape as one byte or in upper case) to out. Gives
 * the bytes written and *used, or 0 for a broken escape or %00. */
static size_t put_unit(char *out, struct lp_slice path, size_t from, size_t *used)
{
    static const char digits[] = "0123456789ABCDEF";
    int high, low;

    if (path.data[from] != '%') {
        out[0] = path.data[from];
        *used = 1;
        return 1;
    }
    if (path.size - from < 3)
        return 0;
    high = hex_digit(path.data[from + 1]);
    low = hex_digit(path.data[from + 2]);
    if (high < 0 || low < 0 || (high | low) == 0)
        return 0;
    *used = 3;
    if (is_unreserved(high << 4 | low)) {
        out[0] = (char)(high << 4 | low);
        return 1;
    }
    out[0] = '%';
    out[1] = digits[high];
    out[2] = digits[low];
    return 3;
}

/* out[0..size) ends with a whole segment behind a "/": takes away ".", and with ".." the segment
 * before, too. Gives the new size, which ends with "/" if something was taken; SIZE_MAX above the
 * root. */
static size_t end_segment(const char *out, size_t size)
{
    size_t start = size;

    while (out[start - 1] != '/')
        start--;
    if (size - start == 1 && out[start] == '.')
        return start;
    if (size - start != 2 || out[start] != '.' || out[start + 1] != '.')
        return size;
    if (start == 1)
        return SIZE_MAX;
    start--; /* the "/" before ".." */
    while (out[start - 1] != '/')
        start--;
    return start;
}

size_t http1_normalise_path(char *out, struct lp_slice path)
{
    size_t size = 1, at = 1, used = 0;

    if (path.size == 1 && path.data[0] == '*') {
        out[0] = '*'; /* OPTIONS *: no path, and like none */
        return 1;
    }
    if (path.size == 0 || path.data[0] != '/')
        return SIZE_MAX;
    out[0] = '/';
    while (at < path.size) {
        if (path.data[at] == '/') {
            size = end_segment(out, size);
            if (size == SIZE_MAX)
                return SIZE_MAX;
            if (out[size - 1] != '/')
                out[size++] = '/';
            at++;
            continue;
        }
        size_t written = put_unit(out + size, path, at, &used);

        if (written == 0)
            return SIZE_MAX;
        size += written;
        at += used;
    }
    return end_segment(out, size);
}
