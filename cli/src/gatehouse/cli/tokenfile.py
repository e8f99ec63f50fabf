"""Where a person's tokens lie: discovery as of the WLCG bearer token rules, and a file that is written with care."""

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from gatehouse.cli.bearer import MAX_FILE, TokenFileError, Tokens, parse
from gatehouse.cli.errors import clean
from gatehouse.registry.clock import SYSTEM, Clock

_LOCK_TIME = 30.0  # seconds: longer than a refresh with its timeouts may take


@dataclass(frozen=True)
class Found:
    """Discovered tokens and where they came from; `path` is None for the environment variable."""

    tokens: Tokens
    path: Path | None


def default_path(env: Mapping[str, str] = os.environ) -> Path:
    """Where tokens are written: BEARER_TOKEN_FILE, else the runtime directory, else /tmp."""
    return _places(env)[0]


def _places(env: Mapping[str, str]) -> list[Path]:
    name = f"bt_u{os.geteuid()}"
    named, runtime = env.get("BEARER_TOKEN_FILE", ""), env.get("XDG_RUNTIME_DIR", "")
    places = [Path(named)] if named else []
    if runtime:
        places.append(Path(runtime) / name)
    return [*places, Path("/tmp") / name]  # noqa: S108  # the place that the discovery rules name


def discover(env: Mapping[str, str] = os.environ) -> Found | None:
    """The first token in the order of the WLCG bearer token discovery; what is malformed ends the search."""
    tokens = parse(env.get("BEARER_TOKEN", "")[: MAX_FILE + 1], "BEARER_TOKEN")
    if tokens is not None:
        return Found(tokens, None)
    for path in _places(env):
        tokens = read(path)
        if tokens is not None:
            return Found(tokens, path)
    return None


def _open_to_all(directory: Path) -> bool:
    return bool(directory.stat().st_mode & stat.S_IWOTH)


def read(path: Path) -> Tokens | None:
    """The tokens of one file; None when it is missing or empty.

    In a directory that anybody may write to (/tmp), a symbolic link or a file of somebody else is refused:
    it would make us act under an identity that another person chose.
    """
    try:
        shared = _open_to_all(path.parent)
        descriptor = os.open(
            path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOFOLLOW if shared else 0)
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        why = "it is a symbolic link" if path.is_symlink() else error.strerror or "it cannot be opened"
        raise TokenFileError(f"refusing to read {path}", why=why, next_step=f"run: ls -l {path}") from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or (shared and facts.st_uid != os.geteuid()):
            why = "it belongs to somebody else or is no plain file"
            raise TokenFileError(f"refusing to read {path}", why=why, next_step=f"run: ls -l {path}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_FILE + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE:
        raise TokenFileError(f"refusing to read {path}", why=f"it is larger than {MAX_FILE} bytes")
    return parse(content.decode("utf-8", "replace"), str(path))


def write(path: Path, tokens: Tokens, *, clock: Clock = SYSTEM) -> None:
    """Store tokens as one JSON object, mode 0600."""
    write_private(path, json.dumps(tokens.document(clock.now())).encode() + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Put a new file, mode 0600, in the place of whatever has the name; readers see the old or the new one.

    The content goes to a fresh file (O_EXCL) that then takes the name, so a link laid out for us is replaced
    and never followed, and a full disk leaves the old tokens as they are.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(
            fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
        _settle(path.parent)
    except OSError as error:
        raise TokenFileError(
            f"cannot write {path}",
            why=clean(error.strerror or type(error).__name__),
            next_step="next: name another place with --out FILE or BEARER_TOKEN_FILE",
        ) from error


def _settle(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems cannot sync a directory
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, clock: Clock = SYSTEM) -> Iterator[None]:
    """Hold the lock beside a token file, so that of two commands only one rotates the tokens.

    The lock file stays: removing it would let a third command lock a different file of the same name.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TokenFileError(
            f"cannot lock {path}", why=f"{beside}: {error.strerror}", next_step=f"run: ls -l {beside}"
        ) from error
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise TokenFileError(f"cannot lock {path}", why=f"{beside} belongs to somebody else")
        deadline = clock.monotonic() + _LOCK_TIME
        while not _grab(descriptor):
            if clock.monotonic() > deadline:
                raise TokenFileError(f"cannot lock {path}", why="another command holds it for too long")
            sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _grab(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
