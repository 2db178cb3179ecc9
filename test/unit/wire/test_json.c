/* JSON: the grammar, the bounds, values, decoding by table, writing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "wire/json.h"
#include "wire/json_plain.h"

#include <stdlib.h>
#include <string.h>

struct fixture {
    struct arena arena;
    struct buffer why, text;
    const char *field;
    uint8_t first[1024];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (f == NULL) return -1;
    arena_init(&f->arena, f->first, sizeof(f->first), 16u << 20);
    buffer_init(&f->why, 4096);
    buffer_init(&f->text, 8u << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_deinit(&f->arena);
    buffer_deinit(&f->why);
    buffer_deinit(&f->text);
    free(f);
    return 0;
}

static bool parses(struct fixture *f, struct slice text)
{
    struct json root;
    return json_parse(&f->arena, text, &root) == SOTTO_OK;
}

static struct json parse(struct fixture *f, const char *text)
{
    struct json root = {NULL, 0};
    assert_int_equal(json_parse(&f->arena, slice_str(text), &root), SOTTO_OK);
    return root;
}

static void json__parse__what_the_grammar_allows(void **state)
{
    static const char *const good[] = {
        "null", "true", "false", "0", "-0", "12", "1.5", "-1.5e10", "1E-3", "1e+3", "\"\"", "\"a\"", "[]", "{}",
        " [ 1 , 2 ] ", "\t{\"a\"\r\n:1}\n", "[[],{},[{}]]", "{\"a\":{\"b\":[1,{\"c\":null}]}}", "\"\\u0041\\n\\/\"",
        "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"", "{\"a\":1,\"a\":2}", "{\"\":1}",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!parses(f, slice_str(good[i]))) fail_msg("refused: %s", good[i]);
}

static void json__parse__what_the_grammar_forbids(void **state)
{
    static const char *const bad[] = {
        "", " ", "nul", "nulll", "True", "01", "-", "+1", "1.", ".5", "1e", "1e+", "0x10", "NaN", "Infinity", "--1",
        "\"", "\"a", "'a'", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\n\"", "\"\x01\"", "\"\\ud800\"", "\"\\udc00\"",
        "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1}", "{", "}",
        "{a:1}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{\"a\" 1}", "{1:1}", "{\"a\":1]", "1 2", "{}x", "[]]",
        "// c\n1", "\xef\xbb\xbf{}", "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"",
        "tru\xc3\xa9", "{\"a\":\"b\"\"c\":1}", "\"\\",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parses(f, slice_str(bad[i]))) fail_msg("accepted: %s", bad[i]);
    assert_false(parses(f, slice_of("1\0", 2)));
    assert_false(parses(f, slice_of("\"a\0b\"", 5)));
}

static void json__parse__every_cut_of_a_request_is_refused(void **state)
{
    static const char text[] = "{\"type\":\"message.send\",\"clientMsgId\":\"1\",\"x\":[1,-2.5e3,true,null,\"\\u00e9\"]}";
    struct fixture *f = *state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        /* Memory of its own size: a sanitizer sees a read past the end. */
        uint8_t *cut = malloc(len == 0 ? 1 : len);
        memcpy(cut, text, len);
        assert_false(parses(f, slice_of(cut, len)));
        free(cut);
    }
    assert_true(parses(f, slice_str(text)));
}

static void json__parse__depth_is_bounded(void **state)
{
    struct fixture *f = *state;
    for (int depth = SOTTO_JSON_DEPTH_MAX; depth <= SOTTO_JSON_DEPTH_MAX + 1; depth++) {
        buffer_clear(&f->text);
        for (int i = 0; i < depth; i++) buffer_append_str(&f->text, i % 2 ? "{\"a\":" : "[");
        buffer_append_byte(&f->text, '1');
        for (int i = depth - 1; i >= 0; i--) buffer_append_byte(&f->text, i % 2 ? '}' : ']');
        assert_int_equal(parses(f, buffer_slice(&f->text)), depth == SOTTO_JSON_DEPTH_MAX);
    }
    buffer_clear(&f->text);
    for (int i = 0; i < 1000000; i++) buffer_append_byte(&f->text, '[');
    assert_false(parses(f, buffer_slice(&f->text)));
}

static void json__parse__tokens_and_arena_are_bounded(void **state)
{
    struct fixture *f = *state;
    for (int tokens = SOTTO_JSON_TOKENS_MAX; tokens <= SOTTO_JSON_TOKENS_MAX + 1; tokens++) {
        buffer_clear(&f->text);
        buffer_append_byte(&f->text, '[');
        for (int i = 1; i < tokens; i++) buffer_append_str(&f->text, i == 1 ? "0" : ",0");
        buffer_append_byte(&f->text, ']');
        assert_int_equal(parses(f, buffer_slice(&f->text)), tokens == SOTTO_JSON_TOKENS_MAX);
    }
    struct arena small;
    struct json root;
    arena_init(&small, NULL, 0, 256);
    assert_int_equal(json_parse(&small, SLICE_LIT("{}"), &root), SOTTO_ERR_FULL);
    arena_deinit(&small);
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

static void json__plain_len__stops_at_what_is_not_plain(void **state)
{
    static const uint8_t ends[] = {0x00, 0x1f, '"', '\\'}, others[] = {0x20, '!', '#', '[', ']', 0x7f, 0x80, 0x9f, 0xa2, 0xdc, 0xff};
    (void)state;
    for (size_t len = 0; len <= 130; len++)
        for (size_t align = 0; align < 16; align++) {
            uint8_t *memory = malloc(align + len + 1), *text = memory + 1 + align; /* it ends where the text ends */
            for (size_t i = 0; i < len; i++) text[i] = others[(i + len) % sizeof(others)];
            assert_int_equal(json_plain_len(text, len), len);
            for (size_t at = len; at-- > 0;) {
                text[at] = ends[(at + align) % sizeof(ends)]; /* the ones behind stay */
                assert_int_equal(json_plain_len(text, len), at);
            }
            free(memory);
        }
    for (unsigned c = 0; c < 256; c++)
        for (size_t at = 0; at < 40; at++) {
            uint8_t text[40];
            memset(text, 'a', sizeof(text));
            text[at] = (uint8_t)c;
            assert_int_equal(json_plain_len(text, sizeof(text)), is_plain((uint8_t)c) ? sizeof(text) : at);
        }
}

/* What is written is read again, and every character that must be is escaped. */
static void json__string__every_byte_at_every_offset_goes_out_and_in(void **state)
{
    struct fixture *f = *state;
    for (size_t len = 1; len <= 40; len++)
        for (size_t at = 0; at < len; at++)
            for (unsigned c = 1; c < 0x80; c++) {
                uint8_t text[40];
                struct json root;
                struct slice again;
                struct arena arena;
                arena_init(&arena, f->first, sizeof(f->first), 4096);
                memset(text, 'a', len);
                text[at] = (uint8_t)c;
                buffer_clear(&f->text);
                struct json_writer w = json_writer_of(&f->text);
                json_write_string(&w, slice_of(text, len));
                assert_int_equal(is_plain((uint8_t)c), f->text.len == len + 2);
                assert_int_equal(json_parse(&arena, buffer_slice(&f->text), &root), SOTTO_OK);
                assert_int_equal(json_string(&arena, root, &again), SOTTO_OK);
                assert_true(slice_eq(again, slice_of(text, len)));
                arena_deinit(&arena);
            }
}

static void json__parse__every_byte_at_every_place_of_a_string(void **state)
{
    struct fixture *f = *state;
    for (size_t len = 1; len <= 36; len++)
        for (size_t at = 0; at < len; at++)
            for (unsigned c = 0; c < 256; c++) {
                struct json root;
                struct arena arena;
                uint8_t text[40];
                arena_init(&arena, f->first, sizeof(f->first), 4096);
                memset(text, 'a', sizeof(text));
                text[0] = text[len + 1] = '"';
                text[1 + at] = (uint8_t)c;
                /* Two bytes more: what stands behind a string that ended early. */
                bool good = json_parse(&arena, slice_of(text, len + 2), &root) == SOTTO_OK;
                bool escape = c == '\\' && at + 1 < len; /* of an `a`: there is no such escape */
                assert_int_equal(good, is_plain((uint8_t)c) && c < 0x80 && !escape);
                arena_deinit(&arena);
            }
}

static void json__parse__tokens_survive_growing(void **state)
{
    struct fixture *f = *state;
    struct json_writer w = json_writer_of(&f->text);
    json_begin_object(&w);
    json_put_u64(&w, "first", 1);
    json_key(&w, "many");
    json_begin_array(&w);
    for (uint64_t i = 0; i < 1000; i++) {
        json_begin_object(&w);
        json_put_u64(&w, "n", i);
        json_put_cstr(&w, "s", "x\n");
        json_end_object(&w);
    }
    json_end_array(&w);
    json_put_bool(&w, "last", true);
    json_end_object(&w);
    struct json root;
    uint64_t n = 0, expected = 0;
    bool last = false;
    assert_int_equal(json_parse(&f->arena, buffer_slice(&f->text), &root), SOTTO_OK);
    assert_int_equal(json_count(root), 3);
    assert_int_equal(json_u64(json_get(root, "first"), &n), SOTTO_OK);
    assert_int_equal(json_bool(json_get(root, "last"), &last), SOTTO_OK);
    assert_true(n == 1 && last);
    struct json many = json_get(root, "many");
    assert_int_equal(json_count(many), 1000);
    for (struct json e = json_first(many); json_type(e) != JSON_ABSENT; e = json_next(many, e), expected++) {
        assert_int_equal(json_u64(json_get(e, "n"), &n), SOTTO_OK);
        assert_int_equal(n, expected);
        assert_true(slice_is(json_raw(json_get(e, "s")), "\"x\\n\""));
    }
    assert_int_equal(expected, 1000);
}

static void json__get__members_and_elements(void **state)
{
    struct fixture *f = *state;
    struct json root = parse(f, "{\"a\":[1,[2,3],{\"x\":4}],\"b\":{\"a\":5},\"c\":\"v\",\"d\":null}");
    uint64_t n = 0;
    assert_int_equal(json_type(json_get(root, "none")), JSON_ABSENT);
    assert_int_equal(json_type(json_get(root, "d")), JSON_NULL);
    assert_int_equal(json_u64(json_get(json_get(root, "b"), "a"), &n), SOTTO_OK);
    assert_int_equal(n, 5);
    struct json a = json_get(root, "a");
    assert_int_equal(json_count(a), 3);
    assert_int_equal(json_count(root), 4);
    struct json e = json_first(a);
    assert_int_equal(json_type(e), JSON_NUMBER);
    e = json_next(a, e);
    assert_int_equal(json_count(e), 2);
    e = json_next(a, e);
    assert_int_equal(json_u64(json_get(e, "x"), &n), SOTTO_OK);
    assert_int_equal(n, 4);
    assert_int_equal(json_type(json_next(a, e)), JSON_ABSENT);
    assert_int_equal(json_type(json_first(root)), JSON_ABSENT);
    assert_int_equal(json_type(json_get(a, "a")), JSON_ABSENT);
    assert_true(slice_is(json_raw(a), "[1,[2,3],{\"x\":4}]"));
    assert_true(slice_is(json_raw(json_get(root, "c")), "\"v\""));
    assert_int_equal(json_raw(json_get(root, "none")).len, 0);
}

static void json__string__escapes(void **state)
{
    struct fixture *f = *state;
    struct slice s;
    struct json v = parse(f, "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00z\"");
    assert_int_equal(json_string(&f->arena, v, &s), SOTTO_OK);
    assert_true(slice_is(s, "a\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"));
    v = parse(f, "\"plain\"");
    assert_int_equal(json_string(&f->arena, v, &s), SOTTO_OK);
    assert_ptr_equal(s.data, json_raw(v).data + 1);
    assert_int_equal(json_string(&f->arena, parse(f, "\"a\\u0000b\""), &s), SOTTO_ERR_INVALID);
    assert_int_equal(json_string(&f->arena, parse(f, "12"), &s), SOTTO_ERR_INVALID);
    assert_int_equal(json_string(&f->arena, parse(f, "\"\""), &s), SOTTO_OK);
    assert_int_equal(s.len, 0);
}

static void json__u64__whole_numbers_only(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0}, {"1", true, 1}, {"9007199254740992", true, 9007199254740992u}, {"9007199254740993", false, 0},
        {"-1", false, 0}, {"-0", false, 0}, {"1.0", false, 0}, {"1e3", false, 0}, {"\"1\"", false, 0}, {"true", false, 0},
        {"99999999999999999999999", false, 0}, {"[1]", false, 0}, {"null", false, 0},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t n = 77;
        bool ok = json_u64(parse(f, cases[i].text), &n) == SOTTO_OK;
        assert_int_equal(ok, cases[i].ok);
        assert_int_equal(n, ok ? cases[i].value : 77);
    }
}

struct request {
    struct slice name, data;
    struct id id;
    uint64_t count;
    bool urgent, has_count;
    struct json list;
};
static const struct json_field fields[] = {
    {"name", JF_STRING, true, offsetof(struct request, name), 1, 5, SIZE_MAX},
    {"data", JF_BASE64, false, offsetof(struct request, data), 2, 4, SIZE_MAX},
    {"id", JF_ID, false, offsetof(struct request, id), 0, 0, SIZE_MAX},
    {"count", JF_U64, false, offsetof(struct request, count), 1, 10, offsetof(struct request, has_count)},
    {"urgent", JF_BOOL, false, offsetof(struct request, urgent), 0, 0, SIZE_MAX},
    {"list", JF_JSON, false, offsetof(struct request, list), 0, 2, SIZE_MAX},
};

static enum sotto_err decode(struct fixture *f, const char *text, struct request *out)
{
    memset(out, 0, sizeof(*out));
    buffer_clear(&f->why);
    return json_decode(&f->arena, parse(f, text), fields, sizeof(fields) / sizeof(fields[0]), out, &f->why, &f->field);
}

static void json__decode__every_kind(void **state)
{
    struct fixture *f = *state;
    struct request r;
    assert_int_equal(decode(f, "{\"name\":\"n\\u00e9\",\"data\":\"AQID\",\"id\":\"00112233-4455-6677-8899-aabbccddeeff\","
                               "\"count\":10,\"urgent\":true,\"list\":[1,2],\"other\":{\"name\":1}}", &r), SOTTO_OK);
    assert_true(slice_is(r.name, "n\xc3\xa9"));
    assert_true(slice_is(r.data, "\x01\x02\x03"));
    assert_int_equal(r.id.bytes[15], 0xff);
    assert_int_equal(r.count, 10);
    assert_true(r.urgent && r.has_count);
    assert_int_equal(json_count(r.list), 2);
    assert_int_equal(decode(f, "{\"name\":\"n\",\"count\":null,\"data\":null}", &r), SOTTO_OK);
    assert_null(f->field);
    assert_false(r.has_count);
}

static void json__decode__says_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[]", "An object was expected."},
        {"{}", "\"name\" is missing."},
        {"{\"name\":null}", "\"name\" is missing."},
        {"{\"name\":1}", "\"name\" must be a string without NUL."},
        {"{\"name\":\"\\u0000\"}", "\"name\" must be a string without NUL."},
        {"{\"name\":\"\"}", "\"name\" must have 1 to 5 bytes."},
        {"{\"name\":\"abcdef\"}", "\"name\" must have 1 to 5 bytes."},
        {"{\"name\":\"a\",\"name\":\"b\"}", "\"name\" is there twice."},
        {"{\"name\":\"a\",\"count\":null,\"count\":2}", "\"count\" is there twice."},
        {"{\"name\":\"a\",\"count\":0}", "\"count\" must be from 1 to 10."},
        {"{\"name\":\"a\",\"count\":\"1\"}", "\"count\" must be a whole number."},
        {"{\"name\":\"a\",\"data\":\"A\"}", "\"data\" is not base64."},
        {"{\"name\":\"a\",\"data\":\"AQ==\"}", "\"data\" must have 2 to 4 bytes."},
        {"{\"name\":\"a\",\"data\":\"AQIDBAU=\"}", "\"data\" must have 2 to 4 bytes."},
        {"{\"name\":\"a\",\"data\":\"AQIDBAUGBwgJ\"}", "\"data\" must have 2 to 4 bytes."},
        {"{\"name\":\"a\",\"id\":\"x\"}", "\"id\" must be a UUID."},
        {"{\"name\":\"a\",\"urgent\":1}", "\"urgent\" must be true or false."},
        {"{\"name\":\"a\",\"list\":1}", "\"list\" must be a list or an object."},
        {"{\"name\":\"a\",\"list\":[1,2,3]}", "\"list\" has too many elements."},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request r;
        assert_int_equal(decode(f, cases[i].text, &r), SOTTO_ERR_INVALID);
        if (i == 0) assert_null(f->field);
        else assert_memory_equal(f->field, cases[i].why + 1, strlen(f->field));
        buffer_append_byte(&f->why, 0);
        assert_string_equal((const char *)f->why.data, cases[i].why);
    }
}

static void json__decode__base64_without_padding_at_the_bound(void **state)
{
    struct fixture *f = *state;
    struct request r;
    assert_int_equal(decode(f, "{\"name\":\"a\",\"data\":\"AQIDBA==\"}", &r), SOTTO_OK);
    assert_int_equal(r.data.len, 4);
    assert_int_equal(decode(f, "{\"name\":\"a\",\"data\":\"AQIDBA\"}", &r), SOTTO_OK);
    assert_int_equal(r.data.len, 4);
}

static void json__decode__a_full_arena_is_no_mistake_of_the_sender(void **state)
{
    struct fixture *f = *state;
    struct request r;
    memset(&r, 0, sizeof(r));
    struct json root = parse(f, "{\"name\":\"\\u0061\"}");
    struct arena none;
    arena_init(&none, NULL, 0, 0);
    assert_int_equal(json_decode(&none, root, fields, 1, &r, &f->why, NULL), SOTTO_ERR_FULL);
    arena_deinit(&none);
}

static void json__write__commas_and_escapes(void **state)
{
    struct fixture *f = *state;
    struct json_writer w = json_writer_of(&f->text);
    json_begin_object(&w);
    json_put_string(&w, "s", slice_of("a\"\\\n\r\t\x01\x1f\0\xc3\xa9", 11));
    json_put_cstr(&w, "e", "");
    json_key(&w, "list");
    json_begin_array(&w);
    json_write_u64(&w, UINT64_MAX);
    json_write_null(&w);
    json_begin_object(&w);
    json_end_object(&w);
    json_begin_array(&w);
    json_end_array(&w);
    json_write_bool(&w, false);
    json_write_raw(&w, SLICE_LIT("{\"raw\":1}"));
    json_end_array(&w);
    json_put_bool(&w, "b", true);
    json_put_u64(&w, "u", 0);
    json_put_id(&w, "id", (struct id){{0xab}});
    json_put_base64(&w, "data", SLICE_LIT("\x01\x02"));
    json_end_object(&w);
    buffer_append_byte(&f->text, 0);
    assert_string_equal((const char *)f->text.data,
                        "{\"s\":\"a\\\"\\\\\\n\\r\\t\\u0001\\u001f\\u0000\xc3\xa9\",\"e\":\"\","
                        "\"list\":[18446744073709551615,null,{},[],false,{\"raw\":1}],\"b\":true,\"u\":0,"
                        "\"id\":\"ab000000-0000-0000-0000-000000000000\",\"data\":\"AQI=\"}");
}

static void json__write__past_the_cap_overflows(void **state)
{
    struct buffer small;
    (void)state;
    buffer_init(&small, 10);
    struct json_writer w = json_writer_of(&small);
    json_begin_object(&w);
    json_put_cstr(&w, "key", "value");
    json_end_object(&w);
    assert_true(small.overflow);
    buffer_deinit(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json__parse__what_the_grammar_allows, setup, teardown),
        cmocka_unit_test_setup_teardown(json__parse__what_the_grammar_forbids, setup, teardown),
        cmocka_unit_test_setup_teardown(json__parse__every_cut_of_a_request_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(json__parse__depth_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(json__parse__tokens_and_arena_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(json__plain_len__stops_at_what_is_not_plain, setup, teardown),
        cmocka_unit_test_setup_teardown(json__string__every_byte_at_every_offset_goes_out_and_in, setup, teardown),
        cmocka_unit_test_setup_teardown(json__parse__every_byte_at_every_place_of_a_string, setup, teardown),
        cmocka_unit_test_setup_teardown(json__parse__tokens_survive_growing, setup, teardown),
        cmocka_unit_test_setup_teardown(json__get__members_and_elements, setup, teardown),
        cmocka_unit_test_setup_teardown(json__string__escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(json__u64__whole_numbers_only, setup, teardown),
        cmocka_unit_test_setup_teardown(json__decode__every_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(json__decode__says_what_is_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(json__decode__base64_without_padding_at_the_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(json__decode__a_full_arena_is_no_mistake_of_the_sender, setup, teardown),
        cmocka_unit_test_setup_teardown(json__write__commas_and_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(json__write__past_the_cap_overflows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
