/* fault.c - which faults a seed draws, when they strike, and whom.
 *
 * Half of the seeds have exactly one fault, so that what it breaks is plain; the
 * others a subset of all kinds at rates of their own.  Some kinds strike at a
 * moment, the others when there is an opportunity (an I/O, a task, a host).
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define IN_SET 180000 /* of a million: a kind is in a seed's subset */
/* Of each 32 seeds these have the hostile network; those in seeds.txt stay what they were. */
#define HOSTILE_SEEDS (1u << 4 | 1u << 8 | 1u << 18 | 1u << 22 | 1u << 26)
#define TIME_LIMIT_MS 3000 /* of attempts, where some hang */

const char *const fault_words[FAULT_COUNT] = {
#define F(name, words) words,
    FAULTS(F)
#undef F
};

/* Chances in a million for kinds that strike at an opportunity: least and most; 0: strikes at moments. */
static const struct {
    uint32_t low, high;
} chances[FAULT_COUNT] = {
    [FAULT_FULL] = { 50000, 400000 },     [FAULT_IO_SLOW] = { 5000, 150000 },
    [FAULT_IO_FAIL] = { 1000, 30000 },    [FAULT_TASK_ERROR] = { 5000, 90000 },
    [FAULT_TASK_CRASH] = { 5000, 80000 }, [FAULT_TASK_MEMORY] = { 5000, 60000 },
    [FAULT_TASK_HANG] = { 5000, 50000 },  [FAULT_TASK_POISON] = { 2000, 20000 },
    [FAULT_HOST_BAD] = { 5000, 90000 },   [FAULT_BLOCK_LOST] = { 2000, 60000 },
    [FAULT_ZOMBIE] = { 500000, 1000000 }, [FAULT_STRAGGLER] = { 5000, 80000 },
    [FAULT_LOSE] = { 500, 10000 },        [FAULT_DOUBLE] = { 1000, 60000 },
    [FAULT_REORDER] = { 1000, 60000 },    [FAULT_CREDIT] = { 100000, 900000 },
};

/* ---- strikes ------------------------------------------------------------------------ */

void fault_struck(struct sim *s, enum fault f)
{
    sim_trace(s, "FAULT %s%s", fault_words[f], s->running ? " (tasks in flight)" : "");
    s->struck[f]++;
    s->struck_in_flight[f] += s->running > 0;
    sim_trouble(s, s->now);
}

bool fault_hits(struct sim *s, enum fault f)
{
    bool on = s->single ? s->only == f : s->in_set[f] && s->now < s->strikes_end;
    if (!on || s->over || (s->single && s->countdown == 0))
        return false;
    bool hits = s->single ? --s->countdown == 0 : sim_chance(s, s->rate[f]);
    if (hits && f != FAULT_FULL && f != FAULT_CREDIT)
        fault_struck(s, f);
    return hits;
}

enum fault fault_of_crash(enum proc_kind kind)
{
    return kind == PROC_MANAGER    ? FAULT_CRASH_MANAGER
           : kind == PROC_EXECUTOR ? FAULT_CRASH_EXECUTOR
                                   : FAULT_CRASH_DRIVER;
}

static struct proc *victim(struct sim *s, enum proc_kind kind)
{
    uint32_t n = 0;
    struct proc *chosen = NULL;
    for (uint32_t i = 0; i < s->nprocs; i++) {
        struct proc *p = &s->procs[i];
        if (p->kind == kind && p->alive && !p->paused && !p->exiting && sim_below(s, ++n) == 0)
            chosen = p;
    }
    return chosen;
}

/* How long it lasts: until T at most, where there is more than one fault. */
static uint64_t lasts(struct sim *s, uint64_t low, uint64_t high)
{
    uint64_t ns = sim_between(s, low, high);
    if (!s->single && s->now + ns > s->strikes_end)
        ns = s->strikes_end > s->now ? s->strikes_end - s->now : 0;
    sim_trouble(s, s->now + ns);
    return ns;
}

static bool strike_link(struct sim *s, enum fault f)
{
    struct wire *l = wire_some(s);
    if (!l)
        return false;
    fault_struck(s, f);
    if (f == FAULT_CUT) {
        wire_fault_cut(s, l);
        return true;
    }
    wire_fault_half_open(s, l);
    if (l->end[1]->kind == PROC_MANAGER)
        driver_impaired(s, l->end[0]->node, 25 * SEC);
    return true;
}

static bool strike_pair(struct sim *s, enum fault f)
{
    uint32_t a = (uint32_t)sim_below(s, s->nprocs), b = (uint32_t)sim_below(s, s->nprocs);
    if (a == b || a == 1 || b == 1 || !s->procs[a].alive || !s->procs[b].alive)
        return false;
    uint64_t ns = f == FAULT_ONEWAY ? lasts(s, 100 * MSEC, 40 * SEC) : lasts(s, SEC, 20 * SEC);
    sim_trace(s, "FAULT from %s to %s for %.1f s", s->procs[a].name, s->procs[b].name, (double)ns / 1e9);
    fault_struck(s, f);
    if (f == FAULT_ONEWAY)
        s->blocked[a][b] = s->now + ns;
    else
        s->delayed[a][b] = s->delayed[b][a] = s->now + ns;
    bool drivers = s->procs[a].kind == PROC_DRIVER || s->procs[b].kind == PROC_DRIVER;
    if (drivers && (a == 0 || b == 0))
        driver_impaired(s, a ? a : b, f == FAULT_ONEWAY ? ns : 10 * SEC);
    return true;
}

/* An executor that the next manager won't hear of for a while, if ever: its driver still may. */
static void keep_out(struct sim *s)
{
    struct proc *x = sim_chance(s, 500000) ? victim(s, PROC_EXECUTOR) : NULL;
    if (x)
        s->blocked[x->node][0] = s->now + lasts(s, SEC, 40 * SEC);
}

static bool strike_crash(struct sim *s, enum fault f, enum proc_kind kind)
{
    struct proc *p = victim(s, kind);
    if (!p)
        return false;
    if (kind == PROC_DRIVER)
        driver_excuse(s, p->d.index, "its driver was killed");
    if (f == FAULT_ZOMBIE) {
        proc_kill(p, false);
    } else if (f == FAULT_POWER) {
        fault_struck(s, f);
        proc_kill(p, true);
    } else
        p->crash_in = sim_between(s, 1, 40);
    if (f == FAULT_CRASH_MANAGER && s->hostile)
        keep_out(s);
    return true;
}

static bool strike_pause(struct sim *s, enum fault f, enum proc_kind kind)
{
    struct proc *p = victim(s, kind);
    if (!p)
        return false;
    uint64_t ns = lasts(s, MSEC, sim_chance(s, 500000) ? 8 * SEC : 60 * SEC);
    fault_struck(s, f);
    if (kind != PROC_EXECUTOR)
        driver_impaired(s, p->node, ns);
    proc_pause(p, ns);
    return true;
}

static bool strike_clock(struct sim *s)
{
    fault_struck(s, FAULT_CLOCK);
    for (uint32_t i = 0; i < s->nprocs; i++) {
        int64_t ppm = (int64_t)sim_between(s, 0, 100000) - 50000;
        proc_clock(&s->procs[i], ppm);
    }
    return true;
}

static void on_added(struct sim *s, struct todo *t)
{
    (void)s;
    proc_start(t->p);
}

static bool add_executor(struct sim *s, uint64_t after)
{
    char name[32];
    if (s->nprocs == PROCS_MAX)
        return false;
    struct proc *p = &s->procs[s->nprocs++];
    snprintf(name, sizeof name, "executor-%u", s->nprocs - 1);
    proc_init(s, p, PROC_EXECUTOR, name);
    p->x.slots = (uint32_t)sim_between(s, 1, 3);
    p->x.sees_output = sim_chance(s, 600000);
    snprintf(p->x.host_id, sizeof p->x.host_id, "machine-%u", s->neighbours ? 0 : p->node);
    sim_after(s, after, on_added, p);
    return true;
}

static bool strike_drain(struct sim *s)
{
    struct proc *p = victim(s, PROC_EXECUTOR);
    if (!p || p->x.draining || !add_executor(s, sim_below(s, 3 * SEC)))
        return false;
    fault_struck(s, FAULT_DRAIN);
    p->x.draining = true;
    proc_event(p, &(struct event){ .kind = EV_CALL, .call = { EXECUTOR_DRAIN, NULL } });
    return true;
}

static bool strike_app(struct sim *s, enum fault f)
{
    struct proc *p = victim(s, PROC_DRIVER);
    if (!p || p->d.closing)
        return false;
    fault_struck(s, f);
    s->apps[p->d.index].killed = true;
    if (f == FAULT_KILL)
        user_add(s, p->d.index, true, 0);
    else
        proc_event(p, &(struct event){ .kind = EV_CALL, .call = { SCHED_INTERRUPT, NULL } });
    return true;
}

static bool strike_stop(struct sim *s)
{
    struct proc *p = victim(s, PROC_MANAGER);
    if (!p)
        return false;
    fault_struck(s, FAULT_STOP_MANAGER);
    proc_event(p, &(struct event){ .kind = EV_CALL, .call = { MANAGER_STOP, NULL } });
    return true;
}

static void on_old_found(struct sim *s, struct todo *t)
{
    (void)s;
    proc_kill(t->p, false);
}

/* Somebody starts it on a backup of its store, and sees the mistake a little later. */
static void on_old_start(struct sim *s, struct todo *t)
{
    struct proc *p = t->p;
    if (p->alive)
        return;
    fault_struck(s, FAULT_OLD_STORE);
    s->old_store = true;
    proc_start(p);
    sim_after(s, sim_between(s, 100 * MSEC, 4 * SEC), on_old_found, p);
}

static bool strike_old_store(struct sim *s)
{
    struct proc *p = victim(s, PROC_MANAGER);
    if (!p || s->store_epoch < 2)
        return false;
    proc_kill(p, false);
    sim_after(s, MSEC, on_old_start, p);
    return true;
}

static bool strike_block(struct sim *s)
{
    bool lost = disk_lose_block(s);
    if (lost)
        fault_struck(s, FAULT_BLOCK_LOST);
    return lost;
}

static bool strike(struct sim *s, enum fault f)
{
    switch (f) {
    case FAULT_CUT:
    case FAULT_HALF_OPEN: return strike_link(s, f);
    case FAULT_ONEWAY:
    case FAULT_DELAY: return strike_pair(s, f);
    case FAULT_CRASH_MANAGER: return strike_crash(s, f, PROC_MANAGER);
    case FAULT_CRASH_EXECUTOR:
    case FAULT_ZOMBIE:
    case FAULT_POWER: return strike_crash(s, f, PROC_EXECUTOR);
    case FAULT_CRASH_DRIVER: return strike_crash(s, f, PROC_DRIVER);
    case FAULT_PAUSE_MANAGER: return strike_pause(s, f, PROC_MANAGER);
    case FAULT_PAUSE_EXECUTOR: return strike_pause(s, f, PROC_EXECUTOR);
    case FAULT_PAUSE_DRIVER: return strike_pause(s, f, PROC_DRIVER);
    case FAULT_CLOCK: return strike_clock(s);
    case FAULT_STOP_MANAGER: return strike_stop(s);
    case FAULT_DRAIN: return strike_drain(s);
    case FAULT_JOIN:
        if (!add_executor(s, 0))
            return false;
        fault_struck(s, f);
        return true;
    case FAULT_KILL:
    case FAULT_INTERRUPT: return strike_app(s, f);
    case FAULT_BLOCK_LOST: return strike_block(s);
    case FAULT_OLD_STORE: return strike_old_store(s);
    default: return true;
    }
}

/* ---- moments --------------------------------------------------------------------------- */

static void on_moment(struct sim *s, struct todo *t)
{
    enum fault f = (enum fault)t->a;
    if (s->over || (!s->single && s->now >= s->strikes_end))
        return;
    if (t->b && !s->running) { /* it waits until tasks are in flight, and then a while */
        struct todo *again = sim_after(s, 5 * MSEC, on_moment, NULL);
        again->a = f;
        again->b = 1;
        return;
    }
    if (t->b) {
        sim_after(s, sim_below(s, sim_chance(s, 500000) ? 200 * MSEC : 2 * SEC), on_moment, NULL)->a = f;
        return;
    }
    bool struck = strike(s, f);
    if (s->single && struck)
        return;
    uint64_t wait = struck ? sim_between(s, s->rate[f] / 2, s->rate[f] * 3 / 2) : 20 * MSEC;
    sim_after(s, wait, on_moment, NULL)->a = f;
}

/* Most seeds' first strikes come while tasks are in flight. */
static void first_moment(struct sim *s, enum fault f, uint64_t after)
{
    struct todo *t = sim_after(s, after, on_moment, NULL);
    t->a = f;
    t->b = sim_chance(s, 800000);
}

static bool at_moments(enum fault f)
{
    return chances[f].high == 0 || f == FAULT_BLOCK_LOST || f == FAULT_ZOMBIE;
}

static void draw_single(struct sim *s)
{
    enum fault f = s->only = (enum fault)(s->seed / 2 % FAULT_HOSTILE);
    s->countdown =
        f == FAULT_ZOMBIE
            ? 1
            : 1 + sim_below(s, f == FAULT_FULL || f == FAULT_HOST_BAD || f == FAULT_TASK_POISON ? 6 : 24);
    if (f == FAULT_TASK_HANG)
        s->time_ms_max = TIME_LIMIT_MS;
    if (at_moments(f) && (f != FAULT_BLOCK_LOST || sim_chance(s, 500000)))
        sim_after(s, sim_between(s, 200 * MSEC, sim_chance(s, 700000) ? 2 * SEC : 6 * SEC), on_moment, NULL)
            ->a = f;
}

static void draw_several(struct sim *s)
{
    s->strikes_end = s->faults_end = sim_between(s, 4 * SEC, 40 * SEC);
    for (int f = 0; f < FAULT_HOSTILE; f++) {
        s->in_set[f] = sim_chance(s, IN_SET);
        s->rate[f] = chances[f].high ? sim_between(s, chances[f].low, chances[f].high)
                                     : sim_between(s, 200 * MSEC, 6 * SEC);
        if (s->in_set[f] && chances[f].high == 0)
            first_moment(s, (enum fault)f, sim_below(s, s->rate[f]));
    }
    bool slow = s->in_set[FAULT_STRAGGLER] || s->in_set[FAULT_IO_SLOW] || s->in_set[FAULT_PAUSE_EXECUTOR] ||
                s->in_set[FAULT_PAUSE_DRIVER] || s->in_set[FAULT_DELAY] || s->in_set[FAULT_ONEWAY] ||
                s->in_set[FAULT_HALF_OPEN] || s->in_set[FAULT_POWER];
    s->time_ms_max = s->in_set[FAULT_TASK_HANG] && !slow ? TIME_LIMIT_MS : 0;
}

static void on_calm(struct sim *s, struct todo *t)
{
    (void)t;
    wire_calm(s);
    s->pace = 1; /* what is left has 120 s */
}

static void draw_hostile(struct sim *s)
{
    static const enum fault with[] = { FAULT_CRASH_MANAGER, FAULT_CRASH_EXECUTOR, FAULT_CUT,
                                       FAULT_BLOCK_LOST };
    s->hostile = true;
    s->strikes_end = s->faults_end = sim_between(s, 20 * SEC, 40 * SEC);
    for (int f = FAULT_HOSTILE; f < FAULT_COUNT; f++) {
        s->in_set[f] = sim_chance(s, f == FAULT_OLD_STORE ? 300000 : 800000);
        if (chances[f].high)
            s->rate[f] = sim_between(s, chances[f].low, chances[f].high);
        else
            s->rate[f] = sim_between(s, SEC, 20 * SEC);
    }
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        if (!s->in_set[with[i]] && sim_chance(s, 600000)) {
            s->in_set[with[i]] = true;
            if (chances[with[i]].high == 0)
                first_moment(s, with[i], sim_below(s, s->rate[with[i]]));
        }
    s->pace = sim_between(s, 8, 25); /* long enough for what comes again much later */
    if (s->in_set[FAULT_OLD_STORE])
        first_moment(s, FAULT_OLD_STORE, sim_below(s, 4 * SEC));
    for (uint32_t i = 0; i < s->napps; i++)
        driver_excuse(s, i, "its network loses, doubles and reorders frames");
    sim_after(s, s->strikes_end, on_calm, NULL);
}

void fault_draw(struct sim *s)
{
    s->single = s->seed % 2;
    if (s->single)
        draw_single(s);
    else
        draw_several(s);
    if (!s->single && HOSTILE_SEEDS >> s->seed % 32 & 1)
        draw_hostile(s);
}
