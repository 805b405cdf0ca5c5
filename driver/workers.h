/* workers.h - threads for what may block (files): work in, the same work back, done.
 *
 * Embed struct work first in a struct that holds a piece of work's arguments and result:
 *
 *     struct part_write { struct work work; ... };       // work.run gets the pointer
 *     workers_put(w, &p->work);                          // from the loop's thread
 *     while ((done = workers_take(w))) ...               // when workers_fd() is readable
 *
 * Two pieces may run at once; who needs an order puts the second when the first came back.
 */
#ifndef FERRO_DRIVER_WORKERS_H
#define FERRO_DRIVER_WORKERS_H

#include "common/base/error.h"

struct work {
    struct work *next;          /* the workers' own */
    void (*run)(struct work *); /* in a worker's thread */
};

struct workers;

struct workers *workers_new(struct error *e);

/* What was put is done first; what nobody took goes to `drop`. */
void workers_free(struct workers **w, void (*drop)(struct work *));

void workers_put(struct workers *w, struct work *work);
struct work *workers_take(struct workers *w); /* done, in order of completion; NULL: none */
int workers_fd(const struct workers *w);      /* readable while there is something to take */

#endif
