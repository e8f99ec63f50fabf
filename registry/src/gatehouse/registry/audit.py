"""The record: who did what to whom and why, written in the same transaction as its effect."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import select

from gatehouse.registry.chain import GENESIS, link
from gatehouse.registry.database import Tx, insertion, sql, table
from gatehouse.registry.models import AuditEvent

Fact = str | int | list[str] | list[int] | None

# made once: `json.dumps` makes an encoder at each call that asks for anything special
_facts = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
_list = json.JSONEncoder(separators=(",", ":")).encode
_ADD = insertion(AuditEvent, "chain", "seq", "at", "kind", "actor", "subject", "facts", "digest")
_T = table(AuditEvent).c


class Recorded(NamedTuple):
    """An event as it stands in the database."""

    chain: str
    seq: int
    at: int
    kind: str
    actor: str
    subject: str
    facts: str
    digest: str


_ALL = sql(
    select(_T.chain, _T.seq, _T.at, _T.kind, _T.actor, _T.subject, _T.facts, _T.digest).order_by(
        _T.chain, _T.seq
    ),
    Recorded,
)
_OF_KIND_ORDER = sql(
    select(_T.chain, _T.seq, _T.at, _T.kind, _T.actor, _T.subject, _T.facts, _T.digest)
    .order_by(_T.id.desc())
    .limit(1000),
    Recorded,
)


def record(tx: Tx, kind: str, *, actor: str, subject: str = "", **facts: Fact) -> None:
    """Append an event (`kind` as noun.verb, e.g. `grant.refreshed`); no secret may be among the facts."""
    at = tx.clock.now()
    actor, subject = actor[:255], subject[:255]
    text = _facts(facts)
    seq, digest = tx.chain.append(lambda seq: _bytes(tx.chain.name, seq, at, kind, actor, subject, text))
    tx.run(
        _ADD,
        chain=tx.chain.name,
        seq=seq,
        at=at,
        kind=kind,
        actor=actor,
        subject=subject,
        facts=text,
        digest=digest,
    )


def recent(tx: Tx) -> list[Recorded]:
    """The newest thousand events, newest first."""
    return tx.all(_OF_KIND_ORDER)


def broken(tx: Tx, key: bytes) -> Iterator[Recorded]:
    """Every event that does not follow from its predecessor: edited, reordered, or after a deleted one.

    What the rows alone cannot show is that the newest events of a chain, or a whole chain, were deleted.
    """
    chain, seq, digest = "", 0, GENESIS
    for event in tx.all(_ALL):
        if event.chain != chain:
            chain, seq, digest = event.chain, 0, GENESIS
        expected = link(key, digest, _bytes(*event[:-1]))
        if event.seq != seq + 1 or event.digest != expected:
            yield event
        seq, digest = event.seq, event.digest


def _bytes(chain: str, seq: int, at: int, kind: str, actor: str, subject: str, facts: str) -> bytes:
    return _list([chain, seq, at, kind, actor, subject, facts]).encode()
