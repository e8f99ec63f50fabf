"""Where tokens are found and how they are stored."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from gatehouse.cli import tokenfile
from gatehouse.cli.bearer import TokenFileError, Tokens, claims, from_answer, parse
from gatehouse.registry.clock import SYSTEM
from tests.cli.gate import Gate

OTHER = 65534  # nobody


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory like /tmp."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


def test_the_environment_variable_goes_first(tmp_path: Path) -> None:
    env = {"BEARER_TOKEN": " raw.token.x \v\n", "BEARER_TOKEN_FILE": str(put(tmp_path / "f", "other"))}
    found = tokenfile.discover(env)
    assert found is not None
    assert (found.tokens.access_token, found.path) == ("raw.token.x", None)


@pytest.mark.parametrize("blank", ["", " \t\r\n\v\f"])
def test_emptiness_leads_to_the_next_place(tmp_path: Path, blank: str) -> None:
    runtime = put(tmp_path / f"bt_u{os.geteuid()}", '{"access_token": "from-runtime"}')
    env = {
        "BEARER_TOKEN": blank,
        "BEARER_TOKEN_FILE": str(put(tmp_path / "f", blank)),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    found = tokenfile.discover(env)
    assert found is not None
    assert (found.tokens.access_token, found.path) == ("from-runtime", runtime)


@pytest.mark.parametrize(
    "bad", ["two words", "to,ken", "{", "[]", '{"access_token": 5}', '{"access_token": "a b"}', "=x"]
)
def test_what_is_malformed_ends_the_search(tmp_path: Path, bad: str) -> None:
    put(tmp_path / f"bt_u{os.geteuid()}", "good")
    env = {"BEARER_TOKEN": bad, "XDG_RUNTIME_DIR": str(tmp_path)}
    with pytest.raises(TokenFileError) as refused:
        tokenfile.discover(env)
    assert bad not in f"{refused.value.what} {refused.value.why}"
    with pytest.raises(TokenFileError):
        tokenfile.discover(
            {"BEARER_TOKEN_FILE": str(put(tmp_path / "f", bad)), "XDG_RUNTIME_DIR": str(tmp_path)}
        )


def test_the_places_are_those_of_the_discovery_rules(tmp_path: Path) -> None:
    name = f"bt_u{os.geteuid()}"
    assert tokenfile.default_path({}) == Path("/tmp") / name
    assert tokenfile.default_path({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / name
    both = {"XDG_RUNTIME_DIR": str(tmp_path), "BEARER_TOKEN_FILE": "/x/y"}
    assert tokenfile.default_path(both) == Path("/x/y")


def test_both_formats_are_read() -> None:
    raw = parse("abc.def.ghi\n", "here")
    stored = parse('{"access_token": "abc.def.ghi", "refresh_token": "r", "expires_at": 12.5}', "here")
    assert raw == Tokens("abc.def.ghi")
    assert stored == Tokens("abc.def.ghi", "r", expires_at=12)


def test_written_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    path = put(tmp_path / "bt", "old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        tokenfile.write(path, Tokens("a.b.c", "r", expires_at=SYSTEM.now() + 100))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stored = json.loads(path.read_text())
    assert (stored["access_token"], stored["refresh_token"]) == ("a.b.c", "r")
    assert 98 <= stored["expires_in"] <= 100
    assert [entry.name for entry in tmp_path.iterdir()] == ["bt"]


def test_a_link_laid_out_for_us_is_replaced_not_followed(shared: Path) -> None:
    victim = put(shared / "victim", "precious")
    link = shared / "bt"
    link.symlink_to(victim)
    tokenfile.write(link, Tokens("a.b.c"))
    assert victim.read_text() == "precious"
    assert not link.is_symlink()


def test_a_failed_write_keeps_the_old_tokens(tmp_path: Path) -> None:
    path = put(tmp_path / "bt", "old")
    with pytest.raises(TokenFileError):
        tokenfile.write_private(tmp_path / "missing" / "bt", b"new")
    (tmp_path / "dir").mkdir()
    with pytest.raises(TokenFileError):
        tokenfile.write_private(tmp_path / "dir", b"new")
    assert path.read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bt", "dir"]


def test_in_a_shared_directory_links_are_refused(shared: Path, tmp_path: Path) -> None:
    (shared / "bt").symlink_to(put(tmp_path / "mine", "a.b.c"))
    with pytest.raises(TokenFileError, match="refusing to read"):
        tokenfile.read(shared / "bt")


def test_elsewhere_links_are_fine_since_mounted_secrets_are_links(tmp_path: Path) -> None:
    (tmp_path / "bt").symlink_to(put(tmp_path / "mounted", "a.b.c"))
    tokens = tokenfile.read(tmp_path / "bt")
    assert tokens is not None
    assert tokens.access_token == "a.b.c"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_in_a_shared_directory_files_of_others_are_refused(shared: Path) -> None:
    path = put(shared / "bt", "a.b.c")
    os.chown(path, OTHER, OTHER)
    with pytest.raises(TokenFileError, match="refusing to read"):
        tokenfile.read(path)
    lock = put(shared / "bt.lock", "")
    os.chown(lock, OTHER, OTHER)
    with pytest.raises(TokenFileError, match="cannot lock"), tokenfile.locked(path):
        pass


def test_a_pipe_or_a_huge_file_does_not_hang_or_fill_the_memory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", put(tmp_path / "huge", "a" * 70_000), tmp_path):
        with pytest.raises(TokenFileError):
            tokenfile.read(path)


def test_the_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait(10)
        with tokenfile.locked(tmp_path / "bt"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with tokenfile.locked(tmp_path / "bt"):
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_tokens_do_not_print() -> None:
    assert "secret" not in repr(Tokens("secret-access", "secret-refresh"))


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "a.!!.c", "a." + "A" * 9000 + ".c", "a.W10.c"])
def test_claims_of_what_is_no_jwt_are_empty(token: str) -> None:
    assert claims(token) == {}


def test_claims_and_life_of_a_jwt(gate: Gate) -> None:
    tokens = from_answer(gate.pair(100), SYSTEM.now())
    assert tokens is not None
    assert tokens.issuer == gate.issuer
    assert 98 <= (tokens.seconds_left(SYSTEM.now()) or 0) <= 100
    assert tokens.seconds_left(SYSTEM.now() + 1000) == 0
    assert Tokens("opaque").seconds_left(5) is None


def test_a_refresh_answer_may_leave_things_out() -> None:
    before = Tokens("old", "keep", scope="g:x")
    after = from_answer({"access_token": "new"}, 0, before=before)
    assert after == Tokens("new", "keep", scope="g:x")
    assert from_answer({"access_token": "no good"}, 0) is None
    assert from_answer({}, 0, before=before) is None
