/* mapfile.h - a map output: one file of runs, an index, a footer.
 *
 * Hash: each run is in bucket order; the index holds, for each run, buckets + 1 marks: where the bucket begins, and how
 * many rows of the run come before it.  Range: each run is sorted; the index holds, for each run, the number of its
 * first frame (runs + 1 of them), then every frame's place and its first row's normal form.
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
    uint64_t offset, rows;
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
    struct buf index, firsts; /* owned; firsts: range, the number of each run's first frame (u64) */
    uint64_t marked;          /* hash: rows of this run before now */
};

/* `temporary`: a spill; else the attempt's output, compressed when it goes to other hosts.  0, or -1 after run_fail(). */
int mapfile_open(struct mapfile *m, struct run *r, enum map_kind kind, uint32_t buckets, bool temporary);
int mapfile_run(struct mapfile *m);   /* a run begins */
void mapfile_mark(struct mapfile *m); /* hash: the next bucket begins; once more at the run's end */
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
    const struct map_mark *marks;   /* hash */
    const uint64_t *firsts;         /* range */
    const struct map_frame *frames; /* range */
};

/* Is that the footer of a file of `total` bytes, of this kind?  -1 and `e` otherwise. */
int mapfile_footer(const struct map_footer *f, uint64_t total, enum map_kind kind, struct error *e);
/* The index (8-aligned, f->index_bytes), every offset in it checked.  `out` borrows from it. */
int mapfile_index(const struct map_footer *f, const uint8_t *index, struct map_index *out, struct error *e);
/* The index of a spill under way, its runs all ended. */
void mapfile_view(const struct mapfile *m, struct map_index *out);

/* Bytes and rows of buckets lo..hi-1 in a run. */
static inline const struct map_mark *map_mark(const struct map_index *x, uint32_t run, uint32_t bucket)
{
    return &x->marks[(size_t)run * (x->buckets + 1) + bucket];
}
/* Where frame `i` ends. */
static inline uint64_t map_frame_end(const struct map_index *x, uint64_t i)
{
    return i + 1 < x->firsts[x->runs] ? x->frames[i + 1].offset : x->end;
}

#endif
