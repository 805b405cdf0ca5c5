/* table.c - all planted bugs, and which one is on. */
#include "tests/plant/plant.h"

#include "common/core/step.h"

#include <string.h>

#define PLANTS(P) \
    P(blocks_kept) \
    P(closed_before_reaped) \
    P(done_not_resent) \
    P(ended_kept) \
    P(failed_attempt_runs_on) \
    P(grant_early) \
    P(heard_renews) \
    P(keys_not_revoked) \
    P(leased_twice) \
    P(ok_early) \
    P(sched_done_not_acked) \
    P(sched_failures_uncounted) \
    P(sched_fetch_counted) \
    P(sched_maps_not_rerun) \
    P(sched_second_commit) \
    P(sched_version_not_raised) \
    P(silent_driver_served) \
    P(slots_early) \
    P(told_before_adopted)

#define P(name) extern const struct plant plant_##name;
PLANTS(P)
#undef P

const struct plant *const plants[] = {
#define P(name) &plant_##name,
    PLANTS(P)
#undef P
};
const uint32_t plants_n = sizeof plants / sizeof *plants;

static const char *chosen;

void plant_choose(const char *name)
{
    chosen = name;
}

bool plant_on(const char *name)
{
    return chosen && strcmp(chosen, name) == 0;
}
