"""Whom a login makes somebody, after the Registry has changed its mind."""

from gatehouse.registry import audit
from gatehouse.registry.database import Database
from tests.registry.people import REGISTRY, enrolled, groups_of, rows, take_in

MOVED = REGISTRY.replace(", /O=DIRAC/CN=m-1", "").replace("ID = j-1", "ID = j-1, m-1")


def test_an_id_that_moves_to_another_user_takes_the_login_with_it(database: Database) -> None:
    """A mistaken ID is mended in the Registry: whoever logs in with it must not stay the first user."""
    take_in(database)
    mira = enrolled(database, "m-1", groups=[("otter_user", "hill says so")]).person
    assert mira.username == "mira"
    take_in(database, MOVED)
    found = enrolled(database, "m-1")
    assert found.person.username == "jo"
    assert groups_of(found) == ["otter_pilot", "otter_user"]
    left = f"SELECT source FROM membership WHERE user_id = '{mira.id}'"
    assert rows(database, left) == [("registry",)]
    assert "person.linked" in [event.kind for event in database.read_now(audit.recent)]


def test_an_id_that_the_registry_drops_opens_its_groups_no_more(database: Database) -> None:
    take_in(database)
    before = enrolled(database, "m-1")
    assert groups_of(before) != []
    take_in(database, REGISTRY.replace(", /O=DIRAC/CN=m-1", ""))
    assert groups_of(enrolled(database, "m-1")) == []


def test_a_login_that_is_right_already_is_not_linked_again(database: Database) -> None:
    take_in(database)
    for _ in range(3):
        assert enrolled(database, "m-1").person.username == "mira"
    assert "person.linked" not in [event.kind for event in database.read_now(audit.recent)]
