/* grants.c - leases: they come, lie idle and go back. */
#include "driver/sched/core.h"

#include <stdlib.h>
#include <string.h>

static void say(struct sched *s, const char *name, const struct exec *x, uint32_t slots)
{
    struct sched_event *e = sched_event_add(s, name);
    e->executor = x->name;
    e->count = slots;
}

static void give_back(struct sched *s, uint64_t lease)
{
    mgr_send(s, MSG_LEASE_RETURN, &(struct msg_lease_return){ .lease = lease });
}

void grants_on_grant(struct sched *s, const struct msg_lease_grant *m)
{
    const struct lease *known = map_get(&s->leases, m->lease);
    struct exec *x = s->closing ? NULL : execs_meet(s, m);
    if (known)
        return; /* told again after the manager's restart: the generation is noted */
    if (!x || s->leases.n >= LEASES_MAX) {
        give_back(s, m->lease);
        return;
    }
    struct lease *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    *l = (struct lease){ m->lease, m->slots, x };
    map_put(&s->leases, l->lease, l);
    x->leases++;
    x->slots += l->slots;
    x->slots_most = x->slots > x->slots_most ? x->slots : x->slots_most;
    x->idle_ns = s->now;
    x->draining = false;
    s->granted += l->slots;
    say(s, "lease.granted", x, l->slots);
    if (x->control.up)
        links_attach(s, x);
    else
        links_dial(s, x);
    execs_refresh(s, x);
}

void grants_drop(struct sched *s, struct lease *l)
{
    struct exec *x = l->x;
    s->granted -= l->slots;
    x->slots -= l->slots;
    x->leases--;
    map_del(&s->leases, l->lease);
    free(l);
    execs_refresh(s, x);
}

/* The executor was told so too: it gives unstarted tasks back by itself. */
void grants_on_revoke(struct sched *s, const struct msg_lease_revoke *m)
{
    struct lease *l = map_get(&s->leases, m->lease);
    if (!l)
        return;
    say(s, "lease.revoked", l->x, l->slots);
    grants_drop(s, l);
}

void grants_bad(struct sched *s, struct exec *x, uint32_t code, const char *words)
{
    struct msg_lease_bad m = { .code = code, .words = bytes_of(words) };
    if (x->leases)
        actions_log(s->out, LOG_WARN, "executor %s at %s: %s; its slots are not used", x->name,
                    x->control_addr, words);
    MAP_EACH(&s->leases, i) {
        struct lease *l = map_at(&s->leases, i);
        if (l->x != x)
            continue;
        m.lease = l->lease;
        mgr_send(s, MSG_LEASE_BAD, &m);
        say(s, "lease.bad", x, l->slots);
        grants_drop(s, l);
    }
}

/* ---- idle ones ------------------------------------------------------------------------------ */

static bool idles(struct sched *s, const struct exec *x, bool work)
{
    if (x->slots == 0 || x->in_flight || !x->attached)
        return false;
    if (x->draining)
        return true;
    uint64_t due = x->idle_ns + s->config.idle_ms * MS;
    if (s->now < due)
        sched_wake(s, due);
    return !work && s->now >= due;
}

void grants_time(struct sched *s)
{
    struct buf ids = { 0 };
    bool work = feed_pending(s) > 0;
    MAP_EACH(&s->leases, i) {
        struct lease *l = map_at(&s->leases, i);
        if (!idles(s, l->x, work))
            continue;
        buf_put(&ids, &l->lease, sizeof l->lease);
        say(s, "lease.returned", l->x, l->slots);
        grants_drop(s, l);
    }
    mgr_ask(s, true); /* want less first, or they would come again */
    for (size_t i = 0; i < ids.n / sizeof(uint64_t); i++)
        give_back(s, ((uint64_t *)ids.p)[i]);
    buf_fini(&ids);
}
