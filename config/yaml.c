/* From bytes to nodes: libyaml's events become a tree. This file decides which YAML we take: one
 * document of maps, lists and scalars. Aliases, anchors and tags are marked on their node and
 * refused by whoever reads it, because only then the full key is known. Start at node_parse().
 *
 * The bytes are checked before libyaml sees them, so that lines are ended by "\n" and nothing else
 * and the line numbers of libyaml, of editors and of our excerpts are the same. */
#include "config/node.h"

#include <string.h>
#include <yaml.h>

#include "config/utf8.h"

#define DEPTH_MAX 16u /* the deepest valid file has 8 levels */
/* A file of 65 535 servers in long form has half of that. */
#define NODES_MAX 1000000u

struct level {
    struct node *node; /* map or list */
    struct node *key;  /* of a map: read, its value not yet */
};

struct builder {
    yaml_parser_t parser;
    struct lp_slice text;
    struct lp_arena *arena;
    struct report *report;
    struct node *root;
    struct level levels[DEPTH_MAX];
    uint32_t depth;
    uint32_t nodes_count, documents_count;
};

/* ---- bytes that YAML does not take ---- */

static const char *refusal_of(uint32_t point, bool ends_line)
{
    if (point == UINT32_MAX)
        return "a byte that is not UTF-8; save the file as UTF-8";
    if (point == '\r' && !ends_line)
        return "a carriage return that ends no line; lines end with \\n or \\r\\n";
    if (point == 0x85 || point == 0x2028 || point == 0x2029)
        return "a Unicode line separator; lines end with \\n or \\r\\n";
    if ((utf8_is_control(point) && point != '\t' && point != '\n' && point != '\r') ||
        point == 0xfeff || point == 0xfffe || point == 0xffff)
        return "a control character, which YAML does not take";
    return NULL;
}

static bool check_bytes(struct lp_slice text, struct report *report)
{
    struct spot spot = {.pos = {1, 1, 1}, .key = ""};
    uint32_t size = 1;

    for (size_t i = 0; i < text.size; i += size) {
        uint32_t point = utf8_decode(text.data + i, text.size - i, &size);
        const char *refusal = refusal_of(point, i + 1 < text.size && text.data[i + 1] == '\n');
        if (refusal != NULL) {
            report_add(report, LP_ERROR, &spot, NULL, "%s", refusal);
            return false;
        }
        if (point == '\n')
            spot.pos = (struct lp_cfg_pos){spot.pos.line + 1, 1, 1};
        else
            spot.pos.column++;
    }
    return true;
}

/* ---- hints for what YAML cannot take unquoted ---- */

/* Where a word ends that should have been in quotes; brackets around it are not part of it. */
static size_t word_end(struct lp_slice line, size_t begin)
{
    size_t end = begin;

    while (end < line.size && strchr(" ,\t\r", line.data[end]) == NULL)
        end++;
    while (end > begin + 1 && (line.data[end - 1] == '}' || line.data[end - 1] == ']'))
        end--;
    return end;
}

static size_t bracketed_end(struct lp_slice line, size_t end)
{
    while (end < line.size && line.data[end] != ']')
        end++;
    end++;
    while (end < line.size &&
           (line.data[end] == ':' || (line.data[end] >= '0' && line.data[end] <= '9')))
        end++;
    return end;
}

/* "[" with an IPv6 address behind it: nothing but its characters up to "]", two colons or more. */
static bool is_ipv6_in_brackets(struct lp_slice line, size_t at)
{
    uint32_t colons = 0;

    for (at++; at < line.size && line.data[at] != ']'; at++) {
        if (line.data[at] == ':')
            colons++;
        else if (strchr("0123456789abcdefABCDEF.", line.data[at]) == NULL)
            return false;
    }
    return at < line.size && colons >= 2;
}

/* Does an unquoted stumbling block start here? Gives where it ends, or 0. */
static size_t stumbling_block(struct lp_slice line, size_t at, bool is_at_value, bool in_flow)
{
    char here = line.data[at];

    if (here == '$' && in_flow && at + 1 < line.size && line.data[at + 1] == '{') {
        const char *end = memchr(line.data + at, '}', line.size - at);
        return end != NULL ? (size_t)(end - line.data) + 1 : line.size;
    }
    if (!is_at_value)
        return 0;
    if (here == '[' && is_ipv6_in_brackets(line, at))
        return bracketed_end(line, at);
    return here == '*' || here == '@' || here == '%' || here == '`' ? word_end(line, at) : 0;
}

/* Looks through the line of the error for words that YAML needs in quotes. in_flow: inside { } or
 * [ ], where "${" is not text. */
static bool add_quoting_hint(struct builder *b, uint32_t number, bool in_flow)
{
    struct lp_slice line = report_line(b->text, number);
    char quote = '\0', before = ' ';
    bool is_at_value = true;
    uint32_t column = 1;

    for (size_t at = 0; at < line.size; at++) {
        char here = line.data[at];
        if (quote == '\0' && here == '#' && before == ' ')
            return false;
        if (quote == '\0' && (here == '"' || here == '\'') && is_at_value)
            quote = here;
        else if (here == quote)
            quote = '\0';
        size_t end = quote == '\0' ? stumbling_block(line, at, is_at_value, in_flow) : 0;
        if (end > at) {
            struct spot spot = {{number, column, (uint32_t)(end - at)}, ""};
            report_add(b->report, LP_ERROR, &spot, NULL, "YAML needs quotes here: write \"%.*s\"%s",
                       (int)(end - at), line.data + at,
                       here == '$' ? " (the whole value in quotes)" : "");
            return true;
        }
        if (here != ' ' && here != '\t')
            is_at_value = strchr(":,[{-", here) != NULL;
        before = here;
        if (((unsigned char)here & 0xc0) != 0x80)
            column++;
    }
    return false;
}

/* libyaml's most frequent problems in words that say what to do. */
static const char *plain_words(const char *problem)
{
    static const struct {
        const char *problem, *words;
    } known[] = {
        {"mapping values are not allowed in this context",
         "a \": \" too many in this line; put the value in quotes, or the map on lines of its own"},
        {"could not find expected ':'", "the line before has no \"key: value\""},
        {"did not find expected key",
         "indented neither like the lines before nor like a new level"},
        {"did not find expected '-' indicator",
         "indented neither like the list before nor like a new level"},
    };

    for (uint32_t i = 0; i < LP_COUNT_OF(known); i++)
        if (strcmp(problem, known[i].problem) == 0)
            return known[i].words;
    return NULL;
}

static void explain_syntax(struct builder *b, struct spot *spot)
{
    const yaml_parser_t *p = &b->parser;
    const char *problem = p->problem != NULL ? p->problem : "unknown problem";
    const char *words = plain_words(problem);

    if (p->context != NULL && strstr(p->context, "quoted scalar") != NULL &&
        strstr(problem, "end of stream") != NULL) {
        spot->pos = (struct lp_cfg_pos){(uint32_t)p->context_mark.line + 1,
                                        (uint32_t)p->context_mark.column + 1, 1};
        report_add(b->report, LP_ERROR, spot, NULL, "a quote that is never closed");
    } else if (words != NULL) {
        report_add(b->report, LP_ERROR, spot, NULL, "%s", words);
    } else if (p->context != NULL) {
        report_add(b->report, LP_ERROR, spot, NULL, "not valid YAML: %s (%s from line %zu)",
                   problem, p->context, p->context_mark.line + 1);
    } else {
        report_add(b->report, LP_ERROR, spot, NULL, "not valid YAML: %s", problem);
    }
}

static void add_syntax_error(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    size_t number = p->problem_mark.line;
    struct spot spot = {{(uint32_t)number + 1, (uint32_t)p->problem_mark.column + 1, 1}, ""};
    struct lp_slice line = report_line(b->text, (uint32_t)number + 1);
    size_t blanks = 0;

    if (p->error == YAML_MEMORY_ERROR) {
        report_add(b->report, LP_ERROR, &spot, NULL, "out of memory");
        return;
    }
    while (blanks < line.size && line.data[blanks] == ' ')
        blanks++;
    if (blanks < line.size && line.data[blanks] == '\t') {
        spot.pos.column = (uint32_t)blanks + 1;
        report_add(b->report, LP_ERROR, &spot, NULL,
                   "YAML takes no tab for indentation; use spaces");
        return;
    }
    bool in_flow = p->context != NULL && strstr(p->context, "flow") != NULL;
    if (add_quoting_hint(b, spot.pos.line, in_flow))
        return;
    uint32_t begin = (uint32_t)p->context_mark.line + 1;
    if (p->context != NULL && begin != spot.pos.line && add_quoting_hint(b, begin, in_flow))
        return;
    explain_syntax(b, &spot);
}

/* ---- events ---- */

static bool fail(struct builder *b, const yaml_event_t *event, const char *sentence)
{
    struct spot spot = {
        {(uint32_t)event->start_mark.line + 1, (uint32_t)event->start_mark.column + 1, 1}, ""};

    report_add(b->report, LP_ERROR, &spot, NULL, "%s", sentence);
    return false;
}

static struct node *node_new(struct builder *b, const yaml_event_t *event, enum node_kind kind)
{
    struct node *node = LP_ARENA_NEW(b->arena, struct node);

    node->kind = kind;
    node->pos = (struct lp_cfg_pos){(uint32_t)event->start_mark.line + 1,
                                    (uint32_t)event->start_mark.column + 1, 1};
    if (event->end_mark.line == event->start_mark.line &&
        event->end_mark.column > event->start_mark.column)
        node->pos.width = (uint32_t)(event->end_mark.column - event->start_mark.column);
    return node;
}

static void append_child(struct node *parent, struct node *child)
{
    if (parent->last != NULL)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->count++;
}

/* Puts a node where it belongs: the root, an item, a key, or the value of the key before. */
static bool attach(struct builder *b, const yaml_event_t *event, struct node *node)
{
    if (++b->nodes_count > NODES_MAX)
        return fail(b, event, "more than a million values in one file");
    if (b->depth == 0) {
        b->root = node;
        return true;
    }
    struct level *level = &b->levels[b->depth - 1];
    if (level->node->kind == NODE_LIST) {
        append_child(level->node, node);
        return true;
    }
    if (level->key == NULL) {
        if (node->refusal != NULL)
            return fail(b, event, node->refusal);
        if (node->kind != NODE_SCALAR && add_quoting_hint(b, node->pos.line, true))
            return false;
        if (node->kind != NODE_SCALAR)
            return fail(b, event, "a key must be text, not a map or a list");
        level->key = node;
        return true;
    }
    node->key = level->key;
    level->key = NULL;
    append_child(level->node, node);
    return true;
}

static const char *refusal_of_properties(const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL)
        return "YAML anchors (&name) are not taken; write the value out, or in quotes if it is "
               "text";
    if (tag != NULL)
        return "YAML tags (!name) are not taken; the key says what type its value has";
    return NULL;
}

static bool on_scalar(struct builder *b, const yaml_event_t *event)
{
    struct node *node = node_new(b, event, NODE_SCALAR);

    node->text = lp_arena_slice(b->arena, (struct lp_slice){(const char *)event->data.scalar.value,
                                                            event->data.scalar.length});
    node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->refusal = refusal_of_properties(event->data.scalar.anchor, event->data.scalar.tag);
    return attach(b, event, node);
}

static bool on_begin(struct builder *b, const yaml_event_t *event, enum node_kind kind)
{
    struct node *node = node_new(b, event, kind);

    node->pos.width = 1;
    node->refusal = kind == NODE_MAP ? refusal_of_properties(event->data.mapping_start.anchor,
                                                             event->data.mapping_start.tag)
                                     : refusal_of_properties(event->data.sequence_start.anchor,
                                                             event->data.sequence_start.tag);
    if (!attach(b, event, node))
        return false;
    if (b->depth == DEPTH_MAX)
        return fail(b, event, "nested too deeply");
    b->levels[b->depth++] = (struct level){.node = node};
    return true;
}

static bool on_alias(struct builder *b, const yaml_event_t *event)
{
    struct node *node = node_new(b, event, NODE_SCALAR);

    node->refusal = "YAML aliases (*name) are not taken; write the value out, or in quotes if it "
                    "is text";
    return attach(b, event, node);
}

/* Handles one event; false after an error. */
static bool on_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->documents_count > 1)
            return fail(b, event, "a second YAML document; a configuration is one document");
        return true;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_ALIAS_EVENT:
        return on_alias(b, event);
    case YAML_MAPPING_START_EVENT:
        return on_begin(b, event, NODE_MAP);
    case YAML_SEQUENCE_START_EVENT:
        return on_begin(b, event, NODE_LIST);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        b->depth--;
        return true;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return true;
    }
    return true;
}

static bool build(struct builder *b)
{
    for (bool is_done = false; !is_done;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b->parser, &event)) {
            add_syntax_error(b);
            return false;
        }
        bool is_good = on_event(b, &event);
        is_done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (!is_good)
            return false;
    }
    return true;
}

bool node_parse(struct node **root, struct lp_slice text, struct lp_arena *arena,
                struct report *report)
{
    struct builder b = {.text = text, .arena = arena, .report = report};

    if (!check_bytes(text, report))
        return false;
    if (!yaml_parser_initialize(&b.parser)) {
        report_add(report, LP_ERROR, &(struct spot){.key = ""}, NULL, "out of memory");
        return false;
    }
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text.data, text.size);
    bool is_good = build(&b);
    yaml_parser_delete(&b.parser);
    if (is_good && (b.root == NULL || node_is_nothing(b.root))) {
        report_add(report, LP_ERROR, &(struct spot){.key = ""}, NULL,
                   "the file is empty; it needs at least listeners and pools");
        return false;
    }
    *root = b.root;
    return is_good;
}

struct node *node_find(const struct node *map, const char *key)
{
    if (map == NULL || map->kind != NODE_MAP)
        return NULL;
    struct lp_slice name = lp_slice_of(key);
    for (struct node *node = map->first; node != NULL; node = node->next)
        if (lp_slice_equal(node->key->text, name))
            return node;
    return NULL;
}

bool node_is_nothing(const struct node *node)
{
    return node->kind == NODE_SCALAR && !node->is_quoted && node->text.size == 0 &&
           node->refusal == NULL;
}
