/* told_before_adopted.c - a planted bug: an executor reports an output before it has taken the file over. */
#include "tests/plant/plant.h"

extern const struct plant plant_told_before_adopted;
const struct plant plant_told_before_adopted = {
    .name = "told_before_adopted",
    .breaks = "an executor reports an output before it has taken the file over",
    .checks = "ended-in-time,result,legitimate-cause,descriptor",
};
