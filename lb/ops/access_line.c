/* Writes one access log line. What is logged, and when, is decided by the stream; what of a query
 * may be seen is decided here.
 *
 * Start at access_line_write(). Both formats have the same fields in the same order, and the same
 * bytes must be escaped; they differ in field_begin() and escape(). One line per request: no
 * printf, and runs of plain bytes are copied at once. */
#include "lb/ops/access_line.h"

#include <string.h>
#include <time.h>

/* The longest that each escaped value may be. The path takes what is left but TAIL_BYTES. */
#define NAME_BYTES   256u /* host, listener, pool, server */
#define ID_BYTES     128u
#define CLIENT_BYTES LP_ADDR_TEXT_MAX
#define METHOD_BYTES 32u
#define WORD_BYTES   32u
#define TAIL_BYTES   640u /* keys and values behind the path: three words and ten numbers */
#define PATH_BYTES   256u /* at least */
#define KEYS_BYTES   224u /* keys, time and event up to the path */

static_assert(4 * NAME_BYTES + ID_BYTES + CLIENT_BYTES + METHOD_BYTES + WORD_BYTES + KEYS_BYTES +
                      PATH_BYTES + TAIL_BYTES <=
                  ACCESS_LINE_BYTES,
              "every line fits");

struct writer {
    char *at;
    char *end;
    bool is_json;
    bool is_full; /* something did not fit: there is no line */
};

enum {
    BYTE_ESCAPED = 1, /* in both formats */
    BYTE_QUOTED = 2,  /* text that has it stands between quotes */
};
/* clang-format off */
static const uint8_t byte_class[256] = {
    [0 ... 31] = BYTE_ESCAPED | BYTE_QUOTED, [127 ... 255] = BYTE_ESCAPED | BYTE_QUOTED,
    ['"'] = BYTE_ESCAPED | BYTE_QUOTED, ['\\'] = BYTE_ESCAPED | BYTE_QUOTED,
    [' '] = BYTE_QUOTED, ['='] = BYTE_QUOTED,
};
/* clang-format on */

static inline void put(struct writer *writer, const char *bytes, size_t size)
{
    if (LP_UNLIKELY((size_t)(writer->end - writer->at) < size)) {
        writer->is_full = true;
        return;
    }
    memcpy(writer->at, bytes, size);
    writer->at += size;
}

#define PUT(writer, literal) put((writer), (literal), sizeof(literal) - 1)

/* The size of the UTF-8 character at the start of bytes; 0 when there is none (RFC 3629). */
static size_t utf8_size(const uint8_t *bytes, size_t size)
{
    uint8_t first = bytes[0];
    size_t need = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

    if (first < 0xc2 || first > 0xf4 || size < need)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    if (first == 0xe0 && bytes[1] < 0xa0) /* longer than needed */
        return 0;
    if (first == 0xed && bytes[1] > 0x9f) /* a surrogate */
        return 0;
    if (first == 0xf0 && bytes[1] < 0x90) /* longer than needed */
        return 0;
    if (first == 0xf4 && bytes[1] > 0x8f) /* above U+10FFFF */
        return 0;
    return need;
}

/* What stands in the line for the bytes at the start of text, which are not plain. Gives its size
 * and, in *used, how many bytes it stands for. */
static size_t escape(char out[8], bool is_json, const uint8_t *text, size_t size, size_t *used)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t byte = text[0];

    *used = 1;
    out[0] = '\\';
    if (byte == '"' || byte == '\\') {
        out[1] = (char)byte;
        return 2;
    }
    if (!is_json) {
        memcpy(out + 1, (char[]){'x', hex[byte >> 4], hex[byte & 15]}, 3);
        return 4;
    }
    if (byte >= 0x80) {
        *used = utf8_size(text, size);
        if (*used == 0) {
            *used = 1;
            memcpy(out + 1, (char[]){'u', 'f', 'f', 'f', 'd'}, 5);
            return 6;
        }
        if (byte != 0xc2 || text[1] >= 0xa0) {
            memcpy(out, text, *used);
            return *used;
        }
        byte = text[1]; /* U+0080..U+009F: control characters, to some terminals */
    }
    memcpy(out + 1, (char[]){'u', '0', '0', hex[byte >> 4], hex[byte & 15]}, 5);
    return 6;
}

/* Up to limit, where "..." tells that it was cut. Answers whether it was not. */
static bool put_escaped(struct writer *writer, struct lp_slice text, const char *limit)
{
    const uint8_t *bytes = (const uint8_t *)text.data;
    size_t at = 0;

    if (limit > writer->end)
        limit = writer->end;
    while (at < text.size) {
        size_t run = at, used;
        size_t room = limit - writer->at > 3 ? (size_t)(limit - writer->at) - 3 : 0;
        while (run < text.size && !(byte_class[bytes[run]] & BYTE_ESCAPED))
            run++;
        if (run - at > room) {
            put(writer, text.data + at, room);
            break;
        }
        put(writer, text.data + at, run - at);
        room -= run - at;
        at = run;
        if (at == text.size)
            return true;

        char escaped[8];
        size_t size = escape(escaped, writer->is_json, bytes + at, text.size - at, &used);
        if (size > room)
            break;
        put(writer, escaped, size);
        at += used;
    }
    if (at == text.size)
        return true;
    PUT(writer, "...");
    return false;
}

/* Decimal digits. */
static void put_number(struct writer *writer, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(writer, digits + at, sizeof(digits) - at);
}

#define NAME(literal) ",\"" literal "\":", sizeof(literal) - 1

/* `key` is as JSON wants it, `,"name":`; its name is what text takes of it. */
static inline void field_begin(struct writer *writer, const char *key, size_t name_size)
{
    if (writer->is_json) {
        put(writer, key, name_size + 4);
    } else {
        PUT(writer, " ");
        put(writer, key + 2, name_size);
        PUT(writer, "=");
    }
}

static inline void put_absent(struct writer *writer, const char *key, size_t name_size)
{
    if (writer->is_json)
        return;
    field_begin(writer, key, name_size);
    PUT(writer, "-");
}

static inline void put_count(struct writer *writer, const char *key, size_t name_size,
                             uint64_t value, bool is_absent)
{
    if (is_absent) {
        put_absent(writer, key, name_size);
        return;
    }
    field_begin(writer, key, name_size);
    put_number(writer, value);
}

static bool needs_quotes(struct lp_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (byte_class[(uint8_t)text.data[i]] & BYTE_QUOTED)
            return true;
    return text.size == 1 && text.data[0] == '-'; /* not the sign for "absent" */
}

static inline void put_text(struct writer *writer, const char *key, size_t name_size,
                            struct lp_slice text, size_t bytes_max)
{
    if (text.size == 0) {
        put_absent(writer, key, name_size);
        return;
    }
    bool is_quoted = writer->is_json || needs_quotes(text);
    field_begin(writer, key, name_size);
    const char *limit =
        (size_t)(writer->end - writer->at) > bytes_max ? writer->at + bytes_max : writer->end;
    if (is_quoted)
        PUT(writer, "\"");
    put_escaped(writer, text, limit);
    if (is_quoted)
        PUT(writer, "\"");
}

/* A word of our own: nothing in it needs care. */
static inline void put_word(struct writer *writer, const char *key, size_t name_size,
                            const char *word)
{
    if (word == NULL) {
        put_absent(writer, key, name_size);
        return;
    }
    field_begin(writer, key, name_size);
    if (writer->is_json)
        PUT(writer, "\"");
    put(writer, word, strlen(word));
    if (writer->is_json)
        PUT(writer, "\"");
}

static bool is_allowed(const struct access_format *format, struct lp_slice pair)
{
    const char *equals = memchr(pair.data, '=', pair.size);
    struct lp_slice name = {pair.data, equals ? (size_t)(equals - pair.data) : pair.size};

    for (uint32_t i = 0; i < format->query_names_count; i++)
        if (lp_slice_equal(name, format->query_names[i]))
            return true;
    return false;
}

/* Only the allowed parameters, in their order, as they came. */
static void put_query(struct writer *writer, const struct access_format *format,
                      struct lp_slice query, const char *limit)
{
    struct lp_slice separator = LP_SLICE("?");
    size_t at = 0;

    while (at < query.size) {
        const char *start = query.data + at;
        const char *ampersand = memchr(start, '&', query.size - at);
        struct lp_slice pair = {start, ampersand ? (size_t)(ampersand - start) : query.size - at};
        at += pair.size + 1;
        if (pair.size == 0 || !is_allowed(format, pair))
            continue;
        if (!put_escaped(writer, separator, limit) || !put_escaped(writer, pair, limit))
            return;
        separator = LP_SLICE("&");
    }
}

static void put_path(struct writer *writer, const struct access_format *format,
                     const struct access_line *line)
{
    if (line->path.size == 0) {
        put_absent(writer, NAME("path"));
        return;
    }
    /* Quotes around a query whether or not any of it is allowed: it would have an "=". */
    bool has_query = format->query_names_count > 0 && line->query.size > 0;
    bool is_quoted = writer->is_json || has_query || needs_quotes(line->path);

    field_begin(writer, NAME("path"));
    const char *limit = writer->end;
    if ((size_t)(writer->end - writer->at) > TAIL_BYTES)
        limit -= TAIL_BYTES;
    if (is_quoted)
        PUT(writer, "\"");
    if (put_escaped(writer, line->path, limit) && has_query)
        put_query(writer, format, line->query, limit);
    if (is_quoted)
        PUT(writer, "\"");
}

static void two_digits(char *out, int value)
{
    out[0] = (char)('0' + value / 10 % 10);
    out[1] = (char)('0' + value % 10);
}

/* "2025-01-31T23:59:59." */
static void render_second(struct access_format *format, uint64_t second)
{
    char *text = format->second_text;
    time_t when = (time_t)second;
    struct tm tm;

    memcpy(text, "0000-00-00T00:00:00.", sizeof(format->second_text));
    if (gmtime_r(&when, &tm) == NULL)
        return; /* A year that does not fit an int. */
    two_digits(text, (tm.tm_year + 1900) / 100);
    two_digits(text + 2, tm.tm_year + 1900);
    two_digits(text + 5, tm.tm_mon + 1);
    two_digits(text + 8, tm.tm_mday);
    two_digits(text + 11, tm.tm_hour);
    two_digits(text + 14, tm.tm_min);
    two_digits(text + 17, tm.tm_sec);
}

/* ISO 8601, UTC, with milliseconds. */
static void put_time(struct writer *writer, struct access_format *format, uint64_t unix_ms)
{
    uint64_t second = unix_ms / 1000;
    uint32_t ms = (uint32_t)(unix_ms % 1000);

    if (format->second != second) {
        render_second(format, second);
        format->second = second;
    }
    put(writer, format->second_text, sizeof(format->second_text));
    put(writer,
        (char[]){(char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'},
        4);
}

/* Who asked whom for what. */
static void put_request(struct writer *writer, const struct access_format *format,
                        const struct access_line *line)
{
    put_text(writer, NAME("id"), line->id, ID_BYTES);
    put_text(writer, NAME("client"), line->client, CLIENT_BYTES);
    put_text(writer, NAME("listener"), line->listener, NAME_BYTES);
    put_text(writer, NAME("pool"), line->pool, NAME_BYTES);
    put_text(writer, NAME("server"), line->server, NAME_BYTES);
    put_word(writer, NAME("class"), line->class);
    put_text(writer, NAME("method"), line->method, METHOD_BYTES);
    put_text(writer, NAME("host"), line->host, NAME_BYTES);
    put_path(writer, format, line);
}

/* What became of it. */
static void put_result(struct writer *writer, const struct access_line *line)
{
    put_count(writer, NAME("status"), line->status, line->status == 0);
    put_word(writer, NAME("end"), line->end);
    put_word(writer, NAME("ended_by"), line->ended_by);
    put_count(writer, NAME("bytes_in"), line->bytes_in, line->bytes_in == ACCESS_NONE64);
    put_count(writer, NAME("bytes_out"), line->bytes_out, line->bytes_out == ACCESS_NONE64);
    put_count(writer, NAME("connect_ms"), line->connect_ms, line->connect_ms == ACCESS_NONE32);
    put_count(writer, NAME("response_ms"), line->response_ms, line->response_ms == ACCESS_NONE32);
    put_count(writer, NAME("total_ms"), line->total_ms, line->total_ms == ACCESS_NONE64);
    put_count(writer, NAME("retries"), line->retries, line->retries == ACCESS_NONE32);
    put_count(writer, NAME("messages_in"), line->messages_in, line->messages_in == ACCESS_NONE32);
    put_count(writer, NAME("messages_out"), line->messages_out,
              line->messages_out == ACCESS_NONE32);
    put_count(writer, NAME("close_code"), line->close_code, line->close_code == 0);
    put_count(writer, NAME("age_ms"), line->age_ms, line->age_ms == ACCESS_NONE64);
}

void access_line_init(struct access_line *line)
{
    *line = (struct access_line){
        .connect_ms = ACCESS_NONE32,
        .response_ms = ACCESS_NONE32,
        .retries = ACCESS_NONE32,
        .messages_in = ACCESS_NONE32,
        .messages_out = ACCESS_NONE32,
        .bytes_in = ACCESS_NONE64,
        .bytes_out = ACCESS_NONE64,
        .total_ms = ACCESS_NONE64,
        .age_ms = ACCESS_NONE64,
    };
}

void access_format_init(struct access_format *format, enum lp_log_format kind,
                        const struct lp_slice *query_names, uint32_t query_names_count)
{
    *format = (struct access_format){
        .format = kind,
        .query_names = query_names,
        .query_names_count = query_names_count,
        .second = UINT64_MAX,
    };
}

size_t access_line_write(struct access_format *format, char *out, size_t out_max,
                         const struct access_line *line)
{
    static const char *const events[] = {
        [ACCESS_REQUEST] = "request", [ACCESS_START] = "start", [ACCESS_END] = "end"};
    struct writer writer = {out, out + out_max, format->format == LP_LOG_JSON, false};

    if (writer.is_json)
        PUT(&writer, "{\"time\":\"");
    else
        PUT(&writer, "time=");
    put_time(&writer, format, line->unix_ms);
    if (writer.is_json)
        PUT(&writer, "\"");
    put_word(&writer, NAME("event"), events[line->event]);
    put_request(&writer, format, line);
    put_result(&writer, line);
    if (writer.is_json)
        PUT(&writer, "}");
    PUT(&writer, "\n");
    return writer.is_full ? 0 : (size_t)(writer.at - out);
}
