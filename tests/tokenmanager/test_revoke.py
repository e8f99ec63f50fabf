"""Revocation: what one replica refuses all refuse at their next look, and nothing is kept longer than needed."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from gatehouse.registry.database import Database
from gatehouse.tokenmanager import revoke
from gatehouse.tokenmanager.revoke import Revocations
from tests.clock import HandClock


@pytest.fixture
def other(database: Database, clock: HandClock) -> Iterator[Database]:
    """The database as another replica has it open."""
    made = Database(database.url.render_as_string(hide_password=False), clock, bytes(32))
    yield made
    made.close()


def add(database: Database, name: str, until: int) -> None:
    """Revoke."""
    database.write_now(lambda tx: revoke.add(tx, name, until))


def look(*replicas: Revocations) -> None:
    """What each replica does once a second."""
    for replica in replicas:
        asyncio.run(replica.refresh())


def test_two_replicas(database: Database, other: Database, clock: HandClock) -> None:
    here, there = Revocations(database, clock), Revocations(other, clock)
    look(here, there)
    add(database, revoke.token_name("t1"), clock.now() + 600)
    here.note(revoke.token_name("t1"), clock.now() + 600)
    assert "token/t1" in here  # at once
    assert "token/t1" not in there
    clock.pass_by(1)
    look(there)
    assert "token/t1" in there
    assert "token/t2" not in there
    assert "grant/t1" not in there


def test_a_replica_whose_clock_is_late_is_heard_all_the_same(database: Database, clock: HandClock) -> None:
    late = Database(
        database.url.render_as_string(hide_password=False), HandClock(clock.now() - 300), bytes(32)
    )
    here = Revocations(database, clock)
    try:
        add(database, "token/before", clock.now() + 600)
        look(here)
        add(late, "token/t1", clock.now() + 600)
        clock.pass_by(1)
        look(here)
        assert "token/t1" in here
        add(late, "token/t2", clock.now() + 600)
        look(here)
        assert "token/t2" in here
    finally:
        late.close()


def test_names_do_not_meet() -> None:
    assert len({revoke.token_name("x"), revoke.grant_name("x"), revoke.claim_name("x")}) == 3


def test_a_new_replica_knows_what_was_revoked_long_ago(database: Database, clock: HandClock) -> None:
    add(database, "grant/g1", clock.now() + 20_000)
    add(database, "grant/g2", clock.now() + 50)
    clock.pass_by(10_000)
    late = Revocations(database, clock)
    look(late)
    assert "grant/g1" in late
    assert "grant/g2" not in late  # it has expired by itself


def test_a_row_that_becomes_visible_late_is_seen(database: Database, clock: HandClock) -> None:
    """A transaction began before the last look and commits after it: its `at` is older than that look."""
    replica = Revocations(database, clock)
    for _ in range(5):
        clock.pass_by(5)
        look(replica)
    with database.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO revocation (name, at, until) VALUES ('token/late', :at, :until)"),
            {"at": clock.now() - 25, "until": clock.now() + 600},
        )
    clock.pass_by(1)
    look(replica)
    assert "token/late" in replica


def test_a_look_without_a_database_forgets_nothing(database: Database, clock: HandClock) -> None:
    replica = Revocations(database, clock)
    add(database, "token/t1", clock.now() + 600)
    look(replica)
    with database.engine.begin() as connection:
        connection.execute(text("DROP TABLE revocation"))
    with pytest.raises(Exception, match=r"revocation|does not answer"):
        look(replica)
    assert "token/t1" in replica


def test_memory_is_let_go_of_what_has_expired(database: Database, clock: HandClock) -> None:
    replica = Revocations(database, clock)
    for number in range(1001):
        replica.note(f"token/{number}", clock.now() + 10)
    replica.note("token/long", clock.now() + 600)
    clock.pass_by(10)
    look(replica)
    assert "token/7" not in replica
    assert "token/long" in replica


def test_the_sweep_takes_only_what_has_expired(database: Database, clock: HandClock) -> None:
    replica = Revocations(database, clock)
    add(database, "token/short", clock.now() + 60)
    add(database, "token/long", clock.now() + 6000)
    clock.pass_by(60)
    asyncio.run(replica.sweep())
    assert count(database) == 2  # ten minutes for clocks that run apart
    clock.pass_by(601)
    asyncio.run(replica.sweep())
    assert count(database) == 1
    look(replica)
    assert "token/long" in replica


def count(database: Database) -> int:
    """How many rows there are."""
    with database.engine.connect() as connection:
        return int(connection.execute(text("SELECT COUNT(*) FROM revocation")).scalar_one())
