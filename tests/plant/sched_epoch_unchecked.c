/* sched_epoch_unchecked.c - a planted bug: the scheduler follows a manager of a lower epoch than it has seen. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_epoch_unchecked;
const struct plant plant_sched_epoch_unchecked = {
    .name = "sched_epoch_unchecked",
    .breaks = "the scheduler follows a manager of a lower epoch than it has seen",
    .checks = "fence",
};
