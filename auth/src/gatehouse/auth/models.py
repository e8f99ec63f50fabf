"""The tables of the front door: device requests, and the walk of a browser through a login."""

from typing import Any, ClassVar

from sqlalchemy import Column, LargeBinary
from sqlmodel import Field, SQLModel

from gatehouse.registry.models import BINARY, number, text


class DeviceRequest(SQLModel, table=True):
    """A device authorization (RFC 8628): waiting → approved → redeemed, or → denied. Codes as keyed hashes."""

    __tablename__ = "device_request"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(32, primary_key=True)
    device_hash: str = text(64, unique=True)
    code_hash: str = text(64, unique=True)
    client_id: str = text(128)
    scope: str = text(1024)
    address: str = text(64)
    agent: str = text(255)
    created_at: int = number()
    expires_at: int = number(index=True)
    status: str = text(16)
    user_id: str = text(36)
    username: str = text(128)
    group_name: str = text(128)
    reason: str = text(512)


class Walk(SQLModel, table=True):
    """A browser's way through one login: open → confirmed → away → returned → known → ended.

    The browser holds a random cookie, we its keyed hash; each step is a conditional change of `step`.
    """

    __tablename__ = "login_walk"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(64, primary_key=True)
    device_id: str = text(32, index=True)
    step: str = text(16)
    provider: str = text(64)
    state_hash: str = text(64)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    user_id: str = text(36)
    username: str = text(128)
    expires_at: int = number(index=True)


class Guess(SQLModel, table=True):
    """Wrong answers to one kind of secret from one place, until `ends_at`; the id is a keyed hash of both."""

    __tablename__ = "guess"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(64, primary_key=True)
    wrong: int = number()
    ends_at: int = number(index=True)
