"""A browser's walk through one login, in the database: each step happens once, and a reload finds its place."""

import json
import secrets
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy import bindparam, delete, or_, select, update

from gatehouse.auth.models import Walk
from gatehouse.auth.providers.relying import Attempt
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.tokenmanager.seal import Seal


class Step(NamedTuple):
    """Where a walk stands."""

    id: str
    request_id: str
    step: str
    provider: str
    state_hash: str
    sealed: bytes
    user_id: str
    username: str
    session: str
    auth_time: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Trip:
    """A trip to a provider: its secrets, the instant the browser left, and how old a login there may be."""

    attempt: Attempt
    left: int
    max_age: int | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A fresh walk and the cookie that proves it."""

    id: str
    cookie: str


_T = table(Walk)
_C = _T.c
_ADD = insertion(Walk)
_FIND = sql(
    select(*(_C[name] for name in Step._fields)).where(
        _C.id == bindparam("walk"), _C.expires_at > bindparam("current")
    ),
    Step,
)
_CONFIRM: Statement[tuple[()]] = sql(
    update(_T).where(_C.id == bindparam("walk"), _C.step == "open").values(step="confirmed")
)
_AWAY: Statement[tuple[()]] = sql(
    update(_T)
    .where(_C.id == bindparam("walk"), or_(*(_C.step == step for step in ("confirmed", "away", "returned"))))
    .values(step="away", provider=bindparam("to"), state_hash=bindparam("state"), sealed=bindparam("secrets"))
)
_RETURN: Statement[tuple[()]] = sql(
    update(_T)
    .where(_C.id == bindparam("walk"), _C.step == "away", _C.state_hash == bindparam("state"))
    .values(step="returned", state_hash="")
)
_KNOW: Statement[tuple[()]] = sql(
    update(_T)
    .where(_C.id == bindparam("walk"), _C.step == bindparam("was"))
    .values(
        step="known",
        provider=bindparam("vouching"),
        user_id=bindparam("person"),
        username=bindparam("who"),
        session=bindparam("sid"),
        auth_time=bindparam("authenticated"),
    )
)
_END: Statement[tuple[()]] = sql(
    update(_T).where(_C.id == bindparam("walk"), _C.step != "ended").values(step="ended")
)
_MOST = 50
_OF_REQUEST: Statement[tuple[str]] = sql(
    select(_C.id).where(_C.request_id == bindparam("request")).limit(1).offset(_MOST - 1)
)
_SWEEP: Statement[tuple[()]] = sql(delete(_T).where(_C.expires_at < bindparam("before")))


def begin(tx: Tx, seal: Seal, *, request_id: str, lifetime: int, step: str = "open") -> Begun:
    """Start a walk for a request; the cookie is shown to the browser once."""
    cookie = secrets.token_urlsafe(32)
    walk = seal.keyed_hash("walk", cookie)
    tx.run(
        _ADD,
        id=walk,
        request_id=request_id,
        step=step,
        provider="",
        state_hash="",
        sealed=b"",
        user_id="",
        username="",
        session="",
        auth_time=0,
        expires_at=tx.clock.now() + lifetime,
    )
    return Begun(walk, cookie)


def crowded(tx: Tx, request_id: str) -> bool:
    """Whether a request's link was opened so often that it is no person who opens it."""
    return tx.one(_OF_REQUEST, request=request_id) is not None


def find(tx: Tx, seal: Seal, cookie: str) -> Step | None:
    """The walk of a cookie, while it lasts."""
    return tx.one(_FIND, walk=seal.keyed_hash("walk", cookie), current=tx.clock.now())


def by_id(tx: Tx, walk: str) -> Step | None:
    """The walk of that id, while it lasts."""
    return tx.one(_FIND, walk=walk, current=tx.clock.now())


def csrf(seal: Seal, walk: str) -> str:
    """The token that forms of a walk carry: another site cannot know it."""
    return seal.mac("csrf", walk.encode()).hex()[:32]


def confirm(tx: Tx, walk: str) -> bool:
    """open → confirmed."""
    return bool(tx.run(_CONFIRM, walk=walk))


def leave(tx: Tx, seal: Seal, walk: str, provider: str, attempt: Attempt, max_age: int | None = None) -> bool:
    """confirmed → away, with the attempt's secrets sealed; also starts again after a trip that failed.

    `max_age` is how old a login at the provider may be, in seconds.
    """
    plain = json.dumps([attempt.state, attempt.nonce, attempt.verifier, tx.clock.now(), max_age]).encode()
    return bool(
        tx.run(
            _AWAY,
            walk=walk,
            to=provider,
            state=seal.keyed_hash("state", attempt.state),
            secrets=seal.seal(plain, f"login_walk/{walk}"),
        )
    )


def returned(tx: Tx, seal: Seal, walk: str, state: str) -> bool:
    """away → returned: true once, for the state this browser was sent away with."""
    return bool(tx.run(_RETURN, walk=walk, state=seal.keyed_hash("state", state)))


def trip_of(seal: Seal, step: Step) -> Trip:
    """The current trip with its secrets."""
    state, nonce, verifier, left, max_age = json.loads(seal.open(bytes(step.sealed), f"login_walk/{step.id}"))
    return Trip(Attempt(state, nonce, verifier), left, max_age)


def know(
    tx: Tx,
    walk: str,
    was: Literal["returned", "confirmed", "away"],
    *,
    provider: str,
    user_id: str,
    username: str,
    session: str,
    auth_time: int,
) -> bool:
    """returned → known: the provider said who it is; confirmed → known: the session of the browser did.

    `away` too is known by a certificate, when somebody came back from a provider without an answer.
    """
    return bool(
        tx.run(
            _KNOW,
            walk=walk,
            was=was,
            vouching=provider,
            person=user_id,
            who=username,
            sid=session,
            authenticated=auth_time,
        )
    )


def end(tx: Tx, walk: str) -> bool:
    """Any step → ended."""
    return bool(tx.run(_END, walk=walk))


def sweep(tx: Tx) -> int:
    """Forget walks that expired more than an hour ago."""
    return tx.run(_SWEEP, before=tx.clock.now() - 3600)
