"""The seal: bound to its row, to its key and to its version; nothing of the key is ever shown."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.registry.errors import ConfigurationError
from gatehouse.tokenmanager.seal import Seal, SealError, from_text, new_key

MASTER = bytes(range(32))
SEAL = Seal(MASTER)


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens_where_it_belongs(plain: bytes, place: str) -> None:
    sealed = SEAL.seal(plain, place)
    assert SEAL.open(sealed, place) == plain
    assert SEAL.seal(plain, place) != sealed  # never the same nonce
    with pytest.raises(SealError):
        SEAL.open(sealed, place + "x")


def test_it_is_bound_to_row_and_master_key() -> None:
    sealed = SEAL.seal(b"secret", "signing_key/one")
    for seal, place in ((SEAL, "signing_key/two"), (Seal(bytes(32)), "signing_key/one")):
        with pytest.raises(SealError) as caught:
            seal.open(sealed, place)
        assert b"secret" not in str(caught.value).encode()


def test_every_flipped_bit_is_noticed() -> None:
    sealed = SEAL.seal(b"secret", "row")
    for position in range(len(sealed)):
        harmed = bytearray(sealed)
        harmed[position] ^= 1
        with pytest.raises(SealError):
            SEAL.open(bytes(harmed), "row")


@pytest.mark.parametrize("length", [0, 1, 5, 13, 28])
def test_what_is_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(SealError):
        SEAL.open(SEAL.seal(b"", "row")[:length], "row")


def test_another_version_is_not_guessed_at() -> None:
    sealed = SEAL.seal(b"secret", "row")
    with pytest.raises(SealError, match="version"):
        SEAL.open(b"\x02" + sealed[1:], "row")


def test_purposes_have_keys_of_their_own() -> None:
    assert len({SEAL.derive("seal"), SEAL.derive("audit"), SEAL.derive("mac/x"), MASTER}) == 4
    assert SEAL.mac("a", b"m") != SEAL.mac("b", b"m")
    assert SEAL.keyed_hash("a", "m") == SEAL.mac("a", b"m").hex()
    assert Seal(MASTER).keyed_hash("a", "m") == SEAL.keyed_hash("a", "m")
    assert Seal(bytes(32)).keyed_hash("a", "m") != SEAL.keyed_hash("a", "m")
    assert len(SEAL.keyed_hash("a", "\udc80\udcff")) == 64  # whatever bytes came over the wire


def test_nothing_is_shown() -> None:
    for shown in (repr(SEAL), str(SEAL), f"{SEAL}"):
        assert shown == "Seal(…)"
    with pytest.raises(TypeError):
        vars(SEAL)


@pytest.mark.parametrize(
    "text", ["", "short", "AAAA", "ä" * 44, base64.b64encode(bytes(31)).decode(), "****"]
)
def test_a_master_key_that_is_none_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="master key") as caught:
        from_text(text)
    assert not text or text not in str(caught.value)


def test_a_new_key_is_for_its_owner_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert from_text(text.strip()).derive("x")
    with pytest.raises(FileExistsError):
        new_key(path)
    assert path.read_text() == text
