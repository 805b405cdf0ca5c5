/* wordcount.c - the limit that Ferro's word count is held against: wordcount FILE OUT
 *
 * One thread, no vector instructions, and the same output as examples/wordcount.c:
 * a word is a maximal run of bytes that are no ASCII space; a line is the word, a
 * tab and the count, by descending count, then by the word's bytes, shorter first.
 *
 * What was tried, in seconds for 64 MiB of text-zipf and of text-distinct (medians
 * of three, in turns, on a 2-core AMD EPYC VM):
 *
 *   FNV-1a a byte at a time, slots of hash, length, pointer, count     1.11   4.61
 *   the word's first eight bytes in its slot: a short word, or a
 *     wrong slot, costs no look into the text                          0.86   4.97
 *   those eight bytes by one load and a mask, not byte by byte         0.85   5.31
 *   sorting compares these eight bytes first                           0.74   3.22
 *   digits made here, not by fprintf                                   0.82   2.97
 *
 * Dropped, since they gave nothing: a hash over the eight bytes at once (0.89, 5.20),
 * a table of the space characters (0.86, 5.28).  Not tried, as it is no longer
 * simple: masks of spaces by vector instructions, prefetching a batch of slots.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_SLOTS 65536 /* of the table; a power of two */
#define TAIL_MAX 32       /* bytes of a line behind its word: tab, count, newline */
#define BUFFER (1 << 20)  /* bytes a write */

struct entry {
    uint64_t prefix;  /* the first eight bytes of the word, zeroes behind a shorter one */
    const char *word; /* in the input */
    uint32_t n, hash; /* n 0: an empty slot */
    uint64_t count;
};

struct table {
    struct entry *slots;
    size_t mask, used;
};

static void die(const char *what)
{
    fprintf(stderr, "wordcount: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct entry *new_slots(size_t n)
{
    struct entry *slots = calloc(n, sizeof *slots);
    if (!slots)
        die("table");
    return slots;
}

/* Twice the slots.  Words are distinct, so none needs to be compared. */
static void grow(struct table *t)
{
    size_t mask = t->mask * 2 + 1;
    struct entry *slots = new_slots(mask + 1);
    for (size_t i = 0; i <= t->mask; i++) {
        if (!t->slots[i].n)
            continue;
        size_t at = t->slots[i].hash & mask;
        while (slots[at].n)
            at = (at + 1) & mask;
        slots[at] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots;
    t->mask = mask;
}

static void add(struct table *t, const char *word, size_t n, uint64_t prefix, uint32_t hash)
{
    size_t at = hash & t->mask;
    struct entry *e;
    while ((e = &t->slots[at])->n) {
        if (e->prefix == prefix && e->n == n && (n <= 8 || !memcmp(e->word + 8, word + 8, n - 8))) {
            e->count++;
            return;
        }
        at = (at + 1) & t->mask;
    }
    *e = (struct entry){ prefix, word, (uint32_t)n, hash, 1 };
    if (++t->used * 2 > t->mask)
        grow(t);
}

static inline bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline uint64_t prefix_of(const char *word, size_t n, const char *end)
{
    uint64_t prefix = 0;
    memcpy(&prefix, word, end - word >= 8 ? 8 : n);
    return n < 8 ? prefix & ((1ull << 8 * n) - 1) : prefix;
}

/* The hash is FNV-1a with its high bits folded in. */
static void count_words(struct table *t, const char *p, const char *end)
{
    for (;;) {
        while (p < end && is_space(*p))
            p++;
        if (p == end)
            return;
        const char *word = p;
        uint64_t hash = 0xcbf29ce484222325u;
        for (; p < end && !is_space(*p); p++)
            hash = (hash ^ (uint8_t)*p) * 0x100000001b3u;
        size_t n = (size_t)(p - word);
        add(t, word, n, prefix_of(word, n, end), (uint32_t)(hash ^ hash >> 32));
    }
}

static int by_count_then_word(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    uint64_t p = __builtin_bswap64(x->prefix), q = __builtin_bswap64(y->prefix);
    if (p != q)
        return p < q ? -1 : 1;
    int order = memcmp(x->word, y->word, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Move the entries to the front of the table and sort them. */
static void sort_entries(struct table *t)
{
    size_t n = 0;
    for (size_t i = 0; i <= t->mask; i++)
        if (t->slots[i].n)
            t->slots[n++] = t->slots[i];
    qsort(t->slots, n, sizeof *t->slots, by_count_then_word);
}

/* Tab, count and newline, at the end of tail[]; returns where they begin. */
static const char *make_tail(char tail[TAIL_MAX], uint64_t count)
{
    /* cppcheck-suppress ctuPointerArith ; one past the end is where it begins */
    char *at = tail + TAIL_MAX;
    *--at = '\n';
    for (; count; count /= 10)
        *--at = (char)('0' + count % 10);
    *--at = '\t';
    return at;
}

static void write_lines(const struct table *t, const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        die(path);
    setvbuf(out, NULL, _IOFBF, BUFFER);
    for (size_t i = 0; i < t->used; i++) {
        const struct entry *e = &t->slots[i];
        char tail[TAIL_MAX];
        const char *at = make_tail(tail, e->count);
        fwrite_unlocked(e->word, 1, e->n, out);
        fwrite_unlocked(at, 1, (size_t)(tail + TAIL_MAX - at), out);
    }
    if (fclose(out))
        die(path);
}

static const char *map_file(const char *path, size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        die(path);
    *n = (size_t)st.st_size;
    if (!*n)
        return "";
    const char *text = mmap(NULL, *n, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (text == MAP_FAILED)
        die(path);
    close(fd);
    return text;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: wordcount FILE OUT\n");
        return 2;
    }
    size_t n;
    const char *text = map_file(argv[1], &n);
    struct table table = { new_slots(FIRST_SLOTS), FIRST_SLOTS - 1, 0 };
    count_words(&table, text, text + n);
    sort_entries(&table);
    write_lines(&table, argv[2]);
    free(table.slots);
    return 0;
}
