/* sched_maps_not_rerun.c - a planted bug: the scheduler does not run lost map outputs again. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_maps_not_rerun;
const struct plant plant_sched_maps_not_rerun = {
    .name = "sched_maps_not_rerun",
    .breaks = "the scheduler does not run lost map outputs again",
    .checks = "ended-in-time,result,legitimate-cause",
};
