"""What a login or a bearer token comes to: groups and capabilities, and for every value what became of it."""

from dataclasses import dataclass
from typing import Literal

from gatehouse.registry.documents import Evidence
from gatehouse.registry.entitlements import Capability, Membership, Refused
from gatehouse.registry.rules import RegistryGroup, Row, ServiceClient

AuthorizeBy = Literal["groups", "capabilities", "none"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The subject at its issuer; `user` is the Registry's name for a certificate it knows."""

    issuer: str
    subject: str
    kind: Literal["user", "service"] = "user"
    user: str | None = None

    @property
    def key(self) -> str:
        """`<issuer>|<subject>`, unique because an issuer URL is configured and never reused."""
        return f"{self.issuer}|{self.subject}"


@dataclass(frozen=True, slots=True)
class Grant:
    """A group, the claim values that gave it, and the rule by which they did."""

    group: str
    evidence: tuple[Evidence, ...]
    rule: Row | ServiceClient | RegistryGroup
    membership: Membership | None = None


@dataclass(frozen=True, slots=True)
class Silent:
    """A claim value that gave no group, and the reason code (sentences: `reasons.sentence`)."""

    evidence: Evidence
    reason: str
    membership: Membership | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A membership the provider asserts and local knowledge takes away (R15)."""

    membership: Membership
    reason: str

    def json(self) -> dict[str, object]:
        """`{"path", "role", "reason"}`."""
        return {**self.membership.json(), "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer of the mapping engine; `json()` is the `expected` object of the claim-sets format."""

    decision: Literal["accept", "reject"]
    reason: str | None
    identity: Identity | None = None
    memberships: tuple[Membership, ...] = ()
    groups: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    authorize_by: AuthorizeBy = "none"
    unmapped: tuple[Membership, ...] = ()
    rejected: tuple[Refused | Dropped, ...] = ()
    revoked_groups: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    silent: tuple[Silent, ...] = ()

    @property
    def default_group(self) -> str | None:
        """The first mapped group."""
        return self.groups[0] if self.groups else None

    def json(self) -> dict[str, object]:
        """The outcome without its explanations, as the claim-sets format writes it."""
        who = self.identity
        return {
            "decision": self.decision,
            "reason": self.reason,
            "identity": None if who is None else {"key": who.key, "kind": who.kind},
            "memberships": [member.json() for member in self.memberships],
            "groups": list(self.groups),
            "default_group": self.default_group,
            "capabilities": [capability.json() for capability in self.capabilities],
            "authorize_by": self.authorize_by,
            "unmapped": [member.json() for member in self.unmapped],
            "rejected_values": [value.json() for value in self.rejected],
            "revoked_groups": list(self.revoked_groups),
        }


def reject(reason: str) -> Outcome:
    """The outcome of a request that is refused as a whole."""
    return Outcome(decision="reject", reason=reason)
