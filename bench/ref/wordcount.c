/* wordcount.c - the limit that Ferro's word count is held against: wordcount FILE OUT [THREADS=2]
 *
 * The same output as examples/wordcount.c: a word is a maximal run of bytes that are
 * no ASCII space; a line is the word, a tab and the count, by descending count, then
 * by the word's bytes, shorter first.
 *
 * Each thread takes pieces of the mapped text and counts into a table of its own; then each
 * thread owns a half of all hashes, looks up the other's words of its half and puts all
 * into groups of one count and first byte; groups are sorted and written piece by piece.
 *
 * What each step gives: user seconds with one thread for 256 MiB of text-zipf and of
 * text-distinct when only that step is undone (least of three to five, in turns, on a
 * 2-core Xeon VM, others busy on it):
 *
 *   all of it                                                0.38   1.42
 *   word ends byte by byte, not by masks of 64 bytes         0.81
 *   no batches: each slot looked up at once, no prefetch     0.77   2.14
 *   pages of 4 KiB                                           0.48   1.70
 *   qsort, not a byte at a time in place                            2.06
 *
 * For 1 GiB of text-zipf: 1.3 s with one thread on the idle machine, 1.0 s with two.
 * Of 4.9 s for text-distinct, a third was the kernel clearing pages that the host had
 * yet to provide: it is 0.4 s when it has them.
 *
 * Made no difference: batches of 32, 128 or 256; of 16 it is slower (0.48), of 512
 * slightly (0.41, 1.47).  CRC32 for the hash may be 5 % faster on text-zipf
 * (0.34), the noise of these figures, and mixes less.  Not tried: masks of AVX2 by run-time
 * dispatch (finding spaces is about a tenth), parting rare words by hash before they
 * are counted.
 */
#include "lib/hash.h"
#include "lib/tools.h"

#include <smmintrin.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BITS 14 /* of a table: log2 of its slots */
#define BITS_MAX 31   /* fewer than a hash has */
#define INLINE 16     /* bytes of a word that a slot holds */
#define BATCH 64      /* words between the prefetch of their slots and the look */
#define CHUNK ((size_t)1 << 20)
#define CLASSES 255            /* of counts: one each, and the last for all from there on */
#define GROUPS (CLASSES * 256) /* by class, then by first byte */
#define SMALL 24               /* entries that sort faster by insertion */
#define RUN 65536              /* entries formatted and written at a time */
#define LINE_EXTRA 22          /* of a line beside its word: tab, count, newline */

/* A slot of a table.  A word of up to 16 bytes is in it, zeroes behind; of a longer
 * one its first eight bytes and its address. */
struct entry {
    uint64_t first, second;
    uint64_t count;
    uint32_t n, hash; /* n 0: an empty slot */
};

/* A slot's index is the top of the hash: tables are in the order of hashes, which
 * makes growing and merging a pass from front to back. */
struct table {
    struct entry *slots;
    unsigned bits;
    size_t used;
};

struct word {
    uint64_t first, second;
    uint32_t n, hash;
};

struct counter { /* one thread's */
    struct table table;
    struct entry *extra; /* words of this thread's part that only the other met */
    size_t extras, extras_max;
    size_t at[GROUPS]; /* how many of its part are in each group, then where the next goes */
    size_t waiting;
    struct word batch[BATCH];
};

struct job {
    struct input text;
    unsigned threads;
    int out;
    struct counter *counters;
    struct entry *sorted;
    size_t words, runs;
    size_t group_end[GROUPS];
    size_t *run_bytes, *run_at;
};

/* ---- table --------------------------------------------------------------- */
static void table_init(struct table *t, unsigned bits)
{
    if (bits > BITS_MAX)
        die_of("table", "too many words");
    *t = (struct table){ huge_new(sizeof(struct entry) << bits), bits, 0 };
}

static void table_free(struct table *t)
{
    huge_free(t->slots, sizeof(struct entry) << t->bits);
}

static inline size_t slot_of(const struct table *t, uint32_t hash)
{
    return hash >> (32 - t->bits);
}

static inline size_t slot_after(const struct table *t, size_t at)
{
    return (at + 1) & (((size_t)1 << t->bits) - 1);
}

/* Twice the slots.  Words are distinct, so none is compared. */
static __attribute__((noinline)) void grow(struct table *t)
{
    struct table wider;
    table_init(&wider, t->bits + 1);
    for (size_t i = 0; i < (size_t)1 << t->bits; i++) {
        if (!t->slots[i].n)
            continue;
        size_t at = slot_of(&wider, t->slots[i].hash);
        while (wider.slots[at].n)
            at = slot_after(&wider, at);
        wider.slots[at] = t->slots[i];
    }
    wider.used = t->used;
    table_free(t);
    *t = wider;
}

static inline bool same_word(const struct entry *e, const struct word *w)
{
    if (e->first != w->first || e->n != w->n)
        return false;
    return e->second == w->second ||
           (w->n > INLINE && !memcmp((const char *)e->second, (const char *)w->second, w->n));
}

/* The word's slot, or the empty one where it belongs. */
static inline struct entry *find(const struct table *t, const struct word *w)
{
    size_t at = slot_of(t, w->hash);
    while (!same_word(&t->slots[at], w) && t->slots[at].n)
        at = slot_after(t, at);
    return &t->slots[at];
}

static void add_batch(struct counter *c)
{
    for (size_t i = 0; i < c->waiting; i++) {
        const struct word *w = &c->batch[i];
        struct entry *e = find(&c->table, w);
        if (e->n) {
            e->count++;
            continue;
        }
        *e = (struct entry){ w->first, w->second, 1, w->n, w->hash };
        if (++c->table.used * 4 > (size_t)3 << c->table.bits)
            grow(&c->table);
    }
    c->waiting = 0;
}

/* ---- words --------------------------------------------------------------- */
static inline uint32_t hash_of(uint64_t first, uint64_t second)
{
    return (uint32_t)(fold(first ^ HASH_FIRST, second ^ HASH_SECOND) >> 32);
}

/* The hash of a longer word, sixteen bytes a step; the last step overlaps. */
static __attribute__((noinline)) uint32_t hash_long(const char *p, size_t n)
{
    uint64_t hash = n, pair[2];
    for (size_t at = 0; at < n; at += INLINE) {
        memcpy(pair, p + (at + INLINE <= n ? at : n - INLINE), sizeof pair);
        hash = fold(pair[0] ^ hash ^ HASH_FIRST, pair[1] ^ HASH_SECOND);
    }
    return (uint32_t)(hash >> 32);
}

static inline void push_word(struct counter *c, const char *p, size_t n)
{
    struct word *w = &c->batch[c->waiting];
    if (n <= INLINE) {
        __m128i bytes = load_masked(p, n);
        w->first = (uint64_t)_mm_cvtsi128_si64(bytes);
        w->second = (uint64_t)_mm_extract_epi64(bytes, 1);
        w->hash = hash_of(w->first, w->second);
    } else {
        if (n > UINT32_MAX)
            die_of("input", "a word of more than 4 GiB");
        memcpy(&w->first, p, sizeof w->first);
        w->second = (uintptr_t)p;
        w->hash = hash_long(p, n);
    }
    w->n = (uint32_t)n;
    __builtin_prefetch(&c->table.slots[slot_of(&c->table, w->hash)]);
    if (++c->waiting == BATCH)
        add_batch(c);
}

static inline unsigned space_mask16(const char *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)p), from_tab = _mm_sub_epi8(b, _mm_set1_epi8('\t'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(from_tab, _mm_set1_epi8('\r' - '\t')), from_tab);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(b, _mm_set1_epi8(' '))));
}

/* Which of the 64 bytes at `at` are spaces, a bit each; what is behind the text is. */
static inline uint64_t space_mask(const struct input *text, size_t at)
{
    const char *p = text->bytes + at;
    uint64_t spaces = space_mask16(p) | space_mask16(p + 16) << 16 |
                      (uint64_t)(space_mask16(p + 32) | space_mask16(p + 48) << 16) << 32;
    return text->n - at < 64 ? spaces | ~0ull << (text->n - at) : spaces;
}

/* The first space from `at` on. */
static size_t find_space(const struct input *text, size_t at)
{
    for (uint64_t skip = at % 64; at < text->n; at += 64, skip = 0) {
        at -= skip;
        uint64_t spaces = space_mask(text, at) >> skip << skip;
        if (spaces)
            return at + (size_t)__builtin_ctzll(spaces);
    }
    return text->n;
}

/* All words that begin in begin..end-1; begin is a multiple of 64. */
static void count_chunk(struct counter *c, const struct input *text, size_t begin, size_t end)
{
    size_t start = begin && !(space_mask(text, begin - 64) >> 63) ? find_space(text, begin) : begin;
    for (size_t at = start & ~(size_t)63; at < end; at += 64) {
        uint64_t spaces = space_mask(text, at);
        if (at < start)
            spaces &= ~0ull << (start - at);
        for (; spaces; spaces &= spaces - 1) {
            size_t space = at + (size_t)__builtin_ctzll(spaces);
            if (space > start)
                push_word(c, text->bytes + start, space - start);
            start = space + 1;
        }
    }
    if (start < end)
        push_word(c, text->bytes + start, find_space(text, start) - start);
}

static void count_words(void *context, unsigned thread)
{
    struct job *job = context;
    struct counter *c = &job->counters[thread];
    size_t begin;
    table_init(&c->table, FIRST_BITS);
    while ((begin = take_next() * CHUNK) < job->text.n)
        count_chunk(c, &job->text, begin, job->text.n - begin > CHUNK ? begin + CHUNK : job->text.n);
    add_batch(c);
}

/* ---- merging: each thread owns the words of its part of all hashes ----------- */
struct scan {
    const struct table *table;
    size_t at, end;
    unsigned part, parts;
};

static struct scan scan_of(const struct table *t, unsigned part, unsigned parts)
{
    size_t share = ((size_t)1 << t->bits) / parts;
    return (struct scan){ t, share * part, share * (part + 1), part, parts };
}

/* The part's next entry.  The last ones may lie behind its end, up to an empty slot. */
static struct entry *scan_next(struct scan *s)
{
    for (;;) {
        struct entry *e = &s->table->slots[s->at & (((size_t)1 << s->table->bits) - 1)];
        if (s->at >= s->end && (s->parts == 1 || !e->n))
            return NULL;
        s->at++;
        if (e->n && (uint64_t)e->hash * s->parts >> 32 == s->part)
            return e;
    }
}

static void add_extra(struct counter *c, const struct entry *e)
{
    if (c->extras == c->extras_max) {
        size_t wider = c->extras_max ? 2 * c->extras_max : 65536;
        struct entry *extra = huge_new(wider * sizeof *extra);
        if (c->extras_max) {
            memcpy(extra, c->extra, c->extras * sizeof *extra);
            huge_free(c->extra, c->extras_max * sizeof *extra);
        }
        c->extra = extra;
        c->extras_max = wider;
    }
    c->extra[c->extras++] = *e;
}

static size_t group_of(const struct entry *e)
{
    return e->count >= CLASSES ? 0 : (CLASSES - e->count) * 256 + (e->first & 0xff);
}

/* Threads look into each other's tables, and change only counts of their own parts. */
static void merge_words(void *context, unsigned thread)
{
    struct job *job = context;
    struct counter *c = &job->counters[thread];
    for (unsigned other = 0; other < job->threads; other++) {
        if (other == thread)
            continue;
        struct scan s = scan_of(&job->counters[other].table, thread, job->threads);
        for (const struct entry *e; (e = scan_next(&s));) {
            struct word w = { e->first, e->second, e->n, e->hash };
            struct entry *mine = find(&c->table, &w);
            if (mine->n)
                mine->count += e->count;
            else
                add_extra(c, e);
        }
    }
    struct scan s = scan_of(&c->table, thread, job->threads);
    for (const struct entry *e; (e = scan_next(&s));)
        c->at[group_of(e)]++;
    for (size_t i = 0; i < c->extras; i++)
        c->at[group_of(&c->extra[i])]++;
}

static void place_groups(struct job *job)
{
    size_t at = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        for (unsigned t = 0; t < job->threads; t++) {
            size_t n = job->counters[t].at[g];
            job->counters[t].at[g] = at;
            at += n;
        }
        job->group_end[g] = at;
    }
    job->words = at;
    job->sorted = huge_new((at + 1) * sizeof *job->sorted);
}

/* From here on, bytes are numbers that compare as the bytes do. */
static void place_word(struct job *job, struct counter *c, const struct entry *e)
{
    struct entry *to = &job->sorted[c->at[group_of(e)]++];
    *to = *e;
    to->first = __builtin_bswap64(e->first);
    if (e->n <= INLINE)
        to->second = __builtin_bswap64(e->second);
}

static void place_words(void *context, unsigned thread)
{
    struct job *job = context;
    struct counter *c = &job->counters[thread];
    struct scan s = scan_of(&c->table, thread, job->threads);
    for (const struct entry *e; (e = scan_next(&s));)
        place_word(job, c, e);
    for (size_t i = 0; i < c->extras; i++)
        place_word(job, c, &c->extra[i]);
}

/* ---- sorting ------------------------------------------------------------- */
static uint64_t second_of(const struct entry *e)
{
    uint64_t second = e->second;
    if (e->n <= INLINE)
        return second;
    memcpy(&second, (const char *)e->second + 8, sizeof second);
    return __builtin_bswap64(second);
}

static int compare_words(const struct entry *x, const struct entry *y)
{
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    uint64_t a = second_of(x), b = second_of(y);
    if (a != b)
        return a < b ? -1 : 1;
    if (x->n > INLINE && y->n > INLINE) {
        size_t common = (x->n < y->n ? x->n : y->n) - INLINE;
        int order = memcmp((const char *)x->second + INLINE, (const char *)y->second + INLINE, common);
        if (order)
            return order;
    }
    return (x->n > y->n) - (x->n < y->n);
}

static int by_count_then_word(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->count != y->count ? (x->count > y->count ? -1 : 1) : compare_words(x, y);
}

static void insertion_sort(struct entry *e, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct entry moved = e[i];
        size_t at = i;
        for (; at && compare_words(&moved, &e[at - 1]) < 0; at--)
            e[at] = e[at - 1];
        e[at] = moved;
    }
}

/* Entries of one count that have their first `depth` bytes in common: in place, a byte at a time. */
static void radix_sort(struct entry *e, size_t n, unsigned depth)
{
    if (n <= SMALL) {
        insertion_sort(e, n);
        return;
    }
    if (depth == 8) {
        qsort(e, n, sizeof *e, by_count_then_word);
        return;
    }
    size_t next[256], end[256], sizes[256] = { 0 };
    unsigned shift = 56 - 8 * depth;
    for (size_t i = 0; i < n; i++)
        sizes[e[i].first >> shift & 0xff]++;
    for (size_t b = 0, at = 0; b < 256; b++) {
        next[b] = at;
        end[b] = at += sizes[b];
    }
    for (size_t b = 0; b < 256; b++) {
        while (next[b] < end[b]) {
            size_t to = e[next[b]].first >> shift & 0xff;
            struct entry swapped = e[next[to]];
            e[next[to]++] = e[next[b]];
            if (to != b)
                e[next[b]] = swapped;
        }
    }
    for (size_t b = 0; b < 256; b++)
        if (sizes[b] > 1)
            radix_sort(e + end[b] - sizes[b], sizes[b], depth + 1);
}

static void sort_groups(void *context, unsigned thread)
{
    (void)thread;
    struct job *job = context;
    size_t taken;
    while ((taken = take_next()) < GROUPS) {
        size_t g = taken ? GROUPS - taken : 0; /* the large ones first */
        size_t begin = g ? job->group_end[g - 1] : 0, n = job->group_end[g] - begin;
        if (g)
            radix_sort(job->sorted + begin, n, 1);
        else
            qsort(job->sorted, n, sizeof *job->sorted, by_count_then_word);
    }
}

/* ---- output -------------------------------------------------------------- */
static size_t digits_of(uint64_t n)
{
    size_t digits = 1;
    for (; n >= 10; n /= 10)
        digits++;
    return digits;
}

static size_t run_end(const struct job *job, size_t run)
{
    return job->words - run * RUN < RUN ? job->words : (run + 1) * RUN;
}

static void measure_runs(void *context, unsigned thread)
{
    struct job *job = context;
    for (size_t run = thread; run < job->runs; run += job->threads) {
        size_t bytes = 0;
        for (size_t i = run * RUN; i < run_end(job, run); i++)
            bytes += job->sorted[i].n + 2 + digits_of(job->sorted[i].count);
        job->run_bytes[run] = bytes;
    }
}

/* Touches INLINE bytes at least. */
static char *put_line(char *out, const struct entry *e)
{
    if (e->n <= INLINE) {
        uint64_t bytes[2] = { __builtin_bswap64(e->first), __builtin_bswap64(e->second) };
        memcpy(out, bytes, sizeof bytes);
    } else {
        memcpy(out, (const char *)e->second, e->n);
    }
    out += e->n;
    *out++ = '\t';
    size_t digits = digits_of(e->count), i = digits;
    for (uint64_t left = e->count; i > 0; left /= 10)
        out[--i] = (char)('0' + left % 10);
    out[digits] = '\n';
    return out + digits + 1;
}

static void write_runs(void *context, unsigned thread)
{
    (void)thread;
    struct job *job = context;
    size_t run;
    while ((run = take_next()) < job->runs) {
        char *lines = malloc(job->run_bytes[run] + INLINE), *out = lines;
        if (!lines)
            die("memory");
        for (size_t i = run * RUN; i < run_end(job, run); i++)
            out = put_line(out, &job->sorted[i]);
        write_at(job->out, lines, job->run_bytes[run], (off_t)job->run_at[run]);
        free(lines);
    }
}

static void write_output(struct job *job)
{
    job->runs = (job->words + RUN - 1) / RUN;
    job->run_bytes = calloc(job->runs + 1, sizeof *job->run_bytes);
    job->run_at = calloc(job->runs + 1, sizeof *job->run_at);
    if (!job->run_bytes || !job->run_at)
        die("memory");
    in_threads(job->threads, measure_runs, job);
    for (size_t run = 0; run < job->runs; run++)
        job->run_at[run + 1] = job->run_at[run] + job->run_bytes[run];
    in_threads(job->threads, write_runs, job);
}

int main(int argc, char **argv)
{
    static struct job job;
    job.threads = thread_count(argc, argv, 4, "FILE OUT");
    job.text = map_input(argv[1]);
    job.out = create_output(argv[2]);
    job.counters = huge_new(job.threads * sizeof *job.counters);
    in_threads(job.threads, count_words, &job);
    in_threads(job.threads, merge_words, &job);
    place_groups(&job);
    in_threads(job.threads, place_words, &job);
    in_threads(job.threads, sort_groups, &job);
    write_output(&job);
    return 0;
}
