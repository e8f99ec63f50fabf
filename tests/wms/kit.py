"""What tests of the WMS share: people, manifests, pilots, and short ways to do things to a database."""

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select

from gatehouse.registry import directory
from gatehouse.registry.database import Database, Tx, insertion, sql, table
from gatehouse.registry.models import Group, User
from gatehouse.tokenmanager.principal import Kind, Principal
from gatehouse.wms import intake, matcher, pilots, submit
from gatehouse.wms.intake import Manifest, Offer
from gatehouse.wms.matcher import Match

VO = "training.egi.eu"
DAY = 86400
LIFETIME = 3600
NOBODY: frozenset[str] = frozenset()

_ADD_USER, _ADD_GROUP = insertion(User), insertion(Group)


class _Name(NamedTuple):
    name: str


_GROUP = sql(select(table(Group).c.name).where(table(Group).c.name == bindparam("wanted")), _Name)


def principal(
    username: str = "alice",
    group: str = "training_user",
    *properties: str,
    kind: Kind = "person",
    subject: str = "",
    vo: str = VO,
    actor: str = "",
    job: int | None = None,
    claim: str = "",
) -> Principal:
    """A bearer as the gate would give it."""
    return Principal(
        kind=kind,
        subject=subject or f"id-{username}",
        username=username,
        group=group,
        vo=vo,
        properties=frozenset(properties),
        client_id="test",
        token_id="t",
        grant="",
        actor=actor,
        job=job,
        claim=claim,
        scope="",
        audience=(),
        issued_at=0,
        expires_at=2**40,
    )


ALICE = principal("alice", "training_user", "NormalUser")


def pilot_of(pilot_id: str, *properties: str, group: str = "training_pilot") -> Principal:
    """The bearer of a pilot's token."""
    return principal("", group, *(properties or ("GenericPilot",)), kind="pilot", subject=f"pilot:{pilot_id}")


def run_of(match: Match, username: str = "alice") -> Principal:
    """The bearer of the credential of a run."""
    claim = match.claim
    return principal(
        username,
        match.owner.group,
        "NormalUser",
        kind="job",
        subject=match.owner.id,
        actor=f"pilot:{claim.pilot_id}",
        job=claim.job_id,
        claim=claim.name,
    )


def manifests(count: int = 1, **fields: object) -> list[Manifest]:
    """Jobs that are all alike."""
    return [Manifest(**{"executable": "/bin/echo", **fields})] * count  # type: ignore[arg-type]


def enrolled(database: Database, *people: Principal) -> None:
    """Make the registry know these people as members of their groups; those it knows already are left alone."""

    def work(tx: Tx) -> None:
        for who in people:
            if tx.one(_GROUP, wanted=who.group) is None:
                tx.run(_ADD_GROUP, name=who.group, vo=who.vo, properties="[]", options="{}")
            if directory.by_name(tx, who.username) is None:
                tx.run(
                    _ADD_USER,
                    id=who.subject,
                    username=who.username,
                    name="",
                    email="",
                    status="active",
                    created_at=0,
                    options="{}",
                )
            if directory.standing(tx, who.subject, who.group).refusal:
                directory.replace_memberships(tx, who.subject, f"test {who.group}", [(who.group, "test")])

    database.write_now(work)


def submitted(
    database: Database, jobs: Sequence[Manifest] | None = None, who: Principal = ALICE, share: int = 1000
) -> list[int]:
    """Submit; the ids."""
    enrolled(database, who)
    given = list(jobs) if jobs is not None else manifests()
    return asyncio.run(submit.submit(database, who, given, random.Random(1), share))


def new_pilot(database: Database, number: int = 0, *, site: str = "A", ce: str = "ce", vo: str = VO) -> str:
    """Record a pilot; its id."""
    pilot_id = f"{number:032x}"
    database.write_now(
        lambda tx: pilots.add(tx, pilot_id, vo=vo, group="training_pilot", element=ce, site=site)
    )
    return pilot_id


def offer(**fields: object) -> Offer:
    """What a pilot offers."""
    return Offer(**{"site": "A", "ce": "ce", **fields})  # type: ignore[arg-type]


def matched(
    database: Database, pilot_id: str, given: Offer | None = None, seed: int = 1, who: Principal | None = None
) -> Match | None:
    """Ask for work."""
    return asyncio.run(
        matcher.match(database, who or pilot_of(pilot_id), given or offer(), random.Random(seed))
    )


def must_match(database: Database, pilot_id: str, given: Offer | None = None) -> Match:
    """Ask for work that has to be there."""
    found = matched(database, pilot_id, given)
    assert found is not None
    return found


def report(status: str, minor: str = "m") -> intake.Report:
    """What a run says."""
    return intake.Report(status=status, minor_status=minor)
