"""Who has still to hear that a session has ended (OpenID Connect Back-Channel Logout §2.5): the queue.

A notice is written with the logout, in one transaction. It is claimed before it is sent, by a conditional UPDATE
that also says when to try again: of two processes one sends, and one that dies leaves it for later.
"""

from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update

from gatehouse.auth.models import LogoutNotice
from gatehouse.registry.database import Statement, Tx, insertion, sql, table

PAUSES = (10, 60, 300, 1800, 7200)
"""Seconds after each try before the next one; after the last try a notice is given up."""
MOST = len(PAUSES) + 1
BATCH = 16


class Notice(NamedTuple):
    """A notice as the database has it."""

    session: str
    client_id: str
    user_id: str
    tries: int
    due_at: int
    created_at: int


_T = table(LogoutNotice)
_C = _T.c
_ADD = insertion(LogoutNotice)
_DUE = sql(
    select(*(_C[name] for name in Notice._fields))
    .where(_C.due_at <= bindparam("current"))
    .order_by(_C.due_at)
    .limit(BATCH),
    Notice,
)
_MINE = (_C.session == bindparam("sid"), _C.client_id == bindparam("client"))
_CLAIM: Statement[tuple[()]] = sql(
    update(_T)
    .where(*_MINE, _C.tries == bindparam("seen"))
    .values(tries=_C.tries + 1, due_at=bindparam("next"))
)
_DONE: Statement[tuple[()]] = sql(delete(_T).where(*_MINE))
_SWEEP: Statement[tuple[()]] = sql(delete(_T).where(_C.created_at < bindparam("before")))


def add(tx: Tx, session: str, client_id: str, user_id: str) -> None:
    """Queue a notice: now is the time to send it."""
    now = tx.clock.now()
    tx.run(_ADD, session=session, client_id=client_id, user_id=user_id, tries=0, due_at=now, created_at=now)


def due(tx: Tx) -> list[Notice]:
    """Notices whose time has come, those that waited longest first."""
    return tx.all(_DUE, current=tx.clock.now())


def claim(tx: Tx, notice: Notice) -> bool:
    """Take the next try of a notice: true for exactly one caller."""
    pause = PAUSES[min(notice.tries, len(PAUSES) - 1)]
    return bool(
        tx.run(
            _CLAIM,
            sid=notice.session,
            client=notice.client_id,
            seen=notice.tries,
            next=tx.clock.now() + pause,
        )
    )


def done(tx: Tx, notice: Notice) -> bool:
    """Forget a notice: it was taken, or given up."""
    return bool(tx.run(_DONE, sid=notice.session, client=notice.client_id))


def sweep(tx: Tx) -> int:
    """Forget what nobody sends any more: a day is more than all tries take."""
    return tx.run(_SWEEP, before=tx.clock.now() - 86400)
