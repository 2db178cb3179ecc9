"""Clients that hold the server to its description.

Whatever comes back, over REST, the WebSocket, server-sent events or long-poll,
is checked against docs/openapi.yaml and docs/asyncapi.yaml, which allow no member
that they do not name. `seen` counts what has been checked; test_what_was_seen.py asks
whether everything was, in all files together.
"""
import base64
import collections
import hashlib
import itertools
import json
import pathlib
import re
import socket
import time
import uuid

import jsonschema
import yaml

import sotto

ROOT = pathlib.Path(__file__).resolve().parents[3]
OPENAPI = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
ASYNCAPI = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
# code -> HTTP status, from the server's own table.
CODES = {code: int(status) for code, status in
         re.findall(r'X\(PROBLEM_\w+,\s*"(\w+)",\s*(\d+),', (ROOT / "src" / "wire" / "problem.h").read_text())
         if code != "ok"}
# A request that is wrong as HTTP is a bad_request with the status for what is wrong.
HTTP_STATUSES = {"bad_request": (408, 415, 426, 501, 505), "too_large": (414, 431)}
STORE = {"openapi.yaml": OPENAPI, "asyncapi.yaml": ASYNCAPI}
seen = collections.Counter()


def _validator(document, name):
    schema = {"$ref": f"{document}#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(
        schema, resolver=jsonschema.RefResolver("", schema, store=STORE))


def _by_type():
    """The schema of each thing that the event channel may carry, by its type."""
    table = {}
    for entry in ASYNCAPI["components"]["schemas"]["Event"]["oneOf"]:
        document, _, name = entry["$ref"].rpartition("#/components/schemas/")
        document = document or "asyncapi.yaml"
        kind = STORE[document]["components"]["schemas"][name]["properties"]["type"]["const"]
        table[kind] = _validator(document, name)
    return table


EVENTS = _by_type()


def _schema_of(node):
    """Validator for a response's schema node."""
    document, _, name = node["$ref"].rpartition("#/components/schemas/")
    return _validator(document or "openapi.yaml", name)


class Operation:
    def __init__(self, name, method, path, spec):
        self.name, self.method, self.path = name, method, path
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        self.matches = re.compile(f"^{pattern}$").match
        answer = spec["responses"].get("200")
        if answer and "$ref" in answer:
            answer = OPENAPI["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
        content = (answer or {}).get("content", {}).get("application/json")
        self.answer = _schema_of(content["schema"]) if content else None


OPERATIONS = [Operation(spec["operationId"], method.upper(), path, spec)
              for path, item in OPENAPI["paths"].items() for method, spec in item.items()
              if method in ("get", "put", "post", "patch", "delete")]
BY_NAME = {o.name: o for o in OPERATIONS}
# The event channel's ways, which are no operations; operations that only the WebSocket has; and
# all that the server has, from its own table.
TRANSPORTS = {"events.stream", "events.poll", "events.socket"}
SOCKET_ONLY = {entry["const"] for entry in
               ASYNCAPI["components"]["schemas"]["Request"]["properties"]["type"]["anyOf"] if "const" in entry}
SERVED = set(re.findall(r'^    (?:RUN|START)\("([\w.]+)"', (ROOT / "src" / "api" / "operations.c").read_text(), re.M))
ERROR = EVENTS["error"]


def check_error(body, status=None):
    ERROR.validate(body)
    if status is not None:
        exact = HTTP_STATUSES.get(body["code"], ())
        assert status == CODES[body["code"]] or status in exact, f"{body['code']} came with {status}"
    if body["code"] == "rate_limited":
        assert body.get("retryAfterMs", 0) > 0
    seen["code " + body["code"]] += 1


def check_event(event):
    assert event["type"] in EVENTS, f"undescribed event {event}"
    if event["type"] == "error":
        check_error(event)
    else:
        EVENTS[event["type"]].validate(event)
    seen["event " + event["type"]] += 1
    return event


class Rest:
    """Checked REST calls with (or without) a token."""

    def __init__(self, server, token=None):
        self.server, self.token = server, token

    def call(self, method, path, body=None, headers=None):
        """(status, object). path is after /api/v1."""
        head = dict(headers or {})
        if self.token:
            head["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            head["Content-Type"] = "application/json"
        status, answer_head, raw = self.server.http(method, "/api/v1" + path, body, head)
        assert answer_head["Content-Type"].startswith("application/json"), answer_head["Content-Type"]
        answer = json.loads(raw)
        assert "re" not in answer
        if status == 200:
            plain = ("/api/v1" + path).split("?")[0]
            found = [o for o in OPERATIONS if o.method == method and o.matches(plain)]
            assert found, f"undescribed operation {method} {path}"
            # A literal path comes before one with parameters.
            operation = min(found, key=lambda o: o.path.count("{"))
            operation.answer.validate(answer)
            seen["rest " + operation.name] += 1
        else:
            check_error(answer, status)
            if status in (429, 503):
                assert int(answer_head["Retry-After"]) >= 1
        return status, answer

    def ok(self, method, path, body=None, headers=None):
        status, answer = self.call(method, path, body, headers)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    def refused(self, code, method, path, body=None, headers=None):
        """The call must fail with this code; the error."""
        status, answer = self.call(method, path, body, headers)
        assert status != 200, f"{method} {path} went through: {answer}"
        assert answer["code"] == code, answer
        return answer


class Socket(sotto.Socket):
    """A WebSocket whose every event is checked, and which keeps the cursor."""

    cursor = None

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        seen["rest events.socket"] += 1

    def read_frame(self):
        """Like the parent's, but takes nothing until the frame is whole, so that a
        read that timed out can be repeated."""
        have = self.buffer
        while True:
            need = 2
            if len(have) >= 2:
                length = have[1] & 0x7F
                need += {126: 2, 127: 8}.get(length, 0)
                if len(have) >= need:
                    if length >= 126:
                        length = int.from_bytes(have[2:need], "big")
                    if len(have) >= need + length:
                        return super().read_frame()
            self._more()
            have = self.buffer

    def _read_fresh(self, seconds):
        end = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            opcode, payload = self.read_frame()
            if opcode == 1:
                break
            if opcode == 9:
                self.send_frame(10, payload)
                if time.monotonic() > end:
                    raise TimeoutError
            if opcode == 8:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
                seen[f"closed {code}"] += 1
                raise sotto.Closed(code, payload[2:].decode())
        event = check_event(json.loads(payload))
        if "cursor" in event:
            self.cursor = event["cursor"]
        return event

    def request(self, kind, **fields):
        answer = super().request(kind, **fields)
        if kind in BY_NAME:
            BY_NAME[kind].answer.validate(answer)
        seen["socket " + kind] += 1
        return answer

    def tell(self, kind, **fields):
        """A request without an answer."""
        self.send({"type": kind, **fields})

    def refused(self, code, kind, **fields):
        try:
            answer = self.request(kind, **fields)
        except sotto.Problem as problem:
            assert problem.code == code, problem.body
            return problem.body
        raise AssertionError(f"{kind} went through: {answer}")

    def sync(self):
        """Everything up to sync.done, as a flat list; batches are opened."""
        events = []
        while True:
            event = self.read()
            if event["type"] == "sync.batch":
                events += event["events"]
            elif event["type"] == "sync.done":
                return events
            else:
                events.append(event)

    def quiet(self, seconds=0.3, but=()):
        """Nothing comes but what the server has already queued: a ping is answered
        first. The events that came, without those types."""
        end = time.monotonic() + seconds
        self.ids += 1
        mark = f"quiet{self.ids}"
        self.send({"type": "ping", "id": mark})
        events, answered = [], False
        while not answered or time.monotonic() < end:
            try:
                event = self.read(max(0.01, end - time.monotonic()) if answered else sotto.ANSWER_SECONDS)
            except TimeoutError:
                break
            if event.get("re") == mark:
                answered = True
            elif event["type"] not in but:
                events.append(event)
        return events


class Device:
    """A signed-in device."""

    def __init__(self, server, username, password, answer):
        self.server, self.username, self.password = server, username, password
        self.user_id, self.device_id, self.token = answer["userId"], answer["deviceId"], answer["token"]
        self.api = Rest(server, self.token)

    def connect(self, cursor=None, sync=True, **hello):
        s = Socket(self.server)
        s.hello(self, cursor, **hello)
        if sync:
            s.backlog = s.sync()
        return s

    def send(self, to, text="hello", client_msg_id=None, **more):
        return self.api.ok("POST", "/messages", message(to, text, client_msg_id, **more))

    def another(self, device="second"):
        return login(self.server, self.username, self.password, device)


_names = itertools.count(1)
_salt = uuid.uuid4().hex[:6]


def name():
    return f"u{_salt}.{next(_names)}"


def register(server, username=None, password="correct horse", **more):
    username = username or name()
    body = {"username": username, "password": password, "deviceName": "first", "platform": "test", **more}
    return Device(server, username, password, Rest(server).ok("POST", "/accounts", body))


def login(server, username, password, device="second"):
    body = {"username": username, "password": password, "deviceName": device, "platform": "test"}
    return Device(server, username, password, Rest(server).ok("POST", "/login", body))


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def text_of(event):
    return base64.b64decode(event["payload"]).decode()


def message(to, text="hello", client_msg_id=None, **more):
    """The fields of message.send."""
    fields = {"clientMsgId": client_msg_id or uuid.uuid4().hex, "messageType": "text", **more}
    if "envelopes" not in fields:
        fields["payload"] = b64(text)
    if to is not None:
        fields["to"] = to.user_id if isinstance(to, Device) else to
    return fields


class Chain:
    """Verifies a conversation: dense, once, in order, each following from the last."""

    def __init__(self):
        self.sequence, self.value, self.ids = 0, bytes(32), set()

    def add(self, event):
        assert event["sequence"] == self.sequence + 1, f"{event['sequence']} after {self.sequence}"
        assert event["messageId"] not in self.ids
        payload_hash = base64.b64decode(event["payloadHash"])
        if "payload" in event:
            content = base64.b64decode(event["payload"])
            assert hashlib.blake2b(content, digest_size=32).digest() == payload_hash
        self.value = hashlib.blake2b(
            self.value + event["sequence"].to_bytes(8, "big") + uuid.UUID(event["messageId"]).bytes +
            uuid.UUID(event["senderId"]).bytes + payload_hash, digest_size=32).digest()
        assert base64.b64decode(event["chain"]) == self.value, f"the chain breaks at {event['sequence']}"
        self.sequence += 1
        self.ids.add(event["messageId"])


def history(device, conversation_id, page=100):
    """A whole conversation, oldest first, checked as a chain."""
    messages, chain, since = [], Chain(), 0
    while True:
        answer = device.api.ok("GET", f"/conversations/{conversation_id}/messages?since={since}&limit={page}")
        for m in answer["messages"]:
            chain.add(m)
            messages.append(m)
        if not answer["hasMore"]:
            return messages
        since = messages[-1]["sequence"]


class Stream:
    """Server-sent events."""

    def __init__(self, device, cursor=None, header=True):
        self.socket = device.server.open()
        query = f"?cursor={cursor}" if cursor and not header else ""
        lines = [f"GET /api/v1/events{query} HTTP/1.1", "Host: test", "Accept: text/event-stream",
                 f"Authorization: Bearer {device.token}"]
        if cursor and header:
            lines.append(f"Last-Event-ID: {cursor}")
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        self.buffer, self.cursor, self.comments = b"", cursor, 0
        self.head = self._until(b"\r\n\r\n").decode()
        self.status = int(self.head.split()[1])
        self.chunked = "transfer-encoding: chunked" in self.head.lower()
        assert not self.chunked, "this reader expects a plain body"
        if self.status == 200:
            assert "\r\ncontent-type: text/event-stream" in self.head.lower()
            seen["rest events.stream"] += 1

    def _until(self, end):
        while end not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise sotto.Closed(None)
            self.buffer += data
        part, self.buffer = self.buffer.split(end, 1)
        return part

    def read(self, seconds=sotto.ANSWER_SECONDS):
        """The next event; comments are counted."""
        self.socket.settimeout(seconds)
        while True:
            fields = {"event": None, "data": "", "id": None}
            for line in self._until(b"\n\n").decode().split("\n"):
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    key, _, value = line.partition(":")
                    assert key in fields, line
                    fields[key] = value[1:] if value.startswith(" ") else value
            if fields["event"] is None:
                continue
            event = json.loads(fields["data"])
            if fields["event"] == "close":
                event.setdefault("type", "close")
            assert event["type"] == fields["event"]
            check_event(event)
            seen["sse " + event["type"]] += 1
            if fields["id"]:
                assert event.get("cursor") == fields["id"]
                self.cursor = fields["id"]
            return event

    def sync(self):
        events = []
        while True:
            event = self.read()
            if event["type"] == "sync.batch":
                events += event["events"]
            elif event["type"] == "sync.done":
                return events
            elif event["type"] != "hello":
                events.append(event)

    def close(self):
        self.socket.close()


def poll(device, cursor=None, timeout_ms=0, limit=None):
    query = f"timeoutMs={timeout_ms}" + (f"&cursor={cursor}" if cursor else "") + (f"&limit={limit}" if limit else "")
    return device.api.ok("GET", f"/events/poll?{query}")


def raw(server, data, seconds=10, shut=False):
    """Everything that comes back for these bytes until the server closes."""
    with server.open(seconds) as s:
        try:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while True:
                part = s.recv(65536)
                if not part:
                    return answer
                answer += part
        except ConnectionResetError:
            return answer


def anonymous_bytes(server):
    """The server's memory that has no file behind it. Under a sanitizer always 0: what is freed stays in its
    quarantine and every byte has shadows, so that no bound of ours would mean anything there."""
    if sotto.SLOW > 1:
        return 0
    text = pathlib.Path(f"/proc/{server.process.pid}/smaps_rollup").read_text()
    return int(re.search(r"^Anonymous:\s+(\d+) kB", text, re.M).group(1)) * 1024
