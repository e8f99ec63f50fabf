"""Runs that are not heard of: their jobs go back to the queue, and their pilots are given up."""

from typing import NamedTuple

from sqlalchemy import and_, bindparam, func, or_, select

from gatehouse.registry.database import Tx, sql, table
from gatehouse.registry.settings import FactorySettings
from gatehouse.wms import pilots, reschedule
from gatehouse.wms.constants import among
from gatehouse.wms.models import Job, Pilot
from gatehouse.wms.states import JobStatus, PilotStatus

_J, _P = table(Job).c, table(Pilot).c
_RUNNING = (JobStatus.RUNNING, JobStatus.COMPLETING, JobStatus.STALLED)


class Silent(NamedTuple):
    """A run that was not heard of for too long, and what its job was."""

    job_id: int
    pilot_id: str
    status: str


# By way of the pilots that are alive: few, where jobs are many. A pilot's end takes its job back in the same
# transaction, so no run is without one.
_SILENT = sql(
    select(_J.id, _P.id, _J.status)
    .join_from(table(Pilot), table(Job), and_(_J.id == _P.job_id, _J.pilot_id == _P.id))
    .where(
        among(_P.status, pilots.ALIVE),
        or_(
            and_(
                _J.status == JobStatus.MATCHED.value,
                func.coalesce(_J.heartbeat_at, 0) <= bindparam("matched_before"),
            ),
            and_(among(_J.status, _RUNNING), func.coalesce(_J.heartbeat_at, 0) <= bindparam("heard_before")),
        ),
    )
    .limit(200),
    Silent,
)


def silent(tx: Tx, settings: FactorySettings) -> list[Silent]:
    """Runs that match without a report, or run without a heartbeat, for longer than the settings allow."""
    now = tx.clock.now()
    return tx.all(
        _SILENT,
        matched_before=now - settings.matched_timeout,
        heard_before=now - settings.stalled_after,
    )


def take_back(tx: Tx, run: Silent, settings: FactorySettings, token_lifetime: int) -> JobStatus | None:
    """Give a silent run's job back and end its pilot; None when it spoke up in the meantime."""
    now = tx.clock.now()
    patience = settings.matched_timeout if run.status == JobStatus.MATCHED else settings.stalled_after
    status = reschedule.give_back(
        tx, run.job_id, run.pilot_id, token_lifetime=token_lifetime, silent_since=now - patience
    )
    if status is not None:
        pilots.end(
            tx, run.pilot_id, PilotStatus.FAILED, "not heard of for too long", token_lifetime=token_lifetime
        )
    return status
