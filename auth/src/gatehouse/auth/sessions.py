"""Browser sessions: that somebody has logged in here lately, so that the next client need not ask again."""

import secrets
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select

from gatehouse.auth.models import BrowserSession
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.tokenmanager.seal import Seal


class Session(NamedTuple):
    """A session as the database has it."""

    id: str
    sid: str
    user_id: str
    username: str
    provider: str
    upstream_sid: str
    upstream_sub: str
    address: str
    agent: str
    auth_time: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A fresh session: the cookie is shown to the browser once, `sid` is for tokens and logout (OpenID Connect)."""

    cookie: str
    sid: str


_T = table(BrowserSession)
_C = _T.c
_COLUMNS = tuple(_C[name] for name in Session._fields)
_ADD = insertion(BrowserSession)
_FIND = sql(
    select(*_COLUMNS).where(_C.id == bindparam("session"), _C.expires_at > bindparam("current")), Session
)
_OF = sql(
    select(*_COLUMNS)
    .where(_C.user_id == bindparam("person"), _C.expires_at > bindparam("current"))
    .order_by(_C.auth_time.desc())
    .limit(100),
    Session,
)
# what is about to end is locked: it is what is there now, not when the transaction began
_ALL_OF = sql(
    select(*_COLUMNS).where(_C.user_id == bindparam("person")).limit(100).with_for_update(), Session
)
_UPSTREAM = sql(
    select(*_COLUMNS)
    .where(_C.provider == bindparam("vouching"), _C.upstream_sid == bindparam("theirs"))
    .limit(100)
    .with_for_update(),
    Session,
)
_UPSTREAM_PERSON = sql(
    select(*_COLUMNS)
    .where(_C.provider == bindparam("vouching"), _C.upstream_sub == bindparam("theirs"))
    .limit(100)
    .with_for_update(),
    Session,
)
_HOLD: Statement[tuple[str]] = sql(select(_C.sid).where(_C.sid == bindparam("held")).with_for_update())
_END: Statement[tuple[()]] = sql(delete(_T).where(_C.sid == bindparam("ended")))
_SWEEP: Statement[tuple[()]] = sql(delete(_T).where(_C.expires_at < bindparam("current")))


def begin(
    tx: Tx,
    seal: Seal,
    *,
    sid: str = "",
    user_id: str,
    username: str,
    provider: str,
    upstream_sid: str = "",
    upstream_sub: str = "",
    address: str,
    agent: str,
    auth_time: int,
    lifetime: int,
) -> Opened:
    """Remember that this browser is this person's; with a `sid`, it goes on from a session that had it."""
    made = Opened(secrets.token_urlsafe(32), sid or secrets.token_hex(16))
    tx.run(
        _ADD,
        id=seal.keyed_hash("session", made.cookie),
        sid=made.sid,
        user_id=user_id,
        username=username,
        provider=provider,
        upstream_sid=upstream_sid[:255],
        upstream_sub=upstream_sub[:255],
        address=address[:64],
        agent="".join(c for c in agent if c.isprintable())[:255],
        auth_time=auth_time,
        expires_at=tx.clock.now() + lifetime,
    )
    return made


def find(tx: Tx, seal: Seal, cookie: str) -> Session | None:
    """The session of a cookie, while it lasts."""
    return tx.one(_FIND, session=seal.keyed_hash("session", cookie), current=tx.clock.now())


def of(tx: Tx, user_id: str) -> list[Session]:
    """The sessions of a person, the latest first."""
    return tx.all(_OF, person=user_id, current=tx.clock.now())


def all_of(tx: Tx, user_id: str) -> list[Session]:
    """The sessions of a person, to be ended."""
    return tx.all(_ALL_OF, person=user_id)


def of_upstream(tx: Tx, provider: str, upstream_sid: str) -> list[Session]:
    """The sessions that came from one session at a provider (back-channel logout)."""
    return tx.all(_UPSTREAM, vouching=provider, theirs=upstream_sid) if upstream_sid else []


def of_upstream_person(tx: Tx, provider: str, subject: str) -> list[Session]:
    """The sessions of somebody whom a provider calls so."""
    return tx.all(_UPSTREAM_PERSON, vouching=provider, theirs=subject) if subject else []


def hold(tx: Tx, sid: str) -> bool:
    """Whether a session goes on; if so, it does until this transaction is over."""
    return tx.one(_HOLD, held=sid) is not None


def csrf(seal: Seal, session: str) -> str:
    """The token that forms of a session carry: another site cannot know it."""
    return seal.mac("csrf/session", session.encode()).hex()[:32]


def end(tx: Tx, sid: str) -> bool:
    """End a session: true for exactly one caller."""
    return bool(tx.run(_END, ended=sid))


def sweep(tx: Tx) -> int:
    """Forget sessions that are over."""
    return tx.run(_SWEEP, current=tx.clock.now())
