/* order.h - how rows are sorted: by key, by value (ties by key, ascending), or by their key's hash (groups).
 *
 * A row is first compared by 16 bytes in an order that unsigned comparison keeps, then in full.  Rows to be sorted keep
 * 12 of them, so that an entry has 16 bytes with its place: sorting is moving these.
 */
#ifndef FERRO_SHUFFLE_ORDER_H
#define FERRO_SHUFFLE_ORDER_H

#include "engine/shuffle/rows.h"
#include "engine/types.h"

enum order_by { BY_KEY, BY_VALUE, BY_HASH };
struct order {
    fe_type key, value;
    enum order_by by;
    bool down;
};

struct prefix {
    uint64_t hi, lo;
};
struct sorted { /* a row waiting to be sorted */
    uint64_t hi;
    uint32_t lo, place; /* lo: the first half of the prefix's */
};

/* The order of a sort's node, sink or leaf. */
struct order order_of(const struct plan_node *node, fe_type key, fe_type value);
struct prefix order_prefix_any(const struct order *o, fe_slice key, fe_slice value, uint64_t hash);
static inline struct prefix order_prefix(const struct order *o, fe_slice key, fe_slice value, uint64_t hash)
{
    fe_slice s = o->by == BY_VALUE ? value : key;
    if (o->by == BY_HASH || s.n < sizeof(struct prefix)) /* so no number */
        return order_prefix_any(o, key, value, hash);
    struct prefix p;
    uint64_t flip = o->down ? UINT64_MAX : 0;
    memcpy(&p, s.p, sizeof p);
    return (struct prefix){ __builtin_bswap64(p.hi) ^ flip, __builtin_bswap64(p.lo) ^ flip };
}
/* Of two rows with the same prefix. */
int order_rest(const struct order *o, fe_slice ka, fe_slice va, fe_slice kb, fe_slice vb);
/* What samples and cuts are: never later for an earlier row.  A value of fixed size has the key's beginning behind it,
 * so that the many equal values of a count can be cut too. */
uint32_t order_normal(const struct order *o, fe_slice key, fe_slice value, uint8_t out[NORMAL_BYTES_MAX]);
/* `spare` has room for n, and is written to. */
void order_sort(const struct order *o, const struct rows *rows, struct sorted *v, size_t n,
                struct sorted *spare);

#endif
