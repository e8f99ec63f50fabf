"""Jobs as their people handle them: list, look, kill, delete."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, update
from sqlalchemy.sql import ColumnElement

from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import claims, history, policy
from gatehouse.wms.claims import Claim
from gatehouse.wms.models import Job
from gatehouse.wms.policy import Right
from gatehouse.wms.states import FINAL, ON_PILOT, JobStatus, Minor, may_become
from gatehouse.wms.views import JobRow, job_rows

LIST_LIMIT = 10_000
_TRIES = 5

_J = table(Job).c
_GET = sql(job_rows().where(_J.id == bindparam("job")), JobRow)
_CHANGE: Statement[tuple[()]] = sql(
    update(table(Job))
    .where(
        _J.id == bindparam("job"),
        _J.status == bindparam("old"),
        _J.pilot_id == bindparam("pilot"),
        _J.attempt == bindparam("run"),
    )
    .values(
        status=bindparam("new"),
        minor_status=bindparam("minor"),
        ended_at=bindparam("current"),
    )
)


@dataclass(frozen=True, slots=True)
class Query:
    """Which jobs: `owner` a user name, empty for one's own, `*` for all one may see; `final` None for both."""

    owner: str = ""
    status: tuple[JobStatus, ...] = ()
    job_group: str = ""
    name: str = ""
    days: int = 0
    ids: tuple[int, ...] = ()
    final: bool | None = None
    limit: int = 1000


class Ended(NamedTuple):
    """The status a job has now, and the claim that died with it."""

    status: JobStatus
    claim: Claim | None


def find(tx: Tx, job_id: int) -> JobRow | None:
    """The row of a job."""
    return tx.one(_GET, job=job_id)


def get(tx: Tx, who: Principal, job_id: int, right: Right = Right.INFO) -> JobRow:
    """A job for somebody who has the right. Raises Problem 404 or 403."""
    row = find(tx, job_id)
    if row is None:
        raise policy.no_job(job_id)
    policy.demand(who, right, job_id, row.owner_id, row.owner_group, row.vo)
    return row


def search(tx: Tx, who: Principal, query: Query) -> list[JobRow]:
    """The newest jobs that fit and that the caller may see."""
    conditions = [*_visible(who, query), *_wanted(query, tx.clock.now())]
    limit = min(max(query.limit, 1), LIST_LIMIT)
    # compiled for this call alone: lists are not a hot path, and their shape varies
    return tx.all(sql(job_rows().where(*conditions).order_by(_J.id.desc()).limit(limit), JobRow))


def _visible(who: Principal, query: Query) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_J.vo == who.vo]
    everything = not who.properties.isdisjoint(("JobAdministrator", "JobMonitor"))
    sharing = "JobSharing" in who.properties
    if query.owner in ("", who.username) and not query.ids:
        conditions.append(_J.owner_id == who.subject)
    elif not everything:
        mine = _J.owner_id == who.subject
        conditions.append((_J.owner_group == who.group) | mine if sharing else mine)
    if query.owner not in ("", "*"):
        conditions.append(_J.owner == query.owner)
    return conditions


def _wanted(query: Query, now: int) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.ids:
        conditions.append(_J.id.in_(query.ids))
    if query.status:
        conditions.append(_J.status.in_(query.status))
    elif query.final is not None:
        wanted = FINAL if query.final else set(JobStatus) - FINAL - {JobStatus.DELETED}
        conditions.append(_J.status.in_(sorted(wanted)))
    else:
        conditions.append(_J.status != JobStatus.DELETED.value)
    if query.job_group:
        conditions.append(_J.job_group == query.job_group)
    if query.name:
        conditions.append(_J.name == query.name)
    if query.days:
        conditions.append(_J.submitted_at >= now - query.days * 86400)
    return conditions


def log(tx: Tx, who: Principal, job_id: int) -> Sequence[history.Event]:
    """The history of a job. Raises Problem 404."""
    get(tx, who, job_id)
    return history.of_job(tx, job_id)


def kill(tx: Tx, who: Principal, job_id: int, token_lifetime: int) -> Ended:
    """Kill a job; if it runs, the credential of its run is dead with this transaction."""
    return _end(tx, who, job_id, Right.KILL, JobStatus.KILLED, token_lifetime)


def delete(tx: Tx, who: Principal, job_id: int, token_lifetime: int) -> Ended:
    """Mark a job as deleted; one that runs has to be killed first."""
    return _end(tx, who, job_id, Right.DELETE, JobStatus.DELETED, token_lifetime)


def _end(tx: Tx, who: Principal, job_id: int, right: Right, new: JobStatus, token_lifetime: int) -> Ended:
    for _ in range(_TRIES):
        row = get(tx, who, job_id, right)
        old = JobStatus(row.status)
        if old is new:
            return Ended(new, None)
        if not may_become(old, new):
            raise _not_now(row, new)
        now = tx.clock.now()
        decided = tx.run(
            _CHANGE,
            job=job_id,
            old=old.value,
            pilot=row.pilot_id,
            run=row.attempt,
            new=new.value,
            minor=Minor.MARKED.value,
            current=now if row.ended_at is None else row.ended_at,
        )
        if decided:
            claim = Claim(job_id, row.pilot_id, row.attempt) if old in ON_PILOT else None
            if claim is not None:
                claims.end(tx, claim, token_lifetime)
            history.add(tx, job_id, new, Minor.MARKED, f"User:{who.username}"[:64])
            audit.record(tx, f"job.{new.lower()}", actor=who.label, subject=f"job:{job_id}", was=old.value)
            return Ended(new, claim)
    raise Problem(409, "conflict", f"Job {job_id} keeps changing; nothing was done.", hint="Try again.")


def _not_now(row: JobRow, new: JobStatus) -> Problem:
    if new is JobStatus.DELETED:
        hint = f"Kill it first: dkill {row.id}"
    else:
        hint = "Only a job that has not ended can be killed."
    message = f"Job {row.id} is {row.status} and cannot become {new.value}."
    return Problem(409, "conflict", message, hint=hint, facts={"status": row.status})
