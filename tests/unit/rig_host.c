/* rig_host.c - see rig_host.h. */
#include "tests/unit/rig_host.h"

#include "common/base/clock.h"
#include "engine/plan.h"
#include "executor/blocks/sealed.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AWAIT_NS 20000000000ull

/* B/tests/unit is us: B is two up. */
static void build_dir(char *out, size_t size)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    cr_assert_gt(n, 0);
    path[n] = 0;
    for (int i = 0; i < 2; i++)
        *strrchr(path, '/') = 0;
    snprintf(out, size, "%.4000s", path);
}

static void compile(struct rig_host *r, const char *source)
{
    char build[PATH_MAX], path[96];
    struct buf command = { 0 };
    build_dir(build, sizeof build);
    snprintf(path, sizeof path, "%s/job.c", r->dir);
    snprintf(r->job, sizeof r->job, "%s/job.so", r->dir);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fputs(source, f);
    fclose(f);
    buf_printf(&command,
               "gcc -g -O1 -shared -fPIC -fvisibility=hidden -I'%s/include' -o %s %s -L'%s/lib' "
               "-l:libferro.so.0 -Wl,-rpath,'%s/lib'",
               build, r->job, path, build, build);
    cr_assert_eq(system((char *)command.p), 0, "%s", (char *)command.p);
    buf_fini(&command);
}

static void on_event(void *user, const struct event *ev)
{
    struct rig_host *r = user;
    struct head head;
    struct error e;
    if (ev->kind == EV_HOST_MEMORY) {
        r->memory = ev->memory.bytes;
        return;
    }
    struct came *c = calloc(1, sizeof *c);
    cr_assert(c);
    bool frame = ev->kind == EV_HOST_RECV;
    snprintf(c->tail, sizeof c->tail, "%s", frame ? ev->host.tail : ev->exited.tail);
    if (frame) {
        c->tag = proto_admit(ev->host.frame, ROLE_HOST, &e);
        cr_assert(c->tag, "%s", e.words);
        struct bytes kept = arena_bytes(&c->arena, ev->host.frame);
        c->msg = proto_decode(&c->arena, kept, &head, &e);
        cr_assert(c->msg, "%s", e.words);
    } else {
        c->code = ev->exited.code;
        c->signal = ev->exited.signal;
        c->ran = ev->exited.ran;
        c->part = ev->exited.part;
    }
    *r->last = c;
    r->last = &c->next;
}

static void forget(struct came **c)
{
    if (*c)
        arena_fini(&(*c)->arena);
    free(*c);
    *c = NULL;
}

const struct came *rig_host_await(struct rig_host *r)
{
    uint64_t until = clock_now_ns() + AWAIT_NS;
    forget(&r->now);
    while (!r->first) {
        struct pollfd p = { .fd = procs_fd(r->procs), .events = POLLIN };
        cr_assert_lt(clock_now_ns(), until, "the host says nothing");
        if (poll(&p, 1, 1000) > 0)
            procs_turn(r->procs);
    }
    r->now = r->first;
    if (!(r->first = r->now->next))
        r->last = &r->first;
    return r->now;
}

void rig_host_send(struct rig_host *r, uint8_t tag, const void *msg, const int *fds, int nfds)
{
    struct buf frame = { 0 };
    proto_encode(&frame, &(struct head){ .tag = tag }, msg);
    procs_send(r->procs, 1, (struct bytes){ frame.p, (uint32_t)frame.n }, fds, nfds);
    buf_fini(&frame);
}

static int sealed_job(struct rig_host *r)
{
    struct stat st;
    int fd = open(r->job, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *p = malloc((size_t)st.st_size);
    cr_assert_eq(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    fd = sealed_memfd("job", p, (size_t)st.st_size);
    free(p);
    return fd;
}

static void assign(struct rig_host *r, bool confine, const char *read)
{
    char scratch[PATH_MAX], disk[PATH_MAX];
    struct rec_lib lib = { .name = bytes_of("job.so") };
    struct rec_str reads = { bytes_of(read ? read : "") };
    int fd = sealed_job(r);
    struct msg_host_assign m = {
        .app = 7,
        .confine = confine,
        .memory = 64 << 20,
        .scratch = bytes_of(files_host_path(&r->files, false, 1, scratch, sizeof scratch)),
        .disk = bytes_of(files_host_path(&r->files, true, 1, disk, sizeof disk)),
        .libs = { &lib, 1 },
        .reads = { &reads, read ? 1 : 0 },
    };
    procs_work(r->procs, 1);
    rig_host_send(r, MSG_HOST_ASSIGN, &m, &fd, 1);
}

void rig_host_init(struct rig_host *r, const char *source, bool confine, const char *read)
{
    static const uint8_t incarnation[ID_BYTES] = "a test's own one";
    char program[PATH_MAX];
    struct error e;
    memset(r, 0, sizeof *r);
    r->last = &r->first;
    snprintf(r->dir, sizeof r->dir, "/tmp/ferro-test-host-XXXXXX");
    cr_assert(mkdtemp(r->dir));
    compile(r, source);
    cr_assert_eq(files_open(&r->files, r->dir, r->dir, incarnation, &e), 0, "%s", e.words);
    build_dir(program, sizeof program - 32);
    strcat(program, "/bin/ferro-host");
    struct procs_config config = {
        .program = program, .clean = true, .files = &r->files, .user = r, .on_event = on_event
    };
    r->procs = procs_new(&config, &e);
    cr_assert(r->procs, "%s", e.words);
    procs_spawn(r->procs, 1);
    assign(r, confine, read);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void rig_host_fini(struct rig_host *r)
{
    procs_free(&r->procs);
    files_close(&r->files);
    forget(&r->now);
    while ((r->now = r->first) != NULL) {
        r->first = r->now->next;
        forget(&r->now);
    }
    nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- work ------------------------------------------------------------------------ */

static uint64_t offset_of(const struct rig_host *r, const char *fn)
{
    Dl_info info;
    void *lib = dlopen(r->job, RTLD_LAZY | RTLD_LOCAL), *at = lib ? dlsym(lib, fn) : NULL;
    cr_assert(at && dladdr(at, &info), "%s: %s", fn, dlerror());
    uint64_t offset = (uint64_t)((const char *)at - (const char *)info.dli_fbase);
    dlclose(lib);
    return offset;
}

void rig_host_stage(struct rig_host *r, const char *fn, uint32_t ntasks)
{
    struct plan_node nodes[3] = {
        { .op = OP_RANGE,
          .value = FERRO_I64,
          .fn_name = "range",
          .file = "job.c",
          .child = { PLAN_NONE, PLAN_NONE },
          .to = ntasks },
        { .op = OP_FILTER,
          .value = FERRO_I64,
          .fn = offset_of(r, fn),
          .fn_name = fn,
          .file = "job.c",
          .child = { 0, PLAN_NONE } },
        { .op = OP_COUNT,
          .value = FERRO_I64,
          .fn_name = "count",
          .file = "job.c",
          .child = { 1, PLAN_NONE } },
    };
    struct rec_input input = { .ntasks = ntasks, .shuffle = UINT32_MAX };
    struct msg_stage m = { .app = 7, .stage = 1, .version = 1, .inputs = { &input, 1 } };
    struct buf body = { 0 }, frame = { 0 };
    plan_encode(&body, &(struct plan){ nodes, 3 });
    m.body = (struct bytes){ body.p, (uint32_t)body.n };
    proto_encode(&frame, &(struct head){ .tag = MSG_STAGE }, &m);
    int fd = sealed_memfd("stage", frame.p, frame.n);
    rig_host_send(r, MSG_HOST_STAGE, &(struct msg_host_stage){ .stage = 1, .version = 1 }, &fd, 1);
    buf_fini(&body);
    buf_fini(&frame);
}

void rig_host_tasks(struct rig_host *r, uint32_t first, uint32_t count)
{
    struct rec_range range = { first, count, 1 };
    rig_host_send(r, MSG_TASKS,
                  &(struct msg_tasks){ .app = 7, .stage = 1, .version = 1, .ranges = { &range, 1 } }, NULL,
                  0);
}
