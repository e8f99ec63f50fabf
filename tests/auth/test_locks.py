"""Which secrets are locked, in memory: what one process locks, the others know after their next look."""

import pytest

from gatehouse.auth import guesses, locks
from gatehouse.auth.locks import Locks
from gatehouse.registry.database import Database
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock

SEAL = Seal(bytes(range(32)))
WHERE = ("portal", "192.0.2.7")


def guess(database: Database, known: Locks) -> int:
    """A wrong secret, as a token request counts it."""
    tries = known.tries(*WHERE)
    database.write_now(lambda tx: guesses.wrong(tx, tries))
    return database.write_now(lambda tx: known.note(tx, tries))


def left(known: Locks, clock: HandClock, client: str = WHERE[0]) -> int | None:
    """What a request of a client from there is told."""
    return known.left(known.tries(client, WHERE[1]), clock.now())


def test_a_lock_is_known_here_at_once_and_elsewhere_after_a_look(
    database: Database, clock: HandClock
) -> None:
    here, there = Locks(SEAL), Locks(SEAL)
    for _ in range(guesses.PER_CLIENT):
        assert left(here, clock) == 0
        guess(database, here)
    assert left(here, clock) == guesses.WINDOW
    assert left(there, clock) == 0
    database.read_now(there.load)()
    assert left(there, clock) == guesses.WINDOW
    assert left(there, clock, "another") == 0
    clock.pass_by(guesses.WINDOW)
    assert left(here, clock) == left(there, clock) == 0


def test_a_look_does_not_undo_what_was_locked_meanwhile(database: Database, clock: HandClock) -> None:
    known = Locks(SEAL)
    apply = database.read_now(known.load)  # read before, put in place after
    for _ in range(guesses.PER_CLIENT):
        guess(database, known)
    apply()
    assert left(known, clock) == guesses.WINDOW


def test_when_there_are_too_many_the_database_is_asked(
    database: Database, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_MOST", 0)
    busy, known = Locks(SEAL), Locks(SEAL)
    for _ in range(guesses.PER_CLIENT):
        guess(database, busy)
    database.read_now(known.load)()
    assert left(known, clock, "another") is None
    tries = known.tries(*WHERE)
    assert database.write_now(lambda tx: known.note(tx, tries)) == guesses.WINDOW


def test_a_clock_that_goes_back_keeps_nobody_out_for_longer(database: Database, clock: HandClock) -> None:
    known = Locks(SEAL)
    for _ in range(guesses.PER_CLIENT):
        guess(database, known)
    clock.pass_by(-600)
    database.read_now(known.load)()
    assert 0 < (left(known, clock) or 0) <= guesses.WINDOW
