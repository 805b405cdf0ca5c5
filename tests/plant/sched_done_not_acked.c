/* sched_done_not_acked.c - a planted bug: the scheduler does not acknowledge DONEs. */
#include "tests/plant/plant.h"

extern const struct plant plant_sched_done_not_acked;
const struct plant plant_sched_done_not_acked = {
    .name = "sched_done_not_acked",
    .breaks = "the scheduler does not acknowledge DONEs",
    .checks = "bounds",
};
