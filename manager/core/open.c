/* open.c - an application's own messages: it opens or is back, asks, and closes. */
#include "manager/core/core.h"

#include <string.h>

#define EXIT_SIGNAL 128 /* an exit code from here on: ended by a signal or on request */

/* The application that its driver, or the service that runs it, may speak for; NULL: refused. */
static struct app *own(struct manager *m, struct peer *p, uint64_t app, uint8_t tag)
{
    struct app *a = map_get(&m->apps, app);
    bool may = a && (p->role == ROLE_DRIVER ? p->app == app : a->service == p->conn);
    if (!may)
        manager_refuse(m, p, a ? REFUSE_DENIED : REFUSE_NO_APP, app, "%s: application %llu is not this %s's",
                       proto_name(tag), (unsigned long long)app,
                       p->role == ROLE_DRIVER ? "driver" : "service");
    return may ? a : NULL;
}

/* True: it is over, and so is told again. */
static bool over(struct manager *m, const struct peer *p, const struct app *a)
{
    if (a->state == APP_ENDED)
        manager_send(m, p->conn, MSG_APP_END,
                     &(struct msg_app_end){ .app = a->row.app, .words = bytes_of(a->row.words) });
    return !apps_live(a);
}

/* ---- opening ---------------------------------------------------------------------- */

static bool keys_free(struct manager *m, struct peer *p, const struct msg_app_open *o)
{
    if (memcmp(o->driver_key, o->fetch_key, KEY_BYTES) && !keyring_find(m, o->driver_key) &&
        !keyring_find(m, o->fetch_key))
        return true;
    manager_refuse(m, p, REFUSE_DENIED, o->app, "these keys are in use: make new ones for each application");
    return false;
}

static void take_keys(struct manager *m, struct peer *p, struct app *a, const struct msg_app_open *o)
{
    memcpy(a->row.driver_key, o->driver_key, KEY_BYTES);
    memcpy(a->row.fetch_key, o->fetch_key, KEY_BYTES);
    memcpy(a->row.fetch_secret, o->fetch_secret, KEY_BYTES);
    a->opener = p->conn;
    apps_persist(m, a);
    if (FERRO_PLANT(ok_early))
        apps_persisted(m, a->persisting);
}

static void by_user(struct manager *m, struct peer *p, const struct msg_app_open *o)
{
    if (o->app)
        manager_refuse(m, p, REFUSE_DENIED, o->app, "only its driver opens application %llu again",
                       (unsigned long long)o->app);
    else if (apps_live_count(m) >= m->config.apps_max)
        manager_refuse(m, p, REFUSE_LIMIT, 0, "%u applications wait or run already (--apps-max)",
                       m->config.apps_max);
    else if (keys_free(m, p, o)) {
        struct app *a = apps_new(m, "client", p->name, o->name);
        a->state = APP_OPENING;
        strcpy(a->row.state, "running");
        take_keys(m, p, a, o);
    }
}

/* One that it was told to launch.  Said twice, it is answered twice. */
static void by_service(struct manager *m, struct peer *p, const struct msg_app_open *o)
{
    struct app *a = own(m, p, o->app, MSG_APP_OPEN);
    if (!a || over(m, p, a))
        return;
    struct known *k = keyring_find(m, o->driver_key);
    if (k && k->role == ROLE_DRIVER && k->app == o->app)
        manager_send(m, p->conn, MSG_APP_OK, &(struct msg_app_ok){ .app = o->app });
    else if (!keys_free(m, p, o))
        return;
    else if (a->state != APP_RUNNING || keyring_find(m, a->row.driver_key) || a->opener)
        manager_refuse(m, p, REFUSE_DENIED, o->app, "application %llu is open already",
                       (unsigned long long)o->app);
    else
        take_keys(m, p, a, o);
}

static void by_driver(struct manager *m, struct peer *p, const struct msg_app_open *o)
{
    struct app *a = own(m, p, o->app, MSG_APP_OPEN);
    if (a && !over(m, p, a))
        claims_on_open(m, a, o);
}

void open_on_app_open(struct manager *m, struct peer *p, const void *msg)
{
    if (p->role == ROLE_DRIVER)
        by_driver(m, p, msg);
    else if (p->role == ROLE_SERVICE)
        by_service(m, p, msg);
    else
        by_user(m, p, msg);
}

/* ---- asking ------------------------------------------------------------------------ */

void open_on_ask(struct manager *m, struct peer *p, const void *msg)
{
    const struct msg_ask *ask = msg;
    struct app *a = own(m, p, ask->app, MSG_ASK);
    if (!a || over(m, p, a))
        return;
    if (a->asked && ask->revision < a->revision && !FERRO_PLANT(ask_stale)) {
        manager_refuse(m, p, REFUSE_MALFORMED, MSG_ASK, "ASK revision %llu after %llu",
                       (unsigned long long)ask->revision, (unsigned long long)a->revision);
        return;
    }
    a->asked = a->say = true;
    a->revision = ask->revision;
    a->want = ask->slots;
    a->want_memory = ask->memory;
    bytes_text(ask->labels, a->want_labels, sizeof a->want_labels);
    share_look(m, a);
    m->dirty = true;
}

/* ---- closing ------------------------------------------------------------------------- */

void open_on_app_close(struct manager *m, struct peer *p, const void *msg)
{
    char words[513];
    const struct msg_app_close *c = msg;
    struct app *a = own(m, p, c->app, MSG_APP_CLOSE);
    if (!a || over(m, p, a))
        return;
    bytes_text(c->words, words, sizeof words);
    apps_finish(m, a,
                c->exit_code == 0             ? "ok"
                : c->exit_code >= EXIT_SIGNAL ? "killed"
                                              : "failed",
                c->exit_code, words);
}

void open_on_app_ended(struct manager *m, struct peer *p, const void *msg)
{
    struct executor *x = roster_member(m, p, MSG_APP_ENDED);
    if (x)
        map_del(&x->apps, ((const struct msg_app_ended *)msg)->app);
}
