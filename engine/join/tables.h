/* tables.h - the tables of a join's small side, mapped: what all tasks of a stage share in one host. */
#ifndef FERRO_JOIN_TABLES_H
#define FERRO_JOIN_TABLES_H

#include "engine/join/lookup.h"

struct tables;

/* Those that the stage's side number node->side made, as `node` (OP_PROBE) says that they are.  NULL after run_fail(). */
struct tables *tables_open(struct run *r, const struct plan_node *node);
const struct lookups *tables_lookups(const struct tables *t);
void tables_close(struct tables **t);

#endif
