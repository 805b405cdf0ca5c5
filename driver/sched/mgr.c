/* mgr.c - the connection to the manager: greet, repeat the application, ask, close.
 *
 * A manager that is silent or away stops new leases and nothing else.
 */
#include "driver/sched/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mgr_dial(struct sched *s)
{
    s->mgr = MGR_DIALLING;
    s->manager = s->next_conn++;
    s->mgr_retry_ns = 0;
    struct action *act = actions_add(s->out, ACT_DIAL);
    act->conn = s->manager;
    act->dial.address = s->config.manager;
    memcpy(act->dial.key, s->config.manager_key, KEY_BYTES);
    act->dial.role = ROLE_MANAGER;
}

void mgr_send(struct sched *s, uint8_t tag, const void *msg)
{
    if (s->mgr == MGR_OPEN)
        sched_send(s, s->manager, tag, msg);
}

void mgr_up(struct sched *s)
{
    struct msg_hello m = { .major = PROTO_MAJOR, .minor = PROTO_MINOR, .name = bytes_of(s->config.name) };
    s->mgr = MGR_GREETING;
    beat_init(&s->mgr_beat, s->now);
    sched_wake(s, s->now + s->beat_ms * MS);
    s->generation = 0;
    sched_send(s, s->manager, MSG_HELLO, &m);
}

/* ---- wants ------------------------------------------------------------------------------------ */

/* Where a retry waits, one slot more than there are: the manager gives it where the application has fewest. */
static uint32_t wanted(struct sched *s)
{
    uint64_t n = s->job && !s->job->ended ? feed_pending(s) + s->in_flight : 0;
    if (n && s->usable_execs < 2 && s->now < s->avoid_ns && n < s->avoid_slots)
        n = s->avoid_slots;
    if (n > s->config.slots_max)
        n = s->config.slots_max;
    return n > s->granted ? (uint32_t)n : s->granted; /* what lies idle goes back by itself */
}

static void say_wants(struct sched *s)
{
    struct msg_ask m = {
        .app = s->config.app,
        .revision = ++s->revision,
        .slots = s->asked,
        .memory = s->config.memory,
        .labels = bytes_of(s->config.labels),
    };
    mgr_send(s, MSG_ASK, &m);
}

void mgr_ask(struct sched *s, bool lower)
{
    uint32_t want = wanted(s);
    if (s->closing || want == s->asked || (want < s->asked && !lower))
        return;
    s->asked = want;
    if (want <= s->granted)
        s->waits[0] = 0;
    say_wants(s);
}

bool mgr_may_grant(const struct sched *s)
{
    return s->mgr == MGR_OPEN && s->asked > s->granted && !(s->answered == s->revision && s->waits[0]);
}

static void on_ask_state(struct sched *s, const struct msg_ask_state *m)
{
    if (m->revision != s->revision)
        return;
    s->answered = m->revision;
    bytes_text(m->words, s->waits, sizeof s->waits);
    s->changed = true;
}

/* ---- welcome ------------------------------------------------------------------------------------ */

static void repeat_application(struct sched *s)
{
    struct rec_claim *claims = arena_alloc(&s->out->arena, (s->leases.n + 1ull) * sizeof *claims);
    struct msg_app_open m = { .app = s->config.app, .name = bytes_of(s->config.name) };
    MAP_EACH(&s->leases, i) {
        const struct lease *l = map_at(&s->leases, i);
        struct rec_claim *c = &claims[m.claims.n++];
        *c = (struct rec_claim){ .lease = l->lease, .slots = l->slots };
        memcpy(c->incarnation, l->x->incarnation, ID_BYTES);
    }
    m.claims.v = claims;
    mgr_send(s, MSG_APP_OPEN, &m);
}

static void say_close(struct sched *s)
{
    struct msg_app_close m = { .app = s->config.app,
                               .exit_code = s->close.exit_code,
                               .words = bytes_of(s->close.words) };
    mgr_send(s, MSG_APP_CLOSE, &m);
}

static void on_welcome(struct sched *s, const struct msg_welcome *m)
{
    s->generation = m->generation;
    s->beat_ms = m->beat_ms ? m->beat_ms : s->beat_ms;
    s->suspect_ms = m->suspect_ms ? m->suspect_ms : s->suspect_ms;
    s->mgr_lost_ms = m->lost_ms ? m->lost_ms : s->mgr_lost_ms;
    s->mgr = MGR_OPEN;
    backoff_reset(&s->mgr_retry);
    s->unauthorised = 0;
    sched_event_add(s, "manager.open");
    if (s->closing) {
        if (s->close_said)
            say_close(s);
        return;
    }
    execs_undoubt(s);
    repeat_application(s);
    say_wants(s);
}

static void on_app_ok(struct sched *s, const struct msg_app_ok *m)
{
    for (uint32_t i = 0; i < m->lost.n; i++) {
        struct lease *l = map_get(&s->leases, m->lost.v[i].id);
        if (l)
            grants_drop(s, l);
    }
}

/* ---- the end --------------------------------------------------------------------------------------- */

void mgr_close(struct sched *s, uint32_t exit_code, const char *words)
{
    if (s->closing)
        return;
    jobs_end(s, -1, "%s\n",
             exit_code == EXIT_INTERRUPTED ? "interrupted" : "the application ended while its job ran");
    s->closing = true;
    s->close = (struct sched_close){ exit_code, arena_strdup(&s->keep, words ? words : "") };
    s->close_ns = s->now + CLOSE_NS;
    sched_wake(s, s->close_ns);
}

/* The manager may be away: executors hear it from us. */
static void tell_executors(struct sched *s, const char *words)
{
    struct msg_app_end m = { .app = s->config.app, .words = bytes_of(words) };
    for (uint32_t i = 0; i < s->nexecs; i++)
        links_send(s, s->execs[i], MSG_APP_END, &m);
}

void mgr_settle(struct sched *s)
{
    if (!s->closing || s->close_said || s->job)
        return;
    s->close_said = true;
    tell_executors(s, s->close.words);
    say_close(s);
}

static void over(struct sched *s, int exit_code, const char *words)
{
    jobs_end(s, -1, "%s\n", words);
    if (s->closing) {
        sched_exit(s, (int)s->close.exit_code);
        return;
    }
    actions_log(s->out, LOG_ERROR, "%s", words);
    s->closing = s->close_said = true;
    tell_executors(s, words);
    sched_exit(s, exit_code);
}

static void on_app_end(struct sched *s, const struct msg_app_end *m)
{
    char why[513], words[600];
    if (m->app != s->config.app)
        return;
    snprintf(words, sizeof words, "the manager ended the application: %s",
             bytes_text(m->words, why, sizeof why));
    over(s, EXIT_ENDED, words);
}

static void on_refuse(struct sched *s, const struct msg_refuse *m)
{
    char why[513], words[700];
    bytes_text(m->words, why, sizeof why);
    snprintf(words, sizeof words, "manager %s refused: %s", s->config.manager, why);
    if (m->code == REFUSE_VERSION || m->code == REFUSE_EPOCH)
        over(s, EXIT_ENDED, words);
    else if (m->code == REFUSE_ROLE || m->code == REFUSE_DENIED || m->code == REFUSE_NO_APP)
        over(s, EXIT_UNAUTHORISED, words);
    else
        actions_log(s->out, LOG_WARN, "%s", words);
}

/* ---- frames, loss, time ------------------------------------------------------------------------------ */

static void retry_later(struct sched *s)
{
    s->mgr = MGR_WAITING;
    s->manager = 0;
    s->mgr_retry_ns = s->now + backoff_next(&s->mgr_retry, &s->prng);
    sched_wake(s, s->mgr_retry_ns);
}

void mgr_down(struct sched *s, enum down_reason reason, const char *words)
{
    const char *why = words ? words : "the connection is lost";
    bool first = backoff_fresh(&s->mgr_retry);
    if (s->mgr == MGR_OPEN)
        sched_event_add(s, "manager.lost");
    if (first)
        actions_log(s->out, LOG_WARN, "manager %s: %s; trying again", s->config.manager, why);
    snprintf(s->away_words, sizeof s->away_words, "the manager at %s: %s", s->config.manager, why);
    s->changed = true;
    if (reason == DOWN_UNAUTHORISED && ++s->unauthorised >= UNAUTHORISED_MAX)
        over(s, EXIT_UNAUTHORISED,
             "the manager does not know this application's key: the application is over there");
    retry_later(s);
}

static void hang_up(struct sched *s, const char *words)
{
    actions_add(s->out, ACT_CUT)->conn = s->manager;
    mgr_down(s, DOWN_UNREACHABLE, words);
}

static void dispatch(struct sched *s, uint8_t tag, const void *m)
{
    switch (tag) {
    case MSG_WELCOME: on_welcome(s, m); break;
    case MSG_BEAT:
        sched_send(s, s->manager, MSG_BEAT_ACK,
                   &(struct msg_beat_ack){ .seq = ((const struct msg_beat *)m)->seq });
        break;
    case MSG_BEAT_ACK: beat_echo(&s->mgr_beat, ((const struct msg_beat_ack *)m)->seq); break;
    case MSG_APP_OK: on_app_ok(s, m); break;
    case MSG_ASK_STATE: on_ask_state(s, m); break;
    case MSG_LEASE_GRANT: grants_on_grant(s, m); break;
    case MSG_LEASE_REVOKE: grants_on_revoke(s, m); break;
    case MSG_EXEC_STATE: execs_on_state(s, m); break;
    case MSG_APP_END: on_app_end(s, m); break;
    case MSG_REFUSE: on_refuse(s, m); break;
    default: break;
    }
}

void mgr_frame(struct sched *s, struct bytes frame)
{
    struct head head;
    struct error e;
    uint8_t tag = proto_admit(frame, ROLE_MANAGER, &e);
    const void *m = tag ? proto_decode(&s->in, frame, &head, &e) : NULL;
    if (!m) {
        s->refused++;
        actions_log(s->out, LOG_WARN, "manager %s: %s", s->config.manager, e.words);
        return;
    }
    if (head.epoch < s->epoch && !FERRO_PLANT(sched_epoch_unchecked)) {
        s->refused++;
        hang_up(s, "its epoch is lower than one seen before: its state is an old copy");
        return;
    }
    s->epoch = head.epoch;
    beat_heard(&s->mgr_beat, s->now);
    dispatch(s, tag, m);
}

/* The manager compares it with its own view. */
static uint64_t digest(const struct sched *s)
{
    uint64_t sum = 0;
    MAP_EACH(&s->leases, i)
        sum ^= lease_digest(map_key(&s->leases, i));
    return sum;
}

void mgr_time(struct sched *s)
{
    if (s->closing && s->close_said && s->now >= s->close_ns) {
        actions_log(s->out, LOG_WARN,
                    "manager %s does not answer: it was not told that the application ended",
                    s->config.manager);
        sched_exit(s, (int)s->close.exit_code);
        return;
    }
    if (s->closing)
        sched_wake(s, s->close_ns);
    if (s->mgr == MGR_WAITING && s->now >= s->mgr_retry_ns)
        mgr_dial(s);
    else if (s->mgr == MGR_WAITING)
        sched_wake(s, s->mgr_retry_ns);
    if (s->mgr != MGR_OPEN && s->mgr != MGR_GREETING)
        return;
    if (beat_silence_ns(&s->mgr_beat, s->now) > s->mgr_lost_ms * MS) {
        hang_up(s, "it is silent");
        return;
    }
    if (s->mgr == MGR_OPEN && beat_due(&s->mgr_beat, s->now, s->beat_ms * MS))
        mgr_send(s, MSG_BEAT, &(struct msg_beat){ .seq = s->mgr_beat.seq, .digest = digest(s) });
    sched_wake(s, s->mgr == MGR_OPEN ? s->mgr_beat.next_ns : s->now + s->beat_ms * MS);
}
