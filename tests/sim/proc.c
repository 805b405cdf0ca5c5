/* proc.c - processes: their clocks, turns, pauses, deaths and restarts. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPINS_MAX 1000 /* turns in a row in which a core asks for another at once */
#define MILLION 1000000ull

/* What a paused process has not read yet. */
struct kept_event {
    struct event ev;
    uint8_t *payload; /* owned */
};

/* ---- clocks ------------------------------------------------------------------- */

uint64_t proc_local(const struct proc *p)
{
    unsigned __int128 gone = p->sim->now - p->global0;
    return p->local0 + (uint64_t)(gone * (uint64_t)((int64_t)MILLION + p->ppm) / MILLION);
}

static uint64_t to_global(const struct proc *p, uint64_t local)
{
    if (local == UINT64_MAX)
        return UINT64_MAX;
    if (local <= p->local0)
        return p->global0;
    unsigned __int128 gone = local - p->local0, rate = (uint64_t)((int64_t)MILLION + p->ppm);
    return p->global0 + (uint64_t)((gone * MILLION + rate - 1) / rate);
}

void proc_init(struct sim *s, struct proc *p, enum proc_kind kind, const char *name)
{
    memset(p, 0, sizeof *p);
    p->sim = s;
    p->kind = kind;
    p->node = (uint32_t)(p - s->procs);
    p->global0 = s->now;
    p->local0 = SEC * sim_between(s, 100, 100000) + sim_below(s, SEC);
    snprintf(p->name, sizeof p->name, "%s", name);
}

/* ---- the core, whichever it is ---------------------------------------------------- */

static void core_step(struct proc *p, const struct event *ev)
{
    uint64_t now = proc_local(p);
    switch (p->kind) {
    case PROC_MANAGER: manager_step(p->core, ev, now, &p->out); break;
    case PROC_EXECUTOR: executor_step(p->core, ev, now, &p->out); break;
    case PROC_DRIVER: sched_step(p->core, ev, now, &p->out); break;
    case PROC_USER: break;
    }
}

static uint64_t core_deadline(const struct proc *p)
{
    switch (p->kind) {
    case PROC_MANAGER: return manager_deadline(p->core);
    case PROC_EXECUTOR: return executor_deadline(p->core);
    case PROC_DRIVER: return sched_deadline(p->core);
    case PROC_USER: break;
    }
    return UINT64_MAX;
}

static void core_free(struct proc *p)
{
    struct manager *m = p->core;
    struct executor *x = p->core;
    struct sched *d = p->core;
    switch (p->kind) {
    case PROC_MANAGER: manager_free(&m); break;
    case PROC_EXECUTOR: executor_free(&x); break;
    case PROC_DRIVER: sched_free(&d); break;
    case PROC_USER: break;
    }
    p->core = NULL;
}

/* ---- turns --------------------------------------------------------------------------- */

static void on_timer(struct sim *s, struct todo *t);

static void arm(struct proc *p)
{
    uint64_t at = to_global(p, core_deadline(p));
    if (at <= p->sim->now)
        at = p->sim->now + US;
    if (at >= p->timer_at)
        return;
    p->timer_at = at;
    sim_after(p->sim, at - p->sim->now, on_timer, p)->a = at;
}

static void leave(struct proc *p);

static void step(struct proc *p, const struct event *ev)
{
    struct sim *s = p->sim;
    uint64_t refused = check_refused(p);
    s->steps++;
    actions_reset(&p->out);
    core_step(p, ev);
    if (p->must_refuse && check_refused(p) == refused)
        sim_fail(s, "fence", "%s takes a stale frame: %s", p->name, proto_name(ev->recv.frame.p[1]));
    p->must_refuse = false;
    for (uint32_t i = 0; i < p->out.n && !s->failed; i++) {
        if (p->crash_in && --p->crash_in == 0) { /* between two actions */
            fault_struck(s, fault_of_crash(p->kind));
            proc_kill(p, false);
            return;
        }
        act_perform(p, &p->out.v[i]);
    }
    check_step(p);
    if (p->exiting)
        leave(p);
    else
        arm(p);
}

void proc_clock(struct proc *p, int64_t ppm)
{
    p->local0 = proc_local(p);
    p->global0 = p->sim->now;
    p->ppm = ppm;
    if (p->alive && p->core && !p->paused)
        arm(p);
}

static void spin_check(struct proc *p)
{
    uint64_t now = p->sim->now;
    p->spins = now - p->last_spin <= 10 * US ? p->spins + 1 : 0;
    p->last_spin = now;
    if (p->spins > SPINS_MAX)
        sim_fail(p->sim, "bounds", "%s spins: its deadline is always now", p->name);
}

static void on_timer(struct sim *s, struct todo *t)
{
    struct proc *p = t->p;
    if (t->a != p->timer_at)
        return;
    p->timer_at = UINT64_MAX;
    if (p->paused)
        return; /* armed again when it wakes */
    if (core_deadline(p) <= proc_local(p)) {
        spin_check(p);
        step(p, &(struct event){ .kind = EV_TIME });
    } else if (!s->failed)
        arm(p);
}

static void keep(struct proc *p, const struct event *ev)
{
    struct kept_event k = { *ev, NULL };
    struct bytes *payload = ev->kind == EV_RECV        ? &k.ev.recv.frame
                            : ev->kind == EV_HOST_RECV ? &k.ev.host.frame
                                                       : NULL;
    if (payload) {
        k.payload = malloc(payload->n + 1u);
        if (!k.payload)
            abort();
        memcpy(k.payload, payload->p, payload->n);
        payload->p = k.payload;
    }
    buf_put(&p->inbox, &k, sizeof k);
}

void proc_event(struct proc *p, const struct event *ev)
{
    if (!p->alive || p->sim->failed)
        return;
    if (p->kind == PROC_USER) {
        user_event(p, ev);
        return;
    }
    if (p->paused) {
        keep(p, ev);
        return;
    }
    if (ev->kind == EV_RECV) {
        check_received(p, ev->conn, ev->recv.frame);
        sim_trace_frame(p->sim, p->name, "< conn=", ev->conn, ev->recv.frame);
    }
    step(p, ev);
}

/* ---- pauses ----------------------------------------------------------------------------- */

static void inbox_clear(struct proc *p)
{
    for (size_t i = 0; i < p->inbox.n / sizeof(struct kept_event); i++)
        free(((struct kept_event *)p->inbox.p)[i].payload);
    buf_fini(&p->inbox);
}

static void on_resume(struct sim *s, struct todo *t)
{
    struct proc *p = t->p;
    if (!p->paused || s->now < p->resume_at)
        return;
    sim_trace(s, "%s goes on", p->name);
    p->paused = false;
    uint32_t life = p->life;
    struct buf kept = p->inbox;
    p->inbox = (struct buf){ 0 };
    for (size_t i = 0; i < kept.n / sizeof(struct kept_event); i++) {
        struct kept_event *k = (struct kept_event *)kept.p + i;
        if (p->life == life)
            proc_event(p, &k->ev);
        free(k->payload);
    }
    buf_fini(&kept);
    if (p->alive && p->life == life)
        arm(p);
}

void proc_pause(struct proc *p, uint64_t ns)
{
    struct sim *s = p->sim;
    sim_trace(s, "FAULT %s is paused for %.3f s", p->name, (double)ns / 1e9);
    p->paused = true;
    if (p->resume_at < s->now + ns)
        p->resume_at = s->now + ns;
    sim_after(s, ns, on_resume, p);
}

/* ---- life and death ------------------------------------------------------------------------ */

static void start_manager(struct proc *p)
{
    struct sim *s = p->sim;
    struct manager_config config = { .beat_ms = 1000,
                                     .suspect_ms = 5000,
                                     .lost_ms = 20000,
                                     .driver_lost_ms = 30000,
                                     .claim_ms = 20000,
                                     .holding_ms = 30000,
                                     .bar_ms = 30000,
                                     .executors_max = 4096,
                                     .apps_max = 10000 };
    struct buf rows = { 0 };
    if (!s->old_store)
        s->store_epoch++;
    s->manager_epoch = s->old_store ? sim_between(s, 1, s->store_epoch - 1) : s->store_epoch;
    map_clear(&s->asked);
    act_store_rows(s, &rows);
    struct store_state state = { .epoch = s->manager_epoch,
                                 .next_app = s->old_store ? 1 : s->store_next_app,
                                 .unix_ms = 1700000000000ull + s->now / MSEC,
                                 .apps = (const struct store_app *)rows.p,
                                 .napps = (uint32_t)(rows.n / sizeof(struct store_app)) };
    p->core = manager_new(&config);
    step(p, &(struct event){ .kind = EV_START, .start = { prng_next(&s->prng), &state } });
    buf_fini(&rows);
    struct manager_key keys[2] = { { .role = ROLE_JOIN, .name = "join" },
                                   { .role = ROLE_USER, .name = "ann" } };
    memcpy(keys[0].key, s->join_key, KEY_BYTES);
    memcpy(keys[1].key, s->user_key, KEY_BYTES);
    struct manager_keys all = { keys, 2 };
    if (p->alive)
        step(p, &(struct event){ .kind = EV_CALL, .call = { MANAGER_KEYS, &all } });
}

static void start_executor(struct proc *p)
{
    struct sim *s = p->sim;
    char control[32], data[32];
    snprintf(control, sizeof control, "n%u:%u", p->node, p->port);
    snprintf(data, sizeof data, "n%u:%u", p->node, p->port + 1);
    snprintf(p->x.root, sizeof p->x.root, "/blocks/%u", p->node);
    sim_key(s, p->x.public_key);
    memcpy(p->x.incarnation, p->x.public_key, ID_BYTES);
    p->x.draining = p->x.joined = false;
    struct executor_config config = {
        .manager = "n0:7000",
        .host = p->name,
        .host_id = p->x.host_id,
        .control = control,
        .data = data,
        .root = p->x.root,
        .labels = "",
        .slots = p->x.slots,
        .memory = 1ull << 30,
        .block_bytes_max = 1ull << 30,
        .driver_silent_ms = 15000,
        .app_keep_ms = 30000,
        .attach_ms = 10000,
        .manager_lost_ms = 20000,
        .drain_ms = 30000,
    };
    memcpy(config.manager_key, s->manager_key, KEY_BYTES);
    memcpy(config.public_key, p->x.public_key, KEY_BYTES);
    memcpy(config.incarnation, p->x.incarnation, ID_BYTES);
    p->core = executor_new(&config);
    step(p, &(struct event){ .kind = EV_START, .start = { prng_next(&s->prng), NULL } });
}

void proc_start(struct proc *p)
{
    struct sim *s = p->sim;
    p->alive = true;
    p->silent_dead = p->powered_off = p->exiting = false;
    p->port = p->kind == PROC_MANAGER || s->same_ports ? 7000 : 7000 + 10 * p->life;
    p->next_conn = 1;
    p->timer_at = UINT64_MAX;
    p->crash_in = 0;
    p->epoch = p->generation = p->heard_epoch = 0;
    sim_trace(s, "%s starts", p->name);
    switch (p->kind) {
    case PROC_MANAGER: start_manager(p); break;
    case PROC_EXECUTOR: start_executor(p); break;
    case PROC_DRIVER: driver_start(p); break;
    case PROC_USER: break;
    }
}

static void on_restart(struct sim *s, struct todo *t)
{
    (void)s;
    if (!t->p->alive)
        proc_start(t->p);
}

/* A supervisor starts it again, unless it left in peace. */
static void restart(struct proc *p, bool in_silence)
{
    struct sim *s = p->sim;
    uint64_t wait = sim_between(s, 20 * MSEC, in_silence ? 30 * SEC : 3 * SEC);
    bool peaceful = p->kind == PROC_EXECUTOR && p->exiting && p->exit_code == 0;
    if (p->kind == PROC_DRIVER || peaceful)
        return;
    if (p->kind == PROC_MANAGER)
        for (uint32_t i = 0; i < s->nprocs; i++)
            if (s->procs[i].kind == PROC_DRIVER)
                driver_impaired(s, s->procs[i].node, wait);
    sim_after(s, wait, on_restart, p);
    sim_trouble(s, s->now + wait);
}

static void end_life(struct proc *p)
{
    if (p->kind == PROC_MANAGER) {
        act_store_died(p->sim);
        p->sim->old_store = false;
    }
    if (p->kind == PROC_EXECUTOR)
        disk_clear(p);
    if (p->kind == PROC_DRIVER)
        driver_stopped(p);
    core_free(p);
    inbox_clear(p);
    map_clear(&p->conns);
    buf_reset(&p->keys);
    p->alive = p->paused = false;
    p->resume_at = 0;
    p->life++;
}

void proc_kill(struct proc *p, bool in_silence)
{
    struct sim *s = p->sim;
    sim_trace(s, "FAULT %s is killed%s", p->name, in_silence ? ", with its machine" : "");
    p->exiting = false;
    wire_died(p, in_silence, false);
    if (p->kind == PROC_EXECUTOR && in_silence)
        disk_power_lost(p);
    if (p->kind == PROC_EXECUTOR)
        thosts_orphan(p, !in_silence && fault_hits(s, FAULT_ZOMBIE));
    end_life(p);
    p->silent_dead = in_silence || sim_chance(s, 200000); /* a killed container soon refuses no more */
    restart(p, in_silence);
}

static void leave(struct proc *p)
{
    sim_trace(p->sim, "%s exits with %d", p->name, p->exit_code);
    wire_died(p, false, true);
    if (p->kind == PROC_EXECUTOR)
        thosts_orphan(p, false);
    end_life(p);
    restart(p, false);
}

void proc_fini(struct proc *p)
{
    if (p->alive)
        core_free(p);
    inbox_clear(p);
    if (p->kind == PROC_EXECUTOR) {
        disk_clear(p);
        struct map *maps[] = { &p->x.blobs,  &p->x.hosts,    &p->x.libs,       &p->x.dirs, &p->x.keys,
                               &p->x.leases, &p->x.io_until, &p->x.io_removed, &p->x.made, &p->x.attached };
        for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
            map_fini(maps[i]);
    }
    if (p->kind == PROC_DRIVER) {
        driver_stopped(p);
        map_fini(&p->d.memory);
        map_fini(&p->d.commits);
        map_fini(&p->d.lost);
    }
    map_fini(&p->conns);
    buf_fini(&p->keys);
    actions_fini(&p->out);
}

bool proc_admits(const struct proc *p, const uint8_t key[KEY_BYTES], enum role *role)
{
    const struct admitted_key *k = (const struct admitted_key *)p->keys.p;
    for (size_t i = 0; i < p->keys.n / sizeof *k; i++)
        if (!memcmp(k[i].key, key, KEY_BYTES)) {
            *role = k[i].role;
            return true;
        }
    return false;
}

struct proc *proc_of_app(struct sim *s, uint32_t app_index)
{
    for (uint32_t i = 0; i < s->nprocs; i++)
        if (s->procs[i].kind == PROC_DRIVER && s->procs[i].d.index == app_index)
            return &s->procs[i];
    return NULL;
}
