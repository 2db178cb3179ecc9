"""What the pages say is what the program does."""
import pathlib
import re
import subprocess

from sotto import BIN, sottod

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_operations__settings_are_those_of_the_program():
    done = subprocess.run([ROOT / "tools" / "update-settings-reference", "--check", BIN / "sottod"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_operations__names_every_command():
    page = (ROOT / "docs" / "operations.md").read_text()
    _, overview, _ = sottod("help")
    commands = set(re.findall(r"^  ([a-z]+(?: [a-z]+)?)", overview, re.M))
    told = set()
    for row in re.findall(r"^\| `sottod (.*?) \|", page, re.M):  # `user list`, `add NAME`: the second word alone
        first, *others = [" ".join(re.findall(r"[a-z]+", part)) for part in row.split(",")]
        told |= {first, *others, *(first.split()[0] + " " + other for other in others)}
    assert commands and commands <= told, commands - told


def test_operations__file_in_deploy_is_right():
    code, _, err = sottod("config", "show", "--config", ROOT / "deploy" / "sottod.conf")
    assert code == 0, err


def test_operations__exit_codes():
    page = (ROOT / "docs" / "operations.md").read_text()
    header = (ROOT / "src" / "server" / "exit_codes.h").read_text()
    numbers = re.findall(r"EXIT_CODE_\w+ = (\d+)", header)
    assert numbers
    for number in numbers:
        assert f"| {number} |" in page


def test_protocol__names_every_close_code():
    page = (ROOT / "docs" / "protocol.md").read_text()
    table = page.split("### Close codes", 1)[1].split("\n#", 1)[0]
    told = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")}
    headers = [ROOT / "src" / "gateway" / "conn.h", ROOT / "src" / "net" / "websocket.h"]
    sent = {int(code) for header in headers for code in re.findall(r"CLOSE_\w+ = (\d+)", header.read_text())}
    assert sent and told == sent


def test_pages__name_only_files_that_exist():
    for page in ("README.md", "ARCHITECTURE.md", "docs/operations.md"):
        text = (ROOT / page).read_text()
        for path in re.findall(r"`((?:src|test|tools|bench|deploy|docs)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{page}: {path}"
        for path in re.findall(r"\]\(([\w./-]+)\)", text):
            assert ((ROOT / page).parent / path).exists(), f"{page}: {path}"
