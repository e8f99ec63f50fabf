"""The one database: what is answered is durable, what fails is undone alone, what waits is bounded."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gatehouse.registry import schema
from gatehouse.registry.database import MAX_BATCH, Database, Statement, Tx, sql
from gatehouse.registry.errors import ConfigurationError, Problem
from tests.clock import HandClock
from tests.registry.notes import RAISE, VALUE, note, noted, value


@pytest.fixture
def embedded(tmp_path: Path, clock: HandClock) -> Iterator[Database]:
    """A database in a file, with one writer."""
    made = Database(f"sqlite:///{tmp_path / 'own.db'}", clock, bytes(32))
    schema.prepare(made)
    yield made
    made.close()


servers = pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)


def held(database: Database) -> tuple[threading.Event, "Future[Any]"]:
    """Keep the only writer busy until the event is set, so that what comes meanwhile waits together."""
    go, begun = threading.Event(), threading.Event()

    def work(_tx: Tx) -> None:
        begun.set()
        assert go.wait(20)

    future = database._submit(work)
    assert begun.wait(20)
    return go, future


def statements(database: Database) -> list[str]:
    """What the writer's connection executes from now on."""
    seen: list[str] = []

    def watch(tx: Tx) -> None:
        tx._cursor.connection.set_trace_callback(seen.append)

    database.write_now(watch)
    return seen


def test_what_waits_together_is_committed_together(embedded: Database) -> None:
    seen = statements(embedded)
    seen.clear()
    go, first = held(embedded)
    futures = [embedded._submit(lambda tx, n=n: note(tx, f"n{n}")) for n in range(MAX_BATCH)]  # type: ignore[misc]
    assert not any(future.done() for future in futures)
    go.set()
    assert [future.result(20) for future in futures] == [f"n{n}" for n in range(MAX_BATCH)]
    first.result(20)
    assert seen.count("COMMIT") == 2  # the first alone, then all the others
    assert len(noted(embedded)) == MAX_BATCH


def test_what_raises_undoes_itself_alone(database: Database) -> None:
    class Oops(Exception):
        pass

    def work(tx: Tx, number: int) -> int:
        note(tx, f"n{number}")
        if number % 3 == 0:
            raise Oops(str(number))
        return number

    async def all_at_once() -> list[int | BaseException]:
        jobs = [database.write(lambda tx, n=n: work(tx, n)) for n in range(60)]  # type: ignore[misc]
        return await asyncio.gather(*jobs, return_exceptions=True)

    results = asyncio.run(all_at_once())
    for number, result in enumerate(results):
        if number % 3 == 0:
            assert isinstance(result, Oops)
            assert str(result) == str(number)
        else:
            assert result == number
    assert noted(database) == {f"n{n}" for n in range(60) if n % 3}


def test_an_answer_comes_after_the_commit(embedded: Database) -> None:
    """In the moment of the answer, another connection to the file sees the row."""
    path = embedded.url.database
    assert path is not None

    async def look() -> None:
        for number in range(20):
            await embedded.write(lambda tx, n=number: note(tx, f"n{n}"))  # type: ignore[misc]
            with sqlite3.connect(path) as other:
                found = other.execute("SELECT COUNT(*) FROM counter").fetchone()[0]
            other.close()
            assert found == number + 1

    asyncio.run(look())


WRITER = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from gatehouse.registry import schema
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database
from tests.registry.notes import note
database = Database(sys.argv[1], SYSTEM, bytes(32))
schema.prepare(database)
out = threading.Lock()
def one(worker):
    for number in range(100000):
        name = database.write_now(lambda tx: note(tx, f"{worker}-{number}"))
        with out:
            print(name, flush=True)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(one, range(8)))
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path, clock: HandClock) -> None:
    url = f"sqlite:///{tmp_path / 'killed.db'}"
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answered = [process.stdout.readline().strip() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        answered += [line.strip() for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    reopened = Database(url, clock, bytes(32))
    try:
        assert len(answered) >= 200
        assert set(answered) <= noted(reopened)
    finally:
        reopened.close()


def test_a_commit_that_fails_fails_for_all_and_changes_nothing(embedded: Database) -> None:
    """A deferred foreign key is checked at COMMIT: there SQLite refuses the whole transaction."""
    with embedded.engine.begin() as connection:
        connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        connection.execute(
            text("CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
        )
    orphan: Statement[tuple[()]] = sql(text("INSERT INTO child VALUES (7)"))
    go, first = held(embedded)
    good = [embedded._submit(lambda tx, n=n: note(tx, f"n{n}")) for n in range(5)]  # type: ignore[misc]
    bad = embedded._submit(lambda tx: tx.run(orphan))
    go.set()
    first.result(20)
    everybody: list[Future[Any]] = [*good, bad]
    for future in everybody:
        problem = future.exception(20)
        assert isinstance(problem, Problem)
        assert problem.status == 503
        assert "nothing was changed" in problem.message
        assert "FOREIGN KEY" in problem.detail
    assert noted(embedded) == set()
    assert embedded.write_now(lambda tx: note(tx, "after")) == "after"


def test_too_many_waiting_are_refused_at_once(embedded: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    small = threading.BoundedSemaphore(3)
    monkeypatch.setattr(embedded, "_room", small)
    go, first = held(embedded)
    waiting = [embedded._submit(lambda tx, n=n: note(tx, f"n{n}")) for n in range(2)]  # type: ignore[misc]
    with pytest.raises(Problem) as refused:
        embedded.write_now(lambda tx: note(tx, "late"))
    assert (refused.value.status, refused.value.code) == (503, "temporarily_unavailable")
    go.set()
    first.result(20)
    assert [future.result(20) for future in waiting] == ["n0", "n1"]
    assert embedded.write_now(lambda tx: note(tx, "later")) == "later"  # there is room again
    assert noted(embedded) == {"n0", "n1", "later"}


@servers
def test_waiting_for_a_server_is_bounded_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_room", threading.BoundedSemaphore(1))
    go, first = held(database)
    with pytest.raises(Problem) as refused:
        database.read_now(lambda tx: None)
    assert refused.value.status == 503
    go.set()
    first.result(20)
    assert noted(database) == set()


def test_a_caller_who_leaves_does_not_end_the_writer(embedded: Database) -> None:
    """A client that hangs up cancels its request: while it waits, and while its work runs."""

    async def leave() -> None:
        go, begun = threading.Event(), threading.Event()

        def slow(tx: Tx) -> None:
            begun.set()
            go.wait(20)
            note(tx, "running")

        running = asyncio.create_task(embedded.write(slow))
        await asyncio.to_thread(begun.wait, 20)
        waiting = asyncio.create_task(embedded.write(lambda tx: note(tx, "waiting")))
        await asyncio.sleep(0)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert running.cancelled()
        assert waiting.cancelled()
        go.set()
        assert await asyncio.wait_for(embedded.write(lambda tx: note(tx, "next")), 20) == "next"

    asyncio.run(leave())
    assert noted(embedded) == {"running", "next"}  # what had begun is done, what waited never began


def test_a_file_that_cannot_be_opened_is_an_answer(tmp_path: Path, clock: HandClock) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}", clock, bytes(32))
    try:
        for attempt in (database.write_now, database.read_now):
            with pytest.raises(Problem) as refused:
                attempt(lambda tx: note(tx, "x"))
            assert refused.value.status == 503
        (tmp_path / "nowhere").mkdir()
        schema.prepare(database)
        assert database.write_now(lambda tx: note(tx, "x")) == "x"  # and it recovers
    finally:
        database.close()


@servers
def test_a_deadlock_is_run_again(database: Database) -> None:
    """Two transactions that take two rows in opposite order, and do meet the first time."""
    for name in ("a", "b"):
        database.write_now(lambda tx, name=name: note(tx, name))  # type: ignore[misc]
    meeting = threading.Barrier(2, timeout=20)
    runs: list[str] = []

    def work(tx: Tx, first: str, second: str) -> None:
        again = first in runs
        runs.append(first)
        tx.run(RAISE, which=first, by=1)
        if not again:
            meeting.wait()
        tx.run(RAISE, which=second, by=1)

    one = database._submit(lambda tx: work(tx, "a", "b"))
    two = database._submit(lambda tx: work(tx, "b", "a"))
    one.result(30)
    two.result(30)
    assert len(runs) == 3  # one of them was the victim
    assert (value(database, "a"), value(database, "b")) == (2, 2)


_BACKEND = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}
_END = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}


def _kill(database: Database, backend: int) -> None:
    dialect = database.engine.dialect.name
    with database.engine.connect() as connection:
        connection.exec_driver_sql(_END[dialect].format(backend))


@servers
def test_a_lost_connection_is_made_again(database: Database) -> None:
    which: Statement[tuple[int]] = sql(text(_BACKEND[database.engine.dialect.name]))
    killed: list[int] = []

    def work(tx: Tx) -> str:
        found = tx.one(which)
        assert found is not None
        note(tx, "once")
        if not killed:
            killed.append(int(found[0]))
            _kill(database, killed[0])
        return note(tx, "twice")

    assert database.write_now(work) == "twice"
    assert len(killed) == 1
    assert noted(database) == {"once", "twice"}


@servers
def test_a_connection_lost_while_idle_is_made_again(database: Database) -> None:
    which: Statement[tuple[int]] = sql(text(_BACKEND[database.engine.dialect.name]))
    for number in range(20):  # more than the pool has
        found = database.read_now(lambda tx: tx.one(which))
        assert found is not None
        _kill(database, int(found[0]))
        database.write_now(lambda tx, n=number: note(tx, f"n{n}"))  # type: ignore[misc]
    assert len(noted(database)) == 20


@servers
def test_a_commit_whose_answer_is_lost_is_not_done_again(database: Database) -> None:
    which: Statement[tuple[int]] = sql(text(_BACKEND[database.engine.dialect.name]))
    runs: list[int] = []

    def work(tx: Tx) -> None:
        found = tx.one(which)
        assert found is not None
        runs.append(int(found[0]))
        note(tx, f"n{len(runs)}")
        _kill(database, runs[-1])  # the next word on this connection is COMMIT

    with pytest.raises(Problem) as unknown:
        database.write_now(work)
    assert unknown.value.status == 503
    assert "not known" in unknown.value.message
    assert len(runs) == 1
    assert database.write_now(lambda tx: note(tx, "after")) == "after"
    assert noted(database) <= {"n1", "after"}


def test_a_server_that_is_away_is_a_503(clock: HandClock) -> None:
    for url in ("postgresql+psycopg://x@127.0.0.1:9/x", "mysql+pymysql://x@127.0.0.1:9/x"):
        away = Database(url, clock, bytes(32))
        try:
            with pytest.raises(Problem) as refused:
                away.write_now(lambda tx: note(tx, "x"))
            assert refused.value.status == 503
            with pytest.raises(ConfigurationError, match="Check database_url"):
                schema.prepare(away)
        finally:
            away.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, clock: HandClock) -> None:
    lost = Database(f"sqlite:///{tmp_path}/var/gatehouse.db", clock, bytes(32))
    try:
        with pytest.raises(ConfigurationError, match=r"there is no folder .*/var; make it first"):
            schema.prepare(lost)
    finally:
        lost.close()


@pytest.mark.parametrize("url", ["nonsense", "oracle9://x", "sqlite"])
def test_a_database_url_that_cannot_be_meant_is_refused(url: str, clock: HandClock) -> None:
    with pytest.raises(ConfigurationError, match="database_url"):
        Database(url, clock, bytes(32))


def test_look_alike_names_are_others(database: Database) -> None:
    names = ["Ada", "ada", "ada ", "ádá", "ada\u00a0", "ADA"]
    for number, name in enumerate(names):
        database.write_now(lambda tx, name=name, n=number: note(tx, name, n))  # type: ignore[misc]
    assert noted(database) == set(names)
    for number, name in enumerate(names):
        assert value(database, name) == number
    assert database.read_now(lambda tx: tx.one(VALUE, which="aDA")) is None
    with pytest.raises(database.integrity_error):
        database.write_now(lambda tx: note(tx, "ada "))


def test_two_processes_write_one_file_at_once(tmp_path: Path, clock: HandClock) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    both = [Database(url, clock, bytes(32)) for _ in range(2)]
    try:
        schema.prepare(both[0])
        both[0].write_now(lambda tx: note(tx, "sum"))
        with ThreadPoolExecutor(16) as pool:
            done = list(
                pool.map(
                    lambda n: both[n % 2].write_now(lambda tx: tx.run(RAISE, which="sum", by=1)), range(400)
                )
            )
        assert done == [1] * 400
        assert value(both[1], "sum") == 400
    finally:
        for one in both:
            one.close()


def test_close_finishes_what_is_queued(tmp_path: Path, clock: HandClock) -> None:
    url = f"sqlite:///{tmp_path / 'closed.db'}"
    database = Database(url, clock, bytes(32))
    schema.prepare(database)
    futures = [database._submit(lambda tx, n=n: note(tx, f"n{n}")) for n in range(200)]  # type: ignore[misc]
    database.close()
    assert all(future.done() for future in futures)
    assert not any(
        thread.name == "gatehouse-writer" and thread.is_alive() for thread in threading.enumerate()
    )
    assert os.path.exists(tmp_path / "closed.db")
    with sqlite3.connect(tmp_path / "closed.db") as file:
        assert file.execute("SELECT COUNT(*) FROM counter").fetchone() == (200,)
    file.close()
