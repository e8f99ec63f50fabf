"""The life of a job and of a pilot, as data: which states there are and which may follow which.

The map is the one of DIRAC's `JobStateMachine`, the same in 8.0 and 9.1, so that its clients and their users
find the words they know. Code asks the map; it never compares states by hand.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar


class JobStatus(StrEnum):
    """The major status of a job."""

    SUBMITTING = "Submitting"
    RECEIVED = "Received"
    CHECKING = "Checking"
    SCOUTING = "Scouting"
    STAGING = "Staging"
    WAITING = "Waiting"
    MATCHED = "Matched"
    RESCHEDULED = "Rescheduled"
    RUNNING = "Running"
    STALLED = "Stalled"
    COMPLETING = "Completing"
    COMPLETED = "Completed"
    DONE = "Done"
    FAILED = "Failed"
    KILLED = "Killed"
    DELETED = "Deleted"


class PilotStatus(StrEnum):
    """The status of a pilot, as its computing element or the pilot itself reports it."""

    SUBMITTED = "Submitted"
    WAITING = "Waiting"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"
    ABORTED = "Aborted"
    DELETED = "Deleted"
    UNKNOWN = "Unknown"


class Minor(StrEnum):
    """The minor statuses Gatehouse writes; DIRAC's words where DIRAC has them."""

    ACCEPTED = "Job accepted"
    BULK = "Bulk transaction confirmation"
    PILOT_SUBMISSION = "Pilot Agent Submission"
    ASSIGNED = "Assigned"
    INITIALIZATION = "Job Initialization"
    DOWNLOADING_INPUT = "Downloading InputSandbox"
    DOWNLOADING_INPUT_FAILED = "Failed Downloading InputSandbox"
    APPLICATION = "Application"
    APPLICATION_NOT_FOUND = "Application not found"
    APPLICATION_INCOMPLETE = "Application thread did not complete"
    APPLICATION_SUCCESS = "Application Finished Successfully"
    APPLICATION_ERRORS = "Application Finished With Errors"
    UPLOADING_OUTPUT = "Uploading Output Sandbox"
    OUTPUT_UPLOADED = "Output Sandbox Uploaded"
    COMPLETE = "Execution Complete"
    STALLED = "Watchdog identified this job as stalled"
    STALLED_NO_PILOT = "Job stalled: pilot not running"
    MARKED = "Marked for termination"
    KILL_RECEIVED = "Received Kill signal"
    RESCHEDULED = "Job Rescheduled"
    ILLEGAL = "Illegal Job JDL"
    NO_SITE = "No candidate sites available"


_J = JobStatus
_P = PilotStatus
_S = TypeVar("_S", JobStatus, PilotStatus)

TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        _J.SUBMITTING: frozenset({_J.RECEIVED, _J.CHECKING, _J.DELETED, _J.KILLED}),
        _J.RECEIVED: frozenset(
            {_J.SCOUTING, _J.CHECKING, _J.STAGING, _J.WAITING, _J.FAILED, _J.DELETED, _J.KILLED}
        ),
        _J.CHECKING: frozenset(
            {_J.SCOUTING, _J.STAGING, _J.WAITING, _J.RESCHEDULED, _J.FAILED, _J.DELETED, _J.KILLED}
        ),
        _J.SCOUTING: frozenset({_J.CHECKING, _J.FAILED, _J.STALLED, _J.KILLED}),
        _J.STAGING: frozenset({_J.CHECKING, _J.WAITING, _J.FAILED, _J.KILLED}),
        _J.WAITING: frozenset({_J.MATCHED, _J.RESCHEDULED, _J.DELETED, _J.KILLED}),
        _J.MATCHED: frozenset({_J.RUNNING, _J.FAILED, _J.RESCHEDULED, _J.KILLED}),
        _J.RESCHEDULED: frozenset({_J.WAITING, _J.RECEIVED, _J.DELETED, _J.FAILED, _J.KILLED}),
        _J.RUNNING: frozenset(
            {_J.STALLED, _J.DONE, _J.FAILED, _J.RESCHEDULED, _J.COMPLETING, _J.KILLED, _J.RECEIVED}
        ),
        _J.STALLED: frozenset({_J.RUNNING, _J.FAILED, _J.KILLED}),
        _J.COMPLETING: frozenset({_J.DONE, _J.FAILED, _J.COMPLETED, _J.STALLED, _J.KILLED}),
        _J.COMPLETED: frozenset({_J.DONE, _J.FAILED}),
        _J.DONE: frozenset({_J.DELETED}),
        _J.FAILED: frozenset({_J.RESCHEDULED, _J.DELETED}),
        _J.KILLED: frozenset({_J.DELETED}),
        _J.DELETED: frozenset(),
    }
)

FINAL: frozenset[JobStatus] = frozenset({_J.DONE, _J.COMPLETED, _J.FAILED, _J.KILLED})
"""States a person waits for. `Deleted` is not among them: it is what becomes of a final job."""

ON_PILOT: frozenset[JobStatus] = frozenset({_J.MATCHED, _J.RUNNING, _J.STALLED, _J.COMPLETING})
"""States in which some pilot holds the claim on the job."""

PILOT_FINAL: frozenset[PilotStatus] = frozenset({_P.DONE, _P.FAILED, _P.ABORTED, _P.DELETED})

_UNSURE = frozenset({_P.UNKNOWN, *PILOT_FINAL})

PILOT_TRANSITIONS: Mapping[PilotStatus, frozenset[PilotStatus]] = MappingProxyType(
    {
        _P.SUBMITTED: frozenset({_P.WAITING, _P.RUNNING, *_UNSURE}),
        _P.WAITING: frozenset({_P.RUNNING, *_UNSURE}),
        _P.RUNNING: _UNSURE,
        # A computing element out of reach comes back and says where its pilots are by now.
        _P.UNKNOWN: frozenset({_P.WAITING, _P.RUNNING, *PILOT_FINAL}),
        _P.DONE: frozenset(),
        _P.FAILED: frozenset(),
        _P.ABORTED: frozenset(),
        _P.DELETED: frozenset(),
    }
)


def _predecessors(edges: Mapping[_S, frozenset[_S]]) -> Mapping[_S, frozenset[_S]]:
    return MappingProxyType({new: frozenset(old for old in edges if new in edges[old]) for new in edges})


_JOB_BEFORE = _predecessors(TRANSITIONS)
_PILOT_BEFORE = _predecessors(PILOT_TRANSITIONS)


def may_become(old: JobStatus, new: JobStatus) -> bool:
    """Whether a job may go from `old` to `new`. Staying where it is is no transition: `False`."""
    return new in TRANSITIONS[old]


def may_precede(new: JobStatus, *, repeat: bool = False) -> frozenset[JobStatus]:
    """The states from which a job may become `new`: the `WHERE status IN (...)` of a conditional UPDATE.

    With `repeat`, `new` itself is among them, for reports that repeat or only change the minor status.
    """
    return _JOB_BEFORE[new] | {new} if repeat else _JOB_BEFORE[new]


def pilot_may_become(old: PilotStatus, new: PilotStatus) -> bool:
    """Whether a pilot may go from `old` to `new`; `may_become` for pilots."""
    return new in PILOT_TRANSITIONS[old]


def pilot_may_precede(new: PilotStatus, *, repeat: bool = False) -> frozenset[PilotStatus]:
    """The states from which a pilot may become `new`; `may_precede` for pilots."""
    return _PILOT_BEFORE[new] | {new} if repeat else _PILOT_BEFORE[new]
