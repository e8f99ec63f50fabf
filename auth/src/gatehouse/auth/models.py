"""The tables of the front door: requests that wait for a person, the walk of a browser, and its session."""

from typing import Any, ClassVar

from sqlalchemy import Column, LargeBinary, String
from sqlmodel import Field, SQLModel

from gatehouse.registry.models import BINARY, document, maybe_number, number, text


def _maybe_hash() -> Any:
    return Field(default=None, sa_column=Column(String(64), nullable=True, unique=True))


class LoginRequest(SQLModel, table=True):
    """Somebody asks for a person's authority: a device (RFC 8628), a client by redirect (RFC 6749 §4.1), our pages.

    pushed → waiting → approved → redeemed, or → denied. Codes as keyed hashes: `handle_hash` of what opens the
    request (user code, request_uri), `code_hash` of what is redeemed for tokens (device code, authorization code).
    """

    __tablename__ = "login_request"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(32, primary_key=True)
    kind: str = text(8)
    handle_hash: str | None = _maybe_hash()
    code_hash: str | None = _maybe_hash()
    client_id: str = text(128)
    scope: str = text(1024)
    wanted: str = document()
    address: str = text(64)
    agent: str = text(255)
    created_at: int = number()
    expires_at: int = number(index=True)
    status: str = text(16)
    user_id: str = text(36)
    username: str = text(128)
    group_name: str = text(128)
    session: str = text(32)
    auth_time: int = number()
    grant_id: str = text(32)
    reason: str = text(512)


class Walk(SQLModel, table=True):
    """A browser's way through one login: open → confirmed → away → returned → known → ended.

    The browser holds a random cookie, we its keyed hash; each step is a conditional change of `step`.
    """

    __tablename__ = "login_walk"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(64, primary_key=True)
    request_id: str = text(32, index=True)
    step: str = text(16)
    provider: str = text(64)
    state_hash: str = text(64)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    user_id: str = text(36)
    username: str = text(128)
    session: str = text(32)
    auth_time: int = number()
    expires_at: int = number(index=True)


class BrowserSession(SQLModel, table=True):
    """A browser in which a person has logged in: the cookie as a keyed hash, `sid` as clients may know it."""

    __tablename__ = "browser_session"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(64, primary_key=True)
    sid: str = text(32, unique=True)
    user_id: str = text(36, index=True)
    username: str = text(128)
    provider: str = text(64)
    # the provider's own names for its session and the person, which its logout tokens carry
    upstream_sid: str = text(255, index=True)
    upstream_sub: str = text(255, index=True)
    address: str = text(64)
    agent: str = text(255)
    auth_time: int = number()
    expires_at: int = number(index=True)


class LogoutNotice(SQLModel, table=True):
    """A client that has still to hear that a session has ended (OpenID Connect Back-Channel Logout §2.5)."""

    __tablename__ = "logout_notice"
    __table_args__: ClassVar[Any] = (BINARY,)
    session: str = text(32, primary_key=True)
    client_id: str = text(128, primary_key=True)
    user_id: str = text(36)
    tries: int = number()
    due_at: int = number(index=True)
    created_at: int = number()


class Guess(SQLModel, table=True):
    """Wrong answers to one kind of secret from one place, until `ends_at`; the id is a keyed hash of both."""

    __tablename__ = "guess"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(64, primary_key=True)
    wrong: int = number()
    most: int = number()
    ends_at: int = number(index=True)


class ClientInvitation(SQLModel, table=True):
    """Leave to register some clients, none with more than `ceiling`; the initial access token as a keyed hash."""

    __tablename__ = "client_invitation"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(16, primary_key=True)
    token_hash: str = text(64, unique=True)
    ceiling: str = document()
    uses_left: int = number()
    created_at: int = number()
    expires_at: int = number()
    revoked_at: int | None = maybe_number()


class RegisteredClient(SQLModel, table=True):
    """A client that registered itself: its metadata (RFC 7591 §2), and keyed hashes of what it holds.

    Rows stay when a client has gone, so that no identifier is ever given twice.
    """

    __tablename__ = "registered_client"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(32, primary_key=True)
    document: str = document()
    # empty for clients that authenticate otherwise
    secret_hash: str = text(64)
    token_hash: str = text(64)
    invitation: str = text(16)
    created_at: int = number()
    changed_at: int = number()
    revoked_at: int | None = maybe_number()
