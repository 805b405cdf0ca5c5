/* claims_kept.c - a planted bug: the manager keeps a claim that no executor confirms. */
#include "tests/plant/plant.h"

extern const struct plant plant_claims_kept;
const struct plant plant_claims_kept = {
    .name = "claims_kept",
    .breaks = "the manager keeps a claim that no executor confirms",
    .checks = "bounds",
};
