/* sched_lost_not_fenced.c - a planted bug: the scheduler goes on with the connections of an executor that is lost. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_lost_not_fenced;
const struct plant plant_sched_lost_not_fenced = {
    .name = "sched_lost_not_fenced",
    .breaks = "the scheduler goes on with the connections of an executor that is lost",
    .checks = "bounds",
};
