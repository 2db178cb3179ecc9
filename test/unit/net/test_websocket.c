/* WebSocket frames: the RFC's examples, a list of cases in the manner of the
 * Autobahn suite, and every way to cut a sequence of frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/websocket.h"
#include "net/websocket_private.h"

#include <stdio.h>
#include <stdlib.h>

enum { MESSAGE_MAX = 100000 };

static struct ws_deflate *shared;

static int start_deflate(void **state)
{
    (void)state;
    shared = ws_deflate_create();
    return 0;
}

static int end_deflate(void **state)
{
    (void)state;
    ws_deflate_destroy(&shared);
    return 0;
}

/* Decodes everything in pieces that end at `cuts`; describes what came out. */
static void decode(struct buffer *text, bool server, bool deflate, struct slice in, const size_t *cuts,
                   size_t cuts_count)
{
    struct ws_decoder *d;
    assert_int_equal(ws_decoder_create(NULL, server, deflate, MESSAGE_MAX, &d), SOTTO_OK);
    size_t begin = 0;
    bool over = false;
    for (size_t i = 0; i <= cuts_count && !over; i++) {
        size_t end = i < cuts_count ? cuts[i] : in.len;
        /* Memory of its own: what is borrowed past it shows under a sanitizer. */
        uint8_t *piece = malloc(end - begin + 1);
        memcpy(piece, in.data + begin, end - begin);
        size_t at = 0;
        for (;;) {
            struct ws_message m;
            size_t used = 0;
            uint16_t code = 0;
            enum ws_result r = ws_decode(d, shared, piece + at, end - begin - at, &used, &m, &code);
            assert_true(used <= end - begin - at);
            at += used;
            if (r == WS_MORE) {
                assert_int_equal(at, end - begin);
                break;
            }
            if (r == WS_BAD) {
                buffer_printf(text, "bad %u\n", code);
                over = true;
                break;
            }
            buffer_printf(text, "%d %u %zu ", (int)m.opcode, m.close_code, m.payload.len);
            buffer_append(text, m.payload.data, m.payload.len < 40 ? m.payload.len : 40);
            uint32_t sum = 0;
            for (size_t k = 0; k < m.payload.len; k++) sum = sum * 31 + m.payload.data[k];
            buffer_printf(text, " %u\n", sum);
        }
        free(piece);
        begin = end;
    }
    ws_decoder_destroy(&d);
    assert_null(d);
}

/* The same, whole and in single bytes; the two must agree. */
static void decode_both(struct buffer *text, bool server, bool deflate, struct slice in)
{
    struct buffer other;
    buffer_init(text, 1 << 20);
    buffer_init(&other, 1 << 20);
    decode(text, server, deflate, in, NULL, 0);
    size_t *cuts = malloc((in.len + 1) * sizeof(*cuts));
    for (size_t i = 0; i < in.len; i++) cuts[i] = i;
    decode(&other, server, deflate, in, cuts, in.len);
    assert_true(slice_eq(buffer_slice(text), buffer_slice(&other)));
    free(cuts);
    buffer_deinit(&other);
    buffer_append_byte(text, 0);
}

static void expect(bool server, struct slice in, const char *begins)
{
    struct buffer text;
    decode_both(&text, server, false, in);
    if (strncmp((char *)text.data, begins, strlen(begins)) != 0) fail_msg("%s, not %s", (char *)text.data, begins);
    buffer_deinit(&text);
}

/* RFC 6455 section 5.7. */
static void websocket__decode__rfc6455_examples(void **state)
{
    (void)state;
    expect(false, SLICE_LIT("\x81\x05\x48\x65\x6c\x6c\x6f"), "1 0 5 Hello ");
    expect(true, SLICE_LIT("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "1 0 5 Hello ");
    expect(false, SLICE_LIT("\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f"), "1 0 5 Hello ");
    expect(false, SLICE_LIT("\x89\x05\x48\x65\x6c\x6c\x6f"), "9 0 5 Hello ");
    expect(true, SLICE_LIT("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "10 0 5 Hello ");
    uint8_t in[10 + 65536] = {0x82, 0x7e, 0x01, 0x00};
    expect(false, slice_of(in, 4 + 256), "2 0 256 ");
    memcpy(in, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
    expect(false, slice_of(in, 10 + 65536), "2 0 65536 ");
}

/* RFC 7692 section 7.2.3. */
static void websocket__decode__rfc7692_examples(void **state)
{
    (void)state;
    static const struct slice examples[] = {
        {(const uint8_t *)"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", 9},
        {(const uint8_t *)"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", 11},             /* fragments */
        {(const uint8_t *)"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 13},     /* stored */
        {(const uint8_t *)"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 10},                 /* final block */
        {(const uint8_t *)"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 15}, /* two blocks */
    };
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        struct buffer text;
        decode_both(&text, false, true, examples[i]);
        assert_memory_equal(text.data, "1 0 5 Hello ", 12);
        buffer_deinit(&text);
    }
    struct buffer text;
    decode_both(&text, false, true, SLICE_LIT("\xc1\x01\x00"));
    assert_string_equal((char *)text.data, "1 0 0  0\n");
    buffer_deinit(&text);
}

static void websocket__decode__cases(void **state)
{
    (void)state;
    /* As a client, so that payloads are readable. */
    static const struct {
        struct slice in;
        const char *out;
    } cases[] = {
#define CASE(bytes, text) {{(const uint8_t *)(bytes), sizeof(bytes) - 1}, (text)}
        /* Empty payloads. */
        CASE("\x81\x00", "1 0 0  0\n"),
        CASE("\x82\x00\x81\x00", "2 0 0  0\n1 0 0  0\n"),
        CASE("\x89\x00\x8a\x00", "9 0 0  0\n10 0 0  0\n"),
        /* Control frames between fragments. */
        CASE("\x01\x01" "a\x89\x01" "p\x00\x01" "b\x8a\x00\x80\x01" "c", "9 0 1 p 112\n10 0 0  0\n1 0 3 abc 96354\n"),
        CASE("\x01\x00\x00\x00\x80\x00", "1 0 0  0\n"),
        CASE("\x02\x01\xff\x80\x01\xfe", "2 0 2 \xff\xfe 8159\n"),
        /* Order of fragments. */
        CASE("\x80\x00", "bad 1002\n"),
        CASE("\x00\x00", "bad 1002\n"),
        CASE("\x01\x00\x81\x00", "bad 1002\n"),
        CASE("\x01\x00\x01\x00", "bad 1002\n"),
        CASE("\x81\x00\x80\x00", "1 0 0  0\nbad 1002\n"),
        /* Reserved bits and opcodes. */
        CASE("\xc1\x00", "bad 1002\n"),
        CASE("\xa1\x00", "bad 1002\n"),
        CASE("\x91\x00", "bad 1002\n"),
        CASE("\xc9\x00", "bad 1002\n"),
        CASE("\x83\x00", "bad 1002\n"),
        CASE("\x87\x00", "bad 1002\n"),
        CASE("\x8b\x00", "bad 1002\n"),
        CASE("\x8f\x00", "bad 1002\n"),
        /* Control frames: whole and short. */
        CASE("\x09\x00", "bad 1002\n"),
        CASE("\x08\x00", "bad 1002\n"),
        CASE("\x89\x7e\x00\x7e", "bad 1002\n"),
        /* Lengths in their shortest form. */
        CASE("\x82\x7e\x00\x7d", "bad 1002\n"),
        CASE("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "bad 1002\n"),
        CASE("\x82\x7f\x80\x00\x00\x00\x00\x01\x00\x00", "bad 1002\n"),
        /* Too large, alone and in sum. */
        CASE("\x82\x7f\x00\x00\x00\x00\x00\x01\x86\xa1", "bad 1009\n"),
        CASE("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "bad 1009\n"),
        CASE("\x02\x01x\x80\x7f\x00\x00\x00\x00\x00\x01\x86\xa0", "bad 1009\n"),
        /* Masked, which a server must not do. */
        CASE("\x81\x80\x01\x02\x03\x04", "bad 1002\n"),
        /* Close frames. */
        CASE("\x88\x00", "8 1005 0  0\n"),
        CASE("\x88\x00\x81\x01" "a", "8 1005 0  0\n"),
        CASE("\x88\x01\x03", "bad 1002\n"),
        CASE("\x88\x02\x03\xe8", "8 1000 0  0\n"),
        CASE("\x88\x05\x03\xe9" "bye", "8 1001 3 bye 98030\n"),
        CASE("\x88\x04\x03\xe8\xc3\x28", "bad 1007\n"),
        CASE("\x88\x03\x03\xe8\xc3", "bad 1007\n"),
        CASE("\x88\x02\x00\x00", "bad 1002\n"),
        CASE("\x88\x02\x03\xe7", "bad 1002\n"),
        CASE("\x88\x02\x03\xec", "bad 1002\n"),
        CASE("\x88\x02\x03\xed", "bad 1002\n"),
        CASE("\x88\x02\x03\xee", "bad 1002\n"),
        CASE("\x88\x02\x03\xef", "8 1007 0  0\n"),
        CASE("\x88\x02\x03\xf6", "8 1014 0  0\n"),
        CASE("\x88\x02\x03\xf7", "bad 1002\n"),
        CASE("\x88\x02\x04\x4c", "bad 1002\n"),
        CASE("\x88\x02\x0b\xb7", "bad 1002\n"),
        CASE("\x88\x02\x0b\xb8", "8 3000 0  0\n"),
        CASE("\x88\x02\x13\x87", "8 4999 0  0\n"),
        CASE("\x88\x02\x13\x88", "bad 1002\n"),
        /* UTF-8, whole, across fragments, broken early and late. */
        CASE("\x81\x03\xe2\x82\xac", "1 0 3 \xe2\x82\xac 221388\n"),
        CASE("\x01\x01\xe2\x00\x01\x82\x80\x01\xac", "1 0 3 \xe2\x82\xac 221388\n"),
        CASE("\x81\x02\xe2\x82", "bad 1007\n"),
        CASE("\x01\x01\xe2\x80\x01\x82", "bad 1007\n"),
        CASE("\x01\x02\xc3\x28", "bad 1007\n"),
        CASE("\x81\x03\xed\xa0\x80", "bad 1007\n"),
        CASE("\x81\x04\xf4\x90\x80\x80", "bad 1007\n"),
        CASE("\x81\x05\xff", "bad 1007\n"),
        /* A frame that never ends. */
        CASE("\x81\x05" "abc", ""),
        CASE("\x81", ""),
#undef CASE
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer text;
        decode_both(&text, false, false, cases[i].in);
        if (strcmp((char *)text.data, cases[i].out) != 0)
            fail_msg("case %zu: %s, not %s", i, (char *)text.data, cases[i].out);
        buffer_deinit(&text);
    }
    expect(true, SLICE_LIT("\x81\x01" "a"), "bad 1002");
}

static void websocket__decode__compressed_cases(void **state)
{
    (void)state;
    static const struct {
        struct slice in;
        const char *out;
    } cases[] = {
#define CASE(bytes, text) {{(const uint8_t *)(bytes), sizeof(bytes) - 1}, (text)}
        CASE("\x81\x01" "a", "1 0 1 a 97\n"),
        CASE("\xc2\x07\xf2\x48\xcd\xc9\xc9\x07\x00", "2 0 5 Hello 69609650\n"),
        CASE("\x41\x03\xf2\x48\xcd\xc0\x04\xc9\xc9\x07\x00", "bad 1002\n"),
        CASE("\xc9\x00", "bad 1002\n"),
        CASE("\xa1\x00", "bad 1002\n"),
        CASE("\xc1\x04\xff\xff\xff\xff", "bad 1007\n"),
        CASE("\xc1\x04\xf2\x48\xcd\xc9", "bad 1007\n"), /* broken off */
        CASE("\xc1\x05\xf2\x00\x11\x00\x00", "bad 1007\n"), /* refers to the message before */
        CASE("\xc1\x00", "1 0 0  0\n"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer text;
        decode_both(&text, false, true, cases[i].in);
        if (strcmp((char *)text.data, cases[i].out) != 0)
            fail_msg("case %zu: %s, not %s", i, (char *)text.data, cases[i].out);
        buffer_deinit(&text);
    }
}

static void websocket__decode__every_two_cuts_agree(void **state)
{
    (void)state;
    struct random_seeded random;
    struct buffer in, whole, cut;
    random_seeded_init(&random, 4);
    buffer_init(&in, 10000);
    buffer_init(&whole, 1 << 20);
    buffer_init(&cut, 1 << 20);
    char text[140];
    memset(text, 'e', sizeof(text));
    ws_write_frame(&in, WS_TEXT, SLICE_LIT("gr\xc3\xbc\xc3\x9f" "e"), &random.source);
    ws_write_frame(&in, WS_PING, SLICE_LIT("p"), &random.source);
    ws_write_raw(&in, WS_TEXT, SLICE_LIT("a\xe2"), &random.source);
    ws_write_frame(&in, WS_PONG, SLICE_LIT("between"), &random.source);
    ws_write_raw(&in, WS_CONT, SLICE_LIT("\x82"), &random.source);
    ws_write_raw(&in, 0x80 | WS_CONT, SLICE_LIT("\xac" "b"), &random.source);
    ws_write_deflated(&in, shared, slice_of(text, sizeof(text)), &random.source);
    ws_write_frame(&in, WS_BINARY, slice_of(text, sizeof(text)), &random.source);
    ws_write_close(&in, 1000, "bye", &random.source);
    ws_write_frame(&in, WS_TEXT, SLICE_LIT("ignored"), &random.source);
    decode(&whole, true, true, buffer_slice(&in), NULL, 0);
    int lines = 0;
    for (size_t i = 0; i < whole.len; i++) lines += whole.data[i] == '\n';
    assert_int_equal(lines, 7);
    for (size_t a = 0; a <= in.len; a++)
        for (size_t b = a; b <= in.len; b++) {
            size_t cuts[] = {a, b};
            buffer_clear(&cut);
            decode(&cut, true, true, buffer_slice(&in), cuts, 2);
            assert_true(slice_eq(buffer_slice(&cut), buffer_slice(&whole)));
        }
    buffer_deinit(&in);
    buffer_deinit(&whole);
    buffer_deinit(&cut);
}

static void websocket__decode__whole_frames_are_borrowed_in_place(void **state)
{
    (void)state;
    struct random_seeded random;
    struct buffer in;
    struct ws_decoder *d;
    random_seeded_init(&random, 9);
    buffer_init(&in, 10000);
    ws_write_frame(&in, WS_TEXT, SLICE_LIT("first"), &random.source);
    ws_write_frame(&in, WS_TEXT, SLICE_LIT("second"), &random.source);
    assert_int_equal(ws_decoder_create(NULL, true, false, 1000, &d), SOTTO_OK);
    struct ws_message m;
    size_t used, at = 0;
    uint16_t code;
    assert_int_equal(ws_decode(d, NULL, in.data, in.len, &used, &m, &code), WS_MESSAGE);
    assert_ptr_equal(m.payload.data, in.data + 6);
    at = used;
    assert_int_equal(ws_decode(d, NULL, in.data + at, in.len - at, &used, &m, &code), WS_MESSAGE);
    assert_ptr_equal(m.payload.data, in.data + at + 6);
    assert_true(slice_is(m.payload, "second"));
    at += used;
    assert_int_equal(ws_decode(d, NULL, in.data + at, in.len - at, &used, &m, &code), WS_MORE);
    assert_null(d->pieces);
    ws_decoder_destroy(&d);
    buffer_deinit(&in);
}

static void websocket__decoder__holds_no_heap_between_messages(void **state)
{
    (void)state;
    struct ws_decoder *d;
    struct ws_message m;
    size_t used;
    uint16_t code;
    assert_int_equal(ws_decoder_create(NULL, false, false, 1000, &d), SOTTO_OK);
    uint8_t first[] = "\x81\x05He", rest[] = "llo";
    assert_int_equal(ws_decode(d, NULL, first, 4, &used, &m, &code), WS_MORE);
    assert_non_null(d->pieces);
    assert_int_equal(ws_decode(d, NULL, rest, 3, &used, &m, &code), WS_MESSAGE);
    assert_true(slice_is(m.payload, "Hello"));
    assert_int_equal(ws_decode(d, NULL, rest, 0, &used, &m, &code), WS_MORE);
    assert_null(d->pieces);
    uint8_t ping[] = "\x89\x02pq";
    assert_int_equal(ws_decode(d, NULL, ping, 3, &used, &m, &code), WS_MORE);
    assert_non_null(d->pieces);
    assert_int_equal(ws_decode(d, NULL, ping + 3, 1, &used, &m, &code), WS_MESSAGE);
    assert_true(slice_is(m.payload, "pq"));
    assert_int_equal(ws_decode(d, NULL, rest, 0, &used, &m, &code), WS_MORE);
    assert_null(d->pieces);
    /* An announced length reserves nothing. */
    uint8_t large[] = "\x82\x7e\x03\xe8x";
    assert_int_equal(ws_decode(d, NULL, large, 5, &used, &m, &code), WS_MORE);
    assert_true(d->pieces->message.size <= 256);
    ws_decoder_destroy(&d);
    ws_decoder_destroy(&d);
    assert_int_equal(ws_decoder_create(NULL, false, false, 0, &d), SOTTO_ERR_INVALID);
    assert_int_equal(ws_decoder_create(NULL, false, false, SIZE_MAX, &d), SOTTO_ERR_INVALID);
}

static void websocket__deflate__round_trips_and_falls_back(void **state)
{
    (void)state;
    struct random_seeded random;
    random_seeded_init(&random, 5);
    for (size_t len = 0; len < 70000; len = len * 2 + 1) {
        char *text = malloc(len + 1);
        for (size_t i = 0; i < len; i++) text[i] = (char)('a' + i * i % 7);
        for (int noisy = 0; noisy < 2; noisy++) {
            struct buffer out, plain;
            buffer_init(&out, 1 << 20);
            ws_write_deflated(&out, shared, slice_of(text, len), NULL);
            buffer_init(&plain, 1 << 20);
            ws_write_frame(&plain, WS_TEXT, slice_of(text, len), NULL);
            assert_true(out.len <= plain.len);
            if (len >= 63 && !noisy) assert_true(out.len < plain.len && (out.data[0] & 0x40));
            struct buffer a, b;
            decode_both(&a, false, true, buffer_slice(&out));
            decode_both(&b, false, true, buffer_slice(&plain));
            assert_string_equal((char *)a.data, (char *)b.data);
            buffer_deinit(&a);
            buffer_deinit(&b);
            buffer_deinit(&out);
            buffer_deinit(&plain);
            /* The second time: nothing to compress. */
            for (size_t i = 0; i < len; i++) text[i] = (char)(0x21 + random_u64(&random.source) % 94);
        }
        free(text);
    }
}

static void websocket__deflate__bomb_is_too_big(void **state)
{
    (void)state;
    struct buffer out, text;
    buffer_init(&out, 1 << 20);
    for (size_t over = 0; over < 2; over++) {
        size_t len = MESSAGE_MAX + over;
        char *zeros = calloc(1, len);
        buffer_clear(&out);
        ws_write_deflated(&out, shared, slice_of(zeros, len), NULL);
        assert_true(out.len < 2000);
        decode_both(&text, false, true, buffer_slice(&out));
        if (over)
            assert_string_equal((char *)text.data, "bad 1009\n");
        else
            assert_memory_equal(text.data, "1 0 100000 ", 11);
        buffer_deinit(&text);
        free(zeros);
    }
    buffer_deinit(&out);
}

static void websocket__mask__works_at_any_offset_and_length(void **state)
{
    (void)state;
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    for (size_t at = 0; at < 9; at++)
        for (size_t len = 0; len < 40; len++) {
            uint8_t fast[48] = {0};
            ws_mask(fast + 1, len, key, at);
            for (size_t i = 0; i < len; i++) assert_int_equal(fast[1 + i], key[(at + i) % 4]);
            assert_int_equal(fast[0], 0);
            assert_int_equal(fast[1 + len], 0);
        }
}

static void websocket__frame_begin_end__matches_write_frame(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t *data = calloc(1, lengths[i] + 1);
        struct buffer a, b;
        buffer_init(&a, 1 << 20);
        buffer_init(&b, 1 << 20);
        buffer_append_str(&a, "before");
        buffer_append_str(&b, "before");
        size_t begin = ws_frame_begin(&a);
        buffer_append(&a, data, lengths[i]);
        ws_frame_end(&a, begin, WS_TEXT);
        ws_write_frame(&b, WS_TEXT, slice_of(data, lengths[i]), NULL);
        assert_true(slice_eq(buffer_slice(&a), buffer_slice(&b)));
        buffer_deinit(&a);
        buffer_deinit(&b);
        free(data);
    }
    struct buffer small;
    buffer_init(&small, 20);
    buffer_append_str(&small, "kept");
    size_t begin = ws_frame_begin(&small);
    buffer_append_str(&small, "0123456789");
    ws_frame_end(&small, begin, WS_TEXT);
    assert_true(small.overflow);
    assert_true(slice_is(buffer_slice(&small), "kept"));
    ws_write_frame(&small, WS_TEXT, SLICE_LIT("x"), NULL);
    assert_true(slice_is(buffer_slice(&small), "kept"));
    buffer_deinit(&small);
}

static void websocket__frame_len__is_that_of_the_first(void **state)
{
    (void)state;
    static const size_t payloads[] = {0, 1, 125, 126, 65535, 65536, 100000};
    uint8_t *zeros = sotto_zalloc(100000);
    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        for (int masked = 0; masked < 2; masked++) {
            struct buffer out;
            buffer_init(&out, 1 << 20);
            ws_write_frame(&out, WS_TEXT, slice_of(zeros, payloads[i]), masked ? random_system() : NULL);
            size_t first = out.len;
            ws_write_frame(&out, WS_PING, SLICE_LIT("next"), NULL);
            assert_int_equal(ws_frame_len(buffer_slice(&out)), first);
            for (size_t len = 1; len <= first; len += len < 16 ? 1 : 997) /* cut short: all of it */
                assert_int_equal(ws_frame_len(slice_of(out.data, len)), len);
            buffer_deinit(&out);
        }
    }
    free(zeros);
    uint8_t huge[10] = {0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(ws_frame_len(slice_of(huge, sizeof(huge))), sizeof(huge));
}

static void websocket__write_close__cuts_the_reason(void **state)
{
    (void)state;
    char reason[200];
    memset(reason, 'r', 122);
    strcpy(reason + 122, "\xe2\x82\xac and more");
    struct buffer out, text;
    buffer_init(&out, 1000);
    ws_write_close(&out, 4001, reason, NULL);
    assert_int_equal(out.len, 2 + 2 + 122);
    decode_both(&text, false, false, buffer_slice(&out));
    assert_memory_equal(text.data, "8 4001 122 rrr", 14);
    buffer_deinit(&text);
    buffer_clear(&out);
    ws_write_close(&out, 1000, NULL, NULL);
    assert_int_equal(out.len, 4);
    buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(websocket__decode__rfc6455_examples),
        cmocka_unit_test(websocket__decode__rfc7692_examples),
        cmocka_unit_test(websocket__decode__cases),
        cmocka_unit_test(websocket__decode__compressed_cases),
        cmocka_unit_test(websocket__decode__every_two_cuts_agree),
        cmocka_unit_test(websocket__decode__whole_frames_are_borrowed_in_place),
        cmocka_unit_test(websocket__decoder__holds_no_heap_between_messages),
        cmocka_unit_test(websocket__deflate__round_trips_and_falls_back),
        cmocka_unit_test(websocket__deflate__bomb_is_too_big),
        cmocka_unit_test(websocket__mask__works_at_any_offset_and_length),
        cmocka_unit_test(websocket__frame_begin_end__matches_write_frame),
        cmocka_unit_test(websocket__frame_len__is_that_of_the_first),
        cmocka_unit_test(websocket__write_close__cuts_the_reason),
    };
    return cmocka_run_group_tests(tests, start_deflate, end_deflate);
}
