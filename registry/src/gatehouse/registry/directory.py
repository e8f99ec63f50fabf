"""Who is who: identities at providers, the people behind them, and the groups they belong to."""

import json
import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, select, update

from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.registry.diracdata import DIRAC_DN
from gatehouse.registry.models import Group, Identity, Membership, User

DN_ISSUER = "dn"  # the "issuer" of identities that a Registry file gives as distinguished names
REGISTRY = "registry"  # the source of memberships that a Registry file lists

_NOT_NAME = re.compile(r"[^a-z0-9_.-]+")


class Person(NamedTuple):
    """A person as the registry has them."""

    id: str
    username: str
    status: str


class _Known(NamedTuple):
    id: str
    username: str
    status: str
    options: str


class _Stands(NamedTuple):
    id: str
    username: str
    status: str
    options: str
    vo: str | None


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


class _Profile(NamedTuple):
    name: str
    email: str


class _Subject(NamedTuple):
    subject: str


_U, _I, _M, _G = (table(model) for model in (User, Identity, Membership, Group))
_PERSON = (_U.c.id, _U.c.username, _U.c.status)
_BY_IDENTITY = sql(
    select(*_PERSON)
    .join_from(_I, _U, _I.c.user_id == _U.c.id)
    .where(_I.c.issuer == bindparam("iss"), _I.c.subject == bindparam("sub")),
    Person,
)
_PROFILE = sql(select(_U.c.name, _U.c.email).where(_U.c.id == bindparam("person")), _Profile)
_BY_ID = sql(select(*_PERSON, _U.c.options).where(_U.c.id == bindparam("person")), _Known)
_BY_NAME = sql(select(*_PERSON, _U.c.options).where(_U.c.username == bindparam("who")), _Known)
_SUBJECTS = sql(
    select(_I.c.subject)
    .where(_I.c.user_id == bindparam("person"), _I.c.issuer == bindparam("iss"))
    .limit(100),
    _Subject,
)
_ADD_USER = insertion(User)
_RENAME: Statement[tuple[()]] = sql(
    update(_U).where(_U.c.id == bindparam("person")).values(username=bindparam("given"))
)
_SET_OPTIONS: Statement[tuple[()]] = sql(
    update(_U).where(_U.c.id == bindparam("person")).values(options=bindparam("all_options"))
)
_RELINK: Statement[tuple[()]] = sql(
    update(_I)
    .where(_I.c.issuer == bindparam("iss"), _I.c.subject == bindparam("sub"))
    .values(user_id=bindparam("person"))
)
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
# `vo` is NULL for who is no member of the group (any more), or when the group is gone
_STANDING = sql(
    select(*_PERSON, _U.c.options, _G.c.vo)
    .select_from(
        _U.outerjoin(_M, and_(_M.c.user_id == _U.c.id, _M.c.group_name == bindparam("wanted"))).outerjoin(
            _G, _G.c.name == _M.c.group_name
        )
    )
    .where(_U.c.id == bindparam("person"))
    .limit(1),
    _Stands,
)


def standing(tx: Tx, user_id: str, group: str) -> Standing:
    """Whether the person is in good standing and (still) a member of the group."""
    found = tx.one(_STANDING, person=user_id, wanted=group)
    if found is None:
        return Standing("This person is no longer known here.")
    if found.status != "active":
        return Standing(f"The account {found.username} is {found.status}. Ask the operator of this service.")
    if found.vo is None:
        return Standing(f"{found.username} is no longer a member of {group}.")
    if found.vo in _suspended(found):
        return Standing(f"{found.username} is suspended in {found.vo}. Ask its manager.")
    return Standing()


def find(tx: Tx, issuer: str, subject: str) -> Person | None:
    """The person behind an identity."""
    return tx.one(_BY_IDENTITY, iss=issuer, sub=subject)


def by_dn(tx: Tx, dn: str) -> Person | None:
    """The person whose certificate has this name; what the Registry calls people without one is no certificate's."""
    return None if dn.startswith(DIRAC_DN) else find(tx, DN_ISSUER, dn)


def listed(tx: Tx, user_id: str) -> tuple[Belonging, ...]:
    """The groups in which the Registry itself lists a person, but for VOs that suspended them."""
    known = tx.one(_BY_ID, person=user_id)
    suspended = _suspended(known) if known else ()
    found = tx.all(_GROUPS_OF, person=user_id)
    return tuple(one for one in found if one.source == REGISTRY and one.vo not in suspended)


def by_id(tx: Tx, user_id: str) -> Person | None:
    """The person of that id."""
    found = tx.one(_BY_ID, person=user_id)
    return None if found is None else Person(*found[:3])


def profile(tx: Tx, user_id: str, scopes: Collection[str]) -> dict[str, str]:
    """What the OpenID Connect scopes `profile` and `email` tell (Core §5.4), without empty values."""
    if not {"profile", "email"}.intersection(scopes):
        return {}
    found = tx.one(_PROFILE, person=user_id)
    if found is None:
        return {}
    told = {"name": found.name} if "profile" in scopes else {}
    told |= {"email": found.email} if "email" in scopes else {}
    return {claim: value for claim, value in told.items() if value}


def by_name(tx: Tx, username: str) -> Person | None:
    """The person of that user name."""
    found = tx.one(_BY_NAME, who=username)
    return None if found is None else Person(*found[:3])


def enrol(tx: Tx, seen: Seen, trusted: Sequence[str]) -> Enrolled:
    """Take in what a provider says: the person is found or made, their memberships from it are replaced.

    `trusted` names the groups whose VO accepts this provider: only for those does a listing in the Registry
    count, and only then may a subject be taken for the `/O=DIRAC/CN=<subject>` of a Registry user.
    """
    person, listed = find(tx, seen.issuer, seen.subject), _listed(tx, seen, trusted)
    if person is not None and listed is not None and listed.id != person.id:
        person = _relink(tx, seen, person, listed)
    if person is None:
        person = listed or _new(tx, seen)
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
    return Enrolled(person, choices(tx, person.id, seen.issuer, trusted))


def choices(tx: Tx, user_id: str, issuer: str, trusted: Sequence[str]) -> tuple[Belonging, ...]:
    """The groups that a login at a provider opens: what other providers said of the person does not count.

    What the Registry lists counts as long as it names the person's subject at this provider: an id that it
    dropped, or gave to somebody else, opens nothing any more.
    """
    known = tx.one(_BY_ID, person=user_id)
    if not _still_named(tx, user_id, issuer):
        trusted = ()
    suspended = _suspended(known) if known else ()
    groups = [
        found
        for found in tx.all(_GROUPS_OF, person=user_id)
        if (found.source == issuer or (found.source == REGISTRY and found.group in trusted))
        and found.vo not in suspended
    ]
    return tuple({found.group: found for found in groups}.values())


def _still_named(tx: Tx, user_id: str, issuer: str) -> bool:
    """Whether the Registry names one of the person's subjects at this issuer as theirs."""
    found = (
        find(tx, DN_ISSUER, DIRAC_DN + one.subject) for one in tx.all(_SUBJECTS, person=user_id, iss=issuer)
    )
    return any(person is not None and person.id == user_id for person in found)


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


def register(tx: Tx, username: str, email: str, suspended: Sequence[str]) -> Person:
    """The person whom the Registry calls so, made if need be; `suspended` names the VOs they may not act in.

    A name in the Registry belongs to the Registry: whoever came by it through a provider's word gets another,
    or they would receive what the Registry gives to somebody else.
    """
    options = json.dumps({"registry": True, "suspended": list(suspended)})
    holder = tx.one(_BY_NAME, who=username)
    if holder is not None and _options(holder).get("registry"):
        if holder.options != options:
            tx.run(_SET_OPTIONS, person=holder.id, all_options=options)
        return Person(*holder[:3])
    if holder is not None:
        other = _free_name(tx, username)
        tx.run(_RENAME, person=holder.id, given=other)
        audit.record(tx, "person.renamed", actor="gatehouse", subject=holder.id, was=username, now=other)
    return add_person(tx, username, email=email, options=json.loads(options))


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


def _relink(tx: Tx, seen: Seen, was: Person, listed: Person) -> Person:
    """Somebody whom the Registry did not list, or listed as somebody else, becomes the person it lists now."""
    replace_memberships(tx, was.id, seen.issuer, ())
    tx.run(_RELINK, iss=seen.issuer, sub=seen.subject, person=listed.id)
    audit.record(tx, "person.linked", actor=listed.username, subject=listed.id, was=was.id)
    return listed


def _options(known: _Known | _Stands) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(known.options)
    return found


def _suspended(known: _Known | _Stands) -> Sequence[str]:
    return () if known.options == "{}" else _options(known).get("suspended", ())


def _new(tx: Tx, seen: Seen) -> Person:
    """A new person, under the provider's name for them or, where that is taken, one made unique."""
    wanted = _NOT_NAME.sub("_", seen.username.lower()).strip("_.-")[:64] or "user"
    return add_person(tx, _free_name(tx, wanted), seen.name, seen.email)


def _free_name(tx: Tx, wanted: str) -> str:
    username, number = wanted, 1
    while by_name(tx, username) is not None:
        number += 1
        tail = str(number) if number < 100 else uuid.uuid4().hex[:12]
        username = f"{wanted[:64]}_{tail}"
    return username
