"""The output sandbox: what the job asked to bring home, as far as it is there and fits."""

from collections.abc import Iterable
from pathlib import Path

from gatehouse.wms.archive import LIMITS, ArchiveError, pack, safe_name

PATTERN_LIMIT = 1000
_GLOB = set("*?[")


def gather(room: Path, streams: Iterable[str], names: Iterable[str]) -> tuple[bytes, str]:
    """The archive of the streams and the named files or patterns, and a sentence on what is not in it, or `""`."""
    certain = [room / name for name in dict.fromkeys(streams) if (room / name).is_file()]
    files, missing = _find(room, names)
    files = [file for file in dict.fromkeys(files) if file not in certain]
    archive, left_out = _pack(room, certain, files)
    notes = [
        f"{what}: {', '.join(which)}"
        for what, which in (("Missing Output", missing), ("Output Left Out", left_out))
        if which
    ]
    return archive, "; ".join(notes)


def _find(room: Path, names: Iterable[str]) -> tuple[list[Path], list[str]]:
    files: list[Path] = []
    missing: list[str] = []
    for name in names:
        try:
            safe = safe_name(name)
            found = sorted(room.glob(safe))[:PATTERN_LIMIT] if _GLOB & set(safe) else [room / safe]
        except (ArchiveError, ValueError, OSError):
            found = []
        found = [path for path in found if path.exists() and path != room]
        files += found
        if not found:
            missing.append(name)
    return files, missing


def _pack(room: Path, certain: list[Path], files: list[Path]) -> tuple[bytes, list[str]]:
    """As much as possible: all; or all that is fit to be sent by itself; or the streams alone."""
    try:
        return pack([*certain, *files], within=room, limits=LIMITS), []
    except ArchiveError:
        kept = [file for file in files if _fits(room, file)]
    try:
        archive = pack([*certain, *kept], within=room, limits=LIMITS)
    except ArchiveError:
        kept = []
        archive = pack([file for file in certain if _fits(room, file)], within=room, limits=LIMITS)
    return archive, [str(file.relative_to(room)) for file in files if file not in kept]


def _fits(room: Path, file: Path) -> bool:
    try:
        pack([file], within=room, limits=LIMITS)
    except ArchiveError:
        return False
    return True
