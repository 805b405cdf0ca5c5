/* ended_kept.c - a planted bug: the manager lets an executor keep the leases of an ended application. */
#include "tests/plant/plant.h"

extern const struct plant plant_ended_kept;
const struct plant plant_ended_kept = {
    .name = "ended_kept",
    .breaks = "the manager lets an executor keep the leases of an ended application",
    .checks = "ended-app-kept",
};
