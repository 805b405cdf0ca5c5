/* stream.c - see stream.h. */
#include "engine/spill/stream.h"

#include "engine/frame.h"

#include <errno.h>
#include <unistd.h>

void stream_start(struct stream *s, int fd, uint64_t at, uint64_t end, fe_type key, fe_type value,
                  uint32_t step)
{
    s->fd = fd;
    s->at = at;
    s->end = end;
    s->key = key;
    s->value = value;
    s->step = step;
    s->pos = 0;
    buf_reset(&s->buf);
}

/* Have at least `need` bytes at pos, reading in whole steps. */
static int fill(struct stream *s, uint64_t need, struct error *e)
{
    size_t have = s->buf.n - s->pos;
    if (have >= need)
        return 0;
    if (s->end - s->at < need - have)
        return error_set(e, EBADMSG, "a frame of %llu bytes is cut after %llu", (unsigned long long)need,
                         (unsigned long long)(have + (s->end - s->at)));
    if (s->pos) {
        memmove(s->buf.p, s->buf.p + s->pos, have);
        s->buf.n = have;
        s->pos = 0;
    }
    uint64_t want = need - have > s->step ? need - have : s->step;
    want = want < s->end - s->at ? want : s->end - s->at;
    uint8_t *p = buf_grow(&s->buf, want);
    for (uint64_t done = 0; done < want;) {
        ssize_t n = pread(s->fd, p + done, want - done, (off_t)s->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_sys(e, "reading");
        if (n == 0)
            return error_set(e, EBADMSG, "the file ends at byte %llu, before its index says so",
                             (unsigned long long)s->at);
        done += (uint64_t)n;
        s->at += (uint64_t)n;
        s->buf.n += (size_t)n;
    }
    return 0;
}

int stream_next(struct stream *s, struct batch *out, struct error *e)
{
    if (s->buf.n == s->pos && s->at == s->end)
        return 0;
    if (fill(s, sizeof(struct frame), e))
        return -1;
    int64_t size = frame_size((struct bytes){ s->buf.p + s->pos, sizeof(struct frame) });
    if (size < 0 || s->pos % 8)
        return error_set(e, EBADMSG, "no frame begins where one should");
    /* With the next header at once: little is left to move when the next frame is read. */
    uint64_t more = s->pos + (uint64_t)size < s->buf.n + (s->end - s->at) ? sizeof(struct frame) : 0;
    if (fill(s, (uint64_t)size + (s->step == STREAM_BY_FRAME ? more : 0), e))
        return -1;
    struct bytes in = { s->buf.p + s->pos, (uint32_t)size };
    if (frame_get(in, s->key, s->value, &s->scratch, out, e) < 0)
        return -1;
    s->pos += (size_t)size;
    return 1;
}

void stream_fini(struct stream *s)
{
    buf_fini(&s->buf);
    buf_fini(&s->scratch);
}
