/* sort.c - the lines of a file in the order of their bytes, in a folder: sort INPUT OUT */
#include <ferro.h>
#include <stdio.h>

static int run(fe_app *app, int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: sort INPUT OUT\n");
        return -1;
    }
    fe_set *lines = fe_text(app, 1, argv + 1);
    return fe_save_text(fe_sort_by_value(lines, FERRO_ASCENDING), argv[2]);
}

FERRO_JOB("sort", run)
