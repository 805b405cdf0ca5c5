/* slow.c - see slow.h. */
#include "tests/cluster/slow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct proc slow_start(struct cluster *c, int tasks, int ms, const char *out)
{
    struct proc job = { 0 };
    ferro_start(c, &job, words("submit --quiet " SLOW " %d %d %s/%s", tasks, ms, c->dir, out));
    json_decref(proc_await(&job, "task.committed", "stage=0", NULL));
    return job;
}

void slow_expect(const struct cluster *c, const char *out, int64_t tasks)
{
    int64_t sum[10] = { 0 };
    bool any[10] = { false };
    char expected[512] = "";
    size_t n = 0;
    for (int64_t i = 0; i < tasks; i++) {
        sum[i * i % 10] += i * i;
        any[i * i % 10] = true;
    }
    for (int d = 0; d < 10; d++)
        if (any[d])
            n += (size_t)snprintf(expected + n, sizeof expected - n, "%d\t%" PRId64 "\n", d, sum[d]);
    char *parts = parts_text(words("%s/%s", c->dir, out));
    cr_expect_str_eq(parts, expected, "the result is wrong:\n%s", parts);
    free(parts);
}

void app_expect(struct cluster *c, int app, const char *state)
{
    char *out = ferro_expect(c, 0, NULL, "apps --json");
    json_t *rows = json_loads(out, 0, NULL), *row = NULL;
    for (size_t i = 0; i < json_array_size(rows) && !row; i++)
        if (json_integer_value(json_object_get(json_array_get(rows, i), "app")) == app)
            row = json_array_get(rows, i);
    const char *got = json_string_value(json_object_get(row, "state")),
               *why = json_string_value(json_object_get(row, "words"));
    cr_expect(got && !strcmp(got, state), "app %d is not %s: %s", app, state, out);
    if (strcmp(state, "ok") && strcmp(state, "running"))
        cr_expect(why && *why, "app %d ended without a cause: %s", app, out);
    json_decref(rows);
    free(out);
}
