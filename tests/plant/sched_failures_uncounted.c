/* sched_failures_uncounted.c - a planted bug: the scheduler never counts a failed attempt. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_failures_uncounted;
const struct plant plant_sched_failures_uncounted = {
    .name = "sched_failures_uncounted",
    .breaks = "the scheduler never counts a failed attempt",
    .checks = "ended-in-time,result",
};
