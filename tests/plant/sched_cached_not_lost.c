/* sched_cached_not_lost.c - a planted bug: the scheduler takes what is cached for there when its executor is lost. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_cached_not_lost;
const struct plant plant_sched_cached_not_lost = {
    .name = "sched_cached_not_lost",
    .breaks = "the scheduler takes what is cached for there when its executor is lost",
    .checks = "bounds",
};
