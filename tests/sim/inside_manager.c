/* inside_manager.c - what only a look inside the manager tells: bounds, and what is left. */
#include "manager/core/core.h"
#include "tests/sim/sim.h"

#define SILENCE_SLACK_NS (2 * SEC) /* a few ticks */

const char *inside_manager_left(const struct manager *m)
{
    if (m->leases.n)
        return "still has leases";
    if (m->claims)
        return "still has claims";
    if (m->persists.n)
        return "still waits for its store";
    if (m->uploads.n || m->upload_bytes)
        return "still has libraries that wait";
    if (m->probing.n)
        return "still probes";
    if (apps_live_count(m))
        return "still has applications";
    MAP_EACH(&m->executors, i) {
        const struct executor *x = map_at(&m->executors, i);
        if (x->slots_used || x->memory_used || x->leases.n)
            return "still counts slots of an executor as used";
    }
    return NULL;
}

/* Only an echoed beat keeps an executor on the roster: whatever else came from it does not. */
static bool overdue(const struct manager *m, const struct executor *x, uint64_t now)
{
    return x->state != MEMBER_ENROLLED && now > m->paused_ns &&
           beat_silence_ns(&x->beat, now) > m->config.lost_ms * MS + SILENCE_SLACK_NS;
}

/* A lease that only its driver speaks of. */
static bool claim_overdue(const struct manager *m, uint64_t now)
{
    if (!m->claims || now <= m->paused_ns)
        return false;
    MAP_EACH(&m->apps, i) {
        const struct app *a = map_at(&m->apps, i);
        MAP_EACH(&a->claims, k) {
            const struct claim *c = map_at(&a->claims, k);
            if (now - c->since_ns > m->config.claim_ms * MS + SILENCE_SLACK_NS)
                return true;
        }
    }
    return false;
}

const char *inside_manager_bounds(const struct manager *m, uint64_t now)
{
    if (m->executors.n > m->config.executors_max || m->lost.n > LOST_KEPT || m->ended.n > ENDED_KEPT)
        return "too many executors or applications are remembered";
    MAP_EACH(&m->executors, i) {
        const struct executor *x = map_at(&m->executors, i);
        if (x->slots_used > x->slots || x->memory_used > x->memory)
            return "more of an executor is used than there is";
        if (overdue(m, x, now))
            return "an executor that echoes no beat is kept";
    }
    return claim_overdue(m, now) ? "a claim is kept that no executor confirms" : NULL;
}

uint64_t inside_manager_refused(const struct manager *m)
{
    return m->refused;
}

bool inside_manager_deaf(const struct manager *m, conn_id conn)
{
    const struct peer *p = map_get(&m->peers, conn);
    return p && p->cut_ns;
}
