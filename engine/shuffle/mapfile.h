/* mapfile.h - a map output: one file of runs, an index, a footer.
 *
 * Hash: each run is in bucket order; the index holds, for each run, the number of its first mark (runs + 1 of them), then
 * the marks: one for each bucket that has rows, where it begins and how many rows of the run come before it, and one for
 * the run's end.  So ten thousand maps of few rows each don't make a table of maps by buckets.
 * Range: each run is sorted; the index holds, for each run, the number of its first frame, in the same way, then every
 * frame's place and its first row's normal form.
 * The footer is the last thing: 8-aligned, with a checksum over the index and itself.  A spill is such a file without
 * a footer, its index still in memory.
 */
#ifndef FERRO_SHUFFLE_MAPFILE_H
#define FERRO_SHUFFLE_MAPFILE_H

#include "engine/frame.h"
#include "engine/spill/spillfile.h"
#include "engine/types.h"

#define MAP_RUNS_MAX 65536u
#define MAP_BUCKETS_MAX 65536u
#define MAP_INDEX_BYTES_MAX (1u << 30)

enum map_kind { MAP_HASH = 1, MAP_RANGE };

struct map_mark {
    uint64_t offset;
    uint32_t bucket, rows; /* rows: of the run, before it; bucket: at the run's end the number of buckets */
};
struct map_frame {
    uint64_t offset;
    uint32_t rows, n; /* n: bytes of `first` */
    uint8_t first[NORMAL_BYTES_MAX];
};
struct map_footer {
    uint64_t magic;
    uint32_t kind, runs, buckets, zero;
    uint64_t index_offset, index_bytes, rows;
    uint64_t xxh3;
};

/* ---- writing ------------------------------------------------------------------ */

struct mapfile {
    struct spillfile file; /* owned */
    enum map_kind kind;
    enum frame_codec codec;
    uint32_t runs, buckets;
    uint64_t rows;
    struct buf index, firsts; /* owned; firsts: the number of each run's first mark or frame (u64) */
    uint64_t marked;          /* rows of this run before now */
};

/* `temporary`: a spill; else the attempt's output, compressed when it goes to other hosts.  0, or -1 after run_fail(). */
int mapfile_open(struct mapfile *m, struct run *r, enum map_kind kind, uint32_t buckets, bool temporary);
int mapfile_run(struct mapfile *m); /* a run begins */
/* Hash: this bucket begins, and has rows; or, with the number of buckets, the run ends. */
int mapfile_mark(struct mapfile *m, uint32_t bucket);
/* A frame of so many rows is about to be put into file.pending, with m->codec; settle the file then.  Range: with its first
 * row's normal form. */
void mapfile_note(struct mapfile *m, uint32_t rows, const uint8_t *normal, uint32_t n);
/* A frame of these rows, noted and put. */
int mapfile_put(struct mapfile *m, const struct batch *b, const uint8_t *normal, uint32_t n);
/* hash: a frame as frame_put() makes it, with the file's codec. */
int mapfile_append(struct mapfile *m, const void *frame, uint32_t bytes, uint32_t rows);
/* Index and footer, then fill the report: out_bytes, sizes (hash), rows, REPORT_ON_DISK. */
int mapfile_finish(struct mapfile *m);
void mapfile_close(struct mapfile *m); /* safe on a zeroed one */

/* ---- reading ------------------------------------------------------------------ */

struct map_index {
    enum map_kind kind;
    uint32_t runs, buckets;
    uint64_t end;                   /* of the last run: where the index begins */
    const uint64_t *firsts;         /* of `runs`; and one more, but in a spill under way */
    uint64_t n;                     /* marks or frames */
    const struct map_mark *marks;   /* hash */
    const struct map_frame *frames; /* range */
};

/* Is that the footer of a file of `total` bytes, of this kind?  -1 and `e` otherwise. */
int mapfile_footer(const struct map_footer *f, uint64_t total, enum map_kind kind, struct error *e);
/* The index (8-aligned, f->index_bytes), every offset in it checked.  `out` borrows from it. */
int mapfile_index(const struct map_footer *f, const uint8_t *index, struct map_index *out, struct error *e);
/* The index of a spill under way, its runs all ended. */
void mapfile_view(const struct mapfile *m, struct map_index *out);

/* Where this bucket of a run begins, or would: with `hi`'s, the bytes and rows of buckets lo..hi-1.  At most `buckets`. */
const struct map_mark *map_mark(const struct map_index *x, uint32_t run, uint32_t bucket);
/* Where frame `i` ends. */
static inline uint64_t map_frame_end(const struct map_index *x, uint64_t i)
{
    return i + 1 < x->n ? x->frames[i + 1].offset : x->end;
}

#endif
