/* grant_early.c - a planted bug: the manager grants a lease before its executor has opened it. */
#include "tests/plant/plant.h"

extern const struct plant plant_grant_early;
const struct plant plant_grant_early = {
    .name = "grant_early",
    .breaks = "the manager grants a lease before its executor has opened it",
    .checks = "grant-after-opened",
};
