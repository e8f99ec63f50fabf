"""Runs: heartbeats, reports, kills, and that an old claim can never write again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from gatehouse.registry import audit
from gatehouse.registry.database import Database
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.revoke import Revocations, claim_name
from gatehouse.wms import claims, jobs, pilots, reschedule, runs
from gatehouse.wms.matcher import Match
from gatehouse.wms.states import FINAL, ON_PILOT, JobStatus, PilotStatus, may_become
from gatehouse.wms.views import JobRow
from tests.clock import HandClock
from tests.wms.kit import ALICE, LIFETIME, must_match, new_pilot, report, run_of, submitted


@pytest.fixture
def match(database: Database) -> Match:
    submitted(database)
    return must_match(database, new_pilot(database))


def say(database: Database, match: Match, status: str, minor: str = "m", who: Principal | None = None) -> str:
    run = who or run_of(match)
    return database.write_now(lambda tx: runs.report(tx, run, match.claim, report(status, minor), LIFETIME))


def beats(database: Database, match: Match, application: str = "") -> bool:
    return database.write_now(lambda tx: runs.beat(tx, match.claim, application, renewed=False))


def job(database: Database, match: Match) -> JobRow:
    return database.read_now(lambda tx: jobs.get(tx, ALICE, match.claim.job_id))


def revoked(database: Database, clock: HandClock, match: Match) -> bool:
    names = Revocations(database, clock)
    asyncio.run(names.refresh())
    return claim_name(match.claim.name) in names


def lost(database: Database, match: Match, status: str = "Running") -> None:
    with pytest.raises(Problem) as caught:
        say(database, match, status)
    assert (caught.value.status, caught.value.code) == (409, "conflict")
    with pytest.raises(Problem, match="is lost"):
        beats(database, match)


def test_a_run_from_start_to_end(database: Database, clock: HandClock, match: Match) -> None:
    clock.pass_by(10)
    assert say(database, match, "Running", "Job Initialization") == "Running"
    started = clock.now()
    clock.pass_by(10)
    assert say(database, match, "Running", "Application") == "Running"
    assert beats(database, match, "half way")
    row = job(database, match)
    assert (row.started_at, row.heartbeat_at, row.application_status) == (started, clock.now(), "half way")
    assert beats(database, match)
    assert job(database, match).application_status == "half way"
    say(database, match, "Completing", "Uploading Output Sandbox")
    assert not revoked(database, clock, match)
    clock.pass_by(10)
    assert say(database, match, "Done", "Execution Complete") == "Done"
    row = job(database, match)
    assert (row.status, row.started_at, row.ended_at) == ("Done", started, clock.now())
    assert revoked(database, clock, match)
    events = database.read_now(lambda tx: jobs.log(tx, ALICE, row.id))
    assert [event.status for event in events] == [
        *("Waiting", "Matched", "Running", "Running", "Completing", "Done")
    ]
    assert "job.ended" in [event.kind for event in database.read_now(audit.recent)]


def test_the_last_word_said_again_is_the_same_answer_and_no_second_event(
    database: Database, match: Match
) -> None:
    say(database, match, "Running")
    assert say(database, match, "Done") == say(database, match, "Done") == "Done"
    events = database.read_now(lambda tx: jobs.log(tx, ALICE, match.claim.job_id))
    assert [event.status for event in events].count("Done") == 1
    lost(database, match, "Failed")
    assert job(database, match).status == "Done"


@pytest.mark.parametrize("status", ["Waiting", "Killed", "Deleted", "Rescheduled", "Stalled", "nonsense", ""])
def test_a_run_may_not_say_everything(database: Database, match: Match, status: str) -> None:
    with pytest.raises(Problem) as caught:
        say(database, match, status)
    assert caught.value.status in (400, 409)
    assert job(database, match).status == "Matched"


def test_a_change_that_the_map_does_not_have_is_refused(database: Database, match: Match) -> None:
    with pytest.raises(Problem, match="is Matched and cannot become Done") as caught:
        say(database, match, "Done")
    assert caught.value.facts == {"status": "Matched"}


def test_the_old_run_of_a_rescheduled_job_can_never_write_again(
    database: Database, clock: HandClock, match: Match
) -> None:
    say(database, match, "Running")
    job_id, pilot = match.claim.job_id, match.claim.pilot_id
    status = database.write_now(lambda tx: reschedule.give_back(tx, job_id, pilot, token_lifetime=LIFETIME))
    assert status is JobStatus.WAITING
    assert revoked(database, clock, match)
    lost(database, match)
    second = must_match(database, new_pilot(database, 2))
    assert (second.claim.job_id, second.claim.attempt) == (job_id, 2)
    lost(database, match)
    lost(database, match, "Done")
    assert say(database, second, "Running") == "Running"
    assert not revoked(database, clock, second)


def test_the_same_pilot_with_an_older_attempt_can_not_write(database: Database, match: Match) -> None:
    job_id, pilot = match.claim.job_id, match.claim.pilot_id
    database.write_now(lambda tx: reschedule.give_back(tx, job_id, pilot, token_lifetime=LIFETIME))
    second = must_match(database, pilot)
    assert second.claim == match.claim._replace(attempt=2)
    lost(database, match)
    assert beats(database, second)


def test_a_killed_run_hears_it_and_writes_no_more(database: Database, clock: HandClock, match: Match) -> None:
    say(database, match, "Running")
    ended = database.write_now(lambda tx: jobs.kill(tx, ALICE, match.claim.job_id, LIFETIME))
    assert ended.claim == match.claim
    assert revoked(database, clock, match)
    assert beats(database, match) is False
    with pytest.raises(Problem, match="is lost"):
        say(database, match, "Done")
    assert say(database, match, "Killed") == "Killed"
    assert job(database, match).status == "Killed"


def test_a_kill_and_the_end_of_a_run_at_once_have_one_winner(database: Database) -> None:
    for number in range(10):
        submitted(database)
        found = must_match(database, new_pilot(database, number))
        say(database, found, "Running")

        def kill(found: Match = found) -> str:
            try:
                return database.write_now(
                    lambda tx: jobs.kill(tx, ALICE, found.claim.job_id, LIFETIME)
                ).status
            except Problem as problem:
                return str(problem.status)

        def finish(found: Match = found) -> str:
            try:
                return say(database, found, "Done")
            except Problem as problem:
                return str(problem.status)

        with ThreadPoolExecutor(2) as threads:
            outcomes = [future.result() for future in (threads.submit(kill), threads.submit(finish))]
        assert outcomes in (["Killed", "409"], ["409", "Done"])
        assert job(database, found).status in outcomes


@pytest.mark.parametrize("path_id", [1, 10**6])
def test_a_credential_is_for_one_job(match: Match, path_id: int) -> None:
    run = run_of(match)
    if path_id == match.claim.job_id:
        assert claims.of(run, path_id) == match.claim
        return
    with pytest.raises(Problem) as caught:
        claims.of(run, path_id)
    assert (caught.value.status, caught.value.code) == (403, "insufficient_rights")


def test_a_pilot_that_ends_gives_its_job_back(database: Database, match: Match) -> None:
    say(database, match, "Running")
    pilot = match.claim.pilot_id

    def end() -> bool:
        return database.write_now(
            lambda tx: pilots.end(tx, pilot, PilotStatus.FAILED, "gone", token_lifetime=LIFETIME)
        )

    assert end() is True
    assert end() is False
    assert job(database, match).status == "Waiting"
    with pytest.raises(Problem, match="has ended"):
        must_match(database, pilot)


def test_a_pilot_that_ends_after_its_job_leaves_it_alone(database: Database, match: Match) -> None:
    say(database, match, "Running")
    say(database, match, "Done")
    pilot = match.claim.pilot_id
    database.write_now(lambda tx: pilots.end(tx, pilot, PilotStatus.DONE, "", token_lifetime=LIFETIME))
    assert job(database, match).status == "Done"


def test_after_some_runs_it_fails_for_good(database: Database) -> None:
    job_id = submitted(database)[0]
    for number in range(reschedule.ATTEMPTS):
        found = must_match(database, new_pilot(database, number))
        say(database, found, "Running")
        last = database.write_now(
            lambda tx, p=found.claim.pilot_id: reschedule.give_back(  # type: ignore[misc]
                tx, job_id, p, token_lifetime=LIFETIME
            )
        )
    assert last is JobStatus.FAILED
    row = database.read_now(lambda tx: jobs.get(tx, ALICE, job_id))
    assert (row.status, row.minor_status) == ("Failed", reschedule.EXHAUSTED)
    assert row.ended_at is not None


@pytest.mark.parametrize("start", sorted(ON_PILOT))
def test_every_way_back_is_on_the_map(start: JobStatus) -> None:
    back, end = reschedule.PATHS[start]
    for path, goal in ((back, JobStatus.WAITING), (end, JobStatus.FAILED)):
        steps = [start, *(status for status, _ in path)]
        assert all(may_become(old, new) for old, new in pairwise(steps)), steps
        assert steps[-1] is goal
    assert JobStatus.FAILED in FINAL
