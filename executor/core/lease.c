/* lease.c - slots given to an application.  A lease is closed, and its slots are
 * free, only when its hosts' exits were reported.
 */
#include "executor/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One that is free, if any: as many as there are applications, however many there were. */
static uint32_t own_take(struct executor *x)
{
    uint32_t own;
    if (x->free_owns.n == 0)
        return x->next_own++;
    x->free_owns.n -= sizeof own;
    memcpy(&own, x->free_owns.p + x->free_owns.n, sizeof own);
    return own;
}

void own_free(struct executor *x, uint32_t own)
{
    struct action *call = actions_add(x->out, ACT_CALL);
    call->call.what = EXECUTOR_KEY_GONE;
    call->call.arg = arena_copy(&x->out->arena, &own, sizeof own);
    buf_put(&x->free_owns, &own, sizeof own);
}

static struct app *app_open(struct executor *x, const struct msg_lease_open *m)
{
    struct app *a = map_get(&x->apps, m->app);
    if (a)
        return a;
    if (x->apps.n >= APPS_MAX || !(a = calloc(1, sizeof *a)))
        return NULL;
    *a = (struct app){
        .app = m->app, .number = x->next_app++, .own = own_take(x), .born_epoch = x->epoch, .epoch = x->epoch
    };
    memcpy(a->driver_key, m->driver_key, KEY_BYTES);
    memcpy(a->fetch_key, m->fetch_key, KEY_BYTES);
    beat_init(&a->beat, x->now);
    map_put(&x->apps, a->app, a);
    struct executor_key *key = arena_alloc(&x->out->arena, sizeof *key);
    key->own = a->own;
    memcpy(key->public_key, m->fetch_key, KEY_BYTES);
    memcpy(key->secret, m->fetch_secret, KEY_BYTES);
    struct action *call = actions_add(x->out, ACT_CALL);
    call->call.what = EXECUTOR_KEY;
    call->call.arg = key;
    const uint8_t *keys[2] = { m->driver_key, m->fetch_key };
    for (int i = 0; i < 2; i++) {
        struct action *admit = actions_add(x->out, ACT_ADMIT);
        admit->app = a->app;
        memcpy(admit->admit.key, keys[i], KEY_BYTES);
        admit->admit.role = i ? ROLE_FETCH : ROLE_DRIVER;
        admit->admit.app = a->app;
    }
    return a;
}

void on_lease_open(struct executor *x, const struct msg_lease_open *m)
{
    struct lease *l = map_get(&x->leases, m->lease);
    bool fits = m->slots > 0 && (m->slots <= x->config.slots - x->slots_used || FERRO_PLANT(slots_oversold));
    struct app *a = l ? l->app : fits && !x->draining ? app_open(x, m) : NULL;
    if (l && l->state == LEASE_CLOSING)
        return; /* LEASE_CLOSED is on its way, once its hosts are reaped */
    if (!a || a->ending) {
        member_send(x, MSG_LEASE_CLOSED,
                    &(struct msg_lease_closed){ .lease = m->lease,
                                                .words = bytes_of("no such slots are free here") });
        return;
    }
    if (!l) {
        l = calloc(1, sizeof *l);
        if (!l)
            abort();
        *l = (struct lease){ .lease = m->lease,
                             .app = a,
                             .slots = m->slots,
                             .memory = m->memory,
                             .state = LEASE_RESERVED,
                             .deadline_ns = x->now + x->config.attach_ms * MS };
        map_put(&x->leases, l->lease, l);
        x->slots_used += l->slots;
        executor_event(x, "lease.opened", a->app, l->lease, 0, 0);
    }
    member_send(x, MSG_LEASE_OPENED, &(struct msg_lease_opened){ .lease = l->lease });
}

static void say_closed(struct executor *x, struct lease *l)
{
    if (l->said)
        return;
    l->said = true;
    member_send(x, MSG_LEASE_CLOSED,
                &(struct msg_lease_closed){ .lease = l->lease, .words = bytes_of(l->words) });
}

void lease_settle(struct executor *x, struct lease *l)
{
    if (l->state != LEASE_CLOSING || hosts_of(x, l))
        return;
    if (x->member != MEMBER_JOINED && !x->exiting && !l->app->ending)
        return; /* told when the manager is back */
    say_closed(x, l);
    executor_event(x, "lease.closed", l->app->app, l->lease, 0, 0);
    struct app *a = l->app;
    x->slots_used -= l->slots;
    map_del(&x->leases, l->lease);
    free(l);
    app_settle(x, a);
}

uint32_t leases_open(const struct executor *x, const struct app *a)
{
    uint32_t n = 0;
    MAP_EACH(&x->leases, i) {
        const struct lease *l = map_at(&x->leases, i);
        n += l->app == a && l->state != LEASE_CLOSING;
    }
    return n;
}

void lease_close(struct executor *x, struct lease *l, uint64_t grace_ms, const char *words)
{
    uint64_t until = x->now + grace_ms * MS;
    if (l->state == LEASE_CLOSING && l->deadline_ns <= until)
        return;
    l->state = LEASE_CLOSING;
    l->deadline_ns = until;
    snprintf(l->words, sizeof l->words, "%s", words);
    if (FERRO_PLANT(closed_before_reaped))
        say_closed(x, l);
    if (leases_open(x, l->app) == 0)
        tasks_give_back(x, l->app);
    MAP_EACH(&x->hosts, i) {
        struct host *h = map_at(&x->hosts, i);
        if (h->lease == l && (grace_ms == 0 || h->under_way.tasks == 0))
            host_kill(x, h, CAUSE_CANCELLED);
    }
    lease_settle(x, l);
}

/* Reserved but never attached; or closing and out of grace. */
void leases_time(struct executor *x)
{
    MAP_EACH(&x->leases, i) {
        struct lease *l = map_at(&x->leases, i);
        if (l->state == LEASE_ATTACHED || x->now < l->deadline_ns)
            continue;
        if (l->state == LEASE_RESERVED) {
            lease_close(x, l, 0, "its driver did not attach");
            continue;
        }
        l->deadline_ns = UINT64_MAX; /* killed once: their exits will come */
        MAP_EACH(&x->hosts, k) {
            struct host *h = map_at(&x->hosts, k);
            if (h->lease == l)
                host_kill(x, h, CAUSE_CANCELLED);
        }
    }
}
