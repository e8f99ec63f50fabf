"""Sandbox archives: equal files give equal bytes, and no archive whatsoever writes outside of its directory."""

import bz2
import io
import os
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatehouse.wms.archive import ArchiveError, Limits, pack, safe_name, unpack

SMALL = Limits(compressed=100_000, content=200_000, members=50, streams=20)


def write(path: Path, content: bytes = b"x", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def tar(*entries: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:bz2", format=kind) as out:
        for info, content in entries:
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    return info


def tree(top: Path) -> dict[str, bytes | None]:
    """Everything below `top`, links not followed; None for what is no regular file."""
    return {
        str(path.relative_to(top)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in top.rglob("*")
    }


def test_round_trip_keeps_content_and_executable_and_nothing_else(tmp_path: Path) -> None:
    run = write(tmp_path / "in" / "run.sh", b"#!/bin/sh\n", 0o6755)
    data = write(tmp_path / "in" / ("d" * 200 + " é"), os.urandom(70_000), 0o600)
    into = tmp_path / "out"
    into.mkdir()
    written = unpack(pack([run, data]), into)
    assert {path.name: path.read_bytes() for path in written} == {p.name: p.read_bytes() for p in (run, data)}
    assert (into / "run.sh").stat().st_mode & 0o7700 == 0o700
    assert (into / data.name).stat().st_mode & 0o7700 == 0o600


def test_equal_files_give_equal_bytes(tmp_path: Path) -> None:
    first = [write(tmp_path / "1" / name, name.encode()) for name in "ab"]
    second = [write(tmp_path / "2" / name, name.encode(), 0o666) for name in "ba"]
    os.utime(second[0], (1, 1))
    assert pack(first) == pack(second)
    assert pack(first) != pack([write(tmp_path / "3" / name, b"other") for name in "ab"])


def test_a_directory_is_packed_with_what_is_in_it(tmp_path: Path) -> None:
    write(tmp_path / "conf" / "a" / "b.txt", b"deep")
    write(tmp_path / "conf" / "c.txt", b"flat")
    into = tmp_path / "out"
    into.mkdir()
    unpack(pack([tmp_path / "conf"]), into)
    assert tree(into) == {"conf": None, "conf/a": None, "conf/a/b.txt": b"deep", "conf/c.txt": b"flat"}


def test_within_keeps_the_path_below_and_nothing_outside(tmp_path: Path) -> None:
    top = tmp_path / "job"
    kept = write(top / "sub" / "o.txt", b"kept")
    secret = write(tmp_path / "secret", b"secret")
    (top / "way-out").symlink_to(secret)
    (top / "way-in").symlink_to(kept)
    into = tmp_path / "out"
    into.mkdir()
    unpack(pack([kept, top / "way-in"], within=top), into)
    assert tree(into) == {"sub": None, "sub/o.txt": b"kept", "way-in": b"kept"}
    for outside in (secret, top / "way-out", top / ".." / "secret"):
        with pytest.raises(ArchiveError, match="outside"):
            pack([outside], within=top)


def test_conflicts_and_missing_files_are_clear(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1" / "a", b"1"), write(tmp_path / "2" / "a", b"2")
    with pytest.raises(ArchiveError, match="would both be called 'a'"):
        pack([one, two])
    assert pack([one, one]) == pack([one])
    with pytest.raises(ArchiveError, match="does not exist"):
        pack([tmp_path / "nothing"])
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    with pytest.raises(ArchiveError, match="link to nothing"):
        pack([tmp_path / "dangling"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArchiveError, match="no regular file"):
        pack([tmp_path / "pipe"])


def test_packing_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="larger than 0 MiB"):
        pack([write(tmp_path / "noise", os.urandom(150_000))], limits=SMALL)
    with pytest.raises(ArchiveError, match="too much content"):
        pack([write(tmp_path / "zeros", bytes(250_000))], limits=SMALL)
    many = [write(tmp_path / "many" / str(number)) for number in range(51)]
    with pytest.raises(ArchiveError, match="more than 50 files"):
        pack(many, limits=SMALL)


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_tarfile_writes_is_read(tmp_path: Path, kind: int) -> None:
    long = "/".join(["d" * 60] * 3) + "/f.txt"
    info = entry("./x/run", mode=0o755)
    info.mtime = 1.5 if kind == tarfile.PAX_FORMAT else 1
    data = tar(
        (entry("./", tarfile.DIRTYPE), b""),
        (info, b"y" * 1024),
        (entry(long), b"z"),
        (entry("é"), b""),
        kind=kind,
    )
    assert [str(path.relative_to(tmp_path)) for path in unpack(data, tmp_path)] == ["x/run", long, "é"]
    assert (tmp_path / "x" / "run").read_bytes() == b"y" * 1024
    assert (tmp_path / long).read_bytes() == b"z"


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7"])
def test_what_the_tar_program_writes_is_read(tmp_path: Path, form: str) -> None:
    write(tmp_path / "in" / "sub" / "a.txt", b"a" * 3000)
    write(tmp_path / "in" / ("n" * 90), b"")
    made = subprocess.run(
        ["tar", f"--format={form}", "-cjf", "-", "."], cwd=tmp_path / "in", capture_output=True, check=True
    )
    into = tmp_path / "out"
    into.mkdir()
    unpack(made.stdout, into)
    assert tree(into) == tree(tmp_path / "in")


def test_several_bzip2_streams_are_one_archive(tmp_path: Path) -> None:
    raw = bz2.decompress(tar((entry("a"), b"a" * 5000)))
    unpack(bz2.compress(raw[:700]) + bz2.compress(b"") + bz2.compress(raw[700:]), tmp_path)
    assert (tmp_path / "a").read_bytes() == b"a" * 5000
    with pytest.raises(ArchiveError, match="too many bzip2 streams"):
        unpack(bz2.compress(b"") * 100 + bz2.compress(raw), tmp_path, SMALL)


def damaged(at: int, value: bytes) -> bytes:
    """An archive of one file with bytes of its header replaced and the checksum made right again."""
    raw = bytearray(bz2.decompress(tar((entry("victim"), b"content"))))
    raw[at : at + len(value)] = value
    total = sum(raw[:148]) + 8 * 32 + sum(raw[156:512])
    raw[148:156] = b"%06o\0 " % total
    return bz2.compress(bytes(raw))


HOSTILE = {
    "absolute": (tar((entry("/tmp/gatehouse-escape"), b"x")), "absolute"),
    "dot-dot": (tar((entry("../escape"), b"x")), "leads out"),
    "inner dot-dot": (tar((entry("a/../../escape"), b"x")), "leads out"),
    "dot-dot directory": (tar((entry("../escape", tarfile.DIRTYPE), b"")), "leads out"),
    "long dot-dot": (
        tar((entry("a/" * 80 + "../" * 90 + "escape"), b"x"), kind=tarfile.GNU_FORMAT),
        "leads out",
    ),
    "symbolic link": (tar((entry("a", tarfile.SYMTYPE, link="/etc"), b"")), "symbolic link"),
    "hard link": (tar((entry("a", tarfile.LNKTYPE, link="/etc/passwd"), b"")), "hard link"),
    "device": (tar((entry("a", tarfile.CHRTYPE), b"")), "device"),
    "pipe": (tar((entry("a", tarfile.FIFOTYPE), b"")), "pipe"),
    "setuid": (tar((entry("a", mode=0o4755), b"x")), "setuid"),
    "setgid": (tar((entry("a", mode=0o2755), b"x")), "setuid"),
    "twice": (tar((entry("a"), b"x"), (entry("a"), b"y")), "exists already"),
    "twice otherwise": (tar((entry("a"), b"x"), (entry("./a"), b"y")), "exists already"),
    "below a file": (tar((entry("a"), b"x"), (entry("a/b"), b"y")), "no directory"),
    "control": (tar((entry("a\x1b[2J"), b"x")), "control character"),
    "no name": (tar((entry("."), b"x")), "no name"),
    "deep": (tar((entry("a/" * 20 + "b"), b"x")), "too deep"),
    "long": (tar((entry("a" * 300), b"x")), "too long"),
    "many": (tar(*[(entry(str(number)), b"") for number in range(51)]), "more than 50 members"),
    "bomb": (tar((entry("zeros"), bytes(10_000_000))), "holds more than"),
    "negative size": (damaged(124, b"-0000000001\0"), "no octal number"),
    "binary size": (damaged(124, b"\x80" + bytes(10) + b"\x01"), "no octal number"),
    "huge size": (damaged(124, b"77777777777\0"), "middle of an entry"),
    "unknown kind": (damaged(156, b"Z"), "unknown kind"),
    "not UTF-8": (damaged(0, b"\xff"), "not UTF-8"),
    "checksum": (bz2.compress(b"x" * 1024), "damaged"),
    "half a header": (bz2.compress(b"x" * 100), "middle"),
    "no bzip2": (b"PK\3\4 not this", "damaged"),
    "empty": (b"", "too early"),
    "cut": (tar((entry("a"), os.urandom(1000)))[:-20], "too early"),
    "too large": (bytes(100_001), "larger than"),
}


@pytest.mark.parametrize("case", list(HOSTILE))
def test_hostile_archives_leave_nothing_behind(tmp_path: Path, case: str) -> None:
    data, words = HOSTILE[case]
    into = tmp_path / "into"
    write(into / "mine", b"mine")
    with pytest.raises(ArchiveError, match=words):
        unpack(data, into, SMALL)
    assert tree(tmp_path) == {"into": None, "into/mine": b"mine"}
    assert not Path("/tmp/gatehouse-escape").exists()


@pytest.mark.parametrize("key", ["size", "linkpath", "GNU.sparse.major"])
def test_pax_headers_may_not_change_more_than_the_name(tmp_path: Path, key: str) -> None:
    info = entry("a")
    info.pax_headers = {key: "5"}
    with pytest.raises(ArchiveError, match=key):
        unpack(tar((info, b"x")), tmp_path)


def test_pax_paths_are_checked_like_any(tmp_path: Path) -> None:
    info = entry("innocent")
    info.pax_headers = {"path": "../escape"}
    with pytest.raises(ArchiveError, match="leads out"):
        unpack(tar((info, b"x")), tmp_path)


def test_endless_extension_headers_are_refused(tmp_path: Path) -> None:
    info = entry("a")
    info.pax_headers = {"comment": "x"}
    pair = bz2.decompress(tar((info, b"")))[:1024]
    with pytest.raises(ArchiveError, match="in a row"):
        unpack(bz2.compress(pair * 10), tmp_path)


def test_links_already_there_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    into = tmp_path / "into"
    into.mkdir()
    (into / "d").symlink_to(outside)
    (into / "f").symlink_to(outside / "f")
    for name in ("d/x", "f"):
        with pytest.raises(ArchiveError):
            unpack(tar((entry(name), b"x")), into)
    assert tree(outside) == {}


def test_what_was_there_before_survives_a_refusal(tmp_path: Path) -> None:
    write(tmp_path / "d" / "old", b"old")
    with pytest.raises(ArchiveError, match="exists already"):
        unpack(tar((entry("d/new"), b"n"), (entry("e/new"), b"n"), (entry("d/old"), b"evil")), tmp_path)
    assert tree(tmp_path) == {"d": None, "d/old": b"old"}


NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "b", "link", "/", "etc", "é", "\x00"]), min_size=1, max_size=5
)
KINDS = st.sampled_from(
    [b"0", b"0", b"0", b"5", b"1", b"2", b"3", b"6", b"7", b"L", b"K", b"x", b"g", b"S", b"\0"]
)
ENTRIES = st.tuples(
    NAMES.map("/".join),
    KINDS,
    st.binary(max_size=40),
    st.sampled_from([0o644, 0o755, 0o4755]),
    NAMES.map("/".join),
)


def raw_archive(entries: list[tuple[str, bytes, bytes, int, str]]) -> bytes:
    out = b""
    for name, kind, content, mode, link in entries:
        header = bytearray(512)
        header[:100] = name.encode()[:100].ljust(100, b"\0")
        header[100:108] = b"%07o\0" % mode
        header[124:136] = b"%011o\0" % len(content)
        header[156:157] = kind
        header[157:257] = link.encode()[:100].ljust(100, b"\0")
        header[257:265] = b"ustar\x0000"
        header[148:156] = b"%06o\0 " % (sum(header) + 8 * 32)
        out += bytes(header) + content + bytes(-len(content) % 512)
    return bz2.compress(out + bytes(1024))


def check_stays_inside(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        write(top / "outside", b"outside")
        into = top / "a" / "into"
        into.mkdir(parents=True)
        (into / "link").symlink_to(top)
        try:
            written = unpack(data, into, SMALL)
        except ArchiveError:
            assert tree(into) == {"link": None}
        else:
            assert {str(path.relative_to(into)) for path in written} <= set(tree(into))
        finally:
            assert {path.name for path in top.iterdir()} == {"outside", "a"}
            assert [path.name for path in (top / "a").iterdir()] == ["into"]
            assert (top / "outside").read_bytes() == b"outside"
            assert os.readlink(into / "link") == name
            assert not [p for p in into.rglob("*") if p.is_symlink() and p != into / "link"]


@given(st.lists(ENTRIES, max_size=6))
@example([("link/outside", b"0", b"evil", 0o644, "")])
@example([("a", b"L", b"../../outside\0", 0o644, ""), ("b", b"0", b"evil", 0o644, "")])
@example([("a", b"x", b"23 path=../../outside\n\n", 0o644, ""), ("b", b"0", b"evil", 0o644, "")])
@settings(max_examples=300, deadline=None)
def test_no_archive_writes_outside(entries: list[tuple[str, bytes, bytes, int, str]]) -> None:
    check_stays_inside(raw_archive(entries))


@given(st.binary(max_size=2000), st.integers(0, 1500), st.binary(min_size=1, max_size=20))
@settings(max_examples=300, deadline=None)
def test_no_bytes_whatsoever_break_it(noise: bytes, at: int, patch: bytes) -> None:
    check_stays_inside(noise)
    check_stays_inside(bz2.compress(noise))
    raw = bytearray(bz2.decompress(tar((entry("a/b"), b"x" * 600), (entry("é" * 70), b"y"))))
    raw[at : at + len(patch)] = patch
    check_stays_inside(bz2.compress(bytes(raw)))


@given(st.text(max_size=40))
def test_safe_names_stay_below(name: str) -> None:
    try:
        safe = safe_name(name)
    except ArchiveError:
        return
    assert not os.path.isabs(safe)
    assert os.path.normpath(f"/top/{safe}").startswith("/top")
    assert safe_name(safe) == safe


def test_a_bomb_costs_little_time(tmp_path: Path) -> None:
    bomb = tar((entry("zeros"), bytes(50_000_000)))
    start = time.monotonic()
    with pytest.raises(ArchiveError, match="holds more than"):
        unpack(bomb, tmp_path, Limits(content=2_000_000))
    assert time.monotonic() - start < 5
