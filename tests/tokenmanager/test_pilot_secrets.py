"""A pilot's secret: used once by whoever comes first, until it expires, and kept as a keyed hash only."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from gatehouse.registry.database import Database
from gatehouse.tokenmanager import pilot_secrets
from gatehouse.tokenmanager.pilot_secrets import Redeemed
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock

SEAL = Seal(bytes(32))


def issue(database: Database, pilot: str = "p1", lifetime: int = 600) -> str:
    """A fresh secret."""
    return database.write_now(
        lambda tx: pilot_secrets.issue(tx, SEAL, pilot_id=pilot, group="otter_pilot", lifetime=lifetime)
    )


def redeem(database: Database, secret: str) -> Redeemed | str:
    """Use it."""
    return database.write_now(lambda tx: pilot_secrets.redeem(tx, SEAL, secret))


def test_once(database: Database) -> None:
    secret, other = issue(database), issue(database, "p2")
    assert secret != other
    assert redeem(database, secret) == Redeemed("p1", "otter_pilot")
    assert redeem(database, secret) == "This pilot secret was used before."
    assert redeem(database, other) == Redeemed("p2", "otter_pilot")


def test_thirty_two_at_once_have_one_winner(database: Database) -> None:
    secret = issue(database)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: redeem(database, secret), range(32)))
    assert answers.count(Redeemed("p1", "otter_pilot")) == 1
    assert answers.count("This pilot secret was used before.") == 31


def test_until_it_expires(database: Database, clock: HandClock) -> None:
    early, late = issue(database, lifetime=60), issue(database, "p2", lifetime=60)
    clock.pass_by(59)
    assert isinstance(redeem(database, early), Redeemed)
    clock.pass_by(1)
    assert redeem(database, late) == "This pilot secret has expired."
    clock.pass_by(-1)
    assert isinstance(redeem(database, late), Redeemed)  # it was the time alone that refused


@pytest.mark.parametrize("change", [str.upper, str.strip, str.swapcase, lambda s: s + " ", lambda s: s[:-1]])
def test_nothing_like_it_works(database: Database, change: object) -> None:
    secret = issue(database)
    assert callable(change)
    changed = change(secret)
    if changed != secret:
        assert redeem(database, changed) == "This is not a pilot secret of this service."
    assert isinstance(redeem(database, secret), Redeemed)


def test_a_stolen_row_redeems_nothing(database: Database) -> None:
    secret = issue(database)
    with database.engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM pilot_secret")).one()
    values = [str(value) for value in row]
    assert not any(secret in value or secret.removeprefix("ghp1.") in value for value in values)
    for value in values:
        for tried in (value, f"ghp1.{value}"):
            assert isinstance(redeem(database, tried), str)
    stolen = database.write_now(lambda tx: pilot_secrets.redeem(tx, Seal(bytes(31) + b"x"), secret))
    assert stolen == "This is not a pilot secret of this service."  # without the master key it is nothing
    assert isinstance(redeem(database, secret), Redeemed)


def test_what_is_rolled_back_was_not_used(database: Database) -> None:
    secret = issue(database)

    class Oops(Exception):
        pass

    def half(tx: object) -> None:
        assert isinstance(pilot_secrets.redeem(tx, SEAL, secret), Redeemed)  # type: ignore[arg-type]
        raise Oops

    with pytest.raises(Oops):
        database.write_now(half)
    assert isinstance(redeem(database, secret), Redeemed)
