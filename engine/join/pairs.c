/* pairs.c - see pairs.h. */
#include "engine/join/pairs.h"

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

/* The next group of rows. */
static void look(struct pairs *p)
{
    const struct batch *b = p->in;
    uint32_t left = b->rows - p->at, n = left < LOOKUP_GROUP ? left : LOOKUP_GROUP;
    for (uint32_t i = 0; i < n; i++)
        p->word[i] = lookup_word(b->key.type, vec_at(&b->key, row_of(b, p->at + i)), p->hash[p->at + i]);
    emitter_see(&p->emitter, NULL);
    lookups_find(p->lookups, p->hash + p->at, p->word, n, p->match);
    p->found = p->at + n;
}

/* Pairs of the group until the function's records make a batch or the group is done.  -1: it has failed. */
static int call(struct pairs *p, uint32_t group)
{
    const struct batch *b = p->in;
    fe_task *task = &p->emitter.task;
    while (p->at < p->found) {
        uint32_t i = p->at - group, row = row_of(b, p->at);
        fe_slice key = vec_at(&b->key, row), streamed = vec_at(&b->value, row), other;
        while (lookup_take(&p->match[i], p->word[i], key, &other)) {
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
            p->at = p->found = 0;
            hash_rows(p);
        }
        if (p->at == p->found)
            look(p);
        if (call(p, (p->found - 1) / LOOKUP_GROUP * LOOKUP_GROUP))
            return -1;
    }
    return (*out = emitter_next(&p->emitter)) != NULL;
}
