/* inside_executor.c - what only a look inside an executor tells: bounds, and what is left. */
#include "executor/core/core.h"
#include "tests/sim/sim.h"

#include <string.h>

#define SILENCE_SLACK_NS (3 * SEC) /* a beat or two */

const char *inside_executor_left(const struct executor *x)
{
    if (x->apps.n)
        return "still knows an application";
    if (x->leases.n || x->slots_used)
        return "still has leases";
    if (x->blocks.n || x->block_bytes)
        return "still counts blocks";
    if (x->copies.n || x->sources.n)
        return "still has copies, or connections to fetch them";
    if (x->conns.n)
        return "still has connections of an application";
    if (x->jobs.n)
        return "still has file work under way";
    MAP_EACH(&x->hosts, i)
        if (((const struct host *)map_at(&x->hosts, i))->lease)
            return "still has a host with a lease";
    return x->member == MEMBER_JOINED ? NULL : "has not joined";
}

static uint32_t unacked(const struct app *a)
{
    uint32_t n = 0, size;
    for (size_t at = 0; at < a->unacked.n; at += sizeof(uint64_t) + sizeof size + size, n++)
        memcpy(&size, a->unacked.p + at + sizeof(uint64_t), sizeof size);
    return n;
}

/* Its driver's silence ends its hosts, whoever else still speaks of it. */
static bool overdue(const struct executor *x, uint64_t now)
{
    MAP_EACH(&x->leases, i) {
        const struct lease *l = map_at(&x->leases, i);
        if (l->state == LEASE_ATTACHED && !l->app->ending &&
            beat_silence_ns(&l->app->beat, now) > x->config.driver_silent_ms * MS + SILENCE_SLACK_NS)
            return true;
    }
    return false;
}

const char *inside_executor_bounds(const struct executor *x, uint64_t now)
{
    if (overdue(x, now))
        return "an application is served whose driver is silent";
    if (x->slots_used > x->config.slots)
        return "more slots are used than there are";
    if (x->hosts.n > x->config.slots)
        return "there are more hosts than slots";
    if (x->apps.n > APPS_MAX || x->blocks.n > BLOCKS_MAX)
        return "too many applications or blocks";
    MAP_EACH(&x->apps, i) {
        const struct app *a = map_at(&x->apps, i);
        if (a->queue.tasks && !leases_open(x, a))
            return "tasks wait where no lease of theirs is open";
        if (a->queue.entries > QUEUE_RUNS_MAX)
            return "an application's queue is too long";
        if (unacked(a) > UNACKED_MAX)
            return "too many reports are unacknowledged";
        if (a->stages.n > STAGES_MAX)
            return "too many stages";
    }
    return NULL;
}

uint64_t inside_executor_refused(const struct executor *x)
{
    return x->refused;
}
