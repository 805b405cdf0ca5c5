/* closed_before_reaped.c - a planted bug: an executor says LEASE_CLOSED while the lease's task hosts still live. */
#include "tests/plant/plant.h"

extern const struct plant plant_closed_before_reaped;
const struct plant plant_closed_before_reaped = {
    .name = "closed_before_reaped",
    .breaks = "an executor says LEASE_CLOSED while the lease's task hosts still live",
    .checks = "hosts-reaped",
};
