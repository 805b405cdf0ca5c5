/* descriptor.h - does this Ferro, on this processor, run that job? */
#ifndef FERRO_ENGINE_DESCRIPTOR_H
#define FERRO_ENGINE_DESCRIPTOR_H

#include "common/base/error.h"
#include "include/ferro.h"

/* Asked of its descriptor by the driver and by each task host, before any of its code is called.  `library` names
 * it in `e`, which says what to do.  0 or -1. */
FERRO_API int ferro_job_check(const struct ferro_job *job, const char *library, struct error *e);

#endif
