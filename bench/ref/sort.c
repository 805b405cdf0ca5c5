/* sort.c - the limit that Ferro's sort is held against: sort FILE OUT [THREADS=2]
 *
 * Lines of exactly 100 bytes (bench/data records), in the order of their bytes.
 *
 * Two passes over the mapped lines part items of 16 bytes (twelve bytes of the line, and its index)
 * into 65,536 buckets; a bucket, which fits a cache, is parted by one more byte, and its few
 * lines sorted by insertion.  Then lines are gathered and written, 2 MB at a time.
 * Many lines alike in their first two bytes are left to qsort.
 *
 * Where the time goes, in seconds for 10 M lines with one thread and with two (on an otherwise
 * idle 2-core Xeon VM):
 *
 *   counting the buckets                0.11   0.06
 *   items into buckets                  0.19   0.10
 *   sorting buckets                     0.13   0.07
 *   gathering and writing               0.88   0.48   (its writes alone: 0.5)
 *   the whole                           1.35   0.76
 *
 * What steps give, medians of user and system seconds with one thread:
 *
 *   all of it                           1.00 + 0.19
 *   buckets by qsort at once            1.57 + 0.12
 *   written through the page cache      0.92 + 0.36, and with two threads 1.1 to 1.4 s, not 0.76
 *   no prefetch of lines                1.02 + 0.24, within the noise: a copy needs nothing
 *                                       of the one before, so the CPU runs ahead by itself
 *   items in pages of 4 KiB             1.00 + 0.24, the same
 *
 * The page cache costs 0.2 s a GB where the machine has pages at hand, and 2 s where its host must
 * provide them; O_DIRECT 0.1 s of CPU time and 0.5 of the disk.  Not tried: writing from a thread
 * of its own, as two threads keep the disk at its limit.
 */
#include "lib/tools.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE 100      /* bytes */
#define BUCKETS 65536 /* by the first two bytes */
#define SMALL 24      /* items that sort faster by insertion */
#define SCRATCH 8192  /* items of a bucket that are parted by a further byte */
#define AHEAD 24      /* lines between the prefetch of one and its copy */
#define RUN 20480     /* lines a write: their bytes are a multiple of what O_DIRECT asks for */
#define DIRECT_ALIGN 4096

/* A line's first twelve bytes as numbers that compare as bytes do, and where it is. */
struct item {
    uint64_t first;
    uint32_t next, index;
};

struct job {
    struct input text;
    unsigned threads;
    size_t lines;
    int out;
    struct item *items;
    size_t bucket_end[BUCKETS];
    size_t at[THREADS_MAX][BUCKETS]; /* a thread's lines of each bucket: how many, then where the next goes */
};

static const struct job *sorted_job; /* for qsort's comparison */

/* ---- parting into buckets -------------------------------------------------- */
static inline const char *line_of(const struct job *job, size_t index)
{
    return job->text.bytes + index * LINE;
}

static inline struct item item_of(const struct job *job, size_t index)
{
    struct item item = { .index = (uint32_t)index };
    memcpy(&item.first, line_of(job, index), sizeof item.first);
    memcpy(&item.next, line_of(job, index) + sizeof item.first, sizeof item.next);
    item.first = __builtin_bswap64(item.first);
    item.next = __builtin_bswap32(item.next);
    return item;
}

static size_t share_begin(const struct job *job, unsigned thread)
{
    return job->lines * thread / job->threads;
}

static void count_lines(void *context, unsigned thread)
{
    struct job *job = context;
    size_t *at = job->at[thread];
    for (size_t i = share_begin(job, thread); i < share_begin(job, thread + 1); i++) {
        const uint8_t *line = (const uint8_t *)line_of(job, i);
        at[line[0] << 8 | line[1]]++;
        if (line[LINE - 1] != '\n')
            die_of("input", "a line is not of 100 bytes");
    }
}

static void place_buckets(struct job *job)
{
    size_t at = 0;
    for (size_t b = 0; b < BUCKETS; b++) {
        for (unsigned t = 0; t < job->threads; t++) {
            size_t n = job->at[t][b];
            job->at[t][b] = at;
            at += n;
        }
        job->bucket_end[b] = at;
    }
}

static void place_lines(void *context, unsigned thread)
{
    struct job *job = context;
    size_t *at = job->at[thread];
    for (size_t i = share_begin(job, thread); i < share_begin(job, thread + 1); i++) {
        struct item item = item_of(job, i);
        job->items[at[item.first >> 48]++] = item;
    }
}

/* ---- sorting buckets ------------------------------------------------------- */
static inline int compare(const struct item *x, const struct item *y)
{
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->next != y->next)
        return x->next < y->next ? -1 : 1;
    return memcmp(line_of(sorted_job, x->index), line_of(sorted_job, y->index), LINE);
}

static int by_line(const void *a, const void *b)
{
    return compare(a, b);
}

static void sort_few(struct item *items, size_t n)
{
    if (n > SMALL) {
        qsort(items, n, sizeof *items, by_line);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct item moved = items[i];
        size_t at = i;
        for (; at && compare(&moved, &items[at - 1]) < 0; at--)
            items[at] = items[at - 1];
        items[at] = moved;
    }
}

/* Part by the third byte, then sort each part. */
static void sort_bucket(struct item *items, size_t n, struct item *scratch)
{
    size_t end[256] = { 0 }, at = 0;
    if (n <= SMALL || n > SCRATCH) {
        sort_few(items, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        end[items[i].first >> 40 & 0xff]++;
    for (size_t b = 0; b < 256; b++) {
        size_t parted = end[b];
        end[b] = at;
        at += parted;
    }
    memcpy(scratch, items, n * sizeof *items);
    for (size_t i = 0; i < n; i++)
        items[end[scratch[i].first >> 40 & 0xff]++] = scratch[i];
    for (size_t b = 0, begin = 0; b < 256; begin = end[b++])
        sort_few(items + begin, end[b] - begin);
}

static void sort_buckets(void *context, unsigned thread)
{
    (void)thread;
    struct job *job = context;
    static _Thread_local struct item scratch[SCRATCH];
    size_t b;
    while ((b = take_next()) < BUCKETS) {
        size_t begin = b ? job->bucket_end[b - 1] : 0;
        if (job->bucket_end[b] > begin)
            sort_bucket(job->items + begin, job->bucket_end[b] - begin, scratch);
    }
}

/* ---- output ---------------------------------------------------------------- */
static void gather(const struct job *job, size_t begin, size_t end, char *out)
{
    for (size_t i = begin; i < end; i++) {
        if (i + AHEAD < end) {
            const char *ahead = line_of(job, job->items[i + AHEAD].index);
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead + LINE - 1);
        }
        memcpy(out, line_of(job, job->items[i].index), LINE);
        out += LINE;
    }
}

/* The last write may be longer than the file, which is cut after it. */
static void write_runs(void *context, unsigned thread)
{
    (void)thread;
    struct job *job = context;
    char *lines = huge_new(RUN * LINE);
    size_t run;
    while ((run = take_next()) * RUN < job->lines) {
        size_t begin = run * RUN, end = job->lines - begin < RUN ? job->lines : begin + RUN;
        size_t bytes = (end - begin) * LINE;
        gather(job, begin, end, lines);
        write_at(job->out, lines, (bytes + DIRECT_ALIGN - 1) & ~(size_t)(DIRECT_ALIGN - 1),
                 (off_t)(begin * LINE));
    }
    huge_free(lines, RUN * LINE);
}

/* With O_DIRECT where the file system has it. */
static int open_output(const char *path)
{
    int plain = create_output(path), direct = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0)
        return plain;
    close(plain);
    return direct;
}

int main(int argc, char **argv)
{
    static struct job job;
    job.threads = thread_count(argc, argv, 4, "FILE OUT");
    job.text = map_input(argv[1]);
    job.lines = job.text.n / LINE;
    if (job.text.n % LINE || job.lines > UINT32_MAX)
        die_of(argv[1], "not lines of 100 bytes, or more than 2^32");
    job.out = open_output(argv[2]);
    job.items = huge_new(job.lines * sizeof *job.items + 1);
    sorted_job = &job;
    in_threads(job.threads, count_lines, &job);
    place_buckets(&job);
    in_threads(job.threads, place_lines, &job);
    in_threads(job.threads, sort_buckets, &job);
    in_threads(job.threads, write_runs, &job);
    if (ftruncate(job.out, (off_t)job.text.n) || close(job.out))
        die(argv[2]);
    return 0;
}
