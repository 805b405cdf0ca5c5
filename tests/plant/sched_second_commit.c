/* sched_second_commit.c - a planted bug: the scheduler commits a second success of a task. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_second_commit;
const struct plant plant_sched_second_commit = {
    .name = "sched_second_commit",
    .breaks = "the scheduler commits a second success of a task",
    .checks = "commit-once,result",
};
