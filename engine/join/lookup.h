/* lookup.h - the rows of one side of a join, to be found by their keys: in memory, or in a file that is mapped.
 *
 * Rows lie in the order of their keys' hashes.  A directory with about an entry a row divides the hashes that may come
 * into equal stretches, and says which row is the first of each: finding a row takes one cache miss in the small
 * directory and one among the rows, and what is known of a bucket lies together.
 *
 * A record is a word, which is the key of a number and else the key's hash; then the key, unless it is a number, and the
 * value, both 8-aligned.  Texts, and rows of over 64 bytes, lie in `far` instead, where the record says: as in rows.h.
 * Records of one entry are in the order of their words.
 */
#ifndef FERRO_JOIN_LOOKUP_H
#define FERRO_JOIN_LOOKUP_H

#include "common/base/error.h"
#include "engine/shuffle/rows.h"
#include "engine/types.h"

#define LOOKUP_RECORD_MAX 64u /* bytes; larger ones lie far */
#define LOOKUP_FEW 3          /* few entries have more rows before the one that is looked for */

struct lookup {
    fe_type key, value;
    uint32_t stride;           /* bytes of a record */
    uint32_t lo, hi, buckets;  /* has the rows of buckets lo..hi-1 */
    uint64_t base, scale;      /* entry of a hash: lookup_entry() */
    uint64_t rows, entries;    /* below 2^32 */
    const uint32_t *directory; /* entries + 1 */
    const uint8_t *records;
    const uint8_t *far; /* NULL: all is in the records */
    uint64_t far_bytes;
};

/* A key being looked for.  It takes four steps with a memory access each, which the one before it has announced: who has
 * many keys takes each step for some of them before the next one, and waits for none (pairs.c). */
struct match {
    const struct lookup *lookup;
    const uint32_t *entry; /* after lookups_seek() */
    uint32_t at,
        end; /* after match_arrive(): where its rows may be; after match_settle(): from `at` on, if at all */
};

/* Several that share out the buckets between them. */
struct lookups {
    const struct lookup *one; /* not NULL: it has all that is asked for */
    const struct lookup *all;
    const uint32_t *of; /* by bucket: number in `all` */
    uint32_t buckets;
};

/* The layout of records: their size, and whether they lie far. */
uint32_t lookup_stride(fe_type key, fe_type value, bool *far);
/* What entry the hashes of a lookup's buckets fall into: fills base and scale from the other fields. */
void lookup_scale(struct lookup *l);

static inline uint64_t lookup_entry(const struct lookup *l, uint64_t hash)
{
    uint64_t entry = (uint64_t)((unsigned __int128)(hash - l->base) * l->scale >> 64);
    return entry < l->entries ? entry
                              : l->entries - 1; /* rows of other buckets: only a lying map writes such */
}

static inline const uint8_t *lookup_record(const struct lookup *l, uint32_t row)
{
    return l->records + (uint64_t)row * l->stride;
}

static inline uint64_t record_word(const uint8_t *record)
{
    uint64_t word;
    memcpy(&word, record, sizeof word);
    return word;
}

static inline uint64_t lookup_word(fe_type t, fe_slice key, uint64_t hash)
{
    return t == FERRO_I64   ? record_word((const uint8_t *)key.p)
           : t == FERRO_F64 ? type_f64_bits(key.p)
                            : hash;
}

/* The hash of a record's key. */
static inline uint64_t record_hash(const uint8_t *record, fe_type key)
{
    return type_is_number(key) ? type_hash(FERRO_I64, (fe_slice){ (const char *)record, sizeof(uint64_t) })
                               : record_word(record);
}

/* Key and value of a record; `far` as in struct lookup. */
void record_row(const uint8_t *record, fe_type key, fe_type value, const uint8_t *far, struct row *out);

static inline void lookups_seek(const struct lookups *t, uint64_t hash, struct match *m)
{
    m->lookup = t->one ? t->one : &t->all[t->of[(hash >> 32) * t->buckets >> 32]];
    m->entry = &m->lookup->directory[lookup_entry(m->lookup, hash)];
    __builtin_prefetch(m->entry);
}

static inline void match_arrive(struct match *m)
{
    m->at = m->entry[0];
    m->end = m->entry[1];
    const uint8_t *first = lookup_record(m->lookup, m->at), *behind = lookup_record(m->lookup, m->end);
    __builtin_prefetch(first);
    __builtin_prefetch(behind - 1); /* most often the same line */
}

/* On to the first row whose word is not below the key's. */
void match_settle(struct match *m, uint64_t word);
/* The value of the match's next row that has this key, and on to the row behind it.  False: there is none left. */
bool match_take(struct match *m, uint64_t word, fe_slice key, fe_slice *value);

/* The same where the word is all of the key and nothing lies far: then the rows of the key are from `at` to `end`.  How
 * many rows of an entry come before them, and whether any comes behind, is hard to predict: so there are few branches. */
void match_settle_many(struct match *m, uint64_t word);
static inline void match_settle_plain(struct match *m, uint64_t word)
{
    const struct lookup *l = m->lookup;
    uint32_t at = m->at, end = m->end, last = end - 1;
    if (at == end)
        return;
    for (uint32_t i = 0; i < LOOKUP_FEW; i++)
        at += record_word(lookup_record(l, at < end ? at : last)) < word ? at < end : 0;
    uint64_t found = record_word(lookup_record(l, at < end ? at : last));
    uint64_t next = record_word(lookup_record(l, at < last ? at + 1 : last));
    uint32_t n = at < end ? found == word : 0;
    m->at = at;
    m->end = at + n;
    if ((found < word && at < end) || (n && at < last && next == word)) {
        m->end = end;
        match_settle_many(m, word);
    }
}
static inline fe_slice match_next_plain(struct match *m)
{
    const struct lookup *l = m->lookup;
    return (fe_slice){ (const char *)lookup_record(l, m->at++) + sizeof(uint64_t), type_size(l->value) };
}

/* ---- as a file --------------------------------------------------------------------- */

#define LOOKUP_MAGIC 0x31454c4241544f46u /* "FOTABLE1" */

/* Then the directory, records and far, each 8-aligned. */
struct lookup_head {
    uint64_t magic;
    uint32_t key, value;
    uint32_t lo, hi, buckets, zero;
    uint64_t rows, entries, far_bytes;
    uint64_t body_xxh3; /* of all that follows */
    uint64_t xxh3;      /* of the head, with this as 0 */
};

/* The head of a file with this lookup, all sums in it. */
struct lookup_head lookup_head(const struct lookup *l);
uint64_t
lookup_directory_bytes(const struct lookup *l); /* 8-aligned; what is behind the last entry is zero */
/* A whole file that is mapped (8-aligned), every place in it checked; `out` borrows from it. -1 and `e`: it is none,
 * cut, or corrupt. */
int lookup_view(const uint8_t *p, uint64_t bytes, struct lookup *out, struct error *e);

#endif
