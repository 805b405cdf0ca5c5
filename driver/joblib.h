/* joblib.h - the job's library: opened, checked, loaded, and what else travels with it. */
#ifndef FERRO_DRIVER_JOBLIB_H
#define FERRO_DRIVER_JOBLIB_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/proto/proto.h"
#include "include/ferro.h"

#define JOBLIB_LIBS_MAX 64
#define JOBLIB_BYTES_MAX (1u << 30) /* of one library */

struct joblib {
    const struct ferro_job *job; /* in the loaded library, which stays loaded */
    int fd;                      /* of the library's file */
    uint32_t
        nlibs; /* the job's library first, then those it needs that are neither the system's nor Ferro's */
    struct rec_lib libs[JOBLIB_LIBS_MAX];
    struct bytes contents[JOBLIB_LIBS_MAX]; /* malloc'd */
};

/* Load it into this process.  -1 and `e`, which says what is wrong with it and what to do. */
int joblib_open(struct joblib *l, const char *path, struct error *e);
void joblib_close(struct joblib *l); /* its memory and descriptor; the code stays loaded */

#endif
