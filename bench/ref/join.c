/* join.c - the limit that Ferro's join is held against: join LEFT RIGHT OUTPUT [THREADS=2]
 *
 * LEFT and RIGHT are records {int64 key, value}, RIGHT's keys distinct.  Each pair of equal
 * keys belongs to the group right.value; a line is the group, its pairs and the sum of their
 * left.value, parted by tabs, by ascending group.
 *
 * One table in memory, keys in its slots, shared by the threads, which take rows of the
 * left side by turns and keep totals of their own.
 *
 * What was tried, in seconds of CPU time for 50 M x 5 M rows, uniform keys (2-core Intel VM
 * with 2 MB of second-level cache a core, one thread; of two the wall time is half):
 *
 *   each row looked up for itself                     1.3
 *   the slots of 64 rows prefetched, then looked at   1.05
 *
 * With Zipf's keys these are 0.9 and 0.7, since most slots are in a cache.  Without huge pages they
 * are 1.35 and 0.92.  Dropped, as they gave nothing: CRC32 for the product (1.05), half the slots (1.4) or twice
 * (1.0, but 0.5 of page faults), 16, 32 or 256 slots a batch (1.3, 1.2, 1.07), four slots a cache line compared without a
 * branch (1.05; of half the slots 1.4).
 */
#include "lib/numbers.h"
#include "lib/tools.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define ROOM 2              /* slots a row of the right side, rounded up to a power of two */
#define BATCH 64            /* rows whose slots are prefetched together */
#define GRAIN 65536         /* rows a thread takes at once */
#define DENSE_MAX (1 << 22) /* values of right, from least to most, that are indexes of an array */
#define LINE_MAX (3 * PUT_I64_MAX + 3)

struct row {
    int64_t key, value;
};

struct slot {
    int64_t key;
    atomic_uint group; /* its index plus one; 0: an empty slot */
};

struct load {
    int64_t pairs, sum;
};

struct join {
    const struct row *left, *right;
    size_t left_rows, right_rows, mask, groups;
    struct slot *slots;
    int64_t least; /* value of group 0 */
    bool dense;    /* groups are values of right; otherwise rows of right */
    atomic_size_t next;
    struct load *loads[THREADS_MAX];
};

static inline size_t hash(int64_t key)
{
    uint64_t h = (uint64_t)key * 0x9e3779b97f4a7c15u;
    return h >> 32;
}

/* The next rows of this thread: from *first on, as many as are returned; 0: none are left. */
static size_t take(struct join *j, size_t rows, size_t *first)
{
    *first = atomic_fetch_add_explicit(&j->next, GRAIN, memory_order_relaxed);
    return *first >= rows ? 0 : rows - *first < GRAIN ? rows - *first : GRAIN;
}

static void build(void *context, unsigned thread)
{
    (void)thread;
    struct join *j = context;
    size_t first, n;
    while ((n = take(j, j->right_rows, &first)) > 0) {
        for (size_t i = first; i < first + n; i += BATCH) {
            size_t at[BATCH], m = first + n - i < BATCH ? first + n - i : BATCH;
            for (size_t k = 0; k < m; k++) {
                at[k] = hash(j->right[i + k].key) & j->mask;
                __builtin_prefetch(&j->slots[at[k]], 1);
            }
            for (size_t k = 0; k < m; k++) {
                const struct row *r = &j->right[i + k];
                unsigned group = j->dense ? (unsigned)(r->value - j->least) : (unsigned)(i + k), empty = 0;
                while (!atomic_compare_exchange_strong_explicit(&j->slots[at[k]].group, &empty, group + 1,
                                                                memory_order_relaxed, memory_order_relaxed)) {
                    at[k] = (at[k] + 1) & j->mask;
                    empty = 0;
                }
                j->slots[at[k]].key = r->key;
            }
        }
    }
}

static inline unsigned find(const struct join *j, size_t at, int64_t key)
{
    const struct slot *s;
    unsigned group;
    while ((group = atomic_load_explicit(&(s = &j->slots[at])->group, memory_order_relaxed)) && s->key != key)
        at = (at + 1) & j->mask;
    return group;
}

static void probe(void *context, unsigned thread)
{
    struct join *j = context;
    struct load *loads = j->loads[thread] - 1;
    size_t first, n;
    while ((n = take(j, j->left_rows, &first)) > 0) {
        for (size_t i = first; i < first + n; i += BATCH) {
            size_t at[BATCH], m = first + n - i < BATCH ? first + n - i : BATCH;
            for (size_t k = 0; k < m; k++) {
                at[k] = hash(j->left[i + k].key) & j->mask;
                __builtin_prefetch(&j->slots[at[k]]);
            }
            unsigned group[BATCH];
            for (size_t k = 0; k < m; k++) {
                group[k] = find(j, at[k], j->left[i + k].key);
                __builtin_prefetch(&loads[group[k]], 1);
            }
            for (size_t k = 0; k < m; k++) {
                if (!group[k])
                    continue;
                loads[group[k]].pairs++;
                loads[group[k]].sum =
                    (int64_t)((uint64_t)loads[group[k]].sum + (uint64_t)j->left[i + k].value);
            }
        }
    }
}

static void plan(struct join *j)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    for (size_t i = 0; i < j->right_rows; i++) {
        int64_t v = j->right[i].value;
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    uint64_t range = (uint64_t)most - (uint64_t)least;
    j->dense = j->right_rows && range < DENSE_MAX;
    j->least = least;
    j->groups = j->dense ? (size_t)range + 1 : j->right_rows;
    size_t slots = 64;
    while (slots < j->right_rows * ROOM)
        slots *= 2;
    j->mask = slots - 1;
    j->slots = huge_new(slots * sizeof *j->slots);
}

/* Fold what the threads have into groups of ascending values, those without pairs left out. */
struct total {
    int64_t value;
    struct load load;
};

static int by_value(const void *a, const void *b)
{
    const struct total *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

static struct total *fold(const struct join *j, unsigned threads, size_t *count)
{
    struct total *totals = huge_new((j->groups + 1) * sizeof *totals);
    size_t n = 0;
    for (size_t g = 0; g < j->groups; g++) {
        struct load load = { 0, 0 };
        for (unsigned t = 0; t < threads; t++) {
            load.pairs += j->loads[t][g].pairs;
            load.sum = (int64_t)((uint64_t)load.sum + (uint64_t)j->loads[t][g].sum);
        }
        if (load.pairs)
            totals[n++] = (struct total){ j->dense ? j->least + (int64_t)g : j->right[g].value, load };
    }
    if (!j->dense)
        qsort(totals, n, sizeof *totals, by_value);
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        if (*count && totals[*count - 1].value == totals[i].value) {
            struct load *into = &totals[*count - 1].load;
            into->pairs += totals[i].load.pairs;
            into->sum = (int64_t)((uint64_t)into->sum + (uint64_t)totals[i].load.sum);
        } else {
            totals[(*count)++] = totals[i];
        }
    }
    return totals;
}

static void write_totals(const struct total *totals, size_t count, const char *path)
{
    char *text = huge_new((count + 1) * LINE_MAX), *p = text;
    for (size_t i = 0; i < count; i++) {
        p = put_i64(p, totals[i].value);
        *p++ = '\t';
        p = put_i64(p, totals[i].load.pairs);
        *p++ = '\t';
        p = put_i64(p, totals[i].load.sum);
        *p++ = '\n';
    }
    int fd = create_output(path);
    write_at(fd, text, (size_t)(p - text), 0);
    close(fd);
}

int main(int argc, char **argv)
{
    unsigned threads = thread_count(argc, argv, 5, "LEFT RIGHT OUTPUT");
    struct join j = { .dense = false };
    j.left = map_records(argv[1], sizeof *j.left, &j.left_rows);
    j.right = map_records(argv[2], sizeof *j.right, &j.right_rows);
    plan(&j);
    for (unsigned t = 0; t < threads; t++)
        j.loads[t] = huge_new((j.groups + 1) * sizeof *j.loads[t]);
    in_threads(threads, build, &j);
    atomic_store(&j.next, 0);
    in_threads(threads, probe, &j);
    size_t count;
    const struct total *totals = fold(&j, threads, &count);
    write_totals(totals, count, argv[3]);
    return 0;
}
