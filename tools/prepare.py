"""Make `.venv` what pyproject.toml and requirements/dev.txt say, doing only what is not done yet.

Three stages, each with a fingerprint kept in `.venv/gatehouse-stages.json`: the environment itself
(interpreter and directory), the locked packages, the project. A fingerprint is written after its stage
succeeded; a stage that was interrupted leaves `.venv/gatehouse-unfinished`, and the next run starts from an
empty environment. pip uses the index that the user configured for it. Standard library only; run by
`tools/prepare`.
"""

import argparse
import collections
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAGES = VENV / "gatehouse-stages.json"
UNFINISHED = VENV / "gatehouse-unfinished"
LOCK = ROOT / "requirements" / "dev.txt"
ROOM_NEEDED = 800_000_000  # bytes: the environment takes about half of it, pip's unpacking some of the rest

# What pip says when something outside the project is wrong, and what to tell a newcomer about it.
ADVICE = (
    (r"No space left on device", "The disk is full: make room, then run the same command again."),
    (
        r"name resolution|Name or service not known|Failed to establish a new connection|ConnectTimeout"
        r"|Network is unreachable|Connection refused|Read timed out|ProxyError",
        "The package index cannot be reached. Check the network, and the index or proxy that pip is"
        " configured with (`pip config list`).",
    ),
    (r"CERTIFICATE_VERIFY_FAILED", "The package index shows a certificate that this machine does not trust."),
    (
        r"HASHES|hashes are required",
        "A package differs from the one in the lock. It was not installed; do not override this.",
    ),
    (
        r"from versions: none",
        "pip finds no version of it at all: the package index cannot be reached (network, proxy), or is not"
        " the one you mean (`pip config list`).",
    ),
    (
        r"No matching distribution found",
        "The package index that pip is configured with does not have this version, or not for this Python.",
    ),
    (r"Permission denied", "This user may not write there: check who owns the files of this directory."),
)


class Missing(Exception):
    """Something the user has to provide; the message is a sentence for them."""


def say(text: str) -> None:
    """Print one line; standard output belongs to the command that follows."""
    print(f"gatehouse: {text}", file=sys.stderr, flush=True)


def fingerprint(*parts: str | bytes) -> str:
    """Digest of the parts, unambiguous about where one ends."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def abi() -> str:
    """What a binary package is built for; a newer patch release of the same Python keeps the environment."""
    return f"{sys.implementation.cache_tag} {sysconfig.get_config_var('SOABI')}"


def venv_abi() -> str | None:
    """The same, of the interpreter in `.venv`; None when there is none that starts."""
    probe = "import sys, sysconfig; print(sys.implementation.cache_tag, sysconfig.get_config_var('SOABI'))"
    try:
        done = subprocess.run(
            [PYTHON, "-I", "-c", probe], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def wanted(interpreter: str) -> dict[str, str]:
    """Stage → fingerprint of what it depends on, in the order in which they run."""
    environment = fingerprint(interpreter, str(ROOT))
    packages = fingerprint(environment, LOCK.read_bytes())
    project = fingerprint(environment, (ROOT / "pyproject.toml").read_bytes())
    return {"environment": environment, "packages": packages, "project": project}


def finished() -> dict[str, str]:
    """Fingerprints of the stages that are done; none when a stage was cut short."""
    if UNFINISHED.exists():
        return {}
    try:
        stages = json.loads(STAGES.read_text())
    except (OSError, ValueError):
        return {}
    return stages if isinstance(stages, dict) else {}


def target(chosen: bool) -> dict[str, str]:
    """An existing environment keeps its Python unless the user named another one."""
    return wanted(abi() if chosen else venv_abi() or abi())


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock that keeps two makes apart. The lock is on this very file: nothing to clean up."""
    with open(__file__, "r+b") as handle:
        os.set_inheritable(handle.fileno(), True)  # a pip that outlives a killed make still holds it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is preparing .venv; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def check_ground() -> None:
    """Raise Missing when the environment cannot be made, before anything is touched."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise Missing(
            f"{sys.executable} comes without venv and ensurepip. On Debian or Ubuntu:"
            f"  apt-get install python3-venv  (or {package})"
        ) from None
    free = shutil.disk_usage(ROOT).free
    if free < ROOM_NEEDED:
        raise Missing(
            f"{free // 10**6} MB are free below {ROOT}; the environment needs {ROOM_NEEDED // 10**6} MB."
        )


class Progress:
    """One line per stage; on a terminal the line counts what pip has got so far."""

    def __init__(self, title: str, total: int = 0) -> None:
        self.title, self.total, self.count = title, total, 0
        self.started = time.monotonic()
        self.live = sys.stderr.isatty()
        self.write(f"gatehouse: {title} ... ")

    def write(self, text: str) -> None:
        """Add to the line."""
        print(text, end="", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """Take notice of a line of pip's output."""
        if self.live and self.total and text.startswith("Collecting "):
            self.count = min(self.count + 1, self.total)
            self.write(f"\r\x1b[Kgatehouse: {self.title} ... {self.count}/{self.total} ")

    def end(self, word: str) -> None:
        """Close the line."""
        self.write(f"{word} ({time.monotonic() - self.started:.0f} s)\n")


def run(progress: Progress, *command: str | Path) -> None:
    """Run a command quietly. Errors: Missing, with the end of its output and a guess at the cause."""
    kept: collections.deque[str] = collections.deque(maxlen=200)
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"}
    environ.pop("PYTHONPATH", None)
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        close_fds=False,
    ) as process:
        assert process.stdout is not None
        for text in process.stdout:
            kept.append(text.rstrip())
            progress.line(text)
    if process.returncode:
        progress.end("failed")
        raise Missing(explain(list(kept), process.returncode))


def explain(lines: list[str], code: int) -> str:
    """The errors of the output (or its end), and advice when the cause is known."""
    errors = [
        line
        for line in lines
        if re.search(r"error|no space|denied|failed|expected|got  ", line, re.IGNORECASE)
    ]
    text = "\n".join(lines)
    advice = next(
        (advice for pattern, advice in ADVICE if re.search(pattern, text)),
        f"The command ended with code {code}.",
    )
    return "\n".join([*(f"    {line}" for line in (errors or lines)[-15:]), f"gatehouse: {advice}"])


def pip(progress: Progress, *arguments: str | Path) -> None:
    """The environment's own pip, never asking a question."""
    run(progress, PYTHON, "-m", "pip", "--no-input", *arguments)


def locked_names() -> set[str]:
    """Normalised names in the lock, of every platform."""
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", LOCK.read_text(), re.MULTILINE))


def make_environment() -> None:
    progress = Progress(f"[1/3] making .venv with Python {sys.version.split()[0]}")
    run(progress, sys.executable, "-I", "-m", "venv", "--clear", VENV)
    progress.end("done")


def install_packages() -> None:
    names = locked_names()
    progress = Progress("[2/3] installing the locked packages", total=len(names))
    pip(progress, "install", "--require-hashes", "-r", LOCK)
    strangers = installed_names() - names - {"pip", "gatehouse"}
    if strangers:  # the lock is what is installed, no more
        pip(progress, "uninstall", "--yes", *sorted(strangers))
    progress.end("done")


def installed_names() -> set[str]:
    probe = "from importlib.metadata import distributions; print(*{d.name for d in distributions()})"
    done = subprocess.run([PYTHON, "-I", "-c", probe], capture_output=True, text=True, check=True)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in done.stdout.split()}


def install_project() -> None:
    progress = Progress("[3/3] installing Gatehouse itself, editable")
    pip(progress, "install", "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT)
    progress.end("done")


ACTIONS: dict[str, Callable[[], None]] = {
    "environment": make_environment,
    "packages": install_packages,
    "project": install_project,
}


def prepare(chosen: bool) -> None:
    """Run the stages whose fingerprint differs; a changed environment redoes all."""
    goal, have = target(chosen), finished()
    if have == goal:
        return
    if have.get("environment") != goal["environment"]:
        check_ground()
        goal, have = wanted(abi()), {}
    for stage, action in ACTIONS.items():
        if have.get(stage) != goal[stage]:
            if VENV.is_dir():
                UNFINISHED.touch()
            action()
            have[stage] = goal[stage]
            STAGES.write_text(json.dumps(have))
            UNFINISHED.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Create, update or repair .venv.")
    parser.add_argument("--chosen", action="store_true", help="the user named this interpreter")
    chosen = parser.parse_args().chosen
    if finished() == target(chosen):  # nothing to do, and no lock to wait for
        return 0
    try:
        if not os.access(ROOT, os.W_OK):
            raise Missing(f"{ROOT} is not writable for this user; the environment is made in it.")
        with alone():
            prepare(chosen)
    except Missing as missing:
        print(missing if "\n" in str(missing) else f"gatehouse: {missing}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next make repairs .venv")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
