/* leased_twice.c - a planted bug: the manager leases slots that are leased already. */
#include "tests/plant/plant.h"

extern const struct plant plant_leased_twice;
const struct plant plant_leased_twice = {
    .name = "leased_twice",
    .breaks = "the manager leases slots that are leased already",
    .checks = "slot-leased-twice,bounds",
};
