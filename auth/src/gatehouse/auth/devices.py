"""Device requests (RFC 8628): the two codes of a login that is decided in a browser elsewhere."""

import secrets
from dataclasses import dataclass

from gatehouse.auth import pending
from gatehouse.auth.pending import Pending, Wanted
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager.seal import Seal

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 §6.1: no vowels, no words; 20^8 codes


@dataclass(frozen=True, slots=True)
class Credential:
    """A device request as authlib asks about it."""

    row: Pending
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


def start(
    tx: Tx,
    seal: Seal,
    *,
    client_id: str,
    scope: str,
    address: str,
    agent: str,
    lifetime: int,
    wanted: Wanted | None = None,
) -> Started:
    """Open a request; the database keeps keyed hashes of both codes."""
    letters = [secrets.choice(ALPHABET) for _ in range(8)]
    started = Started(secrets.token_urlsafe(32), "".join(letters[:4]) + "-" + "".join(letters[4:]))
    pending.add(
        tx,
        "device",
        client_id=client_id,
        scope=scope,
        lifetime=lifetime,
        wanted=wanted,
        handle=seal.keyed_hash("user-code", started.user_code),
        code=seal.keyed_hash("device", started.device_code),
        address=address,
        agent=agent,
    )
    return started


def normalised(user_code: str) -> str:
    """A user code as people type it (RFC 8628 §6.1: case and punctuation do not matter)."""
    letters = "".join(c for c in user_code.upper()[:32] if c in ALPHABET)
    return f"{letters[:4]}-{letters[4:]}" if len(letters) == 8 else ""


def by_device_code(tx: Tx, seal: Seal, device_code: str) -> Pending | None:
    """The request of a device code."""
    return pending.by_code(tx, seal.keyed_hash("device", device_code))


def by_user_code(tx: Tx, seal: Seal, user_code: str) -> Pending | None:
    """The request of a user code, whatever its state."""
    return pending.by_handle(tx, seal.keyed_hash("user-code", user_code))
