/* option_values.h - one option's value from text, and what its type allows: for options.c alone. */
#ifndef FERRO_BASE_OPTION_VALUES_H
#define FERRO_BASE_OPTION_VALUES_H

#include "common/base/options.h"

/* Parse text into *field by the row's type and range (not for OPT_LIST).  0 or -1; then *field is untouched. */
int option_value_read(const struct option_row *row, const char *text, void *field);

/* What is allowed, after "is not": "a whole number from 1 to 4096".  Returns out. */
const char *option_value_allowed(const struct option_row *row, char *out, size_t size);

#endif
