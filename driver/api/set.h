/* set.h - a dataset as the API holds it: one node of the lineage, inside libferro. */
#ifndef FERRO_API_SET_H
#define FERRO_API_SET_H

#include "common/base/arena.h"
#include "driver/api/runtime.h"
#include "engine/plan.h"

#define STRUCT_BYTES_MAX 65536 /* ferro.h */

struct fe_app {
    const struct runtime *runtime; /* borrowed from ferro_job_main's caller */
    struct arena arena;            /* owns every set */
    const void *library;           /* load base of the job's library: fn = base + offset */
    bool failed;                   /* an action has failed and said so */
    const char *error;             /* NULL, or what the next action has to say: a broadcast's */
    uint64_t cached;               /* datasets, ever */
    uint32_t served;               /* blocks that the driver was given to serve */
};

/* The application whose main runs, for builders that were given none.  NULL: no main runs. */
extern fe_app *app_current;

/* What makes it: a leaf or narrow operator as the plan has it, or a shuffle,
 * which the planner cuts into the sink of one stage and the leaf of the next. */
struct fe_set {
    fe_app *app;
    const char *name;  /* the builder as the source calls it, without "fe_" */
    const char *error; /* NULL, or why this dataset can't be: reported by the action */
    fe_place place;
    struct plan_node node; /* op: a leaf's or a narrow operator's; OP_READ_*: a shuffle */
    fe_set *child[2];      /* joins: left and right */
    fe_set *side;          /* OP_PROBE: whose records the table has; child[0] is streamed */
    uint64_t add;          /* fe_aggregate_by_key: the function of the map side, as node.fn */
    uint64_t bytes;        /* that its sources have, about: which side of a join is small */
    uint64_t keep;         /* OP_READ_ROWS: the number of what is cached, from 1; child[0] makes it */
    uint32_t parts;        /* sources: partitions; shuffles: named by the user, 0: chosen by size */
    const fe_set *origin;  /* what this is a copy of, with arguments for what comes next; else itself */
    struct bytes args;     /* fe_with's: they become node.data of the next builder or action */
};

/* Serve a copy of these bytes as a block until the application's end.  -1 and `e` when they, or the blocks, are too many. */
int app_serve(fe_app *app, const void *p, size_t n, struct block_id *id, struct error *e);
/* A node with its name and place, without types and children.  `name`: what the source calls, without "fe_". */
struct plan_node set_node(fe_app *app, enum op_code op, const char *name, fe_place place);
/* A new set of `app` whose node has this op; place and types filled in.  Without an `app` it carries the error. */
fe_set *set_new(fe_app *app, enum op_code op, const char *name, fe_place place, fe_type key, fe_type value);
/* The set that a builder or an action was given; in place of NULL one that carries the error.  Never NULL.  What can
 * only be said when its builder is through is said here: arguments that no function takes. */
fe_set *set_given(fe_set *set, const char *name, fe_place place);
/* Put an error on a set (the first one stays): "place: builder: words". Returns the set. */
fe_set *set_fail(fe_set *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A set made from another one: takes over its application, its error, its sources' size, and what fe_with gave to
 * the function that is hung on it. */
fe_set *set_over(fe_set *child, enum op_code op, const char *name, fe_place place, fe_type key,
                 fe_type value);
/* The other one that it is made from. */
void set_beside(fe_set *s, fe_set *child);
/* Key and value are of types that ferro.h has, or the set fails. */
void set_check_types(fe_set *s);
/* One of the types that ferro.h has, for keys and values (FERRO_NONE is one)? */
bool type_known(fe_type type);
/* Offset of a user's function in the job's library; fails the set when it lies elsewhere. */
uint64_t set_fn(fe_set *s, const void *fn);

/* A join that was to probe a table shuffles both sides instead. */
void set_shuffle_both(fe_set *join);

/* Cut the lineage of `last` into stages whose final sink is `sink` (types filled
 * in here).  Everything lives in `a`.  -1 and `e` when it is too large. */
int planner_cut(struct arena *a, const fe_set *last, struct plan_node sink, enum stage_kind kind,
                struct job_spec *out, struct error *e);

#endif
