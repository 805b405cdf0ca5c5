/* read_join.c - a join's leaf: the rows of one side of a range of buckets gathered, those of the other streamed past them.
 *
 * What does not fit into memory is parted, both sides alike, by further bits of the hash, into 64 parts on disk; each
 * part is then joined by itself, and parted further if it has to be.  Rows that no hash can part, because too many have
 * one key, are gathered in pieces, and the other side is read again for each piece.
 */
#include "engine/join/maker.h"
#include "engine/join/pairs.h"
#include "engine/shuffle/intake.h"

#include <stdlib.h>

#define SHRINKS 8u /* a part that still has more than 7 eighths of the rows is not parted again */

/* Both sides on disk, and the part that comes next. */
struct level {
    struct mapfile spill[2];
    uint32_t part;
};

struct read_join {
    struct op op;
    struct run *run;
    struct leaf leaf;
    struct intake sides[2]; /* left, right */
    uint32_t lo, hi;        /* buckets */
    uint32_t buckets;
    uint32_t gathered; /* which side is, in: */
    struct maker maker;
    struct lookup lookup;
    struct lookups lookups;
    const struct batch
        *rest; /* of the gathered side: rows from `from` on that were too many; NULL: all are in */
    uint32_t from;
    bool begun, streams; /* streams: the other side is under way */
    struct pairs pairs;
    struct level levels[SPILL_LEVELS];
    uint32_t depth;
};

static fe_type value_of(const struct read_join *j, uint32_t side)
{
    return side ? j->leaf.node->other : j->leaf.node->in_value;
}

/* ---- gathering one side -------------------------------------------------------------- */

static void maker_for(struct read_join *j, uint32_t side)
{
    fe_type value = value_of(j, side);
    if (j->maker.records && j->maker.value == value) {
        maker_clear(&j->maker);
        return;
    }
    maker_fini(&j->maker);
    maker_init(&j->maker, j->run, j->leaf.node->in_key, value, j->run->budget / 2);
}

/* Rows of the side into the maker, from where it was full the last time.  0: all are in, 1: full, -1 after run_fail(). */
static int gather(struct read_join *j, uint32_t side)
{
    int got = 1;
    for (;;) {
        if (!j->rest) {
            j->from = 0;
            if ((got = intake_next(&j->sides[side], &j->rest)) <= 0) {
                j->rest = NULL;
                return got;
            }
        }
        const uint64_t *hash = j->from ? j->sides[side].hash : intake_hash(&j->sides[side]);
        if (j->rest->hash)
            hash = j->rest->hash;
        if (maker_add(&j->maker, j->rest, hash, &j->from))
            return 1;
        j->rest = NULL;
    }
}

static void look_in(struct read_join *j)
{
    maker_finish(&j->maker, j->lo, j->hi, j->buckets, &j->lookup);
    j->lookups.one = &j->lookup;
    j->pairs.lookups = &j->lookups;
    j->pairs.swapped = j->gathered == 0;
    j->streams = true;
}

/* ---- parts on disk ------------------------------------------------------------------- */

/* What the maker holds and what is left of the side, into its spill at this level. */
static int spill_side(struct read_join *j, uint32_t side)
{
    struct mapfile *spill = &j->levels[j->depth].spill[side];
    struct split split = { .buckets = SPILL_BUCKETS, .spill = true, .level = j->depth };
    int full;
    if (mapfile_open(spill, j->run, MAP_HASH, SPILL_BUCKETS, true))
        return -1;
    do {
        full = gather(j, side);
        if (full < 0 || maker_flush(&j->maker, spill, &split))
            return -1;
    } while (full);
    return spillfile_flush(&spill->file);
}

static int spill_both(struct read_join *j)
{
    uint32_t other = !j->gathered;
    if (spill_side(j, j->gathered))
        return -1;
    maker_for(j, other);
    if (spill_side(j, other))
        return -1;
    j->levels[j->depth++].part = 0;
    return 0;
}

static void level_close(struct read_join *j, uint32_t depth)
{
    mapfile_close(&j->levels[depth].spill[0]);
    mapfile_close(&j->levels[depth].spill[1]);
}

struct extent {
    uint64_t bytes, rows, of; /* of: rows of all parts */
};

static struct extent part_extent(const struct mapfile *spill, uint32_t part)
{
    struct map_index x;
    struct extent n = { 0 };
    mapfile_view(spill, &x);
    for (uint32_t r = 0; r < x.runs; r++) {
        n.bytes += map_mark(&x, r, part + 1)->offset - map_mark(&x, r, part)->offset;
        n.rows += map_mark(&x, r, part + 1)->rows - map_mark(&x, r, part)->rows;
        n.of += map_mark(&x, r, SPILL_BUCKETS)->rows;
    }
    return n;
}

static void part_open(struct read_join *j, uint32_t side)
{
    const struct level *l = &j->levels[j->depth - 1];
    intake_part(&j->sides[side], j->run, &l->spill[side], l->part - 1, j->leaf.node->in_key,
                value_of(j, side));
}

/* The next part of the deepest level: gathered, or parted again. */
static int next_part(struct read_join *j)
{
    struct level *l = &j->levels[j->depth - 1];
    uint32_t part = l->part++;
    struct extent n[2] = { part_extent(&l->spill[0], part), part_extent(&l->spill[1], part) };
    if (n[0].rows == 0 || n[1].rows == 0)
        return 0;
    part_open(j, 0);
    part_open(j, 1);
    j->gathered = n[1].bytes <= n[0].bytes;
    maker_for(j, j->gathered);
    int full = gather(j, j->gathered);
    if (full < 0)
        return -1;
    const struct extent *most = &n[j->gathered];
    if (full && j->depth < SPILL_LEVELS && most->rows <= most->of - most->of / SHRINKS)
        return spill_both(j);
    look_in(j);
    return 0;
}

/* ---- what is streamed ------------------------------------------------------------------ */

/* Bytes that all maps wrote for a side: which one is the smaller in this range too, most likely. */
static uint64_t side_bytes(const struct read_join *j, uint32_t side)
{
    const struct msg_stage *stage = j->run->stage;
    const struct rec_input *in = &stage->inputs.v[j->leaf.input];
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < stage->maps.n; i++)
        if (stage->maps.v[i].stage == (side ? in->other : in->shuffle))
            bytes += stage->maps.v[i].bytes;
    return bytes;
}

static int begin(struct read_join *j)
{
    j->begun = true;
    j->gathered = side_bytes(j, 1) <= side_bytes(j, 0);
    maker_for(j, j->gathered);
    int full = gather(j, j->gathered);
    if (full < 0)
        return -1;
    if (full)
        return spill_both(j);
    if (j->maker.n)
        look_in(j);
    return 0;
}

/* The streamed side is at its end: once more for the next piece of the other, if there is one. */
static int next_piece(struct read_join *j)
{
    j->streams = false;
    if (!j->rest)
        return 0;
    maker_clear(&j->maker);
    if (gather(j, j->gathered) < 0)
        return -1;
    part_open(j, !j->gathered);
    look_in(j);
    return 0;
}

/* pairs_pull */
static int next_streamed(void *user, const struct batch **out)
{
    struct read_join *j = user;
    int failed = j->begun ? 0 : begin(j);
    while (!failed) {
        if (j->streams) {
            int got = intake_next(&j->sides[!j->gathered], out);
            if (got)
                return got;
            failed = next_piece(j);
        } else if (j->depth == 0)
            return 0;
        else if (j->levels[j->depth - 1].part == SPILL_BUCKETS)
            level_close(j, --j->depth);
        else
            failed = next_part(j);
    }
    return -1;
}

/* ---- the operator ---------------------------------------------------------------------- */

static int read_join_next(struct op *op, const struct batch **out)
{
    return pairs_next(&((struct read_join *)op)->pairs, out);
}

static void read_join_free(struct op *op)
{
    struct read_join *j = (struct read_join *)op;
    for (uint32_t i = 0; i < SPILL_LEVELS; i++)
        level_close(j, i);
    maker_fini(&j->maker);
    intake_fini(&j->sides[0]);
    intake_fini(&j->sides[1]);
    pairs_fini(&j->pairs);
    free(j);
}

struct op *op_read_join(struct run *r, const struct leaf *leaf)
{
    struct read_join *j = calloc(1, sizeof *j);
    const struct plan_node *n = leaf->node;
    if (!j)
        abort();
    j->op = (struct op){ read_join_next, read_join_free };
    j->run = r;
    j->leaf = *leaf;
    pairs_init(&j->pairs, r, n, next_streamed, j);
    if (intake_maps(&j->sides[0], r, leaf, false, n->in_key, n->in_value) == 0 &&
        intake_maps(&j->sides[1], r, leaf, true, n->in_key, n->other) == 0) {
        j->lo = j->sides[0].read.lo;
        j->hi = j->sides[0].read.hi;
        j->buckets = n->buckets;
        return &j->op;
    }
    read_join_free(&j->op);
    return NULL;
}
