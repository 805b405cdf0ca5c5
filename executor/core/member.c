/* member.c - being a member of the cluster: enrol, join, beat, drain.
 *
 * The throw-away key is this incarnation.  A manager that does not know it (a new
 * epoch) refuses the handshake: then the join key admits it anew.
 */
#include "executor/core/core.h"

#include <string.h>

enum { OWN_INCARNATION = 0, OWN_JOIN = 1 };

static void dial(struct executor *x, uint32_t own, enum member_state state)
{
    x->member = state;
    x->manager = x->next_conn++;
    x->welcomed = false;
    beat_init(&x->beat, x->now);
    struct action *act = actions_add(x->out, ACT_DIAL);
    act->conn = x->manager;
    act->dial.address = x->config.manager;
    memcpy(act->dial.key, x->config.manager_key, KEY_BYTES);
    act->dial.own = own;
    act->dial.role = ROLE_MANAGER;
}

static void retry_later(struct executor *x)
{
    x->member = MEMBER_WAITING;
    x->manager = 0;
    x->retry_ns = x->now + (x->retry_ms / 2 + prng_next(&x->prng) % (x->retry_ms / 2 + 1)) * MS;
    x->retry_ms = x->retry_ms * 2 > RETRY_MS_MAX ? RETRY_MS_MAX : x->retry_ms * 2;
}

/* A first start has no epoch to be known in: begin with the join key. */
void member_start(struct executor *x)
{
    dial(x, OWN_JOIN, MEMBER_ENROLLING);
}

static void say_hello(struct executor *x)
{
    struct msg_hello m = { .major = PROTO_MAJOR, .minor = PROTO_MINOR, .name = bytes_of(x->config.host) };
    frame_send(x, x->manager, MSG_HELLO, &m);
}

static void say_join(struct executor *x)
{
    struct arena *a = &x->out->arena;
    struct rec_holding *holdings = arena_alloc(a, (x->leases.n + 1) * sizeof *holdings);
    struct rec_id *apps = arena_alloc(a, (x->apps.n + 1) * sizeof *apps);
    uint32_t nholdings = 0, napps = 0;
    MAP_EACH(&x->leases, i) {
        const struct lease *l = map_at(&x->leases, i);
        if (!l->said) /* one that is closing still has its slots: LEASE_CLOSED follows JOINED */
            holdings[nholdings++] = (struct rec_holding){ l->lease, l->app->app, l->slots, l->memory };
    }
    MAP_EACH(&x->apps, i)
        apps[napps++].id = map_key(&x->apps, i);
    struct msg_join m = {
        .epoch_max = x->epoch,
        .host = bytes_of(x->config.host),
        .host_id = bytes_of(x->config.host_id),
        .control = bytes_of(x->config.control),
        .data = bytes_of(x->config.data),
        .root = bytes_of(x->config.root),
        .slots = x->config.slots,
        .memory = x->config.memory,
        .labels = bytes_of(x->config.labels),
        .holdings = { holdings, nholdings },
        .apps = { apps, napps },
    };
    memcpy(m.incarnation, x->config.incarnation, ID_BYTES);
    frame_send(x, x->manager, MSG_JOIN, &m);
}

void member_up(struct executor *x)
{
    beat_init(&x->beat, x->now);
    say_hello(x);
    if (x->member == MEMBER_ENROLLING) {
        struct msg_enrol m;
        memcpy(m.key, x->config.public_key, KEY_BYTES);
        frame_send(x, x->manager, MSG_ENROL, &m);
        return;
    }
    x->member = MEMBER_JOINING;
    say_join(x);
}

void member_down(struct executor *x, enum down_reason reason, const char *words)
{
    bool enrolling = x->member == MEMBER_ENROLLING;
    if (x->member == MEMBER_JOINED)
        executor_event(x, "manager.lost", 0, 0, 0, 0);
    if (reason == DOWN_UNAUTHORISED && enrolling) {
        actions_log(x->out, LOG_ERROR, "manager %s does not admit this join key: %s", x->config.manager,
                    words ? words : "");
        actions_add(x->out, ACT_EXIT)->exit_code = 5;
        x->exiting = true;
    } else if (reason == DOWN_UNAUTHORISED && !x->enrolled)
        dial(x, OWN_JOIN, MEMBER_ENROLLING);
    else {
        if (x->retry_ms == RETRY_MS_MIN)
            actions_log(x->out, LOG_WARN, "manager %s: %s; trying again", x->config.manager,
                        words ? words : "connection lost");
        x->enrolled = false;
        retry_later(x);
    }
}

void member_send(struct executor *x, uint8_t tag, const void *msg)
{
    if (x->member == MEMBER_JOINED)
        frame_send(x, x->manager, tag, msg);
}

static void give_up(struct executor *x, int exit_code, const char *words)
{
    actions_log(x->out, LOG_ERROR, "manager %s: %s", x->config.manager, words);
    MAP_EACH(&x->hosts, i)
        host_kill(x, map_at(&x->hosts, i), CAUSE_CANCELLED);
    actions_add(x->out, ACT_EXIT)->exit_code = exit_code;
    x->exiting = true;
}

/* Of what our JOIN named, those that are gone meanwhile were closed without a word. */
static void closed_meanwhile(struct executor *x, const struct rec_id *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!map_has(&x->leases, ids[i].id))
            member_send(
                x, MSG_LEASE_CLOSED,
                &(struct msg_lease_closed){ .lease = ids[i].id, .words = bytes_of("its application ended") });
}

static void on_joined(struct executor *x, const struct msg_joined *m)
{
    bool first = x->member != MEMBER_JOINED;
    x->member = MEMBER_JOINED;
    x->enrolled = false;
    x->retry_ms = RETRY_MS_MIN;
    closed_meanwhile(x, m->keep.v, m->keep.n);
    closed_meanwhile(x, m->end.v, m->end.n);
    for (uint32_t i = 0; i < m->end.n; i++) {
        struct lease *l = map_get(&x->leases, m->end.v[i].id);
        if (l)
            lease_close(x, l, 0, "not known to the manager");
    }
    for (uint32_t i = 0; i < m->end_apps.n; i++) {
        struct app *a = map_get(&x->apps, m->end_apps.v[i].id);
        if (a)
            app_end(x, a);
    }
    MAP_EACH(&x->leases, i) { /* one that closed while the manager was away */
        struct lease *l = map_at(&x->leases, i);
        if (l->state == LEASE_CLOSING)
            lease_settle(x, l);
    }
    if (first)
        executor_event(x, "executor.joined", 0, x->generation, 0, 0);
    if (x->draining)
        member_send(x, MSG_DRAIN, &(struct msg_drain){ .executor = bytes_of("") });
}

static void on_app_end(struct executor *x, uint64_t app)
{
    struct app *a = map_get(&x->apps, app);
    if (a)
        app_end(x, a);
    else
        member_send(x, MSG_APP_ENDED, &(struct msg_app_ended){ .app = app });
}

static void on_revoke(struct executor *x, const struct msg_lease_revoke *m)
{
    char words[257];
    struct lease *l = map_get(&x->leases, m->lease);
    bytes_text(m->words, words, sizeof words);
    if (l)
        lease_close(x, l, m->grace_ms, words);
    else
        member_send(x, MSG_LEASE_CLOSED,
                    &(struct msg_lease_closed){ .lease = m->lease, .words = bytes_of("not here") });
}

static void on_refuse(struct executor *x, const struct msg_refuse *m)
{
    char words[513];
    bytes_text(m->words, words, sizeof words);
    bool meeting = m->about == 0 || m->about == MSG_HELLO || m->about == MSG_ENROL || m->about == MSG_JOIN;
    if (meeting && m->code == REFUSE_GENERATION)
        give_up(x, EXECUTOR_AGAIN, words);
    else if (meeting && (m->code == REFUSE_VERSION || m->code == REFUSE_EPOCH))
        give_up(x, 1, words);
    else
        actions_log(x->out, LOG_WARN, "manager refused: %s", words);
}

void member_frame(struct executor *x, struct bytes frame)
{
    struct head head;
    struct error e;
    uint8_t tag = proto_admit(frame, ROLE_MANAGER, &e);
    const void *m = tag ? proto_decode(&x->in, frame, &head, &e) : NULL;
    if (!m) {
        x->refused++;
        actions_log(x->out, LOG_WARN, "manager: %s", e.words);
        return;
    }
    if (head.epoch < x->epoch && !FERRO_PLANT(epoch_unchecked)) {
        refuse(x, x->manager, REFUSE_EPOCH, 0,
               "this executor has seen a later epoch; is the manager's state an old copy?");
        give_up(x, 1,
                "its epoch is lower than one seen before: its state is an old copy. Start it on the newest "
                "state");
        return;
    }
    x->epoch = head.epoch;
    beat_heard(&x->beat, x->now);
    switch (tag) {
    case MSG_WELCOME: {
        const struct msg_welcome *w = m;
        x->generation = w->generation;
        x->beat_ms = w->beat_ms ? w->beat_ms : 1;
        x->welcomed = true;
        break;
    }
    case MSG_ENROLLED: {
        actions_add(x->out, ACT_CUT)->conn = x->manager;
        x->enrolled = true;
        dial(x, OWN_INCARNATION, MEMBER_DIALLING);
        break;
    }
    case MSG_JOINED: on_joined(x, m); break;
    case MSG_BEAT:
        frame_send(x, x->manager, MSG_BEAT_ACK,
                   &(struct msg_beat_ack){ .seq = ((const struct msg_beat *)m)->seq });
        break;
    case MSG_BEAT_ACK: beat_echo(&x->beat, ((const struct msg_beat_ack *)m)->seq); break;
    case MSG_LEASE_OPEN: on_lease_open(x, m); break;
    case MSG_LEASE_REVOKE: on_revoke(x, m); break;
    case MSG_APP_END: on_app_end(x, ((const struct msg_app_end *)m)->app); break;
    case MSG_DRAIN: member_drain(x); break;
    case MSG_BYE_OK: break; /* we are leaving already */
    case MSG_REFUSE: on_refuse(x, m); break;
    default: x->refused++; break;
    }
}

/* ---- leaving ------------------------------------------------------------ */

void member_drain(struct executor *x)
{
    if (x->draining)
        return;
    x->draining = true;
    x->drain_until_ns = x->now + x->config.drain_ms * MS;
    actions_log(x->out, LOG_INFO, "draining: running tasks and blocks in use get %llu ms",
                (unsigned long long)x->config.drain_ms);
    member_send(x, MSG_DRAIN, &(struct msg_drain){ .executor = bytes_of("") });
}

/* Tasks, what they made, and what their driver hasn't heard of yet. */
static bool is_needed(const struct executor *x)
{
    if (x->blocks.n || x->jobs.n)
        return true;
    MAP_EACH(&x->apps, i) {
        const struct app *a = map_at(&x->apps, i);
        if (a->queue.tasks || a->nunacked || a->out_runs.n || a->out_reports.n)
            return true;
    }
    MAP_EACH(&x->hosts, i)
        if (((const struct host *)map_at(&x->hosts, i))->under_way.tasks)
            return true;
    return false;
}

/* Gone when nothing is left here that anyone needs, or when time is up. */
static void drain_time(struct executor *x)
{
    if (!x->draining || x->exiting || (is_needed(x) && x->now < x->drain_until_ns))
        return;
    member_send(x, MSG_BYE, NULL);
    MAP_EACH(&x->hosts, i)
        host_kill(x, map_at(&x->hosts, i), CAUSE_CANCELLED);
    executor_event(x, "drain.done", 0, 0, 0, 0);
    actions_add(x->out, ACT_EXIT)->exit_code = 0;
    x->exiting = true;
}

/* The manager compares it with its own view. */
static uint64_t digest(const struct executor *x)
{
    uint64_t sum = 0;
    MAP_EACH(&x->leases, i) {
        const struct lease *l = map_at(&x->leases, i);
        if (l->state != LEASE_CLOSING)
            sum ^= lease_digest(l->lease);
    }
    return sum;
}

static bool beats(const struct executor *x)
{
    return x->welcomed && (x->member == MEMBER_JOINING || x->member == MEMBER_JOINED);
}

void member_time(struct executor *x)
{
    drain_time(x);
    if (x->exiting)
        return;
    if (x->member == MEMBER_WAITING && x->now >= x->retry_ns)
        dial(x, x->generation ? OWN_INCARNATION : OWN_JOIN,
             x->generation ? MEMBER_DIALLING : MEMBER_ENROLLING);
    if (x->member != MEMBER_WAITING && beat_silence_ns(&x->beat, x->now) > x->config.manager_lost_ms * MS) {
        actions_add(x->out, ACT_CUT)->conn = x->manager;
        member_down(x, DOWN_UNREACHABLE, "silent");
    } else if (beats(x) && beat_due(&x->beat, x->now, x->beat_ms * MS))
        frame_send(x, x->manager, MSG_BEAT, &(struct msg_beat){ .seq = x->beat.seq, .digest = digest(x) });
}

uint64_t member_deadline(const struct executor *x)
{
    if (x->exiting)
        return UINT64_MAX;
    uint64_t next = x->draining ? x->drain_until_ns : UINT64_MAX;
    uint64_t own =
        x->member == MEMBER_WAITING ? x->retry_ns : x->beat.renewed_ns + x->config.manager_lost_ms * MS + 1;
    if (beats(x) && x->beat.next_ns < own)
        own = x->beat.next_ns;
    return own < next ? own : next;
}
