/* docs/configuration.md, printed from the schema table: every key with its type, default, range
 * and the effect of a reload. */
#include <stdio.h>
#include <string.h>

#include "config/reader.h"

static const char *const type_names[TYPE_COUNT_OF_TYPES] = {
    [TYPE_DURATION] = "duration",
    [TYPE_SECONDS] = "duration",
    [TYPE_SIZE] = "size",
    [TYPE_COUNT] = "number",
    [TYPE_PERCENT] = "percentage",
    [TYPE_BOOL] = "`true`, `false`",
    [TYPE_WORD] = NULL, /* its words */
    [TYPE_CLOSE_CODE] = "close code",
    [TYPE_LOG_TARGET] = "word or path",
    [TYPE_NAMES] = "list of names",
    [TYPE_BINDS] = "address or list",
    [TYPE_CIDRS] = "list of networks",
    [TYPE_ADDRESS] = "address",
    [TYPE_KEY_SOURCES] = "source or list",
    [TYPE_SECRET_FILE] = "path",
    [TYPE_FILE] = "path",
    [TYPE_TLS_VERSIONS] = "version or list",
    [TYPE_TLS_NAME] = "host or IP address",
    [TYPE_HOST] = "host",
    [TYPE_SNI] = "host",
    [TYPE_PATH_PREFIX] = "path",
    [TYPE_PATH_EXACT] = "path",
    [TYPE_CHECK_PATH] = "path",
    [TYPE_CHECK_HOST] = "host",
    [TYPE_HEADERS] = "map",
    [TYPE_STATUSES] = "status or list",
    [TYPE_SERVER_ID] = "text",
    [TYPE_POOL_NAME] = "name of a pool",
    [TYPE_SECTION] = "map",
    [TYPE_OPTIONAL] = "map",
    [TYPE_OVERRIDES] = "map",
    [TYPE_NAMED] = "map of names",
    [TYPE_LIST] = "list of maps",
};

static const char *const reload_words[] = {
    [RELOAD_AT_ONCE] = "at once",
    [RELOAD_NEW_STREAMS] = "new requests and tunnels",
    [RELOAD_HANDSHAKES] = "new handshakes; open sessions keep what they have",
    [RELOAD_SOCKETS] = "new addresses are bound first, removed ones accept until empty",
    [RELOAD_MOVES_KEYS] = "new clients; some keys move",
    [RELOAD_SERVER] = "tunnels of a removed or changed server drain, nothing else closes",
    [RELOAD_RESTART] = "needs a restart; a reload that changes it is refused",
};

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "One YAML file. Names are map keys, and a name is an identity: metrics, hashing and reloads go "
    "by it. This page is printed from the table that the parser uses.\n"
    "\n"
    "* A **duration** is a number with `ms`, `s`, `m`, `h` or `d`; a **size** one with `KiB`, "
    "`MiB` or `GiB`; a **percentage** one with `%`. A bare number for one of them is an error.\n"
    "* An **address** is `10.0.0.1:8080`, `\"[2001:db8::1]:8080\"` or `unix:/path`; `bind` also "
    "takes `\"*:8080\"`, every address of the machine. Host names are not resolved yet.\n"
    "* A **path** of a file is relative to the configuration file's folder.\n"
    "* **Names** of listeners, pools and servers have 1 to 255 of `A-Z a-z 0-9 . _ -`.\n"
    "* `${NAME}` in a value is the environment variable; `$${` is a literal `${`. A missing "
    "variable is an error.\n"
    "* YAML itself needs quotes around `\"[::]:443\"`, `\"*:443\"`, `\"*.example.com\"`, and "
    "around `\"${NAME}\"` inside `{ }` or `[ ]`. Anchors, aliases and tags are not taken.\n"
    "* **Timeouts** of a route come before those of its pool, these before the listener's, these "
    "before the global ones.\n"
    "* **TLS** speaks 1.2 and 1.3 with AEAD suites. The files of a `tls` section are read by "
    "`limpet "
    "check`, at the start and at each reload; a certificate that cannot be used is an error at the "
    "key that names it.\n"
    "* A **close code** is one that RFC 6455 lets an endpoint send: 1000, 1001, 1003, 1007 to "
    "1014, 3000 to 4999.\n"
    "\n"
    "The smallest complete file:\n"
    "\n"
    "```yaml\n"
    "listeners:\n"
    "  web: {bind: \"0.0.0.0:8080\", pool: app}\n"
    "pools:\n"
    "  app:\n"
    "    servers:\n"
    "      a: 10.0.0.1:9000\n"
    "      b: 10.0.0.2:9000\n"
    "```\n";

static void print_words(FILE *out, const char *words)
{
    bool is_first = true;

    for (const char *at = words; at != NULL;) {
        const char *bar = strchr(at, '|');
        size_t size = bar != NULL ? (size_t)(bar - at) : strlen(at);
        if (size > 0) {
            fprintf(out, "%s`%.*s`", is_first ? "" : ", ", (int)size, at);
            is_first = false;
        }
        at = bar != NULL ? bar + 1 : NULL;
    }
}

static void print_default(FILE *out, const struct schema_row *row)
{
    if (row->flags & SCHEMA_REQUIRED)
        fputs("required", out);
    else if (row->fallback != NULL)
        fprintf(out, "`%s`", row->fallback);
}

static void print_range(FILE *out, const struct schema_row *row)
{
    char from[32], to[32];

    if (row->max == 0)
        return;
    scalar_format(row->type, row->min, from, sizeof(from));
    scalar_format(row->type, row->max, to, sizeof(to));
    fprintf(out, "%s to %s%s%s", from, to, row->flags & SCHEMA_OFF ? ", `off`" : "",
            row->flags & SCHEMA_AUTO ? ", `auto`" : "");
}

static bool opens_section(const struct schema_row *row)
{
    return row->type >= TYPE_SECTION;
}

static void print_row(FILE *out, const struct schema_row *row)
{
    fprintf(out, "| `%s` | ", row->key);
    if (row->type == TYPE_WORD)
        print_words(out, row->words);
    else
        fputs(type_names[row->type], out);
    fputs(" | ", out);
    print_default(out, row);
    fputs(" | ", out);
    print_range(out, row);
    fprintf(out, " | %s", row->doc);
    if (opens_section(row))
        fprintf(out, ": see `%s`", schema_places[row->opens].path);
    fprintf(out, " | %s |\n",
            opens_section(row) && row->reload == RELOAD_AT_ONCE ? "" : reload_words[row->reload]);
}

static void print_section(FILE *out, enum schema_section section)
{
    const char *path = schema_places[section].path;

    if (path[0] != '\0')
        fprintf(out, "\n## `%s`\n\n", path);
    else
        fputs("\n## The top of the file\n\n", out);
    fputs("| key | type | default | range | meaning | effect of a reload |\n", out);
    fputs("| --- | --- | --- | --- | --- | --- |\n", out);
    for (uint32_t i = 0; i < schema_rows_count; i++)
        if (schema_rows[i].in == section)
            print_row(out, &schema_rows[i]);
}

void lp_config_print_reference(FILE *out)
{
    fputs(introduction, out);
    for (uint32_t section = 0; section < SECTION_COUNT; section++)
        print_section(out, (enum schema_section)section);
}
