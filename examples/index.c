/* index.c - which files each word is in: FILES... OUT
 *
 * A line of output is the word, a tab and the paths of its files in byte order, with a blank between them; by word.
 */
#include <ferro.h>
#include <stdio.h>
#include <stdlib.h>

static void *must(void *p)
{
    if (!p)
        abort(); /* the attempt fails, and says that it was killed */
    return p;
}

/* Key: word, tab, path.  Such pairs are counted only to have each once. */
static void pair(fe_task *t, fe_slice key, fe_slice line)
{
    (void)key;
    fe_slice word, name = fe_input_name(t);
    for (fe_words w = fe_words_in(line); fe_next_word(&w, &word);) {
        char *both = must(malloc(word.n + 1 + name.n));
        memcpy(both, word.p, word.n);
        both[word.n] = '\t';
        memcpy(both + word.n + 1, name.p, name.n);
        fe_emit(t, ((fe_slice){ both, word.n + 1 + name.n }), 1);
        free(both);
    }
}

static void apart(fe_task *t, fe_slice both, fe_slice count)
{
    (void)count;
    size_t n = (size_t)((const char *)memchr(both.p, '\t', both.n) - both.p); /* no word has a tab */
    fe_emit(t, ((fe_slice){ both.p, n }), ((fe_slice){ both.p + n + 1, both.n - n - 1 }));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(fe_task *t, fe_slice word, fe_values *values)
{
    fe_slice name;
    size_t n = 0, bytes = 0;
    char **names = NULL;
    while (fe_next_value(values, &name)) {
        names = must(realloc(names, (n + 1) * sizeof *names));
        names[n++] = must(strndup(name.p, name.n));
        bytes += name.n + 1;
    }
    qsort(names, n, sizeof *names, by_name);
    char *all = must(malloc(bytes)), *end = all;
    for (size_t i = 0; i < n; i++) {
        end = stpcpy(end, names[i]);
        *end++ = ' ';
        free(names[i]);
    }
    fe_emit(t, word, ((fe_slice){ all, bytes - 1 }));
    free(all);
    free(names);
}

static int index_words(fe_app *app, int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: index FILES... OUT\n");
        return -1;
    }
    fe_set *lines = fe_text(app, argc - 2, argv + 1);
    fe_set *pairs = fe_count_by_key(fe_flat_map(lines, pair, FERRO_TEXT, FERRO_I64));
    fe_set *files =
        fe_group_by_key(fe_map(pairs, apart, FERRO_TEXT, FERRO_TEXT), list, FERRO_TEXT, FERRO_TEXT);
    return fe_save_text(fe_sort_by_key(files, FERRO_ASCENDING), argv[argc - 1]);
}

FERRO_JOB("index", index_words)
