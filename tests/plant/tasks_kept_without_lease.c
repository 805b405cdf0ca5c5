/* tasks_kept_without_lease.c - a planted bug: an executor keeps tasks where no lease of theirs is open. */
#include "tests/plant/plant.h"

extern const struct plant plant_tasks_kept_without_lease;
const struct plant plant_tasks_kept_without_lease = {
    .name = "tasks_kept_without_lease",
    .breaks = "an executor keeps tasks where no lease of theirs is open",
    .checks = "bounds",
};
