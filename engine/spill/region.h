/* region.h - large memory of a task: 2 MiB-aligned, in huge pages, kept between tasks.
 *
 * A region is address space; what is touched of it becomes memory.  Whoever takes one accounts for what it
 * touches (budget.h).  Contents are undefined: zero what must be zero.
 */
#ifndef FERRO_SPILL_REGION_H
#define FERRO_SPILL_REGION_H

#include <stddef.h>

#define REGION_KEPT_BYTES_MAX (64u << 20) /* touched bytes that stay with the process when idle */

void *region_take(size_t bytes); /* aborts when there is no address space, saying so */
/* Its first `touched` bytes may have been written to. */
void region_give(void *p, size_t bytes, size_t touched);

#endif
