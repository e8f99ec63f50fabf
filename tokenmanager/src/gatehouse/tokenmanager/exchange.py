"""Deriving a token from another (RFC 8693): never more than its parent, in scope, audience, lifetime and depth."""

from collections.abc import Sequence
from dataclasses import dataclass

from gatehouse.registry.capabilities import covered
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.verify import MAX_ACTORS, act_of

# a token that outlives its login is a login's to give, not an exchange's
_NEVER = frozenset({"offline_access"})
_KINDS = frozenset({"person", "job", "service"})


@dataclass(frozen=True, slots=True)
class Derived:
    """What the new token may say; `capped` are sentences about what was asked and not given."""

    scope: str
    audience: tuple[str, ...]
    lifetime: int
    claims: dict[str, object]
    capped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotDerived:
    """Why not: an OAuth error code, and a sentence."""

    error: str
    reason: str


def derive(
    parent: Principal,
    *,
    actor: str,
    scope: str,
    audience: Sequence[str],
    longest: int,
    now: int,
    asked_lifetime: int | None = None,
) -> Derived | NotDerived:
    """Narrow a live token for `actor`, who acts from now on before those who did so far."""
    if parent.kind not in _KINDS:
        return NotDerived("invalid_request", f"The token of a {parent.kind} is for its own work only.")
    if len(parent.acts) >= MAX_ACTORS or len(parent.lineage) >= MAX_ACTORS:
        return NotDerived("invalid_request", f"A token is passed on {MAX_ACTORS} times at most.")
    held = parent.scope.split()
    words = scope.replace("+", " ").split() or [word for word in held if word not in _NEVER]
    beyond = [word for word in words if word in _NEVER or not covered(held, word)]
    if beyond:
        return NotDerived("invalid_scope", f"The token does not hold the scope {beyond[0][:100]}.")
    foreign = [one for one in audience if one not in parent.audience]
    if foreign:
        return NotDerived(
            "invalid_target", f"The token is not for {foreign[0][:100]}, so no part of it can be."
        )
    left = min(parent.expires_at - now, longest)
    capped: tuple[str, ...] = ()
    if asked_lifetime is not None and asked_lifetime > left:
        capped = (f"You asked for {asked_lifetime} s; the token lives {left} s at most, as its parent.",)
    return Derived(
        scope=" ".join(dict.fromkeys(words)),
        audience=tuple(audience) or parent.audience,
        lifetime=min(left, asked_lifetime or left),
        claims=_claims(parent, words, actor),
        capped=capped,
    )


def _claims(parent: Principal, words: Sequence[str], actor: str) -> dict[str, object]:
    claims: dict[str, object] = {
        "kind": parent.kind,
        "act": act_of([actor, *parent.acts]),
        "lineage": [parent.token_id, *parent.lineage],
        "through": list(dict.fromkeys([parent.client_id, *parent.through])),
    }
    said = {"preferred_username": parent.username, "grant": parent.grant, "claim": parent.claim}
    claims |= {name: value for name, value in said.items() if value}
    # the rights of the group are at our own API what g: is elsewhere: who did not ask for it does not get them
    if parent.group and (parent.kind != "person" or f"g:{parent.group}" in words):
        claims["group"] = parent.group
    if parent.job is not None:
        claims["job"] = parent.job
    return claims
