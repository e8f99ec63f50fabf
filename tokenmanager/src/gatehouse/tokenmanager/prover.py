"""The other side of `dpop`: a key of one's own, in memory only, and proofs that one holds it (RFC 9449 §4.2).

Used where a program of ours is the client. It needs `cryptography` and nothing else of the server's.
"""

import hashlib
import json
import secrets

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from gatehouse.registry.clock import SYSTEM, Clock
from gatehouse.tokenmanager.holderkey import key, spell

_ECDSA = ec.ECDSA(SHA256())
MAX_NONCE = 512


class Prover:
    """A fresh P-256 key and the nonce that the server gave last. May be used by several threads."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._private = ec.generate_private_key(ec.SECP256R1())
        public = self._private.public_key().public_numbers()
        x, y = (spell(number.to_bytes(32, "big")) for number in (public.x, public.y))
        jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        self.thumbprint = key("ES256", x, y).thumbprint
        self._head = _part({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk})
        self._nonce = ""

    def __repr__(self) -> str:
        return f"Prover({self.thumbprint})"

    def hear(self, nonce: str) -> None:
        """Use this nonce from now on: the DPoP-Nonce header of an answer, empty when it had none (§8.2)."""
        if 0 < len(nonce) <= MAX_NONCE:
            self._nonce = nonce

    def proof(self, method: str, url: str, token: str = "") -> str:
        """The DPoP header for one request; each has a `jti` of its own, so none may be sent twice."""
        claims: dict[str, object] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url.partition("#")[0].partition("?")[0],
            "iat": self._clock.now(),
        }
        if token:
            claims["ath"] = spell(hashlib.sha256(token.encode()).digest())
        if self._nonce:
            claims["nonce"] = self._nonce
        text = f"{self._head}.{_part(claims)}"
        r, s = decode_dss_signature(self._private.sign(text.encode(), _ECDSA))
        return f"{text}.{spell(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(members: dict[str, object]) -> str:
    return spell(json.dumps(members, separators=(",", ":")).encode())
