"""The disk runs full: sends are refused, reading goes on, and it recovers.

Needs a small file system of its own, so this file starts itself again in a
private mount namespace (as root, or where user namespaces are allowed).
"""
import errno
import json
import os
import pathlib
import subprocess
import sys

import pytest

from sotto import Problem, Server, wait_for

INSIDE = "SOTTO_TEST_SMALL_DISK"


def can_unshare():
    return subprocess.run(["unshare", "-m", "-r", "true"] if os.getuid() else ["unshare", "-m", "true"],
                          capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(INSIDE in os.environ, reason="is the outer half")
def test_disk_full__in_a_namespace(tmp_path):
    if not can_unshare():
        pytest.skip("mount namespaces are not allowed here (a chroot or a container)")
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = ["unshare", "-m"] + ([] if os.getuid() == 0 else ["-r"])
    script = f'mount -t tmpfs -o size=96m,mode=700 none "{disk}" && exec "$@"'
    done = subprocess.run([*unshare, "sh", "-c", script, "sh", sys.executable, "-B", "-m", "pytest", "-q", "-x",
                           "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "inner"), __file__],
                          env={**os.environ, INSIDE: str(disk)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout[-6000:] + done.stderr[-2000:]


inside = pytest.mark.skipif(INSIDE not in os.environ, reason="runs in the inner half")


def fill_disk(path, leave_bytes):
    """A file that takes all but leave_bytes of the file system. The server makes room ahead for
    its log after it has answered: what is free may get less meanwhile."""
    chunk = b"\1" * (1 << 20)
    with open(path, "wb", buffering=0) as f:
        while (take := free_bytes(path) - leave_bytes) > 0:
            try:
                f.write(chunk[:min(take, len(chunk))])
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break


def free_bytes(path):
    stat = os.statvfs(path.parent)
    return stat.f_bavail * stat.f_frsize


def send_until_refused(anna, ben, tries=3000):
    acknowledged = []
    for i in range(tries):
        try:
            acknowledged.append(anna.send(ben, f"fill{i}", text="y" * 20000))
        except Problem as problem:
            return acknowledged, problem
    raise AssertionError("nothing was refused")


@inside
@pytest.mark.parametrize("reserve, leave", [("16MiB", 12 << 20), ("0", 2 << 20), ("16MiB", 0)])
def test_disk_full__refuses_reads_recovers(reserve, leave):
    home = pathlib.Path(os.environ[INSIDE]) / f"reserve-{reserve}-{leave}"
    home.mkdir()
    filler = home / "filler"
    with Server(home, disk_reserve=reserve, store_write_buffer="1MiB") as server:
        anna, ben = server.register("anna"), server.register("ben")
        first = anna.send(ben, "first")
        conversation = first["conversationId"]
        fill_disk(filler, leave)
        acknowledged, refused = send_until_refused(anna, ben)
        assert refused.code == "storage_full", refused
        assert refused.status == 507
        if reserve != "0":
            wait_for(lambda: server.http("GET", "/readyz")[0] == 503)
            assert json.loads(server.http("GET", "/readyz")[2])["reasons"] == ["disk_full"]
        # Reading goes on.
        page = ben.rest("GET", f"/conversations/{conversation}/messages?limit=5")
        assert len(page["messages"]) > 0
        channel = ben.connect()
        channel.expect("sync.done")
        channel.close()
        assert server.http("GET", "/healthz")[0] == 200
        # Room again: it recovers by itself.
        filler.unlink()
        last = wait_for(lambda: try_send(anna, ben), what="a send after the disk had room")
        wait_for(lambda: server.http("GET", "/readyz")[0] == 200)
        assert last["sequence"] == len(acknowledged) + 2
        everything = []
        since = 0
        while True:
            page = ben.rest("GET", f"/conversations/{conversation}/messages?since={since}&limit=200")
            everything += page["messages"]
            if not page["hasMore"]:
                break
            since = everything[-1]["sequence"]
        assert [m["messageId"] for m in everything] == \
            [m["messageId"] for m in [first, *acknowledged, last]]
    code, out, err = server.run("check")
    assert code == 0, out + err


def try_send(anna, ben):
    try:
        return anna.send(ben, "after")
    except Problem as problem:
        assert problem.code in ("storage_full", "uncertain", "busy"), problem
        return None
