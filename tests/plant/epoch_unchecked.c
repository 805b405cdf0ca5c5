/* epoch_unchecked.c - a planted bug: an executor follows a manager of a lower epoch than it has seen. */
#include "tests/plant/plant.h"

extern const struct plant plant_epoch_unchecked;
const struct plant plant_epoch_unchecked = {
    .name = "epoch_unchecked",
    .breaks = "an executor follows a manager of a lower epoch than it has seen",
    .checks = "fence",
};
