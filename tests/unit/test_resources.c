/* test_resources.c - slots and memory by control groups, over folders that look like /proc and /sys. */
#include "executor/resources.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

static void put(const char *path, const char *text)
{
    char whole[512];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(whole, 0700);
    }
    FILE *f = fopen(whole, "w");
    cr_assert(f, "%s", whole);
    fputs(text, f);
    fclose(f);
}

static void begin(void)
{
    snprintf(root, sizeof root, "/tmp/ferro-test-resources-XXXXXX");
    cr_assert(mkdtemp(root));
    put("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void end(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(resources, .init = begin, .fini = end);

static struct resources found(void)
{
    struct resources r;
    resources_find(root, &r);
    return r;
}

Test(resources, without_groups_are_the_machines)
{
    struct resources r = found();
    cr_assert_eq(r.memory, 8ull << 30);
    cr_assert_geq(r.slots, 1);
}

Test(resources, version_2_in_a_container)
{
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    put("/sys/fs/cgroup/memory.max", "1073741824\n");
    struct resources r = found();
    cr_assert_eq(r.slots, 1, "half a core is one slot");
    cr_assert_eq(r.memory, 1ull << 30);
}

Test(resources, version_2_without_a_limit)
{
    put("/proc/self/cgroup", "0::/user.slice\n");
    put("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user.slice/memory.max", "max\n");
    cr_assert_eq(found().memory, 8ull << 30);
}

Test(resources, a_groups_parent_limits_it_too)
{
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "536870912\n");
    cr_assert_eq(found().memory, 512ull << 20);
}

Test(resources, version_1_whose_path_a_container_does_not_see)
{
    put("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n1:name=systemd:/docker/abc\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    struct resources r = found();
    cr_assert_eq(r.slots, 1);
    cr_assert_eq(r.memory, 256ull << 20);
}

Test(resources, version_1_without_a_limit)
{
    put("/proc/self/cgroup", "4:cpu:/\n3:memory:/\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    cr_assert_eq(found().memory, 8ull << 30);
}
