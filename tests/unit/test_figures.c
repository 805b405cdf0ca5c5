/* test_figures.c - what people read while a job runs and when it ended. */
#include "driver/figures.h"
#include "driver/progress.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MS 1000000ull

static struct buf out;

static const char *text(void)
{
    buf_put(&out, "", 1);
    out.n = 0;
    return (const char *)out.p;
}

static const char *bytes_text_of(uint64_t n)
{
    figures_bytes(&out, n);
    return text();
}

static const char *time_text_of(uint64_t ms)
{
    figures_time(&out, ms);
    return text();
}

Test(figures, sizes_and_times_have_two_or_three_digits)
{
    cr_assert_str_eq(bytes_text_of(0), "0 B");
    cr_assert_str_eq(bytes_text_of(999), "999 B");
    cr_assert_str_eq(bytes_text_of(1000), "1.0 kB");
    cr_assert_str_eq(bytes_text_of(3100000), "3.1 MB");
    cr_assert_str_eq(bytes_text_of(62400000), "62 MB");
    cr_assert_str_eq(bytes_text_of(999600000), "1.0 GB");
    cr_assert_str_eq(time_text_of(614), "0.61 s");
    cr_assert_str_eq(time_text_of(12345), "12.3 s");
    cr_assert_str_eq(time_text_of(125000), "2 min 5 s");
}

Test(figures, a_stage_with_its_bar)
{
    struct sched_progress s = { .stage_name = "map", .tasks = 38, .done = 23, .running = 4, .slots = 4 };
    figures_stage(&out, &s, 1000, 410000000, true);
    cr_assert_str_eq(text(), "map  [======    ] 23/38 · 4 running · 4 slots · 410 MB/s · 1 s left");
    s.failed = 2;
    s.slots = 1;
    figures_stage(&out, &s, 0, 0, false);
    cr_assert_str_eq(text(), "map 23/38 · 4 running · 2 failed · 1 slot");
    figures_stage(&out, &s, 2000, 0, false);
    cr_assert_str_eq(text(), "map 23/38 · 4 running · 2 failed · 1 slot · 12 tasks/s · 1 s left");
    s.done = s.tasks = 0;
    figures_stage(&out, &s, 5000, 0, true);
    cr_assert_str_eq(text(), "map  [          ] 0/0 · 4 running · 2 failed · 1 slot");
}

Test(figures, the_sum_names_who_wrote_the_parts)
{
    struct figures f = {
        .stages = 2, .tasks = 38, .reruns = 8, .bytes_read = 62000000, .bytes_shuffled = 3100000
    };
    figures_sum(&out, &f, false);
    cr_assert_str_eq(text(), "2 stages · 38 tasks (8 reruns) · 62 MB read · 3.1 MB shuffled");
    f.reruns = 0;
    f.save_dir = "out";
    f.parts_by_driver = 8;
    f.task_messages = 19;
    figures_sum(&out, &f, true);
    cr_assert_str_eq(
        text(), "2 stages · 38 tasks · 62 MB read · 3.1 MB shuffled · out/ 8 parts, written by the driver · "
                "2.0 tasks a message");
    f.parts_by_driver = 0;
    f.parts_by_executors = 1;
    figures_sum(&out, &f, false);
    cr_assert_str_eq(
        text(), "2 stages · 38 tasks · 62 MB read · 3.1 MB shuffled · out/ 1 part, written by executors");
}

/* ---- progress, on a pipe ------------------------------------------------------ */

static int ends[2];
static struct progress *p;

static void begin(struct progress_config config)
{
    cr_assert_eq(pipe(ends), 0);
    config.fd = ends[1];
    config.app = 3;
    config.name = "wordcount";
    p = progress_new(&config, 0);
    progress_begin(p, NULL, 0);
}

static const char *read_out(void)
{
    static char said[4096];
    progress_free(&p);
    close(ends[1]);
    ssize_t n = read(ends[0], said, sizeof said - 1);
    said[n < 0 ? 0 : n] = 0;
    close(ends[0]);
    return said;
}

Test(progress, plain_lines_come_once_a_second_and_only_with_news)
{
    struct sched_progress s = { .stage = 1, .stage_name = "split", .tasks = 10, .slots = 2, .executors = 1 };
    begin((struct progress_config){ 0 });
    for (uint64_t ms = 0; ms <= 3500; ms += 50) {
        s.done = ms < 2000 ? ms / 500 : 4;
        progress_update(p, &s, ms * MS);
    }
    cr_assert_str_eq(read_out(), "app 3 split 2/10 · 0 running · 2 slots · 2.1 tasks/s · 4 s left\n"
                                 "app 3 split 4/10 · 0 running · 2 slots · 2.1 tasks/s · 3 s left\n");
}

Test(progress, a_terminal_line_is_drawn_ten_times_a_second_and_cleared)
{
    struct sched_progress s = { .stage = 1, .stage_name = "split", .tasks = 4, .done = 1, .slots = 2 };
    begin((struct progress_config){ .terminal = true });
    for (uint64_t ms = 0; ms < 250; ms += 10)
        progress_update(p, &s, ms * MS);
    progress_say(p, "hello");
    cr_assert_str_eq(read_out(), "\rsplit  [==        ] 1/4 · 0 running · 2 slots\033[K"
                                 "\rsplit  [==        ] 1/4 · 0 running · 2 slots\033[K"
                                 "\r\033[Khello\n");
}

Test(progress, what_waits_is_said_once_after_a_second)
{
    struct sched_progress s = { .waits = "a slot with 64 GiB" };
    begin((struct progress_config){ 0 });
    for (uint64_t ms = 0; ms < 900; ms += 50)
        progress_update(p, &s, ms * MS);
    s.waits = "";
    progress_update(p, &s, 900 * MS);
    s.waits = "one executor";
    for (uint64_t ms = 1000; ms < 5000; ms += 50)
        progress_update(p, &s, ms * MS);
    cr_assert_str_eq(read_out(), "app 3 waits: one executor\n");
}

Test(progress, joins_and_losses_have_lines)
{
    struct sched_progress s = {
        .stage = 1, .stage_name = "split", .executors = 1, .slots = 2, .done = 1, .tasks = 9
    };
    begin((struct progress_config){ .terminal = true });
    progress_update(p, &s, 10 * MS);
    s.executors = 4;
    s.slots = 8;
    for (uint64_t ms = 1500; ms <= 1800; ms += 300)
        progress_update(p, &s, ms * MS);
    progress_event(p, &(struct sched_event){ .name = "maps.lost", .stage = 2, .count = 6 });
    const char *said = read_out();
    cr_assert(strstr(said, "app 3: 3 executors joined, +6 slots\n"), "%s", said);
    cr_assert(strstr(said, "app 3: 6 map outputs of stage 2 run again\n"), "%s", said);
}

Test(progress, an_event_says_what_it_has_and_a_cause_once)
{
    begin((struct progress_config){ .verbose = true });
    progress_event(p, &(struct sched_event){ .name = "executor.attached", .count = 2, .executor = "h/01" });
    progress_event(p, &(struct sched_event){ .name = "manager.open" });
    progress_event(p, &(struct sched_event){ .name = "stage.begun", .count = 4, .words = "split" });
    progress_event(p, &(struct sched_event){ .name = "task.straggles", .attempt = 1, .count = 1 });
    for (uint32_t a = 1; a <= 2; a++)
        progress_event(
            p, &(struct sched_event){
                   .name = "task.failed", .part = 2, .attempt = a, .executor = "h/01", .words = "bad date" });
    progress_event(p, &(struct sched_event){ .name = "executor.left", .executor = "h/01", .words = "left" });
    cr_assert_str_eq(read_out(), "app 3: executor.attached count 2 h/01\n"
                                 "app 3: manager.open\n"
                                 "app 3: stage.begun stage 0 count 4: split\n"
                                 "app 3: task.straggles stage 0 part 0 attempt 1\n"
                                 "app 3: stage 0, partition 2, attempt 1 failed on h/01: bad date\n"
                                 "app 3: stage 0, partition 2, attempt 2 failed on h/01: the same\n"
                                 "app 3: executor h/01 left\n");
}

Test(progress, quiet_says_errors_only)
{
    struct sched_progress s = { .stages = 1, .tasks = 1, .done = 1, .waits = "x" };
    begin((struct progress_config){ .quiet = true });
    progress_update(p, &s, 0);
    progress_update(p, &s, 5000 * MS);
    progress_say(p, "hello");
    progress_end(p, &s, true);
    progress_last(p, 6000 * MS);
    progress_error(p, "app 3 FAILED: stage 0");
    cr_assert_str_eq(read_out(), "app 3 FAILED: stage 0\n");
}

Test(progress, the_last_line_sums_the_jobs)
{
    struct sched_progress s = {
        .stages = 2, .tasks_all = 19, .bytes_input = 31000000, .bytes_shuffled = 1550000
    };
    begin((struct progress_config){ 0 });
    progress_end(p, &s, true);
    progress_begin(p, "/somewhere/out/", 0);
    s.parts_by_executors = 8;
    progress_end(p, &s, true);
    progress_last(p, 610 * MS);
    cr_assert_str_eq(read_out(), "wordcount ok 0.61 s · 4 stages · 38 tasks · 62 MB read · 3.1 MB shuffled · "
                                 "/somewhere/out/ 8 parts, written by executors\n");
}

Test(progress, a_reader_that_does_not_read_stops_nobody, .timeout = 20)
{
    begin((struct progress_config){ 0 });
    for (int i = 0; i < 20000; i++)
        progress_say(p, "a line of some length that fills the pipe after a while");
    progress_free(&p);
}
