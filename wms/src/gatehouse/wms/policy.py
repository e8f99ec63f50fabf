"""Who may do what to a job: DIRAC's rights matrix (JobPolicy) as one small table."""

from dataclasses import dataclass
from enum import StrEnum

from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal


class Right(StrEnum):
    """What can be done to a job."""

    INFO = "see"
    SANDBOX = "fetch the files of"
    KILL = "kill"
    DELETE = "delete"


class Relation(StrEnum):
    """What a person is to a job."""

    OWNER = "owner"
    OWNER_ELSEWHERE = "owner, logged in with another group"
    SHARING = "member of a group that shares its jobs"
    ADMINISTRATOR = "job administrator"
    MONITOR = "job monitor"
    STRANGER = "stranger"


_ALL = frozenset(Right)
RIGHTS: dict[Relation, frozenset[Right]] = {
    Relation.OWNER: _ALL,
    Relation.OWNER_ELSEWHERE: frozenset({Right.INFO}),
    Relation.SHARING: _ALL,
    Relation.ADMINISTRATOR: _ALL,
    Relation.MONITOR: frozenset({Right.INFO}),
    Relation.STRANGER: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not. `hidden`: the caller may not even know that the job exists."""

    reason: str
    hint: str
    hidden: bool


def relation(who: Principal, owner_id: str, owner_group: str, vo: str) -> Relation:
    """What a person, with the group of the token, is to a job; the strongest relation counts."""
    if who.kind != "person" or who.vo != vo:
        return Relation.STRANGER
    if who.subject == owner_id and who.group == owner_group:
        return Relation.OWNER
    if "JobAdministrator" in who.properties:
        return Relation.ADMINISTRATOR
    if "JobSharing" in who.properties and who.group == owner_group:
        return Relation.SHARING
    if who.subject == owner_id:
        return Relation.OWNER_ELSEWHERE
    return Relation.MONITOR if "JobMonitor" in who.properties else Relation.STRANGER


def judge(who: Principal, right: Right, owner_id: str, owner_group: str, vo: str) -> Refusal | None:
    """None when the right is given."""
    found = relation(who, owner_id, owner_group, vo)
    if right in RIGHTS[found]:
        return None
    hint = "A job administrator of the community can do it."
    if found is Relation.OWNER_ELSEWHERE:
        hint = f"The job belongs to the group {owner_group}: dirac-login {owner_group}"
    return Refusal(f"As {found} you may not {right} this job.", hint, Right.INFO not in RIGHTS[found])


def demand(who: Principal, right: Right, job_id: int, owner_id: str, owner_group: str, vo: str) -> None:
    """Raises Problem 404 for a job one may not even see, 403 with the reason for one that one may."""
    refusal = judge(who, right, owner_id, owner_group, vo)
    if refusal is None:
        return
    if refusal.hidden:
        raise no_job(job_id)
    facts = {"missing": [f"the right to {right} job {job_id}"], "groups_with_it": [owner_group]}
    raise Problem(403, "insufficient_rights", refusal.reason, hint=refusal.hint, facts=facts)


def no_job(job_id: int) -> Problem:
    """The same answer for a job that is not there and for one that is not for the caller."""
    return Problem(
        404, "not_found", f"There is no job {job_id} that you may see.", hint="List your jobs: dstat"
    )
