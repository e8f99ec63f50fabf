"""Anything at all as a proof of possession: it is read or refused with a reason, and never taken for somebody's."""

import base64
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gatehouse.tokenmanager.addresses import normal
from gatehouse.tokenmanager.dpop import MAX_PROOF, Proof, Proofs, Unproven
from gatehouse.tokenmanager.holderkey import spell, unspell
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock
from tests.proofs import Holder, part

BASE, PATH = "https://gate.example.org", "/auth/token"
CLOCK = HandClock()
PROOFS = Proofs(Seal(bytes(32)), BASE, CLOCK)
HOLDERS = (Holder(), Holder("EdDSA"))
NONCE = PROOFS.nonce()

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
HEADER, CLAIMS = ("typ", "alg", "jwk", "crit", "kid"), ("jti", "htm", "htu", "iat", "ath", "nonce", "exp")


def read(text: str, token: str = "") -> Proof | Unproven:
    """What comes of it; a refusal always has its reason and one of the two codes."""
    outcome = PROOFS.read(text, "POST", PATH, token)
    if isinstance(outcome, Unproven):
        assert outcome.reason.endswith(".")
        assert outcome.reason.isprintable()
        assert outcome.code in ("invalid_dpop_proof", "use_dpop_nonce")
    return outcome


def good(holder: Holder, **changes: Any) -> str:
    """A proof that would be taken without the changes."""
    holder.nonce = NONCE
    return holder.proof("POST", BASE + PATH, now=CLOCK.now(), **changes)


@given(st.text(max_size=300) | st.text('ab.=-_{}"[]', max_size=300))
@example("." * MAX_PROOF)
@example("\ud800.\ud800.\ud800")
def test_any_text(text: str) -> None:
    assert isinstance(read(text), Unproven)


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=80))
@example(b'{"typ":"dpop+jwt","alg":"ES256","jwk":{}}', b'{"jti":"\\ud800","htm":"POST"}', b"")
def test_any_bytes_in_the_three_parts(header: bytes, claims: bytes, signature: bytes) -> None:
    assert isinstance(read(f"{spell(header)}.{spell(claims)}.{spell(signature)}"), Unproven)


@given(st.sampled_from(HOLDERS), st.dictionaries(st.sampled_from(HEADER), values, max_size=3))
def test_any_header(holder: Holder, changes: dict[str, Any]) -> None:
    outcome = read(good(holder, header=changes))
    if isinstance(outcome, Proof):
        assert outcome.thumbprint == holder.thumbprint
        right = {"typ": "dpop+jwt", "alg": holder.alg, "jwk": holder.jwk}
        assert all(changes[name] == right[name] for name in right if name in changes)
        assert changes.get("crit") is None


@given(st.sampled_from(HOLDERS), st.dictionaries(st.sampled_from(CLAIMS), values, max_size=3))
def test_any_claims(holder: Holder, changes: dict[str, Any]) -> None:
    outcome = read(good(holder, claims=changes))
    if isinstance(outcome, Proof):
        assert changes.get("htm", "POST") == "POST"
        assert changes.get("nonce", NONCE) == NONCE


@given(
    st.sampled_from(HOLDERS),
    st.dictionaries(st.sampled_from(("kty", "crv", "x", "y", "d", "k", "n")), values),
)
def test_any_key(holder: Holder, changes: dict[str, Any]) -> None:
    """A key other than the signer's never passes, whatever it is."""
    jwk = {**holder.jwk, **changes}
    outcome = read(good(holder, header={"jwk": jwk}))
    if isinstance(outcome, Proof):
        assert outcome.thumbprint == holder.thumbprint
        assert not {"d", "k"} & set(changes)


@given(st.sampled_from(HOLDERS), st.data())
def test_one_letter_changed(holder: Holder, data: st.DataObject) -> None:
    proof = good(holder)
    at = data.draw(st.integers(0, len(proof) - 1))
    letter = data.draw(st.sampled_from("ABCabc019-_.=+/ \n"))
    if letter != proof[at]:
        assert isinstance(read(proof[:at] + letter + proof[at + 1 :]), Unproven)


@given(st.sampled_from(HOLDERS), st.data())
def test_cut_anywhere(holder: Holder, data: st.DataObject) -> None:
    proof = good(holder)
    assert isinstance(read(proof), Proof)
    assert isinstance(read(proof[: data.draw(st.integers(0, len(proof) - 1))]), Unproven)


@given(st.sampled_from(HOLDERS), st.text(max_size=200), st.text(max_size=200))
def test_a_proof_is_for_one_token(holder: Holder, token: str, other: str) -> None:
    token, other = "t" + token, "t" + other
    try:
        proof = good(holder) if not token.isascii() else holder_proof(holder, token)
    except UnicodeEncodeError:
        return
    assert isinstance(read(proof, token), Proof) is token.isascii()
    if other != token:
        assert isinstance(read(proof, other), Unproven)


def holder_proof(holder: Holder, token: str) -> str:
    """A proof that goes with a token."""
    holder.nonce = NONCE
    return holder.proof("POST", BASE + PATH, token, now=CLOCK.now())


@given(st.text(max_size=80) | st.from_regex(r"https?://[a-zA-Z0-9.:\[\]@%/?#~-]{0,60}", fullmatch=True))
@example("http://[::1]:80/%7e/../%zz")
@example("https://[")
@example("https://host:99999999999/")
def test_an_address_has_one_spelling(uri: str) -> None:
    """Normalising is idempotent, never raises, and never leaves the host that a browser would go to."""
    once = normal(uri)
    assert normal(once) == once
    if once:
        assert once.startswith(("http://", "https://"))
        assert not set("?#@ ") & set(once)
        assert normal(uri + "?a=b") in (once, "")  # the query is no part of it


@given(st.text(max_size=60))
def test_base64url_has_one_spelling(text: str) -> None:
    try:
        raw = unspell(text)
    except ValueError:
        return
    assert spell(raw) == text
    assert raw == base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@given(st.integers(0, 4200))
def test_no_size_is_read_beyond_the_bound(size: int) -> None:
    padded = HOLDERS[0].sign(f"{part({'typ': 'dpop+jwt'})}.{part({'x': 'y' * size})}")
    outcome = read(padded)
    assert isinstance(outcome, Unproven)
    assert (str(MAX_PROOF) in outcome.reason) is (len(padded) > MAX_PROOF)
    assert json.dumps(outcome.reason)
