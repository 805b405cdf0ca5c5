/* wordcount.c - how often each word occurs: FILES... OUT
 *
 * A word is a maximal run of bytes that are no ASCII space.  A line of output
 * is the word, a tab and the count, by descending count, then by the word.
 */
#include <ferro.h>
#include <stdio.h>

static void split(fe_task *t, fe_slice key, fe_slice line)
{
    (void)key;
    fe_slice word;
    for (fe_words w = fe_words_in(line); fe_next_word(&w, &word);)
        fe_emit(t, word, 1);
}

static int wordcount(fe_app *app, int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: wordcount FILES... OUT\n");
        return -1;
    }
    fe_set *lines = fe_text(app, argc - 2, argv + 1);
    fe_set *counts = fe_sum_by_key(fe_flat_map(lines, split, FERRO_TEXT, FERRO_I64));
    return fe_save_text(fe_sort_by_value(counts, FERRO_DESCENDING), argv[argc - 1]);
}

FERRO_JOB("wordcount", wordcount)
