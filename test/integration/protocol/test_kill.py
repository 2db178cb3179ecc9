"""kill -9 at random moments: whatever was acknowledged is there, once and in order.

Several people send without pause; at a random moment the server dies and is
started again on the same data. Each sender repeats what was not answered, under
the same clientMsgId, as a real client does. At the end every conversation is
read back and compared with the acknowledgements, and `sottod check` looks at the
store from inside.
"""
import base64
import os
import queue
import random
import threading
import time

import pytest

import sotto
from described import Chain, Rest, check_event, history, message, poll, register, text_of

ROUNDS = 50
SENDERS = 4


class Sender(threading.Thread):
    """Sends numbered messages over the WebSocket until told to stop; reconnects
    when the server is gone. acked: number -> answer."""

    def __init__(self, server, device, to, tag):
        super().__init__(daemon=True)
        self.server, self.device, self.to, self.tag = server, device, to, tag
        self.acked, self.problem, self.next = {}, None, 0
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                try:
                    self.session()
                except (OSError, sotto.Closed, sotto.Problem):
                    time.sleep(0.01)
        except Exception as e:
            self.problem = repr(e)

    def session(self):
        waiting = {}
        with sotto.Socket(self.server) as s:
            s.hello(self.device)
            for n in range(self.next):  # whatever is still unanswered, first
                if n not in self.acked:
                    waiting[self.send(s, n)] = n
            while not self.stopping.is_set() or waiting:
                while len(waiting) < 8 and not self.stopping.is_set():
                    waiting[self.send(s, self.next)] = self.next
                    self.next += 1
                e = s.read(10)
                if e["type"] == "message.sent":
                    check_event(e)
                    n = waiting.pop(e["clientMsgId"])
                    before = self.acked.setdefault(n, e)
                    assert before["messageId"] == e["messageId"] and before["sequence"] == e["sequence"]
                elif e["type"] == "error":
                    if e["code"] not in ("draining", "busy", "uncertain"):
                        raise AssertionError(e)
                    raise sotto.Closed(None)

    def send(self, s, n):
        key = f"{self.tag}-{n}"
        s.send({"type": "message.send", **message(self.to, f"{self.tag} {n} " + "p" * (n % 7 * 40), key)})
        return key


class Reader(threading.Thread):
    """Follows by cursor across all crashes; every chain must verify."""

    def __init__(self, server, device):
        super().__init__(daemon=True)
        self.server, self.device = server, device
        self.chains, self.problem, self.cursor = {}, None, None
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                try:
                    self.session()
                except (OSError, sotto.Closed, sotto.Problem):
                    time.sleep(0.01)
        except Exception as e:
            self.problem = repr(e)

    def take(self, e):
        if e["type"] == "message.new":
            self.chains.setdefault(e["conversationId"], Chain()).add(e)
        assert e["type"] != "sync.reset", "the cursor was lost"

    def session(self):
        with sotto.Socket(self.server) as s:
            s.hello(self.device, self.cursor)
            while not self.stopping.is_set():
                try:
                    e = s.read(0.5)
                except TimeoutError:
                    continue
                for inner in e["events"] if e["type"] == "sync.batch" else [e]:
                    self.take(inner)
                if "cursor" in e:
                    self.cursor = e["cursor"]


@pytest.mark.parametrize("seed", [1])
def test_kill_sweep(tmp_path, seed):
    seed = int(os.environ.get("SOTTO_SEED", seed))
    rounds = int(os.environ.get("SOTTO_ROUNDS", ROUNDS))
    rng = random.Random(seed)
    print(f"seed {seed}, {rounds} rounds")
    server = sotto.Server(tmp_path, store_write_buffer="256KiB", log_level="warn")
    server.start()
    threads = []
    try:
        server.settings["port"] = str(server.port)
        people = [register(server) for _ in range(SENDERS)]
        target = register(server)
        reader = Reader(server, target)
        with target.connect() as s:
            reader.cursor = s.cursor
        senders = [Sender(server, p, target, f"s{i}") for i, p in enumerate(people)]
        threads += [reader, *senders]
        for t in threads:
            t.start()
        for number in range(rounds):
            before = sum(len(s.acked) for s in senders)
            time.sleep(rng.random() * 0.15)  # the random moment is the point
            server.kill()
            server.start()
            if number % 10 == 9:  # make sure that the rounds are not empty
                sotto.wait_for(lambda: sum(len(s.acked) for s in senders) > before, 20, "progress")
            assert not [t.problem for t in threads if t.problem]
        for s in senders:
            s.stopping.set()
        for s in senders:
            s.join(30)
            assert s.problem is None and not s.is_alive()
        verify(server, senders, target, reader)
    finally:
        for t in threads:
            t.stopping.set()
        server.kill()
    code, out, err = server.run("check")
    assert code == 0, out + err


def verify(server, senders, target, reader):
    total = 0
    for s in senders:
        # A few may be unanswered: repeat them, which makes them exactly one.
        for n in range(s.next):
            answer = s.device.send(target, f"{s.tag} {n} " + "p" * (n % 7 * 40), f"{s.tag}-{n}")
            if n in s.acked:
                assert answer.get("repeated") is True
                assert answer["messageId"] == s.acked[n]["messageId"]
                assert answer["sequence"] == s.acked[n]["sequence"] and answer["chain"] == s.acked[n]["chain"]
            s.acked[n] = answer
            conversation = answer["conversationId"]
        stored = history(target, conversation)  # dense, once, and the chain verifies
        assert len(stored) == s.next
        assert {m["messageId"] for m in stored} == {a["messageId"] for a in s.acked.values()}
        assert sorted(text_of(m).split()[1] for m in stored) == sorted(str(n) for n in range(s.next))
        by_sequence = {m["sequence"]: m["messageId"] for m in stored}
        assert all(by_sequence[a["sequence"]] == a["messageId"] for a in s.acked.values())
        sotto.wait_for(lambda: conversation in reader.chains and
                       reader.chains[conversation].sequence == len(stored) or reader.problem, 20, "the reader")
        assert reader.problem is None
        assert bytes(reader.chains[conversation].value) == base64.b64decode(stored[-1]["chain"])
        total += len(stored)
    print(f"{total} messages")
    assert total > 500
