/* What a health check sends and takes for an answer: path, Host, header lines, statuses. Header
 * values may hold secrets: messages never repeat them. */
#include "config/reader.h"

#include <string.h>

#define HEADERS_MAX       32u
#define HEADER_BYTES_MAX  4096u
#define STATUS_RANGES_MAX 32u

void value_read_check_path(struct reader *r, const struct place *at, const struct schema_row *row,
                           void *target)
{
    struct lp_slice path;

    if (!read_text(r, at, &path))
        return;
    bool is_good = path.size > 0 && path.data[0] == '/' && path.size <= HEADER_BYTES_MAX;
    for (size_t i = 0; is_good && i < path.size; i++)
        is_good = (unsigned char)path.data[i] > 0x20 && (unsigned char)path.data[i] < 0x7f &&
                  path.data[i] != '#';
    if (!is_good) {
        read_error(r, at,
                   "a path begins with \"/\" and has no spaces, control or non-ASCII "
                   "characters and no \"#\" (write them like %%20)");
        return;
    }
    *(struct lp_slice *)((char *)target + row->offset) = lp_arena_slice(r->arena, path);
}

void value_read_check_host(struct reader *r, const struct place *at, const struct schema_row *row,
                           void *target)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:[]";
    struct lp_slice host;

    if (!read_text(r, at, &host))
        return;
    bool is_good = host.size > 0 && host.size <= 300;
    for (size_t i = 0; is_good && i < host.size; i++)
        is_good = strchr(allowed, host.data[i]) != NULL;
    if (!is_good) {
        read_error(r, at, "needs a host as in a Host header, like app.example.com");
        return;
    }
    *(struct lp_slice *)((char *)target + row->offset) = lp_arena_slice(r->arena, host);
}

/* ---- headers ---- */

/* Lines that the check writes itself, with the key that sets them where there is one. */
static const char *own_header_answer(struct lp_slice name)
{
    static const char *const own[] = {"connection",        "upgrade",
                                      "content-length",    "transfer-encoding",
                                      "sec-websocket-key", "sec-websocket-version"};

    if (lp_slice_equal_nocase(name, LP_SLICE("host")))
        return "is set with the check's \"host\"";
    for (uint32_t i = 0; i < LP_COUNT_OF(own); i++)
        if (lp_slice_equal_nocase(name, lp_slice_of(own[i])))
            return "is written by the check itself";
    return NULL;
}

static bool is_header_value(struct lp_slice value)
{
    for (size_t i = 0; i < value.size; i++)
        if (((unsigned char)value.data[i] < 0x20 && value.data[i] != '\t') || value.data[i] == 0x7f)
            return false;
    return value.size <= HEADER_BYTES_MAX;
}

static bool read_header(struct reader *r, const struct place *at, struct lp_cfg_header *out)
{
    const char *answer = own_header_answer(at->key);
    struct lp_slice value;

    if (!value_is_token(at->key) || at->key.size > 256) {
        read_error_of_key(r, at, NULL, "not a possible name of a header");
        return false;
    }
    if (answer != NULL) {
        read_error_of_key(r, at, NULL, "%s", answer);
        return false;
    }
    if (!read_text(r, at, &value))
        return false;
    value = lp_slice_trim(value);
    if (!is_header_value(value)) {
        read_error(r, at,
                   "a header's value is one line of at most %u bytes without control "
                   "characters",
                   HEADER_BYTES_MAX);
        return false;
    }
    *out =
        (struct lp_cfg_header){lp_arena_slice(r->arena, at->key), lp_arena_slice(r->arena, value)};
    return true;
}

void value_read_headers(struct reader *r, const struct place *at, const struct schema_row *row,
                        void *target)
{
    if (!read_map(r, at, "a map of header names and values"))
        return;
    if (at->node->count > HEADERS_MAX) {
        read_error(r, at, "has %u headers; at most %u", at->node->count, HEADERS_MAX);
        return;
    }
    struct lp_cfg_header *headers = LP_ARENA_ARRAY(r->arena, struct lp_cfg_header, HEADERS_MAX);
    uint32_t used = 0;
    for (struct node *node = at->node->first; node != NULL; node = node->next) {
        struct place child = {.up = at, .node = node, .key = node->key->text};
        if (read_header(r, &child, &headers[used]))
            used++;
    }
    read_store_array(row, target, headers, used);
}

/* ---- statuses ---- */

static bool parse_status(struct lp_slice text, uint16_t *out)
{
    uint32_t value = 0;

    if (text.size != 3)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(text.data[i] - '0');
    }
    *out = (uint16_t)value;
    return value >= 100 && value <= 599;
}

static bool parse_statuses(struct lp_slice text, struct lp_cfg_status_range *out)
{
    if (text.size == 7 && text.data[3] == '-')
        return parse_status((struct lp_slice){text.data, 3}, &out->from) &&
               parse_status((struct lp_slice){text.data + 4, 3}, &out->to) && out->from <= out->to;
    if (!parse_status(text, &out->from))
        return false;
    out->to = out->from;
    return true;
}

void value_read_statuses(struct reader *r, const struct place *at, const struct schema_row *row,
                         void *target)
{
    uint32_t count, used = 0;
    struct node *node = read_items(r, at, &count);
    struct lp_cfg_status_range *ranges =
        LP_ARENA_ARRAY(r->arena, struct lp_cfg_status_range, STATUS_RANGES_MAX);

    if (count == 0 && at->node->kind != NODE_BROKEN)
        read_error(r, at, "needs at least one status, like 200 or 200-399");
    if (count > STATUS_RANGES_MAX) {
        read_error(r, at, "has %u ranges; at most %u", count, STATUS_RANGES_MAX);
        return;
    }
    for (uint32_t i = 0; i < count; i++, node = node->next) {
        struct place item = place_of_item(at, node, i);
        struct lp_slice text;
        if (!read_text(r, &item, &text))
            continue;
        if (parse_statuses(text, &ranges[used]))
            used++;
        else
            read_error(r, &item, "\"%.*s\" is not a status (100..599) or a range like 200-399",
                       (int)(text.size > 64 ? 64 : text.size), text.data);
    }
    if (used > 0)
        read_store_array(row, target, ranges, used);
}
