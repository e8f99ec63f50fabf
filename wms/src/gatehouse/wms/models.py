"""The tables of the WMS: jobs and their history, task queues, sandboxes, pilots."""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Index, LargeBinary, UniqueConstraint, desc
from sqlmodel import Field, SQLModel

from gatehouse.registry.models import BINARY, BigId, document, maybe_number, number, text

CHUNK = 256 * 1024
"""Bytes in one row of a sandbox: small enough for any packet limit, large enough that 10 MiB are 40 rows."""


class Job(SQLModel, table=True):
    """A job as it stands now. `attempt` counts its runs; `pilot_id` is empty while no pilot holds the claim."""

    __tablename__ = "job"
    __table_args__: ClassVar[Any] = (
        Index("ix_job_match", "queue_id", "status", desc("priority"), "id"),
        Index("ix_job_owner", "owner_id", "id"),
        Index("ix_job_group", "owner_group", "id"),
        BINARY,
    )
    id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    owner_id: str = text(36)
    owner: str = text(128)
    owner_group: str = text(128)
    vo: str = text(128)
    name: str = text(128)
    job_group: str = text(128)
    job_type: str = text(32)
    site: str = text(128)
    status: str = text(16)
    minor_status: str = text(128)
    application_status: str = text(255)
    queue_id: str = text(32)
    priority: int = number()
    cpu_time: int = number()
    submitted_at: int = number()
    started_at: int | None = maybe_number()
    ended_at: int | None = maybe_number()
    heartbeat_at: int | None = maybe_number()
    attempt: int = number()
    pilot_id: str = text(32)
    manifest: str = document()


class JobEvent(SQLModel, table=True):
    """One change of a job's status, in the order of `id`."""

    __tablename__ = "job_event"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: int | None = Field(default=None, sa_column=Column(BigId, primary_key=True, autoincrement=True))
    job_id: int = number(index=True)
    status: str = text(16)
    minor_status: str = text(128)
    application_status: str = text(255)
    at: int = number()
    source: str = text(64)


class TaskQueue(SQLModel, table=True):
    """Jobs of one owner and group that ask for the same. `id` is the hash of what they ask for.

    `waiting` is 1 unless the queue was seen to be empty; `stamp` grows with every job that comes in, so that
    who saw the queue empty can tell that it still is.
    """

    __tablename__ = "task_queue"
    __table_args__: ClassVar[Any] = (BINARY,)
    id: str = text(32, primary_key=True)
    vo: str = text(128)
    owner_id: str = text(36)
    owner_group: str = text(128)
    stamp: int = number()
    waiting: int = number()


class QueueSite(SQLModel, table=True):
    """Where a pilot finds a task queue: one row per site its jobs may run at (empty: any site).

    `tag_mask` has a bit per hashed tag (a filter, `needs` is exact), `lot` is drawn once to start a look-up at a
    random place, and `share` is the weight of the owner's group.
    """

    __tablename__ = "task_queue_site"
    __table_args__: ClassVar[Any] = (
        Index("ix_queue_site_match", "vo", "site", "waiting", "lot"),
        Index("ix_queue_site_queue", "queue_id"),
        BINARY,
    )
    site: str = text(128, primary_key=True)
    queue_id: str = text(32, primary_key=True)
    vo: str = text(128)
    owner_group: str = text(128)
    waiting: int = number()
    lot: int = number()
    share: int = number()
    cpu_time: int = number()
    processors: int = number()
    tag_mask: int = number()
    needs: str = document()


class Pilot(SQLModel, table=True):
    """A pilot, recorded before it is submitted. `job_id` is the last job it claimed, 0 before the first."""

    __tablename__ = "pilot"
    __table_args__: ClassVar[Any] = (
        Index("ix_pilot_element", "element", "status"),
        Index("ix_pilot_status", "status"),
        BINARY,
    )
    id: str = text(32, primary_key=True)
    vo: str = text(128)
    group_name: str = text(128)
    element: str = text(64)
    site: str = text(128)
    status: str = text(16)
    reference: str = text(255)
    message: str = text(255)
    job_id: int = number()
    submitted_at: int = number()
    seen_at: int = number()
    ended_at: int | None = maybe_number()


class Sandbox(SQLModel, table=True):
    """A tar archive, content-addressed per owner and group: nobody learns what others have stored."""

    __tablename__ = "sandbox"
    __table_args__: ClassVar[Any] = (UniqueConstraint("digest", "owner_group", "owner_id"), BINARY)
    id: str = text(32, primary_key=True)
    digest: str = text(64)
    owner_id: str = text(36)
    owner_group: str = text(128)
    vo: str = text(128)
    size: int = number()
    created_at: int = number()


class SandboxChunk(SQLModel, table=True):
    """A piece of a sandbox, at most CHUNK bytes."""

    __tablename__ = "sandbox_chunk"
    __table_args__: ClassVar[Any] = (BINARY,)
    sandbox_id: str = text(32, primary_key=True)
    position: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    content: bytes = Field(sa_column=Column(LargeBinary(CHUNK), nullable=False))


class SandboxUse(SQLModel, table=True):
    """That a job has a sandbox as its `Input` or `Output`."""

    __tablename__ = "sandbox_use"
    __table_args__: ClassVar[Any] = (Index("ix_sandbox_use_sandbox", "sandbox_id"), BINARY)
    job_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    kind: str = text(8, primary_key=True)
    sandbox_id: str = text(32, primary_key=True)
