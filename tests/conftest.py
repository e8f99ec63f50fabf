"""Fixtures for all rooms: a real database, fresh for each test, of each kind that is reachable."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import event

from gatehouse.registry import schema
from gatehouse.registry.database import Database
from tests.clock import HandClock

# A loaded machine is no reason to fail: what is tested is what comes out, never how fast.
settings.register_profile("gatehouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatehouse")

POSTGRESQL = os.environ.get("GATEHOUSE_TEST_POSTGRESQL", "postgresql+psycopg://root@127.0.0.1/test")
MARIADB = os.environ.get("GATEHOUSE_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1/test?charset=utf8mb4")


@pytest.fixture
def clock() -> HandClock:
    """A clock for the test to turn; the database fixture has the same one."""
    return HandClock()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Iterator[Database]:
    """A Database with all tables and nothing in them."""
    with scratch(request.param, tmp_path) as url:
        made = Database(url, clock, bytes(32))
        opened: list[Any] = []
        if not made.embedded:  # SQLite's writer is already connecting
            event.listen(made.engine, "connect", lambda connection, _record: opened.append(connection))
        try:
            schema.prepare(made)
            yield made
        finally:
            made.close()
            # `close` leaves those of its pool threads to the garbage collector, which drivers warn about
            for connection in opened:
                with contextlib.suppress(Exception):  # closed before
                    connection.close()


@contextlib.contextmanager
def scratch(kind: str, directory: Path) -> Iterator[str]:
    """A scratch database, gone afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'gatehouse.db'}"
        return
    from sqlalchemy.engine import make_url

    base = make_url(POSTGRESQL if kind == "postgresql" else MARIADB)
    name = f"gh_wms_{secrets.token_hex(6)}"
    server = _server(kind, base)
    with contextlib.closing(server), contextlib.closing(server.cursor()) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield base.set(database=name).render_as_string(hide_password=False)
        finally:
            cursor.execute(f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgresql" else ""))


def _server(kind: str, url: Any) -> Any:
    """A connection to the server, in autocommit; skips the test where there is none."""
    import psycopg
    import pymysql

    try:
        if kind == "postgresql":
            return psycopg.connect(url.set(drivername="postgresql").render_as_string(False), autocommit=True)
        return pymysql.connect(
            host=url.host,
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            autocommit=True,
        )
    except (psycopg.OperationalError, pymysql.err.OperationalError) as error:
        reason = f"{kind} is not reachable: {error}"
        if os.environ.get("GATEHOUSE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
