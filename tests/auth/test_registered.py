"""Invitations and registered clients in each kind of database: what is conditional has one winner there too."""

import concurrent.futures

import pytest

from gatehouse.auth import invitations, registered
from gatehouse.auth.clients import Client, Clients
from gatehouse.auth.registration import Ceiling, Metadata
from gatehouse.registry.database import Database, Tx
from gatehouse.tokenmanager import refresh
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock

SEAL = Seal(bytes(32))
BACK = "https://app.example.org/back"
METADATA = Metadata(client_name="An app", redirect_uris=(BACK,), response_types=("code",))


def invited(database: Database, uses: int = 1, seconds: int = 3600) -> str:
    """An initial access token."""
    return database.write_now(lambda tx: invitations.make(tx, SEAL, Ceiling(), uses, seconds, "a test"))[1]


def enrolled(database: Database, metadata: Metadata = METADATA) -> registered.Given:
    """A registered client."""
    return database.write_now(lambda tx: registered.add(tx, SEAL, metadata, "0" * 16, "192.0.2.1"))


def found_in(database: Database, name: str) -> Client | None:
    """The registered client of a name."""
    return database.read_now(lambda tx: registered.find(tx, SEAL, name))


def ended_at(database: Database, grant: str) -> int | None:
    """When a grant ended."""
    family = database.read_now(lambda tx: refresh.by_id(tx, grant))
    assert family is not None
    return family.ended_at


def test_one_of_eight_takes_the_last_use(database: Database) -> None:
    token = invited(database)

    def take(_: int) -> bool:
        def work(tx: Tx) -> bool:
            found = invitations.shown(tx, SEAL, token)
            return found is not None and invitations.use(tx, found)

        return database.write_now(work)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(8))) == [False] * 7 + [True]


def test_an_invitation_ends_by_time_and_by_its_operator(database: Database, clock: HandClock) -> None:
    early, late = invited(database, seconds=10), invited(database)
    clock.pass_by(10)
    assert database.read_now(lambda tx: invitations.shown(tx, SEAL, early)) is None
    found = database.read_now(lambda tx: invitations.shown(tx, SEAL, late))
    assert found is not None
    assert found.gives == Ceiling()
    assert database.write_now(lambda tx: invitations.revoke(tx, found.id, "operator"))
    assert not database.write_now(lambda tx: invitations.revoke(tx, found.id, "operator"))
    assert database.read_now(lambda tx: invitations.shown(tx, SEAL, late)) is None
    assert not database.write_now(lambda tx: invitations.use(tx, found))


def test_a_registered_client_is_found_beside_configured_ones(database: Database) -> None:
    given = enrolled(database)
    clients = Clients((), registered=lambda tx, name: registered.find(tx, SEAL, name))
    found = database.read_now(lambda tx: clients.find(tx, given.row.id))
    assert found is not None
    assert (found.name, found.redirect_uris) == ("An app", (BACK,))
    assert found.auth == frozenset({"client_secret_basic"})
    assert found.check_client_secret(given.secret)
    assert not found.check_client_secret(given.token)
    assert not found.check_client_secret("")
    assert clients.known(given.row.id) is None
    for name in ("", "DIRAC_CLI", given.row.id.upper(), given.row.id + " ", "0" * 32, "é" * 32):
        assert found_in(database, name) is None


@pytest.mark.parametrize("again", [True, False])
def test_a_change_replaces_what_was_judged(database: Database, again: bool) -> None:
    given = enrolled(database)
    new = Metadata(client_name="Changed", redirect_uris=(BACK,), response_types=("code",))

    def change(row: registered.Registered) -> registered.Given | None:
        return database.write_now(lambda tx: registered.change(tx, SEAL, row, new, given.token, ""))

    done = change(given.row)
    assert done is not None
    assert done.secret == ""
    if again:  # the same once more is no conflict, whatever a driver counts as a changed row
        assert change(done.row) is not None
    else:
        assert change(given.row) is None  # judged by what was there before
    row = database.read_now(lambda tx: registered.holder(tx, SEAL, given.row.id, given.token))
    assert row is not None
    assert row.metadata.client_name == "Changed"


def test_the_end_of_a_client_ends_its_grants_and_no_others(database: Database, clock: HandClock) -> None:
    one, other = enrolled(database), enrolled(database)

    def grant(client_id: str) -> str:
        name = refresh.new_id()
        terms = refresh.Terms("u", "alice", client_id, "g", "openid", "", 600, "", "", clock.now())
        database.write_now(lambda tx: refresh.begin(tx, SEAL, name, terms, 3600))
        return name

    mine = [grant(one.row.id) for _ in range(3)]
    theirs = grant(other.row.id)
    assert database.write_now(lambda tx: registered.end(tx, one.row.id, "operator"))
    assert not database.write_now(lambda tx: registered.end(tx, one.row.id, "operator"))
    for name in mine:
        assert ended_at(database, name) == clock.now()
    assert ended_at(database, theirs) is None
    assert found_in(database, one.row.id) is None
    assert database.read_now(lambda tx: registered.holder(tx, SEAL, one.row.id, one.token)) is None
    row = database.read_now(lambda tx: registered.by_id(tx, one.row.id))
    assert row is not None  # so that its identifier is never given again
    assert row.revoked_at == clock.now()
