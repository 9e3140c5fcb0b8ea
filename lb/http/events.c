/* events: decides where one event of an event stream ends and the next may begin (HTML, 9.2.5): at
 * an empty line. A line ends with CRLF, LF or CR, so behind a CR one LF more may belong to it. A
 * comment line between two events leaves the boundary where it was. */
#include "lb/http/http1.h"
#include "lb/http/scan.h"

enum state {
    STATE_BOUNDARY,    /* at the start, or behind an empty line */
    STATE_BOUNDARY_CR, /* the same, its end was a CR            */
    STATE_COMMENT,     /* in a comment line behind a boundary   */
    STATE_TEXT,        /* in another line                       */
    STATE_LINE,        /* behind a line with text               */
    STATE_LINE_CR,     /* the same, its end was a CR            */
};

void http1_events_init(struct http1_events *events)
{
    events->state = STATE_BOUNDARY;
}

bool http1_events_is_at_boundary(const struct http1_events *events)
{
    return events->state == STATE_BOUNDARY || events->state == STATE_BOUNDARY_CR;
}

static void read_byte(struct http1_events *events, char byte)
{
    bool has_text = events->state == STATE_TEXT;

    if (byte == '\n' && events->state == STATE_LINE_CR)
        events->state = STATE_LINE;
    else if (byte == '\n')
        events->state = has_text ? STATE_LINE : STATE_BOUNDARY;
    else if (byte == '\r')
        events->state = has_text ? STATE_LINE_CR : STATE_BOUNDARY_CR;
    else if (byte == ':' && http1_events_is_at_boundary(events))
        events->state = STATE_COMMENT;
    else if (events->state != STATE_COMMENT)
        events->state = STATE_TEXT;
}

size_t http1_events_step(struct http1_events *events, const char *data, size_t size,
                         bool until_boundary)
{
    size_t at = 0;

    while (at < size) {
        bool is_rest_of_line = events->state == STATE_BOUNDARY_CR && data[at] == '\n';

        if (until_boundary && http1_events_is_at_boundary(events) && !is_rest_of_line)
            break;
        if (events->state == STATE_TEXT || events->state == STATE_COMMENT)
            at = (size_t)(scan_line(data + at, data + size) - data);
        if (at < size)
            read_byte(events, data[at++]);
    }
    return at;
}
