"""All tests of this folder together: what the documents describe has been seen, in an answer or
an event of the real server, and checked against them (described.py). What is not described has
failed where it was seen.

ctest runs each file by itself and this one when all others have passed; they leave what they saw
in the folder SOTTO_SEEN. By hand it has to be one run of the whole folder.
"""
import collections
import json
import os
import pathlib
import re

import pytest

import described

# What only a fault brings, of the disk or of ours; tests of single layers provoke them.
FAULTS = {"uncertain", "internal"}
# For groups, which cannot be made over the network yet.
LATER = {"not_a_member"}


@pytest.fixture(scope="module")
def seen():
    total = collections.Counter(described.seen)
    folder = os.environ.get("SOTTO_SEEN")
    if folder:
        here = pathlib.Path(__file__).parent
        for file in set(here.glob("test_*.py")) - {pathlib.Path(__file__)}:
            total.update(json.loads((pathlib.Path(folder) / f"{file.stem}.json").read_text()))
    if not total:
        pytest.skip("the other files have not run")
    return total


def unseen(seen, kind, names):
    return sorted(n for n in names if not seen[f"{kind} {n}"])


def test_operations_over_rest(seen):
    assert described.BY_NAME and unseen(seen, "rest", described.BY_NAME) == []


def test_operations_over_the_socket(seen):
    assert described.SERVED and unseen(seen, "socket", described.SERVED) == []


def test_events(seen):
    assert described.EVENTS and unseen(seen, "event", described.EVENTS) == []


def test_errors(seen):
    assert unseen(seen, "code", described.CODES) == sorted(FAULTS | LATER)


def test_close_codes(seen):
    headers = [described.ROOT / "src" / "gateway" / "conn.h", described.ROOT / "src" / "net" / "websocket.h"]
    codes = {code for header in headers for code in re.findall(r"CLOSE_\w+ = (\d+)", header.read_text())}
    assert len(codes) > 10 and unseen(seen, "closed", codes) == ["1011"]  # of a fault
