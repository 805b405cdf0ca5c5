/* main.c - HOW [OUT]: a main that ends in the way that HOW says, after one job that went well.
 *
 * segv: by a null pointer.  deep: its stack overflows.  abort: abort().  return: returns 5.  exit: exit(9).
 */
#include <ferro.h>
#include <stdlib.h>

static int deep(volatile char *from)
{
    volatile char here[4096];
    here[0] = from ? from[0] : 0;
    return here[0] == 1 ? 0 : deep(here) + here[0];
}

static int ends(fe_app *app, int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    int64_t n;
    volatile int *volatile nothing = NULL;
    if (fe_count(fe_range(app, 0, 10, 1), &n))
        return -1;
    if (!strcmp(how, "segv"))
        *nothing = 1;
    if (!strcmp(how, "deep"))
        return deep(NULL);
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "exit"))
        exit(9);
    return !strcmp(how, "return") ? 5 : 0;
}

FERRO_JOB("main", ends)
