/* order.h - how rows are sorted: by key, by value (ties by key, ascending), or by their key's hash (groups).
 *
 * A row is first compared by 16 bytes in an order that unsigned comparison keeps, then in full.
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
    struct prefix prefix;
    uint64_t place;
};

/* The order of a sort's node, sink or leaf. */
struct order order_of(const struct plan_node *node, fe_type key, fe_type value);
struct prefix order_prefix(const struct order *o, fe_slice key, fe_slice value, uint64_t hash);
/* Of two rows with the same prefix. */
int order_rest(const struct order *o, fe_slice ka, fe_slice va, fe_slice kb, fe_slice vb);
/* What samples and cuts are: never later for an earlier row.  A value of fixed size has the key's beginning behind it,
 * so that the many equal values of a count can be cut too. */
uint32_t order_normal(const struct order *o, fe_slice key, fe_slice value, uint8_t out[NORMAL_BYTES_MAX]);
void order_sort(const struct order *o, const struct rows *rows, struct sorted *v, size_t n);

#endif
