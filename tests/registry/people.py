"""A small Registry and what providers say about its people."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from gatehouse.registry import directory, importing
from gatehouse.registry.database import Database
from gatehouse.registry.directory import Enrolled, Seen
from gatehouse.registry.importing import Imported

HILL = "https://hill.example.org"
RIVER = "https://river.example.org/"

REGISTRY = """
Registry
{
  VO
  {
    otter
    {
      IdProvider = hill
    }
    seal
    {
      IdProvider = river
    }
  }
  Groups
  {
    otter_user
    {
      Users = mira, jo
      Properties = NormalUser
      VO = otter
      VOMSRole = /otter
    }
    otter_pilot
    {
      Users = jo
      Properties = GenericPilot, LimitedDelegation
      VO = otter
      VOMSRole = /otter/Role=pilot
    }
    seal_user
    {
      Users = jo
      Properties = NormalUser
      VO = seal
      VOMSRole = /seal
    }
  }
  Users
  {
    mira
    {
      DN = /DC=test/CN=Mira Holt, /O=DIRAC/CN=m-1
      Email = mira@otter.example
    }
    jo
    {
      ID = j-1
    }
  }
}
"""


def take_in(database: Database, given: str = REGISTRY) -> Imported:
    """Import a Registry."""
    data = importing.read_text(given)
    return database.write_now(lambda tx: importing.apply(tx, data, "test"))


def enrolled(
    database: Database,
    subject: str,
    *,
    issuer: str = HILL,
    username: str = "somebody",
    groups: Sequence[tuple[str, str]] = (),
    trusted: Sequence[str] = ("otter_user", "otter_pilot"),
) -> Enrolled:
    """What a login at a provider comes to."""
    seen = Seen(issuer, subject, username, "Some Body", "some@body.example", groups, "[]")
    return database.write_now(lambda tx: directory.enrol(tx, seen, trusted))


def groups_of(found: Enrolled) -> list[str]:
    """The names of the groups to choose from."""
    return [one.group for one in found.groups]


def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    """What a query gives, in order."""
    with database.engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(text(statement)))
