/* report: errors and warnings of one run, collected in any order, printed in the order of the
 * file. */
#ifndef LP_CONFIG_REPORT_H
#define LP_CONFIG_REPORT_H

#include <stdarg.h>

#include "config/config.h"

/* More of each are counted, not shown: nobody mends more in one go. */
#define REPORT_SHOWN_MAX 20u
/* More than this are not even kept: a generated file may be wrong everywhere. */
#define REPORT_KEPT_MAX 2000u

/* Where a message points. */
struct spot {
    struct lp_cfg_pos pos; /* line 0: the whole file */
    const char *key;       /* full dotted key; "" when there is none */
};

struct message {
    enum lp_severity severity;
    uint32_t number; /* in order of discovery: keeps the sort stable */
    struct spot spot;
    const char *sentence;
    const char *valid_here; /* the keys that may stand there, or NULL */
};

struct report {
    struct lp_slice text; /* of the file, for the excerpts */
    struct lp_slice path;
    struct lp_arena *arena;
    struct message *messages;
    uint32_t messages_count, messages_room;
    uint32_t errors_count, warnings_count;
};

/* Borrows text and path until report_print(). */
void report_init(struct report *report, struct lp_arena *arena, struct lp_slice path,
                 struct lp_slice text);
void report_deinit(struct report *report);

/* Keeps spot->key and valid_here (give them from the arena). */
void report_add(struct report *report, enum lp_severity severity, const struct spot *spot,
                const char *valid_here, const char *format, ...) LP_PRINTF(5, 6);
void report_add_list(struct report *report, enum lp_severity severity, const struct spot *spot,
                     const char *valid_here, const char *format, va_list args) LP_PRINTF(5, 0);

/* A line of the text, counted from 1, without its end; "" behind the last. */
struct lp_slice report_line(struct lp_slice text, uint32_t number);

/* Gives the finished text in *out. */
void report_print(struct lp_config_report *out, struct report *report);

/* Adds a message to a finished text, with the same limits. Borrows everything. */
void report_add_late(struct lp_config_report *out, struct lp_slice path, struct lp_slice text,
                     enum lp_severity severity, const struct spot *spot, const char *format,
                     va_list args) LP_PRINTF(6, 0);

#endif
