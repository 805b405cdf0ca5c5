/* pairs.c - see pairs.h. */
#include "engine/join/pairs.h"

void pairs_init(struct pairs *p, struct run *r, const struct plan_node *node, pairs_pull *pull, void *user)
{
    p->pull = pull;
    p->user = user;
    p->fn = (fe_pair *)(uintptr_t)run_fn(r, node);
    for (int left = 0; left < 2; left++) {
        bool far;
        lookup_stride(node->in_key, left ? node->in_value : node->other, &far);
        p->plain[left] = type_is_number(node->in_key) && !far;
    }
    emitter_init(&p->emitter, r, node);
}

void pairs_fini(struct pairs *p)
{
    emitter_fini(&p->emitter);
}

static inline uint32_t row_of(const struct batch *b, uint32_t i)
{
    return b->sel ? b->sel[i] : i;
}

/* Hashes and words. */
static void hash_rows(struct pairs *p)
{
    const struct batch *b = p->in;
    if (!b->hash)
        vec_hash(&b->key, b->sel, b->rows, p->hash);
    else
        for (uint32_t i = 0; i < b->rows; i++)
            p->hash[i] = b->hash[row_of(b, i)];
    if (b->key.type == FERRO_I64 && !b->sel)
        memcpy(p->word, b->key.data, b->rows * sizeof *p->word);
    else
        for (uint32_t i = 0; i < b->rows; i++)
            p->word[i] = lookup_word(b->key.type, vec_at(&b->key, row_of(b, i)), p->hash[i]);
}

/* ---- looking for keys ------------------------------------------------------------------- */

static inline struct match *match_of(struct pairs *p, uint32_t i)
{
    return &p->match[i % PAIRS_AHEAD];
}

static inline uint32_t group_end(const struct pairs *p, uint32_t from)
{
    uint32_t rows = p->in->rows;
    return from >= rows ? from : rows - from < PAIRS_GROUP ? rows : from + PAIRS_GROUP;
}

static void seek_group(struct pairs *p, uint32_t from)
{
    const struct lookups lookups = *p->lookups;
    for (uint32_t end = group_end(p, from), i = from; i < end; i++)
        lookups_seek(&lookups, p->hash[i], match_of(p, i));
}

static void arrive_group(struct pairs *p, uint32_t from)
{
    for (uint32_t end = group_end(p, from), i = from; i < end; i++)
        match_arrive(match_of(p, i));
}

/* The matches of one more group, and a step for each of the two behind it: far enough apart for memory to answer. */
static void settle_group(struct pairs *p)
{
    uint32_t from = p->settled, end = group_end(p, from);
    if (from == 0) {
        seek_group(p, 0);
        seek_group(p, PAIRS_GROUP);
        arrive_group(p, 0);
    }
    seek_group(p, from + 2 * PAIRS_GROUP);
    arrive_group(p, from + PAIRS_GROUP);
    for (uint32_t i = from; i < end; i++)
        if (p->plain[p->swapped])
            match_settle_plain(match_of(p, i), p->word[i]);
        else
            match_settle(match_of(p, i), p->word[i]);
    p->settled = end;
}

/* ---- calling the function ---------------------------------------------------------------- */

static inline bool take(struct pairs *p, uint32_t i, fe_slice key, fe_slice *other, bool plain)
{
    struct match *m = match_of(p, i);
    if (!plain)
        return match_take(m, p->word[i], key, other);
    if (m->at == m->end)
        return false;
    *other = match_next_plain(m);
    return true;
}

/* The pairs of one row, or as many as make a batch.  True: there may be more. */
static inline __attribute__((always_inline)) bool call_row(struct pairs *p, uint32_t i, bool plain)
{
    const struct batch *b = p->in;
    fe_task *task = &p->emitter.task;
    uint32_t row = row_of(b, i);
    fe_slice key = vec_at(&b->key, row), streamed = vec_at(&b->value, row), other;
    while (take(p, i, key, &other, plain)) {
        emitter_see(&p->emitter, NULL); /* one row may have any number of pairs */
        p->fn(task, key, p->swapped ? other : streamed, p->swapped ? streamed : other);
        if (task->failed || emitter_full(&p->emitter))
            return true;
    }
    return false;
}

/* Pairs until the function's records make a batch or the streamed batch is done.  -1: it has failed. */
static int call(struct pairs *p)
{
    for (;; p->at++) {
        if (p->at == p->settled) {
            if (p->at == p->in->rows)
                return 0;
            settle_group(p);
        }
        if (p->plain[p->swapped] ? call_row(p, p->at, true) : call_row(p, p->at, false))
            return p->emitter.task.failed ? -1 : 0;
    }
}

int pairs_next(struct pairs *p, const struct batch **out)
{
    if ((*out = emitter_next(&p->emitter)))
        return 1;
    emitter_reset(&p->emitter);
    while (!emitter_full(&p->emitter)) {
        if (!p->in || p->at == p->in->rows) {
            int got = p->pull(p->user, &p->in);
            if (got < 0)
                return -1;
            if (got == 0) {
                p->in = NULL;
                break;
            }
            p->at = p->settled = 0;
            hash_rows(p);
        }
        if (call(p))
            return -1;
    }
    return (*out = emitter_next(&p->emitter)) != NULL;
}
