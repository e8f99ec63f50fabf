"""Identifiers that may be used once, across all processes on one database: the `jti` of assertions and proofs."""

import hashlib

from sqlalchemy import BigInteger, String, bindparam, cast, delete, exists, insert, select

from gatehouse.registry.database import Statement, Tx, sql, table
from gatehouse.tokenmanager.models import UsedOnce

_C = table(UsedOnce).c
_FIRST = bindparam("first", type_=String(64))
# two at once clash on the key; the database runs the loser again, who then finds the row
_CLAIM: Statement[tuple[()]] = sql(
    insert(table(UsedOnce)).from_select(
        ["id", "expires_at"],
        select(cast(_FIRST, String(64)), cast(bindparam("until"), BigInteger)).where(
            ~exists().where(_C.id == _FIRST)
        ),
    )
)
_SWEEP: Statement[tuple[()]] = sql(delete(table(UsedOnce)).where(_C.expires_at < bindparam("current")))


def claim(tx: Tx, where: str, value: str, until: int) -> bool:
    """Use an identifier up: true for exactly one caller until the instant `until`, when it would be refused anyway."""
    digest = hashlib.sha256(f"{where}\n{value}".encode("utf-8", "surrogatepass")).hexdigest()
    return tx.run(_CLAIM, first=digest, until=until) == 1


def sweep(tx: Tx) -> int:
    """Forget identifiers that would be refused for their age; a minute later, for replicas whose clock is late."""
    return tx.run(_SWEEP, current=tx.clock.now() - 60)
