/* collect.h - the limit of what the job's main takes in. */
#ifndef FERRO_ENGINE_OPS_COLLECT_H
#define FERRO_ENGINE_OPS_COLLECT_H

#define COLLECT_BYTES_MAX (1u << 30) /* in all: they lie in the driver's memory */

#endif
