/* fields: what requests and responses share behind the parser: names, lists, framing, Connection.
 * Internal to lb/http. */
#ifndef LP_LB_HTTP_FIELDS_H
#define LP_LB_HTTP_FIELDS_H

#include "lb/http/http1.h"

#define HTTP1_NAME_SIZE_MAX 25u /* of the names we know; none is longer */

/* Knows a token that consists of letters, digits and "-" only; any case. */
enum http1_name http1_name_of(const char *name, size_t size);
/* Knows any token, in particular LOOKALIKE. Slower. */
enum http1_name http1_name_of_any(const char *name, size_t size);

/* The next element of a comma-separated list, trimmed, maybe empty; false behind the last. Start
 * with *rest as the whole value; its data becomes NULL at the end. */
bool http1_list_next(struct lp_slice *rest, struct lp_slice *element);

/* One to five digits, at most 65535. */
bool http1_port_is_valid(struct lp_slice text);

/* One pass over the fields: how often each known name occurs and where first. */
struct fields_summary {
    uint16_t counts[HTTP1_NAME_COUNT];
    uint16_t firsts[HTTP1_NAME_COUNT]; /* index of a field; only with a count */
    const struct http1_head *head;
    const char *bytes;
};
void fields_summarise(struct fields_summary *summary, const struct http1_head *head,
                      const char *bytes);
/* The first field's value; only with a count. */
struct lp_slice fields_value(const struct fields_summary *summary, enum http1_name name);

/* The value of the one field of that name that goes on; "" when there is none, or several, or when
 * Connection nominates it. */
struct lp_slice fields_only_value(const struct fields_summary *summary, enum http1_name name);

/* Is word an element of the lists in the fields of that name? Any case. */
bool fields_list_has(const struct fields_summary *summary, enum http1_name name,
                     struct lp_slice word);

/* RFC 9110, 11.6.1: is a scheme of these challenges, or credentials, one that speaks for the
 * connection rather than for the request (NTLM; Negotiate, RFC 4559)? */
bool fields_speak_for_connection(struct lp_slice value);

/* RFC 9110, 8.6: of several Content-Length fields that say the same in a response one goes on. */
void fields_drop_equal_lengths(struct fields_summary *summary, struct http1_head *head);

/* RFC 9112, 6.3: such a response ends with its head. */
static inline bool http1_has_no_body(uint16_t status)
{
    return status < 200 || status == 204;
}

/* What Content-Length and Transfer-Encoding say together. */
struct fields_framing {
    bool has_length;
    bool is_chunked;
    uint64_t length;
};
/* False with *why when they are odd or contradict each other (RFC 9112, 6.3). */
bool fields_read_framing(struct fields_framing *out, const struct fields_summary *summary,
                         const char **why);

struct fields_connection {
    bool has_close;
    bool has_keep_alive;
    bool has_upgrade;
};
/* Reads all Connection fields and marks the fields they nominate in head. False with *why when
 * they nominate what must reach the other side, or are longer than anyone needs. */
bool fields_read_connection(struct fields_connection *out, const struct fields_summary *summary,
                            struct http1_head *head, const char **why);

#endif
