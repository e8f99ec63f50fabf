"""The schema: the migrations give what the models say, on each database, once, and for this version only."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel

import gatehouse.auth.models
import gatehouse.registry.models
import gatehouse.tokenmanager.models
import gatehouse.wms.models  # noqa: F401 - the models register themselves
from gatehouse.registry import schema
from gatehouse.registry.database import Database
from gatehouse.registry.errors import ConfigurationError
from tests.clock import HandClock
from tests.registry.notes import note, noted


@pytest.fixture
def empty(database: Database) -> Database:
    """A database with nothing in it."""
    with database.engine.begin() as connection:
        names = inspect(connection).get_table_names()
        for name in names:
            quoted = connection.dialect.identifier_preparer.quote(name)
            connection.execute(text(f"DROP TABLE {quoted}"))
    return database


def url(database: Database) -> str:
    """For another process."""
    return database.url.render_as_string(hide_password=False)


def version(database: Database, to: str | None) -> None:
    """Say that the schema is another one."""
    with database.engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        if to is not None:
            connection.execute(text("INSERT INTO alembic_version VALUES (:to)"), {"to": to})


def test_the_migrations_give_exactly_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": _differs})
        found = [
            change
            for change in compare_metadata(context, SQLModel.metadata)
            if "ix_job_match" not in str(change)  # alembic cannot compare an index on `priority DESC`
        ]
    assert found == []


def _differs(
    context: MigrationContext, _has: object, _wanted: object, has: TypeEngine[Any], wanted: TypeEngine[Any]
) -> bool | None:
    """Alembic's own comparison where it can be trusted: None."""
    dialect = context.dialect
    assert dialect is not None
    written = wanted.compile(dialect)
    if has.compile(dialect) == written:
        return False
    # MariaDB makes of BLOB(n) the smallest of its kinds that holds n bytes
    return False if (str(has), written) == ("MEDIUMBLOB", "BLOB(262144)") else None


def test_the_index_that_cannot_be_compared_is_there(database: Database) -> None:
    with database.engine.connect() as connection:
        found: Any = {index["name"]: index for index in inspect(connection).get_indexes("job")}
    index = found["ix_job_match"]
    named = [str(name or expression) for name, expression in _columns(index)]
    assert len(named) == 4
    assert (named[0], named[1], named[3]) == ("queue_id", "status", "id")
    assert "priority" in named[2]


def _columns(index: Any) -> list[tuple[object, object]]:
    names = index["column_names"]
    return list(zip(names, index.get("expressions", names), strict=True))


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_every_table_minds_case_and_blanks_on_mariadb(database: Database) -> None:
    with database.engine.connect() as connection:
        query = "SELECT table_name, table_collation FROM information_schema.tables WHERE table_schema = DATABASE()"
        found: dict[str, str] = {row[0]: row[1] for row in connection.execute(text(query))}
    found.pop("alembic_version")
    assert set(found.values()) == {"utf8mb4_nopad_bin"}
    assert set(found) == set(SQLModel.metadata.tables)


def test_an_empty_database_is_prepared_and_stays_so(empty: Database) -> None:
    schema.prepare(empty)
    empty.write_now(lambda tx: note(tx, "kept"))
    schema.prepare(empty)
    schema.upgrade(empty)
    schema.upgrade(empty)
    assert noted(empty) == {"kept"}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_older_schema_is_refused_with_the_command_to_run(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later:
        """The scripts of a version that knows one step more."""

        def __init__(self, known: Any) -> None:
            self.walk_revisions = known.walk_revisions

        def get_current_head(self) -> str:
            return "0002"

    monkeypatch.setattr(schema, "_scripts", lambda scripts=schema._scripts: Later(scripts()))
    with pytest.raises(ConfigurationError, match="gatehouse db upgrade") as refused:
        schema.prepare(database)
    assert "0002" in str(refused.value)


def test_a_newer_schema_is_refused_by_both(database: Database) -> None:
    version(database, "9999")
    with pytest.raises(ConfigurationError, match=r"9999.*newer"):
        schema.prepare(database)
    with pytest.raises(ConfigurationError, match="9999"):
        schema.upgrade(database)


def test_tables_of_somebody_else_are_left_alone(empty: Database) -> None:
    with empty.engine.begin() as connection:
        connection.execute(text("CREATE TABLE somebody_elses (id INTEGER)"))
    with pytest.raises(ConfigurationError, match="unknown"):
        schema.prepare(empty)
    with empty.engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["somebody_elses"]


PREPARE = """
import sys
from gatehouse.registry import schema
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database
database = Database(sys.argv[1], SYSTEM, bytes(32))
sys.stdin.readline()
schema.prepare(database)
database.close()
"""


def test_processes_that_prepare_at_once(empty: Database) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PREPARE, url(empty)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=90)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    schema.prepare(empty)
    empty.write_now(lambda tx: note(tx, "works"))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_migration_that_fails_leaves_nothing(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DDL can be undone it is: the next start finds an empty database again."""

    class Broken(Exception):
        pass

    def half(connection: Any) -> None:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_migrate", half)
        with pytest.raises(Broken):
            schema.prepare(empty)
    schema.prepare(empty)
    empty.write_now(lambda tx: note(tx, "works"))


def test_a_migration_does_not_keep_its_lock(database: Database, clock: HandClock) -> None:
    """The connection goes back to a pool; another replica must not wait for the end of the first."""
    schema.prepare(database)
    other = Database(url(database), clock, bytes(32))
    try:
        schema.prepare(other)
        other.write_now(lambda tx: note(tx, "works"))
    finally:
        other.close()


def test_no_step_is_missing_from_the_chain() -> None:
    scripts = list(schema._scripts().walk_revisions())
    assert scripts[-1].down_revision is None
    assert len({script.revision for script in scripts}) == len(scripts)
    assert Path(scripts[0].path).name.startswith(scripts[0].revision)
