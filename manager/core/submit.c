/* submit.c - cluster mode: a library comes in pieces, waits, and goes to a driver service. */
#include "manager/core/core.h"

#include <string.h>

#define SUBMIT_ARGS_BYTES_MAX (1u << 20) /* of its arguments and options, in all */

static uint64_t held_bytes(const struct app *a)
{
    return a->library_bytes + a->submission.total;
}

/* ---- taking ------------------------------------------------------------------------ */

static uint64_t strings_bytes(const struct rec_str *v, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += v[i].s.n;
    return bytes;
}

static const struct rec_str *strings_copy(struct arena *a, const struct rec_str *v, uint32_t n)
{
    struct rec_str *copy = arena_alloc(a, (n + 1) * sizeof *copy);
    for (uint32_t i = 0; i < n; i++)
        copy[i].s = arena_bytes(a, v[i].s);
    return copy;
}

static bool may_submit(struct manager *m, struct peer *p, const struct msg_submit *s)
{
    uint64_t args = strings_bytes(s->args.v, s->args.n) + strings_bytes(s->options.v, s->options.n);
    if (apps_live_count(m) >= m->config.apps_max)
        manager_refuse(m, p, REFUSE_LIMIT, MSG_SUBMIT, "%u applications wait or run already (--apps-max)",
                       m->config.apps_max);
    else if (s->lib_bytes == 0 || s->lib_bytes > LIBRARY_BYTES_MAX)
        manager_refuse(m, p, REFUSE_LIMIT, MSG_SUBMIT, "a library of %llu bytes; it may have 1 to %u",
                       (unsigned long long)s->lib_bytes, LIBRARY_BYTES_MAX);
    else if (args > SUBMIT_ARGS_BYTES_MAX)
        manager_refuse(m, p, REFUSE_LIMIT, MSG_SUBMIT, "%llu bytes of arguments; they may have %u in all",
                       (unsigned long long)args, SUBMIT_ARGS_BYTES_MAX);
    else if (m->upload_bytes + s->lib_bytes + args > UPLOAD_BYTES_MAX)
        manager_refuse(m, p, REFUSE_BUSY, MSG_SUBMIT,
                       "%llu MiB of submitted libraries wait already: try again when some have begun",
                       (unsigned long long)(m->upload_bytes >> 20));
    else
        return true;
    return false;
}

void submit_on_submit(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_submit *s = msg;
    if (!may_submit(m, p, s))
        return;
    struct app *a = apps_new(m, "cluster", p->name, s->name);
    strcpy(a->row.state, "waiting");
    a->state = APP_WAITING;
    a->opener = p->conn;
    a->library_bytes = s->lib_bytes;
    a->args = strings_copy(&a->submission, s->args.v, s->args.n);
    a->nargs = s->args.n;
    a->options = strings_copy(&a->submission, s->options.v, s->options.n);
    a->noptions = s->options.n;
    p->listens = true;
    m->upload_bytes += held_bytes(a);
    map_put(&m->uploads, a->row.app, a);
    apps_persist(m, a);
}

void submit_on_chunk(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_chunk *c = msg;
    struct app *a = map_get(&m->uploads, c->app);
    if (!a || a->opener != p->conn) {
        manager_refuse(m, p, REFUSE_NO_APP, c->app, "no library of application %llu is awaited from here",
                       (unsigned long long)c->app);
        return;
    }
    if (c->offset != a->library.n || c->bytes.n > a->library_bytes - a->library.n) {
        manager_refuse(m, p, REFUSE_MALFORMED, c->app, "a piece of a library at %llu where %zu was expected",
                       (unsigned long long)c->offset, a->library.n);
        return;
    }
    buf_put(&a->library, c->bytes.p, c->bytes.n);
    m->dirty = true;
    if (a->library.n == a->library_bytes && !a->persisting)
        a->opener = 0;
}

/* ---- going on, or not ------------------------------------------------------------------- */

void submit_drop(struct manager *m, struct app *a)
{
    if (!map_del(&m->uploads, a->row.app))
        return;
    m->upload_bytes -= held_bytes(a);
    a->library_bytes = 0;
    a->nargs = a->noptions = 0;
    a->args = a->options = NULL;
    buf_fini(&a->library);
    arena_fini(&a->submission);
}

void submit_again(struct manager *m, struct app *a)
{
    a->state = APP_WAITING;
    actions_log(m->out, LOG_WARN, "app %llu waits again: its driver service went before it had begun",
                (unsigned long long)a->row.app);
    m->dirty = true;
}

void submit_forget(struct manager *m, conn_id submitter)
{
    MAP_EACH(&m->uploads, i) {
        struct app *a = map_at(&m->uploads, i);
        if (a->opener == submitter && a->library.n < a->library_bytes)
            apps_finish(m, a, "failed", 1, "its submitter went before its library was here");
    }
}

/* ---- launching ----------------------------------------------------------------------------- */

/* The service with most places left; NULL: none has any. */
static struct peer *emptiest(const struct manager *m)
{
    struct peer *best = NULL;
    MAP_EACH(&m->peers, i) {
        struct peer *p = map_at(&m->peers, i);
        if (p->serving && p->used < p->capacity &&
            (!best || p->capacity - p->used > best->capacity - best->used))
            best = p;
    }
    return best;
}

static void send_library(struct manager *m, const struct app *a, conn_id to)
{
    for (size_t at = 0; at < a->library.n; at += CHUNK_BYTES_MAX) {
        size_t n = a->library.n - at < CHUNK_BYTES_MAX ? a->library.n - at : CHUNK_BYTES_MAX;
        struct msg_chunk c = { .app = a->row.app, .offset = at, .bytes = { a->library.p + at, (uint32_t)n } };
        manager_send(m, to, MSG_CHUNK, &c);
    }
}

static void launch(struct manager *m, struct app *a, struct peer *p)
{
    struct msg_launch l = {
        .app = a->row.app,
        .args = { a->args, a->nargs },
        .options = { a->options, a->noptions },
        .lib_bytes = a->library_bytes,
    };
    service_take(m, a, p);
    manager_send(m, p->conn, MSG_LAUNCH, &l);
    send_library(m, a, p->conn);
}

void submit_launch(struct manager *m)
{
    MAP_EACH(&m->uploads, i) {
        struct app *a = map_at(&m->uploads, i);
        if (a->state != APP_WAITING || a->persisting || a->library.n < a->library_bytes)
            continue;
        struct peer *p = emptiest(m);
        if (!p)
            return;
        a->opener = 0;
        launch(m, a, p);
    }
}
