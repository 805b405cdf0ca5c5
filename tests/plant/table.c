/* table.c - all planted bugs, and which one is on. */
#include "tests/plant/plant.h"

#include "common/core/step.h"

#include <string.h>

#define PLANTS(P) \
    P(hosts_not_reaped) \
    P(keys_not_revoked) \
    P(done_not_resent) \
    P(stale_version)

#define P(name) extern const struct plant plant_##name;
PLANTS(P)
#undef P

const struct plant *const plants[] = {
#define P(name) &plant_##name,
    PLANTS(P)
#undef P
};
const uint32_t plants_n = sizeof plants / sizeof *plants;

static const char *chosen;

void plant_choose(const char *name)
{
    chosen = name;
}

bool plant_on(const char *name)
{
    return chosen && strcmp(chosen, name) == 0;
}
