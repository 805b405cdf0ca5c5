/* stages.c - what a worker is told before tasks: its application, and each stage. */
#include "executor/host/worker.h"

#include "executor/host/confine.h"
#include "executor/host/loaded.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char *kept_text(struct worker *w, struct bytes b)
{
    char *text = arena_alloc(&w->keep, b.n + 1u);
    return memcpy(text, b.p, b.n);
}

/* Confined first: the library's constructors are user code. */
void worker_assign(struct worker *w, const struct msg_host_assign *m)
{
    struct error e = { 0 };
    int fds[HOST_FDS_MAX], n = w->daemon.nfds;
    memcpy(fds, w->daemon.fds, sizeof fds);
    w->outbox.app = w->env.app = m->app;
    w->env.memory = m->memory;
    w->env.scratch = kept_text(w, m->scratch);
    w->env.disk = kept_text(w, m->disk);
    bool confined = !m->confine || confine_host(m, &e) == 0;
    if (confined)
        outbox_watch(&w->outbox); /* a thread made before would not be confined */
    if (!confined || loaded_open(fds, n, &w->env.library, &e))
        e.words[sizeof e.words - 1] = 0;
    daemon_send(&w->daemon, MSG_HOST_READY, &(struct msg_host_ready){ .words = bytes_of(e.words) });
}

static void forget(struct worker *w)
{
    ferro_stage_close(&w->stage);
    if (w->mapped)
        munmap(w->mapped, w->mapped_bytes);
    w->mapped = NULL;
}

static int map_frame(struct worker *w, int fd, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) || st.st_size <= 0)
        return error_sys(e, "a stage's description");
    w->mapped_bytes = (size_t)st.st_size;
    w->mapped = mmap(NULL, w->mapped_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (w->mapped != MAP_FAILED)
        return 0;
    w->mapped = NULL;
    return error_sys(e, "a stage's description can't be mapped");
}

void worker_stage(struct worker *w, const struct item *it)
{
    w->env.to_disk = it->stage.to_disk;
    w->env.save = it->stage.save;
    if (it->fd < 0)
        return;
    forget(w);
    w->stage_number = it->stage.stage;
    w->stage_error.words[0] = 0;
    w->outbox.average_ns = 0;
    if (map_frame(w, it->fd, &w->stage_error) == 0)
        w->stage = ferro_stage_open((struct bytes){ w->mapped, (uint32_t)w->mapped_bytes }, &w->env,
                                    &w->stage_error);
    close(it->fd);
}
