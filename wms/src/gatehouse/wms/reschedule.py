"""A job whose run is lost goes back to its queue, and the lost run can never write again.

One conditional UPDATE takes the claim away, in the same transaction its credential is revoked; the history walks
only along edges of the state map.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import bindparam, func, select, update

from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, sql, table
from gatehouse.wms import claims, history, intake, queues, submit
from gatehouse.wms.claims import Claim
from gatehouse.wms.models import Job
from gatehouse.wms.states import ON_PILOT, JobStatus, Minor

ATTEMPTS = 3
"""Runs of one job, before it fails for good."""
EXHAUSTED = "Maximum of reschedulings reached"

_S = JobStatus
_Path = tuple[tuple[JobStatus, str], ...]
_BACK: _Path = ((_S.RESCHEDULED, Minor.RESCHEDULED), (_S.WAITING, Minor.PILOT_SUBMISSION))
_GONE: _Path = ((_S.STALLED, Minor.STALLED), (_S.FAILED, Minor.STALLED_NO_PILOT))
PATHS: Mapping[JobStatus, tuple[_Path, _Path]] = {
    # from a state: the way back to the queue, and the way to the end
    _S.MATCHED: (_BACK, ((_S.FAILED, EXHAUSTED),)),
    _S.RUNNING: ((*_GONE, *_BACK), (_GONE[0], (_S.FAILED, EXHAUSTED))),
    _S.STALLED: ((_GONE[1], *_BACK), ((_S.FAILED, EXHAUSTED),)),
    _S.COMPLETING: ((*_GONE, *_BACK), (_GONE[0], (_S.FAILED, EXHAUSTED))),
}

_J = table(Job).c


class _Row(NamedTuple):
    id: int
    status: str
    pilot_id: str
    attempt: int
    queue_id: str
    manifest: str


_GET = sql(
    select(_J.id, _J.status, _J.pilot_id, _J.attempt, _J.queue_id, _J.manifest).where(
        _J.id == bindparam("job")
    ),
    _Row,
)
_TAKE: Statement[tuple[()]] = sql(
    update(table(Job))
    .where(
        *claims.held(),
        _J.status == bindparam("old"),
        func.coalesce(_J.heartbeat_at, 0) <= bindparam("silent_since"),
    )
    .values(
        status=bindparam("new"),
        minor_status=bindparam("minor"),
        application_status="",
        site=bindparam("place"),
        pilot_id="",
        started_at=None,
        ended_at=bindparam("final_at"),
        heartbeat_at=None,
    )
)
_NEVER = 2**53


def give_back(
    tx: Tx, job_id: int, pilot_id: str, *, token_lifetime: int, silent_since: int = _NEVER
) -> JobStatus | None:
    """Take a job away from a pilot: Waiting again, or Failed after ATTEMPTS runs.

    None when the pilot does not hold it, it has ended, or was heard of after `silent_since` (epoch seconds).
    """
    row = tx.one(_GET, job=job_id)
    if row is None or row.pilot_id != pilot_id or row.status not in ON_PILOT:
        return None
    old, claim = JobStatus(row.status), Claim(job_id, pilot_id, row.attempt)
    path = PATHS[old][row.attempt >= ATTEMPTS]
    status, minor = path[-1]
    now = tx.clock.now()
    taken = tx.run(
        _TAKE,
        job=job_id,
        pilot=pilot_id,
        run=row.attempt,
        old=old.value,
        silent_since=silent_since,
        new=status.value,
        minor=minor,
        place=submit.site_label(intake.manifest(row.manifest)),
        final_at=now if status is _S.FAILED else None,
    )
    if not taken:
        return None
    claims.end(tx, claim, token_lifetime)
    if status is _S.WAITING:
        queues.wake(tx, row.queue_id)
    for step, words in path:
        history.add(tx, job_id, step, words, "Watchdog")
    audit.record(
        tx,
        "job.taken_back",
        actor="gatehouse",
        subject=f"job:{job_id}",
        attempt=row.attempt,
        now=status.value,
    )
    return status
