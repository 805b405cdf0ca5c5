/* work.c - jobs and their data: what tasks compute, and a serial oracle that computes the same.
 *
 * A source gives numbers; a hash shuffle sums them by bucket and gives one number
 * a bucket; a range shuffle sorts them and gives one a number.  However a scheduler
 * cuts the buckets or the ranges into tasks, the numbers at the end are the same.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC 0x4b524f57u
#define SOURCE_NUMBERS_MAX 6

struct sum {
    uint64_t bucket, n, sum, all_xor;
};

void numbers_put(struct numbers *n, uint64_t v)
{
    if (n->n == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 16;
        if (!(n->v = realloc(n->v, n->cap * sizeof *n->v)))
            abort();
    }
    n->v[n->n++] = v;
}

uint64_t work_next(uint64_t number)
{
    return sim_mix(number, 7, 7);
}

/* ---- what tasks do --------------------------------------------------------------------- */

void work_source(const struct recipe *r, uint32_t input, uint32_t part, const struct bytes *served,
                 struct numbers *out)
{
    uint64_t from = sim_mix(r->seed, (uint64_t)r->stage << 8 | input, part);
    if (served) { /* the block's bytes are the data */
        for (uint32_t i = 0; i + 8 <= served->n; i += 8) {
            uint64_t v;
            memcpy(&v, served->p + i, 8);
            numbers_put(out, sim_mix(v, part, i));
        }
        return;
    }
    for (uint64_t i = 0; i <= from % SOURCE_NUMBERS_MAX; i++)
        numbers_put(out, sim_mix(from, i, 5));
}

static void footer(struct buf *file)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < file->n; i++)
        sum = sum * 31 + file->p[i];
    buf_put(file, &sum, sizeof sum);
}

static bool footer_right(struct bytes file)
{
    uint64_t sum = 0, kept;
    if (file.n < sizeof kept)
        return false;
    for (uint32_t i = 0; i < file.n - sizeof kept; i++)
        sum = sum * 31 + file.p[i];
    memcpy(&kept, file.p + file.n - sizeof kept, sizeof kept);
    return kept == sum;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void key_of(uint64_t v, uint8_t key[8])
{
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* All numbers, sorted; for a hash shuffle each belongs to bucket (number mod buckets). */
void work_file(const struct recipe *r, struct numbers *in, struct buf *file, struct buf *sizes,
               struct buf *samples)
{
    uint32_t head[2] = { r->kind == STAGE_HASH ? r->buckets : 0, in->n };
    if (in->n)
        qsort(in->v, in->n, sizeof *in->v, by_value);
    buf_put(file, head, sizeof head);
    buf_put(file, in->v, in->n * sizeof *in->v);
    footer(file);
    for (uint32_t b = 0; r->kind == STAGE_HASH && b < r->buckets; b++) {
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < in->n; i++)
            bytes += in->v[i] % r->buckets == b ? 8 : 0;
        uint8_t code = size_code(bytes);
        buf_put(sizes, &code, 1);
    }
    for (uint32_t i = 0; r->kind == STAGE_RANGE && i < in->n && i < 64; i++) {
        uint8_t key[8];
        key_of(in->v[i], key);
        buf_put(samples, key, sizeof key);
    }
}

static void add_to_bucket(struct map *sums, uint64_t bucket, uint64_t v)
{
    struct sum *s = map_get(sums, bucket);
    if (!s) {
        if (!(s = calloc(1, sizeof *s)))
            abort();
        s->bucket = bucket;
        map_put(sums, bucket, s);
    }
    s->n++;
    s->sum += v;
    s->all_xor ^= v * (2 * bucket + 1);
}

bool work_read_hash(struct bytes file, uint32_t low, uint32_t high, struct map *sums)
{
    uint32_t head[2];
    if (!footer_right(file) || file.n < sizeof head + 8)
        return false;
    memcpy(head, file.p, sizeof head);
    if (head[0] == 0 || file.n != sizeof head + 8ull * head[1] + 8)
        return false;
    for (uint32_t i = 0; i < head[1]; i++) {
        uint64_t v;
        memcpy(&v, file.p + sizeof head + 8ull * i, 8);
        if (v % head[0] >= low && v % head[0] < high)
            add_to_bucket(sums, v % head[0], v);
    }
    return true;
}

bool work_read_range(struct bytes file, struct bytes low, struct bytes high, struct numbers *out)
{
    uint32_t head[2];
    if (!footer_right(file) || file.n < sizeof head + 8)
        return false;
    memcpy(head, file.p, sizeof head);
    if (head[0] != 0 || file.n != sizeof head + 8ull * head[1] + 8)
        return false;
    for (uint32_t i = 0; i < head[1]; i++) {
        uint64_t v;
        uint8_t key[8];
        memcpy(&v, file.p + sizeof head + 8ull * i, 8);
        key_of(v, key);
        struct bytes k = { key, 8 };
        if ((!low.p || bytes_cmp(k, low) >= 0) && (!high.p || bytes_cmp(k, high) < 0))
            numbers_put(out, work_next(v));
    }
    return true;
}

void work_sums(struct map *sums, struct numbers *out)
{
    MAP_EACH(sums, i) {
        struct sum *s = map_at(sums, i);
        if (out)
            numbers_put(out, sim_mix(s->bucket, s->n, sim_mix(s->sum, s->all_xor, 1)));
        free(s);
    }
    map_clear(sums);
}

void work_side(struct numbers *n, uint64_t sum)
{
    for (uint32_t i = 0; i < n->n; i++)
        n->v[i] = sim_mix(n->v[i], sum, 11);
}

/* ---- the oracle --------------------------------------------------------------------------- */

static void oracle_input(const struct work *w, const struct recipe *r, uint32_t input,
                         const struct numbers *stages, struct numbers *out)
{
    struct map sums = { 0 };
    if (r->shuffle[input] == STAGE_NO_SHUFFLE) {
        const struct buf *served = &w->served_bytes[r->stage][input];
        struct bytes bytes = { served->p, (uint32_t)served->n };
        for (uint32_t p = 0; p < r->ntasks[input]; p++)
            work_source(r, input, p, r->served[input] ? &bytes : NULL, out);
        return;
    }
    const uint32_t sides[2] = { r->shuffle[input], r->other[input] };
    for (int k = 0; k < (sides[0] == sides[1] ? 1 : 2); k++) {
        const struct numbers *in = &stages[sides[k]];
        const struct recipe *map = &w->recipes[sides[k]];
        for (uint32_t i = 0; i < in->n; i++)
            if (map->kind == STAGE_HASH)
                add_to_bucket(&sums, in->v[i] % map->buckets, in->v[i]);
            else
                numbers_put(out, work_next(in->v[i]));
    }
    work_sums(&sums, out);
    map_fini(&sums);
}

static void oracle_stage(const struct work *w, uint32_t i, struct numbers *stages)
{
    const struct recipe *r = &w->recipes[i];
    uint64_t sum = 0;
    for (uint32_t k = 0; k < r->ninputs; k++)
        oracle_input(w, r, k, stages, &stages[i]);
    if (!r->nsides)
        return;
    for (uint32_t k = 0; k < stages[r->side].n; k++)
        sum += work_next(stages[r->side].v[k]);
    work_side(&stages[i], sum);
}

void work_oracle(struct work *w)
{
    struct numbers stages[STAGES_SIM_MAX] = { 0 };
    uint32_t last = w->spec.nstages - 1;
    for (uint32_t i = 0; i <= last; i++)
        oracle_stage(w, i, stages);
    w->want_n = stages[last].n;
    for (uint32_t i = 0; i < stages[last].n; i++) {
        w->want_sum += stages[last].v[i];
        w->want_xor ^= work_next(stages[last].v[i]);
    }
    for (uint32_t i = 0; i <= last; i++)
        free(stages[i].v);
}

static void add_up(struct bytes b, uint64_t *n, uint64_t *sum, uint64_t *all_xor)
{
    for (uint32_t i = 0; i + 8 <= b.n; i += 8) {
        uint64_t v;
        memcpy(&v, b.p + i, 8);
        *n += 1;
        *sum += v;
        *all_xor ^= work_next(v);
    }
}

/* A take needs only the first tasks, in order, and enough rows of them. */
static void check_take(struct sim *s, struct app_sim *a, struct work *w)
{
    const struct recipe *r = &w->recipes[0];
    uint64_t rows = 0;
    for (uint32_t part = 0; part < r->ntasks[0] && rows < w->spec.take_rows; part++) {
        struct numbers want = { 0 };
        const struct buf *b = map_get(&w->results, part);
        work_source(r, 0, part, NULL, &want);
        if (!b || b->n != want.n * 8 || memcmp(b->p, want.v, b->n))
            sim_fail(s, "result", "%s: part %u of a take %s", a->name, part, b ? "is wrong" : "is missing");
        rows += want.n;
        free(want.v);
    }
}

void work_check(struct sim *s, struct app_sim *a, struct work *w, uint64_t rows)
{
    uint64_t n = 0, sum = 0, all_xor = 0;
    struct map *parts = w->out ? &w->out->parts : &w->results;
    const struct recipe *last = &w->recipes[w->spec.nstages - 1];
    if (w->out && !w->out->success)
        sim_fail(s, "result", "%s: a saved job ended well without its _SUCCESS", a->name);
    if (w->spec.take_rows) {
        check_take(s, a, w);
        return;
    }
    if (rows != w->want_n)
        sim_fail(s, "result", "%s job %u: its tasks put out %llu rows instead of %llu", a->name, last->job,
                 (unsigned long long)rows, (unsigned long long)w->want_n);
    if (last->plain)
        return;
    MAP_EACH(parts, i) {
        const struct inode *f = map_at(parts, i);
        const struct buf *b = w->out ? &f->content : map_at(parts, i);
        add_up((struct bytes){ b->p, (uint32_t)b->n }, &n, &sum, &all_xor);
    }
    if (n != w->want_n || sum != w->want_sum || all_xor != w->want_xor)
        sim_fail(s, "result", "%s job %u: %llu numbers with sum %llx instead of %llu with %llx", a->name,
                 last->job, (unsigned long long)n, (unsigned long long)sum, (unsigned long long)w->want_n,
                 (unsigned long long)w->want_sum);
}

/* ---- attempts that we made fail --------------------------------------------------------------- */

struct app_sim *work_app(struct sim *s, uint64_t app)
{
    for (uint32_t i = 0; i < s->napps; i++)
        if (s->apps[i].app == app && app)
            return &s->apps[i];
    return NULL;
}

void work_failed(struct sim *s, uint64_t app, uint32_t stage, uint32_t part)
{
    struct app_sim *a = work_app(s, app);
    uint64_t where = 0, n = 0;
    if (!a || !map_get_u64(&a->stages, stage, &where))
        return;
    struct map *failures = &a->jobs[where >> 8].failures[where & 0xff];
    map_get_u64(failures, part, &n);
    map_put_u64(failures, part, n + 1);
}

uint32_t work_failures(const struct work *w)
{
    uint64_t most = 0;
    for (int i = 0; i < STAGES_SIM_MAX; i++)
        MAP_EACH(&w->failures[i], k)
            most = map_at_u64(&w->failures[i], k) > most ? map_at_u64(&w->failures[i], k) : most;
    return (uint32_t)most;
}

/* ---- drawing a job ------------------------------------------------------------------------------ */

static void draw_source(struct sim *s, struct work *w, struct recipe *r, uint32_t input, bool served)
{
    r->shuffle[input] = r->other[input] = STAGE_NO_SHUFFLE;
    r->ntasks[input] = (uint32_t)sim_between(s, 1, sim_chance(s, 150000) ? 60 : 10);
    if (s->big && r->stage == 0 && input == 0)
        r->ntasks[input] = (uint32_t)sim_between(s, 5000, 7000);
    if (!served || !sim_chance(s, 150000))
        return;
    struct buf *b = &w->served_bytes[r->stage][input];
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t v = sim_mix(r->seed, r->stage, i + 100 * input);
        buf_put(b, &v, sizeof v);
    }
    struct served_block *block = &w->served[r->stage][input];
    block->id = block_of_content(b->p, b->n);
    block->bytes = (struct bytes){ b->p, (uint32_t)b->n };
    r->served[input] = true;
    memcpy(r->block[input], block->id.b, ID_BYTES);
}

/* How a job's stages hang together: first a table, if there is one, then a chain, which may begin with what is
 * cached. */
struct shape {
    uint32_t nstages, chain; /* the chain's first stage */
    uint32_t probe;          /* which stage of the chain probes the table */
    uint32_t rows;           /* which stage is cached; nstages: none */
    uint32_t buckets;        /* of all hash shuffles; 0: each has its own */
    bool saves;
};

static enum stage_kind draw_kind(struct sim *s, const struct shape *j, uint32_t i)
{
    if (i + 1 == j->nstages)
        return j->saves ? STAGE_SAVE : STAGE_RESULT;
    if (i < j->chain)
        return STAGE_TABLE;
    if (i == j->rows)
        return STAGE_ROWS;
    return sim_chance(s, 700000) ? STAGE_HASH : STAGE_RANGE;
}

/* Each stage of the chain is read by the next one, and perhaps by the one behind it, as a join's right side. */
static void draw_read(struct sim *s, struct work *w, const struct shape *j, struct recipe *r)
{
    uint32_t i = r->stage;
    const struct recipe *left = &w->recipes[i - 1], *right = i >= j->chain + 2 ? &w->recipes[i - 2] : left;
    bool both = j->buckets && left->kind == STAGE_HASH && right->kind == STAGE_HASH && sim_chance(s, 600000);
    r->shuffle[0] = i - 1;
    r->other[0] = both ? right->stage : i - 1;
    r->shuffle_kind[0] = left->kind;
    r->ntasks[0] = s->big || sim_chance(s, 700000) ? (uint32_t)sim_between(s, 1, 5) : 0;
    if (left->kind == STAGE_ROWS)
        r->ntasks[0] = 0;
}

/* Further inputs are sources of their own. */
static void draw_stage(struct sim *s, struct work *w, uint32_t i, const struct shape *j)
{
    struct recipe *r = &w->recipes[i];
    r->magic = MAGIC;
    r->stage = i;
    r->ninputs = sim_chance(s, 200000) ? 2 : 1;
    r->kind = draw_kind(s, j, i);
    r->keep = r->kind == STAGE_ROWS;
    r->nsides = j->chain && i == j->probe;
    r->buckets = r->kind != STAGE_HASH ? 0 : j->buckets ? j->buckets : (uint32_t)sim_between(s, 1, 12);
    for (uint32_t k = 0; k < r->ninputs; k++)
        if (k == 0 && i > j->chain)
            draw_read(s, w, j, r);
        else
            draw_source(s, w, r, k, j->rows == j->nstages || i > j->rows); /* later jobs don't serve it */
}

static struct shape draw_shape(struct sim *s)
{
    struct shape j = { .nstages = (uint32_t)sim_between(s, 1, s->big ? 2 : 3),
                       .saves = sim_chance(s, 500000) };
    if (!s->big && sim_chance(s, 250000)) {
        j.chain = 1;
        j.nstages++;
        j.probe = (uint32_t)sim_between(s, 1, j.nstages - 1);
    }
    j.rows = j.nstages;
    j.buckets = sim_chance(s, 300000) ? (uint32_t)sim_between(s, 1, 12) : 0;
    return j;
}

/* What is cached is the same in all jobs of the application that have it. */
static bool take_over(const struct app_sim *a, struct work *w, uint32_t job, const struct shape *j)
{
    const struct work *first = &a->jobs[0];
    uint32_t n = j->rows + 1;
    if (job == 0 || j->rows >= j->nstages)
        return false;
    for (uint32_t i = 0; i < n; i++)
        w->recipes[i] = first->recipes[i];
    return true;
}

static void spec_make(struct work *w, uint32_t i)
{
    const struct recipe *r = &w->recipes[i];
    memcpy(w->names[i], "stage", 6);
    for (uint32_t k = 0; k < r->ninputs; k++)
        w->inputs[i][k] = (struct stage_input){ r->ntasks[k], r->shuffle[k], r->other[k] };
    w->specs[i] = (struct stage_spec){ .kind = r->kind,
                                       .body = { (const uint8_t *)r, sizeof *r },
                                       .buckets = r->buckets,
                                       .ninputs = r->ninputs,
                                       .inputs = w->inputs[i],
                                       .nsides = r->nsides,
                                       .sides = &r->side,
                                       .keep = r->keep,
                                       .name = w->names[i],
                                       .place = "job.c:1" };
}

/* Of an application that caches: one or two stages make what is cached, in each of its jobs. */
static void draw_cached(const struct sim *s, uint32_t app_index, struct shape *j)
{
    uint64_t mixed = sim_mix(s->seed, app_index, 21);
    if (s->big || mixed % 5 > 1)
        return;
    *j = (struct shape){ .nstages = 2 + j->nstages, .rows = (uint32_t)(mixed / 5 % 2), .saves = j->saves };
    if (j->nstages > 4)
        j->nstages = 4;
    j->probe = j->nstages;
}

void work_make(struct sim *s, struct app_sim *a, uint32_t app_index, struct work *w, uint32_t job)
{
    struct shape j = draw_shape(s);
    draw_cached(s, app_index, &j);
    uint32_t from = take_over(a, w, job, &j) ? j.rows + 1 : 0;
    for (uint32_t i = 0; i < j.nstages; i++) {
        struct recipe *r = &w->recipes[i];
        if (i >= from) {
            r->seed = sim_mix(s->seed, app_index, job);
            draw_stage(s, w, i, &j);
        }
        r->job = job;
        r->app_index = app_index;
        spec_make(w, i);
    }
    w->spec = (struct job_spec){ .stages = w->specs, .nstages = j.nstages };
    struct recipe *last = &w->recipes[j.nstages - 1];
    if (j.saves) {
        w->out = disk_outdir_new(s);
        w->spec.save_dir = w->out->path;
        memcpy(w->spec.save_token, w->out->token, ID_BYTES);
    } else if (j.nstages == 1 && last->ninputs == 1 && !last->served[0] && sim_chance(s, 300000))
        w->spec.take_rows = sim_between(s, 1, 12);
    else
        last->plain = sim_chance(s, 100000);
    work_oracle(w);
}

void work_fini(struct work *w)
{
    MAP_EACH(&w->results, i) {
        buf_fini(map_at(&w->results, i));
        free(map_at(&w->results, i));
    }
    map_fini(&w->results);
    for (int i = 0; i < STAGES_SIM_MAX; i++) {
        map_fini(&w->failures[i]);
        for (int k = 0; k < 2; k++)
            buf_fini(&w->served_bytes[i][k]);
    }
}
