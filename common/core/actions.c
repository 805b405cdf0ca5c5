/* actions.c - a turn's list of actions, and the PRNG of cores. */
#include "common/core/step.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTIONS_CAP_FIRST 64
#define ACTIONS_CAP_MAX (1u << 24) /* a core that asks for more in one turn is broken */

static void actions_grow(struct actions *a)
{
    assert(a->cap < ACTIONS_CAP_MAX);
    uint32_t cap = a->cap ? a->cap * 2 : ACTIONS_CAP_FIRST;
    struct action *v = realloc(a->v, cap * sizeof *v);
    if (!v) {
        fprintf(stderr, "out of memory: a list of %u actions\n", cap);
        abort();
    }
    a->v = v;
    a->cap = cap;
}

struct action *actions_add(struct actions *a, enum action_kind kind)
{
    if (a->n == a->cap)
        actions_grow(a);
    struct action *act = &a->v[a->n++];
    memset(act, 0, sizeof *act);
    act->kind = kind;
    return act;
}

void actions_log(struct actions *a, enum log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    assert(n >= 0);
    char *words = arena_alloc(&a->arena, (size_t)n + 1);
    vsnprintf(words, (size_t)n + 1, fmt, args);
    va_end(args);

    struct action *act = actions_add(a, ACT_LOG);
    act->log.level = level;
    act->log.words = words;
}

void actions_reset(struct actions *a)
{
    a->n = 0;
    arena_reset(&a->arena);
    buf_reset(&a->scratch);
}

void actions_fini(struct actions *a)
{
    free(a->v);
    arena_fini(&a->arena);
    buf_fini(&a->scratch);
    memset(a, 0, sizeof *a);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* splitmix64 spreads one word over the state, so that near seeds give unlike runs
 * and the state is never all zero. */
void prng_seed(struct prng *p, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        p->s[i] = z ^ (z >> 31);
    }
}

uint64_t prng_next(struct prng *p)
{
    uint64_t *s = p->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}
