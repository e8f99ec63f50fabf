"""The local compute element: pilots as processes of this machine, each in a session and directory of its own.

A pilot outlives the server that started it; what is in its directory tells the next server about it:
`process` (see `processes`), `vo`, and `ended` (epoch seconds) once it was seen to be gone.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gatehouse.registry.clock import Clock
from gatehouse.registry.settings import ElementSettings
from gatehouse.wms.elements import ElementError, PilotSpec, processes
from gatehouse.wms.elements.credential import CheckToken
from gatehouse.wms.states import PilotStatus

KEEP = 86400  # seconds that the directory of a finished pilot is kept
_REFERENCE = re.compile(r"[0-9a-f]{32}")
# The server's environment holds its secrets: a pilot gets this much of it and no more
_PASSED = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


class LocalElement:
    """Starts `python -m gatehouse.wms.agent`. `ca` is a file with the certificate authority of our own URL."""

    def __init__(
        self, settings: ElementSettings, check: CheckToken, clock: Clock, *, ca: Path | None = None
    ) -> None:
        self._settings = settings
        self._check = check
        self._clock = clock
        self._ca = ca
        self._directory = settings.work_dir.resolve()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._cleaned_at = 0

    @property
    def audience(self) -> str:
        """The `aud` of compute tokens for this element."""
        return audience(self._settings.name)

    async def submit(self, spec: PilotSpec, compute_token: str) -> str:
        """Start a process; the reference is the pilot's id."""
        self._demand(compute_token, spec.vo, "compute.create")
        return await asyncio.to_thread(self._start, spec)

    async def statuses(self, references: Sequence[str], compute_token: str) -> Mapping[str, PilotStatus]:
        """Running, Done (gone), or Deleted (never heard of)."""
        return await asyncio.to_thread(self._look, references, compute_token)

    async def kill(self, references: Sequence[str], compute_token: str) -> None:
        """SIGTERM: the agent stops its payload and says goodbye."""
        await asyncio.to_thread(self._kill, references, compute_token)

    def _demand(self, token: str, vo: str, scope: str) -> None:
        if reason := self._check(token, vo, scope):
            raise ElementError(f"{self._settings.name} refused the compute token: {reason}")

    def _start(self, spec: PilotSpec) -> str:
        if self._running() >= self._settings.max_pilots:
            raise ElementError(f"{self._settings.name} is full: {self._settings.max_pilots} pilots")
        home = self._home(spec.pilot_id)
        try:
            home.mkdir(mode=0o700, parents=True)
            (home / "vo").write_text(spec.vo)
            secret = home / "secret"
            with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(spec.secret.get_secret_value())
            with (home / "pilot.log").open("wb") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "gatehouse.wms.agent"],
                    cwd=home,
                    env=self._environment(spec, home, secret),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            process = processes.look(child.pid)
            if process is not None:
                (home / "process").write_text(process.text())
        except OSError as error:
            raise ElementError(f"{self._settings.name} cannot start a pilot: {error.strerror}") from error
        self._children[spec.pilot_id] = child
        return spec.pilot_id

    def _environment(self, spec: PilotSpec, home: Path, secret: Path) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        pilot = {
            "URL": spec.url,
            "SECRET_FILE": str(secret),
            "SITE": spec.site,
            "CE": spec.ce,
            "TAGS": ",".join(spec.tags),
            "CPU_TIME": str(spec.cpu_time),
            "WORKDIR": str(home),
            "HEARTBEAT": str(spec.heartbeat),
        }
        if self._ca is not None:
            pilot["CA"] = str(self._ca)
        return passed | {f"GATEHOUSE_PILOT_{name}": value for name, value in pilot.items()}

    def _home(self, reference: str) -> Path:
        if not _REFERENCE.fullmatch(reference):
            raise ElementError(f"{self._settings.name}: {reference[:40]!r} is no pilot of this element")
        return self._directory / reference

    def _look(self, references: Sequence[str], token: str) -> dict[str, PilotStatus]:
        found: dict[str, PilotStatus] = {}
        for reference in references:
            home = self._home(reference)
            if not home.is_dir():
                found[reference] = PilotStatus.DELETED
                continue
            self._demand(token, _read(home / "vo"), "compute.read")
            found[reference] = PilotStatus.RUNNING if self._alive(home) else PilotStatus.DONE
        self._clean()
        return found

    def _kill(self, references: Sequence[str], token: str) -> None:
        for reference in references:
            home = self._home(reference)
            if home.is_dir():
                self._demand(token, _read(home / "vo"), "compute.cancel")
                process = processes.parse(_read(home / "process"))
                if process is not None:
                    processes.signal_session(process, signal.SIGTERM)

    def _alive(self, home: Path) -> bool:
        child = self._children.get(home.name)
        if child is not None and child.poll() is not None:
            del self._children[home.name]  # reaped
        if (home / "ended").exists():
            return False
        process = processes.parse(_read(home / "process"))
        if process is not None and processes.alive(process):
            return True
        with contextlib.suppress(OSError):
            (home / "ended").write_text(str(self._clock.now()))
        return False

    def _homes(self) -> list[Path]:
        try:
            return [entry for entry in self._directory.iterdir() if _REFERENCE.fullmatch(entry.name)]
        except FileNotFoundError:
            return []

    def _running(self) -> int:
        return sum(self._alive(home) for home in self._homes())

    def _clean(self) -> None:
        """Once an hour, remove what finished pilots left behind a day ago."""
        now = self._clock.now()
        if now - self._cleaned_at < 3600:
            return
        self._cleaned_at = now
        for home in self._homes():
            ended = _read(home / "ended")
            if ended.isdecimal() and int(ended) < now - KEEP and not self._alive(home):
                shutil.rmtree(home, ignore_errors=True)


def audience(name: str) -> str:
    """The `aud` of compute tokens for a local element."""
    return f"gatehouse-local:{name}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
