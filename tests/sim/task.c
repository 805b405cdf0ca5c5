/* task.c - one task in a simulated host: read, compute, write, report. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define FOOTER_BYTES 8

/* ---- phases ----------------------------------------------------------------------- */

static void later(struct thost *h, uint64_t ns, void (*run)(struct sim *, struct todo *))
{
    struct todo *t = sim_after(h->sim, ns, run, NULL);
    t->a = h->number;
    t->b = h->generation;
}

/* The host, if it is still at what was put off; else NULL. */
static struct thost *still(struct sim *s, const struct todo *t)
{
    struct thost *h = map_get(&s->hosts, t->a);
    return h->alive && h->generation == t->b ? h : NULL;
}

static void finish(struct thost *h)
{
    h->phase = PHASE_IDLE;
    h->generation++;
    h->sim->running -= h->counted;
    h->counted = false;
    h->st = NULL;
    disk_release(&h->save);
}

static void report(struct thost *h, struct rec_report *r, bool plain)
{
    struct rec_success run = { h->task.stage, h->task.part, 1, h->task.attempt, r->rows };
    struct msg_done m = { .app = h->app, .busy_ns = h->takes };
    r->stage = h->task.stage;
    r->part = h->task.part;
    r->attempt = h->task.attempt;
    if (plain)
        m.runs.v = &run, m.runs.n = 1;
    else
        m.reports.v = r, m.reports.n = 1;
    finish(h);
    if (!h->orphan)
        thost_say(h, MSG_DONE, &m);
    thost_next(h);
}

static void report_cause(struct thost *h, enum cause cause, const char *words)
{
    report(h, &(struct rec_report){ .cause = cause, .words = bytes_of(words) }, false);
}

static void report_fetch(struct thost *h, const struct rec_map *map, const char *words)
{
    struct rec_report r = { .cause = CAUSE_FETCH, .words = bytes_of(words) };
    if (map)
        r.fetch_stage = map->stage, r.fetch_part = map->part, r.fetch_attempt = map->attempt;
    report(h, &r, false);
}

/* ---- output -------------------------------------------------------------------------- */

static void scratch_put(struct thost *h, struct buf *file)
{
    struct buf *kept = malloc(sizeof *kept);
    uint64_t key = task_key(h->task.stage, h->task.part, h->task.attempt);
    struct buf *old = map_get(&h->scratch, key);
    if (!kept)
        abort();
    if (old) {
        buf_fini(old);
        free(old);
    }
    *kept = *file;
    map_put(&h->scratch, key, kept);
}

static void put_map(struct thost *h)
{
    struct buf file = { 0 }, sizes = { 0 }, samples = { 0 };
    struct rec_cut cuts[64];
    work_file(&h->recipe, &h->got, &file, &sizes, &samples);
    struct rec_report r = { .out_bytes = file.n, .rows = h->got.n, .sizes = { sizes.p, (uint32_t)sizes.n } };
    r.samples.n = (uint32_t)(samples.n / 8);
    for (uint32_t i = 0; i < r.samples.n; i++)
        cuts[i].key = (struct bytes){ samples.p + 8 * i, 8 };
    r.samples.v = cuts;
    scratch_put(h, &file);
    report(h, &r, false);
    buf_fini(&sizes);
    buf_fini(&samples);
}

static void put_result(struct thost *h)
{
    struct rec_report r = { .rows = h->got.n };
    struct buf file = { 0 };
    struct bytes all = { (const uint8_t *)h->got.v, h->got.n * (uint32_t)sizeof *h->got.v };
    bool block =
        all.n > RESULT_INLINE_BYTES_MAX || (all.n && sim_mix(h->recipe.seed, h->task.part, 9) % 4 == 0);
    if (block) {
        buf_put(&file, all.p, all.n);
        scratch_put(h, &file);
        r.flags = REPORT_RESULT_BLOCK;
        r.out_bytes = all.n;
    } else
        r.result = all;
    report(h, &r, h->recipe.plain);
}

static void on_saved(struct sim *s, struct todo *t)
{
    struct thost *h = still(s, t);
    if (!h)
        return;
    size_t half = h->got.n / 2 * sizeof *h->got.v, all = h->got.n * sizeof *h->got.v;
    disk_write(s, h->save, (const uint8_t *)h->got.v + half, all - half);
    report(h, &(struct rec_report){ .rows = h->got.n, .flags = REPORT_SAVED_HERE }, false);
}

static void put_saved(struct thost *h)
{
    struct buf file = { 0 };
    if (h->st->save == 1) {
        struct rec_want w = {
            .kind = WANT_SAVE, .stage = h->task.stage, .part = h->task.part, .attempt = h->task.attempt
        };
        h->phase = PHASE_SAVE;
        thost_say(h, MSG_FETCH, &(struct msg_fetch){ .wants = { &w, 1 } });
        return;
    }
    buf_put(&file, h->got.v, h->got.n * sizeof *h->got.v);
    scratch_put(h, &file);
    report(h,
           &(struct rec_report){
               .rows = h->got.n, .flags = REPORT_SAVE_BLOCK, .out_bytes = h->got.n * sizeof *h->got.v },
           false);
}

static void save_opened(struct thost *h, const struct msg_fetched *m, const struct action *a)
{
    if (m->got.v[0].code == 0 && a->nblocks && a->blocks[0].save)
        h->save = disk_save_open(h->x, h->app, a->blocks[0].part, a->blocks[0].attempt);
    if (!h->save) {
        report_cause(h, CAUSE_ERROR, "its part can't be written here");
        return;
    }
    disk_write(h->sim, h->save, h->got.v, h->got.n / 2 * sizeof *h->got.v);
    later(h, h->takes / 2, on_saved);
}

static void put_output(struct thost *h)
{
    work_sums(&h->sums, &h->got);
    if (h->recipe.nsides)
        work_side(&h->got, h->side_sum);
    if (h->recipe.kind == STAGE_RESULT)
        put_result(h);
    else if (h->recipe.kind == STAGE_SAVE)
        put_saved(h);
    else
        put_map(h);
}

static void on_computed(struct sim *s, struct todo *t)
{
    struct thost *h = still(s, t);
    if (!h)
        return;
    bool counts = h->verdict == FAULT_TASK_ERROR || h->verdict == FAULT_TASK_CRASH ||
                  h->verdict == FAULT_TASK_MEMORY || h->verdict == FAULT_TASK_POISON;
    if (counts)
        work_failed(s, h->app, h->task.stage, h->task.part);
    if (h->verdict == FAULT_TASK_ERROR || h->verdict == FAULT_TASK_POISON)
        report_cause(h, CAUSE_ERROR, "its function returned an error");
    else if (h->verdict == FAULT_TASK_CRASH)
        thost_exit(h, 0, 11, "it wrote this before it died");
    else if (h->verdict == FAULT_TASK_MEMORY) {
        if (!h->orphan)
            proc_event(h->x,
                       &(struct event){ .kind = EV_HOST_MEMORY, .id = h->id, .memory = { 2 * h->memory } });
    } else if (h->verdict == FAULT_TASK_HANG && s->time_ms_max)
        work_failed(s, h->app, h->task.stage, h->task.part); /* and nothing more, until it is killed */
    else
        put_output(h);
}

static void compute(struct thost *h)
{
    struct sim *s = h->sim;
    h->phase = PHASE_COMPUTE;
    h->takes = s->big ? sim_between(s, 50 * US, MSEC)
                      : s->pace * sim_between(s, MSEC, sim_below(s, 8) ? 60 * MSEC : 400 * MSEC);
    if (h->verdict == FAULT_STRAGGLER || h->verdict == FAULT_TASK_HANG)
        h->takes = sim_between(s, 2 * SEC, 40 * SEC);
    if (h->verdict == FAULT_TASK_HANG && s->time_ms_max)
        h->takes = MSEC;
    later(h, h->takes, on_computed);
}

/* ---- input ----------------------------------------------------------------------------- */

static void ask_more(struct thost *h)
{
    uint32_t n = (uint32_t)(h->wants.n / sizeof(struct rec_want)), batch = n - h->asked;
    if (batch == 0) {
        compute(h);
        return;
    }
    if (batch > h->batch)
        batch = h->batch;
    struct msg_fetch m = { .wants = { (const struct rec_want *)h->wants.p + h->asked, batch } };
    if (!h->orphan)
        thost_say(h, MSG_FETCH, &m);
}

/* A piece must be what was asked for, and hold what its owner wrote. */
static bool piece_sound(struct thost *h, const struct rec_want *w, const struct rec_got *g,
                        const struct blob *b)
{
    struct bytes all = { b->content.p, (uint32_t)b->content.n };
    uint64_t start = w->tail ? g->total - w->offset : w->offset;
    if (g->base > start || g->base + g->length > g->total || all.n < g->length ||
        (!w->tail && g->base + g->length != g->total) || (w->bytes && g->total != w->bytes)) {
        sim_fail(h->sim, "descriptor", "a host got %llu+%llu of %llu (%u bytes there) for %llu%s of %llu",
                 (unsigned long long)g->base, (unsigned long long)g->length, (unsigned long long)g->total,
                 all.n, (unsigned long long)w->offset, w->tail ? " from the end" : "",
                 (unsigned long long)w->bytes);
        return false;
    }
    return true;
}

static void take_bucket_cuts(const struct rec_input *in, uint32_t part, uint32_t *low, uint32_t *high)
{
    *low = *high = 0;
    for (int i = 0; i < 4 && part + 1 < in->cuts.n; i++) {
        *low = *low << 8 | in->cuts.v[part].key.p[i];
        *high = *high << 8 | in->cuts.v[part + 1].key.p[i];
    }
}

static bool is_side(const struct thost *h, uint32_t stage)
{
    const struct msg_stage *m = h->st->m;
    for (uint32_t i = 0; i < m->sides.n; i++)
        if (m->sides.v[i].n == stage)
            return true;
    return false;
}

static bool take_side(struct thost *h, struct bytes file)
{
    struct numbers n = { 0 };
    bool sound = work_read_range(file, (struct bytes){ 0 }, (struct bytes){ 0 }, &n);
    for (uint32_t i = 0; i < n.n; i++)
        h->side_sum += n.v[i];
    free(n.v);
    return sound;
}

static void take_piece(struct thost *h, uint32_t i, const struct blob *b)
{
    const struct rec_want *w = (const struct rec_want *)h->wants.p + i;
    const struct rec_input *in = &h->st->m->inputs.v[h->input];
    struct bytes all = { b->content.p, (uint32_t)b->content.n };
    uint32_t low, high;
    bool sound;
    if (w->tail)
        return;
    if (w->kind == WANT_DRIVER) {
        work_source(&h->recipe, h->input, h->in_part, &all, &h->got);
        return;
    }
    if (is_side(h, w->stage))
        sound = take_side(h, all);
    else if (h->recipe.shuffle_kind[h->input] == STAGE_HASH) {
        take_bucket_cuts(in, h->in_part, &low, &high);
        sound = work_read_hash(all, low, high, &h->sums);
    } else {
        struct bytes none = { 0 };
        bool cut = h->recipe.shuffle_kind[h->input] == STAGE_RANGE;
        sound = work_read_range(all, cut && h->in_part ? in->cuts.v[h->in_part - 1].key : none,
                                h->in_part < in->cuts.n ? in->cuts.v[h->in_part].key : none, &h->got);
    }
    if (!sound)
        sim_fail(h->sim, "block-content", "a host read a block that is not as it was written");
}

static const struct rec_map *map_of(const struct thost *h, uint32_t want)
{
    uint32_t i = ((const uint32_t *)h->want_maps.p)[want];
    return i < h->st->m->maps.n ? &h->st->m->maps.v[i] : NULL;
}

/* As the engine's run_driver_failed(): what is away is nobody's fault, what has changed is the task's. */
static void not_had(struct thost *h, uint32_t i, uint32_t code)
{
    const struct rec_want *w = (const struct rec_want *)h->wants.p + i;
    bool away = code == 0 || code == BLOCK_UNREACHABLE || code == BLOCK_BUSY || code == BLOCK_IO;
    if (w->kind != WANT_DRIVER || away) {
        report_fetch(h, map_of(h, i), "an input block could not be had");
        return;
    }
    work_failed(h->sim, h->app, h->task.stage, h->task.part);
    report_cause(h, CAUSE_INPUT, "its input has changed since the job began");
}

static void input_fetched(struct thost *h, const struct msg_fetched *m, const struct action *a)
{
    uint32_t ref = 0;
    for (uint32_t i = 0; i < m->got.n; i++) {
        const struct rec_want *w = (const struct rec_want *)h->wants.p + h->asked + i;
        const struct rec_got *g = &m->got.v[i];
        bool lost = g->code == 0 && h->lose == h->asked + i + 1;
        const struct blob *b = g->code == 0 && ref < a->nblocks ? disk_open(h->x, &a->blocks[ref++]) : NULL;
        if (!b || lost) {
            not_had(h, h->asked + i,
                    !lost                  ? g->code
                    : sim_below(h->sim, 2) ? BLOCK_CORRUPT
                                           : BLOCK_UNREACHABLE);
            return;
        }
        if (!piece_sound(h, w, g, b))
            return;
        take_piece(h, h->asked + i, b);
    }
    h->asked += m->got.n;
    ask_more(h);
}

void task_fetched(struct thost *h, const struct msg_fetched *m, const struct action *a)
{
    if (h->phase == PHASE_SAVE && m->got.n == 1)
        save_opened(h, m, a);
    else if (h->phase == PHASE_INPUT && m->got.n <= h->wants.n / sizeof(struct rec_want) - h->asked &&
             m->got.n)
        input_fetched(h, m, a);
    else
        sim_fail(h->sim, "fetched", "a host was answered what it did not ask");
}

static void want(struct thost *h, const struct rec_want *w, uint32_t map)
{
    buf_put(&h->wants, w, sizeof *w);
    buf_put(&h->want_maps, &map, sizeof map);
}

/* Of the input's stages, of which a cached one is read partition by partition; and all of the sides. */
static bool is_wanted(const struct thost *h, const struct rec_input *in, const struct rec_map *map)
{
    bool rows = in->shuffle != UINT32_MAX && h->recipe.shuffle_kind[h->input] == STAGE_ROWS;
    return is_side(h, map->stage) ||
           ((map->stage == in->shuffle || map->stage == in->other) && (!rows || map->part == h->in_part));
}

static void want_maps(struct thost *h, const struct rec_input *in)
{
    const struct msg_stage *m = h->st->m;
    bool tails = sim_mix(h->recipe.seed, h->task.part, 3) % 3 == 0;
    for (uint32_t i = 0; i < m->maps.n; i++) {
        const struct rec_map *map = &m->maps.v[i];
        if (!is_wanted(h, in, map))
            continue;
        struct block_id id = block_output(map->stage, map->part, map->attempt);
        struct rec_want w = { .kind = WANT_BLOCK,
                              .peer = map->peer,
                              .bytes = map->bytes,
                              .stage = map->stage,
                              .part = map->part,
                              .attempt = map->attempt };
        memcpy(w.block, id.b, ID_BYTES);
        if (tails) {
            struct rec_want tail = w;
            tail.tail = 1;
            tail.offset = FOOTER_BYTES;
            want(h, &tail, i);
        }
        want(h, &w, i);
    }
}

static void read_input(struct thost *h)
{
    const struct rec_input *in = &h->st->m->inputs.v[h->input];
    h->phase = PHASE_INPUT;
    h->asked = 0;
    h->batch = (uint32_t)sim_between(h->sim, h->sim->big ? 32 : 1, 64);
    buf_reset(&h->wants);
    buf_reset(&h->want_maps);
    want_maps(h, in);
    if (in->shuffle == UINT32_MAX && h->recipe.served[h->input]) {
        struct rec_want w = {
            .kind = WANT_DRIVER, .stage = h->task.stage, .part = h->task.part, .attempt = h->task.attempt
        };
        memcpy(w.block, h->recipe.block[h->input], ID_BYTES);
        want(h, &w, UINT32_MAX);
    } else if (in->shuffle == UINT32_MAX)
        work_source(&h->recipe, h->input, h->in_part, NULL, &h->got);
    uint32_t n = (uint32_t)(h->wants.n / sizeof(struct rec_want));
    h->lose = n && fault_hits(h->sim, FAULT_BLOCK_LOST) ? 1 + (uint32_t)sim_below(h->sim, n) : 0;
    ask_more(h);
}

/* ---- the beginning ------------------------------------------------------------------------ */

static bool poisoned(struct sim *s, struct app_sim *a, const struct thost *h)
{
    struct work *w = &a->jobs[h->recipe.job];
    if (!w->poisoned && h->task.attempt == 1 && fault_hits(s, FAULT_TASK_POISON)) {
        w->poisoned = true;
        w->poison_stage = h->recipe.stage;
        w->poison_part = h->task.part;
    }
    return w->poisoned && w->poison_stage == h->recipe.stage && w->poison_part == h->task.part;
}

static enum fault draw_verdict(struct thost *h)
{
    static const enum fault all[] = { FAULT_TASK_ERROR, FAULT_TASK_CRASH, FAULT_TASK_MEMORY, FAULT_TASK_HANG,
                                      FAULT_STRAGGLER };
    struct sim *s = h->sim;
    struct app_sim *a = work_app(s, h->app);
    if (a && poisoned(s, a, h))
        return FAULT_TASK_POISON;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (fault_hits(s, all[i]))
            return all[i];
    return FAULT_COUNT;
}

/* Which leaf the task belongs to, and which of its partitions it is. */
static bool find_leaf(struct thost *h)
{
    const struct msg_stage *m = h->st->m;
    uint32_t part = h->task.part;
    for (h->input = 0; h->input < m->inputs.n; h->input++) {
        if (part < m->inputs.v[h->input].ntasks) {
            h->in_part = part;
            return true;
        }
        part -= m->inputs.v[h->input].ntasks;
    }
    return false;
}

static bool stage_sound(struct thost *h)
{
    const struct msg_stage *m = h->st ? h->st->m : NULL;
    if (!m || m->body.n != sizeof h->recipe) {
        sim_fail(h->sim, "host-stage", "a host was given a task of stage %u that it knows nothing of",
                 h->task.stage);
        return false;
    }
    memcpy(&h->recipe, m->body.p, sizeof h->recipe);
    if (m->app != h->app || m->stage != h->task.stage || m->inputs.n != h->recipe.ninputs || !find_leaf(h)) {
        sim_fail(h->sim, "task-range", "a host was given task %u of stage %u, which has no such task",
                 h->task.part, h->task.stage);
        return false;
    }
    return true;
}

void task_begin(struct thost *h)
{
    struct sim *s = h->sim;
    struct app_sim *a = work_app(s, h->app);
    h->st = map_get(&h->stages, h->task.stage);
    h->generation++;
    h->got.n = 0;
    h->side_sum = 0;
    work_sums(&h->sums, NULL);
    if (!stage_sound(h))
        return;
    if (a)
        map_put_u64(&a->stages, h->task.stage, h->recipe.job << 8 | h->recipe.stage);
    if (a && h->recipe.keep && !a->forgotten)
        map_put_u64(&a->keeps, h->task.stage, 1);
    h->counted = true;
    h->began = s->now;
    s->running++;
    sim_trace(s, "%s host %llu begins %u.%u.%u", h->x->name, (unsigned long long)h->id, h->task.stage,
              h->task.part, h->task.attempt);
    check_begins(h);
    h->verdict = draw_verdict(h);
    read_input(h);
}

void thost_next(struct thost *h)
{
    struct htask *v = (struct htask *)h->queue.p;
    size_t n = h->queue.n / sizeof *v;
    if (!h->alive || h->phase != PHASE_IDLE || n == 0 || h->sim->failed)
        return;
    h->task = v[0];
    memmove(v, v + 1, (n - 1) * sizeof *v);
    h->queue.n -= sizeof *v;
    h->phase = PHASE_INPUT;
    task_begin(h);
}
