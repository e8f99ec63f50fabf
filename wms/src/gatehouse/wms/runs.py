"""What the run of a job reports, with the credential of that run: heartbeats and changes of status."""

from typing import NamedTuple

from sqlalchemy import String, bindparam, case, func, select, update

from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import claims, history
from gatehouse.wms.claims import Claim
from gatehouse.wms.constants import among
from gatehouse.wms.intake import Report
from gatehouse.wms.models import Job
from gatehouse.wms.states import FINAL, ON_PILOT, JobStatus, may_precede

REPORTED = (
    JobStatus.MATCHED,
    JobStatus.RUNNING,
    JobStatus.COMPLETING,
    JobStatus.DONE,
    JobStatus.FAILED,
)
"""What a run may say of its job; the rest is for people and the service to decide."""

_J = table(Job).c
_BEAT: Statement[tuple[()]] = sql(
    update(table(Job))
    .where(*claims.held(), among(_J.status, ON_PILOT))
    .values(
        heartbeat_at=bindparam("current"),
        application_status=case(
            (bindparam("application", type_=String) == "", _J.application_status),
            else_=bindparam("application", type_=String),
        ),
    )
)


def _change(new: JobStatus) -> Statement[tuple[()]]:
    values: dict[str, object] = {
        "status": new.value,
        "minor_status": bindparam("minor"),
        "application_status": bindparam("application"),
        "heartbeat_at": bindparam("current"),
    }
    if new is JobStatus.RUNNING:
        values["started_at"] = func.coalesce(_J.started_at, bindparam("current"))
    if new in FINAL:
        values["ended_at"] = bindparam("current")
    before = may_precede(new, repeat=new not in FINAL)
    return sql(update(table(Job)).where(*claims.held(), among(_J.status, before)).values(**values))


_CHANGES = {status: _change(status) for status in REPORTED}


class _Row(NamedTuple):
    status: str
    pilot_id: str
    attempt: int


_GET = sql(select(_J.status, _J.pilot_id, _J.attempt).where(_J.id == bindparam("job")), _Row)


def beat(tx: Tx, claim: Claim, application_status: str, *, renewed: bool) -> bool:
    """Note a heartbeat. False: the job was killed, so the payload has to stop. Raises Problem 409.

    `renewed` says that the credential will be renewed, which goes on record before it is done.
    """
    now = tx.clock.now()
    if tx.run(_BEAT, **_held(claim), current=now, application=application_status):
        if renewed:
            subject = f"job:{claim.job_id}"
            actor = claims.PILOT + claim.pilot_id
            audit.record(tx, "claim.renewed", actor=actor, subject=subject, attempt=claim.attempt)
        return True
    if _own(tx, claim) in (JobStatus.KILLED, JobStatus.DELETED):
        return False
    raise claims.lost(claim)


def report(tx: Tx, who: Principal, claim: Claim, said: Report, token_lifetime: int) -> JobStatus:
    """Change the status as the run says; when it is final, the credential dies with this transaction.

    Raises Problem 409 when the claim is lost or the change is not possible, 400 for a word that is no status.
    """
    if said.status == JobStatus.KILLED:
        return _not_changed(tx, claim, JobStatus.KILLED)  # a run that was killed may say that it knows
    new = _status(said.status)
    minor, application = said.minor_status, said.application_status
    now = tx.clock.now()
    if not tx.run(_CHANGES[new], **_held(claim), minor=minor, application=application, current=now):
        return _not_changed(tx, claim, new)
    if new in FINAL or not history.full(tx, claim.job_id):
        history.add(tx, claim.job_id, new, minor, "JobWrapper", application)
    if new in FINAL:
        claims.end(tx, claim, token_lifetime)
        audit.record(tx, "job.ended", actor=who.label, subject=f"job:{claim.job_id}", status=new.value)
    return new


def _held(claim: Claim) -> dict[str, object]:
    return {"job": claim.job_id, "pilot": claim.pilot_id, "run": claim.attempt}


def _own(tx: Tx, claim: Claim) -> JobStatus | None:
    """The status of the job, if this run is still its last one."""
    row = tx.one(_GET, job=claim.job_id)
    if row is None or (row.pilot_id, row.attempt) != (claim.pilot_id, claim.attempt):
        return None
    return JobStatus(row.status)


def _status(word: str) -> JobStatus:
    for status in REPORTED:
        if status == word:
            return status
    words = ", ".join(REPORTED)
    raise Problem(400, "invalid_request", f"A run reports one of {words}.", facts={"field": "status"})


def _not_changed(tx: Tx, claim: Claim, new: JobStatus) -> JobStatus:
    now = _own(tx, claim)
    if now is new:
        return new  # the same report again: its answer was lost
    if now is None or now not in ON_PILOT:
        raise claims.lost(claim)
    message = f"Job {claim.job_id} is {now.value} and cannot become {new.value}."
    raise Problem(409, "conflict", message, facts={"status": now.value})
