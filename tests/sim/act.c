/* act.c - what each kind of core asks of its shell, performed at once or put off. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the trace and the hash ------------------------------------------------------ */

static const char *const kinds[] = { "send",    "dial",  "cut",   "admit", "revoke",
                                     "persist", "probe", "io",    "spawn", "host-send",
                                     "kill",    "log",   "event", "call",  "exit" };
static const char *const ops[] = { "",     "adopt", "write", "look",   "library", "serve",
                                   "free", "token", "sync",  "commit", "keep" };

static void trace(const struct proc *p, const struct action *a)
{
    unsigned long long id = a->id, conn = a->conn;
    switch (a->kind) {
    case ACT_SEND: sim_trace_frame(p->sim, p->name, "> conn=", conn, a->frame); break;
    case ACT_HOST_SEND: sim_trace_frame(p->sim, p->name, "> host ", id, a->frame); break;
    case ACT_LOG: sim_trace(p->sim, "%s: %s", p->name, a->log.words); break;
    case ACT_EVENT:
        sim_trace(p->sim, "%s: event %s app=%llu id=%llu %u.%u.%u", p->name, a->log.words,
                  (unsigned long long)a->app, id, a->stage, a->part, a->attempt);
        break;
    case ACT_IO:
        sim_trace(p->sim, "%s: io %s %llu %u.%u.%u", p->name, ops[a->io.op], id, a->stage, a->part,
                  a->attempt);
        break;
    default: sim_trace(p->sim, "%s: %s id=%llu conn=%llx", p->name, kinds[a->kind], id, conn); break;
    }
}

static void hash(const struct proc *p, const struct action *a)
{
    uint64_t v[8] = { p->node, (uint64_t)a->kind, a->id, a->conn, a->app, a->stage, a->part, a->attempt };
    sim_hash(p->sim, &p->sim->now, sizeof p->sim->now);
    sim_hash(p->sim, v, sizeof v);
    if (a->kind == ACT_SEND || a->kind == ACT_HOST_SEND)
        sim_hash(p->sim, a->frame.p, a->frame.n);
}

/* ---- keys ---------------------------------------------------------------------------- */

static void admit(struct proc *p, const struct action *a)
{
    struct admitted_key k = { .role = a->admit.role, .app = a->admit.app };
    enum role role;
    memcpy(k.key, a->admit.key, KEY_BYTES);
    if (!proc_admits(p, k.key, &role))
        buf_put(&p->keys, &k, sizeof k);
}

static void revoke(struct proc *p, const uint8_t key[KEY_BYTES])
{
    struct admitted_key *k = (struct admitted_key *)p->keys.p;
    size_t n = p->keys.n / sizeof *k, kept = 0;
    for (size_t i = 0; i < n; i++)
        if (memcmp(k[i].key, key, KEY_BYTES))
            k[kept++] = k[i];
        else if (p->kind == PROC_EXECUTOR)
            map_del(&p->x.attached, k[i].app);
    p->keys.n = kept * sizeof *k;
    wire_revoke(p, key);
}

/* Secrets are their public keys turned over. */
static void learn_key(struct proc *p, const struct executor_key *k)
{
    for (int i = 0; i < KEY_BYTES; i++)
        if ((k->secret[i] ^ k->public_key[i]) != 0xff) {
            sim_fail(p->sim, "fetch-key", "%s was given a fetch key without its secret", p->name);
            return;
        }
    uint8_t *kept = malloc(KEY_BYTES);
    if (!kept)
        abort();
    memcpy(kept, k->public_key, KEY_BYTES);
    free(map_get(&p->x.keys, k->own));
    map_put(&p->x.keys, k->own, kept);
}

static const uint8_t *own_key(struct proc *p, uint32_t own)
{
    if (p->kind == PROC_DRIVER)
        return p->sim->apps[p->d.index].driver_key;
    if (own == 0)
        return p->x.public_key;
    return own == 1 ? p->sim->join_key : map_get(&p->x.keys, own);
}

static void dial(struct proc *p, const struct action *a)
{
    const uint8_t *own = own_key(p, a->dial.own);
    if (a->conn < CONN_DIALLED)
        sim_fail(p->sim, "conn-numbers", "%s dials as %llx", p->name, (unsigned long long)a->conn);
    else if (!own)
        sim_fail(p->sim, "fetch-key", "%s dials with a key of its own that it has not got", p->name);
    else
        wire_dial(p, a->conn, a->dial.address, a->dial.key, own, a->dial.role);
}

/* ---- the manager's store ------------------------------------------------------------------ */

static void on_persisted(struct sim *s, struct todo *t)
{
    map_put_u64(&s->durable, t->a, t->b); /* from now on the manager may say so */
    proc_event(t->p, &(struct event){ .kind = EV_PERSISTED, .id = (uint64_t)(uintptr_t)t->x });
}

static void store_row(struct sim *s, const struct store_app *row)
{
    struct store_app *rows = (struct store_app *)s->rows.p;
    size_t n = s->rows.n / sizeof *rows, i = 0;
    while (i < n && rows[i].app != row->app)
        i++;
    if (i < n)
        rows[i] = *row;
    else
        buf_put(&s->rows, row, sizeof *row);
    if (row->app >= s->store_next_app)
        s->store_next_app = row->app + 1;
}

/* The first `n` of what is being written are on stable storage; with `n` short of all, the manager died. */
static void store_some(struct sim *s, size_t n)
{
    struct store_app *v = (struct store_app *)s->storing.p;
    for (size_t i = 0; i < n; i++)
        store_row(s, &v[i]);
    if (n)
        memmove(v, v + n, s->storing.n - n * sizeof *v);
    s->storing.n -= n * sizeof *v;
}

static void on_stored(struct sim *s, struct todo *t)
{
    (void)t;
    store_some(s, 1);
}

/* Its writes go in order: a prefix of what was under way is on the disk. */
void act_store_died(struct sim *s)
{
    store_some(s, sim_below(s, s->storing.n / sizeof(struct store_app) + 1));
    s->storing.n = 0;
}

static void persist(struct proc *p, const struct action *a)
{
    struct sim *s = p->sim;
    const struct store_record *r = a->persist.record;
    if (s->old_store)
        return; /* whoever started it there sees the mistake before that disk answers */
    uint64_t wait = sim_between(s, MSEC, fault_hits(s, FAULT_IO_SLOW) ? 4 * SEC : 15 * MSEC);
    s->store_at = s->now + wait > s->store_at ? s->now + wait : s->store_at;
    buf_put(&s->storing, &r->app, sizeof r->app);
    sim_after(s, s->store_at - s->now, on_stored, p);
    struct todo *t = sim_after(s, s->store_at - s->now + 10 * US, on_persisted, p);
    t->a = r->app.app;
    t->b = 1 + (r->app.ended_ms != 0);
    t->x = (void *)(uintptr_t)a->id;
}

static int by_app(const void *a, const void *b)
{
    const struct store_app *x = a, *y = b;
    return x->app < y->app ? -1 : x->app > y->app;
}

void act_store_rows(struct sim *s, struct buf *rows)
{
    if (!s->old_store)
        buf_put(rows, s->rows.p, s->rows.n);
    if (rows->n)
        qsort(rows->p, rows->n / sizeof(struct store_app), sizeof(struct store_app), by_app);
    s->store_at = s->now;
    map_clear(&s->durable);
    for (size_t i = 0; i < rows->n / sizeof(struct store_app); i++) {
        const struct store_app *r = (const struct store_app *)rows->p + i;
        map_put_u64(&s->durable, r->app, 1 + (r->ended_ms != 0));
    }
}

/* ---- all of them --------------------------------------------------------------------------- */

static void remember_head(struct proc *p, struct bytes frame)
{
    struct head head;
    struct error e;
    struct arena a = { 0 };
    if (frame.p[1] == MSG_BEAT || frame.p[1] == MSG_ATTACH || frame.p[1] == MSG_JOIN) {
        proto_decode(&a, frame, &head, &e);
        p->epoch = head.epoch;
        p->generation = head.generation;
    }
    arena_fini(&a);
}

static void call(struct proc *p, const struct action *a)
{
    if (p->kind == PROC_EXECUTOR && a->call.what == EXECUTOR_KEY)
        learn_key(p, a->call.arg);
    else if (p->kind == PROC_DRIVER)
        driver_call(p, a->call.what, a->call.arg);
    else if (p->kind == PROC_MANAGER && p->sim->trace) {
        const struct manager_event *e = a->call.arg;
        sim_trace(p->sim, "manager: event %s app=%llu lease=%llu %s", e->name, (unsigned long long)e->app,
                  (unsigned long long)e->lease, e->words ? e->words : "");
    }
}

void act_perform(struct proc *p, const struct action *a)
{
    hash(p, a);
    if (p->sim->trace)
        trace(p, a);
    switch (a->kind) {
    case ACT_SEND:
        check_send(p, a->conn, a->frame);
        remember_head(p, a->frame);
        wire_send(p, a->conn, a->frame);
        break;
    case ACT_DIAL: dial(p, a); break;
    case ACT_CUT: wire_cut(p, a->conn); break;
    case ACT_ADMIT: admit(p, a); break;
    case ACT_REVOKE: revoke(p, a->admit.key); break;
    case ACT_PERSIST: persist(p, a); break;
    case ACT_PROBE: wire_probe(p, a->id, a->dial.address); break;
    case ACT_IO: disk_io(p, a); break;
    case ACT_SPAWN: thost_spawn(p, a->id); break;
    case ACT_HOST_SEND: thost_send(p, a); break;
    case ACT_KILL: thost_kill(p, a->id); break;
    case ACT_CALL: call(p, a); break;
    case ACT_EXIT:
        p->exiting = true;
        p->exit_code = a->exit_code;
        break;
    case ACT_LOG:
    case ACT_EVENT: break;
    }
}
