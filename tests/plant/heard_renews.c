/* heard_renews.c - a planted bug: the manager takes any traffic for an echoed beat. */
#include "tests/plant/plant.h"

extern const struct plant plant_heard_renews;
const struct plant plant_heard_renews = {
    .name = "heard_renews",
    .breaks = "the manager takes any traffic for an echoed beat",
    .checks = "bounds",
};
