/* cache.h - the folder of compiled jobs: bounded. */
#ifndef FERRO_CLI_CACHE_H
#define FERRO_CLI_CACHE_H

#define CACHE_JOBS_MAX 64
#define CACHE_BYTES_MAX (256ll << 20)

/* A job was taken from the cache: it is the newest again. */
void cache_used(const char *object);

/* Remove the jobs that were not used for longest until the rest is within both limits, and what compilers that
 * were killed have left. */
void cache_trim(const char *folder);

#endif
