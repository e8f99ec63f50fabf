"""Leases: what must happen once, whoever of the replicas does it (factory cycle, sweeps, key rotation)."""

from sqlalchemy import bindparam, or_, select, update

from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.registry.models import Lease

_C = table(Lease).c
_ADD = insertion(Lease)
_KNOWN: Statement[tuple[str]] = sql(select(_C.name).where(_C.name == bindparam("lease")))
_TAKE: Statement[tuple[()]] = sql(
    update(table(Lease))
    .where(
        _C.name == bindparam("lease"), or_(_C.holder == bindparam("who"), _C.until <= bindparam("current"))
    )
    .values(holder=bindparam("who"), until=bindparam("end"))
)
_DROP: Statement[tuple[()]] = sql(
    update(table(Lease))
    .where(_C.name == bindparam("lease"), _C.holder == bindparam("who"))
    .values(until=bindparam("current"))
)


def take_lease(tx: Tx, name: str, holder: str, seconds: int) -> bool:
    """Take or keep a lease for so many seconds from now. False while another holds it.

    The conditional UPDATE decides. Only the first ever taking inserts the row: of two at once, one fails with
    the driver's IntegrityError, which means that it did not get the lease.
    """
    now = tx.clock.now()
    if tx.run(_TAKE, lease=name, who=holder, current=now, end=now + seconds):
        return True
    if tx.one(_KNOWN, lease=name) is not None:
        return False
    tx.run(_ADD, name=name, holder=holder, until=now + seconds)
    return True


def drop_lease(tx: Tx, name: str, holder: str) -> None:
    """Let go of a lease, so that another replica need not wait for its end."""
    tx.run(_DROP, lease=name, who=holder, current=tx.clock.now())
