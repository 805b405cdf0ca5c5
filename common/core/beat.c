/* beat.c - see beat.h. */
#include "common/core/beat.h"

#include <string.h>
#include <xxhash.h>

#define STALL_NS_MIN 1000000000ull

void beat_init(struct beat *b, uint64_t now_ns)
{
    memset(b, 0, sizeof *b);
    b->next_ns = b->renewed_ns = b->heard_ns = now_ns;
}

bool beat_due(struct beat *b, uint64_t now_ns, uint64_t every_ns)
{
    if (now_ns < b->next_ns)
        return false;
    b->seq++;
    b->sent_ns[b->seq % BEAT_RING] = now_ns;
    b->next_ns = now_ns + every_ns;
    return true;
}

void beat_echo(struct beat *b, uint64_t seq)
{
    if (seq == 0 || seq > b->seq || b->seq - seq >= BEAT_RING)
        return;
    uint64_t sent = b->sent_ns[seq % BEAT_RING];
    if (sent > b->renewed_ns)
        b->renewed_ns = sent;
}

void beat_heard(struct beat *b, uint64_t now_ns)
{
    if (now_ns > b->heard_ns)
        b->heard_ns = now_ns;
}

void beat_stalled(struct beat *b, uint64_t ns)
{
    b->renewed_ns += ns;
    b->heard_ns += ns;
    for (int i = 0; i < BEAT_RING; i++)
        b->sent_ns[i] += b->sent_ns[i] ? ns : 0;
}

uint64_t beat_silence_ns(const struct beat *b, uint64_t now_ns)
{
    return now_ns > b->renewed_ns ? now_ns - b->renewed_ns : 0;
}

uint64_t beat_unheard_ns(const struct beat *b, uint64_t now_ns)
{
    uint64_t last = b->heard_ns > b->renewed_ns ? b->heard_ns : b->renewed_ns;
    return now_ns > last ? now_ns - last : 0;
}

uint64_t lease_digest(uint64_t lease)
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(lease >> (8 * i));
    return XXH3_64bits(b, sizeof b);
}

uint64_t stall_begin(struct stall *s, uint64_t now_ns)
{
    if (s->asked_ns == 0 || s->asked_ns == UINT64_MAX || now_ns <= s->asked_ns)
        return 0;
    uint64_t late = now_ns - s->asked_ns;
    return late >= STALL_NS_MIN ? late : 0;
}

void stall_end(struct stall *s, uint64_t deadline_ns)
{
    s->asked_ns = deadline_ns;
}
