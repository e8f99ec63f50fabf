"""Wrong answers are counted in the database: by browser, by network, in all; by every process, over restarts."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gatehouse.auth import guesses
from gatehouse.auth.guesses import CLIENTS_PER_ADDRESS, IN_ALL, PER_ADDRESS, PER_CLIENT, PER_SESSION, WINDOW
from gatehouse.auth.models import Guess
from gatehouse.auth.refusals import AT_ONCE, Refusals
from gatehouse.registry import audit
from gatehouse.registry.database import Database, insertion
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock

SEAL = Seal(bytes(32))


def wrong(database: Database, tries: guesses.Tries, times: int = 1) -> None:
    """Guess wrong so many times, each in a transaction of its own."""
    for _ in range(times):
        database.write_now(lambda tx: guesses.wrong(tx, tries))


def locked(database: Database, tries: guesses.Tries) -> int:
    """Seconds until the next answer is taken."""
    return database.write_now(lambda tx: guesses.locked(tx, tries))


def code(session: str = "s", address: str = "192.0.2.1") -> guesses.Tries:
    """Who guesses a user code."""
    return guesses.of_user_code(SEAL, session, address)


def test_rfc8628_5_1_a_browser_has_five_tries(database: Database, clock: HandClock) -> None:
    wrong(database, code(), PER_SESSION - 1)
    assert locked(database, code()) == 0
    clock.pass_by(100)
    wrong(database, code())
    assert locked(database, code()) == WINDOW - 100  # the window begins with the first wrong answer
    assert locked(database, code("other browser")) == 0
    clock.pass_by(WINDOW - 101)
    assert locked(database, code()) == 1
    clock.pass_by(1)
    assert locked(database, code()) == 0
    wrong(database, code(), PER_SESSION)  # a row that ended begins anew
    assert locked(database, code()) == WINDOW


def test_rfc8628_5_1_a_guesser_with_a_network_of_addresses_is_one_guesser(database: Database) -> None:
    for number in range(PER_ADDRESS):
        assert locked(database, code("next", "2001:db8:1:2:ffff::1")) == 0
        wrong(database, code(f"browser {number}", f"2001:db8:1:2::{number:x}"))
    assert locked(database, code("next", "2001:db8:1:2:ffff::1")) == WINDOW
    assert locked(database, code("next", "2001:db8:1:3::1")) == 0
    assert locked(database, code("next", "192.0.2.1")) == 0


def test_rfc8628_5_1_all_guessers_together_have_an_end(database: Database, clock: HandClock) -> None:
    everybody = code()[-1]
    row = {"id": everybody.id, "wrong": IN_ALL - 1, "ends_at": clock.now() + WINDOW, "most": IN_ALL}
    database.write_now(lambda tx: tx.run(insertion(Guess), **row))
    assert locked(database, code("a", "192.0.2.7")) == 0
    wrong(database, code())
    assert locked(database, code("a", "192.0.2.7")) == WINDOW
    wrong(database, code())
    found = [event.kind for event in database.read_now(audit.recent)]
    assert found == ["guesses.locked"]  # said once


def test_a_client_is_locked_for_one_network_only(database: Database) -> None:
    portal = guesses.of_client(SEAL, "portal", "192.0.2.1")
    wrong(database, portal, PER_CLIENT)
    assert locked(database, portal) == WINDOW
    assert locked(database, guesses.of_client(SEAL, "portal", "192.0.2.2")) == 0
    assert locked(database, guesses.of_client(SEAL, "other", "192.0.2.1")) == 0
    assert locked(database, code(address="192.0.2.1")) == 0


def test_inventing_clients_makes_no_endless_rows(database: Database) -> None:
    rows = 0
    for number in range(CLIENTS_PER_ADDRESS + 50):
        tries = guesses.of_client(SEAL, f"invented {number}", "192.0.2.1")
        if not locked(database, tries):
            wrong(database, tries)
            rows += 1
    assert rows == CLIENTS_PER_ADDRESS


def test_guesses_at_once_are_all_counted(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: wrong(database, code()), range(PER_ADDRESS)))
    assert locked(database, code("another browser")) > 0


def test_a_clock_that_goes_back_locks_nobody_for_longer(database: Database, clock: HandClock) -> None:
    wrong(database, code(), PER_SESSION)
    clock.pass_by(-600)
    assert locked(database, code()) == WINDOW  # not fifteen minutes, and not open
    clock.pass_by(WINDOW)
    assert locked(database, code()) == 0


def test_what_is_over_is_swept(database: Database, clock: HandClock) -> None:
    wrong(database, code())
    assert database.write_now(guesses.sweep) == 0
    clock.pass_by(WINDOW)
    assert database.write_now(guesses.sweep) == 3


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_one_address_cannot_flood_the_record(database: Database, clock: HandClock) -> None:
    refusals = Refusals(clock)

    def refused(address: str, times: int) -> int:
        before = len(database.read_now(audit.recent))
        for _ in range(times):
            database.write_now(
                lambda tx: refusals.record(tx, "token.refused", address=address, actor="x", why="no")
            )
        return len(database.read_now(audit.recent)) - before

    assert refused("2001:db8::1", AT_ONCE + 40) == AT_ONCE
    assert refused("2001:db8::2", 10) == 0
    assert refused("192.0.2.1", 5) == 5
    clock.pass_by(600)
    assert refused("2001:db8::1", 40) == 10  # sixty an hour
