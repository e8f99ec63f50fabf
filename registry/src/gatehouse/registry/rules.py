"""The mapping rules as data: issuers, the table from memberships to groups, service clients, overlay.

Built in code from settings, or read from the plain dict of a claim-sets file with `parse_rules`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from gatehouse.registry.entitlements import Membership, Profile

Kind = Literal["aarc", "wlcg", "slashless", "registry"]

GROUP_CLAIMS: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "aarc": (("entitlements", "eduperson_entitlement"),),
        "wlcg": (("wlcg.groups",),),
        "slashless": (("wlcg.groups",), ("groups",), ("roles",)),
        "registry": (),
    }
)
ANY_ROLE = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One identity provider: how it writes memberships, and what it may speak for.

    `url` is compared byte for byte. `group_claims`: alternatives in order, each a set of names read together;
    None means the usual ones of the kind.
    """

    url: str
    kind: Kind
    client_id: str = ""
    namespaces: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    authority_optional: bool = False
    vos: tuple[str, ...] = ()
    group_claims: tuple[tuple[str, ...], ...] | None = None
    aud_required: bool = False

    @property
    def claims(self) -> tuple[tuple[str, ...], ...]:
        """The group claims to look for."""
        return GROUP_CLAIMS[self.kind] if self.group_claims is None else self.group_claims

    @property
    def profile(self) -> Profile:
        """What the entitlement grammar asks about this issuer."""
        return Profile(self.namespaces, self.authorities, self.authority_optional)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: exactly this membership at this issuer opens this group."""

    issuer: str
    membership: Membership
    group: str


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """A client that acts for itself (client credentials), and the groups it gets."""

    issuer: str
    client_id: str
    groups: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class RegistryGroup:
    """A group a registered certificate may use; with `needs`, only when a VOMS FQAN says that membership."""

    group: str
    needs: Membership | None = None


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """A certificate known to the Registry: normalised slash DN, user name, groups."""

    dn: str
    user: str
    groups: tuple[RegistryGroup, ...]


@dataclass(frozen=True, slots=True)
class OverlayRow:
    """Local knowledge that takes a membership away. `role`: a name, None for none, `any` for every role.

    `issuer` and `subject` narrow the row when given; `valid_until` is epoch seconds.
    """

    path: tuple[str, ...]
    role: str | None = None
    status: str = "ENABLED"
    valid_until: float | None = None
    issuer: str | None = None
    subject: str | None = None

    def covers(self, issuer: str, subject: str, member: Membership) -> bool:
        """Whether the row speaks about this membership of this subject."""
        return (
            self.path == member.path
            and self.role in (member.role, ANY_ROLE)
            and self.issuer in (None, issuer)
            and self.subject in (None, subject)
        )

    def reason(self, now: float) -> str | None:
        """Why the membership does not count now; None when the row has nothing against it."""
        if self.status != "ENABLED":
            return "membership_suspended"
        return "membership_expired" if self.valid_until is not None and self.valid_until <= now else None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Everything the engine needs to know; immutable, indexed on first use."""

    issuers: Mapping[str, Issuer]
    table: tuple[Row, ...] = ()
    service_clients: tuple[ServiceClient, ...] = ()
    registry: tuple[RegistryEntry, ...] = ()
    service_audiences: tuple[str, ...] = ()
    leeway: float = field(default=60)

    @cached_property
    def _rows(self) -> dict[tuple[str, Membership], list[tuple[int, Row]]]:
        index: dict[tuple[str, Membership], list[tuple[int, Row]]] = {}
        for number, row in enumerate(self.table):
            index.setdefault((row.issuer, row.membership), []).append((number, row))
        return index

    @cached_property
    def _entries(self) -> dict[str, RegistryEntry]:
        return {entry.dn: entry for entry in self.registry}

    def rows(self, issuer: str, member: Membership) -> list[tuple[int, Row]]:
        """The rows of exactly this membership, each with its number in the table."""
        return self._rows.get((issuer, member), [])

    def clients(self, issuer: str, client_id: str) -> list[ServiceClient]:
        """The service-client rows of this client at this issuer."""
        return [row for row in self.service_clients if (row.issuer, row.client_id) == (issuer, client_id)]

    def entry(self, dn: str) -> RegistryEntry | None:
        """The Registry's entry of a normalised DN."""
        return self._entries.get(dn)

    def registry_issuer(self) -> Issuer | None:
        """The issuer name under which certificate logins are known; None when there is no such login."""
        return next((issuer for issuer in self.issuers.values() if issuer.kind == "registry"), None)
