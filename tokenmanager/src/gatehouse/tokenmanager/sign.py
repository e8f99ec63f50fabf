"""Signing a JWT with a key object: JWS compact serialisation (RFC 7515 §7.1), RS256 and ES256 (RFC 7518 §3.3, §3.4)."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import partial

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import json

from gatehouse.tokenmanager.keys import Key, PrivateKey

_PKCS1, _SHA256, _ECDSA = padding.PKCS1v15(), SHA256(), ec.ECDSA(SHA256())


class Signer:
    """Signs tokens of one type with one key; what does not change from token to token is made once."""

    def __init__(self, key: Key, typ: str = "at+jwt") -> None:
        header = {"alg": key.alg, "kid": key.kid, "typ": typ}
        self._head = _base64(json.encode(header)) + b"."
        self._sign = _signing(key.private)

    def sign(self, claims: Mapping[str, object]) -> str:
        """The token that says `claims`."""
        text = self._head + _base64(json.encode(claims))
        return (text + b"." + _base64(self._sign(text))).decode("ascii")


def _signing(private: PrivateKey) -> Callable[[bytes], bytes]:
    if isinstance(private, rsa.RSAPrivateKey):
        return partial(_rs256, private)
    return partial(_es256, private)


def _rs256(private: rsa.RSAPrivateKey, text: bytes) -> bytes:
    return private.sign(text, _PKCS1, _SHA256)


def _es256(private: ec.EllipticCurvePrivateKey, text: bytes) -> bytes:
    r, s = decode_dss_signature(private.sign(text, _ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _base64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
