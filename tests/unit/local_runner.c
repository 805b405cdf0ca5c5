/* local_runner.c - see local_runner.h. */
#include "tests/unit/local_runner.h"
#include "common/base/map.h"
#include "engine/task.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTEMPTS_MAX 4
#define OPEN_FILES_MAX 400 /* descriptors of served files; of more, the paths are kept */
#define NUMBER_BYTES 4

struct local_served {
    struct block_id id;
    int fd; /* the file, or a memfd of the bytes: opened when it was served; -1: */
    char *path;
};

/* One stage of the running job. */
struct ran {
    uint32_t number; /* as STAGE names it */
    uint32_t ntasks;
    struct buf maps;    /* of struct rec_map: its committed outputs */
    struct buf samples; /* of struct rec_cut, bytes in the arena */
};

struct job_run {
    struct local *l;
    const struct job_spec *job;
    struct job_outcome *outcome;
    struct arena arena;
    struct ran *ran;
    struct buf results; /* of struct bytes, malloc'd */
};

/* ---- blocks ------------------------------------------------------------------------------ */

static uint64_t key_of(const uint8_t id[ID_BYTES])
{
    uint64_t k;
    memcpy(&k, id, sizeof k);
    return k;
}

static void serve(void *user, const struct served_block *block)
{
    struct local *l = user;
    if (map_has(&l->served, key_of(block->id.b)))
        return;
    struct local_served *s = calloc(1, sizeof *s);
    s->id = block->id;
    s->fd = -1;
    s->fd = memfd_create("served", MFD_CLOEXEC);
    if (write(s->fd, block->bytes.p, block->bytes.n) != (ssize_t)block->bytes.n)
        abort();
    map_put(&l->served, key_of(block->id.b), s);
}

static void forget(void *user, uint64_t keep)
{
    struct local *l = user;
    (void)keep; /* each job computes what it reads */
    l->forgets++;
}

static void serve_files(void *user, struct names *files)
{
    struct local *l = user;
    for (uint32_t i = 0; i < files->count; i++) {
        const struct name_row *f = names_row(files, i);
        if (map_has(&l->served, key_of(f->block.b)))
            continue;
        struct local_served *s = calloc(1, sizeof *s);
        s->id = f->block;
        s->fd = l->served.n > OPEN_FILES_MAX ? -1 : open(f->path, O_RDONLY | O_CLOEXEC);
        s->path = s->fd < 0 ? strdup(f->path) : NULL;
        map_put(&l->served, key_of(f->block.b), s);
    }
}

/* Exactly the range that is asked for, as a copy that was pulled would be. */
static int pulled(struct local *l, int from, const struct rec_want *w, struct rec_got *got)
{
    struct stat st;
    if (from < 0 || fstat(from, &st))
        return -1;
    uint64_t total = (uint64_t)st.st_size, at = w->tail ? total - w->offset : w->offset;
    uint64_t n = w->length && w->length < total - at ? w->length : total - at;
    uint8_t *p = malloc(n + 1);
    int fd = memfd_create("pulled", MFD_CLOEXEC);
    if (pread(from, p, n, (off_t)at) != (ssize_t)n || write(fd, p, n) != (ssize_t)n)
        abort();
    free(p);
    l->bytes_fetched += n;
    *got = (struct rec_got){ .base = at, .length = n, .total = total };
    return fd;
}

static char *block_path(const struct local *l, const uint8_t id[ID_BYTES], char path[256])
{
    char hex[33];
    struct block_id b;
    memcpy(b.b, id, sizeof b.b);
    snprintf(path, 256, "%s/blocks/%s", l->dir, block_hex(b, hex));
    return path;
}

static const struct job_spec *saving; /* whose staging files are asked for */

static int fetch_one(struct local *l, const struct rec_want *w, struct rec_got *got)
{
    char path[256];
    struct stat st;
    *got = (struct rec_got){ 0 };
    if (w->kind == WANT_DRIVER) {
        const struct local_served *s = map_get(&l->served, key_of(w->block));
        int from = s && s->path ? open(s->path, O_RDONLY | O_CLOEXEC)
                   : s          ? s->fd
                                : -1,
            fd = pulled(l, from, w, got);
        if (s && s->path)
            close(from);
        return fd;
    }
    if (w->kind == WANT_SAVE) {
        snprintf(path, sizeof path, "%s/part-%05u", saving->save_dir, w->part);
        return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    int fd = open(block_path(l, w->block, path), O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0)
        got->length = got->total = (uint64_t)st.st_size;
    return fd;
}

static int fetch(void *user, const struct rec_want *wants, uint32_t n, struct rec_got *got, int *fds)
{
    assert(n <= HOST_FDS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        fds[i] = fetch_one(user, &wants[i], &got[i]);
        if (fds[i] < 0)
            got[i] = (struct rec_got){ .code = BLOCK_GONE, .words = bytes_of("no such block") };
    }
    return 0;
}

/* ---- a stage ------------------------------------------------------------------------------- */

static struct rec_cut number_cut(struct job_run *j, uint32_t n)
{
    uint8_t be[NUMBER_BYTES] = { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };
    return (struct rec_cut){ { arena_copy(&j->arena, be, sizeof be), sizeof be } };
}

static int by_key(const void *a, const void *b)
{
    return bytes_cmp(((const struct rec_cut *)a)->key, ((const struct rec_cut *)b)->key);
}

/* Where the tasks that read shuffle `of` begin and end. */
static void input_cuts(struct job_run *j, const struct stage_spec *spec, const struct ran *of,
                       struct rec_input *in)
{
    struct rec_cut *cuts = arena_alloc(&j->arena, (in->ntasks + 1u) * sizeof *cuts);
    in->cuts.v = cuts;
    if (spec->kind == STAGE_HASH) {
        for (uint32_t i = 0; i <= in->ntasks; i++)
            cuts[i] = number_cut(j, (uint32_t)((uint64_t)spec->buckets * i / in->ntasks));
        in->cuts.n = in->ntasks + 1;
        return;
    }
    if (spec->kind != STAGE_RANGE) { /* partition by partition */
        in->ntasks = of->ntasks;
        return;
    }
    struct rec_cut *samples = (struct rec_cut *)of->samples.p;
    size_t n = of->samples.n / sizeof *samples;
    if (n)
        qsort(samples, n, sizeof *samples, by_key);
    if (n == 0)
        in->ntasks = 1;
    for (uint32_t i = 1; i < in->ntasks; i++)
        cuts[i - 1] = samples[n * i / in->ntasks];
    in->cuts.n = in->ntasks - 1;
}

/* The outputs of that stage, once. */
static void maps_add(const struct ran *of, struct buf *maps)
{
    const struct rec_map *m = (const struct rec_map *)maps->p;
    for (size_t i = 0; i < maps->n / sizeof *m; i++)
        if (m[i].stage == of->number)
            return;
    buf_put(maps, of->maps.p, of->maps.n);
}

static int by_place(const void *pa, const void *pb)
{
    const struct rec_map *a = pa, *b = pb;
    return a->stage != b->stage ? (a->stage > b->stage) - (a->stage < b->stage)
                                : (a->part > b->part) - (a->part < b->part);
}

static void inputs_make(struct job_run *j, uint32_t stage, struct rec_input *inputs, struct buf *maps)
{
    const struct stage_spec *spec = &j->job->stages[stage];
    struct ran *ran = &j->ran[stage];
    for (uint32_t i = 0; i < spec->ninputs; i++) {
        const struct stage_input *in = &spec->inputs[i];
        inputs[i] = (struct rec_input){ .ntasks = in->ntasks, .shuffle = UINT32_MAX, .other = UINT32_MAX };
        if (in->shuffle != STAGE_NO_SHUFFLE) {
            const struct ran *of = &j->ran[in->shuffle];
            uint32_t open = j->l->config.reduce_tasks ? j->l->config.reduce_tasks : 3;
            inputs[i].ntasks = in->ntasks ? in->ntasks : open;
            inputs[i].shuffle = of->number;
            inputs[i].other = j->ran[in->other].number;
            input_cuts(j, &j->job->stages[in->shuffle], of, &inputs[i]);
            maps_add(of, maps);
            maps_add(&j->ran[in->other], maps);
        }
        ran->ntasks += inputs[i].ntasks;
    }
    for (uint32_t i = 0; i < spec->nsides; i++)
        maps_add(&j->ran[spec->sides[i]], maps);
    if (maps->n)
        qsort(maps->p, maps->n / sizeof(struct rec_map), sizeof(struct rec_map), by_place);
}

static void stage_frame(struct job_run *j, uint32_t stage, struct buf *frame)
{
    const struct stage_spec *spec = &j->job->stages[stage];
    struct rec_input *inputs = arena_alloc(&j->arena, spec->ninputs * sizeof *inputs);
    struct rec_peer peer = { .host_id = bytes_of("here"),
                             .data = bytes_of("127.0.0.1:1"),
                             .root = bytes_of(j->l->dir) };
    struct buf maps = { 0 };
    struct rec_num *sides = arena_alloc(&j->arena, (spec->nsides + 1u) * sizeof *sides);
    for (uint32_t i = 0; i < spec->nsides; i++)
        sides[i].n = j->ran[spec->sides[i]].number;
    j->ran[stage].number = j->l->stages++;
    inputs_make(j, stage, inputs, &maps);
    struct msg_stage m = {
        .app = 1,
        .stage = j->ran[stage].number,
        .body = spec->body,
        .inputs = { inputs, spec->ninputs },
        .sides = { sides, spec->nsides },
        .peers = { &peer, 1 },
        .maps = { (struct rec_map *)maps.p, (uint32_t)(maps.n / sizeof(struct rec_map)) },
        .save_dir = bytes_of(spec->kind == STAGE_SAVE ? j->job->save_dir : ""),
    };
    proto_encode(frame, &(struct head){ .tag = MSG_STAGE }, &m);
    buf_fini(&maps);
}

/* ---- a task ---------------------------------------------------------------------------------- */

static struct bytes file_take(const char *path, uint64_t expected)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *p = malloc(expected + 1);
    if (fd < 0 || read(fd, p, expected + 1) != (ssize_t)expected)
        abort(); /* the report lied about its file */
    close(fd);
    return (struct bytes){ p, (uint32_t)expected };
}

static void result_keep(struct job_run *j, const struct rec_report *r, const char *file)
{
    struct bytes kept = { malloc(r->result.n + 1u), r->result.n };
    if (r->result.n)
        memcpy((void *)kept.p, r->result.p, r->result.n);
    if (r->flags & REPORT_RESULT_BLOCK) {
        free((void *)kept.p);
        kept = file_take(file, r->out_bytes);
    }
    buf_put(&j->results, &kept, sizeof kept);
}

static void map_keep(struct job_run *j, struct ran *ran, const struct rec_report *r, const char *file)
{
    char path[256];
    struct rec_map m = { ran->number, r->part, r->attempt, 0, r->out_bytes };
    for (uint32_t i = 0; i < r->samples.n; i++) {
        struct rec_cut cut = { arena_bytes(&j->arena, r->samples.v[i].key) };
        buf_put(&ran->samples, &cut, sizeof cut);
    }
    if (r->out_bytes == 0)
        return;
    if (rename(file, block_path(j->l, block_output(ran->number, r->part, r->attempt).b, path)))
        abort();
    buf_put(&ran->maps, &m, sizeof m);
}

static void part_keep(struct job_run *j, const struct rec_report *r, const char *file)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/part-%05u", j->job->save_dir, r->part);
    if (!(r->flags & REPORT_SAVE_BLOCK))
        return;
    struct bytes b = file_take(file, r->out_bytes);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (write(fd, b.p, b.n) != (ssize_t)b.n)
        abort();
    close(fd);
    free((void *)b.p);
}

static void report_keep(struct job_run *j, uint32_t stage, const struct rec_report *r)
{
    char file[256];
    enum stage_kind kind = j->job->stages[stage].kind;
    if (stage == j->job->nstages - 1)
        j->outcome->rows += r->rows;
    snprintf(file, sizeof file, "%s/scratch/%u.%u.%u", j->l->dir, r->stage, r->part, r->attempt);
    if (kind == STAGE_RESULT)
        result_keep(j, r, file);
    else if (kind == STAGE_SAVE)
        part_keep(j, r, file);
    else
        map_keep(j, &j->ran[stage], r, file);
    unlink(file);
}

static int task_run(struct job_run *j, uint32_t stage, struct task_stage *s, uint32_t part)
{
    struct local *l = j->l;
    for (uint32_t attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        struct rec_report r;
        bool plain;
        ferro_stage_run(s, part, attempt, &r, &plain);
        l->tasks++;
        l->plain += plain;
        l->bytes_read += r.bytes_read;
        if (r.cause == CAUSE_OK) {
            report_keep(j, stage, &r);
            return 0;
        }
        l->failures++;
        error_set(&j->outcome->why, 0, "partition %u, attempt %u, %s: %.*s", part, attempt,
                  cause_name(r.cause), (int)r.words.n, (const char *)r.words.p);
    }
    return -1;
}

static bool enough(const struct job_run *j, uint32_t stage)
{
    return stage == j->job->nstages - 1 && j->job->take_rows && j->outcome->rows >= j->job->take_rows;
}

static int stage_run(struct job_run *j, uint32_t stage)
{
    char scratch[80];
    struct local *l = j->l;
    struct buf frame = { 0 };
    struct error e;
    Dl_info info;
    dladdr((const void *)local_main, &info);
    snprintf(scratch, sizeof scratch, "%s/scratch", l->dir);
    struct task_env env = {
        .app = 1,
        .memory = l->config.memory,
        .scratch = scratch,
        .disk = scratch,
        .save = l->config.save,
        .library = info.dli_fbase,
        .fetch = fetch,
        .user = l,
    };
    saving = j->job;
    stage_frame(j, stage, &frame);
    struct task_stage *s = ferro_stage_open((struct bytes){ frame.p, (uint32_t)frame.n }, &env, &e);
    int failed = s ? 0 : error_set(&j->outcome->why, e.code, "%s", e.words);
    for (uint32_t part = 0; s && !failed && part < j->ran[stage].ntasks && !enough(j, stage); part++)
        failed = task_run(j, stage, s, part);
    ferro_stage_close(&s);
    buf_fini(&frame);
    return failed;
}

/* ---- the runtime -------------------------------------------------------------------------------- */

static void names_keep(struct local *l, const struct job_spec *job)
{
    struct buf names = { 0 };
    for (uint32_t i = 0; i < job->nstages; i++)
        buf_printf(&names, "%s%s", i ? "; " : "", job->stages[i].name);
    free(l->stage_names);
    l->stage_names = (char *)names.p;
}

static int run(void *user, const struct job_spec *job, struct job_outcome *outcome)
{
    struct job_run j = { .l = user, .job = job, .outcome = outcome };
    *outcome = (struct job_outcome){ 0 };
    names_keep(user, job);
    j.ran = arena_alloc(&j.arena, job->nstages * sizeof *j.ran);
    for (uint32_t i = 0; i < job->nstages && outcome->code == 0; i++)
        outcome->code = stage_run(&j, i);
    for (uint32_t i = 0; i < job->nstages; i++) {
        buf_fini(&j.ran[i].maps);
        buf_fini(&j.ran[i].samples);
    }
    outcome->results = (struct bytes *)j.results.p;
    outcome->nresults = j.results.n / sizeof *outcome->results;
    arena_fini(&j.arena);
    if (outcome->code)
        j.l->runtime.say(user, outcome->why.words);
    return outcome->code;
}

static void release(void *user, struct job_outcome *outcome)
{
    (void)user;
    for (uint64_t i = 0; i < outcome->nresults; i++)
        free((void *)outcome->results[i].p);
    free(outcome->results);
    *outcome = (struct job_outcome){ 0 };
}

static int save_open(void *user, const char *dir, uint8_t token[ID_BYTES], struct error *e)
{
    (void)user;
    memset(token, 7, ID_BYTES);
    return mkdir(dir, 0700) ? error_sys(e, "%s", dir) : 0;
}

static void say(void *user, const char *words)
{
    struct local *l = user;
    buf_printf(&l->said, "%s\n", words);
}

struct local *local_new(const struct local_config *config)
{
    char path[128];
    struct local *l = calloc(1, sizeof *l);
    l->config = *config;
    snprintf(l->dir, sizeof l->dir, "/tmp/ferro-unit-XXXXXX");
    if (!mkdtemp(l->dir))
        abort();
    snprintf(path, sizeof path, "%s/blocks", l->dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/scratch", l->dir);
    mkdir(path, 0700);
    buf_printf(&l->said, "%s", "");
    l->runtime = (struct runtime){
        .user = l,
        .run = run,
        .release = release,
        .serve = serve,
        .serve_files = serve_files,
        .forget = forget,
        .save_open = save_open,
        .say = say,
        .parallelism = config->parallelism,
        .split_bytes = config->split_bytes,
        .library_fd = -1,
    };
    return l;
}

void local_forget(struct local *l)
{
    MAP_EACH(&l->served, i) {
        struct local_served *s = map_at(&l->served, i);
        if (s->fd >= 0)
            close(s->fd);
        free(s->path);
        free(s);
    }
    map_clear(&l->served);
}

void local_free(struct local **lp)
{
    char command[128];
    struct local *l = *lp;
    local_forget(l);
    map_fini(&l->served);
    snprintf(command, sizeof command, "rm -rf '%s'", l->dir);
    if (system(command))
        abort();
    buf_fini(&l->said);
    free(l->stage_names);
    free(l);
    *lp = NULL;
}

static struct ferro_job job = {
    FERRO_JOB_MAGIC, FERRO_ABI_MAJOR, FERRO_ABI_MINOR, FERRO_CPU_LEVEL, 0, "test", NULL
};

int local_main(struct local *l, int (*main)(fe_app *, int, char **), int argc, char **argv)
{
    job.main = main;
    return ferro_job_main(&job, argc, argv, &l->runtime, NULL);
}
