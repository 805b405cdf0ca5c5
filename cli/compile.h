/* compile.h - from a job's source to its shared object, as `ferro cc` does it. */
#ifndef FERRO_CLI_COMPILE_H
#define FERRO_CLI_COMPILE_H

#include "common/base/arena.h"
#include "common/base/error.h"

#include <stdbool.h>

/* Where ferro's own files lie, found from /proc/self/exe: a checkout's build
 * folder or an installation. */
struct places {
    char bin[4096];     /* the folder of ferro, ferro-driver ... */
    char include[4096]; /* holds ferro.h */
    char lib[4096];     /* holds libferro.so.0 */
};
int places_find(struct places *p, struct error *e);

bool is_source(const char *path); /* .c, .cc, .cpp, .cxx */

/* Compile `source` to `out` with ferro's flags and then `extra` (NULL-ended; may
 * be NULL).  The compiler's messages go to stderr as they are. */
int compile_to(const char *source, const char *out, char *const *extra, struct error *e);

/* The shared object of `job`: itself when it is one, else the compiled source,
 * from the cache when nothing it was made of has changed.  The path lives in `a`. */
const char *compile_cached(struct arena *a, const char *job, struct error *e);

#endif
