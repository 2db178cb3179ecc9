"""TLS 1.3 in the process, and new certificates without a restart."""
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest


def shown_certificate(server, trusted):
    context = ssl.create_default_context(cafile=str(trusted))
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as s:
            assert s.version() == "TLSv1.3"
            return dict(x[0] for x in s.getpeercert()["subject"])["commonName"]


def test_tls__serves_and_reloads(make_server, certificates):
    first, second = certificates("first"), certificates("second")
    server = make_server(tls_cert=str(first[0]), tls_key=str(first[1])).start()
    assert shown_certificate(server, first[0]) == "first"
    anna = server.register("anna")
    channel = anna.connect()
    # The files' content changes, as when a certificate is renewed.
    kept = first[0].read_bytes()
    first[0].write_bytes(second[0].read_bytes())
    first[1].write_bytes(second[1].read_bytes())
    server.signal(signal.SIGHUP)
    server.wait_for_log("reload.done")
    until = int(re.search(r"reload\.done .*not_after=(\d+)", server.log())[1])
    assert until == int(re.search(r"^sotto_tls_not_after_seconds (\d+)$", server.http("GET", "/metrics")[2].decode(), re.M)[1])
    assert shown_certificate(server, second[0]) == "second"
    # Whoever is connected stays connected.
    assert channel.request("ping")["type"] == "pong"
    channel.close()
    # A certificate that does not fit its key is refused and the last one stays.
    first[0].write_bytes(kept)
    server.signal(signal.SIGHUP)
    server.wait_for_log("reload.refused")
    assert shown_certificate(server, second[0]) == "second"


def test_tls__a_key_with_a_passphrase_is_refused_and_not_asked_for(make_server, certificates, tmp_path):
    cert, key = certificates("locked")
    locked = tmp_path / "locked-key.pem"
    subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked], check=True)
    server = make_server(tls_cert=str(cert), tls_key=str(locked))
    server.spawn()
    assert server.wait() != 0
    assert "encrypted" in server.log() and "openssl pkey" in server.log()


def test_tls__says_when_the_certificate_ends(make_server, certificates):
    cert, key = certificates("short")
    server = make_server(tls_cert=str(cert), tls_key=str(key)).start()
    assert "expires within a week" in server.log()
    until = re.search(r"^sotto_tls_not_after_seconds (\d+)$", server.http("GET", "/metrics")[2].decode(), re.M)
    assert 86400 < int(until[1]) - time.time() < 3 * 86400


def test_tls__nothing_older_than_1_3(make_server, certificates):
    cert, key = certificates("only")
    server = make_server(tls_cert=str(cert), tls_key=str(key)).start()
    context = ssl.create_default_context(cafile=str(cert))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_tls__cannot_be_turned_off_by_reload(make_server, certificates):
    cert, key = certificates("only")
    server = make_server(config=f"tls-cert = {cert}\ntls-key = {key}\n")
    server.tls, server.ca = True, str(cert)
    server.start()
    (server.data / "sottod.conf").write_text("")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reload.refused")
    assert shown_certificate(server, cert) == "only"


def test_tls__plain_http_to_a_tls_port_is_survived(make_server, certificates):
    cert, key = certificates("only")
    server = make_server(tls_cert=str(cert), tls_key=str(key)).start()
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.settimeout(10)
        try:
            assert b"HTTP/1.1 200" not in plain.recv(4096)
        except ConnectionResetError:
            pass
    assert server.http("GET", "/healthz")[0] == 200
