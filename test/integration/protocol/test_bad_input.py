"""What no client of ours would send. The server answers or closes with the right
code, and lives on."""
import json
import os
import random
import re
import select
import socket
import struct
import time
import zlib

import pytest

import sotto
from described import (Rest, Socket, anonymous_bytes, b64, check_error, message, raw, register)


@pytest.fixture(autouse=True)
def lives_on(server):
    yield
    assert server.process.poll() is None
    assert Rest(server).ok("GET", "/server")


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


# -- HTTP ----------------------------------------------------------------------

GET = b"GET /api/v1/server HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("request_bytes,status", [
    (b"nonsense\r\n\r\n", 400),
    (b"\x00\x01\x02\xff" * 40, 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),  # a TLS hello
    (b"GET /api/v1/server HTTP/1.1\r\n\r\n", 400),                     # no Host
    (b"GET /api/v1/server HTTP/3.9\r\nHost: x\r\n\r\n", 505),
    (b"GET  /api/v1/server HTTP/1.1\r\nHost: x\r\n\r\n", 200),  # RFC 9112, 3: may be lenient
    (GET + b"A: b\r\n folded\r\n\r\n", 400),
    (GET + b"A : b\r\n\r\n", 400),
    (GET + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    (GET + b"Content-Length: -1\r\n\r\n", 400),
    (GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
    (GET + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    (GET + b"X: " + b"a" * 20000 + b"\r\n\r\n", 431),
    (GET + b"".join(b"H%d: v\r\n" % i for i in range(100)) + b"\r\n", 431),
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", 413),
    (b"BREW /api/v1/server HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 501),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
], ids=lambda v: repr(v[:60]) if isinstance(v, bytes) else "")
def test_malformed_http(server, request_bytes, status):
    answer = raw(server, request_bytes, shut=True)
    assert status_of(answer) == status, answer[:300]
    if status != 200:
        check_error(json.loads(answer.partition(b"\r\n\r\n")[2]), status)


@pytest.mark.parametrize("method,path,code", [
    ("GET", "/nothing", "not_found"), ("POST", "/server", "method_not_allowed"),
    ("DELETE", "/messages", "method_not_allowed"), ("GET", "/users/%00", "bad_field"),
    ("GET", "/users/%zz", "bad_field"), ("GET", "/conversations/../account", "not_found"),
    ("GET", "//account", "not_found"), ("GET", "/account?x=1", None), ("GET", "/conversations?limit=0", "bad_field"),
    ("GET", "/conversations?limit=201", "bad_field"), ("GET", "/conversations?limit=x", "bad_field"),
    ("GET", "/conversations?limit=-1", "bad_field"), ("GET", "/conversations?limit=1&limit=2", None),
    ("GET", "/conversations?after=x", "bad_field"), ("GET", "/conversations/x", "bad_field"),
    ("GET", "/conversations/00000000-0000-4000-8000-000000000000", "not_found"),
    ("GET", "/conversations/00000000-0000-4000-8000-000000000000/messages/99999999999999999999", "bad_field"),
    ("PATCH", "/devices/x", "bad_field"), ("PATCH", "/devices/128", "bad_field"),
    ("GET", "/users?username=" + "a" * 3000, "bad_field"), ("GET", "/users", "bad_field"),
], ids=lambda v: str(v)[:60])
def test_odd_requests(server, method, path, code):
    """code None: what is odd about it is passed over."""
    api = register(server).api
    if code is None:
        api.ok(method, path)
    else:
        api.refused(code, method, path)


@pytest.mark.parametrize("body", [
    b"{", b"[]", b"5", b"null", b'"x"', b"{\"username\"}", b"{'a':1}", b'{"a":1,}', b'{"a":01}', b'{"a":NaN}',
    b'{"a":1}{"b":2}', b'{"username":"\xff\xfe"}', b'{"username":"\\ud800"}', b'{"username":"a\x00b"}',
    b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 100000, b'{"a":"\\x41"}', b'\xef\xbb\xbf{}',
    b'{"a":[' + b"0," * 20000 + b"0]}"], ids=lambda b: repr(b[:20]))
def test_bad_bodies(server, body):
    Rest(server).refused("bad_json", "POST", "/login", body, {"Content-Type": "application/json"})


@pytest.mark.parametrize("body", [b"", b'{"username":"a","username":"b"}', b'{"username":"' + b"a" * 500000 + b'"}'],
                         ids=lambda b: repr(b[:20]))
def test_bodies_with_a_bad_name(server, body):
    error = Rest(server).refused("bad_field", "POST", "/login", body, {"Content-Type": "application/json"})
    assert error["field"] == "username"


def test_a_body_that_is_not_json_at_all(server):
    status, answer = Rest(server).call("POST", "/login", b"username=x", {
        "Content-Type": "application/x-www-form-urlencoded"})
    assert (status, answer["code"]) == (415, "bad_request")


def test_pipelined_requests_are_answered_in_order(server):
    answer = raw(server, (GET + b"\r\n") * 5 + GET + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 6


def test_a_request_in_single_bytes(server):
    with server.open() as s:
        for b in GET + b"Connection: close\r\n\r\n":
            s.sendall(bytes([b]))
        assert s.recv(100).startswith(b"HTTP/1.1 200")


def test_slow_requests_are_cut(tmp_path):
    with sotto.Server(tmp_path, request_timeout="500ms", keepalive_timeout="500ms") as server:
        assert raw(server, b"") == b""
        for start in (b"GET /api", GET, b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"):
            assert status_of(raw(server, start)) == 408
        with server.open() as s:  # a byte now and then does not help
            begin = time.monotonic()
            for b in GET * 100:
                if select.select([s], [], [], 0.05)[0]:
                    break
                s.sendall(bytes([b]))
                assert time.monotonic() - begin < sotto.ANSWER_SECONDS
            assert status_of(s.recv(65536)) == 408


def test_half_open_and_abandoned(server):
    for _ in range(50):
        s = server.open()
        s.sendall(GET)
        s.close()
    for _ in range(20):  # reset in the middle of an answer
        s = server.open()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.sendall((GET + b"\r\n") * 20)
        s.close()
    with server.open() as s:  # the client has finished; the answer still comes
        s.sendall(GET + b"\r\n")
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100).startswith(b"HTTP/1.1 200")


def test_a_waiting_poll_that_is_reset(server):
    anna = register(server)
    cursor = anna.api.ok("GET", "/events/poll?timeoutMs=1")["cursor"]

    def waiting():
        return b'sotto_connections{kind="poll"} 1\n' in server.http("GET", "/metrics")[2]
    for waits in (False, True, True):  # on its way to the store, then waiting
        s = server.open()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.sendall(b"GET /api/v1/events/poll?cursor=%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n"
                  % (cursor.encode(), anna.token.encode()))
        if waits:
            sotto.wait_for(waiting, what="the poll")
        s.close()
        sotto.wait_for(lambda: not waiting(), what="its end")
        assert anna.api.ok("GET", "/account")


# -- The handshake ----------------------------------------------------------------

WS = ["GET /api/v1/ws HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13"]


@pytest.mark.parametrize("drop,add,status", [
    (3, None, 426), (2, None, 426), (4, None, 400), (5, None, 426), (4, "Sec-WebSocket-Key: short", 400),
    (5, "Sec-WebSocket-Version: 8", 426), (0, "POST /api/v1/ws HTTP/1.1", 405)])
def test_bad_handshakes(server, drop, add, status):
    lines = [line for i, line in enumerate(WS) if i != drop]
    if add:
        lines.insert(drop, add)
    answer = raw(server, ("\r\n".join(lines) + "\r\n\r\n").encode(), shut=True)
    assert status_of(answer) == status, answer[:300]


# -- Frames ------------------------------------------------------------------------

def frame(first, payload, mask=b"\x01\x02\x03\x04", length=None):
    n = len(payload) if length is None else length
    head = bytes([first]) + (bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack("!H", n) if n < 65536
                             else b"\xff" + struct.pack("!Q", n))
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


@pytest.mark.parametrize("data,code", [
    (bytes([0x81, 0x02]) + b"{}", 1002),                        # not masked
    (frame(0xC1, b"{}"), 1002),                                 # RSV1 that was not agreed
    (frame(0xA1, b"{}"), 1002), (frame(0x91, b"{}"), 1002),
    (frame(0x83, b"x"), 1002), (frame(0x8B, b"x"), 1002),       # reserved opcodes
    (frame(0x80, b"x"), 1002),                                  # continuation of nothing
    (frame(0x01, b"a") + frame(0x81, b"b"), 1002),              # a message in a message
    (frame(0x09, b"x"), 1002),                                  # fragmented control frame
    (frame(0x89, b"x" * 126), 1002),                            # long control frame
    (frame(0x88, b"\x03"), 1002),                               # half a close code
    (frame(0x88, struct.pack("!H", 1005)), 1002), (frame(0x88, struct.pack("!H", 999)), 1002),
    (frame(0x88, struct.pack("!H", 1000) + b"\xff"), 1007),
    (frame(0x82, b"\x00"), 1003),                               # binary
    (frame(0x81, b"\xff"), 1007), (frame(0x81, b"\xed\xa0\x80"), 1007),
    (frame(0x01, b"\xc3") + frame(0x80, b"x"), 1007),
    (frame(0x81, b"", length=2 << 20), 1009),
    (b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"abcd", 1002),
    (b"\x81\xfe" + struct.pack("!H", 5) + b"\0\0\0\0hello", 1002),  # not the shortest length
], ids=lambda v: v[:6].hex() if isinstance(v, bytes) else str(v))
@pytest.mark.parametrize("signed_in", [True, False])
def test_bad_frames(server, data, code, signed_in):
    d = register(server) if signed_in else None
    s = d.connect() if d else Socket(server)
    with s:
        s.send_raw(data)
        assert s.wait_closed() == code


def test_who_has_not_said_hello_gets_little_memory(server):
    with Socket(server) as s:
        s.send_raw(frame(0x81, b"{" * 100, length=16 * 1024 + 1))
        assert s.wait_closed() == 1009
    with Socket(server) as s:  # in pieces, too
        for first in (0x01, 0x00, 0x00):
            s.send_raw(frame(first, b" " * 8000))
        assert s.wait_closed() == 1009
    with Socket(server) as s:
        hello = json.dumps({"type": "hello", "token": "x", "cursor": "?"}).encode()
        s.send_raw(frame(0x81, hello) * 100)
        assert s.wait_closed() == 1008


# 80 of a megabyte, from so many addresses: how many of them may have arrived in part.
in_part = pytest.mark.parametrize("sources,fit", [([f"127.0.0.{2 + i % 8}" for i in range(80)], 64),
                                                  (["127.0.0.2"] * 80, 16)], ids=["all", "one_address"])


@pytest.fixture
def one_loop(tmp_path):
    """So that no two requests grow at the same time: the sum is exact."""
    with sotto.Server(tmp_path, io_threads=1) as s:
        yield s


@in_part
def test_bodies_of_anybody_together_are_bounded(one_loop, sources, fit):
    server = one_loop
    head = b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    body, sockets = b"x" * 1000000, []

    def answer(s):
        return status_of(s.recv(4096))

    def served():
        with server.open() as s:
            s.sendall(head + body)
            return answer(s) == 400

    try:
        for source in sources:  # answered, the connection stays: nothing of it is kept
            sockets.append(server.open(source=source))
            sockets[-1].sendall(head + body)
            assert answer(sockets[-1]) == 400
        for s in sockets:  # the last byte is missing
            try:
                s.sendall(head + body[1:])
            except (BrokenPipeError, ConnectionResetError):
                pass
        assert Rest(server).ok("GET", "/server")
        refused, statuses = set(), set()

        def gather(seconds):
            ready = select.select([s for s in sockets if s not in refused], [], [], seconds)[0]
            for s in ready:
                try:
                    statuses.add(answer(s))
                except ConnectionResetError:
                    pass
                refused.add(s)
            return bool(ready)
        sotto.wait_for(lambda: gather(1) and len(refused) >= 80 - fit, what="refusals")
        while gather(0.3):  # whoever is not refused hears nothing
            pass
        assert len(refused) == 80 - fit and statuses == {503}
        assert fit == 64 or served()  # another address has its own share
    finally:
        for s in sockets:
            s.close()
    sotto.wait_for(served, what="room again")


@in_part
def test_messages_in_part_of_all_together_are_bounded(one_loop, sources, fit):
    server = one_loop
    part, end = frame(0x01, b" " * 1000000), frame(0x80, b'{"type":"ping","id":"x"}')
    sockets = [Socket(server, source=source) for source in sources]

    def closed():
        ready = select.select([s.socket for s in sockets], [], [], 1)[0]
        return [s for s in sockets if s.socket in ready]
    try:
        for s in sockets:  # whole, and nothing of it is kept
            s.hello(register(server))
            s.expect("sync.done")
            s.send_raw(part + end)
            s.expect("pong")
        for s in sockets:
            s.send_raw(part)
        refused = sotto.wait_for(lambda: (r := closed()) and len(r) >= 80 - fit and r, what="refusals")
        for s in refused:
            assert s.wait_closed() == 4006
        sockets = [s for s in sockets if s not in refused]
        assert len(refused) == 80 - fit and not closed()
        for s in sockets:
            s.send_raw(end)
            s.expect("pong")
    finally:
        for s in sockets:
            s.socket.close()


def test_a_message_that_never_ends_is_cut(tmp_path):
    with sotto.Server(tmp_path, request_timeout="500ms") as server:
        with register(server).connect() as s:
            for size in (1, 500000):  # what becomes whole in time does no harm later
                s.send_raw(frame(0x01, b" " * size))
                s.send_raw(frame(0x80, b'{"type":"ping","id":"x"}'))
                s.expect("pong")
            time.sleep(1)
            begin = time.monotonic()
            s.send_raw(frame(0x01, b" "))
            while not select.select([s.socket], [], [], 0.1)[0]:
                s.send_raw(frame(0x8A, b""))  # a sign of life, but no end
                assert time.monotonic() - begin < sotto.ANSWER_SECONDS
            assert s.wait_closed() == 4001 and time.monotonic() - begin >= 0.4


def test_good_but_odd_frames(server):
    d = register(server)
    with d.connect() as s:
        s.send_raw(frame(0x89, b"hi"))                       # ping
        opcode, payload = s.read_frame()
        assert (opcode, payload) == (10, b"hi")
        text = b'{"type":"ping","id":"frag"}'
        for i, part in enumerate([text[:5], b"", text[5:11], text[11:]]):
            s.send_raw(frame((0x01 if i == 0 else 0x00) | (0x80 if i == 3 else 0), part))
            s.send_raw(frame(0x8A, b"unasked"))              # pongs in between
        assert s.expect("pong")["re"] == "frag"
        for b in frame(0x81, b'{"type":"ping","id":"slow"}'):
            s.send_raw(bytes([b]))
        assert s.expect("pong")["re"] == "slow"
        s.send_raw(frame(0x88, struct.pack("!H", 1000) + b"bye"))
        assert s.wait_closed() == 1000


def test_a_request_without_head_is_told_what_it_lacks(server):
    with register(server).connect() as s:
        for field, text in (("type", "{}"), ("type", '{"type":5}'), ("id", '{"type":"ping","id":5}'),
                            ("id", '{"type":"ping","id":"' + "x" * 65 + '"}')):
            s.send_frame(1, text.encode())
            error = s.expect("error")
            assert error["code"] == "bad_field" and error["field"] == field and f'"{field}"' in error["message"]


@pytest.mark.parametrize("text,code", [
    ("", "bad_json"), ("{", "bad_json"), ("5", "bad_json"), ("[]", "bad_json"), ("{}", "bad_field"),
    ('{"type":5}', "bad_field"), ('{"type":"no.such"}', "unknown_type"), ('{"type":"hello","token":"x"}', "unknown_type"),
    ('{"type":"ping","id":5}', "bad_field"), ('{"type":"ping","id":"' + "x" * 65 + '"}', "bad_field"),
    ('{"type":"message.send"}', "bad_field"), ('{"type":"account.update","displayName":"a","displayName":"b"}', "bad_field"),
    ('{"type":"account.get","id":"\\u0000"}', "bad_field"), ("[" * 1000 + "]" * 1000, "bad_json")], ids=lambda v: str(v)[:40])
def test_bad_requests_keep_the_connection(server, text, code):
    d = register(server)
    with d.connect() as s:
        s.send_frame(1, text.encode())
        error = s.expect("error")
        assert error["code"] == code and "re" not in error, error
        assert s.request("ping")["type"] == "pong"


def test_the_largest_frame(server):
    a, b = register(server), register(server)
    with a.connect() as s:
        pad = {"type": "ping", "id": "big", "pad": ""}
        pad["pad"] = "x" * ((1 << 20) - len(json.dumps(pad)))
        s.send_frame(1, json.dumps(pad).encode())
        assert s.expect("pong")["re"] == "big"
        s.send_frame(1, json.dumps({**pad, "more": 1}).encode())
        assert s.wait_closed() == 1009


# -- Floods -------------------------------------------------------------------------

def test_random_bytes(server):
    rng = random.Random(4711)
    for _ in range(150):
        answer = raw(server, rng.randbytes(rng.randrange(1, 600)), shut=True)
        assert answer == b"" or status_of(answer) in (400, 501), answer[:100]
    d = register(server)
    good = [json.dumps({"type": "message.send", "id": "m", **message(d)}).encode(), b'{"type":"ping","id":"x"}']
    for _ in range(150):
        with d.connect() as s:
            text = bytearray(rng.choice(good))
            for _ in range(rng.randrange(1, 5)):
                text[rng.randrange(len(text))] = rng.randrange(256)
            s.send_frame(1, bytes(text))
            try:
                text.decode()
                assert s.request("ping")["type"] == "pong"
            except UnicodeDecodeError:
                assert s.wait_closed() == 1007


def test_floods_leave_the_memory_flat(server):
    d, codes = register(server), set()

    def once():
        for _ in range(10):
            with d.connect() as s:
                try:
                    for i in range(300):
                        s.send_frame(9, b"x" * 100)
                        s.send_frame(1, b'{"type":"no.such","id":"f%d"}' % i)
                        s.send_frame(1, b"{")
                except (BrokenPipeError, ConnectionResetError):
                    pass
                codes.add(s.wait_closed())
        for _ in range(100):
            raw(server, GET + b"X: " + b"a" * 15000, shut=True)

    once()
    before = anonymous_bytes(server)
    once()
    once()
    assert anonymous_bytes(server) - before < 8 << 20
    assert 1008 in codes and codes <= {1008, None}  # after too many mistakes; a reset may overtake it


DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def bomb(request_id):
    """A frame of a kilobyte that inflates to a megabyte: a ping."""
    text = b'{"type":"ping","id":"%s","x":"' % request_id + b"a" * 1000000 + b'"}'
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return frame(0xC1, (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4])


@pytest.mark.parametrize("behind,code", [(b"", None), (frame(0x83, b"x"), 1002), (bomb(b"b2") + frame(0x82, b""), 1003)],
                         ids=["nothing", "bad frame", "bad frame behind another"])
def test_frames_that_inflate_come_right_behind_the_hello(server, behind, code):
    with sotto.Socket(server, headers=[DEFLATE]) as s:
        hello = json.dumps({"type": "hello", "token": register(server).token}).encode()
        s.send_raw(frame(0x81, hello) + bomb(b"b1") + behind)
        s.expect("hello")
        s.expect("pong", re="b1")
        if code is None:
            s.expect("sync.done")
            s.request("ping")
        else:
            assert s.wait_closed() == code


def test_frames_that_inflate_hold_up_nobody(tmp_path):
    """Eight requests of a megabyte each come in one read; somebody else is heard in between."""
    with sotto.Server(tmp_path, io_threads=1) as server:
        bombs = b"".join(bomb(b"b%d" % i) for i in range(8))
        with sotto.Socket(server, headers=[DEFLATE]) as s, server.open() as other:
            s.hello(register(server))
            s.expect("sync.done")
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")  # so that it has been accepted
            assert status_of(other.recv(65536)) == 200
            s.send_raw(bombs)
            other.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            page = b""
            while part := other.recv(65536):
                page += part
            served = re.search(rb'^sotto_requests_total\{via="websocket"\} (\d+)$', page, re.M)
            assert int(served[1]) < 8
            for i in range(8):  # nothing is lost, and what comes behind them is not either
                s.expect("pong", re=f"b{i}")
            s.request("ping")


def test_who_leaves_while_signing_in_is_no_fault_of_the_server(server):
    d = register(server)
    hello = frame(0x81, json.dumps({"type": "hello", "token": d.token}).encode())
    bearer = f"Host: x\r\nAuthorization: Bearer {d.token}\r\n\r\n".encode()
    before = len(server.log())
    for _ in range(100):
        for request in (b"GET /api/v1/events HTTP/1.1\r\n" + bearer, b"GET /api/v1/events/poll HTTP/1.1\r\n" + bearer,
                        None):
            if request is None:
                s = sotto.Socket(server)
                s.send_raw(hello)
                s = s.socket
            else:
                s = server.open()
                s.sendall(request)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            s.close()

    def all_gone():
        text = server.http("GET", "/metrics")[2].decode()
        return sum(int(n) for n in re.findall(r"^sotto_connections\{.*\} (\d+)$", text, re.M)) == 1  # this one's
    sotto.wait_for(all_gone, what="the end of those who left")
    with d.connect():
        pass
    assert "gateway.internal" not in server.log()[before:]


def test_someone_who_asks_and_never_reads(tmp_path):
    """Requests whose answers are never taken: not heard any more, then cut."""
    with sotto.Server(tmp_path, heartbeat="1s", idle_timeout="3s") as server:
        d = register(server)
        before = anonymous_bytes(server)
        with d.connect() as s:
            s.socket.settimeout(1)
            with pytest.raises((TimeoutError, BrokenPipeError, ConnectionResetError)):
                for i in range(200000):
                    s.send_frame(1, b'{"type":"server.info","id":"%d"}' % i)
            assert anonymous_bytes(server) - before < 64 << 20
            sotto.wait_for(lambda: b'sotto_closes_total{code="4001"} 1\n' in server.http("GET", "/metrics")[2], what="the cut")
