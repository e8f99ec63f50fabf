"""The claim of one pilot on one run of one job, and the credential that stands for it.

Every write of a run is one conditional UPDATE that compares pilot and attempt: after a kill or a reschedule the
row count is 0, whatever token the old run still holds.
"""

from typing import NamedTuple

from sqlalchemy import bindparam, update
from sqlalchemy.sql import ColumnElement

from gatehouse.registry.database import Statement, Tx, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager import revoke
from gatehouse.tokenmanager.issue import Mint, Minted
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms.constants import among
from gatehouse.wms.models import Job
from gatehouse.wms.states import ON_PILOT

PILOT = "pilot:"
CLIENT = "gatehouse-pilot"

_J = table(Job).c


class Claim(NamedTuple):
    """Which run: `attempt` counts the runs of a job."""

    job_id: int
    pilot_id: str
    attempt: int

    @property
    def name(self) -> str:
        """What the token's `claim` says."""
        return f"{self.job_id}:{self.attempt}"


class Owner(NamedTuple):
    """For whom the job runs."""

    id: str
    username: str
    group: str


def held() -> tuple[ColumnElement[bool], ...]:
    """The conditions of an UPDATE by a run: parameters `job`, `pilot`, `run`."""
    return (
        _J.id == bindparam("job"),
        _J.pilot_id == bindparam("pilot"),
        _J.attempt == bindparam("run"),
    )


_ALIVE: Statement[tuple[()]] = sql(
    update(table(Job)).where(*held(), among(_J.status, ON_PILOT)).values(heartbeat_at=bindparam("current"))
)


def of(who: Principal, job_id: int) -> Claim:
    """The claim that a job's credential carries. Raises Problem 403 when it is for another job."""
    named, _, attempt = who.claim.partition(":")
    if who.job != job_id or named != str(job_id) or not attempt.isdecimal():
        raise Problem(
            403,
            "insufficient_rights",
            f"This credential is for job {who.job} only.",
            facts={"missing": [f"the credential of job {job_id}"], "groups_with_it": []},
        )
    return Claim(job_id, who.actor.removeprefix(PILOT), int(attempt))


def demand(tx: Tx, claim: Claim) -> None:
    """Count as a heartbeat; the row stays locked until this transaction ends. Raises Problem 409."""
    if not tx.run(_ALIVE, job=claim.job_id, pilot=claim.pilot_id, run=claim.attempt, current=tx.clock.now()):
        raise lost(claim)


def lost(claim: Claim) -> Problem:
    """The answer to a run that is no longer the run of its job."""
    return Problem(
        409,
        "conflict",
        f"The claim on job {claim.job_id} is lost: it was killed, given to another pilot, or has ended.",
        hint="Stop the payload at once and ask for other work.",
        facts={"job_id": claim.job_id, "attempt": claim.attempt},
    )


def end(tx: Tx, claim: Claim, lifetime: int) -> None:
    """Revoke the credential of a run; `lifetime` is the longest that one lives."""
    revoke.add(tx, revoke.claim_name(claim.name), tx.clock.now() + lifetime)


def credential(mint: Mint, claim: Claim, owner: Owner, lifetime: int) -> Minted:
    """The credential of one run: it speaks for the owner, by the pilot, about this job only (RFC 8693 `act`)."""
    return mint.access_token(
        "ES256",
        lifetime,
        subject=owner.id,
        client_id=CLIENT,
        scope=f"job:{claim.job_id}",
        claims={
            "kind": "job",
            "preferred_username": owner.username,
            "group": owner.group,
            "act": {"sub": PILOT + claim.pilot_id},
            "job": claim.job_id,
            "claim": claim.name,
        },
    )
