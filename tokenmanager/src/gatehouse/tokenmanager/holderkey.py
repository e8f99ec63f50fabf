"""The key in the header of a proof: a public JSON Web Key (RFC 7517), its thumbprint (RFC 7638), its signatures.

A key that came with a message proves only that whoever sent it holds the other half; what that is worth is
decided by comparing its thumbprint with the one in a token.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

ALGORITHMS = ("ES256", "EdDSA")
_PRIVATE = frozenset(
    {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
)  # RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_P256, _ECDSA = ec.SECP256R1(), ec.ECDSA(SHA256())


class HolderKey(NamedTuple):
    """A public key; `verify(signature, message)` says whether its holder signed the message."""

    thumbprint: str
    verify: Callable[[bytes, bytes], bool]


def spell(raw: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unspell(text: str) -> bytes:
    """The bytes behind base64url without padding. Raises ValueError, also for a second spelling of the same bytes."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url")
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_")
    if spell(raw) != text:
        raise ValueError("not the one spelling of these bytes")
    return raw


def shape(alg: str, jwk: Mapping[str, object]) -> tuple[str, str] | str:
    """The members that make an ES256 or EdDSA key, `x` and `y` (empty for EdDSA); or why it is none."""
    if not _PRIVATE.isdisjoint(jwk):
        return "The proof contains a private key: make a new key, this one is no longer a secret."
    wanted = ("EC", "P-256") if alg == "ES256" else ("OKP", "Ed25519")
    x, y = jwk.get("x"), jwk.get("y", "")
    if (jwk.get("kty"), jwk.get("crv")) != wanted or not isinstance(x, str) or not isinstance(y, str):
        return f"The key of the proof is not one for {alg}."
    return (x, y) if alg == "ES256" else (x, "")


def key(alg: str, x: str, y: str) -> HolderKey:
    """The key with these coordinates. Raises ValueError when there is no such point."""
    if alg == "ES256":
        point = [unspell(part) for part in (x, y)]
        if [len(part) for part in point] != [32, 32]:
            raise ValueError("a coordinate is not 32 bytes")
        curved = ec.EllipticCurvePublicKey.from_encoded_point(_P256, b"\x04" + point[0] + point[1])
        members = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
        return HolderKey(_thumbprint(members), lambda signature, text: _es256(curved, signature, text))
    edwards = ed25519.Ed25519PublicKey.from_public_bytes(unspell(x))
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'
    return HolderKey(_thumbprint(members), lambda signature, text: _eddsa(edwards, signature, text))


def _thumbprint(members: str) -> str:
    return spell(hashlib.sha256(members.encode()).digest())


def _es256(public: ec.EllipticCurvePublicKey, signature: bytes, text: bytes) -> bool:
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        public.verify(encode_dss_signature(r, s), text, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _eddsa(public: ed25519.Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    try:
        public.verify(signature, text)
    except InvalidSignature:
        return False
    return True
