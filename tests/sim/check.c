/* check.c - what must hold, whatever strikes: seen on the wire, in what happens, and at the end. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_INSIDE_EVERY 32 /* turns of a core */

static unsigned long long llu(uint64_t v)
{
    return v;
}

/* ---- leases ---------------------------------------------------------------------------- */

static const struct wire *link_of(const struct proc *p, conn_id conn)
{
    return map_get(&p->conns, conn);
}

static void on_open(struct proc *m, const struct wire *to, const struct msg_lease_open *o)
{
    struct sim *s = m->sim;
    const struct proc *x = to->end[0];
    uint32_t used = o->slots;
    struct lease_seen *l = map_get(&s->leases, o->lease);
    if (l || to->life[0] != x->life)
        return; /* said again, or to somebody who is dead */
    MAP_EACH(&s->leases, i) {
        const struct lease_seen *other = map_at(&s->leases, i);
        if (!memcmp(other->incarnation, x->x.incarnation, ID_BYTES) && !other->closed)
            used += other->slots;
    }
    if (used > x->x.slots)
        sim_fail(s, "slot-leased-twice", "the manager leases %u of %s's %u slots: lease %llu", used, x->name,
                 x->x.slots, llu(o->lease));
    if (!(l = calloc(1, sizeof *l)))
        abort();
    *l = (struct lease_seen){ .lease = o->lease, .app = o->app, .slots = o->slots };
    memcpy(l->incarnation, x->x.incarnation, ID_BYTES);
    map_put(&s->leases, l->lease, l);
}

static void on_grant(struct proc *m, const struct wire *to, const struct msg_lease_grant *g)
{
    struct sim *s = m->sim;
    const struct lease_seen *l = map_get(&s->leases, g->lease);
    if (!l || !l->opened)
        sim_fail(s, "grant-after-opened", "lease %llu is granted before its executor opened it",
                 llu(g->lease));
    else if (to->end[0]->kind != PROC_DRIVER || to->end[0]->d.app != l->app)
        sim_fail(s, "grant-to-owner", "lease %llu of app %llu is granted to %s", llu(g->lease), llu(l->app),
                 to->end[0]->name);
}

static uint32_t slots_open(const struct proc *x, uint64_t app)
{
    uint32_t n = 0;
    MAP_EACH(&x->x.leases, i) {
        const struct lease_seen *l = map_at(&x->x.leases, i);
        n += app == 0 || l->app == app ? l->slots : 0;
    }
    return n;
}

static void on_opened(struct proc *x, uint64_t lease)
{
    struct lease_seen *l = map_get(&x->sim->leases, lease);
    if (!l)
        return;
    map_put(&x->x.leases, lease, l);
    if (slots_open(x, 0) > x->x.slots)
        sim_fail(x->sim, "slot-leased-twice", "%s opened %u of its %u slots", x->name, slots_open(x, 0),
                 x->x.slots);
}

static void on_closed(struct proc *x, uint64_t lease);

/* What a JOIN lists is open, though LEASE_OPENED was never said; what it does not list is closed. */
static void on_join(struct proc *x, const struct msg_join *j)
{
    for (uint32_t k = 0; k < j->holdings.n; k++)
        if (map_has(&x->sim->leases, j->holdings.v[k].lease) &&
            !map_has(&x->x.leases, j->holdings.v[k].lease))
            on_opened(x, j->holdings.v[k].lease);
    MAP_EACH(&x->x.leases, i) {
        bool held = false;
        for (uint32_t k = 0; k < j->holdings.n; k++)
            held |= j->holdings.v[k].lease == map_key(&x->x.leases, i);
        if (!held)
            on_closed(x, map_key(&x->x.leases, i));
    }
}

static void on_closed(struct proc *x, uint64_t lease)
{
    const struct lease_seen *l = map_get(&x->x.leases, lease);
    if (!l)
        return;
    map_del(&x->x.leases, lease);
    if (thosts_of(x, l->app) > slots_open(x, l->app))
        sim_fail(x->sim, "hosts-reaped", "%s closed lease %llu while %u hosts of app %llu live", x->name,
                 llu(lease), thosts_of(x, l->app), llu(l->app));
}

/* ---- what is said, and when ---------------------------------------------------------------- */

static bool has_keys(const struct proc *p, uint64_t app)
{
    const struct admitted_key *k = (const struct admitted_key *)p->keys.p;
    for (size_t i = 0; i < p->keys.n / sizeof *k; i++)
        if ((k[i].role == ROLE_DRIVER || k[i].role == ROLE_FETCH) && (app == 0 || k[i].app == app))
            return true;
    return false;
}

static void on_app_ended(struct proc *x, uint64_t app)
{
    if (has_keys(x, app))
        sim_fail(x->sim, "app-end-left", "%s said APP_ENDED and still admits the application's keys",
                 x->name);
    else if (thosts_of(x, app) || slots_open(x, app))
        sim_fail(x->sim, "app-end-left", "%s said APP_ENDED with hosts or leases of app %llu", x->name,
                 llu(app));
}

/* What has ended is not to be kept. */
static void on_joined(struct sim *s, const struct msg_joined *j)
{
    for (size_t i = 0; i < s->joining.n / sizeof(uint64_t); i++) {
        uint64_t app = ((const uint64_t *)s->joining.p)[i], state = 0;
        bool ends = false;
        for (uint32_t k = 0; k < j->end_apps.n; k++)
            ends |= j->end_apps.v[k].id == app;
        map_get_u64(&s->durable, app, &state);
        if (state != 1 && !ends)
            sim_fail(s, "ended-app-kept", "JOINED lets an executor keep app %llu, which has ended", llu(app));
    }
}

/* The manager does not go back to wants that were replaced. */
static void on_ask_state(struct sim *s, const struct wire *to, const struct msg_ask_state *a)
{
    uint64_t last = 0, app = to->end[0]->kind == PROC_DRIVER ? to->end[0]->d.app : 0;
    map_get_u64(&s->asked, app, &last);
    if (a->revision < last)
        sim_fail(s, "ask-latest", "app %llu is answered about ASK %llu after ASK %llu", llu(app),
                 llu(a->revision), llu(last));
    map_put_u64(&s->asked, app, a->revision);
}

static void manager_said(struct proc *m, const struct wire *to, uint8_t tag, const void *msg)
{
    struct sim *s = m->sim;
    uint64_t app, state = 0;
    memcpy(&app, msg, sizeof app); /* the first field of APP_OK and APP_END */
    if (tag == MSG_LEASE_OPEN)
        on_open(m, to, msg);
    else if (tag == MSG_LEASE_GRANT)
        on_grant(m, to, msg);
    else if (tag == MSG_JOINED)
        on_joined(s, msg);
    else if (tag == MSG_ASK_STATE)
        on_ask_state(s, to, msg);
    else if (tag == MSG_WELCOME)
        ((struct wire *)map_get(&s->links, to->id))->generation =
            ((const struct msg_welcome *)msg)->generation;
    else if (tag == MSG_APP_OK && !map_get_u64(&s->durable, app, &state))
        sim_fail(s, "ok-after-persisted", "APP_OK for app %llu before it was on stable storage", llu(app));
    else if (tag == MSG_APP_END && map_get_u64(&s->durable, app, &state) && state == 1)
        sim_fail(s, "end-after-persisted", "APP_END for app %llu before its end was on stable storage",
                 llu(app));
}

/* What is cached stays until it is forgotten. */
static void on_free(struct proc *p, const struct msg_block_free *m)
{
    const struct app_sim *a = &p->sim->apps[p->d.index];
    for (uint32_t i = 0; i < m->stages.n; i++)
        if (map_has(&a->keeps, m->stages.v[i].n))
            sim_fail(p->sim, "cached-freed", "%s frees stage %u, which is cached", p->name, m->stages.v[i].n);
}

void check_send(struct proc *p, conn_id conn, struct bytes frame)
{
    static const uint8_t tags[] = { MSG_LEASE_OPEN,   MSG_LEASE_GRANT,  MSG_APP_OK,    MSG_APP_END,
                                    MSG_LEASE_OPENED, MSG_LEASE_CLOSED, MSG_APP_ENDED, MSG_JOIN,
                                    MSG_JOINED,       MSG_WELCOME,      MSG_ASK_STATE, MSG_BLOCK_FREE };
    const struct wire *to = link_of(p, conn);
    struct arena arena = { 0 };
    struct head head;
    struct error e;
    if (frame.n > PROTO_FRAME_BYTES_MAX)
        sim_fail(p->sim, "bounds", "%s sends a frame of %u bytes", p->name, frame.n);
    if (to && p->kind == PROC_EXECUTOR && frame.p[1] == MSG_ATTACHED)
        map_put_u64(&p->x.attached, to->end[0]->d.app, p->x.attaching);
    if ((!to && p->kind == PROC_MANAGER) || !memchr(tags, frame.p[1], sizeof tags))
        return;
    const void *m = proto_decode(&arena, frame, &head, &e);
    if (!m)
        sim_fail(p->sim, "codec", "%s sends what does not decode: %s", p->name, e.words);
    else if (p->kind == PROC_MANAGER)
        manager_said(p, to, head.tag, m);
    else if (p->kind == PROC_DRIVER && head.tag == MSG_BLOCK_FREE)
        on_free(p, m);
    else if (p->kind == PROC_EXECUTOR && head.tag == MSG_LEASE_OPENED)
        on_opened(p, ((const struct msg_lease_opened *)m)->lease);
    else if (p->kind == PROC_EXECUTOR && head.tag == MSG_LEASE_CLOSED)
        on_closed(p, ((const struct msg_lease_closed *)m)->lease);
    else if (p->kind == PROC_EXECUTOR && head.tag == MSG_JOIN)
        on_join(p, m);
    else if (p->kind == PROC_EXECUTOR && head.tag == MSG_APP_ENDED)
        on_app_ended(p, ((const struct msg_app_ended *)m)->app);
    arena_fini(&arena);
}

static void join_heard(struct sim *s, const struct msg_join *j)
{
    buf_reset(&s->joining);
    for (uint32_t i = 0; i < j->apps.n; i++)
        buf_put(&s->joining, &j->apps.v[i].id, sizeof(uint64_t));
    MAP_EACH(&s->leases, i) {
        struct lease_seen *l = map_at(&s->leases, i);
        bool held = false;
        if (memcmp(l->incarnation, j->incarnation, ID_BYTES))
            continue;
        for (uint32_t k = 0; k < j->holdings.n; k++)
            held |= j->holdings.v[k].lease == l->lease;
        l->opened |= held;
        l->closed |= !held;
    }
}

/* Epoch and generation, which begin every frame's array; false: not well formed. */
static bool read_head(struct bytes f, uint64_t v[2])
{
    uint32_t at = 3;
    if (f.n < 5)
        return false;
    at += f.p[2] == 0xdc ? 2 : f.p[2] == 0xdd ? 4 : 0;
    for (int i = 0; i < 2; i++) {
        uint32_t more = at < f.n && f.p[at] >= 0xcc && f.p[at] <= 0xcf ? 1u << (f.p[at] - 0xcc) : 0;
        if (at + more >= f.n)
            return false;
        v[i] = more ? 0 : f.p[at];
        for (uint32_t k = 1; k <= more; k++)
            v[i] = v[i] << 8 | f.p[at + k];
        at += more + 1;
    }
    return true;
}

/* Only these speak to a manager in an epoch and generation that it gave. */
static bool unfenced(uint8_t tag)
{
    static const uint8_t tags[] = { MSG_HELLO,    MSG_ENROL,    MSG_JOIN, MSG_BEAT,
                                    MSG_BEAT_ACK, MSG_APP_OPEN, MSG_SERVE };
    return memchr(tags, tag, sizeof tags) != NULL;
}

/* Is this one of an epoch or a generation that is over, as its receiver knows? */
static bool stale(struct proc *p, const struct wire *l, struct bytes frame)
{
    uint64_t v[2], app, least = 0;
    const struct proc *from = l->end[l->end[0] == p];
    if (!read_head(frame, v))
        return false;
    if (p->kind == PROC_MANAGER)
        return !unfenced(frame.p[1]) && (v[0] != p->sim->manager_epoch || v[1] != l->generation) &&
               !inside_manager_deaf(p->core, l->conn[1]);
    if (from->kind == PROC_MANAGER) {
        bool old = v[0] < p->heard_epoch;
        p->heard_epoch = old ? p->heard_epoch : v[0];
        return old;
    }
    if (from->kind != PROC_DRIVER || frame.p[1] != MSG_ATTACH)
        return false;
    app = from->d.app;
    map_get_u64(&p->x.attached, app, &least);
    p->x.attaching = v[0];
    return v[0] < least;
}

uint64_t check_refused(const struct proc *p)
{
    switch (p->kind) {
    case PROC_MANAGER: return inside_manager_refused(p->core);
    case PROC_EXECUTOR: return inside_executor_refused(p->core);
    case PROC_DRIVER: return inside_sched_refused(p->core);
    case PROC_USER: break;
    }
    return 0;
}

void check_received(struct proc *p, conn_id conn, struct bytes frame)
{
    const struct wire *from = link_of(p, conn);
    p->must_refuse = from && stale(p, from, frame);
    struct arena arena = { 0 };
    struct head head;
    struct error e;
    uint8_t tag = frame.n > 1 ? frame.p[1] : 0;
    if (p->kind != PROC_MANAGER || (tag != MSG_LEASE_OPENED && tag != MSG_LEASE_CLOSED && tag != MSG_JOIN))
        return;
    const void *m = proto_decode(&arena, frame, &head, &e);
    struct lease_seen *l =
        m && tag != MSG_JOIN ? map_get(&p->sim->leases, ((const struct msg_lease_opened *)m)->lease) : NULL;
    if (l && tag == MSG_LEASE_OPENED)
        l->opened = true;
    else if (l)
        l->closed = true;
    else if (m && tag == MSG_JOIN)
        join_heard(p->sim, m);
    arena_fini(&arena);
}

/* Each (stage, partition) is committed once; a map's again only when its output was lost. */
static void committed(struct proc *p, const struct sched_event *e)
{
    for (uint32_t i = 0; i < e->count; i++) {
        uint64_t key = (uint64_t)e->stage << 32 | (e->part + i), lost = 0;
        map_get_u64(&p->d.lost, e->stage, &lost);
        if (map_has(&p->d.commits, key) && lost == 0)
            sim_fail(p->sim, "commit-once", "%s: part %u of stage %u was committed twice", p->name,
                     e->part + i, e->stage);
        else if (map_has(&p->d.commits, key))
            map_put_u64(&p->d.lost, e->stage, lost - 1);
        map_put_u64(&p->d.commits, key, 1);
    }
}

void check_event(struct proc *p, const struct sched_event *e)
{
    uint64_t lost = 0;
    sim_trace(p->sim, "%s: event %s %u.%u.%u count=%u %s %s", p->name, e->name, e->stage, e->part, e->attempt,
              e->count, e->executor ? e->executor : "", e->words ? e->words : "");
    if (!strcmp(e->name, "tasks.copied") || !strcmp(e->name, "task.straggles") ||
        !strcmp(e->name, "fetch.failed"))
        p->sim->apps[p->d.index].copied = true;
    if (!strcmp(e->name, "task.committed"))
        committed(p, e);
    else if (!strcmp(e->name, "maps.lost")) {
        map_get_u64(&p->d.lost, e->stage, &lost);
        map_put_u64(&p->d.lost, e->stage, lost + e->count);
    }
}

/* An attempt has one name and runs once; what no fault has touched runs once in all. */
void check_begins(struct thost *h)
{
    struct sim *s = h->sim;
    struct app_sim *a = work_app(s, h->app);
    uint64_t part = task_key(h->task.stage, h->task.part, 0), n = 0;
    if (!a || h->orphan)
        return;
    if (map_has(&a->attempts, part | h->task.attempt) && !s->hostile)
        sim_fail(s, "attempt-once", "%s: attempt %u of part %u of stage %u ran twice", a->name,
                 h->task.attempt, h->task.part, h->task.stage);
    map_put_u64(&a->attempts, part | h->task.attempt, 1);
    map_get_u64(&a->begun, part, &n);
    map_put_u64(&a->begun, part, n + 1);
    bool harmless = s->single && (s->only == FAULT_CUT || s->only == FAULT_CRASH_MANAGER ||
                                  s->only == FAULT_STOP_MANAGER || s->only == FAULT_PAUSE_MANAGER ||
                                  s->only == FAULT_JOIN || s->only == FAULT_CLOCK);
    if (n && harmless && !a->copied)
        sim_fail(s, "nothing-else-again", "%s: part %u of stage %u ran again, though nothing of it was lost",
                 a->name, h->task.part, h->task.stage);
}

/* ---- bounds ------------------------------------------------------------------------------------ */

void check_step(struct proc *p)
{
    const char *over = NULL;
    if (!p->core || p->sim->steps % LOOK_INSIDE_EVERY)
        return;
    if (p->kind == PROC_EXECUTOR)
        over = inside_executor_bounds(p->core, proc_local(p));
    else if (p->kind == PROC_MANAGER)
        over = inside_manager_bounds(p->core, proc_local(p));
    else if (p->kind == PROC_DRIVER)
        over = inside_sched_bounds(p->core);
    if (over)
        sim_fail(p->sim, "bounds", "%s: %s", p->name, over);
}

/* ---- the end ------------------------------------------------------------------------------------- */

static const char *executor_left(const struct proc *p)
{
    if (!p->alive)
        return p->x.draining ? NULL : "is down";
    MAP_EACH(&p->x.hosts, i)
        if (((const struct thost *)map_at(&p->x.hosts, i))->app)
            return "still has task hosts of an application";
    if (p->x.blobs.n)
        return "still has blocks";
    if (has_keys(p, 0))
        return "still admits an application's keys";
    return inside_executor_left(p->core);
}

static const char *manager_left(const struct proc *p)
{
    if (!p->alive)
        return "is down";
    if (has_keys(p, 0))
        return "still admits an application's keys";
    return inside_manager_left(p->core);
}

static const char *proc_left(const struct proc *p)
{
    if (p->paused)
        return "is paused";
    switch (p->kind) {
    case PROC_MANAGER: return manager_left(p);
    case PROC_EXECUTOR: return executor_left(p);
    case PROC_DRIVER: return p->alive ? "still runs" : NULL;
    case PROC_USER: break;
    }
    return NULL;
}

bool check_quiet(struct sim *s, char *why, size_t size)
{
    for (uint32_t i = 0; i < s->nprocs; i++) {
        const char *left = proc_left(&s->procs[i]);
        if (left) {
            snprintf(why, size, "%s %s", s->procs[i].name, left);
            return false;
        }
    }
    for (size_t i = 0; i < s->rows.n / sizeof(struct store_app); i++) {
        const struct store_app *r = (const struct store_app *)s->rows.p + i;
        if (r->ended_ms == 0) {
            snprintf(why, size, "app %llu is stored as %s", llu(r->app), r->state);
            return false;
        }
    }
    for (uint32_t i = 0; i < s->nusers; i++)
        if (s->users[i].waiting) {
            snprintf(why, size, "a user waits for an answer about %s", s->apps[s->users[i].app_index].name);
            return false;
        }
    if (s->running || s->storing.n)
        snprintf(why, size, "%u tasks run, %zu bytes are being stored", s->running, s->storing.n);
    return !s->running && !s->storing.n;
}

static bool all_well(const struct app_sim *a)
{
    for (uint32_t i = 0; i < a->njobs; i++)
        if (!a->jobs[i].ended || a->jobs[i].code)
            return false;
    return true;
}

static void check_row(struct sim *s, const struct store_app *r)
{
    const struct app_sim *a = work_app(s, r->app);
    bool ok = !strcmp(r->state, "ok");
    if (!ok && strcmp(r->state, "failed") && strcmp(r->state, "killed") && strcmp(r->state, "lost"))
        sim_fail(s, "cause", "app %llu ended as '%s'", llu(r->app), r->state);
    else if (!ok && !*r->words)
        sim_fail(s, "cause", "app %llu ended as '%s' without a word", llu(r->app), r->state);
    else if (a && all_well(a) && !ok && !a->killed && !a->excused)
        sim_fail(s, "cause", "%s ended well and is stored as '%s': %s", a->name, r->state, r->words);
    else if (a && !all_well(a) && ok)
        sim_fail(s, "cause", "%s did not end well and is stored as ok", a->name);
}

void check_end(struct sim *s)
{
    for (size_t i = 0; i < s->rows.n / sizeof(struct store_app); i++)
        check_row(s, (const struct store_app *)s->rows.p + i);
    for (uint32_t i = 0; i < s->napps && !s->failed; i++)
        for (uint32_t j = 0; j < s->apps[i].njobs; j++) {
            const struct work *w = &s->apps[i].jobs[j];
            if (w->out && w->out->success && !(w->ended && w->code == 0) && !s->apps[i].excused &&
                !s->apps[i].killed)
                sim_fail(s, "result", "%s: job %u failed and has its _SUCCESS", s->apps[i].name, j);
        }
}
