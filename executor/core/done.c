/* done.c - what ended, told to the driver: coalesced in one turn, kept until acknowledged. */
#include "executor/core/core.h"

#include <string.h>

#define REPORTS_A_FRAME 64 /* keeps a DONE well below PROTO_FRAME_BYTES_MAX */

static void keep_unacked(struct app *a, const struct buf *frame)
{
    uint32_t n = (uint32_t)frame->n;
    buf_put(&a->unacked, &a->done_seq, sizeof a->done_seq);
    buf_put(&a->unacked, &n, sizeof n);
    buf_put(&a->unacked, frame->p, frame->n);
    a->nunacked++;
}

static void send_frame(struct executor *x, const struct app *a, const uint8_t *p, uint32_t n)
{
    if (!a->attached)
        return;
    struct action *act = actions_add(x->out, ACT_SEND);
    act->conn = a->control;
    act->frame = (struct bytes){ arena_copy(&x->out->arena, p, n), n };
}

static void flush_some(struct executor *x, struct app *a, uint32_t first, uint32_t nreports, bool runs)
{
    struct msg_done m = { .app = a->app, .seq = ++a->done_seq, .busy_ns = runs ? a->out_busy_ns : 0 };
    struct buf frame = { 0 };
    if (runs)
        m.runs.v = (const struct rec_success *)a->out_runs.p,
        m.runs.n = (uint32_t)(a->out_runs.n / sizeof(struct rec_success));
    m.reports.v = (const struct rec_report *)a->out_reports.p + first;
    m.reports.n = nreports;
    proto_encode(&frame, &(struct head){ .tag = MSG_DONE, .epoch = x->epoch, .generation = x->generation },
                 &m);
    keep_unacked(a, &frame);
    send_frame(x, a, frame.p, (uint32_t)frame.n);
    buf_fini(&frame);
}

void done_flush(struct executor *x, struct app *a)
{
    uint32_t reports = (uint32_t)(a->out_reports.n / sizeof(struct rec_report)), first = 0;
    if (a->out_runs.n == 0 && reports == 0)
        return;
    do {
        uint32_t n = reports - first > REPORTS_A_FRAME ? REPORTS_A_FRAME : reports - first;
        flush_some(x, a, first, n, first == 0);
        first += n;
    } while (first < reports);
    buf_reset(&a->out_runs);
    buf_reset(&a->out_reports);
    arena_reset(&a->out_arena);
    a->out_busy_ns = 0;
}

/* Made under an earlier epoch or generation, perhaps: said again under today's. */
static void send_again(struct executor *x, const struct app *a, const uint8_t *p, uint32_t n)
{
    struct head head;
    struct arena arena = { 0 };
    const void *m = proto_decode(&arena, (struct bytes){ p, n }, &head, NULL);
    if (m)
        app_send(x, a, MSG_DONE, m);
    arena_fini(&arena);
}

/* Walk over the kept frames: forget those up to `upto`, send the others again when asked to. */
static void walk(struct executor *x, struct app *a, uint64_t upto, bool send)
{
    size_t at = 0, keep = 0;
    while (at < a->unacked.n) {
        uint64_t seq;
        uint32_t n;
        memcpy(&seq, a->unacked.p + at, sizeof seq);
        memcpy(&n, a->unacked.p + at + sizeof seq, sizeof n);
        size_t whole = sizeof seq + sizeof n + n;
        if (seq <= upto) {
            keep = at + whole;
            a->nunacked--;
        } else if (send)
            send_again(x, a, a->unacked.p + at + sizeof seq + sizeof n, n);
        else
            break;
        at += whole;
    }
    if (keep)
        memmove(a->unacked.p, a->unacked.p + keep, a->unacked.n - keep);
    a->unacked.n -= keep;
}

void done_resend(struct executor *x, struct app *a, uint64_t after)
{
    walk(x, a, after, !FERRO_PLANT(done_not_resent));
}

void on_done_ack(struct executor *x, struct app *a, const struct msg_done_ack *m)
{
    walk(x, a, m->seq, false);
    tasks_dispatch(x, a); /* they may have waited for it */
}

struct rec_report report_copy(struct arena *a, const struct rec_report *r)
{
    struct rec_report c = *r;
    c.sizes = arena_bytes(a, r->sizes);
    c.result = arena_bytes(a, r->result);
    c.words = arena_bytes(a, r->words);
    c.tail = arena_bytes(a, r->tail);
    struct rec_cut *samples = arena_alloc(a, (r->samples.n + 1u) * sizeof *samples);
    for (uint32_t i = 0; i < r->samples.n; i++)
        samples[i].key = arena_bytes(a, r->samples.v[i].key);
    c.samples.v = samples;
    return c;
}
