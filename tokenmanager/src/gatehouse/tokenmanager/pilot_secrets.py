"""The one-time secret that a pilot carries to a worker node and redeems for its own token."""

import secrets
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.tokenmanager.models import PilotSecret
from gatehouse.tokenmanager.seal import Seal


class Redeemed(NamedTuple):
    """Whose secret it was."""

    pilot_id: str
    group: str


class _Row(NamedTuple):
    pilot_id: str
    group: str
    expires_at: int
    redeemed_at: int | None


_C = table(PilotSecret).c
_ADD = insertion(PilotSecret)
_FIND = sql(
    select(_C.pilot_id, _C.group_name, _C.expires_at, _C.redeemed_at).where(
        _C.secret_hash == bindparam("presented")
    ),
    _Row,
)
_REDEEM: Statement[tuple[()]] = sql(
    update(table(PilotSecret))
    .where(
        _C.secret_hash == bindparam("presented"),
        _C.redeemed_at.is_(None),
        _C.expires_at > bindparam("current"),
    )
    .values(redeemed_at=bindparam("current"))
)


def issue(tx: Tx, seal: Seal, *, pilot_id: str, group: str, lifetime: int) -> str:
    """A fresh secret for a pilot; the database keeps its keyed hash."""
    secret = "ghp1." + secrets.token_urlsafe(32)
    tx.run(
        _ADD,
        pilot_id=pilot_id,
        secret_hash=seal.keyed_hash("pilot", secret),
        group_name=group,
        expires_at=tx.clock.now() + lifetime,
        redeemed_at=None,
    )
    return secret


def redeem(tx: Tx, seal: Seal, secret: str) -> Redeemed | str:
    """Use a secret once; or the reason why it is not accepted."""
    presented = seal.keyed_hash("pilot", secret)
    won = tx.run(_REDEEM, presented=presented, current=tx.clock.now())
    row = tx.one(_FIND, presented=presented)
    if row is None:
        return "This is not a pilot secret of this service."
    if won:
        return Redeemed(row.pilot_id, row.group)
    if row.redeemed_at is not None:
        return "This pilot secret was used before."
    return "This pilot secret has expired."
