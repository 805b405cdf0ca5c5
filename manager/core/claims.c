/* claims.c - what executors and drivers say they have: after a reconnection, and after our restart.
 *
 * An executor's word makes a lease exist; its driver's word makes it used.
 * Where only one of the two has spoken, the other is awaited for a while.
 */
#include "manager/core/core.h"

#include <stdlib.h>
#include <string.h>

static bool of_this_epoch(const struct manager *m, uint64_t lease)
{
    return lease >> NUMBER_EPOCH_SHIFT == m->epoch;
}

/* ---- claims ------------------------------------------------------------------ */

static void drop(struct manager *m, struct app *a, struct claim *c)
{
    map_del(&a->claims, c->lease);
    a->claimed -= c->slots;
    m->claims--;
    share_look(m, a);
    m->dirty = true;
    free(c);
}

void claims_forget(struct manager *m, struct app *a, uint64_t lease)
{
    struct claim *c = a ? map_get(&a->claims, lease) : NULL;
    if (c)
        drop(m, a, c);
}

void claims_clear(struct manager *m, struct app *a)
{
    MAP_EACH(&a->claims, i)
        drop(m, a, map_at(&a->claims, i));
    map_fini(&a->claims);
}

static void await(struct manager *m, struct app *a, const struct rec_claim *said)
{
    struct claim *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (struct claim){ .lease = said->lease, .slots = said->slots, .since_ns = m->now };
    memcpy(c->incarnation, said->incarnation, ID_BYTES);
    map_put(&a->claims, c->lease, c);
    a->claimed += c->slots;
    m->claims++;
}

/* ---- an executor joins --------------------------------------------------------- */

/* One that we don't know, from before our start: its application must be alive, and its driver not have said otherwise. */
static bool take_over(struct manager *m, struct executor *x, const struct rec_holding *h)
{
    struct app *a = map_get(&m->apps, h->app);
    struct claim *c = a ? map_get(&a->claims, h->lease) : NULL;
    if (!a || a->state != APP_RUNNING || of_this_epoch(m, h->lease) || h->slots == 0 ||
        h->slots > x->slots - x->slots_used)
        return false;
    if (c && memcmp(c->incarnation, x->incarnation, ID_BYTES))
        return false;
    if (a->settled && !c)
        return false;
    struct lease *l = leases_new(m, h, LEASE_HELD, x, a);
    l->seen = true;
    if (c) {
        drop(m, a, c);
        leases_opened(m, l);
    }
    return true;
}

static bool keeps(struct manager *m, struct executor *x, const struct rec_holding *h)
{
    struct lease *l = map_get(&m->leases, h->lease);
    if (!l)
        return take_over(m, x, h);
    l->seen = l->seen || l->x == x;
    return l->x == x && l->state != LEASE_CLOSING;
}

/* One that ends by our answer has its slots until LEASE_CLOSED. */
static void awaits_close(struct manager *m, struct executor *x, const struct rec_holding *h)
{
    if (!map_has(&m->leases, h->lease) && h->slots && h->slots <= x->slots - x->slots_used)
        leases_new(m, h, LEASE_CLOSING, x, NULL)->seen = true;
}

/* Its answer, in the end: known leases that it didn't name are closed by its own word, since it may still be reaping. */
static void settle(struct manager *m, struct executor *x, bool again)
{
    MAP_EACH(&x->leases, i) {
        struct lease *l = map_at(&x->leases, i);
        struct msg_lease_revoke r = { .lease = l->lease, .words = bytes_of("not among its holdings") };
        if (l->seen && l->state == LEASE_OPENING)
            leases_opened(m, l);
        else if (!l->seen && l->state == LEASE_CLOSING)
            manager_send(m, x->conn, MSG_LEASE_REVOKE, &r);
        else if (!l->seen && !(again && l->state == LEASE_OPENING)) /* that LEASE_OPEN is under way to it */
            leases_close(m, l, 0, "its executor hasn't got it");
    }
}

static void answer_apps(struct manager *m, struct executor *x, const struct msg_join *join,
                        struct msg_joined *answer)
{
    struct rec_id *end = arena_alloc(&m->in, (join->apps.n + 1) * sizeof *end);
    map_clear(&x->apps);
    for (uint32_t i = 0; i < join->apps.n; i++) {
        const struct app *a = map_get(&m->apps, join->apps.v[i].id);
        if ((a && a->state != APP_ENDED) || FERRO_PLANT(ended_kept))
            map_put_u64(&x->apps, join->apps.v[i].id, 1);
        else
            end[answer->end_apps.n++] = join->apps.v[i];
    }
    answer->end_apps.v = end;
    MAP_EACH(&x->leases, i) {
        const struct lease *l = map_at(&x->leases, i);
        if (l->app)
            map_put_u64(&x->apps, l->app->row.app, 1);
    }
}

void claims_on_join(struct manager *m, struct executor *x, const struct msg_join *join, bool again)
{
    struct msg_joined answer = { 0 };
    struct rec_id *keep = arena_alloc(&m->in, (join->holdings.n + 1) * sizeof *keep);
    struct rec_id *end = arena_alloc(&m->in, (join->holdings.n + 1) * sizeof *end);
    MAP_EACH(&x->leases, i)
        ((struct lease *)map_at(&x->leases, i))->seen = false;
    for (uint32_t i = 0; i < join->holdings.n; i++) {
        const struct rec_holding *h = &join->holdings.v[i];
        if (keeps(m, x, h))
            keep[answer.keep.n++].id = h->lease;
        else {
            end[answer.end.n++].id = h->lease;
            awaits_close(m, x, h);
        }
    }
    answer.keep.v = keep;
    answer.end.v = end;
    x->account.changed_ns = m->now;
    answer_apps(m, x, join, &answer);
    manager_send(m, x->conn, MSG_JOINED, &answer);
    settle(m, x, again);
}

/* ---- a driver is back ------------------------------------------------------------ */

/* False: that lease is known not to exist. */
static bool believe(struct manager *m, struct app *a, const struct rec_claim *c)
{
    struct lease *l = map_get(&m->leases, c->lease);
    if (l && (l->app != a || l->state == LEASE_CLOSING || l->state == LEASE_OPENING))
        return false;
    if (!l && (of_this_epoch(m, c->lease) || roster_find(m, c->incarnation) || m->claims >= CLAIMS_MAX))
        return false;
    if (!l && !map_has(&a->claims, c->lease))
        await(m, a, c);
    if (!l)
        return true;
    l->seen = l->told = true;
    if (l->state == LEASE_HELD)
        leases_opened(m, l); /* granted again: its executor has a new generation */
    return true;
}

void claims_on_open(struct manager *m, struct app *a, const struct msg_app_open *open)
{
    struct msg_app_ok ok = { .app = a->row.app };
    struct rec_id *lost = arena_alloc(&m->in, (open->claims.n + 1) * sizeof *lost);
    claims_clear(m, a);
    MAP_EACH(&a->leases, i)
        ((struct lease *)map_at(&a->leases, i))->seen = false;
    for (uint32_t i = 0; i < open->claims.n; i++)
        if (!believe(m, a, &open->claims.v[i]))
            lost[ok.lost.n++].id = open->claims.v[i].lease;
    ok.lost.v = lost;
    a->settled = true;
    a->account.changed_ns = m->now;
    manager_send(m, a->driver, MSG_APP_OK, &ok);
    MAP_EACH(&a->leases, i) {
        struct lease *l = map_at(&a->leases, i);
        if (!l->seen && l->state == LEASE_HELD)
            leases_close(m, l, 0, "its driver hasn't got it");
        else if (!l->seen)
            leases_grant(m, l); /* the first word of it was lost on the way */
    }
    share_look(m, a);
    m->dirty = true;
}

/* ---- beats tell of leases ---------------------------------------------------------- */

/* What an executor answered is known; a lease that still opens is one whose answer is missing. */
static uint64_t executor_has(const struct executor *x, bool *missing)
{
    uint64_t sum = 0;
    MAP_EACH(&x->leases, i) {
        const struct lease *l = map_at(&x->leases, i);
        if (l->state == LEASE_OPENING)
            *missing = true;
        else if (l->state != LEASE_CLOSING)
            sum ^= lease_digest(l->lease);
    }
    return sum;
}

static uint64_t driver_has(const struct app *a)
{
    uint64_t sum = 0;
    MAP_EACH(&a->leases, i) {
        const struct lease *l = map_at(&a->leases, i);
        if (l->state == LEASE_GRANTED && l->told)
            sum ^= lease_digest(l->lease);
    }
    MAP_EACH(&a->claims, i)
        sum ^= lease_digest(map_key(&a->claims, i));
    return sum;
}

/* True: cut it.  An echo of a beat that we sent after the last word about leases proves that nothing is under
 * way: a connection is FIFO.  What a new connection didn't settle isn't settled by another one either. */
static bool is_odd(struct account *acc, const struct beat *b, uint64_t said, uint64_t known, bool missing)
{
    if (b->renewed_ns <= acc->changed_ns)
        acc->odd = 0;
    else if (said == known && !missing)
        *acc = (struct account){ .changed_ns = acc->changed_ns };
    else if (++acc->odd >= ODD_BEATS_MAX && (!acc->cut || said != acc->said || known != acc->known)) {
        *acc = (struct account){ .changed_ns = acc->changed_ns, .cut = true, .said = said, .known = known };
        return true;
    }
    return false;
}

void claims_on_beat(struct manager *m, struct peer *p, uint64_t digest)
{
    struct app *a = p->role == ROLE_DRIVER ? map_get(&m->apps, p->app) : NULL;
    bool missing = false, odd = false;
    if (p->x && p->x->conn == p->conn) {
        uint64_t known = executor_has(p->x, &missing);
        odd = is_odd(&p->x->account, &p->beat, digest, known, missing);
    } else if (a && a->driver == p->conn && a->state == APP_RUNNING && a->settled)
        odd = is_odd(&a->account, &p->beat, digest, driver_has(a), false);
    if (!odd)
        return;
    actions_log(m->out, LOG_WARN,
                "%s and the manager differ on its leases: its connection is cut, so that they settle it",
                p->x ? p->x->id : p->name);
    peers_cut(m, p->conn);
}

/* ---- nobody confirmed it ----------------------------------------------------------- */

static void claims_expire(struct manager *m, struct app *a)
{
    MAP_EACH(&a->claims, i) {
        struct claim *c = map_at(&a->claims, i);
        if (m->now - c->since_ns <= m->config.claim_ms * MS)
            continue;
        leases_tell_driver(m, a, c->lease, 0, "its executor did not come back");
        drop(m, a, c);
    }
}

void claims_time(struct manager *m)
{
    if (m->now < m->paused_ns)
        return;
    if (m->claims && !FERRO_PLANT(claims_kept))
        MAP_EACH(&m->apps, i)
            claims_expire(m, map_at(&m->apps, i));
    if (!m->held)
        return;
    MAP_EACH(&m->leases, i) {
        struct lease *l = map_at(&m->leases, i);
        if (l->state == LEASE_HELD && m->now - l->since_ns > m->config.holding_ms * MS)
            leases_close(m, l, 0, "its driver did not come back");
    }
}
