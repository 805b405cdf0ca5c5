/* read.h - the map outputs of a shuffle, as a reduce task reads them.
 *
 * In windows of 64: first everybody's footer (of small ones: all of it), then of each run the wanted stretch where that
 * did not come along.  What a block lacks or contradicts ends the attempt with CAUSE_FETCH and the map's name.
 */
#ifndef FERRO_SHUFFLE_READ_H
#define FERRO_SHUFFLE_READ_H

#include "engine/shuffle/mapfile.h"
#include "engine/spill/stream.h"

#define READ_TAIL_BYTES (16u << 10)   /* index and footer of ordinary bucket counts */
#define READ_WHOLE_BYTES (256u << 10) /* files up to here come in one piece */

/* One map output of the window. */
struct read_map {
    const struct rec_map *map;
    int fd;             /* owned; the tail, or all of it */
    uint64_t base, end; /* what fd has of the file */
    struct map_footer footer;
    struct buf index_bytes; /* owned */
    struct map_index index;
};

/* A stretch of a run: rows in `rows`, at `at`..`end` of fd. */
struct read_run {
    uint32_t map; /* of the window */
    uint32_t run; /* of the map */
    int fd;       /* borrowed from the map, or owned */
    bool own;
    uint64_t at, end, rows;
    bool first, last; /* range: rows outside the cuts may be at its beginning, at its end */
};

struct read {
    struct run *run; /* borrowed */
    enum map_kind kind;
    uint32_t shuffle;       /* the map stage */
    uint32_t lo, hi;        /* hash: buckets lo..hi-1 */
    struct bytes low, high; /* range: normal forms, low <= row < high */
    bool has_low, has_high;
    uint32_t next; /* index into the STAGE's maps */
    struct read_map maps[HOST_FDS_MAX];
    uint32_t nmaps;
    struct buf runs; /* owned: struct read_run of the window; those of no rows are left out */
    struct buf kept; /* owned: descriptors (int) of earlier windows, see read_keep() */
    uint32_t nruns;
    uint64_t rows; /* of the window, before cutting */
    uint64_t most; /* rows of the largest run: as many keys at least, where maps combine */
};

/* What partition leaf->part of the input reads.  0, or -1 after run_fail(). */
int read_init(struct read *rd, struct run *r, const struct leaf *leaf, enum map_kind kind);
/* hash: partition `part` of the input has buckets *lo..*hi-1.  0, or -1 after run_fail(). */
int read_bucket_range(struct run *r, const struct rec_input *in, uint32_t part, uint32_t *lo, uint32_t *hi);
/* The next window: 1, 0 when there is none, -1 after run_fail(). */
int read_window(struct read *rd);
/* Is this the last window? */
bool read_last(const struct read *rd);
/* hash: the part of the window's i-th run that has buckets lo..hi-1. */
struct read_run read_buckets(const struct read *rd, uint32_t i, uint32_t lo, uint32_t hi);
static inline struct read_run *read_run(struct read *rd, uint32_t i)
{
    return (struct read_run *)(void *)rd->runs.p + i;
}
/* What to ask for: all of this map's output. */
struct rec_want read_want(const struct rec_map *map);
/* End the attempt: this map's output can't be used, or was not given.  Return -1. */
int read_got_fail(struct run *r, const struct rec_map *map, const struct rec_got *got);
int read_fail(struct run *r, const struct rec_map *map, const char *words);
/* Start on run `i`. */
void read_stream(struct read *rd, uint32_t i, fe_type key, fe_type value, uint32_t step, struct stream *out);
/* The descriptors of the window under way stay open beyond it, until read_drop().  How many there are by now. */
uint32_t read_keep(struct read *rd);
void read_drop(struct read *rd);
void read_fini(struct read *rd);

#endif
