/* rows.h - collected records, inside libferro. */
#ifndef FERRO_API_ROWS_H
#define FERRO_API_ROWS_H

#include "driver/api/runtime.h"

/* Takes over the outcome's results, whose frames hold records of these types; at most `limit` rows count (0: all).
 * NULL and `e` when a frame is broken: then the outcome is still the caller's. */
fe_rows *rows_new(const struct runtime *runtime, struct job_outcome *outcome, fe_type key, fe_type value,
                  uint64_t limit, struct error *e);

#endif
