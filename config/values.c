/* Values with a grammar of their own, one function a type of the schema: addresses, networks, hash
 * keys, files. Each reports what is wrong with it and leaves its field as it was. What a route
 * matches is in match.c, what a health check sends in health.c, TLS in secure.c. */
#include "config/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash/hash.h"

#define PROBLEM_BYTES         512u
#define KEY_SOURCES_MAX       16u
#define SECRET_FILE_BYTES_MAX ((size_t)1024 * 1024)

static bool has_control(struct lp_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return true;
    return false;
}

static bool starts_with(struct lp_slice text, struct lp_slice start)
{
    return text.size >= start.size && memcmp(text.data, start.data, start.size) == 0;
}

/* ---- files ---- */

/* A name in the file means a place beside the file, wherever limpet was started. */
static struct lp_slice path_beside_file(struct reader *r, struct lp_slice path)
{
    if (path.size > 0 && path.data[0] == '/')
        return lp_arena_slice(r->arena, path);
    char *joined = lp_arena_alloc(r->arena, r->directory.size + path.size + 1);
    memcpy(joined, r->directory.data, r->directory.size);
    memcpy(joined + r->directory.size, path.data, path.size);
    return (struct lp_slice){joined, r->directory.size + path.size};
}

bool value_read_path(struct reader *r, const struct place *at, struct lp_slice *out)
{
    struct lp_slice name;

    if (!read_text(r, at, &name))
        return false;
    if (name.size == 0 || has_control(name)) {
        read_error(r, at, "needs the path of a file");
        return false;
    }
    *out = path_beside_file(r, name);
    return true;
}

void value_read_log_target(struct reader *r, const struct place *at, const struct schema_row *row,
                           void *target)
{
    static const char *const words[] = {"stdout", "stderr", "off"};
    struct lp_slice text, *field = (struct lp_slice *)((char *)target + row->offset);

    if (!read_text(r, at, &text))
        return;
    for (uint32_t i = 0; i < LP_COUNT_OF(words); i++) {
        struct lp_slice word = lp_slice_of(words[i]);
        if (lp_slice_equal(text, word)) {
            *field = word;
            return;
        }
        if (memchr(text.data, '/', text.size) == NULL && words_are_near(text, word)) {
            read_error(r, at,
                       "\"%.*s\" is none of stdout, stderr, off; did you mean \"%s\"? "
                       "(a file of that name is written \"./%.*s\")",
                       LP_SLICE_ARG(text), words[i], LP_SLICE_ARG(text));
            return;
        }
    }
    if (text.size == 0 || has_control(text))
        read_error(r, at, "needs stdout, stderr, off or the path of a file");
    else
        *field = path_beside_file(r, text);
}

static const char *seed_of_bytes(int fd, char *bytes, uint64_t *seed)
{
    size_t used = 0;

    for (ssize_t got = 1; got > 0 && used <= SECRET_FILE_BYTES_MAX;) {
        got = read(fd, bytes + used, SECRET_FILE_BYTES_MAX + 1 - used);
        if (got < 0)
            return strerror(errno);
        used += (size_t)got;
    }
    if (used > SECRET_FILE_BYTES_MAX)
        return "it has more than 1 MiB";
    if (used == 0 || (used == 1 && bytes[0] == '\n'))
        return "it is empty";
    *seed = lp_hash_seed((struct lp_slice){bytes, used});
    explicit_bzero(bytes, used);
    return NULL;
}

/* Gives NULL, or the sentence that says why there is no seed. */
static const char *read_seed(const char *path, uint64_t *seed)
{
    struct stat status;

    /* Looked at first: opening a named pipe or a device may block or do something. */
    if (stat(path, &status) < 0)
        return strerror(errno);
    if (!S_ISREG(status.st_mode))
        return "it is not a regular file";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return strerror(errno);
    char *bytes = lp_alloc(SECRET_FILE_BYTES_MAX + 1);
    const char *problem = seed_of_bytes(fd, bytes, seed);
    lp_free(bytes);
    close(fd);
    return problem;
}

void value_read_secret_file(struct reader *r, const struct place *at, const struct schema_row *row,
                            void *target)
{
    struct lp_slice path;
    uint64_t seed = 0;

    if (!value_read_path(r, at, &path))
        return;
    const char *problem = read_seed(path.data, &seed);
    if (problem != NULL)
        read_error(r, at, "cannot read %.*s: %s", LP_SLICE_ARG(path), problem);
    else
        memcpy((char *)target + row->offset, &seed, sizeof(seed));
}

/* ---- lists of names ---- */

void value_read_names(struct reader *r, const struct place *at, const struct schema_row *row,
                      void *target)
{
    uint32_t count, used = 0;
    struct node *node = read_items(r, at, &count);
    struct lp_slice *names = LP_ARENA_ARRAY(r->arena, struct lp_slice, count + 1);

    for (uint32_t i = 0; i < count; i++, node = node->next) {
        struct place item = place_of_item(at, node, i);
        struct lp_slice text;
        if (!read_text(r, &item, &text))
            continue;
        if (text.size == 0 || has_control(text))
            read_error(r, &item, "needs a name");
        else
            names[used++] = lp_arena_slice(r->arena, text);
    }
    read_store_array(row, target, names, used);
}

/* ---- addresses ---- */

static bool is_port(struct lp_slice text)
{
    uint32_t port = 0;

    if (text.size == 0 || text.size > 5)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

static void explain_unix(struct lp_slice text, char *problem)
{
    if (text.size == 5 || text.data[5] != '/')
        snprintf(problem, PROBLEM_BYTES, "needs an absolute path: \"unix:/path\"");
    else
        snprintf(problem, PROBLEM_BYTES, "the path of a Unix socket has at most 107 bytes");
}

/* Bytes before the last colon, when that is one that separates a port. */
static void explain_host_and_port(struct lp_slice host, struct lp_slice port, bool allow_any,
                                  char *problem)
{
    static const char host_bytes[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    struct lp_ip ip;
    bool is_name = host.size > 0;

    for (size_t i = 0; i < host.size; i++)
        is_name = is_name && strchr(host_bytes, host.data[i]) != NULL;
    if (host.size == 0)
        snprintf(problem, PROBLEM_BYTES, "\":%.*s\" has no address; write \"%s:%.*s\"",
                 LP_SLICE_ARG(port), allow_any ? "*" : "127.0.0.1", LP_SLICE_ARG(port));
    else if (host.size == 1 && host.data[0] == '*' && !allow_any)
        snprintf(problem, PROBLEM_BYTES,
                 "a server needs an address of its own; \"*\" is only for bind");
    else if (!is_port(port))
        snprintf(problem, PROBLEM_BYTES, "\"%.*s\" is no port; a port is 1..65535",
                 LP_SLICE_ARG(port));
    else if (lp_ip_parse(&ip, host) && ip.family == 6)
        snprintf(problem, PROBLEM_BYTES, "an IPv6 address stands in brackets: \"[%.*s]:%.*s\"",
                 LP_SLICE_ARG(host), LP_SLICE_ARG(port));
    else if (is_name && strspn(host.data, "0123456789.") < host.size)
        snprintf(problem, PROBLEM_BYTES,
                 "host names are not resolved yet; write the IP address for \"%.*s\", as in "
                 "10.0.0.1:%.*s",
                 LP_SLICE_ARG(host), LP_SLICE_ARG(port));
    else
        snprintf(problem, PROBLEM_BYTES, "\"%.*s\" is not an IP address", LP_SLICE_ARG(host));
}

/* The size of what stands before the last colon; all of it when there is none. */
static size_t size_before_port(struct lp_slice text)
{
    for (size_t size = text.size; size > 0; size--)
        if (text.data[size - 1] == ':')
            return size - 1;
    return text.size;
}

/* Says why an address that did not parse is none. */
static void explain_address(struct lp_slice text, bool allow_any, char *problem)
{
    struct lp_ip ip;

    if (text.size > 200)
        text.size = 200; /* nothing valid is that long; keeps the sentence short */
    struct lp_slice host = {text.data, size_before_port(text)};
    if (starts_with(text, LP_SLICE("unix:"))) {
        explain_unix(text, problem);
    } else if (memmem(text.data, text.size, "://", 3) != NULL) {
        snprintf(problem, PROBLEM_BYTES,
                 "an address has no scheme and no path; write only ADDRESS:PORT");
    } else if (text.size > 0 && text.data[0] == '/') {
        snprintf(problem, PROBLEM_BYTES, "the path of a Unix socket is written \"unix:%.*s\"",
                 LP_SLICE_ARG(text));
    } else if (is_port(text)) {
        snprintf(problem, PROBLEM_BYTES, "has no address; write \"%s:%.*s\"",
                 allow_any ? "*" : "127.0.0.1", LP_SLICE_ARG(text));
    } else if (lp_ip_parse(&ip, text)) {
        if (ip.family == 6) /* "::1:80" may be an address, or one with a port */
            snprintf(problem, PROBLEM_BYTES,
                     "an IPv6 address stands in brackets, its port behind them: \"[::1]:8080\"");
        else
            snprintf(problem, PROBLEM_BYTES, "has no port; write %.*s:8080", LP_SLICE_ARG(text));
    } else if (host.size == text.size || text.data[text.size - 1] == ']') {
        snprintf(problem, PROBLEM_BYTES,
                 "\"%.*s\" is not an address with a port; write 10.0.0.1:8080, \"[v6]:8080\" or "
                 "unix:/path",
                 LP_SLICE_ARG(text));
    } else {
        struct lp_slice port = {host.data + host.size + 1, text.size - host.size - 1};
        explain_host_and_port(host, port, allow_any, problem);
    }
}

static bool read_address(struct reader *r, const struct place *at, bool allow_any,
                         struct lp_addr *out, struct lp_slice *text)
{
    char problem[PROBLEM_BYTES];

    if (!read_text(r, at, text))
        return false;
    bool is_relative =
        starts_with(*text, LP_SLICE("unix:")) && !starts_with(*text, LP_SLICE("unix:/"));
    if (!is_relative && lp_addr_parse(out, *text, allow_any))
        return true;
    explain_address(*text, allow_any, problem);
    read_error(r, at, "%s", problem);
    return false;
}

void value_read_address(struct reader *r, const struct place *at, const struct schema_row *row,
                        void *target)
{
    struct lp_addr address = {0};
    struct lp_slice text;

    if (read_address(r, at, false, &address, &text))
        memcpy((char *)target + row->offset, &address, sizeof(address));
}

void value_read_binds(struct reader *r, const struct place *at, const struct schema_row *row,
                      void *target)
{
    uint32_t count, used = 0;
    struct node *node = read_items(r, at, &count);
    struct lp_cfg_bind *binds = LP_ARENA_ARRAY(r->arena, struct lp_cfg_bind, count + 1);

    if (count == 0 && at->node->kind != NODE_BROKEN)
        read_error(r, at, "needs at least one address, like 0.0.0.0:8080");
    for (uint32_t i = 0; i < count; i++, node = node->next) {
        struct place item = place_of_item(at, node, i);
        struct lp_slice text;
        if (!read_address(r, &item, true, &binds[used].address, &text))
            continue;
        binds[used].text = lp_arena_slice(r->arena, text);
        binds[used].takes_ipv4 = text.data[0] == '*';
        binds[used++].pos = node->pos;
    }
    read_store_array(row, target, binds, used);
}

/* ---- networks ---- */

static void explain_cidr(struct lp_slice text, char *problem)
{
    const char *slash = text.size > 0 ? memchr(text.data, '/', text.size) : NULL;
    struct lp_ip ip;
    struct lp_slice address = {text.data, slash != NULL ? (size_t)(slash - text.data) : text.size};
    struct lp_slice bits = {text.data + address.size, text.size - address.size};
    uint32_t value = 0;
    bool is_number = bits.size >= 2 && bits.size <= 4;

    for (size_t i = 1; is_number && i < bits.size; i++) {
        is_number = bits.data[i] >= '0' && bits.data[i] <= '9';
        value = value * 10 + (uint32_t)(bits.data[i] - '0');
    }
    if (address.size > 64 || !lp_ip_parse(&ip, address))
        snprintf(problem, PROBLEM_BYTES,
                 "\"%.*s\" is not a network; write it like 10.0.0.0/8 or \"2001:db8::/32\"",
                 (int)(text.size > 64 ? 64 : text.size), text.data);
    else if (!is_number || value > (ip.family == 4 ? 32u : 128u))
        snprintf(problem, PROBLEM_BYTES, "the prefix of an IPv%u network is 0..%u", ip.family,
                 ip.family == 4 ? 32u : 128u);
    else
        snprintf(problem, PROBLEM_BYTES,
                 "%.*s has bits set behind its prefix; is the address or the prefix wrong?",
                 LP_SLICE_ARG(text));
}

void value_read_cidrs(struct reader *r, const struct place *at, const struct schema_row *row,
                      void *target)
{
    uint32_t count, used = 0;
    struct node *node = read_items(r, at, &count);
    struct lp_cidr *cidrs = LP_ARENA_ARRAY(r->arena, struct lp_cidr, count + 1);

    for (uint32_t i = 0; i < count; i++, node = node->next) {
        struct place item = place_of_item(at, node, i);
        char problem[PROBLEM_BYTES];
        struct lp_slice text;
        if (!read_text(r, &item, &text))
            continue;
        if (lp_cidr_parse(&cidrs[used], text)) {
            used++;
            continue;
        }
        explain_cidr(text, problem);
        read_error(r, &item, "%s", problem);
    }
    read_store_array(row, target, cidrs, used);
}

/* ---- hash keys ---- */

static const struct source_word {
    const char *word;
    enum lp_key_source source;
    bool has_name;
} source_words[] = {
    {"client_ip", LP_KEY_CLIENT_IP, false}, {"cookie", LP_KEY_COOKIE, true},
    {"header", LP_KEY_HEADER, true},        {"query", LP_KEY_QUERY, true},
    {"path", LP_KEY_PATH, false},           {"sni", LP_KEY_SNI, false},
};

#define SOURCES_TEXT "client_ip, cookie:NAME, header:NAME, query:NAME, path, sni"

static const struct source_word *nearest_source(struct lp_slice word)
{
    const struct source_word *nearest = NULL;
    uint32_t least = UINT32_MAX;

    for (uint32_t i = 0; i < LP_COUNT_OF(source_words); i++) {
        struct lp_slice ours = lp_slice_of(source_words[i].word);
        uint32_t distance = words_distance(word, ours);
        if (words_are_near(word, ours) && distance < least) {
            least = distance;
            nearest = &source_words[i];
        }
    }
    return nearest;
}

static void refuse_source(struct reader *r, const struct place *at, struct lp_slice text,
                          struct lp_slice word)
{
    const char *ours = words_for_value("key", word);
    const struct source_word *nearest = nearest_source(word);

    text.size = text.size > 64 ? 64 : text.size;
    if (ours != NULL)
        read_error(r, at, "\"%.*s\" is none of %s; limpet says \"%s\"", LP_SLICE_ARG(text),
                   SOURCES_TEXT, ours);
    else if (nearest != NULL)
        read_error(r, at, "\"%.*s\" is none of %s; did you mean \"%s%s\"?", LP_SLICE_ARG(text),
                   SOURCES_TEXT, nearest->word, nearest->has_name ? ":NAME" : "");
    else
        read_error(r, at, "\"%.*s\" is none of %s", LP_SLICE_ARG(text), SOURCES_TEXT);
}

/* RFC 9110, 5.6.2: names of headers and of cookies are tokens. */
bool value_is_token(struct lp_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] <= 0x20 || (unsigned char)text.data[i] >= 0x7f ||
            strchr("\"(),/:;<=>?@[\\]{}", text.data[i]) != NULL)
            return false;
    return text.size > 0;
}

static bool read_key_source(struct reader *r, const struct place *at, struct lp_cfg_key *out)
{
    struct lp_slice text;

    if (!read_text(r, at, &text))
        return false;
    const char *colon = text.size > 0 ? memchr(text.data, ':', text.size) : NULL;
    struct lp_slice word = {text.data, colon != NULL ? (size_t)(colon - text.data) : text.size};
    struct lp_slice name = {text.data + word.size, text.size - word.size};
    if (name.size > 0)
        name = (struct lp_slice){name.data + 1, name.size - 1};

    for (uint32_t i = 0; i < LP_COUNT_OF(source_words); i++) {
        const struct source_word *ours = &source_words[i];
        if (!lp_slice_equal(word, lp_slice_of(ours->word)))
            continue;
        bool is_good = ours->source == LP_KEY_QUERY ? name.size > 0 && !has_control(name)
                       : ours->has_name             ? value_is_token(name)
                                                    : colon == NULL;
        if (is_good)
            *out = (struct lp_cfg_key){ours->source, lp_arena_slice(r->arena, name)};
        else if (!ours->has_name)
            read_error(r, at, "\"%s\" takes no name", ours->word);
        else if (name.size == 0)
            read_error(r, at, "needs a name: \"%s:NAME\"", ours->word);
        else
            read_error(r, at, "not a possible name of a %s", ours->word);
        return is_good;
    }
    refuse_source(r, at, text, word);
    return false;
}

static bool is_same_key(const struct lp_cfg_key *a, const struct lp_cfg_key *b)
{
    if (a->source != b->source)
        return false;
    return a->source == LP_KEY_HEADER ? lp_slice_equal_nocase(a->name, b->name)
                                      : lp_slice_equal(a->name, b->name);
}

void value_read_key_sources(struct reader *r, const struct place *at, const struct schema_row *row,
                            void *target)
{
    uint32_t count, used = 0;
    struct node *node = read_items(r, at, &count);
    struct lp_cfg_key *keys = LP_ARENA_ARRAY(r->arena, struct lp_cfg_key, KEY_SOURCES_MAX);

    if (count == 0 && at->node->kind != NODE_BROKEN)
        read_error(r, at, "needs at least one of %s", SOURCES_TEXT);
    if (count > KEY_SOURCES_MAX) {
        read_error(r, at, "has %u sources; at most %u", count, KEY_SOURCES_MAX);
        return;
    }
    for (uint32_t i = 0; i < count; i++, node = node->next) {
        struct place item = place_of_item(at, node, i);
        if (!read_key_source(r, &item, &keys[used]))
            continue;
        bool is_twice = false;
        for (uint32_t j = 0; j < used; j++)
            is_twice = is_twice || is_same_key(&keys[j], &keys[used]);
        if (is_twice)
            read_error(r, &item, "stands in this list twice");
        else
            used++;
    }
    if (used > 0)
        read_store_array(row, target, keys, used);
}

/* ---- servers ---- */

void value_read_server_id(struct reader *r, const struct place *at, const struct schema_row *row,
                          void *target)
{
    struct lp_slice text;

    if (!read_text(r, at, &text))
        return;
    if (text.size == 0 || text.size > LP_SERVER_ID_MAX || has_control(text)) {
        read_error(r, at, "an id has 1 to %u bytes and no control characters", LP_SERVER_ID_MAX);
        return;
    }
    *(struct lp_slice *)((char *)target + row->offset) = lp_arena_slice(r->arena, text);
}
