/* From nodes to structs, driven by the schema table: which keys may stand where, their defaults,
 * numbers and words, named maps and lists of maps. Values with a grammar of their own are read in
 * values.c; what values mean together is judged in check.c. Start at read_section(). */
#include "config/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/order.h"

#define VALID_BYTES_MAX 512u
#define NAME_BYTES_MAX  255u

/* ---- places and messages ---- */

struct place place_of_key(const struct place *map, const char *key)
{
    struct node *node = node_find(map->node, key);

    return (struct place){.up = map, .node = node, .key = lp_slice_of(key)};
}

struct place place_of_item(const struct place *at, struct node *node, uint32_t index)
{
    if (node == at->node)
        return *at;
    return (struct place){.up = at, .node = node, .index = index};
}

static size_t write_key(const struct place *at, char *out, size_t out_size)
{
    if (at == NULL || at->up == NULL)
        return 0;
    size_t used = write_key(at->up, out, out_size);
    int size;
    if (at->key.size > 0)
        size = snprintf(out + used, out_size - used, "%s%.*s", used > 0 ? "." : "",
                        LP_SLICE_ARG(at->key));
    else
        size = snprintf(out + used, out_size - used, "[%u]", at->index);
    if (size < 0)
        return used;
    used += (size_t)size;
    return used < out_size ? used : out_size - 1;
}

struct lp_slice read_full_key(const struct place *at, struct lp_arena *arena)
{
    char key[READER_KEY_BYTES_MAX] = "";
    size_t size = write_key(at, key, sizeof(key));

    return lp_arena_slice(arena, (struct lp_slice){key, size});
}

static struct spot spot_of(struct reader *r, const struct place *at, bool of_key)
{
    const struct node *node = at->node;

    if (node->key != NULL && (of_key || node->kind != NODE_SCALAR || node_is_nothing(node)))
        node = node->key;
    return (struct spot){node->pos, read_full_key(at, r->scratch).data};
}

void read_error(struct reader *r, const struct place *at, const char *format, ...)
{
    struct spot spot = spot_of(r, at, false);
    va_list args;

    va_start(args, format);
    report_add_list(r->report, LP_ERROR, &spot, NULL, format, args);
    va_end(args);
}

void read_warning(struct reader *r, const struct place *at, const char *format, ...)
{
    struct spot spot = spot_of(r, at, false);
    va_list args;

    va_start(args, format);
    report_add_list(r->report, LP_WARNING, &spot, NULL, format, args);
    va_end(args);
}

void read_error_of_key(struct reader *r, const struct place *at, const char *valid_here,
                       const char *format, ...)
{
    struct spot spot = spot_of(r, at, true);
    va_list args;

    va_start(args, format);
    report_add_list(r->report, LP_ERROR, &spot, valid_here, format, args);
    va_end(args);
}

/* ---- ${NAME} ---- */

static bool is_name_byte(char c, bool is_first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (!is_first && c >= '0' && c <= '9');
}

/* The variable whose reference starts here: its name, or size 0. */
static struct lp_slice variable_at(struct lp_slice text, size_t at)
{
    struct lp_slice name = {text.data + at + 2, 0};

    while (at + 2 + name.size < text.size && is_name_byte(name.data[name.size], name.size == 0))
        name.size++;
    if (at + 2 + name.size >= text.size || name.data[name.size] != '}')
        name.size = 0;
    return name;
}

static const char *value_of_variable(struct reader *r, struct lp_slice name)
{
    return getenv(lp_arena_copy(r->scratch, name));
}

static bool starts_with(struct lp_slice text, size_t at, const char *word)
{
    size_t size = strlen(word);

    return text.size - at >= size && memcmp(text.data + at, word, size) == 0;
}

/* One pass: writes the expanded text to out, or only counts its bytes when out is NULL. SIZE_MAX
 * after an error was reported. */
static size_t expand_pass(struct reader *r, const struct place *at, struct lp_slice text, char *out)
{
    size_t used = 0;

    for (size_t i = 0; i < text.size;) {
        struct lp_slice piece = {text.data + i, 1};
        size_t taken = 1;
        if (starts_with(text, i, "$${")) {
            piece = LP_SLICE("${");
            taken = 3;
        } else if (starts_with(text, i, "${")) {
            struct lp_slice name = variable_at(text, i);
            if (name.size == 0) {
                read_error(r, at,
                           "\"${\" begins the name of an environment variable, as in "
                           "${NAME}; a literal one is written \"$${\"");
                return SIZE_MAX;
            }
            const char *value = value_of_variable(r, name);
            if (value == NULL) {
                read_error(r, at, "the environment variable %.*s is not set", LP_SLICE_ARG(name));
                return SIZE_MAX;
            }
            piece = lp_slice_of(value);
            taken = name.size + 3;
        }
        if (out != NULL)
            memcpy(out + used, piece.data, piece.size);
        used += piece.size;
        i += taken;
    }
    return used;
}

static bool expand(struct reader *r, const struct place *at)
{
    struct node *node = at->node;

    node->is_expanded = true;
    if (node->text.size == 0 || memchr(node->text.data, '$', node->text.size) == NULL)
        return true;
    size_t size = expand_pass(r, at, node->text, NULL);
    if (size == SIZE_MAX) {
        node->kind = NODE_BROKEN;
        return false;
    }
    char *expanded = lp_arena_alloc(r->scratch, size + 1);
    expand_pass(r, at, node->text, expanded);
    node->text = (struct lp_slice){expanded, size};
    node->is_quoted = true; /* an empty variable is an empty text, not a missing value */
    return true;
}

/* ---- kinds of nodes ---- */

static const char *kind_word(const struct node *node)
{
    return node_is_nothing(node)       ? "nothing"
           : node->kind == NODE_SCALAR ? "a single value"
           : node->kind == NODE_MAP    ? "a map"
                                       : "a list";
}

/* False for what was refused already, or is refused now because of its YAML. */
static bool is_readable(struct reader *r, const struct place *at)
{
    struct node *node = at->node;

    if (node->kind == NODE_BROKEN)
        return false;
    if (node->refusal == NULL)
        return true;
    read_error(r, at, "%s", node->refusal);
    node->kind = NODE_BROKEN;
    return false;
}

bool read_text(struct reader *r, const struct place *at, struct lp_slice *out)
{
    struct node *node = at->node;

    *out = (struct lp_slice){"", 0};
    if (!is_readable(r, at))
        return false;
    if (node->kind == NODE_MAP && node->count == 1 && node->first->kind == NODE_SCALAR &&
        !node->first->is_quoted) {
        /* "cookie: sid" for "cookie:sid" is a map to YAML. */
        read_error(r, at, "needs a single value, found a map; without the space: \"%.*s:%.*s\"?",
                   LP_SLICE_ARG(node->first->key->text), LP_SLICE_ARG(node->first->text));
        return false;
    }
    if (node->kind != NODE_SCALAR || node_is_nothing(node)) {
        read_error(r, at, "needs a single value, found %s", kind_word(node));
        return false;
    }
    if (!node->is_expanded && !expand(r, at))
        return false;
    *out = node->text;
    if (memchr(out->data, '\0', out->size) != NULL) {
        read_error(r, at, "a NUL character has no place here");
        node->kind = NODE_BROKEN;
        return false;
    }
    return true;
}

struct node *read_items(struct reader *r, const struct place *at, uint32_t *count)
{
    struct node *node = at->node;

    *count = 0;
    if (!is_readable(r, at) || node_is_nothing(node))
        return NULL;
    if (node->kind == NODE_LIST) {
        *count = node->count;
        return node->first;
    }
    *count = 1;
    return node;
}

/* ---- duplicates ---- */

static int compare_nodes_by_key(const void *left, const void *right)
{
    const struct node *a = *(struct node *const *)left, *b = *(struct node *const *)right;
    int order = order_slices(a->key->text, b->key->text);

    return order != 0 ? order : order_positions(a->pos, b->pos);
}

static void unlink_broken(struct node *map)
{
    struct node **link = &map->first;

    map->last = NULL;
    map->count = 0;
    while (*link != NULL) {
        struct node *node = *link;
        if (node->kind == NODE_BROKEN) {
            *link = node->next;
            continue;
        }
        map->last = node;
        map->count++;
        link = &node->next;
    }
}

/* Reports and takes out every key that stands there again. Sorted, because a pool may have
 * thousands of servers. */
static void refuse_duplicates(struct reader *r, const struct place *at)
{
    struct node *map = at->node;
    uint32_t count = 0;

    if (map->count < 2)
        return;
    struct node **nodes = lp_alloc(map->count * sizeof(struct node *));
    for (struct node *node = map->first; node != NULL; node = node->next)
        nodes[count++] = node;
    qsort(nodes, count, sizeof(struct node *), compare_nodes_by_key);

    bool is_any = false;
    for (uint32_t i = 1, first = 0; i < count; i++) {
        if (!lp_slice_equal(nodes[first]->key->text, nodes[i]->key->text)) {
            first = i;
            continue;
        }
        struct place twice = {.up = at, .node = nodes[i], .key = nodes[i]->key->text};
        read_error_of_key(r, &twice, NULL, "stands there twice; the first is in line %u",
                          nodes[first]->key->pos.line);
        is_any = true;
        nodes[i]->kind = NODE_BROKEN;
    }
    lp_free(nodes);
    if (is_any)
        unlink_broken(map);
}

/* All keys of a map may be commented out, so nothing behind the colon is an empty map. */
bool read_map(struct reader *r, const struct place *at, const char *what)
{
    if (!is_readable(r, at))
        return false;
    if (at->node->kind == NODE_MAP) {
        refuse_duplicates(r, at);
        return true;
    }
    if (node_is_nothing(at->node))
        return true;
    read_error(r, at, "needs %s, found %s", what, kind_word(at->node));
    return false;
}

/* ---- unknown keys ---- */

/* Where else in the language this key is valid: only when there is one such place. */
static const char *only_other_home(struct lp_slice key)
{
    const char *home = NULL;

    for (uint32_t i = 0; i < schema_rows_count; i++) {
        if (!lp_slice_equal(lp_slice_of(schema_rows[i].key), key))
            continue;
        if (home != NULL)
            return NULL;
        home = schema_places[schema_rows[i].in].path;
    }
    return home;
}

static void refuse_unknown_key(struct reader *r, const struct place *at,
                               enum schema_section section)
{
    char keys[VALID_BYTES_MAX];
    size_t keys_size = schema_list_keys(section, keys, sizeof(keys));
    const char *valid_here = lp_arena_copy(r->scratch, (struct lp_slice){keys, keys_size});
    const char *ours = words_for_key(section, at->key);
    const char *nearest = words_nearest_key(section, at->key);
    const char *home = only_other_home(at->key);

    if (ours != NULL)
        read_error_of_key(r, at, valid_here, "unknown key; limpet says \"%s\"", ours);
    else if (nearest != NULL)
        read_error_of_key(r, at, valid_here, "unknown key; did you mean \"%s\"?", nearest);
    else if (home != NULL && home[0] != '\0')
        read_error_of_key(r, at, valid_here, "unknown key here; it belongs in %s", home);
    else if (home != NULL)
        read_error_of_key(r, at, valid_here, "unknown key here; it belongs at the top of the file");
    else
        read_error_of_key(r, at, valid_here, "unknown key");
}

/* ---- values ---- */

static void store_number(const struct schema_row *row, void *target, uint64_t value)
{
    char *field = (char *)target + row->offset;
    uint8_t one = (uint8_t)value;
    uint16_t two = (uint16_t)value;
    uint32_t four = (uint32_t)value;

    if (row->size == sizeof(one))
        memcpy(field, &one, sizeof(one));
    else if (row->size == sizeof(two))
        memcpy(field, &two, sizeof(two));
    else if (row->size == sizeof(four))
        memcpy(field, &four, sizeof(four));
    else if (row->size == sizeof(value))
        memcpy(field, &value, sizeof(value));
    else
        LP_ASSERT(row->size == 0);
}

static void read_number(struct reader *r, const struct place *at, const struct schema_row *row,
                        void *target)
{
    char problem[SCALAR_PROBLEM_BYTES];
    struct lp_slice text;
    uint64_t value;

    if (!read_text(r, at, &text))
        return;
    if (scalar_parse(row, text, &value, problem))
        store_number(row, target, value);
    else
        read_error(r, at, "%s", problem);
}

void read_store_array(const struct schema_row *row, void *target, const void *array, uint32_t count)
{
    memcpy((char *)target + row->offset, &array, sizeof(array));
    memcpy((char *)target + row->count_offset, &count, sizeof(count));
}

static void check_name(struct reader *r, const struct place *at)
{
    struct lp_slice name = at->key;
    bool is_good = name.size > 0 && name.size <= NAME_BYTES_MAX;

    for (size_t i = 0; is_good && i < name.size; i++) {
        char c = name.data[i];
        is_good = is_name_byte(c, false) || c == '.' || c == '-';
    }
    if (!is_good)
        read_error_of_key(r, at, NULL,
                          "a name has 1 to %u letters, digits, dots, underscores or hyphens "
                          "(A-Z a-z 0-9 . _ -)",
                          NAME_BYTES_MAX);
}

/* One struct of a named map or list. Its elements stay in step with the nodes, broken or not:
 * check.c walks both. */
static void read_element(struct reader *r, const struct place *at, const struct schema_row *row,
                         char *element)
{
    const struct schema_place *place = &schema_places[row->opens];
    const struct node *named = at->node->key != NULL ? at->node->key : at->node;

    read_defaults(r, row->opens, element);
    memcpy(element + place->pos_offset, &named->pos, sizeof(named->pos));
    if (row->type == TYPE_NAMED) {
        check_name(r, at);
        struct lp_slice name = lp_arena_slice(r->arena, at->key);
        memcpy(element + place->name_offset, &name, sizeof(name));
    }
    if (row->opens == SECTION_SERVER && at->node->kind == NODE_SCALAR && !node_is_nothing(at->node))
        value_read_address(r, at, schema_find(SECTION_SERVER, LP_SLICE("address")), element);
    else
        read_section(r, at, row->opens, element);
}

static void read_named(struct reader *r, const struct place *at, const struct schema_row *row,
                       void *target)
{
    if (!read_map(r, at, "a map of names"))
        return;
    size_t size = schema_places[row->opens].size;
    char *elements = lp_arena_alloc(r->arena, size * (at->node->count + 1));
    uint32_t count = 0;

    for (struct node *node = at->node->first; node != NULL; node = node->next) {
        struct place child = {.up = at, .node = node, .key = node->key->text};
        read_element(r, &child, row, elements + size * count++);
    }
    read_store_array(row, target, elements, count);
}

static void read_list(struct reader *r, const struct place *at, const struct schema_row *row,
                      void *target)
{
    if (!is_readable(r, at))
        return;
    if (at->node->kind != NODE_LIST) {
        read_error(r, at, "needs a list (lines that begin with \"- \"), found %s",
                   kind_word(at->node));
        return;
    }
    size_t size = schema_places[row->opens].size;
    char *elements = lp_arena_alloc(r->arena, size * (at->node->count + 1));
    uint32_t count = 0;

    for (struct node *node = at->node->first; node != NULL; node = node->next) {
        struct place item = place_of_item(at, node, count);
        read_element(r, &item, row, elements + size * count++);
    }
    read_store_array(row, target, elements, count);
}

static void fill_unset(enum schema_section section, void *target)
{
    for (uint32_t i = 0; i < schema_rows_count; i++)
        if (schema_rows[i].in == section)
            store_number(&schema_rows[i], target, SCHEMA_UNSET);
}

static const value_fn value_readers[TYPE_COUNT_OF_TYPES] = {
    [TYPE_LOG_TARGET] = value_read_log_target,
    [TYPE_NAMES] = value_read_names,
    [TYPE_BINDS] = value_read_binds,
    [TYPE_CIDRS] = value_read_cidrs,
    [TYPE_ADDRESS] = value_read_address,
    [TYPE_KEY_SOURCES] = value_read_key_sources,
    [TYPE_SECRET_FILE] = value_read_secret_file,
    [TYPE_FILE] = value_read_file,
    [TYPE_TLS_VERSIONS] = value_read_tls_versions,
    [TYPE_TLS_NAME] = value_read_tls_name,
    [TYPE_HOST] = value_read_host,
    [TYPE_SNI] = value_read_sni,
    [TYPE_PATH_PREFIX] = value_read_path_prefix,
    [TYPE_PATH_EXACT] = value_read_path_exact,
    [TYPE_CHECK_PATH] = value_read_check_path,
    [TYPE_CHECK_HOST] = value_read_check_host,
    [TYPE_HEADERS] = value_read_headers,
    [TYPE_STATUSES] = value_read_statuses,
    [TYPE_SERVER_ID] = value_read_server_id,
};

/* What stands there at all, even as an empty map, is on. */
static void read_optional(struct reader *r, const struct place *at, const struct schema_row *row,
                          void *target)
{
    bool *is_on = (bool *)((char *)target + row->offset);

    *is_on = true;
    if (at->node->kind == NODE_SCALAR && at->node->refusal == NULL && !node_is_nothing(at->node))
        read_error(r, at,
                   "needs a map (`{}` for the defaults of all its keys); leave it out for "
                   "none");
    else
        read_section(r, at, row->opens, is_on);
}

static void read_value(struct reader *r, const struct place *at, const struct schema_row *row,
                       void *target)
{
    if (scalar_is_number(row->type))
        read_number(r, at, row, target);
    else if (row->type == TYPE_SECTION || row->type == TYPE_OVERRIDES)
        read_section(r, at, row->opens, (char *)target + row->offset);
    else if (row->type == TYPE_OPTIONAL)
        read_optional(r, at, row, target);
    else if (row->type == TYPE_NAMED)
        read_named(r, at, row, target);
    else if (row->type == TYPE_LIST)
        read_list(r, at, row, target);
    else if (value_readers[row->type] != NULL)
        value_readers[row->type](r, at, row, target);
}

/* A default is written in the table as in a file, and read like one. Lists are rare enough to go
 * through the YAML parser. */
static void read_default(struct reader *r, const struct schema_row *row, void *target)
{
    struct node scalar = {
        .kind = NODE_SCALAR, .is_quoted = true, .text = lp_slice_of(row->fallback)};
    struct node *node = &scalar;

    if (row->fallback[0] == '[') {
        bool is_list = node_parse(&node, scalar.text, r->scratch, r->report);
        LP_ASSERT(is_list);
    }
    read_value(r, &(struct place){.node = node}, row, target);
}

void read_defaults(struct reader *r, enum schema_section section, void *target)
{
    for (uint32_t i = 0; i < schema_rows_count; i++) {
        const struct schema_row *row = &schema_rows[i];
        if (row->in != section)
            continue;
        if (row->type == TYPE_SECTION || row->type == TYPE_OPTIONAL)
            read_defaults(r, row->opens, (char *)target + row->offset);
        if (row->type == TYPE_OVERRIDES)
            fill_unset(row->opens, (char *)target + row->offset);
        if (row->fallback != NULL)
            read_default(r, row, target);
    }
}

void read_section(struct reader *r, const struct place *at, enum schema_section section,
                  void *target)
{
    if (!read_map(r, at, "a map (lines of \"key: value\")"))
        return;
    for (struct node *node = at->node->first; node != NULL; node = node->next) {
        struct place child = {.up = at, .node = node, .key = node->key->text};
        const struct schema_row *row = schema_find(section, child.key);
        if (row != NULL)
            read_value(r, &child, row, target);
        else
            refuse_unknown_key(r, &child, section);
    }
}
