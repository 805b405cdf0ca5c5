/* slots_early.c - a planted bug: the manager takes slots for free before LEASE_CLOSED. */
#include "tests/plant/plant.h"

extern const struct plant plant_slots_early;
const struct plant plant_slots_early = {
    .name = "slots_early",
    .breaks = "the manager takes slots for free before LEASE_CLOSED",
    .checks = "slot-leased-twice,bounds",
};
