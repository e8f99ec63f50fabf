"""Taking in jobs: numbers, rows, history and queues in one transaction, in bulk."""

import random
from collections.abc import Mapping

from sqlalchemy import bindparam, select, update

from gatehouse.registry import audit
from gatehouse.registry.database import Database, Statement, Tx, insertion, sql, table
from gatehouse.registry.models import Counter
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import history, intake, queues, sandboxes
from gatehouse.wms.intake import Manifest
from gatehouse.wms.models import Job
from gatehouse.wms.states import JobStatus, Minor
from gatehouse.wms.views import encode

DEFAULT_SHARE = 1000
_COUNTER = "job"

_N = table(Counter).c
_ADD_COUNTER = insertion(Counter)
_ADD_JOB = insertion(Job)
_DRAW: Statement[tuple[()]] = sql(
    update(table(Counter)).where(_N.name == bindparam("counter")).values(value=_N.value + bindparam("many"))
)
_READ: Statement[tuple[int]] = sql(select(_N.value).where(_N.name == bindparam("counter")))


async def submit(
    database: Database, who: Principal, jobs: list[Manifest], draw: random.Random, share: int = DEFAULT_SHARE
) -> list[int]:
    """Submit all of the jobs or none; returns their ids. Raises Problem 400 `invalid_job`."""
    texts = [encode(job).decode() for job in jobs]
    for index, text in enumerate(texts):
        if len(text) > intake.MANIFEST_LIMIT // 4 and len(text.encode()) > intake.MANIFEST_LIMIT:
            raise intake.too_long(index)

    def work(tx: Tx) -> list[int]:
        return _submit(tx, who, jobs, texts, draw, share)

    try:
        return await database.write(work)
    except database.integrity_error:
        # another replica made the same queue (or the counter) a moment ago: now it is there
        return await database.write(work)


def _submit(
    tx: Tx, who: Principal, jobs: list[Manifest], texts: list[str], draw: random.Random, share: int
) -> list[int]:
    owner = {"owner_id": who.subject, "owner_group": who.group, "vo": who.vo}
    inputs = sandboxes.owned(tx, who, {name for job in jobs for name in job.input_sandbox})
    needs = [queues.need(job) for job in jobs]
    # in one order everywhere, or two submissions could wait for each other's queues
    queue = {asked: queues.enter(tx, asked, **owner, share=share, draw=draw) for asked in sorted(set(needs))}
    first = _numbers(tx, len(jobs))
    now = tx.clock.now()
    common = {
        **owner,
        "owner": who.username,
        "status": JobStatus.WAITING.value,
        "minor_status": Minor.PILOT_SUBMISSION.value,
        "application_status": "",
        "submitted_at": now,
        "started_at": None,
        "ended_at": None,
        "heartbeat_at": None,
        "attempt": 0,
        "pilot_id": "",
    }
    ids = list(range(first, first + len(jobs)))
    rows = [
        {
            **common,
            "id": job_id,
            "name": job.name,
            "job_group": job.job_group,
            "job_type": job.job_type,
            "site": site_label(job),
            "queue_id": queue[asked],
            "priority": job.priority,
            "cpu_time": job.cpu_time,
            "manifest": text,
        }
        for job_id, job, asked, text in zip(ids, jobs, needs, texts, strict=True)
    ]
    event = history.row(0, JobStatus.WAITING, Minor.PILOT_SUBMISSION, now, "JobManager")
    tx.many(_ADD_JOB, rows)
    tx.many(history.ADD, [{**event, "job_id": job_id} for job_id in ids])
    uses = {
        (job_id, inputs[name]) for job_id, job in zip(ids, jobs, strict=True) for name in job.input_sandbox
    }
    sandboxes.assign(tx, "Input", uses)
    audit.record(
        tx, "jobs.submitted", actor=who.label, subject=f"job:{first}", jobs=len(jobs), group=who.group
    )
    return ids


def _numbers(tx: Tx, many: int) -> int:
    """The first of so many fresh ids; the row stays locked until this transaction ends."""
    if tx.run(_DRAW, counter=_COUNTER, many=many):
        last = tx.one(_READ, counter=_COUNTER)
        assert last is not None
        return last[0] - many + 1
    tx.run(_ADD_COUNTER, name=_COUNTER, value=many)
    return 1


def site_label(job: Manifest) -> str:
    """What the site column shows before a pilot takes the job (DIRAC's words)."""
    if not job.sites:
        return "ANY"
    return job.sites[0] if len(job.sites) == 1 else "Multiple"


def share_of(options: Mapping[str, object]) -> int:
    """The weight of a group when pilots choose among queues (Registry option JobShare)."""
    given = str(options.get("JobShare", ""))
    return min(int(given), 1_000_000) or 1 if given.isdecimal() else DEFAULT_SHARE
