/* main.c - ferro-executor: its options, and the exit code. */
#include "common/base/log.h"
#include "common/base/service.h"
#include "common/keys/keys.h"
#include "common/proto/proto.h"
#include "executor/resources.h"
#include "executor/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MEMORY_SHARE(bytes) ((bytes) / 4 * 3) /* for hosts; the rest is for blocks in memory and the system */
#define SLOT_BYTES_MIN (16ull << 20)          /* less can't hold libc, a batch of records and their sorting */
#define SLOTS_MAX 4096
#define FDS_A_SLOT 5    /* of its host */
#define FDS_BESIDES 256 /* connections, blocks */
#define ADDRESS_BYTES_MAX 255
#define DIR_BYTES_MAX \
    (host_assign_scratch_MAX - 64) /* below it: the incarnation's name, and its host's or application's */

/* clang-format off */
enum {
#define STR(record, field, max) record##_##field##_MAX = max,
#define LIST(record, field, element, max) record##_##field##_MAX = max,
#include "common/proto/messages.def"
};
/* clang-format on */

struct options {
    struct executor_options shell;
    struct service service;
    const char *manager, *host, *host_id, *labels;
    struct option_list reads, writes;
    bool no_confine;
    uint64_t slots, memory, blocks;
    uint64_t driver_silent_ms, app_keep_ms, attach_ms, manager_lost_ms, drain_ms;
};

#define TEXT(option, kind, field, value_name, words) \
    { \
        .name = option, .value = value_name, .type = kind, .offset = offsetof(struct options, field), \
        .help = words \
    }
#define DURATION(option, field, least, text, words) \
    { \
        .name = option, .value = "TIME", .type = OPT_DURATION, .offset = offsetof(struct options, field), \
        .min = least, .max = 3600000, .fallback = text, .help = words \
    }

static const struct option_row rows[] = {
    { .name = "manager",
      .letter = 'm',
      .value = "HOST:PORT",
      .type = OPT_HOSTPORT,
      .offset = offsetof(struct options, manager),
      .fallback = "127.0.0.1:7400",
      .env = "FERRO_MANAGER",
      .help = "where the manager listens" },
    { .name = "key",
      .letter = 'k',
      .value = "FILE",
      .type = OPT_PATH,
      .offset = offsetof(struct options, shell.key),
      .fallback = "keys/join.key",
      .env = "FERRO_KEY",
      .help = "the cluster's join key" },
    { .name = "slots",
      .letter = 's',
      .value = "N",
      .type = OPT_U64,
      .offset = offsetof(struct options, slots),
      .min = 1,
      .max = SLOTS_MAX,
      .env = "FERRO_SLOTS",
      .help = "tasks at once (default: one a core that this process may use)" },
    { .name = "mem",
      .value = "BYTES",
      .type = OPT_BYTES,
      .offset = offsetof(struct options, memory),
      .min = SLOT_BYTES_MIN,
      .env = "FERRO_MEM",
      .help =
          "memory for tasks, at least 16M a slot (default: three quarters of what this process may use)" },
    TEXT("dir", OPT_PATH, shell.dir, "DIR",
         "fast folder for blocks (default: /dev/shm/ferro-UID, else /tmp/ferro-UID)"),
    TEXT("disk", OPT_PATH, shell.disk, "DIR",
         "folder for blocks beyond that, and for spills (default: /var/tmp/ferro-UID)"),
    { .name = "blocks",
      .value = "BYTES",
      .type = OPT_BYTES,
      .offset = offsetof(struct options, blocks),
      .help = "blocks in the fast folder before they go to the disk (default: half of what is free there, at "
              "most a quarter of the memory)" },
    TEXT("read", OPT_LIST, reads, "DIR", "what user code may read (default: /usr)"),
    TEXT("write", OPT_LIST, writes, "DIR",
         "where saved output may be written (default: nowhere, the driver writes it)"),
    { .name = "no-confine",
      .type = OPT_FLAG,
      .offset = offsetof(struct options, no_confine),
      .help = "user code may do all that this user may: only for one's own code on one's own machine" },
    TEXT("host", OPT_STRING, host, "NAME", "this executor's name in lists (default: the host's)"),
    TEXT("host-id", OPT_STRING, host_id, "ID",
         "executors with the same one read each other's blocks as files (default: by machine and mounts)"),
    TEXT("listen", OPT_HOSTPORT, shell.listen, "HOST:PORT",
         "control port (default: the address that reaches the manager, any port)"),
    TEXT("listen-data", OPT_HOSTPORT, shell.listen_data, "HOST:PORT", "port for blocks (default: as above)"),
    TEXT("advertise", OPT_HOSTPORT, shell.advertise, "HOST:PORT",
         "how drivers reach the control port (port 0: the one it has)"),
    TEXT("advertise-data", OPT_HOSTPORT, shell.advertise_data, "HOST:PORT",
         "how drivers and executors reach the port for blocks"),
    TEXT("labels", OPT_STRING, labels, "NAME,...", "labels that applications can ask for"),
    DURATION("driver-silent", driver_silent_ms, 50, "15s",
             "an application's tasks end when its driver is silent for this long"),
    DURATION("app-keep", app_keep_ms, 50, "30s", "and its blocks go after this"),
    DURATION("attach", attach_ms, 50, "10s",
             "slots that their driver doesn't attach to are given back after this"),
    DURATION("manager-lost", manager_lost_ms, 50, "20s",
             "a silent manager, or a silent executor that owes a block, is dialled anew"),
    DURATION("drain", drain_ms, 0, "30s", "after SIGTERM: time for running tasks and for blocks in use"),
    SERVICE_ROWS(options, service),
    { .name = NULL },
};
static const struct options_program program = {
    .name = "ferro-executor",
    .usage = "[OPTION]...",
    .about = "Runs tasks for a cluster's applications and keeps their blocks. SIGTERM drains it (twice: at "
             "once), SIGUSR1 writes its "
             "counters to the event stream.",
    .rows = rows,
};

/* ---- defaults -------------------------------------------------------------------- */

static const char *const system_reads[] = { "/usr", NULL };
static const char *const nothing[] = { NULL };

static void default_resources(struct options *o)
{
    struct resources r;
    resources_find("", &r);
    if (o->memory == 0)
        o->memory = MEMORY_SHARE(r.memory);
    if (o->slots == 0) {
        uint64_t fit = o->memory / SLOT_BYTES_MIN;
        struct rlimit files;
        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max >= FDS_BESIDES &&
            (files.rlim_max - FDS_BESIDES) / FDS_A_SLOT < fit)
            fit = (files.rlim_max - FDS_BESIDES) / FDS_A_SLOT;
        o->slots = r.slots < SLOTS_MAX ? r.slots : SLOTS_MAX;
        o->slots = fit == 0 ? 1 : fit < o->slots ? fit : o->slots;
    }
}

/* Reached in one mount namespace of one running kernel: what is there the same file. */
static const char *default_host_id(struct arena *a)
{
    char boot[64] = "", mounts[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, boot, 36) < 0)
        boot[0] = 0;
    if (fd >= 0)
        close(fd);
    if (readlink("/proc/self/ns/mnt", mounts, sizeof mounts - 1) < 0)
        mounts[0] = 0;
    size_t n = strspn(mounts, "mnt:[");
    char id[65];
    snprintf(id, sizeof id, "%.36s-%.*s", boot, (int)strspn(mounts + n, "0123456789"), mounts + n);
    return arena_strdup(a, id);
}

static const char *default_host(struct arena *a)
{
    char name[256];
    return arena_strdup(a, gethostname(name, sizeof name) ? "executor" : name);
}

/* Of the folder that will be there, or of the nearest one above that is. */
static uint64_t free_bytes(const char *dir)
{
    char path[PATH_MAX];
    struct statvfs fs;
    snprintf(path, sizeof path, "%s", dir);
    while (statvfs(path, &fs)) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return statvfs(".", &fs) ? 0 : (uint64_t)fs.f_bavail * fs.f_frsize;
        *(slash == path ? slash + 1 : slash) = 0;
    }
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static const char *host_program(struct arena *a, struct error *e)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    if (n < 0) {
        error_sys(e, "/proc/self/exe");
        return NULL;
    }
    path[n] = 0;
    snprintf(strrchr(path, '/') + 1, 16, "ferro-host");
    return arena_strdup(a, path);
}

/* Each user's own, where everybody may write: another may have taken the name first. */
static int default_folder(const char **dir, const char *option, const char *above, struct arena *a,
                          struct error *e)
{
    char path[64];
    struct stat st;
    if (*dir)
        return 0;
    snprintf(path, sizeof path, "%s/ferro-%u", above, (unsigned)geteuid());
    *dir = arena_strdup(a, path);
    if (mkdir(path, 0700) && errno != EEXIST)
        return error_sys(e, "--%s: its default, %s", option, path);
    if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return error_set(e, EPERM, "--%s: its default, %s, is another user's: name a folder of your own",
                         option, path);
    return 0;
}

static int default_folders(struct options *o, struct arena *a, struct error *e)
{
    const char *fast = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    return default_folder(&o->shell.dir, "dir", fast, a, e) ||
                   default_folder(&o->shell.disk, "disk", "/var/tmp", a, e)
               ? -1
               : 0;
}

static int complete_options(struct options *o, struct arena *a, struct error *e)
{
    default_resources(o);
    if (default_folders(o, a, e))
        return -1;
    if (o->blocks == 0) {
        uint64_t half = free_bytes(o->shell.dir) / 2, quarter = o->memory / 3;
        o->blocks = half < quarter ? half : quarter;
    }
    o->shell.reads = o->reads.n ? o->reads.v : system_reads;
    o->shell.writes = o->writes.n ? o->writes.v : nothing;
    o->shell.host_program = host_program(a, e);
    o->shell.core = (struct executor_config){
        .manager = o->manager,
        .host = o->host ? o->host : default_host(a),
        .host_id = o->host_id ? o->host_id : default_host_id(a),
        .labels = o->labels ? o->labels : "",
        .slots = (uint32_t)o->slots,
        .memory = o->memory,
        .block_bytes_max = o->blocks,
        .driver_silent_ms = o->driver_silent_ms,
        .app_keep_ms = o->app_keep_ms,
        .attach_ms = o->attach_ms,
        .manager_lost_ms = o->manager_lost_ms,
        .drain_ms = o->drain_ms,
        .confine = !o->no_confine,
    };
    return o->shell.host_program ? 0 : -1;
}

/* ---- what the protocol has room for --------------------------------------------------- */

/* Of the folder's real path, which may be there in part. */
static size_t real_bytes(const char *dir)
{
    char path[PATH_MAX], real[PATH_MAX];
    snprintf(path, sizeof path, "%s", dir);
    while (!realpath(path, real)) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return (getcwd(real, sizeof real) ? strlen(real) : 0) + 1 + strlen(dir);
        *(slash == path ? slash + 1 : slash) = 0;
    }
    return strlen(real) + strlen(dir) - strlen(path);
}

static int check_texts(const struct executor_options *o, struct error *e)
{
    const struct {
        const char *option;
        size_t bytes, most;
    } v[] = {
        { "host", strlen(o->core.host), join_host_MAX },
        { "host-id", strlen(o->core.host_id), join_host_id_MAX },
        { "labels", strlen(o->core.labels), join_labels_MAX },
        { "dir", real_bytes(o->dir), DIR_BYTES_MAX },
        { "disk", real_bytes(o->disk), DIR_BYTES_MAX },
        { "advertise", o->advertise ? strlen(o->advertise) : 0, ADDRESS_BYTES_MAX },
        { "advertise-data", o->advertise_data ? strlen(o->advertise_data) : 0, ADDRESS_BYTES_MAX },
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (v[i].bytes > v[i].most)
            return error_set(e, E2BIG, "--%s: %zu bytes are too long: at most %zu", v[i].option, v[i].bytes,
                             v[i].most);
    return 0;
}

static int check_reads(const char *const *reads, struct error *e)
{
    uint32_t n = 0;
    for (; reads[n]; n++)
        if (strlen(reads[n]) > str_s_MAX)
            return error_set(e, E2BIG, "--read: %zu bytes are too long: at most %d", strlen(reads[n]),
                             str_s_MAX);
    return n <= host_assign_reads_MAX
               ? 0
               : error_set(e, E2BIG, "--read: %u folders, at most %d", n, host_assign_reads_MAX);
}

static int check(const struct options *o, struct error *e)
{
    struct rlimit files;
    if (o->memory / o->slots < SLOT_BYTES_MIN)
        return error_set(e, ENOMEM,
                         "--mem: %" PRIu64 " MiB for %" PRIu64 " slots: each needs %" PRIu64
                         " MiB or more; give more memory, or less --slots",
                         o->memory >> 20, o->slots, (uint64_t)(SLOT_BYTES_MIN >> 20));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max < o->slots * FDS_A_SLOT + FDS_BESIDES)
        return error_set(e, EMFILE,
                         "--slots: %" PRIu64 " need %" PRIu64 " descriptors, this process may have %" PRIu64
                         ": raise that limit (ulimit -Hn)",
                         o->slots, o->slots * FDS_A_SLOT + FDS_BESIDES, (uint64_t)files.rlim_max);
    return check_texts(&o->shell, e) || check_reads(o->shell.reads, e) ? -1 : 0;
}

/* ---- running ------------------------------------------------------------------------ */

static int run(struct options *o, struct arena *a)
{
    struct error e;
    int code = 1;
    bool complete = complete_options(o, a, &e) == 0;
    if (complete && check(o, &e)) {
        fprintf(stderr, "%s: %s\n", program.name, e.words);
        return 2;
    }
    struct executor_shell *s = complete ? executor_shell_new(&o->shell, &e) : NULL;
    if (s)
        code = executor_shell_run(s);
    else
        log_line(LOG_ERROR, "%s", e.words);
    executor_shell_free(&s);
    return code;
}

/* The incarnation was given up: its hosts are reaped and its files are gone; a new one begins in this process's place. */
static int start_afresh(char **argv)
{
    log_line(LOG_WARN, "starting afresh, as a new incarnation");
    execv("/proc/self/exe", argv);
    log_line(LOG_ERROR, "can't start afresh: %s", strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    struct arena a = { 0 };
    struct options o = { .service.events = UINT64_MAX };
    int code = options_take(&program, program.name, argc, argv, &o, NULL, &a);
    if (code < 0)
        code = service_begin(&o.service, &program, "executor");
    if (code < 0) {
        process_harden();
        code = run(&o, &a);
    }
    arena_fini(&a);
    if (code != EXECUTOR_AGAIN)
        return code;
    if (service_events_fd(&o.service) >= 0)
        fcntl(service_events_fd(&o.service), F_SETFD, 0);
    return start_afresh(argv);
}
