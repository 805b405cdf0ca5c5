/* slots_oversold.c - a planted bug: an executor opens leases for more slots than it has. */
#include "tests/plant/plant.h"

extern const struct plant plant_slots_oversold;
const struct plant plant_slots_oversold = {
    .name = "slots_oversold",
    .breaks = "an executor opens leases for more slots than it has",
    .checks = "slot-leased-twice,bounds",
};
