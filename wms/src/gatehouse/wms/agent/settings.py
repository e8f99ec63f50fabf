"""What a pilot is told by whoever started it: environment variables and one file, which is read and removed."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

SECRET_LIMIT = 4096
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PREFIX = "GATEHOUSE_PILOT_"


class SettingsError(ValueError):
    """A pilot that can't start; the message names the variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One pilot. Times in seconds, except `cpu_time`, which is the CPU time its slot still has."""

    url: str
    secret: str = field(repr=False)
    workdir: Path
    site: str = ""
    ce: str = ""
    tags: tuple[str, ...] = ()
    cpu_time: int = 86400
    processors: int = 1
    heartbeat: float = 30.0
    polls: int = 3
    poll_pause: float = 2.0
    patience: float = 600.0
    ca: Path | None = None


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the variables, then the secret, whose file is gone afterwards."""
    reader = _Reader(environment)
    # First of all, so that the file is gone even if something else is wrong.
    secret = take_secret(Path(reader.needed("SECRET_FILE")))
    ca = reader.text("CA")
    return Settings(
        url=_url(reader.needed("URL")),
        workdir=Path(reader.text("WORKDIR") or ".").resolve(),
        site=reader.text("SITE"),
        ce=reader.text("CE"),
        tags=tuple(tag.strip() for tag in reader.text("TAGS").split(",") if tag.strip()),
        cpu_time=int(reader.number("CPU_TIME", 86400, 0, 10**9)),
        processors=int(reader.number("PROCESSORS", 1, 1, 4096)),
        heartbeat=reader.number("HEARTBEAT", 30, 0.05, 3600),
        polls=int(reader.number("POLLS", 3, 1, 10_000)),
        poll_pause=reader.number("POLL_PAUSE", 2, 0, 3600),
        patience=reader.number("PATIENCE", 600, 0, 86400),
        ca=Path(ca) if ca else None,
        secret=secret,
    )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str) -> str:
        return self._environment.get(_PREFIX + name, "").strip()

    def needed(self, name: str) -> str:
        if value := self.text(name):
            return value
        raise SettingsError(f"{_PREFIX}{name} is not set")

    def number(self, name: str, default: float, low: float, high: float) -> float:
        text = self.text(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,6})?", text, re.ASCII) or not low <= float(text) <= high:
            raise SettingsError(f"{_PREFIX}{name} is a number from {low} to {high}, not {text[:40]!r}")
        return float(text)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.username
        or parts.query
        or parts.fragment
    ):
        raise SettingsError(f"{_PREFIX}URL is no base URL of a service")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise SettingsError(f"{_PREFIX}URL must be https: the pilot's secret does not travel in the clear")
    return text.rstrip("/")


def take_secret(path: Path) -> str:
    """The secret of a file, which is removed whatever it held: nobody may find it after the pilot."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SettingsError(f"{_PREFIX}SECRET_FILE can't be opened: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SettingsError(f"{_PREFIX}SECRET_FILE is no regular file")
        content = file.read(SECRET_LIMIT)
    path.unlink(missing_ok=True)
    if not re.fullmatch(rb"[\x21-\x7e]{1,512}", content.strip()):
        raise SettingsError(f"{_PREFIX}SECRET_FILE does not hold one secret in printable ASCII")
    return content.strip().decode("ascii")
