/* Base64, hex, UTF-8, identifiers and randomness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/id.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

static void base64__encode__matches_rfc4648(void **state)
{
    (void)state;
    static const char *const pairs[][3] = {
        {"", "", ""},           {"f", "Zg==", "Zg"},           {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"}, {"foob", "Zm9vYg==", "Zm9vYg"}, {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"}, {"\xfb\xff", "+/8=", "-_8"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct buffer b;
        buffer_init(&b, 100);
        buffer_append_base64(&b, slice_str(pairs[i][0]));
        assert_true(slice_is(buffer_slice(&b), pairs[i][1]));
        buffer_clear(&b);
        buffer_append_base64url(&b, slice_str(pairs[i][0]));
        assert_true(slice_is(buffer_slice(&b), pairs[i][2]));
        for (int form = 1; form <= 2; form++) {
            uint8_t out[32];
            size_t len = 99;
            assert_int_equal(base64_decode(slice_str(pairs[i][form]), out, &len), SOTTO_OK);
            assert_true(slice_is(slice_of(out, len), pairs[i][0]));
        }
        buffer_deinit(&b);
    }
}

/* A bit at a time. */
static size_t base64_by_definition(const uint8_t *in, size_t len, const char *last_two, bool pad, char *out)
{
    static const char most[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t done = 0;
    for (size_t bit = 0; bit < len * 8; bit += 6) {
        unsigned v = 0;
        for (size_t i = bit; i < bit + 6; i++) v = v << 1 | (i < len * 8 ? in[i / 8] >> (7 - i % 8) & 1u : 0);
        out[done++] = v < 62 ? most[v] : last_two[v - 62];
    }
    while (pad && done % 4 != 0) out[done++] = '=';
    return done;
}

static void base64__encode__agrees_with_the_definition_at_every_length_and_alignment(void **state)
{
    (void)state;
    struct random_seeded random;
    random_seeded_init(&random, 8);
    for (size_t len = 0; len <= 130; len++)
        for (size_t align = 0; align < 16; align++) {
            /* Memory that ends where the bytes and the text end, for a sanitizer. */
            uint8_t *memory = malloc(align + len + 1), *in = memory + 1 + align;
            char expected[200];
            random_fill(&random.source, in, len);
            for (int url = 0; url <= 1; url++) {
                size_t expected_len = base64_by_definition(in, len, url ? "-_" : "+/", !url, expected);
                uint8_t *text = malloc(expected_len + 1);
                struct buffer b;
                buffer_init_fixed(&b, text, expected_len);
                if (url) buffer_append_base64url(&b, slice_of(in, len));
                else buffer_append_base64(&b, slice_of(in, len));
                assert_int_equal(b.len, expected_len);
                assert_false(b.overflow);
                assert_memory_equal(text, expected, expected_len);
                free(text);
            }
            free(memory);
        }
}

static void base64__encode__every_value_at_every_place(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 64; value++)
        for (size_t place = 0; place < 64; place++) {
            uint8_t in[48] = {0};
            char expected[64];
            for (size_t i = 0; i < 6; i++) {
                size_t bit = place * 6 + i;
                in[bit / 8] |= (uint8_t)((value >> (5 - i) & 1) << (7 - bit % 8));
            }
            struct buffer b;
            buffer_init(&b, 200);
            buffer_append_base64(&b, slice_of(in, sizeof(in)));
            buffer_append_base64url(&b, slice_of(in, sizeof(in)));
            assert_int_equal(b.len, 128);
            base64_by_definition(in, sizeof(in), "+/", true, expected);
            assert_memory_equal(b.data, expected, 64);
            base64_by_definition(in, sizeof(in), "-_", false, expected);
            assert_memory_equal(b.data + 64, expected, 64);
            buffer_deinit(&b);
        }
}

static void base64__decode__round_trips_every_length(void **state)
{
    (void)state;
    struct random_seeded random;
    random_seeded_init(&random, 7);
    for (size_t len = 0; len < 200; len++) {
        uint8_t in[200], out[210];
        size_t out_len;
        random_fill(&random.source, in, len);
        struct buffer b;
        buffer_init(&b, 400);
        buffer_append_base64(&b, slice_of(in, len));
        assert_int_equal(base64_decode(buffer_slice(&b), out, &out_len), SOTTO_OK);
        assert_int_equal(out_len, len);
        assert_memory_equal(in, out, len);
        assert_true(out_len <= base64_decoded_max(b.len));
        buffer_deinit(&b);
    }
}

static void base64__decode__refuses_what_is_not_base64(void **state)
{
    (void)state;
    static const char *const bad[] = {"A",    "AAAAA", "A===", "AA=", "Zg==Zg==", "Z g=",  "Zh==",
                                      "Zm9=", "Zm9",   "=",    "====", "Zm9v\n",  "Zm9v=", "Z*9v"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t out[32];
        size_t len = 77;
        assert_int_equal(base64_decode(slice_str(bad[i]), out, &len), SOTTO_ERR_INVALID);
        assert_int_equal(len, 77);
    }
}

static void hex__round_trip__and_refusals(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 100);
    buffer_append_hex(&b, SLICE_LIT("\x00\x7f\xff"));
    assert_true(slice_is(buffer_slice(&b), "007fff"));
    uint8_t out[3];
    assert_int_equal(hex_decode(SLICE_LIT("007FfF"), out, 3), SOTTO_OK);
    assert_memory_equal(out, "\x00\x7f\xff", 3);
    assert_int_equal(hex_decode(SLICE_LIT("007ff"), out, 3), SOTTO_ERR_INVALID);
    assert_int_equal(hex_decode(SLICE_LIT("007fg0"), out, 3), SOTTO_ERR_INVALID);
    assert_int_equal(hex_decode(SLICE_LIT("007f"), out, 3), SOTTO_ERR_INVALID);
    buffer_deinit(&b);
}

/* Straight from the definition: decode, then check the value. */
static bool utf8_by_definition(const uint8_t *s, size_t len)
{
    while (len != 0) {
        size_t more = 9;
        if (s[0] < 0x80) more = 0;
        else if ((s[0] & 0xe0) == 0xc0) more = 1;
        else if ((s[0] & 0xf0) == 0xe0) more = 2;
        else if ((s[0] & 0xf8) == 0xf0) more = 3;
        if (more >= len) return false;
        uint32_t v = more == 0 ? s[0] : s[0] & (0x3fu >> more);
        for (size_t i = 1; i <= more; i++) {
            if ((s[i] & 0xc0) != 0x80) return false;
            v = v << 6 | (s[i] & 0x3f);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (v < least[more] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) return false;
        s += more + 1;
        len -= more + 1;
    }
    return true;
}

static void utf8__valid__agrees_with_the_definition_on_all_short_texts(void **state)
{
    (void)state;
    /* Every sequence of up to three bytes; of four, every lead with the edges. */
    for (uint32_t v = 0; v < 1u << 24; v += (v < 0x800000 ? 7 : 1)) {
        uint8_t s[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        if (utf8_valid(slice_of(s, 3)) != utf8_by_definition(s, 3)) fail_msg("%02x %02x %02x", s[0], s[1], s[2]);
    }
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    for (int lead = 0; lead < 256; lead++)
        for (size_t i = 0; i < 1000; i++) {
            uint8_t s[4] = {(uint8_t)lead, edges[i / 100], edges[i / 10 % 10], edges[i % 10]};
            assert_int_equal(utf8_valid(slice_of(s, 4)), utf8_by_definition(s, 4));
        }
}

static void utf8__valid__finds_what_is_wrong_at_every_offset(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "\x80", "\xbf", "\xc0\x80", "\xc2", "\xc3\xa9", "\xe0\x80\x80", "\xe2\x82", "\xe2\x82\xac", "\xed\xa0\x80",
        "\xf0\x80\x80\x80", "\xf0\x9f\x98\x80", "\xf4\x90\x80\x80", "\xff", "\xc3\xc3", "\xe2\x28\xa1", "\x7f",
    };
    for (size_t len = 0; len <= 130; len++) {
        uint8_t *memory = malloc(len + 16);
        for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
            size_t piece_len = strlen(pieces[k]);
            for (size_t at = 0; at + piece_len <= len; at++) {
                uint8_t *text = memory + 16 - (at + k) % 16; /* all alignments */
                memset(text, 'a', len);
                memcpy(text + at, pieces[k], piece_len);
                assert_int_equal(utf8_valid(slice_of(text, len)), utf8_by_definition(text, len));
            }
        }
        memset(memory, 'a', len + 16);
        assert_true(utf8_valid(slice_of(memory + 16, len)));
        free(memory);
    }
    for (size_t at = 0; at < 130; at++)
        for (unsigned c = 0; c < 256; c++) {
            uint8_t text[130];
            memset(text, 'a', sizeof(text));
            text[at] = (uint8_t)c;
            assert_int_equal(utf8_valid(slice_of(text, sizeof(text))), c < 0x80);
        }
}

static void utf8__step__does_not_depend_on_the_cuts(void **state)
{
    (void)state;
    static const char text[] = "plain ascii, then \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf"
                               " end of it";
    size_t len = sizeof(text) - 1;
    for (size_t a = 0; a <= len; a++)
        for (size_t b = a; b <= len; b++) {
            uint32_t s = utf8_step(0, slice_of(text, a));
            s = utf8_step(s, slice_of(text + a, b - a));
            s = utf8_step(s, slice_of(text + b, len - b));
            assert_int_equal(s, UTF8_ACCEPT);
        }
    assert_int_equal(utf8_step(UTF8_REJECT, SLICE_LIT("a")), UTF8_REJECT);
    uint32_t open = utf8_step(0, SLICE_LIT("\xe2\x82"));
    assert_true(open != UTF8_ACCEPT && open != UTF8_REJECT);
    assert_false(utf8_valid(SLICE_LIT("\xe2\x82")));
    assert_true(utf8_valid(slice_of(NULL, 0)));
}

static void id__format__round_trips(void **state)
{
    (void)state;
    struct id id;
    char text[ID_TEXT_LEN + 1];
    assert_int_equal(id_parse(SLICE_LIT("00112233-4455-6677-8899-AABBCCDDEEFF"), &id), SOTTO_OK);
    assert_int_equal(id.bytes[0], 0);
    assert_int_equal(id.bytes[15], 0xff);
    id_format(id, text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
    static const char *const bad[] = {
        "", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233+4455-6677-8899-aabbccddeeff", "0011223g-4455-6677-8899-aabbccddeeff",
        "001122334-455-6677-8899-aabbccddeeff", "{0112233-4455-6677-8899-aabbccddeef}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(id_parse(slice_str(bad[i]), &id), SOTTO_ERR_INVALID);
}

static void id__parse__every_byte_at_every_place(void **state)
{
    (void)state;
    static const char hex[] = "0123456789abcdefABCDEF";
    for (size_t at = 0; at < ID_TEXT_LEN; at++)
        for (unsigned c = 0; c < 256; c++) {
            char text[ID_TEXT_LEN + 1] = "00000000-0000-0000-0000-000000000000", again[ID_TEXT_LEN + 1];
            bool dash = text[at] == '-';
            bool good = dash ? c == '-' : c != 0 && strchr(hex, (int)c) != NULL;
            text[at] = (char)c;
            struct id id = {{77}};
            assert_int_equal(id_parse(slice_of(text, ID_TEXT_LEN), &id), good ? SOTTO_OK : SOTTO_ERR_INVALID);
            if (!good) {
                assert_int_equal(id.bytes[0], 77);
                continue;
            }
            if (c >= 'A' && c <= 'F') text[at] = (char)(c | 0x20);
            id_format(id, again);
            assert_string_equal(again, text);
        }
}

static void id__format__every_byte_at_every_place(void **state)
{
    (void)state;
    for (size_t at = 0; at < ID_LEN; at++)
        for (unsigned v = 0; v < 256; v++) {
            struct id id = {{0}}, parsed, zero = {{0}};
            char text[ID_TEXT_LEN + 1], plain[2 * ID_LEN + 1];
            id.bytes[at] = (uint8_t)v;
            id_format(id, text);
            size_t digits = 0;
            for (size_t i = 0; i < ID_TEXT_LEN; i++)
                if (text[i] != '-') plain[digits++] = text[i];
            assert_int_equal(digits, 2 * ID_LEN);
            for (size_t i = 0; i < ID_LEN; i++) {
                char expected[3];
                snprintf(expected, sizeof(expected), "%02x", id.bytes[i]);
                assert_memory_equal(plain + 2 * i, expected, 2);
            }
            assert_int_equal(id_parse(slice_str(text), &parsed), SOTTO_OK);
            assert_true(id_eq(parsed, id));
            assert_int_equal(id_eq(id, zero), v == 0);
            assert_int_equal(id_is_zero(id), v == 0);
            assert_int_equal(id_eq(id, zero), id_cmp(id, zero) == 0);
        }
}

static void id__versions__are_in_the_text(void **state)
{
    (void)state;
    struct random_seeded random;
    random_seeded_init(&random, 1);
    char text[ID_TEXT_LEN + 1];
    struct id a = id_random(&random.source), b = id_random(&random.source);
    assert_false(id_eq(a, b));
    id_format(a, text);
    assert_int_equal(text[14], '4');
    assert_non_null(strchr("89ab", text[19]));
    struct id early = id_time_ordered(&random.source, 1700000000000);
    struct id late = id_time_ordered(&random.source, 1700000000001);
    assert_true(id_cmp(early, late) < 0);
    id_format(late, text);
    assert_memory_equal(text, "018bcfe5-6801-7", 15);
    assert_true(id_eq(id_direct_conversation(a, b), id_direct_conversation(b, a)));
    assert_false(id_eq(id_direct_conversation(a, b), id_direct_conversation(a, early)));
    id_format(id_direct_conversation(a, b), text);
    assert_int_equal(text[14], '8');
    assert_true(id_is_zero((struct id){{0}}));
    assert_false(id_is_zero(a));
}

static void id__derived_values__never_change(void **state)
{
    (void)state;
    struct id a, b;
    assert_int_equal(id_parse(SLICE_LIT("00112233-4455-6677-8899-aabbccddeeff"), &a), SOTTO_OK);
    assert_int_equal(id_parse(SLICE_LIT("00112233-4455-6677-8899-aabbccddeefe"), &b), SOTTO_OK);
    /* Rows are placed in partitions by the one and conversations are found by
     * the other; both values were computed outside. */
    assert_true(id_hash(a) == 0x82d1c40c11cefe66u);
    assert_true(id_hash(a) != id_hash(b));
    char conversation[ID_TEXT_LEN + 1];
    id_format(id_direct_conversation(a, b), conversation);
    assert_string_equal(conversation, "fa28c577-c6a9-8229-a16a-54bc2efb10c5");
}

static void random__seeded__repeats(void **state)
{
    (void)state;
    struct random_seeded a, b, c;
    random_seeded_init(&a, 5);
    random_seeded_init(&b, 5);
    random_seeded_init(&c, 6);
    uint64_t first = random_u64(&a.source);
    assert_true(first == random_u64(&b.source));
    assert_true(first != random_u64(&c.source));
    assert_true(first != random_u64(&a.source));
    uint8_t x[1000] = {0};
    random_fill(random_system(), x, sizeof(x));
    size_t zeros = 0;
    for (size_t i = 0; i < sizeof(x); i++) zeros += x[i] == 0;
    assert_true(zeros < 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64__encode__matches_rfc4648),
        cmocka_unit_test(base64__encode__agrees_with_the_definition_at_every_length_and_alignment),
        cmocka_unit_test(base64__encode__every_value_at_every_place),
        cmocka_unit_test(base64__decode__round_trips_every_length),
        cmocka_unit_test(base64__decode__refuses_what_is_not_base64),
        cmocka_unit_test(hex__round_trip__and_refusals),
        cmocka_unit_test(utf8__valid__agrees_with_the_definition_on_all_short_texts),
        cmocka_unit_test(utf8__valid__finds_what_is_wrong_at_every_offset),
        cmocka_unit_test(utf8__step__does_not_depend_on_the_cuts),
        cmocka_unit_test(id__format__round_trips),
        cmocka_unit_test(id__parse__every_byte_at_every_place),
        cmocka_unit_test(id__format__every_byte_at_every_place),
        cmocka_unit_test(id__versions__are_in_the_text),
        cmocka_unit_test(id__derived_values__never_change),
        cmocka_unit_test(random__seeded__repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
