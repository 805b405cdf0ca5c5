/* combine.c - see combine.h. */
#include "engine/shuffle/combine.h"

#include "engine/spill/budget.h"
#include "engine/spill/region.h"

#include <stdlib.h>

#define GROUP 32u /* rows probed at a time */
#define SLOTS_MIN 1024u
#define SLOTS_FIRST (16u << 10) /* 512 KiB: about the L2 cache */
#define SLOTS_MAX (1ull << 30)
#define AREA_STEP (256u << 10) /* of the budget */
#define PAGE_BYTES 4096u       /* at least: what lies in one is mapped as a whole */
#define AREA_FIRST_BYTES (1u << 20)

enum { COUNTS, SUMS, KERNEL, USER };

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

static bool grow(struct combine *c)
{
    uint64_t slots = (c->mask + 1) * 2, bytes = slots * sizeof *c->slots;
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

static int choose_mode(struct combine *c, bool counts)
{
    if (!c->node->kernel) {
        c->mode = USER;
        c->fn = (fe_merge *)(uintptr_t)run_fn(c->run, c->node);
        c->emitter = calloc(1, sizeof *c->emitter);
        if (!c->emitter)
            abort();
        emitter_init(c->emitter, c->run, c->node);
        return 0;
    }
    c->kernel = kernel_merge(c->node->kernel, c->value);
    c->mode = counts ? COUNTS : c->kernel == kernel_merge(FERRO_SUM, FERRO_I64) ? SUMS : KERNEL;
    if (!c->kernel || type_size(c->value) == 0)
        return run_fail(c->run, CAUSE_ERROR, "the plan merges values that have no such kernel");
    return 0;
}

int combine_init(struct combine *c, struct run *r, const struct plan_node *node, fe_type key, fe_type value,
                 bool counts, uint64_t limit, uint64_t expected)
{
    *c = (struct combine){ .run = r, .node = node, .key = key, .value = value, .limit = limit };
    if (type_size(value) == 0)
        return run_fail(r, CAUSE_ERROR, "the plan merges values of no fixed size");
    if (choose_mode(c, counts))
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
    area_init(&c->far, area);
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
    *c = (struct combine){ 0 };
}

void combine_clear(struct combine *c)
{
    memset(c->slots, 0, (c->mask + 1) * sizeof *c->slots);
    area_reset(c, &c->far);
    area_reset(c, &c->wide);
    c->n = 0;
}

/* ---- adding ------------------------------------------------------------------------------ */

/* A key in two words, without reading beyond it. */
static inline void key_words_exact(const char *p, size_t n, uint64_t w[2])
{
    uint32_t a, b;
    w[0] = w[1] = 0;
    if (n >= 8) {
        memcpy(&w[0], p, 8);
        if (n > 8) {
            memcpy(&w[1], p + n - 8, 8);
            w[1] >>= 8 * (16 - n);
        }
    } else if (n >= 4) {
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        w[0] = a | (uint64_t)b << 8 * (n - 4);
    } else if (n) {
        w[0] = (uint8_t)p[0] | (uint64_t)(uint8_t)p[n / 2] << 8 * (n / 2) |
               (uint64_t)(uint8_t)p[n - 1] << 8 * (n - 1);
    }
}

/* The same by one load and a mask, as lengths are hard to predict: what lies behind the key in the same page may be read,
 * if not used. */
static inline void key_words(const char *p, size_t n, uint64_t w[2])
{
#if !defined(__SANITIZE_ADDRESS__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static const uint64_t ones[4] = { UINT64_MAX, UINT64_MAX, 0, 0 };
    uint64_t mask[2];
    if (n && ((uintptr_t)p & (PAGE_BYTES - 1)) <= PAGE_BYTES - SHORT_KEY_BYTES) {
        memcpy(mask, (const char *)ones + SHORT_KEY_BYTES - n, sizeof mask);
        memcpy(w, p, SHORT_KEY_BYTES);
        w[0] &= mask[0];
        w[1] &= mask[1];
        return;
    }
#endif
    key_words_exact(p, n, w);
}

static void *value_of(struct combine *c, struct slot *s)
{
    return type_size(c->value) <= 8 ? (uint8_t *)&s->value : c->wide.p + s->value;
}

static inline void merge(struct combine *c, struct slot *s, const void *v)
{
    uint64_t x;
    switch (c->mode) {
    case COUNTS: s->value++; break;
    case SUMS:
        memcpy(&x, v, sizeof x);
        s->value += x;
        break;
    case KERNEL: c->kernel(&s->value, v); break;
    default: c->fn(&c->emitter->task, value_of(c, s), v);
    }
}

/* The first value of a key.  False: no room. */
static bool value_first(struct combine *c, struct slot *s, const void *v)
{
    uint32_t size = type_size(c->value);
    s->value = 0;
    if (c->mode == COUNTS)
        s->value = 1;
    else if (size <= 8)
        memcpy(&s->value, v, size);
    else {
        uint8_t *p = area_take(c, &c->wide, size, c->n == 0);
        if (!p)
            return false;
        memcpy(p, v, size);
        s->value = (uint64_t)(p - c->wide.p);
    }
    return true;
}

static bool short_new(struct combine *c, struct slot *s, const uint64_t w[2], size_t n, uint32_t tag,
                      const void *v)
{
    if (!value_first(c, s, v))
        return false;
    s->key.word[0] = w[0];
    s->key.word[1] = w[1];
    s->n1 = (uint32_t)n + 1;
    s->tag = tag;
    c->n++;
    return true;
}

static inline bool add_short(struct combine *c, uint64_t hash, const uint64_t w[2], size_t n, const void *v)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    for (uint64_t at = tag & c->mask;; at = (at + 1) & c->mask) {
        struct slot *s = &c->slots[at];
        if (((s->key.word[0] ^ w[0]) | (s->key.word[1] ^ w[1]) | (s->n1 ^ (n + 1))) == 0) {
            merge(c, s, v);
            return true;
        }
        if (!s->n1)
            return short_new(c, s, w, n, tag, v);
    }
}

static bool far_new(struct combine *c, struct slot *s, fe_slice key, uint64_t hash, const void *v)
{
    uint64_t wide = c->wide.used;
    if (!value_first(c, s, v))
        return false;
    uint8_t *p = area_take(c, &c->far, key.n, c->n == 0);
    if (!p) {
        c->wide.used = wide;
        return false;
    }
    memcpy(p, key.p, key.n);
    s->key.far.at = (uint32_t)((uint64_t)(p - c->far.p) / 8);
    memcpy(&s->key.far.head, key.p, sizeof s->key.far.head);
    s->key.far.hash = hash;
    s->n1 = (uint32_t)key.n + 1;
    s->tag = (uint32_t)(hash >> 32);
    c->n++;
    return true;
}

static bool add_far(struct combine *c, uint64_t hash, fe_slice key, const void *v)
{
    for (uint64_t at = hash >> 32 & c->mask;; at = (at + 1) & c->mask) {
        struct slot *s = &c->slots[at];
        if (!s->n1)
            return far_new(c, s, key, hash, v);
        if (s->n1 == key.n + 1 && s->key.far.hash == hash &&
            !memcmp(c->far.p + s->key.far.at * 8ull, key.p, key.n)) {
            merge(c, s, v);
            return true;
        }
    }
}

static inline bool add_row(struct combine *c, const struct batch *b, uint32_t row, uint64_t hash)
{
    fe_slice key = vec_at(&b->key, row);
    const uint8_t *v = b->value.data + (size_t)row * type_size(c->value);
    uint64_t w[2];
    if (key.n > SHORT_KEY_BYTES)
        return add_far(c, hash, key, v);
    key_words(key.p, key.n, w);
    if (c->key == FERRO_F64) {
        double d = fe_f64(key);
        w[0] = d != d ? 0x7ff8000000000000u : d == 0 ? 0 : w[0];
    }
    return add_short(c, hash, w, key.n, v);
}

int combine_add(struct combine *c, const struct batch *b, const uint64_t *hash, uint32_t *from)
{
    uint32_t i = *from, rows = b->rows;
    bool full = false;
    while (i < rows && !full) {
        uint32_t end = rows - i < GROUP ? rows : i + GROUP, k = i;
        if (c->n + GROUP > c->max && !grow(c)) {
            full = true;
            break;
        }
        for (; k < end; k++)
            __builtin_prefetch(&c->slots[hash[k] >> 32 & c->mask], 1);
        for (k = i; k < end && !full; k += !full)
            full = !add_row(c, b, b->sel ? b->sel[k] : k, hash[k]);
        i = k;
    }
    c->rows_in += i - *from;
    *from = i;
    return c->run->failed || (c->emitter && c->emitter->task.failed) ? -1 : full;
}

/* ---- what is in it ------------------------------------------------------------------------ */

static void slot_row(const struct combine *c, const struct slot *s, fe_slice *key, fe_slice *value)
{
    uint32_t size = type_size(c->value);
    key->n = s->n1 - 1;
    key->p = key->n > SHORT_KEY_BYTES ? (const char *)c->far.p + s->key.far.at * 8ull : (const char *)&s->key;
    value->n = size;
    value->p = size <= 8 ? (const char *)&s->value : (const char *)c->wide.p + s->value;
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
static inline uint32_t slot_bucket(const struct combine *c, const struct slot *s, const struct split *split)
{
    if (!split->spill)
        return split_of(split, (uint64_t)s->tag << 32);
    if (s->n1 > SHORT_KEY_BYTES + 1)
        return split_of(split, s->key.far.hash);
    return split_of(split, type_hash(c->key, (fe_slice){ (const char *)&s->key, s->n1 - 1 }));
}

static void order_slots(const struct combine *c, const struct split *split, uint32_t *starts, uint32_t *order)
{
    for (uint64_t i = 0; i <= c->mask; i++)
        if (c->slots[i].n1)
            starts[slot_bucket(c, &c->slots[i], split) + 1]++;
    for (uint32_t b = 0; b < split->buckets; b++)
        starts[b + 1] += starts[b];
    for (uint64_t i = 0; i <= c->mask; i++)
        if (c->slots[i].n1)
            order[starts[slot_bucket(c, &c->slots[i], split)]++] = (uint32_t)i;
}

/* Only frames that hold long keys carry hashes: without these, nobody asks for it. */
static inline uint64_t slot_hash(const struct combine *c, const struct slot *s, fe_slice key)
{
    if (key.n > SHORT_KEY_BYTES)
        return s->key.far.hash;
    return c->far.used ? type_hash(c->key, key) : 0;
}

/* starts[b] is by now where bucket b ends. */
static int put_slots(struct combine *c, struct bucket_writer *w, const uint32_t *ends, const uint32_t *order)
{
    fe_slice key, value;
    uint32_t bucket = 0;
    for (uint64_t i = 0; i < c->n; i++) {
        const struct slot *s = &c->slots[order[i]];
        if (i + 16 < c->n)
            __builtin_prefetch(&c->slots[order[i + 16]]);
        while (i >= ends[bucket])
            bucket++;
        slot_row(c, s, &key, &value);
        if (bucket_writer_put(w, bucket, slot_hash(c, s, key), key, value))
            return -1;
    }
    return 0;
}

int combine_flush(struct combine *c, struct mapfile *to, const struct split *split)
{
    struct bucket_writer w;
    uint64_t order_bytes = c->n * sizeof(uint32_t);
    uint32_t *order = region_take(order_bytes + 1), *starts = calloc(split->buckets + 2ull, sizeof *starts);
    if (!starts)
        abort();
    budget_force(c->run, order_bytes);
    order_slots(c, split, starts, order);
    int failed = bucket_writer_begin(&w, to, c->key, c->value) || put_slots(c, &w, starts, order);
    failed = bucket_writer_end(&w) || failed;
    budget_release(c->run, order_bytes);
    region_give(order, order_bytes + 1, order_bytes + 1);
    free(starts);
    combine_clear(c);
    return failed ? -1 : 0;
}
