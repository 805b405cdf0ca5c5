/* sim.c - virtual time, chance, and one run from its seed to its verdict. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define STEPS_MAX 3000000ull /* more is a cluster that talks to itself */
#define LOOK_EVERY_NS SEC

/* ---- what will happen ------------------------------------------------------ */

static bool before(const struct todo *a, const struct todo *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void sift_down(struct todo *v, uint32_t n)
{
    for (uint32_t i = 0;;) {
        uint32_t least = i, left = 2 * i + 1;
        if (left < n && before(&v[left], &v[least]))
            least = left;
        if (left + 1 < n && before(&v[left + 1], &v[least]))
            least = left + 1;
        if (least == i)
            return;
        struct todo t = v[i];
        v[i] = v[least];
        v[least] = t;
        i = least;
    }
}

/* The result is valid until the next call: fill in a, b, x, own at once; never `at`. */
struct todo *sim_after(struct sim *s, uint64_t ns, void (*run)(struct sim *, struct todo *), struct proc *p)
{
    if (s->nheap == s->heap_cap) {
        s->heap_cap = s->heap_cap ? s->heap_cap * 2 : 256;
        if (!(s->heap = realloc(s->heap, s->heap_cap * sizeof *s->heap)))
            abort();
    }
    struct todo t = { .at = s->now + ns, .order = s->order++, .run = run, .p = p, .life = p ? p->life : 0 };
    uint32_t i = s->nheap++;
    s->heap[i] = t;
    /* its place is found before it is handed out, so that the pointer stays right */
    while (i && before(&s->heap[i], &s->heap[(i - 1) / 2])) {
        struct todo up = s->heap[(i - 1) / 2];
        s->heap[(i - 1) / 2] = s->heap[i];
        s->heap[i] = up;
        i = (i - 1) / 2;
    }
    return &s->heap[i];
}

static struct todo take(struct sim *s)
{
    struct todo first = s->heap[0];
    s->heap[0] = s->heap[--s->nheap];
    sift_down(s->heap, s->nheap);
    return first;
}

/* ---- chance ------------------------------------------------------------------ */

uint64_t sim_below(struct sim *s, uint64_t n)
{
    return n ? prng_next(&s->prng) % n : 0;
}

uint64_t sim_between(struct sim *s, uint64_t low, uint64_t high)
{
    return high <= low ? low : low + sim_below(s, high - low + 1);
}

bool sim_chance(struct sim *s, uint64_t in_a_million)
{
    return sim_below(s, 1000000) < in_a_million;
}

uint64_t sim_mix(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t v[3] = { a, b, c };
    return XXH3_64bits(v, sizeof v);
}

/* Keys are numbers spread over 32 bytes: never the same one twice in a run. */
void sim_key(struct sim *s, uint8_t key[KEY_BYTES])
{
    uint64_t n = ++s->next_key;
    for (int i = 0; i < KEY_BYTES / 8; i++) {
        uint64_t part = sim_mix(s->seed, n, (uint64_t)i);
        memcpy(key + 8 * i, &part, 8);
    }
}

/* ---- what became of it --------------------------------------------------------- */

void sim_trace(struct sim *s, const char *fmt, ...)
{
    if (!s->trace)
        return;
    va_list args;
    printf("%12.6f ", (double)s->now / 1e9);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

void sim_trace_frame(struct sim *s, const char *who, const char *how, uint64_t id, struct bytes frame)
{
    if (!s->trace)
        return;
    frame_show(&s->shown, frame);
    sim_trace(s, "%s %s%llx %.*s", who, how, (unsigned long long)id, (int)s->shown.n,
              (const char *)s->shown.p);
}

/* The first violation is the one that is told. */
void sim_fail(struct sim *s, const char *check, const char *fmt, ...)
{
    va_list args;
    if (s->failed)
        return;
    s->failed = true;
    snprintf(s->check, sizeof s->check, "%s", check);
    va_start(args, fmt);
    vsnprintf(s->words, sizeof s->words, fmt, args);
    va_end(args);
    sim_trace(s, "VIOLATED %s: %s", check, s->words);
}

void sim_hash(struct sim *s, const void *p, size_t n)
{
    s->hash = XXH3_64bits_withSeed(p, n, s->hash);
}

void sim_trouble(struct sim *s, uint64_t until)
{
    if (until > s->trouble_until)
        s->trouble_until = until;
    if (until > s->faults_end)
        s->faults_end = until;
}

/* ---- one run --------------------------------------------------------------------- */

static void start_proc(struct sim *s, struct todo *t)
{
    (void)s;
    if (!t->p->alive)
        proc_start(t->p);
}

static void draw_executor(struct sim *s, struct proc *p)
{
    p->x.slots = (uint32_t)sim_between(s, 1, 3);
    p->x.sees_output = sim_chance(s, 600000);
    snprintf(p->x.host_id, sizeof p->x.host_id, "machine-%u", s->neighbours ? 0 : p->node);
}

static void draw_cluster(struct sim *s)
{
    char name[32];
    uint32_t executors = (uint32_t)sim_between(s, 1, 3);
    s->same_ports = sim_chance(s, 500000);
    s->neighbours = sim_chance(s, 400000);
    s->attempts_max = 4;
    s->big = sim_chance(s, 4000);
    s->pace = sim_chance(s, 400000) ? 1 : sim_between(s, 2, 10);
    s->slots_max = sim_chance(s, 300000) ? 2 : 64;
    s->napps = sim_chance(s, 400000) ? 2 : 1;
    sim_key(s, s->manager_key);
    sim_key(s, s->join_key);
    sim_key(s, s->user_key);
    proc_init(s, &s->procs[s->nprocs++], PROC_MANAGER, "manager");
    proc_init(s, &s->procs[s->nprocs++], PROC_USER, "user");
    for (uint32_t i = 0; i < executors; i++) {
        snprintf(name, sizeof name, "executor-%u", i + 1);
        struct proc *p = &s->procs[s->nprocs++];
        proc_init(s, p, PROC_EXECUTOR, name);
        draw_executor(s, p);
    }
    for (uint32_t i = 0; i < s->napps; i++) {
        snprintf(name, sizeof name, "driver-%u", i + 1);
        struct proc *p = &s->procs[s->nprocs++];
        proc_init(s, p, PROC_DRIVER, name);
        p->d.index = i;
    }
}

static void draw_jobs(struct sim *s)
{
    for (uint32_t i = 0; i < s->napps; i++) {
        struct app_sim *a = &s->apps[i];
        snprintf(a->name, sizeof a->name, "app-%u", i + 1);
        a->njobs = (uint32_t)sim_between(s, 1, sim_chance(s, 300000) ? JOBS_SIM_MAX : 1);
        for (uint32_t k = sim_chance(s, 20000) ? 1200000 : 300; k > 0; k -= k > 8 ? 8 : k) {
            uint64_t word = sim_mix(s->seed, i, k);
            buf_put(&a->library, &word, sizeof word);
        }
        struct block_id id = block_of_content(a->library.p, a->library.n);
        memcpy(a->lib.id, id.b, ID_BYTES);
        a->lib.bytes = a->library.n;
        a->lib.name = bytes_of("job.so");
        for (uint32_t j = 0; j < a->njobs; j++)
            work_make(s, a, i, &a->jobs[j], j);
    }
}

static bool all_over(const struct sim *s)
{
    for (uint32_t i = 0; i < s->napps; i++)
        if (!s->apps[i].driver_gone)
            return false;
    for (uint32_t i = 0; i < s->nusers; i++)
        if (s->users[i].waiting)
            return false;
    return true;
}

/* Every second: is everything done, or late? */
static void look(struct sim *s, struct todo *t)
{
    char why[256] = "";
    (void)t;
    if (!s->over && all_over(s)) { /* nothing more strikes; what has goes on to its end */
        s->over = true;
        if (s->hostile)
            wire_calm(s);
        s->faults_end = s->now > s->trouble_until ? s->now : s->trouble_until;
    }
    bool quiet = s->over && s->now >= s->faults_end && check_quiet(s, why, sizeof why);
    if (!quiet)
        s->quiet_since = UINT64_MAX;
    else if (s->quiet_since == UINT64_MAX)
        s->quiet_since = s->now;
    if (!quiet && s->now > s->faults_end + AFTER_FAULTS_NS) {
        if (!*why)
            check_quiet(s, why, sizeof why);
        sim_fail(s, "ended-in-time", "%.0f s after the last fault: %s", (double)AFTER_FAULTS_NS / 1e9, why);
    }
    sim_after(s, LOOK_EVERY_NS, look, NULL);
}

static void begin(struct sim *s)
{
    draw_cluster(s);
    draw_jobs(s);
    fault_draw(s);
    sim_after(s, 0, start_proc, &s->procs[0]);
    for (uint32_t i = 0; i < s->nprocs; i++)
        if (s->procs[i].kind == PROC_EXECUTOR)
            sim_after(s, sim_below(s, 500 * MSEC), start_proc, &s->procs[i]);
    proc_start(&s->procs[1]);
    for (uint32_t i = 0; i < s->napps; i++)
        user_add(s, i, false, sim_below(s, 1500 * MSEC));
    sim_after(s, LOOK_EVERY_NS, look, NULL);
}

void sim_run(struct sim *s, uint64_t seed, bool trace)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->trace = trace;
    s->quiet_since = UINT64_MAX;
    s->store_next_app = 1;
    prng_seed(&s->prng, seed * 0x9e3779b97f4a7c15ull + 1);
    begin(s);
    while (!s->failed && s->nheap && (s->quiet_since == UINT64_MAX || s->now < s->quiet_since + 2 * SEC)) {
        struct todo t = take(s);
        s->now = t.at;
        if (!t.p || t.p->life == t.life)
            t.run(s, &t);
        free(t.own);
        if (s->steps > STEPS_MAX)
            sim_fail(s, "bounds", "over %llu steps", STEPS_MAX);
    }
    if (!s->failed)
        check_end(s);
}

void sim_fini(struct sim *s)
{
    for (uint32_t i = 0; i < s->nheap; i++)
        free(s->heap[i].own);
    free(s->heap);
    thosts_fini(s);
    for (uint32_t i = 0; i < s->nprocs; i++)
        proc_fini(&s->procs[i]);
    for (uint32_t i = 0; i < s->napps; i++) {
        for (uint32_t j = 0; j < s->apps[i].njobs; j++)
            work_fini(&s->apps[i].jobs[j]);
        buf_fini(&s->apps[i].library);
        map_fini(&s->apps[i].stages);
        map_fini(&s->apps[i].begun);
        map_fini(&s->apps[i].keeps);
        map_fini(&s->apps[i].attempts);
    }
    wire_fini(s);
    disk_fini(s);
    MAP_EACH(&s->leases, i)
        free(map_at(&s->leases, i));
    map_fini(&s->leases);
    map_fini(&s->durable);
    map_fini(&s->asked);
    buf_fini(&s->rows);
    buf_fini(&s->storing);
    buf_fini(&s->shown);
    buf_fini(&s->joining);
}
