/* tasks_kept_without_lease.c - a planted bug: an executor keeps tasks that came after their lease was closed. */
#include "tests/plant/plant.h"

extern const struct plant plant_tasks_kept_without_lease;
const struct plant plant_tasks_kept_without_lease = {
    .name = "tasks_kept_without_lease",
    .breaks = "an executor keeps tasks that came after their lease was closed",
    .checks = "ended-in-time,result,legitimate-cause",
};
