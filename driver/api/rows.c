/* rows.c - collected records: the results' frames, as rows. */
#include "driver/api/rows.h"
#include "engine/frame.h"
#include "engine/records.h"

#include <stdlib.h>

struct collected {
    fe_rows rows;
    const struct runtime *runtime;
    struct job_outcome outcome; /* owned */
    fe_type key, value;
    uint64_t result; /* that is being read */
    uint32_t at;     /* in it: the next frame */
};

/* The next frame that has rows: 1, 0 when there is none, -1 and `e`. */
static int frame_next(struct collected *c, struct batch *out, struct error *e)
{
    while (c->result < c->outcome.nresults) {
        struct bytes result = c->outcome.results[c->result];
        if (c->at == result.n) {
            c->result++;
            c->at = 0;
            continue;
        }
        struct bytes left = { result.p + c->at, result.n - c->at };
        int64_t size = frame_get(left, c->key, c->value, NULL, out, e); /* never compressed */
        if (size < 0)
            return -1;
        c->at += (uint32_t)size;
        if (out->rows)
            return 1;
    }
    return 0;
}

static int collected_next(fe_rows *rows, struct batch *out)
{
    struct error e;
    return frame_next((struct collected *)rows, out, &e);
}

/* All frames are checked before the first row is given out. */
static int frames_check(struct collected *c, struct error *e)
{
    struct batch frame;
    int more;
    while ((more = frame_next(c, &frame, e)) > 0)
        c->rows.count += frame.rows;
    c->at = 0;
    c->result = 0;
    return more;
}

static void collected_free(fe_rows *rows)
{
    struct collected *c = (struct collected *)rows;
    c->runtime->release(c->runtime->user, &c->outcome);
    records_fini(rows);
    free(c);
}

fe_rows *rows_new(const struct runtime *runtime, struct job_outcome *outcome, fe_type key, fe_type value,
                  uint64_t limit, struct error *e)
{
    struct collected *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (struct collected){ .runtime = runtime, .outcome = *outcome, .key = key, .value = value };
    c->rows.next = collected_next;
    c->rows.free = collected_free;
    if (frames_check(c, e)) {
        free(c);
        return NULL;
    }
    if (limit && c->rows.count > limit)
        c->rows.count = limit;
    c->rows.left = c->rows.count;
    *outcome = (struct job_outcome){ 0 };
    return &c->rows;
}
