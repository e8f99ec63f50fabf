"""Requests that wait for a person, in the database: every step of one is a conditional UPDATE."""

import secrets
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import bindparam, delete, select, update

from gatehouse.auth.models import LoginRequest
from gatehouse.registry.database import Statement, Tx, insertion, sql, table

Kind = Literal["device", "code", "pages"]


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an authorization request says beside client and scope (RFC 6749 §4.1.1, RFC 7636, OpenID Connect Core)."""

    redirect_uri: str = ""
    state: str = ""
    nonce: str = ""
    challenge: str = ""
    audience: tuple[str, ...] = ()
    prompt: str = ""
    max_age: int | None = None
    binding: str = ""
    back: str = ""  # of our own pages: which one asked
    lasting: bool = True  # whether the client could refresh when the person was asked


class Pending(NamedTuple):
    """A request as the database has it."""

    id: str
    kind: Kind
    client_id: str
    scope: str
    wanted: str
    address: str
    agent: str
    created_at: int
    expires_at: int
    status: str
    user_id: str
    username: str
    group_name: str
    session: str
    auth_time: int
    grant_id: str
    reason: str

    @property
    def asks(self) -> Wanted:
        """The parameters of an authorization request."""
        return msgspec.json.decode(self.wanted, type=Wanted)


_T = table(LoginRequest)
_C = _T.c
_COLUMNS = tuple(_C[name] for name in Pending._fields)
_ADD = insertion(LoginRequest)
_BY_CODE = sql(select(*_COLUMNS).where(_C.code_hash == bindparam("presented")), Pending)
_BY_HANDLE = sql(select(*_COLUMNS).where(_C.handle_hash == bindparam("presented")), Pending)
_BY_ID = sql(select(*_COLUMNS).where(_C.id == bindparam("request")), Pending)
_MINE, _WAITING = _C.id == bindparam("request"), _C.status == "waiting"
_OPEN: Statement[tuple[()]] = sql(
    update(_T)
    .where(_MINE, _C.status == "pushed", _C.expires_at > bindparam("current"))
    .values(status="waiting", expires_at=bindparam("until"))
)
_APPROVE: Statement[tuple[()]] = sql(
    update(_T)
    .where(_MINE, _WAITING, _C.expires_at > bindparam("current"))
    .values(
        status="approved",
        user_id=bindparam("user"),
        username=bindparam("who"),
        group_name=bindparam("granted"),
        session=bindparam("sid"),
        auth_time=bindparam("authenticated"),
    )
)
_SET_CODE: Statement[tuple[()]] = sql(
    update(_T)
    .where(_MINE, _C.status == "approved", _C.code_hash.is_(None))
    .values(code_hash=bindparam("hash"), expires_at=bindparam("until"))
)
_DENY: Statement[tuple[()]] = sql(
    update(_T)
    .where(_MINE, _WAITING, _C.expires_at > bindparam("current"))
    .values(status="denied", reason=bindparam("why"))
)
_WITHDRAW: Statement[tuple[()]] = sql(
    update(_T)
    .where(
        _C.user_id == bindparam("person"),
        _C.status == "approved",
        _C.kind != "pages",
        _C.expires_at > bindparam("current"),
    )
    .values(status="denied", reason=bindparam("why"))
)
_REDEEM: Statement[tuple[()]] = sql(
    update(_T)
    .where(_MINE, _C.status == "approved", _C.expires_at > bindparam("current"))
    .values(status="redeemed", grant_id=bindparam("family"))
)
_SWEEP: Statement[tuple[()]] = sql(delete(_T).where(_C.expires_at < bindparam("before")))


def add(
    tx: Tx,
    kind: Kind,
    *,
    client_id: str,
    scope: str,
    lifetime: int,
    wanted: Wanted | None = None,
    handle: str | None = None,
    code: str | None = None,
    address: str = "",
    agent: str = "",
    status: str = "waiting",
) -> str:
    """Open a request and return its id; `handle` and `code` are keyed hashes."""
    now, request = tx.clock.now(), secrets.token_hex(16)
    tx.run(
        _ADD,
        id=request,
        kind=kind,
        handle_hash=handle,
        code_hash=code,
        client_id=client_id,
        scope=scope,
        wanted=msgspec.json.encode(wanted or Wanted()).decode(),
        address=address[:64],
        agent="".join(c for c in agent if c.isprintable())[:255],
        created_at=now,
        expires_at=now + lifetime,
        status=status,
        user_id="",
        username="",
        group_name="",
        session="",
        auth_time=0,
        grant_id="",
        reason="",
    )
    return request


def immediate(
    *,
    client_id: str,
    scope: str,
    audience: tuple[str, ...],
    user_id: str,
    username: str,
    group: str,
    auth_time: int,
) -> Pending:
    """A request that never waited for anybody, so that nothing of it is stored."""
    return Pending(
        id="",
        kind="device",
        client_id=client_id,
        scope=scope,
        wanted=msgspec.json.encode(Wanted(audience=audience)).decode(),
        address="",
        agent="",
        created_at=auth_time,
        expires_at=auth_time,
        status="approved",
        user_id=user_id,
        username=username,
        group_name=group,
        session="",
        auth_time=auth_time,
        grant_id="",
        reason="",
    )


def by_code(tx: Tx, code_hash: str) -> Pending | None:
    """The request that a device code or an authorization code belongs to."""
    return tx.one(_BY_CODE, presented=code_hash)


def by_handle(tx: Tx, handle_hash: str) -> Pending | None:
    """The request that a user code or a request_uri belongs to."""
    return tx.one(_BY_HANDLE, presented=handle_hash)


def by_id(tx: Tx, request: str) -> Pending | None:
    """The request of that id."""
    return tx.one(_BY_ID, request=request)


def opened(tx: Tx, request: str, lifetime: int) -> bool:
    """pushed → waiting, once."""
    now = tx.clock.now()
    return bool(tx.run(_OPEN, request=request, current=now, until=now + lifetime))


def approve(
    tx: Tx, request: str, *, user_id: str, username: str, group: str, session: str, auth_time: int
) -> bool:
    """waiting → approved. False when it was decided or expired meanwhile."""
    return bool(
        tx.run(
            _APPROVE,
            request=request,
            current=tx.clock.now(),
            user=user_id,
            who=username,
            granted=group,
            sid=session,
            authenticated=auth_time,
        )
    )


def give_code(tx: Tx, request: str, code_hash: str, lifetime: int) -> bool:
    """Put an authorization code on an approved request; from now on it lives as long as the code."""
    return bool(tx.run(_SET_CODE, request=request, hash=code_hash, until=tx.clock.now() + lifetime))


def deny(tx: Tx, request: str, why: str) -> bool:
    """waiting → denied; `why` is what the waiting client is told."""
    return bool(tx.run(_DENY, request=request, current=tx.clock.now(), why=why[:512]))


def withdraw(tx: Tx, user_id: str, why: str) -> int:
    """approved → denied, for all that a person approved and nobody redeemed yet; how many."""
    return tx.run(_WITHDRAW, person=user_id, current=tx.clock.now(), why=why[:512])


def redeem(tx: Tx, request: str, family: str) -> bool:
    """approved → redeemed for a grant: true for exactly one caller, while the code lives."""
    return bool(tx.run(_REDEEM, request=request, current=tx.clock.now(), family=family))


def sweep(tx: Tx) -> int:
    """Forget requests that expired more than an hour ago."""
    return tx.run(_SWEEP, before=tx.clock.now() - 3600)
