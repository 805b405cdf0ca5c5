/* failed_attempt_runs_on.c - a planted bug: an executor puts a crashed host's failed attempt back into its queue. */
#include "tests/plant/plant.h"

extern const struct plant plant_failed_attempt_runs_on;
const struct plant plant_failed_attempt_runs_on = {
    .name = "failed_attempt_runs_on",
    .breaks = "an executor puts a crashed host's failed attempt back into its queue",
    .checks = "attempt-once",
};
