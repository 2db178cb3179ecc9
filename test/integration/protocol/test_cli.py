"""The terminal client as a person and as a script uses it."""
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import termios
import threading

import pytest

import sotto
from described import name, register

SOTTO = str(sotto.BIN / "sotto")


started = []  # what may have to be ended after a test


@pytest.fixture(autouse=True)
def nothing_runs_on():
    yield
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    started.clear()


def start(arguments, **how):
    """Like subprocess.Popen; does not outlive the test."""
    started.append(subprocess.Popen(arguments, **how))
    return started[-1]


class Person:
    """One state directory."""

    def __init__(self, home, server):
        self.home, self.server = str(home), server

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": self.home, "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def run(self, *arguments, stdin=""):
        """(exit code, stdout, stderr)"""
        done = subprocess.run([SOTTO, "--home", self.home, *arguments], input=stdin, capture_output=True, text=True,
                              timeout=60 * sotto.SLOW, env=self.environment())
        return done.returncode, done.stdout, done.stderr

    def json(self, *arguments, code=0, stdin=""):
        got, out, err = self.run("--json", *arguments, stdin=stdin)
        assert got == code, (got, out, err)
        return [json.loads(line) for line in out.splitlines()]

    def listen(self, *arguments):
        return start([SOTTO, "--home", self.home, "listen", "--json", *arguments], text=True,
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment())


class Other:
    """Something else at the address: gives every request the same answer, or none."""

    def __init__(self, answer):
        self.answer, self.open, self.seen = answer, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            self.seen.append(connection.recv(65536))
            if self.answer is not None:
                connection.sendall(self.answer)
                connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for connection in self.open:
            connection.close()


def http_answer(status, body=b"", headers=b""):
    return b"HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


@pytest.fixture
def people(server, tmp_path):
    made = []
    for who in ("anna", "ben"):
        p = Person(tmp_path / who, server)
        p.name = name()
        p.json("register", p.name, "--server", server.url, stdin="correct horse\n")
        made.append(p)
    return made


def test_a_conversation(people):
    anna, ben = people
    assert anna.json("history", ben.name) == [] and "No messages" in anna.run("history", ben.name)[2]
    sent, = anna.json("send", ben.name, "Hello,", "Ben")
    assert sent["sequence"] == 1 and sent["stage"] == "sent"
    got, = ben.json("listen", "--count", "1", "--for", "20", "--read")
    assert got["text"] == "Hello, Ben" and got["sender"] == anna.name
    anna.json("send", ben.name, "-", stdin="from\nstdin\n")
    code, out, _ = ben.run("history", anna.name)
    assert code == 0 and "Hello, Ben" in out and "from\n    stdin" in out
    shown = ben.json("history", anna.name, "--since", "1")
    assert [m["text"] for m in shown] == ["from\nstdin"]
    entry, = ben.json("conversations")
    assert entry["with"] == anna.name and entry["unread"] == 1 and entry["lastSequence"] == 2
    status, = anna.json("status")
    assert status["signedIn"] and status["reachable"] and status["outbox"] == 0


def test_waiting_for_delivered_and_read(people):
    anna, ben = people
    listening = ben.listen("--read", "--count", "2", "--for", "30")
    sent, = anna.json("send", ben.name, "one", "--wait", "delivered")
    assert sent["stage"] == "delivered"
    sent, = anna.json("send", ben.name, "two", "--wait", "read")
    assert sent["stage"] == "read"
    out, _ = listening.communicate(timeout=30)
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["one", "two"]
    answers = anna.json("send", ben.name, "three", "--wait", "read", "--timeout", "1", code=6)
    assert answers[0]["code"] == "timeout" and answers[1]["stage"] == "sent"


def test_listen_reconnects_and_misses_nothing(tmp_path):
    directory = tmp_path / "server"
    directory.mkdir()
    with sotto.Server(directory) as server:
        server.settings["port"] = str(server.port)
        anna, ben = Person(tmp_path / "a", server), Person(tmp_path / "b", server)
        for p, n in ((anna, "anna"), (ben, "ben")):
            p.json("register", n, "--server", server.url, stdin="correct horse\n")
        listening = ben.listen("--count", "3", "--for", "60")
        anna.json("send", "ben", "before")
        assert json.loads(listening.stdout.readline())["text"] == "before"
        server.kill()
        left = anna.json("send", "ben", "while it is down", "--timeout", "0", code=4)
        assert left[0]["code"] == "unreachable"
        assert anna.json("status", code=4)[-1]["outbox"] == 1
        server.start()
        anna.json("send", "ben", "after")  # takes the waiting one along, first
        out, err = listening.communicate(timeout=60)
        assert [json.loads(line)["text"] for line in out.splitlines()] == ["while it is down", "after"]
        assert listening.returncode == 0, err


def test_listen_ends_when_it_should(people):
    anna, ben = people
    first = ben.listen()
    anna.json("send", ben.name, "hello")
    assert json.loads(first.stdout.readline())["text"] == "hello"
    second = ben.listen("--for", "30")
    assert first.wait(20) == 1 and "taken over" in first.stderr.read()
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 0
    third = ben.listen()
    device, = ben.json("devices")
    anna.json("send", ben.name, "third")
    assert json.loads(third.stdout.readline())["text"] == "third"
    ben.json("devices", "revoke", str(device["deviceId"]))
    assert third.wait(20) == 3


def test_a_new_device_gets_what_came_before_its_first_listen(people, tmp_path):
    anna, ben = people
    second = Person(tmp_path / "ben2", ben.server)
    second.json("login", ben.name, "--server", ben.server.url, stdin="correct horse\n")
    anna.json("send", ben.name, "one")
    for device in (ben, second):
        assert [m["text"] for m in device.json("listen", "--count", "1", "--for", "20")] == ["one"]


def test_count_leaves_the_rest_for_later(people):
    anna, ben = people
    for text in ("one", "two", "three"):
        anna.json("send", ben.name, text)
    for text in ("one", "two", "three"):
        got = ben.json("listen", "--count", "1", "--for", "20")
        assert [m.get("text") for m in got] == [text]
    assert ben.json("listen", "--for", "0") == []


@pytest.mark.parametrize("answer", [
    http_answer(b"200 OK", b"<html>Accept our terms</html>"), http_answer(b"200 OK", b"[]"),
    http_answer(b"301 Moved Permanently", headers=b"Location: https://127.0.0.1/\r\n"), http_answer(b"204 No Content")])
def test_another_answer_is_never_taken_for_done(people, answer):
    anna, ben = people
    anna.json("send", ben.name, "one")
    with Other(answer) as other:
        for arguments in (["contacts"], ["contacts", "block", ben.name], ["devices", "revoke", "1"], ["conversations"],
                          ["history", ben.name], ["logout"]):
            assert anna.json(*arguments, "--server", other.url, code=1)[0]["code"] == "failed", arguments
        error, status = anna.json("status", "--server", other.url, code=1)
        assert status["reachable"] is False
        kept = anna.json("send", ben.name, "two", "--timeout", "0", "--server", other.url, code=1)
        assert kept[0]["code"] == "failed"
    assert anna.json("status")[0]["outbox"] == 1
    flushed, = anna.json("send", "--flush")
    assert (flushed["sent"], flushed["failed"], flushed["waiting"]) == (1, 0, 0)
    assert [m["text"] for m in ben.json("history", anna.name)] == ["one", "two"]


def test_a_server_that_hangs_is_not_waited_for_longer(people):
    anna, ben = people
    anna.json("send", ben.name, "one")
    with Other(None) as other:
        anna.json("send", ben.name, "two", "--timeout", "0", "--server", other.url, code=4)
        assert len(other.seen) == 2  # the name and the message, once each
    assert anna.json("status")[0]["outbox"] == 1


def test_a_key_that_waits_may_be_repeated(people):
    anna, ben = people
    anna.json("send", ben.name, "zero")
    nowhere = ("--timeout", "0", "--server", "http://127.0.0.1:1")
    for _ in range(2):
        assert anna.json("send", ben.name, "x", "--id", "k", *nowhere, code=4)[0]["code"] == "unreachable"
    assert anna.json("send", ben.name, "y", "--id", "k", *nowhere, code=1)[0]["code"] == "failed"
    assert anna.json("status")[0]["outbox"] == 1
    sent, = anna.json("send", ben.name, "x", "--id", "k")
    again, = anna.json("send", ben.name, "x", "--id", "k")
    assert sent["sequence"] == again["sequence"] == 2 and again["repeated"]


def test_a_request_that_took_too_long_to_arrive_is_kept(people):
    anna, ben = people
    anna.json("send", ben.name, "zero")
    late = b'{"code":"bad_request","message":"The request took too long to arrive.","requestId":"1"}'
    with Other(http_answer(b"408 Request Timeout", late)) as other:
        anna.json("send", ben.name, "one", "--timeout", "0", "--server", other.url, code=1)
    assert anna.json("status")[0]["outbox"] == 1
    anna.json("send", "--flush")
    assert [m["text"] for m in ben.json("history", anna.name)] == ["zero", "one"]


def test_what_is_kept_is_not_overtaken(people):
    anna, ben = people
    anna.json("send", ben.name, "zero")
    busy = b'{"code":"busy","message":"The server is busy.","requestId":"1"}'
    with Other(http_answer(b"503 Busy", busy)) as other:
        for text in ("one", "two"):
            anna.json("send", ben.name, text, "--timeout", "0", "--server", other.url, code=1)
        assert not any(b"Authorization" in r for r in other.seen), "a token is for the server that gave it"
        posts = [r for r in other.seen if r.startswith(b"POST")]
        assert len(posts) == 2 and posts[0].split(b"\r\n\r\n")[1] == posts[1].split(b"\r\n\r\n")[1]
    anna.json("send", "--flush")
    assert [m["text"] for m in ben.json("history", anna.name)] == ["zero", "one", "two"]


def test_signed_out_keeps_what_waits(people):
    anna, ben = people
    anna.json("send", ben.name, "zero")
    anna.json("send", ben.name, "one", "--timeout", "0", "--server", "http://127.0.0.1:1", code=4)
    device, = anna.json("devices")
    anna.json("devices", "revoke", str(device["deviceId"]))
    error, flushed = anna.json("send", "--flush", code=3)
    assert error["code"] == "signed_out" and "1 message waiting to be sent" in error["message"]
    assert (flushed["sent"], flushed["failed"], flushed["waiting"]) == (0, 0, 1)


def test_waiting_outlives_a_restart(tmp_path):
    directory = tmp_path / "server"
    directory.mkdir()
    with sotto.Server(directory) as server:
        server.settings["port"] = str(server.port)
        anna, ben = Person(tmp_path / "a", server), Person(tmp_path / "b", server)
        for p, n in ((anna, "anna"), (ben, "ben")):
            p.json("register", n, "--server", server.url, stdin="correct horse\n")
        sending = start([SOTTO, "--home", anna.home, "--json", "send", "ben", "x", "--wait", "delivered"],
                        stdout=subprocess.PIPE, text=True, env=anna.environment())
        sotto.wait_for(lambda: ben.json("conversations"), what="the message")
        server.kill()
        assert sending.poll() is None
        server.start()
        ben.json("listen", "--count", "1", "--for", "30")
        out, _ = sending.communicate(timeout=60)
        assert sending.returncode == 0 and json.loads(out)["stage"] == "delivered"


def test_the_largest_message_fits_through_a_pipe(people):
    anna, ben = people
    anna.json("send", ben.name, "-", stdin="x" * 65536 + "\n")
    assert len(ben.json("history", anna.name)[0]["text"]) == 65536
    anna.json("send", ben.name, "-", stdin="x" * 65537, code=1)
    with open("/dev/zero", "rb") as endless:  # has no end: not read to its end
        done = subprocess.run([SOTTO, "--home", anna.home, "send", ben.name, "-"], stdin=endless, capture_output=True,
                              timeout=60 * sotto.SLOW, env=anna.environment())
    assert done.returncode == 1 and b"at most" in done.stderr


def test_contacts_and_devices(people):
    anna, ben = people
    anna.json("contacts", "add", ben.name, "--alias", "Benny")
    contact, = anna.json("contacts")
    assert contact["alias"] == "Benny" and contact["blocked"] is False
    anna.json("contacts", "block", ben.name)
    assert anna.json("contacts")[0]["blocked"] is True
    anna.json("contacts", "unblock", ben.name)
    anna.json("contacts", "remove", ben.name)
    assert anna.json("contacts") == []
    device, = anna.json("devices")
    anna.json("devices", "rename", str(device["deviceId"]), "My laptop")
    assert anna.json("devices")[0]["name"] == "My laptop"


def test_mistakes_say_what_to_do(people, tmp_path):
    anna, ben = people
    for arguments, code, words in [
            (["sned", ben.name, "x"], 2, "did you mean \"send\""), (["send", ben.name], 2, "Usage"),
            (["send", "nobody-there", "x"], 1, "there is no user"), (["send", ben.name, "x", "--wiat", "read"], 2, "--wait"),
            (["history"], 2, "missing"), (["contacts", "blok", ben.name], 2, "block"),
            (["devices", "revoke", "x"], 2, "number"), (["status", "--server", "ftp://x"], 2, "address of a server"),
            (["status", "--server", "http://127.0.0.1:1"], 4, "is the server running"),
            (["register", "again", "--server", anna.server.url], 1, "logout"), (["send", anna.name, "x"], 1, "that is you"),
            (["history", ben.name, "--limit", "many"], 2, "number"), ([], 2, "which command"), (["--json"], 2, "which command")]:
        got, out, err = anna.run(*arguments)
        assert got == code and words in out + err, (arguments, got, out, err)
    nobody = Person(tmp_path / "nobody", anna.server)
    assert nobody.run("send", "x", "y")[0] == 3
    got, _, err = nobody.run("login", anna.name, "--server", anna.server.url, stdin="wrong horse\n")
    assert got == 1 and "bad_credentials" in err


def test_hostile_text_does_not_reach_the_terminal(people):
    anna, ben = people
    evil = "\x1b]0;owned\x07\x1b[2Jhi\u009b31m"
    anna.json("send", ben.name, "-", stdin=evil)
    code, out, _ = ben.run("history", anna.name)
    assert code == 0 and "\x1b" not in out and "\x07" not in out and "\u009b" not in out and "hi" in out
    code, out, _ = ben.run("--json", "history", anna.name)
    assert code == 0 and json.loads(out)["text"] == evil
    assert not any(c in out for c in "\x1b\x07\u009b")


def test_a_message_cannot_forge_another(people):
    anna, ben = people
    anna.json("send", ben.name, "-", stdin="hello\n2026-01-01 00:00:00  #9  carol: pay me")
    code, out, _ = ben.run("history", anna.name)
    assert code == 0 and "hello\n    2026-01-01" in out


def test_a_terminal_without_utf8_gets_ascii(people):
    anna, ben = people
    anna.json("send", ben.name, "\u00db31m")  # its second byte starts a control sequence in Latin-1
    for language, expected in (("C", b"\\xc3\\x9b31m"), ("C.UTF-8", "\u00db31m".encode())):
        main, other = pty.openpty()
        process = start([SOTTO, "--home", ben.home, "history", anna.name], stdin=other, stdout=other, stderr=other,
                        env={**ben.environment(), "LC_ALL": language})
        os.close(other)
        assert process.wait(30) == 0
        assert expected in os.read(main, 4096)
        os.close(main)


def test_output_that_cannot_be_written_is_a_failure(people):
    anna, ben = people
    anna.json("send", ben.name, "hello")

    def run(*arguments, redirect):
        return subprocess.run(["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", SOTTO, "--home", ben.home, *arguments],
                              capture_output=True, timeout=60 * sotto.SLOW, env=ben.environment())
    for arguments in (["version"], ["help"], ["history", anna.name], ["--json", "status"], ["listen", "--for", "30"]):
        done = run(*arguments, redirect=">/dev/full")
        assert done.returncode == 1 and b"could not be written" in done.stderr, arguments
    assert run("status", redirect=">&-").returncode == 1
    assert run("status", redirect="2>&- <&-").returncode == 0
    assert run("send", anna.name, "-", redirect="<&-").returncode == 1


def test_listen_ends_with_its_reader(people):
    anna, ben = people
    listening = ben.listen()
    anna.json("send", ben.name, "one")
    assert json.loads(listening.stdout.readline())["text"] == "one"
    listening.stdout.close()
    assert listening.wait(20) == 1
    assert listening.stderr.read() == ""
    anna.json("send", ben.name, "two")
    assert [m["text"] for m in ben.json("listen", "--count", "1", "--for", "20")] == ["two"]


def test_json_answers_every_mistake(people):
    anna, ben = people
    for arguments, code, kind in [
            (["sned"], 2, "usage"), (["send", "--bogus"], 2, "usage"), ([], 2, "usage"), (["help", "sned"], 2, "usage"),
            (["send", ben.name, "x", "--server", "ftp://x"], 2, "usage"), (["send", b"b\xff", "x"], 1, "failed"),
            ([b"s\xff"], 2, "usage"), (["contacts", "add", ben.name, "--alias", b"\xff"], 2, "usage"),
            (["send", ben.name, "x", "--id", b"\xff"], 2, "usage"), (["listen", "--count", "0"], 2, "usage")]:
        for line in ([*arguments, "--json"], ["--json", *arguments]):
            error, = anna.json(*line, code=code)
            assert error["type"] == "error" and error["code"] == kind, line
    assert anna.json("version")[0]["type"] == "version"
    assert anna.run("help", "send")[1].startswith("usage: sotto send")


def test_state_is_private(people):
    home = people[0].home
    assert os.stat(home).st_mode & 0o777 == 0o700
    for entry in os.scandir(home):
        assert entry.stat().st_mode & 0o077 == 0, entry.name


def test_damaged_state_does_not_pass_for_signed_out(people, tmp_path):
    anna, ben = people
    state = tmp_path / "anna" / "state.db"
    whole = state.read_bytes()
    for broken in (b"garbage", whole[:9000], whole[:4096] + bytes(len(whole) - 4096)):
        state.write_bytes(broken)
        for arguments in (["status"], ["send", ben.name, "x"], ["listen", "--for", "0"], ["login", anna.name]):
            error = anna.json(*arguments, code=5)[0]
            assert error["code"] == "state" and "Move it away" in error["message"]
    state.unlink()
    state.mkdir()
    assert "Is a directory" in anna.json("status", code=5)[0]["message"]


def test_a_home_that_others_can_change_is_refused(people):
    anna, ben = people
    os.chmod(anna.home, 0o777)
    assert "chmod 700" in anna.json("status", code=5)[0]["message"]
    os.chmod(anna.home, 0o755)
    anna.json("status")


def test_what_is_refused_later_is_named(people):
    anna, ben = people
    anna.json("send", ben.name, "one", "--id", "k")
    anna.json("send", ben.name, "two", "--id", "k", "--timeout", "0", "--server", "http://127.0.0.1:1", code=4)
    error, failed, sent = anna.json("send", ben.name, "three", code=1)
    assert failed["type"] == "message.failed" and failed["clientMsgId"] == "k"
    assert failed["code"] == "client_msg_id_conflict" and error["type"] == "error" and sent["type"] == "message.sent"
    anna.json("send", ben.name, "two", "--id", "k", "--timeout", "0", "--server", "http://127.0.0.1:1", code=4)
    listening = anna.listen()
    assert any(json.loads(line)["type"] == "message.failed" for line in listening.stdout)
    listening.send_signal(signal.SIGINT)
    assert listening.wait(20) == 0


def test_the_password_is_not_echoed(server, tmp_path):
    main, other = pty.openpty()
    p = Person(tmp_path / "pty", server)
    process = start([SOTTO, "--home", p.home, "register", name(), "--server", server.url], stdin=other,
                    stdout=subprocess.PIPE, stderr=other, env=p.environment(), text=True)
    os.close(other)
    shown = b""
    for prompt in (b"Password: ", b"Once more: "):
        while prompt not in shown:
            shown += os.read(main, 1024)
        os.write(main, b"correct horse\n")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "Welcome" in out
    assert b"horse" not in shown
    os.close(main)


def own_terminal():
    """In the child: its input is its terminal, and keys do what they do, whatever started the tests."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("key", [b"\x03", b"\x1c", b"\x1a"])
def test_the_echo_comes_back_when_the_password_is_interrupted(server, tmp_path, key):
    main, other = pty.openpty()
    p = Person(tmp_path / "pty", server)
    process = start([SOTTO, "--home", p.home, "login", "anna", "--server", server.url], stdin=other, stdout=other,
                    stderr=other, env=p.environment(), start_new_session=True, preexec_fn=own_terminal)
    shown = b""
    while b"Password: " not in shown:
        shown += os.read(main, 1024)
    assert not termios.tcgetattr(other)[3] & termios.ECHO
    os.write(main, b"corr" + key)
    if key == b"\x1a":  # nobody could wake the leader of a session: it asks again
        while shown.count(b"Password: ") < 2:
            shown += os.read(main, 1024)
        os.write(main, b"\x03")
    assert process.wait(20) == (-signal.SIGQUIT if key == b"\x1c" else -signal.SIGINT)
    assert termios.tcgetattr(other)[3] & termios.ECHO
    os.close(other)
    os.close(main)


def test_a_name_that_is_not_found_out_can_be_interrupted(tmp_path):
    """A name server that does not answer, and Ctrl-C meanwhile."""
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("takes root, and a mount namespace")
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("")
    resolver.write_text("nameserver 127.0.0.77\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, sotto.Server(tmp_path) as server:
        silent.bind(("127.0.0.77", 53))
        silent.settimeout(30)
        p = Person(tmp_path / "home", server)
        p.json("register", "anna", "--server", f"http://localhost:{server.port}", stdin="correct horse\n")
        bind = f"mount --bind {hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf && exec \"$@\""
        listening = subprocess.Popen(["unshare", "-m", "sh", "-c", bind, "sh", SOTTO, "--home", p.home, "listen"],
                                     env=p.environment(), stdout=subprocess.DEVNULL)
        assert silent.recv(512)
        listening.send_signal(signal.SIGINT)
        assert listening.wait(20) == -signal.SIGINT


def test_tls_is_verified(tmp_path):
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    with sotto.Server(tmp_path, tls_cert=cert, tls_key=key) as server:
        p = Person(tmp_path / "home", server)
        url = f"https://localhost:{server.port}"
        code, _, err = p.run("register", "anna", "--server", url, stdin="correct horse\n")
        assert code == 4 and "--ca" in err  # not signed by anybody we trust
        p.json("register", "anna", "--server", url, "--ca", cert, stdin="correct horse\n")
        other = register(server)
        p.json("send", other.username, "over TLS")
        other.send(p.json("status")[0]["userId"], "back")
        got = p.json("listen", "--count", "1", "--for", "20")  # --ca is remembered
        assert got[-1]["text"] == "back"
        wrong = Person(tmp_path / "wrong", server)
        code, _, err = wrong.run("register", "ben", "--server", f"https://127.0.0.1:{server.port}", "--ca", cert,
                                 stdin="correct horse\n")
        assert code == 4 and "certificate" in err  # which is for another name
        moved = f"https://127.0.0.1:{server.port}"
        _, _, err = p.run("listen", "--for", "1", "--server", moved)
        assert f"No connection to {moved}" in err and "certificate" in err
