/* See cgroup.h. Two files say where the limits are: mountinfo lists which hierarchies are mounted
 * where, and from which of their groups on; cgroup lists in which group of each we are. Start at
 * cgroup_read(). */
#include "lb/ops/cgroup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 8192u /* other mounts may have longer lines; their rest is passed over */

/* --- files of one line --- */

/* Digits at the beginning, at most UINT64_MAX. False for what is no number: "max", "-1". */
static bool read_number(const char **text, uint64_t *out)
{
    const char *at = *text + strspn(*text, " ");
    uint64_t value = 0;

    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *text = at;
    *out = value;
    return true;
}

static bool read_file(const char *folder, const char *name, char out[LINE_BYTES])
{
    char path[PATH_MAX];

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
        return false;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool ok = fgets(out, LINE_BYTES, file) != NULL;
    fclose(file);
    return ok;
}

static void lower(uint64_t *limit, uint64_t value)
{
    if (value < *limit)
        *limit = value;
}

static void lower_memory(struct cgroup_limits *limits, const char *folder, const char *name)
{
    char line[LINE_BYTES];
    const char *text = line;
    uint64_t bytes;

    if (read_file(folder, name, line) && read_number(&text, &bytes))
        lower(&limits->memory_bytes, bytes);
}

/* Half a CPU is one: fewer there cannot be, and more would only take turns. */
static void lower_cpus(struct cgroup_limits *limits, uint64_t quota, uint64_t period)
{
    if (quota > 0 && period > 0)
        lower(&limits->cpus, (quota - 1) / period + 1);
}

/* --- one group --- */

typedef void (*read_group_fn)(struct cgroup_limits *limits, const char *folder);

static void read_memory_1(struct cgroup_limits *limits, const char *folder)
{
    lower_memory(limits, folder, "memory.limit_in_bytes");
}

static void read_cpu_1(struct cgroup_limits *limits, const char *folder)
{
    char quota_line[LINE_BYTES], period_line[LINE_BYTES];
    const char *quota_text = quota_line, *period_text = period_line;
    uint64_t quota, period;

    if (read_file(folder, "cpu.cfs_quota_us", quota_line) && read_number(&quota_text, &quota) &&
        read_file(folder, "cpu.cfs_period_us", period_line) && read_number(&period_text, &period))
        lower_cpus(limits, quota, period);
}

/* Above memory.high a group is not killed, but slowed down until nothing moves. */
static void read_group_2(struct cgroup_limits *limits, const char *folder)
{
    char line[LINE_BYTES];
    const char *text = line;
    uint64_t quota, period;

    lower_memory(limits, folder, "memory.max");
    lower_memory(limits, folder, "memory.high");
    if (read_file(folder, "cpu.max", line) && read_number(&text, &quota) &&
        read_number(&text, &period))
        lower_cpus(limits, quota, period);
}

/* --- one hierarchy: our group and its parents, as far as they are mounted --- */

struct mount {
    char *root, *point, *type, *options;
};

/* Is the word among those with commas between them? */
static bool has_word(const char *words, const char *word)
{
    size_t size = strlen(word);

    for (; *words != '\0'; words += *words == ',') {
        size_t length = strcspn(words, ",");
        if (length == size && memcmp(words, word, size) == 0)
            return true;
        words += length;
    }
    return false;
}

/* Our group in the hierarchy of that controller; "" is version 2. A line is "4:cpu,cpuacct:/path".
 */
static bool find_group(const char *root, const char *controller, char out[LINE_BYTES])
{
    char path[PATH_MAX];
    bool is_found = false;

    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (!is_found && fgets(out, LINE_BYTES, file) != NULL) {
        out[strcspn(out, "\n")] = '\0';
        char *words = strchr(out, ':'), *group = words == NULL ? NULL : strchr(words + 1, ':');
        if (group == NULL)
            continue;
        *group++ = '\0';
        words++;
        is_found = *controller == '\0' ? *words == '\0' : has_word(words, controller);
        if (is_found)
            memmove(out, group, strlen(group) + 1);
    }
    fclose(file);
    return is_found;
}

/* What is left of the group's path behind the mount's root, or NULL when the mount does not show
 * it. A root of "/.." is a parent of a namespace's, and shows at least itself. */
static const char *path_below(const char *group, const char *root)
{
    size_t size = strlen(root);

    if (strcmp(root, "/") == 0)
        size = 0;
    if (strncmp(group, root, size) == 0 && (group[size] == '/' || group[size] == '\0'))
        group += size;
    else if (strncmp(root, "/..", 3) == 0 && strspn(root, "/.") == size)
        group = "";
    else
        return NULL;
    return strstr(group, "/..") == NULL ? group : NULL;
}

static void read_hierarchy(struct cgroup_limits *limits, const char *root,
                           const struct mount *mount, const char *controller, read_group_fn read)
{
    char group[LINE_BYTES], folder[PATH_MAX];
    const char *below;

    if (!find_group(root, controller, group) || (below = path_below(group, mount->root)) == NULL ||
        (size_t)snprintf(folder, sizeof(folder), "%s%s%s", root, mount->point, below) >=
            sizeof(folder))
        return;
    char *top = folder + strlen(root) + strlen(mount->point);
    for (;;) {
        read(limits, folder);
        char *last = strrchr(top, '/');
        if (last == NULL)
            return;
        *last = '\0';
    }
}

/* --- what is mounted --- */

/* Spaces and the like are written as "\040". */
static void unescape(char *text)
{
    char *out = text;

    for (; *text != '\0'; text++) {
        if (text[0] == '\\' && strspn(text + 1, "01234567") >= 3) {
            *out++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
            text += 3;
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
}

/* "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS" */
static bool parse_mount(char *line, struct mount *out)
{
    char *fields[5], *rest = line, *behind = strstr(line, " - ");

    if (behind == NULL)
        return false;
    *behind = '\0';
    for (size_t i = 0; i < LP_COUNT_OF(fields); i++)
        if ((fields[i] = strsep(&rest, " ")) == NULL)
            return false;
    rest = behind + 3;
    *out = (struct mount){.root = fields[3], .point = fields[4], .type = strsep(&rest, " ")};
    (void)strsep(&rest, " ");
    out->options = strsep(&rest, " \n");
    unescape(out->root);
    unescape(out->point);
    return out->options != NULL;
}

static void read_mount(struct cgroup_limits *limits, const char *root, const struct mount *mount)
{
    if (strcmp(mount->type, "cgroup2") == 0) {
        read_hierarchy(limits, root, mount, "", read_group_2);
    } else if (strcmp(mount->type, "cgroup") == 0) {
        if (has_word(mount->options, "memory"))
            read_hierarchy(limits, root, mount, "memory", read_memory_1);
        if (has_word(mount->options, "cpu"))
            read_hierarchy(limits, root, mount, "cpu", read_cpu_1);
    }
}

void cgroup_read(struct cgroup_limits *out, const char *root)
{
    char path[PATH_MAX], line[LINE_BYTES];
    bool is_begin = true;
    struct mount mount;

    *out = (struct cgroup_limits){UINT64_MAX, UINT64_MAX};
    snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        bool was_begin = is_begin;
        is_begin = strchr(line, '\n') != NULL;
        if (was_begin && parse_mount(line, &mount))
            read_mount(out, root, &mount);
    }
    fclose(file);
}
