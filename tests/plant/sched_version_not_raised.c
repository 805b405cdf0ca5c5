/* sched_version_not_raised.c - a planted bug: the scheduler does not raise a STAGE's version when inputs moved. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_version_not_raised;
const struct plant plant_sched_version_not_raised = {
    .name = "sched_version_not_raised",
    .breaks = "the scheduler does not raise a STAGE's version when inputs moved",
    .checks = "ended-in-time,result,legitimate-cause",
};
