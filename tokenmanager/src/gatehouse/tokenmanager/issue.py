"""Minting: every token that leaves Gatehouse is put together here (RFC 9068, WLCG profile 1.0)."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from gatehouse.registry.clock import Clock
from gatehouse.tokenmanager.keys import Algorithm, KeyRing
from gatehouse.tokenmanager.sign import Signer


@dataclass(frozen=True, slots=True)
class Minted:
    """A token and what its issuer wants to remember of it."""

    token: str = field(repr=False)
    token_id: str
    expires_at: int
    lifetime: int


class Mint:
    """Signs access tokens with the active key of an algorithm."""

    def __init__(self, ring: KeyRing, issuer: str, audience: str, clock: Clock) -> None:
        self.ring = ring
        self.issuer = issuer
        self.audience = audience
        self.clock = clock
        self._signers: dict[str, Signer] = {}

    def _signer(self, alg: Algorithm) -> Signer:
        key = self.ring.active(alg)
        found = self._signers.get(key.kid)
        if found is None:
            found = self._signers[key.kid] = Signer(key)
        return found

    def access_token(
        self,
        alg: Algorithm,
        lifetime: int,
        *,
        subject: str,
        client_id: str,
        scope: str,
        audience: str = "",
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
