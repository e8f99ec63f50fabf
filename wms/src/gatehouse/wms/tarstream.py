"""A small strict reader of tar streams: regular files and directories, nothing else.

`tarfile` is not used to read what strangers send: older 3.11 releases have no extraction filters, run for ever on
negative sizes, and backtrack on crafted pax headers. This reads the formats that tar programs write today: ustar
(POSIX.1-1988), pax (POSIX.1-2001) and GNU with long names. Whatever is rarer is refused with its reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BLOCK = 512
EXTENSION_LIMIT = 64 * 1024
EXTENSIONS_LIMIT = 4

_FILE = {b"0", b"\0"}
_REFUSED = {
    b"1": "is a hard link",
    b"2": "is a symbolic link",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
    b"S": "is a sparse file",
}


class ArchiveError(ValueError):
    """A sandbox archive that can't be made or taken apart; the message is for the person who owns it."""


class Source(Protocol):
    """Bytes in order; fewer than asked for only at the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """One entry; `mode` has the permission bits, including the special ones. Directories have size 0."""

    name: str
    mode: int
    size: int
    is_directory: bool


class TarStream:
    """Iterates over the members of an uncompressed tar stream; `read` gives the content of the current one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0
        self._padding = 0

    def members(self) -> Iterator[Member]:
        """The members in order. Content not read before the next one is skipped."""
        longer: str | None = None
        extensions = 0
        while (header := self._header()) is not None:
            kind = header[156:157]
            size = _octal(header[124:136], "size")
            if kind in {b"x", b"L", b"g"}:
                longer = self._extension(kind, size) or longer
                extensions += 1
                if extensions > EXTENSIONS_LIMIT:
                    raise ArchiveError("the archive has too many extension headers in a row")
                continue
            yield self._member(header, kind, size, longer)
            longer, extensions = None, 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the current member, empty at its end."""
        chunk = self._exactly(min(size, self._left))
        self._left -= len(chunk)
        return chunk

    def _header(self) -> bytes | None:
        while self.read(64 * 1024):
            pass
        self._exactly(self._padding)
        self._padding = 0
        header = self._source.read(BLOCK)
        if not header or header == bytes(BLOCK):
            return None
        if len(header) < BLOCK:
            raise ArchiveError("the archive ends in the middle of an entry")
        unsigned = sum(header[:148]) + 8 * 0x20 + sum(header[156:])
        if unsigned != _octal(header[148:156], "checksum"):
            raise ArchiveError("the archive is damaged, or no tar archive: a checksum is wrong")
        return header

    def _begin(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _exactly(self, size: int) -> bytes:
        chunk = self._source.read(size) if size else b""
        if len(chunk) < size:
            raise ArchiveError("the archive ends in the middle of an entry")
        return chunk

    def _extension(self, kind: bytes, size: int) -> str | None:
        """The longer name that a pax or GNU header gives to the next member."""
        if size > EXTENSION_LIMIT:
            raise ArchiveError("an extension header of the archive is too long")
        self._begin(size)
        content = self.read(size)
        if kind == b"L":
            return _text(content.rstrip(b"\0"))
        records = _pax(content)
        for key in records:
            if (
                key in {"size", "linkpath"}
                or key.startswith("GNU.sparse")
                or (kind == b"g" and key == "path")
            ):
                raise ArchiveError(f"the archive uses an extension not taken here: {key}")
        return records.get("path")

    def _member(self, header: bytes, kind: bytes, size: int, longer: str | None) -> Member:
        name = _name(header) if longer is None else longer
        is_directory = kind == b"5" or (kind in _FILE and name.endswith("/"))
        if not is_directory and kind not in _FILE:
            raise ArchiveError(
                f"{name[:200]!r} {_REFUSED.get(kind, 'is of an unknown kind')}; only files are taken"
            )
        if is_directory and size:
            raise ArchiveError(f"{name[:200]!r} is a directory with content")
        self._begin(size)
        return Member(name, _octal(header[100:108], "mode"), size, is_directory)


def _name(header: bytes) -> str:
    name = _text(header[:100].split(b"\0", 1)[0])
    if header[257:263] == b"ustar\0":
        prefix = _text(header[345:500].split(b"\0", 1)[0])
        return f"{prefix}/{name}" if prefix else name
    return name


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ArchiveError(f"the name {raw[:100]!r} is not UTF-8") from None


def _octal(field: bytes, what: str) -> int:
    """An octal number; base-256 ones exist for files above 8 GiB only, and a sign for none."""
    digits = field.strip(b" \0")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        if digits:
            raise ArchiveError(f"the archive is damaged: the {what} of an entry is no octal number")
        return 0
    return int(digits, 8)


def _pax(content: bytes) -> dict[str, str]:
    """`<length> <key>=<value>\\n` records, the length counting the whole record."""
    records: dict[str, str] = {}
    position = 0
    while position < len(content):
        digits, space, _ = content[position : position + 8].partition(b" ")
        end = position + int(digits) if space and digits.isdigit() else 0
        record = content[position + len(digits) + 1 : end]
        key, equals, value = record.partition(b"=")
        if not equals or end > len(content) or not record.endswith(b"\n"):
            raise ArchiveError("the archive is damaged: a pax header is malformed")
        # Values of other keys (owner names, times) are not looked at, so they need not be text.
        records[_text(key)] = _text(value[:-1]) if key == b"path" else ""
        position = end
    return records
