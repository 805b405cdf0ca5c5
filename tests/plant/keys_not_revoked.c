/* keys_not_revoked.c - a planted bug: an executor goes on admitting an application's keys after its end. */
#include "tests/plant/plant.h"

extern const struct plant plant_keys_not_revoked;
const struct plant plant_keys_not_revoked = {
    .name = "keys_not_revoked",
    .breaks = "an executor goes on admitting an application's keys after its end",
    .checks = "app-end-left",
};
