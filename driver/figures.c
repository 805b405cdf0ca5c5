/* figures.c - see figures.h. */
#include "driver/figures.h"

#include <inttypes.h>
#include <string.h>

#define DOT " \xC2\xB7 "
#define BAR_COLUMNS 10
#define NAME_COLUMNS 20
#define LEFT_AFTER_MS 500 /* before that any guess of the time left, or of tasks a second, is wild */

void figures_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 999.5 && u + 1 < sizeof units / sizeof *units) {
        v /= 1000;
        u++;
    }
    buf_printf(out, u && v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

void figures_time(struct buf *out, uint64_t ms)
{
    if (ms < 9995)
        buf_printf(out, "%.2f s", (double)ms / 1000);
    else if (ms < 99950)
        buf_printf(out, "%.1f s", (double)ms / 1000);
    else
        buf_printf(out, "%" PRIu64 " min %" PRIu64 " s", ms / 60000, ms / 1000 % 60);
}

static void count(struct buf *out, uint64_t n, const char *what)
{
    buf_printf(out, "%" PRIu64 " %s%s", n, what, n == 1 ? "" : "s");
}

static void time_left(struct buf *out, const struct sched_progress *s, uint64_t elapsed_ms)
{
    if (s->done == 0 || s->done >= s->tasks || elapsed_ms < LEFT_AFTER_MS)
        return;
    uint64_t left =
        (uint64_t)((double)elapsed_ms * (double)(s->tasks - s->done) / (double)s->done / 1000 + 0.5);
    if (left < 100)
        buf_printf(out, DOT "%" PRIu64 " s left", left ? left : 1);
    else
        buf_printf(out, DOT "%" PRIu64 " min left", (left + 30) / 60);
}

/* Bytes a second; of tasks that read none, tasks. */
static void rate(struct buf *out, const struct sched_progress *s, uint64_t elapsed_ms, uint64_t bytes)
{
    if (bytes && elapsed_ms) {
        buf_printf(out, DOT);
        figures_bytes(out, bytes * 1000 / elapsed_ms);
        buf_printf(out, "/s");
    } else if (s->done && elapsed_ms >= LEFT_AFTER_MS) {
        double each = (double)s->done * 1000 / (double)elapsed_ms;
        buf_printf(out, each < 9.95 ? DOT "%.1f tasks/s" : DOT "%.0f tasks/s", each);
    }
}

void figures_stage(struct buf *out, const struct sched_progress *s, uint64_t elapsed_ms, uint64_t bytes,
                   bool bar)
{
    static const char full[] = "==========", none[] = "          ";
    const char *name = s->stage_name && *s->stage_name ? s->stage_name : "stage";
    int filled = s->tasks ? (int)(s->done * BAR_COLUMNS / s->tasks) : 0;
    buf_printf(out, "%.*s ",
               (int)bytes_utf8_run((const uint8_t *)name, (uint32_t)strnlen(name, NAME_COLUMNS)), name);
    if (bar)
        buf_printf(out, " [%.*s%.*s] ", filled, full, BAR_COLUMNS - filled, none);
    buf_printf(out, "%" PRIu64 "/%" PRIu64, s->done, s->tasks);
    buf_printf(out, DOT "%" PRIu64 " running", s->running);
    if (s->failed)
        buf_printf(out, DOT "%" PRIu64 " failed", s->failed);
    buf_printf(out, DOT);
    count(out, s->slots, "slot");
    rate(out, s, elapsed_ms, bytes);
    time_left(out, s, elapsed_ms);
}

static void parts(struct buf *out, const struct figures *f)
{
    uint64_t n = f->parts_by_driver + f->parts_by_executors;
    buf_printf(out, DOT "%s/ ", f->save_dir);
    count(out, n, "part");
    if (f->parts_by_driver && f->parts_by_executors)
        buf_printf(out, ", %" PRIu64 " written by the driver, %" PRIu64 " by executors", f->parts_by_driver,
                   f->parts_by_executors);
    else if (n)
        buf_printf(out, ", written by %s", f->parts_by_driver ? "the driver" : "executors");
}

void figures_sum(struct buf *out, const struct figures *f, bool verbose)
{
    count(out, f->stages, "stage");
    buf_printf(out, DOT);
    count(out, f->tasks, "task");
    if (f->reruns) {
        buf_printf(out, " (");
        count(out, f->reruns, "rerun");
        buf_printf(out, ")");
    }
    buf_printf(out, DOT);
    figures_bytes(out, f->bytes_read);
    buf_printf(out, " read" DOT);
    figures_bytes(out, f->bytes_shuffled);
    buf_printf(out, " shuffled");
    if (f->save_dir)
        parts(out, f);
    if (verbose && f->task_messages)
        buf_printf(out, DOT "%.1f tasks a message",
                   (double)(f->tasks + f->reruns) / (double)f->task_messages);
}
