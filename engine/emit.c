/* emit.c - what user functions put out, and how they fail.
 *
 * The usual fe_emit is inline (ferro.h); here is what it does when there is no
 * room, when a type must widen or doesn't fit, and how the rows go on as batches.
 */
#include "engine/ops/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS_FIRST 64
#define COLUMN_BYTES_FIRST 1024u
#define COLUMN_BYTES_MAX (1u << 31)        /* of the u32 ends */
#define EMITTED_BYTES_DEFAULT (256u << 20) /* without a budget */

static struct emitter *emitter_of(const fe_task *t)
{
    return t->priv;
}

void fe_fail(fe_task *t, const char *fmt, ...)
{
    if (t->failed)
        return;
    struct emitter *e = emitter_of(t);
    char words[ERROR_WORDS_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    emitter_failed(e);
    run_fail(e->run, CAUSE_ERROR, "%s (%s:%u): %s", e->node->fn_name, e->node->file, e->node->line, words);
}

void emitter_failed(struct emitter *e)
{
    e->task.failed = true;
    e->task.rows_max = 0; /* every fe_emit takes the slow way from here on, and ends there */
}

uint32_t fe_partition(const fe_task *t)
{
    return emitter_of(t)->run->part;
}

uint32_t fe_attempt(const fe_task *t)
{
    return emitter_of(t)->run->attempt;
}

/* ---- no room, or another type ------------------------------------------------ */

static bool datum_fits(fe_task *t, const struct fe_column *c, fe_datum *d, const char *what)
{
    char has[TYPE_NAME_MAX], given[TYPE_NAME_MAX];
    if (c->type == FERRO_F64 && d->kind == FERRO_I64)
        *d = fe_datum_f((double)d->u.i);
    if (c->type == d->kind)
        return true;
    fe_fail(t, "the %s that it puts out is %s, its dataset has %s", what, type_name(d->kind, given),
            type_name(c->type, has));
    return false;
}

static uint64_t datum_bytes(const struct fe_column *c, fe_datum d)
{
    return c->type == FERRO_TEXT ? d.u.s.n : type_size(c->type);
}

static void *grown(void *p, size_t n)
{
    void *more = realloc(p, n);
    if (!more) {
        fprintf(stderr, "out of memory: %zu bytes for what a function puts out\n", n);
        abort();
    }
    return more;
}

static void column_grow(struct fe_column *c, uint64_t need)
{
    uint64_t cap = c->cap ? c->cap : COLUMN_BYTES_FIRST;
    while (cap - c->used < need)
        cap *= 2;
    if (cap != c->cap)
        c->data = grown(c->data, cap);
    c->cap = (uint32_t)(cap < UINT32_MAX ? cap : UINT32_MAX);
}

static void rows_grow(fe_task *t)
{
    uint32_t rows = t->rows_max ? t->rows_max * 2 : ROWS_FIRST;
    if (t->key.type == FERRO_TEXT)
        t->key.end = grown(t->key.end, rows * sizeof *t->key.end);
    if (t->value.type == FERRO_TEXT)
        t->value.end = grown(t->value.end, rows * sizeof *t->value.end);
    t->rows_max = rows;
}

uint64_t emitted_max(const struct run *r)
{
    uint64_t max = r->budget ? r->budget : EMITTED_BYTES_DEFAULT;
    return max < COLUMN_BYTES_MAX / 2 ? max : COLUMN_BYTES_MAX / 2;
}

void fe_emit_slow(fe_task *t, fe_datum key, fe_datum value)
{
    if (t->failed || !datum_fits(t, &t->key, &key, "key") || !datum_fits(t, &t->value, &value, "value"))
        return;
    uint64_t k = datum_bytes(&t->key, key), v = datum_bytes(&t->value, value);
    uint64_t max = emitted_max(emitter_of(t)->run);
    if (k > max || v > max || t->key.used + t->value.used + k + v > max || t->rows == UINT32_MAX / 8) {
        fe_fail(t, "one call put out over %llu MiB, all that its slot's memory allows",
                (unsigned long long)(max >> 20));
        return;
    }
    if (t->rows == t->rows_max)
        rows_grow(t);
    column_grow(&t->key, k);
    column_grow(&t->value, v);
    fe_column_put(&t->key, t->rows, key);
    fe_column_put(&t->value, t->rows, value);
    t->rows++;
}

/* ---- the emitter --------------------------------------------------------------- */

static bool puts_out(uint32_t op)
{
    return op != OP_FILTER && op != OP_READ_HASH && op < OP_WRITE_HASH;
}

void emitter_init(struct emitter *e, struct run *r, const struct plan_node *node)
{
    *e = (struct emitter){ .run = r, .node = node };
    e->task.priv = e;
    e->task.args = node->data.n ? node->data.p : NULL; /* of a node with a function */
    if (puts_out(node->op)) {
        e->task.key.type = node->op == OP_MAP_VALUES ? FERRO_NONE : node->key;
        e->task.value.type = node->value;
    }
}

static void column_fini(struct fe_column *c)
{
    free(c->data);
    free(c->end);
    *c = (struct fe_column){ .type = c->type };
}

void emitter_fini(struct emitter *e)
{
    column_fini(&e->task.key);
    column_fini(&e->task.value);
    arena_fini(&e->texts);
    e->task.rows = e->task.rows_max = 0;
}

void emitter_reset(struct emitter *e)
{
    fe_task *t = &e->task;
    bool huge =
        t->rows_max > 4 * BATCH_ROWS || t->key.cap > 4 * BATCH_BYTES || t->value.cap > 4 * BATCH_BYTES;
    if (huge)
        emitter_fini(e);
    t->rows = t->key.used = t->value.used = 0;
    e->given = e->given_key = e->given_value = 0;
}

/* The column from row `row` on. */
static struct vec column_from(const struct fe_column *c, uint32_t row)
{
    return vec_from(&(struct vec){ .type = c->type, .data = c->data, .end = c->end }, row);
}

/* Bytes of the column before row `row`. */
static uint32_t column_at(const struct fe_column *c, uint32_t row)
{
    if (c->type == FERRO_TEXT)
        return row ? c->end[row - 1] : 0;
    return row * type_size(c->type);
}

static uint32_t slice_rows(const struct emitter *e)
{
    const fe_task *t = &e->task;
    uint32_t left = t->rows - e->given, rows = left < BATCH_ROWS ? left : BATCH_ROWS;
    uint64_t base = (uint64_t)e->given_key + e->given_value;
    if (t->key.used + t->value.used - base <= 2 * BATCH_BYTES)
        return rows;
    uint32_t n = 1;
    while (n < rows && column_at(&t->key, e->given + n + 1) + column_at(&t->value, e->given + n + 1) - base <=
                           BATCH_BYTES)
        n++;
    return n;
}

const struct batch *emitter_next(struct emitter *e)
{
    const fe_task *t = &e->task;
    if (e->given == t->rows)
        return NULL;
    uint32_t rows = slice_rows(e);
    e->batch = (struct batch){
        .rows = rows,
        .input = e->input,
        .key = column_from(&t->key, e->given),
        .value = column_from(&t->value, e->given),
    };
    e->given += rows;
    e->given_key = column_at(&t->key, e->given);
    e->given_value = column_at(&t->value, e->given);
    return &e->batch;
}
