/* budget.c - see budget.h. */
#include "engine/spill/budget.h"

#include <assert.h>

bool budget_reserve(struct run *r, uint64_t bytes)
{
    if (bytes > budget_left(r))
        return false;
    r->held += bytes;
    return true;
}

void budget_force(struct run *r, uint64_t bytes)
{
    r->held += bytes;
}

void budget_release(struct run *r, uint64_t bytes)
{
    assert(bytes <= r->held);
    r->held -= bytes;
}

uint64_t budget_left(const struct run *r)
{
    return r->held < r->budget ? r->budget - r->held : 0;
}
