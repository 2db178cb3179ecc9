"""Cursors, resumption, and the same events over every transport."""
import json
import threading
import time

import pytest

import sotto
from described import (Chain, Rest, Socket, Stream, b64, history, message, poll, register, seen, text_of)


def news(events):
    return [text_of(e) for e in events if e["type"] == "message.new"]


# -- Hello ---------------------------------------------------------------------

def test_hello_says_what_is_needed(server):
    d = register(server)
    with d.connect(client="test/1") as s:
        assert (s.welcome["userId"], s.welcome["deviceId"]) == (d.user_id, d.device_id)
        assert abs(s.welcome["serverTime"] - time.time() * 1000) < 60000
        resume = s.welcome["resumeToken"]
    with Socket(server) as s:
        s.send({"type": "hello", "resumeToken": resume})
        assert s.expect("hello")["userId"] == d.user_id
    d.api.ok("POST", "/logout")
    for credentials, code in [({"resumeToken": resume}, 4003), ({"token": d.token}, 4003)]:
        with Socket(server) as s:
            s.send({"type": "hello", **credentials})
            assert s.expect("error")["code"] == "bad_token"
            assert s.wait_closed() == code


@pytest.mark.parametrize("frame", [{"type": "account.get"}, {"type": "hello"}, {"type": "hello", "token": 5},
                                   {"type": "hello", "token": "a", "resumeToken": "b"}, [], 5])
def test_a_first_frame_that_is_no_hello(server, frame):
    with Socket(server) as s:
        s.send(frame)
        assert s.read()["type"] == "error"
        assert s.wait_closed() == 4005


def test_no_hello_in_time(tmp_path):
    with sotto.Server(tmp_path, hello_timeout="300ms") as server:
        with Socket(server) as s:
            assert s.wait_closed() == 4005


# -- Cursors -------------------------------------------------------------------

def test_nothing_twice_and_nothing_missing(server):
    a, b = register(server), register(server)
    with b.connect() as s:
        cursor = s.cursor
    expected, got = [], []
    for round_number in range(6):
        for i in range(round_number * 3):
            a.send(b, f"{round_number}.{i}")
            expected.append(f"{round_number}.{i}")
        with b.connect(cursor) as s:
            got += news(s.backlog)
            a.send(b, f"live {round_number}")
            expected.append(f"live {round_number}")
            got.append(text_of(s.expect("message.new")))
            cursor = s.cursor
    assert got == expected


def test_without_a_cursor_a_snapshot(server):
    a, b = register(server), register(server)
    for i in range(3):
        a.send(b, str(i))
    with b.connect() as s:
        snapshot, = [e for e in s.backlog if e["type"] == "sync.snapshot"]
        entry, = snapshot["conversations"]
        assert entry["lastSequence"] == 3 and entry["unread"] == 3 and text_of(entry["lastMessage"]) == "2"
        with b.connect(s.cursor) as again:
            assert again.backlog == []


def test_a_backlog_in_many_batches_interrupted_anywhere(server):
    """Cut in the middle again and again; what was acted on adds up exactly."""
    b = register(server)
    with b.connect() as s:
        cursor = s.cursor
    writers = [register(server) for _ in range(4)]
    sent = {}
    for w in writers:
        with w.connect() as s:
            for i in range(250):
                s.tell("message.send", id=str(i), **message(b, f"{w.username}/{i}" + "x" * 600))
            for i in range(250):
                answer = s.expect("message.sent")
            sent[answer["conversationId"]] = 250
    chains, cuts = {c: Chain() for c in sent}, 0
    while True:
        with Socket(server) as s:
            s.hello(b, cursor)
            event, batches = s.read(), 0
            while event["type"] == "sync.batch" and batches < 2:
                for e in event["events"]:
                    if e["type"] == "message.new":
                        chains[e["conversationId"]].add(e)
                cursor, batches = event["cursor"], batches + 1
                event = s.read()
            if event["type"] == "sync.done":
                break
            cuts += 1
            assert cuts < 200
    assert {c: chain.sequence for c, chain in chains.items()} == sent
    assert cuts >= 2, "the backlog came in too few batches to test anything"


def test_what_is_said_while_a_backlog_is_interrupted_is_not_lost(server):
    """A cursor from the middle of a backlog aims at an older end; sync.done must not come before the newer one."""
    a, b = register(server), register(server)
    with b.connect() as s:
        cursor = s.cursor
    with a.connect() as s:
        for i in range(600):
            s.tell("message.send", id=str(i), **message(b, f"w{i}" + "x" * 600))
        for i in range(600):
            s.expect("message.sent")
    chain = Chain()
    with Socket(server) as s:
        s.hello(b, cursor)
        event = s.expect("sync.batch")
        for e in event["events"]:
            if e["type"] == "message.new":
                chain.add(e)
        assert chain.sequence < 600, "the backlog came in one batch"
        cursor = event["cursor"]
    a.send(b, "said while nobody listened")
    with Socket(server) as s:
        s.hello(b, cursor)
        event = s.read()
        while event["type"] != "sync.done":
            for e in event.get("events", ()):
                if e["type"] == "message.new":
                    chain.add(e)
            event = s.read()
    assert chain.sequence == 601


def test_live_events_during_a_backlog_come_after_it(server):
    a, b = register(server), register(server)
    with b.connect() as s:
        cursor = s.cursor
    with a.connect() as s:
        for i in range(300):
            s.tell("message.send", id=str(i), **message(b, str(i) + "x" * 600))
        for i in range(300):
            s.expect("message.sent")
    stop = threading.Event()

    def talk():
        i = 1000
        with a.connect() as s:
            while not stop.is_set():
                s.request("message.send", **message(b, str(i)))
                i += 1

    t = threading.Thread(target=talk)
    t.start()
    try:
        for _ in range(15):  # from the same place again, with more to bring each time
            chain = Chain()
            with b.connect(cursor) as s:
                for e in s.backlog:
                    if e["type"] == "message.new":
                        chain.add(e)
                target = chain.sequence + 5
                assert target > 300
                while chain.sequence < target:
                    chain.add(s.expect("message.new"))
    finally:
        stop.set()
        t.join()


def test_a_poll_begins_with_a_snapshot_of_any_size(server):
    a = register(server)
    for _ in range(110):
        register(server).send(a, "x" * 65000)
    answer = poll(a)
    listed = [c for e in answer["events"] for c in e["conversations"]]
    assert len({c["conversationId"] for c in listed}) == 110
    # One answer holds so many whole messages; the others are fetched when they are wanted.
    with_last = [c for c in listed if "lastMessage" in c]
    assert 40 < len(with_last) < 80 and listed[:len(with_last)] == with_last
    assert all(c["unread"] == 1 for c in listed)
    assert poll(a, answer["cursor"])["events"] == []


def test_sync_start_right_behind_hello_counts(server):
    a, b = register(server), register(server)
    with b.connect() as s:
        old = s.cursor
    for n in range(10):
        a.send(b, str(n))
    with b.connect(old) as s:
        new = s.cursor
    with sotto.Socket(server) as s:
        requests = [{"type": "hello", "token": b.token, "cursor": new}, {"type": "sync.start", "id": "1", "cursor": old}]
        s.send_raw(b"".join(s.frame(1, json.dumps(r).encode()) for r in requests))
        got = 0
        while (e := s.read())["type"] != "sync.done":
            got += sum(x["type"] == "message.new" for x in e.get("events", []))
        assert got == 10


@pytest.mark.parametrize("bad", ["AAAA", "x" * 96, "?", "not a cursor", "AQ", "-" * 40])
def test_bad_cursors(server, bad):
    a, b = register(server), register(server)
    a.send(b, "before")
    with Socket(server) as s:
        s.send({"type": "hello", "token": b.token, "cursor": bad})
        error = s.expect("error")
        assert error["code"] == "bad_cursor"
        s.hello(b)
        assert [e["type"] for e in s.sync()] == ["sync.snapshot"]
    assert Rest(server, b.token).call("GET", f"/events/poll?cursor={bad.replace(' ', '%20').replace('?', '%3F')}")[1]["code"] == "bad_cursor"


def test_a_cursor_of_another_server_is_reset(server, tmp_path):
    with sotto.Server(tmp_path) as other:
        stranger, friend = register(other), register(other)
        friend.send(stranger)
        with stranger.connect() as s:
            foreign = s.cursor
    a, b = register(server), register(server)
    a.send(b, "here")
    with b.connect(foreign) as s:
        kinds = [e["type"] for e in s.backlog]
        assert kinds == ["sync.reset", "sync.snapshot"]
        with b.connect(s.cursor) as again:
            assert again.backlog == []


def test_two_devices_race_their_cursors(server):
    a, b = register(server), register(server)
    devices = [b, b.another()]
    problems = []
    with devices[0].connect() as s0, devices[1].connect() as s1:
        cursors = [s0.cursor, s1.cursor]
    total = 120

    def follow(i):
        try:
            chain, cursor = Chain(), cursors[i]
            while chain.sequence < total:
                with devices[i].connect(cursor) as s:
                    for e in s.backlog:
                        if e["type"] == "message.new":
                            chain.add(e)
                    for _ in range(10):
                        if chain.sequence == total:
                            break
                        chain.add(s.expect("message.new", 10))
                        s.tell("message.delivered", marks=[{"conversationId": conversation,
                                                            "sequence": chain.sequence}])
                    cursor = s.cursor
        except Exception as e:  # told in the main thread
            problems.append(repr(e))

    conversation = a.send(b, "0")["conversationId"]
    threads = [threading.Thread(target=follow, args=(i,)) for i in (0, 1)]
    for t in threads:
        t.start()
    for i in range(1, total):
        a.send(b, str(i))
    for t in threads:
        t.join(60)
    assert problems == [] and not any(t.is_alive() for t in threads)


# -- One channel per device ------------------------------------------------------

def test_a_second_connection_replaces_the_first(server):
    d, friend = register(server), register(server)
    first = d.connect()
    with d.connect(first.cursor) as second:
        assert first.wait_closed() == 4002
        friend.send(d, "to the second")
        assert text_of(second.expect("message.new")) == "to the second"
        stream = Stream(d, second.cursor)
        stream.sync()
        assert second.wait_closed() == 4002
        with d.connect(stream.cursor):
            event = stream.read()
            assert event["type"] == "close" and event["code"] == 4002
        stream.close()
    first.close()


def test_the_connection_opened_later_stays_whichever_hello_comes_first(server):
    """A hello of a connection that broke may be heard of late."""
    d, friend = register(server), register(server)
    early, late = server.connect(hello=False), server.connect(hello=False)
    with early, late:
        late.hello(d)
        early.hello(d)
        assert early.wait_closed() == 4002
        friend.send(d, "to the later one")
        assert text_of(late.expect("message.new")) == "to the later one"


def test_revoked_in_the_middle(server):
    a, b = register(server), register(server)
    a2 = a.another()
    with a2.connect() as s, b.connect() as sb:
        for i in range(50):
            s.tell("message.send", id=str(i), **message(b, str(i), f"r{i}"))
        a.api.ok("DELETE", f"/devices/{a2.device_id}")
        sent = []
        try:
            while True:
                e = s.read()
                if e["type"] == "message.sent":
                    sent.append(e)
        except sotto.Closed as closed:
            assert closed.code == 4003
        a2.api.refused("bad_token", "POST", "/messages", message(b))
    conversation = a.api.ok("GET", "/conversations")["conversations"]
    stored = history(a, conversation[0]["conversationId"]) if conversation else []
    assert {e["messageId"] for e in sent} <= {m["messageId"] for m in stored}
    with Socket(server) as s:
        s.send({"type": "hello", "token": a2.token})
        assert s.wait_closed() == 4003


def test_a_deleted_account_is_told(server):
    d = register(server)
    with d.connect() as s:
        Rest(server, d.token).ok("DELETE", "/account", {"password": d.password})
        assert s.wait_closed() == 4004


def test_own_devices_hear_of_new_ones(server):
    d = register(server)
    with d.connect() as s:
        other = d.another()
        s.expect("devices.changed")
        d.api.ok("DELETE", f"/devices/{other.device_id}")
        s.expect("devices.changed")


def test_own_devices_hear_what_another_changed(server):
    """Profile, settings, contacts, blocks; the one that did it knows."""
    d, friend = register(server), register(server)
    other = d.another()
    with d.connect() as mine, other.connect() as s, friend.connect() as f:
        changes = [lambda: mine.request("account.update", displayName="Dora"),
                   lambda: d.api.ok("PATCH", "/account", {"readReceipts": False}),
                   lambda: mine.request("contact.put", userId=friend.user_id, alias="Freddie"),
                   lambda: mine.request("block.put", userId=friend.user_id),
                   lambda: d.api.ok("DELETE", f"/blocks/{friend.user_id}"),
                   lambda: d.api.ok("DELETE", f"/contacts/{friend.user_id}")]
        for change in changes:
            change()
            assert s.expect("account.changed") == {"type": "account.changed"}
        d.api.ok("DELETE", f"/blocks/{friend.user_id}")  # nothing changed
        assert [e["type"] for e in s.quiet() + mine.quiet() + f.quiet()] == []


def test_prekeys_low(server):
    from test_operations import keys
    a, b = register(server), register(server)
    with a.connect() as s:
        s.request("keys.upload", **keys())
        b.api.ok("POST", f"/users/{a.user_id}/bundles", {})
        low = s.expect("prekeys.low")
        assert (low["ecPrekeys"], low["kemPrekeys"]) == (2, 1)
    with a.connect() as s:
        assert s.welcome["keys"] == {"ecPrekeys": 2, "kemPrekeys": 1}


# -- The same events everywhere -----------------------------------------------------

def strip(events):
    """What must be the same whichever way it came."""
    return [{k: v for k, v in e.items() if k != "cursor"} for e in events
            if e["type"] in ("message.new", "message.delivered", "message.read", "message.expired")]


def converse(a, b):
    """A little of everything; the conversation."""
    first = a.send(b, "one")
    conversation = first["conversationId"]
    b.api.ok("POST", f"/conversations/{conversation}/delivered", {"sequence": 1})
    b.send(a, "two", replyTo=first["messageId"])
    a.send(b, "three", urgent=True, media="m")
    a.api.ok("POST", f"/conversations/{conversation}/read", {"sequence": 2})
    b.api.ok("POST", f"/conversations/{conversation}/read", {"sequence": 3})
    return conversation


def test_live_events_are_the_same_over_sse_and_socket(server):
    a, b = register(server), register(server)
    twin = b.another()
    watcher = b.another("third")
    stream = Stream(twin)
    stream.sync()
    with watcher.connect() as s:
        converse(a, b)
        wanted = 6
        by_socket, by_stream = [], []
        while len(strip(by_socket)) < wanted:
            by_socket.append(s.read())
        while len(strip(by_stream)) < wanted:
            by_stream.append(stream.read())
    assert strip(by_socket) == strip(by_stream)
    assert all("cursor" in e for e in by_stream if e["type"] == "message.new")
    stream.close()


def test_backlogs_are_the_same_over_all_three(server):
    a, b = register(server), register(server)
    with b.connect() as s:
        cursor = s.cursor
    converse(a, b)
    with b.connect(cursor) as s:
        by_socket = s.backlog
    by_header, by_query = Stream(b, cursor), None
    from_header = by_header.sync()
    by_header.close()
    by_query = Stream(b, cursor, header=False)
    from_query = by_query.sync()
    by_query.close()
    from_poll, at = [], cursor
    while True:
        answer = poll(b, at, limit=2)
        if not answer["events"]:
            break
        from_poll += answer["events"]
        at = answer["cursor"]
    def total(events):
        return sorted(map(str, strip(events)))
    assert strip(by_socket) and strip(by_socket) == strip(from_header) == strip(from_query)
    assert total(from_poll) == total(by_socket)
    with b.connect(at) as s:  # one transport's cursor is another's
        assert s.backlog == []


def test_poll_waits_and_wakes(server):
    a, b = register(server), register(server)
    first = poll(b)
    begin = time.monotonic()
    assert poll(b, first["cursor"], timeout_ms=300)["events"] == []
    assert time.monotonic() - begin >= 0.1  # it did wait; the loop rounds its timers
    result = {}

    def wait():
        result.update(poll(b, first["cursor"], timeout_ms=20000))

    t = threading.Thread(target=wait)
    begin = time.monotonic()
    t.start()
    time.sleep(0.1)  # either way it must answer: before or while it waits
    a.send(b, "wake up")
    t.join(15)
    assert news(result["events"]) == ["wake up"] and time.monotonic() - begin < 10
    a.send(b, "second")
    assert news(poll(b, result["cursor"], timeout_ms=20000)["events"]) == ["second"]


def test_a_waiting_poll_gives_way(server):
    a, b = register(server), register(server)
    cursor = poll(a)["cursor"]
    result = []

    def wait():
        result.append(b.api.call("GET", f"/events/poll?cursor={cursor}&timeoutMs=20000"))

    t = threading.Thread(target=wait)
    t.start()
    sotto.wait_for(lambda: a.api.ok("GET", f"/presence/{b.user_id}")["users"][0]["status"] == "online", what="the poll")
    b.connect(cursor).close()
    t.join()
    status, answer = result[0]
    assert status == 409 and answer["code"] == "conflict" and "taken over" in answer["message"]


def test_sse_heartbeat_and_refusals(tmp_path):
    with sotto.Server(tmp_path, heartbeat="200ms") as server:
        d = register(server)
        stream = Stream(d)
        stream.sync()
        while stream.buffer.count(b"\n\n") < 2:  # nothing else comes
            stream.buffer += stream.socket.recv(65536)
        register(server).send(d, "after a while")
        event = stream.read()
        while event["type"] != "message.new":
            event = stream.read()
        assert text_of(event) == "after a while"
        assert stream.comments >= 2
        stream.close()
        Rest(server).refused("unauthenticated", "GET", "/events")
        Rest(server).refused("unauthenticated", "GET", "/events/poll")


def test_drain_tells_everyone(tmp_path):
    with sotto.Server(tmp_path) as server:
        a, b, c = register(server), register(server), register(server)
        s, stream, nobody = a.connect(), Stream(b), Socket(server)
        stream.sync()
        cursor, answers = s.cursor, []
        t = threading.Thread(target=lambda: answers.append(
            c.api.call("GET", f"/events/poll?cursor={cursor}&timeoutMs=20000")))  # which wants Retry-After
        t.start()
        sotto.wait_for(lambda: a.api.ok("GET", f"/presence/{c.user_id}")["users"][0]["status"] == "online", what="a poll")
        server.signal(15)
        assert s.wait_closed() == 4000 and nobody.wait_closed() == 1001
        event = stream.read()
        while event["type"] != "close":
            event = stream.read()
        assert event["code"] == 4000
        assert server.wait() == 0
        t.join()
        status, error = answers[0]
        assert status == 503 and error["code"] == "draining" and error["retryAfterMs"] > 0


# -- Heartbeat -----------------------------------------------------------------------

def test_heartbeat_and_silence(tmp_path):
    with sotto.Server(tmp_path, heartbeat="200ms", idle_timeout="600ms") as server:
        d = register(server)
        with d.connect() as s:
            opcode, _ = s.read_frame()
            assert opcode == 9  # and it is not answered
            while True:
                opcode, payload = s.read_frame()
                if opcode == 8:
                    break
                assert opcode == 9
            assert int.from_bytes(payload[:2], "big") == 4001
        with d.connect() as s:  # pongs keep it alive past several timeouts
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                try:
                    s.read(0.3)
                except TimeoutError:
                    pass
            assert s.request("ping")["type"] == "pong"
