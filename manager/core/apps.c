/* apps.c - applications from opening to end: what is stored of each, who is told.
 *
 * Nothing is said of an application before the store has it: neither that it is
 * open, nor that it ended.
 */
#include "manager/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t no_key[KEY_BYTES];

/* ---- counting ------------------------------------------------------------------ */

bool apps_live(const struct app *a)
{
    return a->state < APP_ENDING;
}

uint32_t apps_live_count(const struct manager *m)
{
    return m->apps.n - m->ended.n;
}

/* ---- keys ---------------------------------------------------------------------- */

static bool admit(struct manager *m, const struct app *a, const uint8_t key[KEY_BYTES], enum role role)
{
    struct known *k = keyring_find(m, key);
    if (!k)
        k = keyring_add(m, key, role);
    if (!k || k->role != role || (k->app && k->app != a->row.app))
        return false;
    k->app = a->row.app;
    return true;
}

static bool has_keys(const struct app *a)
{
    return memcmp(a->row.driver_key, no_key, KEY_BYTES) != 0;
}

static void revoke(struct manager *m, const struct app *a, const uint8_t key[KEY_BYTES])
{
    const struct known *k = keyring_find(m, key);
    if (k && k->app == a->row.app)
        keyring_revoke(m, key);
}

static void keys_revoke(struct manager *m, struct app *a)
{
    a->revoke_ns = 0;
    revoke(m, a, a->row.driver_key);
    revoke(m, a, a->row.fetch_key);
}

/* ---- making and storing ---------------------------------------------------------- */

static void event(struct manager *m, const char *name, const struct app *a)
{
    struct manager_event *e = manager_event(m, name);
    e->app = a->row.app;
    e->state = manager_copy(m, a->row.state);
    e->words = manager_copy(m, a->row.words);
    actions_log(m->out, LOG_INFO, "%s app=%llu name=%s user=%s state=%s%s%s", name,
                (unsigned long long)a->row.app, a->row.name, a->row.user, a->row.state,
                *a->row.words ? ": " : "", a->row.words);
}

static struct app *make(struct manager *m, uint64_t number)
{
    struct app *a = calloc(1, sizeof *a);
    if (!a)
        abort();
    a->row.app = number;
    a->away_ns = a->service_away_ns = m->now;
    map_put(&m->apps, number, a);
    return a;
}

struct app *apps_new(struct manager *m, const char *mode, const char *user, struct bytes name)
{
    struct app *a = make(m, m->next_app++);
    snprintf(a->row.mode, sizeof a->row.mode, "%s", mode);
    snprintf(a->row.user, sizeof a->row.user, "%s", user);
    bytes_text(name, a->row.name, sizeof a->row.name);
    a->row.started_ms = manager_unix_ms(m);
    a->settled = true;
    return a;
}

/* Of before our start: it was waiting, it runs, or it ended. */
void apps_load(struct manager *m, const struct store_app *row)
{
    struct app *a = make(m, row->app);
    a->row = *row;
    if (row->app >= m->next_app)
        m->next_app = row->app + 1;
    if (row->ended_ms) {
        a->state = APP_ENDED;
        a->exited = true;
        map_put(&m->ended, row->app, a);
    } else
        a->state = strcmp(row->state, "waiting") ? APP_RUNNING : APP_WAITING;
    bool lately = m->unix_ms - row->ended_ms < 2 * ENDED_TOLD_NS / MS; /* its driver may not have heard */
    if (!has_keys(a) || (row->ended_ms && !lately))
        return;
    a->revoke_ns = row->ended_ms ? m->now + ENDED_TOLD_NS : 0;
    admit(m, a, row->driver_key, ROLE_DRIVER);
    admit(m, a, row->fetch_key, ROLE_FETCH);
}

void apps_persist(struct manager *m, struct app *a)
{
    struct store_record *r = arena_alloc(&m->out->arena, sizeof *r);
    r->app = a->row;
    a->persisting = m->next_persist++;
    map_put(&m->persists, a->persisting, a);
    struct action *act = actions_add(m->out, ACT_PERSIST);
    act->id = a->persisting;
    act->persist.record = r;
    act->persist.bytes = sizeof *r;
}

void apps_free(struct app *a)
{
    MAP_EACH(&a->claims, i)
        free(map_at(&a->claims, i));
    struct map *maps[] = { &a->leases, &a->claims, &a->barred };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        map_fini(maps[i]);
    struct buf *bufs[] = { &a->library, &a->streams[0].bytes, &a->streams[1].bytes, &a->waiters,
                           &a->followers };
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_fini(bufs[i]);
    arena_fini(&a->submission);
    free(a);
}

/* ---- its driver -------------------------------------------------------------------- */

void apps_driver_here(struct manager *m, struct peer *p)
{
    struct app *a = map_get(&m->apps, keyring_find(m, p->key)->app);
    conn_id old = a->driver;
    a->driver = p->conn;
    if (!a->generation)
        a->generation = m->next_generation++;
    p->app = a->row.app;
    p->generation = a->generation;
    peers_cut(m, old);
    share_look(m, a);
    m->dirty = true;
}

void apps_driver_away(struct manager *m, struct peer *p)
{
    struct app *a = map_get(&m->apps, p->app);
    if (!a || a->driver != p->conn)
        return;
    a->driver = 0;
    a->away_ns = p->beat.renewed_ns; /* what counts is its last echo */
}

/* ---- the end ----------------------------------------------------------------------- */

/* Said at once, true for others once it is stored. */
void apps_finish(struct manager *m, struct app *a, const char *state, uint32_t exit_code, const char *words)
{
    if (!apps_live(a))
        return;
    snprintf(a->row.state, sizeof a->row.state, "%s", state);
    snprintf(a->row.words, sizeof a->row.words, "%s", words);
    a->row.exit_code = exit_code;
    a->row.ended_ms = manager_unix_ms(m);
    a->state = APP_ENDING;
    submit_drop(m, a);
    claims_clear(m, a);
    apps_persist(m, a);
    m->dirty = true;
}

static void lost(struct manager *m, struct app *a, const char *words)
{
    apps_finish(m, a, "lost", EXIT_JOB_FAILED, words);
}

/* Executors that are away hear it when they join. */
static void tell_executors(struct manager *m, struct app *a)
{
    struct msg_app_end end = { .app = a->row.app, .words = bytes_of(a->row.words) };
    MAP_EACH(&m->joined, i) {
        const struct executor *x = map_at(&m->joined, i);
        if (map_has(&x->apps, a->row.app))
            manager_send(m, x->conn, MSG_APP_END, &end);
    }
    MAP_EACH(&a->leases, i)
        leases_move(m, map_at(&a->leases, i), LEASE_CLOSING);
}

static void evict(struct manager *m, struct app *a)
{
    keys_revoke(m, a);
    service_leave(m, a);
    output_end(m, a);
    MAP_EACH(&a->leases, i)
        ((struct lease *)map_at(&a->leases, i))->app = NULL;
    map_del(&m->ended, a->row.app);
    map_del(&m->outputs, a->row.app);
    map_del(&m->unmet, a->row.app);
    map_del(&m->apps, a->row.app);
    apps_free(a);
}

static void ended(struct manager *m, struct app *a)
{
    struct msg_app_end end = { .app = a->row.app, .words = bytes_of(a->row.words) };
    struct peer *opener = map_get(&m->peers, a->opener);
    a->state = APP_ENDED;
    a->revoke_ns = m->now + ENDED_TOLD_NS;
    if (opener)
        manager_refuse(m, opener, REFUSE_NO_APP, a->row.app, "application %llu ended: %s",
                       (unsigned long long)a->row.app, a->row.words);
    a->opener = 0;
    tell_executors(m, a);
    manager_send(m, a->driver, MSG_APP_END, &end);
    manager_send(m, a->service, MSG_APP_END, &end);
    event(m, "app.ended", a);
    query_tell_waiters(m, a);
    output_keep(m, a);
    if (!a->service)
        output_end(m, a);
    map_put(&m->ended, a->row.app, a);
    if (m->ended.n > ENDED_KEPT)
        evict(m, map_at(&m->ended, map_next(&m->ended, 0)));
    m->dirty = true;
}

/* ---- the store has it ----------------------------------------------------------------- */

static void opened(struct manager *m, struct app *a)
{
    struct msg_app_ok ok = { .app = a->row.app };
    conn_id opener = a->opener;
    if (!admit(m, a, a->row.driver_key, ROLE_DRIVER) || !admit(m, a, a->row.fetch_key, ROLE_FETCH)) {
        apps_finish(m, a, "failed", 1, "its keys are somebody's already");
        return;
    }
    a->state = APP_RUNNING;
    a->away_ns = m->now;
    a->opener = 0;
    event(m, "app.opened", a);
    manager_send(m, opener, MSG_APP_OK, &ok);
}

void apps_persisted(struct manager *m, uint64_t id)
{
    struct app *a = map_get(&m->persists, id);
    map_del(&m->persists, id);
    if (!a || a->persisting != id)
        return; /* a later row of it is under way */
    a->persisting = 0;
    if (a->state == APP_OPENING || (a->state == APP_RUNNING && a->opener))
        opened(m, a);
    else if (a->state == APP_WAITING && !a->launched) {
        event(m, "app.submitted", a);
        manager_send(m, a->opener, MSG_SUBMITTED, &(struct msg_submitted){ .app = a->row.app });
        m->dirty = true;
    } else if (a->state == APP_ENDING)
        ended(m, a);
}

/* ---- time --------------------------------------------------------------------------------- */

static void bars_expire(struct manager *m, struct app *a)
{
    MAP_EACH(&a->barred, i)
        if (m->now >= map_at_u64(&a->barred, i))
            map_del(&a->barred, map_key(&a->barred, i));
}

static void running_time(struct manager *m, struct app *a)
{
    char words[96];
    uint64_t since = !a->service && a->service_away_ns > a->away_ns ? a->service_away_ns : a->away_ns;
    if (a->driver || m->now - since <= m->config.driver_lost_ms * MS)
        return;
    if (!a->service && !has_keys(a) && a->library_bytes) { /* its service went before it had begun anything */
        submit_again(m, a);
        return;
    }
    snprintf(words, sizeof words, "its driver was away for %u ms", m->config.driver_lost_ms);
    lost(m, a, words);
}

void apps_expire(struct manager *m)
{
    MAP_EACH(&m->apps, i) {
        struct app *a = map_at(&m->apps, i);
        if (a->state == APP_RUNNING) {
            bars_expire(m, a);
            running_time(m, a);
        } else if (a->state == APP_WAITING && !a->library_bytes &&
                   m->now - a->service_away_ns > m->config.driver_lost_ms * MS)
            lost(m, a, "the manager was restarted before it was launched: submit it again");
        else if (a->revoke_ns && m->now >= a->revoke_ns)
            keys_revoke(m, a);
    }
}

/* ---- for people ----------------------------------------------------------------------------- */

void apps_row(const struct manager *m, const struct app *a, struct rec_app_row *row, char words[513])
{
    const char *state = a->state == APP_ENDED     ? a->row.state
                        : a->state == APP_WAITING ? "waiting"
                                                  : "running";
    const char *said = a->state == APP_RUNNING ? a->said : a->row.words;
    snprintf(words, 513, "%s", said);
    if (a->state == APP_WAITING)
        waits_submitted(m, a, words, 513);
    *row = (struct rec_app_row){
        .app = a->row.app,
        .name = bytes_of(a->row.name),
        .user = bytes_of(a->row.user),
        .mode = bytes_of(a->row.mode),
        .state = bytes_of(state),
        .slots = a->granted,
        .started_ms = a->row.started_ms,
        .ended_ms = a->state == APP_ENDED ? a->row.ended_ms : 0,
        .exit_code = a->state == APP_ENDED ? a->row.exit_code : 0,
        .words = bytes_of(words),
    };
}
