"""Behind a proxy that is trusted, each client has its own address; others are not believed."""
import http.client
import json
import re
import select

import pytest

import sotto
from described import Rest, Socket, check_error, name, register


def forwarded(address):
    return {"X-Forwarded-For": address}


def connected(server):
    text = server.http("GET", "/metrics")[2].decode()
    return int(re.search(r'sotto_connections\{kind="websocket"\} (\d+)', text)[1])


def login(server, address, username, password="a guess"):
    body = json.dumps({"username": username, "password": password, "deviceName": "x", "platform": "test"})
    status, _, answer = server.http("POST", "/api/v1/login", body,
                                    {"Content-Type": "application/json", **forwarded(address)})
    return status, json.loads(answer)


def test_guesses_of_one_client_hold_up_only_that_one(tmp_path):
    with sotto.Server(tmp_path, trusted_proxies="127.0.0.1, 10.0.0.0/8") as server:
        d = register(server)
        # What it says of itself does not help: the last one that is no proxy counts.
        for i in range(30):
            status, answer = login(server, f"192.0.2.{i}, 203.0.113.9, 10.1.1.1", f"{name()}.{i}"[:32])
        assert status == 429 and answer["code"] == "rate_limited"
        assert login(server, "198.51.100.7", d.username, d.password)[0] == 200
        assert login(server, "203.0.113.9", d.username, d.password)[0] == 429


def test_the_limit_of_an_address_is_each_clients(tmp_path):
    with sotto.Server(tmp_path, trusted_proxies="127.0.0.1", limit_address="1/m burst 5") as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=sotto.ANSWER_SECONDS)

        def status(address):  # all on one connection of the proxy's
            kept.request("GET", "/api/v1/server", headers=forwarded(address))
            answer = kept.getresponse()
            answer.read()
            return answer.status

        assert [status("203.0.113.9") for _ in range(6)] == [200] * 5 + [429]
        assert [status(f"198.51.100.{i}") for i in range(10)] == [200] * 10
        assert status("203.0.113.9") == 429
        kept.close()


def test_the_connections_of_an_address_are_each_clients(tmp_path):
    with sotto.Server(tmp_path, trusted_proxies="127.0.0.1", connections_per_address=3) as server:
        held = [Socket(server, headers=["X-Forwarded-For: 203.0.113.9"]) for _ in range(3)]
        with pytest.raises(sotto.Problem) as problem:
            Socket(server, headers=["X-Forwarded-For: 203.0.113.9"])
        assert problem.value.status == 429
        held += [Socket(server, headers=[f"X-Forwarded-For: 203.0.113.{i}"]) for i in range(10, 20)]
        held.pop(0).close()
        sotto.wait_for(lambda: connected(server) == 12, 10, "the end")
        Socket(server, headers=["X-Forwarded-For: 203.0.113.9"]).close()
        for s in held:
            s.close()


def test_who_is_not_trusted_is_not_believed(tmp_path):
    with sotto.Server(tmp_path, trusted_proxies="10.0.0.0/8", limit_address="1/m burst 5") as server:
        statuses = [server.http("GET", "/api/v1/server", headers=forwarded(f"198.51.100.{i}"))[0] for i in range(6)]
        assert statuses == [200] * 5 + [429]


def test_metrics_are_for_this_machine(tmp_path):
    with sotto.Server(tmp_path, trusted_proxies="127.0.0.1") as server:
        assert server.http("GET", "/metrics")[0] == 200
        status, _, body = server.http("GET", "/metrics", headers=forwarded("203.0.113.9"))
        assert status == 403 and b"metrics = on" in body
        assert server.http("GET", "/healthz", headers=forwarded("203.0.113.9"))[0] == 200
        assert Rest(server).ok("GET", "/server")
    with sotto.Server(tmp_path, trusted_proxies="127.0.0.1", metrics="on") as server:
        assert server.http("GET", "/metrics", headers=forwarded("203.0.113.9"))[0] == 200


BODY = b"x" * 1000000  # of a megabyte; 16 of them are the share of one address


def begin_body(server, address):
    """A login of which the last byte is missing; address None: the proxy's own."""
    s = server.open()
    said = b"X-Forwarded-For: %s\r\n" % address.encode() if address else b""
    s.sendall(b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s"
              b"Content-Length: %d\r\n\r\n%s" % (said, len(BODY), BODY[1:]))
    return s


def answer(s):
    """(status, error) that has come."""
    head, _, body = s.recv(65536).partition(b"\r\n\r\n")
    check_error(error := json.loads(body), status := int(head.split()[1]))
    return status, error["code"]


def test_bodies_in_part_are_each_clients(tmp_path):
    # One loop, so that no two of them grow at the same time.
    with sotto.Server(tmp_path, trusted_proxies="127.0.0.1", io_threads=1) as server:
        sockets = [begin_body(server, "203.0.113.9") for _ in range(24)]

        def answered():
            return select.select(sockets, [], [], 0)[0]
        sotto.wait_for(lambda: len(answered()) >= 8, what="refusals")
        others = [begin_body(server, address) for address in ["198.51.100.7"] * 2 + [None] * 20]
        for s in others:
            s.sendall(BODY[:1])
            assert answer(s) == (400, "bad_json")
        refused = answered()
        assert len(refused) == 8 and all(answer(s) == (503, "busy") for s in refused)
        for s in set(sockets) - set(refused):
            s.sendall(BODY[:1])
            assert answer(s) == (400, "bad_json")
        for s in sockets + others:
            s.close()


def test_one_connection_carries_the_bodies_of_many(tmp_path):
    """Each is counted for its own client, and given back to it."""
    with sotto.Server(tmp_path, trusted_proxies="127.0.0.1", io_threads=1) as server:
        with server.open() as s:
            for i in range(40):
                s.sendall(b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                          b"X-Forwarded-For: 203.0.113.%d\r\nContent-Length: %d\r\n\r\n%s" % (i % 3, len(BODY), BODY))
                assert answer(s) == (400, "bad_json")
        sockets = [begin_body(server, f"203.0.113.{i}") for i in range(3) for _ in range(16)]
        for s in sockets:
            s.sendall(BODY[:1])
            assert answer(s) == (400, "bad_json")
            s.close()


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_body_of_a_client_with_too_many_connections_is_not_taken(tmp_path, expect):
    with sotto.Server(tmp_path, trusted_proxies="127.0.0.1", connections_per_address=1) as server:
        with Socket(server, headers=["X-Forwarded-For: 203.0.113.9"]), server.open() as s:
            s.sendall(b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      b"X-Forwarded-For: 203.0.113.9\r\n%sContent-Length: 2\r\n\r\n" % expect)
            assert answer(s) == (429, "rate_limited")
            assert s.recv(1) == b""
