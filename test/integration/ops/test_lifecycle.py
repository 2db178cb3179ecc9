"""Start, first minute, drain, stop, exit codes, rights of files."""
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess

import pytest

from sotto import Closed, Problem, Server, sottod, wait_for


def test_first_minute__invite_works_once(make_server):
    server = make_server(registration=None).start()
    said = wait_for(lambda: "Ctrl-C" in server.output() and server.output())
    assert f"Listening on http://127.0.0.1:{server.port}" in said
    line = re.search(r"register NAME --server (\S+) --invite (\S+)", said)
    assert line and line.group(1) == server.url
    with pytest.raises(Problem) as refused:
        server.register("nobody")
    assert refused.value.code == "bad_invite"
    server.register("anna", invite=line.group(2))
    with pytest.raises(Problem) as refused:
        server.register("ben", invite=line.group(2))
    assert refused.value.code == "bad_invite"
    code, out, _ = server.run("user", "list", "--json")
    assert code == 0 and '"username":"anna"' in out and '"admin":true' in out


def test_first_minute__again_after_restart_without_users(make_server):
    server = make_server(registration=None).start()
    wait_for(lambda: server.output().count("--invite ") == 1)
    server.restart()
    wait_for(lambda: server.output().count("--invite ") == 2)
    invites = re.findall(r"--invite (\S+)", server.output())
    assert invites[0] != invites[1]
    server.register("anna", invite=invites[1])
    server.restart()
    wait_for(lambda: server.output().count("Ctrl-C") == 3)
    assert server.output().count("--invite ") == 2


def test_first_minute__invite_is_not_in_the_log(make_server):
    server = make_server(registration=None).start()
    invite = re.search(r"--invite (\S+)", wait_for(lambda: "Ctrl-C" in server.output() and server.output())).group(1)
    server.stop()
    assert invite not in server.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop__drains_and_exits_0(server, number):
    device = server.register("anna")
    channel = device.connect()
    server.signal(number)
    assert channel.wait_closed() == 4000
    assert server.wait() == 0
    assert not (server.data / "port").exists()
    assert not (server.data / "admin.sock").exists()


def test_stop__what_was_acknowledged_stays(server):
    anna, ben = server.register("anna"), server.register("ben")
    sent = [anna.send(ben, f"m{i}") for i in range(20)]
    server.restart()
    conversation = sent[0]["conversationId"]
    page = ben.rest("GET", f"/conversations/{conversation}/messages?since=0&limit=100")
    assert [m["sequence"] for m in page["messages"]] == list(range(1, 21))
    assert [m["messageId"] for m in page["messages"]] == [s["messageId"] for s in sent]


def begin_registration(server, username):
    """Sends the request and does not wait for its answer."""
    body = json.dumps({"username": username, "password": "correct horse", "deviceName": "x", "platform": "x"})
    s = server.open()
    s.sendall(f"POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return s


@pytest.fixture(params=["text", "json"])
def stuck(make_server, request):
    """A server with a request in flight: its database is locked by us."""
    server = make_server(log_format=request.param).start()
    server.register("anna")
    lock = sqlite3.connect(server.data / "directory.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    waiting = begin_registration(server, "ben")
    wait_for(lambda: b'sotto_requests_total{via="rest"} 2\n' in server.http("GET", "/metrics")[2])
    yield server, lock, waiting
    waiting.close()
    lock.close()


@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["user", "list"], ["check"], ["backup", "b"]])
@pytest.mark.parametrize("mode,files", [(0o1777, []), (0o755, ["passwd"]), (0o755, ["lock"])])
def test_rights__a_directory_of_others_stays_so(tmp_path, words, mode, files):
    for name in files:
        (tmp_path / name).write_text("")
    tmp_path.chmod(mode)
    code, _, err = sottod(*words, "--data-dir", tmp_path)
    assert code == 1 and "a directory of its own" in err
    assert tmp_path.stat().st_mode & 0o7777 == mode and [p.name for p in tmp_path.iterdir()] == files


def test_stop__waits_for_what_is_in_flight(stuck):
    server, lock, request = stuck
    server.signal(signal.SIGTERM)
    server.wait_for_log("server.drain")
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(0.5)
    lock.execute("ROLLBACK")
    assert b"HTTP/1.1 200" in request.recv(65536)
    assert server.wait() == 0


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return False
    except ConnectionResetError:
        return False  # in the midst of closing
    except ConnectionRefusedError:
        return True


def test_stop__new_connections_are_refused_while_draining(stuck):
    server, lock, request = stuck
    assert not is_refused(server.port)
    server.signal(signal.SIGTERM)
    wait_for(lambda: is_refused(server.port))
    assert server.process.poll() is None
    lock.execute("ROLLBACK")
    assert b"HTTP/1.1 200" in request.recv(65536)
    assert server.wait() == 0


def test_stop__second_signal_ends_at_once(stuck, request):
    server, _, _ = stuck
    server.signal(signal.SIGTERM)
    server.wait_for_log("server.drain")
    server.signal(signal.SIGTERM)
    assert server.wait() == 1
    assert "second signal" in server.log()
    if request.node.callspec.params["stuck"] == "json":
        events = [json.loads(line)["event"] for line in server.log().splitlines()]
        assert events[-1] == "server.quit"


def test_kill__restart_without_ceremony(server):
    anna, ben = server.register("anna"), server.register("ben")
    sent = anna.send(ben, "m1")
    server.kill()
    assert (server.data / "admin.sock").exists()
    server.start()
    assert anna.send(ben, "m1")["messageId"] == sent["messageId"]


def test_rights__owner_only(server):
    anna, ben = server.register("anna"), server.register("ben")
    anna.send(ben, "m1")
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    for path in server.data.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode & 0o077 == 0, f"{path}: {mode:o}"


def test_rights__taken_away_from_an_open_directory(make_server):
    server = make_server()
    server.data.mkdir(mode=0o755)
    server.start()
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert "datadir.rights" in server.log()


def test_exit__data_directory_in_use(server):
    code, _, err = server.run("serve", "--port", "0")
    assert code == 5
    assert f"in use by another process, pid {server.process.pid}" in err


def test_exit__port_in_use(server, tmp_path):
    code, _, err = sottod("serve", "--data-dir", tmp_path / "other", "--port", server.port)
    assert code == 5
    assert f"Port {server.port} of 127.0.0.1 is in use" in err and "--port" in err


def test_exit__address_not_ours(tmp_path):
    code, _, err = sottod("serve", "--data-dir", tmp_path / "d", "--listen", "192.0.2.1", "--port", 0)
    assert code == 1
    assert "192.0.2.1" in err


def test_listen__several_addresses(make_server):
    server = make_server(listen="127.0.0.1, 127.0.0.2").start()
    for address in ("127.0.0.1", "127.0.0.2"):
        socket.create_connection((address, server.port), 5).close()


@pytest.mark.parametrize("log", ["/dev/full", "log"])
def test_pipe__closed_log_is_no_reason_to_die(tmp_path, log):
    pipe = tmp_path / "log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    server = Server(tmp_path, prefix=["/bin/sh", "-c", f'exec "$@" 2>"{tmp_path / log}"', "sh"])
    with server:
        os.close(reader)  # nobody reads what comes now
        server.register("anna")
        assert server.http("GET", "/healthz")[0] == 200


def test_closed__reader_sees_no_data_after_drain(server):
    channel = server.register("anna").connect()
    channel.expect("sync.done")
    channel.held.clear()
    assert server.stop() == 0
    with pytest.raises(Closed) as closed:
        channel.read()
    assert closed.value.code == 4000
    assert channel.buffer + channel.socket.recv(1) == b""
