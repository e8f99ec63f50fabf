"""Clients that registered themselves (RFC 7591): their rows, and the clients that these describe.

Identifiers are random and never given again. What a client holds, its secret and its registration access token, is
here as keyed hashes only.
"""

import hmac
import re
import secrets
from typing import NamedTuple

from msgspec import json
from sqlalchemy import bindparam, select, update

from gatehouse.auth import registration
from gatehouse.auth.clients import Client
from gatehouse.auth.models import RegisteredClient
from gatehouse.auth.registration import Metadata
from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.tokenmanager import refresh, revoke
from gatehouse.tokenmanager.seal import Seal

_ID = re.compile(r"[0-9a-f]{32}")
_TOKENS_LIVE = 21600 + 60  # seconds; the most that an access token has, and one that is being made just now


class Registered(NamedTuple):
    """A registered client as the database has it; instants are epoch seconds."""

    id: str
    document: str
    secret_hash: str
    token_hash: str
    invitation: str
    created_at: int
    changed_at: int
    revoked_at: int | None

    @property
    def metadata(self) -> Metadata:
        """What it registered."""
        return json.decode(self.document, type=Metadata)


class Given(NamedTuple):
    """A client, and what it is told once; an empty secret is none, or the one that it has."""

    row: Registered
    secret: str
    token: str

    def __repr__(self) -> str:
        return f"Given({self.row.id!r})"


_T = table(RegisteredClient)
_C = _T.c
_ADD = insertion(RegisteredClient)
_COLUMNS = tuple(_C[name] for name in Registered._fields)
_BY_ID = sql(select(*_COLUMNS).where(_C.id == bindparam("name")), Registered)
_ALL = sql(select(*_COLUMNS).order_by(_C.created_at.desc()).limit(1000), Registered)
_LIVE = (_C.id == bindparam("name"), _C.revoked_at.is_(None))
# the version that was judged is the one that is replaced: two changes at once do not mix
_CHANGE: Statement[tuple[()]] = sql(
    update(_T)
    .where(*_LIVE, _C.document == bindparam("before"), _C.secret_hash == bindparam("secret_before"))
    .values(
        document=bindparam("after"), secret_hash=bindparam("secret_after"), changed_at=bindparam("current")
    )
)
_END: Statement[tuple[()]] = sql(update(_T).where(*_LIVE).values(revoked_at=bindparam("current")))


def find(tx: Tx, seal: Seal, client_id: str) -> Client | None:
    """The client of that identifier, if it registered and has not gone."""
    row = by_id(tx, client_id)
    if row is None or row.revoked_at is not None:
        return None
    return registration.client(row.metadata, row.id, lambda said: is_secret(seal, row, said))


def by_id(tx: Tx, client_id: str) -> Registered | None:
    """The row of that identifier, whatever became of the client."""
    return tx.one(_BY_ID, name=client_id) if _ID.fullmatch(client_id) else None


def every(tx: Tx) -> list[Registered]:
    """The newest thousand."""
    return tx.all(_ALL)


def holder(tx: Tx, seal: Seal, client_id: str, token: str) -> Registered | None:
    """The living client that a registration access token belongs to (RFC 7592 §1.2)."""
    row = by_id(tx, client_id)
    known = row.token_hash if row is not None else ""
    if not hmac.compare_digest(_hash(seal, "token", token), known):
        return None
    return row if row is not None and row.revoked_at is None else None


def is_secret(seal: Seal, row: Registered, said: str) -> bool:
    """Whether that is the client's secret."""
    return hmac.compare_digest(_hash(seal, "secret", said), row.secret_hash)


def add(tx: Tx, seal: Seal, metadata: Metadata, invitation: str, address: str) -> Given:
    """Register a client: a new identifier, a registration access token, and a secret if it needs one."""
    now, token = tx.clock.now(), secrets.token_urlsafe(32)
    secret = secrets.token_urlsafe(32) if metadata.with_secret else ""
    row = Registered(
        id=secrets.token_hex(16),
        document=json.encode(metadata).decode(),
        secret_hash=_hash(seal, "secret", secret) if secret else "",
        token_hash=_hash(seal, "token", token),
        invitation=invitation,
        created_at=now,
        changed_at=now,
        revoked_at=None,
    )
    tx.run(_ADD, **row._asdict())
    _record(tx, "client.registered", row, metadata, address)
    return Given(row, secret, token)


def change(tx: Tx, seal: Seal, row: Registered, metadata: Metadata, token: str, address: str) -> Given | None:
    """Replace what a client registered (RFC 7592 §2.2); None when it was changed or deleted in the meantime.

    A secret that it has and still needs stays; one that it newly needs is made; one that it needs no more is gone.
    """
    secret = secrets.token_urlsafe(32) if metadata.with_secret and not row.secret_hash else ""
    kept = row.secret_hash if metadata.with_secret else ""
    after = row._replace(
        document=json.encode(metadata).decode(),
        secret_hash=_hash(seal, "secret", secret) if secret else kept,
        changed_at=tx.clock.now(),
    )
    if not tx.run(
        _CHANGE,
        name=row.id,
        before=row.document,
        secret_before=row.secret_hash,
        after=after.document,
        secret_after=after.secret_hash,
        current=after.changed_at,
    ):
        return None
    _record(tx, "client.changed", after, metadata, address)
    return Given(after, secret, token)


def end(tx: Tx, client_id: str, actor: str, address: str = "") -> bool:
    """End a client, its logins, and every token that was issued to it. False when there is none that lives."""
    if not _ID.fullmatch(client_id) or not tx.run(_END, name=client_id, current=tx.clock.now()):
        return False
    revoke.add(tx, revoke.client_name(client_id), tx.clock.now() + _TOKENS_LIVE)
    ended = refresh.end_of_client(tx, client_id, "its client has gone", actor=actor)
    audit.record(tx, "client.ended", actor=actor, subject=client_id, grants=ended, address=address)
    return True


def _record(tx: Tx, kind: str, row: Registered, metadata: Metadata, address: str) -> None:
    audit.record(
        tx,
        kind,
        actor=row.id,
        subject=row.id,
        name=metadata.client_name,
        invitation=row.invitation,
        method=metadata.token_endpoint_auth_method,
        grants=list(metadata.grant_types),
        scope=metadata.scope,
        redirects=list(metadata.redirect_uris),
        address=address,
    )


def _hash(seal: Seal, what: str, secret: str) -> str:
    return seal.keyed_hash(f"client-{what}", secret)
