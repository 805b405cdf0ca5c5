/* watch.c - executors fall silent and go.
 *
 * A closed connection is noticed at once but proves nothing: three probes ask
 * whether the port still has a process.  Refused: gone.  Otherwise silence decides.
 */
#include "manager/core/core.h"

#include <stdio.h>
#include <string.h>

#define PROBES 3
static const uint64_t probe_ns[PROBES] = { 0, 5 * MS,
                                           20 * MS }; /* a killed container refuses for 20-50 ms only */

/* ---- suspicion ------------------------------------------------------------ */

void watch_heard(struct manager *m, struct executor *x)
{
    beat_heard(&x->beat, m->now);
    if (x->state != MEMBER_SUSPECT)
        return;
    x->state = x->draining ? MEMBER_DRAINING : MEMBER_READY;
    roster_tell(m, x, x->draining ? EXEC_DRAINING : EXEC_READY, "it is heard again");
    m->dirty = true;
}

static void suspect(struct manager *m, struct executor *x, const char *words)
{
    x->state = MEMBER_SUSPECT;
    roster_tell(m, x, EXEC_SUSPECT, words);
    roster_event(m, "executor.suspect", x, words);
    m->dirty = true;
}

void watch_closed(struct manager *m, struct executor *x)
{
    x->conn = 0;
    x->since_ns = m->now;
    x->probes = 0;
    map_put(&m->probing, x->generation, x);
    suspect(m, x, "its connection closed");
}

/* ---- gone ----------------------------------------------------------------- */

/* Its connections say nothing more; `words`: and hear why. */
static void detach(struct manager *m, const struct executor *x, const char *words)
{
    MAP_EACH(&m->peers, i) {
        struct peer *p = map_at(&m->peers, i);
        if (p->x != x)
            continue;
        p->x = NULL;
        p->cut_ns = m->now + REFUSED_CUT_NS;
        if (words)
            manager_refuse(m, p, REFUSE_GENERATION, 0, "%s: start afresh", words);
    }
}

static void forget(struct manager *m, struct executor *x)
{
    const struct known *k = keyring_find(m, x->key);
    if (k && k->x == x)
        keyring_revoke(m, x->key);
    roster_free(x);
}

static void off_the_roster(struct manager *m, struct executor *x)
{
    uint64_t incarnation;
    memcpy(&incarnation, x->incarnation, sizeof incarnation);
    map_del(&m->executors, x->generation);
    map_del(&m->probing, x->generation);
    if (x->state != MEMBER_ENROLLED)
        map_del(&m->joined, incarnation);
    x->state = MEMBER_LOST;
    x->conn = 0;
}

/* Its slots never return: the leases go with it. */
void watch_lost(struct manager *m, struct executor *x, const char *event, const char *words)
{
    bool left = !strcmp(event, "executor.left");
    off_the_roster(m, x);
    detach(m, x, left ? NULL : words);
    roster_tell(m, x, EXEC_LOST, words);
    MAP_EACH(&x->leases, i)
        leases_drop(m, map_at(&x->leases, i));
    roster_event(m, event, x, words);
    map_clear(&x->apps);
    map_put(&m->lost, x->generation, x);
    if (m->lost.n > LOST_KEPT) {
        struct executor *oldest = map_at(&m->lost, map_next(&m->lost, 0));
        map_del(&m->lost, oldest->generation);
        forget(m, oldest);
    }
    m->dirty = true;
}

void watch_revoked(struct manager *m, const uint8_t join_key[KEY_BYTES])
{
    MAP_EACH(&m->executors, i) {
        struct executor *x = map_at(&m->executors, i);
        if (memcmp(x->join_key, join_key, KEY_BYTES))
            continue;
        watch_lost(m, x, "executor.lost", "the key it joined by is revoked");
        keyring_revoke(m, x->key);
    }
}

/* Many silent at once say more about us, or the network, than about them. */
static bool mass_loss(struct manager *m)
{
    if (!m->losses || m->now - m->losses_ns > MASS_LOSS_WITHIN_NS) {
        m->losses = 0;
        m->losses_ns = m->now;
        m->losses_of = m->joined.n;
    }
    m->losses++;
    if (m->losses < MASS_LOSS_MIN || m->losses * 2 <= m->losses_of ||
        (m->paused_ns && m->now < m->paused_ns + 2 * MASS_LOSS_WITHIN_NS))
        return false;
    m->paused_ns = m->now + MASS_LOSS_PAUSE_NS;
    m->losses = 0;
    actions_log(m->out, LOG_WARN,
                "over half of %u executors are silent: nobody is given up and nothing granted for %llu s",
                m->losses_of, MASS_LOSS_PAUSE_NS / (1000 * MS));
    return true;
}

/* ---- probes ---------------------------------------------------------------- */

void watch_probed(struct manager *m, uint64_t generation, bool refused)
{
    struct executor *x = map_get(&m->executors, generation);
    if (x && !x->conn && x->state == MEMBER_SUSPECT && refused)
        watch_lost(m, x, "executor.lost", "its connection closed and its port refuses: the process is gone");
}

void watch_probes(struct manager *m)
{
    MAP_EACH(&m->probing, i) {
        struct executor *x = map_at(&m->probing, i);
        if (m->now < x->since_ns + probe_ns[x->probes])
            continue;
        struct action *act = actions_add(m->out, ACT_PROBE);
        act->id = x->generation;
        act->dial.address = manager_copy(m, x->control);
        if (++x->probes == PROBES)
            map_del(&m->probing, x->generation);
    }
}

uint64_t watch_deadline(const struct manager *m)
{
    uint64_t next = UINT64_MAX;
    MAP_EACH(&m->probing, i) {
        const struct executor *x = map_at(&m->probing, i);
        uint64_t at = x->since_ns + probe_ns[x->probes];
        next = at < next ? at : next;
    }
    return next;
}

/* ---- time ------------------------------------------------------------------ */

static void never_came(struct manager *m, struct executor *x)
{
    off_the_roster(m, x);
    detach(m, x, "it enrolled and did not join");
    forget(m, x);
}

static void silent(struct manager *m, struct executor *x)
{
    char words[64];
    if (m->now < m->paused_ns || mass_loss(m))
        return;
    snprintf(words, sizeof words, "silent for %u ms", m->config.lost_ms);
    watch_lost(m, x, "executor.lost", words);
}

void watch_time(struct manager *m)
{
    MAP_EACH(&m->executors, i) {
        struct executor *x = map_at(&m->executors, i);
        uint64_t unheard = beat_unheard_ns(&x->beat, m->now);
        uint64_t since = FERRO_PLANT(heard_renews) ? unheard : beat_silence_ns(&x->beat, m->now);
        if (x->state == MEMBER_ENROLLED) {
            if (m->now - x->since_ns > m->config.lost_ms * MS)
                never_came(m, x);
        } else if (since > m->config.lost_ms * MS)
            silent(m, x);
        else if (unheard > m->config.suspect_ms * MS && x->state != MEMBER_SUSPECT)
            suspect(m, x, "silent");
    }
}
