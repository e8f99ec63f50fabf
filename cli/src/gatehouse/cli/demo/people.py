"""The demo people: who they are, and how each kind of provider writes them down."""

import hashlib
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

Shape = Literal["checkin", "iam"]

_NAMESPACE = uuid.UUID("7b0f3a52-4c55-5f0e-9d0a-5f1f6a1d2c3b")


@dataclass(frozen=True)
class Membership:
    """Belonging to one virtual organisation; `roles` are those beyond plain membership."""

    vo: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Person:
    """Somebody with an account at a demo provider. There is no password to know."""

    username: str
    given_name: str
    family_name: str
    memberships: tuple[Membership, ...] = ()

    @property
    def name(self) -> str:
        """The name as it is shown."""
        return f"{self.given_name} {self.family_name}"

    @property
    def email(self) -> str:
        """An address in a domain that cannot exist (RFC 2606)."""
        return f"{self.username}@people.example"

    def subject(self, shape: Shape) -> str:
        """The identifier at a provider of this shape; stable, so that a restart changes nobody.

        EGI Check-in: 64 hex digits and `@egi.eu`; INDIGO IAM: a UUID.
        """
        if shape == "checkin":
            return hashlib.sha256(f"gatehouse demo person {self.username}".encode()).hexdigest() + "@egi.eu"
        return str(uuid.uuid5(_NAMESPACE, self.username))

    def entitlements(self) -> list[str]:
        """Memberships as EGI Check-in writes them (AARC-G069): one value without and one per role."""
        return [
            f"urn:mace:egi.eu:group:{_escape(membership.vo)}{role}#aai.egi.eu"
            for membership in self.memberships
            for role in ("", ":role=member", *(f":role={_escape(r)}" for r in membership.roles))
        ]

    def wlcg_groups(self) -> list[str]:
        """Memberships as INDIGO IAM writes them (WLCG profile §3.1): sorted, roles as subgroups."""
        return sorted(
            f"/{membership.vo}{suffix}"
            for membership in self.memberships
            for suffix in ("", *(f"/{role}" for role in membership.roles))
        )

    def profile(self, scopes: Collection[str]) -> dict[str, object]:
        """The standard claims (OpenID Connect Core §5.4) that these scopes ask for."""
        claims: dict[str, object] = {}
        if "profile" in scopes or "aarc" in scopes:
            claims |= {
                "name": self.name,
                "given_name": self.given_name,
                "family_name": self.family_name,
                "preferred_username": self.username,
            }
        if "email" in scopes or "aarc" in scopes:
            claims |= {"email": self.email, "email_verified": True}
        return claims

    def sentence(self) -> str:
        """What the sign-in page says below the name."""
        if not self.memberships:
            return "belongs to no community"
        return "; ".join(
            f"member of {m.vo}" + "".join(f", {role}" for role in m.roles) for m in self.memberships
        )


def _escape(component: str) -> str:
    """One component of an entitlement: `:` and `#` must not split it."""
    return quote(component, safe="*")


def named(people: Sequence[Person], username: str) -> Person | None:
    """The person with this account name, if there is one."""
    return next((person for person in people if person.username == username), None)


TRAINING = "training.egi.eu"

PEOPLE: tuple[Person, ...] = (
    Person("alice", "Alice", "Archer", (Membership(TRAINING, ("pilot",)),)),
    Person("bob", "Bob", "Baker", (Membership(TRAINING),)),
    Person("carol", "Carol", "Carver"),
    Person("dora", "Dóra", "Kőszegi", (Membership("fusion.example.org"),)),
)
