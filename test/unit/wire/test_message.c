/* Message rows: golden bytes, tombstones, rows of groups, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden/golden.h"
#include "unit/wire/samples.h"

#define GOLDEN "message_row_v1"

struct fixture {
    struct buffer row, again;
    uint8_t chain[HASH_LEN], entries[3 * (ID_LEN + 1)];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (f == NULL || sodium_init() < 0) return -1;
    buffer_init(&f->row, 1 << 20);
    buffer_init(&f->again, 1 << 20);
    for (uint8_t i = 0; i < HASH_LEN; i++) f->chain[i] = (uint8_t)(0xa0 + i);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    buffer_deinit(&f->row);
    buffer_deinit(&f->again);
    free(f);
    return 0;
}

/* As the engine writes it: the prefix, then the record as it came. */
static struct slice row_of(struct fixture *f, const struct record *r)
{
    buffer_clear(&f->row);
    message_row_prefix(MESSAGE_WHOLE, 77, f->chain, &f->row);
    assert_int_equal(f->row.len, MESSAGE_ROW_PREFIX_LEN);
    record_encode(r, &f->row);
    return buffer_slice(&f->row);
}

static struct message decode(struct slice row)
{
    struct message m;
    assert_int_equal(message_row_decode(sample_id(9), 5, row, &m), SOTTO_OK);
    return m;
}

static void message_row__encode__golden_bytes(void **state)
{
    struct fixture *f = *state;
    struct record r = sample_message();
    assert_true(golden_matches(GOLDEN, "whole", row_of(f, &r)));
    struct message m = decode(buffer_slice(&f->row));
    m.state = MESSAGE_EXPIRED;
    m.record.body = m.record.media = slice_of(NULL, 0);
    message_row_encode(&m, &f->again);
    assert_true(golden_matches(GOLDEN, "expired", buffer_slice(&f->again)));
    r = sample_create(f->entries);
    assert_true(golden_matches(GOLDEN, "create", row_of(f, &r)));
    r = sample_member();
    assert_true(golden_matches(GOLDEN, "member", row_of(f, &r)));
}

static void message_row__decode__what_was_encoded(void **state)
{
    struct fixture *f = *state;
    struct record r = sample_message();
    struct message m = decode(row_of(f, &r));
    assert_int_equal(m.sequence, 5);
    assert_int_equal(m.position, 77);
    assert_int_equal(m.state, MESSAGE_WHOLE);
    assert_int_equal(m.kind, RECORD_MESSAGE);
    assert_memory_equal(m.chain, f->chain, HASH_LEN);
    assert_true(slice_is(m.record.body, "a payload"));
    message_row_encode(&m, &f->again);
    assert_true(slice_eq(buffer_slice(&f->row), buffer_slice(&f->again)));
}

static void message_row__decode__a_tombstone_keeps_hash_and_key(void **state)
{
    struct fixture *f = *state;
    struct record r = sample_message();
    struct message m = decode(row_of(f, &r));
    m.state = MESSAGE_EXPIRED;
    m.record.body = slice_of(NULL, 0);
    message_row_encode(&m, &f->again);
    struct message dead = decode(buffer_slice(&f->again));
    assert_int_equal(dead.state, MESSAGE_EXPIRED);
    assert_int_equal(dead.record.body.len, 0);
    assert_memory_equal(dead.record.payload_hash, r.message.payload_hash, HASH_LEN);
    assert_true(slice_is(dead.record.client_msg_id, "c-1"));
}

static void message_row__decode__group_rows_have_sender_time_and_hash(void **state)
{
    struct fixture *f = *state;
    uint8_t hash[HASH_LEN];
    struct record r = sample_create(f->entries);
    struct message m = decode(row_of(f, &r));
    record_hash(&r, hash);
    assert_int_equal(m.kind, RECORD_CREATE);
    assert_true(id_eq(m.record.sender, sample_id(1)));
    assert_int_equal(m.record.ts_ms, 1700000000000);
    assert_memory_equal(m.record.payload_hash, hash, HASH_LEN);
    assert_int_equal(m.change.create.members_count, 3);
    r = sample_member();
    m = decode(row_of(f, &r));
    record_hash(&r, hash);
    assert_int_equal(m.kind, RECORD_MEMBER);
    assert_memory_equal(m.record.payload_hash, hash, HASH_LEN);
    assert_int_equal(m.change.member.change, MEMBER_ADD);
}

static void message_row__decode__damage_is_corruption(void **state)
{
    struct fixture *f = *state;
    struct message m;
    struct record r = sample_message();
    struct slice row = row_of(f, &r);
    for (size_t len = 0; len < row.len; len++)
        assert_int_equal(message_row_decode(sample_id(9), 5, slice_of(row.data, len), &m), SOTTO_ERR_CORRUPT);
    assert_int_equal(message_row_decode(sample_id(8), 5, row, &m), SOTTO_ERR_CORRUPT);
    f->row.data[0] = 2;
    assert_int_equal(message_row_decode(sample_id(9), 5, row, &m), SOTTO_ERR_CORRUPT);
    f->row.data[0] = 1;
    f->row.data[1] = MESSAGE_EXPIRED + 1;
    assert_int_equal(message_row_decode(sample_id(9), 5, row, &m), SOTTO_ERR_CORRUPT);
    r = sample_watermark();
    assert_int_equal(message_row_decode(sample_id(9), 5, row_of(f, &r), &m), SOTTO_ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(message_row__encode__golden_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(message_row__decode__what_was_encoded, setup, teardown),
        cmocka_unit_test_setup_teardown(message_row__decode__a_tombstone_keeps_hash_and_key, setup, teardown),
        cmocka_unit_test_setup_teardown(message_row__decode__group_rows_have_sender_time_and_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(message_row__decode__damage_is_corruption, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
