/* `limpet where [-c FILE] POOL [KEY ...]`: which server is the home of a key, and which ones come
 * after it. The same functions answer that serve requests; nothing needs to run. */
#include "lb/cli/where.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/cli/usage.h"
#include "lb/pool/pool.h"

enum kind { KIND_AUTO, KIND_IP, KIND_TEXT };

struct where {
    const char *path, *pool, *down;
    enum kind kind;
    unsigned long rank; /* only this one, from 1; 0: all of them */
    char **keys;
    int keys_count;
};

static bool read_kind(struct where *where, const char *word)
{
    if (strcmp(word, "ip") == 0)
        where->kind = KIND_IP;
    else if (strcmp(word, "text") == 0)
        where->kind = KIND_TEXT;
    else
        return false;
    return true;
}

static bool read_rank(struct where *where, const char *word)
{
    char *end;

    where->rank = strtoul(word, &end, 10);
    return word[0] >= '1' && word[0] <= '9' && *end == '\0' && where->rank <= LP_POOL_SERVERS_MAX;
}

/* 0, or the exit status of wrong usage. */
static int read_option(struct where *where, const char *option, const char *value)
{
    bool is_known = strcmp(option, "-c") == 0 || strcmp(option, "--kind") == 0 ||
                    strcmp(option, "--rank") == 0 || strcmp(option, "--down") == 0;

    if (!is_known)
        return usage_error("where: unknown option %s", option);
    if (value == NULL)
        return usage_error("where: %s needs a value", option);
    if (strcmp(option, "-c") == 0)
        where->path = value;
    else if (strcmp(option, "--down") == 0)
        where->down = value;
    else if (strcmp(option, "--rank") == 0 && !read_rank(where, value))
        return usage_error("where: --rank %s is no rank: 1, 2, ...", value);
    else if (strcmp(option, "--kind") == 0 && !read_kind(where, value))
        return usage_error("where: --kind is ip or text, not %s", value);
    return 0;
}

/* Options stand before or behind what is no option; "--" ends them. The other words move to the
 * front of `arguments`. 0, or the exit status of wrong usage. */
static int read_arguments(struct where *where, int count, char **arguments)
{
    int words_count = 0, status = 0;
    bool is_over = false;

    *where = (struct where){.path = USAGE_DEFAULT_PATH};
    for (int i = 0; i < count && status == 0; i++) {
        char *word = arguments[i];
        if (is_over || word[0] != '-' || word[1] == '\0') {
            arguments[words_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            is_over = true;
        } else {
            i++;
            status = read_option(where, word, i < count ? arguments[i] : NULL);
        }
    }
    if (status != 0)
        return status;
    if (words_count == 0)
        return usage_error("where: which pool?");
    where->pool = arguments[0];
    where->keys = arguments + 1;
    where->keys_count = words_count - 1;
    return 0;
}

static bool is_down(const struct where *where, struct lp_slice name)
{
    const char *at = where->down;

    while (at != NULL && *at != '\0') {
        size_t size = strcspn(at, ",");
        if (lp_slice_equal((struct lp_slice){at, size}, name))
            return true;
        at += size + (at[size] == ',');
    }
    return false;
}

/* False after saying which name in --down is no server. */
static bool knows_down(const struct where *where, const struct lp_cfg_pool *pool)
{
    for (const char *at = where->down; at != NULL && *at != '\0';) {
        struct lp_slice name = {at, strcspn(at, ",")};
        uint32_t i = 0;
        while (i < pool->servers_count && !lp_slice_equal(pool->servers[i].name, name))
            i++;
        if (i == pool->servers_count) {
            fprintf(stderr, "limpet: error: --down: pool \"%s\" has no server \"%.*s\"\n",
                    where->pool, LP_SLICE_ARG(name));
            return false;
        }
        at += name.size + (at[name.size] == ',');
    }
    return true;
}

/* Without --kind a key is an address if the pool hashes addresses first and it reads like one. */
static bool hash_key(const struct where *where, const struct lp_cfg_pool *pool, const char *text,
                     uint64_t *out)
{
    struct lp_slice key = lp_slice_of(text);
    struct lp_ip ip;
    uint8_t bytes[16];
    bool reads_as_ip = lp_ip_parse(&ip, key);
    bool wants_ip = where->kind == KIND_IP ||
                    (where->kind == KIND_AUTO && pool->keys[0].source == LP_KEY_CLIENT_IP);

    if (where->kind == KIND_IP && !reads_as_ip) {
        fprintf(stderr, "limpet: error: \"%s\" is not an IP address\n", text);
        return false;
    }
    if (wants_ip && reads_as_ip)
        key = (struct lp_slice){(const char *)bytes,
                                lp_hash_ip_key(bytes, &ip, pool->ipv4_prefix, pool->ipv6_prefix)};
    *out = lp_hash_key(key, pool->seed);
    return true;
}

static bool print_key(const struct where *where, const struct pool_view *view, const char *text,
                      uint32_t *order)
{
    const struct lp_cfg_pool *pool = view->config;
    uint64_t hash;
    unsigned long rank = 0;

    if (!hash_key(where, pool, text, &hash))
        return false;
    uint32_t count = lp_hash_rank(view->table, hash, order, pool->servers_count);
    fputs(text, stdout);
    for (uint32_t i = 0; i < count; i++) {
        struct lp_slice name = pool->servers[order[i]].name;
        if (is_down(where, name) || (++rank != where->rank && where->rank != 0))
            continue;
        printf("\t%.*s", LP_SLICE_ARG(name));
    }
    putchar('\n');
    return true;
}

static bool print_all(const struct where *where, const struct pool_view *view)
{
    uint32_t *order = lp_alloc(view->config->servers_count * sizeof(*order));
    bool ok = true;

    for (int i = 0; i < where->keys_count && ok; i++)
        ok = print_key(where, view, where->keys[i], order);
    if (where->keys_count == 0) {
        char *line = NULL;
        size_t room = 0;
        ssize_t size;
        while (ok && (size = getline(&line, &room, stdin)) > 0) {
            if (line[size - 1] == '\n')
                line[size - 1] = '\0';
            ok = print_key(where, view, line, order);
        }
        lp_free(line); /* getline's memory is malloc's, and so is ours */
    }
    lp_free(order);
    return ok;
}

int where_run(int count, char **arguments)
{
    struct where where;
    struct lp_config *config = NULL;
    struct lp_config_report report;
    struct lp_err err = {0};
    int status = read_arguments(&where, count, arguments);

    if (status != 0)
        return status;
    bool ok = lp_config_load(&config, &report, where.path);
    if (!ok)
        fputs(report.text, stderr);
    lp_config_report_deinit(&report);
    if (!ok)
        return 1;
    const struct lp_cfg_pool *pool = lp_config_pool(config, lp_slice_of(where.pool));
    if (pool == NULL) {
        fprintf(stderr, "limpet: error: %s has no pool \"%s\"\n", where.path, where.pool);
        ok = false;
    } else if (pool->balance != LP_BALANCE_HASH) {
        fprintf(stderr, "limpet: error: pool \"%s\" does not balance by hash: no key has a home\n",
                where.pool);
        ok = false;
    } else if (!knows_down(&where, pool)) {
        ok = false;
    } else {
        struct pool_view view;
        ok = pool_view_build(&view, pool, &config->arena, &err);
        if (ok)
            ok = print_all(&where, &view);
        else
            fprintf(stderr, "limpet: error: %s\n", err.text);
        pool_view_deinit(&view);
    }
    lp_config_destroy(config);
    return ok ? 0 : 1;
}
