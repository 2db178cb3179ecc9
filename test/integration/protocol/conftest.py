"""One server for the tests of a file, unless a test starts its own."""
import pytest

import sotto


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with sotto.Server(tmp_path_factory.mktemp("server")) as s:
        yield s
        assert s.process.poll() is None, "the server is gone"
