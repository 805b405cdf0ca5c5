/* manager.c - one step: admit, fence, decode, hand to who knows. */
#include "common/core/send.h"
#include "manager/core/core.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void handler(struct manager *m, struct peer *p, const void *msg);

/* Unfenced are meetings, which may be sent before WELCOME was read, and what has no effect beyond its connection. */
static const struct row {
    uint8_t tag;
    bool fenced;
    handler *on;
} rows[] = {
    { MSG_HELLO, false, peers_on_hello },
    { MSG_ENROL, false, roster_on_enrol },
    { MSG_JOIN, false, roster_on_join },
    { MSG_BEAT, false, peers_on_beat },
    { MSG_BEAT_ACK, false, peers_on_beat_ack },
    { MSG_APP_OPEN, false, open_on_app_open },
    { MSG_SERVE, false, service_on_serve },
    { MSG_ASK, true, open_on_ask },
    { MSG_APP_CLOSE, true, open_on_app_close },
    { MSG_APP_ENDED, true, open_on_app_ended },
    { MSG_LEASE_OPENED, true, leases_on_opened },
    { MSG_LEASE_CLOSED, true, leases_on_closed },
    { MSG_LEASE_RETURN, true, leases_on_return },
    { MSG_LEASE_BAD, true, leases_on_bad },
    { MSG_DRAIN, true, roster_on_drain },
    { MSG_BYE, true, peers_on_bye },
    { MSG_LAUNCHED, true, service_on_launched },
    { MSG_OUTPUT, true, output_on_output },
    { MSG_EXITED, true, service_on_exited },
    { MSG_SUBMIT, true, submit_on_submit },
    { MSG_CHUNK, true, submit_on_chunk },
    { MSG_STATUS, true, query_on_status },
    { MSG_LIST_EXECUTORS, true, query_on_list_executors },
    { MSG_LIST_APPS, true, query_on_list_apps },
    { MSG_WAIT, true, query_on_wait },
    { MSG_KILL, true, query_on_kill },
    { MSG_LOGS, true, output_on_logs },
};

static const struct row *row_of(uint8_t tag)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].tag == tag)
            return &rows[i];
    return NULL;
}

/* ---- life --------------------------------------------------------------- */

struct manager *manager_new(const struct manager_config *config)
{
    struct manager *m = calloc(1, sizeof *m);
    if (!m)
        abort();
    m->config = *config;
    m->next_persist = 1;
    return m;
}

void manager_free(struct manager **mp)
{
    struct manager *m = *mp;
    *mp = NULL;
    if (!m)
        return;
    MAP_EACH(&m->peers, i)
        free(map_at(&m->peers, i));
    MAP_EACH(&m->known, i)
        free(map_at(&m->known, i));
    MAP_EACH(&m->executors, i)
        roster_free(map_at(&m->executors, i));
    MAP_EACH(&m->lost, i)
        roster_free(map_at(&m->lost, i));
    MAP_EACH(&m->leases, i)
        free(map_at(&m->leases, i));
    MAP_EACH(&m->apps, i)
        apps_free(map_at(&m->apps, i));
    struct map *maps[] = { &m->peers,   &m->known,   &m->executors, &m->lost,    &m->joined,
                           &m->leases,  &m->apps,    &m->ended,     &m->outputs, &m->persists,
                           &m->uploads, &m->probing, &m->unmet };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        map_fini(maps[i]);
    arena_fini(&m->in);
    buf_fini(&m->places);
    free(m);
}

static void start(struct manager *m, const struct store_state *s)
{
    m->epoch = s->epoch;
    m->next_generation = m->next_lease = s->epoch << NUMBER_EPOCH_SHIFT | 1;
    m->next_app = s->next_app ? s->next_app : 1;
    m->unix_ms = s->unix_ms;
    m->begun_ns = m->now;
    for (uint32_t i = 0; i < s->napps; i++)
        apps_load(m, &s->apps[i]);
}

/* ---- what every handler needs --------------------------------------------- */

void manager_send(struct manager *m, conn_id conn, uint8_t tag, const void *msg)
{
    if (!map_has(&m->peers, conn))
        return;
    actions_send(m->out, conn, (struct head){ .tag = tag, .epoch = m->epoch }, msg);
}

void manager_refuse(struct manager *m, struct peer *p, enum refusal code, uint64_t about, const char *fmt,
                    ...)
{
    char words[513];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    m->refused++;
    if (++p->refusals > REFUSALS_MAX) {
        p->cut_ns = m->now;
        return;
    }
    manager_send(m, p->conn, MSG_REFUSE,
                 &(struct msg_refuse){ .code = code, .about = about, .words = bytes_of(words) });
    if (p->logged)
        return;
    p->logged = true;
    actions_log(m->out, LOG_WARN, "refused: %s conn=%llu name=%s", words, (unsigned long long)p->conn,
                p->name);
    struct manager_event *e = manager_event(m, "refused");
    e->code = code;
    e->words = manager_copy(m, words);
}

const char *manager_copy(struct manager *m, const char *text)
{
    return arena_strdup(&m->out->arena, text);
}

struct manager_event *manager_event(struct manager *m, const char *name)
{
    struct manager_event *e = arena_alloc(&m->out->arena, sizeof *e);
    e->name = name;
    struct action *act = actions_add(m->out, ACT_CALL);
    act->call.what = MANAGER_EVENT;
    act->call.arg = e;
    return e;
}

uint64_t manager_unix_ms(const struct manager *m)
{
    return m->unix_ms + (m->now - m->begun_ns) / MS;
}

/* ---- frames ---------------------------------------------------------------- */

static bool fenced_off(struct manager *m, struct peer *p, uint8_t tag, const struct head *h)
{
    if (h->epoch < m->epoch)
        manager_refuse(m, p, REFUSE_EPOCH, tag, "%s is of epoch %llu; this is epoch %llu", proto_name(tag),
                       (unsigned long long)h->epoch, (unsigned long long)m->epoch);
    else if (h->epoch > m->epoch)
        manager_refuse(m, p, REFUSE_EPOCH, tag,
                       "%s is of epoch %llu; this manager is at %llu: its state is an old copy",
                       proto_name(tag), (unsigned long long)h->epoch, (unsigned long long)m->epoch);
    else if (h->generation != p->generation && !FERRO_PLANT(manager_generation_unchecked))
        manager_refuse(m, p, REFUSE_GENERATION, tag, "%s is of generation %llu; this connection has %llu",
                       proto_name(tag), (unsigned long long)h->generation, (unsigned long long)p->generation);
    else
        return false;
    return true;
}

/* The row of a frame that this peer may send to a manager; NULL: refused, and nothing was decoded. */
static const struct row *admit(struct manager *m, struct peer *p, struct bytes frame)
{
    struct error e;
    uint8_t tag = proto_admit(frame, p->role, &e);
    const struct row *row = tag ? row_of(tag) : NULL;
    if (!tag)
        manager_refuse(m, p, e.code == EPERM ? REFUSE_ROLE : REFUSE_MALFORMED, frame.n > 1 ? frame.p[1] : 0,
                       "%s", e.words);
    else if (!row)
        manager_refuse(m, p, REFUSE_ROLE, tag, "%s is not for a manager", proto_name(tag));
    return row;
}

static void receive(struct manager *m, const struct event *ev)
{
    struct error e;
    struct head h;
    struct peer *p = peers_get(m, ev);
    m->frames++;
    if (p->cut_ns)
        return;
    const struct row *row = admit(m, p, ev->recv.frame);
    if (!row)
        return;
    arena_reset(&m->in);
    const void *msg = proto_decode(&m->in, ev->recv.frame, &h, &e);
    if (!msg)
        manager_refuse(m, p, REFUSE_MALFORMED, row->tag, "%s", e.words);
    else if (!p->hello && row->tag != MSG_HELLO)
        manager_refuse(m, p, REFUSE_MALFORMED, row->tag, "%s before HELLO", proto_name(row->tag));
    else if (!row->fenced || !fenced_off(m, p, row->tag, &h)) {
        beat_heard(&p->beat, m->now);
        if (p->x && p->x->conn == p->conn)
            watch_heard(m, p->x);
        row->on(m, p, msg);
    }
}

/* ---- the step --------------------------------------------------------------- */

static void call(struct manager *m, const struct event *ev)
{
    if (ev->call.what == MANAGER_KEYS)
        keyring_set(m, ev->call.arg);
    else if (ev->call.what == MANAGER_STOP && !m->stopping) {
        m->stopping = true;
        actions_log(m->out, LOG_INFO, "stopping; running applications go on");
        actions_add(m->out, ACT_EXIT)->exit_code = 0;
    }
}

static void tick(struct manager *m)
{
    uint32_t beat = peers_beat_ms(m);
    m->tick_ns = m->now + (beat >= 4 ? beat / 4 : 1) * MS;
    peers_time(m);
    watch_time(m);
    apps_expire(m);
    claims_time(m);
    m->dirty = true; /* bars and pauses end with time */
}

void manager_step(struct manager *m, const struct event *ev, uint64_t now_ns, struct actions *out)
{
    m->now = now_ns;
    m->out = out;
    uint64_t late = stall_begin(&m->stall, now_ns);
    if (late)
        peers_stalled(m, late);
    switch (ev->kind) {
    case EV_START: start(m, ev->start.state); break;
    case EV_RECV: receive(m, ev); break;
    case EV_CONN_DOWN: peers_down(m, ev->conn); break;
    case EV_PROBED: watch_probed(m, ev->id, ev->probed.refused); break;
    case EV_PERSISTED: apps_persisted(m, ev->id); break;
    case EV_CALL: call(m, ev); break;
    default: break;
    }
    watch_probes(m);
    if (m->now >= m->tick_ns)
        tick(m);
    if ((m->dirty || m->sharing) && !m->stopping) {
        submit_launch(m);
        share_slots(m);
    }
    m->out = NULL;
    stall_end(&m->stall, manager_deadline(m));
}

uint64_t manager_deadline(const struct manager *m)
{
    uint64_t probe = watch_deadline(m);
    if (m->sharing)
        return m->now;
    return probe < m->tick_ns ? probe : m->tick_ns;
}

void manager_counters(const struct manager *m, struct manager_counters *out)
{
    *out = (struct manager_counters){ .epoch = m->epoch,
                                      .frames = m->frames,
                                      .refused = m->refused,
                                      .peers = m->peers.n,
                                      .leases = m->leases.n,
                                      .apps = apps_live_count(m) };
    MAP_EACH(&m->executors, i) {
        const struct executor *x = map_at(&m->executors, i);
        out->executors += x->state != MEMBER_ENROLLED;
        out->slots += x->slots;
        out->slots_used += x->slots_used;
    }
    MAP_EACH(&m->peers, i)
        out->services += ((const struct peer *)map_at(&m->peers, i))->serving;
}
