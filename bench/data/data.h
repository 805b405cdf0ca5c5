/* data.h - what the kinds of test data share: random numbers, laws, and the way out. */
#ifndef FERRO_BENCH_DATA_H
#define FERRO_BENCH_DATA_H

#include <stddef.h>
#include <stdint.h>

/* ---- random numbers ------------------------------------------------------ */

/* A bijection on 64 bits whose results look random (the last step of splitmix64). */
static inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The next number of a stream (splitmix64), which is its whole state. */
static inline uint64_t next_random(uint64_t *stream)
{
    return mix(*stream += 0x9e3779b97f4a7c15u);
}

/* Uniform in 0..n-1; n is at most 2^32. */
static inline uint64_t draw_below(uint64_t *stream, uint64_t n)
{
    return ((next_random(stream) >> 32) * n) >> 32;
}

/* ---- Zipf's law ---------------------------------------------------------- */
#define ZIPF_MAX (1u << 31)
#define ZIPF_STEPS 4096 /* of the table of powers, per octave */

/* Ranks 1..N, the r-th with probability log(1 + 1/r) / log(N + 1), which is close
 * to 1/r scaled: exponent 1. */
struct zipf {
    uint64_t n;
    uint64_t octaves;               /* log2(N + 1), 16 bits behind the point */
    uint64_t power[ZIPF_STEPS + 1]; /* 2^(i / ZIPF_STEPS), 32 bits behind the point */
};

/* n: 1..ZIPF_MAX. */
void zipf_init(struct zipf *, uint64_t n);

/* 1..N: 2 to the power of a uniform draw from [0, log2(N + 1)), rounded down. */
static inline uint64_t zipf_draw(const struct zipf *z, uint64_t *stream)
{
    uint64_t x = (next_random(stream) >> 32) * z->octaves; /* 48 bits behind the point */
    uint64_t octave = x >> 48, step = (x >> 36) & (ZIPF_STEPS - 1), rest = (x >> 4) & 0xffffffff;
    uint64_t low = z->power[step], high = z->power[step + 1];
    uint64_t rank = ((low + (((high - low) * rest) >> 32)) << octave) >> 32;
    return rank < z->n ? rank : z->n;
}

/* ---- an order of 0..n-1 -------------------------------------------------- */

/* i goes to (a * i + b) mod n, with a prime to n: neighbours part, none meet. */
struct shuffle {
    uint64_t n, a, b;
};

/* n: 1..ZIPF_MAX. */
void shuffle_init(struct shuffle *, uint64_t n, uint64_t seed);

static inline uint64_t shuffle_at(const struct shuffle *s, uint64_t i)
{
    return (s->a * i + s->b) % s->n;
}

/* ---- the way out --------------------------------------------------------- */
#define OUT_MAX 4096 /* bytes that one out_room() can ask for */

/* Room for n bytes, until the next call.  Writes out what came before when it is
 * full; the process ends with 1 and a line on stderr when that fails. */
char *out_room(size_t n);
/* So many bytes of that room were filled. */
void out_take(size_t n);
void out_flush(void);

/* ---- the kinds ----------------------------------------------------------- */
struct wanted {
    uint64_t size, seed;
    uint64_t right; /* rows of a join's right side, for its left side */
};

void write_text_zipf(const struct wanted *);
void write_text_distinct(const struct wanted *);
void write_records(const struct wanted *);
void write_csv(const struct wanted *);
void write_join_left_uniform(const struct wanted *);
void write_join_left_zipf(const struct wanted *);
void write_join_right(const struct wanted *);
void write_graph_uniform(const struct wanted *);
void write_graph_skewed(const struct wanted *);
void write_points(const struct wanted *);

#endif
