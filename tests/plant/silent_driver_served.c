/* silent_driver_served.c - a planted bug: an executor goes on serving an application whose driver is silent. */
#include "tests/plant/plant.h"

extern const struct plant plant_silent_driver_served;
const struct plant plant_silent_driver_served = {
    .name = "silent_driver_served",
    .breaks = "an executor goes on serving an application whose driver is silent",
    .checks = "bounds",
};
