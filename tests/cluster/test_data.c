/* test_data.c - text in bulk: lines that cross splits, more distinct words than memory holds. */
#include "tests/cluster/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(data, .timeout = 300);

#define SPLIT_BYTES (1 << 20)

/* ---- lines ------------------------------------------------------------------- */

struct sums {
    uint64_t lines, bytes, hash;
};

static void line_count(struct sums *s, const char *line, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)line[i]) * 1099511628211u;
    s->lines++;
    s->bytes += n;
    s->hash += h >> 8;
}

/* Write `total` bytes of lines whose lengths wander between 0 and `longest`; every seventh has a '\r'. */
static void lines_write(const char *path, size_t total, size_t longest, bool last_newline, struct sums *s)
{
    FILE *f = fopen(path, "w");
    char *line = malloc(longest + 2);
    uint64_t x = 88172645463325252u;
    cr_assert(f);
    for (size_t written = 0; written < total;) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t n = x % (longest + 1);
        for (size_t i = 0; i < n; i++)
            line[i] = (char)('!' + (i * 31 + n + written) % 90);
        if (n && x % 7 == 0)
            line[n - 1] = '\r';
        line_count(s, line, n);
        line[n] = '\n';
        written += n + 1;
        /* an empty last line without its newline is no line */
        bool bare = written >= total && !last_newline && n > 0;
        fwrite(line, 1, n + !bare, f);
    }
    cr_assert(fclose(f) == 0);
    free(line);
}

static void expect_lines(struct cluster *c, const char *names, const struct sums *s)
{
    char *out = ferro_expect(
        c, 0, NULL, words("run --slots 2 --quiet --split-size 1M tests/cluster/jobs/api.c lines %s", names));
    const char *expected =
        words("lines 3: 0=%" PRIu64 " 1=%" PRIu64 " 2=%" PRId64 "\n", s->lines, s->bytes, (int64_t)s->hash);
    cr_expect_str_eq(out, expected, "%s: %sinstead of %s", names, out, expected);
    free(out);
}

Test(data, a_line_that_crosses_a_split_is_read_once)
{
    struct cluster c;
    struct sums s = { 0 };
    folder_init(&c);
    lines_write(words("%s/short", c.dir), 8 * SPLIT_BYTES + 12345, 200, false, &s);
    lines_write(words("%s/long", c.dir), 16 * SPLIT_BYTES + 1, 3 << 20, true, &s);
    lines_write(words("%s/tiny", c.dir), 10, 3, true, &s);
    file_write("", "%s/empty", c.dir);
    expect_lines(&c, words("%s/short %s/long %s/tiny %s/empty", c.dir, c.dir, c.dir, c.dir), &s);
    cluster_fini(&c);
}

/* Splits that end exactly at, before and after a line's end; a line longer than a split. */
Test(data, lines_at_the_edges_of_splits)
{
    struct cluster c;
    folder_init(&c);
    for (int edge = -1; edge <= 1; edge++) {
        struct sums s = { 0 };
        char *line = malloc(SPLIT_BYTES + 16);
        memset(line, 'x', SPLIT_BYTES + 16);
        const char *path = words("%s/edge%d", c.dir, edge + 1);
        FILE *f = fopen(path, "w");
        fwrite(line, 1, (size_t)(SPLIT_BYTES + edge - 1),
               f); /* its newline is the split's last byte when edge is 0 */
        line_count(&s, line, (size_t)(SPLIT_BYTES + edge - 1));
        fputs("\n\nsecond\n", f);
        line_count(&s, "", 0);
        line_count(&s, "second", 6);
        fclose(f);
        expect_lines(&c, path, &s);
        free(line);
    }
    cluster_fini(&c);
}

/* ---- words --------------------------------------------------------------------- */

#ifdef __SANITIZE_ADDRESS__
#define SLOT "256M" /* of which the sanitizer takes most */
#else
#define SLOT "64M"
#endif
#define WORDS 12000000u
#define DISTINCT 4000000u

/* Words w0..w3999999, each number by a multiplicative walk, so that all come about thrice: ~100 MiB. */
static uint32_t word_at(uint32_t i)
{
    return (uint32_t)((uint64_t)i * 2654435761u % DISTINCT + i % 13) % DISTINCT;
}

static uint32_t *words_write(const char *path)
{
    uint32_t *counts = calloc(DISTINCT, sizeof *counts);
    FILE *f = fopen(path, "w");
    cr_assert(f && counts);
    setvbuf(f, NULL, _IOFBF, 1 << 20);
    for (uint32_t i = 0; i < WORDS; i++) {
        uint32_t w = word_at(i);
        counts[w]++;
        fprintf(f, "w%u%c", w, i % 10 == 9 ? '\n' : ' ');
    }
    cr_assert(fclose(f) == 0);
    return counts;
}

/* Each line is the word, a tab and its count, by descending count and then by the word; each word comes once. */
static void expect_words(const char *dir, uint32_t *counts)
{
    FILE *f = popen(words("cat %s/part-*", dir), "r");
    char line[64], last[64] = "";
    unsigned before = UINT32_MAX, number, count;
    uint32_t distinct = 0, left = 0;
    while (fgets(line, sizeof line, f)) {
        char word[32];
        cr_assert(sscanf(line, "w%u\t%u\n", &number, &count) == 2 && number < DISTINCT,
                  "not a word and its count: %s", line);
        snprintf(word, sizeof word, "w%u", number);
        cr_assert_eq(counts[number], count, "%s is counted %u times, not %u", word, count, counts[number]);
        cr_assert(count < before || (count == before && strcmp(last, word) < 0),
                  "%s (%u) comes after %s (%u)", word, count, last, before);
        counts[number] = 0;
        before = count;
        strcpy(last, word);
        distinct++;
    }
    cr_expect_eq(pclose(f), 0);
    for (uint32_t i = 0; i < DISTINCT; i++)
        left += counts[i] != 0;
    cr_expect_eq(left, 0, "%u words are missing, %u are there", left, distinct);
}

Test(data, more_distinct_words_than_memory_holds)
{
    struct cluster c;
    folder_init(&c);
    uint32_t *counts = words_write(words("%s/words", c.dir));
    free(ferro_expect(
        &c, 0, NULL,
        words("run --slots 2 --mem " SLOT " examples/wordcount.c %s/words %s/out", c.dir, c.dir)));
    expect_words(words("%s/out", c.dir), counts);
    free(counts);
    cluster_fini(&c);
}
