"""The one function that believes a token. Everything fixed: algorithm per key, key from our own ring, issuer,
audience, type (RFC 8725, RFC 9068 §4)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import jwt
from cachetools import TTLCache
from jwt.types import Options

from gatehouse.registry.clock import Clock
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.keys import KeyRing
from gatehouse.tokenmanager.principal import Kind, Principal
from gatehouse.tokenmanager.revoke import Revocations, claim_name, client_name, grant_name, token_name

MAX_TOKEN = 8192  # longer is refused before any parsing
# checked here, by our own clock and for several audiences
_OPTIONS: Options = {
    "require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
}
MAX_ACTORS = 4  # a chain of delegation is no longer than this (RFC 8693 §4.1)
_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
_BINDINGS = {"jkt": "jkt", "x5t#S256": "x5t"}  # RFC 9449 §6.1, RFC 8705 §3.1
_MEMBERS = {kind: member for member, kind in _BINDINGS.items()}


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a token is not believed: `reason` is shown to the bearer, `detail` goes to the log."""

    reason: str
    detail: str = ""


class Verifier:
    """Verifies our own access tokens offline, remembering the outcome by the token's hash for a minute."""

    def __init__(
        self, ring: KeyRing, issuer: str, audience: str, groups: Groups, revoked: Revocations, clock: Clock
    ) -> None:
        self._ring = ring
        self._issuer = issuer
        self._audience = audience
        self._groups = groups
        self._revoked = revoked
        self._clock = clock
        self._known: TTLCache[bytes, tuple[int, Principal, tuple[str, ...]]] = TTLCache(
            50_000, 60, timer=clock.monotonic
        )

    def verify(self, token: str, audience: str = "") -> Principal | Refused:
        """The bearer of a token, or why not; `audience` is whom it must be for, unsaid our own API."""
        principal = self.recognise(token)
        if isinstance(principal, Refused) or (audience or self._audience) in principal.audience:
            return principal
        return Refused("The token is not meant for this service.", f"aud {principal.audience}"[:300])

    def recognise(self, token: str) -> Principal | Refused:
        """The bearer of a live token of ours, whoever it is meant for: for introspection and exchange only."""
        if len(token) > MAX_TOKEN:
            return Refused("The token is longer than 8 kB.")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(digest)
        if known is None or known[0] != self._groups.version:
            fresh = self._examine(token)
            if isinstance(fresh, Refused):
                return fresh
            known = self._known[digest] = (self._groups.version, fresh, _names(fresh))
        _, principal, names = known
        if principal.expires_at <= self._clock.now():
            return Refused("The token has expired.")
        for name in names:
            if name in self._revoked:
                return Refused("The token has been revoked.")
        return principal

    def _examine(self, token: str) -> Principal | Refused:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError) as error:
            return Refused("This is not a token of this service.", str(error))
        key = self._ring.find(header.get("kid"))
        if key is None or header.get("alg") != key.alg or header.get("typ") != "at+jwt" or "crit" in header:
            return Refused("The token was not signed by a key of this service.", f"header {sorted(header)}")
        try:
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[key.alg],
                issuer=self._issuer,
                options=_OPTIONS,
            )
            return self._principal(claims)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
            return Refused("The token is not valid here.", f"{type(error).__name__}: {error}")

    def _principal(self, claims: dict[str, object]) -> Principal | Refused:
        now = self._clock.now()
        expires_at, not_before, issued_at = claims["exp"], claims.get("nbf", 0), claims["iat"]
        if not (isinstance(expires_at, int) and isinstance(not_before, int) and isinstance(issued_at, int)):
            return Refused("The token is not valid here.", "exp, nbf or iat is not an integer")
        if expires_at <= now:
            return Refused("The token has expired.")
        if not_before > now + 60:
            return Refused("The token is not valid yet.")
        group = str(claims.get("group", ""))
        facts = self._groups.by_name.get(group)
        if group and facts is None:
            return Refused(f"The group {group} of this token no longer exists.")
        actor = claims.get("act")
        job = claims.get("job")
        binding = binding_of(claims.get("cnf"))
        if binding is None:
            return Refused("The token is bound to something that is not understood here.", "cnf")
        return Principal(
            kind=_KINDS[str(claims["kind"])],
            subject=str(claims["sub"]),
            username=str(claims.get("preferred_username", "")),
            group=group,
            vo=facts.vo if facts else "",
            properties=facts.properties if facts else frozenset(),
            client_id=str(claims["client_id"]),
            token_id=str(claims["jti"]),
            grant=str(claims.get("grant", "")),
            actor=str(actor["sub"]) if isinstance(actor, dict) else "",
            job=job if isinstance(job, int) else None,
            claim=str(claims.get("claim", "")),
            scope=str(claims["scope"]),
            audience=_audience(claims["aud"]),
            issued_at=issued_at,
            expires_at=expires_at,
            acts=_acts(actor),
            lineage=_texts(claims.get("lineage", ())),
            through=_texts(claims.get("through", ())),
            binding=binding,
        )


def _audience(claim: object) -> tuple[str, ...]:
    """RFC 7519 §4.1.3: one audience or several."""
    found = claim if isinstance(claim, list) else [claim]
    if not found or not all(isinstance(one, str) for one in found):
        raise ValueError("aud is no text")
    return tuple(found)


def act_of(actors: Sequence[str]) -> dict[str, object]:
    """The `act` claim of those who act, the current actor first; empty for nobody (RFC 8693 §4.1)."""
    act: dict[str, object] = {}
    for who in reversed(actors):
        act = {"sub": who, "act": act} if act else {"sub": who}
    return act


def _acts(actor: object) -> tuple[str, ...]:
    """Who acts, the current actor first (RFC 8693 §4.1). Only the first has a say; the rest is history."""
    found: list[str] = []
    while isinstance(actor, dict) and len(found) <= MAX_ACTORS:
        found.append(str(actor["sub"]))
        actor = actor.get("act")
    return tuple(found)


def _texts(claim: object) -> tuple[str, ...]:
    """The tokens that a token was derived from, or their clients: revoking one of them ends it too."""
    return tuple(str(one) for one in claim) if isinstance(claim, list | tuple) else ()


def binding_of(confirmation: object) -> str | None:
    """What a `cnf` claim (RFC 7800 §3.1) binds to, as `Principal.binding` has it; None when it is not understood."""
    if confirmation is None:
        return ""
    if not isinstance(confirmation, dict) or len(confirmation) != 1:
        return None
    [(member, value)] = confirmation.items()
    kind = _BINDINGS.get(member)
    return f"{kind}:{value}" if kind and isinstance(value, str) and value else None


def confirmation(binding: str) -> dict[str, object]:
    """The claims that bind a token: `cnf`, or none."""
    kind, _, value = binding.partition(":")
    return {"cnf": {_MEMBERS[kind]: value}} if binding else {}


def token_type(binding: str) -> str:
    """How a token is to be presented (RFC 9449 §5, RFC 8705 §3)."""
    return "DPoP" if binding.startswith("jkt:") else "Bearer"


def _names(principal: Principal) -> tuple[str, ...]:
    """The names any of which, revoked, ends this token."""
    names = [token_name(one) for one in (principal.token_id, *principal.lineage)]
    names += [client_name(one) for one in (principal.client_id, *principal.through)]
    if principal.grant:
        names.append(grant_name(principal.grant))
    if principal.claim:
        names.append(claim_name(principal.claim))
    return tuple(names)
