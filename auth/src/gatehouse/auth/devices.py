"""Device requests in the database (RFC 8628): every step of one is a conditional UPDATE."""

import secrets
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update

from gatehouse.auth.models import DeviceRequest
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.tokenmanager.seal import Seal

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 §6.1: no vowels, no words; 20^8 codes


class Device(NamedTuple):
    """A device request as the database has it."""

    id: str
    client_id: str
    scope: str
    address: str
    agent: str
    created_at: int
    expires_at: int
    status: str
    user_id: str
    username: str
    group_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A device request as authlib asks about it."""

    row: Device
    now: int

    def get_client_id(self) -> str:
        """Whose code it is."""
        return self.row.client_id

    def get_scope(self) -> str:
        """What was asked."""
        return self.row.scope

    def get_user_code(self) -> str:
        """Not kept in clear."""
        return ""

    def is_expired(self) -> bool:
        """Whether the code's time is over."""
        return self.row.expires_at <= self.now


@dataclass(frozen=True, slots=True)
class Started:
    """The two codes of a new request, to be shown once."""

    device_code: str
    user_code: str


_T = table(DeviceRequest)
_C = _T.c
_COLUMNS = (
    _C.id,
    _C.client_id,
    _C.scope,
    _C.address,
    _C.agent,
    _C.created_at,
    _C.expires_at,
    _C.status,
    _C.user_id,
    _C.username,
    _C.group_name,
    _C.reason,
)
_ADD = insertion(DeviceRequest)
_BY_DEVICE = sql(select(*_COLUMNS).where(_C.device_hash == bindparam("presented")), Device)
_BY_USER = sql(select(*_COLUMNS).where(_C.code_hash == bindparam("presented")), Device)
_BY_ID = sql(select(*_COLUMNS).where(_C.id == bindparam("device")), Device)
_REDEEM: Statement[tuple[()]] = sql(
    update(_T).where(_C.id == bindparam("device"), _C.status == "approved").values(status="redeemed")
)
_DECIDE: Statement[tuple[()]] = sql(
    update(_T)
    .where(_C.id == bindparam("device"), _C.status == "waiting", _C.expires_at > bindparam("current"))
    .values(
        status=bindparam("decision"),
        user_id=bindparam("user"),
        username=bindparam("who"),
        group_name=bindparam("granted"),
        reason=bindparam("why"),
    )
)
_SWEEP: Statement[tuple[()]] = sql(delete(_T).where(_C.expires_at < bindparam("before")))


def start(
    tx: Tx, seal: Seal, *, client_id: str, scope: str, address: str, agent: str, lifetime: int
) -> Started:
    """Open a request; the database keeps keyed hashes of both codes."""
    letters = [secrets.choice(ALPHABET) for _ in range(8)]
    started = Started(secrets.token_urlsafe(32), "".join(letters[:4]) + "-" + "".join(letters[4:]))
    now = tx.clock.now()
    tx.run(
        _ADD,
        id=secrets.token_hex(16),
        device_hash=seal.keyed_hash("device", started.device_code),
        code_hash=seal.keyed_hash("user-code", started.user_code),
        client_id=client_id,
        scope=scope,
        address=address[:64],
        agent=agent[:255],
        created_at=now,
        expires_at=now + lifetime,
        status="waiting",
        user_id="",
        username="",
        group_name="",
        reason="",
    )
    return started


def normalised(user_code: str) -> str:
    """A user code as people type it (RFC 8628 §6.1: case and punctuation do not matter)."""
    letters = "".join(c for c in user_code.upper()[:32] if c in ALPHABET)
    return f"{letters[:4]}-{letters[4:]}" if len(letters) == 8 else ""


def by_device_code(tx: Tx, seal: Seal, device_code: str) -> Device | None:
    """The request of a device code."""
    return tx.one(_BY_DEVICE, presented=seal.keyed_hash("device", device_code))


def by_user_code(tx: Tx, seal: Seal, user_code: str) -> Device | None:
    """The request of a user code, whatever its state."""
    return tx.one(_BY_USER, presented=seal.keyed_hash("user-code", user_code))


def by_id(tx: Tx, device: str) -> Device | None:
    """The request of that id."""
    return tx.one(_BY_ID, device=device)


def approve(tx: Tx, device: str, *, user_id: str, username: str, group: str) -> bool:
    """waiting → approved. False when it was decided or expired meanwhile."""
    return bool(
        tx.run(
            _DECIDE,
            device=device,
            current=tx.clock.now(),
            decision="approved",
            user=user_id,
            who=username,
            granted=group,
            why="",
        )
    )


def deny(tx: Tx, device: str, why: str) -> bool:
    """waiting → denied; `why` is what the polling client is told."""
    return bool(
        tx.run(
            _DECIDE,
            device=device,
            current=tx.clock.now(),
            decision="denied",
            user="",
            who="",
            granted="",
            why=why[:512],
        )
    )


def redeem(tx: Tx, device: str) -> bool:
    """approved → redeemed: true for exactly one caller."""
    return bool(tx.run(_REDEEM, device=device))


def sweep(tx: Tx) -> int:
    """Forget requests that expired more than an hour ago."""
    return tx.run(_SWEEP, before=tx.clock.now() - 3600)
