"""The schema of the database: made, brought up to date, and refused when it is not what this version needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from gatehouse.registry.database import Database
from gatehouse.registry.errors import ConfigurationError

_HERE = Path(__file__).parent / "migrations"


def prepare(database: Database) -> None:
    """Make the schema in an empty database; refuse one that is older or newer than this version.

    Raises ConfigurationError with the command to run.
    """
    with _locked(database) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current is None and not inspect(connection).get_table_names():
            _migrate(connection)
        elif current not in {script.revision for script in _scripts().walk_revisions()}:
            raise ConfigurationError(
                f"The database has schema {current or 'unknown'}, which this version does not know. "
                "If a newer Gatehouse made it, run that version; if not, check database_url."
            )
        elif current != _scripts().get_current_head():
            raise ConfigurationError(
                f"The database has schema {current}, and this version needs {_scripts().get_current_head()}. "
                "Make a backup, then run: gatehouse db upgrade"
            )


def upgrade(database: Database) -> None:
    """Bring the schema to what this version needs; two replicas at once do it one after the other.

    Raises ConfigurationError when the schema is that of a newer version, or the database does not open.
    """
    with _locked(database) as connection:
        try:
            _migrate(connection)
        except CommandError as error:
            raise ConfigurationError(
                f"The schema of the database cannot be brought up to date: {error}."
            ) from error


def _migrate(connection: Connection) -> None:
    command.upgrade(_config(connection), "head")


def revision(database: Database, message: str) -> None:
    """Write a new migration from the difference between the models and the database (for developers)."""
    with database.engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True)


@contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    """A connection while no other replica migrates; what is done on it is one transaction where DDL can be."""
    try:
        with database.engine.connect() as connection:
            name = connection.dialect.name
            if name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(776331)")
            else:
                _lock_mariadb(connection)
            try:
                yield connection
                connection.commit()
            finally:
                if name in ("mysql", "mariadb"):
                    # the lock would stay with the connection, and that goes back to a pool
                    connection.exec_driver_sql("SELECT RELEASE_LOCK(CONCAT('gatehouse/', MD5(DATABASE())))")
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        folder = Path(database.url.database or "").parent
        if database.url.get_backend_name() == "sqlite" and not folder.is_dir():
            reason = f"there is no folder {folder}; make it first"
        raise ConfigurationError(
            f"The database {database.url.render_as_string(hide_password=True)} cannot be used: {reason}. "
            "Check database_url."
        ) from error


def _lock_mariadb(connection: Connection) -> None:
    # such a lock is known to the whole server, so the database is part of its name
    lock = "SELECT GET_LOCK(CONCAT('gatehouse/', MD5(DATABASE())), 60)"
    if connection.exec_driver_sql(lock).scalar() != 1:
        raise ConfigurationError(
            "Another replica has been changing the schema for a minute. Try again later."
        )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    return ScriptDirectory.from_config(config)
