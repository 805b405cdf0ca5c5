/* ask_stale.c - a planted bug: the manager takes an older ASK for a newer one. */
#include "tests/plant/plant.h"

extern const struct plant plant_ask_stale;
const struct plant plant_ask_stale = {
    .name = "ask_stale",
    .breaks = "the manager takes an older ASK for a newer one",
    .checks = "ended-in-time",
};
