/* leases.c - slots of one executor given to one application.
 *
 * The executor is the authority on its slots: they return to the pool by its
 * LEASE_CLOSED alone, or never, when it is lost.
 */
#include "manager/core/core.h"

#include <stdlib.h>
#include <string.h>

/* ---- the books -------------------------------------------------------------- */

/* What an application has: slots that open, are held or granted. */
static void count(struct manager *m, const struct lease *l, bool in)
{
    uint32_t n = in ? l->slots : 0u - l->slots;
    struct app *a = l->app;
    l->x->account.changed_ns = m->now;
    if (a)
        a->account.changed_ns = m->now;
    if (l->state == LEASE_HELD)
        m->held += in ? 1 : -1;
    if (!a || l->state == LEASE_CLOSING)
        return;
    a->slots += n;
    a->granted += l->state == LEASE_GRANTED ? n : 0;
    a->look = true;
    share_look(m, a);
}

void leases_move(struct manager *m, struct lease *l, enum lease_state state)
{
    count(m, l, false);
    l->state = state;
    l->since_ns = m->now;
    count(m, l, true);
    m->dirty = true;
}

struct lease *leases_new(struct manager *m, const struct rec_holding *what, enum lease_state state,
                         struct executor *x, struct app *a)
{
    struct lease *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    *l = (struct lease){ .lease = what->lease,
                         .state = state,
                         .x = x,
                         .app = a,
                         .slots = what->slots,
                         .memory = what->memory,
                         .since_ns = m->now };
    map_put(&m->leases, l->lease, l);
    map_put(&x->leases, l->lease, l);
    if (a) {
        map_put(&a->leases, l->lease, l);
        map_put_u64(&x->apps, a->row.app, 1);
    }
    x->slots_used += l->slots;
    x->memory_used += l->slots * l->memory;
    count(m, l, true);
    return l;
}

static void event(struct manager *m, const char *name, const struct lease *l)
{
    struct manager_event *e = manager_event(m, name);
    e->lease = l->lease;
    e->app = l->app ? l->app->row.app : 0;
    e->executor = manager_copy(m, l->x->id);
    e->slots = l->slots;
}

void leases_drop(struct manager *m, struct lease *l)
{
    count(m, l, false);
    event(m, "lease.closed", l);
    l->x->slots_used -= l->slots;
    l->x->memory_used -= l->slots * l->memory;
    map_del(&l->x->leases, l->lease);
    map_del(&m->leases, l->lease);
    if (l->app)
        map_del(&l->app->leases, l->lease);
    free(l);
    m->dirty = true;
}

/* ---- opening and granting --------------------------------------------------- */

void leases_offer(struct manager *m, struct executor *x, struct app *a, uint32_t slots)
{
    struct rec_holding what = { m->next_lease++, a->row.app, slots, a->want_memory };
    struct lease *l = leases_new(m, &what, LEASE_OPENING, x, a);
    struct msg_lease_open open = {
        .lease = l->lease, .app = a->row.app, .slots = slots, .memory = a->want_memory
    };
    memcpy(open.driver_key, a->row.driver_key, KEY_BYTES);
    memcpy(open.fetch_key, a->row.fetch_key, KEY_BYTES);
    memcpy(open.fetch_secret, a->row.fetch_secret, KEY_BYTES);
    manager_send(m, x->conn, MSG_LEASE_OPEN, &open);
    if (FERRO_PLANT(grant_early))
        leases_opened(m, l);
}

void leases_opened(struct manager *m, struct lease *l)
{
    leases_move(m, l, LEASE_GRANTED);
    event(m, "lease.granted", l);
    map_put_u64(&l->x->apps, l->app->row.app, 1);
    leases_grant(m, l);
}

void leases_grant(struct manager *m, struct lease *l)
{
    const struct executor *x = l->x;
    if (l->state != LEASE_GRANTED || !l->app->driver)
        return;
    struct msg_lease_grant g = {
        .lease = l->lease,
        .slots = l->slots,
        .generation = x->generation,
        .host = bytes_of(x->host),
        .host_id = bytes_of(x->host_id),
        .control = bytes_of(x->control),
        .data = bytes_of(x->data),
        .root = bytes_of(x->root),
    };
    memcpy(g.incarnation, x->incarnation, ID_BYTES);
    memcpy(g.key, x->key, KEY_BYTES);
    l->told = true;
    l->app->account.changed_ns = m->now;
    manager_send(m, l->app->driver, MSG_LEASE_GRANT, &g);
}

void leases_on_opened(struct manager *m, struct peer *p, const void *msg)
{
    uint64_t id = ((const struct msg_lease_opened *)msg)->lease;
    struct executor *x = roster_member(m, p, MSG_LEASE_OPENED);
    if (!x)
        return;
    struct lease *l = map_get(&x->leases, id);
    if (!l)
        manager_send(m, p->conn, MSG_LEASE_REVOKE,
                     &(struct msg_lease_revoke){ .lease = id, .words = bytes_of("no such lease") });
    else if (l->state == LEASE_OPENING)
        leases_opened(m, l);
}

/* ---- closing ----------------------------------------------------------------- */

void leases_tell_driver(struct manager *m, const struct app *a, uint64_t lease, uint32_t grace_ms,
                        const char *words)
{
    struct msg_lease_revoke r = { .lease = lease, .grace_ms = grace_ms, .words = bytes_of(words) };
    manager_send(m, a->driver, MSG_LEASE_REVOKE, &r);
}

void leases_close(struct manager *m, struct lease *l, uint32_t grace_ms, const char *words)
{
    struct msg_lease_revoke r = { .lease = l->lease, .grace_ms = grace_ms, .words = bytes_of(words) };
    if (l->state == LEASE_CLOSING)
        return;
    leases_move(m, l, LEASE_CLOSING);
    manager_send(m, l->x->conn, MSG_LEASE_REVOKE, &r);
    if (l->told && l->app)
        leases_tell_driver(m, l->app, l->lease, grace_ms, words);
    if (FERRO_PLANT(slots_early))
        leases_drop(m, l);
}

/* Unasked for, or instead of LEASE_OPENED: then it isn't offered another at once. */
static void closed_by_itself(struct manager *m, struct lease *l, const char *words)
{
    uint64_t until = m->now + REFUSED_BAR_NS, barred = 0;
    map_get_u64(&l->app->barred, l->x->generation, &barred);
    if (l->state == LEASE_OPENING && barred < until)
        map_put_u64(&l->app->barred, l->x->generation, until);
    if (l->told)
        leases_tell_driver(m, l->app, l->lease, 0, words);
}

void leases_on_closed(struct manager *m, struct peer *p, const void *msg)
{
    char words[257];
    const struct msg_lease_closed *c = msg;
    struct executor *x = roster_member(m, p, MSG_LEASE_CLOSED);
    struct lease *l = x ? map_get(&x->leases, c->lease) : NULL;
    if (!l) /* after a reconnection it may say so twice */
        return;
    bytes_text(c->words, words, sizeof words);
    if (l->state != LEASE_CLOSING && l->app)
        closed_by_itself(m, l, words);
    leases_drop(m, l);
}

/* A lease that this driver may dispose of.  One that it claims, and nobody confirmed, is forgotten. */
static struct lease *own(struct manager *m, const struct peer *p, uint64_t id)
{
    struct lease *l = map_get(&m->leases, id);
    struct app *a = map_get(&m->apps, p->app);
    claims_forget(m, a, id);
    return l && l->app == a && (l->state == LEASE_GRANTED || l->state == LEASE_HELD) ? l : NULL;
}

void leases_on_return(struct manager *m, struct peer *p, const void *msg)
{
    uint64_t id = ((const struct msg_lease_return *)msg)->lease;
    struct lease *l = own(m, p, id);
    if (!l)
        return; /* closed meanwhile: what it wants is so */
    l->told = false;
    leases_close(m, l, 0, "returned by its driver");
}

void leases_on_bad(struct manager *m, struct peer *p, const void *msg)
{
    char words[513];
    const struct msg_lease_bad *b = msg;
    struct lease *l = own(m, p, b->lease);
    if (!l)
        return;
    bytes_text(b->words, words, sizeof words);
    actions_log(m->out, LOG_WARN, "app %llu can't use executor %s: %s (errno %u)", (unsigned long long)p->app,
                l->x->id, words, b->code);
    map_put_u64(&l->app->barred, l->x->generation, m->now + m->config.bar_ms * MS);
    l->told = false;
    leases_close(m, l, 0, "its driver can't reach it");
}
