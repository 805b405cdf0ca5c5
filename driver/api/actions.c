/* actions.c - what makes a job run: count, collect, take, reduce, aggregate, save_text.
 *
 * What goes wrong before or after the job is said here; how the job itself went is
 * said by who ran it.
 */
#include "driver/api/rows.h"
#include "driver/api/set.h"
#include "engine/frame.h"
#include "engine/ops/op.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One action under way. */
struct action_run {
    fe_set *set;
    const char *name; /* "count" */
    fe_place place;
    struct plan_node sink;
    struct arena arena; /* the plan */
    struct job_spec job;
    struct job_outcome outcome;
};

/* `name`: without "fe_". */
static struct action_run action(fe_set *set, const char *name, enum op_code op, fe_place place)
{
    set = set_given(set, name, place);
    struct action_run a = {
        .set = set, .name = name, .place = place, .sink = set_node(set->app, op, name, place)
    };
    a.sink.data = set->args;
    return a;
}

static int say_failed(struct action_run *a, const char *words)
{
    a->set->app->runtime->say(a->set->app->runtime->user, words);
    a->set->app->failed = true;
    return -1;
}

static int __attribute__((format(printf, 2, 3))) action_fail(struct action_run *a, const char *fmt, ...)
{
    char words[2 * ERROR_WORDS_MAX];
    int n = snprintf(words, ERROR_WORDS_MAX, "%s:%d: fe_%s: ", a->sink.file, a->place.line, a->name);
    n = n < ERROR_WORDS_MAX ? n : ERROR_WORDS_MAX - 1;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words + n, sizeof words - (size_t)n, fmt, ap);
    va_end(ap);
    return say_failed(a, words);
}

/* Cut the lineage into stages.  0, or -1 after it was said why not. */
static int action_plan(struct action_run *a, enum stage_kind kind)
{
    struct error e;
    const char *error = a->set->app->error ? a->set->app->error : a->set->error;
    a->set->app->error = NULL;
    if (error)
        return say_failed(a, error);
    if (a->sink.data.n && !a->sink.fn)
        return action_fail(a, "it has no function that could take the arguments of fe_with");
    return planner_cut(&a->arena, a->set, a->sink, kind, &a->job, &e) ? say_failed(a, e.words) : 0;
}

/* Run what was planned.  0 and the results, or -1. */
static int action_go(struct action_run *a)
{
    const struct runtime *rt = a->set->app->runtime;
    if (rt->run(rt->user, &a->job, &a->outcome) == 0)
        return 0;
    a->set->app->failed = true;
    return -1;
}

static void action_end(struct action_run *a)
{
    const struct runtime *rt = a->set->app->runtime;
    rt->release(rt->user, &a->outcome);
    arena_fini(&a->arena);
}

/* ---- count ------------------------------------------------------------------------------ */

int fe_count_at(fe_set *set, int64_t *out, fe_place place)
{
    struct action_run a = action(set, "count", OP_COUNT, place);
    if (!out)
        return action_fail(&a, "there is no place for the result: `out` is NULL");
    int failed = action_plan(&a, STAGE_RESULT) || action_go(&a);
    *out = failed ? 0 : (int64_t)a.outcome.rows;
    action_end(&a);
    return failed ? -1 : 0;
}

/* ---- collect and take --------------------------------------------------------------------- */

static int rows_get(struct action_run *a, fe_rows **out)
{
    struct error e;
    if (!out)
        return action_fail(a, "there is no place for the records: `out` is NULL");
    *out = NULL;
    int failed = action_plan(a, STAGE_RESULT);
    a->job.take_rows = a->sink.limit;
    failed = failed || action_go(a);
    if (!failed) {
        const struct plan_node *n = &a->set->node;
        *out = rows_new(a->set->app->runtime, &a->outcome, n->key, n->value, a->sink.limit, &e);
        failed = !*out && action_fail(a, "a result is broken: %s", e.words);
    }
    action_end(a);
    return failed ? -1 : 0;
}

int fe_collect_at(fe_set *set, fe_rows **out, fe_place place)
{
    struct action_run a = action(set, "collect", OP_COLLECT, place);
    return rows_get(&a, out);
}

int fe_take_at(fe_set *set, size_t n, fe_rows **out, fe_place place)
{
    struct error e;
    struct action_run a = action(set, "take", OP_COLLECT, place);
    a.sink.limit = n;
    if (n || !out)
        return rows_get(&a, out);
    set = a.set;
    *out = NULL;
    if (set->error)
        return say_failed(&a, set->error);
    *out = rows_new(set->app->runtime, &a.outcome, set->node.key, set->node.value, 0, &e);
    return 0;
}

/* ---- reduce ------------------------------------------------------------------------------ */

struct merging {
    struct action_run *a;
    struct run run; /* what fe_fail in the user's function reports to */
    struct rec_report report;
    struct emitter task;
    fe_merge *fn;
    fe_type type;
    void *acc;
    bool some;
};

static int result_merge(struct merging *m, struct bytes result)
{
    struct batch b;
    struct error e;
    if (result.n == 0)
        return 0;
    if (frame_get(result, FERRO_NONE, m->type, NULL, &b, &e) < 0 || b.rows != 1)
        return action_fail(m->a, "a partition's result is broken");
    if (m->some)
        m->fn(&m->task.task, m->acc, b.value.data);
    else
        memcpy(m->acc, b.value.data, type_size(m->type));
    m->some = true;
    if (m->task.task.failed)
        return action_fail(m->a, "%.*s", (int)m->report.words.n, (const char *)m->report.words.p);
    return 0;
}

/* The tasks' accumulators of this type into `acc`, the first as it is. */
static int results_merge(struct action_run *a, fe_merge *fn, fe_type type, void *acc, bool *empty)
{
    struct merging m = { .a = a, .fn = fn, .type = type, .acc = acc };
    m.run = (struct run){ .report = &m.report, .attempt = 1 };
    emitter_init(&m.task, &m.run, &a->sink);
    int failed = 0;
    for (uint64_t i = 0; !failed && i < a->outcome.nresults; i++)
        failed = result_merge(&m, a->outcome.results[i]);
    emitter_fini(&m.task);
    arena_fini(&m.run.arena);
    if (empty)
        *empty = !m.some;
    return failed;
}

int fe_reduce_at(fe_set *set, fe_merge *fn, void *acc, bool *empty, fe_place place)
{
    struct action_run a = action(set, "reduce", OP_REDUCE, place);
    char type[TYPE_NAME_MAX];
    set = a.set;
    fe_set *checked = set_new(set->app, OP_REDUCE, "reduce", place, set->node.key, set->node.value);
    checked->error = set->error;
    a.sink.fn = set_fn(checked, (const void *)fn);
    if (!acc)
        set_fail(checked, "there is no place for the result: `acc` is NULL");
    if (type_size(set->node.value) == 0)
        set_fail(checked, "values must have a fixed size to be merged, these are %s",
                 type_name(set->node.value, type));
    if (checked->error)
        return say_failed(&a, checked->error);
    int failed =
        action_plan(&a, STAGE_RESULT) || action_go(&a) || results_merge(&a, fn, set->node.value, acc, empty);
    action_end(&a);
    return failed ? -1 : 0;
}

int fe_aggregate_at(fe_set *set, void *acc, size_t n, fe_add *add, fe_merge *merge, fe_place place)
{
    struct action_run a = action(set, "aggregate", OP_AGGREGATE, place);
    set = a.set;
    fe_set *checked = set_new(set->app, OP_AGGREGATE, "aggregate", place, set->node.key, set->node.value);
    checked->error = set->error;
    set_fn(checked, (const void *)merge);
    a.sink.fn = set_fn(checked, (const void *)add);
    a.sink.value = FERRO_STRUCT(char) - 1 + (fe_type)n;
    if (!acc)
        set_fail(checked, "there is no place for the result: `acc` is NULL");
    if (n == 0 || n > STRUCT_BYTES_MAX)
        set_fail(checked, "an accumulator of %zu bytes; 1 to %u", n, STRUCT_BYTES_MAX);
    if (checked->error)
        return say_failed(&a, checked->error);
    memset(acc, 0, n);
    int failed =
        action_plan(&a, STAGE_RESULT) || action_go(&a) || results_merge(&a, merge, a.sink.value, acc, NULL);
    action_end(&a);
    return failed ? -1 : 0;
}

/* ---- save_text ------------------------------------------------------------------------------ */

static int print_results(struct action_run *a)
{
    for (uint64_t i = 0; i < a->outcome.nresults; i++) {
        struct bytes r = a->outcome.results[i];
        if (r.n && fwrite(r.p, 1, r.n, stdout) != r.n)
            return action_fail(a, "stdout: %s", strerror(errno));
    }
    return fflush(stdout) ? action_fail(a, "stdout: %s", strerror(errno)) : 0;
}

static const char *absolute(struct arena *arena, const char *dir)
{
    char *cwd = dir[0] == '/' ? NULL : getcwd(NULL, 0);
    size_t n = cwd ? strlen(cwd) : 0;
    char *path = arena_alloc(arena, n + strlen(dir) + 2);
    if (cwd) {
        memcpy(path, cwd, n);
        path[n++] = '/';
    }
    memcpy(path + n, dir, strlen(dir));
    free(cwd);
    return path;
}

static int save(struct action_run *a, const char *dir)
{
    struct error e;
    const struct runtime *rt = a->set->app->runtime;
    if (action_plan(a, STAGE_SAVE))
        return -1;
    a->job.save_dir = absolute(&a->arena, dir);
    if (a->job.save_dir[0] != '/')
        return action_fail(a, "%s: the current folder can't be found", dir);
    if (rt->save_open(rt->user, a->job.save_dir, a->job.save_token, &e))
        return action_fail(a, "%s", e.words);
    return action_go(a);
}

int fe_save_text_at(fe_set *set, const char *dir, fe_place place)
{
    struct action_run a = action(set, "save_text", OP_SAVE_TEXT, place);
    int failed;
    if (!dir || !*dir)
        failed = action_fail(&a, "no folder is named");
    else if (strcmp(dir, "-"))
        failed = save(&a, dir);
    else
        failed = action_plan(&a, STAGE_RESULT) || action_go(&a) || print_results(&a);
    action_end(&a);
    return failed ? -1 : 0;
}
