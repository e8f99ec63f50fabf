"""What a person sees on a terminal, and what NO_COLOR takes away."""

import os
import pty
import re
import struct
import sys
from fcntl import ioctl
from pathlib import Path
from subprocess import Popen
from termios import TIOCSWINSZ

import pytest

from tests.cli.gate import CODE, Gate, environment

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(home: Path, name: str, *arguments: str, columns: int = 80, **env: str) -> str:
    """Everything the command writes when all its streams are one terminal."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = Popen(
        [str(Path(sys.executable).with_name(name)), *arguments],
        env=environment(home, TERM="xterm", **env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:  # how a terminal says that its last writer has gone
        pass
    finally:
        os.close(ours)
        process.wait(30)
    return written.decode().replace("\r\n", "\n")


@pytest.fixture
def home(gate: Gate, tmp_path: Path) -> Path:
    """A person's directory, logged in."""
    gate.store(tmp_path / "bt")
    return tmp_path


def test_login_shows_a_code_to_photograph_and_a_turning_sign(gate: Gate, tmp_path: Path) -> None:
    gate.polls = ["authorization_pending"]
    seen = on_terminal(tmp_path, "dirac-login", "-I", gate.issuer)
    assert "▄▄▄▄▄" in seen
    assert f"user_code={CODE}\n" in seen
    assert seen.count("Authorization pending..") > 2
    assert "New token is saved to" in seen
    assert "▄▄▄▄▄" not in on_terminal(tmp_path, "dirac-login", "-I", gate.issuer, "--no-qr")


@pytest.mark.parametrize("columns", [80, 200])
def test_tables_keep_numbers_and_states_whole(gate: Gate, home: Path, columns: int) -> None:
    gate.add_job(123456, "Running", name="n" * 60)
    gate.add_job(7, "Completing", site="LCG.Somewhere.org")
    seen = STYLE.sub("", on_terminal(home, "dstat", columns=columns))
    lines = [line for line in seen.splitlines() if re.match(r" *\d", line)]
    assert len(lines) == 2
    assert all(len(line) <= columns for line in lines)
    assert "123456" in lines[0]
    assert " Running " in lines[0]
    assert " Completing " in lines[1]
    assert ("JobGroup" in seen) is (columns == 200)


def test_states_have_colours_unless_told_otherwise(gate: Gate, home: Path) -> None:
    gate.add_job(1, "Running")
    assert COLOUR.search(on_terminal(home, "dstat"))
    assert not COLOUR.search(on_terminal(home, "dstat", NO_COLOR="1"))
    assert COLOUR.search(on_terminal(home, "dstat", "99"))
    plain = on_terminal(home, "dstat", "99", NO_COLOR="1")
    assert "error: no such job: 99\n" in plain
    assert not COLOUR.search(plain)


def test_many_jobs_have_a_bar(gate: Gate, home: Path) -> None:
    for job_id in (1, 2, 3):
        gate.add_job(job_id)
    assert "3/3" in on_terminal(home, "dkill", "1", "2", "3")


def test_dsub_on_a_terminal_does_not_wait_for_a_script(home: Path) -> None:
    assert "error: what shall run?\n" in STYLE.sub("", on_terminal(home, "dsub"))
