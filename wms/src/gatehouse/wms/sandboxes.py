"""Sandboxes: small archives that travel with a job. Stored in pieces, never unpacked or parsed here."""

import hashlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import bindparam, delete, exists, select

from gatehouse.registry import audit
from gatehouse.registry.database import Database, Statement, Tx, insertion, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import claims, policy
from gatehouse.wms.models import CHUNK, Sandbox, SandboxChunk, SandboxUse

LIMIT = 10 * 1024 * 1024
PREFIX = "SB:"

_S, _C, _U = table(Sandbox).c, table(SandboxChunk).c, table(SandboxUse).c
_ADD = insertion(Sandbox)
_ADD_CHUNK = insertion(SandboxChunk)
_ADD_USE = insertion(SandboxUse)


class _Row(NamedTuple):
    id: str
    digest: str
    owner_id: str
    owner_group: str
    vo: str
    size: int


_COLUMNS = (_S.id, _S.digest, _S.owner_id, _S.owner_group, _S.vo, _S.size)
_GET = sql(select(*_COLUMNS).where(_S.id == bindparam("sandbox")), _Row)
_SAME = sql(select(*_COLUMNS).where(_S.digest == bindparam("content")).limit(1000), _Row)
_OF_JOB = sql(
    select(*_COLUMNS)
    .join_from(table(SandboxUse), table(Sandbox), _U.sandbox_id == _S.id)
    .where(_U.job_id == bindparam("job"), _U.kind == bindparam("use")),
    _Row,
)
_CONTENT: Statement[tuple[bytes]] = sql(
    select(_C.content).where(_C.sandbox_id == bindparam("sandbox")).order_by(_C.position)
)
_RELEASE: Statement[tuple[()]] = sql(
    delete(table(SandboxUse)).where(_U.job_id == bindparam("job"), _U.kind == bindparam("use"))
)
_DROP: Statement[tuple[()]] = sql(
    delete(table(Sandbox)).where(
        _S.id == bindparam("sandbox"), ~exists().where(_U.sandbox_id == bindparam("sandbox"))
    )
)
_DROP_CONTENT: Statement[tuple[()]] = sql(
    delete(table(SandboxChunk)).where(_C.sandbox_id == bindparam("sandbox"))
)


class Stored(NamedTuple):
    """A sandbox on the wire: `id` is SB: and the sha256 of its content, `size` in bytes."""

    id: str
    size: int


def _key(digest: str, owner_id: str, owner_group: str) -> str:
    return hashlib.sha256(f"{digest}\n{owner_group}\n{owner_id}".encode()).hexdigest()[:32]


async def store(database: Database, who: Principal, content: bytes) -> Stored:
    """Keep an archive as the caller's own. The same content again is the same sandbox."""
    digest = _digest(content)
    try:
        return await database.write(lambda tx: _put(tx, who, digest, content))
    except database.integrity_error:
        return await database.write(lambda tx: _put(tx, who, digest, content))  # stored twice at once


async def store_output(database: Database, who: Principal, job_id: int, content: bytes) -> Stored:
    """Keep an archive as the output of the job whose run the caller is; it replaces an earlier one."""
    claim, digest = claims.of(who, job_id), _digest(content)
    key = _key(digest, who.subject, who.group)

    def work(tx: Tx) -> Stored:
        claims.demand(tx, claim)
        replaced = [row.id for row in tx.all(_OF_JOB, job=job_id, use="Output") if row.id != key]
        stored = _put(tx, who, digest, content)
        tx.run(_RELEASE, job=job_id, use="Output")
        assign(tx, "Output", [(job_id, key)])
        for old in replaced:  # or a job could fill the database, upload after upload
            if tx.run(_DROP, sandbox=old):
                tx.run(_DROP_CONTENT, sandbox=old)
        return stored

    try:
        return await database.write(work)
    except database.integrity_error:
        return await database.write(work)


def _digest(content: bytes) -> str:
    if not content:
        raise Problem(400, "invalid_sandbox", "The sandbox is empty.")
    if len(content) > LIMIT:
        raise Problem(
            413, "too_large", f"A sandbox may have {LIMIT:,} bytes at most.", facts={"limit": LIMIT}
        )
    return hashlib.sha256(content).hexdigest()


def _put(tx: Tx, who: Principal, digest: str, content: bytes) -> Stored:
    stored, key = Stored(PREFIX + digest, len(content)), _key(digest, who.subject, who.group)
    if tx.one(_GET, sandbox=key) is not None:
        return stored
    owner = {"owner_id": who.subject, "owner_group": who.group, "vo": who.vo}
    tx.run(_ADD, id=key, digest=digest, **owner, size=len(content), created_at=tx.clock.now())
    pieces = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
    tx.many(
        _ADD_CHUNK,
        [{"sandbox_id": key, "position": place, "content": piece} for place, piece in enumerate(pieces)],
    )
    audit.record(tx, "sandbox.stored", actor=who.label, subject=stored.id, size=len(content))
    return stored


def owned(tx: Tx, who: Principal, names: Collection[str]) -> dict[str, str]:
    """The keys of the caller's own sandboxes by their names. Raises Problem 400 for one that is not there."""
    keys = {name: _key(name.removeprefix(PREFIX), who.subject, who.group) for name in names}
    for name, key in keys.items():
        if tx.one(_GET, sandbox=key) is None:
            raise Problem(
                400,
                "invalid_job",
                f"You have no sandbox {name} in the group {who.group}.",
                hint="Upload it first: POST /api/sandboxes",
                facts={"field": "input_sandbox"},
            )
    return keys


def assign(tx: Tx, kind: str, uses: Iterable[tuple[int, str]]) -> None:
    """Tie sandboxes to jobs: pairs of job id and key."""
    rows = [{"job_id": job_id, "kind": kind, "sandbox_id": key} for job_id, key in uses]
    if rows:
        tx.many(_ADD_USE, rows)


def fetch(tx: Tx, who: Principal, name: str) -> bytes:
    """The content for its owner, who shares or administers the owner's jobs, or the job whose input it is.

    Raises Problem 404 for everybody else, whether or not it exists.
    """
    digest = name.removeprefix(PREFIX)
    if who.kind == "job":
        rows = [row for row in tx.all(_OF_JOB, job=who.job, use="Input") if row.digest == digest]
    else:
        rows = [row for row in tx.all(_SAME, content=digest) if _may_read(who, row)]
    if not rows:
        raise Problem(404, "not_found", "There is no such sandbox that you may fetch.")
    return _content(tx, rows[0])


def _may_read(who: Principal, row: _Row) -> bool:
    return policy.judge(who, policy.Right.SANDBOX, row.owner_id, row.owner_group, row.vo) is None


def output(tx: Tx, job_id: int) -> bytes | None:
    """The output of a job, if there is one; rights are the caller's business."""
    rows = tx.all(_OF_JOB, job=job_id, use="Output")
    return _content(tx, rows[0]) if rows else None


def _content(tx: Tx, row: _Row) -> bytes:
    content = b"".join(bytes(piece) for (piece,) in tx.all(_CONTENT, sandbox=row.id))
    if hashlib.sha256(content).hexdigest() != row.digest:
        raise Problem(500, "damaged", "The stored sandbox is damaged.", detail=f"sandbox {row.id}")
    return content
