/* commit.c - the first success of a task counts.
 *
 * What it made may have to come here first: a large result, or a part of a saved output that the
 * executor could not write itself.  Until that is done the task is TASK_PULLING.
 */
#include "driver/sched/core.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t nothing[1];

/* ---- take: only a prefix counts --------------------------------------------------------- */

static void take_on(struct sched *s, struct stage *st)
{
    struct job *j = s->job;
    while (j->prefix < st->ntasks && st->tasks[j->prefix].state == TASK_DONE &&
           j->prefix_rows < j->spec->take_rows)
        j->prefix_rows += st->rows[j->prefix++];
    if (j->prefix_rows >= j->spec->take_rows)
        jobs_end(s, 0, "%s", "");
    else if (j->prefix == st->limit)
        st->limit = st->limit > st->ntasks / 2 ? st->ntasks : st->limit * 2;
}

/* ---- committing ---------------------------------------------------------------------------- */

static void say_committed(struct sched *s, const struct stage *st, uint32_t part, uint32_t attempt,
                          const struct exec *x)
{
    struct action *last = s->out->n ? &s->out->v[s->out->n - 1] : NULL;
    struct sched_event *e = last && last->kind == ACT_CALL && last->call.what == SCHED_EVENT
                                ? (struct sched_event *)last->call.arg
                                : NULL;
    if (e && e->executor == x->name && !strcmp(e->name, "task.committed") && e->stage == st->number &&
        e->attempt == attempt && e->part + e->count == part) {
        e->count++;
        return;
    }
    e = sched_event_add(s, "task.committed");
    e->stage = st->number;
    e->part = part;
    e->attempt = attempt;
    e->count = 1;
    e->executor = x->name;
}

static void hand_over(struct sched *s, const struct stage *st, uint32_t part, uint32_t attempt,
                      struct bytes bytes)
{
    struct sched_result *r = arena_alloc(&s->out->arena, sizeof *r);
    *r = (struct sched_result){ st->number, part, attempt, bytes };
    sched_note(s, SCHED_RESULT, r);
}

static void committed(struct sched *s, struct stage *st, struct exec *x, uint32_t part, uint32_t attempt,
                      uint64_t rows)
{
    struct job *j = s->job;
    struct task *t = &st->tasks[part];
    t->state = TASK_DONE;
    t->exec = x->index;
    t->of = (uint8_t)attempt;
    st->done++;
    if (st->failed.n || st->voided.n)
        fail_forget(st, part);
    say_committed(s, st, part, attempt, x);
    if (st->index == j->spec->nstages - 1)
        j->rows_out += rows;
    if (st->rows) {
        st->rows[part] = rows;
        take_on(s, st);
    }
    j->dirty |= st->done == st->ntasks;
}

static void commit_map(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r)
{
    st->out_bytes[r->part] = r->out_bytes;
    cuts_add(s->job, st, r);
    x->outputs += r->out_bytes > 0;
    committed(s, st, x, r->part, r->attempt, r->rows);
}

/* ---- pulling first ---------------------------------------------------------------------------- */

static void make_part(struct sched *s, const struct pulling *p, enum io_kind kind, enum io_op op)
{
    struct io_work *w;
    struct action *act = blocks_io(s, kind, op, &w);
    w->pulling = p->number;
    act->stage = p->st->number;
    act->part = p->part;
    act->attempt = p->attempt;
    act->io.block = block_output(p->st->number, p->part, p->attempt);
    act->io.bytes = (struct bytes){ nothing, 0 };
    act->io.last = true;
}

static void pull_start(struct sched *s, struct pulling *p)
{
    s->pulls_under_way++;
    p->under_way = true;
    if (!p->block) {
        make_part(s, p, WORK_EMPTY, IO_WRITE);
        return;
    }
    struct block_id id = block_output(p->st->number, p->part, p->attempt);
    struct pull_want want = { .user = p->number,
                              .app = s->config.app,
                              .block = id,
                              .copy = id,
                              .stage = p->st->number,
                              .part = p->part,
                              .attempt = p->attempt,
                              .conn = p->x->data.conn };
    pulls_start(s->pulls, &want, &(struct head){ .epoch = s->epoch, .generation = s->generation }, s->out);
}

/* As many as may be under way; those whose executor is away wait behind the others. */
void commit_pulls_go(struct sched *s)
{
    uint32_t n = (uint32_t)(s->pull_queue.n / sizeof(uint64_t)), left = 0;
    uint64_t *queue = (uint64_t *)s->pull_queue.p;
    if (n == 0 || s->pulls_under_way >= PULLS_MAX)
        return;
    for (uint32_t i = 0; i < n; i++) {
        struct pulling *p = map_get(&s->pullings, queue[i]);
        if (!p)
            continue;
        if (s->pulls_under_way < PULLS_MAX && (!p->block || p->x->data_ready))
            pull_start(s, p);
        else
            queue[left++] = queue[i];
    }
    s->pull_queue.n = left * sizeof *queue;
}

static void pull_later(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r,
                       bool block)
{
    struct pulling *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    *p = (struct pulling){ s->next_pulling++, st, x, r->part, r->attempt, r->rows, block, false };
    struct task *t = &st->tasks[r->part];
    t->state = TASK_PULLING;
    t->exec = x->index;
    t->of = (uint8_t)r->attempt;
    st->pulling++;
    s->job->pulled = true;
    map_put(&s->pullings, p->number, p);
    buf_put(&s->pull_queue, &p->number, sizeof p->number);
    commit_pulls_go(s);
}

static void pull_forget(struct sched *s, struct pulling *p)
{
    p->st->pulling--;
    map_del(&s->pullings, p->number);
    free(p);
}

/* It could not be had: the task runs again, and that counts for nothing. */
static void pull_failed(struct sched *s, struct pulling *p, const char *words)
{
    struct stage *st = p->st;
    uint32_t part = p->part;
    struct sched_event *e = sched_event_add(s, "pull.failed");
    e->stage = st->number;
    e->part = part;
    e->attempt = p->attempt;
    e->executor = p->x->name;
    e->words = sched_text(s, bytes_of(words));
    pull_forget(s, p);
    s->job->reruns++;
    attempt_again(s, st, part, true);
}

/* What was pulled can't be kept here: this driver's own disk or memory, so no other attempt would fare better. */
static void keep_failed(struct sched *s, struct pulling *p, const char *words)
{
    jobs_end(s, -1, "stage %u, %s (%s), partition %u/%u: what it made can't be kept by the driver: %s\n",
             p->st->number, p->st->spec->name, p->st->spec->place, p->part, p->st->ntasks, words);
}

static void pull_done(struct sched *s, struct pulling *p)
{
    struct stage *st = p->st;
    struct exec *x = p->x;
    uint32_t part = p->part, attempt = p->attempt;
    uint64_t rows = p->rows;
    pull_forget(s, p);
    if (st->spec->kind == STAGE_SAVE)
        s->job->by_driver++;
    else
        hand_over(s, st, part, attempt, (struct bytes){ 0 });
    committed(s, st, x, part, attempt, rows);
}

void commit_pull_ended(struct sched *s, const struct pull_result *r)
{
    struct pulling *p = map_get(&s->pullings, r->user);
    if (!p || s->job->ended)
        return;
    bool begun =
        r->total > 0 && p->st->spec->kind == STAGE_SAVE; /* a write may be under way, and outlast a sync */
    bool away = r->code == BLOCK_UNREACHABLE && !p->x->lost && !begun;
    if (r->code == 0 && p->st->spec->kind == STAGE_SAVE) {
        make_part(s, p, WORK_SYNC, IO_SYNC);
        return;
    }
    s->pulls_under_way--;
    if (r->code == 0)
        pull_done(s, p);
    else if (away || (r->code == BLOCK_BUSY && !begun)) {
        p->under_way = false;
        buf_put(&s->pull_queue, &p->number, sizeof p->number);
    } else if (r->code == BLOCK_FULL)
        keep_failed(s, p, r->words);
    else
        pull_failed(s, p, r->words);
    commit_pulls_go(s);
}

void commit_io_done(struct sched *s, const struct io_work *w, int64_t result)
{
    struct pulling *p = map_get(&s->pullings, w->pulling);
    if (!p || s->job->ended)
        return;
    if (result < 0) {
        s->pulls_under_way--;
        keep_failed(s, p, strerror((int)-result));
    } else if (w->kind == WORK_EMPTY)
        make_part(s, p, WORK_SYNC, IO_SYNC);
    else {
        s->pulls_under_way--;
        pull_done(s, p);
        commit_pulls_go(s);
    }
}

void commit_drop(struct sched *s, struct exec *x)
{
    MAP_EACH(&s->pullings, i) {
        struct pulling *p = map_at(&s->pullings, i);
        if (x &&
            (p->x != x || !p->block || p->under_way)) /* under way: ends with its connection, or needs none */
            continue;
        if (x)
            pull_failed(s, p, "the executor that has it is lost");
        else
            pull_forget(s, p);
    }
    if (!x) {
        pulls_drop_app(s->pulls, s->config.app);
        buf_reset(&s->pull_queue);
        s->pulls_under_way = 0;
    }
}

/* ---- the report of a success ------------------------------------------------------------------- */

static void commit_save(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r)
{
    if (r->flags & REPORT_SAVED_HERE) {
        s->job->by_executors++;
        committed(s, st, x, r->part, r->attempt, r->rows);
    } else
        pull_later(s, st, x, r, r->flags & REPORT_SAVE_BLOCK && r->out_bytes);
}

static void commit_result(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r)
{
    if (r->flags & REPORT_RESULT_BLOCK) {
        pull_later(s, st, x, r, true);
        return;
    }
    if (r->result.n)
        hand_over(s, st, r->part, r->attempt, arena_bytes(&s->out->arena, r->result));
    committed(s, st, x, r->part, r->attempt, r->rows);
}

/* Is this success the one that counts?  Then its attempt has ended, and any other is called off. */
static bool wins(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r)
{
    bool known = attempt_is(st, r->part, x, r->attempt);
    if (known && attempt_end(s, st, r->part, x, r->attempt))
        attempt_cancel_others(s, st, r->part);
    if (known)
        return true;
    s->voided++;
    return (FERRO_PLANT(sched_second_commit) && st->tasks[r->part].state == TASK_DONE) ||
           (FERRO_PLANT(sched_void_accepted) && st->tasks[r->part].state == TASK_PENDING);
}

void commit_success(struct sched *s, struct stage *st, struct exec *x, const struct rec_report *r)
{
    if (!wins(s, st, x, r))
        return;
    backoff_reset(&x->rest);
    x->unstarted = 0;
    x->limited = 0;
    s->job->bytes_read += r->bytes_read;
    s->job->bytes_input += stages_has_source(st) ? r->bytes_read : 0;
    if (stages_is_map(st))
        commit_map(s, st, x, r);
    else if (st->spec->kind == STAGE_SAVE)
        commit_save(s, st, x, r);
    else
        commit_result(s, st, x, r);
}

void commit_run(struct sched *s, struct stage *st, struct exec *x, const struct rec_success *r)
{
    struct rec_report ok = { .stage = r->stage, .attempt = r->attempt, .rows = r->rows };
    for (uint32_t i = 0; i < r->count && !s->job->ended; i++) {
        ok.part = r->first + i;
        commit_success(s, st, x, &ok);
    }
}
