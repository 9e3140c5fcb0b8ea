/* parse: decides whether bytes are the head of an HTTP/1 message, and where its parts are
 * (RFC 9112, 2 to 5). What they mean is left to request.c and response.c. Start reading at
 * http1_parse_request().
 *
 * The parser stands at a phase and at a position: head->parsed is the start of the unfinished line
 * and head->scanned what is known to be good of it. Every step either reaches the next phase or
 * remembers the position and asks for more, so that no byte of a long line is looked at twice, and
 * a cut anywhere changes nothing.
 *
 * Where RFC 9112 lets a recipient be lenient, we are not: bare LF and CR, folded lines, white space
 * around names and other versions are what request smuggling is made of. */
#include <string.h>

#include "lb/http/fields.h"
#include "lb/http/scan.h"

enum phase {
    PHASE_START,   /* nothing seen, maybe an empty line follows */
    PHASE_METHOD,  /* in the request line                       */
    PHASE_TARGET,  /* in the request line                       */
    PHASE_VERSION, /* of the request line                       */
    PHASE_REASON,  /* of the status line                        */
    PHASE_NAME,    /* of a field, or at the empty line          */
    PHASE_VALUE,   /* of fields[fields_count]                   */
    PHASE_DONE,
};

/* One call of the parser. */
struct parse {
    struct http1_head *head;
    const char *bytes;
    const char *at;
    const char *end; /* of what is there and may be there */
    const char *why;
};

static enum http1_outcome bad(struct parse *p, const char *why)
{
    p->why = why;
    return HTTP1_BAD;
}

static enum http1_outcome more(struct parse *p, const char *at)
{
    p->head->scanned = (uint16_t)(at - p->bytes - p->head->parsed);
    return HTTP1_MORE;
}

static inline uint16_t offset(const struct parse *p, const char *at)
{
    return (uint16_t)(at - p->bytes);
}

/* At `at` stands what may not stand in this line: the CRLF that ends it, or something bad. */
static inline enum http1_outcome end_line(struct parse *p, const char *at)
{
    if (at == p->end)
        return more(p, at);
    if (*at != '\r')
        return bad(p, *at == '\n' ? "line ends with LF alone" : "control character in a line");
    if (at + 1 == p->end)
        return more(p, at);
    if (at[1] != '\n')
        return bad(p, "CR without LF");
    p->at = at + 2;
    p->head->parsed = offset(p, p->at);
    p->head->scanned = 0;
    return HTTP1_DONE;
}

/* "HTTP/" DIGIT "." DIGIT, 8 bytes, judged as far as they are there. */
static enum http1_outcome read_version(struct parse *p, const char *at)
{
    static const char pattern[] = "HTTP/0.0"; /* 0: any digit */
    size_t there = (size_t)(p->end - at);

    for (size_t i = 0; i < sizeof(pattern) - 1 && i < there; i++) {
        bool is_right = pattern[i] == '0' ? at[i] >= '0' && at[i] <= '9' : at[i] == pattern[i];

        if (!is_right)
            return bad(p, "not HTTP/1.0 or HTTP/1.1");
    }
    if (there < sizeof(pattern) - 1)
        return HTTP1_MORE;
    if (at[5] != '1') {
        p->why = "HTTP version other than 1.x";
        return HTTP1_BAD_VERSION;
    }
    p->head->minor = at[7] == '0' ? 0 : 1; /* RFC 9110, 2.5: as the highest we know */
    p->head->is_later_minor = at[7] > '1';
    return HTTP1_DONE;
}

/* RFC 9112, 2.2: some clients send an empty line behind a POST's body. */
static enum http1_outcome skip_empty_line(struct parse *p)
{
    enum http1_outcome outcome;

    if (p->at == p->end)
        return more(p, p->at);
    if (*p->at == '\r') {
        outcome = end_line(p, p->at);
        if (outcome != HTTP1_DONE)
            return outcome;
    }
    p->head->method_at = p->head->parsed;
    p->head->phase = PHASE_METHOD;
    return HTTP1_DONE;
}

static enum http1_outcome read_method(struct parse *p)
{
    bool is_plain = true;
    const char *stop = scan_token(p->at, p->end, &is_plain);

    if (stop == p->end)
        return more(p, stop);
    if (*stop != ' ')
        return bad(p, "request does not start with a method and a space");
    p->head->method_size = (uint16_t)(offset(p, stop) - p->head->method_at);
    if (p->head->method_size == 0)
        return bad(p, "request starts with a space");
    p->at = stop + 1;
    p->head->target_at = offset(p, p->at);
    p->head->phase = PHASE_TARGET;
    return HTTP1_DONE;
}

static enum http1_outcome read_target(struct parse *p)
{
    const char *stop = scan_target(p->at, p->end);

    if (stop == p->end)
        return more(p, stop);
    if (*stop == '#')
        return bad(p, "\"#\" in the request target");
    if (*stop != ' ')
        return bad(p, *stop == '\r' || *stop == '\n' ? "request line without version"
                                                     : "bad character in the request target");
    p->head->target_size = (uint16_t)(offset(p, stop) - p->head->target_at);
    if (p->head->target_size == 0)
        return bad(p, "empty request target");
    p->at = stop + 1;
    p->head->phase = PHASE_VERSION;
    return HTTP1_DONE;
}

static enum http1_outcome read_request_version(struct parse *p)
{
    const char *version = p->at;
    enum http1_outcome outcome = read_version(p, version);

    if (outcome == HTTP1_DONE) {
        if (version + 8 != p->end && version[8] != '\r' && version[8] != '\n')
            return bad(p, "bytes behind the version");
        outcome = end_line(p, version + 8);
    }
    if (outcome == HTTP1_DONE)
        p->head->phase = PHASE_NAME;
    if (outcome == HTTP1_MORE)
        return more(p, version); /* so few bytes are read again */
    return outcome;
}

static enum http1_outcome read_request_line(struct parse *p)
{
    enum http1_outcome outcome = HTTP1_DONE;

    if (p->head->phase == PHASE_START)
        outcome = skip_empty_line(p);
    if (outcome == HTTP1_DONE && p->head->phase == PHASE_METHOD)
        outcome = read_method(p);
    if (outcome == HTTP1_DONE && p->head->phase == PHASE_TARGET)
        outcome = read_target(p);
    if (outcome == HTTP1_DONE && p->head->phase == PHASE_VERSION)
        outcome = read_request_version(p);
    return outcome;
}

/* Version, SP, three digits, and SP or the end of the line: some servers leave out the SP when the
 * reason is empty. */
static enum http1_outcome read_status(struct parse *p)
{
    const char *line = p->bytes;
    size_t there = (size_t)(p->end - line);
    uint16_t status = 0;
    enum http1_outcome outcome = read_version(p, line);

    if (outcome == HTTP1_MORE)
        return more(p, line);
    if (outcome != HTTP1_DONE)
        return outcome;
    if (there > 8 && line[8] != ' ')
        return bad(p, "no space between version and status");
    for (size_t i = 9; i < 12 && i < there; i++) {
        if (line[i] < '0' || line[i] > '9' || (i == 9 && line[i] == '0'))
            return bad(p, "status is not a number from 100 to 999");
        status = (uint16_t)(status * 10 + (line[i] - '0'));
    }
    if (there < 13)
        return more(p, line);
    if (line[12] != ' ' && line[12] != '\r' && line[12] != '\n')
        return bad(p, "status is not a number from 100 to 999");
    p->head->status = status;
    p->at = line + (line[12] == ' ' ? 13 : 12);
    p->head->reason_at = offset(p, p->at);
    p->head->phase = PHASE_REASON;
    return HTTP1_DONE;
}

static enum http1_outcome read_status_line(struct parse *p)
{
    const char *stop;
    enum http1_outcome outcome = HTTP1_DONE;

    if (p->head->phase == PHASE_START)
        outcome = read_status(p);
    if (outcome != HTTP1_DONE || p->head->phase != PHASE_REASON)
        return outcome;
    stop = scan_value(p->at, p->end);
    outcome = end_line(p, stop);
    if (outcome == HTTP1_DONE) {
        p->head->reason_size = (uint16_t)(offset(p, stop) - p->head->reason_at);
        p->head->phase = PHASE_NAME;
    }
    return outcome;
}

static const char *why_no_name(const char *line, const char *stop)
{
    if (*stop == ' ' || *stop == '\t')
        return stop == line ? "line starts with white space" : "white space before the colon";
    if (*stop == '\r' || *stop == '\n')
        return stop == line ? "line ends with LF alone" : "line without a colon";
    return "bad character in a field name";
}

/* At a line: the empty one, or a field up to its colon. */
static inline enum http1_outcome read_name(struct parse *p)
{
    struct http1_head *head = p->head;
    struct http1_field *field = &head->fields[head->fields_count];
    const char *line = p->bytes + head->parsed;
    bool is_plain = p->at == line; /* what an earlier call saw of the name is forgotten */
    const char *stop;

    if (p->at == p->end)
        return more(p, p->at);
    if (*line == '\r') {
        enum http1_outcome outcome = end_line(p, line);

        if (outcome == HTTP1_DONE) {
            head->size = head->parsed;
            head->phase = PHASE_DONE;
        }
        return outcome;
    }
    if (head->fields_count >= head->fields_max) {
        p->why = "too many header lines";
        return HTTP1_TOO_LARGE;
    }
    stop = scan_token(p->at, p->end, &is_plain);
    if (stop == p->end)
        return more(p, stop);
    if (*stop != ':')
        return bad(p, why_no_name(line, stop));
    if (stop == line)
        return bad(p, "empty field name");
    field->name_at = head->parsed;
    field->name_size = (uint16_t)(stop - line);
    field->value_at = (uint16_t)(offset(p, stop) + 1);
    field->name = (uint8_t)(is_plain ? http1_name_of(line, field->name_size)
                                     : http1_name_of_any(line, field->name_size));
    field->is_nominated = false;
    p->at = stop + 1;
    head->phase = PHASE_VALUE;
    return HTTP1_DONE;
}

/* Behind the colon, up to and with the end of the line. */
static inline enum http1_outcome read_value(struct parse *p)
{
    struct http1_field *field = &p->head->fields[p->head->fields_count];
    const char *first = p->bytes + field->value_at;
    const char *stop = scan_value(p->at, p->end);
    enum http1_outcome outcome = end_line(p, stop);

    if (outcome != HTTP1_DONE)
        return outcome;
    while (first != stop && (*first == ' ' || *first == '\t'))
        first++;
    while (stop != first && (stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
    field->value_at = offset(p, first);
    field->value_size = (uint16_t)(stop - first);
    p->head->fields_count++;
    p->head->phase = PHASE_NAME;
    return HTTP1_DONE;
}

static enum http1_outcome read_fields(struct parse *p)
{
    enum http1_outcome outcome = HTTP1_DONE;

    while (p->head->phase != PHASE_DONE) {
        if (p->head->phase == PHASE_NAME)
            outcome = read_name(p);
        else
            outcome = read_value(p);
        if (outcome != HTTP1_DONE)
            break;
    }
    return outcome;
}

static enum http1_outcome parse_head(struct http1_head *head, bool is_request, const char *bytes,
                                     size_t size, const char **why)
{
    enum http1_outcome outcome;
    struct parse p = {
        .head = head,
        .bytes = bytes,
        .at = bytes + head->parsed + head->scanned,
        .end = bytes + (size < head->bytes_max ? size : head->bytes_max),
    };

    outcome = is_request ? read_request_line(&p) : read_status_line(&p);
    if (outcome == HTTP1_DONE)
        outcome = read_fields(&p);
    if (outcome == HTTP1_MORE && size >= head->bytes_max) {
        p.why = "head is too large";
        outcome = HTTP1_TOO_LARGE;
    }
    if (outcome != HTTP1_DONE && outcome != HTTP1_MORE)
        *why = p.why;
    return outcome;
}

void http1_head_init(struct http1_head *head, uint32_t bytes_max, uint32_t fields_max)
{
    memset(head, 0, offsetof(struct http1_head, fields));
    head->bytes_max = (uint16_t)(bytes_max < LP_HEAD_BYTES_MAX ? bytes_max : LP_HEAD_BYTES_MAX);
    head->fields_max = (uint16_t)(fields_max < LP_HEADERS_MAX ? fields_max : LP_HEADERS_MAX);
}

/* The CR of an empty line leaves the head at its start; behind a whole one nothing was scanned. */
bool http1_is_empty_line(const struct http1_head *head)
{
    return head->phase == PHASE_START || (head->phase == PHASE_METHOD && head->scanned == 0);
}

enum http1_outcome http1_parse_request(struct http1_head *head, const char *bytes, size_t size,
                                       const char **why)
{
    return parse_head(head, true, bytes, size, why);
}

enum http1_outcome http1_parse_response(struct http1_head *head, const char *bytes, size_t size,
                                        const char **why)
{
    return parse_head(head, false, bytes, size, why);
}
