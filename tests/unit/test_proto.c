/* test_proto.c - every message of the table, there and back and broken. */
#include "common/proto/codec.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

TestSuite(proto);

static struct prng prng;
static struct arena arena; /* what messages are made of */
static struct error error;

static uint64_t below(uint64_t n)
{
    return prng_next(&prng) % n;
}

/* ---- messages at random ----------------------------------------------------- */

/* How to fill: lists of up to `elements`, one field set to something else. */
struct fill {
    uint32_t elements;
    const struct field *at_limit; /* this field gets exactly its limit */
};

static uint64_t random_number(uint64_t max)
{
    switch (below(4)) {
    case 0: return max < 2 ? 0 : below(3);
    case 1: return max;
    default:
        return max == UINT64_MAX ? prng_next(&prng) >> below(64)
                                 : (prng_next(&prng) >> below(64)) % (max + 1);
    }
}

static struct bytes random_bytes(uint32_t n, bool text)
{
    static const char *const characters[] = {
        "a", "Z", " ", "\n", "\x7f", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\xa5"
    };
    uint8_t *p = arena_alloc(&arena, n);
    for (uint32_t i = 0; i < n;) {
        const char *c = characters[text ? below(8) : 0];
        size_t len = strlen(c);
        if (i + len > n)
            c = "x", len = 1;
        memcpy(p + i, c, len);
        i += (uint32_t)len;
    }
    if (!text)
        for (uint32_t i = 0; i < n; i++)
            p[i] = (uint8_t)prng_next(&prng);
    return (struct bytes){ p, n };
}

static void fill_fields(const struct shape *shape, uint8_t *object, const struct fill *how);

static void fill_list(const struct field *f, uint8_t *at, const struct fill *how)
{
    uint32_t n =
        how->at_limit == f ? f->max : (uint32_t)below((how->elements < f->max ? how->elements : f->max) + 1);
    uint8_t *v = arena_alloc(&arena, (size_t)n * f->record->size);
    struct fill small = { n > 8 ? 0 : how->elements / 2, n > 8 ? NULL : how->at_limit };
    for (uint32_t i = 0; i < n; i++)
        fill_fields(f->record, v + (size_t)i * f->record->size, &small);
    struct any_list list = { v, n };
    memcpy(at, &list, sizeof list);
}

static void fill_field(const struct field *f, uint8_t *at, const struct fill *how)
{
    uint32_t n = how->at_limit == f ? f->max : (uint32_t)below((f->max < 40 ? f->max : 40) + 1);
    switch (f->kind) {
    case FIELD_U32: *(uint32_t *)at = how->at_limit == f ? f->max : (uint32_t)random_number(f->max); break;
    case FIELD_U64: *(uint64_t *)at = random_number(UINT64_MAX); break;
    case FIELD_STR:
    case FIELD_WORDS:
    case FIELD_BIN: *(struct bytes *)at = random_bytes(n, f->kind != FIELD_BIN); break;
    case FIELD_FIX: memcpy(at, random_bytes(f->max, false).p, f->max); break;
    case FIELD_LIST: fill_list(f, at, how); break;
    }
}

static void fill_fields(const struct shape *shape, uint8_t *object, const struct fill *how)
{
    for (uint32_t i = 0; i < shape->nfields; i++)
        fill_field(&shape->fields[i], object + shape->fields[i].offset, how);
}

static void *make(const struct shape *shape, const struct fill *how)
{
    uint8_t *object = arena_alloc(&arena, shape->size);
    fill_fields(shape, object, how);
    return object;
}

static bool same(const struct shape *shape, const uint8_t *a, const uint8_t *b)
{
    for (const struct field *f = shape->fields; f < shape->fields + shape->nfields; f++) {
        const uint8_t *x = a + f->offset, *y = b + f->offset;
        struct any_list v, w;
        memcpy(&v, x, sizeof v < shape->size - f->offset ? sizeof v : shape->size - f->offset);
        memcpy(&w, y, sizeof w < shape->size - f->offset ? sizeof w : shape->size - f->offset);
        bool equal = true;
        if (f->kind == FIELD_U32)
            equal = memcmp(x, y, 4) == 0;
        else if (f->kind == FIELD_U64)
            equal = memcmp(x, y, 8) == 0;
        else if (f->kind == FIELD_FIX)
            equal = memcmp(x, y, f->max) == 0;
        else if (f->kind != FIELD_LIST)
            equal = bytes_eq(*(const struct bytes *)x, *(const struct bytes *)y);
        else
            equal = v.n == w.n;
        for (uint32_t i = 0; equal && f->kind == FIELD_LIST && i < v.n; i++)
            equal = same(f->record, (const uint8_t *)v.v + i * f->record->size,
                         (const uint8_t *)w.v + i * f->record->size);
        if (!equal)
            return false;
    }
    return true;
}

static struct bytes encode(uint8_t tag, const void *msg)
{
    static struct buf buf;
    buf_reset(&buf);
    proto_encode(&buf, &(struct head){ tag, 7, 1ull << 40 }, msg);
    return arena_bytes(&arena, (struct bytes){ buf.p, (uint32_t)buf.n });
}

/* Does exactly this decode?  In memory of its own, so that ASan sees a read past the end. */
static bool decodes(struct bytes frame)
{
    struct arena a = { 0 };
    struct head head;
    uint8_t *copy = malloc(frame.n + 1u);
    memcpy(copy, frame.p, frame.n);
    copy = realloc(copy, frame.n == 0 ? 1 : frame.n);
    error.words[0] = 0;
    bool ok = proto_decode(&a, (struct bytes){ copy, frame.n }, &head, &error) != NULL;
    cr_assert(ok || (error.words[0] != 0 && (error.code == EPROTO || error.code == EMSGSIZE)), "%d %s",
              error.code, error.words);
    cr_assert(a.total <= 32ull * frame.n + 1024, "%zu bytes for a frame of %u", a.total, frame.n);
    struct bytes object = { copy + PROTO_HEAD_BYTES,
                            frame.n > PROTO_HEAD_BYTES ? frame.n - PROTO_HEAD_BYTES : 0 };
    cr_assert(a.total == 0 || proto_scan(object, NULL) == 0, "memory for what isn't msgpack");
    arena_fini(&a);
    free(copy);
    return ok;
}

#define EACH_TAG(tag) \
    for (int tag = 0; tag < PROTO_TAGS; tag++) \
        if (proto_messages[tag].name != NULL)

static void start(uint64_t seed)
{
    prng_seed(&prng, seed);
    arena_reset(&arena);
}

/* ---- tests ------------------------------------------------------------------ */

Test(proto, round_trip)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        start(seed);
        EACH_TAG(tag)
        {
            const struct message *m = &proto_messages[tag];
            const void *msg = make(m->shape, &(struct fill){ .elements = 6 });
            struct bytes frame = encode((uint8_t)tag, msg);
            struct head head;
            const void *back = proto_decode(&arena, frame, &head, &error);
            cr_assert(back != NULL, "%s, seed %lu: %s", m->name, seed, error.words);
            cr_assert(head.tag == tag && head.epoch == 7 && head.generation == 1ull << 40);
            cr_assert(same(m->shape, msg, back), "%s differs, seed %lu", m->name, seed);
            cr_assert(bytes_eq(encode((uint8_t)tag, back), frame), "%s has two encodings, seed %lu", m->name,
                      seed);
        }
    }
}

Test(proto, every_truncation_and_every_extra_byte_is_refused)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        start(seed);
        EACH_TAG(tag)
        {
            struct bytes frame =
                encode((uint8_t)tag, make(proto_messages[tag].shape, &(struct fill){ .elements = 3 }));
            for (uint32_t n = 0; n < frame.n; n++)
                cr_assert_not(decodes((struct bytes){ frame.p, n }), "%s cut to %u of %u",
                              proto_name((uint8_t)tag), n, frame.n);
            uint8_t *longer = arena_alloc(&arena, frame.n + 1);
            memcpy(longer, frame.p, frame.n);
            for (int extra = 0; extra < 256; extra++) {
                longer[frame.n] = (uint8_t)extra;
                cr_assert_not(decodes((struct bytes){ longer, frame.n + 1 }), "%s with %02x behind",
                              proto_name((uint8_t)tag), extra);
            }
        }
    }
}

Test(proto, bytes_changed_at_random_never_crash)
{
    uint32_t refused = 0, n = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        start(seed);
        EACH_TAG(tag)
        {
            struct bytes frame =
                encode((uint8_t)tag, make(proto_messages[tag].shape, &(struct fill){ .elements = 3 }));
            uint8_t *changed = arena_copy(&arena, frame.p, frame.n);
            for (uint64_t i = 0; i <= below(3); i++)
                changed[below(frame.n)] = (uint8_t)prng_next(&prng);
            refused += !decodes((struct bytes){ changed, frame.n });
            n++;
        }
    }
    cr_assert(refused > n / 4 && refused < n, "%u of %u refused", refused, n);
}

/* A writer of its own, so that limits can be broken: the encoder would not. */
static void put_be(struct buf *b, uint8_t type, uint64_t v, int width)
{
    buf_put(b, &type, 1);
    while (width-- > 0)
        buf_put(b, &(uint8_t){ (uint8_t)(v >> (8 * width)) }, 1);
}

static void put_length(struct buf *b, const struct field *f, uint32_t n)
{
    bool text = f->kind == FIELD_STR || f->kind == FIELD_WORDS, list = f->kind == FIELD_LIST;
    if (n > 0xFFFF)
        put_be(b, list ? 0xDD : text ? 0xDB : 0xC6, n, 4);
    else if (list && n > 15)
        put_be(b, 0xDC, n, 2);
    else if (list)
        put_be(b, (uint8_t)(0x90 | n), 0, 0);
    else if (n > 0xFF)
        put_be(b, text ? 0xDA : 0xC5, n, 2);
    else if (text && n < 32)
        put_be(b, (uint8_t)(0xA0 | n), 0, 0);
    else
        put_be(b, text ? 0xD9 : 0xC4, n, 1);
}

static void put_number(struct buf *b, uint64_t v)
{
    if (v < 0x80)
        put_be(b, (uint8_t)v, 0, 0);
    else if (v <= 0xFFFFFFFF)
        put_be(b, v > 0xFFFF ? 0xCE : v > 0xFF ? 0xCD : 0xCC, v, v > 0xFFFF ? 4 : v > 0xFF ? 2 : 1);
    else
        put_be(b, 0xCF, v, 8);
}

/* Fields of the least content, but `bad` on the way `path` with content of `size`, or as raw bytes. */
struct broken {
    const struct field *bad;
    uint64_t size;
    struct bytes raw;
};

static void put_fields(struct buf *b, const struct shape *shape, const struct broken *how);

static bool leads_to(const struct field *f, const struct field *bad)
{
    for (uint32_t i = 0; f->kind == FIELD_LIST && i < f->record->nfields; i++)
        if (&f->record->fields[i] == bad || leads_to(&f->record->fields[i], bad))
            return true;
    return false;
}

static void put_field(struct buf *b, const struct field *f, const struct broken *how)
{
    uint32_t n = f == how->bad ? (uint32_t)how->size : f->kind == FIELD_FIX ? f->max : leads_to(f, how->bad);
    if (f == how->bad && how->raw.n > 0) {
        buf_put(b, how->raw.p, how->raw.n);
    } else if (f->kind == FIELD_U32 || f->kind == FIELD_U64) {
        put_number(b, f == how->bad ? how->size : 0);
    } else {
        put_length(b, f, n);
        for (uint32_t i = 0; i < n; i++)
            if (f->kind == FIELD_LIST)
                put_be(b, (uint8_t)(f->record->nfields > 15 ? 0xDC : 0x90 | f->record->nfields),
                       f->record->nfields, f->record->nfields > 15 ? 2 : 0),
                    put_fields(b, f->record, how);
            else
                buf_put(b, "a", 1);
    }
}

static void put_fields(struct buf *b, const struct shape *shape, const struct broken *how)
{
    for (uint32_t i = 0; i < shape->nfields; i++)
        put_field(b, &shape->fields[i], how);
}

static bool broken_decodes(int tag, const struct broken *how)
{
    static struct buf b;
    const struct shape *shape = proto_messages[tag].shape;
    buf_reset(&b);
    buf_put(&b, (uint8_t[]){ PROTO_MAGIC, (uint8_t)tag }, 2);
    put_be(&b, shape->nfields + 2 > 15 ? 0xDC : (uint8_t)(0x90 | (shape->nfields + 2)), shape->nfields + 2,
           shape->nfields + 2 > 15 ? 2 : 0);
    put_number(&b, 1);
    put_number(&b, 1);
    put_fields(&b, shape, how);
    return decodes((struct bytes){ b.p, (uint32_t)b.n });
}

/* Call `check` on each field that a message has, those of its records too. */
static void each_field(int tag, const struct shape *shape, void (*check)(int, const struct field *))
{
    for (uint32_t i = 0; i < shape->nfields; i++) {
        check(tag, &shape->fields[i]);
        if (shape->fields[i].kind == FIELD_LIST)
            each_field(tag, shape->fields[i].record, check);
    }
}

static void each_field_of_all(void (*check)(int, const struct field *))
{
    start(1);
    EACH_TAG(tag)
    {
        cr_assert(broken_decodes(tag, &(struct broken){ 0 }), "%s: %s", proto_name((uint8_t)tag),
                  error.words);
        each_field(tag, proto_messages[tag].shape, check);
    }
}

static void check_limit(int tag, const struct field *f)
{
    if (f->kind == FIELD_U64 || f->max == UINT32_MAX)
        return;
    bool bytes_fit = f->kind != FIELD_LIST || f->max < PROTO_FRAME_BYTES_MAX / (2 + 3 * f->record->nfields);
    if (bytes_fit && f->kind != FIELD_FIX)
        cr_assert(broken_decodes(tag, &(struct broken){ .bad = f, .size = f->max }), "%s.%s at its limit: %s",
                  proto_name((uint8_t)tag), f->name, error.words);
    cr_assert_not(broken_decodes(tag, &(struct broken){ .bad = f, .size = f->max + 1ull }),
                  "%s.%s over its limit", proto_name((uint8_t)tag), f->name);
    if (f->kind == FIELD_FIX)
        cr_assert_not(broken_decodes(tag, &(struct broken){ .bad = f, .size = f->max - 1 }),
                      "%s.%s too short", proto_name((uint8_t)tag), f->name);
}

Test(proto, every_limit_holds)
{
    each_field_of_all(check_limit);
}

#define RAW(text) ((struct bytes){ (const uint8_t *)(text), sizeof(text) - 1 })

static void check_types(int tag, const struct field *f)
{
    bool number = f->kind == FIELD_U32 || f->kind == FIELD_U64;
    bool text = f->kind == FIELD_STR || f->kind == FIELD_WORDS;
    const struct {
        struct bytes raw;
        bool right;
    } cases[] = {
        { RAW("\x00"), number },    /* 0 */
        { RAW("\xcc\x00"), false }, /* 0, not in the shortest form */
        { RAW("\xcd\x00\x01"), false },
        { RAW("\xce\x00\x00\x00\x01"), false },
        { RAW("\xcf\x00\x00\x00\x00\x00\x00\x00\x01"), false },
        { RAW("\xff"), false },                 /* -1 */
        { RAW("\xd0\x01"), false },             /* int8 1 */
        { RAW("\xca\x00\x00\x00\x00"), false }, /* 0.0 */
        { RAW("\xc0"), false },                 /* nil */
        { RAW("\xc1"), false },                 /* never used */
        { RAW("\xc2"), false },                 /* false */
        { RAW("\xc3"), false },
        { RAW("\x80"), false }, /* {} */
        { RAW("\x90"), f->kind == FIELD_LIST },
        { RAW("\xdc\x00\x00"), false },
        { RAW("\xdd\x00\x00\x00\x00"), false },
        { RAW("\xa0"), text },
        { RAW("\xa1"
              "a"),
          text && f->max > 0 },
        { RAW("\xa1\x00"), false },         /* NUL */
        { RAW("\xa1\xff"), false },         /* not UTF-8 */
        { RAW("\xa2\xc0\xaf"), false },     /* overlong */
        { RAW("\xa3\xed\xa0\x80"), false }, /* a surrogate */
        { RAW("\xa2\xe2\x82"), false },     /* half a character */
        { RAW("\xd9\x00"), false },
        { RAW("\xda\x00\x01"
              "a"),
          false },
        { RAW("\xc4\x00"), f->kind == FIELD_BIN },
        { RAW("\xc5\x00\x00"), false },
        { RAW("\xc6\x00\x00\x00\x00"), false },
        { RAW("\xd4\x01\x01"), false }, /* ext */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(broken_decodes(tag, &(struct broken){ .bad = f, .raw = cases[i].raw }), cases[i].right,
                     "%s.%s, case %zu: %s", proto_name((uint8_t)tag), f->name, i, error.words);
}

Test(proto, only_the_right_type_in_its_shortest_form)
{
    each_field_of_all(check_types);
}

static void check_bombs(int tag, const struct field *f)
{
    const struct bytes bombs[] = {
        RAW("\xdd\xff\xff\xff\xff"),     RAW("\xdc\xff\xff"),
        RAW("\xdf\xff\xff\xff\xff"),     RAW("\xde\xff\xff"),
        RAW("\xdb\xff\xff\xff\xff"),     RAW("\xc6\xff\xff\xff\xff"),
        RAW("\xc9\xff\xff\xff\xff\x01"), RAW("\xdd\x00\x0f\xff\xff"),
        RAW("\xff\xff\xff\xff\xf0"),
    };
    uint8_t zeros[3 + 0xFFF] = { 0xDC, 0x0F, 0xFF }; /* msgpack indeed, but no list of records */
    cr_assert_not(broken_decodes(tag, &(struct broken){ .bad = f, .raw = { zeros, sizeof zeros } }));
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct arena a = { 0 };
        struct head head;
        cr_assert_not(broken_decodes(tag, &(struct broken){ .bad = f, .raw = bombs[i] }));
        cr_assert(proto_decode(&a, bombs[i], &head, &error) == NULL && a.total == 0);
        arena_fini(&a);
    }
}

Test(proto, memory_stays_in_proportion_to_the_frame)
{
    each_field_of_all(check_bombs);
}

Test(proto, a_full_list_comes_back)
{
    start(4);
    const struct field *ranges = &proto_messages[MSG_TASKS].shape->fields[3];
    cr_assert_str_eq(ranges->name, "ranges");
    const struct msg_tasks *tasks = make(proto_messages[MSG_TASKS].shape, &(struct fill){ 2, ranges });
    cr_assert_eq(tasks->ranges.n, 4096);
    struct head head;
    const struct msg_tasks *back = proto_decode(&arena, encode(MSG_TASKS, tasks), &head, &error);
    cr_assert(back != NULL &&
              same(proto_messages[MSG_TASKS].shape, (const uint8_t *)tasks, (const uint8_t *)back));
}

/* ---- admission ----------------------------------------------------------------- */

Test(proto, only_a_messages_senders_may_send_it)
{
    static const uint8_t garbage[] = { PROTO_MAGIC, 0, 0xc1,
                                       0xc1 }; /* admission decodes nothing: it needn't be right */
    for (int tag = 0; tag < 256; tag++) {
        uint8_t frame[sizeof garbage];
        memcpy(frame, garbage, sizeof frame);
        frame[1] = (uint8_t)tag;
        uint32_t senders = proto_senders((uint8_t)tag);
        bool known = strcmp(proto_name((uint8_t)tag), "?") != 0;
        for (int bit = 0; bit < 9; bit++) {
            uint8_t admitted =
                proto_admit((struct bytes){ frame, sizeof frame }, (enum role)(1 << bit), &error);
            cr_assert_eq(admitted, senders & (1u << bit) ? tag : 0);
            if (admitted == 0)
                cr_assert_eq(error.code, known ? EPERM : EPROTO);
        }
    }
    cr_assert_eq(proto_senders(MSG_TASKS), ROLE_DRIVER | ROLE_EXECUTOR);
    cr_assert_eq(proto_senders(MSG_ENROL), ROLE_JOIN);
}

Test(proto, frames_that_are_not_ours)
{
    uint8_t frame[] = { PROTO_MAGIC, MSG_BYE, 0x92, 1, 1 };
    cr_assert_eq(proto_admit((struct bytes){ frame, sizeof frame }, ROLE_EXECUTOR, &error), MSG_BYE);
    cr_assert_eq(proto_admit((struct bytes){ NULL, 0 }, ROLE_DRIVER, &error), 0);
    cr_assert_eq(proto_admit((struct bytes){ frame, 2 }, ROLE_DRIVER, &error), 0);
    cr_assert_eq(proto_admit((struct bytes){ frame, PROTO_FRAME_BYTES_MAX + 1 }, ROLE_DRIVER, &error), 0);
    cr_assert_eq(error.code, EMSGSIZE);
    frame[0] = 0xFF;
    cr_assert_eq(proto_admit((struct bytes){ frame, sizeof frame }, ROLE_DRIVER, &error), 0);
    cr_assert_eq(error.code, EPROTO);
}

Test(proto, the_table_is_complete)
{
    EACH_TAG(tag)
    {
        cr_assert(proto_messages[tag].senders < 1u << 9);
    }
    cr_assert_str_eq(proto_name(MSG_BLOCK_GET), "BLOCK_GET");
    cr_assert_str_eq(proto_name(0), "?");
    cr_assert_str_eq(proto_name(255), "?");
    cr_assert_eq(proto_senders(255), 0);
}

/* ---- text ------------------------------------------------------------------------ */

Test(proto, what_is_encoded_always_decodes)
{
    char words[2000];
    memset(words, 'x', sizeof words);
    memcpy(words + 510, "\xe2\x82\xac", 3); /* the cut at 512 falls into this character */
    struct msg_refuse refuse = { .code = REFUSE_LIMIT, .words = { (uint8_t *)words, sizeof words } };
    struct head head;
    const struct msg_refuse *back = proto_decode(&arena, encode(MSG_REFUSE, &refuse), &head, &error);
    cr_assert(back != NULL, "%s", error.words);
    cr_assert_eq(back->words.n, 510);

    refuse.words = RAW("a\0b\xff\xe2\x82");
    back = proto_decode(&arena, encode(MSG_REFUSE, &refuse), &head, &error);
    cr_assert(back != NULL && bytes_eq(back->words, bytes_of("a?b???")));
}

Test(proto, errors_say_where)
{
    static const struct rec_range ranges[2] = { { .count = 1 }, { .count = 2, .attempt = 255 } };
    struct msg_tasks tasks = { .app = 1, .ranges = { ranges, 2 } };
    struct bytes frame = encode(MSG_TASKS, &tasks);
    uint8_t *last = (uint8_t *)frame.p + frame.n - 1;
    cr_assert_eq(*last, 255);
    last[-1] = 0xD0;
    cr_assert_not(decodes(frame));
    cr_assert_str_eq(error.words, "TASKS: ranges[1]: attempt: not an unsigned integer");
}
