/* table.c - all planted bugs, and which one is on. */
#include "tests/plant/plant.h"

#include "common/core/step.h"

#include <string.h>

#define PLANTS(P) \
    P(ask_stale) \
    P(blocks_kept) \
    P(claims_kept) \
    P(closed_before_reaped) \
    P(done_not_resent) \
    P(driver_epoch_unchecked) \
    P(ended_kept) \
    P(epoch_unchecked) \
    P(failed_attempt_runs_on) \
    P(grant_early) \
    P(heard_renews) \
    P(keys_not_revoked) \
    P(leased_twice) \
    P(manager_generation_unchecked) \
    P(ok_early) \
    P(sched_cached_freed) \
    P(sched_cached_not_lost) \
    P(sched_done_not_acked) \
    P(sched_epoch_unchecked) \
    P(sched_failures_uncounted) \
    P(sched_fetch_counted) \
    P(sched_lost_not_fenced) \
    P(sched_maps_not_rerun) \
    P(sched_second_commit) \
    P(sched_side_not_awaited) \
    P(sched_version_not_raised) \
    P(sched_void_accepted) \
    P(silent_driver_served) \
    P(slots_early) \
    P(slots_oversold) \
    P(stale_version) \
    P(tasks_kept_without_lease) \
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
