"""A job that tries to fill the database with the rights that its own credential gives it."""

import asyncio

from gatehouse.registry.database import Database
from gatehouse.wms import history, jobs, runs, sandboxes
from gatehouse.wms.matcher import Match
from gatehouse.wms.models import JobEvent, Sandbox, SandboxChunk
from tests.registry.people import rows
from tests.wms.kit import ALICE, LIFETIME, manifests, must_match, new_pilot, report, run_of, submitted


def count(database: Database, model: type[JobEvent] | type[Sandbox] | type[SandboxChunk]) -> int:
    [(found,)] = rows(database, f"SELECT count(*) FROM {model.__tablename__}")
    return int(found)


def upload(database: Database, match: Match, content: bytes) -> None:
    asyncio.run(sandboxes.store_output(database, run_of(match), match.claim.job_id, content))


def test_outputs_that_are_replaced_are_not_kept(database: Database) -> None:
    submitted(database)
    match = must_match(database, new_pilot(database))
    for number in range(10):
        upload(database, match, b"%d" % number * 1000)
    assert (count(database, Sandbox), count(database, SandboxChunk)) == (1, 1)
    assert database.read_now(lambda tx: sandboxes.output(tx, match.claim.job_id)) == b"9" * 1000


def test_an_output_that_something_else_needs_stays(database: Database) -> None:
    """The same bytes may be the input of a job, or the output of another."""
    name = asyncio.run(sandboxes.store(database, ALICE, b"shared")).id
    submitted(database, manifests(2, input_sandbox=[name]))
    first, second = (must_match(database, new_pilot(database, number)) for number in (1, 2))
    for match in (first, second):
        upload(database, match, b"shared")
        upload(database, match, b"result")
    upload(database, first, b"better")
    assert database.read_now(lambda tx: sandboxes.fetch(tx, run_of(second), name)) == b"shared"
    assert database.read_now(lambda tx: sandboxes.output(tx, second.claim.job_id)) == b"result"
    assert count(database, Sandbox) == 3


def test_reports_without_end_are_not_all_written_down_but_the_last_word_is(database: Database) -> None:
    submitted(database)
    match = must_match(database, new_pilot(database))

    def say(status: str, minor: str) -> None:
        said = report(status, minor)
        database.write_now(lambda tx: runs.report(tx, run_of(match), match.claim, said, LIFETIME))

    for number in range(history.LIMIT + 50):
        say("Running", f"step {number}")
    assert count(database, JobEvent) <= history.LIMIT - history.ROOM + 1
    row = database.read_now(lambda tx: jobs.get(tx, ALICE, match.claim.job_id))
    assert row.minor_status == f"step {history.LIMIT + 49}"
    say("Done", "Execution Complete")
    assert database.read_now(lambda tx: jobs.log(tx, ALICE, row.id))[-1].status == "Done"
