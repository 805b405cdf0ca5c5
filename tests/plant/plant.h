/* plant.h - planted bugs: what the simulator must be able to catch.
 *
 * Each has a file here and a switch FERRO_PLANT(name) in a core, which is no code
 * at all outside the simulator's build.  A run has one at most.
 */
#ifndef FERRO_PLANT_PLANT_H
#define FERRO_PLANT_PLANT_H

#include <stdbool.h>
#include <stdint.h>

struct plant {
    const char *name;   /* the switch's */
    const char *breaks; /* what is wrong with it on */
    const char *checks; /* names of the simulator's checks that must catch it, by commas */
};

extern const struct plant *const plants[];
extern const uint32_t plants_n;

/* Does each switch in the cores' sources (below the working directory) have a row, and each row a switch? */
bool plant_switches_agree(void);

void plant_choose(const char *name); /* NULL: none */

#endif
