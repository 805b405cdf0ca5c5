/* sched_void_accepted.c - a planted bug: the scheduler commits a success of an attempt that it has given up. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_void_accepted;
const struct plant plant_sched_void_accepted = {
    .name = "sched_void_accepted",
    .breaks = "the scheduler commits a success of an attempt that it has given up",
    .checks = "bounds",
};
