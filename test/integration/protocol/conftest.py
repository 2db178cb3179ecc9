"""One server for the tests of a file, unless a test starts its own."""
import json
import os
import pathlib

import pytest

import described
import sotto


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with sotto.Server(tmp_path_factory.mktemp("server")) as s:
        yield s
        assert s.process.poll() is None, "the server is gone"


def record(config):
    """Where a run over one file writes what it has seen: for test_what_was_seen.py, when ctest
    runs each file by itself."""
    folder, files = os.environ.get("SOTTO_SEEN"), config.args
    return pathlib.Path(folder) / (pathlib.Path(files[0]).stem + ".json") if folder and len(files) == 1 else None


def pytest_sessionstart(session):
    if at := record(session.config):
        at.parent.mkdir(parents=True, exist_ok=True)
        at.unlink(missing_ok=True)


def pytest_sessionfinish(session, exitstatus):
    if (at := record(session.config)) and exitstatus == 0:
        at.write_text(json.dumps(described.seen))
