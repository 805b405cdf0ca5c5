/* stale_version.c - a planted bug: an executor takes an older version of a STAGE for a newer one. */
#include "tests/plant/plant.h"

extern const struct plant plant_stale_version;
const struct plant plant_stale_version = {
    .name = "stale_version",
    .breaks = "an executor takes an older version of a STAGE for a newer one",
    .checks = "ended-in-time,result,legitimate-cause",
};
