"""The rights matrix, relation by relation."""

import pytest

from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import policy
from gatehouse.wms.policy import Right
from tests.wms.kit import principal

EVERYTHING = set(Right)
SEES = {Right.INFO}


@pytest.mark.parametrize(
    ("who", "rights"),
    [
        (principal("alice", "training_user", "NormalUser"), EVERYTHING),
        (principal("alice", "training_user"), EVERYTHING),
        (principal("alice", "training_other", "NormalUser"), SEES),
        (principal("alice", "training_user", vo="other.vo"), set()),
        (principal("bob", "training_user", "NormalUser"), set()),
        (principal("bob", "training_user", "JobSharing"), EVERYTHING),
        (principal("bob", "training_other", "JobSharing"), set()),
        (principal("bob", "training_other", "JobAdministrator"), EVERYTHING),
        (principal("bob", "training_other", "JobAdministrator", vo="other.vo"), set()),
        (principal("bob", "training_other", "JobMonitor"), SEES),
        (principal("bob", "training_pilot", "GenericPilot"), set()),
        (principal("alice", "training_user", "JobAdministrator", kind="pilot"), set()),
        (principal("alice", "training_user", "JobAdministrator", kind="job"), set()),
    ],
)
def test_rights(who: Principal, rights: set[Right]) -> None:
    job = ("id-alice", "training_user", "training.egi.eu")
    assert {right for right in Right if policy.judge(who, right, *job) is None} == rights


def test_a_job_that_one_may_see_is_refused_with_the_reason_and_the_way() -> None:
    with pytest.raises(Problem) as caught:
        policy.demand(
            principal("alice", "other"), Right.KILL, 7, "id-alice", "training_user", "training.egi.eu"
        )
    assert (caught.value.status, caught.value.code) == (403, "insufficient_rights")
    assert "dirac-login training_user" in caught.value.hint
    assert caught.value.facts["groups_with_it"] == ["training_user"]


def test_a_job_that_one_may_not_see_is_not_there() -> None:
    with pytest.raises(Problem) as caught:
        policy.demand(principal("bob"), Right.INFO, 7, "id-alice", "training_user", "training.egi.eu")
    assert caught.value.body() == policy.no_job(7).body()
