/* rows.c - collected records, one after the other. */
#include "driver/api/rows.h"
#include "engine/frame.h"

#include <stdlib.h>

struct fe_rows {
    const struct runtime *runtime;
    struct job_outcome outcome; /* owned */
    fe_type key, value;
    uint64_t count, given;
    uint64_t result; /* that is being read */
    uint32_t at;     /* in it: the next frame */
    struct batch frame;
    uint32_t row; /* of the frame: the next */
};

/* The next frame that has rows: 1, 0 when there is none, -1 and `e`. */
static int frame_next(fe_rows *r, struct error *e)
{
    while (r->result < r->outcome.nresults) {
        struct bytes result = r->outcome.results[r->result];
        if (r->at == result.n) {
            r->result++;
            r->at = 0;
            continue;
        }
        struct buf none = { 0 }; /* results are never compressed */
        struct bytes left = { result.p + r->at, result.n - r->at };
        int64_t size = frame_get(left, r->key, r->value, &none, &r->frame, e);
        buf_fini(&none);
        if (size < 0)
            return -1;
        r->at += (uint32_t)size;
        r->row = 0;
        if (r->frame.rows)
            return 1;
    }
    return 0;
}

/* All frames are checked before the first row is given out. */
static int rows_check(fe_rows *r, struct error *e)
{
    int more;
    while ((more = frame_next(r, e)) > 0)
        r->count += r->frame.rows;
    r->frame.rows = r->row = r->at = 0;
    r->result = 0;
    return more;
}

fe_rows *rows_new(const struct runtime *runtime, struct job_outcome *outcome, fe_type key, fe_type value,
                  uint64_t limit, struct error *e)
{
    fe_rows *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    *r = (fe_rows){ .runtime = runtime, .outcome = *outcome, .key = key, .value = value };
    if (rows_check(r, e)) {
        free(r);
        return NULL;
    }
    if (limit && r->count > limit)
        r->count = limit;
    *outcome = (struct job_outcome){ 0 };
    return r;
}

size_t fe_rows_count(const fe_rows *r)
{
    return r ? r->count : 0;
}

bool fe_rows_next(fe_rows *r, fe_slice *key, fe_slice *value)
{
    struct error e;
    if (!r || r->given == r->count || (r->row == r->frame.rows && frame_next(r, &e) <= 0))
        return false;
    if (key)
        *key = vec_at(&r->frame.key, r->row);
    if (value)
        *value = vec_at(&r->frame.value, r->row);
    r->row++;
    r->given++;
    return true;
}

void fe_rows_free(fe_rows **r)
{
    if (!r || !*r)
        return;
    (*r)->runtime->release((*r)->runtime->user, &(*r)->outcome);
    free(*r);
    *r = NULL;
}
