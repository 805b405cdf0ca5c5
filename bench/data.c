/* data.c - test data from a seed: data KIND SIZE SEED [RIGHT] > FILE
 *
 *   text-zipf, text-distinct           SIZE bytes of words, few or many distinct ones
 *   records                            SIZE lines of 100 bytes, to sort
 *   csv                                SIZE lines `name;-99.9`, 413 names, to group
 *   join-left-uniform, join-left-zipf  SIZE rows of {int64 key, value} that match 95 % of
 *                                      a right side of RIGHT rows (SIZE / 10)
 *   join-right                         SIZE such rows of distinct keys
 *   graph-uniform, graph-skewed        SIZE edges of {int64 from, to} over SIZE / 5 nodes
 *   points                             SIZE points of 8 doubles in 16 clusters
 *
 * The heads of data/text.c, lines.c and numbers.c give the exact distributions.
 *
 * All arithmetic on the way to a byte is on integers, or exact, so that the same seed
 * makes the same file everywhere.
 */
#include "data/data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EDGES_MAX (5ull * ZIPF_MAX)

static const struct kind {
    const char *name;
    void (*write)(const struct wanted *);
    uint64_t size_max; /* that the draws can reach */
} kinds[] = {
    { "text-zipf", write_text_zipf, UINT64_MAX },
    { "text-distinct", write_text_distinct, UINT64_MAX },
    { "records", write_records, UINT64_MAX },
    { "csv", write_csv, UINT64_MAX },
    { "join-left-uniform", write_join_left_uniform, UINT64_MAX },
    { "join-left-zipf", write_join_left_zipf, UINT64_MAX },
    { "join-right", write_join_right, ZIPF_MAX },
    { "graph-uniform", write_graph_uniform, EDGES_MAX },
    { "graph-skewed", write_graph_skewed, EDGES_MAX },
    { "points", write_points, UINT64_MAX },
};
#define KINDS (sizeof kinds / sizeof *kinds)

static int usage(void)
{
    fprintf(stderr, "usage: data KIND SIZE SEED [RIGHT] > FILE\nKIND is one of");
    for (size_t i = 0; i < KINDS; i++)
        fprintf(stderr, " %s", kinds[i].name);
    fprintf(stderr,
            "\nSIZE counts bytes of text, else rows; RIGHT is for a join's left side: rows on its right\n");
    return 2;
}

static int number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno || end == text || *end || *text == '-' ? -1 : 0;
}

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < KINDS; i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

/* RIGHT, given or not. */
static int read_right(int argc, char **argv, struct wanted *w)
{
    int is_left = !strncmp(argv[1], "join-left-", 10);
    if (argc == 5 && (!is_left || number(argv[4], &w->right) || w->right == 0))
        return -1;
    if (argc == 4)
        w->right = w->size < 10 ? 1 : w->size / 10;
    return is_left && w->right > ZIPF_MAX ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct wanted w;
    const struct kind *kind;
    if (argc < 4 || argc > 5 || !(kind = find_kind(argv[1])) || number(argv[2], &w.size) ||
        number(argv[3], &w.seed) || w.size > kind->size_max || read_right(argc, argv, &w))
        return usage();
    kind->write(&w);
    out_flush();
    return 0;
}
