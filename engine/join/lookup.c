/* lookup.c - see lookup.h. */
#define XXH_INLINE_ALL
#include "engine/join/lookup.h"

#include "engine/shuffle/mapfile.h"

#include <errno.h>
#include <xxhash.h>

#define FEW 16u /* rows of one entry that are looked through one by one */

static inline uint64_t align8(uint64_t n)
{
    return (n + 7) & ~7ull;
}

uint32_t lookup_stride(fe_type key, fe_type value, bool *far)
{
    uint64_t bytes =
        sizeof(uint64_t) + (type_is_number(key) ? 0 : align8(type_size(key))) + align8(type_size(value));
    *far = key == FERRO_TEXT || value == FERRO_TEXT || bytes > LOOKUP_RECORD_MAX;
    return *far ? 2 * sizeof(uint64_t) : (uint32_t)bytes;
}

/* ---- the directory -------------------------------------------------------------------- */

/* The smallest hash of bucket b (split_of); of the one behind the last: 2^64. */
static unsigned __int128 bucket_begin(uint32_t b, uint32_t buckets)
{
    return (unsigned __int128)((((uint64_t)b << 32) + buckets - 1) / buckets) << 32;
}

void lookup_scale(struct lookup *l)
{
    unsigned __int128 from = bucket_begin(l->lo, l->buckets), to = bucket_begin(l->hi, l->buckets);
    unsigned __int128 entries = (unsigned __int128)l->entries << 64;
    l->base = (uint64_t)from;
    l->scale = to > from ? (uint64_t)(entries / (to - from)) : 0;
}

static inline const uint8_t *far_row(const uint8_t *record, const uint8_t *far)
{
    uint64_t place;
    memcpy(&place, record + sizeof(uint64_t), sizeof place);
    return far + place * 8;
}

void match_settle(struct match *m, uint64_t word)
{
    const struct lookup *l = m->lookup;
    for (uint32_t end = m->end; end - m->at > FEW;) {
        uint32_t mid = m->at + (end - m->at) / 2;
        if (record_word(lookup_record(l, mid)) < word)
            m->at = mid + 1;
        else
            end = mid;
    }
    while (m->at < m->end && record_word(lookup_record(l, m->at)) < word)
        m->at++;
    if (l->far && m->at < m->end)
        __builtin_prefetch(far_row(lookup_record(l, m->at), l->far));
}

void match_settle_many(struct match *m, uint64_t word)
{
    uint32_t end = m->end;
    match_settle(m, word);
    m->end = m->at;
    while (m->end < end && record_word(lookup_record(m->lookup, m->end)) == word)
        m->end++;
}

/* ---- rows ----------------------------------------------------------------------------- */

void record_row(const uint8_t *record, fe_type key, fe_type value, const uint8_t *far, struct row *out)
{
    const uint8_t *at = record;
    if (far) {
        const struct rows rows = { .key = key,
                                   .value = value,
                                   .p = (uint8_t *)(uintptr_t)far_row(record, far) };
        rows_at(&rows, 0, out);
        return;
    }
    at += type_is_number(key) ? 0 : sizeof(uint64_t);
    out->key = (fe_slice){ (const char *)at, type_size(key) };
    out->value = (fe_slice){ (const char *)at + align8(type_size(key)), type_size(value) };
}

bool match_take(struct match *m, uint64_t word, fe_slice key, fe_slice *value)
{
    const struct lookup *l = m->lookup;
    struct row row;
    while (m->at < m->end) {
        const uint8_t *record = lookup_record(l, m->at);
        if (record_word(record) != word)
            return false;
        m->at++;
        record_row(record, l->key, l->value, l->far, &row);
        *value = row.value;
        if (type_equal(l->key, row.key, key))
            return true;
    }
    return false;
}

/* ---- as a file ------------------------------------------------------------------------ */

uint64_t lookup_directory_bytes(const struct lookup *l)
{
    return align8((l->entries + 1) * sizeof *l->directory);
}

static uint64_t head_sum(const struct lookup_head *h)
{
    struct lookup_head head = *h;
    head.xxh3 = 0;
    return XXH3_64bits(&head, sizeof head);
}

/* The three sections are summed one by one: in memory they don't lie together. */
static uint64_t body_sum(const struct lookup *l)
{
    uint64_t sums[3] = { XXH3_64bits(l->directory, lookup_directory_bytes(l)),
                         XXH3_64bits(l->records, l->rows * l->stride), XXH3_64bits(l->far, l->far_bytes) };
    return XXH3_64bits(sums, sizeof sums);
}

struct lookup_head lookup_head(const struct lookup *l)
{
    struct lookup_head h = {
        .magic = LOOKUP_MAGIC,
        .key = l->key,
        .value = l->value,
        .lo = l->lo,
        .hi = l->hi,
        .buckets = l->buckets,
        .rows = l->rows,
        .entries = l->entries,
        .far_bytes = l->far_bytes,
        .body_xxh3 = body_sum(l),
    };
    h.xxh3 = head_sum(&h);
    return h;
}

static bool head_sane(const struct lookup_head *h)
{
    return h->magic == LOOKUP_MAGIC && h->xxh3 == head_sum(h) && !h->zero && h->lo < h->hi &&
           h->hi <= h->buckets && h->buckets <= MAP_BUCKETS_MAX && h->rows <= UINT32_MAX && h->entries &&
           h->entries <= UINT32_MAX && h->far_bytes % 8 == 0 && h->far_bytes <= 1ull << 40;
}

static bool directory_sane(const struct lookup *l)
{
    bool rises = l->directory[0] == 0;
    for (uint64_t i = 0; i < l->entries; i++)
        rises &= l->directory[i] <= l->directory[i + 1];
    return rises && l->directory[l->entries] == l->rows;
}

static bool far_row_sane(const struct lookup *l, uint64_t place)
{
    bool sized = l->key == FERRO_TEXT || l->value == FERRO_TEXT;
    uint64_t left = l->far_bytes / 8;
    uint32_t n[2] = { type_size(l->key), type_size(l->value) };
    if (place > UINT32_MAX || place >= left)
        return false;
    left -= place + sized;
    if (sized)
        memcpy(n, l->far + place * 8, sizeof n);
    if ((l->key != FERRO_TEXT && n[0] != type_size(l->key)) ||
        (l->value != FERRO_TEXT && n[1] != type_size(l->value)))
        return false;
    return (align8(n[0]) + align8(n[1])) / 8 <= left;
}

static bool far_sane(const struct lookup *l)
{
    for (uint64_t i = 0; l->far && i < l->rows; i++) {
        uint64_t place;
        memcpy(&place, lookup_record(l, (uint32_t)i) + sizeof(uint64_t), sizeof place);
        if (!far_row_sane(l, place))
            return false;
    }
    return true;
}

int lookup_view(const uint8_t *p, uint64_t bytes, struct lookup *out, struct error *e)
{
    struct lookup_head h;
    bool far;
    if (bytes < sizeof h)
        return error_set(e, EBADMSG, "it is too short for a table");
    memcpy(&h, p, sizeof h);
    if (!head_sane(&h))
        return error_set(e, EBADMSG, "it does not begin as a table does");
    *out = (struct lookup){ .key = h.key,
                            .value = h.value,
                            .lo = h.lo,
                            .hi = h.hi,
                            .buckets = h.buckets,
                            .rows = h.rows,
                            .entries = h.entries,
                            .far_bytes = h.far_bytes };
    out->stride = lookup_stride(h.key, h.value, &far);
    uint64_t directory = lookup_directory_bytes(out), records = h.rows * out->stride;
    if (bytes != sizeof h + directory + records + h.far_bytes || far != (h.far_bytes > 0))
        return error_set(e, EBADMSG, "its head contradicts its size");
    lookup_scale(out);
    out->directory = (const uint32_t *)(const void *)(p + sizeof h);
    out->records = p + sizeof h + directory;
    out->far = far ? out->records + records : NULL;
    if (body_sum(out) != h.body_xxh3)
        return error_set(e, EBADMSG, "its checksum is wrong");
    if (!directory_sane(out) || !far_sane(out))
        return error_set(e, EBADMSG, "its rows are not where it says");
    return 0;
}
