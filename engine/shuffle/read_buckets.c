/* read_buckets.c - a leaf: the rows of a range of buckets, in no order, as they come. */
#include "engine/shuffle/intake.h"

#include <stdlib.h>

struct read_buckets {
    struct op op;
    struct intake intake;
};

static int read_buckets_next(struct op *op, const struct batch **out)
{
    return intake_next(&((struct read_buckets *)op)->intake, out);
}

static void read_buckets_free(struct op *op)
{
    intake_fini(&((struct read_buckets *)op)->intake);
    free(op);
}

struct op *op_read_buckets(struct run *r, const struct leaf *leaf)
{
    struct read_buckets *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    b->op = (struct op){ read_buckets_next, read_buckets_free };
    if (intake_maps(&b->intake, r, leaf, false, leaf->node->key, leaf->node->value) == 0)
        return &b->op;
    read_buckets_free(&b->op);
    return NULL;
}
