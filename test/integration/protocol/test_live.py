"""What is not stored: presence, typing; and limits, slow readers, storms."""
import socket
import threading
import time

import pytest

import sotto
from described import Chain, Rest, Socket, Stream, anonymous_bytes, message, poll, register
from test_operations import keys


def status(event, who):
    return {u["userId"]: u for u in event["users"]}[who.user_id]


# -- Presence ------------------------------------------------------------------

def test_presence_comes_and_goes(tmp_path):
    with sotto.Server(tmp_path) as server:
        a, b, c = register(server), register(server), register(server)
        with a.connect() as s:
            assert status(s.request("presence.watch", userIds=[b.user_id]), b) == \
                {"userId": b.user_id, "status": "offline"}
            with b.connect():
                assert status(s.expect("presence"), b)["status"] == "online"
            gone = status(s.expect("presence"), b)
            assert gone["status"] == "recently" and "lastSeenAt" in gone
            s.request("presence.watch", userIds=[c.user_id])
            with b.connect(), c.connect():
                assert [u["userId"] for u in s.expect("presence")["users"]] == [c.user_id]


def test_presence_between_two_polls(tmp_path):
    """Somebody who polls has not gone away with each answer; then they have."""
    with sotto.Server(tmp_path) as server:
        a, b = register(server), register(server)
        cursor = poll(b)["cursor"]
        with a.connect() as s:
            s.request("presence.watch", userIds=[b.user_id])
            for _ in range(3):
                cursor = poll(b, cursor)["cursor"]
                assert status(a.api.ok("GET", f"/presence/{b.user_id}"), b)["status"] == "online"
            told = []
            while not told or told[-1]["status"] == "online":
                told.append(status(s.expect("presence"), b))
            assert told[-1]["status"] == "recently" and "lastSeenAt" in told[-1]
            assert status(a.api.ok("GET", f"/presence/{b.user_id}"), b)["status"] == "recently"


def test_presence_of_somebody_away_is_hidden_and_shown(tmp_path):
    with sotto.Server(tmp_path, presence_ttl="100ms") as server:
        a, b = register(server), register(server)
        with b.connect():
            pass
        with a.connect() as s:
            def shown():
                entry = status(a.api.ok("GET", f"/presence/{b.user_id}"), b)
                return entry["status"] == "recently" and entry
            seen_last = sotto.wait_for(shown, what="b to have gone")
            s.request("presence.watch", userIds=[b.user_id])
            b.api.ok("PATCH", "/account", {"presenceVisibility": "nobody"})
            assert status(s.expect("presence"), b)["status"] == "hidden"
            b.api.ok("PATCH", "/account", {"presenceVisibility": "everyone"})
            assert status(s.expect("presence"), b) == seen_last


def test_presence_of_a_deleted_account_is_hidden(server):
    a, b = register(server), register(server)
    with b.connect(), a.connect() as s:
        assert status(s.request("presence.watch", userIds=[b.user_id]), b)["status"] == "online"
        b.api.ok("DELETE", "/account", {"password": b.password})
        entry = status(s.expect("presence"), b)
        if entry["status"] == "online":  # that they had come
            entry = status(s.expect("presence"), b)
        assert entry == {"userId": b.user_id, "status": "hidden"}


@pytest.mark.parametrize("visibility,contact,visible", [
    ("everyone", False, True), ("contacts", False, False), ("contacts", True, True), ("nobody", True, False)])
def test_presence_visibility(server, visibility, contact, visible):
    a, b = register(server), register(server)
    b.api.ok("PATCH", "/account", {"presenceVisibility": visibility})
    if contact:
        b.api.ok("PUT", f"/contacts/{a.user_id}")
    with b.connect(), a.connect() as s:
        wanted = "online" if visible else "hidden"
        assert status(s.request("presence.watch", userIds=[b.user_id]), b)["status"] == wanted
        assert status(a.api.ok("GET", f"/presence/{b.user_id}"), b)["status"] == wanted
        if not visible:
            assert "lastSeenAt" not in status(a.api.ok("GET", f"/presence/{b.user_id}"), b)


def test_presence_is_reciprocal_and_blocks_hide(server):
    a, b, c = register(server), register(server), register(server)
    a.api.ok("PATCH", "/account", {"presenceVisibility": "nobody"})
    c.api.ok("PUT", f"/blocks/{b.user_id}")
    with b.connect(), c.connect():
        assert status(a.api.ok("GET", f"/presence/{b.user_id}"), b)["status"] == "hidden"
        assert status(b.api.ok("GET", f"/presence/{c.user_id}"), c)["status"] == "hidden"


@pytest.mark.parametrize("hides", ["block", "nobody"])
def test_presence_hidden__coming_and_going_is_not_told(server, hides):
    a, b, c = register(server), register(server), register(server)
    if hides == "block":
        b.api.ok("PUT", f"/blocks/{a.user_id}")
    else:
        b.api.ok("PATCH", "/account", {"presenceVisibility": "nobody"})
    with a.connect() as s:
        s.request("presence.watch", userIds=[b.user_id, c.user_id])
        b.connect().close()
        with c.connect():
            # What b did is in this turn or an earlier one.
            told = [e["userId"] for e in s.expect("presence")["users"]]
            while c.user_id not in told:
                told += [e["userId"] for e in s.expect("presence")["users"]]
            assert b.user_id not in told


@pytest.mark.parametrize("hides", ["block", "nobody"])
def test_presence_hidden__what_else_is_changed_is_not_told(server, hides):
    a, b, c = register(server), register(server), register(server)
    if hides == "block":
        b.api.ok("PUT", f"/blocks/{a.user_id}")
    else:
        b.api.ok("PATCH", "/account", {"presenceVisibility": "nobody"})
    with a.connect() as s:
        s.request("presence.watch", userIds=[b.user_id, c.user_id])
        b.api.ok("PUT", f"/contacts/{c.user_id}", {"alias": "see"})
        b.api.ok("PATCH", "/account", {"displayName": "Somebody else"})
        with c.connect():
            told = [e["userId"] for e in s.expect("presence")["users"]]
            while c.user_id not in told:
                told += [e["userId"] for e in s.expect("presence")["users"]]
            assert b.user_id not in told
        # To be shown again is told, and to be hidden again.
        if hides == "block":
            b.api.ok("DELETE", f"/blocks/{a.user_id}")
        else:
            b.api.ok("PATCH", "/account", {"presenceVisibility": "everyone"})
        while b.user_id not in (users := {e["userId"]: e for e in s.expect("presence")["users"]}):
            pass
        assert users[b.user_id]["status"] != "hidden"
        b.api.ok("PATCH", "/account", {"presenceVisibility": "nobody"})
        while b.user_id not in (users := {e["userId"]: e for e in s.expect("presence")["users"]}):
            pass
        assert users[b.user_id]["status"] == "hidden"


def test_presence_view_is_bounded(server):
    a = register(server)
    with a.connect() as s:
        s.refused("bad_field", "presence.watch", userIds=["00000000-0000-4000-8000-%012d" % i for i in range(257)])
        s.refused("bad_field", "presence.watch", userIds=["x"])


# -- Typing --------------------------------------------------------------------

def test_typing_is_told_and_not_kept(tmp_path):
    with sotto.Server(tmp_path, typing_ttl="500ms") as server:
        a, b = register(server), register(server)
        conversation = a.send(b)["conversationId"]
        with a.connect() as sa, b.connect() as sb:
            sa.request("typing", conversationId=conversation)
            event = sb.expect("typing")
            assert (event["userId"], event["deviceId"], event["started"]) == (a.user_id, a.device_id, True)
            assert event["expiresInMs"] == 500
            sa.request("typing", conversationId=conversation, started=False)
            stopped = sb.expect("typing")
            assert stopped["started"] is False and stopped["expiresInMs"] == 0
            assert [e for e in sa.quiet() if e["type"] == "typing"] == []
            sa.request("typing", conversationId=conversation)
            cursor = sb.cursor
        with b.connect(cursor) as sb:  # never stored
            assert [e for e in sb.backlog if e["type"] == "typing"] == []


# -- Limits --------------------------------------------------------------------

def test_limits_say_when_to_come_back(tmp_path):
    with sotto.Server(tmp_path, limit_device="20/m burst 5") as server:
        a, b = register(server), register(server)
        with a.connect() as s:
            for i in range(12):
                s.tell("message.send", id=str(i), **message(b, str(i), f"k{i}"))
            answers = [s.expect("message.sent" if i < 5 else "error") for i in range(12)]
            throttled = s.expect("flow_control")
            assert throttled["state"] == "throttled" and throttled["retryAfterMs"] > 0
            refused = [e for e in answers if e["type"] == "error"]
            assert len(refused) == 7 and all(e["code"] == "rate_limited" for e in refused)
        a.api.refused("rate_limited", "POST", "/messages", message(b))

        def allowed():
            code, answer = a.api.call("POST", "/messages", message(b, "later", "late"))
            return code == 200
        sotto.wait_for(allowed, 10, "the bucket to fill")


@pytest.mark.parametrize("option,value,fit", [("limit_user", "1/h burst 3", 3),
                                              ("limit_address", "1/h burst 6", 5)])  # registering was one
def test_request_limits(tmp_path, option, value, fit):
    with sotto.Server(tmp_path, **{option: value}) as server:
        a = register(server)
        assert [a.api.call("GET", "/account")[0] for _ in range(8)] == [200] * fit + [429] * (8 - fit)


def test_pair_bundle_and_typing_limits(tmp_path):
    with sotto.Server(tmp_path, limit_conversation="1/h burst 2", limit_bundles="1/h burst 2",
                      limit_typing="1/h burst 2") as server:
        a, b, c = register(server), register(server), register(server)
        b.api.ok("PUT", "/keys", keys())
        conversation = a.send(b)["conversationId"]
        a.send(b)
        a.api.refused("rate_limited", "POST", "/messages", message(b))
        a.send(c)  # another conversation has its own
        for path, body in ((f"/users/{b.user_id}/bundles", {}), ("/typing", {"conversationId": conversation})):
            codes = [a.api.call("POST", path, body)[1].get("code") for _ in range(4)]
            assert codes == [None, None, "rate_limited", "rate_limited"]


def test_too_many_connections(tmp_path):
    with sotto.Server(tmp_path, connections_per_address=8) as server:
        d = register(server)
        held, refused = [], 0
        for _ in range(16):
            try:
                held.append(Socket(server))
            except (sotto.Problem, sotto.Closed, OSError):
                refused += 1
        assert refused + len(held) == 16 and 6 <= len(held) <= 8  # an end before may not have been seen yet
        for s in held:
            s.close()
        sotto.wait_for(lambda: _connects(d), 10, "room for a connection")


@pytest.mark.parametrize("limit, code", [({"connections_per_address": 4}, "rate_limited"),
                                         ({"connections_max": 4, "connections_per_address": 4}, "busy")])
def test_who_is_not_let_in_hears_why(tmp_path, limit, code):
    with sotto.Server(tmp_path, **limit) as server:
        held = [server.open() for _ in range(4)]
        for s in held:  # so that they have been let in
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
            assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
        for _ in range(3):
            status, error = Rest(server).call("GET", "/server")
            assert (status, error["code"]) == ({"rate_limited": 429, "busy": 503}[code], code)
            with pytest.raises(sotto.Problem) as problem:
                Socket(server)
            assert problem.value.status == status
        # It says so to who asks nothing, too, and costs no memory.
        begin = anonymous_bytes(server)
        for i in range(2000):
            with server.open() as s:
                if i % 100 == 0:
                    answer = b""
                    while part := s.recv(65536):
                        answer += part
                    head, _, body = answer.partition(b"\r\n\r\n")
                    assert head.endswith(f"\r\nContent-Length: {len(body)}".encode())
                    assert b"\r\nConnection: close\r\n" in head
        assert anonymous_bytes(server) - begin < 4 << 20
        for s in held:
            s.close()
        sotto.wait_for(lambda: answers(server, "/metrics", b"sotto_connections_refused_total 20"), 10, "the count")


def test_who_is_not_let_in_is_closed_under_tls(tmp_path):
    cert, key = sotto.certificate(tmp_path, "server")
    with sotto.Server(tmp_path, connections_per_address=2, tls_cert=str(cert), tls_key=str(key)) as server:
        held = [server.open() for _ in range(2)]
        with pytest.raises(OSError):  # of which TLS errors are some
            server.open()
        for s in held:
            s.close()
        sotto.wait_for(lambda: answers(server, "/healthz", b""), 10, "room for a connection")


def answers(server, path, content):
    try:
        status, _, body = server.http("GET", path)
        return status == 200 and content in body
    except OSError:
        return False


def _connects(d):
    try:
        d.connect().close()
        return True
    except (sotto.Problem, sotto.Closed, OSError):
        return False


# -- Slow readers ----------------------------------------------------------------

def flood(a, b, count, size=8000):
    """count messages of `size` bytes from a; returns when all are answered. A sender
    that is cut itself comes back and repeats what was not answered."""
    left = [f"flood{i}" for i in range(count)]
    while left:
        try:
            with a.connect() as s:
                waiting, at = set(), 0
                while at < len(left) or waiting:
                    while at < len(left) and len(waiting) < 32:
                        s.tell("message.send", id=left[at], **message(b, "x" * size, left[at]))
                        waiting.add(left[at])
                        at += 1
                    waiting.discard(s.expect("message.sent", 30)["clientMsgId"])
                left = []
        except (sotto.Closed, ConnectionResetError, BrokenPipeError):
            left = [key for i, key in enumerate(left) if i >= at or key in waiting]


def metric(server, name):
    for line in server.http("GET", "/metrics")[2].decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0


def test_signing_in_holds_up_nothing_else(tmp_path):
    with sotto.Server(tmp_path, argon2_memory="64MiB", argon2_passes="4", worker_threads="1") as server:
        a = register(server, password="correct horse")
        body = {"username": a.username, "password": "correct horse", "deviceName": "d", "platform": "test"}
        results = []
        threads = [threading.Thread(target=lambda: results.append(Rest(server).call("POST", "/login", body)[0]))
                   for _ in range(5)]
        for t in threads:
            t.start()
        sotto.wait_for(lambda: results, 30, "the first to sign in")
        for _ in range(5):
            a.api.ok("GET", "/conversations")
        assert len(results) < len(threads)  # most still wait, and nobody for them
        for t in threads:
            t.join()
        assert results == [200] * len(threads)


def test_a_slow_reader_lags_and_catches_up(tmp_path):
    with sotto.Server(tmp_path, window_bytes="64KiB", window_events="50", lag_timeout="60s") as server:
        a, b = register(server), register(server)
        with b.connect() as s:
            flood(a, b, 1500)
            chain, states = Chain(), []
            while chain.sequence < 1500:
                e = s.read(20)
                for e in e["events"] if e["type"] == "sync.batch" else [e]:
                    if e["type"] == "message.new":
                        chain.add(e)
                    elif e["type"] == "flow_control":
                        states.append(e["state"])
            assert "lagging" in states
            sotto.wait_for(lambda: "live" in states or states.append(s.expect("flow_control", 20)["state"]), 20,
                           "the word that it has caught up")
            a.send(b, "live again")
            chain.add(s.expect("message.new"))


def test_a_reader_that_is_slow_but_reads_is_not_cut(tmp_path):
    with sotto.Server(tmp_path, window_bytes="64KiB", lag_timeout="1s") as server:
        a, b = register(server), register(server)
        with b.connect() as s:
            cursor = s.cursor
        for _ in range(250):
            a.send(b, "x" * 60000)
        with Socket(server) as s:
            s.send({"type": "hello", "token": b.token, "cursor": cursor})
            total, tail = 0, b""
            while b"sync.done" not in tail:
                part = s.socket.recv(65536)
                assert part, "cut"
                total, tail = total + len(part), (tail + part)[-4096:]
                time.sleep(len(part) / 3e6)
            assert total > 250 * 80000
        assert metric(server, 'sotto_closes_total{code="4001"}') == 0


def slow_socket(server):
    """A connection whose buffers in the kernel are small on both sides."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    s.connect(("127.0.0.1", server.port))
    s.settimeout(sotto.ANSWER_SECONDS)
    return s


def slow_reader(server, device):
    """The same, as a WebSocket, signed in and live."""
    s = sotto.Socket(type("Slow", (), {"open": lambda *_, **__: slow_socket(server)})())
    s.hello(device)
    s.expect("sync.done")
    return s


def test_a_long_answer_is_read_slowly_to_its_end(tmp_path):
    """For longer than an idle connection lasts, and a closed one. Who reads nothing is cut."""
    with sotto.Server(tmp_path, keepalive_timeout="1s") as server:
        a, b = register(server), register(server)
        flood(a, b, 20, size=30000)
        conversation = b.api.ok("GET", "/conversations")["conversations"][0]["conversationId"]
        path = f"/api/v1/conversations/{conversation}/messages?limit=20"
        auth = {"Authorization": f"Bearer {b.token}"}
        whole = server.http("GET", path, None, auth)[2]
        assert len(whole) > 500000
        heads = ["HTTP/1.1\r\nHost: x", "HTTP/1.1\r\nHost: x\r\nConnection: close", "HTTP/1.0"]
        readers = {slow_socket(server): b"" for _ in heads}
        never = slow_socket(server)
        for s, head in zip([*readers, never], heads + heads[1:2]):
            s.sendall(f"GET {path} {head}\r\nAuthorization: Bearer {b.token}\r\n\r\n".encode())
        for _ in range(40):
            time.sleep(0.1)
            for s in readers:
                readers[s] += s.recv(8192)
        while left := [s for s, got in readers.items() if not got.endswith(whole[-1000:])]:
            for s in left:  # in turns: none of them is to wait for another
                more = s.recv(8192)
                assert more, f"ended after {len(readers[s])} of {len(whole)}"
                readers[s] += more
        for s in readers:
            s.close()
        sotto.wait_for(lambda: metric(server, 'sotto_connections{kind="http"}') == 1, what="the end of who never reads")
        never.close()


def test_a_long_answer_over_a_socket_is_read_slowly_to_its_end(tmp_path):
    """For longer than somebody silent may stay: its pongs have to wait, too."""
    with sotto.Server(tmp_path, idle_timeout="1s", heartbeat="500ms") as server:
        a, b = register(server), register(server)
        flood(a, b, 20, size=30000)
        conversation = b.api.ok("GET", "/conversations")["conversations"][0]["conversationId"]
        with slow_reader(server, b) as s:
            s.send({"type": "history.get", "id": "h", "conversationId": conversation, "since": 0, "limit": 20})
            got = b""
            while len(got) < 520000:
                part = s.socket.recv(8192)
                assert part, f"cut after {len(got)}"
                got += part
                time.sleep(0.05)
        assert metric(server, 'sotto_closes_total{code="4001"}') == 0


def test_a_ping_in_a_backlog_is_answered(server):
    a, b = register(server), register(server)
    with b.connect() as s:
        cursor = s.cursor
    flood(a, b, 60, size=60000)
    with sotto.Socket(server) as s:
        s.send({"type": "hello", "token": b.token, "cursor": cursor})
        sotto.wait_for(lambda: metric(server, "sotto_output_queued_bytes") > 0, what="a long queue")
        s.send_frame(9, b"still there?")
        opcode = text = None
        while opcode != 10:
            opcode, text = s.read_frame()[:2]
            assert opcode != 8 and b"sync.done" not in text[:40]
        assert text == b"still there?"


def test_a_reader_that_never_reads_is_cut_and_loses_nothing(tmp_path):
    with sotto.Server(tmp_path, window_bytes="64KiB", lag_timeout="500ms") as server:
        a, b = register(server), register(server)
        s = b.connect()
        cursor = s.cursor
        s.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        begin = anonymous_bytes(server)
        flood(a, b, 1500)
        assert anonymous_bytes(server) - begin < 96 << 20
        # Its own end does not see it: the close waits behind what the kernel holds.
        sotto.wait_for(lambda: metric(server, 'sotto_closes_total{code="4001"}') == 1, 30, "the cut")
        chain = Chain()
        for _ in range(3):  # a little of what did come
            e = s.read()
            for e in e["events"] if e["type"] == "sync.batch" else [e]:
                if e["type"] == "message.new":
                    chain.add(e)
                    cursor = s.cursor
        s.close()
        assert chain.sequence < 1500
        with b.connect(cursor) as s:
            for e in s.backlog:
                if e["type"] == "message.new":
                    chain.add(e)
        assert chain.sequence == 1500


def drain(channel):
    """Takes in all that comes until the server's end, for a look at it later."""
    while part := channel.socket.recv(1 << 20):
        channel.buffer += part


@pytest.mark.parametrize("kind", ["websocket", "sse"])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("limit", [{"queue_memory": "256KiB", "window_bytes": "256KiB", "lag_timeout": "60s"},
                                   {"lag_timeout": "500ms", "window_bytes": "64KiB"}])
def test_who_is_cut_is_told_after_whole_events(tmp_path, kind, tls, limit):
    if tls:
        cert, key = sotto.certificate(tmp_path, "server")
        limit = {**limit, "tls_cert": str(cert), "tls_key": str(key)}
    with sotto.Server(tmp_path, **limit) as server:
        a, b = register(server), register(server)
        s = b.connect() if kind == "websocket" else Stream(b)
        if kind == "sse":
            s.sync()
        begin, sent = anonymous_bytes(server), 0
        while metric(server, 'sotto_closes_total{code="4001"}') == 0:
            a.send(b, "x" * 60000)
            sent += 1
            assert sent < 2000, "it is never cut"
        drain(s)
        chain, code = Chain(), None
        while code is None:
            try:
                event = s.read()
            except sotto.Closed as closed:
                code = closed.code
                break
            if event["type"] == "close":
                code = event["code"]
            for e in event["events"] if event["type"] == "sync.batch" else [event]:
                if e["type"] == "message.new":
                    chain.add(e)
        assert code == 4001 and s.buffer == b""
        assert 0 < chain.sequence < sent
        cursor = s.cursor
        s.close()
        s = b.connect(cursor)
        for e in s.backlog:
            if e["type"] == "message.new":
                chain.add(e)
        assert chain.sequence == sent
        a.send(b, "live again")
        chain.add(s.expect("message.new"))
        s.close()
        assert anonymous_bytes(server) - begin < 96 << 20


def test_memory_for_all_connections_is_bounded(tmp_path):
    with sotto.Server(tmp_path, window_bytes="1MiB", queue_memory="4MiB", lag_timeout="60s") as server:
        readers = [register(server) for _ in range(12)]
        sockets = [r.connect() for r in readers]
        problems = []

        def fill(reader):
            try:
                flood(register(server), reader, 500, 16000)
            except Exception as e:
                problems.append(repr(e))

        threads = [threading.Thread(target=fill, args=(r,)) for r in readers]
        for t in threads:
            t.start()
        for t in threads:
            t.join(100)
        assert problems == [] and not any(t.is_alive() for t in threads)
        sotto.wait_for(lambda: metric(server, "sotto_output_queued_bytes") <= 4 << 20, what="the sum to be below its bound")
        cuts = 0
        for r, s in zip(readers, sockets):
            chain = Chain()
            while chain.sequence < 500:
                try:
                    e = s.read(30)
                    for e in e["events"] if e["type"] == "sync.batch" else [e]:
                        if e["type"] == "message.new":
                            chain.add(e)
                except (sotto.Closed, ConnectionResetError) as end:
                    assert getattr(end, "code", None) in (4001, None)
                    cursor, cuts = s.cursor, cuts + 1
                    s.close()
                    s = Socket(server)
                    s.hello(r, cursor)
            s.close()
        assert cuts > 0, "nobody was too slow"


@pytest.mark.parametrize("memory,cut", [("4MiB", 0), ("1536KiB", 1)])
def test_the_memory_of_a_queue_counts_and_not_only_what_is_in_it(tmp_path, memory, cut):
    """What has just become longer than a megabyte holds two."""
    with sotto.Server(tmp_path, window_bytes="1MiB", queue_memory=memory, lag_timeout="60s") as server:
        a, b = register(server), register(server)
        with slow_reader(server, b):
            sotto.wait_for(lambda: a.send(b, "x" * 60000) and metric(server, "sotto_output_queued_bytes") > 1 << 20
                           or metric(server, 'sotto_closes_total{code="4001"}'), what="a queue")
            for _ in range(10):  # the window is full: nothing more is queued
                a.send(b, "x" * 60000)
            assert metric(server, 'sotto_closes_total{code="4001"}') == cut


# -- Storms ------------------------------------------------------------------------

def test_reconnect_storm(server):
    friend = register(server)
    devices = [register(server) for _ in range(20)]
    cursors = {}
    for d in devices:
        with d.connect() as s:
            cursors[d] = s.cursor
    problems = []

    def storm(d):
        try:
            chain, cursor = Chain(), cursors[d]
            for round_number in range(10):
                with d.connect(cursor) as s:
                    for e in s.backlog:
                        if e["type"] == "message.new":
                            chain.add(e)
                    cursor = s.cursor
            friend_chain = chain.sequence
            with d.connect(cursor) as s:
                for e in s.backlog:
                    if e["type"] == "message.new":
                        chain.add(e)
                while chain.sequence < 5:
                    chain.add(s.expect("message.new"))
            assert friend_chain <= 5
        except Exception as e:
            problems.append(repr(e))

    threads = [threading.Thread(target=storm, args=(d,)) for d in devices]
    for t in threads:
        t.start()
    for i in range(5):
        for d in devices:
            friend.send(d, str(i))
    for t in threads:
        t.join(60)
    assert problems == [] and not any(t.is_alive() for t in threads)


def test_many_that_never_say_hello(server):
    begin = anonymous_bytes(server)
    held = [Socket(server) for _ in range(400)]
    assert anonymous_bytes(server) - begin < 16 << 20
    register(server).api.ok("GET", "/account")
    for s in held:
        s.close()
