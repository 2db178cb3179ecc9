"""Backup, restore, check, and what is done about damaged data."""
import base64
import fcntl
import json
import os
import pathlib
import pty
import signal
import subprocess
import tempfile
import termios
import threading

import pytest

from sotto import BIN, Problem, Server, sottod, wait_for


class Load:
    """Two people who talk until told to stop; keeps what was acknowledged."""

    def __init__(self, server):
        self.anna, self.ben = server.register("anna"), server.register("ben")
        self.sent, self.failed = [], None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            channel = self.anna.connect()
            number = 0
            while not self.stopping.is_set():
                self.sent.append(channel.send_message(self.ben, f"m{number}", text=f"message {number}"))
                number += 1
            channel.close()
        except Exception as problem:  # told by whoever joins
            self.failed = problem

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.failed or len(self.sent) > 20)
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        assert self.failed is None, self.failed


def history(device, conversation):
    messages, since = [], 0
    while True:
        page = device.rest("GET", f"/conversations/{conversation}/messages?since={since}&limit=200")
        messages += page["messages"]
        if not page["hasMore"]:
            return messages
        since = messages[-1]["sequence"]


def test_backup__under_load_then_restore_and_check(server, tmp_path):
    target = tmp_path / "backup"
    with Load(server) as load:
        before = len(load.sent)
        code, out, err = server.run("backup", target)
        assert code == 0, err
        assert str(target) in out
        wait_for(lambda: load.failed or len(load.sent) > before + 50)
    assert (target / "backup").read_text().startswith("sotto-backup 1\n")
    assert all(p.lstat().st_mode & 0o077 == 0 for p in target.rglob("*"))

    (tmp_path / "restored").mkdir()
    second = Server(tmp_path / "restored")
    code, out, err = second.run("restore", target)
    assert code == 0, err
    code, out, err = second.run("check")
    assert code == 0, out + err
    assert "no problems" in out
    with second:
        anna, ben = second.login("anna"), second.login("ben")
        conversation = load.sent[0]["conversationId"]
        messages = history(ben, conversation)
        # Everything acknowledged before the backup began; dense; a prefix of what was said.
        assert len(messages) >= before
        assert [m["messageId"] for m in messages] == [s["messageId"] for s in load.sent[:len(messages)]]
        assert [m["sequence"] for m in messages] == list(range(1, len(messages) + 1))
        again = anna.send(ben, "after")
        assert again["sequence"] == len(messages) + 1


def test_backup__server_down(server, tmp_path):
    anna, ben = server.register("anna"), server.register("ben")
    anna.send(ben, "m1")
    server.stop()
    code, _, err = server.run("backup", tmp_path / "b")
    assert code == 0, err
    code, out, err = sottod("restore", tmp_path / "b", "--data-dir", tmp_path / "restored")
    assert code == 0 and "sottod check" in out, out + err
    code, out, err = sottod("check", "--data-dir", tmp_path / "restored")
    assert code == 0 and "1 messages" in out, out + err


def test_restore__old_cursors_are_found_out(server, tmp_path):
    anna, ben = server.register("anna"), server.register("ben")
    anna.send(ben, "m1")
    assert server.run("backup", tmp_path / "b")[0] == 0
    anna.send(ben, "lost with the disk")
    channel = ben.connect()
    cursor = channel.expect("sync.done")["cursor"]
    channel.close()
    (tmp_path / "restored").mkdir()
    second = Server(tmp_path / "restored")
    assert second.run("restore", tmp_path / "b")[0] == 0
    with second:
        channel = second.connect(ben, cursor)
        assert channel.expect("sync.reset")
        assert channel.expect("sync.snapshot")["conversations"][0]["lastSequence"] == 1
        channel.close()


def keys(first):
    def key(size):
        return base64.b64encode(b"\x05" + bytes(size - 1)).decode()

    signed = {"signature": key(64)}
    return {"identityKey": key(33), "registrationId": 7, "signedPrekey": {"keyId": 1, "key": key(33), **signed},
            "lastResortKemPrekey": {"keyId": 2, "key": key(1569), **signed},
            "kemPrekeys": [{"keyId": first + i, "key": key(1569), **signed} for i in range(30)],
            "ecPrekeys": [{"keyId": first + i, "key": key(33)} for i in range(30)]}


def test_restore__no_one_time_key_is_handed_out_twice(server, tmp_path):
    anna, ben = server.register("anna"), server.register("ben")
    anna.rest("PUT", "/keys", keys(first=10))
    before = ben.rest("POST", f"/users/{anna.user_id}/bundles", {})["bundles"][0]
    assert server.run("backup", tmp_path / "b")[0] == 0
    after = ben.rest("POST", f"/users/{anna.user_id}/bundles", {})["bundles"][0]
    assert (before["ecPrekey"]["keyId"], after["ecPrekey"]["keyId"]) == (10, 11)
    (tmp_path / "restored").mkdir()
    second = Server(tmp_path / "restored")
    code, _, err = second.run("restore", tmp_path / "b")
    assert code == 0, err
    assert sorted(p.name for p in second.data.iterdir() if p.name.startswith("directory")) == ["directory.db"]
    code, out, err = second.run("check")
    assert code == 0, out + err
    with second:
        channel = second.connect(anna)
        assert channel.welcome["keys"] == {"ecPrekeys": 0, "kemPrekeys": 0}
        # The lasting keys do, and she is asked for more as always.
        bundle = second.rest("POST", f"/users/{anna.user_id}/bundles", {}, ben.token)["bundles"][0]
        assert "ecPrekey" not in bundle
        assert {k: bundle[k] for k in ("identityKey", "signedPrekey")} == {
            k: before[k] for k in ("identityKey", "signedPrekey")}
        assert bundle["kemPrekey"]["keyId"] == 2
        low = channel.expect("prekeys.low")
        assert (low["ecPrekeys"], low["kemPrekeys"]) == (0, 0)
        # The same again is no answer; new ones are.
        assert second.rest("PUT", "/keys", keys(first=10), anna.token)["ecPrekeys"] == 0
        assert second.rest("PUT", "/keys", keys(first=40), anna.token)["ecPrekeys"] == 30
        bundle = second.rest("POST", f"/users/{anna.user_id}/bundles", {}, ben.token)["bundles"][0]
        assert (bundle["ecPrekey"]["keyId"], bundle["kemPrekey"]["keyId"]) == (40, 40)
        channel.close()


def test_backup__refuses_a_full_directory(server, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "precious").write_text("x")
    code, _, err = server.run("backup", tmp_path / "b")
    assert code == 1 and "not an empty directory" in err
    assert (tmp_path / "b" / "precious").read_text() == "x"


def test_backup__place_that_cannot_be(server):
    code, _, err = server.run("backup", "/proc/nowhere")
    assert code == 1 and "/proc/nowhere" in err


def test_backup__where_the_servers_user_may_not_write(others_server, tmp_path):
    tmp_path.chmod(0o755)
    code, _, err = others_server.run("backup", tmp_path / "b")
    assert code == 1 and "Permission denied" in err and "its user may write" in err


def test_restore__leaves_the_backup_as_it_is(server, tmp_path):
    """It may be somebody else's, or on a medium that cannot be written to."""
    server.register("anna")
    assert server.run("backup", tmp_path / "b")[0] == 0
    (tmp_path / "b").chmod(0o755)
    before = {p: p.stat() for p in [tmp_path / "b", *(tmp_path / "b").rglob("*")]}
    assert sottod("restore", tmp_path / "b", "--data-dir", tmp_path / "r")[0] == 0
    after = {p: p.stat() for p in [tmp_path / "b", *(tmp_path / "b").rglob("*")]}
    assert {p: (s.st_mode, s.st_mtime_ns) for p, s in after.items()} == \
        {p: (s.st_mode, s.st_mtime_ns) for p, s in before.items()}


def test_backup__configuration_comes_along(make_server, tmp_path):
    server = make_server(config="server-name = Home\n").start()
    assert server.run("backup", tmp_path / "b")[0] == 0
    assert sottod("restore", tmp_path / "b", "--data-dir", tmp_path / "r")[0] == 0
    assert (tmp_path / "r" / "sottod.conf").read_text() == "server-name = Home\n"


def test_restore__only_into_nothing(server, tmp_path):
    assert server.run("backup", tmp_path / "b")[0] == 0
    server.stop()
    code, _, err = server.run("restore", tmp_path / "b")
    assert code == 1 and "holds data already" in err


def test_restore__unfinished_backup(server, tmp_path):
    assert server.run("backup", tmp_path / "b")[0] == 0
    (tmp_path / "b" / "backup").unlink()
    code, _, err = sottod("restore", tmp_path / "b", "--data-dir", tmp_path / "r")
    assert code == 1 and "not a finished backup" in err
    assert not (tmp_path / "r" / "directory.db").exists()


def test_check__not_while_the_server_runs(server):
    code, _, err = server.run("check")
    assert code == 5 and "Stop it first" in err


@pytest.fixture
def others_server():
    """A server that runs as a user of its own, while we are root."""
    if os.getuid() != 0:
        pytest.skip("only root can be two users")
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="sotto-") as place:
        os.chown(place, 65534, 65534)
        if subprocess.run([*prefix, "test", "-x", BIN / "sottod"], check=False).returncode != 0:
            pytest.skip("another user cannot run this build")
        server = Server(place, prefix=prefix)
        yield server.start()
        server.kill()


@pytest.mark.parametrize("words", [["check"], ["backup", "b"]])
def test_root__leaves_the_data_to_the_servers_user(others_server, tmp_path, words):
    server = others_server
    server.register("anna").send(server.register("ben"), "m1")
    server.stop()
    words = [words[0], *(tmp_path / word for word in words[1:])]
    code, out, err = server.run(*words)
    assert code == 0, out + err
    assert {p.stat().st_uid for p in server.data.rglob("*")} == {65534}
    server.start()
    assert server.stop() == 0


def test_root__restores_for_the_owner_of_the_directory(others_server, tmp_path):
    server = others_server
    server.register("anna")
    assert server.run("backup", server.data.parent / "b")[0] == 0
    server.stop()
    server.data.rename(server.data.parent / "old")
    server.data.mkdir(0o700)
    os.chown(server.data, 65534, 65534)
    code, out, err = server.run("restore", server.data.parent / "b")
    assert code == 0, out + err
    server.start().login("anna")


def test_rights__a_file_of_another_user_is_not_damage(others_server):
    server = others_server
    server.stop()
    os.chown(server.data / "store" / "CURRENT", 0, 0)
    server.spawn()
    assert server.wait() == 1
    assert "store/CURRENT belongs to another user (0)" in server.log() and "chown" in server.log()


def test_backup__the_server_sees_another_place(server, tmp_path):
    """As under systemd with PrivateTmp: what it wrote is not where we look."""
    place = tmp_path / "place"
    place.mkdir()
    unshare = ["unshare", "-m"] + ([] if os.getuid() == 0 else ["-r"])
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mount namespaces are not allowed here (a chroot or a container)")
    script = f'mount -t tmpfs none "{place}" && exec "$@"'
    done = subprocess.run([*unshare, "sh", "-c", script, "sh", BIN / "sottod", "backup", place / "b",
                           "--data-dir", server.data], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "another place" in done.stderr and done.stdout == ""


def test_check__clean(server):
    anna, ben = server.register("anna"), server.register("ben")
    for i in range(10):
        anna.send(ben, f"m{i}")
    server.stop()
    code, out, err = server.run("check")
    assert code == 0, out + err
    assert "1 conversations, 10 messages" in out and "2 users: no problems." in out


def fill(server):
    """Enough that the store has sorted files, then stops it."""
    anna, ben = server.register("anna"), server.register("ben")
    channel = anna.connect()
    for i in range(60):
        channel.send_message(ben, f"m{i}", text="x" * 8000)
    channel.close()
    server.stop()
    server.start()
    server.stop()


def damage(path, offset_part=0.5, length=64):
    data = bytearray(path.read_bytes())
    at = int(len(data) * offset_part)
    data[at:at + length] = bytes(b ^ 0xFF for b in data[at:at + length])
    path.write_bytes(data)


def test_damage__store_manifest(make_server):
    server = make_server(store_write_buffer="64KiB").start()
    fill(server)
    manifest = sorted(server.data.glob("store/MANIFEST-*"))[-1]
    damage(manifest, 0.3)
    code, _, err = server.run("serve", "--port", "0")
    assert code == 4, err
    assert "restore" in err.lower() or "backup" in err.lower()


def test_damage__store_rows_are_found_by_check(make_server):
    server = make_server(store_write_buffer="64KiB").start()
    fill(server)
    tables = sorted(server.data.glob("store/*.sst"), key=lambda p: p.stat().st_size)
    assert tables
    damage(tables[-1])
    code, out, err = server.run("check")
    assert code == 4, out + err


@pytest.mark.parametrize("break_it", [
    lambda data: (data / "store" / "CURRENT").write_text(""),
    lambda data: damage(sorted(data.glob("store/MANIFEST-*"))[-1], 0.3),
    lambda data: (data / "directory.db").write_bytes(b"x" * 4096),
], ids=["current", "manifest", "directory"])
def test_check__of_what_does_not_open(server, break_it):
    server.register("anna")
    server.stop()
    break_it(server.data)
    code, out, err = server.run("check")
    assert code == 4, (code, out, err)
    assert "damaged" in err and "no problems" not in out


@pytest.mark.parametrize("lose", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")],
                         ids=["missing", "empty"])
def test_damage__messages_without_their_accounts(server, lose):
    server.register("anna")
    server.stop()
    database = server.data / "directory.db"
    lose(database)
    was = database.exists()
    code, _, err = server.run("serve", "--port", "0")
    assert code == 4 and "directory.db" in err, (code, err)
    for words in (["invite", "create"], ["user", "add", "ben", "--password-stdin"]):
        code, _, err = server.run(*words, stdin="correct horse\ncorrect horse\n")
        assert code == 4 and "directory.db" in err, (words, code, err)
    assert database.exists() == was, "what is refused changes nothing"


def test_damage__accounts_without_their_messages(server):
    server.register("anna").send(server.register("ben"), "m1")
    server.stop()
    store, away = server.data / "store", server.data.parent / "away"
    store.rename(away)
    for empty in (False, True):
        if empty:
            store.mkdir(0o700)
        for words in (["serve", "--port", "0"], ["check"]):
            code, out, err = server.run(*words)
            assert code == 4 and "are gone" in err, (words, code, err)
            assert "no problems" not in out
            assert not (store / "CURRENT").exists(), "a refusal changes nothing"
    if store.exists():
        store.rmdir()
    away.rename(store)
    server.start()
    assert server.stop() == 0
    # Somebody who means it begins again.
    store.rename(away)
    (server.data / "store-created").unlink()
    server.start().login("anna")


def test_damage__newest_messages_taken_away(server, tmp_path):
    anna, ben = server.register("anna"), server.register("ben")
    anna.send(ben, "m1")
    server.stop()
    server.start()
    anna.send(ben, "m2")
    server.stop()
    newest = max((server.data / "store").glob("*.log"))
    away = server.data.parent / newest.name
    for lose in (lambda: newest.rename(away), lambda: newest.write_bytes(b"")):
        lose()
        files = sorted((server.data / "store").iterdir())
        for words in (["serve", "--port", "0"], ["check"], ["backup", tmp_path / "no"]):
            code, out, err = server.run(*words)
            assert code == 4 and newest.name in err and "sottod restore" in err, (words, code, err)
            assert "no problems" not in out
        assert sorted((server.data / "store").iterdir()) == files, "a refusal changes nothing"
    away.rename(newest)
    server.start()
    assert server.stop() == 0
    assert "2 messages" in server.run("check")[1]
    # Somebody who means it goes on without, as the manual says.
    max((server.data / "store").glob("*.log")).unlink()
    for note in ("stopped", "running"):
        (server.data / "store" / note).unlink()
    assert server.run("backup", tmp_path / "b")[0] == 0
    assert sottod("restore", tmp_path / "b", "--data-dir", tmp_path / "r")[0] == 0


def test_damage__directory_database(server):
    server.register("anna")
    server.stop()
    database = server.data / "directory.db"
    for extra in server.data.glob("directory.db-*"):
        extra.unlink()
    data = bytearray(database.read_bytes())
    data[0:100] = b"\0" * 100
    database.write_bytes(data)
    code, _, err = server.run("serve", "--port", "0")
    assert code == 4 and "directory.db" in err, (code, err)
    assert database.read_bytes() == bytes(data), "a refused start changes nothing"


def test_payload__is_in_no_log(server):
    anna, ben = server.register("anna", password="a-secret-password"), server.register("ben")
    anna.send(ben, "m1", text="canary-9c1f")
    channel = ben.connect()
    server.stop()
    channel.close()
    encoded = base64.b64encode(b"canary-9c1f").decode()
    for secret in ("canary-9c1f", encoded, anna.token, "a-secret-password"):
        assert secret not in server.log()
        assert secret not in server.output()


def test_operator__a_password_that_is_interrupted_leaves_the_echo_on(server):
    main, other = pty.openpty()
    process = subprocess.Popen([BIN / "sottod", "user", "add", "carla", "--data-dir", server.data], stdin=other,
                               stdout=other, stderr=other, start_new_session=True,
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    shown = b""
    while b"New password: " not in shown:
        shown += os.read(main, 1024)
    assert not termios.tcgetattr(other)[3] & termios.ECHO
    os.write(main, b"long eno\x03")
    assert process.wait(20) == -signal.SIGINT
    assert termios.tcgetattr(other)[3] & termios.ECHO
    os.close(other)
    os.close(main)
    assert server.run("user", "list", "--json")[1] == ""


def test_operator__people_and_devices(server):
    code, out, err = server.run("user", "add", "carla", "--password-stdin", stdin="long enough\n")
    assert code == 0, err
    first, second = server.login("carla", "long enough"), server.login("carla", "long enough", device="phone")
    code, out, _ = server.run("device", "list", "carla", "--json")
    devices = [json.loads(line) for line in out.splitlines()]
    assert [d["name"] for d in devices] == ["test", "phone"]
    channel = first.connect()
    code, out, err = server.run("device", "revoke", "carla", first.device_id)
    assert code == 0, err
    assert channel.wait_closed() == 4003
    with pytest.raises(Problem) as refused:
        first.rest("GET", "/account")
    assert refused.value.code == "bad_token"
    assert second.rest("GET", "/account")["username"] == "carla"
    code, _, err = server.run("user", "password", "carla", "--password-stdin", stdin="even longer\n")
    assert code == 0, err
    wait_for(lambda: refused_token(second))
    channel = server.login("carla", "even longer").connect()
    code, _, err = server.run("user", "remove", "carla", "--yes")
    assert code == 0, err
    assert channel.wait_closed() == 4004
    code, _, err = server.run("user", "remove", "carla", "--yes")
    assert code == 1 and "There is no user" in err


def refused_token(device):
    try:
        device.rest("GET", "/account")
        return False
    except Problem as problem:
        return problem.code == "bad_token"


def test_operator__invites(make_server):
    server = make_server(registration="invite").start()
    code, invite, _ = server.run("invite", "create", "--valid", "2h")
    assert code == 0
    server.register("anna", invite=invite.strip())
    code, invite, _ = server.run("invite", "create")
    _, out, _ = server.run("invite", "list", "--json")
    listed = [json.loads(line) for line in out.splitlines()]
    open_ones = [i for i in listed if not i["used"] and not i["admin"]]
    assert len(open_ones) == 1 and invite.strip() not in out
    assert server.run("invite", "revoke", open_ones[0]["inviteId"])[0] == 0
    with pytest.raises(Problem) as refused:
        server.register("ben", invite=invite.strip())
    assert refused.value.code == "bad_invite"
    assert server.run("invite", "create", "--valid", "soon")[0] == 2
    code, _, err = server.run("user", "list", "--data-dir", "/nowhere", data_dir=False)
    assert code == 1 and "--data-dir" in err


def test_operator__needs_data(tmp_path):
    code, _, err = sottod("user", "list", "--data-dir", tmp_path)
    assert code == 1 and "There is no data in" in err
    assert not list(pathlib.Path(tmp_path).iterdir())
