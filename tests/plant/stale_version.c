/* stale_version.c - a planted bug: an executor replaces a STAGE by an earlier version. */
#include "tests/plant/plant.h"

extern const struct plant plant_stale_version;
const struct plant plant_stale_version = {
    .name = "stale_version",
    .breaks = "an executor replaces a STAGE by an earlier version",
    .checks = "stage-version",
};
