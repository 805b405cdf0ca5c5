/* blocks_kept.c - a planted bug: an executor keeps an ended application's blocks. */
#include "tests/plant/plant.h"

extern const struct plant plant_blocks_kept;
const struct plant plant_blocks_kept = {
    .name = "blocks_kept",
    .breaks = "an executor keeps an ended application's blocks",
    .checks = "ended-in-time",
};
