/* combine.c - see combine.h. */
#include "engine/shuffle/combine.h"

#include "engine/spill/budget.h"
#include "engine/spill/region.h"

#include <stddef.h>
#include <stdlib.h>

#define GROUP 32u /* rows probed at a time */
#define SLOTS_MIN 1024u
#define SLOTS_FIRST (16u << 10) /* 512 KiB: well within the L2 cache */
#define SLOTS_CACHE (64u << 10) /* 2 MiB: an L2 cache.  A map's table grows beyond it .. */
#define SHRINKS_MIN 3           /* .. only while its rows have shrunk so many fold */
#define SLOTS_MAX (1ull << 30)
#define AREA_STEP (256u << 10) /* of the budget */
#define AREA_FIRST_BYTES (1u << 20)
#define FAR_BYTES_MAX (8ull * UINT32_MAX) /* of the slots' u32 places */
#define INLINE_BYTES 8                    /* values up to here lie in the slot */

enum { COUNTS, SUMS, KERNEL, USER, ADDS };

/* A row on its way into the table. */
struct probe {
    uint64_t word[4]; /* the first of the key; two in a group that is not wide */
    uint64_t hash;
    uint32_t n, row;
};

struct group {
    struct probe probe[GROUP];
    uint32_t n;
    bool wide; /* may have keys that are not short */
};

static inline uint64_t align8(uint64_t n)
{
    return (n + 7) & ~7ull;
}

/* ---- memory --------------------------------------------------------------------- */

static uint64_t max_used(uint64_t slots)
{
    return slots - slots / 4 - slots / 8; /* 5/8 */
}

static void area_init(struct rows_area *a, uint64_t size)
{
    *a = (struct rows_area){ .size = size };
}

/* Room for `n` more bytes; `must`: at any price.  Only an empty area may move. */
static uint8_t *area_take(struct combine *c, struct rows_area *a, uint64_t n, bool must)
{
    uint64_t end = a->used + align8(n);
    if (end > a->size || !a->p) {
        if (a->used || (end > a->size && !must))
            return NULL;
        region_give(a->p, a->size, a->touched);
        a->size = end > a->size ? end : a->size;
        a->p = region_take(a->size);
        a->touched = 0;
    }
    if (end > a->held) {
        uint64_t more = (end - a->held + AREA_STEP - 1) / AREA_STEP * AREA_STEP;
        bool fits = (c->mask + 1) * sizeof *c->slots + c->far.held + c->wide.held + more <= c->limit;
        if (!(fits && budget_reserve(c->run, more))) {
            if (!must)
                return NULL;
            budget_force(c->run, more);
        }
        a->held += more;
    }
    uint8_t *p = a->p + a->used;
    a->used = end;
    if (end > a->touched)
        a->touched = end;
    return p;
}

static void area_reset(struct combine *c, struct rows_area *a)
{
    budget_release(c->run, a->held);
    a->used = a->held = 0;
}

static void area_fini(struct combine *c, struct rows_area *a)
{
    area_reset(c, a);
    region_give(a->p, a->size, a->touched);
    a->p = NULL;
}

static struct slot *slots_new(uint64_t n)
{
    struct slot *s = region_take(n * sizeof *s);
    memset(s, 0, n * sizeof *s);
    return s;
}

static void slots_free(struct combine *c)
{
    uint64_t bytes = (c->mask + 1) * sizeof *c->slots;
    region_give(c->slots, bytes, bytes);
    budget_release(c->run, bytes);
}

/* Tags are enough to find the new place: no key is looked at. */
static void move_slots(const struct slot *from, uint64_t n, struct slot *to, uint64_t mask)
{
    for (uint64_t i = 0; i < n; i++) {
        if (!from[i].n1)
            continue;
        uint64_t at = from[i].tag & mask;
        while (to[at].n1)
            at = (at + 1) & mask;
        to[at] = from[i];
    }
}

bool combine_pays(const struct combine *c)
{
    return c->rows_in / SHRINKS_MIN >= c->n;
}

static bool grow(struct combine *c)
{
    uint64_t slots = (c->mask + 1) * 2, bytes = slots * sizeof *c->slots;
    if (c->side == COMBINE_MAP && slots > SLOTS_CACHE && !combine_pays(c))
        return false;
    if (slots > SLOTS_MAX || bytes + c->far.held + c->wide.held > c->limit || !budget_reserve(c->run, bytes))
        return false;
    struct slot *more = slots_new(slots);
    move_slots(c->slots, c->mask + 1, more, slots - 1);
    slots_free(c);
    c->slots = more;
    c->mask = slots - 1;
    c->max = max_used(slots);
    return true;
}

/* ---- making and freeing --------------------------------------------------------------- */

static uint64_t first_slots(const struct combine *c, uint64_t expected)
{
    uint64_t slots = SLOTS_MIN;
    while (slots < SLOTS_MAX && slots * 2 * sizeof *c->slots <= c->limit &&
           (slots < SLOTS_FIRST || max_used(slots) < expected))
        slots *= 2;
    return slots;
}

static int choose_mode(struct combine *c)
{
    const struct plan_node *n = c->node;
    bool maps = c->side == COMBINE_MAP;
    if (!n->kernel || n->kernel == FERRO_AGGREGATE) {
        c->mode = n->kernel && maps ? ADDS : USER;
        c->fn = (fe_merge *)(uintptr_t)run_fn(c->run, n);
        c->add = (fe_add *)(uintptr_t)run_fn(c->run, n);
        c->emitter = calloc(1, sizeof *c->emitter);
        c->one = calloc(1, align8(type_size(c->value)));
        if (!c->emitter || !c->one)
            abort();
        emitter_init(c->emitter, c->run, n);
        return 0;
    }
    c->kernel = kernel_merge(n->kernel, c->value);
    c->mode = maps && n->kernel == FERRO_COUNT                  ? COUNTS
              : c->kernel == kernel_merge(FERRO_SUM, FERRO_I64) ? SUMS
                                                                : KERNEL;
    if (!c->kernel)
        return run_fail(c->run, CAUSE_ERROR, "the plan merges values that have no such kernel");
    return 0;
}

int combine_init(struct combine *c, struct run *r, const struct plan_node *node, enum combine_side side,
                 fe_type key, uint64_t limit, uint64_t expected)
{
    memset(c, 0, offsetof(struct combine, missed));
    c->run = r;
    c->node = node;
    c->side = side;
    c->key = key;
    c->value = side == COMBINE_MAP ? combine_value(node) : node->in_value;
    c->limit = limit;
    if (type_size(c->value) == 0)
        return run_fail(r, CAUSE_ERROR, "the plan merges values of no fixed size");
    if (choose_mode(c))
        return -1;
    uint64_t slots = first_slots(c, expected);
    while (slots > SLOTS_MIN && !budget_reserve(r, slots * sizeof *c->slots))
        slots /= 2;
    if (slots == SLOTS_MIN)
        budget_force(r, slots * sizeof *c->slots);
    c->slots = slots_new(slots);
    c->mask = slots - 1;
    c->max = max_used(slots);
    uint64_t area = limit > AREA_FIRST_BYTES ? limit : AREA_FIRST_BYTES;
    area_init(&c->far, area < FAR_BYTES_MAX ? area : FAR_BYTES_MAX);
    area_init(&c->wide, area);
    return 0;
}

void combine_fini(struct combine *c)
{
    if (c->slots) {
        slots_free(c);
        area_fini(c, &c->far);
        area_fini(c, &c->wide);
    }
    if (c->emitter)
        emitter_fini(c->emitter);
    free(c->emitter);
    free(c->one);
    memset(c, 0, offsetof(struct combine, missed));
}

void combine_clear(struct combine *c)
{
    memset(c->slots, 0, (c->mask + 1) * sizeof *c->slots);
    area_reset(c, &c->far);
    area_reset(c, &c->wide);
    c->n = c->rows_in = 0;
    c->frozen = false;
}

/* ---- adding ------------------------------------------------------------------------------ */

static void *value_of(const struct combine *c, struct slot *s)
{
    return type_size(c->value) <= INLINE_BYTES ? (uint8_t *)&s->value : c->wide.p + s->value;
}

static inline const void *fixed_at(const struct combine *c, const struct batch *b, uint32_t row)
{
    return b->value.data + (size_t)row * type_size(c->value);
}

static inline void add_one(const struct combine *c, void *acc, const struct batch *b, uint32_t row)
{
    fe_task *t = &c->emitter->task;
    if (!t->failed)
        c->add(t, acc, vec_at(&b->key, row), vec_at(&b->value, row));
}

static inline __attribute__((always_inline)) void merge(const struct combine *c, struct slot *s, int mode,
                                                        const struct batch *b, uint32_t row)
{
    uint64_t x;
    switch (mode) {
    case COUNTS: s->value++; break;
    case SUMS:
        memcpy(&x, b->value.data + (size_t)row * sizeof x, sizeof x);
        s->value += x;
        break;
    case KERNEL: c->kernel(&s->value, fixed_at(c, b, row)); break;
    case USER: c->fn(&c->emitter->task, value_of(c, s), fixed_at(c, b, row)); break;
    default: add_one(c, value_of(c, s), b, row);
    }
}

void combine_see(struct combine *c, const struct batch *b)
{
    if (c->emitter)
        emitter_see(c->emitter, c->mode == ADDS ? b->input : NULL);
}

fe_slice combine_alone(struct combine *c, const struct batch *b, uint32_t row)
{
    static const int64_t one = 1;
    uint32_t size = type_size(c->value);
    if (c->mode == COUNTS)
        return (fe_slice){ (const char *)&one, sizeof one };
    if (c->mode != ADDS)
        return (fe_slice){ fixed_at(c, b, row), size };
    memset(c->one, 0, size);
    add_one(c, c->one, b, row);
    return (fe_slice){ (const char *)c->one, size };
}

/* The first value of a key.  False: no room. */
static bool value_first(struct combine *c, struct slot *s, const struct batch *b, uint32_t row)
{
    uint32_t size = type_size(c->value);
    uint8_t *p = (uint8_t *)&s->value;
    s->value = 0;
    if (size > INLINE_BYTES) {
        p = area_take(c, &c->wide, size, c->n == 0);
        if (!p)
            return false;
        s->value = (uint64_t)(p - c->wide.p);
    }
    memcpy(p, combine_alone(c, b, row).p, size);
    return true;
}

static void miss(struct combine *c, const struct probe *p)
{
    c->missed[c->nmissed++] = (struct missed){ p->hash, p->row };
}

static bool short_new(struct combine *c, struct slot *s, const struct probe *p, const struct batch *b)
{
    if (c->frozen) {
        miss(c, p);
        return true;
    }
    if (!value_first(c, s, b, p->row))
        return false;
    memcpy(s->key.word, p->word, sizeof s->key.word);
    s->n1 = p->n + 1;
    s->tag = (uint32_t)(p->hash >> 32);
    c->n++;
    return true;
}

/* False: no room. */
static inline __attribute__((always_inline)) bool add_short(struct combine *c, struct slot *slots,
                                                            uint64_t mask, const struct probe *p, int mode,
                                                            const struct batch *b)
{
    for (uint64_t at = p->hash >> 32 & mask;; at = (at + 1) & mask) {
        struct slot *s = &slots[at];
        if (((s->key.word[0] ^ p->word[0]) | (s->key.word[1] ^ p->word[1]) | (s->n1 ^ (p->n + 1))) == 0) {
            merge(c, s, mode, b, p->row);
            return true;
        }
        if (!s->n1)
            return short_new(c, s, p, b);
    }
}

static bool far_new(struct combine *c, struct slot *s, const struct probe *p, const struct batch *b)
{
    uint64_t wide = c->wide.used;
    if (c->frozen) {
        miss(c, p);
        return true;
    }
    if (!value_first(c, s, b, p->row))
        return false;
    uint8_t *to = area_take(c, &c->far, p->n < sizeof p->word ? sizeof p->word : p->n, c->n == 0);
    if (!to) {
        c->wide.used = wide;
        return false;
    }
    memcpy(to, p->word, sizeof p->word);
    if (p->n > sizeof p->word)
        memcpy(to, vec_at(&b->key, p->row).p, p->n);
    s->key.far.at = (uint64_t)(to - c->far.p);
    s->key.far.hash = p->hash;
    s->n1 = p->n + 1;
    s->tag = (uint32_t)(p->hash >> 32);
    c->n++;
    return true;
}

/* Are the bytes the same, behind the words of a key that is longer? */
static inline bool rest_equal(const struct combine *c, const struct slot *s, const struct probe *p,
                              const struct batch *b)
{
    return p->n <= WORDS_KEY_BYTES ||
           (s->key.far.hash == p->hash && !memcmp(c->far.p + s->key.far.at, vec_at(&b->key, p->row).p, p->n));
}

/* Where lengths are mixed, they come at random: a key in the slot and one that lies far are compared alike. */
static inline __attribute__((always_inline)) bool add_wide(struct combine *c, const struct probe *p, int mode,
                                                           const struct batch *b)
{
    for (uint64_t at = p->hash >> 32 & c->mask;; at = (at + 1) & c->mask) {
        struct slot *s = &c->slots[at];
        uint64_t far = -(uint64_t)(s->n1 > SHORT_KEY_BYTES + 1), w[4];
        uintptr_t near = (uintptr_t)&s->key;
        uintptr_t key = near + (far & ((uintptr_t)c->far.p + s->key.far.at - near));
        memcpy(w, (const void *)key, sizeof w); /* a slot's other words are not the key's */
        if (((w[0] ^ p->word[0]) | (w[1] ^ p->word[1]) | ((w[2] & far) ^ p->word[2]) |
             ((w[3] & far) ^ p->word[3]) | (s->n1 ^ (p->n + 1))) == 0 &&
            rest_equal(c, s, p, b)) {
            merge(c, s, mode, b, p->row);
            return true;
        }
        if (!s->n1)
            return p->n > SHORT_KEY_BYTES ? far_new(c, s, p, b) : short_new(c, s, p, b);
    }
}

/* How many of the group's rows are in: all, or there is no room. */
static inline __attribute__((always_inline)) uint32_t add_rows(struct combine *c, const struct group *g,
                                                               int mode, const struct batch *b)
{
    struct slot *slots = c->slots;
    uint64_t mask = c->mask;
    if (g->wide) {
        for (uint32_t i = 0; i < g->n; i++)
            if (!add_wide(c, &g->probe[i], mode, b))
                return i;
    } else
        for (uint32_t i = 0; i < g->n; i++)
            if (!add_short(c, slots, mask, &g->probe[i], mode, b))
                return i;
    return g->n;
}

static uint32_t add_group(struct combine *c, const struct group *g, const struct batch *b)
{
    switch (c->mode) {
    case COUNTS: return add_rows(c, g, COUNTS, b);
    case SUMS: return add_rows(c, g, SUMS, b);
    case ADDS: return add_rows(c, g, ADDS, b);
    default: return add_rows(c, g, c->mode, b);
    }
}

static inline __attribute__((always_inline)) void prepare_row(const struct combine *c, const struct batch *b,
                                                              fe_slice key, bool wide, struct probe *p)
{
    if (!wide) {
        key_words(key.p, key.n, p->word, SHORT_KEY_BYTES);
        if (c->key == FERRO_F64)
            p->word[0] = type_f64_bits(p->word);
        p->hash = words_hash(p->word, key.n);
    } else if (key.n <= WORDS_KEY_BYTES) {
        key_words(key.p, key.n, p->word, WORDS_KEY_BYTES);
        p->hash = words_hash4(p->word, key.n);
    } else {
        memcpy(p->word, key.p, sizeof p->word);
        p->hash = b->hash ? b->hash[p->row] : type_hash(c->key, key);
    }
}

/* Hash the group's rows, from number `from` on, and bring their slots near.  How many keys are not short; where the
 * group is not wide, it ends with the first of them. */
static inline __attribute__((always_inline)) uint32_t
prepare_rows(const struct combine *c, const struct batch *b, uint32_t from, struct group *g, bool wide)
{
    struct slot *slots = c->slots;
    uint64_t mask = c->mask;
    struct probe *p = g->probe;
    uint32_t more = 0;
    for (uint32_t end = from + g->n; from < end; from++, p++) {
        p->row = b->sel ? b->sel[from] : from;
        fe_slice key = vec_at(&b->key, p->row);
        p->n = (uint32_t)key.n;
        more += key.n > SHORT_KEY_BYTES;
        if (!wide && more)
            break;
        prepare_row(c, b, key, wide, p);
        __builtin_prefetch(&slots[p->hash >> 32 & mask], 1);
    }
    return more;
}

/* The next group: as many rows from number `from` on as there are, at most GROUP.  It is taken to be as the last one. */
static void prepare(struct combine *c, const struct batch *b, uint32_t from, struct group *g)
{
    uint32_t rows = b->rows - from;
    g->n = rows < GROUP ? rows : GROUP;
    g->wide = c->wide_group || prepare_rows(c, b, from, g, false);
    if (g->wide)
        c->wide_group = prepare_rows(c, b, from, g, true);
}

static bool has_room(struct combine *c)
{
    return c->frozen || c->n + GROUP <= c->max || grow(c);
}

int combine_add(struct combine *c, const struct batch *b, uint32_t *from)
{
    struct group groups[2];
    uint32_t at = *from, turn = 0;
    bool full = false;
    c->nmissed = 0;
    combine_see(c, b);
    for (prepare(c, b, at, &groups[0]); groups[turn].n && !full; turn = !turn) {
        const struct group *g = &groups[turn];
        full = !has_room(c);
        if (full)
            break;
        prepare(c, b, at + g->n, &groups[!turn]);
        uint32_t added = add_group(c, g, b);
        at += added;
        full = added < g->n;
    }
    c->rows_in += at - *from;
    *from = at;
    return c->run->failed || (c->emitter && c->emitter->task.failed) ? -1 : full;
}

/* ---- what is in it ------------------------------------------------------------------------ */

static void slot_row(const struct combine *c, const struct slot *s, fe_slice *key, fe_slice *value)
{
    uint32_t size = type_size(c->value);
    key->n = s->n1 - 1;
    key->p = key->n > SHORT_KEY_BYTES ? (const char *)c->far.p + s->key.far.at : (const char *)&s->key;
    value->n = size;
    value->p = size <= INLINE_BYTES ? (const char *)&s->value : (const char *)c->wide.p + s->value;
}

bool combine_next(const struct combine *c, uint64_t *at, fe_slice *key, fe_slice *value)
{
    while (*at <= c->mask && !c->slots[*at].n1)
        ++*at;
    if (*at > c->mask)
        return false;
    slot_row(c, &c->slots[*at], key, value);
    return true;
}

/* A shuffle's bucket is in the tag; a spill's is in the lower half, which only long keys carry. */
static inline uint64_t slot_hash(const struct combine *c, const struct slot *s, fe_slice key, bool whole)
{
    if (!whole)
        return (uint64_t)s->tag << 32;
    return key.n > SHORT_KEY_BYTES ? s->key.far.hash : type_hash(c->key, key);
}

int combine_drain(struct combine *c, struct buckets *to)
{
    fe_slice key, value;
    for (uint64_t i = 0; i <= c->mask; i++) {
        const struct slot *s = &c->slots[i];
        if (!s->n1)
            continue;
        slot_row(c, s, &key, &value);
        if (buckets_put(to, slot_hash(c, s, key, to->split.spill), key, value))
            return -1;
    }
    combine_clear(c);
    return 0;
}
