/* The printed form of errors and warnings: file, line, column, key, sentence, and the line of the
 * file with a caret under the mistake. report_print() is the main line; the excerpt below it takes
 * care that whatever bytes the file has, the terminal gets only printable ones. */
#include "config/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/order.h"
#include "config/utf8.h"

/* Longest part of a source line that is shown; longer lines are cut around the mistake. */
#define EXCERPT_CHARS_MAX  100u
#define SENTENCE_BYTES_MAX 1024u

/* ---- collecting ---- */

void report_init(struct report *report, struct lp_arena *arena, struct lp_slice path,
                 struct lp_slice text)
{
    *report = (struct report){.text = text, .path = path, .arena = arena};
}

void report_deinit(struct report *report)
{
    lp_free(report->messages);
    *report = (struct report){0};
}

void report_add(struct report *report, enum lp_severity severity, const struct spot *spot,
                const char *valid_here, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_add_list(report, severity, spot, valid_here, format, args);
    va_end(args);
}

void report_add_list(struct report *report, enum lp_severity severity, const struct spot *spot,
                     const char *valid_here, const char *format, va_list args)
{
    if (severity == LP_ERROR)
        report->errors_count++;
    else
        report->warnings_count++;
    if (report->messages_count == REPORT_KEPT_MAX)
        return;
    if (report->messages_count == report->messages_room) {
        report->messages_room = report->messages_room == 0 ? 32 : report->messages_room * 2;
        report->messages =
            lp_realloc(report->messages, report->messages_room * sizeof(*report->messages));
    }

    char sentence[SENTENCE_BYTES_MAX];
    if (vsnprintf(sentence, sizeof(sentence), format, args) < 0)
        sentence[0] = '\0';
    report->messages[report->messages_count] = (struct message){
        .severity = severity,
        .number = report->messages_count,
        .spot = *spot,
        .sentence = lp_arena_copy(report->arena, lp_slice_of(sentence)),
        .valid_here = valid_here,
    };
    report->messages_count++;
}

/* ---- a text that grows ---- */

static void append(struct lp_config_report *out, const char *bytes, size_t size)
{
    out->text = lp_realloc(out->text, out->text_size + size + 1);
    memcpy(out->text + out->text_size, bytes, size);
    out->text_size += size;
    out->text[out->text_size] = '\0';
}

static void append_repeated(struct lp_config_report *out, char byte, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        append(out, &byte, 1);
}

/* Names and values in messages come from the file: no control character reaches a terminal. */
static void append_clean(struct lp_config_report *out, const char *bytes, size_t size)
{
    uint32_t taken;

    for (size_t i = 0; i < size; i += taken) {
        uint32_t point = utf8_decode(bytes + i, size - i, &taken);
        if (point == '\t')
            append(out, " ", 1); /* one column, as counted for the caret */
        else if (point == UINT32_MAX || utf8_is_control(point))
            append(out, "?", 1);
        else
            append(out, bytes + i, taken);
    }
}

static void append_text(struct lp_config_report *out, const char *text)
{
    append_clean(out, text, strlen(text));
}

/* ---- the excerpt ---- */

static bool is_first_byte(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

/* The byte at which the character with this index starts, or the end of the line. */
static size_t offset_of_char(struct lp_slice line, uint32_t index)
{
    size_t at = 0;

    for (; at < line.size; at++) {
        if (!is_first_byte(line.data[at]))
            continue;
        if (index == 0)
            break;
        index--;
    }
    return at;
}

static uint32_t count_chars(struct lp_slice line)
{
    uint32_t count = 0;

    for (size_t i = 0; i < line.size; i++)
        if (is_first_byte(line.data[i]))
            count++;
    return count;
}

struct lp_slice report_line(struct lp_slice text, uint32_t number)
{
    const char *at = text.data, *end = text.data + text.size;

    for (uint32_t line = 1; line < number && at < end; line++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        at = feed != NULL ? feed + 1 : end;
    }
    const char *feed = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    struct lp_slice line = {at, (size_t)((feed != NULL ? feed : end) - at)};
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    return line;
}

static void append_excerpt(struct lp_config_report *out, struct lp_slice text,
                           const struct spot *spot)
{
    struct lp_slice line = report_line(text, spot->pos.line);
    uint32_t column = spot->pos.column - 1, chars = count_chars(line), from = 0;
    char number[24];

    if (chars > EXCERPT_CHARS_MAX && column > EXCERPT_CHARS_MAX / 2)
        from = column - EXCERPT_CHARS_MAX / 2;
    size_t begin = offset_of_char(line, from);
    size_t end = offset_of_char(line, from + EXCERPT_CHARS_MAX);

    snprintf(number, sizeof(number), "%5u | ", spot->pos.line);
    append(out, number, strlen(number));
    append_clean(out, line.data + begin, end - begin);
    append(out, "\n      | ", 9);

    uint32_t width = spot->pos.width;
    uint32_t shown = chars > from ? chars - from : 0;
    if (shown > EXCERPT_CHARS_MAX)
        shown = EXCERPT_CHARS_MAX;
    if (width > 1 && column - from + width > shown)
        width = shown > column - from ? shown - (column - from) : 1;
    append_repeated(out, ' ', column - from);
    append(out, "^", 1);
    append_repeated(out, '~', width > 0 ? width - 1 : 0);
    append(out, "\n", 1);
}

/* ---- printing ---- */

static int compare_messages(const void *left, const void *right)
{
    const struct message *a = left, *b = right;
    int order = order_positions(a->spot.pos, b->spot.pos);

    if (order != 0)
        return order;
    return a->number < b->number ? -1 : 1;
}

static void append_message(struct lp_config_report *out, struct lp_slice path, struct lp_slice text,
                           const struct message *message)
{
    const struct spot *spot = &message->spot;
    char number[32];

    append_clean(out, path.data, path.size);
    if (spot->pos.line > 0) {
        snprintf(number, sizeof(number), ":%u:%u", spot->pos.line, spot->pos.column);
        append_text(out, number);
    }
    append_text(out, message->severity == LP_ERROR ? ": error: " : ": warning: ");
    if (spot->key[0] != '\0') {
        append_text(out, spot->key);
        append_text(out, ": ");
    }
    append_text(out, message->sentence);
    append(out, "\n", 1);
    if (spot->pos.line > 0)
        append_excerpt(out, text, spot);
    if (message->valid_here != NULL) {
        append_text(out, "  valid here: ");
        append_text(out, message->valid_here);
        append(out, "\n", 1);
    }
}

static void append_rest(struct lp_config_report *out, struct lp_slice path, uint32_t count,
                        const char *what)
{
    char text[64];

    if (count <= REPORT_SHOWN_MAX)
        return;
    append_clean(out, path.data, path.size);
    snprintf(text, sizeof(text), ": %u more %s not shown", count - REPORT_SHOWN_MAX, what);
    append_text(out, text);
    append(out, "\n", 1);
}

static void append_rests(struct lp_config_report *out, struct lp_slice path)
{
    out->shown_size = out->text_size;
    append_rest(out, path, out->errors_count, "errors");
    append_rest(out, path, out->warnings_count, "warnings");
}

void report_print(struct lp_config_report *out, struct report *report)
{
    uint32_t shown[2] = {0, 0};

    *out = (struct lp_config_report){.errors_count = report->errors_count,
                                     .warnings_count = report->warnings_count};
    append(out, "", 0);
    if (report->messages_count > 0)
        qsort(report->messages, report->messages_count, sizeof(*report->messages),
              compare_messages);
    for (uint32_t i = 0; i < report->messages_count; i++)
        if (shown[report->messages[i].severity]++ < REPORT_SHOWN_MAX)
            append_message(out, report->path, report->text, &report->messages[i]);
    append_rests(out, report->path);
}

void report_add_late(struct lp_config_report *out, struct lp_slice path, struct lp_slice text,
                     enum lp_severity severity, const struct spot *spot, const char *format,
                     va_list args)
{
    uint32_t *count = severity == LP_ERROR ? &out->errors_count : &out->warnings_count;
    char sentence[SENTENCE_BYTES_MAX];

    if (vsnprintf(sentence, sizeof(sentence), format, args) < 0)
        sentence[0] = '\0';
    out->text_size = out->shown_size;
    if ((*count)++ < REPORT_SHOWN_MAX)
        append_message(
            out, path, text,
            &(struct message){.severity = severity, .spot = *spot, .sentence = sentence});
    append_rests(out, path);
}
