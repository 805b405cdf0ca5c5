/* sched_side_not_awaited.c - a planted bug: the scheduler begins a stage before the tables that it reads are whole. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_side_not_awaited;
const struct plant plant_sched_side_not_awaited = {
    .name = "sched_side_not_awaited",
    .breaks = "the scheduler begins a stage before the tables that it reads are whole",
    .checks = "result",
};
