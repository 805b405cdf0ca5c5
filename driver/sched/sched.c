/* sched.c - the step: one event in, actions out. */
#include "driver/sched/core.h"

#include <stdlib.h>
#include <string.h>

#define SUSPECT_MS 5000 /* until WELCOME says otherwise */
#define LOST_MS 20000

/* ---- life --------------------------------------------------------------------------------- */

static void keep_config(struct sched *s, const struct sched_config *config)
{
    struct sched_config *c = &s->config;
    *c = *config;
    c->manager = arena_strdup(&s->keep, c->manager ? c->manager : "");
    c->name = arena_strdup(&s->keep, c->name ? c->name : "");
    c->labels = arena_strdup(&s->keep, c->labels ? c->labels : "");
    c->libs = arena_alloc(&s->keep, (c->nlibs + 1ull) * sizeof *c->libs);
    for (uint32_t i = 0; i < c->nlibs; i++) {
        c->libs[i] = config->libs[i];
        c->libs[i].name = arena_bytes(&s->keep, config->libs[i].name);
    }
}

struct sched *sched_new(const struct sched_config *config)
{
    struct sched *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    keep_config(s, config);
    s->epoch = config->epoch;
    s->beat_ms = config->beat_ms ? config->beat_ms : 1000;
    s->suspect_ms = SUSPECT_MS;
    s->mgr_lost_ms = LOST_MS;
    s->pulls = pulls_new();
    s->next_conn = CONN_DIALLED + 1;
    s->next_io = s->next_pulling = 1;
    s->tick_ns = UINT64_MAX;
    for (uint32_t i = 0; i < s->config.nlibs; i++) {
        struct block_id id;
        memcpy(id.b, s->config.libs[i].id, ID_BYTES);
        blocks_serve(s, id, s->config.libs[i].bytes);
    }
    return s;
}

static void free_all(struct map *m)
{
    MAP_EACH(m, i)
        free(map_at(m, i));
    map_fini(m);
}

void sched_free(struct sched **sp)
{
    struct sched *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    jobs_free(s);
    keep_fini(s);
    for (uint32_t i = 0; i < s->nexecs; i++)
        execs_free(s->execs[i]);
    free(s->execs);
    struct map *owned[] = { &s->leases, &s->pullings, &s->works, &s->served };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free_all(owned[i]);
    struct map *borrowed[] = { &s->by_incarnation, &s->given_before, &s->conns, &s->hungry, &s->touched };
    for (size_t i = 0; i < sizeof borrowed / sizeof *borrowed; i++)
        map_fini(borrowed[i]);
    buf_fini(&s->pull_queue);
    pulls_free(&s->pulls);
    arena_fini(&s->in);
    arena_fini(&s->keep);
    free(s);
}

/* ---- helpers of all files -------------------------------------------------------------------- */

void sched_wake(struct sched *s, uint64_t at_ns)
{
    if (at_ns < s->tick_ns)
        s->tick_ns = at_ns;
}

void sched_send(struct sched *s, conn_id conn, uint8_t tag, const void *msg)
{
    actions_send(s->out, conn, (struct head){ tag, s->epoch, s->generation }, msg);
}

void sched_note(struct sched *s, int what, const void *arg)
{
    struct action *act = actions_add(s->out, ACT_CALL);
    act->app = s->config.app;
    act->call.what = what;
    act->call.arg = arg;
}

struct sched_event *sched_event_add(struct sched *s, const char *name)
{
    struct sched_event *e = arena_alloc(&s->out->arena, sizeof *e);
    e->name = name;
    e->app = s->config.app;
    s->changed = true;
    sched_note(s, SCHED_EVENT, e);
    return e;
}

const char *sched_text(struct sched *s, struct bytes b)
{
    char *p = arena_alloc(&s->out->arena, b.n + 1u);
    if (b.n)
        memcpy(p, b.p, b.n);
    return p;
}

void sched_exit(struct sched *s, int code)
{
    if (s->exiting)
        return;
    s->exiting = true;
    s->exit_code = code;
}

/* ---- events ------------------------------------------------------------------------------------- */

static void on_call(struct sched *s, int what, const void *arg)
{
    const struct sched_close *c = arg;
    const struct served_block *b = arg;
    switch (what) {
    case SCHED_RUN: jobs_run(s, arg); break;
    case SCHED_CLOSE: mgr_close(s, c->exit_code, c->words); break;
    case SCHED_INTERRUPT: mgr_close(s, EXIT_INTERRUPTED, "interrupted"); break;
    case SCHED_SERVE: blocks_serve(s, b->id, b->bytes.n); break;
    case SCHED_FORGET: keep_forget(s, *(const uint64_t *)arg); break;
    default: break;
    }
}

static void on_recv(struct sched *s, const struct event *ev)
{
    struct exec *x = map_get(&s->conns, ev->conn);
    arena_reset(&s->in);
    if (s->manager && ev->conn == s->manager)
        mgr_frame(s, ev->recv.frame);
    else if (x)
        links_frame(s, x, ev->conn, ev->recv.frame);
    else
        s->refused++; /* of a connection that we have cut */
}

static void on_io(struct sched *s, const struct event *ev)
{
    struct pull_result r;
    struct io_work *w = map_get(&s->works, ev->id);
    if (!w) {
        if (pulls_on_io(s->pulls, ev, s->out, &r))
            commit_pull_ended(s, &r);
        return;
    }
    map_del(&s->works, ev->id);
    switch (w->kind) {
    case WORK_SERVE: blocks_served(s, w, ev->io.result); break;
    case WORK_EMPTY:
    case WORK_SYNC: commit_io_done(s, w, ev->io.result); break;
    case WORK_COMMIT: jobs_committed(s, ev->io.result); break;
    case WORK_FREE: break;
    }
    free(w);
}

static void on_conn(struct sched *s, const struct event *ev)
{
    struct exec *x = map_get(&s->conns, ev->conn);
    bool up = ev->kind == EV_CONN_UP;
    if (s->manager && ev->conn == s->manager) {
        if (up)
            mgr_up(s);
        else
            mgr_down(s, ev->down.reason, ev->down.words);
    } else if (x && up)
        links_up(s, x, ev->conn);
    else if (x)
        links_down(s, x, ev->conn, ev->down.reason, ev->down.words);
}

static void dispatch(struct sched *s, const struct event *ev)
{
    switch (ev->kind) {
    case EV_START:
        prng_seed(&s->prng, ev->start.seed);
        mgr_dial(s);
        break;
    case EV_RECV: on_recv(s, ev); break;
    case EV_CONN_UP:
    case EV_CONN_DOWN: on_conn(s, ev); break;
    case EV_PROBED:
        if (ev->id < s->nexecs)
            links_probed(s, s->execs[ev->id], ev->probed.refused);
        break;
    case EV_IO_DONE: on_io(s, ev); break;
    case EV_CALL: on_call(s, ev->call.what, ev->call.arg); break;
    default: break;
    }
}

/* ---- the step ------------------------------------------------------------------------------------- */

static void on_stall(struct sched *s, uint64_t late)
{
    beat_stalled(&s->mgr_beat, late);
    execs_stalled(s, late);
    s->close_ns += late;
}

static void tick(struct sched *s)
{
    s->tick_ns = UINT64_MAX;
    mgr_time(s);
    execs_time(s);
    grants_time(s);
    copies_stragglers(s);
}

/* What this event made possible or necessary. */
static void settle(struct sched *s)
{
    jobs_settle(s);
    feed(s);
    if (s->rebalance)
        copies_rebalance(s);
    jobs_settle(s); /* a stage that could not be told has ended it */
    mgr_ask(s, false);
    execs_flush(s);
    mgr_settle(s);
    if (s->changed)
        sched_note(s, SCHED_PROGRESS, NULL);
    s->changed = false;
}

void sched_step(struct sched *s, const struct event *ev, uint64_t now_ns, struct actions *out)
{
    if (s->exited)
        return;
    s->now = now_ns;
    s->out = out;
    s->step++;
    uint64_t late = stall_begin(&s->stall, now_ns);
    if (late)
        on_stall(s, late);
    dispatch(s, ev);
    if (s->now >= s->tick_ns)
        tick(s);
    settle(s);
    if (s->exiting) {
        actions_add(out, ACT_EXIT)->exit_code = s->exit_code;
        s->exited = true;
    }
    s->out = NULL;
    stall_end(&s->stall, sched_deadline(s));
}

uint64_t sched_deadline(const struct sched *s)
{
    return s->exited ? UINT64_MAX : s->tick_ns;
}

/* ---- figures ------------------------------------------------------------------------------------------ */

static void progress_of_job(const struct sched *s, const struct job *j, struct sched_progress *out)
{
    const struct stage *st = j->nactive ? j->active[0] : jobs_last(j);
    out->stages = j->stages_run;
    out->stage = st->number;
    out->stage_name = st->spec->name;
    out->tasks = st->ntasks;
    out->done = st->done;
    out->running =
        (st->sent < s->usable_slots ? st->sent : s->usable_slots) + st->pulling; /* the rest waits there */
    out->failed = j->failed;
    out->reruns = j->reruns;
    out->tasks_all = j->tasks_all;
    out->bytes_read = j->bytes_read;
    out->bytes_input = j->bytes_input;
    out->bytes_shuffled = j->bytes_shuffled;
    out->rows_out = j->rows_out;
    out->parts_by_driver = j->by_driver;
    out->parts_by_executors = j->by_executors;
    out->waits = s->mgr != MGR_OPEN && s->usable_slots == 0 ? s->away_words : s->waits;
}

void sched_keep_figures(struct sched *s)
{
    struct job *j = s->job;
    j->nactive = 0;
    if (j->spec->nstages)
        progress_of_job(s, j, &s->last);
    s->last.running = 0;
    s->last.stage_name = s->last.waits = ""; /* the job's own are gone with it */
}

/* Without a job: of the last one. */
void sched_progress(const struct sched *s, struct sched_progress *out)
{
    *out = s->last;
    if (!out->waits)
        out->stage_name = out->waits = "";
    out->executors = s->usable_execs;
    out->slots = s->usable_slots;
    out->task_messages = s->task_messages;
    if (s->job && s->job->spec->nstages)
        progress_of_job(s, s->job, out);
}
