"""Initial access tokens (RFC 7591 §3): leave to register some clients, none with more than a ceiling, for a while."""

import secrets
from typing import NamedTuple

from msgspec import json
from sqlalchemy import bindparam, select, update

from gatehouse.auth.models import ClientInvitation
from gatehouse.auth.registration import Ceiling
from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.tokenmanager.seal import Seal

MOST_USES = 10_000
MOST_HOURS = 24 * 366


class Invitation(NamedTuple):
    """An invitation as the database has it; instants are epoch seconds."""

    id: str
    ceiling: str
    uses_left: int
    created_at: int
    expires_at: int
    revoked_at: int | None

    @property
    def gives(self) -> Ceiling:
        """The most that its clients may have."""
        return json.decode(self.ceiling, type=Ceiling)


_T = table(ClientInvitation)
_C = _T.c
_ADD = insertion(ClientInvitation)
_COLUMNS = tuple(_C[name] for name in Invitation._fields)
_BY_ID = sql(select(*_COLUMNS).where(_C.id == bindparam("name")), Invitation)
_LIVE = (_C.revoked_at.is_(None), _C.expires_at > bindparam("current"), _C.uses_left > 0)
_BY_TOKEN = sql(select(*_COLUMNS).where(_C.token_hash == bindparam("shown"), *_LIVE), Invitation)
_ALL = sql(select(*_COLUMNS).order_by(_C.created_at.desc()).limit(1000), Invitation)
_USE: Statement[tuple[()]] = sql(
    update(_T).where(_C.id == bindparam("name"), *_LIVE).values(uses_left=_C.uses_left - 1)
)
_REVOKE: Statement[tuple[()]] = sql(
    update(_T)
    .where(_C.id == bindparam("name"), _C.revoked_at.is_(None))
    .values(revoked_at=bindparam("current"))
)


def make(tx: Tx, seal: Seal, ceiling: Ceiling, uses: int, seconds: int, actor: str) -> tuple[str, str]:
    """A new invitation: its id, and the initial access token, which is shown once."""
    name, token, now = secrets.token_hex(8), secrets.token_urlsafe(32), tx.clock.now()
    tx.run(
        _ADD,
        id=name,
        token_hash=_hash(seal, token),
        ceiling=json.encode(ceiling).decode(),
        uses_left=uses,
        created_at=now,
        expires_at=now + seconds,
        revoked_at=None,
    )
    audit.record(
        tx,
        "invitation.made",
        actor=actor,
        subject=name,
        uses=uses,
        until=now + seconds,
        grants=list(ceiling.grants),
        scopes=list(ceiling.scopes),
        audiences=list(ceiling.audiences),
        resources=list(ceiling.resources),
        public=int(ceiling.public),
    )
    return name, token


def shown(tx: Tx, seal: Seal, token: str) -> Invitation | None:
    """The invitation behind an initial access token, while it is good for one more client."""
    return tx.one(_BY_TOKEN, shown=_hash(seal, token), current=tx.clock.now())


def use(tx: Tx, invitation: Invitation) -> bool:
    """Take one use of it; the conditional UPDATE decides who gets the last one."""
    return tx.run(_USE, name=invitation.id, current=tx.clock.now()) == 1


def by_id(tx: Tx, name: str) -> Invitation | None:
    """The invitation of that id, whatever became of it: it stays the ceiling of its clients."""
    return tx.one(_BY_ID, name=name)


def every(tx: Tx) -> list[Invitation]:
    """The newest thousand."""
    return tx.all(_ALL)


def revoke(tx: Tx, name: str, actor: str) -> bool:
    """Let no more clients register with it; those that have, stay. False when there is none that lives."""
    if not tx.run(_REVOKE, name=name, current=tx.clock.now()):
        return False
    audit.record(tx, "invitation.revoked", actor=actor, subject=name)
    return True


def _hash(seal: Seal, token: str) -> str:
    return seal.keyed_hash("client-invitation", token)
