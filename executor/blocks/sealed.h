/* sealed.h - bytes in a memfd that nobody can change any more: what hosts map and load. */
#ifndef FERRO_EXECUTOR_BLOCKS_SEALED_H
#define FERRO_EXECUTOR_BLOCKS_SEALED_H

#include <stddef.h>

/* A close-on-exec descriptor, or -1 with errno set. */
int sealed_memfd(const char *name, const void *p, size_t n);

#endif
