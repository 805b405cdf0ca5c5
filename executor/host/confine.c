/* confine.c - see confine.h.  Landlock by raw system calls: its structs grew with
 * the kernel, so each is passed in the size that this kernel's ABI knows.
 */
#include "executor/host/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HOST_NOFILE_MAX 4096

/* What Landlock's later ABIs added; Debian 12's header ends at 2. */
#define FS_TRUNCATE (1ull << 14)  /* 3 */
#define FS_IOCTL_DEV (1ull << 15) /* 5 */
#define FS_UP_TO_1 ((1ull << 13) - 1)
#define NET_ALL 3ull   /* 4: bind and connect TCP */
#define SCOPE_ALL 3ull /* 6: abstract sockets, signals */

#define MAY_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define MAY_WRITE \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | FS_TRUNCATE)
#define ONLY_DIRS \
    (LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR)

struct ruleset {
    uint64_t fs, net, scoped;
};

/* Libraries, and what libc reads by itself.  Not /dev/zero: mapped as shared it is memory that nobody counts. */
static const char *const system_reads[] = {
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/random",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    NULL,
};

void confine_always(long parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1000", 4) < 0)
        errno = 0; /* a preference only */
    if (fd >= 0)
        close(fd);
}

/* A name that isn't there gives nothing. */
static int allow(int rules, const char *path, uint64_t access, struct error *e)
{
    struct stat st;
    struct landlock_path_beneath_attr rule = { .allowed_access = access,
                                               .parent_fd = open(path, O_PATH | O_CLOEXEC) };
    if (rule.parent_fd < 0)
        return 0;
    if (fstat(rule.parent_fd, &st) || !S_ISDIR(st.st_mode))
        rule.allowed_access &= ~(uint64_t)ONLY_DIRS;
    long r = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    if (r)
        error_sys(e, "landlock: %s", path);
    close(rule.parent_fd);
    return r ? -1 : 0;
}

static int allow_bytes(int rules, struct bytes path, uint64_t access, struct error *e)
{
    char text[4097];
    if (path.n == 0 || path.n >= sizeof text)
        return 0;
    memcpy(text, path.p, path.n);
    text[path.n] = 0;
    return allow(rules, text, access, e);
}

static int allow_all(int rules, const struct msg_host_assign *m, uint64_t known, struct error *e)
{
    for (const char *const *path = system_reads; *path; path++)
        if (allow(rules, *path, MAY_READ & known, e))
            return -1;
    for (uint32_t i = 0; i < m->reads.n; i++)
        if (allow_bytes(rules, m->reads.v[i].s, MAY_READ & known, e))
            return -1;
    if (allow(rules, "/dev/null", (MAY_READ | LANDLOCK_ACCESS_FS_WRITE_FILE) & known, e))
        return -1;
    return allow_bytes(rules, m->scratch, (MAY_READ | MAY_WRITE) & known, e) ||
                   allow_bytes(rules, m->disk, (MAY_READ | MAY_WRITE) & known, e)
               ? -1
               : 0;
}

static int landlock(const struct msg_host_assign *m, struct error *e)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) /* not in this kernel: the executor has said so */
        return 0;
    struct ruleset set = { FS_UP_TO_1 | (abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) |
                               (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0),
                           NET_ALL, SCOPE_ALL };
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    int rules = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
    if (rules < 0)
        return error_sys(e, "landlock");
    int r = allow_all(rules, m, set.fs, e);
    if (r == 0 && syscall(SYS_landlock_restrict_self, rules, 0))
        r = error_sys(e, "landlock");
    close(rules);
    return r;
}

static int drop_capabilities(struct error *e)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    return syscall(SYS_capset, &head, none) ? error_sys(e, "capset") : 0;
}

int confine_host(const struct msg_host_assign *m, struct error *e)
{
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ HOST_NOFILE_MAX, HOST_NOFILE_MAX });
    setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 0, 0 });
    setrlimit(RLIMIT_MSGQUEUE, &(struct rlimit){ 0, 0 });
    return drop_capabilities(e) || landlock(m, e) || filter_install(e) ? -1 : 0;
}
