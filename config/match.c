/* What a route matches: names of hosts and paths, brought into the one form that requests are
 * compared in (lower case without port and trailing dot; normalised paths). A path that could never
 * match because it is not in normal form is refused with the form that does. */
#include "config/reader.h"

#include <stdio.h>
#include <string.h>

#define HOST_BYTES_MAX 253u
#define PATH_BYTES_MAX 4096u

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* ---- hosts ---- */

const char *value_problem_of_name(struct lp_slice name)
{
    if (name.size > HOST_BYTES_MAX)
        return "a host name has at most 253 bytes";
    if (memchr(name.data, '*', name.size) != NULL)
        return "a star stands only for whole labels at the start: \"*.example.com\"";
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if ((unsigned char)c >= 0x80)
            return "write an international name in its ASCII form (xn--...)";
        if (!is_letter_or_digit(c) && c != '-' && c != '_' && c != '.')
            return "a host name has letters, digits, hyphens and dots";
        if (c == '.' && (i == 0 || name.data[i - 1] == '.'))
            return "a host name has no empty label";
    }
    return NULL;
}

/* Gives the sentence, or NULL when the host is one. */
static const char *problem_of_host(struct lp_slice host, bool is_suffix)
{
    struct lp_ip ip;

    if (host.size == 0)
        return "needs a host name, like chat.example.com; without \"host\" a route takes any";
    if (memchr(host.data, '/', host.size) != NULL)
        return "only the name of the host, without scheme and path";
    if (!is_suffix && host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']')
        return lp_ip_parse(&ip, (struct lp_slice){host.data + 1, host.size - 2})
                   ? NULL
                   : "not an IPv6 address in brackets";
    if (memchr(host.data, ':', host.size) != NULL)
        return "the port is not compared; write only the name (an IPv6 address in brackets)";
    return value_problem_of_name(host);
}

/* RFC 6066, 3: a host name without a trailing dot; addresses are not permitted. */
static const char *problem_of_sni(struct lp_slice name, bool is_suffix)
{
    struct lp_ip ip;

    if (name.size == 0)
        return "needs a host name, like db.example.com; without \"sni\" a route takes any";
    if (memchr(name.data, '/', name.size) != NULL)
        return "only the name of the host, without scheme and path";
    if (name.data[0] == '[' || (!is_suffix && lp_ip_parse(&ip, name)))
        return "clients never ask for an IP address by SNI";
    if (memchr(name.data, ':', name.size) != NULL)
        return "only the name of the host, without its port";
    return value_problem_of_name(name);
}

struct lp_slice value_lower(struct reader *r, struct lp_slice text)
{
    char *lower = lp_arena_copy(r->arena, text);

    for (size_t i = 0; i < text.size; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z')
            lower[i] = (char)(lower[i] + 32);
    return (struct lp_slice){lower, text.size};
}

/* "*.example.com" or "example.com". False after an error. */
static bool read_name(struct reader *r, const struct place *at,
                      const char *(*problem_of)(struct lp_slice name, bool is_suffix),
                      struct lp_slice *name, bool *is_suffix)
{
    struct lp_slice text;

    if (!read_text(r, at, &text))
        return false;
    if (lp_slice_equal(text, LP_SLICE("*"))) {
        read_error(r, at, "leave \"%.*s\" out to match every host", LP_SLICE_ARG(at->key));
        return false;
    }
    *is_suffix = text.size > 2 && text.data[0] == '*' && text.data[1] == '.';
    if (*is_suffix)
        text = (struct lp_slice){text.data + 2, text.size - 2};
    if (text.size > 1 && text.data[text.size - 1] == '.')
        text.size--;
    const char *problem = problem_of(text, *is_suffix);
    if (problem != NULL)
        read_error(r, at, "%s", problem);
    else
        *name = value_lower(r, text);
    return problem == NULL;
}

void value_read_host(struct reader *r, const struct place *at, const struct schema_row *row,
                     void *target)
{
    struct lp_cfg_route *route = target;
    struct lp_slice host;
    bool is_suffix;

    (void)row;
    if (!read_name(r, at, problem_of_host, &host, &is_suffix))
        return;
    route->host = host;
    route->host_is_suffix = is_suffix;
}

void value_read_sni(struct reader *r, const struct place *at, const struct schema_row *row,
                    void *target)
{
    struct lp_cfg_route *route = target;
    struct lp_slice sni;
    bool is_suffix;

    (void)row;
    if (!read_name(r, at, problem_of_sni, &sni, &is_suffix))
        return;
    route->sni = sni;
    route->sni_is_suffix = is_suffix;
}

/* ---- paths ---- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* RFC 3986, 2.1 and 2.3: escapes are upper case, and unreserved characters are never escaped in a
 * normalised path. Writes a sentence when this one is not like that. */
static bool is_normal_escape(struct lp_slice path, size_t at, char *problem, size_t problem_size)
{
    int high = at + 2 < path.size ? hex_value(path.data[at + 1]) : -1;
    int low = at + 2 < path.size ? hex_value(path.data[at + 2]) : -1;

    if (high < 0 || low < 0) {
        snprintf(problem, problem_size, "\"%%\" begins an escape of two hex digits, like %%2F");
        return false;
    }
    char c = (char)(high * 16 + low);
    if (c == '\0') {
        snprintf(problem, problem_size, "no request with %%00 in its path is ever passed on");
        return false;
    }
    if (is_letter_or_digit(c) || (c != '\0' && strchr("-._~", c) != NULL)) {
        snprintf(problem, problem_size,
                 "paths are compared in normal form: write \"%c\" instead of \"%.3s\"", c,
                 path.data + at);
        return false;
    }
    if ((path.data[at + 1] >= 'a' && path.data[at + 1] <= 'f') ||
        (path.data[at + 2] >= 'a' && path.data[at + 2] <= 'f')) {
        snprintf(problem, problem_size,
                 "paths are compared in normal form: write \"%%%02X\" instead of \"%.3s\"",
                 (unsigned)(unsigned char)c, path.data + at);
        return false;
    }
    return true;
}

/* Is the segment that ends before `end` "." or ".."? */
static bool ends_in_dot_segment(struct lp_slice path, size_t end)
{
    size_t begin = end;

    while (begin > 0 && path.data[begin - 1] != '/')
        begin--;
    return (end - begin == 1 && path.data[begin] == '.') ||
           (end - begin == 2 && path.data[begin] == '.' && path.data[begin + 1] == '.');
}

/* False with a sentence in problem. */
static bool is_normal_path(struct lp_slice path, char *problem, size_t problem_size)
{
    const char *sentence = NULL;

    if (path.size == 0 || path.data[0] != '/')
        sentence = "a path begins with \"/\"";
    else if (path.size > PATH_BYTES_MAX)
        sentence = "a path has at most 4096 bytes";
    for (size_t i = 0; sentence == NULL && i < path.size; i++) {
        unsigned char c = (unsigned char)path.data[i];
        bool ends_segment = i + 1 == path.size || path.data[i + 1] == '/';
        if (c == '?' || c == '#')
            sentence = "only the path is compared; leave the query out";
        else if (c <= 0x20 || c >= 0x7f)
            sentence = "spaces, control and non-ASCII characters arrive percent-encoded; write "
                       "them like %20";
        else if (c == '/' && i > 0 && path.data[i - 1] == '/')
            sentence = "slashes are merged before a path is compared; write one";
        else if (c != '/' && ends_segment && ends_in_dot_segment(path, i + 1))
            sentence = "\".\" and \"..\" are resolved before a path is compared; write the path "
                       "without them";
        else if (c == '%' && !is_normal_escape(path, i, problem, problem_size))
            return false;
    }
    if (sentence != NULL)
        snprintf(problem, problem_size, "%s", sentence);
    return sentence == NULL;
}

static bool read_normal_path(struct reader *r, const struct place *at, struct lp_slice *out)
{
    char problem[256];

    if (!read_text(r, at, out))
        return false;
    if (is_normal_path(*out, problem, sizeof(problem)))
        return true;
    read_error(r, at, "%s", problem);
    return false;
}

/* "/ws/" and "/ws" are the same prefix, and "/" is every path. */
void value_read_path_prefix(struct reader *r, const struct place *at, const struct schema_row *row,
                            void *target)
{
    struct lp_cfg_route *route = target;
    struct lp_slice path;

    (void)row;
    if (!read_normal_path(r, at, &path))
        return;
    if (path.size >= 2 && memcmp(path.data + path.size - 2, "/*", 2) == 0) {
        read_error(r, at, "\"path\" is a prefix and needs no star; write \"%.*s\"",
                   path.size > 2 ? (int)path.size - 2 : 1, path.data);
        return;
    }
    while (path.size > 0 && path.data[path.size - 1] == '/')
        path.size--;
    route->path = lp_arena_slice(r->arena, path);
    route->path_is_exact = false;
}

void value_read_path_exact(struct reader *r, const struct place *at, const struct schema_row *row,
                           void *target)
{
    struct lp_cfg_route *route = target;
    struct lp_slice path;

    (void)row;
    if (!read_normal_path(r, at, &path))
        return;
    route->path = lp_arena_slice(r->arena, path);
    route->path_is_exact = true;
}
