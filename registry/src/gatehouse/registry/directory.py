"""Who is who: identities at providers, the people behind them, and the groups they belong to."""

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update

from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.registry.models import Group, Identity, Membership, User

# DIRAC writes a person who has no certificate as this DN followed by the provider's subject
DIRAC_DN = "/O=DIRAC/CN="
DN_ISSUER = "dn"  # the "issuer" of identities that a Registry file gives as distinguished names
REGISTRY = "registry"  # the source of memberships that a Registry file lists

_NOT_NAME = re.compile(r"[^a-z0-9_.-]+")


class Person(NamedTuple):
    """A person as the registry has them."""

    id: str
    username: str
    status: str


class Belonging(NamedTuple):
    """A group of a person, with who says so and why."""

    group: str
    vo: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a person may act for a group; `refusal` is empty when so."""

    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a provider just said about a person: the groups are those its claims map to, each with the reason."""

    issuer: str
    subject: str
    username: str
    name: str
    email: str
    groups: Sequence[tuple[str, str]]
    claims: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A person after a login, with all groups they may choose from."""

    person: Person
    groups: tuple[Belonging, ...]


_U, _I, _M, _G = (table(model) for model in (User, Identity, Membership, Group))
_PERSON = (_U.c.id, _U.c.username, _U.c.status)
_BY_IDENTITY = sql(
    select(*_PERSON)
    .join_from(_I, _U, _I.c.user_id == _U.c.id)
    .where(_I.c.issuer == bindparam("iss"), _I.c.subject == bindparam("sub")),
    Person,
)
_BY_ID = sql(select(*_PERSON).where(_U.c.id == bindparam("person")), Person)
_BY_NAME = sql(select(*_PERSON).where(_U.c.username == bindparam("who")), Person)
_ADD_USER = insertion(User)
_ADD_IDENTITY = insertion(Identity)
_SEEN: Statement[tuple[()]] = sql(
    update(_I)
    .where(_I.c.issuer == bindparam("iss"), _I.c.subject == bindparam("sub"))
    .values(seen_at=bindparam("current"), claims=bindparam("said"))
)
_DESCRIBE: Statement[tuple[()]] = sql(
    update(_U).where(_U.c.id == bindparam("person")).values(name=bindparam("full"), email=bindparam("mail"))
)
_FORGET: Statement[tuple[()]] = sql(
    delete(_M).where(_M.c.user_id == bindparam("person"), _M.c.source == bindparam("origin"))
)
_ADD_MEMBERSHIP = insertion(Membership)
_GROUPS_OF = sql(
    select(_M.c.group_name, _G.c.vo, _M.c.source, _M.c.reason)
    .join_from(_M, _G, _M.c.group_name == _G.c.name)
    .where(_M.c.user_id == bindparam("person"))
    .order_by(_M.c.group_name, _M.c.source)
    .limit(2000),
    Belonging,
)
_IS_MEMBER = sql(
    select(_M.c.group_name, _G.c.vo, _M.c.source, _M.c.reason)
    .join_from(_M, _G, _M.c.group_name == _G.c.name)
    .where(_M.c.user_id == bindparam("person"), _M.c.group_name == bindparam("wanted"))
    .limit(1),
    Belonging,
)


def standing(tx: Tx, user_id: str, group: str) -> Standing:
    """Whether the person is in good standing and (still) a member of the group."""
    person = tx.one(_BY_ID, person=user_id)
    if person is None:
        return Standing("This person is no longer known here.")
    if person.status != "active":
        return Standing(
            f"The account {person.username} is {person.status}. Ask the operator of this service."
        )
    if tx.one(_IS_MEMBER, person=user_id, wanted=group) is None:
        return Standing(f"{person.username} is no longer a member of {group}.")
    return Standing()


def find(tx: Tx, issuer: str, subject: str) -> Person | None:
    """The person behind an identity."""
    return tx.one(_BY_IDENTITY, iss=issuer, sub=subject)


def by_name(tx: Tx, username: str) -> Person | None:
    """The person of that user name."""
    return tx.one(_BY_NAME, who=username)


def enrol(tx: Tx, seen: Seen, trusted: Sequence[str]) -> Enrolled:
    """Take in what a provider says: the person is found or made, their memberships from it are replaced.

    `trusted` names the groups whose VO accepts this provider: only for those does a listing in the Registry
    count, and only then may a subject be taken for the `/O=DIRAC/CN=<subject>` of a Registry user.
    """
    person = find(tx, seen.issuer, seen.subject)
    if person is None:
        person = _listed(tx, seen, trusted) or _new(tx, seen)
        tx.run(
            _ADD_IDENTITY,
            issuer=seen.issuer,
            subject=seen.subject,
            user_id=person.id,
            seen_at=tx.clock.now(),
            claims=seen.claims,
        )
        audit.record(
            tx,
            "person.enrolled",
            actor=person.username,
            subject=person.id,
            issuer=seen.issuer,
            sub=seen.subject,
        )
    else:
        tx.run(_SEEN, iss=seen.issuer, sub=seen.subject, current=tx.clock.now(), said=seen.claims)
    tx.run(_DESCRIBE, person=person.id, full=seen.name[:255], mail=seen.email[:255])
    replace_memberships(tx, person.id, seen.issuer, seen.groups)
    groups = [
        found
        for found in tx.all(_GROUPS_OF, person=person.id)
        if found.source == seen.issuer or (found.source == REGISTRY and found.group in trusted)
    ]
    return Enrolled(person, tuple({found.group: found for found in groups}.values()))


def replace_memberships(tx: Tx, user_id: str, source: str, groups: Sequence[tuple[str, str]]) -> None:
    """Set the memberships that one source gives a person: pairs of (group, reason)."""
    tx.run(_FORGET, person=user_id, origin=source)
    now = tx.clock.now()
    tx.many(
        _ADD_MEMBERSHIP,
        [
            {"user_id": user_id, "group_name": group, "source": source, "reason": why[:1024], "seen_at": now}
            for group, why in dict(groups).items()
        ],
    )


def add_person(tx: Tx, username: str, name: str = "", email: str = "", options: object = None) -> Person:
    """A new person with a fresh id."""
    person = Person(str(uuid.uuid4()), username, "active")
    tx.run(
        _ADD_USER,
        id=person.id,
        username=username,
        name=name[:255],
        email=email[:255],
        status=person.status,
        created_at=tx.clock.now(),
        options=json.dumps(options or {}),
    )
    return person


def _listed(tx: Tx, seen: Seen, trusted: Sequence[str]) -> Person | None:
    """The Registry user whose listed DN is this subject, if a group of theirs accepts the provider."""
    person = find(tx, DN_ISSUER, DIRAC_DN + seen.subject)
    if person is None:
        return None
    listed = (found.group for found in tx.all(_GROUPS_OF, person=person.id) if found.source == REGISTRY)
    return person if any(group in trusted for group in listed) else None


def _new(tx: Tx, seen: Seen) -> Person:
    """A new person, under the provider's name for them or, where that is taken, one made unique."""
    wanted = _NOT_NAME.sub("_", seen.username.lower()).strip("_.-")[:64] or "user"
    username, number = wanted, 1
    while by_name(tx, username) is not None:
        number += 1
        username = f"{wanted}_{number}" if number < 100 else f"{wanted}_{uuid.uuid4().hex[:12]}"
    return add_person(tx, username, seen.name, seen.email)
