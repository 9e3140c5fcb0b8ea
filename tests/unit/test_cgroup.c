/* Limits of control groups, read from made-up trees: both versions, namespaces, containers, and
 * files that say nothing sensible. */
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lb/ops/cgroup.h"

#define NONE UINT64_MAX
#define MIB  (1ull << 20)

/* The usual mounts, one hierarchy each. */
#define MOUNT_2   "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_MEM "35 31 0:32 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n"
#define MOUNT_CPU "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define NO_LIMIT  "9223372036854771712\n" /* what version 1 says when there is none */

static char root[] = "/tmp/limpet-cgroup-XXXXXX";

static void write_file(const char *path, const char *text)
{
    char whole[PATH_MAX];

    snprintf(whole, sizeof(whole), "%s%s", root, path);
    for (char *slash = whole + sizeof(root); (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(whole, 0755);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status, (void)flag;
    return walk->level == 0 ? 0 : remove(path);
}

static int empty_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void we_are_in(const char *groups, const char *mounts)
{
    write_file("/proc/self/cgroup", groups);
    write_file("/proc/self/mountinfo", mounts);
}

static void assert_limits(uint64_t memory_bytes, uint64_t cpus)
{
    struct cgroup_limits limits;

    cgroup_read(&limits, root);
    assert_int_equal(limits.memory_bytes, memory_bytes);
    assert_int_equal(limits.cpus, cpus);
}

static void without_groups_nothing_is_limited(void **state)
{
    (void)state;
    assert_limits(NONE, NONE);
    we_are_in("", "");
    assert_limits(NONE, NONE);
    we_are_in("0::/\n", MOUNT_2); /* the mount point has no files */
    assert_limits(NONE, NONE);
}

static void version_2_limits_a_group_and_its_parents(void **state)
{
    (void)state;
    we_are_in("0::/system.slice/limpet.service\n", MOUNT_2);
    write_file("/sys/fs/cgroup/system.slice/limpet.service/memory.max", "23068672\n");
    write_file("/sys/fs/cgroup/system.slice/limpet.service/cpu.max", "max 100000\n");
    assert_limits(22 * MIB, NONE);
    write_file("/sys/fs/cgroup/system.slice/cpu.max", "50000 100000\n");
    assert_limits(22 * MIB, 1);
    write_file("/sys/fs/cgroup/system.slice/memory.max", "max\n");
    write_file("/sys/fs/cgroup/system.slice/memory.high", "16777216\n");
    assert_limits(16 * MIB, 1);
    write_file("/sys/fs/cgroup/system.slice/limpet.service/memory.high", "max\n");
    assert_limits(16 * MIB, 1);
}

static void version_1_limits_a_group_and_its_parents(void **state)
{
    (void)state;
    we_are_in("5:cpu,cpuacct:/slice/inner\n4:memory:/box/limpet\n1:name=systemd:/x\n",
              MOUNT_MEM MOUNT_CPU);
    write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT);
    write_file("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "23068672\n");
    write_file("/sys/fs/cgroup/memory/box/limpet/memory.limit_in_bytes", NO_LIMIT);
    write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_limits(22 * MIB, NONE);
    write_file("/sys/fs/cgroup/cpu,cpuacct/slice/cpu.cfs_quota_us", "250000\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/slice/cpu.cfs_period_us", "100000\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/slice/inner/cpu.cfs_quota_us", "-1\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/slice/inner/cpu.cfs_period_us", "100000\n");
    assert_limits(22 * MIB, 3);
    write_file("/sys/fs/cgroup/cpu,cpuacct/slice/inner/cpu.cfs_quota_us", "200000\n");
    assert_limits(22 * MIB, 2);
}

static void both_versions_count_beside_each_other(void **state)
{
    (void)state;
    we_are_in("4:memory:/a\n0::/b\n",
              MOUNT_MEM "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    write_file("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "8388608\n");
    write_file("/sys/fs/cgroup/unified/b/cpu.max", "150000 100000\n");
    assert_limits(8 * MIB, 2);
}

static void in_a_namespace_the_own_group_is_the_mount_point(void **state)
{
    (void)state;
    we_are_in("0::/\n", MOUNT_2);
    write_file("/sys/fs/cgroup/memory.max", "23068672\n");
    write_file("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_limits(22 * MIB, 1);
    we_are_in("4:memory:/\n", MOUNT_MEM);
    write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "8388608\n");
    assert_limits(8 * MIB, NONE);
}

/* A container without a namespace of its own: the host's path, and only that part is mounted. */
static void a_mount_may_show_only_a_part_of_the_hierarchy(void **state)
{
    (void)state;
    we_are_in("4:memory:/docker/1a2b/inner\n",
              "35 31 0:32 /docker/1a2b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "23068672\n");
    assert_limits(22 * MIB, NONE);
    write_file("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "8388608\n");
    assert_limits(8 * MIB, NONE);
    /* Another's group, whose name only begins as ours does, is none of our business. */
    we_are_in("4:memory:/docker/1a2b3c\n",
              "35 31 0:32 /docker/1a2b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    assert_limits(NONE, NONE);
}

/* A namespace whose mounts are from outside: what is mounted is a parent of ours. */
static void a_mount_from_outside_the_namespace_is_a_parent(void **state)
{
    (void)state;
    we_are_in("4:memory:/\n",
              "35 31 0:32 /../.. /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "23068672\n");
    assert_limits(22 * MIB, NONE);
}

static void a_path_never_leaves_the_mount(void **state)
{
    (void)state;
    we_are_in("0::/../other\n", MOUNT_2);
    write_file("/sys/fs/other/memory.max", "4096\n");
    write_file("/sys/fs/cgroup/memory.max", "8192\n");
    assert_limits(NONE, NONE);
}

static void a_mount_point_may_have_spaces(void **state)
{
    (void)state;
    we_are_in("0::/a b\n", "30 23 0:26 / /my\\040groups\\134x rw - cgroup2 none rw\n"
                           "31 23 0:27 / / rw - ext4 /dev/sda1 rw\n");
    write_file("/my groups\\x/a b/memory.max", "23068672\n");
    assert_limits(22 * MIB, NONE);
}

static void what_says_nothing_sensible_is_no_limit(void **state)
{
    (void)state;
    static const char *const words[] = {"",     "\n", "max\n", "-1\n", "-23068672\n", "all of it\n",
                                        "+5 5", NULL};

    we_are_in("0::/\n4:memory:/\n5:cpu:/\nno colons\n:\n::\n", MOUNT_2 MOUNT_MEM
              "\n - \n1 2 3 - cgroup2\n1 2 3:4 / /x rw - cgroup\n1 2 3:4 / /x rw - cgroup x\n");
    for (size_t i = 0; words[i] != NULL; i++) {
        write_file("/sys/fs/cgroup/memory.max", words[i]);
        write_file("/sys/fs/cgroup/cpu.max", words[i]);
        write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", words[i]);
        assert_limits(NONE, NONE);
    }
    static const char *const quotas[] = {"0 100000\n", "100000 0\n", "100000\n", "5 max\n", NULL};
    for (size_t i = 0; quotas[i] != NULL; i++) {
        write_file("/sys/fs/cgroup/cpu.max", quotas[i]);
        assert_limits(NONE, NONE);
    }
    write_file("/sys/fs/cgroup/cpu.max", "99999999999999999999999999 1\n");
    write_file("/sys/fs/cgroup/memory.max", "99999999999999999999999999\n");
    assert_limits(NONE, NONE);
    write_file("/sys/fs/cgroup/cpu.max", "1 99999999999999999999999999\n");
    assert_limits(NONE, 1);
}

static void lines_of_any_length_are_read_over(void **state)
{
    (void)state;
    static char mounts[65536];
    size_t size = (size_t)snprintf(mounts, sizeof(mounts), "29 23 0:25 / / rw - overlay o rw,");

    memset(mounts + size, 'x', 40000);
    snprintf(mounts + size + 40000, sizeof(mounts) - size - 40000, "\n%s", MOUNT_2);
    we_are_in("0::/\n", mounts);
    write_file("/sys/fs/cgroup/memory.max", "23068672\n");
    assert_limits(22 * MIB, NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(without_groups_nothing_is_limited, empty_root),
        cmocka_unit_test_teardown(version_2_limits_a_group_and_its_parents, empty_root),
        cmocka_unit_test_teardown(version_1_limits_a_group_and_its_parents, empty_root),
        cmocka_unit_test_teardown(both_versions_count_beside_each_other, empty_root),
        cmocka_unit_test_teardown(in_a_namespace_the_own_group_is_the_mount_point, empty_root),
        cmocka_unit_test_teardown(a_mount_may_show_only_a_part_of_the_hierarchy, empty_root),
        cmocka_unit_test_teardown(a_mount_from_outside_the_namespace_is_a_parent, empty_root),
        cmocka_unit_test_teardown(a_path_never_leaves_the_mount, empty_root),
        cmocka_unit_test_teardown(a_mount_point_may_have_spaces, empty_root),
        cmocka_unit_test_teardown(what_says_nothing_sensible_is_no_limit, empty_root),
        cmocka_unit_test_teardown(lines_of_any_length_are_read_over, empty_root),
    };

    if (mkdtemp(root) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(root);
    return failed;
}
