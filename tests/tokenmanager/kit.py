"""What tests of the token manager share: keys made once, a mint, a verifier, and a few groups."""

import functools
from dataclasses import dataclass
from typing import Any

import jwt
from starlette.datastructures import Headers

from gatehouse.registry.database import Database
from gatehouse.tokenmanager.dpop import Proofs
from gatehouse.tokenmanager.groups import GroupFacts, Groups
from gatehouse.tokenmanager.issue import Mint
from gatehouse.tokenmanager.keys import ALGORITHMS, Algorithm, Key, KeyRing, generate, public_jwk
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.revoke import Revocations
from gatehouse.tokenmanager.seal import Seal
from gatehouse.tokenmanager.verify import Refused, Verifier
from tests.clock import HandClock

BASE = "https://gate.example.org"
ISSUER = f"{BASE}/auth"
API = f"{BASE}/api"


@functools.cache
def keys(number: int) -> tuple[Key, ...]:
    """A key of each algorithm; another number, other keys."""
    made = []
    for alg in ALGORITHMS:
        private = generate(alg)
        jwk = public_jwk(alg, private.public_key())
        made.append(Key(jwk["kid"], alg, "active", private, private.public_key(), jwk))
    return tuple(made)


def key(alg: Algorithm, number: int = 0) -> Key:
    """One of them."""
    return next(one for one in keys(number) if one.alg == alg)


def facts(name: str, *properties: str, vo: str = "otter") -> GroupFacts:
    """A group."""
    return GroupFacts(name, vo, frozenset(properties), {})


def three_groups() -> Groups:
    """A user, a pilot, and an administrator group of two VOs."""
    found = (
        facts("otter_user", "NormalUser"),
        facts("otter_admin", "JobAdministrator", "NormalUser"),
        facts("seal_admin", "Operator", vo="seal"),
    )
    return Groups({one.name: one for one in found})


@dataclass
class Desk:
    """A mint and a verifier that share a ring, groups, revocations and a clock."""

    database: Database
    clock: HandClock

    def __post_init__(self) -> None:
        self.ring = KeyRing(keys(0))
        self.groups = three_groups()
        self.revoked = Revocations(self.database, self.clock)
        self.mint = Mint(self.ring, ISSUER, API, self.clock)
        self.proofs = Proofs(Seal(bytes(32)), BASE, self.clock)
        self.verifier = Verifier(self.ring, ISSUER, API, self.groups, self.revoked, self.clock)

    def token(self, alg: Algorithm = "ES256", lifetime: int = 600, **claims: object) -> str:
        """A good token of ours; `claims` are added."""
        given: dict[str, object] = {"kind": "person", "group": "otter_user", "grant": "g1", **claims}
        return self.mint.access_token(
            alg, lifetime, subject="u-1", client_id="cli", scope="openid", claims=given
        ).token

    def payload(self, **changed: object) -> dict[str, Any]:
        """The claims of a good token, with changes; None takes one away."""
        found = jwt.decode(self.token(), options={"verify_signature": False})
        return {name: value for name, value in {**found, **changed}.items() if value is not None}

    def signed(
        self,
        payload: dict[str, Any],
        *,
        alg: Algorithm = "ES256",
        number: int = 0,
        header: dict[str, Any] | None = None,
    ) -> str:
        """A token as we would sign it, with a header of one's choice."""
        signer = key(alg, number)
        heads = {"kid": key(alg).kid, "typ": "at+jwt", **(header or {})}
        return jwt.encode(
            payload,
            signer.private,
            algorithm=alg,
            headers={name: value for name, value in heads.items() if value is not None},
        )

    def good(self, token: str, audience: str = "") -> Principal:
        """The bearer, who must be believed."""
        verdict = self.verifier.verify(token, audience)
        assert isinstance(verdict, Principal), verdict
        return verdict

    def refusal(self, token: str, audience: str = "") -> str:
        """The reason why it is not believed."""
        verdict = self.verifier.verify(token, audience)
        assert isinstance(verdict, Refused), verdict
        return verdict.reason


def carrying(token: str) -> Headers:
    """The header that carries a token."""
    return Headers({"authorization": f"Bearer {token}"})
