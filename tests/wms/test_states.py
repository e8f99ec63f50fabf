"""The map of job and pilot states says what DIRAC's says, and both ways of asking it agree."""

import pytest

from gatehouse.wms.states import (
    FINAL,
    ON_PILOT,
    PILOT_FINAL,
    PILOT_TRANSITIONS,
    TRANSITIONS,
    JobStatus,
    PilotStatus,
    may_become,
    may_precede,
    pilot_may_become,
    pilot_may_precede,
)

# Written out a second time on purpose: old state, then every state that may follow.
DIRAC = """
Submitting: Received Checking Deleted Killed
Received: Scouting Checking Staging Waiting Failed Deleted Killed
Checking: Scouting Staging Waiting Rescheduled Failed Deleted Killed
Scouting: Checking Failed Stalled Killed
Staging: Checking Waiting Failed Killed
Waiting: Matched Rescheduled Deleted Killed
Matched: Running Failed Rescheduled Killed
Rescheduled: Waiting Received Deleted Failed Killed
Running: Stalled Done Failed Rescheduled Completing Killed Received
Stalled: Running Failed Killed
Completing: Done Failed Completed Stalled Killed
Completed: Done Failed
Done: Deleted
Failed: Rescheduled Deleted
Killed: Deleted
Deleted:
"""


def test_the_map_is_diracs() -> None:
    expected = {}
    for line in DIRAC.strip().splitlines():
        old, _, new = line.partition(":")
        expected[old] = set(new.split())
    assert {str(old): {str(n) for n in new} for old, new in TRANSITIONS.items()} == expected


@pytest.mark.parametrize("new", list(JobStatus))
def test_predecessors_and_successors_agree(new: JobStatus) -> None:
    assert may_precede(new) == {old for old in JobStatus if may_become(old, new)}
    assert may_precede(new, repeat=True) == may_precede(new) | {new}


@pytest.mark.parametrize("status", list(JobStatus))
def test_staying_is_no_transition(status: JobStatus) -> None:
    assert not may_become(status, status)


def test_a_finished_job_never_runs_again_without_being_rescheduled() -> None:
    assert {"Done", "Completed", "Failed", "Killed"} == FINAL
    for old in (*FINAL, JobStatus.DELETED):
        assert not TRANSITIONS[old] & ON_PILOT
        assert JobStatus.WAITING not in TRANSITIONS[old]


def test_every_claimed_job_can_fail_and_be_killed() -> None:
    for status in ON_PILOT:
        assert may_become(status, JobStatus.FAILED)
        assert may_become(status, JobStatus.KILLED)


@pytest.mark.parametrize("new", list(PilotStatus))
def test_pilot_predecessors_and_successors_agree(new: PilotStatus) -> None:
    assert pilot_may_precede(new) == {old for old in PilotStatus if pilot_may_become(old, new)}
    assert pilot_may_precede(new, repeat=True) == pilot_may_precede(new) | {new}


def test_the_end_of_a_pilot_is_the_end() -> None:
    for status in PILOT_FINAL:
        assert not PILOT_TRANSITIONS[status]
    for status in set(PilotStatus) - PILOT_FINAL:
        assert PILOT_TRANSITIONS[status] >= PILOT_FINAL
