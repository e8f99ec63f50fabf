"""The tables of the token manager. No secret is in them: keyed hashes and sealed bytes only."""

from typing import Any, ClassVar

from sqlalchemy import Column, LargeBinary, String
from sqlmodel import Field, SQLModel

from gatehouse.registry.models import BINARY, BigId, document, maybe_number, number, text


class SigningKey(SQLModel, table=True):
    """A key of the ring: prepared → active → retired → revoked. `slot` lets one key per algorithm be active."""

    __tablename__ = "signing_key"
    __table_args__: ClassVar[Any] = (BINARY,)
    kid: str = text(43, primary_key=True)
    alg: str = text(8)
    state: str = text(16)
    slot: str | None = Field(default=None, sa_column=Column(String(32), nullable=True, unique=True))
    public_jwk: str = document()
    sealed_private: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: int = number()


class GrantFamily(SQLModel, table=True):
    """What a person granted a client at one login; its refresh token turns with every use."""

    __tablename__ = "grant_family"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(32, primary_key=True)
    user_id: str = text(36, index=True)
    username: str = text(128)
    client_id: str = text(128, index=True)
    group_name: str = text(128)
    scope: str = text(1024)
    # whom its tokens are for beside our own API, blank separated (RFC 8707)
    audience: str = text(1024)
    access_lifetime: int = number()
    # the key that every use must prove (RFC 9449, RFC 8705); empty for bearer tokens
    binding: str = text(64)
    # the browser session that it came from
    session: str = text(32, index=True)
    auth_time: int = number()
    # `code`: the logout of its browser ends it; `offline` (for offline_access) and `device` outlive the browser
    kind: str = text(8)
    # where it was used last
    address: str = text(64)
    generation: int = number()
    current_hash: str = text(64)
    previous_hash: str = text(64)
    rotated_at: int = number()
    created_at: int = number()
    expires_at: int = number()
    ended_at: int | None = maybe_number()
    ended_why: str = text(64)


class Revocation(SQLModel, table=True):
    """What is refused before its time: a token (`jti`), a grant, or a job's claim, until it would expire anyway."""

    __tablename__ = "revocation"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: int | None = Field(default=None, sa_column=Column(BigId, primary_key=True, autoincrement=True))
    name: str = text(80)
    at: int = number(index=True)
    until: int = number()


class PilotSecret(SQLModel, table=True):
    """The one-time secret that a pilot redeems for its own token."""

    __tablename__ = "pilot_secret"
    __table_args__: ClassVar[Any] = (BINARY,)
    pilot_id: str = text(32, primary_key=True)
    secret_hash: str = text(64, unique=True)
    group_name: str = text(128)
    expires_at: int = number()
    redeemed_at: int | None = maybe_number()


class UsedOnce(SQLModel, table=True):
    """An identifier that was used up (the `jti` of a proof), as its hash, until it would be refused for its age."""

    __tablename__ = "used_once"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(64, primary_key=True)
    expires_at: int = number(index=True)
