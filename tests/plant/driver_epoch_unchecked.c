/* driver_epoch_unchecked.c - a planted bug: an executor takes an ATTACH of an epoch before that of its driver's last. */
#include "tests/plant/plant.h"

extern const struct plant plant_driver_epoch_unchecked;
const struct plant plant_driver_epoch_unchecked = {
    .name = "driver_epoch_unchecked",
    .breaks = "an executor takes an ATTACH of an epoch before that of its driver's last",
    .checks = "fence",
};
