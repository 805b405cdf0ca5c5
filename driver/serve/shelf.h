/* shelf.h - libraries of running applications: DIR/app-<N>/job.so. */
#ifndef FERRO_SERVE_SHELF_H
#define FERRO_SERVE_SHELF_H

#include "common/base/error.h"
#include "common/core/step.h"

struct shelf;

struct shelf_done {
    uint64_t id;
    int64_t result; /* bytes, 0 or -errno */
};

/* Take a folder (NULL: make a temporary one), for this process alone; what an earlier one left there goes. */
struct shelf *shelf_new(const char *dir, struct error *e);
void shelf_free(struct shelf **s); /* removes what it made */
const char *shelf_library(const struct shelf *s, uint64_t app, char *out, size_t size);

/* IO_WRITE or IO_FREE, in a thread of its own, one after the other. */
void shelf_put(struct shelf *s, const struct action *act);
int shelf_fd(const struct shelf *s);
bool shelf_take(struct shelf *s, struct shelf_done *out);

#endif
