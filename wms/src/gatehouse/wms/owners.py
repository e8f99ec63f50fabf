"""May the owner of a job still act for its group? Asked whenever a run is given a credential, or a new one.

Jobs wait and run long after their owner logged in: a membership that ended meanwhile ends them (guarantee 2).
"""

from sqlalchemy import bindparam, update

from gatehouse.registry import audit, directory
from gatehouse.registry.database import Statement, Tx, sql, table
from gatehouse.wms import claims, history
from gatehouse.wms.claims import Claim, Owner
from gatehouse.wms.constants import among
from gatehouse.wms.models import Job
from gatehouse.wms.states import JobStatus, may_precede

NOT_ENTITLED = "Owner not entitled"

_J = table(Job).c
_STOP: Statement[tuple[()]] = sql(
    update(table(Job))
    .where(
        _J.id == bindparam("job"),
        _J.attempt == bindparam("run"),
        among(_J.status, may_precede(JobStatus.KILLED)),
    )
    .values(
        status=JobStatus.KILLED.value,
        minor_status=NOT_ENTITLED,
        application_status=bindparam("why"),
        ended_at=bindparam("current"),
    )
)


def stopped(tx: Tx, claim: Claim, owner: Owner, token_lifetime: int) -> bool:
    """Whether the owner may not act for the group any more; the job is then killed and its credential dead.

    `claim` names the job and how often it was run; of a job that waits, no pilot holds it yet.
    """
    why = directory.standing(tx, owner.id, owner.group).refusal
    if not why:
        return False
    if tx.run(_STOP, job=claim.job_id, run=claim.attempt, why=why[:255], current=tx.clock.now()):
        if claim.pilot_id:
            claims.end(tx, claim, token_lifetime)
        history.add(tx, claim.job_id, JobStatus.KILLED, NOT_ENTITLED, "Gate", why[:255])
        audit.record(
            tx, "job.killed", actor="gatehouse", subject=f"job:{claim.job_id}", owner=owner.username, why=why
        )
    return True
