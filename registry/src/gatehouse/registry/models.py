"""The tables of the registry: people, groups, memberships, and the ground all rooms share."""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Index, Integer, String, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

# MariaDB ignores case and trailing blanks unless told otherwise: a look-alike would match.
BINARY = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_nopad_bin"}

# SQLite numbers rows by itself only for INTEGER, not BIGINT
BigId = BigInteger().with_variant(Integer, "sqlite")


def text(length: int, **options: Any) -> Any:
    """A required VARCHAR column."""
    return Field(sa_column=Column(String(length), nullable=False, **options))


def number(**options: Any) -> Any:
    """A required 64-bit integer column; instants are epoch seconds."""
    return Field(sa_column=Column(BigInteger, nullable=False, **options))


def maybe_number() -> Any:
    """A 64-bit integer column that may be NULL."""
    return Field(default=None, sa_column=Column(BigInteger, nullable=True))


def document() -> Any:
    """A required text column for JSON."""
    return Field(sa_column=Column(Text, nullable=False))


class AuditEvent(SQLModel, table=True):
    """One link of a hash chain (see `chain`)."""

    __tablename__ = "audit_event"
    __table_args__: ClassVar[Any] = (UniqueConstraint("chain", "seq"), BINARY)
    id: int | None = Field(default=None, sa_column=Column(BigId, primary_key=True, autoincrement=True))
    chain: str = text(16)
    seq: int = number()
    at: int = number(index=True)
    kind: str = text(48)
    actor: str = text(255)
    subject: str = text(255, index=True)
    facts: str = document()
    digest: str = text(64)


class Lease(SQLModel, table=True):
    """The right of one replica to do what must happen once (factory cycle, sweeps) until a moment."""

    __tablename__ = "lease"
    __table_args__: ClassVar[Any] = (BINARY,)
    name: str = text(48, primary_key=True)
    holder: str = text(48)
    until: int = number()


class Counter(SQLModel, table=True):
    """A source of numbers (job ids)."""

    __tablename__ = "counter"
    __table_args__: ClassVar[Any] = (BINARY,)
    name: str = text(48, primary_key=True)
    value: int = number()


class Vo(SQLModel, table=True):
    """A virtual organisation: one research community."""

    __tablename__ = "vo"
    __table_args__: ClassVar[Any] = (BINARY,)
    name: str = text(128, primary_key=True)
    options: str = document()


class Group(SQLModel, table=True):
    """A community group and the properties its members hold (DIRAC Registry `Groups`)."""

    __tablename__ = "community_group"
    __table_args__: ClassVar[Any] = (BINARY,)
    name: str = text(128, primary_key=True)
    vo: str = text(128)
    properties: str = document()
    options: str = document()


class User(SQLModel, table=True):
    """A person. `id` is what tokens carry as `sub`: opaque and never used again for somebody else."""

    __tablename__ = "person"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(36, primary_key=True)
    username: str = text(128, unique=True)
    name: str = text(255)
    email: str = text(255)
    status: str = text(16)
    created_at: int = number()
    options: str = document()


class Identity(SQLModel, table=True):
    """What a provider calls a person: the pair (issuer, subject) belongs to exactly one user."""

    __tablename__ = "identity"
    __table_args__: ClassVar[Any] = (BINARY,)
    issuer: str = text(255, primary_key=True)
    subject: str = text(255, primary_key=True)
    user_id: str = text(36, index=True)
    seen_at: int = number()
    claims: str = document()


class Membership(SQLModel, table=True):
    """A person's membership of a group, with who says so and why (`source`: `registry` or an issuer)."""

    __tablename__ = "membership"
    __table_args__: ClassVar[Any] = (Index("ix_membership_group", "group_name"), BINARY)
    user_id: str = text(36, primary_key=True)
    group_name: str = text(128, primary_key=True)
    source: str = text(255, primary_key=True)
    reason: str = text(1024)
    seen_at: int = number()
