/* resources.h - how much of this machine is ours: by cores, affinity and control groups, of either version. */
#ifndef FERRO_EXECUTOR_RESOURCES_H
#define FERRO_EXECUTOR_RESOURCES_H

#include <stdint.h>

struct resources {
    uint64_t slots;  /* at least 1 */
    uint64_t memory; /* bytes that this process and its children may use */
};

/* `root` goes before /proc and /sys: "" but in tests. */
void resources_find(const char *root, struct resources *out);

#endif
