/* stage.c - what a stage's tasks have in common, and the libraries that they need. */
#include "executor/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- versions --------------------------------------------------------------- */

void told_drop(struct told **tp)
{
    struct told *t = *tp;
    *tp = NULL;
    if (!t || --t->refs)
        return;
    buf_fini(&t->frame);
    arena_fini(&t->arena);
    free(t);
}

static uint64_t told_bytes(const struct told *t)
{
    return t ? t->frame.n + t->arena.total : 0;
}

void stage_free(struct app *a, struct stage *s)
{
    a->stage_bytes -= told_bytes(s->told);
    told_drop(&s->told);
    free(s);
}

/* Our own copy of the frame: the message's bytes live as long as anyone was told this version. */
static struct told *told_new(struct executor *x, struct bytes frame)
{
    struct head head;
    struct told *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->number = x->next_told++;
    t->refs = 1;
    buf_put(&t->frame, frame.p, frame.n);
    t->msg = proto_decode(&t->arena, (struct bytes){ t->frame.p, frame.n }, &head, NULL);
    return t;
}

/* ---- saved output ------------------------------------------------------------ */

/* Does this executor see the output folder?  Its token says. */
static void token_check(struct executor *x, struct app *a, struct stage *s)
{
    struct job *j;
    struct buf path = { 0 };
    s->state = STAGE_CHECKING;
    buf_printf(&path, "%.*s/_ferro/%llu/token", (int)s->told->msg->save_dir.n,
               (const char *)s->told->msg->save_dir.p, (unsigned long long)a->app);
    struct action *act = io_start(x, JOB_TOKEN, IO_TOKEN, a->app, &j);
    act->stage = s->stage;
    act->io.path = arena_copy(&x->out->arena, path.p, path.n + 1);
    act->io.bytes =
        (struct bytes){ arena_copy(&x->out->arena, s->told->msg->save_token, ID_BYTES), ID_BYTES };
    j->stage = s->stage;
    buf_fini(&path);
}

/* ---- libraries ---------------------------------------------------------------- */

static uint32_t nlibs(const struct app *a)
{
    return (uint32_t)(a->lib_list.n / sizeof(struct rec_lib));
}

bool libs_here(const struct app *a)
{
    uint32_t n = nlibs(a);
    return n && a->libs_here == UINT64_MAX >> (64 - n);
}

/* The first stage that names libraries names the application's. */
static void libs_learn(struct app *a, const struct msg_stage *m)
{
    for (uint32_t i = 0; i < m->libs.n && nlibs(a) == i; i++) {
        struct rec_lib lib = m->libs.v[i];
        lib.name = arena_bytes(&a->keep, lib.name);
        buf_put(&a->lib_list, &lib, sizeof lib);
    }
}

static void lib_check(struct executor *x, struct app *a, uint32_t i)
{
    struct job *j;
    struct action *act = io_start(x, JOB_LIBRARY, IO_LIBRARY, a->app, &j);
    memcpy(act->io.block.b, ((const struct rec_lib *)a->lib_list.p)[i].id, ID_BYTES);
    j->index = i;
}

void libs_fetch(struct executor *x, struct app *a)
{
    for (uint32_t i = 0; i < nlibs(a) && a->data; i++) {
        const struct rec_lib *lib = (const struct rec_lib *)a->lib_list.p + i;
        struct pull_want want = { .app = a->app,
                                  .stage = UINT32_MAX,
                                  .conn = a->data,
                                  .bytes_max =
                                      lib->bytes && lib->bytes < LIB_BYTES_MAX ? lib->bytes : LIB_BYTES_MAX };
        if ((a->libs_asked | a->libs_here) >> i & 1)
            continue;
        memcpy(want.block.b, lib->id, ID_BYTES);
        want.copy = want.block;
        struct copy *c = copy_start(x, a, &want, NULL);
        if (!c)
            return;
        a->libs_asked |= 1ull << i;
        if (c->here)
            lib_check(x, a, i);
    }
}

static void lib_failed(struct executor *x, struct app *a, uint32_t i, const char *words)
{
    char whole[320];
    a->libs_asked &= ~(1ull << i);
    snprintf(whole, sizeof whole, "a library of the job can't be had: %s", words);
    load_failed(x, a, whole, "");
    if (a->queue.tasks)
        libs_fetch(x, a);
}

/* A lost connection is nobody's failure: it goes on when the driver is back. */
void libs_arrived(struct executor *x, struct copy *c, uint32_t code, const char *words)
{
    struct app *a = c->app;
    for (uint32_t i = 0; i < nlibs(a); i++) {
        if (memcmp(((const struct rec_lib *)a->lib_list.p)[i].id, c->id.b, ID_BYTES))
            continue;
        if (code == 0)
            lib_check(x, a, i);
        else if (code == BLOCK_UNREACHABLE)
            a->libs_asked &= ~(1ull << i);
        else
            lib_failed(x, a, i, words);
    }
}

static void lib_checked(struct executor *x, struct app *a, uint32_t i, int64_t result)
{
    if (result) {
        struct block_id id;
        memcpy(id.b, ((const struct rec_lib *)a->lib_list.p)[i].id, ID_BYTES);
        copy_forget(x, a, id);
        lib_failed(x, a, i, "what arrived is not what was named");
        return;
    }
    a->libs_here |= 1ull << i;
    a->libs_asked &= ~(1ull << i);
    MAP_EACH(&x->leases, k) {
        struct lease *l = map_at(&x->leases, k);
        if (l->app == a)
            hosts_assign(x, l);
    }
}

void stage_job_done(struct executor *x, struct job *j, int64_t result)
{
    struct app *a = job_app(x, j);
    struct stage *s = a ? map_get(&a->stages, j->stage) : NULL;
    if (!a || a->ending)
        return;
    if (j->kind == JOB_LIBRARY)
        lib_checked(x, a, j->index, result);
    else if (s) {
        s->save = result == 0 ? 1 : 2;
        s->state = STAGE_READY;
        tasks_dispatch(x, a);
    }
}

/* ---- stages -------------------------------------------------------------------- */

/* NULL: there are too many, which was said. */
static struct stage *stage_new(struct executor *x, struct app *a, uint32_t stage)
{
    struct stage *s = a->stages.n < STAGES_MAX ? calloc(1, sizeof *s) : NULL;
    if (!s) {
        refuse(x, a->control, REFUSE_LIMIT, stage, "too many stages at once");
        return NULL;
    }
    *s = (struct stage){ .stage = stage, .state = STAGE_READY, .task_ns = HOST_AHEAD_NS };
    map_put(&a->stages, stage, s);
    executor_event(x, "stage.started", a->app, 0, stage, 0);
    return s;
}

void on_stage(struct executor *x, struct app *a, const struct msg_stage *m, struct bytes frame)
{
    struct stage *s = map_get(&a->stages, m->stage);
    bool first = !s;
    if (s && m->version <= s->told->msg->version && !FERRO_PLANT(stale_version))
        return;
    uint64_t others = a->stage_bytes - (s ? told_bytes(s->told) : 0);
    if (others + frame.n + x->in.total > STAGE_BYTES_MAX) { /* as it was decoded just now */
        refuse(x, a->control, REFUSE_LIMIT, m->stage, "the stages take too much memory together");
        return;
    }
    if (first && !(s = stage_new(x, a, m->stage)))
        return;
    told_drop(&s->told);
    s->told = told_new(x, frame);
    a->stage_bytes = others + told_bytes(s->told);
    if (first && m->save_dir.n)
        token_check(x, a, s);
    libs_learn(a, s->told->msg);
    libs_fetch(x, a);
    tasks_dispatch(x, a);
}

/* Forgotten; false: never here, or freed already. */
static bool stage_forget(struct executor *x, struct app *a, uint32_t stage)
{
    struct stage *s = map_get(&a->stages, stage);
    if (stage ==
        UINT32_MAX) /* libraries', and in an IO_FREE all: only the end of the application frees those */
        return false;
    if (!s && !map_has(&a->shelves, stage))
        return false;
    if (s) {
        map_del(&a->stages, stage);
        stage_free(a, s);
    }
    stage_copies_drop(x, a, stage);
    stage_blocks_drop(x, a, stage);
    return true;
}

void on_block_free(struct executor *x, struct app *a, const struct msg_block_free *m)
{
    struct job *j;
    uint32_t n = 0;
    if (a->freeing >= FREES_MAX) {
        refuse(x, a->control, REFUSE_LIMIT, 0, "too many stages' files are being removed");
        return;
    }
    uint32_t *stages = arena_alloc(&x->out->arena, (m->stages.n + 1u) * sizeof *stages);
    for (uint32_t i = 0; i < m->stages.n; i++)
        if (stage_forget(x, a, m->stages.v[i].n))
            stages[n++] = m->stages.v[i].n;
    if (n == 0)
        return;
    struct action *act = io_start(x, JOB_FREE, IO_FREE, a->app, &j);
    act->stage = j->stage = stages[0];
    act->io.bytes = (struct bytes){ (const uint8_t *)(stages + 1), (n - 1) * (uint32_t)sizeof *stages };
    a->freeing++;
    x->freeing++;
}

void free_done(struct executor *x, struct job *j)
{
    struct app *a = job_app(x, j);
    if (j->stage == UINT32_MAX) /* all of an application that is gone */
        return;
    x->freeing--;
    if (a)
        a->freeing--;
}

/* ---- what we have ---------------------------------------------------------------- */

struct shelf *shelf_of(struct app *a, uint32_t stage)
{
    struct shelf *f = map_get(&a->shelves, stage);
    if (f)
        return f;
    f = calloc(1, sizeof *f);
    if (!f)
        abort();
    map_put(&a->shelves, stage, f);
    return f;
}

void shelf_settle(struct app *a, uint32_t stage)
{
    struct shelf *f = map_get(&a->shelves, stage);
    if (!f || f->blocks || f->copies)
        return;
    map_del(&a->shelves, stage);
    free(f);
}

void stage_blocks_drop(struct executor *x, struct app *a, uint32_t stage)
{
    struct shelf *f = map_get(&a->shelves, stage);
    for (struct block *b = f ? f->blocks : NULL, *next; b; b = next) {
        next = b->next; /* the last one takes the shelf along */
        block_drop(x, b);
    }
}

/* The fast folder's budget is what is counted. */
static uint64_t counted(const struct block *b)
{
    return b->disk ? 0 : b->bytes;
}

void block_add(struct executor *x, struct app *a, struct block_id id, uint32_t stage, uint64_t bytes,
               bool disk)
{
    uint64_t key = block_key(a->app, id);
    struct block *b = map_get(&x->blocks, key);
    if (b) /* the same attempt again, after its host ended: the file is the newer one's */
        block_drop(x, b);
    b = calloc(1, sizeof *b);
    if (!b)
        abort();
    struct shelf *f = shelf_of(a, stage);
    *b =
        (struct block){ .app = a, .next = f->blocks, .id = id, .stage = stage, .disk = disk, .bytes = bytes };
    if (f->blocks)
        f->blocks->prev = b;
    f->blocks = b;
    map_put(&x->blocks, key, b);
    x->block_bytes += counted(b);
}

void block_drop(struct executor *x, struct block *b)
{
    struct app *a = b->app;
    uint32_t stage = b->stage;
    x->block_bytes -= counted(b);
    map_del(&x->blocks, block_key(a->app, b->id));
    *(b->prev ? &b->prev->next : &shelf_of(a, stage)->blocks) = b->next;
    if (b->next)
        b->next->prev = b->prev;
    free(b);
    shelf_settle(a, stage);
}
