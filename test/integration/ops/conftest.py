"""Fixtures of the operations tests."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

from sotto import Server, certificate  # noqa: E402


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
        return certificate(tmp_path, name)

    return make
