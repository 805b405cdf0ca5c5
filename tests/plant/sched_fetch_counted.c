/* sched_fetch_counted.c - a planted bug: the scheduler counts a failed fetch against its task. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_fetch_counted;
const struct plant plant_sched_fetch_counted = {
    .name = "sched_fetch_counted",
    .breaks = "the scheduler counts a failed fetch against its task",
    .checks = "legitimate-cause",
};
