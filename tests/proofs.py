"""Proofs of possession as any client might make them (RFC 9449 §4.2), right or wrong; nothing of ours is used."""

import base64
import hashlib
import json
import secrets
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm


def spell(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(members: object) -> str:
    """A segment of a JWT."""
    return spell(json.dumps(members).encode())


def changed(members: dict[str, Any], by: dict[str, Any] | None) -> dict[str, Any]:
    """The members with others in their place; None takes one away."""
    return {name: value for name, value in {**members, **(by or {})}.items() if value is not None}


class Holder:
    """A key pair and what it takes to prove that one holds it."""

    def __init__(self, alg: str = "ES256") -> None:
        self.alg = alg
        self.nonce = ""
        self.private: Any
        self._algorithm: ECAlgorithm | OKPAlgorithm
        if alg == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
            self._algorithm = ECAlgorithm(ECAlgorithm.SHA256)
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()
            self._algorithm = OKPAlgorithm()
        self.jwk: dict[str, Any] = self._algorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.private_jwk: dict[str, Any] = self._algorithm.to_jwk(self.private, as_dict=True)
        self.jwk.pop("key_ops", None)

    @property
    def thumbprint(self) -> str:
        """RFC 7638."""
        names = ("crv", "kty", "x", "y") if self.alg == "ES256" else ("crv", "kty", "x")
        text = json.dumps({name: self.jwk[name] for name in names}, separators=(",", ":"), sort_keys=True)
        return spell(hashlib.sha256(text.encode()).digest())

    @property
    def cnf(self) -> dict[str, str]:
        """The claim of a token that is bound to this key."""
        return {"jkt": self.thumbprint}

    def proof(
        self,
        method: str,
        url: str,
        token: str = "",
        *,
        now: int | None = None,
        header: dict[str, Any] | None = None,
        claims: dict[str, Any] | None = None,
    ) -> str:
        """A proof, with the nonce that is known, and with changes to header and claims."""
        heads = changed({"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk}, header)
        said: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(time.time()) if now is None else now,
        }
        if token:
            said["ath"] = spell(hashlib.sha256(token.encode()).digest())
        if self.nonce:
            said["nonce"] = self.nonce
        return self.sign(f"{part(heads)}.{part(changed(said, claims))}")

    def sign(self, text: str) -> str:
        """The JWT with these first two parts."""
        return f"{text}.{spell(self._algorithm.sign(text.encode(), self.private))}"
