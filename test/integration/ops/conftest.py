"""Fixtures of the operations tests."""
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

from sotto import Server  # noqa: E402


@pytest.fixture
def make_server(tmp_path):
    """Makes servers that are stopped, or at least killed, at the end."""
    made = []

    def make(**settings):
        directory = tmp_path / f"server{len(made)}"
        directory.mkdir()
        made.append(Server(directory, **settings))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def server(make_server):
    return make_server().start()


@pytest.fixture
def certificates(tmp_path):
    """Makes a self-signed certificate: (certificate file, key file)."""
    def make(name):
        cert, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
                        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
        return cert, key

    return make
