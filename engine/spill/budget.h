/* budget.h - what operators hold, against what they may: run->held and run->budget.
 *
 * Gathering operators reserve before they grow; a refusal tells them to spill.
 */
#ifndef FERRO_SPILL_BUDGET_H
#define FERRO_SPILL_BUDGET_H

#include "engine/ops/op.h"

bool budget_reserve(struct run *r, uint64_t bytes); /* false: there is no room, nothing was reserved */
void budget_force(struct run *r,
                  uint64_t bytes); /* for what one can't do without, as a buffer to spill with */
void budget_release(struct run *r, uint64_t bytes);
uint64_t budget_left(const struct run *r);

#endif
