"""The record: written with its effect or neither, and no edit of it goes unnoticed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from gatehouse.registry import audit
from gatehouse.registry.audit import Recorded
from gatehouse.registry.database import Database, Tx
from tests.registry.notes import note, noted

KEY = bytes(32)  # that of the database fixture


def broken(database: Database, key: bytes = KEY) -> list[Recorded]:
    """The events that do not hold."""
    return database.read_now(lambda tx: list(audit.broken(tx, key)))


def write(database: Database, count: int) -> None:
    """So many events; on one chain, since nothing else runs."""
    for number in range(count):

        def work(tx: Tx, number: int = number) -> None:
            audit.record(tx, "test.done", actor="ada", subject=f"s{number}", n=number, of=["a", "b"])

        database.write_now(work)


def edit(database: Database, statement: str, **values: Any) -> None:
    """Change the table behind Gatehouse's back."""
    with database.engine.begin() as connection:
        connection.execute(text(statement), values)


def rows(database: Database) -> list[Any]:
    """The events in their order."""
    with database.engine.connect() as connection:
        return list(connection.execute(text("SELECT id, chain, seq FROM audit_event ORDER BY id")))


@pytest.fixture
def one_chain(database: Database) -> Database:
    """A database with five events of which the middle one is about to suffer."""

    def five(tx: Tx) -> None:
        for number in range(5):
            audit.record(tx, "test.done", actor="ada", subject=f"s{number}")

    database.write_now(five)
    assert broken(database) == []
    assert len({row.chain for row in rows(database)}) == 1
    return database


def test_chains_hold_after_concurrent_writes_and_rollbacks(database: Database) -> None:
    class Oops(Exception):
        pass

    def work(tx: Tx, number: int) -> None:
        audit.record(tx, "test.begun", actor="ada", subject=str(number))
        note(tx, f"n{number}")
        audit.record(tx, "test.done", actor="ada", subject=str(number))
        if number % 4 == 0:
            raise Oops

    async def at_once() -> list[BaseException | None]:
        jobs = [database.write(lambda tx, n=n: work(tx, n)) for n in range(80)]  # type: ignore[misc]
        return await asyncio.gather(*jobs, return_exceptions=True)

    results = asyncio.run(at_once())
    assert sum(isinstance(result, Oops) for result in results) == 20
    events = database.read_now(audit.recent)
    assert len(events) == 120
    assert {event.subject for event in events} == {str(n) for n in range(80) if n % 4}
    assert broken(database) == []


def test_a_new_process_goes_on_with_a_chain_of_its_own(database: Database, clock: Any) -> None:
    write(database, 3)
    other = Database(database.url.render_as_string(hide_password=False), clock, KEY)
    try:
        other.write_now(lambda tx: audit.record(tx, "test.done", actor="bob"))
    finally:
        other.close()
    assert len(rows(database)) == 4
    assert broken(database) == []


@pytest.mark.parametrize(
    ("column", "changed"),
    [
        ("chain", "0123456789abcdef"),
        ("seq", 77),
        ("at", 1),
        ("kind", "test.undone"),
        ("actor", "eve"),
        ("subject", "s9"),
        ("facts", '{"n":1}'),
        ("digest", "0" * 64),
    ],
)
def test_an_edit_of_any_column_is_found(one_chain: Database, column: str, changed: object) -> None:
    middle = rows(one_chain)[2]
    edit(one_chain, f"UPDATE audit_event SET {column} = :value WHERE id = :id", value=changed, id=middle.id)
    assert broken(one_chain)


def test_no_column_but_the_row_number_is_left_out(one_chain: Database) -> None:
    """`id` is given by the database after the digest; it orders the list that people see, and proves nothing."""
    with one_chain.engine.connect() as connection:
        columns = connection.execute(text("SELECT * FROM audit_event")).keys()
    assert set(columns) == {*Recorded._fields, "id"}


def _delete(connection: Connection, found: list[Any]) -> None:
    connection.execute(text("DELETE FROM audit_event WHERE id = :id"), {"id": found[2].id})


def _delete_first(connection: Connection, found: list[Any]) -> None:
    connection.execute(text("DELETE FROM audit_event WHERE id = :id"), {"id": found[0].id})


def _delete_and_close_up(connection: Connection, found: list[Any]) -> None:
    _delete(connection, found)
    for row in found[3:]:
        connection.execute(text("UPDATE audit_event SET seq = seq - 1 WHERE id = :id"), {"id": row.id})


def _swap(connection: Connection, found: list[Any]) -> None:
    for row, seq in ((found[1], 99), (found[2], found[1].seq), (found[1], found[2].seq)):
        connection.execute(
            text("UPDATE audit_event SET seq = :seq WHERE id = :id"), {"seq": seq, "id": row.id}
        )


def _insert(connection: Connection, found: list[Any]) -> None:
    connection.execute(
        text(
            "INSERT INTO audit_event (chain, seq, at, kind, actor, subject, facts, digest) "
            "SELECT chain, 6, at, kind, actor, 'forged', facts, digest FROM audit_event WHERE id = :id"
        ),
        {"id": found[4].id},
    )


@pytest.mark.parametrize("harm", [_delete, _delete_first, _delete_and_close_up, _swap, _insert])
def test_deleting_reordering_and_forging_are_found(
    one_chain: Database, harm: Callable[[Connection, list[Any]], None]
) -> None:
    found = rows(one_chain)
    with one_chain.engine.begin() as connection:
        harm(connection, found)
    assert broken(one_chain)


def test_events_cannot_change_places_between_chains(database: Database, clock: Any) -> None:
    """Two chains of one event each: both follow from nothing, and still are not exchangeable."""
    other = Database(database.url.render_as_string(hide_password=False), clock, KEY)
    try:
        database.write_now(lambda tx: audit.record(tx, "test.done", actor="ada"))
        other.write_now(lambda tx: audit.record(tx, "test.done", actor="bob"))
    finally:
        other.close()
    assert broken(database) == []
    first, second = rows(database)
    move = "UPDATE audit_event SET chain = :chain WHERE id = :id"
    edit(database, move, chain="x", id=first.id)
    edit(database, move, chain=first.chain, id=second.id)
    edit(database, move, chain=second.chain, id=first.id)
    assert len(broken(database)) == 2


def test_who_has_no_key_cannot_make_a_chain_that_holds(database: Database) -> None:
    write(database, 2)
    assert len(broken(database, b"\x01" * 32)) == 2


def test_a_number_is_never_given_twice(one_chain: Database) -> None:
    found = rows(one_chain)
    with pytest.raises(IntegrityError):
        edit(one_chain, "UPDATE audit_event SET seq = :seq WHERE id = :id", seq=found[0].seq, id=found[1].id)


def test_what_cannot_be_recorded_does_not_happen(database: Database) -> None:
    edit(database, "DROP TABLE audit_event")

    def work(tx: Tx) -> None:
        note(tx, "unrecorded")
        audit.record(tx, "test.done", actor="ada")

    with pytest.raises(Exception, match="audit_event"):
        database.write_now(work)
    assert noted(database) == set()


def test_long_names_are_cut_and_still_hold(database: Database) -> None:
    database.write_now(lambda tx: audit.record(tx, "test.done", actor="ä" * 999, subject="\U0001f511" * 999))
    (event,) = database.read_now(audit.recent)
    assert (len(event.actor), len(event.subject)) == (255, 255)
    assert broken(database) == []
