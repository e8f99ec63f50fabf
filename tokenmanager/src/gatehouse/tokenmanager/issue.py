"""Minting: every token that leaves Gatehouse is put together here (RFC 9068, WLCG profile 1.0)."""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gatehouse.registry.clock import Clock
from gatehouse.tokenmanager.keys import Algorithm, KeyRing
from gatehouse.tokenmanager.sign import Signer

_Type = Literal["at+jwt", "JWT", "logout+jwt"]
_LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, slots=True)
class Minted:
    """A token and what its issuer wants to remember of it."""

    token: str = field(repr=False)
    token_id: str
    expires_at: int
    lifetime: int


def spelled(audience: Sequence[str]) -> str | list[str]:
    """The `aud` claim: one audience by itself, several as an array (RFC 7519 §4.1.3)."""
    return audience[0] if len(audience) == 1 else list(audience)


class Mint:
    """Signs access tokens with the active key of an algorithm."""

    def __init__(self, ring: KeyRing, issuer: str, audience: str, clock: Clock) -> None:
        self.ring = ring
        self.issuer = issuer
        self.audience = audience
        self.clock = clock
        self._signers: dict[tuple[str, str], Signer] = {}

    def _signer(self, alg: Algorithm, typ: _Type = "at+jwt") -> Signer:
        key = self.ring.active(alg)
        found = self._signers.get((key.kid, typ))
        if found is None:
            found = self._signers[key.kid, typ] = Signer(key, typ)
        return found

    def access_token(
        self,
        alg: Algorithm,
        lifetime: int,
        *,
        subject: str,
        client_id: str,
        scope: str,
        audience: str | list[str] = "",
        issuer: str = "",
        claims: Mapping[str, object],
    ) -> Minted:
        """An access token; `claims` may add to the registered ones but never replace them."""
        now = self.clock.now()
        token_id = secrets.token_urlsafe(16)
        payload = {
            **claims,
            "iss": issuer or self.issuer,
            "sub": subject,
            "aud": audience or self.audience,
            "client_id": client_id,
            "scope": scope,
            "iat": now,
            "nbf": now - 60,  # WLCG profile §2.1: a minute for clocks that run late
            "exp": now + lifetime,
            "jti": token_id,
            "wlcg.ver": "1.0",
        }
        return Minted(self._signer(alg).sign(payload), token_id, now + lifetime, lifetime)

    def id_token(
        self,
        alg: Algorithm,
        lifetime: int,
        *,
        subject: str,
        client_id: str,
        access_token: str,
        claims: Mapping[str, object],
    ) -> str:
        """An ID token for a client (OpenID Connect Core §2), tied to the access token that it comes with."""
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        now = self.clock.now()
        payload = {
            **claims,
            "iss": self.issuer,
            "sub": subject,
            "aud": client_id,
            "azp": client_id,
            "iat": now,
            "exp": now + lifetime,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
        }
        return self._signer(alg, "JWT").sign(payload)

    def logout_token(self, alg: Algorithm, *, subject: str, client_id: str, session: str) -> str:
        """A logout token (OpenID Connect Back-Channel Logout §2.4): never a nonce, so it is no ID token."""
        now = self.clock.now()
        payload = {
            "iss": self.issuer,
            "sub": subject,
            "aud": client_id,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_urlsafe(16),
            "sid": session,
            "events": {_LOGOUT: {}},
        }
        return self._signer(alg, "logout+jwt").sign(payload)
