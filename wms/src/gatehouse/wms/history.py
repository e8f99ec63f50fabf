"""The history of a job: one row for each change of its status."""

from typing import NamedTuple

from sqlalchemy import bindparam, select

from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.wms.models import JobEvent
from gatehouse.wms.states import JobStatus

LIMIT = 1000
"""Events that are shown of a job."""
ROOM = 100
"""Of these, those kept free for what the service and people have to say."""

_E = table(JobEvent).c
ADD = insertion(JobEvent, "job_id", "status", "minor_status", "application_status", "at", "source")


class Event(NamedTuple):
    """A change of status; `at` in epoch seconds."""

    status: str
    minor_status: str
    application_status: str
    at: int
    source: str


_OF_JOB = sql(
    select(_E.status, _E.minor_status, _E.application_status, _E.at, _E.source)
    .where(_E.job_id == bindparam("job"))
    .order_by(_E.id)
    .limit(LIMIT),
    Event,
)
_AT_PLACE: Statement[tuple[int]] = sql(
    select(_E.id).where(_E.job_id == bindparam("job")).order_by(_E.id).limit(1).offset(LIMIT - ROOM)
)


def row(
    job_id: int, status: JobStatus, minor: str, at: int, source: str, application: str = ""
) -> dict[str, object]:
    """The parameters of ADD."""
    return {
        "job_id": job_id,
        "status": status.value,
        "minor_status": minor,
        "application_status": application,
        "at": at,
        "source": source,
    }


def add(tx: Tx, job_id: int, status: JobStatus, minor: str, source: str, application: str = "") -> None:
    """Write down a change that was just made."""
    tx.run(ADD, **row(job_id, status, minor, tx.clock.now(), source, application))


def full(tx: Tx, job_id: int) -> bool:
    """Whether a run has told so much that its repetitions are not written down any more."""
    return tx.one(_AT_PLACE, job=job_id) is not None


def of_job(tx: Tx, job_id: int) -> list[Event]:
    """The first thousand changes of a job, oldest first."""
    return tx.all(_OF_JOB, job=job_id)
