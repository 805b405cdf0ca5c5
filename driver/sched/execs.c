/* execs.c - executors: who they are, whether they may have work, and their loss. */
#include "driver/sched/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t name_key(const uint8_t incarnation[ID_BYTES])
{
    uint64_t key;
    memcpy(&key, incarnation, sizeof key);
    return key;
}

static const char *text(struct sched *s, struct bytes b)
{
    char words[1024];
    return arena_strdup(&s->keep, bytes_text(b, words, sizeof words));
}

static struct exec *exec_new(struct sched *s, const struct msg_lease_grant *m)
{
    struct exec *x = calloc(1, sizeof *x);
    if (!x)
        abort();
    if (s->nexecs == s->execs_cap) {
        s->execs_cap = s->execs_cap ? s->execs_cap * 2 : 8;
        s->execs = realloc(s->execs, s->execs_cap * sizeof *s->execs);
        if (!s->execs)
            abort();
    }
    x->index = (uint16_t)s->nexecs;
    s->execs[s->nexecs++] = x;
    memcpy(x->incarnation, m->incarnation, ID_BYTES);
    memcpy(x->key, m->key, KEY_BYTES);
    x->host = text(s, m->host);
    snprintf(x->name, sizeof x->name, "%.*s/%02x%02x", (int)sizeof x->name - 6, x->host, x->incarnation[0],
             x->incarnation[1]);
    x->host_id = text(s, m->host_id);
    s->spread |= strcmp(x->host_id, s->execs[0]->host_id) != 0;
    x->control_addr = text(s, m->control);
    x->data_addr = text(s, m->data);
    x->root = text(s, m->root);
    beat_init(&x->beat, s->now);
    map_get_u64(&s->given_before, name_key(m->incarnation), &x->given);
    return x;
}

struct exec *execs_meet(struct sched *s, const struct msg_lease_grant *m)
{
    struct exec *x = map_get(&s->by_incarnation, name_key(m->incarnation));
    if (!x && s->nexecs < EXECS_MAX) {
        x = exec_new(s, m);
        map_put(&s->by_incarnation, name_key(m->incarnation), x);
    }
    if (x) {
        x->generation = m->generation;
        x->epoch = s->epoch;
        x->doubted = false;
    }
    return x;
}

struct exec *execs_of_generation(struct sched *s, uint64_t generation)
{
    for (uint32_t i = s->nexecs; i-- > 0;)
        if (!s->execs[i]->lost && s->execs[i]->generation == generation)
            return s->execs[i];
    return NULL;
}

void execs_free(struct exec *x)
{
    buf_fini(&x->sent);
    buf_fini(&x->cancels);
    map_fini(&x->told);
    free(x);
}

/* ---- new work or none --------------------------------------------------------------------- */

bool execs_another(const struct sched *s, const struct exec *x)
{
    return s->leases.n > x->leases || mgr_may_grant(s);
}

void execs_hungry(struct sched *s, struct exec *x)
{
    if (x->usable)
        map_put(&s->hungry, x->index, x);
}

void execs_rest(struct sched *s, struct exec *x)
{
    x->rest_ns = s->now + backoff_next(&x->rest, &s->prng);
    sched_wake(s, x->rest_ns);
    execs_refresh(s, x);
}

void execs_refresh(struct sched *s, struct exec *x)
{
    bool may =
        x->attached && x->data_ready && !x->suspect && !x->doubted && !x->draining && !x->lost && !x->rest_ns;
    uint32_t usable = may ? x->slots : 0;
    s->usable_slots += usable - x->usable;
    s->usable_execs += (usable > 0) - (x->usable > 0);
    if (usable > x->usable)
        s->rebalance = true;
    x->usable = usable;
    if (usable)
        map_put(&s->hungry, x->index, x);
    else
        map_del(&s->hungry, x->index);
    s->changed = true;
}

void execs_undoubt(struct sched *s)
{
    for (uint32_t i = 0; i < s->nexecs; i++) {
        s->execs[i]->doubted = false;
        execs_refresh(s, s->execs[i]);
    }
}

/* ---- loss --------------------------------------------------------------------------------------- */

static void drop_leases(struct sched *s, struct exec *x)
{
    MAP_EACH(&s->leases, i) {
        struct lease *l = map_at(&s->leases, i);
        if (l->x == x)
            grants_drop(s, l);
    }
}

/* From here on nothing of this incarnation counts.  Should the manager grant slots there once
 * more, it is met as somebody new. */
static void gone(struct sched *s, struct exec *x, const char *event, const char *words, bool manager_knows)
{
    if (x->lost)
        return;
    x->lost = true;
    struct sched_event *e = sched_event_add(s, event);
    e->executor = x->name;
    e->words = sched_text(s, bytes_of(words));
    e->count = x->in_flight;
    if (manager_knows)
        drop_leases(s, x);
    else
        grants_bad(s, x, ETIMEDOUT, words);
    if (!FERRO_PLANT(sched_lost_not_fenced))
        links_cut(s, x);
    execs_refresh(s, x);
    if (map_get(&s->by_incarnation, name_key(x->incarnation)) == x)
        map_del(&s->by_incarnation, name_key(x->incarnation));
    if (x->given)
        map_put_u64(&s->given_before, name_key(x->incarnation), x->given);
    map_clear(&x->told);
    buf_reset(&x->cancels);
    if (s->job && !s->job->ended) {
        attempts_lose(s, x, NULL);
        commit_drop(s, x);
    }
    fail_outputs_of(s, x);
}

void execs_lost(struct sched *s, struct exec *x, const char *words, bool manager_knows)
{
    if (!x->lost)
        actions_log(s->out, LOG_WARN, "executor %s at %s is lost: %s", x->name, x->control_addr, words);
    gone(s, x, "executor.lost", words, manager_knows);
}

void execs_on_state(struct sched *s, const struct msg_exec_state *m)
{
    char words[257];
    struct exec *x = execs_of_generation(s, m->generation);
    if (!x)
        return;
    if (m->state == EXEC_LOST) {
        bytes_text(m->words, words, sizeof words);
        if (!strcmp(words, "left"))
            gone(s, x, "executor.left", words, true);
        else
            execs_lost(s, x, *words ? words : "the manager says so", true);
        return;
    }
    x->doubted = m->state == EXEC_SUSPECT;
    x->draining = m->state == EXEC_DRAINING;
    if (x->draining) { /* what has not begun comes back; idle leases go back at once */
        links_send(s, x, MSG_RECALL, &(struct msg_recall){ s->config.app, UINT32_MAX, UINT32_MAX });
        sched_wake(s, s->now);
    }
    execs_refresh(s, x);
}

/* ---- time ----------------------------------------------------------------------------------------- */

/* Since when nothing is known of it; 0: all is well. */
static uint64_t away_since(const struct sched *s, const struct exec *x)
{
    if (x->since_ns)
        return x->since_ns;
    uint64_t silence = beat_silence_ns(&x->beat, s->now), suspect = s->suspect_ms * MS;
    return x->control.up && silence > suspect ? s->now - (silence - suspect) : 0;
}

/* Many away at once say more about us, or the network, than about them: what runs there is neither copied nor
 * given up for a while.  A port that refuses, and the manager's word, are believed all the same. */
static void mass_away(struct sched *s)
{
    uint32_t all = 0, away = 0, lately = 0;
    for (uint32_t i = 0; i < s->nexecs; i++) {
        const struct exec *x = s->execs[i];
        if (!x->met || x->lost)
            continue;
        uint64_t since = away_since(s, x);
        all++;
        away += since != 0;
        lately += since && s->now - since <= MASS_AWAY_WITHIN_NS;
    }
    if (s->now < s->paused_ns) {
        if (away * 2 <= all)
            s->paused_ns = s->now;
        sched_wake(s, s->paused_ns);
        return;
    }
    if (lately < MASS_AWAY_MIN || lately * 2 <= all ||
        (s->paused_ns && s->now < s->paused_ns + 2 * MASS_AWAY_WITHIN_NS))
        return;
    s->paused_ns = s->now + MASS_AWAY_PAUSE_NS;
    sched_wake(s, s->paused_ns);
    sched_event_add(s, "executors.away")->count = lately;
    actions_log(s->out, LOG_WARN, "%u of %u executors are out of reach at once: none is given up for %llu s",
                away, all, MASS_AWAY_PAUSE_NS / (1000 * MS));
}

void execs_time(struct sched *s)
{
    mass_away(s);
    for (uint32_t i = 0; i < s->nexecs; i++)
        if (!s->execs[i]->lost)
            links_time(s, s->execs[i]);
}

void execs_stalled(struct sched *s, uint64_t late_ns)
{
    for (uint32_t i = 0; i < s->nexecs; i++) {
        struct exec *x = s->execs[i];
        beat_stalled(&x->beat, late_ns);
        beat_stalled(&x->data_beat, late_ns);
        x->since_ns += x->since_ns ? late_ns : 0;
        x->data_since_ns += x->data_since_ns ? late_ns : 0;
    }
}

void execs_touch(struct sched *s, struct exec *x)
{
    map_put(&s->touched, x->index, x);
}

static void send_cancels(struct sched *s, struct exec *x)
{
    const struct rec_run *runs = (const struct rec_run *)x->cancels.p;
    uint32_t n = (uint32_t)(x->cancels.n / sizeof *runs);
    for (uint32_t at = 0; at < n; at += CANCELS_MAX) {
        uint32_t left = n - at;
        struct msg_cancel m = { s->config.app, { runs + at, left < CANCELS_MAX ? left : CANCELS_MAX } };
        links_send(s, x, MSG_CANCEL, &m);
    }
}

void execs_flush(struct sched *s)
{
    MAP_EACH(&s->touched, i) {
        struct exec *x = map_at(&s->touched, i);
        send_cancels(s, x);
        if (x->ack)
            links_send(s, x, MSG_DONE_ACK,
                       &(struct msg_done_ack){ .app = s->config.app, .seq = x->done_seq });
        x->ack = false;
        buf_reset(&x->cancels);
    }
    map_clear(&s->touched);
}
