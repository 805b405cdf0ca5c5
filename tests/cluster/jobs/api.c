/* api.c - CASE [ARGUMENT]...: one case for each part of ferro.h; what it prints is compared with a test's own sum.
 *
 * Records go to stdout by fe_save_text("-") or as "key=value" words of one line by show().
 */
#include <ferro.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct point {
    int64_t x;
    int32_t y, z;
};

/* ---- user functions ------------------------------------------------------- */

static void by_seven(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    int64_t n = fe_i64(value);
    fe_emit(t, n % 7, n * 31 % 1000 - 500);
}

static void halves(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    int64_t n = fe_i64(value);
    fe_emit(t, n % 3, (double)n / 2);
}

static void with_name(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    char name[32];
    int64_t n = fe_i64(value);
    snprintf(name, sizeof name, "k%" PRId64, n * 37 % 100);
    fe_emit(t, name, n);
}

static void twice_odd(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    for (int64_t i = 0; i < 2 * (fe_i64(value) % 2); i++)
        fe_emit_value(t, fe_i64(value));
}

static bool even_key(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t;
    (void)value;
    return fe_i64(key) % 2 == 0;
}

static bool never(fe_task *t, fe_slice key, fe_slice value)
{
    (void)t;
    (void)key;
    (void)value;
    return false;
}

static void plus_key(fe_task *t, fe_slice key, fe_slice value)
{
    fe_emit_value(t, fe_i64(value) + 1000 * fe_i64(key));
}

static void swap(fe_task *t, fe_slice key, fe_slice value)
{
    fe_emit(t, fe_i64(value), fe_i64(key));
}

static void to_point(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    int64_t n = fe_i64(value);
    struct point at = { n % 4, (int32_t)(n % 2), 0 }, sums = { n, 1, (int32_t)(n % 10) };
    fe_emit(t, FERRO_BYTES(at), FERRO_BYTES(sums));
}

static void point_text(fe_task *t, fe_slice key, fe_slice value)
{
    char k[64], v[64];
    const struct point *at = FERRO_AS(struct point, key), *sums = FERRO_AS(struct point, value);
    snprintf(k, sizeof k, "(%" PRId64 ",%d)", at->x, at->y);
    snprintf(v, sizeof v, "%" PRId64 "/%d/%d", sums->x, sums->y, sums->z);
    fe_emit(t, k, v);
}

static void add_points(fe_task *t, void *acc, const void *other)
{
    (void)t;
    struct point *a = acc;
    const struct point *b = other;
    a->x += b->x;
    a->y += b->y;
    a->z = a->z > b->z ? a->z : b->z;
}

static void add(fe_task *t, void *acc, const void *other)
{
    (void)t;
    *(int64_t *)acc += *(const int64_t *)other;
}

static void largest(fe_task *t, void *acc, const void *other)
{
    (void)t;
    if (*(const int64_t *)other > *(int64_t *)acc)
        *(int64_t *)acc = *(const int64_t *)other;
}

static void spread(fe_task *t, fe_slice key, fe_values *values)
{
    fe_slice v;
    int64_t n = 0, least = INT64_MAX, most = INT64_MIN;
    for (; fe_next_value(values, &v); n++) {
        least = fe_i64(v) < least ? fe_i64(v) : least;
        most = fe_i64(v) > most ? fe_i64(v) : most;
    }
    char text[96];
    snprintf(text, sizeof text, "%" PRId64 ":%" PRId64 "..%" PRId64, n, least, most);
    fe_emit(t, fe_i64(key), text);
}

struct spread {
    int64_t n, least, most;
};

static void add_spread(fe_task *t, void *to, fe_slice key, fe_slice value)
{
    struct spread *s = to;
    int64_t v = fe_i64(value);
    (void)t, (void)key;
    s->least = s->n == 0 || v < s->least ? v : s->least;
    s->most = s->n == 0 || v > s->most ? v : s->most;
    s->n++;
}

static void merge_spreads(fe_task *t, void *to, const void *from)
{
    struct spread *s = to;
    const struct spread *o = from;
    (void)t;
    s->least = o->least < s->least ? o->least : s->least;
    s->most = o->most > s->most ? o->most : s->most;
    s->n += o->n;
}

static void spread_text(fe_task *t, fe_slice key, fe_slice value)
{
    char text[96];
    const struct spread *s = FERRO_AS(struct spread, value);
    snprintf(text, sizeof text, "%" PRId64 ":%" PRId64 "..%" PRId64, s->n, s->least, s->most);
    fe_emit(t, fe_i64(key), text);
}

static void words(fe_task *t, fe_slice key, fe_slice line)
{
    (void)key;
    fe_slice w;
    for (fe_words all = fe_words_in(line); fe_next_word(&all, &w);)
        fe_emit(t, w, 1);
}

static void length(fe_task *t, fe_slice key, fe_slice value)
{
    (void)value;
    fe_emit(t, (int64_t)key.n, 1);
}

/* name,number,ratio: the second field plus a hundredth of the third */
static void csv(fe_task *t, fe_slice key, fe_slice line)
{
    (void)key;
    fe_slice f[3] = { { 0 } };
    size_t n = fe_fields(line, ',', f, 3);
    fe_emit(t, f[0], (double)fe_parse_i64(f[1], -1) + (n > 2 ? fe_parse_f64(f[2], -1) : 0) / 100);
}

/* A line's length and a hash of its bytes: the same sums whatever the order. */
static void line_sums(fe_task *t, fe_slice key, fe_slice line)
{
    (void)key;
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < line.n; i++)
        h = (h ^ (uint8_t)line.p[i]) * 1099511628211u;
    fe_emit(t, (int64_t)0, (int64_t)1);
    fe_emit(t, (int64_t)1, (int64_t)line.n);
    fe_emit(t, (int64_t)2, (int64_t)(h >> 8));
}

/* ---- showing -------------------------------------------------------------- */

static void show_one(fe_type type, fe_slice s)
{
    if (type == FERRO_I64)
        printf("%" PRId64, fe_i64(s));
    else if (type == FERRO_F64)
        printf("%g", fe_f64(s));
    else if (type == FERRO_TEXT)
        printf("[%.*s]", (int)s.n, s.p);
    else if (type != FERRO_NONE)
        printf("(%" PRId64 ",%d)", FERRO_AS(struct point, s)->x, FERRO_AS(struct point, s)->y);
}

/* All rows on one line after `title`; frees them. */
static int show(const char *title, fe_type key, fe_type value, fe_rows *rows)
{
    fe_slice k, v;
    printf("%s %zu:", title, fe_rows_count(rows));
    while (fe_rows_next(rows, &k, &v)) {
        putchar(' ');
        show_one(key, k);
        if (key != FERRO_NONE)
            putchar('=');
        show_one(value, v);
    }
    putchar('\n');
    fe_rows_free(&rows);
    return 0;
}

static int show_all(const char *title, fe_type key, fe_type value, fe_set *set)
{
    fe_rows *rows;
    return fe_collect(set, &rows) ? -1 : show(title, key, value, rows);
}

/* ---- the cases ------------------------------------------------------------ */

static int collections(fe_app *app)
{
    int64_t ints[] = { 3, -1, 2, INT64_MIN, INT64_MAX };
    double reals[] = { 1.5, -2.25, 0, INFINITY };
    struct point points[] = { { 1, 2, 3 }, { -4, 5, 6 } };
    const char *texts[] = { "b", "", "a b", "\t" };
    return show_all("ints", FERRO_NONE, FERRO_I64, fe_collection(app, FERRO_I64, ints, 5, 2)) ||
           show_all("reals", FERRO_NONE, FERRO_F64, fe_collection(app, FERRO_F64, reals, 4, 0)) ||
           show_all("structs", FERRO_NONE, FERRO_STRUCT(struct point),
                    fe_collection(app, FERRO_STRUCT(struct point), points, 2, 3)) ||
           show_all("texts", FERRO_NONE, FERRO_TEXT, fe_collection(app, FERRO_TEXT, texts, 4, 3)) ||
           show_all("none", FERRO_NONE, FERRO_I64, fe_collection(app, FERRO_I64, ints, 0, 0));
}

/* Ten jobs in one application. */
static int by_key(fe_app *app, int64_t n)
{
    fe_set *pairs = fe_map(fe_range(app, 0, n, 5), by_seven, FERRO_I64, FERRO_I64);
    fe_set *reals = fe_map(fe_range(app, 0, n, 3), halves, FERRO_I64, FERRO_F64);
    fe_set *points = fe_reduce_by_key(
        fe_map(fe_range(app, 0, n, 4), to_point, FERRO_STRUCT(struct point), FERRO_STRUCT(struct point)),
        add_points);
    fe_set *spreads =
        fe_map(fe_aggregate_by_key(pairs, FERRO_STRUCT(struct spread), add_spread, merge_spreads),
               spread_text, FERRO_I64, FERRO_TEXT);
    return show_all("sum", FERRO_I64, FERRO_I64, fe_sort_by_key(fe_sum_by_key(pairs), FERRO_ASCENDING)) ||
           show_all("min", FERRO_I64, FERRO_I64, fe_sort_by_key(fe_min_by_key(pairs), FERRO_ASCENDING)) ||
           show_all("max", FERRO_I64, FERRO_I64, fe_sort_by_key(fe_max_by_key(pairs), FERRO_DESCENDING)) ||
           show_all("count", FERRO_I64, FERRO_I64, fe_sort_by_key(fe_count_by_key(pairs), FERRO_ASCENDING)) ||
           show_all("reduce", FERRO_I64, FERRO_I64,
                    fe_sort_by_key(fe_reduce_by_key(pairs, largest), FERRO_ASCENDING)) ||
           show_all("reals", FERRO_I64, FERRO_F64, fe_sort_by_key(fe_sum_by_key(reals), FERRO_ASCENDING)) ||
           show_all("least", FERRO_I64, FERRO_F64, fe_sort_by_key(fe_min_by_key(reals), FERRO_ASCENDING)) ||
           show_all("group", FERRO_I64, FERRO_TEXT,
                    fe_sort_by_key(fe_group_by_key(pairs, spread, FERRO_I64, FERRO_TEXT), FERRO_ASCENDING)) ||
           show_all("aggregate", FERRO_I64, FERRO_TEXT, fe_sort_by_key(spreads, FERRO_ASCENDING)) ||
           show_all("points", FERRO_TEXT, FERRO_TEXT,
                    fe_sort_by_key(fe_map(points, point_text, FERRO_TEXT, FERRO_TEXT), FERRO_ASCENDING));
}

static int sorting(fe_app *app)
{
    double reals[] = { 2.5, -1, NAN, 0, -INFINITY, 1e300, -1e-300 };
    const char *texts[] = { "b", "ab", "a", "", "abc", "\xff", "B" };
    fe_set *named = fe_map(fe_range(app, 0, 12, 4), with_name, FERRO_TEXT, FERRO_I64);
    fe_set *sevens = fe_map(fe_range(app, 0, 20, 3), by_seven, FERRO_I64, FERRO_I64);
    return show_all("names", FERRO_TEXT, FERRO_I64, fe_sort_by_key(named, FERRO_ASCENDING)) ||
           show_all("names-down", FERRO_TEXT, FERRO_I64, fe_sort_by_key(named, FERRO_DESCENDING)) ||
           show_all("values", FERRO_I64, FERRO_I64,
                    fe_sort_by_value(fe_count_by_key(sevens), FERRO_DESCENDING)) ||
           show_all("values-up", FERRO_I64, FERRO_I64, fe_sort_by_value(sevens, FERRO_ASCENDING)) ||
           show_all("reals", FERRO_NONE, FERRO_F64,
                    fe_sort_by_value(fe_collection(app, FERRO_F64, reals, 7, 3), FERRO_ASCENDING)) ||
           show_all("texts", FERRO_NONE, FERRO_TEXT,
                    fe_sort_by_value(fe_collection(app, FERRO_TEXT, texts, 7, 2), FERRO_ASCENDING));
}

static int narrow(fe_app *app)
{
    fe_set *numbers = fe_range(app, 0, 10, 3), *pairs = fe_map(numbers, by_seven, FERRO_I64, FERRO_I64);
    fe_set *odd = fe_flat_map(numbers, twice_odd, FERRO_NONE, FERRO_I64);
    fe_set *both = fe_union(fe_union(odd, numbers), fe_range(app, 100, 102, 1));
    int64_t n;
    if (show_all("flat", FERRO_NONE, FERRO_I64, odd) ||
        show_all("filter", FERRO_I64, FERRO_I64, fe_filter(pairs, even_key)) ||
        show_all("values", FERRO_I64, FERRO_I64, fe_map_values(pairs, plus_key, FERRO_I64)) ||
        show_all("union", FERRO_NONE, FERRO_I64, both) ||
        show_all("swap", FERRO_I64, FERRO_I64,
                 fe_map(fe_filter(pairs, even_key), swap, FERRO_I64, FERRO_I64)) ||
        fe_count(both, &n))
        return -1;
    printf("count %" PRId64 "\n", n);
    return 0;
}

static int empty(fe_app *app)
{
    int64_t n, acc = -5;
    bool none = false;
    fe_rows *rows;
    fe_set *nothing = fe_filter(fe_range(app, 0, 100, 4), never),
           *pairs = fe_map(nothing, by_seven, FERRO_I64, FERRO_I64);
    if (fe_count(nothing, &n) || fe_reduce(nothing, add, &acc, &none) || fe_take(nothing, 5, &rows))
        return -1;
    printf("count %" PRId64 " empty %d take %zu\n", n, none, fe_rows_count(rows));
    fe_rows_free(&rows);
    if (fe_reduce(fe_range(app, 1, 101, 7), add, &acc, &none))
        return -1;
    printf("sum %" PRId64 " empty %d\n", acc, none);
    return show_all("sorted", FERRO_I64, FERRO_I64, fe_sort_by_key(fe_sum_by_key(pairs), FERRO_ASCENDING)) ||
           show_all("range", FERRO_NONE, FERRO_I64, fe_range(app, 5, 5, 2));
}

static int take(fe_app *app, size_t n)
{
    fe_rows *rows;
    return fe_take(fe_range(app, 0, 6400, 64), n, &rows) || show("take", FERRO_NONE, FERRO_I64, rows);
}

/* How many words occur how often have which length: four shuffles in one job. */
static int chain(fe_app *app, int n, char **names)
{
    fe_set *counts = fe_sum_by_key(fe_flat_map(fe_text(app, n, names), words, FERRO_TEXT, FERRO_I64));
    fe_set *lengths = fe_sum_by_key(fe_map(counts, length, FERRO_I64, FERRO_I64));
    fe_set *few = fe_group_by_key(fe_map(lengths, swap, FERRO_I64, FERRO_I64), spread, FERRO_I64, FERRO_TEXT);
    return show_all("chain", FERRO_I64, FERRO_TEXT, fe_sort_by_key(few, FERRO_DESCENDING));
}

static int lines(fe_app *app, int n, char **names)
{
    fe_set *sums = fe_sum_by_key(fe_flat_map(fe_text(app, n, names), line_sums, FERRO_I64, FERRO_I64));
    return show_all("lines", FERRO_I64, FERRO_I64, fe_sort_by_key(sums, FERRO_ASCENDING));
}

static int fields(fe_app *app, int n, char **names)
{
    return show_all("fields", FERRO_TEXT, FERRO_F64,
                    fe_map(fe_text(app, n, names), csv, FERRO_TEXT, FERRO_F64));
}

/* Saves PARTS partitions of two columns into OUT. */
static int save(fe_app *app, uint32_t parts, const char *out)
{
    fe_say(app, "saving %u parts", parts);
    fe_set *pairs = fe_map(fe_range(app, 0, 1000, 3), with_name, FERRO_TEXT, FERRO_I64);
    return fe_save_text(fe_partitions(fe_sort_by_key(pairs, FERRO_ASCENDING), parts), out);
}

/* A mistake of the job's author: the text that this function emits is no i64. */
static void wrong_type(fe_task *t, fe_slice key, fe_slice value)
{
    (void)key;
    (void)value;
    fe_emit_value(t, "text");
}

static int mistaken(fe_app *app)
{
    return show_all("mistaken", FERRO_NONE, FERRO_I64,
                    fe_map(fe_range(app, 0, 3, 1), wrong_type, FERRO_NONE, FERRO_I64));
}

static int api(fe_app *app, int argc, char **argv)
{
    const char *which = argc > 1 ? argv[1] : "";
    int rest = argc - 2;
    char **args = argv + 2;
    if (!strcmp(which, "collections"))
        return collections(app);
    if (!strcmp(which, "by_key") && rest == 1)
        return by_key(app, atoll(args[0]));
    if (!strcmp(which, "sorting"))
        return sorting(app);
    if (!strcmp(which, "narrow"))
        return narrow(app);
    if (!strcmp(which, "empty"))
        return empty(app);
    if (!strcmp(which, "take") && rest == 1)
        return take(app, (size_t)atoll(args[0]));
    if (!strcmp(which, "chain") && rest > 0)
        return chain(app, rest, args);
    if (!strcmp(which, "lines") && rest > 0)
        return lines(app, rest, args);
    if (!strcmp(which, "fields") && rest > 0)
        return fields(app, rest, args);
    if (!strcmp(which, "save") && rest == 2)
        return save(app, (uint32_t)atoi(args[0]), args[1]);
    if (!strcmp(which, "mistaken"))
        return mistaken(app);
    fprintf(stderr, "usage: api CASE [ARGUMENT]...\n");
    return -1;
}

FERRO_JOB("api", api)
