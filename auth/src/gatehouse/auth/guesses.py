"""Wrong answers to secrets that could be guessed, counted in the database: by all processes, over restarts.

Count in the transaction that looks the answer up, and look it up only when nothing is locked, so that who is locked
out learns nothing more and without a database there is no answer at all (RFC 8628 §5.1, RFC 6749 §2.3.1).

    tries = guesses.of_user_code(seal, session, address)
    if seconds := guesses.locked(tx, tries):
        return guesses.refusal(seconds)       # returned, not raised inside: raising would undo the counting
    ... guesses.wrong(tx, tries)
"""

from typing import NamedTuple

import structlog
from sqlalchemy import bindparam, case, delete, or_, select, update

from gatehouse.auth.models import Guess
from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.limits import neighbourhood, slow_down
from gatehouse.tokenmanager.seal import Seal

log = structlog.get_logger()

WINDOW = 300  # seconds, from the first wrong answer on
PER_SESSION = 5
PER_ADDRESS = 30  # a room full of people behind one address mistypes too
IN_ALL = 20_000  # of 20^8 codes, from hundreds of networks at least: links are refused then too
PER_CLIENT = 10  # of one client, from one address
CLIENTS_PER_ADDRESS = 100


class Try(NamedTuple):
    """One way to count: the row's key, how many wrong answers it bears, and its name where all share it."""

    id: str
    most: int
    shared: str = ""


Tries = tuple[Try, ...]
NONE: Tries = ()


class _Row(NamedTuple):
    wrong: int
    ends_at: int


class _Counted(NamedTuple):
    id: str
    wrong: int
    ends_at: int


_T = table(Guess)
_C = _T.c
_ADD = insertion(Guess)
_FIND = sql(
    select(_C.wrong, _C.ends_at).where(_C.id == bindparam("key"), _C.ends_at > bindparam("current")), _Row
)
# one question for all ways to count; there are three at most
_FULL = sql(
    select(_C.id, _C.wrong, _C.ends_at).where(
        or_(*(_C.id == bindparam(name) for name in ("first", "second", "third"))),
        _C.ends_at > bindparam("current"),
    ),
    _Counted,
)
_LOCKED = sql(
    select(_C.id, _C.wrong, _C.ends_at)
    .where(_C.wrong >= _C.most, _C.ends_at > bindparam("current"))
    .limit(bindparam("most_rows")),
    _Counted,
)
_MORE: Statement[tuple[()]] = sql(
    update(_T)
    .where(_C.id == bindparam("key"), _C.ends_at > bindparam("current"))
    .values(
        wrong=_C.wrong + 1,
        ends_at=case((_C.ends_at > bindparam("latest"), bindparam("latest")), else_=_C.ends_at),
    )
)
_ANEW: Statement[tuple[()]] = sql(
    update(_T)
    .where(_C.id == bindparam("key"), _C.ends_at <= bindparam("current"))
    .values(wrong=1, ends_at=bindparam("latest"))
)
_SHORTEN: Statement[tuple[()]] = sql(
    update(_T)
    .where(_C.id == bindparam("key"), _C.ends_at > bindparam("latest"))
    .values(ends_at=bindparam("latest"))
)
_SWEEP: Statement[tuple[()]] = sql(delete(_T).where(_C.ends_at <= bindparam("current")))


def of_user_code(seal: Seal, session: str, address: str) -> Tries:
    """User codes: by browser (its cookie), by neighbourhood of the address, and all together."""
    where = neighbourhood(address)
    return (
        Try(seal.keyed_hash("guess", f"user-code session {session}"), PER_SESSION),
        Try(seal.keyed_hash("guess", f"user-code address {where}"), PER_ADDRESS),
        Try(seal.keyed_hash("guess", "user-code"), IN_ALL, "user codes"),
    )


def of_client(seal: Seal, client_id: str, address: str) -> Tries:
    """Secrets of clients: of this client from this neighbourhood, and of all clients from there."""
    where = neighbourhood(address)
    return (
        Try(seal.keyed_hash("guess", f"client {where} {client_id}"), PER_CLIENT),
        Try(seal.keyed_hash("guess", f"client {where}"), CLIENTS_PER_ADDRESS),
    )


def locked(tx: Tx, tries: Tries) -> int:
    """Seconds until answers are taken again; 0 when they are."""
    now, longest = tx.clock.now(), 0
    most = {one.id: one.most for one in tries}
    keys = [*most, "", "", ""]
    for row in tx.all(_FULL, first=keys[0], second=keys[1], third=keys[2], current=now):
        if row.wrong >= most[row.id]:
            longest = max(longest, min(row.ends_at - now, WINDOW))
            if row.ends_at > now + WINDOW:  # the clock went back: nobody waits longer for that
                tx.run(_SHORTEN, key=row.id, latest=now + WINDOW)
    return longest


def all_locked(tx: Tx, limit: int) -> dict[str, int]:
    """The keys that are locked, each until an instant."""
    latest = tx.clock.now() + WINDOW
    rows = tx.all(_LOCKED, current=latest - WINDOW, most_rows=limit)
    return {row.id: min(row.ends_at, latest) for row in rows}


def wrong(tx: Tx, tries: Tries) -> None:
    """Count a wrong answer. Always in the order of `tries`, or two of us could wait for each other."""
    now = tx.clock.now()
    for one in tries:
        times = {"key": one.id, "current": now, "latest": now + WINDOW}
        if not tx.run(_MORE, **times) and not tx.run(_ANEW, **times):
            tx.run(_ADD, id=one.id, wrong=1, most=one.most, ends_at=now + WINDOW)
        row = tx.one(_FIND, key=one.id, current=now) if one.shared else None
        if row is not None and row.wrong == one.most:
            audit.record(tx, "guesses.locked", actor="gatehouse", subject=one.shared, wrong=row.wrong)
            log.warning("too many wrong answers in all: nobody's is taken", what=one.shared, seconds=WINDOW)


def refusal(seconds: int) -> Problem:
    """What a locked-out person is told, whether the answer was right or not."""
    return slow_down("Too many wrong codes were tried here.", seconds, limit_class="guess")


def sweep(tx: Tx) -> int:
    """Forget what counts no more."""
    return tx.run(_SWEEP, current=tx.clock.now())
