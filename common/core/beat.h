/* beat.h - is the other side alive?  One struct per judged peer: pure.
 *
 * We send BEAT{seq}; only its echo renews, and it counts from when that beat was
 * sent, so that a partition in one direction can't look alive.  Other traffic
 * lifts suspicion (beat_heard) but renews nothing.  When our own loop stalled
 * we were deaf: beat_stalled() gives the peer that time back.
 */
#ifndef FERRO_CORE_BEAT_H
#define FERRO_CORE_BEAT_H

#include <stdbool.h>
#include <stdint.h>

#define BEAT_RING 32 /* beats whose sending time is remembered; older echoes renew nothing */

struct beat {
    uint64_t seq;        /* of the last beat sent; 0: none yet */
    uint64_t next_ns;    /* when the next one is due */
    uint64_t renewed_ns; /* sending time of the newest echoed beat */
    uint64_t heard_ns;   /* any traffic */
    uint64_t sent_ns[BEAT_RING];
};

void beat_init(struct beat *b, uint64_t now_ns); /* alive as of now; the first beat is due at once */
/* True when a beat is due: then send BEAT{b->seq}. */
bool beat_due(struct beat *b, uint64_t now_ns, uint64_t every_ns);
void beat_echo(struct beat *b, uint64_t seq);
void beat_heard(struct beat *b, uint64_t now_ns);
void beat_stalled(struct beat *b, uint64_t ns);
uint64_t beat_silence_ns(const struct beat *b, uint64_t now_ns); /* since the last renewal */
uint64_t beat_unheard_ns(const struct beat *b, uint64_t now_ns); /* since any traffic or renewal */

/* What a lease adds (XOR) to BEAT.digest, of those that the sender holds and has not begun to close. */
uint64_t lease_digest(uint64_t lease);

/* A core's view of its own turns: how long it was away beyond what it asked for. */
struct stall {
    uint64_t asked_ns; /* 0: nothing asked yet */
};
/* First in each step: how far past the deadline that we asked for we woke (0: under 1 s). */
uint64_t stall_begin(struct stall *s, uint64_t now_ns);
/* Last in each step: when we want to be woken (UINT64_MAX: never). */
void stall_end(struct stall *s, uint64_t deadline_ns);

#endif
