/* access_line: one line of the access log, as JSON or as key=value text. Pure: no I/O, no memory.
 */
#ifndef LP_LB_OPS_ACCESS_LINE_H
#define LP_LB_OPS_ACCESS_LINE_H

#include "config/config.h"

/* A buffer of this size always takes the line: what the client chose is cut ("...") to fit. */
#define ACCESS_LINE_BYTES 2560u

/* Numbers that there are not. */
#define ACCESS_NONE32 UINT32_MAX
#define ACCESS_NONE64 UINT64_MAX

enum access_event {
    ACCESS_REQUEST, /* a request that ended                  */
    ACCESS_START,   /* of a tunnel or an event stream        */
    ACCESS_END,     /* of a tunnel or an event stream        */
};

/* What access_line_init() leaves is absent: not in JSON, "-" in text. */
struct access_line {
    uint64_t unix_ms; /* wall clock */
    enum access_event event;
    const char *class;    /* http | websocket | sse | tcp  */
    const char *end;      /* the reason's word             */
    const char *ended_by; /* nobody | client | server ...  */
    struct lp_slice id, client, listener, pool, server, method, host, path;
    struct lp_slice query; /* raw; only the allowed parameters of it are logged, behind the path */
    uint16_t status, close_code; /* 0: none */
    uint32_t connect_ms, response_ms;
    uint32_t retries;
    uint32_t messages_in, messages_out;
    uint64_t bytes_in, bytes_out; /* "in" is what came from the client */
    uint64_t total_ms, age_ms;
};

void access_line_init(struct access_line *line);

/* How lines look; one a worker, for it remembers the second it wrote last. */
struct access_format {
    enum lp_log_format format;
    const struct lp_slice *query_names; /* parameters that may be logged */
    uint32_t query_names_count;
    uint64_t second; /* private: the text is of this second */
    char second_text[20];
};

/* Keeps query_names. */
void access_format_init(struct access_format *format, enum lp_log_format kind,
                        const struct lp_slice *query_names, uint32_t query_names_count);

/* One line with its newline. Gives the size; 0 when out_max (below ACCESS_LINE_BYTES) is too small.
 * Whatever bytes came from outside, JSON is valid UTF-8 and either format is one printable line. */
size_t access_line_write(struct access_format *format, char *out, size_t out_max,
                         const struct access_line *line);

#endif
