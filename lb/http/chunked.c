/* chunked: decides where the chunks of a body begin and end (RFC 9112, 7.1), and refuses what two
 * parsers could read differently. The bytes go on as they came, so nothing is decoded here: a step
 * only says what its bytes are. */
#include <string.h>

#include "lb/http/fields.h"
#include "lb/http/scan.h"

/* A size line with its extensions, and the trailer section as a whole. */
#define LINE_BYTES_MAX     4096u
#define TRAILERS_BYTES_MAX 8192u

enum state {
    STATE_SIZE,      /* at a size line, or in its digits              */
    STATE_SPACE,     /* white space behind the digits: ";" must come  */
    STATE_EXTENSION, /* behind the first ";"                          */
    STATE_SIZE_LF,   /* behind the CR of a size line                  */
    STATE_DATA,      /* left bytes of it to come, at least one        */
    STATE_DATA_CR,   /* behind the data                               */
    STATE_DATA_LF,
    STATE_TRAILER,      /* at a trailer line, or at the last, empty line */
    STATE_TRAILER_NAME, /* in its name                                   */
    STATE_TRAILER_VALUE,
    STATE_TRAILER_LF,
    STATE_END_LF, /* behind the CR of the empty line               */
    STATE_DONE,
    STATE_BAD,
};

static_assert(sizeof(((struct http1_chunked *)NULL)->name) > HTTP1_NAME_SIZE_MAX,
              "a name that fills the buffer is none that we know");

void http1_chunked_init(struct http1_chunked *chunked)
{
    memset(chunked, 0, sizeof(*chunked));
}

bool http1_chunked_is_at_boundary(const struct http1_chunked *chunked)
{
    return chunked->state == STATE_SIZE && chunked->digits == 0;
}

uint64_t http1_chunked_content_left(const struct http1_chunked *chunked)
{
    return chunked->state == STATE_DATA ? chunked->left : 0;
}

static const char *read_size_byte(struct http1_chunked *chunked, char byte)
{
    int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                             : -1;

    if (digit >= 0) {
        if (chunked->digits == 16)
            return "chunk size has over 16 digits";
        chunked->digits++;
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        /* Somebody would read it as negative. */
        return chunked->left > INT64_MAX ? "chunk size is too large" : NULL;
    }
    if (chunked->digits == 0)
        return "chunk without a size";
    if (byte == '\r')
        chunked->state = STATE_SIZE_LF;
    else if (byte == ';')
        chunked->state = STATE_EXTENSION;
    else if (byte == ' ' || byte == '\t')
        chunked->state = STATE_SPACE;
    else
        return byte == '\n' ? "size line ends with LF alone" : "bad character in a chunk size";
    return NULL;
}

/* RFC 9112, 7.1.1: white space may stand before ";", and nowhere else behind the size. */
static const char *read_space_byte(struct http1_chunked *chunked, char byte)
{
    if (byte == ';')
        chunked->state = STATE_EXTENSION;
    else if (byte != ' ' && byte != '\t')
        return "white space behind a chunk size";
    return NULL;
}

/* In an extension or in a trailer's value. */
static const char *read_text_byte(struct http1_chunked *chunked, char byte, enum state behind)
{
    if (byte == '\r')
        chunked->state = (uint8_t)behind;
    else if (!scan_is(byte, SCAN_VALUE))
        return byte == '\n' ? "line ends with LF alone" : "control character in a line";
    return NULL;
}

static const char *read_lf(struct http1_chunked *chunked, char byte, enum state behind)
{
    if (byte != '\n')
        return "CR without LF";
    chunked->state = (uint8_t)behind;
    return NULL;
}

static const char *end_size_line(struct http1_chunked *chunked, char byte)
{
    const char *why = read_lf(chunked, byte, chunked->left != 0 ? STATE_DATA : STATE_TRAILER);

    chunked->line_bytes = 0;
    chunked->digits = 0;
    return why;
}

/* RFC 9110, 6.5.1: what frames, routes or authorises must come before the body. Whatever limpet
 * looks at in a request's head is refused, so that no server learns it later than limpet; what
 * routes requests says nothing in a response. */
static bool may_be_trailer(const struct http1_chunked *chunked)
{
    enum http1_name name = http1_name_of_any(chunked->name, chunked->name_bytes);

    if (!chunked->is_response)
        return name == HTTP1_OTHER;
    return name != HTTP1_TRANSFER_ENCODING && name != HTTP1_CONTENT_LENGTH &&
           name != HTTP1_CONNECTION && name != HTTP1_KEEP_ALIVE && name != HTTP1_UPGRADE &&
           name != HTTP1_PROXY_CONNECTION;
}

static const char *read_trailer_name_byte(struct http1_chunked *chunked, char byte)
{
    if (byte != ':') {
        if (!scan_is(byte, SCAN_TOKEN))
            return "bad character in a trailer's name";
        if (chunked->name_bytes < sizeof(chunked->name))
            chunked->name[chunked->name_bytes++] = byte;
        return NULL;
    }
    if (chunked->name_bytes == 0)
        return "trailer without a name";
    if (!may_be_trailer(chunked))
        return "field that may not be a trailer";
    chunked->state = STATE_TRAILER_VALUE;
    return NULL;
}

static const char *read_trailer_byte(struct http1_chunked *chunked, char byte)
{
    if (byte == '\r') {
        chunked->state = STATE_END_LF;
        return NULL;
    }
    chunked->state = STATE_TRAILER_NAME;
    chunked->name_bytes = 0;
    return read_trailer_name_byte(chunked, byte);
}

/* One byte of framing; NULL or why it is bad. */
static const char *read_byte(struct http1_chunked *chunked, char byte)
{
    switch ((enum state)chunked->state) {
    case STATE_SIZE:
        return read_size_byte(chunked, byte);
    case STATE_SPACE:
        return read_space_byte(chunked, byte);
    case STATE_EXTENSION:
        return read_text_byte(chunked, byte, STATE_SIZE_LF);
    case STATE_SIZE_LF:
        return end_size_line(chunked, byte);
    case STATE_DATA_CR:
        if (byte != '\r')
            return "no CRLF behind a chunk's data";
        chunked->state = STATE_DATA_LF;
        return NULL;
    case STATE_DATA_LF:
        return read_lf(chunked, byte, STATE_SIZE);
    case STATE_TRAILER:
        return read_trailer_byte(chunked, byte);
    case STATE_TRAILER_NAME:
        return read_trailer_name_byte(chunked, byte);
    case STATE_TRAILER_VALUE:
        return read_text_byte(chunked, byte, STATE_TRAILER_LF);
    case STATE_TRAILER_LF:
        return read_lf(chunked, byte, STATE_TRAILER);
    case STATE_END_LF:
        return read_lf(chunked, byte, STATE_DONE);
    case STATE_DATA:
    case STATE_DONE:
    case STATE_BAD:
        break;
    }
    return "not framing"; /* not reached: http1_chunked_step() handles these states */
}

/* Counts the bytes of the line, or of the trailer section, that the byte belongs to. */
static bool is_too_long(struct http1_chunked *chunked)
{
    bool is_trailer = chunked->state >= STATE_TRAILER;

    if (chunked->state == STATE_DATA_CR || chunked->state == STATE_DATA_LF)
        return false;
    return ++chunked->line_bytes > (is_trailer ? TRAILERS_BYTES_MAX : LINE_BYTES_MAX);
}

static enum http1_chunk read_data(struct http1_chunked *chunked, size_t size, size_t *used)
{
    *used = size < chunked->left ? size : (size_t)chunked->left;
    chunked->left -= *used;
    if (chunked->left == 0)
        chunked->state = STATE_DATA_CR;
    return HTTP1_CHUNK_DATA;
}

enum http1_chunk http1_chunked_step(struct http1_chunked *chunked, const char *data, size_t size,
                                    size_t *used, const char **why)
{
    *used = 0;
    if (chunked->state == STATE_DONE)
        return HTTP1_CHUNK_DONE;
    if (chunked->state == STATE_BAD) {
        *why = "bad chunk before";
        return HTTP1_CHUNK_BAD;
    }
    if (size == 0)
        return HTTP1_CHUNK_MORE;
    if (chunked->state == STATE_DATA)
        return read_data(chunked, size, used);
    while (*used < size && chunked->state != STATE_DATA) {
        const char *bad = is_too_long(chunked) ? "chunk's line or trailers are too long"
                                               : read_byte(chunked, data[*used]);

        if (bad != NULL) {
            chunked->state = STATE_BAD;
            *why = bad;
            return HTTP1_CHUNK_BAD;
        }
        ++*used;
        if (chunked->state == STATE_DONE)
            return HTTP1_CHUNK_DONE;
    }
    return HTTP1_CHUNK_FRAMING;
}
