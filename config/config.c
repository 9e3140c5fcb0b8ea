/* The way in: a file or bytes become nodes, nodes become structs, structs are checked against each
 * other. Each stage reports all that it finds; YAML that cannot be parsed ends it at once. */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/order.h"
#include "config/reader.h"

/* A pool of 65 535 servers in long form has about 5 MiB. */
#define FILE_BYTES_MAX ((size_t)16 * 1024 * 1024)

/* ---- from bytes ---- */

static struct lp_slice directory_of(struct lp_slice path)
{
    const char *slash = path.size > 0 ? memrchr(path.data, '/', path.size) : NULL;

    return slash != NULL ? (struct lp_slice){path.data, (size_t)(slash - path.data) + 1}
                         : (struct lp_slice){"", 0};
}

/* Editors on Windows put a byte order mark in front. */
static struct lp_slice without_mark(struct lp_slice text)
{
    if (text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        return (struct lp_slice){text.data + 3, text.size - 3};
    return text;
}

static void read_everything(struct reader *r, struct lp_slice text)
{
    struct node *root = NULL;

    if (text.size > FILE_BYTES_MAX) {
        report_add(r->report, LP_ERROR, &(struct spot){.key = ""}, NULL, "has more than 16 MiB");
        return;
    }
    if (!node_parse(&root, text, r->scratch, r->report))
        return;
    read_defaults(r, SECTION_ROOT, r->config);
    read_section(r, &(struct place){.node = root}, SECTION_ROOT, r->config);
    check_config(r, root);
}

bool lp_config_parse(struct lp_config **out, struct lp_config_report *report, const char *path,
                     struct lp_slice text)
{
    struct lp_config *config = lp_alloc(sizeof(*config));
    struct lp_arena scratch;
    struct report collected;

    text = without_mark(text);
    lp_arena_init(&config->arena);
    lp_arena_init(&scratch);
    config->path = lp_arena_slice(&config->arena, lp_slice_of(path));
    if (text.size <= FILE_BYTES_MAX)
        config->text = lp_arena_slice(&config->arena, text);
    report_init(&collected, &scratch, config->path, text);
    read_everything(&(struct reader){.config = config,
                                     .arena = &config->arena,
                                     .scratch = &scratch,
                                     .report = &collected,
                                     .directory = directory_of(config->path)},
                    text);

    bool is_good = collected.errors_count == 0;
    report_print(report, &collected);
    report_deinit(&collected);
    lp_arena_deinit(&scratch);
    *out = is_good ? config : NULL;
    if (!is_good)
        lp_config_destroy(config);
    return is_good;
}

/* ---- from a file ---- */

static bool fail_unreadable(struct lp_config_report *report, const char *path, const char *why)
{
    struct lp_arena scratch;
    struct report collected;

    lp_arena_init(&scratch);
    report_init(&collected, &scratch, lp_slice_of(path), (struct lp_slice){"", 0});
    report_add(&collected, LP_ERROR, &(struct spot){.key = ""}, NULL, "cannot be read: %s", why);
    report_print(report, &collected);
    report_deinit(&collected);
    lp_arena_deinit(&scratch);
    return false;
}

/* Reads to the end, one byte more than is allowed at most. Gives NULL with errno set. */
static char *read_file(int fd, size_t *size)
{
    size_t room = 65536;
    char *bytes = lp_alloc(room);
    ssize_t got = 1;

    *size = 0;
    while (got > 0 && *size <= FILE_BYTES_MAX) {
        if (*size == room)
            bytes = lp_realloc(bytes, room *= 2);
        got = read(fd, bytes + *size, room - *size);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            *size += (size_t)got;
    }
    if (got >= 0)
        return bytes;
    lp_free(bytes);
    return NULL;
}

bool lp_config_load(struct lp_config **out, struct lp_config_report *report, const char *path)
{
    size_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *out = NULL;
    if (fd < 0)
        return fail_unreadable(report, path, strerror(errno));
    char *bytes = read_file(fd, &size);
    int problem = errno;
    close(fd);
    if (bytes == NULL)
        return fail_unreadable(report, path, strerror(problem));
    bool is_good = lp_config_parse(out, report, path, (struct lp_slice){bytes, size});
    lp_free(bytes);
    return is_good;
}

/* ---- afterwards ---- */

void lp_config_destroy(struct lp_config *config)
{
    if (config == NULL)
        return;
    lp_arena_deinit(&config->arena);
    lp_free(config);
}

void lp_config_report_deinit(struct lp_config_report *report)
{
    lp_free(report->text);
    *report = (struct lp_config_report){0};
}

void lp_config_complain(struct lp_config_report *report, const struct lp_config *config,
                        enum lp_severity severity, struct lp_cfg_pos pos, struct lp_slice where,
                        const char *format, ...)
{
    char key[READER_KEY_BYTES_MAX];
    va_list args;

    snprintf(key, sizeof(key), "%.*s", LP_SLICE_ARG(where));
    va_start(args, format);
    report_add_late(report, config->path, config->text, severity, &(struct spot){pos, key}, format,
                    args);
    va_end(args);
}

struct lp_cfg_pool *lp_config_pool(const struct lp_config *config, struct lp_slice name)
{
    uint32_t from = 0, to = config->pools_count;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        struct lp_cfg_pool *pool = config->pools_by_name[middle];
        int order = order_slices(pool->name, name);
        if (order == 0)
            return pool;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}
