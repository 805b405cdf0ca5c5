/* inside_manager.c - what only a look inside the manager tells: bounds, and what is left. */
#include "manager/core/core.h"
#include "tests/sim/sim.h"

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

const char *inside_manager_bounds(const struct manager *m)
{
    if (m->executors.n > m->config.executors_max || m->lost.n > LOST_KEPT || m->ended.n > ENDED_KEPT)
        return "too many executors or applications are remembered";
    MAP_EACH(&m->executors, i) {
        const struct executor *x = map_at(&m->executors, i);
        if (x->slots_used > x->slots || x->memory_used > x->memory)
            return "more of an executor is used than there is";
    }
    return NULL;
}
