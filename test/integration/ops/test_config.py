"""Configuration and command line as the operator meets them."""
import signal

import pytest

from sotto import Problem, sottod


def test_errors__all_at_once_with_places(tmp_path):
    conf = tmp_path / "my.conf"
    conf.write_text("port = 70000\nlisen = 0.0.0.0\nheartbeat = 5\n")
    code, out, err = sottod("serve", "--config", conf, "--data-dir", tmp_path / "d", "--registration", "maybe",
                            env={"SOTTO_WINDOW_BYTES": "big"})
    assert code == 3 and out == ""
    assert f"{conf}:1: port: 70000 is not between 0 and 65535." in err
    assert f'{conf}:2: there is no setting "lisen". Did you mean listen?' in err
    assert f'{conf}:3: heartbeat: "5" has no unit' in err
    assert 'SOTTO_WINDOW_BYTES: "big" is not a number' in err
    assert '--registration: "maybe" is none of open, invite and closed.' in err
    assert not (tmp_path / "d").exists()


def test_errors__tls_half_given(tmp_path):
    code, _, err = sottod("serve", "--data-dir", tmp_path / "d", "--tls-cert", "/nowhere.pem")
    assert code == 3
    assert "tls-key is missing" in err and "cannot read /nowhere.pem" in err


def test_errors__tls_files_that_are_none(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("not a certificate")
    code, _, err = sottod("serve", "--data-dir", tmp_path / "d", "--port", 0, "--tls-cert", bad, "--tls-key", bad)
    assert code == 1
    assert str(bad) in err


@pytest.mark.parametrize("words, says", [
    (["srve"], 'Did you mean "serve"?'),
    (["user", "ad"], 'only "user list", "user add"'),
    (["--prot", "80"], "Did you mean --port?"),
    (["backup"], "needs DIR"),
    (["user", "list", "more"], "one argument too many"),
])
def test_usage__mistakes(words, says):
    code, out, err = sottod(*words)
    assert code == 2 and out == ""
    assert says in err and "sottod help" in err


def test_usage__help_and_version():
    for words in (["help"], ["--help"], ["help", "settings"], ["backup", "--help"], ["version"], ["--version"]):
        code, out, err = sottod(*words)
        assert code == 0 and out and not err, words
    assert sottod("help", "user", "add") == sottod("user", "add", "--help")
    code, _, err = sottod("help", "bakup")
    assert code == 2 and '"backup"' in err


def test_show__value_and_origin(tmp_path):
    data = tmp_path / "d"
    data.mkdir()
    (data / "sottod.conf").write_text('# mine\nserver-name = "Home # 1"\nlog-level = warn\n')
    code, out, _ = sottod("config", "show", "--data-dir", data, "--port", "81",
                          env={"SOTTO_LOG_LEVEL": "debug", "PATH": "/usr/bin"})
    assert code == 0
    lines = {line.split("=")[0].strip(): line for line in out.splitlines() if "=" in line}
    assert '"Home # 1"' in lines["server-name"] and f"{data}/sottod.conf:2" in lines["server-name"]
    assert "debug" in lines["log-level"] and "SOTTO_LOG_LEVEL" in lines["log-level"]
    assert "81" in lines["port"] and "--port" in lines["port"]
    assert "127.0.0.1" in lines["listen"] and lines["listen"].rstrip().endswith("# default")
    # What it prints is a configuration file.
    again = tmp_path / "again.conf"
    again.write_text(out)
    code, second, err = sottod("config", "show", "--config", again)
    assert code == 0, err
    assert 'server-name              = "Home # 1"' in second


def test_reload__takes_what_may_change(make_server):
    server = make_server(registration=None, log_level=None, config="registration = open\nlog-level = info\n").start()
    server.register("anna")
    (server.data / "sottod.conf").write_text("registration = closed\nlog-level = debug\nmetrics = off\n"
                                             "retention-days = 5\n")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reload.done")
    with pytest.raises(Problem) as refused:
        server.register("ben")
    assert refused.value.code == "registration_closed"
    assert server.rest("GET", "/server")["registration"] == "closed"
    assert server.http("GET", "/metrics")[0] == 404
    log = server.log()
    assert "reload.changed setting=registration from=open to=closed" in log
    assert "reload.needs_restart setting=retention-days" in log


def test_reload__bad_configuration_changes_nothing(make_server):
    server = make_server(registration=None, config="registration = open\n").start()
    (server.data / "sottod.conf").write_text("registration = closed\nwindow-bytes = lots\n")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reload.refused")
    assert "sottod.conf:2: window-bytes" in server.log()
    server.register("anna")


def test_reload__limits_apply_at_once(make_server):
    server = make_server(limit_user=None, limit_bundles=None, config="limit-user = off\n").start()
    anna = server.register("anna")
    for _ in range(30):
        anna.rest("GET", "/account")
    (server.data / "sottod.conf").write_text("limit-user = 1/h burst 2\nlimit-bundles = 100/m\n")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reload.done")
    with pytest.raises(Problem) as refused:
        for _ in range(10):
            anna.rest("GET", "/account")
    assert refused.value.status == 429 and refused.value.code == "rate_limited"
    assert 'setting=limit-bundles from="1/s burst 30" to=100/m' in server.log()
