/* stage.c - what a stage's tasks have in common, and the libraries that they need. */
#include "executor/core/core.h"

#include <stdlib.h>
#include <string.h>

void stage_free(struct stage *s)
{
    buf_fini(&s->frame);
    arena_fini(&s->arena);
    free(s);
}

/* Decode our own copy of the frame: the message's bytes live as long as the stage. */
static void stage_keep(struct stage *s, struct bytes frame)
{
    struct head head;
    arena_fini(&s->arena);
    buf_reset(&s->frame);
    buf_put(&s->frame, frame.p, frame.n);
    s->msg = proto_decode(&s->arena, (struct bytes){ s->frame.p, (uint32_t)s->frame.n }, &head, NULL);
    s->version = s->msg->version;
}

/* Does this executor see the output folder?  Its token says. */
static void token_check(struct executor *x, struct app *a, struct stage *s)
{
    struct job *j;
    struct buf path = { 0 };
    s->state = STAGE_CHECKING;
    buf_printf(&path, "%.*s/_ferro/%llu/token", (int)s->msg->save_dir.n, (const char *)s->msg->save_dir.p, (unsigned long long)a->app);
    struct action *act = io_start(x, JOB_TOKEN, IO_TOKEN, a->app, &j);
    act->stage = s->stage;
    act->io.path = arena_copy(&x->out->arena, path.p, path.n + 1);
    act->io.bytes = (struct bytes){ arena_copy(&x->out->arena, s->msg->save_token, ID_BYTES), ID_BYTES };
    j->stage = s->stage;
    buf_fini(&path);
}

static void lib_fetch(struct executor *x, struct app *a, const struct rec_lib *lib)
{
    struct pull_want want = { .app = a->app, .stage = UINT32_MAX, .conn = a->data };
    memcpy(want.block.b, lib->id, ID_BYTES);
    want.copy = want.block;
    copy_start(x, a, &want, 0, NULL);
}

static void libs_fetch(struct executor *x, struct app *a, const struct msg_stage *m)
{
    if (a->libs || m->libs.n == 0 || !a->data)
        return;
    a->libs = 1;
    a->libs_left = m->libs.n;
    arena_reset(&a->keep);
    buf_reset(&a->lib_list);
    for (uint32_t i = 0; i < m->libs.n; i++) {
        struct rec_lib lib = m->libs.v[i];
        lib.name = arena_bytes(&a->keep, lib.name);
        buf_put(&a->lib_list, &lib, sizeof lib);
    }
    for (uint32_t i = 0; i < m->libs.n; i++)
        lib_fetch(x, a, (const struct rec_lib *)a->lib_list.p + i);
}

static void libs_failed(struct executor *x, struct app *a, const char *words)
{
    struct run r;
    a->libs = 0;
    actions_log(x->out, LOG_WARN, "app %llu: its library can't be had: %s", (unsigned long long)a->app, words);
    while (runs_pop(&a->queue, 1, &r))
        report_fail(x, a, r, CAUSE_HOST, 0, 0, 0, words, "");
}

void libs_arrived(struct executor *x, struct copy *c, uint32_t code, const char *words)
{
    struct app *a = c->app;
    struct job *j;
    if (code) {
        libs_failed(x, a, words);
        return;
    }
    struct action *act = io_start(x, JOB_LIBRARY, IO_LIBRARY, a->app, &j);
    act->io.block = c->id;
}

static void libs_checked(struct executor *x, struct app *a, int64_t result)
{
    if (result) {
        libs_failed(x, a, "the library that arrived is not the one that was named");
        return;
    }
    if (--a->libs_left)
        return;
    a->libs = 2;
    MAP_EACH(&x->leases, i) {
        struct lease *l = map_at(&x->leases, i);
        if (l->app == a)
            hosts_assign(x, l);
    }
}

void stage_job_done(struct executor *x, struct job *j, int64_t result)
{
    struct app *a = map_get(&x->apps, j->app);
    struct stage *s = a ? map_get(&a->stages, j->stage) : NULL;
    if (!a)
        return;
    if (j->kind == JOB_LIBRARY)
        libs_checked(x, a, result);
    else if (s) {
        s->save = result == 0 ? 1 : 2;
        s->state = STAGE_READY;
        tasks_dispatch(x, a);
    }
}

void on_stage(struct executor *x, struct app *a, const struct msg_stage *m, struct bytes frame)
{
    struct stage *s = map_get(&a->stages, m->stage);
    if (s && m->version <= s->version && !FERRO_PLANT(stale_version))
        return;
    if (!s) {
        if (a->stages.n >= STAGES_MAX || !(s = calloc(1, sizeof *s))) {
            refuse(x, a->control, REFUSE_LIMIT, m->stage, "too many stages at once");
            return;
        }
        s->stage = m->stage;
        s->state = STAGE_READY;
        map_put(&a->stages, s->stage, s);
        executor_event(x, "stage.started", a->app, 0, s->stage, 0);
    }
    bool first = !s->msg;
    stage_keep(s, frame);
    if (first && m->save_dir.n)
        token_check(x, a, s);
    libs_fetch(x, a, s->msg);
    tasks_dispatch(x, a);
}

void on_block_free(struct executor *x, struct app *a, const struct msg_block_free *m)
{
    struct job *j;
    for (uint32_t i = 0; i < m->stages.n; i++) {
        uint32_t stage = m->stages.v[i].n;
        struct stage *s = map_get(&a->stages, stage);
        if (s) {
            map_del(&a->stages, stage);
            stage_free(s);
        }
        app_drop_copies(x, a, stage);
        MAP_EACH(&x->blocks, k) {
            struct block *b = map_at(&x->blocks, k);
            if (b->app != a || b->stage != stage)
                continue;
            x->block_bytes -= b->bytes;
            map_del(&x->blocks, map_key(&x->blocks, k));
            free(b);
        }
        io_start(x, JOB_FREE, IO_FREE, a->app, &j)->stage = stage;
    }
}
