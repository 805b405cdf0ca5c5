/* clock.h - the two clocks.  Only shells read them: cores are told the time. */
#ifndef FERRO_BASE_CLOCK_H
#define FERRO_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ns(void);  /* monotonic, and goes on while the machine sleeps (CLOCK_BOOTTIME) */
uint64_t clock_unix_ms(void); /* since 1970, for what people read and what is stored */

#endif
