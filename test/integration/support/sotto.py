"""A real server on a free port with a data directory of its own, and small
clients for it: REST over http.client, and a WebSocket written out here, so that
a test can send what no library would.

    with Server(tmp_path) as server:
        anna, ben = server.register("anna"), server.register("ben")
        socket = server.connect(ben)
        anna.rest("POST", "/messages", {"to": ben.user_id, ...})
        socket.expect("message.new")

Nothing retries and nothing sleeps blindly: what is waited for has a deadline.
"""
import base64
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import time
from signal import SIGTERM

BIN = pathlib.Path(os.environ.get("SOTTO_BIN") or
                   pathlib.Path(__file__).resolve().parents[3] / "build" / "bin")
# A sanitizer makes everything slower; its build says so by its directory.
SLOW = 5 if BIN.parent.name in ("asan", "tsan") else 1
START_SECONDS = 20 * SLOW
STOP_SECONDS = 20 * SLOW
ANSWER_SECONDS = 10 * SLOW

# What tests want unless they say otherwise: a free port, cheap passwords, and
# no limits that a test would run into by being quick.
DEFAULTS = {
    "listen": "127.0.0.1",
    "port": "0",
    "registration": "open",
    "argon2-memory": "64KiB",
    "argon2-passes": "1",
    "disk-reserve": "0",
    "limit-address": "off",
    "limit-user": "off",
    "limit-device": "off",
    "limit-conversation": "off",
    "limit-bundles": "off",
    "limit-typing": "off",
    "connections-per-address": "10000",
    "io-threads": "2",
    "worker-threads": "2",
    "log-level": "debug",
}


def wait_for(condition, seconds=ANSWER_SECONDS, what="it"):
    """The first true value of condition(), or an error after the time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen in {seconds} s")
        time.sleep(0.02)


def certificate(directory, name):
    """A self-signed certificate: (certificate file, key file)."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
    return cert, key


class Problem(Exception):
    """An error that the server answered."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body
        self.code = body.get("code") if isinstance(body, dict) else None


class Server:
    """settings: names of options, "_" for "-"; None takes a default away."""

    def __init__(self, directory, arguments=(), env=None, prefix=(), config=None, **settings):
        self.data = pathlib.Path(directory) / "data"
        self.log_path = pathlib.Path(directory) / "sottod.log"
        self.out_path = pathlib.Path(directory) / "sottod.out"
        self.settings = dict(DEFAULTS)
        self.settings.update({k.replace("_", "-"): v for k, v in settings.items()})
        self.arguments, self.env, self.prefix = list(arguments), dict(env or {}), list(prefix)
        if config is not None:
            self.data.mkdir(mode=0o700, exist_ok=True)
            (self.data / "sottod.conf").write_text(config)
        self.process = None
        self.port = 0
        self.tls = bool(self.settings.get("tls-cert"))
        self.ca = self.settings.get("tls-cert")

    # -- life ---------------------------------------------------------------

    def command_line(self):
        line = [*self.prefix, str(BIN / "sottod"), "serve", "--data-dir", str(self.data)]
        for key, value in self.settings.items():
            if value is not None:
                line += [f"--{key}", str(value)]
        return line + self.arguments

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("SOTTO_")}
        return {**env, **self.env}

    def spawn(self):
        """Starts the process without waiting for it to listen."""
        (self.data / "port").unlink(missing_ok=True)
        log, out = open(self.log_path, "ab"), open(self.out_path, "ab")
        self.process = subprocess.Popen(self.command_line(), stdin=subprocess.DEVNULL, stdout=out,
                                        stderr=log, env=self.environment())
        log.close()
        out.close()
        return self

    def start(self):
        self.spawn()

        def listening():
            if self.process.poll() is not None:
                raise RuntimeError(f"sottod ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            try:
                return int((self.data / "port").read_text())
            except (FileNotFoundError, ValueError):
                return None

        self.port = wait_for(listening, START_SECONDS, "the start")
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        code = self.process.wait(seconds)
        self.process = None
        return code

    def stop(self, number=SIGTERM, seconds=STOP_SECONDS):
        """Stops in order; the exit status."""
        if self.process is None:
            return None
        self.signal(number)
        return self.wait(seconds)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.wait()

    def restart(self):
        assert self.stop() == 0
        return self.start()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if self.process is None:
            return
        try:
            code = self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if kind is None:
            assert code == 0, f"sottod ended with {code}:\n{self.log()[-4000:]}"

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def output(self):
        return self.out_path.read_text(errors="replace") if self.out_path.exists() else ""

    def wait_for_log(self, text, seconds=ANSWER_SECONDS, since=0):
        """Waits until the log has the text after the first `since` characters."""
        return wait_for(lambda: text in self.log()[since:], seconds, f"{text!r} in the log")

    def run(self, *arguments, stdin=None, data_dir=True, env=None):
        """Another sottod command on the same data: (exit status, stdout, stderr)."""
        return sottod(*arguments, *(["--data-dir", str(self.data)] if data_dir else []), stdin=stdin,
                      env={**self.environment(), **(env or {})})

    # -- clients --------------------------------------------------------------

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def tls_context(self):
        context = ssl.create_default_context(cafile=self.ca)
        context.check_hostname = False
        return context

    def open(self, seconds=ANSWER_SECONDS, source=None):
        """A plain or TLS socket to the server; source: from that address of 127.0.0.0/8."""
        s = socket.create_connection(("127.0.0.1", self.port), seconds, (source, 0) if source else None)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls_context().wrap_socket(s) if self.tls else s

    def http(self, method, path, body=None, headers=None):
        """(status, headers, body bytes) of any path."""
        if self.tls:
            c = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS,
                                            context=self.tls_context())
        else:
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def rest(self, method, path, body=None, token=None):
        """The answer of /api/v1 + path; a Problem for any status but 2xx."""
        headers = {}
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        status, _, raw = self.http(method, "/api/v1" + path, body, headers)
        try:
            answer = json.loads(raw) if raw else None
        except ValueError:
            answer = raw
        if not 200 <= status < 300:
            raise Problem(status, answer)
        return answer

    def register(self, username, password="correct horse", invite=None, device="test", **more):
        body = {"username": username, "password": password, "deviceName": device, "platform": "test", **more}
        if invite is not None:
            body["invite"] = invite
        return Device(self, username, password, self.rest("POST", "/accounts", body))

    def login(self, username, password="correct horse", device="test"):
        body = {"username": username, "password": password, "deviceName": device, "platform": "test"}
        return Device(self, username, password, self.rest("POST", "/login", body))

    def connect(self, device=None, cursor=None, hello=True):
        """An event channel; with hello, signed in and answered."""
        s = Socket(self)
        if hello:
            s.hello(device, cursor)
        return s


class Device:
    """A signed-in device: its token and what it asks for."""

    def __init__(self, server, username, password, answer):
        self.server, self.username, self.password = server, username, password
        self.user_id, self.device_id, self.token = answer["userId"], answer["deviceId"], answer["token"]

    def rest(self, method, path, body=None):
        return self.server.rest(method, path, body, self.token)

    def send(self, to, client_msg_id, text="hello", **more):
        """message.send over REST; the answer."""
        return self.rest("POST", "/messages", {
            "to": to.user_id if isinstance(to, Device) else to, "clientMsgId": client_msg_id,
            "messageType": "text", "payload": base64.b64encode(text.encode()).decode(), **more})

    def connect(self, cursor=None):
        return self.server.connect(self, cursor)


class Closed(Exception):
    """The server closed the channel; code is None without a close frame."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed {code} {reason}")
        self.code, self.reason = code, reason


class Socket:
    """A WebSocket client, blocking, without compression."""

    def __init__(self, server, path="/api/v1/ws", headers=(), source=None):
        self.socket = server.open(source=source)
        self.buffer = b""
        self.held = []       # events read while waiting for something else
        self.ids = 0
        self.welcome = None  # the server's hello
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", "Host: test", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        if not self.head.startswith("HTTP/1.1 101"):
            raise Problem(int(self.head.split()[1]), self.head)
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert accept in head

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Closed(None)
        self.buffer += data

    def _take(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send_raw(self, data):
        self.socket.sendall(data)

    @staticmethod
    def frame(opcode, payload, fin=True, mask=True):
        first = (0x80 if fin else 0) | opcode
        length = len(payload)
        bit = 0x80 if mask else 0
        if length < 126:
            head = struct.pack("!BB", first, bit | length)
        elif length < 65536:
            head = struct.pack("!BBH", first, bit | 126, length)
        else:
            head = struct.pack("!BBQ", first, bit | 127, length)
        if mask:
            key = os.urandom(4)
            repeated = (key * (length // 4 + 1))[:length]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
            head += key
        return head + payload

    def send_frame(self, opcode, payload, fin=True, mask=True):
        self.socket.sendall(self.frame(opcode, payload, fin, mask))

    def send(self, message):
        self.send_frame(1, json.dumps(message).encode())

    def read_frame(self):
        """(opcode, payload) of the next frame; the server never fragments."""
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self._take(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._take(8))[0]
        assert not second & 0x80, "a server does not mask"
        return first & 0x0F, self._take(length)

    def read(self, seconds=ANSWER_SECONDS):
        """The next event; answers pings. TimeoutError, Closed."""
        if self.held:
            return self.held.pop(0)
        return self._read_fresh(seconds)

    def _read_fresh(self, seconds):
        self.socket.settimeout(seconds)
        while True:
            opcode, payload = self.read_frame()
            if opcode == 1:
                return json.loads(payload)
            if opcode == 9:
                self.send_frame(10, payload)
            if opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None
                raise Closed(code, payload[2:].decode())

    def expect(self, kind, seconds=ANSWER_SECONDS, **fields):
        """The next event of that type with these fields; others are kept."""
        def fits(event):
            return event["type"] == kind and all(event.get(k) == v for k, v in fields.items())

        for i, event in enumerate(self.held):
            if fits(event):
                return self.held.pop(i)
        end = time.monotonic() + seconds
        while True:
            event = self._read_fresh(max(0.01, end - time.monotonic()))
            if fits(event):
                return event
            self.held.append(event)

    def hello(self, device, cursor=None, **more):
        message = {"type": "hello", **more}
        if device is not None:
            message["token"] = device.token
        if cursor is not None:
            message["cursor"] = cursor
        self.send(message)
        self.welcome = self.expect("hello")
        return self.welcome

    def request(self, kind, **fields):
        """Sends and waits for the answer with our id; a Problem for an error."""
        self.ids += 1
        self.send({"type": kind, "id": str(self.ids), **fields})
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            event = self._read_fresh(max(0.01, end - time.monotonic()))
            if event.get("re") == str(self.ids):
                if event["type"] == "error":
                    raise Problem(None, event)
                return event
            self.held.append(event)

    def send_message(self, to, client_msg_id, text="hello", **more):
        return self.request("message.send", to=to.user_id if isinstance(to, Device) else to,
                            clientMsgId=client_msg_id, messageType="text",
                            payload=base64.b64encode(text.encode()).decode(), **more)

    def wait_closed(self, seconds=ANSWER_SECONDS):
        """The close code; events before it are dropped."""
        try:
            while True:
                self.read(seconds)
        except Closed as closed:
            return closed.code
        except (ConnectionResetError, BrokenPipeError):
            return None

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def sottod(*arguments, stdin=None, env=None, cwd=None):
    """Runs a command to its end: (exit status, stdout, stderr)."""
    if env is None:
        env = {k: v for k, v in os.environ.items() if not k.startswith("SOTTO_")}
    done = subprocess.run([str(BIN / "sottod"), *map(str, arguments)], input=stdin, capture_output=True, text=True,
                          timeout=60 * SLOW, env=env, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def promtool():
    """Path of Prometheus' own checker."""
    beside = pathlib.Path(__file__).resolve().parents[3] / "build" / "tools" / "promtool"
    found = shutil.which("promtool") or (str(beside) if beside.exists() else None)
    assert found, "promtool is missing; tools/install-dependencies test installs it"
    return found
