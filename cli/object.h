/* object.h - is a shared object a job?  Looked at, not loaded. */
#ifndef FERRO_CLI_OBJECT_H
#define FERRO_CLI_OBJECT_H

#include "common/base/error.h"

/* Does the object have what FERRO_JOB defines?  `job` is what it was made of, for words.  0, or -1 and `e`. */
int object_check(const char *job, const char *object, struct error *e);

#endif
