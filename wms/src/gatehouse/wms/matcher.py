"""One job for one pilot: an index look-up for the queue, another for the job, and a conditional UPDATE.

The cost does not grow with the number of waiting jobs, and grows with the number of queues only where many of
them ask for tags that the pilot lacks.
"""

import random
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Select, String, bindparam, or_, select, update

from gatehouse.registry import audit
from gatehouse.registry.database import Database, Statement, Tx, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import history, owners, pilots, queues
from gatehouse.wms.claims import PILOT, Claim, Owner
from gatehouse.wms.constants import among
from gatehouse.wms.intake import Offer
from gatehouse.wms.models import Job, QueueSite
from gatehouse.wms.states import ON_PILOT, JobStatus, Minor, may_precede

ALL_GROUPS = "*"
_PAGE = 8  # queues looked at together; one of them is drawn
_PAGES = 64
_TRIES = 16  # jobs taken by somebody else in the meantime
_MATCHED = JobStatus.MATCHED

_J, _S = table(Job).c, table(QueueSite).c


class Found(NamedTuple):
    """A queue that a pilot may serve."""

    queue: str
    lot: int
    share: int
    needs: str


class Candidate(NamedTuple):
    """A waiting job, as far as the match needs it."""

    id: int
    owner_id: str
    owner: str
    owner_group: str
    attempt: int
    manifest: str


class _Current(NamedTuple):
    id: int
    owner_id: str
    owner: str
    owner_group: str
    attempt: int
    manifest: str
    status: str
    pilot_id: str


@dataclass(frozen=True, slots=True)
class Match:
    """A job given to a pilot; `manifest` is its JSON text."""

    claim: Claim
    owner: Owner
    manifest: str


def queue_look_up() -> Select[tuple[str, int, int, str]]:
    """Waiting queues of a VO at a site that fit, in the order of their lots, from `low` on."""
    return (
        select(_S.queue_id, _S.lot, _S.share, _S.needs)
        .where(
            _S.vo == bindparam("community"),
            _S.site == bindparam("place"),
            _S.waiting == 1,
            _S.lot >= bindparam("low"),
            _S.lot < bindparam("high"),
            _S.cpu_time <= bindparam("seconds"),
            _S.processors <= bindparam("cores"),
            _S.tag_mask.bitwise_and(bindparam("lacking")) == 0,
            or_(bindparam("serves", type_=String) == ALL_GROUPS, _S.owner_group == bindparam("serves")),
        )
        .order_by(_S.lot)
        .limit(_PAGE)
    )


def job_look_up() -> Select[tuple[int, str, str, str, int, str]]:
    """The next job of a queue: highest priority, then oldest; one that nobody else is just taking."""
    return (
        select(_J.id, _J.owner_id, _J.owner, _J.owner_group, _J.attempt, _J.manifest)
        .where(_J.queue_id == bindparam("queue"), _J.status == JobStatus.WAITING.value)
        .order_by(_J.priority.desc(), _J.id)
        .limit(1)
    )


_QUEUES = sql(queue_look_up(), Found)
_NEXT = sql(job_look_up().with_for_update(skip_locked=True), Candidate)
_LEFT: Statement[tuple[int]] = sql(
    select(_J.id).where(_J.queue_id == bindparam("queue"), _J.status == JobStatus.WAITING.value).limit(1)
)
_CLAIM: Statement[tuple[()]] = sql(
    update(table(Job))
    .where(
        _J.id == bindparam("job"),
        among(_J.status, may_precede(_MATCHED)),
        _J.attempt == bindparam("earlier"),
    )
    .values(
        status=_MATCHED.value,
        minor_status=Minor.ASSIGNED.value,
        application_status="",
        site=bindparam("place"),
        pilot_id=bindparam("pilot"),
        attempt=_J.attempt + 1,
        heartbeat_at=bindparam("current"),
    )
)
_CURRENT = sql(
    select(
        _J.id, _J.owner_id, _J.owner, _J.owner_group, _J.attempt, _J.manifest, _J.status, _J.pilot_id
    ).where(_J.id == bindparam("job")),
    _Current,
)


class _Overtaken(Exception):
    """The same pilot asked twice at once, and the other request was faster."""


async def match(database: Database, who: Principal, offer: Offer, draw: random.Random) -> Match | None:
    """A job for the pilot, or None. Asked again before the job was started, it is the same job.

    Raises Problem 409 when the pilot has ended, or still runs a job.
    """
    for _ in range(_TRIES):
        try:
            return await database.write(lambda tx: _match(tx, who, offer, draw))
        except _Overtaken:
            continue
    raise Problem(503, "temporarily_unavailable", "This pilot asks too often at once.", hint="Ask again.")


def _match(tx: Tx, who: Principal, offer: Offer, draw: random.Random) -> Match | None:
    pilot = pilots.get(tx, who.subject.removeprefix(PILOT))
    _check(pilot, offer)
    if pilot.job_id and (again := _again(tx, pilot)) is not None:
        return again
    serves = ALL_GROUPS if "GenericPilot" in who.properties else who.group
    candidate = _take(tx, pilot, offer, serves, draw)
    claimed = candidate.id if candidate else pilot.job_id
    if not pilots.seen(tx, pilot.id, earlier_job=pilot.job_id, job_id=claimed):
        raise _Overtaken
    if candidate is None:
        return None
    claim = Claim(candidate.id, pilot.id, candidate.attempt + 1)
    history.add(tx, candidate.id, _MATCHED, Minor.ASSIGNED, "Matcher")
    _record(tx, "claim.granted", claim)
    return _match_of(claim, candidate)


def _check(pilot: pilots.PilotRow, offer: Offer) -> None:
    if pilot.ended_at is not None:
        raise Problem(
            409,
            "conflict",
            f"This pilot has ended ({pilot.status}).",
            hint="Stop.",
            facts={"status": pilot.status},
        )
    if offer.site != pilot.site or offer.ce != pilot.element:
        where = f"{pilot.element} at {pilot.site}"
        raise Problem(409, "conflict", f"This pilot was sent to {where}, not to {offer.ce} at {offer.site}.")


def _again(tx: Tx, pilot: pilots.PilotRow) -> Match | None:
    """The job that this pilot already holds: its answer was lost on the way."""
    job = tx.one(_CURRENT, job=pilot.job_id)
    if job is None or job.pilot_id != pilot.id or job.status not in ON_PILOT:
        return None
    if job.status != _MATCHED:
        message = f"This pilot still runs job {job.id}."
        raise Problem(409, "conflict", message, hint="Report its end first.", facts={"job_id": job.id})
    claim = Claim(job.id, pilot.id, job.attempt)
    _record(tx, "claim.repeated", claim)
    return _match_of(claim, job)


def _match_of(claim: Claim, job: Candidate | _Current) -> Match:
    return Match(claim, Owner(job.owner_id, job.owner, job.owner_group), job.manifest)


def _record(tx: Tx, kind: str, claim: Claim) -> None:
    audit.record(tx, kind, actor=PILOT + claim.pilot_id, subject=f"job:{claim.job_id}", attempt=claim.attempt)


def _take(tx: Tx, pilot: pilots.PilotRow, offer: Offer, serves: str, draw: random.Random) -> Candidate | None:
    """Claim a job of some queue."""
    for _ in range(_TRIES):
        fitting = choose(tx, pilot.vo, offer, serves, draw)
        if not fitting:
            return None
        for found in _drawn(fitting, draw):
            taken = _from_queue(tx, pilot, found.queue)
            if taken is not None:
                return taken
    return None


def _drawn(fitting: list[Found], draw: random.Random) -> list[Found]:
    """In random order, a group with twice the share twice as likely first (Efraimidis and Spirakis 2006)."""
    if len(fitting) == 1:
        return fitting
    return sorted(fitting, key=lambda found: draw.random() ** (1 / found.share), reverse=True)


def _from_queue(tx: Tx, pilot: pilots.PilotRow, queue: str) -> Candidate | None:
    for _ in range(_TRIES):
        job = tx.one(_NEXT, queue=queue)
        if job is None:
            _close_if_empty(tx, queue)
            return None
        waiting = Claim(job.id, "", job.attempt)
        if owners.stopped(tx, waiting, Owner(job.owner_id, job.owner, job.owner_group), 0):
            continue
        now = tx.clock.now()
        if tx.run(_CLAIM, job=job.id, earlier=job.attempt, place=pilot.site, pilot=pilot.id, current=now):
            return job
    return None


def _close_if_empty(tx: Tx, queue: str) -> None:
    seen = queues.stamp(tx, queue)  # before the look, so that a job that comes in after it is not lost
    if tx.one(_LEFT, queue=queue) is None:
        queues.close(tx, queue, seen)


def choose(tx: Tx, vo: str, offer: Offer, serves: str, draw: random.Random) -> list[Found]:
    """Queues with waiting jobs that the pilot may serve, from a random place on; few of many."""
    tags = frozenset(offer.tags)
    start = draw.randrange(queues.LOTS)
    common = {
        "community": vo,
        "seconds": offer.cpu_time,
        "cores": offer.number_of_processors,
        "lacking": queues.lacking(tags),
        "serves": serves,
    }
    found: list[Found] = []
    for place in (offer.site, queues.ANY_SITE):
        params = {**common, "place": place}
        upper = _exact(tx, params, offer.site, tags, start, queues.LOTS)
        found += upper
        if len(upper) < _PAGE // 2:  # near the end of the lots: go on from the beginning
            found += _exact(tx, params, offer.site, tags, 0, start)
    return found


def _exact(
    tx: Tx, params: dict[str, object], site: str, tags: frozenset[str], low: int, high: int
) -> list[Found]:
    """The first page between two lots in which a queue fits exactly; equal lots are on one page or skipped."""
    for _ in range(_PAGES):
        page = tx.all(_QUEUES, **params, low=low, high=high)
        fitting = [found for found in page if not found.needs or queues.exact(found.needs).fits(site, tags)]
        if fitting or len(page) < _PAGE:
            return fitting
        low = page[-1].lot + 1
    return []
