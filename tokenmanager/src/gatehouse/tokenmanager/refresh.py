"""Refresh tokens: one row per login, turned with every use, with a grace for lost answers.

A token is `gh1.` + base64url(family 16 | generation 4 | secret 32 | tag 16). The tag tells an old token of ours
from noise without a look-up. The successor's secret is HMAC(server key, predecessor): asked again for a lost
answer we derive the same successor, and neither it nor anything that gives it is in the database.
(RFC 9700 §4.14, identity profile: rotation, grace, reuse ends the family.)
"""

import base64
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from gatehouse.registry import audit
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.tokenmanager import revoke
from gatehouse.tokenmanager.models import GrantFamily
from gatehouse.tokenmanager.seal import Seal

_PREFIX = "gh1."
_LENGTH = 68


class Family(NamedTuple):
    """A grant as the database has it."""

    id: str
    user_id: str
    username: str
    client_id: str
    group: str
    scope: str
    audience: str
    access_lifetime: int
    binding: str
    session: str
    auth_time: int
    kind: str
    generation: int
    current_hash: str
    previous_hash: str
    rotated_at: int
    expires_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Turned:
    """The outcome of a use: the family and the token that replaces the presented one."""

    family: Family
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotTurned:
    """Why a refresh token was not accepted. `reuse` means that the family was ended because of this use."""

    reason: str
    reuse: bool = False
    family: str = ""


class Presented(NamedTuple):
    """A genuine refresh token and the family it belongs to; whether it is current is decided when it is turned."""

    family: Family
    generation: int
    raw: bytes
    text: str


class Living(NamedTuple):
    """A grant as its owner sees it; instants are epoch seconds."""

    id: str
    client_id: str
    group: str
    scope: str
    audience: str
    session: str
    kind: str
    address: str
    created_at: int
    rotated_at: int
    expires_at: int


class _Parts(NamedTuple):
    family: str
    generation: int
    raw: bytes


class Terms(NamedTuple):
    """What a new family is for."""

    user_id: str
    username: str
    client_id: str
    group: str
    scope: str
    audience: str
    access_lifetime: int
    binding: str
    session: str
    auth_time: int
    kind: str = "device"


_C = table(GrantFamily).c
_ADD = insertion(GrantFamily)
_COLUMN = {"group": "group_name"}
_COLUMNS = tuple(_C[_COLUMN.get(name, name)] for name in Family._fields)
_FIND = sql(select(*_COLUMNS).where(_C.id == bindparam("family")), Family)
_LIVING = (_C.ended_at.is_(None), _C.expires_at > bindparam("current"))
_OF = sql(
    select(*(_C[_COLUMN.get(name, name)] for name in Living._fields))
    .where(_C.user_id == bindparam("person"), *_LIVING)
    .order_by(_C.rotated_at.desc())
    .limit(200),
    Living,
)
# what is about to end is locked: it is what is there now, not when the transaction began
_OF_PERSON = sql(
    select(*_COLUMNS).where(_C.user_id == bindparam("person"), *_LIVING).limit(200).with_for_update(), Family
)
_OF_SESSION = sql(
    select(*_COLUMNS)
    .where(_C.session == bindparam("sid"), _C.kind == "code", *_LIVING)
    .limit(200)
    .with_for_update(),
    Family,
)
_OF_CLIENT = sql(
    select(*_COLUMNS).where(_C.client_id == bindparam("client"), *_LIVING).limit(200).with_for_update(),
    Family,
)
_CLIENTS_OF_SESSION: Statement[tuple[str]] = sql(
    select(_C.client_id)
    .where(_C.session == bindparam("sid"), _C.kind != "device")
    .limit(1000)
    .with_for_update()
)
_TURN: Statement[tuple[()]] = sql(
    update(table(GrantFamily))
    .where(
        _C.id == bindparam("family"),
        _C.current_hash == bindparam("presented"),
        _C.ended_at.is_(None),
        _C.expires_at > bindparam("current"),
    )
    .values(
        generation=_C.generation + 1,
        previous_hash=bindparam("presented"),
        current_hash=bindparam("successor"),
        rotated_at=bindparam("current"),
        address=bindparam("where"),
    )
)
_END: Statement[tuple[()]] = sql(
    update(table(GrantFamily))
    .where(_C.id == bindparam("family"), _C.ended_at.is_(None))
    .values(ended_at=bindparam("current"), ended_why=bindparam("why"))
)


def new_id() -> str:
    """The id of a family to come."""
    return secrets.token_hex(16)


def begin(tx: Tx, seal: Seal, family: str, given: Terms, lifetime: int, address: str = "") -> Turned:
    """Start a family at login; returns it with its first refresh token."""
    now = tx.clock.now()
    token = _token(seal, family, 0, secrets.token_bytes(32))
    row = Family(family, *given, 0, _hash(seal, token), "", now, now + lifetime, None)
    values = row._asdict()
    values["group_name"] = values.pop("group")
    tx.run(_ADD, **values, address=address[:64], created_at=now, ended_why="")
    return Turned(row, token)


def present(tx: Tx, seal: Seal, token: str) -> Presented | None:
    """A refresh token as its holder shows it; None when it is not one of ours."""
    parts = _parse(seal, token)
    family = None if parts is None else tx.one(_FIND, family=parts.family)
    return None if parts is None or family is None else Presented(family, parts.generation, parts.raw, token)


def current(seal: Seal, shown: Presented) -> bool:
    """Whether a token is the one that its family would turn next."""
    return hmac.compare_digest(shown.family.current_hash, _hash(seal, shown.text))


def turn(
    tx: Tx, seal: Seal, shown: Presented, client_id: str, grace: int, address: str = ""
) -> Turned | NotTurned:
    """Use a refresh token once: the conditional UPDATE decides who wins.

    Within `grace` seconds the loser gets the same successor; after it, the reuse of a turned token ends the family.
    """
    family, presented = shown.family, _hash(seal, shown.text)
    if family.client_id != client_id:
        return NotTurned("The refresh token was not issued to this client.")
    successor = _token(seal, family.id, shown.generation + 1, seal.mac("refresh/successor", shown.raw))
    hashes = {"presented": presented, "successor": _hash(seal, successor)}
    if tx.run(_TURN, family=family.id, current=tx.clock.now(), where=address[:64], **hashes):
        return Turned(family, successor)
    return _lost(tx, seal, family.id, successor, presented, grace)


def _lost(
    tx: Tx, seal: Seal, family_id: str, successor: str, presented: str, grace: int
) -> Turned | NotTurned:
    family, now = tx.one(_FIND, family=family_id), tx.clock.now()
    if family is None or family.ended_at is not None:
        return NotTurned("This login has been ended.")
    if family.expires_at <= now:
        return NotTurned("This login has expired.")
    same = family.current_hash == _hash(seal, successor) and family.previous_hash == presented
    if same and now - family.rotated_at <= grace:
        return Turned(family, successor)
    end(tx, family, "a used refresh token came back", actor="gatehouse")
    return NotTurned(
        "This refresh token was used before, so this login has been ended to be safe.", True, family.id
    )


def end(tx: Tx, family: Family, why: str, *, actor: str) -> bool:
    """End a family and every token that came from it. False when it had ended already."""
    if not tx.run(_END, family=family.id, current=tx.clock.now(), why=why):
        return False
    # access tokens that are still out live no longer than the family and at most six hours (WLCG maximum)
    revoke.add(tx, revoke.grant_name(family.id), min(family.expires_at, tx.clock.now() + 21600))
    audit.record(tx, "grant.ended", actor=actor, subject=family.user_id, grant=family.id, why=why)
    return True


def by_id(tx: Tx, family: str) -> Family | None:
    """The family of that id."""
    return tx.one(_FIND, family=family)


def of(tx: Tx, user_id: str) -> list[Living]:
    """The grants of a person that have not ended, the latest used first."""
    return tx.all(_OF, person=user_id, current=tx.clock.now())


def end_of_session(tx: Tx, session: str, why: str, *, actor: str) -> int:
    """End the grants that are bound to a browser session; how many. Those of devices and for offline_access stay."""
    return _end_all(lambda: tx.all(_OF_SESSION, sid=session, current=tx.clock.now()), tx, why, actor)


def end_of_person(tx: Tx, user_id: str, why: str, *, actor: str) -> int:
    """End every grant of a person; how many."""
    return _end_all(lambda: tx.all(_OF_PERSON, person=user_id, current=tx.clock.now()), tx, why, actor)


def end_of_client(tx: Tx, client_id: str, why: str, *, actor: str) -> int:
    """End every grant of a client; how many."""
    return _end_all(lambda: tx.all(_OF_CLIENT, client=client_id, current=tx.clock.now()), tx, why, actor)


def _end_all(living: Callable[[], list[Family]], tx: Tx, why: str, actor: str) -> int:
    ended = 0
    while found := living():
        ended += sum(end(tx, family, why, actor=actor) for family in found)
    return ended


def clients_of_session(tx: Tx, session: str) -> list[str]:
    """The clients that redeemed a code of a browser session, whatever became of their grants."""
    return sorted({found[0] for found in tx.all(_CLIENTS_OF_SESSION, sid=session)})


def _token(seal: Seal, family: str, generation: int, secret: bytes) -> str:
    body = bytes.fromhex(family) + generation.to_bytes(4, "big") + secret
    tag = seal.mac("refresh/tag", body)[:16]
    return _spelled(body + tag)


def _spelled(raw: bytes) -> str:
    return _PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _parse(seal: Seal, token: str) -> _Parts | None:
    if not token.startswith(_PREFIX) or len(token) > 128:
        return None
    try:
        text = token.removeprefix(_PREFIX)
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    body, tag = raw[:-16], raw[-16:]
    if _spelled(raw) != token:  # base64 has several spellings of a last letter, and a token has one
        return None
    if len(raw) != _LENGTH or not hmac.compare_digest(seal.mac("refresh/tag", body)[:16], tag):
        return None
    return _Parts(body[:16].hex(), int.from_bytes(body[16:20], "big"), body)


def _hash(seal: Seal, token: str) -> str:
    return seal.keyed_hash("refresh", token)
