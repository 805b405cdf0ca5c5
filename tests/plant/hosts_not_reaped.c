/* hosts_not_reaped.c - a planted bug: an executor says LEASE_CLOSED while the lease's task hosts still live. */
#include "tests/plant/plant.h"

extern const struct plant plant_hosts_not_reaped;
const struct plant plant_hosts_not_reaped = {
    .name = "hosts_not_reaped",
    .breaks = "an executor says LEASE_CLOSED while the lease's task hosts still live",
    .checks = "hosts-reaped",
};
