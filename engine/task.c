/* task.c - a stage made ready, and one partition of it run: see task.h. */
#include "engine/join/tables.h"
#include "engine/ops/op.h"
#include "engine/kept.h"
#include "engine/shared.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET_DEFAULT (256ull << 20) /* where the slot's memory isn't told */

struct task_stage {
    const struct task_env *env;
    struct arena arena; /* plan, message, what follows */
    struct plan plan;
    const struct msg_stage *msg;
    uint32_t *parent;      /* of each node but the root */
    uint32_t *leaf_node;   /* of each input: its leaf */
    uint64_t *first;       /* of each input: its first partition; one more: how many there are */
    struct tables **sides; /* of each side: its tables, NULL: no task needed them yet; owned */
    struct run run;        /* of the last attempt: the report points into its arena */
    struct shared shared;
};

/* ---- what operators ask for ----------------------------------------------------------- */

int run_fail(struct run *r, enum cause cause, const char *fmt, ...)
{
    if (r->failed)
        return -1;
    char words[ERROR_WORDS_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    r->failed = true;
    r->report->cause = cause;
    r->report->words = bytes_of(arena_strdup(&r->arena, words));
    return -1;
}

int run_fetch(struct run *r, const struct rec_want *wants, uint32_t n, struct rec_got *got, int *fds)
{
    for (uint32_t i = 0; i < n; i++)
        fds[i] = -1;
    if (r->env->fetch(r->env->user, wants, n, got, fds))
        return run_fail(r, CAUSE_HOST, "the executor is gone");
    return 0;
}

int run_driver_failed(struct run *r, const struct rec_got *got, const char *fmt, ...)
{
    char words[ERROR_WORDS_MAX];
    va_list ap;
    bool away = got->code == BLOCK_UNREACHABLE || got->code == BLOCK_BUSY || got->code == BLOCK_IO;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    bool full = got->code == BLOCK_FULL; /* waiting makes no room: it counts, and others may have some */
    enum cause cause = full ? CAUSE_ERROR : away ? CAUSE_FETCH : CAUSE_INPUT;
    return run_fail(r, cause, "%s; %s%.*s", words, away || full ? "" : "the driver: ", (int)got->words.n,
                    (const char *)got->words.p);
}

static const void *fn_at(const struct task_env *env, uint64_t offset)
{
    return (const void *)((uintptr_t)env->library + offset);
}

const void *run_fn(const struct run *r, const struct plan_node *node)
{
    return fn_at(r->env, node->fn);
}

/* ---- opening: what a plan must keep to, so that operators may rely on it ---------------- */

static bool is_leaf(const struct plan_node *n)
{
    return n->child[0] == PLAN_NONE;
}

static bool needs_fn(const struct plan_node *n)
{
    uint32_t op = n->op;
    return n->kernel == FERRO_AGGREGATE || op == OP_MAP || op == OP_FLAT_MAP || op == OP_FILTER ||
           op == OP_MAP_VALUES || op == OP_REDUCE || op == OP_READ_GROUPS || op == OP_MAP_PARTITIONS ||
           op == OP_AGGREGATE || op == OP_JOIN || op == OP_COGROUP || op == OP_PROBE;
}

static int fn_check(const struct task_env *env, const struct plan_node *n, struct error *e)
{
    Dl_info info;
    if (n->fn == 0 && needs_fn(n))
        return error_set(e, EPROTO, "%s (%s:%u): it has no function", op_name(n->op), n->file, n->line);
    if (n->fn && (!dladdr(fn_at(env, n->fn), &info) || info.dli_fbase != env->library))
        return error_set(e, EPROTO, "%s (%s:%u): its function does not lie in the job's library", n->fn_name,
                         n->file, n->line);
    return 0;
}

/* Does it put out (sinks: take in) what it gets from this child? */
static bool types_fit(const struct plan_node *n, const struct plan_node *child)
{
    switch (n->op) {
    case OP_MAP:
    case OP_FLAT_MAP:
    case OP_MAP_PARTITIONS: return true;
    case OP_AGGREGATE:
        return n->in_key == child->key && n->in_value == child->value && type_size(n->value) != 0;
    case OP_MAP_VALUES: return n->key == child->key;
    case OP_WRITE_HASH:
        return n->key == child->key && (n->kernel == FERRO_AGGREGATE || n->value == child->value);
    case OP_REDUCE: return n->value == child->value && type_size(n->value) != 0;
    case OP_PROBE: return n->in_key == child->key && (n->swapped ? n->other : n->in_value) == child->value;
    default: return n->key == child->key && n->value == child->value;
    }
}

static bool leaf_types_fit(const struct plan_node *n)
{
    switch (n->op) {
    case OP_TEXT: return n->key == FERRO_NONE && n->value == FERRO_TEXT;
    case OP_BINARY: return n->key == FERRO_NONE && type_size(n->value) != 0;
    case OP_RANGE: return n->key == FERRO_NONE && n->value == FERRO_I64;
    default: return true;
    }
}

static int node_check(struct task_stage *s, uint32_t i, struct error *e)
{
    struct plan_node *n = &s->plan.nodes[i];
    bool fits = !is_leaf(n) || leaf_types_fit(n);
    for (int k = 0; k < 2 && n->child[k] != PLAN_NONE; k++) {
        s->parent[n->child[k]] = i;
        fits &= types_fit(n, &s->plan.nodes[n->child[k]]);
    }
    fits &= n->op != OP_PROBE || n->side < s->msg->sides.n;
    if (!fits)
        return error_set(e, EPROTO, "%s (%s:%u): the plan's types don't fit together", op_name(n->op),
                         n->file, n->line);
    if (n->fn)
        n->data = arena_bytes(&s->arena, n->data); /* fe_args() are aligned as arenas are */
    return fn_check(s->env, n, e);
}

static int inputs_find(struct task_stage *s, struct error *e)
{
    uint32_t leaves = 0;
    for (uint32_t i = 0; i < s->plan.n; i++)
        if (is_leaf(&s->plan.nodes[i]) && leaves++ < s->msg->inputs.n)
            s->leaf_node[leaves - 1] = i;
    if (leaves != s->msg->inputs.n)
        return error_set(e, EPROTO, "stage %u: %u inputs for a plan of %u", s->msg->stage, s->msg->inputs.n,
                         leaves);
    for (uint32_t i = 0; i < leaves; i++)
        s->first[i + 1] = s->first[i] + s->msg->inputs.v[i].ntasks;
    return 0;
}

static int stage_read(struct task_stage *s, struct bytes frame, struct error *e)
{
    struct head head;
    s->msg = proto_decode(&s->arena, frame, &head, e);
    if (!s->msg)
        return error_prefix(e, "a stage: ");
    if (head.tag != MSG_STAGE)
        return error_set(e, EPROTO, "a stage: it is %s", proto_name(head.tag));
    if (plan_decode(&s->arena, s->msg->body, &s->plan, e))
        return -1;
    s->parent = arena_alloc(&s->arena, s->plan.n * sizeof *s->parent);
    s->leaf_node = arena_alloc(&s->arena, (s->msg->inputs.n + 1u) * sizeof *s->leaf_node);
    s->first = arena_alloc(&s->arena, (s->msg->inputs.n + 1u) * sizeof *s->first);
    s->sides = arena_alloc(&s->arena, (s->msg->sides.n + 1u) * sizeof(struct tables *));
    for (uint32_t i = 0; i < s->plan.n; i++)
        if (node_check(s, i, e))
            return -1;
    return inputs_find(s, e);
}

struct task_stage *ferro_stage_open(struct bytes frame, const struct task_env *env, struct error *e)
{
    struct task_stage *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->env = env;
    if (env->kept)
        kept_stage(env->kept);
    if (stage_read(s, frame, e))
        ferro_stage_close(&s);
    return s;
}

void ferro_stage_close(struct task_stage **s)
{
    if (!*s)
        return;
    shared_fini(&(*s)->shared);
    for (uint32_t i = 0; (*s)->sides && i < (*s)->msg->sides.n; i++)
        tables_close(&(*s)->sides[i]);
    arena_fini(&(*s)->run.arena);
    arena_fini(&(*s)->arena);
    free(*s);
    *s = NULL;
}

/* ---- running ---------------------------------------------------------------------------- */

static struct op *leaf_open(struct run *r, const struct leaf *leaf)
{
    switch (leaf->node->op) {
    case OP_TEXT: return op_text(r, leaf);
    case OP_BINARY: return op_binary(r, leaf);
    case OP_COLLECTION: return op_collection(r, leaf);
    case OP_RANGE: return op_range(r, leaf);
    case OP_READ_HASH: return op_read_hash(r, leaf);
    case OP_READ_ROWS: return op_read_rows(r, leaf);
    case OP_READ_GROUPS:
    case OP_COGROUP: return op_read_groups(r, leaf);
    case OP_READ_BUCKETS: return op_read_buckets(r, leaf);
    case OP_JOIN: return op_read_join(r, leaf);
    default: return op_read_sorted(r, leaf);
    }
}

static struct op *narrow_open(struct run *r, const struct plan_node *n, struct op *child)
{
    struct op *op;
    switch (n->op) {
    case OP_UNION: op = child; break;
    case OP_FILTER: op = op_filter(r, n, child); break;
    case OP_MAP_PARTITIONS: op = op_map_partitions(r, n, child); break;
    case OP_PROBE: op = op_probe(r, n, child); break;
    default: op = op_map(r, n, child);
    }
    if (!op)
        child->free(child);
    return op;
}

static int sink_run(struct run *r, const struct plan_node *n, struct op *child)
{
    switch (n->op) {
    case OP_WRITE_HASH: return sink_write_hash(r, n, child);
    case OP_WRITE_RANGE: return sink_write_range(r, n, child);
    case OP_WRITE_ROWS: return sink_write_rows(r, n, child);
    case OP_WRITE_TABLE: return sink_write_table(r, n, child);
    case OP_COUNT: return sink_count(r, n, child);
    case OP_COLLECT: return sink_collect(r, n, child);
    case OP_REDUCE: return sink_reduce(r, n, child);
    case OP_AGGREGATE: return sink_aggregate(r, n, child);
    default: return sink_save_text(r, n, child);
    }
}

/* Which input a partition of the stage belongs to: the last that begins at or before it. */
static uint32_t input_of(const struct task_stage *s, uint32_t part)
{
    uint32_t low = 0, high = s->msg->inputs.n;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (s->first[middle] <= part)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void part_run(struct task_stage *s)
{
    struct run *r = &s->run;
    if (r->part >= s->first[s->msg->inputs.n]) {
        run_fail(r, CAUSE_ERROR, "stage %u has no partition %u", s->msg->stage, r->part);
        return;
    }
    uint32_t input = input_of(s, r->part), root = s->plan.n - 1, at = s->leaf_node[input];
    struct leaf leaf = { &s->plan.nodes[at], input, (uint32_t)(r->part - s->first[input]) };
    struct op *op = leaf_open(r, &leaf);
    while (op && (at = s->parent[at]) != root)
        op = narrow_open(r, &s->plan.nodes[at], op);
    if (!op)
        return;
    sink_run(r, &s->plan.nodes[root], op);
    op->free(op);
}

static void run_begin(struct task_stage *s, uint32_t part, uint32_t attempt, struct rec_report *report)
{
    struct arena arena = s->run.arena;
    arena_reset(&arena);
    *report = (struct rec_report){ .stage = s->msg->stage, .part = part, .attempt = attempt };
    s->run = (struct run){
        .env = s->env,
        .plan = &s->plan,
        .stage = s->msg,
        .part = part,
        .attempt = attempt,
        .report = report,
        .shared = &s->shared,
        .sides = s->sides,
        .arena = arena,
        .budget = s->env->memory ? s->env->memory / 2 : BUDGET_DEFAULT,
    };
}

/* A failed attempt leaves no output to speak of. */
static void report_failed(struct rec_report *r)
{
    r->out_bytes = r->rows = 0;
    r->flags = 0;
    r->sizes = r->result = (struct bytes){ 0 };
    r->samples.v = NULL;
    r->samples.n = 0;
}

void ferro_stage_run(struct task_stage *s, uint32_t part, uint32_t attempt, struct rec_report *report,
                     bool *plain)
{
    run_begin(s, part, attempt, report);
    part_run(s);
    if (s->run.failed)
        report_failed(report);
    *plain = report->cause == CAUSE_OK && !report->out_bytes && !report->bytes_read && !report->flags &&
             !report->sizes.n && !report->samples.n && !report->result.n;
}
