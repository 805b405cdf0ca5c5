/* manager_generation_unchecked.c - a planted bug: the manager takes a frame of another generation than the connection has. */
#include "tests/plant/plant.h"

extern const struct plant plant_manager_generation_unchecked;
const struct plant plant_manager_generation_unchecked = {
    .name = "manager_generation_unchecked",
    .breaks = "the manager takes a frame of another generation than the connection has",
    .checks = "fence",
};
