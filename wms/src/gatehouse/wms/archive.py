"""Sandbox archives (tar.bz2): made so that equal files give equal bytes, taken apart as if a stranger had made them."""

import bz2
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gatehouse.wms.bzipstream import BzipStream
from gatehouse.wms.tarstream import ArchiveError, Member, TarStream

__all__ = ["LIMITS", "ArchiveError", "Limits", "pack", "safe_name", "unpack"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may be: bytes compressed and not, members, and bzip2 streams set end to end."""

    compressed: int = 10 * MIB
    content: int = 512 * MIB
    members: int = 4096
    streams: int = 4096


LIMITS = Limits()

_CHUNK = 64 * 1024
_NAME_LIMIT, _PART_LIMIT, _DEPTH_LIMIT = 1024, 255, 16


def safe_name(name: str) -> str:
    """The relative name to write to, without `.` parts; `""` for the top itself. Refuses names that lead out."""
    shown = repr(name[:200])
    if name.startswith("/"):
        raise ArchiveError(f"{shown} is an absolute name")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ArchiveError(f"{shown} leads out of its directory")
    if any(ord(character) < 0x20 or character == "\x7f" for character in name):
        raise ArchiveError(f"{shown} has a control character in it")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise ArchiveError(f"{shown} is not UTF-8") from None
    if len(parts) > _DEPTH_LIMIT or sum(sizes) > _NAME_LIMIT or any(size > _PART_LIMIT for size in sizes):
        raise ArchiveError(f"{shown} is too long or too deep")
    return "/".join(parts)


def pack(files: Iterable[Path], *, within: Path | None = None, limits: Limits = LIMITS) -> bytes:
    """An archive of the files, and of directories with all that is in them.

    A file is called by its last name part; with `within` by its path below that directory, and what is, or leads by
    a link, outside of it is refused. Links are followed to regular files. Owners, times and all permissions but
    "executable" are left out, so that equal content has equal bytes.
    """
    found: dict[str, Path] = {}
    for path in files:
        for name, file in _entries(path, within):
            if found.setdefault(name, file).resolve() != file.resolve():
                raise ArchiveError(f"{found[name]} and {file} would both be called {name!r}; rename one")
            if len(found) > limits.members:
                raise ArchiveError(f"more than {limits.members} files")
    sink = _Sink(limits.compressed)
    with (
        bz2.BZ2File(sink, "wb") as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        left = limits.content
        for name in sorted(found):
            left -= _add(tar, name, found[name], left)
    return sink.getvalue()


def _entries(path: Path, within: Path | None) -> Iterator[tuple[str, Path]]:
    base = path.parent if within is None else within
    if within is not None and not path.resolve().is_relative_to(within.resolve()):
        raise ArchiveError(f"{path.name} lies outside of the job's directory")
    if not path.exists():
        raise ArchiveError(
            f"{path} does not exist" if not path.is_symlink() else f"{path} is a link to nothing"
        )
    if not path.is_dir():
        yield safe_name(str(path.relative_to(base))), path
        return
    for directory, names, files in os.walk(path):
        if linked := [name for name in names if (Path(directory) / name).is_symlink()]:
            raise ArchiveError(f"{Path(directory) / linked[0]} is a link to a directory")
        for file in files:
            yield from _entries_of_file(Path(directory) / file, base, within)


def _entries_of_file(file: Path, base: Path, within: Path | None) -> Iterator[tuple[str, Path]]:
    if within is not None and not file.resolve().is_relative_to(within.resolve()):
        raise ArchiveError(f"{file.name} lies outside of the job's directory")
    yield safe_name(str(file.relative_to(base))), file


def _add(tar: tarfile.TarFile, name: str, path: Path, left: int) -> int:
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError(f"{path} is no regular file")
            if status.st_size > left:
                raise ArchiveError(f"the sandbox has too much content at {path}; put large files on storage")
            entry = tarfile.TarInfo(name)
            entry.size = status.st_size
            entry.mode = 0o755 if status.st_mode & 0o100 else 0o644
            tar.addfile(entry, file)
            return status.st_size
    except OSError as error:
        raise ArchiveError(f"{path} can't be read: {error.strerror or 'it changed meanwhile'}") from error


class _Sink(io.BytesIO):
    """Takes the compressed bytes, up to a limit."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def write(self, data: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]  # narrower than Buffer
        if self.tell() + len(data) > self._limit:
            raise ArchiveError(
                f"the sandbox is larger than {self._limit // MIB} MiB; put large files on storage"
            )
        return super().write(data)


def unpack(data: bytes, into: Path, limits: Limits = LIMITS) -> list[Path]:
    """Write the files of an archive below the existing directory `into`; the paths, in the order of the archive.

    Nothing is overwritten, nothing is followed, nothing but regular files and directories is made. On any
    `ArchiveError` what had been written is removed again. Permissions are the umask's, and "executable" is kept.
    """
    if len(data) > limits.compressed:
        raise ArchiveError(f"the archive is larger than {limits.compressed // MIB} MiB")
    written: list[Path] = []
    made: list[Path] = []
    try:
        stream = TarStream(BzipStream(data, content=limits.content, streams=limits.streams))
        for count, member in enumerate(stream.members(), start=1):
            if count > limits.members:
                raise ArchiveError(f"the archive has more than {limits.members} members")
            _write(stream, member, into, written, made)
    except BaseException:
        _undo(written, made)
        raise
    return written


def _write(stream: TarStream, member: Member, into: Path, written: list[Path], made: list[Path]) -> None:
    name = safe_name(member.name)
    if not name and not member.is_directory:
        raise ArchiveError("a file of the archive has no name")
    if not member.is_directory and member.mode & (stat.S_ISUID | stat.S_ISGID):
        raise ArchiveError(f"{name!r} would run with another's rights (setuid)")
    parts = name.split("/") if name else []
    folder = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts if member.is_directory else parts[:-1], start=1):
            inner = _enter(folder, part, into.joinpath(*parts[:depth]), made)
            os.close(folder)
            folder = inner
        if not member.is_directory:
            _write_file(
                stream, folder, parts[-1], 0o777 if member.mode & 0o100 else 0o666, into / name, written
            )
    finally:
        os.close(folder)


def _enter(folder: int, part: str, path: Path, made: list[Path]) -> int:
    """Open a directory below `folder`, made when missing; a link in its place is not followed."""
    try:
        os.mkdir(part, dir_fd=folder)
        made.append(path)
    except FileExistsError:
        pass
    except OSError as error:
        raise ArchiveError(f"{path} can't be made: {error.strerror}") from error
    try:
        return os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise ArchiveError(f"{path} is in the way: it is no directory") from error


def _write_file(
    stream: TarStream, folder: int, name: str, mode: int, path: Path, written: list[Path]
) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(name, flags, mode, dir_fd=folder)
    except FileExistsError:
        raise ArchiveError(f"{path} exists already and is not overwritten") from None
    except OSError as error:
        raise ArchiveError(f"{path} can't be written: {error.strerror}") from error
    written.append(path)
    try:
        with os.fdopen(handle, "wb") as file:
            while chunk := stream.read(_CHUNK):
                file.write(chunk)
    except OSError as error:
        raise ArchiveError(f"{path} can't be written: {error.strerror}") from error


def _undo(written: list[Path], made: list[Path]) -> None:
    for path in reversed(written):
        path.unlink(missing_ok=True)
    for path in reversed(made):
        try:
            path.rmdir()
        except OSError:  # somebody else put something there: theirs, not ours to remove
            continue
