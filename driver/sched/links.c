/* links.c - connections to executors: one for control, one for blocks.
 *
 * A closed connection is not a death: new work stops, tasks run elsewhere as well after a
 * while, and the incarnation that returns keeps all.  A port that refuses is.
 */
#include "driver/sched/core.h"

#include <errno.h>
#include <string.h>

static const uint64_t probe_at_ns[PROBES] = { 0, 5 * MS, 20 * MS };

void links_send(struct sched *s, struct exec *x, uint8_t tag, const void *msg)
{
    if (x->control.up)
        sched_send(s, x->control.conn, tag, msg);
}

static void dial(struct sched *s, struct exec *x, struct link *l)
{
    bool data = l == &x->data;
    l->conn = s->next_conn++;
    l->up = false;
    l->retry_ns = 0;
    map_put(&s->conns, l->conn, x);
    struct action *act = actions_add(s->out, ACT_DIAL);
    act->conn = l->conn;
    act->dial.address = arena_strdup(&s->out->arena, data ? x->data_addr : x->control_addr);
    memcpy(act->dial.key, x->key, KEY_BYTES);
    act->dial.role = ROLE_EXECUTOR;
    act->dial.data = data;
}

void links_dial(struct sched *s, struct exec *x)
{
    if (x->since_ns == 0)
        x->since_ns = s->now;
    if (!x->control.conn)
        dial(s, x, &x->control);
    if (!x->data.conn) {
        x->data_since_ns = s->now;
        dial(s, x, &x->data);
    }
    sched_wake(s, s->now + REACH_NS);
}

static void forget(struct sched *s, struct link *l)
{
    map_del(&s->conns, l->conn);
    l->conn = 0;
    l->up = false;
}

static void data_gone(struct sched *s, struct exec *x, conn_id conn)
{
    struct pull_result r;
    if (x->data_ready)
        x->data_since_ns = s->now;
    x->data_ready = false;
    while (pulls_on_down(s->pulls, conn, &r))
        commit_pull_ended(s, &r);
}

static void cut(struct sched *s, struct link *l)
{
    if (l->conn)
        actions_add(s->out, ACT_CUT)->conn = l->conn;
    forget(s, l);
    l->retry_ns = 0;
}

void links_cut(struct sched *s, struct exec *x)
{
    conn_id data = x->data.conn;
    cut(s, &x->control);
    cut(s, &x->data);
    x->attached = x->attaching = x->attach_again = false;
    x->since_ns = 0;
    x->met = false; /* dialled again only when it is wanted again */
    data_gone(s, x, data);
    execs_refresh(s, x);
}

/* ---- up -------------------------------------------------------------------------------------- */

static void hello(struct sched *s, conn_id conn, uint32_t plane)
{
    struct msg_hello m = {
        .major = PROTO_MAJOR, .minor = PROTO_MINOR, .plane = plane, .name = bytes_of(s->config.name)
    };
    sched_send(s, conn, MSG_HELLO, &m);
}

void links_attach(struct sched *s, struct exec *x)
{
    if (x->attaching) {
        x->attach_again = true;
        return;
    }
    struct rec_id *leases = arena_alloc(&s->out->arena, (x->leases + 1ull) * sizeof *leases);
    struct msg_attach m = { .app = s->config.app, .done_seq = x->done_seq };
    MAP_EACH(&s->leases, i) {
        const struct lease *l = map_at(&s->leases, i);
        if (l->x == x && m.leases.n < 4096)
            leases[m.leases.n++].id = l->lease;
    }
    m.leases.v = leases;
    x->attaching = true;
    x->attached = x->attach_again = false; /* no tasks before the answer: it could not know of them */
    x->attach_seq = x->done_seq;
    links_send(s, x, MSG_ATTACH, &m);
    execs_refresh(s, x);
}

static void data_beat(struct sched *s, struct exec *x)
{
    if (x->data.up && beat_due(&x->data_beat, s->now, s->beat_ms * MS))
        sched_send(s, x->data.conn, MSG_BEAT, &(struct msg_beat){ .seq = x->data_beat.seq });
}

void links_up(struct sched *s, struct exec *x, conn_id conn)
{
    struct link *l = conn == x->control.conn ? &x->control : &x->data;
    l->up = true;
    hello(s, conn, l == &x->data);
    if (l == &x->data) { /* its echo says that the executor knows this connection */
        beat_init(&x->data_beat, s->now);
        data_beat(s, x);
        return;
    }
    if (!x->met)
        beat_init(&x->beat, s->now);
    beat_heard(&x->beat, s->now); /* a connection is new to suspicion, not to loss */
    MAP_EACH(&x->told, i)         /* what was sent last may have been lost */
        map_put_u64(&x->told, map_key(&x->told, i), 0);
    x->attaching = false;
    links_attach(s, x);
    sched_wake(s, s->now);
}

static void data_known(struct sched *s, struct exec *x)
{
    if (x->data_ready)
        return;
    x->data_ready = true;
    backoff_reset(&x->data.retry);
    if (x->data_met)
        stages_raise(s); /* its libraries may have been on their way when the connection broke */
    x->data_met = true;
    execs_refresh(s, x);
    commit_pulls_go(s);
}

/* ---- down ------------------------------------------------------------------------------------- */

static void retry_later(struct sched *s, struct link *l)
{
    l->retry_ns = s->now + backoff_next(&l->retry, &s->prng);
    sched_wake(s, l->retry_ns);
}

static void probe(struct sched *s, struct exec *x)
{
    struct action *act = actions_add(s->out, ACT_PROBE);
    act->id = x->index;
    act->dial.address = arena_strdup(&s->out->arena, x->control_addr);
    x->probes++;
}

static void probe_due(struct sched *s, struct exec *x)
{
    if (x->probes < PROBES && s->now >= x->since_ns + probe_at_ns[x->probes])
        probe(s, x);
    if (x->probes < PROBES)
        sched_wake(s, x->since_ns + probe_at_ns[x->probes]);
}

static void went_away(struct sched *s, struct exec *x, const char *words)
{
    if (x->since_ns == 0) {
        x->since_ns = s->now;
        x->probes = 0;
        struct sched_event *e = sched_event_add(s, "executor.away");
        e->executor = x->name;
        e->words = words ? sched_text(s, bytes_of(words)) : NULL;
    }
    retry_later(s, &x->control);
    probe_due(s, x);
    sched_wake(s, x->since_ns + s->config.copy_ms * MS);
}

static void control_down(struct sched *s, struct exec *x, enum down_reason reason, const char *words)
{
    bool kept = x->slots || x->outputs || x->in_flight || x->told.n;
    x->attached = x->attaching = x->attach_again = false;
    execs_refresh(s, x);
    if (!x->met && (reason == DOWN_REFUSED || reason == DOWN_UNAUTHORISED)) {
        grants_bad(s, x, reason == DOWN_REFUSED ? ECONNREFUSED : EACCES,
                   words ? words : "it can't be reached");
        links_cut(s, x);
    } else if (!x->met && x->slots)
        retry_later(s, &x->control); /* links_time() ends it */
    else if (!kept)
        links_cut(s, x);
    else if (reason == DOWN_REFUSED)
        execs_lost(s, x, "its port refuses: the process is gone", false);
    else if (reason == DOWN_UNAUTHORISED)
        execs_lost(s, x, "it no longer knows this application", false);
    else
        went_away(s, x, words);
}

void links_down(struct sched *s, struct exec *x, conn_id conn, enum down_reason reason, const char *words)
{
    if (conn == x->data.conn) {
        forget(s, &x->data);
        data_gone(s, x, conn);
        retry_later(s, &x->data);
        execs_refresh(s, x);
        return;
    }
    forget(s, &x->control);
    control_down(s, x, reason, words);
}

void links_probed(struct sched *s, struct exec *x, bool refused)
{
    if (refused && x->met && !x->lost && !x->control.up && x->since_ns)
        execs_lost(s, x, "its port refuses: the process is gone", false);
}

/* ---- time --------------------------------------------------------------------------------------- */

static void retry(struct sched *s, struct exec *x, struct link *l)
{
    if (l->retry_ns == 0)
        return;
    if (s->now >= l->retry_ns)
        dial(s, x, l);
    else
        sched_wake(s, l->retry_ns);
}

static void unreachable(struct sched *s, struct exec *x, const char *words)
{
    grants_bad(s, x, EHOSTUNREACH, words);
    if (!x->met)
        links_cut(s, x);
}

static void away_time(struct sched *s, struct exec *x)
{
    uint64_t copies = x->since_ns + s->config.copy_ms * MS;
    probe_due(s, x);
    if (x->copied || s->now < s->paused_ns)
        return;
    if (s->now >= copies)
        copies_away(s, x);
    else
        sched_wake(s, copies);
}

static void silence_time(struct sched *s, struct exec *x)
{
    if (x->data.up && beat_unheard_ns(&x->data_beat, s->now) > s->suspect_ms * MS) {
        actions_add(s->out, ACT_CUT)->conn = x->data.conn;
        links_down(s, x, x->data.conn, DOWN_UNREACHABLE, "it is silent");
    }
    if (x->control.up && beat_unheard_ns(&x->beat, s->now) > s->suspect_ms * MS) {
        x->suspect = true;
        sched_event_add(s, "executor.suspect")->executor = x->name;
        cut(s, &x->control); /* perhaps only the connection is dead: another one may do better */
        control_down(s, x, DOWN_CLOSED, "it is silent");
    }
    if (beat_silence_ns(&x->beat, s->now) > s->config.executor_lost_ms * MS && s->now >= s->paused_ns)
        execs_lost(s, x, "it is silent", false);
}

void links_time(struct sched *s, struct exec *x)
{
    if (!x->control.conn && !x->control.retry_ns)
        return; /* nothing is wanted of it */
    retry(s, x, &x->control);
    retry(s, x, &x->data);
    if (x->control.up && beat_due(&x->beat, s->now, s->beat_ms * MS))
        links_send(s, x, MSG_BEAT, &(struct msg_beat){ .seq = x->beat.seq });
    data_beat(s, x);
    if (x->rest_ns && s->now >= x->rest_ns) {
        x->rest_ns = 0;
        execs_refresh(s, x);
    } else if (x->rest_ns)
        sched_wake(s, x->rest_ns);
    sched_wake(s, x->control.up ? x->beat.next_ns : s->now + s->beat_ms * MS);
    if (!x->met) {
        if (x->since_ns && s->now >= x->since_ns + REACH_NS)
            unreachable(s, x, "it can't be reached");
        return;
    }
    if (x->since_ns)
        away_time(s, x);
    else if (x->slots && !x->data_ready && s->now >= x->data_since_ns + REACH_NS && s->now >= s->paused_ns)
        unreachable(s, x, "its data port can't be reached");
    silence_time(s, x);
}

/* ---- frames --------------------------------------------------------------------------------------- */

static void heard(struct sched *s, struct exec *x)
{
    beat_heard(&x->beat, s->now);
    if (!x->suspect)
        return;
    x->suspect = false;
    execs_refresh(s, x);
}

static void on_refuse(struct sched *s, struct exec *x, conn_id conn, const struct msg_refuse *m)
{
    char words[513];
    bytes_text(m->words, words, sizeof words);
    if (!x->complained)
        actions_log(s->out, LOG_WARN, "executor %s at %s refused: %s", x->name, x->control_addr, words);
    x->complained = true;
    if (m->code == REFUSE_NO_APP)
        execs_lost(s, x, words, false);
    else if (m->code == REFUSE_VERSION)
        unreachable(s, x, words);
    else if ((m->code == REFUSE_NO_LEASE || m->code == REFUSE_LIMIT) && conn == x->control.conn) {
        if (m->code == REFUSE_LIMIT && ++x->limited >= LIMITED_MAX && s->job)
            jobs_end(s, -1, "executor %s can't take more of this job: %s\n", x->name, words);
        cut(s, &x->control); /* what it has of ours is settled by attaching again */
        control_down(s, x, DOWN_CLOSED, words);
    }
}

static void on_block(struct sched *s, conn_id conn, uint8_t tag, const void *m)
{
    struct pull_result r;
    if (tag == MSG_BLOCK_DATA ? pulls_on_data(s->pulls, conn, m, s->out, &r)
                              : pulls_on_err(s->pulls, conn, m, s->out, &r))
        commit_pull_ended(s, &r);
}

static void on_beat_ack(struct sched *s, struct exec *x, conn_id conn, const struct msg_beat_ack *m)
{
    if (conn == x->control.conn)
        beat_echo(&x->beat, m->seq);
    else {
        beat_echo(&x->data_beat, m->seq);
        data_known(s, x);
    }
}

static void dispatch(struct sched *s, struct exec *x, conn_id conn, uint8_t tag, const void *m)
{
    bool control = conn == x->control.conn;
    switch (tag) {
    case MSG_BEAT:
        sched_send(s, conn, MSG_BEAT_ACK, &(struct msg_beat_ack){ .seq = ((const struct msg_beat *)m)->seq });
        break;
    case MSG_BEAT_ACK: on_beat_ack(s, x, conn, m); break;
    case MSG_REFUSE: on_refuse(s, x, conn, m); break;
    case MSG_BLOCK_GET: blocks_on_get(s, x, conn, m); break;
    case MSG_BLOCK_DATA:
    case MSG_BLOCK_ERR: on_block(s, conn, tag, m); break;
    case MSG_ATTACHED:
        if (control && x->attaching)
            done_on_attached(s, x, m);
        break;
    case MSG_DONE:
        if (control)
            done_on_done(s, x, m);
        break;
    case MSG_RECALLED:
        if (control)
            done_on_recalled(s, x, m);
        break;
    default: break;
    }
}

void links_frame(struct sched *s, struct exec *x, conn_id conn, struct bytes frame)
{
    struct head head;
    struct error e;
    uint8_t tag = proto_admit(frame, ROLE_EXECUTOR, &e);
    const void *m = tag ? proto_decode(&s->in, frame, &head, &e) : NULL;
    if (!m || (x->lost && !FERRO_PLANT(sched_lost_not_fenced))) {
        s->refused++;
        if (!m && !x->complained)
            actions_log(s->out, LOG_WARN, "executor %s at %s: %s", x->name, x->control_addr, e.words);
        x->complained |= !m;
        return;
    }
    if (head.epoch >= x->epoch) { /* it may have joined a restarted manager before we did, or after */
        x->epoch = head.epoch;
        x->generation = head.generation ? head.generation : x->generation;
    }
    if (conn == x->control.conn)
        heard(s, x);
    else
        beat_heard(&x->data_beat, s->now);
    dispatch(s, x, conn, tag, m);
}
