/* slots_oversold.c - a planted bug: an executor opens a lease of slots that it has not got. */
#include "tests/plant/plant.h"

extern const struct plant plant_slots_oversold;
const struct plant plant_slots_oversold = {
    .name = "slots_oversold",
    .breaks = "an executor opens a lease of slots that it has not got",
    .checks = "slot-leased-twice,bounds",
};
