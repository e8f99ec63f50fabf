"""What the API answers, for its OpenAPI description; the bytes are written by msgspec."""

from typing import Literal

from msgspec import Struct
from pydantic import BaseModel


class JobShape(BaseModel):
    """A job. Times are ISO 8601 UTC or null; `cpu_time` in seconds."""

    job_id: int
    owner: str
    name: str
    owner_group: str
    vo: str
    job_group: str
    job_type: str
    site: str
    status: str
    minor_status: str
    application_status: str
    submission_time: str | None
    start_exec_time: str | None
    end_exec_time: str | None
    heart_beat_time: str | None
    cpu_time: int
    priority: int


class JobsShape(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobShape]


class EventShape(BaseModel):
    """One change of a job's status."""

    status: str
    minor_status: str
    application_status: str
    time: str
    source: str


class LogShape(BaseModel):
    """The history of a job, oldest first."""

    events: list[EventShape]


class StatusShape(BaseModel):
    """The status that something has now."""

    status: str


class StoredShape(BaseModel):
    """A stored sandbox; `size` in bytes."""

    id: str
    size: int


BYTES = "application/octet-stream"
"""A sandbox as it comes in, whatever its sender calls it."""


class Submitted(Struct):
    """Jobs that were taken, in the order in which they came."""

    ids: list[int]


class Stored(Struct):
    """A stored sandbox; `size` in bytes."""

    id: str
    size: int


class Status(Struct):
    """The status that something has now."""

    status: str


class Go(Struct):
    """Whether a run goes on; a new credential when it was due. `expires_in` in seconds."""

    command: Literal["continue", "kill"]
    token: str | None
    expires_in: int
