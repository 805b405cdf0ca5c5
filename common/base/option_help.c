/* option_help.c - what --help prints, and the guess at a misspelt word.  See options.h. */
#include "common/base/options.h"

#include <string.h>

#define HELP_COLUMNS 80
#define HELP_INDENT 26 /* where the texts start */
#define NEAR_BYTES_MAX 32

/* Print words from `column` on, wrapped; further lines are indented. */
static void print_wrapped(FILE *out, const char *text, int column, int indent)
{
    while (*text != 0) {
        int n = (int)strcspn(text, " \n");
        if (column + n > HELP_COLUMNS && column > indent) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        }
        fprintf(out, "%.*s", n, text);
        column += n;
        text += n;
        if (*text == '\n') {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            text++;
        } else if (*text == ' ') {
            if (column + 1 + (int)strcspn(text + 1, " \n") <= HELP_COLUMNS)
                fputc(' ', out), column++;
            else
                column = HELP_COLUMNS;
            text++;
        }
    }
    fputc('\n', out);
}

void options_help_line(FILE *out, const char *left, const char *text)
{
    int n = fprintf(out, "  %s", left);
    if (n + 2 > HELP_INDENT) {
        fputc('\n', out);
        n = 0;
    }
    fprintf(out, "%*s", HELP_INDENT - n, "");
    print_wrapped(out, text, HELP_INDENT, HELP_INDENT);
}

static void print_row(FILE *out, const struct option_row *row)
{
    char left[128], text[1024], fallback[256] = "", env[128] = "";
    char letter[8] = "    ";
    if (row->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", row->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, row->name, row->value == NULL ? "" : " ",
             row->value == NULL ? "" : row->value);
    if (row->fallback != NULL && row->type != OPT_FLAG)
        snprintf(fallback, sizeof fallback, " (default: %s)", row->fallback);
    if (row->env != NULL)
        snprintf(env, sizeof env, " [%s]", row->env);
    snprintf(text, sizeof text, "%s%s%s%s", row->help, row->type == OPT_LIST ? "; may be repeated" : "",
             fallback, env);
    options_help_line(out, left, text);
}

void options_help(const struct options_program *p, FILE *out)
{
    bool env = false;
    fprintf(out, "Usage: %s %s\n\n", p->name, p->usage);
    print_wrapped(out, p->about, 0, 0);
    fprintf(out, "\nOptions:\n");
    for (const struct option_row *row = p->rows; row->name != NULL; row++) {
        print_row(out, row);
        env = env || row->env != NULL;
    }
    options_help_line(out, "-h, --help", "print this and exit");
    options_help_line(out, "-V, --version", "print the version and exit");
    if (env)
        fprintf(out, "\nThe variable in brackets holds for an option that isn't given.\n");
    if (p->after != NULL)
        fprintf(out, "\n%s\n", p->after);
}

/* Edits from a to b: insert, delete, change, or swap two neighbours. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > NEAR_BYTES_MAX || m > NEAR_BYTES_MAX)
        return SIZE_MAX;
    size_t d[NEAR_BYTES_MAX + 1][NEAR_BYTES_MAX + 1];
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            size_t best = i == 0 ? j : j == 0 ? i : d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (i > 0 && j > 0) {
                best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
                best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                    d[i - 2][j - 2] + 1 < best)
                    best = d[i - 2][j - 2] + 1;
            }
            d[i][j] = best;
        }
    return d[n][m];
}

const char *options_near(const char *word, const char *const *candidates)
{
    const char *near = NULL;
    size_t least =
        strlen(word) / 3 < 2 ? strlen(word) / 3 + 1 : 3; /* one edit in short words, two in longer ones */
    for (; *candidates != NULL; candidates++) {
        size_t edits = distance(word, *candidates);
        if (edits < least) {
            least = edits;
            near = *candidates;
        }
    }
    return near;
}
