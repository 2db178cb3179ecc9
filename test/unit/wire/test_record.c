/* Records: the format byte by byte, what a decoder refuses, hashes and chain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden/golden.h"
#include "unit/wire/samples.h"

#define GOLDEN "record_v1"

enum { SAMPLES = 8 };
static const char *const names[SAMPLES] = {"message", "message_full", "watermark", "expire",
                                           "purge",   "create",       "member",    "typing"};

struct fixture {
    struct buffer body, bytes, again;
    uint8_t entries[3 * (ID_LEN + 1)];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (f == NULL || sodium_init() < 0) return -1;
    buffer_init(&f->body, SOTTO_RECORD_MAX * 2);
    buffer_init(&f->bytes, SOTTO_RECORD_MAX * 4);
    buffer_init(&f->again, SOTTO_RECORD_MAX * 4);
    sample_envelopes(&f->body);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    buffer_deinit(&f->body);
    buffer_deinit(&f->bytes);
    buffer_deinit(&f->again);
    free(f);
    return 0;
}

static struct record sample(struct fixture *f, int i)
{
    switch (i) {
    case 0: return sample_message();
    case 1: return sample_message_full(buffer_slice(&f->body));
    case 2: return sample_watermark();
    case 3: return sample_sequence(RECORD_EXPIRE);
    case 4: return sample_sequence(RECORD_PURGE);
    case 5: return sample_create(f->entries);
    case 6: return sample_member();
    default: return sample_typing();
    }
}

static struct slice encode(struct fixture *f, const struct record *r)
{
    buffer_clear(&f->bytes);
    record_encode(r, &f->bytes);
    assert_false(f->bytes.overflow);
    return buffer_slice(&f->bytes);
}

static bool decodes(struct slice bytes)
{
    struct record r;
    return record_decode(bytes, &r) == SOTTO_OK;
}

static void record__encode__golden_bytes(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < SAMPLES; i++) {
        struct record r = sample(f, i);
        assert_true(golden_matches(GOLDEN, names[i], encode(f, &r)));
    }
}

static void record__decode__golden_bytes_come_back(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < SAMPLES; i++) {
        struct record r;
        assert_true(golden_read(GOLDEN, names[i], &f->bytes));
        assert_int_equal(record_decode(buffer_slice(&f->bytes), &r), SOTTO_OK);
        buffer_clear(&f->again);
        record_encode(&r, &f->again);
        assert_true(slice_eq(buffer_slice(&f->bytes), buffer_slice(&f->again)));
    }
}

static void record__decode__every_field(void **state)
{
    struct fixture *f = *state;
    struct record in = sample(f, 1), out;
    assert_int_equal(record_decode(encode(f, &in), &out), SOTTO_OK);
    const struct record_message *a = &in.message, *b = &out.message;
    assert_true(id_eq(in.conversation, out.conversation));
    assert_true(id_eq(a->message_id, b->message_id) && id_eq(a->sender, b->sender));
    assert_true(id_eq(a->reply_to, b->reply_to) && id_eq(a->peer, b->peer));
    assert_true(b->has_reply_to && b->has_peer);
    assert_int_equal(a->sender_device, b->sender_device);
    assert_int_equal(a->ts_ms, b->ts_ms);
    assert_int_equal(a->expires_ms, b->expires_ms);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->body_kind, b->body_kind);
    assert_memory_equal(a->payload_hash, b->payload_hash, HASH_LEN);
    assert_true(slice_eq(a->client_msg_id, b->client_msg_id) && slice_eq(a->type, b->type));
    assert_true(slice_eq(a->media, b->media) && slice_eq(a->body, b->body));
    in = sample(f, 2);
    assert_int_equal(record_decode(encode(f, &in), &out), SOTTO_OK);
    assert_true(id_eq(in.watermark.user, out.watermark.user));
    assert_int_equal(out.watermark.delivered, 300);
    assert_int_equal(out.watermark.read, 5);
    assert_int_equal(out.watermark.flags, WATERMARK_PRIVATE);
}

static void record__decode__every_cut_is_refused(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < SAMPLES; i++) {
        struct record r = sample(f, i);
        struct slice bytes = encode(f, &r);
        for (size_t len = 0; len < bytes.len; len++) assert_false(decodes(slice_of(bytes.data, len)));
        buffer_append_byte(&f->bytes, 0);
        assert_false(decodes(buffer_slice(&f->bytes)));
    }
}

/* Whatever bit is turned, the result is refused or encodes to those bytes. */
static void record__decode__every_turned_bit(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < SAMPLES; i++) {
        struct record r = sample(f, i);
        struct slice bytes = encode(f, &r);
        for (size_t bit = 0; bit < bytes.len * 8; bit++) {
            f->bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            struct record out;
            if (record_decode(bytes, &out) == SOTTO_OK) {
                buffer_clear(&f->again);
                record_encode(&out, &f->again);
                assert_true(slice_eq(bytes, buffer_slice(&f->again)));
            }
            f->bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void record__decode__unknown_versions_and_kinds(void **state)
{
    struct fixture *f = *state;
    struct record r = sample_typing();
    struct slice bytes = encode(f, &r);
    assert_true(decodes(bytes));
    f->bytes.data[0] = RECORD_VERSION + 1;
    assert_false(decodes(bytes));
    f->bytes.data[0] = 0;
    assert_false(decodes(bytes));
    f->bytes.data[0] = RECORD_VERSION;
    f->bytes.data[1] = 0;
    assert_false(decodes(bytes));
    f->bytes.data[1] = RECORD_TYPING + 1;
    assert_false(decodes(bytes));
}

static void record__decode__past_the_maxima(void **state)
{
    struct fixture *f = *state;
    static uint8_t large[SOTTO_PAYLOAD_MAX + 1];
    struct record r = sample_message();
    r.message.body = slice_of(large, SOTTO_PAYLOAD_MAX);
    assert_true(decodes(encode(f, &r)));
    r.message.body.len++;
    assert_false(decodes(encode(f, &r)));
    r = sample_message();
    r.message.client_msg_id = slice_of(large, SOTTO_CLIENT_MSG_ID_MAX);
    assert_true(decodes(encode(f, &r)));
    r.message.client_msg_id.len++;
    assert_false(decodes(encode(f, &r)));
    r = sample_message();
    r.message.type = slice_of(large, SOTTO_MESSAGE_TYPE_MAX + 1);
    assert_false(decodes(encode(f, &r)));
    r = sample_message();
    r.message.media = slice_of(large, SOTTO_HANDLE_MAX + 1);
    assert_false(decodes(encode(f, &r)));
}

static void record__decode__a_group_too_large(void **state)
{
    struct fixture *f = *state;
    uint8_t *entries = malloc((SOTTO_MEMBERS_MAX + 1) * (ID_LEN + 1));
    memset(entries, ROLE_MEMBER, (SOTTO_MEMBERS_MAX + 1) * (ID_LEN + 1));
    struct record r = sample_create(f->entries);
    r.create.members_count = SOTTO_MEMBERS_MAX;
    r.create.members = slice_of(entries, SOTTO_MEMBERS_MAX * (ID_LEN + 1));
    assert_true(decodes(encode(f, &r)));
    r.create.members_count++;
    r.create.members.len += ID_LEN + 1;
    assert_false(decodes(encode(f, &r)));
    r.create.members_count = 0;
    r.create.members.len = 0;
    assert_false(decodes(encode(f, &r)));
    free(entries);
}

static void record__decode__roles_and_changes_out_of_range(void **state)
{
    struct fixture *f = *state;
    struct record r = sample_member();
    r.member.role = 0;
    assert_false(decodes(encode(f, &r)));
    r.member.role = ROLE_OWNER + 1;
    assert_false(decodes(encode(f, &r)));
    r = sample_member();
    r.member.change = MEMBER_SET_ROLE + 1;
    assert_false(decodes(encode(f, &r)));
    r = sample_create(f->entries);
    f->entries[ID_LEN] = 0;
    assert_false(decodes(encode(f, &r)));
}

static void envelopes__check__order_and_range(void **state)
{
    struct fixture *f = *state;
    size_t count = 0;
    assert_int_equal(envelopes_check(buffer_slice(&f->body), &count), SOTTO_OK);
    assert_int_equal(count, 3);
    const struct {
        uint8_t user[2], device[2];
        bool ok;
    } cases[] = {
        {{1, 1}, {1, 2}, true},  {{1, 2}, {9, 1}, true},  {{1, 1}, {2, 2}, false}, {{1, 1}, {2, 1}, false},
        {{2, 1}, {1, 1}, false}, {{1, 2}, {0, 1}, false}, {{1, 2}, {1, 128}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buffer_clear(&f->bytes);
        write_varint(&f->bytes, 2);
        for (int j = 0; j < 2; j++) {
            struct envelope e = {sample_id(cases[i].user[j]), cases[i].device[j], 2, SLICE_LIT("x")};
            envelope_encode(&e, &f->bytes);
        }
        assert_int_equal(envelopes_check(buffer_slice(&f->bytes), &count) == SOTTO_OK, cases[i].ok);
    }
}

static void envelopes__check__none_or_too_many(void **state)
{
    struct fixture *f = *state;
    size_t count = 77;
    for (size_t n = 0; n <= SOTTO_ENVELOPES_MAX + 1; n += n == 0 ? SOTTO_ENVELOPES_MAX : 1) {
        buffer_clear(&f->bytes);
        write_varint(&f->bytes, n);
        for (size_t i = 0; i < n; i++) {
            struct envelope e = {sample_id(1), (uint8_t)(i + 1), 2, SLICE_LIT("")};
            envelope_encode(&e, &f->bytes);
        }
        bool ok = envelopes_check(buffer_slice(&f->bytes), &count) == SOTTO_OK;
        assert_int_equal(ok, n == SOTTO_ENVELOPES_MAX);
    }
    assert_int_equal(count, SOTTO_ENVELOPES_MAX);
}

static void envelope__find__by_user_and_device(void **state)
{
    struct fixture *f = *state;
    struct envelope e;
    assert_true(envelope_find(buffer_slice(&f->body), sample_id(2), 7, &e));
    assert_int_equal(e.kind, 3);
    assert_true(slice_is(e.content, "\x04"));
    assert_true(envelope_find(buffer_slice(&f->body), sample_id(3), 127, &e));
    assert_false(envelope_find(buffer_slice(&f->body), sample_id(3), 1, &e));
    assert_false(envelope_find(buffer_slice(&f->body), sample_id(1), 1, &e));
    assert_false(envelope_find(slice_of(NULL, 0), sample_id(1), 1, &e));
}

/* The hash of envelopes is the one that the comment in record.h describes. */
static void body__hash__envelopes_by_hand(void **state)
{
    struct fixture *f = *state;
    uint8_t got[HASH_LEN], want[HASH_LEN];
    static const uint8_t contents[3][200] = {{1, 2, 3}, {4}, {5}};
    static const size_t lens[3] = {3, 1, 200};
    static const uint8_t users[3] = {2, 2, 3}, devices[3] = {1, 7, 127}, kinds[3] = {2, 3, 2};
    buffer_clear(&f->bytes);
    for (int i = 0; i < 3; i++) {
        uint8_t hash[HASH_LEN];
        struct id user = sample_id(users[i]);
        crypto_generichash(hash, HASH_LEN, contents[i], lens[i], NULL, 0);
        buffer_append(&f->bytes, user.bytes, ID_LEN);
        buffer_append_byte(&f->bytes, devices[i]);
        buffer_append_byte(&f->bytes, kinds[i]);
        buffer_append(&f->bytes, hash, HASH_LEN);
    }
    crypto_generichash(want, HASH_LEN, f->bytes.data, f->bytes.len, NULL, 0);
    body_hash(BODY_ENVELOPES, buffer_slice(&f->body), got);
    assert_memory_equal(got, want, HASH_LEN);
    crypto_generichash(want, HASH_LEN, f->body.data, f->body.len, NULL, 0);
    body_hash(BODY_PAYLOAD, buffer_slice(&f->body), got);
    assert_memory_equal(got, want, HASH_LEN);
}

static void chain__next__golden_and_by_hand(void **state)
{
    struct fixture *f = *state;
    struct record m = sample_message();
    uint8_t chain[HASH_LEN] = {0}, want[HASH_LEN];
    buffer_clear(&f->bytes);
    buffer_append(&f->bytes, chain, HASH_LEN);
    write_u64(&f->bytes, 1);
    buffer_append(&f->bytes, m.message.message_id.bytes, ID_LEN);
    buffer_append(&f->bytes, m.message.sender.bytes, ID_LEN);
    buffer_append(&f->bytes, m.message.payload_hash, HASH_LEN);
    crypto_generichash(want, HASH_LEN, f->bytes.data, f->bytes.len, NULL, 0);
    /* In place: previous and next may be the same memory. */
    chain_next(chain, 1, m.message.message_id, m.message.sender, m.message.payload_hash, chain);
    assert_memory_equal(chain, want, HASH_LEN);
    chain_next(chain, 2, m.message.message_id, m.message.sender, m.message.payload_hash, chain);
    assert_true(golden_matches("chain_v1", "second", slice_of(chain, HASH_LEN)));
}

static void record__hash__is_over_the_encoded_bytes(void **state)
{
    struct fixture *f = *state;
    uint8_t got[HASH_LEN], want[HASH_LEN];
    struct record r = sample_create(f->entries);
    struct slice bytes = encode(f, &r);
    crypto_generichash(want, HASH_LEN, bytes.data, bytes.len, NULL, 0);
    record_hash(&r, got);
    assert_memory_equal(got, want, HASH_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(record__encode__golden_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(record__decode__golden_bytes_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(record__decode__every_field, setup, teardown),
        cmocka_unit_test_setup_teardown(record__decode__every_cut_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(record__decode__every_turned_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(record__decode__unknown_versions_and_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(record__decode__past_the_maxima, setup, teardown),
        cmocka_unit_test_setup_teardown(record__decode__a_group_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(record__decode__roles_and_changes_out_of_range, setup, teardown),
        cmocka_unit_test_setup_teardown(envelopes__check__order_and_range, setup, teardown),
        cmocka_unit_test_setup_teardown(envelopes__check__none_or_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(envelope__find__by_user_and_device, setup, teardown),
        cmocka_unit_test_setup_teardown(body__hash__envelopes_by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(chain__next__golden_and_by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(record__hash__is_over_the_encoded_bytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
