/* runtime.h - what libferro's API needs from the process that runs a job's main.
 *
 * ferro-driver fills a struct runtime and calls ferro_job_main() in a thread of
 * its own.  Actions block that thread; the driver's loop runs in another.
 */
#ifndef FERRO_API_RUNTIME_H
#define FERRO_API_RUNTIME_H

#include "driver/api/names.h"
#include "driver/sched/job.h"
#include "include/ferro.h"

/* How a job went, and what it gave back. */
struct job_outcome {
    int code; /* 0, or -1: `words` says why (already printed for people) */
    struct error why;
    uint64_t rows;     /* that the tasks of its last stage put out, each task counted once */
    uint64_t nresults; /* results in partition order; each malloc'd, freed by runtime->release */
    struct bytes *results;
};

struct runtime {
    void *user;
    /* Run a job to its end; called by the job's thread, blocks.  0 or -1 as outcome->code. */
    int (*run)(void *user, const struct job_spec *job, struct job_outcome *outcome);
    void (*release)(void *user, struct job_outcome *outcome);
    /* Serve a block until the application ends; its bytes are copied. */
    void (*serve)(void *user, const struct served_block *block);
    /* The same of files that executors may not see, as they are now: takes what `files` holds, and empties it. */
    void (*serve_files)(void *user, struct names *files);
    /* What executors keep of the cached dataset with this number goes. */
    void (*forget)(void *user, uint64_t keep);
    /* Make the output folder and its token ("OUT/_ferro/<app>/token"): fills the token; an existing
     * output without --overwrite is an error. */
    int (*save_open)(void *user, const char *dir, uint8_t token[ID_BYTES], struct error *e);
    void (*say)(void *user, const char *words);
    uint32_t parallelism; /* slots asked for: what "parts 0" leans on */
    uint64_t split_bytes; /* 32 MiB */
    int library_fd;       /* the job's library, for fn offsets: see dladdr */
};

/* Run the job's main: returns its exit code: 0 ok, 3 an action failed (or main returned non-zero after one did),
 * 1 main returned non-zero by itself.  `returned` (may be NULL): what main itself returned. */
FERRO_API int ferro_job_main(const struct ferro_job *job, int argc, char **argv,
                             const struct runtime *runtime, int *returned);

#endif
