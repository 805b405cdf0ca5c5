/* service.c - driver services: who runs which application of cluster mode, and how its process ended. */
#include "manager/core/core.h"

#include <stdio.h>
#include <string.h>

static struct app *own(struct manager *m, struct peer *p, uint64_t app, uint8_t tag)
{
    struct app *a = map_get(&m->apps, app);
    if (a && a->service == p->conn)
        return a;
    manager_refuse(m, p, REFUSE_NO_APP, app, "%s: application %llu does not run at this service",
                   proto_name(tag), (unsigned long long)app);
    return NULL;
}

static void event(struct manager *m, const char *name, const struct peer *p)
{
    struct manager_event *e = manager_event(m, name);
    e->host = manager_copy(m, p->host);
    e->slots = p->capacity;
    actions_log(m->out, LOG_INFO, "%s host=%s capacity=%u", name, p->host, p->capacity);
}

/* ---- who runs what ------------------------------------------------------------------ */

void service_take(struct manager *m, struct app *a, struct peer *p)
{
    a->service = p->conn;
    p->used++;
    a->exited = false;
    if (a->state != APP_WAITING)
        return;
    a->state = APP_RUNNING;
    a->away_ns = m->now;
    a->row.started_ms = manager_unix_ms(m);
    strcpy(a->row.state, "running");
    apps_persist(m, a);
}

void service_leave(struct manager *m, struct app *a)
{
    struct peer *p = map_get(&m->peers, a->service);
    if (p && p->used)
        p->used--;
    a->service = 0;
    m->dirty = true;
}

/* Listed by a service that (re)connects.  Another one may have it by now; then this one ends it. */
static bool takes_back(struct manager *m, struct app *a, struct peer *p)
{
    const struct peer *other = a ? map_get(&m->peers, a->service) : NULL;
    if (!a || a->state == APP_ENDED || strcmp(a->row.mode, "cluster") ||
        (other && strcmp(other->host, p->host)))
        return false;
    if (other)
        service_leave(m, a);
    service_take(m, a, p);
    return true;
}

void service_on_serve(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_serve *s = msg;
    if (p->serving) {
        manager_refuse(m, p, REFUSE_MALFORMED, MSG_SERVE, "a second SERVE");
        return;
    }
    p->serving = true;
    p->capacity = s->capacity;
    bytes_text(s->host, p->host, sizeof p->host);
    for (uint32_t i = 0; i < s->apps.n; i++) {
        struct msg_app_end end = { .app = s->apps.v[i].id,
                                   .words = bytes_of("not known to the manager as running here") };
        if (!takes_back(m, map_get(&m->apps, end.app), p))
            manager_send(m, p->conn, MSG_APP_END, &end);
    }
    event(m, "service.joined", p);
    m->dirty = true;
}

/* Its applications go on by themselves, if they can; they are only heard of through their drivers. */
void service_away(struct manager *m, struct peer *p)
{
    if (!p->serving)
        return;
    p->serving = false;
    event(m, "service.left", p);
    MAP_EACH(&m->apps, i) {
        struct app *a = map_at(&m->apps, i);
        if (a->service != p->conn)
            continue;
        a->service = 0;
        a->service_away_ns = p->beat.renewed_ns;
        if (a->opener == p->conn)
            a->opener = 0;
        if (a->state == APP_ENDED)
            output_end(m, a);
    }
    m->dirty = true;
}

/* ---- what became of it ------------------------------------------------------------------ */

void service_on_launched(struct manager *m, struct peer *p, const void *msg)
{
    struct app *a = own(m, p, ((const struct msg_launched *)msg)->app, MSG_LAUNCHED);
    if (!a || a->launched)
        return;
    a->launched = true;
    submit_drop(m, a);
    struct manager_event *e = manager_event(m, "app.launched");
    e->app = a->row.app;
    e->state = "running";
}

static void finish(struct manager *m, struct app *a, const struct msg_exited *x)
{
    char words[513];
    uint32_t code = x->signal ? 128 + x->signal : x->exit_code;
    bytes_text(x->words, words, sizeof words);
    if (x->signal && !*words)
        snprintf(words, sizeof words, "its driver was ended by signal %u", x->signal);
    else if (code && !*words)
        snprintf(words, sizeof words, "its driver exited with %u", code);
    apps_finish(m, a, code ? "failed" : "ok", code > 255 ? 255 : code, words);
}

void service_on_exited(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_exited *x = msg;
    struct app *a = own(m, p, x->app, MSG_EXITED);
    if (!a)
        return;
    a->exited = true;
    service_leave(m, a);
    if (a->state == APP_ENDED)
        output_end(m, a);
    else
        finish(m, a, x);
}
