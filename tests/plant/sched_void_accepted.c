/* sched_void_accepted.c - a planted bug: the scheduler accepts a success of an attempt that it had given up. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_void_accepted;
const struct plant plant_sched_void_accepted = {
    .name = "sched_void_accepted",
    .breaks = "the scheduler accepts a success of an attempt that it had given up",
    .checks = "commit-once,result",
};
