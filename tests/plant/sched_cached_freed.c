/* sched_cached_freed.c - a planted bug: the scheduler frees what is cached at the end of a job. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_cached_freed;
const struct plant plant_sched_cached_freed = {
    .name = "sched_cached_freed",
    .breaks = "the scheduler frees what is cached at the end of a job",
    .checks = "cached-freed",
};
