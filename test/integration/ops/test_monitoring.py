"""/healthz, /readyz, /metrics."""
import json
import re
import subprocess

from sotto import promtool


def value_of(text, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found.group(1)) if found else None


def test_healthz__answers(server):
    status, headers, body = server.http("GET", "/healthz")
    assert status == 200 and body == b"ok\n"
    assert headers["Content-Type"].startswith("text/plain")
    assert server.http("HEAD", "/healthz")[0] == 200


def test_readyz__ready(server):
    status, headers, body = server.http("GET", "/readyz")
    assert status == 200 and headers["Content-Type"] == "application/json"
    answer = json.loads(body)
    assert answer["ready"] is True and answer["reasons"] == [] and answer["diskFreeBytes"] > 0


def test_readyz__disk_below_reserve(make_server):
    server = make_server().start()
    server.stop()
    server.settings["disk-reserve"] = "1000GiB"
    server.start()
    status, _, body = server.http("GET", "/readyz")
    assert status == 503 and json.loads(body)["reasons"] == ["disk_full"]
    assert server.http("GET", "/healthz")[0] == 200


def test_metrics__prometheus_accepts_them(server):
    anna, ben = server.register("anna"), server.register("ben")
    channel = ben.connect()
    for i in range(5):
        anna.send(ben, f"m{i}")
        channel.request("message.delivered", **{k: v for k, v in channel.expect("message.new").items()
                                                if k in ("conversationId", "sequence")})
    status, headers, body = server.http("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    checked = subprocess.run([promtool(), "check", "metrics"], input=body, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()
    channel.close()


def test_metrics__process_figures(server):
    text = server.http("GET", "/metrics")[2].decode()
    assert value_of(text, "process_resident_memory_bytes") > 1e6
    assert value_of(text, "process_open_fds") > 5
    assert value_of(text, "process_max_fds") >= value_of(text, "process_open_fds")
    assert value_of(text, "process_cpu_seconds_total") > 0
    assert value_of(text, "sotto_ready") == 1
    assert 'sotto_build_info{version="' in text


def test_metrics__name_no_person(server):
    anna, ben = server.register("anna.lastname"), server.register("ben")
    anna.send(ben, "m1", text="the canary in the payload")
    text = server.http("GET", "/metrics")[2].decode()
    for secret in ("anna", anna.user_id, anna.token, "canary", "127.0.0.1"):
        assert secret not in text


def test_metrics__can_be_off(make_server):
    server = make_server(metrics="off").start()
    assert server.http("GET", "/metrics")[0] == 404
