/* pairs.c - see pairs.h. */
#include "engine/join/pairs.h"

#define STEP (PAIRS_AHEAD / 4) /* rows between one step and the next */

void pairs_init(struct pairs *p, struct run *r, const struct plan_node *node, pairs_pull *pull, void *user)
{
    p->pull = pull;
    p->user = user;
    p->fn = (fe_pair *)(uintptr_t)run_fn(r, node);
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

/* hash[i]: of the i-th row that counts. */
static void hash_rows(struct pairs *p)
{
    const struct batch *b = p->in;
    if (!b->hash)
        vec_hash(&b->key, b->sel, b->rows, p->hash);
    else
        for (uint32_t i = 0; i < b->rows; i++)
            p->hash[i] = b->hash[row_of(b, i)];
}

static inline uint64_t word_of(const struct pairs *p, uint32_t i, fe_slice key)
{
    return lookup_word(p->in->key.type, key, p->hash[i]);
}

/* Each step for one row: far enough apart for memory to answer in between. */
static inline void step(struct pairs *p)
{
    uint32_t i = p->ahead++, rows = p->in->rows;
    if (i < rows)
        lookups_seek(p->lookups, p->hash[i], &p->match[i % PAIRS_AHEAD]);
    if (i - STEP < rows)
        match_arrive(&p->match[(i - STEP) % PAIRS_AHEAD]);
    if ((i -= 2 * STEP) < rows)
        match_settle(&p->match[i % PAIRS_AHEAD], word_of(p, i, vec_at(&p->in->key, row_of(p->in, i))));
}

/* Pairs until the function's records make a batch or the streamed batch is done.  -1: it has failed. */
static int call(struct pairs *p)
{
    const struct batch *b = p->in;
    fe_task *task = &p->emitter.task;
    while (p->at < b->rows) {
        while (p->ahead <= p->at + 3 * STEP)
            step(p);
        struct match *m = &p->match[p->at % PAIRS_AHEAD];
        uint32_t row = row_of(b, p->at);
        fe_slice key = vec_at(&b->key, row), streamed = vec_at(&b->value, row), other;
        uint64_t word = word_of(p, p->at, key);
        while (match_take(m, word, key, &other)) {
            emitter_see(&p->emitter, NULL); /* one row may have any number of pairs */
            p->fn(task, key, p->swapped ? other : streamed, p->swapped ? streamed : other);
            if (task->failed)
                return -1;
            if (emitter_full(&p->emitter))
                return 0;
        }
        p->at++;
    }
    return 0;
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
            p->at = p->ahead = 0;
            hash_rows(p);
        }
        if (call(p))
            return -1;
    }
    return (*out = emitter_next(&p->emitter)) != NULL;
}
