/* stages.c - one stage: its begin, and the STAGE message that its tasks share. */
#include "driver/sched/core.h"

#include <stdlib.h>
#include <string.h>

struct stage *stages_new(const struct stage_spec *spec, uint32_t index, uint32_t number)
{
    struct stage *st = calloc(1, sizeof *st);
    if (!st)
        abort();
    st->spec = spec;
    st->index = index;
    st->number = number;
    return st;
}

bool stages_whole(const struct stage *st)
{
    return st->begun && st->done == st->ntasks;
}

bool stages_lies(const struct stage *st, uint32_t part)
{
    const struct task *t = &st->tasks[part];
    return t->state == TASK_DONE && st->out_bytes[part] && !(t->flags & TASK_DEAD);
}

bool stages_is_map(const struct stage *st)
{
    return st->spec->kind != STAGE_RESULT && st->spec->kind != STAGE_SAVE;
}

bool stages_has_source(const struct stage *st)
{
    for (uint32_t i = 0; i < st->spec->ninputs; i++)
        if (st->spec->inputs[i].shuffle == STAGE_NO_SHUFFLE)
            return true;
    return false;
}

uint32_t stages_edges(const struct stage_spec *spec)
{
    return 2 * spec->ninputs + spec->nsides;
}

uint32_t stages_edge(const struct stage_spec *spec, uint32_t i)
{
    if (i >= 2 * spec->ninputs)
        return spec->sides[i - 2 * spec->ninputs];
    const struct stage_input *in = &spec->inputs[i / 2];
    return i % 2 ? in->other : in->shuffle;
}

bool stages_ready(const struct job *j, const struct stage *st)
{
    uint32_t edges = stages_edges(st->spec) - (FERRO_PLANT(sched_side_not_awaited) ? st->spec->nsides : 0);
    for (uint32_t i = 0; i < edges; i++) {
        uint32_t parent = stages_edge(st->spec, i);
        if (parent != STAGE_NO_SHUFFLE && !stages_whole(j->stages[parent]))
            return false;
    }
    return true;
}

uint64_t stages_pending(const struct stage *st)
{
    return st->again.tasks + st->homed + (st->limit - st->fresh);
}

static void *zeroed(uint64_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        abort();
    return p;
}

static void make_tasks(struct job *j, struct stage *st)
{
    bool last = st->index == j->spec->nstages - 1;
    st->tasks = zeroed(st->ntasks, sizeof *st->tasks);
    st->limit = st->ntasks;
    if (stages_is_map(st)) {
        st->out_bytes = zeroed(st->ntasks, sizeof *st->out_bytes);
        st->bucket_bytes =
            zeroed(st->spec->kind == STAGE_HASH ? st->spec->buckets : 0, sizeof *st->bucket_bytes);
        st->sample_stride = 1;
    }
    if (last && j->spec->take_rows) {
        st->rows = zeroed(st->ntasks, sizeof *st->rows);
        if (st->limit > TAKE_FIRST)
            st->limit = TAKE_FIRST;
    }
    j->stages_run++;
    j->tasks_all += st->ntasks;
}

void stages_begin(struct sched *s, struct stage *st)
{
    struct job *j = s->job;
    uint64_t ntasks = 0;
    st->begun = true;
    st->version = 1;
    st->ninputs = st->spec->ninputs;
    st->inputs = arena_alloc(&st->arena, (st->spec->ninputs + 1ull) * sizeof *st->inputs);
    for (uint32_t i = 0; i < st->spec->ninputs; i++) {
        cuts_form(s, st->spec->kind, &st->spec->inputs[i], &st->arena, &st->inputs[i]);
        ntasks += st->inputs[i].ntasks;
    }
    if (ntasks > TASKS_MAX) {
        jobs_end(s, -1, "stage %u, %s (%s), has %llu partitions, at most %u\n", st->number, st->spec->name,
                 st->spec->place, (unsigned long long)ntasks, TASKS_MAX);
        ntasks = 0;
    }
    st->ntasks = (uint32_t)ntasks;
    make_tasks(j, st);
    homes_make(s, st);
    struct sched_event *e = sched_event_add(s, "stage.begun");
    e->stage = st->number;
    e->count = st->ntasks;
    e->words = st->spec->name;
}

/* A partition of a cached dataset is read as it is: were there more or fewer of them now, others would be read. */
void stages_moved(struct sched *s, struct stage *st)
{
    st->version += !FERRO_PLANT(sched_version_not_raised);
    for (uint32_t i = 0; i < st->ninputs; i++) {
        uint32_t parent = st->spec->inputs[i].shuffle;
        const struct stage *rows = parent == STAGE_NO_SHUFFLE ? NULL : s->job->stages[parent];
        if (rows && rows->spec->kind == STAGE_ROWS && rows->ntasks != st->inputs[i].ntasks)
            jobs_end(s, -1,
                     "stage %u, %s (%s): the cached dataset that it reads has %u partitions now, and had %u; "
                     "fe_uncache what was made of it too\n",
                     st->number, st->spec->name, st->spec->place, rows->ntasks, st->inputs[i].ntasks);
    }
    homes_make(s, st);
}

/* ---- the STAGE message --------------------------------------------------------------------- */

struct places {
    uint32_t *peer_of; /* executor's index -> 1 + its place in peers */
    struct rec_peer *peers;
    struct rec_map *maps;
    uint32_t npeers, nmaps;
};

static uint32_t place_of(struct sched *s, struct places *p, uint32_t exec)
{
    if (p->peer_of[exec] == 0) {
        const struct exec *x = s->execs[exec];
        struct rec_peer *peer = &p->peers[p->npeers++];
        *peer = (struct rec_peer){ .host_id = bytes_of(x->host_id),
                                   .data = bytes_of(x->data_addr),
                                   .root = bytes_of(x->root) };
        memcpy(peer->incarnation, x->incarnation, ID_BYTES);
        memcpy(peer->key, x->key, KEY_BYTES);
        p->peer_of[exec] = p->npeers;
    }
    return p->peer_of[exec] - 1;
}

static void place_maps(struct sched *s, struct places *p, const struct stage *map)
{
    for (uint32_t i = 0; i < map->ntasks; i++) {
        const struct task *t = &map->tasks[i];
        if (t->state == TASK_DONE && map->out_bytes[i])
            p->maps[p->nmaps++] =
                (struct rec_map){ map->number, i, t->of, place_of(s, p, t->exec), map->out_bytes[i] };
    }
}

static int by_number(const void *pa, const void *pb)
{
    const struct stage *a = *(struct stage *const *)pa, *b = *(struct stage *const *)pb;
    return (a->number > b->number) - (a->number < b->number);
}

/* What it reads, each stage once, by number: so is STAGE.maps ordered. */
static struct stage **read_by(const struct job *j, const struct stage *st, struct arena *a, uint32_t *n)
{
    struct stage **out = arena_alloc(a, (j->spec->nstages + 1ull) * sizeof(struct stage *));
    bool *seen = arena_alloc(a, j->spec->nstages + 1ull);
    *n = 0;
    for (uint32_t i = 0; i < stages_edges(st->spec); i++) {
        uint32_t parent = stages_edge(st->spec, i);
        if (parent == STAGE_NO_SHUFFLE || seen[parent])
            continue;
        seen[parent] = true;
        out[(*n)++] = j->stages[parent];
    }
    qsort(out, *n, sizeof *out, by_number);
    return out;
}

static void place_all(struct sched *s, const struct stage *st, struct arena *a, struct places *p)
{
    uint64_t nmaps = 0;
    uint32_t n;
    struct stage **read = read_by(s->job, st, a, &n);
    for (uint32_t i = 0; i < n; i++)
        nmaps += read[i]->ntasks;
    p->peer_of = arena_alloc(a, (s->nexecs + 1ull) * sizeof *p->peer_of);
    p->peers = arena_alloc(a, (s->nexecs + 1ull) * sizeof *p->peers);
    p->maps = arena_alloc(a, (nmaps + 1) * sizeof *p->maps);
    for (uint32_t i = 0; i < n; i++)
        place_maps(s, p, read[i]);
}

static uint32_t number_of(const struct job *j, uint32_t index)
{
    return index == STAGE_NO_SHUFFLE ? UINT32_MAX : j->stages[index]->number;
}

static struct rec_input *list_inputs(const struct job *j, const struct stage *st, struct arena *a)
{
    struct rec_input *inputs = arena_alloc(a, (st->spec->ninputs + 1ull) * sizeof *inputs);
    for (uint32_t i = 0; i < st->spec->ninputs; i++) {
        inputs[i].ntasks = st->inputs[i].ntasks;
        inputs[i].shuffle = number_of(j, st->spec->inputs[i].shuffle);
        inputs[i].other = number_of(j, st->spec->inputs[i].other);
        inputs[i].cuts.v = st->inputs[i].cuts;
        inputs[i].cuts.n = st->inputs[i].ncuts;
    }
    return inputs;
}

static struct rec_num *list_sides(const struct job *j, const struct stage *st, struct arena *a)
{
    struct rec_num *sides = arena_alloc(a, (st->spec->nsides + 1ull) * sizeof *sides);
    for (uint32_t i = 0; i < st->spec->nsides; i++)
        sides[i].n = number_of(j, st->spec->sides[i]);
    return sides;
}

static void build(struct sched *s, struct stage *st)
{
    const struct job_spec *spec = s->job->spec;
    bool save = st->spec->kind == STAGE_SAVE;
    struct arena a = { 0 };
    struct places p = { 0 };
    place_all(s, st, &a, &p);
    struct msg_stage m = {
        .app = s->config.app,
        .stage = st->number,
        .version = st->version,
        .time_ms_max = s->config.time_ms_max,
        .spread = s->spread,
        .body = st->spec->body,
        .libs = { s->config.libs, s->config.nlibs },
        .inputs = { list_inputs(s->job, st, &a), st->spec->ninputs },
        .sides = { list_sides(s->job, st, &a), st->spec->nsides },
        .peers = { p.peers, p.npeers },
        .maps = { p.maps, p.nmaps },
        .save_dir = bytes_of(save ? spec->save_dir : ""),
    };
    if (save)
        memcpy(m.save_token, spec->save_token, ID_BYTES);
    buf_reset(&st->frame);
    proto_encode(&st->frame,
                 &(struct head){ .tag = MSG_STAGE, .epoch = s->epoch, .generation = s->generation }, &m);
    st->built = st->version;
    st->built_epoch = s->epoch;
    arena_fini(&a);
}

bool stages_tell(struct sched *s, struct exec *x, struct stage *st)
{
    uint64_t has = 0;
    if (map_get_u64(&x->told, st->number, &has) && has == st->version)
        return true;
    if (st->built != st->version || st->built_epoch != s->epoch) {
        build(s, st);
        st->lent_step = 0;
    }
    if (st->frame.n > PROTO_FRAME_BYTES_MAX) {
        jobs_end(s, -1,
                 "stage %u, %s (%s): its description has %zu bytes, at most %u; fewer, larger partitions are "
                 "needed\n",
                 st->number, st->spec->name, st->spec->place, st->frame.n, PROTO_FRAME_BYTES_MAX);
        return false;
    }
    if (st->lent_step != s->step) { /* one copy a step, however many executors it goes to */
        st->lent =
            (struct bytes){ arena_copy(&s->out->arena, st->frame.p, st->frame.n), (uint32_t)st->frame.n };
        st->lent_step = s->step;
    }
    struct action *act = actions_add(s->out, ACT_SEND);
    act->conn = x->control.conn;
    act->frame = st->lent;
    map_put_u64(&x->told, st->number, st->version);
    return true;
}

void stages_raise(struct sched *s)
{
    for (uint32_t i = 0; s->job && i < s->job->nactive; i++)
        s->job->active[i]->version++;
}

void stages_free(struct stage **sp)
{
    struct stage *st = *sp;
    *sp = NULL;
    MAP_EACH(&st->failed, i)
        fail_forget(st, (uint32_t)map_key(&st->failed, i));
    map_fini(&st->failed);
    MAP_EACH(&st->voided, i)
        fail_forget(st, (uint32_t)map_key(&st->voided, i));
    map_fini(&st->voided);
    map_fini(&st->copies);
    homes_clear(st);
    spans_fini(&st->again);
    spans_fini(&st->copying);
    buf_fini(&st->samples);
    buf_fini(&st->frame);
    arena_fini(&st->arena);
    free(st->tasks);
    free(st->out_bytes);
    free(st->rows);
    free(st->bucket_bytes);
    free(st);
}
