/* Numbers and words: text of the type that the schema says, never guessed. Whatever is refused
 * comes with what would be right. Start at scalar_parse(). */
#include "config/reader.h"

#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};
/* Of TYPE_SECONDS. */
static const struct unit long_duration_units[] = {
    {"s", 1},
    {"m", 60},
    {"h", 3600},
    {"d", 86400},
};
static const struct unit size_units[] = {
    {"KiB", 1024},
    {"MiB", 1048576},
    {"GiB", 1073741824},
};

/* What people write elsewhere, and the unit they mean. */
static const struct unit_word {
    enum schema_type type;
    const char *word, *unit;
} unit_words[] = {
    {TYPE_DURATION, "msec", "ms"},  {TYPE_DURATION, "millis", "ms"},
    {TYPE_DURATION, "sec", "s"},    {TYPE_DURATION, "secs", "s"},
    {TYPE_DURATION, "second", "s"}, {TYPE_DURATION, "seconds", "s"},
    {TYPE_DURATION, "min", "m"},    {TYPE_DURATION, "mins", "m"},
    {TYPE_DURATION, "minute", "m"}, {TYPE_DURATION, "minutes", "m"},
    {TYPE_DURATION, "hour", "h"},   {TYPE_DURATION, "hours", "h"},
    {TYPE_DURATION, "day", "d"},    {TYPE_DURATION, "days", "d"},
    {TYPE_SIZE, "k", "KiB"},        {TYPE_SIZE, "kb", "KiB"},
    {TYPE_SIZE, "kib", "KiB"},      {TYPE_SIZE, "m", "MiB"},
    {TYPE_SIZE, "mb", "MiB"},       {TYPE_SIZE, "mib", "MiB"},
    {TYPE_SIZE, "g", "GiB"},        {TYPE_SIZE, "gb", "GiB"},
    {TYPE_SIZE, "gib", "GiB"},
};

bool scalar_is_number(enum schema_type type)
{
    return type <= TYPE_CLOSE_CODE;
}

/* ---- printing ---- */

static size_t format_with_unit(const struct unit *units, uint32_t units_count, uint64_t value,
                               char *out, size_t out_size)
{
    uint32_t best = 0;

    for (uint32_t i = 0; i < units_count; i++)
        if (value >= units[i].factor && value % units[i].factor == 0)
            best = i;
    if (value % units[best].factor != 0)
        return (size_t)snprintf(out, out_size, "%llu bytes", (unsigned long long)value);
    return (size_t)snprintf(out, out_size, "%llu%s",
                            (unsigned long long)(value / units[best].factor), units[best].name);
}

size_t scalar_format(enum schema_type type, uint64_t value, char *out, size_t out_size)
{
    if (type == TYPE_DURATION)
        return format_with_unit(duration_units, LP_COUNT_OF(duration_units), value, out, out_size);
    if (type == TYPE_SECONDS)
        return format_with_unit(long_duration_units, LP_COUNT_OF(long_duration_units), value, out,
                                out_size);
    if (type == TYPE_SIZE)
        return format_with_unit(size_units, LP_COUNT_OF(size_units), value, out, out_size);
    return (size_t)snprintf(out, out_size, "%llu%s", (unsigned long long)value,
                            type == TYPE_PERCENT ? "%" : "");
}

/* ---- numbers ---- */

/* The digits at the start. Gives how many; 0 also when they do not fit 64 bits. */
static size_t take_digits(struct lp_slice text, uint64_t *out)
{
    size_t count = 0;
    uint64_t value = 0;

    for (; count < text.size && text.data[count] >= '0' && text.data[count] <= '9'; count++) {
        if (value > (UINT64_MAX - 9) / 10)
            return 0;
        value = value * 10 + (uint64_t)(text.data[count] - '0');
    }
    *out = value;
    return count;
}

static bool multiply(uint64_t *value, uint64_t factor)
{
    return !__builtin_mul_overflow(*value, factor, value);
}

static bool in_range(const struct schema_row *row, struct lp_slice text, uint64_t value,
                     char *problem)
{
    char from[32], to[32];

    if (value >= row->min && value <= row->max)
        return true;
    scalar_format(row->type, row->min, from, sizeof(from));
    scalar_format(row->type, row->max, to, sizeof(to));
    snprintf(problem, SCALAR_PROBLEM_BYTES, "%.*s is outside %s..%s", LP_SLICE_ARG(text), from, to);
    return false;
}

static const char *example_of(enum schema_type type)
{
    return type == TYPE_DURATION  ? "a duration; write a number with ms, s, m, h or d, like 30s"
           : type == TYPE_SECONDS ? "a duration; write a number with s, m, h or d, like 365d"
           : type == TYPE_SIZE    ? "a size; write a number with KiB, MiB or GiB, like 64KiB"
           : type == TYPE_PERCENT ? "a percentage; write it like 80%"
                                  : "a whole number";
}

static const char *unit_meant(enum schema_type type, struct lp_slice suffix)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(unit_words); i++)
        if (unit_words[i].type == (type == TYPE_SECONDS ? TYPE_DURATION : type) &&
            lp_slice_equal_nocase(lp_slice_of(unit_words[i].word), suffix))
            return unit_words[i].unit;
    return NULL;
}

/* Not a number of this kind: says so, and asks whether its likely meaning was meant. */
static bool refuse_number(const struct schema_row *row, struct lp_slice text, char *problem)
{
    uint64_t value = 0;
    size_t digits = take_digits(text, &value);
    struct lp_slice suffix = {text.data + digits, text.size - digits};
    bool is_bare = digits > 0 && suffix.size == 0;
    const char *unit = digits > 0 ? unit_meant(row->type, lp_slice_trim(suffix)) : NULL;

    if (is_bare && row->type == TYPE_DURATION)
        unit = "s";
    if (is_bare && row->type == TYPE_SIZE)
        unit = "KiB";
    if (is_bare && row->type == TYPE_PERCENT)
        unit = "%";
    if (row->type == TYPE_SECONDS && unit != NULL && strcmp(unit, "ms") == 0)
        unit = NULL;
    /* A large bare number is one of bytes, and elsewhere a max-age is in seconds. */
    if (is_bare && ((row->type == TYPE_SIZE && value >= 1024) || row->type == TYPE_SECONDS)) {
        char meant[32];
        if (row->type == TYPE_SIZE)
            value = (value + 1023) / 1024 * 1024;
        scalar_format(row->type, value, meant, sizeof(meant));
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" has no unit; did you mean \"%s\"?",
                 LP_SLICE_ARG(text), meant);
    } else if (is_bare && unit != NULL) {
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" has no unit; did you mean \"%.*s%s\"?",
                 LP_SLICE_ARG(text), LP_SLICE_ARG(text), unit);
    } else if (unit != NULL) {
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" is not %s; did you mean \"%.*s%s\"?",
                 LP_SLICE_ARG(text), row->type == TYPE_SIZE ? "a size" : "a duration", (int)digits,
                 text.data, unit);
    } else {
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" is not %s", LP_SLICE_ARG(text),
                 example_of(row->type));
    }
    return false;
}

static bool parse_with_unit(const struct schema_row *row, const struct unit *units,
                            uint32_t units_count, struct lp_slice text, uint64_t *out,
                            char *problem)
{
    size_t digits = take_digits(text, out);
    struct lp_slice suffix = {text.data + digits, text.size - digits};

    for (uint32_t i = 0; digits > 0 && i < units_count; i++) {
        if (!lp_slice_equal(suffix, lp_slice_of(units[i].name)))
            continue;
        if (!multiply(out, units[i].factor))
            *out = UINT64_MAX;
        return in_range(row, text, *out, problem);
    }
    return refuse_number(row, text, problem);
}

static bool parse_count(const struct schema_row *row, struct lp_slice text, uint64_t *out,
                        char *problem)
{
    size_t digits = take_digits(text, out);

    if (row->type == TYPE_PERCENT && text.size > 1 && text.data[text.size - 1] == '%')
        text.size--;
    else if (row->type == TYPE_PERCENT)
        return refuse_number(row, text, problem);
    if (digits == 0 || digits != text.size)
        return refuse_number(row, text, problem);
    if (row->type == TYPE_PERCENT)
        text.size++;
    return in_range(row, text, *out, problem);
}

/* RFC 6455, 7.4: what an endpoint may send. 1002 says that the peer broke the protocol, 1004 to
 * 1006 and 1015 are never sent. */
static bool parse_close_code(const struct schema_row *row, struct lp_slice text, uint64_t *out,
                             char *problem)
{
    if (!parse_count(row, text, out, problem))
        return false;
    if (*out == 1000 || *out == 1001 || *out == 1003 || (*out >= 1007 && *out <= 1014) ||
        *out >= 3000)
        return true;
    snprintf(problem, SCALAR_PROBLEM_BYTES,
             "%.*s is not a close code that may be sent (1000, 1001, 1003, 1007..1014, "
             "3000..4999)",
             LP_SLICE_ARG(text));
    return false;
}

/* ---- words ---- */

static bool parse_bool(struct lp_slice text, uint64_t *out, char *problem)
{
    static const char *const yes[] = {"yes", "on", "1", "y"}, *const no[] = {"no", "off", "0", "n"};
    const char *meant = NULL;

    *out = lp_slice_equal(text, LP_SLICE("true"));
    if (*out == 1 || lp_slice_equal(text, LP_SLICE("false")))
        return true;
    if (lp_slice_equal_nocase(text, LP_SLICE("true")))
        meant = "true";
    if (lp_slice_equal_nocase(text, LP_SLICE("false")))
        meant = "false";
    for (uint32_t i = 0; i < LP_COUNT_OF(yes); i++) {
        if (lp_slice_equal_nocase(text, lp_slice_of(yes[i])))
            meant = "true";
        if (lp_slice_equal_nocase(text, lp_slice_of(no[i])))
            meant = "false";
    }
    if (meant != NULL)
        snprintf(problem, SCALAR_PROBLEM_BYTES,
                 "\"%.*s\" is neither true nor false; did you mean \"%s\"?", LP_SLICE_ARG(text),
                 meant);
    else
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" is neither true nor false",
                 LP_SLICE_ARG(text));
    return false;
}

/* Takes the next word off the list; false at its end. */
static bool next_word(const char **list, struct lp_slice *word)
{
    if (*list == NULL)
        return false;
    const char *bar = strchr(*list, '|');
    *word = (struct lp_slice){*list, bar != NULL ? (size_t)(bar - *list) : strlen(*list)};
    *list = bar != NULL ? bar + 1 : NULL;
    return true;
}

static void refuse_word(const struct schema_row *row, struct lp_slice text, char *problem)
{
    const char *list = row->words, *ours = words_for_value(row->key, text);
    struct lp_slice word, nearest = {0};
    char choices[128] = "";
    size_t used = 0;
    uint32_t least = UINT32_MAX, words_count = 0;

    while (next_word(&list, &word)) {
        if (word.size == 0)
            continue;
        words_count++;
        uint32_t distance = words_distance(text, word);
        if (words_are_near(text, word) && distance < least) {
            least = distance;
            nearest = word;
        }
        used += (size_t)snprintf(choices + used, sizeof(choices) - used, "%s%.*s",
                                 used > 0 ? ", " : "", LP_SLICE_ARG(word));
        LP_ASSERT(used < sizeof(choices));
    }
    if (words_count == 1)
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" is not known; the only value is \"%s\"",
                 LP_SLICE_ARG(text), choices);
    else if (ours != NULL)
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" is none of %s; limpet says \"%s\"",
                 LP_SLICE_ARG(text), choices, ours);
    else if (nearest.size > 0)
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" is none of %s; did you mean \"%.*s\"?",
                 LP_SLICE_ARG(text), choices, LP_SLICE_ARG(nearest));
    else
        snprintf(problem, SCALAR_PROBLEM_BYTES, "\"%.*s\" is none of %s", LP_SLICE_ARG(text),
                 choices);
}

static bool parse_word(const struct schema_row *row, struct lp_slice text, uint64_t *out,
                       char *problem)
{
    const char *list = row->words;
    struct lp_slice word;

    for (*out = 0; next_word(&list, &word); (*out)++)
        if (word.size > 0 && lp_slice_equal(word, text))
            return true;
    refuse_word(row, text, problem);
    return false;
}

/* ---- the main line ---- */

static bool parse_by_type(const struct schema_row *row, struct lp_slice text, uint64_t *out,
                          char *problem)
{
    if (row->type == TYPE_DURATION)
        return parse_with_unit(row, duration_units, LP_COUNT_OF(duration_units), text, out,
                               problem);
    if (row->type == TYPE_SECONDS)
        return parse_with_unit(row, long_duration_units, LP_COUNT_OF(long_duration_units), text,
                               out, problem);
    if (row->type == TYPE_SIZE)
        return parse_with_unit(row, size_units, LP_COUNT_OF(size_units), text, out, problem);
    if (row->type == TYPE_BOOL)
        return parse_bool(text, out, problem);
    if (row->type == TYPE_WORD)
        return parse_word(row, text, out, problem);
    if (row->type == TYPE_CLOSE_CODE)
        return parse_close_code(row, text, out, problem);
    return parse_count(row, text, out, problem);
}

bool scalar_parse(const struct schema_row *row, struct lp_slice text, uint64_t *out,
                  char problem[SCALAR_PROBLEM_BYTES])
{
    bool has_words = row->type == TYPE_WORD || row->type == TYPE_BOOL;

    if (!has_words && lp_slice_equal(text, LP_SLICE("off"))) {
        *out = row->type == TYPE_SECONDS ? 0 : UINT64_MAX;
        if (row->flags & SCHEMA_OFF)
            return true;
        snprintf(problem, SCALAR_PROBLEM_BYTES, "cannot be off; it must be %s",
                 example_of(row->type));
        return false;
    }
    if (!has_words && lp_slice_equal(text, LP_SLICE("auto")) && (row->flags & SCHEMA_AUTO)) {
        *out = 0;
        return true;
    }
    if (text.size > 64)
        text.size = 64; /* no valid number or word is that long; keeps the sentence short */
    return parse_by_type(row, text, out, problem);
}
