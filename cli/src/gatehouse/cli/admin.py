"""The operator's commands: serve, config, db, new-key. Imported only when one of them runs."""

import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gatehouse.cli.errors import CommandError
from gatehouse.cli.logs import configure
from gatehouse.cli.server import Service, build, open_database
from gatehouse.cli.serving import run
from gatehouse.registry import configuration, safety, schema
from gatehouse.tokenmanager import seal


def serve(config: Path | None) -> None:
    """Run the service until it is told to stop."""
    settings = configuration.load(config)
    configure(settings.log_level)
    os.umask(0o077)  # a database file and the pilots' directories are nobody else's to read
    service = build(settings)
    run(service, lambda: _announce(service))


def _announce(service: Service) -> None:
    Console(stderr=True, highlight=False).print(f"Gatehouse answers at {service.settings.server.base_url}/")


def show_config(config: Path | None) -> int:
    """Print each setting, its value and its origin; 1 when the settings would be refused."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("setting", "value", "from"):
        table.add_column(heading, overflow="fold")
    for name, value, origin in configuration.explain(config):
        table.add_row(name, value, origin, style=None if origin == "default" else "cyan")
    console = Console(width=None if os.isatty(1) else 200, highlight=False)
    console.print(table)
    safety.check(configuration.load(config))
    return 0


def upgrade_database(config: Path | None) -> None:
    """Bring the schema up to date."""
    os.umask(0o077)
    database = open_database(configuration.load(config))
    try:
        schema.upgrade(database)
    finally:
        database.close()
    Console().print("The database schema is up to date.")


def new_key(path: Path) -> None:
    """Make a master key file; never in the place of an old one, which would make its database worthless."""
    try:
        seal.new_key(path)
    except FileExistsError:
        raise CommandError(
            f"{path} exists already, and a master key is never written over",
            why="what it protects could not be read any more",
            next_step="next: name another file, or use the one that is there",
        ) from None
    Console().print(
        f"A new master key is in {path} (mode 0600). Keep a copy where the database backup is not.",
        soft_wrap=True,
    )
