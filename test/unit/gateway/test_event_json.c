/* What a device is shown: messages, marks, conversations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/event_json.h"

#include <stdlib.h>
#include <string.h>

static const struct id anna = {{0xaa}}, ben = {{0xbb}}, talk = {{0xcc}};
static const struct viewer anna1 = {{{0xaa}}, 1, false}, anna2 = {{{0xaa}}, 2, false}, ben1 = {{{0xbb}}, 1, false},
                           ben_quiet = {{{0xbb}}, 1, true};

static struct message message_of(enum body_kind kind, struct slice body)
{
    struct message m = {.conversation = talk, .sequence = 5, .position = 50};
    m.record = (struct record_message){.message_id = {{1}}, .sender = anna, .sender_device = 1,
                                       .body_kind = (uint8_t)kind, .ts_ms = 1000, .client_msg_id = SLICE_LIT("key"),
                                       .type = SLICE_LIT("text"), .media = SLICE_LIT("handle"), .body = body};
    return m;
}

/* Text of the message as the viewer sees it; freed by the caller. */
static char *shown(const struct message *m, const struct viewer *v, uint64_t now_ms)
{
    struct buffer b;
    buffer_init(&b, 65536);
    struct json_writer w = json_writer_of(&b);
    event_json_batch_message(&w, m, CONVERSATION_DIRECT, v, now_ms);
    buffer_append_byte(&b, '\0');
    return (char *)b.data;
}

static void assert_shown(const struct message *m, const struct viewer *v, uint64_t now_ms, const char *has,
                         const char *has_not)
{
    char *text = shown(m, v, now_ms);
    if (has != NULL && strstr(text, has) == NULL) fail_msg("%s lacks %s", text, has);
    if (has_not != NULL && strstr(text, has_not) != NULL) fail_msg("%s shows %s", text, has_not);
    free(text);
}

static void message__payload__client_msg_id_for_own_devices_only(void **state)
{
    (void)state;
    struct message m = message_of(BODY_PAYLOAD, SLICE_LIT("hello"));
    assert_shown(&m, &ben1, 1000, "\"payload\":\"aGVsbG8=\"", "clientMsgId");
    assert_shown(&m, &anna2, 1000, "\"clientMsgId\":\"key\"", "withheld");
    assert_shown(&m, &ben1, 1000, "\"media\":\"handle\"", "expiresAt");
}

static void message__past_its_time__is_a_stub(void **state)
{
    (void)state;
    struct message m = message_of(BODY_PAYLOAD, SLICE_LIT("hello"));
    m.record.expires_ms = 2000;
    assert_shown(&m, &ben1, 1999, "\"payload\"", "withheld");
    assert_shown(&m, &ben1, 2000, "\"withheld\":\"expired\"", "payload\":");
    assert_shown(&m, &ben1, 2000, "\"payloadHash\"", "media");
    m.record.expires_ms = 0;
    m.state = MESSAGE_EXPIRED;
    assert_shown(&m, &anna2, 1000, "\"withheld\":\"expired\"", "payload\":");
}

static void message__withheld__is_whole_for_the_sender_only(void **state)
{
    (void)state;
    struct message m = message_of(BODY_PAYLOAD, SLICE_LIT("hello"));
    m.record.flags = MESSAGE_WITHHELD;
    assert_shown(&m, &ben1, 1000, "\"withheld\":\"blocked\"", "aGVsbG8");
    assert_shown(&m, &anna2, 1000, "aGVsbG8", "withheld");
}

static void message__envelopes__each_device_sees_its_own(void **state)
{
    (void)state;
    struct buffer body;
    buffer_init(&body, 4096);
    write_varint(&body, 2);
    envelope_encode(&(struct envelope){anna, 2, 2, SLICE_LIT("to anna")}, &body);
    envelope_encode(&(struct envelope){ben, 1, 3, SLICE_LIT("to ben")}, &body);
    struct message m = message_of(BODY_ENVELOPES, buffer_slice(&body));
    assert_shown(&m, &ben1, 1000, "\"envelope\":{\"kind\":3,\"content\":\"dG8gYmVu\"}", "dG8gYW5uYQ");
    assert_shown(&m, &anna2, 1000, "dG8gYW5uYQ", "dG8gYmVu");
    assert_shown(&m, &(struct viewer){{{0xbb}}, 9, false}, 1000, "\"withheld\":\"no_envelope\"", "dG8gYmVu");
    buffer_deinit(&body);
}

static void event__concerns__follows_the_rules(void **state)
{
    (void)state;
    struct event e = {.kind = EVENT_MESSAGE, .actor = anna, .actor_device = 1};
    assert_false(event_concerns(&e, &anna1));
    assert_true(event_concerns(&e, &anna2));
    assert_true(event_concerns(&e, &ben1));
    e.kind = EVENT_READ;
    assert_false(event_concerns(&e, &anna1));
    assert_true(event_concerns(&e, &ben1));
    assert_false(event_concerns(&e, &ben_quiet));
    e.is_private = true;
    assert_false(event_concerns(&e, &ben1));
    assert_true(event_concerns(&e, &anna2));
    e = (struct event){.kind = EVENT_DELIVERED, .actor = anna, .actor_device = 1};
    assert_true(event_concerns(&e, &ben_quiet));
    e.kind = EVENT_TYPING;
    assert_false(event_concerns(&e, &anna2));
    assert_true(event_concerns(&e, &ben1));
}

static void marks__receipts_off__hides_what_others_read(void **state)
{
    (void)state;
    struct member members[2] = {{.user = anna, .role = ROLE_MEMBER}, {.user = ben, .role = ROLE_MEMBER}};
    members[0].read = (struct watermark){4, 1, 1};
    members[0].public_read = 3;
    members[0].delivered = (struct watermark){5, 1, 1};
    struct conversation c = {.id = talk, .kind = CONVERSATION_DIRECT, .members = members, .members_count = 2};
    struct buffer b;
    buffer_init(&b, 65536);
    struct json_writer w = json_writer_of(&b);
    assert_int_equal(event_json_batch_marks(&w, &c, &members[0], true, true, &ben1), 2);
    assert_int_equal(event_json_batch_marks(&w, &c, &members[0], true, true, &ben_quiet), 1);
    buffer_clear(&b);
    w = json_writer_of(&b);
    assert_int_equal(event_json_batch_marks(&w, &c, &members[0], false, true, &anna2), 1);
    buffer_append_byte(&b, '\0');
    assert_non_null(strstr((char *)b.data, "\"sequence\":4")); /* one's own mark is whole */
    buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message__payload__client_msg_id_for_own_devices_only),
        cmocka_unit_test(message__past_its_time__is_a_stub),
        cmocka_unit_test(message__withheld__is_whole_for_the_sender_only),
        cmocka_unit_test(message__envelopes__each_device_sees_its_own),
        cmocka_unit_test(event__concerns__follows_the_rules),
        cmocka_unit_test(marks__receipts_off__hides_what_others_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
