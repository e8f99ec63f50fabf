"""Pilots: recorded before they are sent, seen when they ask for work, ended once."""

from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import reschedule
from gatehouse.wms.claims import PILOT
from gatehouse.wms.constants import among
from gatehouse.wms.models import Pilot
from gatehouse.wms.states import PILOT_FINAL, PilotStatus, pilot_may_precede

ALIVE = frozenset(PilotStatus) - PILOT_FINAL

_P = table(Pilot).c
_ADD = insertion(Pilot)


class PilotRow(NamedTuple):
    """A pilot; `element` is its compute element's name, instants are epoch seconds."""

    id: str
    vo: str
    group_name: str
    element: str
    site: str
    status: str
    reference: str
    job_id: int
    submitted_at: int
    seen_at: int
    ended_at: int | None


_ROW = select(*(_P[name] for name in PilotRow._fields))
_GET = sql(_ROW.where(_P.id == bindparam("pilot")), PilotRow)
_AT = sql(_ROW.where(_P.element == bindparam("ce"), among(_P.status, ALIVE)).limit(10_000), PilotRow)
_SEEN: Statement[tuple[()]] = sql(
    update(table(Pilot))
    .where(
        _P.id == bindparam("pilot"),
        _P.job_id == bindparam("earlier"),
        among(_P.status, pilot_may_precede(PilotStatus.RUNNING, repeat=True)),
    )
    .values(status=PilotStatus.RUNNING.value, job_id=bindparam("job"), seen_at=bindparam("current"))
)
_REFER: Statement[tuple[()]] = sql(
    update(table(Pilot)).where(_P.id == bindparam("pilot")).values(reference=bindparam("known_as"))
)
_END: Statement[tuple[()]] = sql(
    update(table(Pilot))
    .where(_P.id == bindparam("pilot"), among(_P.status, ALIVE))
    .values(status=bindparam("new"), message=bindparam("why"), ended_at=bindparam("current"))
)


def add(tx: Tx, pilot_id: str, *, vo: str, group: str, element: str, site: str) -> None:
    """Record the intent to send a pilot."""
    now = tx.clock.now()
    tx.run(
        _ADD,
        id=pilot_id,
        vo=vo,
        group_name=group,
        element=element,
        site=site,
        status=PilotStatus.SUBMITTED.value,
        reference="",
        message="",
        job_id=0,
        submitted_at=now,
        seen_at=now,
        ended_at=None,
    )


def get(tx: Tx, pilot_id: str) -> PilotRow:
    """A pilot by its id. Raises Problem 404."""
    row = tx.one(_GET, pilot=pilot_id)
    if row is None:
        raise Problem(404, "not_found", "This pilot is not known here.")
    return row


def at_element(tx: Tx, element: str) -> list[PilotRow]:
    """The pilots of a compute element that have not ended."""
    return tx.all(_AT, ce=element)


def seen(tx: Tx, pilot_id: str, *, earlier_job: int, job_id: int) -> bool:
    """Note that a pilot asked, and which job it holds now. False when another request of it was faster."""
    now = tx.clock.now()
    return tx.run(_SEEN, pilot=pilot_id, earlier=earlier_job, job=job_id, current=now) == 1


def refer(tx: Tx, pilot_id: str, reference: str) -> None:
    """Remember what the compute element calls a pilot."""
    tx.run(_REFER, pilot=pilot_id, known_as=reference)


def end(tx: Tx, pilot_id: str, status: PilotStatus, message: str, *, token_lifetime: int) -> bool:
    """End a pilot; a job that it still holds goes back to its queue. False when it had ended already."""
    now = tx.clock.now()
    if not tx.run(_END, pilot=pilot_id, new=status.value, why=message[:255], current=now):
        return False
    row = get(tx, pilot_id)
    audit.record(tx, "pilot.ended", actor="gatehouse", subject=PILOT + pilot_id, status=status.value)
    if row.job_id:
        reschedule.give_back(tx, row.job_id, pilot_id, token_lifetime=token_lifetime)
    return True


def report(tx: Tx, who: Principal, status: PilotStatus, message: str, token_lifetime: int) -> PilotStatus:
    """What a pilot says of its own end; said again, or too late, it changes nothing."""
    pilot_id = who.subject.removeprefix(PILOT)
    end(tx, pilot_id, status, message, token_lifetime=token_lifetime)
    return PilotStatus(get(tx, pilot_id).status)
