/* resources.c - see resources.h.
 *
 * A container sees the machine's /proc/meminfo and only its control group tells
 * what it may have; which version's files exist depends on the host.  Each group
 * limits all below it, so the least on the way up to the root counts.
 */
#include "executor/resources.h"

#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The first line of a small file, without its newline.  false: it isn't there. */
static bool read_line(char *line, int size, const char *root, const char *path, const char *name)
{
    char whole[PATH_MAX];
    snprintf(whole, sizeof whole, "%.1000s%.2000s/%.200s", root, path, name);
    FILE *f = fopen(whole, "re");
    bool ok = f && fgets(line, size, f);
    if (f)
        fclose(f);
    if (ok)
        line[strcspn(line, "\n")] = 0;
    return ok;
}

static void lower(uint64_t *limit, uint64_t value)
{
    if (value && value < *limit)
        *limit = value;
}

/* Cores as they are: half a core is one slot. */
static void lower_cpu(struct resources *out, int64_t quota, int64_t period)
{
    if (quota > 0 && period > 0)
        lower(&out->slots, (uint64_t)((quota + period - 1) / period));
}

static void read_group_2(const char *root, const char *group, struct resources *out)
{
    char line[128];
    uint64_t bytes;
    int64_t quota, period;
    if (read_line(line, sizeof line, root, group, "cpu.max") &&
        sscanf(line, "%" SCNd64 " %" SCNd64, &quota, &period) == 2)
        lower_cpu(out, quota, period);
    if (read_line(line, sizeof line, root, group, "memory.max") && sscanf(line, "%" SCNu64, &bytes) == 1)
        lower(&out->memory, bytes);
}

static void read_group_1(const char *root, const char *group, struct resources *out)
{
    char line[128], other[128];
    uint64_t bytes;
    int64_t quota, period;
    if (read_line(line, sizeof line, root, group, "cpu.cfs_quota_us") &&
        read_line(other, sizeof other, root, group, "cpu.cfs_period_us") &&
        sscanf(line, "%" SCNd64, &quota) == 1 && sscanf(other, "%" SCNd64, &period) == 1)
        lower_cpu(out, quota, period);
    if (read_line(line, sizeof line, root, group, "memory.limit_in_bytes") &&
        sscanf(line, "%" SCNu64, &bytes) == 1)
        lower(&out->memory, bytes);
}

/* From the group up to the root of its hierarchy, whose files a container sees as its own. */
static void walk_up(const char *root, const char *mount, const char *group, bool two, struct resources *out)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.200s%.3000s", mount, strcmp(group, "/") ? group : "");
    for (;;) {
        if (two)
            read_group_2(root, path, out);
        else
            read_group_1(root, path, out);
        char *slash = strrchr(path, '/');
        if (strlen(path) <= strlen(mount) || !slash)
            return;
        *slash = 0;
    }
}

/* A line is "4:cpu,cpuacct:/path" in version 1, "0::/path" in version 2. */
static void read_membership(const char *root, char *line, struct resources *out)
{
    char mount[256], *save = NULL;
    char *kinds = strchr(line, ':'), *group = kinds ? strchr(kinds + 1, ':') : NULL;
    if (!group)
        return;
    *kinds++ = 0;
    *group++ = 0;
    group[strcspn(group, "\n")] = 0;
    if (*kinds == 0)
        walk_up(root, "/sys/fs/cgroup", group, true, out);
    for (char *kind = strtok_r(kinds, ",", &save); kind; kind = strtok_r(NULL, ",", &save)) {
        if (strcmp(kind, "cpu") && strcmp(kind, "memory"))
            continue;
        snprintf(mount, sizeof mount, "/sys/fs/cgroup/%s", kind);
        walk_up(root, mount, group, false, out);
    }
}

static uint64_t memory_total(const char *root)
{
    char line[128];
    uint64_t kib = 0;
    if (read_line(line, sizeof line, root, "/proc", "meminfo"))
        sscanf(line, "MemTotal: %" SCNu64, &kib);
    return kib ? kib << 10 : 1ull << 30;
}

void resources_find(const char *root, struct resources *out)
{
    char path[PATH_MAX], line[PATH_MAX];
    cpu_set_t cpus;
    out->slots = sched_getaffinity(0, sizeof cpus, &cpus) ? 1 : (uint64_t)CPU_COUNT(&cpus);
    out->memory = memory_total(root);
    snprintf(path, sizeof path, "%.1000s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        read_membership(root, line, out);
    if (f)
        fclose(f);
}
