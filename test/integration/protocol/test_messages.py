"""Sending: idempotency, device lists, expiry, blocks, receipts, order."""
import base64
import hashlib
import threading
import uuid

import pytest

import sotto
from described import (Chain, Rest, b64, history, login, message, name, poll, register, text_of)
from test_operations import keys


# -- Idempotency ---------------------------------------------------------------

@pytest.mark.parametrize("transport", ["rest", "socket"])
def test_a_retry_gets_the_first_answer(server, transport):
    a, b = register(server), register(server)
    with a.connect() as s:
        send = (lambda f: a.api.ok("POST", "/messages", f)) if transport == "rest" else \
            (lambda f: s.request("message.send", **f))
        fields = message(b, "once", "key1")
        first = send(fields)
        for _ in range(3):
            again = send(fields)
            assert again["repeated"] is True
            assert {k: again[k] for k in ("messageId", "sequence", "chain", "ts", "conversationId")} == \
                {k: first[k] for k in ("messageId", "sequence", "chain", "ts", "conversationId")}
        other = {**fields, "payload": b64("different")}
        if transport == "rest":
            a.api.refused("client_msg_id_conflict", "POST", "/messages", other)
        else:
            s.refused("client_msg_id_conflict", "message.send", **other)
        assert [text_of(m) for m in history(a, first["conversationId"])] == ["once"]


def test_the_key_belongs_to_the_device(server):
    a, b = register(server), register(server)
    second = a.another()
    first = a.send(b, "mine", "same")
    assert second.send(b, "other", "same")["sequence"] == 2
    assert b.send(a, "theirs", "same")["sequence"] == 3
    assert len(history(a, first["conversationId"])) == 3


def test_the_key_survives_a_restart(tmp_path):
    with sotto.Server(tmp_path) as s:
        a, b = register(s), register(s)
        first = a.send(b, "once", "key")
        s.restart()
        again = a.send(b, "once", "key")
        assert again["repeated"] and again["messageId"] == first["messageId"]
        a.api.refused("client_msg_id_conflict", "POST", "/messages", message(b, "twice", "key"))


def test_one_retry_storm_makes_one_message(server):
    a, b = register(server), register(server)
    fields, answers = message(b, "once", "storm"), []

    def send():
        answers.append(Rest(server, a.token).call("POST", "/messages", fields))

    threads = [threading.Thread(target=send) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [status for status, _ in answers] == [200] * 12
    assert len({answer["messageId"] for _, answer in answers}) == 1
    assert sum("repeated" not in answer for _, answer in answers) == 1


# -- What is refused -----------------------------------------------------------

def test_bad_sends_store_nothing(server):
    a, b = register(server), register(server)
    good = message(b, "x")
    conversation = a.send(b)["conversationId"]
    for field, values in {"to": (None, "nonsense", 5, a.user_id), "clientMsgId": ("", "x" * 65, None),
                          "messageType": ("", "x" * 33, None), "payload": (None, "%%%", b64(b"x" * 65537)),
                          "replyTo": ("x",), "ttl": (0, -1, 366 * 24 * 3600 + 1, 1.5), "media": ("x" * 129,),
                          "urgent": ("yes",)}.items():
        for value in values:
            error = a.api.refused("bad_field", "POST", "/messages", {**good, field: value})
            assert error["field"] == field, (field, value)
    # Of what does not belong together the first is named.
    for field, more in (("to", {"conversationId": conversation}), ("payload", {"envelopes": []})):
        assert a.api.refused("bad_field", "POST", "/messages", {**good, **more})["field"] == field
    a.api.refused("no_such_user", "POST", "/messages", {**good, "to": str(uuid.uuid4())})
    stranger = Rest(server, register(server).token)
    stranger.refused("not_found", "POST", "/messages", {**message(None), "conversationId": conversation})
    assert len(history(a, conversation)) == 1


def test_sizes_at_the_limit_go_through(server):
    a, b = register(server), register(server)
    sent = a.api.ok("POST", "/messages", {**message(b), "payload": b64(bytes(65536)), "clientMsgId": "k" * 64,
                                          "messageType": "t" * 32, "media": "m" * 128, "ttl": 366 * 24 * 3600})
    got, = history(b, sent["conversationId"])
    assert base64.b64decode(got["payload"]) == bytes(65536) and got["messageType"] == "t" * 32
    assert got["expiresAt"] == sent["ts"] + 366 * 24 * 3600 * 1000
    a.api.ok("POST", "/messages", {**message(b), "payload": ""})
    assert history(b, sent["conversationId"])[1]["payload"] == ""


# -- Envelopes -------------------------------------------------------------------

def envelope(device, registration, content):
    return {"userId": device.user_id, "deviceId": device.device_id, "registrationId": registration, "kind": 2,
            "content": b64(content)}


def test_envelopes_and_stale_device_lists(server):
    a, b = register(server), register(server)
    b2 = b.another()
    for i, d in enumerate([a, b, b2]):
        d.api.ok("PUT", "/keys", keys(100 + i))
    full = [envelope(b, 101, "for b"), envelope(b2, 102, "for b2")]
    stale = a.api.refused("devices_stale", "POST", "/messages", message(b, envelopes=full[:1]))
    assert stale["missing"] == [{"userId": b.user_id, "deviceId": b2.device_id}]
    assert stale["extra"] == [] and stale["changed"] == []
    ghost = {**full[0], "deviceId": 99}
    stale = a.api.refused("devices_stale", "POST", "/messages", message(b, envelopes=full + [ghost]))
    assert stale["extra"] == [{"userId": b.user_id, "deviceId": 99}] and stale["missing"] == []
    wrong = [{**full[0], "registrationId": 5}, full[1]]
    stale = a.api.refused("devices_stale", "POST", "/messages", message(b, envelopes=wrong))
    assert stale["changed"] == [{"userId": b.user_id, "deviceId": b.device_id}]
    with b.connect() as sb, b2.connect() as sb2, a.connect() as sa:
        sent = sa.request("message.send", **message(b, envelopes=list(reversed(full))))
        assert sent["sequence"] == 1  # nothing of the refused ones was stored
        for s, content in ((sb, "for b"), (sb2, "for b2")):
            e = s.expect("message.new")["envelope"]
            assert e["kind"] == 2 and base64.b64decode(e["content"]).decode() == content
    later = b.another("third")
    mine = history(later, sent["conversationId"])[0]
    assert mine["withheld"] == "no_envelope"
    parts = b"".join(uuid.UUID(d.user_id).bytes + bytes([d.device_id, 2]) +
                     hashlib.blake2b(text.encode(), digest_size=32).digest()
                     for d, text in sorted([(b, "for b"), (b2, "for b2")], key=lambda x: x[0].device_id))
    assert base64.b64decode(mine["payloadHash"]) == hashlib.blake2b(parts, digest_size=32).digest()
    assert history(a, sent["conversationId"])[0]["withheld"] == "no_envelope"


@pytest.mark.parametrize("way", ["rest", "socket"])
def test_a_retry_after_a_device_has_joined_or_left(server, way):
    """The answer to what is stored, although its list of devices is not right any more."""
    a, b = register(server), register(server)
    b2 = b.another()
    for i, d in enumerate([a, b, b2]):
        d.api.ok("PUT", "/keys", keys(100 + i))
    request = message(b, envelopes=[envelope(b, 101, "for b"), envelope(b2, 102, "for b2")])
    changed = {**request, "envelopes": [request["envelopes"][0], envelope(b2, 102, "other")]}
    unsent = {**request, "clientMsgId": "not stored"}
    first = a.api.ok("POST", "/messages", request)
    with a.connect() as s:
        def again(fields):
            return a.api.ok("POST", "/messages", fields) if way == "rest" else s.request("message.send", **fields)

        def refused(code, fields):
            return a.api.refused(code, "POST", "/messages", fields) if way == "rest" else \
                s.refused(code, "message.send", **fields)

        for change in (lambda: b.another("third"), lambda: b.api.ok("DELETE", f"/devices/{b2.device_id}")):
            change()
            answer = again(request)
            assert answer.pop("repeated") is True
            assert {k: v for k, v in answer.items() if k != "re"} == first
            assert not {"missing", "extra", "changed"} & set(refused("client_msg_id_conflict", changed))
            assert refused("devices_stale", unsent)["missing"]
    assert a.api.ok("GET", f"/conversations/{first['conversationId']}")["lastSequence"] == 1


@pytest.mark.parametrize("enveloped", [False, True])
def test_a_retry_after_a_block_or_a_deleted_account(server, enveloped):
    a, b = register(server), register(server)
    for i, d in enumerate([a, b]):
        d.api.ok("PUT", "/keys", keys(100 + i))
    body = {"envelopes": [envelope(b, 101, "for b")]} if enveloped else {"text": "hello"}
    request = message(b, **body)
    unsent = {**request, "clientMsgId": "not stored"}
    first = a.api.ok("POST", "/messages", request)
    ways = [request, {**{k: v for k, v in request.items() if k != "to"}, "conversationId": first["conversationId"]}]

    def check(code):
        for again in ways:
            assert a.api.ok("POST", "/messages", again) == {**first, "repeated": True}
        error = a.api.refused(code, "POST", "/messages", unsent)
        assert not {"missing", "extra", "changed"} & set(error)
        return error
    a.api.ok("PUT", f"/blocks/{b.user_id}")
    assert "You have blocked this user" in check("forbidden")["message"]
    a.api.ok("DELETE", f"/blocks/{b.user_id}")
    b.api.ok("DELETE", "/account", {"password": b.password})
    check("no_such_user")
    a.api.refused("no_such_user", "POST", "/messages", {**message(a, "x"), "to": str(uuid.uuid4())})
    assert a.api.ok("GET", f"/conversations/{first['conversationId']}")["lastSequence"] == 1


def test_sender_devices_need_envelopes_too(server):
    a, b = register(server), register(server)
    a2 = a.another()
    for i, d in enumerate([a, a2, b]):
        d.api.ok("PUT", "/keys", keys(200 + i))
    stale = a.api.refused("devices_stale", "POST", "/messages", message(b, envelopes=[envelope(b, 202, "x")]))
    assert stale["missing"] == [{"userId": a.user_id, "deviceId": a2.device_id}]
    a.api.ok("POST", "/messages", message(b, envelopes=[envelope(a2, 201, "copy"), envelope(b, 202, "x")]))
    twice = [envelope(a2, 201, "copy"), envelope(b, 202, "x"), envelope(b, 202, "y")]
    a.api.refused("bad_field", "POST", "/messages", message(b, envelopes=twice))


# -- Expiry ----------------------------------------------------------------------

def test_ttl(tmp_path):
    with sotto.Server(tmp_path, housekeeping_interval="100ms") as server:
        a, b = register(server), register(server)
        with a.connect() as sa, b.connect() as sb:
            before = sb.cursor
            sent = sa.request("message.send", **message(b, "canary in the coal mine", ttl=1))
            a.send(b, "stays")
            got = sb.expect("message.new")
            assert text_of(got) == "canary in the coal mine" and got["expiresAt"] == sent["ts"] + 1000
            gone = sb.expect("message.expired", 10)
            assert (gone["conversationId"], gone["sequence"]) == (sent["conversationId"], 1)
            sa.expect("message.expired", 10)
        first, second = history(b, sent["conversationId"])  # the chain verifies across it
        assert first["withheld"] == "expired" and "payload" not in first and text_of(second) == "stays"
        with b.connect(before) as sb:
            again = [(e["sequence"], e.get("withheld"), "payload" in e) for e in sb.backlog if e["type"] == "message.new"]
            assert again == [(1, "expired", False), (2, None, True)]
        listed, = b.api.ok("GET", "/conversations")["conversations"]
        assert listed["lastSequence"] == 2
        assert a.api.ok("GET", f"/conversations/{sent['conversationId']}/messages/1")["withheld"] == "expired"
        assert a.send(b, "canary in the coal mine")["sequence"] == 3


# -- Blocks ----------------------------------------------------------------------

def test_someone_blocked_sees_sent_and_nothing_more(server):
    a, b = register(server), register(server)
    b.api.ok("PUT", f"/blocks/{a.user_id}")
    with a.connect() as sa, b.connect() as sb:
        sent = sa.request("message.send", **message(b, "let me in"))
        conversation = sent["conversationId"]
        # Dense numbers: b sees a place-holder, never the content.
        for e in (sb.expect("message.new"), *history(b, conversation)):
            assert e["sequence"] == 1 and e["withheld"] == "blocked" and "payload" not in e
        assert [e["type"] for e in sb.quiet()] == ["conversation.updated"]
        sb.request("message.delivered", marks=[{"conversationId": conversation, "sequence": 1}])
        sb.request("message.read", marks=[{"conversationId": conversation, "sequence": 1}])
        sb.request("typing", conversationId=conversation)
        assert [e["type"] for e in sa.quiet(but=("conversation.updated",))] == []
        assert text_of(history(a, conversation)[0]) == "let me in"
        assert a.api.ok("GET", f"/conversations/{conversation}/messages/1")["status"] == \
            [{"userId": b.user_id, "delivered": False, "read": False}]
        b.api.ok("DELETE", f"/blocks/{a.user_id}")
        sa.request("message.send", **message(b, "now?"))
        got = sb.expect("message.new", sequence=2)
        assert text_of(got) == "now?"
        assert history(b, conversation)[0]["withheld"] == "blocked"  # for good
        history(a, conversation)


# -- Receipts --------------------------------------------------------------------

def test_receipts_reach_all_devices_that_care(server):
    a, b = register(server), register(server)
    a2, b2 = a.another(), b.another()
    with a.connect() as sa, a2.connect() as sa2, b.connect() as sb, b2.connect() as sb2:
        for i in range(5):
            sent = sa.request("message.send", **message(b, str(i)))
        conversation = sent["conversationId"]
        assert [text_of(sa2.expect("message.new")) for _ in range(5)] == list("01234")
        sb.request("message.delivered", marks=[{"conversationId": conversation, "sequence": 3}])
        for s in (sa, sa2, sb2):
            mark = s.expect("message.delivered")
            assert (mark["userId"], mark["sequence"], mark["conversationId"]) == (b.user_id, 3, conversation)
        sb2.request("message.read", marks=[{"conversationId": conversation, "sequence": 5}])
        for s in (sa, sa2, sb):
            assert s.expect("message.read")["sequence"] == 5
        # High-water marks never go back, and read implied delivered.
        sb.request("message.delivered", marks=[{"conversationId": conversation, "sequence": 1}])
        sb.request("message.read", marks=[{"conversationId": conversation, "sequence": 2}])
        for s in (sa, sa2):
            e, = s.quiet(but=("conversation.updated",))
            assert e["type"] == "message.delivered" and e["sequence"] == 5, e
        status, = a.api.ok("GET", f"/conversations/{conversation}/messages/5")["status"]
        assert status["delivered"] and status["read"]
        listed, = b.api.ok("GET", "/conversations")["conversations"]
        assert listed["unread"] == 0
        b.api.refused("bad_field", "POST", f"/conversations/{conversation}/read", {"sequence": 99})
        assert {m["userId"]: m["read"] for m in a.api.ok("GET", f"/conversations/{conversation}")["members"]}[b.user_id] == 5


@pytest.mark.parametrize("who", ["reader", "sender"])
def test_read_receipts_off_both_ways(server, who):
    a, b = register(server), register(server)
    b2 = b.another()
    (b if who == "reader" else a).api.ok("PATCH", "/account", {"readReceipts": False})
    with a.connect() as sa, b.connect() as sb, b2.connect() as sb2:
        cursor = sa.cursor
        conversation = sa.request("message.send", **message(b, "x"))["conversationId"]
        sb.expect("message.new")
        sb.request("message.read", marks=[{"conversationId": conversation, "sequence": 1}])
        assert sb2.expect("message.read")["sequence"] == 1  # the own devices still share it
        assert [e["type"] for e in sa.quiet()] == ["conversation.updated", "message.delivered"]
    status, = a.api.ok("GET", f"/conversations/{conversation}/messages/1")["status"]
    assert status["read"] is False
    members = {m["userId"]: m for m in a.api.ok("GET", f"/conversations/{conversation}")["members"]}
    assert members[b.user_id]["read"] == 0
    assert {m["userId"]: m for m in b.api.ok("GET", f"/conversations/{conversation}")["members"]}[b.user_id]["read"] == 1
    with a.connect(cursor) as sa:
        kinds = [e["type"] for e in sa.backlog]
        assert "message.delivered" in kinds and "message.read" not in kinds


# -- Order -------------------------------------------------------------------------

def test_every_device_sees_the_same_order(server):
    a, b = register(server), register(server)
    devices = [a, a.another(), b, b.another()]
    sockets = [d.connect() for d in devices]
    count = 25

    def talk(s, to, tag):
        for i in range(count):
            s.tell("message.send", id=f"{tag}{i}", **message(to, f"{tag}{i}"))

    threads = [threading.Thread(target=talk, args=(s, b if i < 2 else a, "abcd"[i])) for i, s in enumerate(sockets)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    order = []
    for s in sockets:
        mine, seen = {}, {}
        while len(mine) + len(seen) < 4 * count:
            e = s.read()
            if e["type"] == "message.sent":
                mine[e["sequence"]] = e["messageId"]
            elif e["type"] == "message.new":
                seen[e["sequence"]] = e["messageId"]
        assert len(mine) == count
        order.append([m for _, m in sorted({**mine, **seen}.items())])
    assert all(o == order[0] for o in order) and len(set(order[0])) == 4 * count
    conversation = a.api.ok("GET", "/conversations")["conversations"][0]["conversationId"]
    assert [m["messageId"] for m in history(a, conversation)] == order[0]
    for tag in "abcd":  # each device's own messages kept their order
        texts = [text_of(m) for m in history(b, conversation) if text_of(m).startswith(tag)]
        assert texts == [f"{tag}{i}" for i in range(count)]
    for s in sockets:
        s.close()


def test_sent_comes_before_or_with_no_event_of_the_own_message(server):
    a, b = register(server), register(server)
    with a.connect() as sa, b.connect() as sb:
        chain = Chain()
        for i in range(20):
            sent = sa.request("message.send", **message(b, str(i)))
            got = sb.expect("message.new")
            assert (got["messageId"], got["chain"], got["ts"]) == (sent["messageId"], sent["chain"], sent["ts"])
            assert "clientMsgId" not in got
            chain.add(got)
        assert [e["type"] for e in sa.quiet()] == ["conversation.updated"]
