"""What is refused before its time, on every replica within seconds.

Rows are small and live only until the credential would have expired; each replica keeps the names in memory and
reads what is new once a second.
"""

from typing import NamedTuple

from sqlalchemy import bindparam, delete, or_, select

from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Database, Statement, Tx, insertion, sql, table
from gatehouse.tokenmanager.models import Revocation

# A transaction that began earlier may commit later, so each look goes back this many seconds.
_OVERLAP = 30


class _Row(NamedTuple):
    id: int
    name: str
    at: int
    until: int


_C = table(Revocation).c
_ADD = insertion(Revocation, "name", "at", "until")
# by time, and by number: of a replica whose clock is late, the rows are old when they come
_SINCE = sql(
    select(_C.id, _C.name, _C.at, _C.until).where(
        or_(_C.at >= bindparam("since"), _C.id > bindparam("last")), _C.until > bindparam("current")
    ),
    _Row,
)
_SWEEP: Statement[tuple[()]] = sql(delete(table(Revocation)).where(_C.until < bindparam("current")))


def token_name(token_id: str) -> str:
    """The name under which one access token is revoked."""
    return f"token/{token_id}"


def grant_name(grant: str) -> str:
    """The name under which all tokens of a grant are revoked."""
    return f"grant/{grant}"


def claim_name(claim: str) -> str:
    """The name under which the credential of one run of one job is revoked."""
    return f"claim/{claim}"


def client_name(client_id: str) -> str:
    """The name under which all tokens of a client are revoked; for clients whose identifier is never used again."""
    return f"client/{client_id}"


def add(tx: Tx, name: str, until: int) -> None:
    """Refuse `name` from now on; after `until` it would be refused anyway."""
    tx.run(_ADD, name=name, at=tx.clock.now(), until=until)


class Revocations:
    """The names refused right now."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._names: dict[str, int] = {}
        self._since = 0
        self._last = 0

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def note(self, name: str, until: int) -> None:
        """Refuse at once on this replica what was just committed."""
        self._names[name] = until

    async def refresh(self) -> None:
        """Take in what any replica revoked since the last look, and forget what has expired."""
        now = self._clock.now()
        since = self._since - _OVERLAP if self._since else 0
        last = self._last
        for row in await self._database.read(lambda tx: tx.all(_SINCE, since=since, last=last, current=now)):
            self._names[row.name] = row.until
            self._last = max(self._last, row.id)
        self._since = now
        if len(self._names) > 1000:
            self._names = {name: until for name, until in self._names.items() if until > now}

    async def sweep(self) -> None:
        """Delete rows of credentials that have expired."""
        before = self._clock.now() - 600
        await self._database.write(lambda tx: tx.run(_SWEEP, current=before))
