/* query.c - what people ask: the cluster, its executors, their applications; and kill, and wait. */
#include "manager/core/core.h"

#include "common/base/version.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MAX 1000 /* of one APPS message */

/* ---- listeners -------------------------------------------------------------------------- */

bool query_listen(struct manager *m, struct peer *p, struct buf *list)
{
    const conn_id *v = (const conn_id *)list->p;
    size_t n = list->n / sizeof *v;
    for (size_t i = 0; i < n; i++)
        if (v[i] == p->conn)
            return true;
    if (n == LISTENERS_MAX) {
        manager_refuse(m, p, REFUSE_BUSY, 0, "%d others wait for that application already", LISTENERS_MAX);
        return false;
    }
    p->listens = true;
    buf_put(list, &p->conn, sizeof p->conn);
    return true;
}

static void unlisten(struct buf *list, conn_id conn)
{
    conn_id *v = (conn_id *)list->p;
    size_t n = list->n / sizeof *v;
    for (size_t i = 0; i < n; i++)
        if (v[i] == conn) {
            memmove(&v[i], &v[i + 1], (n - i - 1) * sizeof *v);
            list->n -= sizeof *v;
            return;
        }
}

void query_forget(struct manager *m, const struct peer *p)
{
    MAP_EACH(&m->apps, i) {
        struct app *a = map_at(&m->apps, i);
        unlisten(&a->waiters, p->conn);
        unlisten(&a->followers, p->conn);
    }
}

static void send_row(struct manager *m, const struct app *a, conn_id to)
{
    char words[513];
    struct rec_app_row row;
    apps_row(m, a, &row, words);
    manager_send(m, to, MSG_APPS, &(struct msg_apps){ .rows = { &row, 1 } });
}

void query_tell_waiters(struct manager *m, struct app *a)
{
    const conn_id *to = (const conn_id *)a->waiters.p;
    for (size_t i = 0; i < a->waiters.n / sizeof *to; i++)
        send_row(m, a, to[i]);
    buf_fini(&a->waiters);
}

/* ---- one application ----------------------------------------------------------------------- */

static bool may_see(const struct peer *p, const struct app *a)
{
    return p->role == ROLE_ADMIN || !strcmp(a->row.user, p->name);
}

struct app *query_app(struct manager *m, struct peer *p, uint64_t app)
{
    struct app *a = map_get(&m->apps, app);
    if (a && may_see(p, a))
        return a;
    manager_refuse(m, p, a ? REFUSE_DENIED : REFUSE_NO_APP, app,
                   a ? "application %llu is not yours" : "no application %llu; ferro apps lists yours",
                   (unsigned long long)app);
    return NULL;
}

static void answer_at_end(struct manager *m, struct peer *p, struct app *a)
{
    if (a->state == APP_ENDED)
        send_row(m, a, p->conn);
    else
        query_listen(m, p, &a->waiters);
}

void query_on_wait(struct manager *m, struct peer *p, const void *msg)
{
    struct app *a = query_app(m, p, ((const struct msg_wait *)msg)->app);
    if (a)
        answer_at_end(m, p, a);
}

void query_on_kill(struct manager *m, struct peer *p, const void *msg)
{
    char words[96];
    struct app *a = query_app(m, p, ((const struct msg_kill *)msg)->app);
    if (!a)
        return;
    snprintf(words, sizeof words, "killed by %s", p->name);
    apps_finish(m, a, "killed", EXIT_JOB_FAILED, words);
    answer_at_end(m, p, a);
}

/* ---- lists -------------------------------------------------------------------------------------- */

void query_on_list_apps(struct manager *m, struct peer *p, const void *msg)
{
    uint64_t one = ((const struct msg_list_apps *)msg)->app;
    if (one) {
        const struct app *a = query_app(m, p, one);
        if (a)
            send_row(m, a, p->conn);
        return;
    }
    const struct app **mine = arena_alloc(&m->in, (m->apps.n + 1) * sizeof *mine);
    uint32_t n = 0, rows = 0;
    MAP_EACH(&m->apps, i) {
        const struct app *a = map_at(&m->apps, i);
        if (may_see(p, a))
            mine[n++] = a;
    }
    struct rec_app_row *v = arena_alloc(&m->in, ROWS_MAX * sizeof *v);
    while (n > 0 && rows < ROWS_MAX)
        apps_row(m, mine[--n], &v[rows++], arena_alloc(&m->in, 513));
    manager_send(m, p->conn, MSG_APPS, &(struct msg_apps){ .rows = { v, rows } });
}

static const char *state_name(const struct executor *x)
{
    return x->state == MEMBER_SUSPECT ? "suspect" : x->state == MEMBER_DRAINING ? "draining" : "ready";
}

void query_on_list_executors(struct manager *m, struct peer *p, const void *msg)
{
    struct rec_executor_row *v = arena_alloc(&m->in, (m->joined.n + 1) * sizeof *v);
    uint32_t n = 0;
    (void)msg;
    MAP_EACH(&m->joined, i) {
        const struct executor *x = map_at(&m->joined, i);
        v[n++] = (struct rec_executor_row){
            .id = bytes_of(x->id),
            .host = bytes_of(x->host),
            .control = bytes_of(x->control),
            .slots = x->slots,
            .slots_used = x->slots_used,
            .memory = x->memory,
            .memory_used = x->memory_used,
            .beat_age_ms = beat_silence_ns(&x->beat, m->now) / MS,
            .state = bytes_of(state_name(x)),
        };
    }
    manager_send(m, p->conn, MSG_EXECUTORS, &(struct msg_executors){ .rows = { v, n } });
}

void query_on_status(struct manager *m, struct peer *p, const void *msg)
{
    struct msg_status_is s = { .version = bytes_of(FERRO_VERSION),
                               .up_ms = (m->now - m->begun_ns) / MS,
                               .executors = m->joined.n,
                               .refused = m->refused };
    (void)msg;
    MAP_EACH(&m->peers, i) {
        const struct peer *o = map_at(&m->peers, i);
        s.drivers += o->serving;
        s.serve_used += o->serving ? o->used : 0;
        s.serve_capacity += o->serving ? o->capacity : 0;
    }
    MAP_EACH(&m->joined, i) {
        const struct executor *x = map_at(&m->joined, i);
        s.slots += x->slots;
        s.slots_used += x->slots_used;
    }
    MAP_EACH(&m->apps, i) {
        const struct app *a = map_at(&m->apps, i);
        s.apps_waiting += a->state == APP_WAITING;
        s.apps_running += a->state != APP_WAITING && a->state != APP_ENDED;
    }
    manager_send(m, p->conn, MSG_STATUS_IS, &s);
}
