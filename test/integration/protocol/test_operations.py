"""Every operation, over REST and over the WebSocket, against the description."""
import base64
import os

import pytest

import described
import sotto
from described import Rest, b64, history, login, message, name, register, seen

KEY, SIGNATURE, KEM = 33, 64, 1569


def key(length):
    return base64.b64encode(bytes([5]) + os.urandom(length - 1)).decode()


def kem_key(length=KEM):
    return base64.b64encode(bytes([8]) + os.urandom(length - 1)).decode()


def keys(registration=7, ec=(1, 2, 3), kem=(1, 2)):
    """A whole key upload."""
    return {"identityKey": key(KEY), "registrationId": registration,
            "signedPrekey": {"keyId": 1, "key": key(KEY), "signature": key(SIGNATURE)},
            "lastResortKemPrekey": {"keyId": 9, "key": kem_key(), "signature": key(SIGNATURE)},
            "kemPrekeys": [{"keyId": i, "key": kem_key(), "signature": key(SIGNATURE)} for i in kem],
            "ecPrekeys": [{"keyId": i, "key": key(KEY)} for i in ec]}


def test_descriptions_agree_with_the_server():
    assert set(described.CODES) == set(described.OPENAPI["components"]["schemas"]["Error"]["properties"]["code"]["enum"])
    assert described.SERVED == set(described.BY_NAME) - described.TRANSPORTS | described.SOCKET_ONLY


class OverRest:
    """The same calls over either transport: here REST."""

    def __init__(self, device):
        self.device, self.api = device, device.api

    def account_get(self): return self.api.ok("GET", "/account")
    def account_update(self, **f): return self.api.ok("PATCH", "/account", f)
    def account_password(self, **f): return self.api.ok("POST", "/account/password", f)
    def account_delete(self, **f): return self.api.ok("DELETE", "/account", f)
    def account_logout(self): return self.api.ok("POST", "/logout")
    def user_get(self, userId): return self.api.ok("GET", f"/users/{userId}")
    def user_find(self, username): return self.api.ok("GET", f"/users?username={username}")
    def user_devices(self, userId): return self.api.ok("GET", f"/users/{userId}/devices")
    def device_list(self): return self.api.ok("GET", "/devices")
    def device_rename(self, deviceId, **f): return self.api.ok("PATCH", f"/devices/{deviceId}", f)
    def device_revoke(self, deviceId): return self.api.ok("DELETE", f"/devices/{deviceId}")
    def keys_upload(self, **f): return self.api.ok("PUT", "/keys", f)
    def keys_counts(self): return self.api.ok("GET", "/keys")
    def keys_take(self, userId, **f): return self.api.ok("POST", f"/users/{userId}/bundles", f or None)
    def contact_list(self): return self.api.ok("GET", "/contacts")
    def contact_put(self, userId, **f): return self.api.ok("PUT", f"/contacts/{userId}", f or None)
    def contact_remove(self, userId): return self.api.ok("DELETE", f"/contacts/{userId}")
    def block_put(self, userId): return self.api.ok("PUT", f"/blocks/{userId}")
    def block_remove(self, userId): return self.api.ok("DELETE", f"/blocks/{userId}")
    def message_send(self, **f): return self.api.ok("POST", "/messages", f)

    def message_get(self, conversationId, sequence):
        return self.api.ok("GET", f"/conversations/{conversationId}/messages/{sequence}")

    def message_delivered(self, conversationId, **f):
        return self.api.ok("POST", f"/conversations/{conversationId}/delivered", f)

    def message_read(self, conversationId, **f):
        return self.api.ok("POST", f"/conversations/{conversationId}/read", f)

    def conversation_list(self, **f):
        return self.api.ok("GET", "/conversations?" + "&".join(f"{k}={v}" for k, v in f.items()))

    def conversation_get(self, conversationId): return self.api.ok("GET", f"/conversations/{conversationId}")

    def history_get(self, conversationId, **f):
        return self.api.ok("GET", f"/conversations/{conversationId}/messages?" +
                           "&".join(f"{k}={v}" for k, v in f.items()))

    def typing(self, **f): return self.api.ok("POST", "/typing", f)
    def presence_get(self, userId): return self.api.ok("GET", f"/presence/{userId}")
    def server_info(self): return self.api.ok("GET", "/server")
    def done(self): pass


class OverSocket:
    def __init__(self, device):
        self.socket = device.connect()

    def __getattr__(self, call):
        kind = call.replace("_", ".")
        return lambda **fields: self.socket.request(kind, **fields)

    def user_get(self, userId): return self.socket.request("user.get", userId=userId)
    def user_find(self, username): return self.socket.request("user.find", username=username)
    def last(self, kind, code, **fields):
        """A request that ends the connection: an answer, then the close."""
        assert self.socket.request(kind, **fields)["type"] == "ok"
        assert self.socket.wait_closed() == code

    def account_logout(self): self.last("account.logout", 4003)
    def account_delete(self, **f): self.last("account.delete", 4004, **f)
    def done(self): self.socket.close()


@pytest.fixture(params=[OverRest, OverSocket], ids=["rest", "socket"])
def over(request):
    return request.param


def test_account(server, over):
    d = register(server, displayName="Ada", phone=None)
    c = over(d)
    account = c.account_get()
    assert account["username"] == d.username and account["displayName"] == "Ada"
    assert account["readReceipts"] is True and account["presenceVisibility"] == "everyone"
    assert "phone" not in account and "picture" not in account
    changed = c.account_update(displayName="Ada L.", readReceipts=False, presenceVisibility="contacts",
                               picture="pic1")
    assert (changed["displayName"], changed["readReceipts"], changed["presenceVisibility"], changed["picture"]) == \
        ("Ada L.", False, "contacts", "pic1")
    assert {k: v for k, v in c.account_get().items() if k != "re"} == {k: v for k, v in changed.items() if k != "re"}
    other = d.another()
    c.account_password(oldPassword=d.password, newPassword="a better password")
    other.api.refused("bad_token", "GET", "/account")
    assert c.account_get()["username"] == d.username
    Rest(server).refused("bad_credentials", "POST", "/login", {
        "username": d.username, "password": d.password, "deviceName": "x", "platform": "test"})
    d.password = "a better password"
    gone = d.another()
    over(gone).account_logout()
    gone.api.refused("bad_token", "GET", "/account")
    c.account_delete(password=d.password)
    d.api.refused("bad_token", "GET", "/account")
    register(server).api.refused("no_such_user", "GET", f"/users/{d.user_id}")
    again = register(server, d.username)
    assert again.user_id != d.user_id


def test_account_refusals(server):
    nobody, d = Rest(server), register(server)
    body = {"username": d.username, "password": "correct horse", "deviceName": "x", "platform": "test"}
    nobody.refused("username_taken", "POST", "/accounts", body)
    nobody.refused("username_taken", "POST", "/accounts", {**body, "username": d.username.upper()})
    for field, value in [("username", "ab"), ("username", "a" * 33), ("username", "no spaces"), ("username", 5),
                         ("password", "short"), ("password", "x" * 257), ("deviceName", ""), ("deviceName", "x" * 65),
                         ("platform", ""), ("platform", "x" * 33), ("username", "-dash"), ("phone", "030 123"),
                         ("displayName", "a\nb"), ("picture", "a b"), ("deviceName", "a\nb"), ("platform", "a\nb")]:
        error = nobody.refused("bad_field", "POST", "/accounts", {**body, "username": name(), field: value})
        assert error["field"] == field
        if field in ("displayName", "phone", "picture"):
            assert d.api.refused("bad_field", "PATCH", "/account", {field: value})["field"] == field
    for field in ("username", "password", "deviceName", "platform"):
        nobody.refused("bad_field", "POST", "/accounts", {k: v for k, v in body.items() if k != field})
    phone = "+4930" + str(os.getpid())[:6] + str(len(seen))
    register(server, phone=phone)
    nobody.refused("phone_taken", "POST", "/accounts", {**body, "username": name(), "phone": phone})
    nobody.refused("bad_field", "POST", "/accounts", {**body, "username": name(), "phone": "030 123"})
    nobody.refused("unauthenticated", "GET", "/account")
    Rest(server, "sot_" + "A" * 43).refused("bad_token", "GET", "/account")
    Rest(server, "nonsense").refused("bad_token", "GET", "/account")
    for field, method, path, fields in (
            ("password", "POST", "/accounts", {**body, "username": name(), "password": "short"}),
            ("newPassword", "POST", "/account/password", {"oldPassword": d.password, "newPassword": "short"})):
        assert d.api.refused("bad_field", method, path, fields)["field"] == field
    for field, method, path, fields in (
            ("oldPassword", "POST", "/account/password", {"oldPassword": "wrong one", "newPassword": "long enough"}),
            ("password", "DELETE", "/account", {"password": "wrong one"})):
        error = d.api.refused("bad_credentials", method, path, fields)
        assert error["field"] == field and "user name" not in error["message"]
    assert d.api.ok("GET", "/account")["username"] == d.username, "the token has lost nothing"
    d.api.refused("bad_field", "PATCH", "/account", {"presenceVisibility": "some"})


def test_one_who_guesses_through_a_proxy_locks_nobody_else_out(server):
    d, nobody = register(server), Rest(server)
    for i in range(30):
        nobody.refused("bad_credentials", "POST", "/login", {
            "username": f"{name()}.{i}"[:32], "password": "a guess", "deviceName": "x", "platform": "test"})
    d.another()


@pytest.mark.parametrize("kind, fields, field, says", [
    ("keys.upload", {"ecPrekeys": {}}, "ecPrekeys", "list"), ("keys.upload", {"ecPrekeys": [5]}, "ecPrekeys", "list"),
    ("keys.upload", {"signedPrekey": []}, "signedPrekey", "object"),
    ("message.read", {"marks": {}}, "marks", "list"),
    ("message.send", {"clientMsgId": "1", "messageType": "x", "envelopes": {}}, "envelopes", "list"),
    ("device.rename", {"deviceId": 1, "name": "a\nb"}, "name", "control"),
    ("account.update", {"displayName": "anna\u0085"}, "displayName", "control"),
    ("account.update", {"displayName": "anna\u202egpj"}, "displayName", "direction"),
    ("account.update", {"displayName": "\u2066anna"}, "displayName", "direction"),
    ("contact.put", {"alias": "anna\u2028"}, "alias", "direction")])
def test_what_has_the_wrong_shape_is_named(server, kind, fields, field, says):
    a, b = register(server), register(server)
    if kind in ("message.send", "contact.put"):
        fields = {**fields, "to" if kind == "message.send" else "userId": b.user_id}
    with a.connect() as s:
        error = s.refused("bad_field", kind, **fields)
        assert error["field"] == field and says in error["message"]


@pytest.mark.parametrize("display_name", [
    "\u200f\u05d0\u05e0\u05d4\u200e \u2603", "\u2027\u202f\u2065\u206a", "\u00a0", "\U0001f469\u200d\U0001f4bb"])
def test_names_of_all_scripts(server, display_name):
    d = register(server)
    assert d.api.ok("PATCH", "/account", {"displayName": display_name})["displayName"] == display_name


@pytest.mark.parametrize("path, field", [
    ("/devices/x", "deviceId"), ("/conversations?limit=many", "limit"), ("/conversations?limit=-1", "limit"),
    ("/conversations?after=%zz", "after")])
def test_what_cannot_be_read_in_an_address_is_named(server, path, field):
    error = register(server).api.refused("bad_field", "PATCH" if "/devices" in path else "GET", path)
    assert error["field"] == field and field in error["message"]


def test_devices(server, over):
    d = register(server)
    c = over(d)
    second = d.another("laptop")
    devices = {e["deviceId"]: e for e in c.device_list()["devices"]}
    assert set(devices) == {d.device_id, second.device_id}
    assert devices[d.device_id]["current"] and not devices[second.device_id]["current"]
    assert devices[second.device_id]["name"] == "laptop"
    c.device_rename(deviceId=second.device_id, name="café")
    assert "café" in [e["name"] for e in c.device_list()["devices"]]
    c.device_revoke(deviceId=second.device_id)
    second.api.refused("bad_token", "GET", "/account")
    assert [e["deviceId"] for e in c.device_list()["devices"]] == [d.device_id]
    d.api.refused("not_found", "DELETE", f"/devices/{second.device_id}")
    d.api.refused("not_found", "PATCH", "/devices/127", {"name": "x"})
    d.api.refused("bad_field", "PATCH", "/devices/0", {"name": "x"})
    d.api.refused("bad_field", "PATCH", f"/devices/{d.device_id}", {"name": ""})


def test_too_many_devices(server):
    d = register(server)
    for i in range(15):
        last = d.another(f"d{i}")
    assert len({e["deviceId"] for e in d.api.ok("GET", "/devices")["devices"]}) == 16
    Rest(server).refused("too_many_devices", "POST", "/login", {
        "username": d.username, "password": d.password, "deviceName": "x", "platform": "test"})
    d.api.ok("DELETE", f"/devices/{last.device_id}")
    d.another()


def test_keys(server, over):
    d, other = register(server), register(server)
    c, o = over(d), over(other)
    other.api.refused("no_prekeys", "POST", f"/users/{d.user_id}/bundles", {"deviceId": d.device_id})
    counts = c.keys_upload(**keys())
    assert (counts["ecPrekeys"], counts["kemPrekeys"]) == (3, 2)
    taken, last_resort = [], []
    for _ in range(4):
        bundle, = o.keys_take(userId=d.user_id, deviceId=d.device_id)["bundles"]
        assert bundle["deviceId"] == d.device_id and bundle["registrationId"] == 7
        taken.append(bundle.get("ecPrekey", {}).get("keyId"))
        last_resort.append(bundle["kemIsLastResort"])
    assert sorted(x for x in taken if x) == [1, 2, 3] and taken[3] is None
    assert last_resort == [False, False, True, True]
    counts = c.keys_counts()
    assert (counts["ecPrekeys"], counts["kemPrekeys"]) == (0, 0)
    assert o.user_devices(userId=d.user_id)["devices"] == [{"deviceId": d.device_id, "registrationId": 7}]
    assert len(o.keys_take(userId=d.user_id)["bundles"]) == 1
    d.api.refused("bad_field", "PUT", "/keys", {"identityKey": b64("short")})
    other.api.refused("no_such_user", "POST", "/users/00000000-0000-4000-8000-000000000000/bundles", {})


def test_users_and_contacts(server, over):
    d, friend = register(server), register(server, displayName="Friend")
    c = over(d)
    found = c.user_find(friend.username)
    assert found["userId"] == friend.user_id and found["displayName"] == "Friend"
    assert c.user_get(friend.user_id)["username"] == friend.username
    assert c.contact_list()["contacts"] == []
    c.contact_put(userId=friend.user_id, alias="Freddie")
    entry, = c.contact_list()["contacts"]
    assert entry["alias"] == "Freddie" and entry["blocked"] is False
    c.block_put(userId=friend.user_id)
    entry, = c.contact_list()["contacts"]
    assert entry["blocked"] is True
    c.block_remove(userId=friend.user_id)
    c.contact_remove(userId=friend.user_id)
    assert c.contact_list()["contacts"] == []
    nobody = "00000000-0000-4000-8000-000000000000"
    for method, path in [("PUT", "contacts"), ("PUT", "blocks")]:
        d.api.refused("no_such_user", method, f"/{path}/{nobody}")
        d.api.refused("bad_field", method, f"/{path}/{d.user_id}")
        d.api.refused("bad_field", method, f"/{path}/not-an-id")
    d.api.refused("no_such_user", "GET", "/users?username=nobody-at-all")
    d.api.refused("no_such_user", "GET", f"/users/{nobody}/devices")


def test_messages(server, over):
    a, b = register(server), register(server)
    ca, cb = over(a), over(b)
    first = ca.message_send(**message(b, "one", replyTo=None))
    assert first["sequence"] == 1 and "repeated" not in first
    conversation = first["conversationId"]
    second = cb.message_send(**{**message(None, "two"), "conversationId": conversation,
                                "replyTo": first["messageId"], "urgent": True, "media": "m1"})
    assert second["sequence"] == 2 and second["conversationId"] == conversation
    got = cb.message_get(conversationId=conversation, sequence=1)
    assert got["status"] == [{"userId": b.user_id, "delivered": False, "read": False}]
    cb.message_delivered(conversationId=conversation, sequence=1)
    assert ca.message_get(conversationId=conversation, sequence=1)["status"][0]["delivered"] is True
    cb.message_read(conversationId=conversation, sequence=1)
    assert ca.message_get(conversationId=conversation, sequence=1)["status"] == \
        [{"userId": b.user_id, "delivered": True, "read": True}]
    for i in range(3, 8):
        ca.message_send(**message(b, f"number {i}"))
    assert [m["sequence"] for m in history(a, conversation, page=3)] == list(range(1, 8))
    newest = ca.history_get(conversationId=conversation, limit=2)
    assert [m["sequence"] for m in newest["messages"]] == [7, 6] and newest["hasMore"]
    page = ca.history_get(conversationId=conversation, before=3, limit=50)
    assert [m["sequence"] for m in page["messages"]] == [2, 1] and not page["hasMore"]
    assert page["messages"][0]["replyTo"] == first["messageId"] and page["messages"][0]["urgent"] is True
    assert page["messages"][0]["media"] == "m1"
    page = ca.history_get(conversationId=conversation, since=6)
    assert [m["sequence"] for m in page["messages"]] == [7] and not page["hasMore"]
    listed, = cb.conversation_list()["conversations"]
    assert listed["unread"] == 5 and listed["lastSequence"] == 7 and listed["lastMessage"]["sequence"] == 7
    assert {m["userId"]: m["read"] for m in listed["members"]}[b.user_id] == 1
    single = cb.conversation_get(conversationId=conversation)
    assert {k: v for k, v in single.items() if k not in ("type", "re")} == listed
    ca.typing(conversationId=conversation, started=True)
    ca.typing(conversationId=conversation, started=False)


def test_conversation_pages(server):
    d = register(server)
    others = {register(server).user_id for _ in range(7)}
    for o in others:
        d.send(o)
    after, found = "", []
    while True:
        page = d.api.ok("GET", f"/conversations?limit=3{after}")
        found += page["conversations"]
        if not page["hasMore"]:
            break
        after = f"&after={page['conversations'][-1]['conversationId']}"
    assert len(found) == 7 and len({c["conversationId"] for c in found}) == 7
    assert {m["userId"] for c in found for m in c["members"]} == others | {d.user_id}


def test_strangers_are_kept_out(server):
    a, b, c = register(server), register(server), register(server)
    conversation = a.send(b)["conversationId"]
    base = f"/conversations/{conversation}"
    for method, path, body in [("GET", base, None), ("GET", base + "/messages", None), ("GET", base + "/messages/1", None),
                               ("POST", base + "/delivered", {"sequence": 1}), ("POST", base + "/read", {"sequence": 1}),
                               ("POST", "/typing", {"conversationId": conversation}),
                               ("POST", "/messages", {**message(None), "conversationId": conversation})]:
        # As if there were none: its id follows from its members, so anyone can ask who talks to whom.
        for _ in range(2):
            status, answer = c.api.call(method, path, body)
            assert answer["code"] == "not_found", (method, path, answer)
    a.api.refused("not_found", "GET", base + "/messages/2")


def test_presence_and_server(server, over):
    a, b = register(server), register(server)
    c = over(a)
    with b.connect():
        entry, = c.presence_get(b.user_id)["users"] if over is OverRest else c.presence_get(userId=b.user_id)["users"]
        assert entry == {"userId": b.user_id, "status": "online"}
    info = c.server_info()
    assert info["registration"] == "open" and info["limits"]["payloadBytes"] == 65536


def test_socket_only_operations(server):
    a, b = register(server), register(server)
    with a.connect() as s:
        assert s.request("ping")["type"] == "pong"
        assert s.request("presence.watch", userIds=[b.user_id])["users"][0]["userId"] == b.user_id
        cursor = s.cursor
        b.send(a, "for the cursor")
        s.expect("message.new")
        assert s.request("sync.start", cursor=cursor)["type"] == "ok"
        replay = s.sync()
        assert [described.text_of(e) for e in replay if e["type"] == "message.new"] == ["for the cursor"]
        s.refused("bad_cursor", "sync.start", cursor="%%%")
        for wrong in ({}, ["somebody"], [7]):
            assert "UUID" in s.refused("bad_field", "presence.watch", userIds=wrong)["message"]
        assert s.request("account.get")["userId"] == a.user_id
    fresh = name()
    with a.connect() as s:  # public operations too
        answer = s.request("account.register", username=fresh, password="correct horse", deviceName="x", platform="test")
        assert answer["type"] == "account.registered"
        assert s.request("account.login", username=fresh, password="correct horse", deviceName="y",
                         platform="test")["userId"] == answer["userId"]
        conversation = a.send(answer["userId"])["conversationId"]
        assert s.request("message.read", marks=[{"conversationId": conversation, "sequence": 1}])["type"] == "ok"
        assert s.request("message.delivered", marks=[])["type"] == "ok"


def test_requests_without_an_id_are_answered_only_when_they_must(server):
    a, b = register(server), register(server)
    with a.connect() as s:
        s.tell("account.get")
        s.tell("message.send", **message(b, "x", "one"))
        assert s.expect("message.sent")["clientMsgId"] == "one"
        s.tell("account.update", presenceVisibility="wrong")
        error = s.expect("error")
        assert error["code"] == "bad_field" and "re" not in error
        assert s.quiet(but=("devices.changed", "conversation.updated")) == []


def test_registration_policies(tmp_path):
    body = {"username": name(), "password": "correct horse", "deviceName": "x", "platform": "test"}
    with sotto.Server(tmp_path, registration="invite") as s:
        Rest(s).refused("bad_invite", "POST", "/accounts", body)
        Rest(s).refused("bad_invite", "POST", "/accounts", {**body, "invite": "WRONG-ONE"})
        assert Rest(s).ok("GET", "/server")["registration"] == "invite"
    (tmp_path / "closed").mkdir()
    with sotto.Server(tmp_path / "closed", registration="closed") as s:
        Rest(s).refused("registration_closed", "POST", "/accounts", body)


def test_what_cannot_be_stored_is_refused_and_read_on(tmp_path):
    with sotto.Server(tmp_path) as server:
        a, b = register(server), register(server)
        conversation = a.send(b)["conversationId"]
        server.settings["disk-reserve"] = "1000GiB"
        server.restart()
        with a.connect() as s:
            s.refused("storage_full", "message.send", **message(b))
        a.api.refused("storage_full", "POST", "/messages", message(b))
        assert len(history(b, conversation)) == 1


def boundaries(schema):
    """Values at the edges of a member's schema and just beyond: (value, described)."""
    kind = schema.get("type")
    if kind == "string" and "enum" not in schema:
        least, most = schema.get("minLength", 0), schema["maxLength"]
        if "pattern" not in schema:
            yield from (("a" * most, True), ("\u00e9" * (most // 2), True), ("\u00e9" * (most // 2 + 1), False))
            yield "\0" * max(1, least), False
        yield "a" * (most + 1), False
        if least:
            yield "a" * (least - 1), False
    if kind == "integer":
        yield schema["minimum"], True
        yield schema["maximum"], True
        yield schema["minimum"] - 1, False
        yield schema["maximum"] + 1, False
    for wrong in ({"string": (1, True, [], {}), "integer": ("1", 1.5, True, 2 ** 64), "boolean": (0, "true")}).get(kind, ()):
        yield wrong, False


REQUIRED = {
    "account.register": {"username": "somebody", "password": "correct horse", "deviceName": "x", "platform": "test"},
    "account.login": {"username": "somebody", "password": "correct horse", "deviceName": "x", "platform": "test"},
    "account.update": {}, "account.password": {"oldPassword": "not the one", "newPassword": "another one"},
    "account.delete": {"password": "not the one"}, "device.rename": {"name": "x"}, "contact.put": {}, "keys.upload": {},
    "message.send": {"clientMsgId": "x", "messageType": "text", "payload": "eA=="}}


def bounded_members():
    """(operation, member, value, whether it is described) of every request's plain members."""
    schemas = described.OPENAPI["components"]["schemas"]
    for operation in described.OPERATIONS:
        if operation.name in REQUIRED:
            spec = described.OPENAPI["paths"][operation.path][operation.method.lower()]
            content = spec["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
            for member, schema in schemas[content]["properties"].items():
                for value, is_described in boundaries(schema):
                    yield operation, member, value, is_described


def test_members_are_bounded_as_described(tmp_path):
    checked = 0
    with sotto.Server(tmp_path) as server:  # its own: refused passwords slow the address down
        a, b = register(server), register(server)
        with a.connect() as s:
            for operation, member, value, is_described in bounded_members():
                place = {"device.rename": {"deviceId": 99}, "contact.put": {"userId": b.user_id}}.get(operation.name, {})
                fields = {**REQUIRED[operation.name], member: value}
                if operation.name == "message.send":
                    fields["to"] = b.user_id
                path = operation.path.removeprefix("/api/v1").format(**place)
                answers = [a.api.call(operation.method, path, fields)[1]]
                try:
                    answers.append(s.request(operation.name, **fields, **place))
                except sotto.Problem as problem:
                    answers.append(problem.body)
                for answer in answers:
                    refused = answer.get("code") == "bad_field" and "belong together" not in answer["message"]
                    assert refused != is_described, (operation.name, member, value, answer)
                checked += 1
    assert checked > 150


def test_numbers_of_a_query_are_bounded_as_described(server):
    a, b = register(server), register(server)
    conversation = a.send(b)["conversationId"]
    tried = 0
    for path in ("/api/v1/conversations", "/api/v1/conversations/{conversationId}/messages"):
        for parameter in described.OPENAPI["paths"][path]["get"]["parameters"]:
            schema = parameter["schema"]
            if "$ref" in schema:
                schema = described.OPENAPI["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
            if schema["type"] != "integer":
                continue
            where = path.removeprefix("/api/v1").format(conversationId=conversation) + "?" + parameter["name"] + "="
            for good in (schema["minimum"], schema["maximum"]):
                a.api.ok("GET", f"{where}{good}")
            for bad in (schema["minimum"] - 1, schema["maximum"] + 1):
                assert a.api.refused("bad_field", "GET", f"{where}{bad}")["field"] == parameter["name"]
            tried += 1
    assert tried == 4


def test_a_member_that_is_null_counts_as_absent(server):
    a, b = register(server), register(server)
    before = a.api.ok("GET", "/account")
    assert a.api.ok("PATCH", "/account", dict.fromkeys(("displayName", "phone", "picture", "readReceipts",
                                                        "presenceVisibility"))) == before
    a.api.ok("POST", "/messages", {**message(b, "x"), "conversationId": None, "envelopes": None, "ttl": None})
    a.api.refused("bad_field", "POST", "/messages", {**message(b, "x"), "clientMsgId": None})
