/* ok_early.c - a planted bug: the manager says APP_OK before the application is on stable storage. */
#include "tests/plant/plant.h"

extern const struct plant plant_ok_early;
const struct plant plant_ok_early = {
    .name = "ok_early",
    .breaks = "the manager says APP_OK before the application is on stable storage",
    .checks = "ok-after-persisted",
};
