"""Jobs outlive logins: what happens when the owner may no longer act for the group."""

import pytest
from sqlalchemy import bindparam, update

from gatehouse.registry import directory
from gatehouse.registry.database import Database, Statement, sql, table
from gatehouse.registry.models import User
from gatehouse.wms import history, jobs, owners
from gatehouse.wms.policy import Right
from tests.wms.kit import ALICE, LIFETIME, matched, must_match, new_pilot, principal, submitted

_SET: Statement[tuple[()]] = sql(
    update(table(User)).where(table(User).c.id == bindparam("person")).values(status=bindparam("new"))
)


def suspend(database: Database) -> None:
    database.write_now(lambda tx: tx.run(_SET, person=ALICE.subject, new="suspended"))


def status_of(database: Database, job: int) -> tuple[str, str, str]:
    row = database.read_now(lambda tx: jobs.get(tx, ALICE, job, Right.INFO))
    return row.status, row.minor_status, row.application_status


def test_no_run_of_a_suspended_owner_gets_a_credential(database: Database) -> None:
    (hers,) = submitted(database)
    (his,) = submitted(database, who=principal("bob", "training_user", "NormalUser"))
    suspend(database)
    given = must_match(database, new_pilot(database))
    assert given.claim.job_id == his
    assert matched(database, new_pilot(database, 1)) is None
    status, minor, why = status_of(database, hers)
    assert (status, minor) == ("Killed", owners.NOT_ENTITLED)
    assert "suspended" in why


def test_a_membership_that_ended_ends_the_jobs_that_wait(database: Database) -> None:
    (job,) = submitted(database)
    database.write_now(lambda tx: directory.replace_memberships(tx, ALICE.subject, "test training_user", []))
    assert matched(database, new_pilot(database)) is None
    assert status_of(database, job)[0] == "Killed"


@pytest.mark.parametrize("good", [True, False])
def test_a_run_is_stopped_when_its_credential_would_be_renewed(database: Database, good: bool) -> None:
    (job,) = submitted(database)
    match = must_match(database, new_pilot(database))
    if not good:
        suspend(database)
    assert database.write_now(lambda tx: owners.stopped(tx, match.claim, match.owner, LIFETIME)) is not good
    assert (status_of(database, job)[0] == "Killed") is not good
    last = database.read_now(lambda tx: history.of_job(tx, job))[-1]
    assert (last.source == "Gate") is not good


def test_only_the_present_run_is_stopped(database: Database) -> None:
    """A claim of the past decides nothing about the run of today."""
    (job,) = submitted(database)
    match = must_match(database, new_pilot(database))
    suspend(database)
    old = match.claim._replace(attempt=match.claim.attempt - 1)
    assert database.write_now(lambda tx: owners.stopped(tx, old, match.owner, LIFETIME))
    assert status_of(database, job)[0] == "Matched"
