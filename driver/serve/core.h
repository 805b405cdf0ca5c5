/* core.h - inside the driver service's core only: its structs, and who does what. */
#ifndef FERRO_SERVE_CORE_H
#define FERRO_SERVE_CORE_H

#include "common/base/map.h"
#include "common/core/backoff.h"
#include "common/core/beat.h"
#include "common/core/send.h"
#include "driver/serve/launcher.h"

#define MS 1000000ull
#define OUTPUT_FRAME_BYTES 65536u /* messages.def */
#define TAIL_BYTES_MAX (1u << 20) /* kept of each stream while the manager is away; it keeps no more itself */
#define WINDOW_NS (100 * MS) /* a stream may send so much in such a time; what is over waits in its pipe */
#define WINDOW_BYTES (1u << 20)
#define STREAMS_CLOSE_NS (1000 * MS) /* a dead child's streams may be held open by its children for so long */
#define EXITED_KEPT_NS (60000 * MS)  /* an end that the manager has not heard is told again for so long */
#define BYE_NS (1000 * MS)

enum run_state {
    RUN_LOADING, /* its library comes, and is written */
    RUN_KEYS,    /* keys are being made */
    RUN_OPENING, /* APP_OPEN sent, or to be sent when the manager is back */
    RUN_CHILD,
    RUN_OVER, /* no child any more; its last output may be on the way */
    RUN_TOLD, /* EXITED sent; gone when that was heard */
};

struct stream {
    bool closed;
    uint64_t offset;    /* of the next byte to be sent, in the whole stream */
    struct buf kept;    /* from there on; only while the manager is away */
    uint64_t window_ns; /* when the window began */
    uint32_t window_bytes;
    bool paused;
};

/* One launched application. */
struct run {
    uint64_t app;
    enum run_state state;
    struct arena arena; /* options and args */
    const char **options, **args;
    uint64_t lib_bytes, received, written;
    struct launcher_keys keys; /* until it is open */
    struct stream streams[LAUNCHER_STREAMS];
    uint32_t exit_code;
    char words[513];
    uint64_t over_ns;          /* the child ended */
    uint64_t told_seq;         /* a beat sent after EXITED: its echo says that the manager heard */
    uint64_t term_ns, kill_ns; /* when to signal it; 0: no need */
    bool ended;                /* the manager said APP_END */
};

struct launcher {
    struct launcher_config config;
    struct prng prng;
    uint64_t now;
    struct actions *out;
    struct arena in;
    /* the manager */
    conn_id conn; /* 0: none */
    uint64_t next_conn;
    bool up, serving, warned;
    uint64_t dial_ns;
    struct backoff backoff;
    uint64_t epoch, generation, beat_ms;
    struct beat beat;
    struct stall stall;
    /* applications */
    struct map runs; /* app -> struct run, owned */
    struct map ios;  /* id of an ACT_IO -> app */
    uint64_t next_io;
    bool stopping, bye;
    uint64_t bye_ns;
};

/* launcher.c */
void launcher_send(struct launcher *l, uint8_t tag, const void *msg); /* while the connection is up */
void launcher_call(struct launcher *l, enum launcher_note what, uint64_t app, const void *arg);
void launcher_event(struct launcher *l, const char *name, uint64_t app, int code, const char *words);

/* launches.c: from LAUNCH to the child's start, and to its end */
void launches_on_launch(struct launcher *l, const struct msg_launch *m);
void launches_on_chunk(struct launcher *l, const struct msg_chunk *m);
void launches_on_io(struct launcher *l, uint64_t id, int64_t result);
void launches_on_keys(struct launcher *l, const struct launcher_keys *k);
void launches_on_ok(struct launcher *l, uint64_t app);
void launches_on_refuse(struct launcher *l, const struct msg_refuse *m);
void launches_on_end(struct launcher *l, uint64_t app);
void launches_on_exit(struct launcher *l, const struct event *ev);
void launches_serving(struct launcher *l); /* the manager is (again) there: what it has to hear */
void launches_away(struct launcher *l);
void launches_heard(struct launcher *l, uint64_t seq);
void launches_stop(struct launcher *l);
void launches_time(struct launcher *l);
uint64_t launches_deadline(const struct launcher *l);
void launches_free(struct launcher *l);

/* outputs.c: what children write */
void outputs_on_output(struct launcher *l, const struct launcher_output *o);
void outputs_flush(struct launcher *l, struct run *r); /* what was kept */
void outputs_time(struct launcher *l, struct run *r);
uint64_t outputs_deadline(const struct run *r);
bool outputs_closed(const struct run *r);
void outputs_free(struct run *r);

#endif
