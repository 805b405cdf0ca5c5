/* ask_stale.c - a planted bug: the manager takes an ASK that a later one has replaced. */
#include "tests/plant/plant.h"

extern const struct plant plant_ask_stale;
const struct plant plant_ask_stale = {
    .name = "ask_stale",
    .breaks = "the manager takes an ASK that a later one has replaced",
    .checks = "ask-latest",
};
