/* output.h - what a sink writes: bytes that become a result, or a part file.
 *
 * A result of at most RESULT_INLINE_BYTES_MAX travels in the report; a larger one
 * is a file in the host's scratch folder, which the executor takes over as a block.
 * A saved part goes into the staging file that the executor hands over, or, where
 * there is none, becomes a block too.  Staging files of a MiB and more are written with
 * O_DIRECT where the file system has it.
 */
#ifndef FERRO_ENGINE_OPS_OUTPUT_H
#define FERRO_ENGINE_OPS_OUTPUT_H

#include "engine/ops/op.h"

#define OUTPUT_WRITE_BYTES (1u << 20)

struct output {
    struct run *run;
    struct buf buf; /* owned; not written yet: append here, then output_drain() */
    int fd;         /* -1: none yet */
    bool staged;    /* fd is the executor's staging file */
    bool direct;    /* and written past the page cache */
    uint64_t written;
    bool complete; /* else output_fini() removes the file */
};

void output_init(struct output *o, struct run *r);
/* After an append: writes when a MiB has come together.  0, or -1 after run_fail(). */
int output_drain(struct output *o);
/* The end: fills the report's result, out_bytes and flags.  0, or -1 after run_fail().  Frees `o`'s own either way. */
int output_result(struct output *o);
int output_part(struct output *o);
/* The whole result: a frame of this one value.  As output_result(). */
int output_one(struct run *r, fe_type type, const void *value);
void output_fini(struct output *o); /* after a failure: nothing stays */

#endif
