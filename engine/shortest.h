/* shortest.h - an ordinary double as text, without printf's microsecond. */
#ifndef FERRO_ENGINE_SHORTEST_H
#define FERRO_ENGINE_SHORTEST_H

#include <stdint.h>

/* What printf's %.15g, %.16g or %.17g writes, the first that reads back as `f`; not terminated.  Returns how many
 * bytes (at most 24), or 0: f is not one of those that this can (of size 1e-4 to below 1e15), and nothing is written. */
uint32_t shortest_put(char *out, double f);

#endif
