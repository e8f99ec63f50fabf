"""Jobs as people see them: rows of the database to the JSON of the API."""

from typing import NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Select, select

from gatehouse.registry.clock import iso
from gatehouse.registry.database import table
from gatehouse.wms.models import Job

_J = table(Job).c
encode = msgspec.json.Encoder().encode


class JobRow(NamedTuple):
    """A job without its manifest; instants are epoch seconds."""

    id: int
    owner_id: str
    owner: str
    owner_group: str
    vo: str
    name: str
    job_group: str
    job_type: str
    site: str
    status: str
    minor_status: str
    application_status: str
    queue_id: str
    priority: int
    cpu_time: int
    submitted_at: int
    started_at: int | None
    ended_at: int | None
    heartbeat_at: int | None
    attempt: int
    pilot_id: str


class JobView(Struct, frozen=True, gc=False):
    """A job on the wire; times are ISO 8601 UTC."""

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


def job_rows() -> Select[tuple[object, ...]]:
    """SELECT of the columns of a JobRow."""
    return select(*(_J[name] for name in JobRow._fields))


def view(row: JobRow) -> JobView:
    """What the wire shows of a job."""
    return JobView(
        job_id=row.id,
        owner=row.owner,
        name=row.name,
        owner_group=row.owner_group,
        vo=row.vo,
        job_group=row.job_group,
        job_type=row.job_type,
        site=row.site,
        status=row.status,
        minor_status=row.minor_status,
        application_status=row.application_status,
        submission_time=iso(row.submitted_at),
        start_exec_time=iso(row.started_at),
        end_exec_time=iso(row.ended_at),
        heart_beat_time=iso(row.heartbeat_at),
        cpu_time=row.cpu_time,
        priority=row.priority,
    )
