/* From method and path to an operation, and to one object of fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/call_private.h"

#include <string.h>

static const struct operation operations[] = {
    {.type = "thing.list", .answer_type = "things", .method = HTTP_M_GET, .path = "/v1/things", .query = "after:s limit:n"},
    {.type = "thing.get", .answer_type = "thing", .method = HTTP_M_GET, .path = "/v1/things/{thingId}"},
    {.type = "thing.drop", .answer_type = "ok", .method = HTTP_M_DELETE, .path = "/v1/things/{thingId}"},
    {.type = "part.put", .answer_type = "ok", .method = HTTP_M_PUT, .path = "/v1/things/{thingId}/parts/{number:n}"},
    {.type = "hidden", .answer_type = "ok"},
    {0},
};

static const char *found(enum http_method method, const char *path, struct route *r)
{
    struct op_index *i = op_index_create(operations);
    route_find(i, method, slice_str(path), r);
    op_index_destroy(&i);
    return r->op != NULL ? r->op->type : r->path_known ? "405" : "404";
}

static void route__find__by_method_and_path(void **state)
{
    (void)state;
    struct route r;
    assert_string_equal(found(HTTP_M_GET, "/v1/things", &r), "thing.list");
    assert_string_equal(found(HTTP_M_HEAD, "/v1/things", &r), "thing.list");
    assert_string_equal(found(HTTP_M_GET, "/v1/things/abc", &r), "thing.get");
    assert_string_equal(found(HTTP_M_DELETE, "/v1/things/abc", &r), "thing.drop");
    assert_string_equal(found(HTTP_M_PUT, "/v1/things/abc/parts/7", &r), "part.put");
    assert_int_equal(r.params_count, 2);
    assert_string_equal(found(HTTP_M_POST, "/v1/things/abc", &r), "405");
    assert_string_equal(r.allow, "GET, HEAD, DELETE, OPTIONS");
    assert_string_equal(found(HTTP_M_GET, "/v1/things/", &r), "404");
    assert_string_equal(found(HTTP_M_GET, "/v1/things/abc/", &r), "404");
    assert_string_equal(found(HTTP_M_GET, "/v1", &r), "404");
    assert_string_equal(found(HTTP_M_GET, "/", &r), "404");
    assert_string_equal(found(HTTP_M_GET, "/v1/thingsx", &r), "404");
}

static void op_index__by_type__finds_every_one(void **state)
{
    (void)state;
    struct op_index *i = op_index_create(operations);
    for (size_t n = 0; operations[n].type != NULL; n++)
        assert_ptr_equal(op_by_type(i, slice_str(operations[n].type)), &operations[n]);
    assert_null(op_by_type(i, slice_str("thing.gett")));
    assert_null(op_by_type(i, slice_str("")));
    op_index_destroy(&i);
}

static enum problem merged(const char *path, const char *query, const char *body, const char *expected)
{
    struct route r;
    struct arena arena;
    struct buffer out;
    uint8_t memory[1024];
    const char *field = NULL;
    (void)found(HTTP_M_GET, path, &r);
    if (r.op == NULL) (void)found(HTTP_M_PUT, path, &r);
    arena_init(&arena, memory, sizeof(memory), 65536);
    buffer_init(&out, 4096);
    enum problem p = route_merge(&r, slice_str(query), slice_str(body), &arena, &out, &field);
    if (p == PROBLEM_NONE) {
        assert_int_equal(out.len, strlen(expected));
        assert_memory_equal(out.data, expected, out.len);
    } else if (p == PROBLEM_BAD_FIELD) {
        assert_string_equal(field, expected);
    }
    buffer_deinit(&out);
    arena_deinit(&arena);
    return p;
}

static void route_merge__path_query_and_body__are_one_object(void **state)
{
    (void)state;
    assert_int_equal(merged("/v1/things", "", "", "{}"), PROBLEM_NONE);
    assert_int_equal(merged("/v1/things", "limit=5&after=a%22b&other=1", "", "{\"after\":\"a\\\"b\",\"limit\":5}"),
                     PROBLEM_NONE);
    assert_int_equal(merged("/v1/things/a%2Fb/parts/12", "", " {\"x\": [1]}\r\n",
                            "{\"thingId\":\"a/b\",\"number\":12,\"x\": [1]}"), PROBLEM_NONE);
    assert_int_equal(merged("/v1/things/a/parts/12", "", "{ }", "{\"thingId\":\"a\",\"number\":12}"), PROBLEM_NONE);
}

static void route_merge__wrong_values__name_the_field(void **state)
{
    (void)state;
    assert_int_equal(merged("/v1/things", "limit=many", "", "limit"), PROBLEM_BAD_FIELD);
    assert_int_equal(merged("/v1/things", "limit=", "", "limit"), PROBLEM_BAD_FIELD);
    assert_int_equal(merged("/v1/things", "limit=007", "", "limit"), PROBLEM_BAD_FIELD);
    assert_int_equal(merged("/v1/things", "after=%zz", "", "after"), PROBLEM_BAD_FIELD);
    assert_int_equal(merged("/v1/things/a/parts/x", "", "", "number"), PROBLEM_BAD_FIELD);
    assert_int_equal(merged("/v1/things/a/parts/1", "", "[1]", ""), PROBLEM_BAD_JSON);
    assert_int_equal(merged("/v1/things/a/parts/1", "", "{", ""), PROBLEM_BAD_JSON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(route__find__by_method_and_path),
        cmocka_unit_test(op_index__by_type__finds_every_one),
        cmocka_unit_test(route_merge__path_query_and_body__are_one_object),
        cmocka_unit_test(route_merge__wrong_values__name_the_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
