"""The schema of the database: made, brought up to date, and refused when it is not what this version needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from gatehouse.registry.database import Database
from gatehouse.registry.errors import ConfigurationError

_HERE = Path(__file__).parent / "migrations"


def prepare(database: Database) -> None:
    """Make the schema in an empty database; refuse one that is older or newer than this version.

    Raises ConfigurationError with the command to run.
    """
    try:
        with database.engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            empty = current is None and not inspect(connection).get_table_names()
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise ConfigurationError(
            f"The database {database.url.render_as_string(hide_password=True)} cannot be opened: {reason}. "
            "Check database_url."
        ) from error
    wanted = _scripts().get_current_head()
    if empty:
        upgrade(database)
    elif current != wanted:
        raise ConfigurationError(
            f"The database has schema {current or 'unknown'}, and this version needs {wanted}. "
            "Make a backup, then run: gatehouse db upgrade"
        )


def upgrade(database: Database) -> None:
    """Bring the schema to what this version needs; two replicas at once do it one after the other."""
    with database.engine.connect() as connection:
        _lock(connection)
        command.upgrade(_config(connection), "head")
        connection.commit()


def revision(database: Database, message: str) -> None:
    """Write a new migration from the difference between the models and the database (for developers)."""
    with database.engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True)


def _lock(connection: Connection) -> None:
    """Let one replica migrate at a time; the lock goes with the connection."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(776331)")
    elif connection.dialect.name in ("mysql", "mariadb"):
        connection.exec_driver_sql("SELECT GET_LOCK('gatehouse-schema', 60)")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    return ScriptDirectory.from_config(config)
