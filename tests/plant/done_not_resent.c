/* done_not_resent.c - a planted bug: an executor does not resend unacknowledged DONEs on a new connection. */
#include "tests/plant/plant.h"

extern const struct plant plant_done_not_resent;
const struct plant plant_done_not_resent = {
    .name = "done_not_resent",
    .breaks = "an executor does not resend unacknowledged DONEs on a new connection",
    .checks = "nothing-else-again",
};
