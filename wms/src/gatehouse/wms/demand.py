"""What the factory looks at: how many waiting jobs a new pilot at an element could take, and how many are coming."""

from sqlalchemy import bindparam, or_, select

from gatehouse.registry.database import Statement, Tx, sql, table
from gatehouse.registry.settings import ElementSettings
from gatehouse.wms import pilots, queues
from gatehouse.wms.constants import among
from gatehouse.wms.models import Job, Pilot, QueueSite
from gatehouse.wms.states import JobStatus, PilotStatus

FRESH = 60
"""Seconds for which a pilot that asked in vain counts as one that will ask again."""
_QUEUES_LIMIT = 1000

_J, _S, _P = table(Job).c, table(QueueSite).c, table(Pilot).c

_FITTING: Statement[tuple[str, str]] = sql(
    select(_S.queue_id, _S.needs)
    .where(
        _S.vo == bindparam("community"),
        or_(_S.site == bindparam("place"), _S.site == queues.ANY_SITE),
        _S.waiting == 1,
        _S.cpu_time <= bindparam("seconds"),
        _S.processors <= 1,
        _S.tag_mask.bitwise_and(bindparam("lacking")) == 0,
    )
    .limit(_QUEUES_LIMIT)
)
_SOME: Statement[tuple[int]] = sql(
    select(_J.id)
    .where(_J.queue_id == bindparam("queue"), _J.status == JobStatus.WAITING.value)
    .limit(bindparam("enough"))
)
_COMING: Statement[tuple[str]] = sql(
    select(_P.id)
    .where(
        _P.element == bindparam("ce"),
        _P.vo == bindparam("community"),
        among(_P.status, pilots.ALIVE),
        _P.job_id == 0,
        or_(_P.status != PilotStatus.RUNNING.value, _P.seen_at > bindparam("fresh_since")),
    )
    .limit(10_000)
)


def waiting(tx: Tx, element: ElementSettings, vo: str, enough: int) -> int:
    """How many waiting jobs of a VO would run at an element, counted up to `enough`."""
    tags = frozenset(element.tags)
    found = 0
    rows = tx.all(
        _FITTING,
        community=vo,
        place=element.site,
        seconds=element.cpu_time,
        lacking=queues.lacking(tags),
    )
    for queue, needs in rows:
        if found >= enough:
            break
        if queues.exact(needs).fits(element.site, tags):
            found += len(tx.all(_SOME, queue=queue, enough=enough - found))
    return found


def coming(tx: Tx, elements: list[ElementSettings], vo: str) -> int:
    """How many pilots for a VO are alive at these elements and have no job yet."""
    since = tx.clock.now() - FRESH
    return sum(len(tx.all(_COMING, ce=one.name, community=vo, fresh_since=since)) for one in elements)
