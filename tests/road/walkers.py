"""People and pilots who walk the road with the real commands."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from gatehouse.cli.demo.approve import approve
from gatehouse.cli.signin import Login, login

T = TypeVar("T")
BIN = Path(sys.executable).parent
LINK = re.compile(r"^http\S+user_code=\S+$", re.M)


def eventually(look: Callable[[], T], *, seconds: float = 30, every: float = 0.1) -> T:
    """What `look` finds once it finds something. AssertionError when it never does."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"nothing came within {seconds} s"
        time.sleep(every)


class Person:
    """Somebody with a token file and the commands of a researcher."""

    def __init__(self, name: str, folder: Path, issuer: str) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.issuer = issuer
        self.token_file = self.folder / "token"

    def log_in(self, group: str = "training_user", provider: str = "egi-demo") -> Login:
        """Log in through the Python API, approving as a browser would."""
        return login(
            self.issuer,
            group=group,
            out=self.token_file,
            show=lambda device: approve(device.link, self.name, provider=provider),
        )

    def environ(self) -> Mapping[str, str]:
        """The environment of this person's shell."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BEARER_")}
        return {**kept, "BEARER_TOKEN_FILE": str(self.token_file), "HOME": str(self.folder), "NO_COLOR": "1"}

    def run(self, command: str, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of the commands in this person's folder."""
        return subprocess.run(
            [str(BIN / command), *args],
            cwd=self.folder,
            env=self.environ(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def say(self, command: str, *args: str, stdin: str = "") -> str:
        """The output of a command that must succeed."""
        done = self.run(command, *args, stdin=stdin)
        assert done.returncode == 0, f"{command} {args}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def submit(self, *args: str) -> int:
        """dsub, returning the job's number."""
        return int(self.say("dsub", *args).strip())

    def status(self, job: int) -> str:
        """The status of a job, as dstat shows it."""
        lines = self.say("dstat", "-a", "-f", "csv", "-F", "Status", str(job)).splitlines()
        return lines[-1].rstrip(",") if len(lines) > 1 else ""

    def wait_for(self, job: int, *statuses: str, seconds: float = 60) -> str:
        """Wait until a job is in one of the statuses."""
        return eventually(
            lambda: self.status(job) if self.status(job) in statuses else "", seconds=seconds, every=0.3
        )
